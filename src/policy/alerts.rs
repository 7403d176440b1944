//! Findings, and what was told before, become the messages that are due now.
//!
//! Told at once: what needs a person. Told after a while: what heals by itself. Told again: weekly,
//! daily, twice a day by level, and at each point of the ladder. Told in the end: that it is over.

mod clock;
pub mod digest;
pub mod letter;
mod merged;
pub mod post;
pub mod quiet;
mod settings;
mod standing;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use self::letter::{Draft, Matter};
use self::merged::merged;
pub use self::settings::{Settings, ignored, loudest, verdict};
use self::standing::Standing;
use super::schedule::{DAY, HOUR, WEEK, after, holds_until};
use crate::state::alert::log::{AlertLog, Item};
use crate::state::alert::{Level, Message};
use crate::state::{Condition, Finding};

/// Everything that is wrong now.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What was found.
    pub findings: &'a [Finding],
    /// Objects that could not be looked at: what was found before still stands.
    pub unseen: &'a BTreeSet<String>,
    /// The same of single conditions.
    pub unseen_conditions: &'a BTreeSet<(String, Condition)>,
    /// Names of everything that the configuration names: certificates, services, channels and so
    /// on. What was wrong with something that is not among them any more is not over.
    pub named: &'a BTreeSet<String>,
    /// The clock is synchronised, or the configuration says that nobody waits for that.
    pub trusted: bool,
}

/// What is to be told, and remembered.
#[derive(Clone, Debug)]
pub struct Due {
    /// Messages, loudest first; already counted as told in `log`.
    pub messages: Vec<Message>,
    /// What is to be remembered together with them.
    pub log: AlertLog,
    /// When something becomes due by itself.
    pub wake: Option<Timestamp>,
}

/// The messages that are due.
///
/// Asked again with what it answered and nothing changed, it answers with none.
pub fn due(seen: Seen<'_>, log: &AlertLog, settings: &Settings, now: Timestamp) -> Due {
    let mut findings = merged(seen.findings);
    let mut round = Round {
        log: log.clone(),
        settings,
        now,
        drafts: Vec::new(),
        wake: None,
        named: seen.named,
        healthy: BTreeMap::new(),
        quiet_until: settings.quiet.and_then(|quiet| quiet::until(quiet, &settings.zone, now)),
    };
    round.log.acks.retain(|ack| now < ack.until);
    let jumped = round.believe_clock(seen.trusted);
    let doubted = jumped || findings.keys().any(|(_, condition)| *condition == Condition::Clock);
    round.leave_healthy(&mut findings);
    round.follow_lives(&findings);
    for finding in jumped.then(|| round.jump()).iter().chain(findings.values()) {
        if !(doubted && finding.condition.is_about_life()) {
            round.meet(finding);
        }
    }
    round.miss(&findings, seen, doubted, jumped);
    let Round { log, mut drafts, wake, .. } = round;
    drafts.sort_by_key(|draft| std::cmp::Reverse(draft.level));
    let messages = if drafts.len() > MOST_LETTERS {
        vec![digest::write(&drafts, settings, now)]
    } else {
        drafts.iter().map(|draft| letter::write(draft, settings, now)).collect()
    };
    Due { messages, log, wake }
}

/// One call of [`due`].
struct Round<'a> {
    log: AlertLog,
    settings: &'a Settings,
    now: Timestamp,
    drafts: Vec<Draft>,
    wake: Option<Timestamp>,
    named: &'a BTreeSet<String>,
    /// Certificates with enough life left, and when they end.
    healthy: BTreeMap<String, Timestamp>,
    /// It is quiet until then.
    quiet_until: Option<Timestamp>,
}

impl Round<'_> {
    /// A certificate with enough life left is nothing wrong: only a time to look again.
    fn leave_healthy(&mut self, findings: &mut BTreeMap<(String, Condition), Finding>) {
        findings.retain(|(object, condition), finding| {
            let standing = standing::of(finding, self.now, self.now);
            let healthy = *condition == Condition::Expiry && standing.level.is_none();
            if let Some(at) = standing.changes_at.filter(|_| healthy) {
                self.wake_at(at);
            }
            if let Some(end) = finding.by.filter(|_| healthy) {
                self.healthy.insert(object.clone(), end);
            }
            !healthy
        });
    }

    /// That no new one comes and that the old one ends is one worry: it goes on under its other
    /// name. So does a source that cannot be reached for too long.
    fn follow_lives(&mut self, findings: &BTreeMap<(String, Condition), Finding>) {
        for (object, items) in &mut self.log.items {
            for (old, new) in [
                (Condition::Renewal, Condition::Expiry),
                (Condition::Expiry, Condition::Renewal),
                (Condition::Sources, Condition::Restricted),
            ] {
                let found = |condition| findings.contains_key(&(object.clone(), condition));
                if found(new)
                    && !found(old)
                    && !items.contains_key(&new)
                    && let Some(item) = items.remove(&old)
                {
                    items.insert(new, item);
                }
            }
        }
    }

    /// Something is wrong: tells it when its time has come.
    fn meet(&mut self, finding: &Finding) {
        let now = self.now;
        let items = self.log.items.entry(finding.object.clone()).or_default();
        let since = finding.since.unwrap_or(now).min(now);
        let item = items.entry(finding.condition).or_insert_with(|| Item {
            since,
            title: String::new(),
            over: String::new(),
            named: false,
            level: None,
            loudest: None,
            rung: 0,
            told_at: None,
            count: 0,
            gone_at: None,
            recovered_at: Vec::new(),
        });
        if item.level.is_none() && !finding.condition.is_news() {
            // Known before, or found again after it was over.
            item.since = if item.gone_at.is_some() { since } else { item.since.min(since) };
        }
        item.gone_at = None;
        item.title = text::clean(&finding.title, text::TITLE);
        item.over = text::clean(finding.over.as_deref().unwrap_or_default(), text::TITLE);
        item.named = self.named.contains(&finding.object);
        let item = item.clone();
        let standing = standing::of(finding, item.since, now);
        if let Some(at) = standing.changes_at {
            self.wake_at(at);
        }
        let Some(level) = standing.level else { return };
        if !self.is_time(finding, &item, level, standing, since) {
            return;
        }
        if ignored(self.settings, &finding.object, finding.condition, now).is_some() {
            return;
        }
        if let Some(ack) = self.log.ack(&finding.object, finding.condition, level, now) {
            let until = ack.until;
            self.wake_at(until);
            return;
        }
        if level <= Level::Warning && self.wait_for_quiet() {
            return;
        }
        self.tell(finding, level, standing.rung, since);
    }

    /// Whether nobody was told yet, it became worse, or it is time to say it again.
    fn is_time(
        &mut self,
        finding: &Finding,
        item: &Item,
        level: Level,
        standing: Standing,
        since: Timestamp,
    ) -> bool {
        let now = self.now;
        if finding.condition.is_news() {
            let told = item.level.is_some() && item.since == since;
            return !told && holds_until(since, WEEK, now).is_some();
        }
        let (Some(told), Some(told_at)) = (item.level, item.told_at) else { return true };
        if level > told || standing.rung > item.rung {
            return true;
        }
        let Some(pause) = repeat(level) else { return false };
        match holds_until(told_at, pause, now) {
            Some(at) => {
                self.wake_at(at);
                false
            }
            None => true,
        }
    }

    fn tell(&mut self, finding: &Finding, level: Level, rung: u8, since: Timestamp) {
        let items = self.log.items.entry(finding.object.clone()).or_default();
        let Some(item) = items.get_mut(&finding.condition) else { return };
        if finding.condition.is_news() {
            item.since = since;
        }
        item.level = Some(level);
        item.loudest = item.loudest.max(Some(level));
        item.rung = rung;
        item.told_at = Some(self.now);
        item.count = item.count.saturating_add(1);
        self.drafts.push(Draft {
            level,
            object: finding.object.clone(),
            condition: finding.condition,
            since: item.since,
            count: item.count,
            matter: Matter::Found(Box::new(finding.clone())),
            title: item.title.clone(),
            told: None,
        });
        if let Some(pause) = repeat(level).filter(|_| !finding.condition.is_news()) {
            self.wake_at(after(self.now, pause));
        }
    }

    /// What is not found any more: tells that it is over, when its beginning was told.
    fn miss(
        &mut self,
        findings: &BTreeMap<(String, Condition), Finding>,
        seen: Seen<'_>,
        doubted: bool,
        jumped: bool,
    ) {
        let gone = |object: &String, condition: Condition| {
            let found = findings.contains_key(&(object.clone(), condition));
            let about_life = doubted && condition.is_about_life();
            let about_clock = jumped && condition == Condition::Clock;
            let unseen = seen.unseen.contains(object)
                || seen.unseen_conditions.contains(&(object.clone(), condition));
            !(found || unseen || about_life || about_clock)
        };
        // Nobody says of something that it is in order while something else is wrong with it.
        let troubled = |object: &str| findings.keys().any(|(o, c)| o == object && !c.is_news());
        let mut items = std::mem::take(&mut self.log.items);
        for (object, of_object) in &mut items {
            let troubled = troubled(object);
            of_object.retain(|condition, item| {
                !gone(object, *condition) || self.is_kept(object, *condition, item, troubled)
            });
        }
        items.retain(|_, of_object| !of_object.is_empty());
        self.log.items = items;
    }

    /// Whether something that is not found any more is to be remembered.
    fn is_kept(
        &mut self,
        object: &str,
        condition: Condition,
        item: &mut Item,
        troubled: bool,
    ) -> bool {
        let now = self.now;
        item.recovered_at.retain(|at| holds_until(*at, DAY, now).is_some());
        if condition.is_news() {
            return item.told_at.is_some_and(|at| holds_until(at, WEEK * 2, now).is_some());
        }
        let left = item.named && !self.named.contains(object);
        if item.level.is_some() {
            let gone_at = *item.gone_at.get_or_insert(now);
            // What comes and goes is over when it stays away.
            let restless = !left && item.recovered_at.len() >= CALM_RECOVERIES;
            if let Some(at) = holds_until(gone_at, HOUR, now).filter(|_| restless) {
                self.wake_at(at);
                return true;
            }
            if self.wait_for_quiet() {
                return true;
            }
            let over = if troubled { String::new() } else { item.over.clone() };
            let of_life = condition.is_about_life() || condition == Condition::Placeholder;
            let by = self.healthy.get(object).filter(|_| of_life).copied();
            item.count = item.count.saturating_add(1);
            self.drafts.push(Draft {
                level: Level::Notice,
                object: object.to_owned(),
                condition,
                since: item.since,
                count: item.count,
                matter: if left { Matter::Left } else { Matter::Over { now: over, by } },
                title: item.title.clone(),
                told: item.loudest.or(item.level),
            });
            (item.level, item.loudest, item.rung, item.told_at) = (None, None, 0, None);
            item.recovered_at.push(now);
            self.log.acks.retain(|a| a.object != object || a.condition != Some(condition));
        }
        if left {
            return false;
        }
        if let Some(last) = item.recovered_at.last() {
            self.wake_at(after(*last, DAY));
        }
        !item.recovered_at.is_empty()
    }

    /// Whether it is quiet now; then the end of that is another time to look.
    fn wait_for_quiet(&mut self) -> bool {
        let Some(until) = self.quiet_until else { return false };
        self.wake_at(until);
        true
    }

    fn wake_at(&mut self, at: Timestamp) {
        if at > self.now {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
    }
}

/// How long after a message of this level the same is told again.
fn repeat(level: Level) -> Option<Duration> {
    match level {
        Level::Notice => None,
        Level::Warning => Some(WEEK),
        Level::Urgent => Some(DAY),
        Level::Critical => Some(HOUR * 12),
    }
}

/// More letters than this at one time become one digest.
const MOST_LETTERS: usize = 3;

/// So often within a day something may be over at once; from then on it has to stay away for an
/// hour.
const CALM_RECOVERIES: usize = 2;

#[cfg(test)]
mod tests;
