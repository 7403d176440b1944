//! One certificate: observe → plan → act until the plan says wait.

use std::time::Duration;

use jiff::Timestamp;

use super::{Error, MOST_ACTIONS, Pass, Reconciler, upload, wait_for};
use crate::cert::span;
use crate::config::{CertSpec, Mode, Source};
use crate::deploy;
use crate::policy::findings::{self, About, Using};
use crate::policy::plan::{self, Action, Wait, Why};
use crate::policy::{identity, remember, schedule};
use crate::state::{Finding, Goal, Observed};
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
        self.finish(&writer, spec).await?;
        let mut pass = Pass::nothing();
        // First of all: an upload waits for no CA.
        let mut look_at = self.uploads(&writer, spec, &mut pass).await?;
        writer.retire_csrs(spec, &self.live(&spec.name)?)?;
        let mut pass = self.steps(&writer, spec, pass, &mut look_at).await?;
        pass.findings.extend(upload::finding(spec, &store.state()?));
        self.note_progress(spec)?;
        pass.wait.until = pass.wait.until.into_iter().chain(look_at).min();
        Ok(pass)
    }

    /// The same, but one that is at rest is only read: a pass over a thousand of them takes no lock
    /// and writes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::certificate`].
    pub async fn certificate_if_due(&self, spec: &CertSpec) -> Result<Pass, Error> {
        match self.at_rest(spec)? {
            Some(wait) => Ok(Pass { wait, ..Pass::nothing() }),
            None => self.certificate(spec).await,
        }
    }

    /// What is waited for when nothing but time can change it: no order is under way, nothing lies
    /// in the drop folder, and the newest revision is whole.
    fn at_rest(&self, spec: &CertSpec) -> Result<Option<Wait>, Error> {
        if self.config.mode == Mode::Observe || upload::may_be_waiting(spec) {
            return Ok(None);
        }
        let seen = self.observe(spec)?;
        let now = self.world.now();
        let Some(newest) = seen.newest.as_ref().filter(|newest| !newest.is_placeholder()) else {
            return Ok(None);
        };
        let sound = self.store.certificate(&spec.name)?.is_sound(newest)?;
        let idle = seen.order.is_none() && seen.state.waiting.is_none();
        if !sound || !idle || plan::wants_request(spec, &seen, now) {
            return Ok(None);
        }
        match self.next(spec, &seen, now) {
            Action::Wait(wait) if matches!(wait.why, Why::NotDue(_)) => Ok(Some(wait)),
            _ => Ok(None),
        }
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
                    if self.config.mode == Mode::On && plan::wants_request(spec, &seen, now) {
                        self.request(writer, spec).await?;
                    }
                    pass.findings.extend(self.certificate_findings(writer, spec, &seen, &wait)?);
                    return Ok(Pass { wait, ..pass });
                }
                _ if self.config.mode == Mode::Observe => {
                    let why = Why::Person("mode is \"observe\": nothing is ordered".to_owned());
                    let wait = Wait { until: None, why };
                    pass.findings.extend(self.certificate_findings(writer, spec, &seen, &wait)?);
                    return Ok(Pass { wait, ..pass });
                }
                Action::Placeholder(reason) => {
                    self.stand_in(writer, spec, &seen, &reason).await?;
                    continue;
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
            Action::Probe => self.probe(writer, spec).await,
            // Done where it was found.
            Action::Placeholder(_) | Action::Wait(_) => Ok(None),
        }
    }

    /// The next step for a certificate, as the plan has it.
    pub fn next(&self, spec: &CertSpec, seen: &Observed, now: Timestamp) -> Action {
        if spec.source == Source::Manual {
            return plan::next_manual(spec, seen, now);
        }
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
        // The dates of a placeholder are our own clock's, which proves nothing.
        let proved = newest.as_ref().filter(|newest| !newest.is_placeholder());
        let mut time = (self.world.time)(proved.map(|r| r.leaf.validity.not_before));
        time.trusted |= self.world.confirmed.get();
        let foreign_in_service =
            if proved.is_none() { self.foreign_in_service(spec, now)? } else { None };
        let state = store.state()?;
        let unreachable = spec.source == Source::Auto && state.mode.is_manual();
        let identity = self.world.identity(self.store);
        let possible_copy = identity.copy().map(|question| identity::changed(&question.marks));
        Ok(Observed {
            newest,
            state,
            order,
            ledger,
            time,
            unreachable,
            foreign_in_service,
            possible_copy,
        })
    }

    /// What is wrong with a certificate, judged by what its services serve.
    fn certificate_findings(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        seen: &Observed,
        wait: &Wait,
    ) -> Result<Vec<Finding>, Error> {
        let wanting = self.config.services.iter().filter(|s| s.certificates.contains(&spec.name));
        let mut states = Vec::new();
        for service in wanting {
            states.push((service, self.store.service(&service.name)?.state()?));
        }
        let services: Vec<Using<'_>> =
            states.iter().map(|(spec, state)| Using { spec, state }).collect();
        let request = match spec.source {
            Source::Acme => None,
            Source::Auto | Source::Manual => writer.standing_csr(spec)?,
        };
        let upload = self.store.upload_record(&spec.name)?;
        let about = About {
            issuer: self.issuer(spec),
            services: &services,
            request: request.as_ref().map(|request| request.pem.as_str()),
            upload: upload.as_ref(),
        };
        Ok(findings::certificate(spec, about, seen, wait, self.world.now()))
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
