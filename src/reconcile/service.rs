//! One service: observe → plan → act until the plan says wait.

use jiff::Timestamp;

use super::{Error, MOST_ACTIONS, Pass, Reconciler, wait_for};
use crate::config::{Mode, ServiceSpec};
use crate::deploy::{self, Deployment, install, on_disk};
use crate::policy::plan::{self, ServiceAction, Wait, Why};
use crate::policy::{findings, remember, schedule};
use crate::state::{
    Ahead, Announcement, Calls, Event, FilesSeen, PairSeen, PairState, Revision, ServiceSeen,
    ServiceState, Step,
};
use crate::store::ServiceWriter;

impl Reconciler<'_> {
    /// Brings one service to where the plan says wait.
    ///
    /// # Errors
    ///
    /// When records cannot be read or written; a service that fails is no error here, but
    /// remembered.
    pub async fn service(&self, spec: &ServiceSpec) -> Result<Pass, Error> {
        let pass = self.service_steps(spec).await;
        for name in &spec.certificates {
            let certificate = self.config.certificate(name);
            certificate.map_or(Ok(()), |certificate| self.note_progress(certificate))?;
        }
        pass
    }

    async fn service_steps(&self, spec: &ServiceSpec) -> Result<Pass, Error> {
        let store = self.store.service(&spec.name)?;
        let now = || self.world.now();
        let writer = wait_for(&spec.name, || store.try_lock(now()), self.progress).await?;
        let mut pass = Pass::nothing();
        for _ in 0..MOST_ACTIONS {
            if self.stop.get() {
                return Ok(pass);
            }
            let mut state = store.state()?;
            self.note_drift(spec, &writer, &mut state)?;
            let seen = self.observe_service(spec, &state)?;
            let action = plan::next_service(spec, &seen, &self.seed(), self.world.now());
            let observing = self.config.mode == Mode::Observe;
            let (pairs, outcome) = match action {
                ServiceAction::Wait(wait) => {
                    let doubts = self.doubts(spec, &writer, &mut state, &seen)?;
                    pass.findings = self.service_findings(spec, &state, &seen, Some(&wait));
                    pass.findings.extend(doubts);
                    return Ok(Pass { wait, ..pass });
                }
                ServiceAction::Look => {
                    let outcome = self.deployment(spec).look_again(&writer, &mut state).await;
                    (Vec::new(), outcome)
                }
                _ if observing => {
                    // What is to be done stands before a look in the plan, and would hide it.
                    let now = self.world.now();
                    let stale = |at| schedule::holds_until(at, schedule::DAY, now).is_none();
                    if !spec.endpoints.is_empty() && seen.looked_at.is_none_or(stale) {
                        self.deployment(spec).look_again(&writer, &mut state).await.ok();
                    }
                    let why = Why::Person("mode is \"observe\": nothing is written".to_owned());
                    let until = Some(schedule::after(now, schedule::DAY));
                    let wait = Wait { until, why };
                    let findings = findings::service(spec, &state, None);
                    return Ok(Pass { wait, findings, ..pass });
                }
                ServiceAction::Announce { takes_place, pairs } => {
                    self.announce(spec, &writer, &mut state, takes_place, pairs)?;
                    continue;
                }
                ServiceAction::Adopt { certificate } => {
                    if !self.adopt(spec, &writer, &mut state, &certificate).await? {
                        let why =
                            Why::NotDue(format!("another pbxcert is busy with {certificate}"));
                        let until = Some(schedule::after(self.world.now(), schedule::MINUTE));
                        return Ok(Pass { wait: Wait { until, why }, ..pass });
                    }
                    continue;
                }
                ServiceAction::CountCalls => {
                    let count = self.deployment(spec).count_calls().await;
                    state.calls = Some(Calls { at: self.world.now(), count });
                    writer.remember(&state)?;
                    continue;
                }
                ServiceAction::Settle => {
                    (cut_off(&state), self.deployment(spec).settle(&writer, &mut state).await)
                }
                ServiceAction::Deploy { pairs, .. } => {
                    self.note_put_back(spec, &writer, &mut state, &seen, &pairs)?;
                    let outcome = self.deployment(spec).run(&writer, &mut state, &pairs).await;
                    (pairs, outcome)
                }
                ServiceAction::Mend { certificates } => {
                    self.mend(spec, &writer, &mut state, &certificates).await?
                }
            };
            if let Err(error) = outcome {
                let (text, wait) = self.put_off(spec, &writer, &pairs, &error)?;
                let findings = findings::service(spec, &store.state()?, Some(&wait));
                return Ok(Pass { wait, findings, failed: Some(text) });
            }
        }
        Err(Error::Restless(spec.name.clone()))
    }

    /// Everything the plan is shown of a service.
    ///
    /// # Errors
    ///
    /// When records cannot be read.
    pub fn observe_service(
        &self,
        spec: &ServiceSpec,
        state: &ServiceState,
    ) -> Result<ServiceSeen, Error> {
        let mut pairs = Vec::new();
        for certificate in &spec.certificates {
            let pair = state.pairs.get(certificate).cloned().unwrap_or_default();
            let install = spec.install.get(certificate);
            let newest = self.store.certificate(certificate)?.newest()?;
            let mut files = install.map_or(FilesSeen::Untouched, |i| on_disk::observe(i, &pair));
            if newest.as_ref().is_some_and(|newest| newest.is_placeholder())
                && files == FilesSeen::Untouched
                && let Some(leaf) = install.and_then(on_disk::any_leaf_on_disk)
            {
                // A real certificate takes the place of what was there before us; this may not.
                files = FilesSeen::Foreign(Box::new(leaf));
            }
            let now = self.world.now();
            let outside_is_sound = matches!(files, FilesSeen::Foreign(_))
                && install.is_some_and(|install| self.is_sound(certificate, install, now));
            let trust = self.trust_seen(spec, certificate, newest.as_ref(), &pair, state);
            let in_place = match pair.revision {
                Some(number) => self.store.certificate(certificate)?.revision(number)?,
                None => None,
            };
            let min_age = self.config.certificate(certificate).map(|c| c.min_age);
            pairs.push(PairSeen {
                root: self.root(spec, certificate, newest.as_ref()),
                certificate: certificate.clone(),
                newest,
                min_age: min_age.unwrap_or_default(),
                state: pair,
                files,
                in_place: in_place.map(|revision| revision.leaf.validity),
                outside_is_sound,
                trust,
            });
        }
        // One of old does not tell enough of its chain.
        let look = |e: &str| state.seen.get(e).filter(|s| !s.is_of_old()).map(|s| s.at);
        let times = spec.endpoints.iter().map(|e| look(&e.to_string()));
        Ok(ServiceSeen {
            pairs,
            reloads: state.reloads.clone(),
            mended: state.mended.clone(),
            looked_at: times.min().flatten(),
            seen: state.seen.clone(),
            endpoints: spec
                .endpoints
                .iter()
                .map(|e| (e.to_string(), e.certificate.clone()))
                .collect(),
            by_hand: self.by_hand,
            calls: state.calls,
            announced: state.announced.clone(),
            ahead: self.ahead(spec)?,
        })
    }

    /// Everything that is wrong with a service, but for doubts.
    fn service_findings(
        &self,
        spec: &ServiceSpec,
        state: &ServiceState,
        seen: &ServiceSeen,
        wait: Option<&Wait>,
    ) -> Vec<crate::state::Finding> {
        let now = self.world.now();
        let mut found = findings::service(spec, state, wait);
        found.extend(findings::holds(spec, seen, now));
        found.extend(findings::outside(spec, seen, now));
        found
    }

    /// How far the services are that come before this one.
    fn ahead(&self, spec: &ServiceSpec) -> Result<Vec<Ahead>, Error> {
        let mut ahead = Vec::new();
        for first in spec.after.iter().filter_map(|name| self.config.service(name)) {
            let state = self.store.service(&first.name)?.state()?;
            for certificate in first.certificates.iter().filter(|c| spec.certificates.contains(c)) {
                let pair = state.pairs.get(certificate);
                ahead.push(Ahead {
                    service: first.name.clone(),
                    certificate: certificate.clone(),
                    revision: pair.and_then(|pair| pair.revision),
                    step: pair.map(|pair| pair.step).unwrap_or_default(),
                });
            }
        }
        Ok(ahead)
    }

    /// Who made the last certificate of the chain; only asked where it decides something.
    fn root(
        &self,
        spec: &ServiceSpec,
        certificate: &str,
        newest: Option<&Revision>,
    ) -> Option<String> {
        let newest = newest.filter(|_| spec.strict_lint)?;
        let bundle = self.store.certificate(certificate).ok()?.bundle(newest.number).ok()?;
        bundle.root()
    }

    /// Remembers since when files are not as they were installed; mending waits for quiet.
    fn note_drift(
        &self,
        spec: &ServiceSpec,
        writer: &ServiceWriter,
        state: &mut ServiceState,
    ) -> Result<(), Error> {
        let now = self.world.now();
        let mut changed = false;
        for (certificate, pair) in &mut state.pairs {
            let Some(install) = spec.install.get(certificate) else { continue };
            let (at_once, drifted) = match on_disk::observe(install, pair) {
                FilesSeen::AsInstalled | FilesSeen::Untouched => (false, false),
                FilesSeen::Broken(_) => (self.mend_at_once, true),
                FilesSeen::Foreign(_) => (self.by_hand, true),
            };
            if drifted && !at_once {
                changed |= pair.drift_at.is_none();
                pair.drift_at.get_or_insert(now);
            } else {
                changed |= pair.drift_at.take().is_some();
            }
        }
        if changed {
            writer.remember(state)?;
        }
        Ok(())
    }

    async fn mend(
        &self,
        spec: &ServiceSpec,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        certificates: &[String],
    ) -> Result<(Vec<(String, u64)>, Result<(), deploy::Error>), Error> {
        let now = self.world.now();
        let mut pairs = Vec::new();
        for certificate in certificates {
            let pair = state.pairs.entry(certificate.clone()).or_default();
            let Some(revision) = self.installed(spec, certificate, pair)? else { continue };
            let install = spec.install.get(certificate);
            let seen = install.map_or(FilesSeen::Untouched, |i| on_disk::observe(i, pair));
            pairs.push((certificate.clone(), revision));
            if let FilesSeen::Broken(what) = seen {
                self.say(&format!("{}: mending: {what}", spec.name));
                self.store.record(&Event {
                    at: now,
                    certificate: Some(certificate.clone()),
                    service: Some(spec.name.clone()),
                    revision: Some(revision),
                    what: "mending".to_owned(),
                    text: what,
                })?;
            }
        }
        let outcome = self.deployment(spec).run(writer, state, &pairs).await;
        if outcome.is_ok() {
            state.mended.retain(|at| now.duration_since(*at).as_hours() < 24);
            state.mended.push(now);
            for certificate in certificates {
                // What is damaged from here on is damaged anew, and waits for quiet again.
                state.pairs.entry(certificate.clone()).or_default().drift_at = None;
            }
            writer.remember(state)?;
        }
        Ok((pairs, outcome))
    }

    /// The revision whose files were installed: after a rollback that is not the one that was last
    /// tried. When it is lost, the newest.
    fn installed(
        &self,
        spec: &ServiceSpec,
        certificate: &str,
        pair: &PairState,
    ) -> Result<Option<u64>, Error> {
        let store = self.store.certificate(certificate)?;
        let install = spec.install.get(certificate);
        let these = |number: u64| {
            let bundle = store.bundle(number).ok();
            bundle.zip(install).is_some_and(|(b, i)| install::digests(i, &b) == pair.files)
        };
        let mut numbers: Vec<u64> = store.revisions()?.iter().rev().map(|r| r.number).collect();
        if !matches!(pair.step, Step::RolledBack | Step::Stuck | Step::Waiting) {
            // Its targets may have changed with the configuration.
            numbers.retain(|number| Some(*number) == pair.revision);
            if let [number] = numbers[..] {
                return Ok(Some(number));
            }
        }
        let found = numbers.into_iter().find(|number| these(*number));
        let newest = store.newest()?.map(|newest| newest.number);
        Ok(found.or(newest).or(pair.revision))
    }

    /// Remembers a reload that will end calls; the finding of it tells people.
    fn announce(
        &self,
        spec: &ServiceSpec,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        takes_place: Timestamp,
        pairs: Vec<(String, u64)>,
    ) -> Result<(), Error> {
        let at = self.world.now();
        for (certificate, revision) in &pairs {
            self.store.record(&Event {
                at,
                certificate: Some(certificate.clone()),
                service: Some(spec.name.clone()),
                revision: Some(*revision),
                what: "announced".to_owned(),
                text: format!("a reload that ends calls, at {}", schedule::date(takes_place)),
            })?;
        }
        let revisions = pairs.into_iter().collect();
        state.announced = Some(Announcement { at, takes_place, revisions });
        Ok(writer.remember(state)?)
    }

    /// Remembers that a deployment could not be tried; what is waited for then.
    fn put_off(
        &self,
        spec: &ServiceSpec,
        writer: &ServiceWriter,
        pairs: &[(String, u64)],
        error: &deploy::Error,
    ) -> Result<(String, Wait), Error> {
        let now = self.world.now();
        let mut until = Some(schedule::after(now, schedule::HOUR));
        let text = deploy::chain_of(error);
        let mut state = self.store.service(&spec.name)?.state()?;
        for (certificate, revision) in pairs {
            let pair = state.pairs.entry(certificate.clone()).or_default();
            *pair = remember::put_off(pair, text.clone(), now);
            until = until.min(pair.retry_at);
            self.store.record(&Event {
                at: now,
                certificate: Some(certificate.clone()),
                service: Some(spec.name.clone()),
                revision: Some(*revision),
                what: "failed".to_owned(),
                text: text.clone(),
            })?;
        }
        let service = spec.name.as_str();
        tracing::warn!(service, "{text}");
        self.say(&format!("{service}: failed: {text}"));
        writer.remember(&state)?;
        let wait = Wait { until, why: Why::BackOff(text.clone()) };
        Ok((text, wait))
    }

    pub(super) fn deployment<'b>(&'b self, spec: &'b ServiceSpec) -> Deployment<'b> {
        Deployment {
            world: self.world,
            store: self.store,
            spec,
            by_hand: self.by_hand,
            progress: self.progress,
        }
    }
}

/// Certificates whose switch was cut off; the others have no part in what goes wrong now.
fn cut_off(state: &ServiceState) -> Vec<(String, u64)> {
    let steps = [Step::Installing, Step::Installed, Step::Reloaded, Step::RollingBack];
    let cut_off = state.pairs.iter().filter(|(_, pair)| steps.contains(&pair.step));
    cut_off.filter_map(|(name, pair)| pair.revision.map(|r| (name.clone(), r))).collect()
}
