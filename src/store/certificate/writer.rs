//! The writer's role of one certificate: commit, remember, prune, repair.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::PathBuf;

use jiff::Timestamp;

use super::super::csr::{self, CsrRecord};
use super::super::record::{self, Read};
use super::super::revision::{self, Meta, Seen};
use super::super::{Error, PRIVATE, Subject, order};
use super::{CertificateStore, LastNumber, number};
use crate::cert::bundle::Bundle;
use crate::fs::{self, Lock, Owner};
use crate::state::{Asked, CertState, OrderJournal, Origin, Revision, SCHEMA};

/// How many revisions are kept beyond the live ones, those before them and the newest.
const SPARE: usize = 3;

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
    /// Begins the role with everything in order.
    pub(super) fn begin(of: &CertificateStore, lock: Lock, now: Timestamp) -> Result<Self, Error> {
        fs::make_dir(&of.rev(), PRIVATE, Owner::default())?;
        let writer = Self { of: of.clone(), _lock: lock };
        writer.repair(now)?;
        Ok(writer)
    }

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
        origin: impl Into<Origin>,
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
            origin: origin.into(),
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
        let csr = record::read::<CsrRecord>(&csr::json(&self.dir))?;
        let mut revisions = Vec::new();
        for number in self.numbers()? {
            revisions.push((number, revision::look(&self.folder(number), number)?));
        }
        for folder in [&self.dir, &self.rev()] {
            fs::sweep(folder)?;
        }
        for (number, seen) in &revisions {
            if !matches!(seen, Seen::Gone) {
                fs::sweep(&self.folder(*number))?;
            }
        }
        if let Read::Broken(reason) = state {
            self.move_aside(self.state_file(), &reason, now)?;
        }
        if let Read::Broken(reason) = last {
            self.move_aside(self.last_file(), &reason, now)?;
        }
        if let Read::Broken(reason) = csr {
            // Its key stays: the request may have been handed out.
            self.move_aside(csr::json(&self.dir), &reason, now)?;
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
