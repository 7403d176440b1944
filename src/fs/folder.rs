//! Folders: made whole, swapped in one step, listed and removed by handle.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::durable::{self, Needs};
use super::place::{self, Owner};
use super::{Error, Folder, open};

/// No tree that we make is deeper; a deeper one is not removed.
const DEPTH: usize = 32;

/// Makes a folder with its final mode and owner from the first moment that it can be seen. One
/// that is there already is left as it is. Returns whether it was made.
///
/// # Errors
///
/// When it cannot be made, or something else is there.
pub fn make_dir(path: &Path, mode: u32, owner: Owner) -> Result<bool, Error> {
    let (folder, name) = open::parent(path).map_err(Error::of("make folder", path))?;
    match open::kind(&folder, &name) {
        Some(FileType::Directory) => return Ok(false),
        Some(kind) => {
            let what = open::kind_in_words(kind);
            return Err(Error::Kind { tried: "make folder", path: path.to_owned(), what });
        }
        None => {}
    }
    match stage_dir(path)?.publish(path, mode, owner) {
        Ok(()) => Ok(true),
        Err(_) if open::kind(&folder, &name) == Some(FileType::Directory) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes an empty folder beside `path`, for us alone, to be filled and then put into its place.
///
/// # Errors
///
/// When it cannot be made.
pub fn stage_dir(path: &Path) -> Result<StagedDir, Error> {
    open::parent(path)
        .and_then(|(folder, _)| stage_in(folder, path.parent().unwrap_or(Path::new(""))))
        .map_err(Error::of("make folder", path))
}

/// As [`stage_dir`], in an open folder; `above` is its path, for messages.
pub(super) fn stage_in(folder: OwnedFd, above: &Path) -> io::Result<StagedDir> {
    let (name, ()) = place::fresh(|name| {
        durable::step(Needs::Space)?;
        Ok(rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o700))?)
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = match rustix::fs::openat(&folder, &name, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(e) => {
            let _ = rustix::fs::unlinkat(&folder, &name, AtFlags::REMOVEDIR);
            return Err(e.into());
        }
    };
    let path = above.join(&name);
    let staged = StagedDir { folder, name, path, handle, gone: false };
    place::in_use(&staged.handle)?;
    Ok(staged)
}

/// A folder being filled beside its place. What lies under its name is removed when it is dropped.
#[derive(Debug)]
#[must_use = "it is removed when dropped; `publish` or `exchange` puts it into its place"]
pub struct StagedDir {
    folder: OwnedFd,
    name: OsString,
    path: PathBuf,
    handle: OwnedFd,
    gone: bool,
}

impl StagedDir {
    /// Where it lies for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new file into it, on disk.
    ///
    /// # Errors
    ///
    /// When it cannot be written whole, or there is one of this name.
    pub fn write(&self, name: &str, bytes: &[u8], mode: u32, owner: Owner) -> Result<(), Error> {
        self.write_new(name, bytes, mode, owner).map_err(Error::of("write", &self.path.join(name)))
    }

    fn write_new(&self, name: &str, bytes: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
        durable::step(Needs::Space)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.handle, name, flags, Mode::from_raw_mode(0o600))?;
        place::fill(&File::from(handle), bytes, mode, owner)
    }

    /// Gives it owner and mode, flushes it, and puts it where nothing is yet.
    ///
    /// # Errors
    ///
    /// When something is there, or it cannot be renamed; it is removed then.
    pub fn publish(mut self, path: &Path, mode: u32, owner: Owner) -> Result<(), Error> {
        self.seal(mode, owner)?;
        move_new(&self.path, path)?;
        self.gone = true;
        Ok(())
    }

    /// Makes an empty folder in it.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn make_dir(&self, name: &str, mode: u32) -> Result<(), Error> {
        let make = || -> io::Result<()> {
            durable::step(Needs::Space)?;
            rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o700))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = rustix::fs::openat(&self.handle, name, flags, Mode::empty())?;
            place::give(&inner, mode, Owner::default())
        };
        make().map_err(Error::of("make folder", &self.path.join(name)))
    }

    /// Gives it owner and mode, flushes it, and puts it into an open folder, where nothing is yet.
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub fn settle(
        mut self,
        to: &Folder,
        name: &OsStr,
        mode: u32,
        owner: Owner,
    ) -> Result<(), Error> {
        self.seal(mode, owner)?;
        to.take_in(&self.folder, &self.name, name)?;
        self.gone = true;
        Ok(())
    }

    /// Gives it owner and mode, flushes it, and swaps it with the folder at `path` in one step.
    /// From then on what was there lies under our name, and goes when this is dropped: move it
    /// away first ([`move_new`]) to keep it.
    ///
    /// # Errors
    ///
    /// When there is nothing at `path`, or the file system cannot swap.
    pub fn exchange(&self, path: &Path, mode: u32, owner: Owner) -> Result<(), Error> {
        self.seal(mode, owner)?;
        exchange(&self.path, path)
    }

    fn seal(&self, mode: u32, owner: Owner) -> Result<(), Error> {
        place::give(&self.handle, mode, owner)
            .and_then(|()| place::flush(&self.handle))
            .map_err(Error::of("write", &self.path))
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.gone {
            // Nothing can be done about a failure here; `sweep` finds it.
            let _ = remove_at(&self.folder, &self.name);
        }
    }
}

/// Swaps two files or folders in one step: no moment shows only one of them.
///
/// # Errors
///
/// When one is missing, or the file system cannot swap ([`Error::is_unsupported`]).
pub fn exchange(a: &Path, b: &Path) -> Result<(), Error> {
    rename(a, b, |a_at, a_name, b_at, b_name| {
        rustix::fs::renameat_with(a_at, a_name, b_at, b_name, RenameFlags::EXCHANGE)
    })
    .map_err(Error::of("exchange", b))
}

/// Moves a file or folder to where nothing is; never replaces anything.
///
/// # Errors
///
/// When something is there ([`Error::is_taken`]), or `from` is missing.
pub fn move_new(from: &Path, to: &Path) -> Result<(), Error> {
    rename(from, to, rename_new).map_err(Error::of("make", to))
}

/// Moves a name to where nothing is.
pub(super) fn rename_new(
    from_at: &OwnedFd,
    from: &OsStr,
    to_at: &OwnedFd,
    to: &OsStr,
) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from_at, from, to_at, to, RenameFlags::NOREPLACE) {
        // A file system without it (NFS, say): as near as it gets.
        Err(Errno::INVAL | Errno::NOSYS) => match open::kind(to_at, to) {
            Some(_) => Err(Errno::EXIST),
            None => rustix::fs::renameat(from_at, from, to_at, to),
        },
        other => other,
    }
}

type Rename = fn(&OwnedFd, &OsStr, &OwnedFd, &OsStr) -> Result<(), Errno>;

fn rename(from: &Path, to: &Path, call: Rename) -> io::Result<()> {
    let same_folder = from.parent() == to.parent();
    let (from_at, from) = open::parent(from)?;
    let (to_at, to) = open::parent(to)?;
    durable::step(Needs::Nothing)?;
    call(&from_at, &from, &to_at, &to)?;
    place::flush(&to_at)?;
    if same_folder { Ok(()) } else { place::flush(&from_at) }
}

/// Gives a file a second name where nothing is.
///
/// # Errors
///
/// When something is there ([`Error::is_taken`]), or `from` is missing.
pub fn link_new(from: &Path, to: &Path) -> Result<(), Error> {
    let link = || -> io::Result<()> {
        let (from_at, from) = open::parent(from)?;
        let (to_at, to) = open::parent(to)?;
        durable::step(Needs::Space)?;
        rustix::fs::linkat(&from_at, &from, &to_at, &to, AtFlags::empty())?;
        place::flush(&to_at)
    };
    link().map_err(Error::of("make", to))
}

/// Removes a file; one that is not there is no error.
///
/// # Errors
///
/// When it cannot be removed, or is a folder.
pub fn remove(path: &Path) -> Result<(), Error> {
    let remove = || -> io::Result<()> {
        let (folder, name) = open::parent(path)?;
        durable::step(Needs::Nothing)?;
        rustix::fs::unlinkat(&folder, &name, AtFlags::empty())?;
        place::flush(&folder)
    };
    match remove().map_err(Error::of("remove", path)) {
        Err(e) if e.is_missing() => Ok(()),
        other => other,
    }
}

/// Removes a file or a whole folder; links in it are removed, never followed. Nothing there is no
/// error.
///
/// # Errors
///
/// When something cannot be removed; the rest of it stays.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    let remove = || -> io::Result<()> {
        let (folder, name) = open::parent(path)?;
        remove_at(&folder, &name)?;
        place::flush(&folder)
    };
    match remove().map_err(Error::of("remove", path)) {
        Err(e) if e.is_missing() => Ok(()),
        other => other,
    }
}

/// Removes a name in an open folder with everything below it.
pub(super) fn remove_at(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    remove_below(folder, name, DEPTH)
}

fn remove_below(folder: &OwnedFd, name: &OsStr, depth: usize) -> io::Result<()> {
    durable::step(Needs::Nothing)?;
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return Ok(other?),
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(io::Error::other("folders are nested too deeply"));
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    for entry in names(&inner)? {
        remove_below(&inner, &entry, depth)?;
    }
    Ok(rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// Names in a folder, in order; none when it is not there. Names that are not UTF-8 are none of
/// ours and left out.
///
/// # Errors
///
/// When it cannot be read.
pub fn list(path: &Path) -> Result<Vec<String>, Error> {
    let listed = open::folder(path).and_then(|folder| names(&folder));
    match listed.map_err(Error::of("list", path)) {
        Ok(names) => {
            let mut names: Vec<String> =
                names.into_iter().filter_map(|name| name.into_string().ok()).collect();
            names.sort_unstable();
            Ok(names)
        }
        Err(e) if e.is_missing() => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Names in an open folder, without `.` and `..`.
pub(super) fn names(folder: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}
