//! The drop folder: what an administrator uploads, and what became of it.
//!
//! ```text
//! <drop-dir>/<certificate>/              mode 1730 with drop-group, else 0700; the way there 0711
//!     cert.pem key.pem password.txt ...  as uploaded
//!     WAITING.txt REASON.txt             what is missing; why the last upload was refused (0644)
//!     STATUS.txt                         how far the last accepted one got in each service (0644)
//!     accepted/<time>/                   public parts as PEM, ACCEPTED.txt (0755, 0644)
//!     rejected/<time>/                   refused files, for us alone (0700), 30 days
//!     rejected/.taking/ .gone/           files on their way to one of these; empty but after a crash
//! ```
//!
//! Everything in it is in the hands of whoever may write there, at any moment: it is reached by
//! the folder's handle, nothing is followed, and what is removed is first looked at where nobody
//! else can touch it. Whoever decides on what was read holds the certificate's lock meanwhile.
//!
//! Notes can be read by whoever may pass through the folder: its mode is what guards them, so that
//! it is the same on a network share, where no owner can be set.

mod keep;
mod list;
mod look;
mod make;
mod name;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::Error;
use crate::cert::import::File;
use crate::config::UploadSpec;
use crate::fs::Seen;

/// For so long a refused half may still find its other half.
const LATELY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// For so long refused files are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What lies in the folder now.
#[derive(Clone, Default)]
pub struct Dropped {
    /// Whole regular files, read once; decided on as they are here. By name.
    pub files: Vec<DroppedFile>,
    /// `password.txt`, without the line break at its end.
    pub password: Option<zeroize::Zeroizing<String>>,
    /// How the folder knows `password.txt` again.
    pub password_key: Option<FileKey>,
    /// What is no file that we take (symlink, FIFO, too large, too many ...): name and reason.
    pub refused: Vec<(String, String)>,
    /// Something was written a moment ago: look again then. It has not been read yet, nor has what
    /// came within 4 seconds before: they may belong together.
    pub quiet_at: Option<Timestamp>,
}

impl Dropped {
    /// The keys of everything that was read, the password too: for
    /// [`accepted`](DropFolder::accepted) and [`rejected`](DropFolder::rejected).
    pub fn keys(&self) -> Vec<FileKey> {
        let files = self.files.iter().map(|file| file.key.clone());
        files.chain(self.password_key.clone()).collect()
    }
}

/// A file that was read.
#[derive(Clone)]
pub struct DroppedFile {
    /// Name (escaped for people) and bytes.
    pub file: File,
    /// Who owns it: the uploader, as far as anybody can tell.
    pub uid: u32,
    /// When it came or was last changed, never later than now; no uploader can set it.
    pub written_at: Timestamp,
    /// How the folder knows it again.
    pub key: FileKey,
}

/// Which file it is: name as on disk, device, inode, size and times.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FileKey {
    /// In the folder; of a refused file `rejected/<time>/<name>`.
    name: std::ffi::OsString,
    stamp: (u64, u64, u64, i64, i64),
}

impl FileKey {
    fn of(name: &std::ffi::OsStr, seen: &Seen) -> Self {
        Self { name: name.to_owned(), stamp: stamp(seen) }
    }

    /// Whether this is the very file, unchanged.
    fn is(&self, seen: &Seen) -> bool {
        seen.is_file() && seen.links == 1 && stamp(seen) == self.stamp
    }

    /// When anything about it changed, in nanoseconds since 1970.
    fn changed(&self) -> i64 {
        self.stamp.4
    }

    /// As [`Self::is`], after we moved it, which is a change of its own.
    fn is_moved(&self, seen: &Seen) -> bool {
        let (device, inode, size, modified, _) = stamp(seen);
        let (was_device, was_inode, was_size, was_modified, _) = self.stamp;
        (device, inode, size, modified) == (was_device, was_inode, was_size, was_modified)
    }

    /// Whether it was refused before.
    fn is_old(&self) -> bool {
        std::path::Path::new(&self.name).components().count() > 1
    }
}

fn stamp(seen: &Seen) -> (u64, u64, u64, i64, i64) {
    (seen.device, seen.inode, seen.size, seen.modified, seen.changed)
}

/// The drop folder of one certificate.
#[derive(Clone, Debug)]
pub struct DropFolder {
    dir: PathBuf,
}

impl DropFolder {
    /// Makes what is not there yet, with its final mode: the folder, the one above it, and what we
    /// keep in it. A changed `drop-group` is taken over; other rights that somebody gave it stay.
    ///
    /// # Errors
    ///
    /// When a folder on the way cannot be trusted, the group cannot be given, or the system
    /// refuses; with the next step.
    pub fn open(spec: &UploadSpec) -> Result<Self, Error> {
        Ok(Self { dir: make::make(spec)? })
    }

    /// How many files lie there to be looked at, without making or touching anything.
    pub fn count(spec: &UploadSpec) -> usize {
        glance(spec, list::NAMES).count()
    }

    /// Whether there is any, as far as a glance shows.
    pub fn has_upload(spec: &UploadSpec) -> bool {
        glance(spec, GLANCE).next().is_some()
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.dir
    }

    /// Reads what lies there, once quiet for a second: the newest 16 files, of at most 256 KiB.
    /// Nothing, when somebody removed the folder. What a crash left half taken is put back first.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be read; what is wrong with a file is in the answer.
    pub fn look(&self, now: Timestamp) -> Result<Dropped, Error> {
        let Some(open) = make::open(&self.dir)? else { return Ok(Dropped::default()) };
        keep::recover(&open)?;
        look::look(&open, now)
    }

    /// Refused files of the last 7 days, the newest 32: a half that fits may have come since.
    ///
    /// # Errors
    ///
    /// As [`Self::look`].
    pub fn rejected_lately(&self, now: Timestamp) -> Result<Vec<DroppedFile>, Error> {
        let Some(open) = make::open(&self.dir)? else { return Ok(Vec::new()) };
        look::rejected_lately(&open, now)
    }

    /// Keeps the public parts (file name and PEM) and the text in `accepted/<time>/`, and removes
    /// the uploaded files, refused ones among them too, and the notes. A file that is no longer
    /// the one that was read stays; after a crash either all or none of them are gone.
    ///
    /// # Errors
    ///
    /// When the system refuses; a file that was read and could not be removed is read again.
    pub fn accepted(
        &self,
        files: &[FileKey],
        public: &[(String, String)],
        text: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        match make::open(&self.dir)? {
            Some(open) => keep::accepted(&open, files, public, text, now),
            None => Ok(()),
        }
    }

    /// Writes `REASON.txt` beside the drop and moves refused files to `rejected/<time>/`. Those
    /// that were refused before stay where they are; a password is removed.
    ///
    /// # Errors
    ///
    /// As [`Self::accepted`].
    pub fn rejected(&self, files: &[FileKey], reason: &str, now: Timestamp) -> Result<(), Error> {
        match make::open(&self.dir)? {
            Some(open) => keep::rejected(&open, files, reason, now),
            None => Ok(()),
        }
    }

    /// Writes `WAITING.txt`: what is there, and what is missing. An empty text: nothing is waited
    /// for any more, and the note goes.
    ///
    /// # Errors
    ///
    /// As [`Self::accepted`].
    pub fn waiting(&self, text: &str) -> Result<(), Error> {
        match make::open(&self.dir)? {
            Some(open) => keep::waiting(&open, text),
            None => Ok(()),
        }
    }

    /// Writes `STATUS.txt`: how far what was accepted got. An empty text: there is nothing to tell,
    /// and the note goes.
    ///
    /// # Errors
    ///
    /// As [`Self::accepted`].
    pub fn progress(&self, text: &str) -> Result<(), Error> {
        match make::open(&self.dir)? {
            Some(open) => keep::progress(&open, text),
            None => Ok(()),
        }
    }

    /// Removes what is over its time: refused files after 30 days, and of more than 200 refusals
    /// the oldest.
    ///
    /// # Errors
    ///
    /// As [`Self::accepted`].
    pub fn sweep(&self, now: Timestamp) -> Result<(), Error> {
        match make::open(&self.dir)? {
            Some(open) => keep::sweep(&open, now),
            None => Ok(()),
        }
    }
}

/// Files to be looked at among the first so many names.
fn glance(spec: &UploadSpec, most: usize) -> impl Iterator<Item = std::fs::DirEntry> {
    let entries = std::fs::read_dir(&spec.dir).into_iter().flatten().flatten().take(most);
    entries.filter(|entry| {
        entry.file_type().is_ok_and(|kind| kind.is_file())
            && name::role(&entry.file_name()) == name::Role::Upload
    })
}

/// So many names are looked at to see whether there is anything.
const GLANCE: usize = 64;

#[cfg(test)]
mod tests;
