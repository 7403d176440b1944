//! Putting a file into its place whole: owner and mode before content, flushed before visible.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::durable::{self, Needs};
use super::{Error, folder, open};

/// Every file and folder that is not yet in its place is named so; what a crash leaves behind is
/// found by it.
pub const PREFIX: &str = ".pbxcert-";

/// Whose a file is to be; `None` leaves it ours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Owner {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

/// Puts `bytes` at `path`: what was there stays until the new file is whole and on disk.
///
/// # Errors
///
/// When anything fails; nothing is left behind then. Should the very last step fail, the flush of
/// the folder, the new file is there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<(), Error> {
    stage(path, bytes, mode, owner)?.commit()
}

/// Writes a file beside `path`, whole and on disk, so that several can be renamed back to back.
///
/// # Errors
///
/// When anything fails; nothing is left behind then.
pub fn stage(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<Staged, Error> {
    open::parent(path)
        .and_then(|(folder, name)| stage_in(folder, path, &name, bytes, mode, owner))
        .map_err(Error::of("replace", path))
}

/// As [`stage`], in an open folder; `path` is for messages.
pub(super) fn stage_in(
    folder: OwnedFd,
    path: &Path,
    name: &OsStr,
    bytes: &[u8],
    mode: u32,
    owner: Owner,
) -> io::Result<Staged> {
    if open::kind(&folder, name) == Some(rustix::fs::FileType::Directory) {
        return Err(Errno::ISDIR.into());
    }
    let (temporary, handle) = fresh(|temporary| {
        durable::step(Needs::Space)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&folder, temporary, flags, Mode::from_raw_mode(0o600))?)
    })?;
    // From here on, an error removes it.
    let (path, name) = (path.to_owned(), name.to_owned());
    let staged = Staged { folder, path, name, temporary, handle: handle.into() };
    in_use(&staged.handle)?;
    fill(&staged.handle, bytes, mode, owner)?;
    Ok(staged)
}

/// Owner, mode, content, disk: in this order nobody reads what is not meant for them.
pub(super) fn fill(mut file: &File, bytes: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    give(file, mode, owner)?;
    durable::step(Needs::Space)?;
    file.write_all(bytes)?;
    durable::step(Needs::Nothing)?;
    file.sync_all()
}

/// Sets owner, then mode (a change of owner may clear bits).
pub(super) fn give(file: impl std::os::fd::AsFd, mode: u32, owner: Owner) -> io::Result<()> {
    if owner != Owner::default() {
        let (uid, gid) = (owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw));
        rustix::fs::fchown(&file, uid, gid)?;
    }
    Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?)
}

/// Marks something staged as being written, so that [`sweep`] in another process lets it be.
pub(super) fn in_use(file: impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Tries fresh names until one is free.
pub(super) fn fresh<T>(make: impl Fn(&OsStr) -> io::Result<T>) -> io::Result<(OsString, T)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);

    for _ in 0..64 {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = OsString::from(format!("{PREFIX}{}-{count}", std::process::id()));
        match make(&name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|made| (name, made)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A file written beside its place; removed again when dropped.
#[derive(Debug)]
#[must_use = "it is removed when dropped; `commit` puts it into its place"]
pub struct Staged {
    folder: OwnedFd,
    path: PathBuf,
    name: OsString,
    temporary: OsString,
    /// Kept open: its lock says that it is in use.
    handle: File,
}

impl Staged {
    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it lies for now.
    pub fn beside(&self) -> PathBuf {
        self.path.with_file_name(&self.temporary)
    }

    /// Puts it into its place, on disk.
    ///
    /// # Errors
    ///
    /// When it cannot be renamed (it is removed then), or the folder cannot be flushed.
    pub fn commit(mut self) -> Result<(), Error> {
        self.rename()?;
        self.flush()
    }

    fn rename(&mut self) -> Result<(), Error> {
        durable::step(Needs::Nothing)
            .and_then(|()| {
                rustix::fs::renameat(&self.folder, &self.temporary, &self.folder, &self.name)?;
                Ok(())
            })
            .map_err(Error::of("replace", &self.path))?;
        self.temporary.clear();
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        flush(&self.folder).map_err(Error::of("flush the folder of", &self.path))
    }
}

/// Flushes a folder: after it, its names survive a power cut.
pub(super) fn flush(folder: &OwnedFd) -> io::Result<()> {
    durable::step(Needs::Nothing)?;
    Ok(rustix::fs::fsync(folder)?)
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.temporary.is_empty() {
            // Nothing can be done about a failure here; `sweep` finds it.
            let _ = rustix::fs::unlinkat(&self.folder, &self.temporary, AtFlags::empty());
        }
    }
}

/// Puts several files into their places: all renames back to back, then all flushes.
///
/// # Errors
///
/// At the first rename that fails; those before it are in place, the others are removed.
pub fn commit_all(mut staged: Vec<Staged>) -> Result<(), Error> {
    for file in &mut staged {
        file.rename()?;
    }
    staged.iter().try_for_each(Staged::flush)
}

/// Removes what a crash left in a folder: our staged files and folders that nobody is writing.
///
/// # Errors
///
/// When the folder cannot be read or a leftover cannot be removed.
pub fn sweep(path: &Path) -> Result<(), Error> {
    let folder = open::folder(path).map_err(Error::of("sweep", path))?;
    for name in folder::names(&folder).map_err(Error::of("sweep", path))? {
        if name.as_bytes().starts_with(PREFIX.as_bytes()) && !is_in_use(&folder, &name) {
            match folder::remove_at(&folder, &name) {
                // Its writer has put it into its place since it was listed.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(Error::of("remove", &path.join(&name)))?,
            }
        }
    }
    Ok(())
}

pub(super) fn is_in_use(folder: &OwnedFd, name: &OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(handle) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return false };
    let lock = rustix::fs::flock(handle.as_fd(), FlockOperation::NonBlockingLockExclusive);
    lock == Err(Errno::WOULDBLOCK)
}
