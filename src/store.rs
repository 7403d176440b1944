//! What is remembered, on disk: the only truth, and the only module that knows where it lies.
//!
//! ```text
//! state-dir/                                          may be passed through by others (0711)
//!   shared/issuers/<issuer>/         account.json rehearsal-account.json ledger.json lock
//!   shared/certificates/<name>/      state.json order.json order.key last.json lock
//!                                    csr.json csr.key csr.pem csr.txt csr-<n>.key
//!                       rev/<n>/     cert.pem chain.pem key.pem meta.json
//!   node/services/<name>/            state.json lock saved/<certificate>/
//!   node/                            history.jsonl history.1.jsonl instance.key daemon.json
//!                                    generation challenge/ uploads/<certificate>.json lock
//!                                    alerts.json outbox/ alerts.lock identity.json identity.lock
//!                                    crl/<address>.crl check.json check.lock advisory.json
//!   drop/<certificate>/              what is uploaded; may be elsewhere
//! ```
//!
//! **Who writes.** One role per file: a [`CertificateWriter`] exists only while the certificate's
//! lock is held, a [`ServiceWriter`] only while the service's is. Both are taken without waiting
//! (`try_lock`), a certificate's before a service's. The locks of issuers, of alerts and of the host
//! are held inside one call only, the node's as the innermost of all: so no two can wait for each
//! other. Readers need no lock, for files are only ever replaced whole.
//!
//! **What is damaged** (by hand, by a file system) is no reason to stop: readers take it as not
//! there, the next writer moves it aside as `<file>.broken-<unix time>`, tells history, and goes on
//! from what can be rebuilt. `findings` tell of it for as long as the file lies there. What a newer
//! pbxcert wrote is [`Error::Newer`], and never written over.

mod advisory;
mod alerts;
mod certificate;
mod check;
mod crl;
mod csr;
mod drop;
mod identity;
mod issuer;
mod node;
mod order;
mod record;
mod revision;
mod service;
mod upload;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::cert;
use crate::fs::{self, Lock, Owner, make_dir};
use crate::state::identity::IdentityRecord;
use crate::state::{Event, Finding, SCHEMA};

use record::Subject;

pub use advisory::KeptAdvisory;
pub use alerts::OUTBOX_LIMIT;
pub use certificate::{CertificateStore, CertificateWriter};
pub use check::CheckWriter;
pub use csr::Csr;
pub use drop::{DropFolder, Dropped, DroppedFile, FileKey};
pub use issuer::IssuerStore;
pub use node::DaemonRecord;
pub use service::{ServiceStore, ServiceWriter};

/// Others may pass through, but not list.
const PASSABLE: u32 = 0o711;
/// For us alone.
const PRIVATE: u32 = 0o700;
/// A file for us alone.
const PRIVATE_FILE: u32 = 0o600;

/// Why something cannot be remembered or recalled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bundle on disk, or about to be, is none.
    #[error("{path} holds no usable certificate and key")]
    Bundle {
        /// The revision's folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: cert::Error,
    },
    /// A drop folder cannot be made or used.
    #[error("cannot use the drop folder {path}: {reason}")]
    DropFolder {
        /// The folder.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
    /// A file or folder could not be read or written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A name that can be no folder.
    #[error(
        "{name:?} is no name: use letters, digits, `-`, `_` and `.`, at most 64, and no `.` first"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A file was written by a newer pbxcert.
    #[error(
        "{path} was written by a newer pbxcert (schema {schema}, this one knows {SCHEMA}) and is \
         left alone; install the newer pbxcert again"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema number.
        schema: u64,
    },
    /// There is no such revision, or it is not whole.
    #[error("there is no revision {number} of {certificate}: {reason}")]
    NoRevision {
        /// The certificate.
        certificate: String,
        /// The number.
        number: u64,
        /// Why not.
        reason: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for {path}")]
    Random {
        /// What they were for.
        path: PathBuf,
    },
    /// Opened by [`Store::open_read_only`].
    #[error("the state folder {path} was opened for reading only")]
    ReadOnly {
        /// The state folder.
        path: PathBuf,
    },
    /// A record could not be turned into JSON.
    #[error("cannot write {path} as JSON")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// Somebody else could write what we remember.
    #[error("the state folder cannot be trusted: {reason}")]
    Unsafe {
        /// Who could write what, and the command that ends it.
        reason: String,
    },
}

impl Error {
    /// The disk, or the share of it that is ours, is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Fs(e) if e.is_disk_full())
    }

    /// The file system is mounted read-only.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Fs(e) if e.is_read_only())
    }

    /// We may not do that.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Fs(e) if e.is_permission())
    }
}

/// Everything remembered below one state folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    writable: bool,
}

impl Store {
    /// Opens the state folder, making what is not there yet (but not the folder above it).
    ///
    /// # Errors
    ///
    /// When somebody else could write it, or it cannot be made.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        let store = Self { root: resolved(state_dir)?, writable: true };
        make_dir(&store.root, PASSABLE, Owner::default())?;
        check_guarded(&store.root)?;
        for (folder, mode) in [
            (store.shared(), PRIVATE),
            (store.shared().join("issuers"), PRIVATE),
            (store.shared().join("certificates"), PRIVATE),
            (store.node(), PASSABLE),
            (store.node().join("services"), PRIVATE),
            (store.challenge_dir(), PASSABLE),
            (store.wake_dir(), PRIVATE),
        ] {
            make_dir(&folder, mode, Owner::default())?;
            check_guarded(&folder)?;
        }
        // What is in a certificate's or service's folder is swept under its own lock.
        for folder in [
            store.root.clone(),
            store.shared(),
            store.shared().join("issuers"),
            store.shared().join("certificates"),
            store.node(),
            store.node().join("services"),
            store.challenge_dir(),
            store.wake_dir(),
        ] {
            fs::sweep(&folder)?;
        }
        Ok(store)
    }

    /// Opens the state folder to look only: nothing is made, moved or removed, and one that is not
    /// there yet is empty.
    ///
    /// # Errors
    ///
    /// When somebody else could write it.
    pub fn open_read_only(state_dir: &Path) -> Result<Self, Error> {
        // A folder that we may not even see is not the same as none: that is told.
        if state_dir.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            return Ok(Self { root: state_dir.to_owned(), writable: false });
        }
        Ok(Self { root: resolved(state_dir)?, writable: false })
    }

    /// The state folder, with every symbolic link on the way to it resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is remembered of a certificate.
    ///
    /// # Errors
    ///
    /// When `name` can be no name.
    pub fn certificate(&self, name: &str) -> Result<CertificateStore, Error> {
        let dir = self.shared().join("certificates").join(checked(name)?);
        Ok(CertificateStore::new(self.clone(), name, dir))
    }

    /// What is remembered of an issuer.
    ///
    /// # Errors
    ///
    /// When `name` can be no name.
    pub fn issuer(&self, name: &str) -> Result<IssuerStore, Error> {
        let dir = self.shared().join("issuers").join(checked(name)?);
        Ok(IssuerStore::new(self.clone(), name, dir))
    }

    /// What is remembered of a service.
    ///
    /// # Errors
    ///
    /// When `name` can be no name.
    pub fn service(&self, name: &str) -> Result<ServiceStore, Error> {
        let dir = self.node().join("services").join(checked(name)?);
        Ok(ServiceStore::new(self.clone(), name, dir))
    }

    /// Names of all certificates of which something is remembered, also those that are no longer
    /// in the configuration.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn certificates(&self) -> Result<Vec<String>, Error> {
        names(&self.shared().join("certificates"))
    }

    /// Names of all issuers of which something is remembered.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn issuers(&self) -> Result<Vec<String>, Error> {
        names(&self.shared().join("issuers"))
    }

    /// Names of all services of which something is remembered, also those that are no longer in
    /// the configuration.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn services(&self) -> Result<Vec<String>, Error> {
        names(&self.node().join("services"))
    }

    /// What is damaged, was damaged and moved aside, or was written by a newer pbxcert.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = record::set_aside(&self.node(), "pbxcert")?;
        findings.extend(record::damage::<IdentityRecord>(&self.identity_file(), "pbxcert")?);
        for name in self.issuers()? {
            findings.extend(self.issuer(&name)?.findings()?);
        }
        for name in self.certificates()? {
            findings.extend(self.certificate(&name)?.findings()?);
        }
        for name in self.services()? {
            findings.extend(self.service(&name)?.findings()?);
        }
        Ok(findings)
    }

    fn shared(&self) -> PathBuf {
        self.root.join("shared")
    }

    fn node(&self) -> PathBuf {
        self.root.join("node")
    }

    fn check_writable(&self) -> Result<(), Error> {
        if self.writable {
            return Ok(());
        }
        Err(Error::ReadOnly { path: self.root.clone() })
    }

    /// Tells history that something damaged was moved aside. A history that cannot be written is
    /// no reason to leave the damage; the finding stays either way.
    fn tell_repair(&self, subject: &Subject, text: String, now: Timestamp) {
        let mut event = Event {
            at: now,
            certificate: None,
            service: None,
            revision: None,
            what: "repaired".to_owned(),
            text,
        };
        match subject {
            Subject::Certificate(name) => event.certificate = Some(name.clone()),
            Subject::Host => {}
            Subject::Service(name) => event.service = Some(name.clone()),
        }
        if let Err(error) = self.record(&event) {
            tracing::warn!(%error, text = event.text, "a repair is missing in history");
        }
    }
}

/// The path without symbolic links: from here on none is followed. Whether those on the way can be
/// trusted has been looked at before.
fn resolved(state_dir: &Path) -> Result<PathBuf, Error> {
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |source| fs::Error::Io { tried: "find", path, source }
    };
    match state_dir.symlink_metadata() {
        Ok(_) => {
            check_guarded(state_dir)?;
            return Ok(state_dir.canonicalize().map_err(cannot(state_dir))?);
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(cannot(state_dir)(e).into()),
    }
    let absolute = std::path::absolute(state_dir).map_err(cannot(state_dir))?;
    let (Some(above), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Ok(absolute);
    };
    Ok(above.canonicalize().map_err(cannot(above))?.join(name))
}

fn check_guarded(path: &Path) -> Result<(), Error> {
    fs::guarded(path).map_err(|reason| Error::Unsafe { reason })
}

/// A name that is safe as a folder's.
fn checked(name: &str) -> Result<&str, Error> {
    let fine = (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fine { Ok(name) } else { Err(Error::Name { name: name.to_owned() }) }
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = fs::list(folder)?;
    names.retain(|name| checked(name).is_ok() && folder.join(name).is_dir());
    Ok(names)
}

/// Makes an object's folder and takes its lock; `None` when somebody else holds it.
fn lock(dir: &Path) -> Result<Option<Lock>, Error> {
    make_dir(dir, PRIVATE, Owner::default())?;
    check_guarded(dir)?;
    Ok(Lock::try_acquire(&dir.join("lock"))?)
}

#[cfg(test)]
mod tests;
