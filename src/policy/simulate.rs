//! The same plan, run ahead: what `plan --days` prints and what the property tests torture.
//!
//! Time jumps from one wait to the next. What happens at each step is asked of [`Outcomes`]; what
//! is remembered of it comes from [`super::remember`], as in the daemon.

mod reach;
mod run;
mod service;

use std::time::Duration;

use jiff::Timestamp;

use self::run::Run;
use super::schedule::{DAY, Seed, after, date};
use crate::cert::top::Top;
use crate::cert::{Leaf, Validity};
use crate::config::{CertSpec, IssuerSpec, ServiceSpec};
use crate::state::{FailureClass, Observed, ServiceSeen, Step, Time, Window};

/// Everything that is simulated together; changed as time goes by.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The certificates.
    pub certificates: Vec<CertScene>,
    /// The services that use them.
    pub services: Vec<ServiceScene>,
}

/// A certificate as it is now.
#[derive(Clone, Debug)]
pub struct CertScene {
    /// What is wanted.
    pub spec: CertSpec,
    /// Of whom.
    pub issuer: IssuerSpec,
    /// What is there.
    pub seen: Observed,
}

/// A service as it is now.
#[derive(Clone, Debug)]
pub struct ServiceScene {
    /// What is wanted.
    pub spec: ServiceSpec,
    /// What is there.
    pub seen: ServiceSeen,
}

/// One line of the timeline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// The certificate or service.
    pub object: String,
    /// What is done, and what came of it.
    pub what: String,
    /// Why.
    pub why: String,
    /// Asking for advice or looking at endpoints: happens all the time and changes nothing.
    pub routine: bool,
}

/// A step that did not succeed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failed {
    /// What it means for the next try.
    pub class: FailureClass,
    /// The CA's `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// What the world answers.
pub trait Outcomes {
    /// The CA is asked for a certificate like `held`.
    fn order(
        &mut self,
        held: Option<&Leaf>,
        exempt: bool,
        now: Timestamp,
    ) -> Result<Validity, Failed>;

    /// The names are tried at the rehearsal directory.
    fn rehearse(&mut self, _now: Timestamp) -> Result<(), Failed> {
        Ok(())
    }

    /// Manual mode: the CA is asked whether it can reach us.
    fn probe(&mut self, now: Timestamp) -> Result<(), Failed> {
        self.rehearse(now)
    }

    /// The CA is asked for advice: the window, and when it wants to be asked again. `None`: no
    /// answer.
    fn advise(&mut self, _leaf: &Leaf, _now: Timestamp) -> Option<(Window, Duration)> {
        None
    }

    /// A revision is installed in a service that serves `old`: the step that it reaches.
    fn deploy(&mut self, _service: &str, _old: Option<&Leaf>, _now: Timestamp) -> Step {
        Step::Proved
    }

    /// The upper end of the chain of what the CA gave just now; `None`: as before.
    fn chain(&mut self, _now: Timestamp) -> Option<Top> {
        None
    }

    /// How many calls a reload would end; `None`: nobody can say.
    fn calls(&mut self, _service: &str, _now: Timestamp) -> Option<u32> {
        Some(0)
    }

    /// Time goes by until something is due at `wake` (`None`: never by itself): the time at which
    /// the loop goes on, or `None` for the end.
    fn sleep(&mut self, wake: Option<Timestamp>, now: Timestamp) -> Option<Timestamp>;

    /// What is known of the clock now; `None`: as before.
    fn time(&mut self, _now: Timestamp) -> Option<Time> {
        None
    }
}

/// Everything succeeds, and each certificate lives as long as the one before, until then.
#[derive(Clone, Copy, Debug)]
pub struct AsExpected {
    /// The end of the timeline.
    pub until: Timestamp,
}

impl Outcomes for AsExpected {
    fn order(&mut self, held: Option<&Leaf>, _: bool, now: Timestamp) -> Result<Validity, Failed> {
        let lifetime = held.map_or(DAY * 90, |leaf| leaf.validity.lifetime());
        Ok(Validity { not_before: now, not_after: after(now, lifetime) })
    }

    fn sleep(&mut self, wake: Option<Timestamp>, _now: Timestamp) -> Option<Timestamp> {
        wake.filter(|wake| *wake <= self.until)
    }
}

/// The plan does not get on: a mistake of ours, never one of the configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{object} at {}: {action} again and again without progress", date(*at))]
pub struct NoProgress {
    /// The certificate or service.
    pub object: String,
    /// What it does.
    pub action: String,
    /// When.
    pub at: Timestamp,
}

/// Runs the plan ahead until `outcomes` ends it.
///
/// # Errors
///
/// [`NoProgress`] when a step leads to the same step for ever, or a wait is over before it begins.
pub fn simulate(
    scene: &mut Scene,
    seed: &Seed,
    outcomes: &mut dyn Outcomes,
    mut now: Timestamp,
) -> Result<Vec<Entry>, NoProgress> {
    let objects = scene.certificates.len() + scene.services.len();
    let mut run = Run::new(scene, seed, outcomes);
    for _ in 0..objects.saturating_mul(MOST_WAKES) {
        let Some(wake) = run.go_on(now)? else { return Ok(run.timeline) };
        now = wake;
    }
    Err(NoProgress { object: "everything".to_owned(), action: "waking up".to_owned(), at: now })
}

/// For each object: 40 years of four questions a day, with room.
const MOST_WAKES: usize = 100_000;

#[cfg(test)]
mod tests;
