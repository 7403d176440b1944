//! What the facts of the daily check mean: items, one verdict on the whole, and who is told.

pub mod certificate;
pub mod endpoint;
pub mod host;
pub mod time;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::alerts::{Settings, ignored};
use super::schedule::{DAY, date, holds_until};
use crate::config::check::CheckTime;
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

/// What a heartbeat says: what is open, and what the last check said when that is worse. A check
/// that should have run and did not is not in order; one that was never due yet says nothing.
pub fn together(
    open: (Verdict, String),
    report: Option<&CheckReport>,
    at: CheckTime,
    now: Timestamp,
) -> (Verdict, String) {
    let Some(report) = report else { return open };
    let lasts = match at {
        CheckTime::Weekly(..) => DAY * 8,
        CheckTime::Daily(_) | CheckTime::Random => DAY * 2,
    };
    let checked = if holds_until(report.at, lasts, now).is_some() {
        (report.verdict, format!("daily check: {}", report.summary))
    } else {
        (Verdict::Unknown, format!("no daily check since {}", date(report.at)))
    };
    let worst = Verdict::worst([open.0, checked.0].into_iter());
    if worst == Some(open.0) { open } else { checked }
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
    finding.consequence = consequence(condition).map(str::to_owned);
    finding.over = Some(over(item, condition));
    finding.ways.extend(item.next.clone());
    Some(finding)
}

/// What follows, where the text alone does not say so.
fn consequence(condition: Condition) -> Option<&'static str> {
    Some(match condition {
        Condition::Chain => "phones and browsers that check it do not connect",
        Condition::Disk => "no certificate can be renewed, and the telephone system may stop",
        Condition::Hygiene => "whoever gets in between, or onto this machine, may listen",
        Condition::Lint => "these phones lose their connection when they look at it next",
        Condition::Load => "calls break up or are lost",
        Condition::OtherClient => "one of them undoes what the other did, at the worst moment",
        Condition::Revoked => "phones and browsers that ask the CA do not connect",
        Condition::Served => "phones and browsers that connect there meet the wrong certificate",
        Condition::Trunk => "calls over that trunk fail, or can be listened to",
        Condition::Unmanaged => "whoever connects there is refused from then on",
        Condition::Unsynchronised => {
            "certificates are judged, and calls are billed, by a wrong time"
        }
        Condition::Vulnerable => "the system can be broken into",
        _ => return None,
    })
}

/// What is true once it is over.
fn over(item: &Item, condition: Condition) -> String {
    let object = &item.object;
    match condition {
        Condition::Chain => format!("the chain of {object} is trusted"),
        Condition::Disk => "there is space again".to_owned(),
        Condition::Hygiene => format!("{object} allows no more than it should"),
        Condition::Lint => format!("phones accept {object}"),
        Condition::Load => "this machine is fast enough again".to_owned(),
        Condition::OtherClient => format!("nothing else renews {object}"),
        Condition::Revoked => format!("{object} is one that was not revoked"),
        Condition::Restricted | Condition::Sources => "the source was reached again".to_owned(),
        Condition::Served => format!("{object} serves what it should"),
        Condition::Trunk => format!("the trunk {object} is in order"),
        Condition::Unmanaged => "no certificate ends that nobody looks after".to_owned(),
        Condition::Unsynchronised => "the clock is right".to_owned(),
        Condition::Updates => "no security updates wait".to_owned(),
        Condition::Vulnerable => "no software with a known security issue is left".to_owned(),
        other => format!("{object}: {other} is over"),
    }
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

#[cfg(test)]
mod month;
