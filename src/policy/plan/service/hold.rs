//! A person's will, until expired would be worse.

use jiff::Timestamp;

use super::drift::foreign_leaf;
use super::old::Old;
use super::{Candidate, backing_off};
use crate::policy::plan::{DeployReason, Wait, Why};
use crate::policy::schedule::{DAY, before, date};
use crate::state::{Hold, PairSeen, Revision, ServiceSeen, Step};

/// When the hold of a pair ends by itself: 48 hours before what is in service ends; `None` when it
/// is not held, or nothing newer waits (yet) that lasts longer.
pub fn held_until(pair: &PairSeen, seen: &ServiceSeen) -> Option<Timestamp> {
    let newest = pair.newest.as_ref()?;
    holding(pair, newest)?;
    ends(pair, newest, Old::of(pair, seen, newest))
}

/// The hold that keeps the newest revision back.
fn holding<'a>(pair: &'a PairSeen, newest: &Revision) -> Option<&'a Hold> {
    let keeps = |hold: &&Hold| {
        (hold.newer_too || hold.refused >= newest.number) && hold.instead != Some(newest.number)
    };
    pair.state.hold.as_ref().filter(keeps)
}

/// 48 hours before what is served ends, or what was installed where nobody can look.
fn ends(pair: &PairSeen, newest: &Revision, old: Old) -> Option<Timestamp> {
    let old = match old {
        Old::Ends(old) => old,
        Old::Nothing | Old::Unknown => pair.in_place?,
    };
    (old.not_after < newest.leaf.validity.not_after).then(|| before(old.not_after, DAY * 2))
}

/// Why the newest revision is held back.
pub(super) fn held(pair: &PairSeen, newest: &Revision, old: Old, now: Timestamp) -> Option<Wait> {
    let hold = holding(pair, newest)?;
    let until = ends(pair, newest, old);
    if until.is_some_and(|until| until <= now) {
        return None;
    }
    let stays = hold.instead.map(|n| format!("; revision {n} stays")).unwrap_or_default();
    let text = format!(
        "revision {} of {} is held back by {} since {}{stays}; `pbxcert release {}` ends it",
        if hold.newer_too { newest.number } else { hold.refused },
        pair.certificate,
        hold.by,
        date(hold.at),
        pair.certificate
    );
    Some(Wait { until, why: Why::Held(text) })
}

/// A person went back to an older revision, which is not in service yet.
pub(super) fn instead(
    pair: &PairSeen,
    newest: &Revision,
    old: Old,
    now: Timestamp,
) -> Option<Candidate> {
    held(pair, newest, old, now)?;
    let state = &pair.state;
    let hold = state.hold.as_ref()?;
    let number = hold.instead?;
    let there = state.revision == Some(number)
        && matches!(state.step, Step::Proved | Step::Unproved | Step::NotTaken);
    // What is only held where it is was not asked to be brought in.
    if there && (!state.forced || hold.newer_too) && foreign_leaf(pair).is_none() {
        return None;
    }
    if state.forced {
        return Some(Candidate::Ready(number, DeployReason::Forced));
    }
    if there {
        return None;
    }
    Some(
        backing_off(pair, now)
            .map_or(Candidate::Ready(number, DeployReason::Retry), Candidate::Later),
    )
}
