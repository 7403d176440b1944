//! What is remembered of one service: how far each of its certificates got.

use std::ops::Deref;
use std::path::PathBuf;

use jiff::Timestamp;

use super::record::{self, Read, Record};
use super::{Error, PRIVATE, Store, Subject, checked};
use crate::fs::{self, Lock, Owner};
use crate::policy::verdict::Verified;
use crate::state::{Finding, Promotion, ServiceState, Step};

impl Record for ServiceState {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

/// What is remembered of a service, for reading: needs no lock, writes nothing.
#[derive(Clone, Debug)]
pub struct ServiceStore {
    store: Store,
    name: String,
    dir: PathBuf,
}

impl ServiceStore {
    pub(super) fn new(store: Store, name: &str, dir: PathBuf) -> Self {
        Self { store, name: name.to_owned(), dir }
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table of its certificates; empty when it is missing or damaged.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn state(&self) -> Result<ServiceState, Error> {
        Ok(record::read(&self.state_file())?.whole().unwrap_or_default())
    }

    /// The folder for what a switch replaces, one per certificate. It is there once somebody
    /// holds the lock; the folder inside it is the deploy's to make.
    ///
    /// # Errors
    ///
    /// When `certificate` can be no name.
    pub fn saved_dir(&self, certificate: &str) -> Result<PathBuf, Error> {
        Ok(self.saved().join(checked(certificate)?))
    }

    /// The folder in which a hook of the service keeps what it needs for the way back. It is there
    /// once somebody holds the lock.
    pub fn hook_dir(&self) -> PathBuf {
        self.dir.join("hook")
    }

    /// What is damaged, was moved aside, or is newer than this program.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = record::set_aside(&self.dir, &self.name)?;
        findings.extend(record::damage::<ServiceState>(&self.state_file(), &self.name)?);
        Ok(findings)
    }

    /// Takes the writer's role, and repairs what is damaged; `None` when somebody else has it.
    ///
    /// # Errors
    ///
    /// When the store is read-only, a newer pbxcert wrote the table, or a repair fails.
    pub fn try_lock(&self, now: Timestamp) -> Result<Option<ServiceWriter>, Error> {
        self.store.check_writable()?;
        let Some(lock) = super::lock(&self.dir)? else { return Ok(None) };
        let state = record::read::<ServiceState>(&self.state_file())?;
        fs::sweep(&self.dir)?;
        fs::make_dir(&self.saved(), PRIVATE, Owner::default())?;
        fs::make_dir(&self.hook_dir(), PRIVATE, Owner::default())?;
        fs::sweep(&self.saved())?;
        if let Read::Broken(reason) = state {
            let subject = Subject::Service(self.name.clone());
            record::move_aside(&self.store, &subject, &self.state_file(), &reason, now)?;
        }
        Ok(Some(ServiceWriter { of: self.clone(), _lock: lock }))
    }

    fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    fn saved(&self) -> PathBuf {
        self.dir.join("saved")
    }
}

/// The one who may write what is remembered of a service, for as long as this lives.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct ServiceWriter {
    of: ServiceStore,
    _lock: Lock,
}

impl Deref for ServiceWriter {
    type Target = ServiceStore;

    fn deref(&self) -> &ServiceStore {
        &self.of
    }
}

impl ServiceWriter {
    /// Replaces the table: call it before each side effect of a switch.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was remembered before stays.
    pub fn remember(&self, state: &ServiceState) -> Result<(), Error> {
        record::write(&self.state_file(), state.clone())
    }

    /// Makes a revision the one that is live in this service, in `state` and on disk.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was remembered before stays on disk.
    pub fn promote(
        &self,
        state: &mut ServiceState,
        certificate: &str,
        proof: &Verified,
        now: Timestamp,
    ) -> Result<(), Error> {
        let pair = state.pairs.entry(certificate.to_owned()).or_default();
        if pair.step != Step::Proved || pair.revision != Some(proof.revision()) {
            pair.since = Some(now);
        }
        pair.step = Step::Proved;
        pair.revision = Some(proof.revision());
        pair.promoted = Some(Promotion {
            revision: proof.revision(),
            fingerprint: proof.fingerprint(),
            at: now,
            endpoints: proof.endpoints().to_vec(),
        });
        (pair.problem, pair.retry_at, pair.forced) = (None, None, false);
        self.remember(state)
    }
}
