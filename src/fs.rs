//! Files that are never half there, never followed out of their place, never writable by others.
//!
//! Everything is reached by handle and without following symbolic links, written beside its place
//! and renamed ([`replace`], [`stage`]), or swapped as a whole folder ([`stage_dir`],
//! [`exchange`]). Who else could write a path is told by [`guarded`]; who writes now by kernel
//! locks ([`Lock`]). A folder in which others may write is held open ([`Folder`]).

mod durable;
mod folder;
mod guard;
mod handle;
mod lock;
mod open;
mod place;
mod seen;

use std::io;
use std::path::{Path, PathBuf};

pub use folder::{
    StagedDir, exchange, link_new, list, make_dir, move_new, remove, remove_tree, stage_dir,
};
pub use guard::{guarded, guarded_for, secret};
pub use handle::{Folder, is_remote};
pub use lock::Lock;
pub use open::{append_line, changed_at, open_file, open_folder, read, read_if_there};
pub use place::{Owner, PREFIX, Staged, commit_all, replace, stage, sweep};
pub use seen::Seen;

/// Why something could not be done to a file or folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot {tried} {path}")]
    Io {
        /// What was tried, as a verb.
        tried: &'static str,
        /// To what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is something else than was expected there.
    #[error("cannot {tried} {path}: it is {what}")]
    Kind {
        /// What was tried, as a verb.
        tried: &'static str,
        /// To what.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A symbolic link is in the path.
    #[error(
        "cannot {tried} {path}: a symbolic link is on the way, and none is followed; name the \
         place that it leads to"
    )]
    Link {
        /// What was tried, as a verb.
        tried: &'static str,
        /// To what.
        path: PathBuf,
    },
    /// It is larger than anything that is meant to be there.
    #[error("cannot read {path}: it is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
}

impl Error {
    /// The disk, or the share of it that is ours, is full.
    pub fn is_disk_full(&self) -> bool {
        self.is(&[rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT])
    }

    /// The file system is mounted read-only.
    pub fn is_read_only(&self) -> bool {
        self.is(&[rustix::io::Errno::ROFS])
    }

    /// We may not do that.
    pub fn is_permission(&self) -> bool {
        self.is(&[rustix::io::Errno::ACCESS, rustix::io::Errno::PERM])
    }

    /// There is no such file or folder.
    pub fn is_missing(&self) -> bool {
        self.is(&[rustix::io::Errno::NOENT])
    }

    /// Something is there already.
    pub fn is_taken(&self) -> bool {
        self.is(&[rustix::io::Errno::EXIST, rustix::io::Errno::NOTEMPTY])
    }

    /// The file system has no such operation (the exchange of two names, say).
    pub fn is_unsupported(&self) -> bool {
        use rustix::io::Errno;

        self.is(&[Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP])
    }

    fn is(&self, codes: &[rustix::io::Errno]) -> bool {
        let Self::Io { source, .. } = self else { return false };
        source.raw_os_error().is_some_and(|raw| codes.iter().any(|c| c.raw_os_error() == raw))
    }

    /// Says what was tried to which path, and sorts out links.
    fn of(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
                return Self::Link { tried, path };
            }
            Self::Io { tried, path, source }
        }
    }
}

#[cfg(all(test, debug_assertions))]
pub(crate) use durable::cut;

#[cfg(test)]
mod tests;
