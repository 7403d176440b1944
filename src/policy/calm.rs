//! Whether a service may be disturbed now: windows, freezes, calls that are up.
//!
//! A person is never asked to wait; what is said here is about deployments that happen by
//! themselves.

use std::time::Duration;

use jiff::Timestamp;

use super::schedule::{DAY, HOUR, after, before, date, holds_until};
use super::window::{self, Opening};
use crate::cert::Validity;
use crate::config::ServiceSpec;
use crate::config::calm::{Calm, Disruptive, Window};
use crate::config::kind::Class;
use crate::state::{Announcement, Calls};

/// What a deployment would disturb, and how much time there is.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The service.
    pub spec: &'a ServiceSpec,
    /// What is served in place of what is new: the one that ends first; `None`: nothing of use.
    pub old: Option<Validity>,
    /// Something may be served that nobody has looked at.
    pub unknown: bool,
    /// How many calls the reload would end.
    pub calls: Option<Calls>,
    /// What people were told about exactly this.
    pub announced: Option<&'a Announcement>,
}

/// Whether the service may be disturbed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Leave {
    /// Tell people that it happens then, and ask again.
    Announce(Timestamp),
    /// Ask how many calls are up, and ask again.
    CountCalls,
    /// Go on.
    Given,
    /// Not before a time (`None`: a person has to do it), and why.
    Later(Option<Timestamp>, String),
}

/// Whether a deployment may disturb the service now.
pub fn leave(case: Case<'_>, now: Timestamp) -> Leave {
    match case.spec.class {
        Class::Hot | Class::Drain => gentle(case, now),
        Class::Restart => disruptive(case, now),
    }
}

/// Nobody loses a call: windows are for the peace of mind of those on duty, and end at the
/// deadline. A first deployment serves people who have nothing now.
fn gentle(case: Case<'_>, now: Timestamp) -> Leave {
    let calm = &case.spec.calm;
    let Some(old) = case.old else {
        return if case.unknown {
            shut(calm, None, now).unwrap_or(Leave::Given)
        } else {
            Leave::Given
        };
    };
    let deadline = before(old.not_after, calm.deadline.of(old.lifetime()).max(DAY));
    if deadline <= now {
        // The freeze was meant longer, but not as long as to let it expire.
        return frozen(calm, Some(before(old.not_after, DAY * 2)), now).unwrap_or(Leave::Given);
    }
    shut(calm, Some(deadline), now).unwrap_or(Leave::Given)
}

/// Frozen, or outside the windows; `at_last`: then it happens in any case.
fn shut(calm: &Calm, at_last: Option<Timestamp>, now: Timestamp) -> Option<Leave> {
    frozen(calm, at_last, now).or_else(|| outside(&calm.windows, calm, at_last, now))
}

fn frozen(calm: &Calm, at_last: Option<Timestamp>, now: Timestamp) -> Option<Leave> {
    let until = window::frozen_until(calm, now)?;
    let until = at_last.map_or(until, |at| at.min(until));
    let text = || format!("deployments are frozen; it goes in at {}", date(until));
    (until > now).then(|| Leave::Later(Some(until), text()))
}

fn outside(
    windows: &[Window],
    calm: &Calm,
    at_last: Option<Timestamp>,
    now: Timestamp,
) -> Option<Leave> {
    if windows.is_empty() || window::open(windows, &calm.zone, now).is_some() {
        return None;
    }
    let next = window::next(windows, &calm.zone, now)?.start;
    let until = at_last.map_or(next, |at| at.min(next));
    Some(Leave::Later(Some(until), format!("waits for its window at {}", date(until))))
}

/// Calls end: when none is up, in an announced window, or when everybody loses more by waiting.
fn disruptive(case: Case<'_>, now: Timestamp) -> Leave {
    let calm = &case.spec.calm;
    if let Some(old) = case.old
        && before(old.not_after, LAST) <= now
    {
        return Leave::Given;
    }
    let last = case.old.map(|old| before(old.not_after, LAST));
    if calm.disruptive == Disruptive::Never {
        let text = format!(
            "a reload of {0} ends calls, and is left to a person: `pbxcert deploy {0}`{1}",
            case.spec.name,
            last.map(|at| format!("; it happens by itself at {}", date(at))).unwrap_or_default()
        );
        return Leave::Later(last, text);
    }
    if let Some(leave) = frozen(calm, case.old.map(|o| before(o.not_after, DAY * 2)), now) {
        return leave;
    }
    let opening = opening(case, now);
    if opening.is_some_and(|open| open.start <= now && now < open.end) {
        return Leave::Given;
    }
    if let Some(leave) = announce(case, now) {
        return leave;
    }
    let at_last = [opening.map(|o| o.start), last].into_iter().flatten().min();
    // Who has nothing to lose does not wait for a window when nobody is on the telephone.
    let first = case.old.is_none() && !case.unknown;
    if let Some(leave) = outside(&calm.windows, calm, at_last, now).filter(|_| !first) {
        return leave;
    }
    idle(case, opening.map(|o| o.start), at_last, now)
}

/// When nobody is on the telephone it harms nobody.
fn idle(
    case: Case<'_>,
    window: Option<Timestamp>,
    at_last: Option<Timestamp>,
    now: Timestamp,
) -> Leave {
    let by = window.map(|at| format!("; it happens anyway at {}", date(at))).unwrap_or_default();
    if case.spec.busy.is_none() {
        let text = format!(
            "a reload of {} ends calls, and nobody can say whether any is up{by}",
            case.spec.name
        );
        return Leave::Later(at_last, text);
    }
    let Some(calls) = asked(case, now) else { return Leave::CountCalls };
    let text = match calls.count {
        Some(0) => return Leave::Given,
        Some(1) => format!("waits: 1 call is up{by}"),
        Some(count) => format!("waits: {count} calls are up{by}"),
        None => format!("waits: nobody can say how many calls are up{by}"),
    };
    let again = after(calls.at, ASK_AGAIN);
    Leave::Later(Some(at_last.map_or(again, |at| at.min(again))), text)
}

/// The last answer, while it is fresh.
fn asked(case: Case<'_>, now: Timestamp) -> Option<Calls> {
    case.calls.filter(|calls| holds_until(calls.at, ASK_AGAIN, now).is_some())
}

/// The announced opening, or what stands in for it where nothing is served yet.
fn opening(case: Case<'_>, now: Timestamp) -> Option<Opening> {
    let calm = &case.spec.calm;
    let windows = night(calm);
    if case.old.is_none() {
        // Nobody relies on it yet, as far as can be seen: the next night, without two days' notice.
        return window::open(windows, &calm.zone, now)
            .or_else(|| window::next(windows, &calm.zone, now));
    }
    let announced = case.announced?;
    let still = |from| window::next(windows, &calm.zone, from);
    // One that was slept through: the next night, of which people were told in the same words.
    still(announced.takes_place)
        .filter(|o| now < o.end)
        .or_else(|| window::open(windows, &calm.zone, now))
        .or_else(|| still(now))
}

/// Two days before the window, as soon as calls may be ended for it.
fn announce(case: Case<'_>, now: Timestamp) -> Option<Leave> {
    let calm = &case.spec.calm;
    let old = case.old?;
    let quarter = before(old.not_after, old.lifetime() / 4);
    // So that the window of the quarter can be announced in time.
    let due = calm.disruptive == Disruptive::Window || before(quarter, NOTICE) <= now;
    if case.announced.is_some() || !due {
        return None;
    }
    let earliest = after(now, NOTICE);
    let earliest =
        if calm.disruptive == Disruptive::Window { earliest } else { earliest.max(quarter) };
    let windows = night(calm);
    let end = before(old.not_after, LAST);
    let in_time = window::next(windows, &calm.zone, earliest).filter(|o| o.start < end);
    // With less time left than that: the next one, however soon.
    let soon = || window::next(windows, &calm.zone, now).filter(|o| o.start < end);
    in_time.or_else(soon).map(|opening| Leave::Announce(opening.start))
}

/// Its windows, or the small hours.
pub(super) fn night(calm: &Calm) -> &[Window] {
    const NIGHT: [Window; 1] = [Window { days: [true; 7], from: 180, to: 300 }];
    if calm.windows.is_empty() { &NIGHT } else { &calm.windows }
}

/// With less life than this left, everybody loses more by waiting.
const LAST: Duration = DAY;

/// Between announcement and window.
const NOTICE: Duration = Duration::from_secs(48 * 60 * 60);

/// While calls are up they are counted this often.
const ASK_AGAIN: Duration = Duration::from_secs(HOUR.as_secs() / 12);

#[cfg(test)]
mod tests;
