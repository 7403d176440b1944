//! What waits while this may be a copy of another system.

use jiff::Timestamp;

use super::{Action, Wait, Why};
use crate::policy::identity::ANSWERS;
use crate::policy::schedule::{before, date};
use crate::state::Observed;

/// Two systems that order for the same names take each other's limits and orders away: what may be
/// a copy waits for a person, as long as there is time. Never so long that a certificate ends, and
/// not at all where there is none.
pub(super) fn hold_back(seen: &Observed, action: Action, now: Timestamp) -> Action {
    if !matches!(action, Action::Issue { .. } | Action::Probe | Action::Rehearse(_)) {
        return action;
    }
    let (Some(changed), Some(newest)) = (&seen.possible_copy, seen.certificate()) else {
        return action;
    };
    let validity = newest.leaf.validity;
    let until = before(validity.not_after, validity.lifetime() / 6);
    if now >= until {
        return action;
    }
    let text = format!(
        "this may be a copy of another system ({changed}); nothing is ordered until {}, or until \
         you say what it is: {ANSWERS}",
        date(until)
    );
    Action::Wait(Wait { until: Some(until), why: Why::Copy(text) })
}
