//! What the mode makes of the next step (`source = "auto"`): in manual mode nothing is ordered in
//! the ordinary course, the CA is tried daily, and what is due is ordered as soon as it comes
//! through.
//!
//! It must never cost a certificate: without a usable one, with a short-lived one, past the
//! emergency point, or when a person asks, the ordinary road is taken whatever the mode is.

use std::time::Duration;

use jiff::Timestamp;

use super::certificate::Case;
use super::{Action, Wait, Why};
use crate::config::{CertSpec, Source};
use crate::policy::reach::{about, is_usable};
use crate::policy::schedule::{
    DAY, Due, MINUTE, SHORT_LIVED, Seed, before, date, emergency_at, holds_until, in_emergency,
};
use crate::state::Revision;
use crate::state::reach::Mode;

/// When the CA takes over from an uploaded certificate: at 1/8 of its life or 14 days before its
/// end, whichever is later. `None` for one that the CA gave, or that it may not replace.
pub(super) fn take_over_at(spec: &CertSpec, newest: &Revision) -> Option<Timestamp> {
    if spec.source != Source::Auto || newest.asked.is_some() {
        return None;
    }
    let validity = newest.leaf.validity;
    let left = (validity.lifetime() / 8).min(DAY * 14);
    Some(before(validity.not_after, left))
}

impl Case<'_> {
    /// What manual mode does instead of the ordinary step; `None`: nothing.
    pub(super) fn manual(&self, due: &Due, seed: &Seed) -> Option<Action> {
        let Mode::Manual { since, reason } = &self.seen.state.mode else { return None };
        let newest = self.newest.filter(|n| is_usable(Some(n), self.now))?;
        let reach = &self.seen.state.reach;
        // Nobody uploads a certificate every other day.
        let too_short = newest.leaf.validity.lifetime() < SHORT_LIVED;
        let ours = self.spec.source == Source::Auto && reach.about == about(self.spec);
        let emergency = in_emergency(newest.leaf.validity, self.now);
        if !ours || too_short || emergency || self.forced(newest) {
            return None;
        }
        let comes_through = reach.last_asked().is_some_and(|found| found.reaches);
        if comes_through && due.at <= self.now {
            return None;
        }
        let barred = self.barred_from_probing();
        let probe_at = self.probe_at(newest, seed).max(barred.as_ref().and_then(|wait| wait.until));
        let Some(probe_at) = probe_at.filter(|at| *at > self.now) else {
            return Some(Action::Probe);
        };
        let text = format!(
            "manual mode since {}: {reason}; upload a certificate; the CA is tried again at {}",
            date(*since),
            date(probe_at)
        );
        // What is due may be ordered as soon as the CA comes through.
        let due_at = Some(due.at).filter(|at| comes_through && *at > self.now);
        let wakes = [Some(probe_at), due_at, Some(emergency_at(newest.leaf.validity))];
        let until = wakes.into_iter().flatten().min();
        Some(Action::Wait(Wait { until, why: Why::Person(text) }))
    }

    /// When the CA is tried again: as the belief says, but never after more than 1/8 of the life
    /// that was left, as with the back-off. Spread over a tenth of the time, so that a fleet behind
    /// one firewall does not come at once; `None`: now.
    fn probe_at(&self, newest: &Revision, seed: &Seed) -> Option<Timestamp> {
        let reach = &self.seen.state.reach;
        let (asked_at, again_at) = (reach.asked_at?, reach.ask_again_at?);
        let eighth = (newest.leaf.validity.left(asked_at) / 8).max(MINUTE);
        let wait = crate::cert::span(asked_at, again_at).min(LONGEST).min(eighth);
        let fraction = seed.fraction(&["probe", &self.spec.name, &asked_at.to_string()]);
        holds_until(asked_at, wait + (wait / 10).mul_f64(fraction), self.now)
    }
}

/// What is further ahead was written with another clock.
const LONGEST: Duration = Duration::from_secs(2 * 86_400);

#[cfg(test)]
mod tests;
