//! From what the passes found to the messages that are due.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::object::Object;
use super::post::Sent;
use super::{Daemon, check};
use crate::config::file::Problems;
use crate::policy::alerts::{self, Seen, Settings, post};
use crate::policy::schedule::{HOUR, MINUTE, after, holds_until};
use crate::policy::{health, identity};
use crate::state::{Condition, Finding, Severity};

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
    /// The last heartbeat.
    beat_at: Option<Timestamp>,
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
        let identity = self.now.world.identity(self.store);
        let mut findings = self.everything_wrong(now);
        findings.extend(identity::finding(&identity));
        let unseen: BTreeSet<String> = self
            .due
            .keys()
            .filter(|o| !self.findings.contains_key(*o) || self.faults.passes.contains_key(*o))
            .map(|object| object.name().to_owned())
            .collect();
        let world = &self.now.world;
        let trusted = (world.time)(None).trusted || world.confirmed.get();
        let unseen_conditions = check::last(self.store).as_ref().map(health::unseen);
        let unseen_conditions = unseen_conditions.unwrap_or_default();
        let seen = Seen {
            findings: &findings,
            unseen: &unseen,
            unseen_conditions: &unseen_conditions,
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
            },
            now,
        );
        self.faults.wake = wake.get();
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
        findings.extend(self.faults.passes.iter().map(|(object, (since, text))| {
            let name = object.name();
            let title = format!("{name} cannot be looked after");
            let text = format!("pbxcert cannot look after {name}: {text}");
            let mut finding = Finding::new(Condition::Fault, name, Severity::Warning, title, text);
            finding.since = Some(*since);
            finding.ways = vec!["see: journalctl -u pbxcert; a full disk: df -h".to_owned()];
            finding
        }));
        findings.extend(self.degraded());
        findings.extend(self.post.findings());
        findings
    }

    /// The configuration on disk is not the one in use.
    fn degraded(&self) -> Option<Finding> {
        let (since, why) = match (&self.faults.refused, &self.now.degraded) {
            (Some((since, why)), _) => (Some(*since), why.clone()),
            (None, Some(why)) => (None, why.clone()),
            (None, None) => return None,
        };
        let mut finding = Finding::new(
            Condition::ConfigDegraded,
            "config",
            Severity::Warning,
            "the configuration is broken, an older one is in use",
            format!("the configuration on disk was refused: {why}"),
        );
        finding.since = since;
        finding.consequence = Some("what was changed in it has no effect".to_owned());
        finding.ways =
            vec!["see all problems: pbxcert validate; then: systemctl reload pbxcert".to_owned()];
        Some(finding)
    }

    pub(super) fn sent(&mut self, sent: Sent) {
        let dead = self.post.findings().len();
        self.post.finished(sent, self.store);
        if self.post.findings().len() != dead {
            self.faults.changed_at.get_or_insert(self.now.world.now());
        }
    }

    /// Tells somebody elsewhere that this daemon lives.
    fn beat(&mut self, now: Timestamp) {
        let Some(heartbeat) = &self.now.world.heartbeat else { return };
        if post::beats_at(self.faults.beat_at, self.now.world.beat, now) > now {
            return;
        }
        self.faults.beat_at = Some(now);
        // The original may be dead: a copy must not vouch for it.
        if self.now.world.identity(self.store).copy().is_some() {
            return;
        }
        let worst = alerts::loudest(
            &self.post.log,
            &Settings::of(&self.now.config, TimeZone::system()),
            now,
        );
        let beat = heartbeat(worst, now);
        self.post.beating.push(Box::pin(async move {
            if let Err(error) = beat.await {
                tracing::warn!("no heartbeat: {}", crate::deploy::chain_of(&error));
            }
        }));
    }

    /// When alerts are to be thought about again.
    pub(super) fn alert_at(&self, now: Timestamp) -> Option<Timestamp> {
        let changed = self.faults.changed_at.map(|at| after(at, PATIENCE));
        let beat = self.now.world.heartbeat.as_ref();
        let beat = beat.map(|_| post::beats_at(self.faults.beat_at, self.now.world.beat, now));
        [changed, self.faults.wake, self.post.wake(now), beat].into_iter().flatten().min()
    }
}

/// Passes that go on for longer than this hold up no alert.
const PATIENCE: std::time::Duration = MINUTE;
