//! Kernel locks: gone with their holder, however it ends.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{Error, open};

/// An exclusive `flock` on a file that is never removed: dropping it, or dying, releases it.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock; `None` when somebody else holds it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or made.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, Error> {
        let file = lock_file(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file, path: path.to_owned() })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(Error::of("lock", path)(e.into())),
        }
    }

    /// Takes the lock, waiting for whoever holds it: only for locks that are held for a moment.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or made.
    pub fn acquire_blocking(path: &Path) -> Result<Self, Error> {
        let file = lock_file(path)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
            .map_err(|e| Error::of("lock", path)(e.into()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// The file that is locked.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child between fork and exec still has the handle, so closing ours is not enough.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

fn lock_file(path: &Path) -> Result<File, Error> {
    let (folder, name) = open::parent(path).map_err(Error::of("lock", path))?;
    // Close-on-exec: a hook that outlives us, killed, must not keep our locks.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&folder, &name, flags | OFlags::NONBLOCK, Mode::from_raw_mode(0o600))
        .map(File::from)
        .map_err(|e| Error::of("lock", path)(e.into()))
}
