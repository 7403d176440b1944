//! From what the passes found to the messages that are due.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::object::Object;
use super::post::Sent;
use super::{Daemon, check};
use crate::config::file::Problems;
use crate::policy::alerts::{self, Seen, Settings, post};
use crate::policy::findings::own;
use crate::policy::schedule::{HOUR, MINUTE, after, holds_until};
use crate::policy::{health, identity};
use crate::state::Finding;
use crate::state::check::{CheckReport, Verdict};

/// What is wrong with the daemon itself, and when alerts were last thought about.
#[derive(Default)]
pub(super) struct Faults {
    /// Passes that could not be made: since when, and why.
    pub(super) passes: BTreeMap<Object, (Timestamp, String)>,
    /// Since when a configuration on disk is refused, and why.
    pub(super) refused: Option<(Timestamp, String)>,
    /// Something may have changed since then, and was not thought about yet.
    pub(super) changed_at: Option<Timestamp>,
    /// Something becomes due by itself.
    wake: Option<Timestamp>,
    /// What is wrong in the store, and when that was looked at.
    damage: Option<(Timestamp, Vec<Finding>)>,
    /// The last daily check.
    checked: Option<CheckReport>,
    /// Everything had been looked at then.
    complete: bool,
    /// The last heartbeat, and what it said.
    beat: Option<(Timestamp, Verdict)>,
}

impl Faults {
    pub(super) fn refuse(&mut self, problems: &Problems, now: Timestamp) {
        let first = problems.list.first().map(ToString::to_string).unwrap_or_default();
        let since = self.refused.as_ref().map_or(now, |(since, _)| *since);
        self.refused = Some((since, first));
        self.changed_at.get_or_insert(now);
    }
}

impl Daemon<'_> {
    /// Decides what is to be told when the passes have come to rest (so that what happens together
    /// is told together), and starts what can be sent.
    pub(super) fn alert(&mut self) {
        let now = self.now.world.now();
        let waited =
            self.faults.changed_at.is_some_and(|at| holds_until(at, PATIENCE, now).is_none());
        let at_rest = self.faults.changed_at.is_some() && self.working.is_empty();
        let due = self.faults.wake.is_some_and(|at| at <= now);
        if at_rest || waited || due {
            self.decide(now);
        }
        self.post.start(self.store, &self.now.world.notifiers, now);
        self.beat(now);
    }

    fn decide(&mut self, now: Timestamp) {
        self.faults.changed_at = None;
        self.faults.complete = self.due.keys().all(|object| self.findings.contains_key(object));
        let identity = self.now.world.identity(self.store);
        let mut findings = self.everything_wrong(now);
        findings.extend(identity::finding(&identity));
        let unseen: BTreeSet<String> = self
            .due
            .keys()
            .filter(|o| !self.findings.contains_key(*o) || self.faults.passes.contains_key(*o))
            .map(|object| object.name().to_owned())
            .collect();
        let (named, channels) = (self.named(), self.channels());
        let world = &self.now.world;
        let trusted = (world.time)(None).trusted || world.confirmed.get();
        self.faults.checked = check::last(self.store);
        let unseen_conditions = self.faults.checked.as_ref().map(health::unseen);
        let unseen_conditions = unseen_conditions.unwrap_or_default();
        let seen = Seen {
            findings: &findings,
            unseen: &unseen,
            unseen_conditions: &unseen_conditions,
            named: &named,
            trusted,
        };
        let possible_copy = identity.copy().is_some();
        let settings = Settings::of(&self.now.config, TimeZone::system());
        let settings = Settings { possible_copy, ..settings };
        let wake = std::cell::Cell::new(None);
        self.post.change(
            self.store,
            |log| {
                let due = alerts::due(seen, log, &settings, now);
                wake.set(due.wake);
                *log = due.log;
                log.pending.extend(due.messages);
                // How one did that is not in the configuration any more is nobody's business.
                log.channels.retain(|name, _| channels.contains(name));
            },
            now,
        );
        self.faults.wake = wake.get();
    }

    /// Ways out of this host by name.
    fn channels(&self) -> BTreeSet<String> {
        let world = &self.now.world;
        let heartbeat = world.heartbeat.as_ref().map(|_| post::HEARTBEAT.to_owned());
        world.notifiers.iter().map(|channel| channel.name().to_owned()).chain(heartbeat).collect()
    }

    /// Everything that has its name from the configuration.
    fn named(&self) -> BTreeSet<String> {
        let objects = self.due.keys().map(|object| object.name().to_owned());
        let trunks = self.now.config.trunks.iter().map(|trunk| trunk.name.clone());
        objects.chain(trunks).chain(self.channels()).collect()
    }

    fn everything_wrong(&mut self, now: Timestamp) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.findings.values().flatten().cloned().collect();
        let looked = self.faults.damage.as_ref().and_then(|(at, _)| holds_until(*at, HOUR, now));
        if looked.is_none() {
            match self.store.findings() {
                Ok(damage) => self.faults.damage = Some((now, damage)),
                Err(error) => {
                    let text = crate::deploy::chain_of(&error);
                    tracing::warn!("the state folder cannot be looked through: {text}");
                }
            }
        }
        findings.extend(self.faults.damage.iter().flat_map(|(_, damage)| damage.clone()));
        let passes = self.faults.passes.iter();
        findings.extend(passes.map(|(object, (at, why))| own::unattended(object.name(), why, *at)));
        findings.extend(self.degraded());
        findings.extend(self.post.findings());
        findings
    }

    /// The configuration on disk is not the one in use.
    fn degraded(&self) -> Option<Finding> {
        match (&self.faults.refused, &self.now.degraded) {
            (Some((since, why)), _) => Some(own::degraded(why, Some(*since))),
            (None, Some(why)) => Some(own::degraded(why, None)),
            (None, None) => None,
        }
    }

    pub(super) fn sent(&mut self, sent: Sent) {
        let dead = self.post.findings().len();
        self.post.finished(sent, self.store);
        if self.post.findings().len() != dead {
            self.faults.changed_at.get_or_insert(self.now.world.now());
        }
    }

    /// What a heartbeat says now; the one place that makes it.
    fn verdict(&self, now: Timestamp) -> (Verdict, String) {
        let settings = Settings::of(&self.now.config, TimeZone::system());
        let open = alerts::verdict(&self.post.log, &settings, self.faults.complete, now);
        health::together(open, self.faults.checked.as_ref(), self.now.config.check.at, now)
    }

    /// Tells somebody elsewhere that this daemon lives.
    fn beat(&mut self, now: Timestamp) {
        if self.beat_at(now).is_none_or(|at| at > now) {
            return;
        }
        let (verdict, words) = self.verdict(now);
        self.faults.beat = Some((now, verdict));
        // The original may be dead: a copy must not vouch for it.
        if self.now.world.identity(self.store).copy().is_some() {
            return;
        }
        let Some(heartbeat) = &self.now.world.heartbeat else { return };
        let beat = heartbeat(verdict, words);
        self.post.beating.push(Box::pin(async move {
            beat.await.map_err(|error| crate::deploy::chain_of(&error))
        }));
    }

    pub(super) fn beaten(&mut self, outcome: &Result<(), String>) {
        let (now, dead) = (self.now.world.now(), self.post.findings().len());
        self.post.beaten(outcome, self.store, now);
        if self.post.findings().len() != dead {
            self.faults.changed_at.get_or_insert(now);
        }
    }

    /// When the next heartbeat is due; `None` while one is under way, or where nobody wants it.
    fn beat_at(&self, now: Timestamp) -> Option<Timestamp> {
        let world = &self.now.world;
        world.heartbeat.as_ref().filter(|_| self.post.beating.is_empty())?;
        let state = self.post.log.channels.get(post::HEARTBEAT);
        let verdict = self.verdict(now).0;
        Some(post::beats_at(self.faults.beat, verdict, state, world.beat, now))
    }

    /// When alerts are to be thought about again.
    pub(super) fn alert_at(&self, now: Timestamp) -> Option<Timestamp> {
        let changed = self.faults.changed_at.map(|at| after(at, PATIENCE));
        let (letters, beat) = (self.post.wake(now), self.beat_at(now));
        [changed, self.faults.wake, letters, beat].into_iter().flatten().min()
    }
}

/// Passes that go on for longer than this hold up no alert.
const PATIENCE: std::time::Duration = MINUTE;
