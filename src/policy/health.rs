//! What the facts of the daily check mean: items, one verdict on the whole, and who is told.

pub mod certificate;
pub mod endpoint;
pub mod host;
pub mod time;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::alerts::{Settings, ignored};
use crate::state::alert::Level;
use crate::state::alert::log::AlertLog;
use crate::state::check::{CheckReport, Item, Topic, Verdict};
use crate::state::{Condition, Finding, SCHEMA, Severity};

/// One report from everything that was found: worst first, with since when each answer has been
/// what it is, and what a person has taken note of.
///
/// `before` is the last report, `took` in milliseconds.
pub fn report(
    mut items: Vec<Item>,
    before: Option<&CheckReport>,
    log: &AlertLog,
    settings: &Settings,
    took: u64,
    now: Timestamp,
) -> CheckReport {
    for item in &mut items {
        item.since = Some(since(item, before, now));
        item.silenced = silenced(item, log, settings, now);
    }
    // Stable: within a verdict the order of the questions stays.
    items.sort_by_key(|item| (!counted(item), loudness(item.verdict)));
    let verdicts = items.iter().filter(|item| counted(item)).map(|item| item.verdict);
    let verdict = Verdict::worst(verdicts).unwrap_or(Verdict::Unknown);
    let summary = summary(&items, verdict);
    CheckReport {
        schema: SCHEMA,
        site: settings.site.clone(),
        at: now,
        took,
        verdict,
        summary,
        items,
    }
}

/// Whether it is part of the verdict on the whole.
fn counted(item: &Item) -> bool {
    item.counts && item.silenced.is_none()
}

fn loudness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Critical => 0,
        Verdict::Unknown => 1,
        Verdict::Warning => 2,
        Verdict::Ok => 3,
    }
}

fn since(item: &Item, before: Option<&CheckReport>, now: Timestamp) -> Timestamp {
    let same = |old: &&Item| old.is_about_the_same(item) && old.verdict == item.verdict;
    let old = before.and_then(|before| before.items.iter().find(same));
    old.and_then(|old| old.since).filter(|since| *since <= now).unwrap_or(now)
}

fn silenced(item: &Item, log: &AlertLog, settings: &Settings, now: Timestamp) -> Option<String> {
    let condition = item.condition()?;
    if item.verdict == Verdict::Ok {
        return None;
    }
    if let Some(ignore) = ignored(settings, &item.object, condition, now) {
        return Some(format!("ignored: {}", ignore.reason));
    }
    let level = if item.verdict == Verdict::Critical { Level::Critical } else { Level::Warning };
    let ack = log.ack(&item.object, condition, level, now)?;
    Some(format!("acked by {}: {}", ack.by, ack.note))
}

fn summary(items: &[Item], verdict: Verdict) -> String {
    let counted: Vec<&Item> = items.iter().filter(|item| counted(item)).collect();
    let good = counted.iter().filter(|item| item.verdict == Verdict::Ok).count();
    let whole = format!("{good} of {} in order", counted.len());
    let first = counted.iter().find(|item| item.verdict == verdict && verdict != Verdict::Ok);
    match first {
        None if counted.is_empty() => "nothing was asked".to_owned(),
        None => format!("all {good} in order"),
        Some(item) => format!("{whole}; {}: {}", item_name(item), item.text),
    }
}

/// `pbx dates`, `sip served sips://127.0.0.1:5061`.
pub fn item_name(item: &Item) -> String {
    let place = item.place.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
    format!("{} {}{place}", item.object, item.topic.word())
}

/// What is wrong by a report, for the alerts.
pub fn findings(report: &CheckReport) -> Vec<Finding> {
    report.items.iter().filter_map(finding).collect()
}

/// What could not be seen: what was wrong there before still stands. Not where nobody asks: what
/// cannot be seen on a host ever would keep everything beside it wrong for ever.
pub fn unseen(report: &CheckReport) -> BTreeSet<(String, Condition)> {
    // Whether this is a copy is looked at whenever alerts are decided, and by nobody else.
    let unseen = |item: &&Item| {
        item.verdict == Verdict::Unknown && item.counts && item.topic != Topic::Duplicate
    };
    let unseen = report.items.iter().filter(unseen);
    unseen.filter_map(|item| Some((item.object.clone(), item.topic.condition()?))).collect()
}

fn finding(item: &Item) -> Option<Finding> {
    // Told as soon as it is seen: nobody is to wait for a check, or to hear of it after the answer.
    if item.topic == Topic::Duplicate {
        return None;
    }
    let condition = item.condition()?;
    let severity = severity(item.verdict).filter(|_| item.counts)?;
    let title = title(item, condition);
    let place = item.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
    let text = format!("{place}{}", item.text);
    let mut finding = Finding::new(condition, &item.object, severity, title, text);
    finding.since = item.since;
    finding.by = item.by;
    finding.ways.extend(item.next.clone());
    Some(finding)
}

/// A few words for the subject.
fn title(item: &Item, condition: Condition) -> String {
    let object = &item.object;
    match condition {
        Condition::Chain => format!("the chain of {object} is not trusted"),
        Condition::Disk => "little space is left".to_owned(),
        Condition::Duplicate => "this system may run twice".to_owned(),
        Condition::Hygiene => format!("{object} allows too much"),
        Condition::Lint => format!("some phones will refuse {object}"),
        Condition::Load => "this machine is too slow for calls".to_owned(),
        Condition::OtherClient => format!("something else renews {object}, too"),
        Condition::Restricted => "restricted: no source was reached for 14 days".to_owned(),
        Condition::Revoked => format!("{object} was revoked"),
        Condition::Served => format!("{object} does not serve what it should"),
        Condition::Sources => "a source cannot be reached".to_owned(),
        Condition::Trunk => format!("the trunk {object} cannot be trusted"),
        Condition::Unmanaged => "a certificate that nobody looks after ends".to_owned(),
        Condition::Unsynchronised => "the clock is off".to_owned(),
        Condition::Updates => "security updates wait".to_owned(),
        Condition::Vulnerable => "software with a known security issue".to_owned(),
        other => format!("{object}: {other}"),
    }
}

fn severity(verdict: Verdict) -> Option<Severity> {
    match verdict {
        Verdict::Warning => Some(Severity::Warning),
        Verdict::Critical => Some(Severity::Critical),
        Verdict::Ok | Verdict::Unknown => None,
    }
}
