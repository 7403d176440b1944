//! Verbs that change something. Each writes its wish before it acts, so that a killed verb is
//! finished by the daemon.

mod report;

use std::cell::Cell;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::{Context, Failed, exit, show};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{CertSpec, ServiceSpec, in_order};
use crate::policy::identity::{self, ANSWERS};
use crate::reconcile::{Pass, Reconciler, wait_for};
use crate::state::reach::ReachState;
use crate::state::{Backoff, CertState, Event, FailureClass, Hold, PairState, ServiceState, Step};
use crate::world::World;

pub(super) use report::Line;
use report::{Report, judged, told, worse};

/// Certificates that are worked on at a time: a hundred due ones do not become a hundred
/// connections to one CA.
const SIDE_BY_SIDE: usize = 8;

/// What `renew` was asked.
pub(super) struct Renewal {
    pub(super) name: Option<String>,
    pub(super) force: bool,
    pub(super) over_budget: Option<String>,
}

pub(super) async fn renew(context: &Context, wish: Renewal, json: bool) -> Result<u8, Failed> {
    let specs = context.certificates(wish.name.as_deref())?;
    for spec in &specs {
        let over_budget = match &wish.over_budget {
            None => false,
            Some(typed) if *typed == spec.name => true,
            Some(typed) => {
                return Err(Failed::new(
                    exit::USAGE,
                    format!(
                        "--over-budget {typed:?} does not repeat the certificate's name; to spend \
                         the CA's last tries: pbxcert renew {} --over-budget {}",
                        spec.name, spec.name
                    ),
                ));
            }
        };
        let now = self::now();
        let wished = |state: CertState| CertState {
            // What the CA said stays: it binds a person, too, and a failed validation is rehearsed.
            backoff: Backoff { failures: 0, retry_at: None, rehearsals: 0, ..state.backoff },
            forced_at: if wish.force { Some(now) } else { state.forced_at },
            over_budget,
            // In manual mode the CA is tried now.
            reach: ReachState { ask_again_at: None, ..state.reach },
            ..state
        };
        let store = context.store.certificate(&spec.name)?;
        let state = store.state()?;
        // Of a thousand that are at rest, none is locked.
        if wished(state.clone()) == state {
            continue;
        }
        let lock = || store.try_lock(self::now());
        let writer = wait_for(&spec.name, lock, &show::progress).await?;
        writer.remember(&wished(store.state()?))?;
    }
    context.store.touch_generation()?;
    let services: Vec<&ServiceSpec> = context
        .loaded
        .config
        .services
        .iter()
        .filter(|s| specs.iter().any(|c| s.certificates.contains(&c.name)))
        .collect();
    context.reconcile(&specs, &services, json).await
}

/// `renew --dry-run`: has the rehearsal CA validate the names, and leaves nothing behind.
pub(super) async fn rehearse(
    context: &Context,
    name: Option<&str>,
) -> Result<(Vec<Line>, u8), Failed> {
    let (world, stop) = (context.world(), Cell::new(false));
    let reconciler = context.reconciler(&world, &stop, true);
    let (mut lines, mut worst) = (Vec::new(), exit::DONE);
    // Two systems with one account are in each other's way at the rehearsal directory, too.
    let copy = world.identity(&context.store).copy().map(|q| identity::changed(&q.marks));
    for spec in context.certificates(name)? {
        if let Some(changed) = &copy {
            let text = format!("this may be a copy of another system ({changed}): {ANSWERS}");
            worst = worse(worst, exit::LATER);
            lines.push(Line { name: spec.name.clone(), result: "waits", text, until: None });
            continue;
        }
        let (result, code, text) = match reconciler.try_out(spec).await? {
            None => ("waits", exit::DONE, "its issuer has no rehearsal directory".to_owned()),
            Some(Ok(())) => {
                ("done", exit::DONE, "the rehearsal CA could validate every name".to_owned())
            }
            Some(Err(failure)) => {
                let passing = failure.class == FailureClass::Transient;
                let code = if passing { exit::UNAVAILABLE } else { exit::FAILED };
                ("failed", code, crate::reconcile::in_words(&failure))
            }
        };
        worst = worse(worst, code);
        lines.push(Line { name: spec.name.clone(), result, text, until: None });
    }
    Ok((lines, worst))
}

pub(super) async fn deploy(
    context: &Context,
    service: Option<&str>,
    json: bool,
) -> Result<u8, Failed> {
    let services = context.services(service)?;
    for spec in &services {
        context
            .change_pairs(spec, &spec.certificates, |pair| {
                pair.forced = true;
                pair.retry_at = None;
                pair.failures = 0;
            })
            .await?;
        context.approve_newest(spec, &spec.certificates).await?;
    }
    context.store.touch_generation()?;
    context.reconcile(&[], &services, json).await
}

impl Context {
    pub(super) fn world(&self) -> World {
        World::real(&self.loaded.config, &self.store)
    }

    /// The same passes as the daemon's, asked for by a person or only to look at the plan.
    pub(super) fn reconciler<'a>(
        &'a self,
        world: &'a World,
        stop: &'a Cell<bool>,
        by_hand: bool,
    ) -> Reconciler<'a> {
        Reconciler {
            world,
            store: &self.store,
            config: &self.loaded.config,
            by_hand,
            mend_at_once: by_hand,
            stop,
            progress: &show::progress,
        }
    }

    pub(super) fn certificates(&self, name: Option<&str>) -> Result<Vec<&CertSpec>, Failed> {
        let all = &self.loaded.config.certificates;
        let found: Vec<&CertSpec> =
            all.iter().filter(|c| name.is_none_or(|n| n == c.name)).collect();
        match name {
            Some(name) if found.is_empty() => {
                let known: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
                let text =
                    format!("no certificate {name:?} in the configuration; there is {known:?}");
                Err(Failed::new(exit::USAGE, text))
            }
            _ => Ok(found),
        }
    }

    fn services(&self, name: Option<&str>) -> Result<Vec<&ServiceSpec>, Failed> {
        let all = &self.loaded.config.services;
        let found: Vec<&ServiceSpec> =
            all.iter().filter(|s| name.is_none_or(|n| n == s.name)).collect();
        match name {
            Some(name) if found.is_empty() => {
                let known: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
                let text = format!("no service {name:?} in the configuration; there is {known:?}");
                Err(Failed::new(exit::USAGE, text))
            }
            _ => Ok(found),
        }
    }

    pub(super) fn services_of(&self, certificate: &str) -> Vec<&ServiceSpec> {
        let services = self.loaded.config.services.iter();
        services.filter(|s| s.certificates.iter().any(|c| c == certificate)).collect()
    }

    pub(super) async fn change_pairs(
        &self,
        spec: &ServiceSpec,
        certificates: &[String],
        change: impl Fn(&mut PairState),
    ) -> Result<(), Failed> {
        let store = self.store.service(&spec.name)?;
        let lock = || store.try_lock(self::now());
        let writer = wait_for(&spec.name, lock, &show::progress).await?;
        let mut state = store.state()?;
        for certificate in certificates {
            change(state.pairs.entry(certificate.clone()).or_default());
        }
        Ok(writer.remember(&state)?)
    }

    /// Runs the same passes as the daemon does, and tells how they ended.
    pub(super) async fn reconcile(
        &self,
        certificates: &[&CertSpec],
        services: &[&ServiceSpec],
        json: bool,
    ) -> Result<u8, Failed> {
        let (report, worst) = self.passes(certificates, services, true).await?;
        Ok(told(&report, worst, json))
    }

    /// The same for a wish that is no reason to disturb anybody: as the daemon would, windows and
    /// calls and all.
    pub(super) async fn reconcile_calmly(
        &self,
        services: &[&ServiceSpec],
        json: bool,
    ) -> Result<u8, Failed> {
        let (report, worst) = self.passes(&[], services, false).await?;
        Ok(told(&report, worst, json))
    }

    /// The passes, and how each ended.
    pub(super) async fn passes(
        &self,
        certificates: &[&CertSpec],
        services: &[&ServiceSpec],
        by_hand: bool,
    ) -> Result<(Report, u8), Failed> {
        let (world, stop) = (self.world(), Cell::new(false));
        let reconciler = self.reconciler(&world, &stop, by_hand);
        self.warn_of_another_config();
        let mut report = Report { schema: 1, ..Report::default() };
        let mut worst = exit::DONE;
        let reconciler = &reconciler;
        let mut passes = stream::iter(certificates)
            .map(|spec| async move { (spec, reconciler.certificate_if_due(spec).await) })
            .buffered(SIDE_BY_SIDE);
        while let Some((spec, pass)) = passes.next().await {
            let (line, mut code) = judged(&spec.name, pass?, true);
            if code == exit::FAILED && self.is_passing(spec)? {
                code = exit::UNAVAILABLE;
            }
            worst = worse(worst, code);
            report.certificates.push(line);
        }
        drop(passes);
        let mut failed: Vec<&str> = Vec::new();
        for spec in in_order(services) {
            self.want_now(spec, certificates).await?;
            if let Some(first) = spec.after.iter().find(|first| failed.contains(&first.as_str())) {
                // Nobody said by name that this one is to go on without it.
                self.change_pairs(spec, &spec.certificates, |pair| pair.forced = false).await?;
                failed.push(&spec.name);
                worst = worse(worst, exit::LATER);
                let text = format!(
                    "waits for {first}, which failed; to go on without it: pbxcert deploy {}",
                    spec.name
                );
                let (name, result) = (spec.name.clone(), "waits");
                report.services.push(Line { name, result, text, until: None });
                continue;
            }
            let pass = reconciler.service(spec).await?;
            let state = self.store.service(&spec.name)?.state()?;
            // Nobody who could be asked is no failure: it is said, and that is all.
            let to_ask = |name: &String| spec.endpoints.iter().any(|e| e.certificate == *name);
            let problem = state.pairs.iter().find_map(|(name, pair)| {
                pair.problem.clone().filter(|_| pair.step != Step::Unproved || to_ask(name))
            });
            let problem = pass.failed.clone().or(problem);
            let up_to_date = self.is_up_to_date(spec, &state)?;
            let (line, code) = judged(&spec.name, Pass { failed: problem, ..pass }, up_to_date);
            if code == exit::FAILED {
                failed.push(&spec.name);
            }
            worst = worse(worst, code);
            report.services.push(line);
        }
        Ok((report, worst))
    }

    /// Whether the last failure of a certificate will heal by itself: the CA is out of reach.
    fn is_passing(&self, spec: &CertSpec) -> Result<bool, Failed> {
        let last = self.store.certificate(&spec.name)?.state()?.backoff.last;
        Ok(last.is_some_and(|failure| failure.class == FailureClass::Transient))
    }

    /// Whether the service has the newest revision of each certificate, or the one it is held at.
    fn is_up_to_date(&self, spec: &ServiceSpec, state: &ServiceState) -> Result<bool, Failed> {
        for name in &spec.certificates {
            let newest = self.store.certificate(name)?.newest()?.map(|r| r.number);
            let pair = state.pairs.get(name).cloned().unwrap_or_default();
            let keeps = |hold: &&Hold| hold.newer_too || Some(hold.refused) >= newest;
            let held = pair.hold.as_ref().filter(keeps);
            if pair.revision != held.map_or(newest, |hold| hold.instead) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a person renewed goes into service now, not minutes after the last reload.
    pub(super) async fn want_now(
        &self,
        spec: &ServiceSpec,
        renewed: &[&CertSpec],
    ) -> Result<(), Failed> {
        let state = self.store.service(&spec.name)?.state()?;
        let mut newer = Vec::new();
        for certificate in renewed.iter().filter(|c| spec.certificates.contains(&c.name)) {
            let newest = self.store.certificate(&certificate.name)?.newest()?.map(|r| r.number);
            let pair = state.pairs.get(&certificate.name).cloned().unwrap_or_default();
            let cut_off = matches!(pair.step, Step::Waiting | Step::Installing);
            if (newest > pair.revision || cut_off) && pair.hold.is_none() {
                newer.push(certificate.name.clone());
            }
        }
        if newer.is_empty() {
            return Ok(());
        }
        self.change_pairs(spec, &newer, |pair| pair.forced = true).await
    }

    fn warn_of_another_config(&self) {
        if let Ok(Some(daemon)) = self.store.daemon_record()
            && daemon.config_hash != self.loaded.config.hash
        {
            show::warning(&format!(
                "the daemon (pid {}) runs with another configuration than {}; make it read it \
                 again: systemctl reload pbxcert",
                daemon.pid,
                self.path.display()
            ));
        }
    }

    pub(super) fn tell(
        &self,
        certificate: &str,
        what: &str,
        text: &str,
        now: jiff::Timestamp,
    ) -> Result<(), Failed> {
        Ok(self.store.record(&Event {
            at: now,
            certificate: Some(certificate.to_owned()),
            service: None,
            revision: None,
            what: what.to_owned(),
            text: text.to_owned(),
        })?)
    }
}

/// The exit code that tells more: what failed, then what is out of reach, then what waits.
pub(super) fn now() -> jiff::Timestamp {
    SystemClock.now()
}

/// Who asks: the one who used sudo, else the user.
pub(super) fn person() -> String {
    let from = |name| std::env::var(name).ok().filter(|s: &String| !s.is_empty());
    from("SUDO_USER").or_else(|| from("USER")).unwrap_or_else(|| {
        let uid = nix::unistd::getuid();
        nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |u| u.name)
    })
}
