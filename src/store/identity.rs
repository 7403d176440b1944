//! What is remembered of the identity of this host.
//!
//! ```text
//! node/  identity.json   the marks that were accepted, as hashes, and what waits for an answer
//!        identity.lock   held for one call, inside those of certificates, with none but the node's inside
//! ```

use std::path::PathBuf;

use jiff::Timestamp;

use super::record::{self, Read, Record};
use super::{Error, Store, Subject};
use crate::fs::Lock;
use crate::state::identity::IdentityRecord;

impl Record for IdentityRecord {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

impl Store {
    /// Whether it was opened to be written.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// What is remembered of the identity of this host; nothing when that is missing or damaged.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn identity(&self) -> Result<IdentityRecord, Error> {
        Ok(record::read(&self.identity_file())?.whole().unwrap_or_default())
    }

    /// Changes what is remembered of it, under its lock; something damaged is moved aside first.
    /// Returns what is remembered then.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or it cannot be written; what was remembered before stays.
    pub fn change_identity(
        &self,
        change: impl FnOnce(&mut IdentityRecord),
        now: Timestamp,
    ) -> Result<IdentityRecord, Error> {
        self.check_writable()?;
        let _lock = Lock::acquire_blocking(&self.node().join("identity.lock"))?;
        let path = self.identity_file();
        let mut record = match record::read::<IdentityRecord>(&path)? {
            Read::Whole(record) => record,
            Read::Missing => IdentityRecord::default(),
            Read::Broken(reason) => {
                record::move_aside(self, &Subject::Host, &path, &reason, now)?;
                IdentityRecord::default()
            }
        };
        change(&mut record);
        record.schema = crate::state::SCHEMA;
        record::write(&path, record.clone())?;
        Ok(record)
    }

    pub(super) fn identity_file(&self) -> PathBuf {
        self.node().join("identity.json")
    }
}
