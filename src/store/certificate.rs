//! What is remembered of one certificate: its revisions, the planner's memory, the order under way.

mod request;
mod writer;

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::csr::{self, CsrRecord};
use super::record::{self, Read, Record};
use super::revision::{self, Seen};
use super::{Error, Store, order};
use crate::cert::bundle::{Bundle, PrivateKey};
use crate::fs;
use crate::policy::findings::own;
use crate::state::{CertState, Finding, OrderJournal, OrderSeen, Revision};

pub use writer::CertificateWriter;

impl Record for CertState {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

/// `last.json`: no number is given twice, even when the folder that had it is gone.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct LastNumber {
    schema: u32,
    number: u64,
}

impl Record for LastNumber {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

/// What is remembered of a certificate, for reading: needs no lock, writes nothing.
#[derive(Clone, Debug)]
pub struct CertificateStore {
    store: Store,
    name: String,
    dir: PathBuf,
}

impl CertificateStore {
    pub(super) fn new(store: Store, name: &str, dir: PathBuf) -> Self {
        Self { store, name: name.to_owned(), dir }
    }

    /// The certificate's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every revision whose files are whole, oldest first.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote one, or the system refuses.
    pub fn revisions(&self) -> Result<Vec<Revision>, Error> {
        let mut revisions = Vec::new();
        for number in self.numbers()? {
            revisions.extend(self.revision(number)?);
        }
        Ok(revisions)
    }

    /// The newest revision whose files are whole.
    ///
    /// # Errors
    ///
    /// As [`Self::revisions`].
    pub fn newest(&self) -> Result<Option<Revision>, Error> {
        for number in self.numbers()?.into_iter().rev() {
            if let Some(revision) = self.revision(number)? {
                return Ok(Some(revision));
            }
        }
        Ok(None)
    }

    /// The revision of that number, when it is there and its files are whole.
    ///
    /// # Errors
    ///
    /// As [`Self::revisions`].
    pub fn revision(&self, number: u64) -> Result<Option<Revision>, Error> {
        Ok(match revision::look(&self.folder(number), number)? {
            Seen::Whole(revision) => Some(*revision),
            Seen::Rebuilt(meta, _) => Some(meta.revision),
            Seen::Gone | Seen::NotWhole(_) => None,
        })
    }

    /// Chain and key of a revision.
    ///
    /// # Errors
    ///
    /// When there is no whole revision of that number.
    pub fn bundle(&self, number: u64) -> Result<Bundle, Error> {
        revision::bundle(&self.folder(number), &self.name, number)
    }

    /// What the planner remembers; nothing when that is missing or damaged.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn state(&self) -> Result<CertState, Error> {
        Ok(record::read(&self.state_file())?.whole().unwrap_or_default())
    }

    /// The order under way, with the key; `None` also when it is damaged.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn order(&self) -> Result<Option<OrderJournal>, Error> {
        Ok(order::read(&self.dir)?.whole())
    }

    /// The order under way, as the planner sees it.
    ///
    /// # Errors
    ///
    /// As [`Self::order`].
    pub fn order_seen(&self) -> Result<Option<OrderSeen>, Error> {
        order::seen(&self.dir)
    }

    /// Every private key that an upload without one may belong to: those of signing requests that
    /// may still be answered, then those of revisions, the newest first.
    ///
    /// # Errors
    ///
    /// As [`Self::revisions`].
    pub fn waiting_keys(&self) -> Result<Vec<PrivateKey>, Error> {
        let mut keys = csr::keys(&self.dir)?;
        for revision in self.revisions()?.into_iter().rev() {
            // One that was removed meanwhile is none.
            keys.extend(self.bundle(revision.number).ok().map(|bundle| bundle.key().clone()));
        }
        let mut seen = BTreeSet::new();
        keys.retain(|key| seen.insert(key.public().to_vec()));
        Ok(keys)
    }

    /// Whether everything that a pass would repair is as it should be: this revision is the last
    /// one that was begun, and the records can be read.
    ///
    /// # Errors
    ///
    /// As [`Self::revisions`].
    pub fn is_sound(&self, newest: &Revision) -> Result<bool, Error> {
        let state = record::read::<CertState>(&self.state_file())?;
        let last = record::read::<LastNumber>(&self.last_file())?;
        Ok(self.numbers()?.last() == Some(&newest.number)
            && matches!((state, last), (Read::Whole(_), Read::Whole(_))))
    }

    /// What is damaged, was moved aside, or is newer than this program.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        let name = &self.name;
        let mut findings = record::set_aside(&self.dir, name)?;
        findings.extend(record::set_aside(&self.rev(), name)?);
        findings.extend(record::damage::<CertState>(&self.state_file(), name)?);
        findings.extend(record::damage::<LastNumber>(&self.last_file(), name)?);
        findings.extend(record::damage::<CsrRecord>(&csr::json(&self.dir), name)?);
        match order::read(&self.dir) {
            Ok(Read::Broken(reason)) => {
                findings.push(own::lost_order(name, &reason));
            }
            Ok(Read::Missing | Read::Whole(_)) => {}
            Err(e @ Error::Newer { .. }) => findings.push(own::newer(name, e.to_string())),
            Err(e) => return Err(e),
        }
        for number in self.numbers()? {
            findings.extend(record::set_aside(&self.folder(number), name)?);
            let text = match revision::look(&self.folder(number), number) {
                Ok(Seen::Gone | Seen::Whole(_)) => continue,
                Ok(Seen::NotWhole(reason)) => {
                    format!("revision {number} is not whole and not used: {reason}")
                }
                Ok(Seen::Rebuilt(_, reason)) => {
                    format!("revision {number} is usable, but {reason}")
                }
                Err(e @ Error::Newer { .. }) => {
                    findings.push(own::newer(name, e.to_string()));
                    continue;
                }
                Err(e) => return Err(e),
            };
            findings.push(own::damaged_revision(name, text, &self.folder(number)));
        }
        Ok(findings)
    }

    /// Takes the writer's role, and repairs what is damaged; `None` when somebody else has it.
    ///
    /// # Errors
    ///
    /// When the store is read-only, a newer pbxcert wrote any of the files, or a repair fails.
    pub fn try_lock(&self, now: Timestamp) -> Result<Option<CertificateWriter>, Error> {
        self.store.check_writable()?;
        let Some(lock) = super::lock(&self.dir)? else { return Ok(None) };
        CertificateWriter::begin(self, lock, now).map(Some)
    }

    /// Numbers of all folders that claim to be revisions, ascending.
    fn numbers(&self) -> Result<Vec<u64>, Error> {
        let names = fs::list(&self.rev())?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn rev(&self) -> PathBuf {
        self.dir.join("rev")
    }

    fn folder(&self, number: u64) -> PathBuf {
        self.rev().join(number.to_string())
    }

    fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    fn last_file(&self) -> PathBuf {
        self.dir.join("last.json")
    }
}

/// `7`, but not `07`, `+7` or `7.broken-...`.
fn number(name: &str) -> Option<u64> {
    let number: u64 = name.parse().ok()?;
    (number > 0 && number.to_string() == name).then_some(number)
}
