//! A readable pair from outside at the targets: one that lasts longer is adopted, one that is older
//! or poorer is replaced by ours once, and then left alone and told of.

use std::time::Duration;

use jiff::Timestamp;

use super::backing_off;
use super::damage::QUIET;
use crate::cert::Leaf;
use crate::policy::plan::{Wait, Why};
use crate::policy::schedule::{DAY, before, date, frees_at, holds_until};
use crate::state::{FilesSeen, PairSeen, Revision, ServiceSeen, Step};

/// The leaf at the targets when it is neither ours nor what a rollback put back.
pub(super) fn foreign_leaf(pair: &PairSeen) -> Option<&Leaf> {
    let FilesSeen::Foreign(leaf) = &pair.files else { return None };
    let put_back = matches!(pair.state.step, Step::RolledBack | Step::Stuck)
        && pair
            .state
            .saved
            .as_ref()
            .and_then(|saved| saved.leaf.as_ref())
            .is_some_and(|saved| saved.fingerprint == leaf.fingerprint);
    let newest = pair.newest.as_ref().is_some_and(|n| n.leaf.fingerprint == leaf.fingerprint);
    (!put_back && !newest).then_some(leaf)
}

/// The first certificate whose pair from outside is adopted now, when nobody writes any more.
pub(super) fn adopted(seen: &ServiceSeen, now: Timestamp) -> Option<String> {
    let due = |pair: &&PairSeen| {
        is_better(pair, now) && !pair.state.forced && quiet(pair, QUIET, now).is_none()
    };
    seen.pairs.iter().find(due).map(|pair| pair.certificate.clone())
}

/// As good as ours, for at least the same names, and with a later end than any that we have. Nothing
/// of ours was ever there: then it is another tool's, and no drift.
fn is_better(pair: &PairSeen, now: Timestamp) -> bool {
    let (Some(leaf), Some(newest)) = (foreign_leaf(pair), &pair.newest) else { return false };
    let covers = newest.leaf.identifiers.is_subset(&leaf.identifiers);
    !pair.state.files.is_empty()
        && pair.outside_is_sound
        && covers
        && leaf.validity.contains(now)
        && leaf.validity.not_after > newest.leaf.validity.not_after
}

/// Why the newest revision does not take the place of what came from outside (yet).
pub(super) fn left_alone(pair: &PairSeen, newest: &Revision, now: Timestamp) -> Option<Wait> {
    let leaf = foreign_leaf(pair)?;
    if is_better(pair, now) {
        return quiet(pair, QUIET, now);
    }
    let end = leaf.validity.not_after;
    if before(end, DAY) <= now && end < newest.leaf.validity.not_after {
        return None;
    }
    quiet(pair, REST, now).or_else(|| spent(pair, leaf, newest.number, now))
}

/// The revision that belongs at the targets although it is not the newest, when it is to be put back
/// over something older or poorer.
pub(super) fn put_back(pair: &PairSeen, now: Timestamp) -> Option<u64> {
    let (leaf, ours) = (foreign_leaf(pair)?, pair.in_place?);
    let number = pair.state.revision?;
    let is_newest = pair.newest.as_ref().is_some_and(|newest| newest.number == number);
    let proved = matches!(pair.state.step, Step::Proved | Step::Unproved | Step::NotTaken);
    let newest = pair.newest.as_ref()?;
    let poorer = !pair.outside_is_sound
        || !newest.leaf.identifiers.is_subset(&leaf.identifiers)
        || leaf.validity.not_after <= ours.not_after;
    let waits = || {
        quiet(pair, REST, now)
            .or_else(|| spent(pair, leaf, number, now))
            .or_else(|| backing_off(pair, now))
    };
    let held = pair.state.hold.is_some();
    let due = proved && poorer && ours.contains(now) && (!is_newest || held);
    (due && waits().is_none()).then_some(number)
}

/// Ours was put back over it once already, or twice today over others.
fn spent(pair: &PairSeen, leaf: &Leaf, number: u64, now: Timestamp) -> Option<Wait> {
    let tries = || pair.state.put_back.iter();
    let once = tries().any(|p| p.fingerprint == leaf.fingerprint && p.revision == number);
    let day = frees_at(tries().map(|p| p.at), 2, DAY, now).filter(|_| !once);
    let when = match (once, day) {
        (true, _) => "over it before",
        (false, Some(_)) => "twice today",
        (false, None) => return None,
    };
    let end = leaf.validity.not_after;
    let text = format!(
        "somebody put another certificate of {} there, which ends at {}; ours was put back {when}, \
         and now it is left alone until a day before (`pbxcert deploy` puts ours back)",
        pair.certificate,
        date(end)
    );
    let at_last = Some(before(end, DAY)).filter(|at| now < *at);
    Some(Wait { until: [day, at_last].into_iter().flatten().min(), why: Why::Person(text) })
}

/// Until when it has to be quiet before something is done about it.
fn quiet(pair: &PairSeen, rest: Duration, now: Timestamp) -> Option<Wait> {
    let until = holds_until(pair.state.drift_at?, rest, now)?;
    Some(Wait { until: Some(until), why: Why::Quiet })
}

/// Somebody who copies files by hand may not be done yet.
const REST: Duration = Duration::from_secs(60);
