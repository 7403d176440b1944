//! A folder held open: what is done in it is done in this very folder, whatever somebody puts
//! under its path meanwhile. For folders in which others may write.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::durable::{self, Needs};
use super::folder::{self, StagedDir};
use super::place::{self, Owner, PREFIX};
use super::{Error, Seen, open};

/// An open folder. Names are names in it: none is followed out of it.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder; no part of `path` may be a symbolic link.
    ///
    /// # Errors
    ///
    /// When it is no folder, cannot be reached, or a link is on the way.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { handle: open::open_folder(path)?, path: path.to_owned() })
    }

    /// Opens a folder that lies in this one.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn inner(&self, name: &OsStr) -> Result<Self, Error> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = single(name)
            .and_then(|()| Ok(rustix::fs::openat(&self.handle, name, flags, Mode::empty())?))
            .map_err(Error::of("open", &path))?;
        Ok(Self { handle, path })
    }

    /// The same folder once more.
    ///
    /// # Errors
    ///
    /// When the system has no handle left.
    pub fn again(&self) -> Result<Self, Error> {
        let handle = self.handle.try_clone().map_err(Error::of("open", &self.path))?;
        Ok(Self { handle, path: self.path.clone() })
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the folder itself is.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn itself(&self) -> Result<Seen, Error> {
        let stat = rustix::fs::fstat(&self.handle).map_err(io::Error::from);
        stat.map(|stat| Seen::of(&stat)).map_err(Error::of("look at", &self.path))
    }

    /// What lies under a name; `None` when nothing does.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn look(&self, name: &OsStr) -> Result<Option<Seen>, Error> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Seen::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::of("look at", &self.path.join(name))(e.into())),
        }
    }

    /// Shows every name to `visit`, in no order, but no more than `most`. Whether there are more.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, and what `visit` returns.
    pub fn each<E: From<Error>>(
        &self,
        most: usize,
        mut visit: impl FnMut(&OsStr) -> Result<(), E>,
    ) -> Result<bool, E> {
        let cannot = |e: Errno| Error::of("list", &self.path)(e.into());
        let mut seen = 0;
        for entry in Dir::read_from(&self.handle).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if seen == most {
                return Ok(true);
            }
            seen += 1;
            visit(name)?;
        }
        Ok(false)
    }

    /// The bytes of a regular file that has no other name and at most `limit` bytes, and what it
    /// was; `None` when it was being written. Never waits for anybody.
    ///
    /// # Errors
    ///
    /// When it is something else, is larger, or the system refuses.
    pub fn read(&self, name: &OsStr, limit: u64) -> Result<Option<(Vec<u8>, Seen)>, Error> {
        let path = self.path.join(name);
        let cannot = || Error::of("read", &path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let flags = flags | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            // Its writer holds a lease on it (fcntl(2)), which ends in a while.
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(cannot()(e.into())),
        };
        let look = || rustix::fs::fstat(&file).map(|stat| Seen::of(&stat));
        let before = look().map_err(|e| cannot()(e.into()))?;
        if !before.is_file() || before.links != 1 {
            let what = if before.is_file() { "a file with several names" } else { before.what() };
            return Err(Error::Kind { tried: "read", path: path.clone(), what });
        }
        if before.size > limit {
            return Err(Error::TooLarge { path, limit });
        }
        // Room for all at once: a buffer that grows leaves copies of a key behind.
        let mut bytes = Vec::with_capacity(usize::try_from(before.size).unwrap_or(0) + 64);
        (&file).take(before.size + 1).read_to_end(&mut bytes).map_err(cannot())?;
        let after = look().map_err(|e| cannot()(e.into()))?;
        let whole = u64::try_from(bytes.len()).is_ok_and(|length| length == before.size);
        Ok((whole && before == after).then_some((bytes, before)))
    }

    /// Makes a folder with its final mode and owner from the first moment that it can be seen.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or something is there ([`Error::is_taken`]).
    pub fn make_dir(&self, name: &OsStr, mode: u32, owner: Owner) -> Result<(), Error> {
        self.stage_dir()?.settle(self, name, mode, owner)
    }

    /// Makes an empty folder in it, for us alone, to be filled and then put into its place.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn stage_dir(&self) -> Result<StagedDir, Error> {
        let cannot = || Error::of("make folder in", &self.path);
        let handle = self.handle.try_clone().map_err(cannot())?;
        folder::stage_in(handle, &self.path).map_err(cannot())
    }

    /// Puts a file under a name: what was there stays until the new one is whole and on disk.
    ///
    /// # Errors
    ///
    /// When anything fails; nothing is left behind then.
    pub fn replace(&self, name: &OsStr, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.path.join(name);
        let stage = || {
            single(name)?;
            place::stage_in(self.handle.try_clone()?, &path, name, bytes, mode, Owner::default())
        };
        stage().map_err(Error::of("replace", &path))?.commit()
    }

    /// Moves whatever has a name to where nothing is; never replaces anything, and moves a link
    /// itself.
    ///
    /// # Errors
    ///
    /// When something is there ([`Error::is_taken`]), or there is nothing to move
    /// ([`Error::is_missing`]).
    pub fn move_new(&self, name: &OsStr, to: &Self, new_name: &OsStr) -> Result<(), Error> {
        to.take_in(&self.handle, name, new_name)
    }

    /// Moves a name of another folder in, where nothing is.
    pub(super) fn take_in(&self, from: &OwnedFd, name: &OsStr, to: &OsStr) -> Result<(), Error> {
        let moved = || -> io::Result<()> {
            single(name)?;
            single(to)?;
            durable::step(Needs::Nothing)?;
            folder::rename_new(from, name, &self.handle, to)?;
            place::flush(&self.handle)?;
            place::flush(from)
        };
        moved().map_err(Error::of("make", &self.path.join(to)))
    }

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// When it cannot be removed, or is a folder.
    pub fn remove(&self, name: &OsStr) -> Result<(), Error> {
        self.removed(name, || {
            durable::step(Needs::Nothing)?;
            Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())?)
        })
    }

    /// Removes a file or a whole folder; links in it are removed, never followed. Nothing there is
    /// no error.
    ///
    /// # Errors
    ///
    /// When something cannot be removed; the rest of it stays.
    pub fn remove_tree(&self, name: &OsStr) -> Result<(), Error> {
        self.removed(name, || folder::remove_at(&self.handle, name))
    }

    /// Removes an empty folder; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// When something is in it, or it cannot be removed.
    pub fn remove_empty(&self, name: &OsStr) -> Result<(), Error> {
        self.removed(name, || {
            durable::step(Needs::Nothing)?;
            Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR)?)
        })
    }

    fn removed(&self, name: &OsStr, remove: impl Fn() -> io::Result<()>) -> Result<(), Error> {
        let remove = || single(name).and_then(|()| remove());
        match remove().map_err(Error::of("remove", &self.path.join(name))) {
            Err(e) if e.is_missing() => Ok(()),
            Err(e) => Err(e),
            Ok(()) => place::flush(&self.handle).map_err(Error::of("flush", &self.path)),
        }
    }

    /// Removes staged files and folders that a crash left here and nobody is writing.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read or a leftover cannot be removed.
    pub fn sweep(&self) -> Result<(), Error> {
        let mut left = Vec::new();
        self.each(usize::MAX, |name| {
            if name.as_bytes().starts_with(PREFIX.as_bytes()) {
                left.push(name.to_owned());
            }
            Ok::<_, Error>(())
        })?;
        for name in left {
            if !place::is_in_use(&self.handle, &name) {
                self.remove_tree(&name)?;
            }
        }
        Ok(())
    }

    /// Gives the folder itself a mode and an owner.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn give(&self, mode: u32, owner: Owner) -> Result<(), Error> {
        let give = || {
            durable::step(Needs::Nothing)?;
            place::give(&self.handle, mode, owner)
        };
        give().map_err(Error::of("give a mode and a group to", &self.path))
    }

    /// What time it is for the file system that the folder lies on, in nanoseconds since 1970: on
    /// a network share, the server's. `name` is made when missing, and is empty.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn clock(&self, name: &OsStr) -> Result<i64, Error> {
        let touch = || -> io::Result<i64> {
            single(name)?;
            durable::step(Needs::Space)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let flags = flags | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o600);
            let file = rustix::fs::openat(&self.handle, name, flags, mode)?;
            let at_once = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
            let times = Timestamps { last_access: at_once, last_modification: at_once };
            rustix::fs::futimens(&file, &times)?;
            Ok(Seen::of(&rustix::fs::fstat(&file)?).changed)
        };
        touch().map_err(Error::of("ask the time by", &self.path.join(name)))
    }

    /// Whether it lies on a file system that others change without our kernel being told.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn is_remote(&self) -> Result<bool, Error> {
        let found = rustix::fs::fstatfs(&self.handle).map_err(io::Error::from);
        found.map(|found| is_remote_kind(&found)).map_err(Error::of("look at", &self.path))
    }
}

/// Whether `path`, or the nearest folder above it that is there, lies on a file system that others
/// change without our kernel being told: no file events come from it.
pub fn is_remote(path: &Path) -> bool {
    path.ancestors()
        .find_map(|at| rustix::fs::statfs(at).ok())
        .is_some_and(|found| is_remote_kind(&found))
}

fn is_remote_kind(found: &rustix::fs::StatFs) -> bool {
    // Some processors have signed words of 64 bits here, and CIFS has the uppermost of 32 set.
    #[allow(clippy::cast_possible_truncation, reason = "the kernel's numbers have 32 bits")]
    #[allow(clippy::cast_sign_loss, reason = "the bits are what is compared")]
    REMOTE.contains(&(found.f_type as u32))
}

/// `f_type` of statfs(2): 9P, AFS, Ceph, CIFS, FUSE, GFS2, Lustre, NFS, OCFS2, SMB, SMB2, vboxsf.
const REMOTE: [u32; 12] = [
    0x0102_1997,
    0x5346_414f,
    0x00c3_6400,
    0xff53_4d42,
    0x6573_5546,
    0x0116_1970,
    0x0bd0_0bd0,
    0x0000_6969,
    0x7461_636f,
    0x0000_517b,
    0xfe53_4d42,
    0x786f_4256,
];

/// One component, and a real one.
fn single(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(Errno::INVAL.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
