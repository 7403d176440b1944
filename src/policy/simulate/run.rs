//! The steps of the simulation.

use std::fmt;

use jiff::Timestamp;

use super::{Entry, Failed, NoProgress, Outcomes, Scene};
use crate::cert::{Fingerprint, Leaf, PLACEHOLDER, Validity};
use crate::config::{ServiceSpec, in_order};
use crate::policy::plan::{self, Action, Reason, Wait};
use crate::policy::remember;
use crate::policy::schedule::{HOUR, Seed, after, date};
use crate::state::{
    Ari, Asked, Failure, FailureClass, LedgerEvent, Origin, Revision, SCHEMA, Time,
};

/// The simulation under way.
pub(super) struct Run<'a> {
    pub(super) scene: &'a mut Scene,
    pub(super) seed: &'a Seed,
    pub(super) outcomes: &'a mut dyn Outcomes,
    /// What was done so far.
    pub(super) timeline: Vec<Entry>,
    /// When each object is due again, certificates first.
    wakes: Vec<Option<Timestamp>>,
    /// When it was last looked at all of them.
    last: Option<Timestamp>,
}

impl<'a> Run<'a> {
    /// Nothing is done yet.
    pub(super) fn new(
        scene: &'a mut Scene,
        seed: &'a Seed,
        outcomes: &'a mut dyn Outcomes,
    ) -> Self {
        let wakes = vec![None; scene.certificates.len() + scene.services.len()];
        Self { scene, seed, outcomes, timeline: Vec::new(), wakes, last: None }
    }

    /// Does everything that can be done now; returns when to go on.
    pub(super) fn go_on(&mut self, now: Timestamp) -> Result<Option<Timestamp>, NoProgress> {
        let time = self.outcomes.time(now);
        for certificate in &mut self.scene.certificates {
            let Some(time) = time else { break };
            let floor = certificate.seen.time.floor.max(time.floor);
            certificate.seen.time = Time { floor, ..time };
        }
        // Usually one object is due; all of them when the clock was set.
        let all = time.is_some() || self.last.is_none_or(|last| now < last);
        self.last = Some(now);
        let due = |wake: Option<Timestamp>| all || wake.is_some_and(|at| at <= now);
        let certificates = self.scene.certificates.len();
        let mut committed = false;
        for index in 0..certificates {
            if due(self.wakes[index]) {
                let before = self.newest(index);
                self.wakes[index] = self.certificate(index, now)?;
                committed |= self.newest(index) != before;
            }
        }
        for index in self.in_order() {
            let before = self.timeline.len();
            if committed || due(self.wakes[certificates + index]) {
                self.wakes[certificates + index] = self.service(index, now)?;
            }
            // Whoever waits for it looks again.
            committed |= self.timeline.len() > before;
        }
        let wake = self.wakes.iter().flatten().min().copied();
        Ok(self.outcomes.sleep(wake, now))
    }

    /// The services, each behind those that it comes after.
    fn in_order(&self) -> Vec<usize> {
        let services: Vec<_> = self.scene.services.iter().map(|scene| &scene.spec).collect();
        let place = |spec: &ServiceSpec| services.iter().position(|s| s.name == spec.name);
        in_order(&services).into_iter().filter_map(place).collect()
    }

    fn newest(&self, index: usize) -> Option<u64> {
        self.scene.certificates[index].seen.newest.as_ref().map(|newest| newest.number)
    }

    /// One certificate until it waits.
    fn certificate(
        &mut self,
        index: usize,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, NoProgress> {
        let object = self.scene.certificates[index].spec.name.clone();
        let mut last = None;
        for _ in 0..MOST_STEPS {
            let this = &self.scene.certificates[index];
            let action = plan::next(&this.spec, &this.issuer, &this.seen, self.seed, now);
            match &action {
                Action::Wait(wait) => return ahead(wait, object, now),
                Action::AskRenewalInfo => self.ask(index, now),
                Action::Placeholder(reason) => self.stand_in(index, reason, now),
                Action::Probe => self.probe(index, now),
                Action::Rehearse(reason) => self.rehearse(index, reason, now),
                Action::Issue { reason, exempt, .. } => self.order(index, reason, *exempt, now),
            }
            last = Some(action);
        }
        Err(NoProgress { object, action: format!("{last:?}"), at: now })
    }

    fn ask(&mut self, index: usize, now: Timestamp) {
        let this = &mut self.scene.certificates[index];
        let Some(newest) = &this.seen.newest else { return };
        let Some(cert_id) = newest.leaf.cert_id() else { return };
        let advice = self.outcomes.advise(&newest.leaf, now);
        let what = match advice {
            Some((window, again)) => {
                let ari = Ari {
                    cert_id,
                    window: Some(window),
                    explanation: None,
                    asked_at: now,
                    ask_again_at: after(now, again),
                };
                this.seen.state = remember::advised(&this.seen.state, ari);
                format!("asked the CA: between {} and {}", date(window.start), date(window.end))
            }
            None => {
                this.seen.state = remember::unadvised(&this.seen.state, &cert_id, HOUR * 6, now);
                "asked the CA: no advice".to_owned()
            }
        };
        self.note(index, what, "it may suggest another time", true, now);
    }

    fn rehearse(&mut self, index: usize, reason: &Reason, now: Timestamp) {
        let what = match self.outcomes.rehearse(now) {
            Ok(()) => {
                let seen = &mut self.scene.certificates[index].seen;
                seen.state = remember::rehearsed(&seen.state, now);
                self.came_through(index, true, now);
                "rehearsal succeeds".to_owned()
            }
            Err(failed) => {
                self.fail(index, failed, true, now);
                format!("rehearsal fails ({:?})", failed.class)
            }
        };
        self.note(index, what, reason, false, now);
    }

    fn order(&mut self, index: usize, reason: &Reason, exempt: bool, now: Timestamp) {
        let held = self.scene.certificates[index].seen.certificate().map(|n| &n.leaf);
        let outcome = self.outcomes.order(held, exempt, now);
        if outcome.is_ok() {
            let identifiers = self.wish(index).identifiers;
            self.enter(index, &LedgerEvent::Issued { identifiers, exempt }, now);
        }
        // What the CA returns is checked before it is stored: its dates, for one.
        let bad_dates = Failed { class: FailureClass::Transient, retry_after: None };
        let outcome = outcome.and_then(|v| if v.contains(now) { Ok(v) } else { Err(bad_dates) });
        let what = match outcome {
            Ok(validity) => {
                let number = self.commit(index, validity, "simulated".into(), now);
                let seen = &mut self.scene.certificates[index].seen;
                seen.time.floor = seen.time.floor.max(validity.not_before);
                seen.state = remember::issued(&seen.state);
                seen.order = None;
                format!("revision {number}, until {}", date(validity.not_after))
            }
            Err(failed) => {
                self.fail(index, failed, false, now);
                format!("the order fails ({:?})", failed.class)
            }
        };
        self.note(index, what, reason, false, now);
    }

    fn stand_in(&mut self, index: usize, reason: &Reason, now: Timestamp) {
        let validity = plan::placeholder_validity(now);
        let number = self.commit(index, validity, Origin::Placeholder, now);
        let what = format!("revision {number}, a placeholder, until {}", date(validity.not_after));
        self.note(index, what, reason, false, now);
    }

    fn fail(&mut self, index: usize, failed: Failed, rehearsal: bool, now: Timestamp) {
        let wish = self.wish(index);
        if failed.class == FailureClass::Validation && !rehearsal {
            for identifier in wish.identifiers.iter().take(1) {
                let event = LedgerEvent::ValidationFailed { identifier: identifier.clone() };
                self.enter(index, &event, now);
            }
        }
        let failure = Failure {
            at: now,
            class: failed.class,
            text: format!("{:?}", failed.class),
            detail: None,
            problem: None,
            retry_after: failed.retry_after.map(|wait| after(now, wait)),
            rehearsal,
        };
        let seen = &mut self.scene.certificates[index].seen;
        let held = seen.certificate().map(|newest| &newest.leaf);
        seen.state = remember::failed(&seen.state, failure, &wish, held, self.seed, now);
        seen.order = None;
        if failed.class == FailureClass::Validation {
            self.refused(index, rehearsal, now);
        }
    }

    /// The issuer's ledger is one for all its certificates.
    pub(super) fn enter(&mut self, index: usize, event: &LedgerEvent, now: Timestamp) {
        let issuer = self.scene.certificates[index].issuer.name.clone();
        for this in self.scene.certificates.iter_mut().filter(|c| c.issuer.name == issuer) {
            this.seen.ledger = remember::entered(&this.seen.ledger, event.clone(), now);
        }
    }

    fn commit(&mut self, index: usize, validity: Validity, origin: Origin, now: Timestamp) -> u64 {
        let wish = self.wish(index);
        let this = &mut self.scene.certificates[index];
        let number = this.seen.newest.as_ref().map_or(0, |newest| newest.number) + 1;
        let id = format!("simulated {} {number} {now}", this.spec.name);
        let placeholder = origin == Origin::Placeholder;
        let leaf = Leaf {
            fingerprint: Fingerprint::of(id.as_bytes()),
            identifiers: wish.identifiers.clone(),
            validity,
            serial: format!("{number:016x}"),
            issuer: if placeholder { PLACEHOLDER.to_owned() } else { wish.issuer.clone() },
            common_name: None,
            key: Some(wish.key),
            server_auth: true,
            client_auth: false,
            key_encipherment: Some(true),
            is_ca: false,
            authority_key: Some("00".to_owned()),
        };
        let revision = Revision {
            schema: SCHEMA,
            number,
            asked: (!placeholder).then_some(wish),
            leaf,
            chain_length: 1,
            committed_at: now,
            origin,
        };
        this.seen.newest = Some(revision.clone());
        self.came_through(index, false, now);
        let this = &mut self.scene.certificates[index];
        let name = this.spec.name.clone();
        let pairs = self.scene.services.iter_mut().flat_map(|service| &mut service.seen.pairs);
        for pair in pairs.filter(|pair| pair.certificate == name) {
            pair.newest = Some(revision.clone());
            if let Some(trust) = &mut pair.trust {
                trust.newest = self.outcomes.chain(now).or(trust.newest.take());
            }
        }
        number
    }

    fn wish(&self, index: usize) -> Asked {
        let this = &self.scene.certificates[index];
        plan::wish(&this.spec, &this.issuer)
    }

    pub(super) fn note(
        &mut self,
        index: usize,
        what: String,
        why: impl fmt::Display,
        routine: bool,
        now: Timestamp,
    ) {
        let object = self.scene.certificates[index].spec.name.clone();
        self.timeline.push(Entry { at: now, object, what, why: why.to_string(), routine });
    }
}

/// The end of a wait, which has to lie ahead.
pub(super) fn ahead(
    wait: &Wait,
    object: String,
    now: Timestamp,
) -> Result<Option<Timestamp>, NoProgress> {
    match wait.until {
        Some(until) if until <= now => {
            let action = format!("waiting for what is over ({})", wait.why);
            Err(NoProgress { object, action, at: now })
        }
        until => Ok(until),
    }
}

/// At one moment something may ask, rehearse and order, but not much more.
pub(super) const MOST_STEPS: usize = 12;
