//! What is remembered of one certificate: its revisions, the planner's memory, the order under way.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::order::OrderRecord;
use super::record::{self, Read, Record};
use super::revision::{self, Meta, Seen};
use super::{Error, PRIVATE, Store, Subject, order, warning};
use crate::cert::bundle::Bundle;
use crate::fs::{self, Lock, Owner};
use crate::state::{Asked, CertState, Finding, OrderJournal, OrderSeen, Revision, SCHEMA};

/// How many revisions are kept beyond the live ones, those before them and the newest.
const SPARE: usize = 3;

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
            Seen::Whole(revision) => Some(revision),
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
        findings.extend(record::damage::<OrderRecord>(&order::paths(&self.dir).0, name)?);
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
                Err(e @ Error::Newer { .. }) => e.to_string(),
                Err(e) => return Err(e),
            };
            findings.push(warning(name, text));
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
        fs::make_dir(&self.rev(), PRIVATE, Owner::default())?;
        let writer = CertificateWriter { of: self.clone(), _lock: lock };
        writer.repair(now)?;
        Ok(Some(writer))
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

/// The one who may write what is remembered of a certificate, for as long as this lives.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct CertificateWriter {
    of: CertificateStore,
    _lock: Lock,
}

impl Deref for CertificateWriter {
    type Target = CertificateStore;

    fn deref(&self) -> &CertificateStore {
        &self.of
    }
}

impl CertificateWriter {
    /// Stores a bundle as the next revision: written beside, flushed, read back, and only then
    /// named. The bundle that is the newest already is not stored twice: a crash between storing
    /// it and forgetting the order comes here again.
    ///
    /// `asked` is what the CA was asked for, `None` when it came from outside.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or does not come back as it was; nothing is named then.
    pub fn commit(
        &self,
        bundle: &Bundle,
        asked: Option<Asked>,
        origin: &str,
        now: Timestamp,
    ) -> Result<Revision, Error> {
        if let Some(newest) = self.newest()? {
            let same = newest.leaf.fingerprint == bundle.leaf().fingerprint
                && newest.asked == asked
                && self.bundle(newest.number).is_ok_and(|b| b.chain() == bundle.chain());
            if same {
                return Ok(newest);
            }
        }
        let number = self.next_number()?;
        let revision = Revision {
            schema: SCHEMA,
            number,
            asked,
            leaf: bundle.leaf().clone(),
            chain_length: bundle.chain().len() - 1,
            committed_at: now,
            origin: origin.to_owned(),
        };
        let folder = self.folder(number);
        let staged = fs::stage_dir(&folder)?;
        revision::fill(&staged, bundle, revision.clone())?;
        staged.publish(&folder, PRIVATE, Owner::default())?;
        Ok(revision)
    }

    /// A number that no revision ever had; remembered before it is used.
    fn next_number(&self) -> Result<u64, Error> {
        let last = record::read::<LastNumber>(&self.last_file())?.whole().map_or(0, |l| l.number);
        let there = fs::list(&self.rev())?;
        let seen = there
            .iter()
            .filter_map(|name| number(name.split_once(".broken").map_or(name, |(n, _)| n)))
            .max()
            .unwrap_or(0);
        let number = last.max(seen) + 1;
        record::write(&self.last_file(), LastNumber { schema: 0, number })?;
        Ok(number)
    }

    /// Replaces what the planner remembers.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was remembered before stays.
    pub fn remember(&self, state: &CertState) -> Result<(), Error> {
        record::write(&self.state_file(), state.clone())
    }

    /// Remembers where the order under way stands: call it before each side effect. The key is
    /// written once per order, before anything else of it.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was remembered before stays.
    pub fn remember_order(&self, journal: &OrderJournal) -> Result<(), Error> {
        order::write(&self.dir, journal)
    }

    /// Forgets the order under way, and its key.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn forget_order(&self) -> Result<(), Error> {
        order::remove(&self.dir)
    }

    /// Removes old revisions. Kept are those in `keep` (live somewhere, or on their way), the one
    /// before each, the newest, and 3 more.
    ///
    /// # Errors
    ///
    /// When one cannot be removed.
    pub fn prune(&self, keep: &[u64]) -> Result<(), Error> {
        let whole: Vec<u64> = self.revisions()?.iter().map(|r| r.number).collect();
        for number in outdated(&whole, keep) {
            // First out of sight, so that a reader sees it whole or not at all.
            let folder = self.folder(number);
            let dying = self.rev().join(format!("{}prune-{number}", fs::PREFIX));
            fs::remove_tree(&dying)?;
            fs::move_new(&folder, &dying)?;
            fs::remove_tree(&dying)?;
        }
        Ok(())
    }

    /// Sweeps, moves aside what is damaged, rebuilds what can be rebuilt.
    fn repair(&self, now: Timestamp) -> Result<(), Error> {
        let (order_json, order_key) = order::paths(&self.dir);
        // First look at everything: where any file is newer than we are, nothing is touched.
        let state = record::read::<CertState>(&self.state_file())?;
        let last = record::read::<LastNumber>(&self.last_file())?;
        let order = order::read(&self.dir)?;
        let mut revisions = Vec::new();
        for number in self.numbers()? {
            revisions.push((number, revision::look(&self.folder(number), number)?));
        }
        for folder in [&self.dir, &self.rev()] {
            fs::sweep(folder)?;
        }
        if let Read::Broken(reason) = state {
            self.move_aside(self.state_file(), &reason, now)?;
        }
        if let Read::Broken(reason) = last {
            self.move_aside(self.last_file(), &reason, now)?;
        }
        match order {
            Read::Broken(reason) => {
                self.move_aside(order_json, &reason, now)?;
                if order_key.exists() {
                    self.move_aside(order_key, "its order is damaged", now)?;
                }
            }
            // A key whose order was never begun, or is over.
            Read::Missing => fs::remove(&order_key)?,
            Read::Whole(_) => {}
        }
        for (number, seen) in revisions {
            let folder = self.folder(number);
            match seen {
                Seen::NotWhole(reason) => self.move_aside(folder, &reason, now)?,
                Seen::Rebuilt(meta, reason) => self.mend(*meta, &reason, now)?,
                Seen::Gone | Seen::Whole(_) => {}
            }
        }
        Ok(())
    }

    fn mend(&self, meta: Meta, reason: &str, now: Timestamp) -> Result<(), Error> {
        let folder = self.folder(meta.revision.number);
        let path = revision::meta_of(&folder);
        let subject = Subject::Certificate(self.name.clone());
        match record::read::<Meta>(&path)? {
            Read::Broken(_) => self.move_aside(path, reason, now)?,
            Read::Missing | Read::Whole(_) => {
                let text = format!("the facts of {} were read anew: {reason}", folder.display());
                self.store.tell_repair(&subject, text, now);
            }
        }
        revision::mend(&folder, meta)
    }

    fn move_aside(&self, path: PathBuf, reason: &str, now: Timestamp) -> Result<(), Error> {
        let subject = Subject::Certificate(self.name.clone());
        record::move_aside(&self.store, &subject, &path, reason, now)
    }
}

/// Which of `numbers` (ascending) need not be kept.
fn outdated(numbers: &[u64], keep: &[u64]) -> Vec<u64> {
    let mut kept: BTreeSet<u64> = numbers.last().copied().into_iter().collect();
    for live in keep {
        kept.insert(*live);
        kept.extend(numbers.iter().rev().find(|n| *n < live));
    }
    let spare: Vec<u64> =
        numbers.iter().rev().filter(|n| !kept.contains(n)).take(SPARE).copied().collect();
    kept.extend(spare);
    numbers.iter().filter(|n| !kept.contains(n)).copied().collect()
}
