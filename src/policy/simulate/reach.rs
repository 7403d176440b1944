//! What the simulation learns of the way from the CA to us: as `reconcile` does.

use jiff::Timestamp;

use super::run::Run;
use crate::policy::reach::{self, Heard, Hysteresis};
use crate::policy::schedule::after;
use crate::state::reach::Evidence;
use crate::state::{Failure, FailureClass, LedgerEvent};

impl Run<'_> {
    /// Manual mode tries the CA.
    pub(super) fn probe(&mut self, index: usize, now: Timestamp) {
        let rehearsal = self.scene.certificates[index].issuer.rehearsal.is_some();
        let what = match self.outcomes.probe(now) {
            Ok(()) => {
                self.came_through(index, rehearsal, now);
                "the CA can reach us"
            }
            Err(failed) if failed.class == FailureClass::Validation => {
                if !rehearsal {
                    let name = self.scene.certificates[index].spec.identifiers[0].clone();
                    self.enter(index, &LedgerEvent::ValidationFailed { identifier: name }, now);
                }
                self.refused(index, rehearsal, now);
                "the CA cannot reach us"
            }
            Err(failed) => {
                let failure = Failure {
                    at: now,
                    class: failed.class,
                    text: format!("{:?}", failed.class),
                    detail: None,
                    problem: None,
                    retry_after: failed.retry_after.map(|wait| after(now, wait)),
                    rehearsal,
                };
                self.learn(index, Heard::Nothing(&failure), now);
                "the CA gives no answer"
            }
        };
        self.note(index, what.to_owned(), "manual mode", false, now);
    }

    /// A CA validated the names, or gave a certificate.
    pub(super) fn came_through(&mut self, index: usize, rehearsal: bool, now: Timestamp) {
        let found = reach::came_through(&self.scene.certificates[index].issuer, rehearsal, now);
        self.learn(index, Heard::Found(found), now);
    }

    /// A CA looked, and did not get here.
    pub(super) fn refused(&mut self, index: usize, rehearsal: bool, now: Timestamp) {
        let this = &self.scene.certificates[index];
        let name = &this.spec.identifiers[0];
        let problem = ("connection", "simulated");
        let found: Option<Evidence> =
            reach::seen_by_ca(&this.issuer, rehearsal, name, problem, now);
        if let Some(found) = found {
            self.learn(index, Heard::Found(found), now);
        }
    }

    fn learn(&mut self, index: usize, heard: Heard<'_>, now: Timestamp) {
        let this = &mut self.scene.certificates[index];
        let newest = this.seen.newest.as_ref();
        let (spec, state) = (&this.spec, &this.seen.state);
        let (state, _) = reach::heard(spec, state, newest, heard, Hysteresis::default(), now);
        this.seen.state = state;
    }
}
