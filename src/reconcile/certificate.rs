//! One certificate: observe → plan → act until the plan says wait.

use std::time::Duration;

use jiff::Timestamp;

use super::{Error, MOST_ACTIONS, Pass, Reconciler, in_words, upload, wait_for};
use crate::cert::span;
use crate::config::{CertSpec, Mode};
use crate::deploy;
use crate::policy::plan::{self, Action, Wait, Why};
use crate::policy::{remember, schedule};
use crate::state::{Finding, Goal, Observed, Severity};
use crate::store::CertificateWriter;

impl Reconciler<'_> {
    /// Brings one certificate to where the plan says wait.
    ///
    /// # Errors
    ///
    /// When records cannot be read or written; a CA that fails is no error here, but remembered.
    pub async fn certificate(&self, spec: &CertSpec) -> Result<Pass, Error> {
        let store = self.store.certificate(&spec.name)?;
        let now = || self.world.now();
        let writer = wait_for(&spec.name, || store.try_lock(now()), self.progress).await?;
        self.finish(&writer, spec)?;
        let mut pass = Pass::nothing();
        // First of all: an upload waits for no CA.
        let mut look_at = self.uploads(&writer, spec, &mut pass).await?;
        let mut pass = self.steps(&writer, spec, pass, &mut look_at).await?;
        pass.findings.extend(upload::findings(spec, &store.state()?, self.world.now()));
        pass.wait.until = pass.wait.until.into_iter().chain(look_at).min();
        Ok(pass)
    }

    /// Step after step until the plan says wait; an upload that comes meanwhile goes first.
    async fn steps(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        mut pass: Pass,
        look_at: &mut Option<Timestamp>,
    ) -> Result<Pass, Error> {
        let mut interruptions = 0;
        for _ in 0..MOST_ACTIONS {
            if self.stop.get() {
                return Ok(pass);
            }
            let seen = self.observe(spec)?;
            let now = self.world.now();
            let action = match self.next(spec, &seen, now) {
                Action::Wait(wait)
                    if matches!(wait.why, Why::Clock(_))
                        && !seen.time.trusted
                        && self.clock_is_confirmed(spec).await =>
                {
                    self.world.confirmed.set(true);
                    continue;
                }
                Action::Wait(wait) => {
                    pass.findings.extend(certificate_finding(spec, &seen, now));
                    return Ok(Pass { wait, ..pass });
                }
                _ if self.config.mode == Mode::Observe => {
                    let why = Why::Person("mode is \"observe\": nothing is ordered".to_owned());
                    return Ok(Pass { wait: Wait { until: None, why }, ..pass });
                }
                action => action,
            };
            let ask = self.ask(writer, spec, &seen, action);
            let asked = if interruptions < MOST_INTERRUPTIONS {
                self.unless_uploaded(spec, ask).await
            } else {
                Some(ask.await)
            };
            match asked {
                Some(failed) => pass.failed = failed?.or(pass.failed),
                None => {
                    interruptions += 1;
                    *look_at = self.uploads(writer, spec, &mut pass).await?;
                }
            }
        }
        Err(Error::Restless(spec.name.clone()))
    }

    /// Asks the CA for what the plan wants of it; returns what failed.
    async fn ask(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        seen: &Observed,
        action: Action,
    ) -> Result<Option<String>, Error> {
        match action {
            Action::AskRenewalInfo => {
                self.ask_renewal_info(writer, spec, seen).await?;
                Ok(None)
            }
            Action::Rehearse(reason) => {
                let order = self.order(writer, spec, Goal::Rehearsal, None).await?;
                self.drive(writer, spec, order, &reason, false).await
            }
            Action::Issue { reason, replaces, exempt } => {
                let order = self.order(writer, spec, Goal::Certificate, replaces).await?;
                self.drive(writer, spec, order, &reason, exempt).await
            }
            Action::Wait(_) => Ok(None),
        }
    }

    /// The next step for a certificate, as the plan has it.
    pub fn next(&self, spec: &CertSpec, seen: &Observed, now: Timestamp) -> Action {
        let Some(issuer) = self.issuer(spec) else {
            let why = Why::Person("no issuer is configured".to_owned());
            return Action::Wait(Wait { until: None, why });
        };
        plan::next(spec, issuer, seen, &self.seed(), now)
    }

    /// Everything the plan is shown of a certificate.
    ///
    /// # Errors
    ///
    /// When records cannot be read.
    pub fn observe(&self, spec: &CertSpec) -> Result<Observed, Error> {
        let store = self.store.certificate(&spec.name)?;
        let newest = store.newest()?;
        let order = store.order_seen()?;
        let now = self.world.now();
        let ledger = match spec.issuers.first() {
            Some(issuer) => self.store.issuer(issuer)?.ledger(now)?,
            None => Default::default(),
        };
        let mut time = (self.world.time)(newest.as_ref().map(|r| r.leaf.validity.not_before));
        time.trusted |= self.world.confirmed.get();
        Ok(Observed { newest, state: store.state()?, order, ledger, time })
    }

    /// Whether the CA's clock agrees with ours.
    async fn clock_is_confirmed(&self, spec: &CertSpec) -> bool {
        let Some(authority) = self.authority(spec) else { return false };
        let Some(date) = authority.date().await else { return false };
        let now = self.world.now();
        span(now.min(date), now.max(date)) <= AGREEMENT
    }

    async fn ask_renewal_info(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        seen: &Observed,
    ) -> Result<(), Error> {
        let (Some(authority), Some(newest)) = (self.authority(spec), &seen.newest) else {
            return Ok(());
        };
        let now = self.world.now();
        let cert_id = newest.leaf.cert_id().unwrap_or_default();
        let state = match authority.renewal_info(&newest.leaf, now).await {
            Ok(Some(ari)) => remember::advised(&seen.state, ari),
            Ok(None) => remember::unadvised(&seen.state, &cert_id, schedule::DAY, now),
            Err(error) => {
                let certificate = spec.name.as_str();
                let text = deploy::chain_of(&error);
                tracing::warn!(certificate, "no renewal information: {text}");
                let told = error.failure(now, false).retry_after;
                let wait = told.map_or(schedule::HOUR, |at| crate::cert::span(now, at));
                let wait = wait.clamp(schedule::MINUTE, schedule::DAY);
                remember::unadvised(&seen.state, &cert_id, wait, now)
            }
        };
        Ok(writer.remember(&state)?)
    }
}

/// A CA is asked to the end after so many uploads in one pass: nobody can keep us from it by
/// uploading without end.
const MOST_INTERRUPTIONS: u32 = 3;

/// A peer's clock agrees with ours when it is no further away than this.
const AGREEMENT: Duration = Duration::from_secs(5 * 60);

fn certificate_finding(spec: &CertSpec, seen: &Observed, now: Timestamp) -> Option<Finding> {
    let failure = seen.state.backoff.last.as_ref()?;
    let left = seen.newest.as_ref().map(|r| r.leaf.validity.left(now));
    let severity = match left {
        Some(left) if left > Duration::ZERO => Severity::Warning,
        _ => Severity::Critical,
    };
    Some(Finding { object: spec.name.clone(), severity, text: in_words(failure) })
}
