//! Files that are damaged: mended when they are quiet, but not without end.

use std::time::Duration;

use jiff::Timestamp;

use super::super::{Wait, Why};
use super::noted;
use crate::policy::schedule::{DAY, HOUR, date, frees_at, holds_until};
use crate::state::{FilesSeen, PairSeen, ServiceSeen};

/// Certificates whose files are to be mended now, and why others have to wait: until nobody writes
/// any more (not at start: `drift_at` is `None`), and at most 3 times a day.
pub(super) fn damaged(seen: &ServiceSeen, now: Timestamp) -> (Vec<String>, Vec<Wait>) {
    let mut waits = Vec::new();
    let mut certificates = Vec::new();
    for pair in &seen.pairs {
        let FilesSeen::Broken(what) = &pair.files else { continue };
        if let Some(until) = quiet_at(pair, now) {
            waits.push(Wait { until: Some(until), why: Why::Quiet });
        } else if let Some(until) = repair_failed(pair, now) {
            let problem = pair.state.problem.as_deref().unwrap_or("the last repair failed");
            let text = format!(
                "the files of {} are damaged ({what}): {problem}; next try at {}",
                pair.certificate,
                date(until)
            );
            waits.push(Wait { until: Some(until), why: Why::BackOff(text) });
        } else if let Some(until) = frees_at(seen.mended.iter().copied(), 3, DAY, now) {
            let text = format!(
                "the files of {} are damaged again ({what}), after {} repairs within a day: find \
                 out who changes them",
                pair.certificate,
                seen.mended.len()
            );
            waits.push(Wait { until: Some(until), why: Why::Person(text) });
        } else if let Some(until) = reloaded_often(pair, seen, now) {
            let text = format!(
                "the files of {} are damaged again ({what}), after {MOST_RELOADS} reloads with \
                 them within an hour: find out who changes them; they are mended at {}",
                pair.certificate,
                date(until)
            );
            waits.push(Wait { until: Some(until), why: Why::Person(text) });
        } else {
            certificates.push(pair.certificate.clone());
        }
    }
    (certificates, waits)
}

/// A reload that damages the files is not to be repeated without end, whoever asked for the first.
/// Those that brought in other revisions say nothing of it: several renewals within an hour must not
/// leave a service with files that it cannot start with.
fn reloaded_often(pair: &PairSeen, seen: &ServiceSeen, now: Timestamp) -> Option<Timestamp> {
    let there = pair.state.revision;
    let same = seen.reloads.iter().filter(|r| r.revisions.get(&pair.certificate).copied() == there);
    frees_at(same.map(|reload| reload.at), MOST_RELOADS, HOUR, now)
}

const MOST_RELOADS: usize = 3;

pub(super) fn quiet_at(pair: &PairSeen, now: Timestamp) -> Option<Timestamp> {
    holds_until(pair.state.drift_at?, QUIET, now)
}

/// A repair that could not be made is put off as any try: what it wrote and took back raises file
/// events, and would have it tried without end. Not at start, nor for a person.
fn repair_failed(pair: &PairSeen, now: Timestamp) -> Option<Timestamp> {
    pair.state.drift_at?;
    noted(pair, now)
}

/// Files have to be quiet for this long before they are mended.
pub(super) const QUIET: Duration = Duration::from_secs(10);
