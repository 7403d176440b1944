//! Days on which no source that the configuration names could be reached: a warning from the tenth
//! on, restricted after fourteen, over with one success or a signed grace.
//!
//! A day counts when at least one try failed, none succeeded, the network was up, and the fault was
//! not the server's. Days are those of this host's clock, and a clock can jump: a day counts only
//! when so much time can have passed by what the kernel counted since it started, or by a clock
//! that was synchronised before and after the machine was off. Where neither is known the count is
//! late, never early.
//!
//! Nothing in pbxcert asks for it: renewal, deployment and calls never depend on it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::state::check::{Item, Metric, Topic, Unit, Verdict};
use crate::state::software::{Moment, OfflineMemory};

/// From this day on it is a warning.
pub const WARNING: usize = 10;

/// After so many days it is restricted.
pub const RESTRICTED: usize = 14;

/// What came of a try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nobody answered, although the network is up.
    Failed,
    /// It says nothing of this host: no network, or the server's own fault.
    NotOurs,
    /// A good document came.
    Reached,
}

/// How the last try went, for a person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// Nobody answered, and why.
    Nothing(String),
    /// It was not tried: this host has no network.
    NoNetwork,
    /// The server is at fault, and how; whether somebody has to look at it.
    Fault(String, bool),
    /// A good document came.
    Well,
}

/// What is to be said of a source, with the count of days behind it.
pub fn item(memory: &OfflineMemory, source: &str, heard: &Heard, now: Timestamp) -> Item {
    let days = memory.days.len();
    let (verdict, mut text) = match heard {
        Heard::Well => (Verdict::Ok, "it was reached, and what it says is in order".to_owned()),
        Heard::NoNetwork => {
            (Verdict::Unknown, "it was not asked: this host has no network".to_owned())
        }
        Heard::Fault(why, true) => (Verdict::Warning, format!("it was reached, but {why}")),
        Heard::Fault(why, false) => {
            (Verdict::Ok, format!("it is at fault itself ({why}); that counts for nothing"))
        }
        Heard::Nothing(why) => (Verdict::Ok, format!("it was not reached: {why}")),
    };
    if days > 0 {
        text.push_str(&format!("; days in vain since it was reached last: {days} of {RESTRICTED}"));
    } else if is_forgiven(memory, now) && *heard != Heard::Well {
        text.push_str("; a signed grace lets that pass for now");
    }
    let mut verdict = verdict;
    let mut next = "let this host reach it: the firewall, the name servers, or proxy in [check]; or                     put a newer signed document there as advisory-file"
        .to_owned();
    if let Some(since) = memory.restricted_since {
        verdict = Verdict::Critical;
        text.push_str(&format!(", restricted since {since}; certificates and calls go on as ever"));
        next.push_str("; one success restores, or a signed grace");
    } else if days >= WARNING {
        verdict = Verdict::Warning;
    }
    let metric = Metric {
        label: "days-in-vain".to_owned(),
        value: days as f64,
        unit: Unit::Days,
        warning: Some(WARNING as f64),
        critical: Some(RESTRICTED as f64),
    };
    let item = Item::new(Topic::Sources, "host", verdict, text).at(source).with(metric);
    if *heard == Heard::Well { item } else { item.then(next) }
}

/// What is remembered after a try at `now`, told by a clock of the zone.
#[must_use]
pub fn after(
    memory: &OfflineMemory,
    outcome: Outcome,
    zone: &TimeZone,
    now: &Moment,
) -> OfflineMemory {
    let today = zone.to_datetime(now.at).date();
    match outcome {
        Outcome::NotOurs => memory.clone(),
        Outcome::Failed if is_forgiven(memory, now.at) => memory.clone(),
        Outcome::Reached => OfflineMemory {
            reached_on: Some(today),
            grace_until: memory.grace_until,
            ..OfflineMemory::default()
        },
        Outcome::Failed => failed(memory, today, now),
    }
}

/// What is remembered once a signed document says that nothing counts until then.
#[must_use]
pub fn forgiven(memory: &OfflineMemory, until: Timestamp, now: Timestamp) -> OfflineMemory {
    if until <= now {
        return memory.clone();
    }
    OfflineMemory {
        reached_on: memory.reached_on,
        grace_until: Some(until),
        ..OfflineMemory::default()
    }
}

fn failed(memory: &OfflineMemory, today: Date, now: &Moment) -> OfflineMemory {
    let mut memory = memory.clone();
    memory.proven = memory.proven.saturating_add(passed(memory.last.as_ref(), now));
    memory.last = Some(now.clone());
    if memory.days.is_empty() {
        memory.proven = 0;
    }
    // A span of n whole days touches n + 2 dates at most; a day of 23 hours comes once a year.
    let most = usize::try_from(memory.proven / SHORTEST_DAY).unwrap_or(usize::MAX);
    let room = memory.days.len() < most.saturating_add(2).min(MOST);
    if memory.reached_on != Some(today) && room {
        memory.days.insert(today);
    }
    if memory.days.len() >= RESTRICTED && memory.restricted_since.is_none() {
        memory.restricted_since = Some(now.at);
    }
    memory
}

/// Whether nothing counts at the moment, by a signed document.
pub fn is_forgiven(memory: &OfflineMemory, now: Timestamp) -> bool {
    memory.grace_until.is_some_and(|until| now < until)
}

/// Seconds that have certainly passed between two moments.
fn passed(last: Option<&Moment>, now: &Moment) -> u64 {
    let Some(last) = last else { return 0 };
    let Some(boot) = &now.boot else { return 0 };
    let Some(before) = &last.boot else { return 0 };
    if before.id == boot.id {
        return boot.up.saturating_sub(before.up);
    }
    if !(last.trusted && now.trusted) {
        return boot.up;
    }
    // It was off for a while; how long, only two clocks that were right can tell.
    let wall = now.at.as_second().saturating_sub(last.at.as_second());
    u64::try_from(wall).unwrap_or(0).max(boot.up)
}

const SHORTEST_DAY: u64 = 23 * 60 * 60;

/// More are not remembered.
const MOST: usize = 100;

#[cfg(test)]
mod tests;
