//! The next step without a CA: a certificate that people upload, and what stands in for it until
//! then.

use jiff::Timestamp;

use super::clock::clock;
use super::{Action, Reason, Wait, Why};
use crate::cert::Validity;
use crate::config::{CertSpec, Source};
use crate::policy::schedule::{DAY, HOUR, after, before, date};
use crate::state::{Observed, Revision};

/// The one next step of a certificate that comes from the drop folder only: no CA is ever asked.
pub fn next_manual(spec: &CertSpec, seen: &Observed, now: Timestamp) -> Action {
    if let Some(wait) = clock(seen.time, now) {
        return Action::Wait(wait);
    }
    stand_in(spec, seen, upload(spec, seen, now), now)
}

/// From when to when a placeholder that is made now is valid: 30 days, an hour of them past for
/// clients whose clock is behind.
pub fn placeholder_validity(now: Timestamp) -> Validity {
    let not_before = before(now, HOUR);
    Validity { not_before, not_after: after(not_before, DAY * 30) }
}

/// A placeholder when one is due, else the wait, which may not be longer than until then.
///
/// One is made only where there is nothing at all: it never comes after a certificate of ours, and
/// never in the place of a working one of somebody else.
pub(super) fn stand_in(spec: &CertSpec, seen: &Observed, wait: Wait, now: Timestamp) -> Action {
    if seen.certificate().is_some() {
        return Action::Wait(wait);
    }
    let ends = seen.foreign_in_service.as_ref().map(|foreign| foreign.not_after);
    let (due_at, reason) = match (ends.filter(|end| now <= *end), seen.placeholder()) {
        (Some(end), _) => (after(end, std::time::Duration::from_secs(1)), Reason::Missing),
        (None, None) => (now, Reason::Missing),
        (None, Some(there)) => renewal(spec, there, now),
    };
    if due_at <= now {
        return Action::Placeholder(reason);
    }
    Action::Wait(Wait { until: Some(wait.until.map_or(due_at, |at| at.min(due_at))), ..wait })
}

/// When a placeholder is made anew: after two thirds of its life, or when it is none for the names
/// or the time that it is now.
fn renewal(spec: &CertSpec, there: &Revision, now: Timestamp) -> (Timestamp, Reason) {
    let validity = there.leaf.validity;
    let names = spec.identifiers.iter().cloned().collect();
    if there.leaf.identifiers != names {
        return (now, Reason::Changed("other names".to_owned()));
    }
    if now < validity.not_before {
        return (now, Reason::Changed("a date that fits the clock".to_owned()));
    }
    (after(validity.not_before, validity.lifetime() * 2 / 3), Reason::Lifetime)
}

/// Whether a signing request is to lie ready for a person: there is no certificate, or the last
/// third of its life has begun, and no CA gives the next one by itself.
pub fn wants_request(spec: &CertSpec, seen: &Observed, now: Timestamp) -> bool {
    let by_hand = spec.source == Source::Manual || spec.source == Source::Auto && seen.unreachable;
    by_hand
        && seen.certificate().is_none_or(|newest| {
            let validity = newest.leaf.validity;
            now >= after(validity.not_before, validity.lifetime() * 2 / 3)
        })
}

/// What is waited for: a person with a file.
fn upload(spec: &CertSpec, seen: &Observed, now: Timestamp) -> Wait {
    let folder = spec.upload.dir.display();
    let Some(newest) = seen.certificate() else {
        let there = match (&seen.foreign_in_service, seen.placeholder()) {
            (Some(foreign), _) => format!(
                "{} has one from outside that ends at {} and is left alone",
                foreign.service,
                date(foreign.not_after)
            ),
            (None, Some(there)) => {
                format!("a placeholder serves until {}", date(there.leaf.validity.not_after))
            }
            (None, None) => "there is none yet".to_owned(),
        };
        let text = format!("{there}; upload a certificate into {folder}/");
        return Wait { until: None, why: Why::Person(text) };
    };
    let validity = newest.leaf.validity;
    let end = date(validity.not_after);
    if validity.not_after < now {
        let text = format!("ended {end}; upload the next one into {folder}/");
        return Wait { until: None, why: Why::Person(text) };
    }
    let text = format!("ends {end}; upload the next one into {folder}/");
    let urgent_at = after(validity.not_before, validity.lifetime() * 2 / 3);
    if now < urgent_at {
        return Wait { until: Some(urgent_at), why: Why::NotDue(text) };
    }
    let ended_at = after(validity.not_after, std::time::Duration::from_secs(1));
    Wait { until: Some(ended_at), why: Why::Person(text) }
}

#[cfg(test)]
mod tests;
