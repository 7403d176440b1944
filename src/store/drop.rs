//! The drop folder: what an administrator uploads, and what became of it.
//!
//! ```text
//! <drop-dir>/<certificate>/              mode 1730 with drop-group, else 0700; the way there 0711
//!     cert.pem key.pem password.txt ...  as uploaded
//!     WAITING.txt REASON.txt             what is missing; why the last upload was refused
//!     accepted/<time>/                   public parts as PEM, ACCEPTED.txt
//!     rejected/<time>/                   refused files, for us alone, 30 days
//! ```

use std::path::PathBuf;

use jiff::Timestamp;

use super::Error;
use crate::cert::import::File;
use crate::config::UploadSpec;

/// What lies in the folder now.
#[derive(Clone, Default)]
pub struct Dropped {
    /// Whole regular files, read once; decided on as they are here.
    pub files: Vec<DroppedFile>,
    /// `password.txt`, without the line break at its end.
    pub password: Option<zeroize::Zeroizing<String>>,
    /// What is no file that we take (symlink, FIFO, too large, too many ...): name and reason.
    pub refused: Vec<(String, String)>,
    /// Something was written a moment ago: look again then, nothing has been read yet.
    pub quiet_at: Option<Timestamp>,
}

/// A file that was read.
#[derive(Clone)]
pub struct DroppedFile {
    /// Name (escaped for people) and bytes.
    pub file: File,
    /// Who owns it: the uploader, as far as anybody can tell.
    pub uid: u32,
    /// When it was last written.
    pub written_at: Timestamp,
    /// How the folder knows it again.
    pub key: FileKey,
}

/// Which file it is: name as on disk, device, inode, size and times.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FileKey {
    name: std::ffi::OsString,
    stamp: (u64, u64, u64, i64, i64),
}

/// The drop folder of one certificate.
#[derive(Clone, Debug)]
pub struct DropFolder {
    dir: PathBuf,
}

impl DropFolder {
    /// Makes what is not there yet, with its final mode.
    ///
    /// # Errors
    ///
    /// When a folder on the way cannot be trusted, or the system refuses.
    pub fn open(_spec: &UploadSpec) -> Result<Self, Error> {
        todo!()
    }

    /// Reads what lies there, once quiet for a second.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be read; what is wrong with a file is in the answer.
    pub fn look(&self, _now: Timestamp) -> Result<Dropped, Error> {
        todo!()
    }

    /// Refused files of the last 7 days: a half that fits may have come since.
    ///
    /// # Errors
    ///
    /// As [`Self::look`].
    pub fn rejected_lately(&self, _now: Timestamp) -> Result<Vec<DroppedFile>, Error> {
        todo!()
    }

    /// Keeps the public parts and the text in `accepted/<time>/`, and removes the uploaded files
    /// (those that are still the ones that were read) and `password.txt`, and the notes.
    ///
    /// # Errors
    ///
    /// When the system refuses; a file that was read and could not be removed is read again.
    pub fn accepted(
        &self,
        _files: &[FileKey],
        _public: &[(String, String)],
        _text: &str,
        _now: Timestamp,
    ) -> Result<(), Error> {
        todo!()
    }

    /// Moves refused files to `rejected/<time>/` and writes `REASON.txt` beside the drop.
    ///
    /// # Errors
    ///
    /// As [`Self::accepted`].
    pub fn rejected(
        &self,
        _files: &[FileKey],
        _reason: &str,
        _now: Timestamp,
    ) -> Result<(), Error> {
        todo!()
    }

    /// Writes `WAITING.txt`: what is there, and what is missing.
    ///
    /// # Errors
    ///
    /// As [`Self::accepted`].
    pub fn waiting(&self, _text: &str) -> Result<(), Error> {
        todo!()
    }

    /// Removes what is over its time: rejected files after 30 days.
    ///
    /// # Errors
    ///
    /// As [`Self::accepted`].
    pub fn sweep(&self, _now: Timestamp) -> Result<(), Error> {
        todo!()
    }
}
