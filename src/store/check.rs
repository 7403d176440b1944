//! What is remembered between two checks.
//!
//! ```text
//! node/  check.json    the last report, and what the next check compares with
//!        check.lock    held for a whole check, outside any other
//! ```

use jiff::Timestamp;

use super::record::{self, Read, Record};
use super::{Error, Store, Subject};
use crate::fs::Lock;
use crate::state::check::CheckRecord;

impl Record for CheckRecord {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

impl Store {
    /// What the last check left; nothing when that is missing or damaged.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn check_record(&self) -> Result<CheckRecord, Error> {
        Ok(record::read(&self.check_file())?.whole().unwrap_or_default())
    }

    /// Takes the role of whoever checks; `None` when somebody else does so now.
    ///
    /// # Errors
    ///
    /// When the lock cannot be tried.
    pub fn try_lock_check(&self) -> Result<Option<CheckWriter<'_>>, Error> {
        self.check_writable()?;
        let lock = Lock::try_acquire(&self.node().join("check.lock"))?;
        Ok(lock.map(|lock| CheckWriter { store: self, _lock: lock }))
    }

    fn check_file(&self) -> std::path::PathBuf {
        self.node().join("check.json")
    }
}

/// Whoever checks now.
pub struct CheckWriter<'a> {
    store: &'a Store,
    _lock: Lock,
}

impl CheckWriter<'_> {
    /// Replaces what is remembered; something damaged is moved aside first.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote what is there, or it cannot be written.
    pub fn remember(&self, record: &CheckRecord, now: Timestamp) -> Result<(), Error> {
        let path = self.store.check_file();
        if let Read::Broken(reason) = record::read::<CheckRecord>(&path)? {
            record::move_aside(self.store, &Subject::Host, &path, &reason, now)?;
        }
        record::write(&path, record.clone())
    }
}
