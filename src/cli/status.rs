//! `status`: read-only, from records that name the observation behind each word.

mod lines;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use self::lines::{Checked, OBSERVING, daemon_line, lingering, looked_at, mode_line, show_uploads};
use super::plan::service_step;
use super::{Context, Failed, alert, exit, identity, show};
use crate::config::Source;
use crate::host;
use crate::policy::plan::{self, Action, ServiceAction, Why, next_service};
use crate::policy::trust::{self, Judgement};
use crate::policy::words::{self, Wanting, Word};
use crate::state::reach::{Mode, Reach};
use crate::state::upload::UploadRecord;
use crate::state::{Approval, Doubt, Revision, ServiceState, Step};
use crate::store::{DaemonRecord, DropFolder};
use crate::world::World;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    schema: u32,
    site: String,
    mode: &'static str,
    now: Timestamp,
    daemon: Option<DaemonRecord>,
    /// Whether this system may be a copy of another; the same as in `identity show`.
    identity: identity::Report,
    certificates: Vec<Certificate>,
    services: Vec<Service>,
    /// The last daily check, and when the next one is due.
    check: Checked,
    /// Through what people are told; empty: nobody is.
    channels: Vec<String>,
    /// What people were told of and is not over.
    alerts: Vec<alert::Open>,
    not_in_config: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Certificate {
    name: String,
    names: Vec<String>,
    /// `none`, `issued`, `installed`, `live`, `live in 2 of 3`, `not live`.
    state: String,
    /// The observation behind the word.
    because: String,
    revision: Option<u64>,
    fingerprint: Option<String>,
    not_after: Option<Timestamp>,
    next_at: Option<Timestamp>,
    next: String,
    problem: Option<String>,
    /// `automatic` or `manual`, and since when and why; only where the source is `auto`.
    #[serde(flatten)]
    mode: Option<Mode>,
    /// Whether the CA can reach this host.
    reach: Believed,
    /// `auto`, `acme` or `manual`.
    source: &'static str,
    /// Where it may be uploaded; none when it comes from its CA alone.
    drop_folder: Option<PathBuf>,
    /// The last upload that was accepted or refused.
    upload: Option<UploadRecord>,
    /// The upload that is incomplete, and what is missing.
    waiting: Option<UploadRecord>,
    /// Files in the drop folder that nobody looks at, since pbxcert only observes.
    unread: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Believed {
    /// `reachable`, `unreachable` or `unknown`.
    verdict: Reach,
    since: Option<Timestamp>,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Service {
    name: String,
    kind: String,
    certificate: String,
    revision: Option<u64>,
    step: Step,
    since: Option<Timestamp>,
    held_by: Option<String>,
    /// When the hold ends by itself; absent where nothing newer waits.
    held_until: Option<Timestamp>,
    /// The newest revision waits for `approve`: what is different, and when it goes in all the same.
    doubt: Option<Doubt>,
    doubt_until: Option<Timestamp>,
    /// Who let which revision go in.
    approved: Option<Approval>,
    problem: Option<String>,
    /// The next step of the whole service: when it is due, and what it is or waits for.
    next_at: Option<Timestamp>,
    next: String,
    /// The next step is worth a line for a person.
    #[serde(skip)]
    telling: bool,
    /// Processes that stay for connections from before a reload (nginx, Apache, HAProxy).
    old_workers: usize,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Endpoint {
    endpoint: String,
    looked_at: Option<Timestamp>,
    seen: String,
}

/// What `--json` prints.
pub(super) fn report_now(context: &Context) -> Result<impl Serialize, Failed> {
    let world = World::real(&context.loaded.config, &context.store);
    let now = world.now();
    report(context, &world, now)
}

pub(super) fn print(context: &Context, json: bool) -> Result<u8, Failed> {
    let world = World::real(&context.loaded.config, &context.store);
    let now = world.now();
    let report = report(context, &world, now)?;
    if json {
        show::json(&report);
        return Ok(exit::DONE);
    }
    show::line(&format!("{}   {}", report.site, daemon_line(context, &report, now)));
    if let Some(degraded) = report.daemon.as_ref().and_then(|d| d.degraded.as_ref()) {
        show::warning(&format!("degraded: {degraded}"));
    }
    if let Some(line) = report.identity.line(now) {
        show::warning(&line);
    }
    if context.loaded.config.mode == crate::config::Mode::Observe {
        show::line(OBSERVING);
    }
    lines::warn_of_silence(&report.channels);
    show::line("");
    let rows = report.certificates.iter().map(|c| {
        let ends = c.not_after.map_or_else(|| "-".to_owned(), |at| show::time(at, now));
        vec![c.name.clone(), c.names.join(" "), c.state.clone(), ends, c.next.clone()]
    });
    show::table(&["CERTIFICATE", "NAMES", "STATE", "ENDS", "NEXT"], rows.collect());
    for certificate in &report.certificates {
        show::line(&format!("  {}: {}", certificate.name, certificate.because));
        if let Some(mode) = mode_line(certificate, now) {
            show::line(&format!("  {}: {mode}", certificate.name));
        }
        if let Some(problem) = &certificate.problem {
            show::line(&format!("  {}: last try failed: {problem}", certificate.name));
        }
        show_uploads(certificate, now);
    }
    show::line("");
    let rows = report.services.iter().map(|s| {
        let revision = s.revision.map_or_else(|| "-".to_owned(), |r| r.to_string());
        let since = s.since.map_or_else(|| "-".to_owned(), |at| show::relative(at, now));
        vec![s.name.clone(), s.certificate.clone(), revision, s.step.to_string(), since]
    });
    show::table(&["SERVICE", "CERTIFICATE", "REVISION", "STEP", "SINCE"], rows.collect());
    for service in &report.services {
        for endpoint in &service.endpoints {
            let when =
                endpoint.looked_at.map_or_else(|| "never".to_owned(), |at| show::relative(at, now));
            show::line(&format!("  {}: {} ({when})", endpoint.endpoint, endpoint.seen));
        }
        if let Some(held_by) = &service.held_by {
            let until = service.held_until.map(|at| format!(" until {}", show::time(at, now)));
            let until = until.unwrap_or_else(|| " until it is released".to_owned());
            show::line(&format!("  {}: held by {held_by}{until}", service.name));
        }
        if let Some(doubt) = &service.doubt {
            let until = service.doubt_until.map(|at| show::time(at, now)).unwrap_or_default();
            show::line(&format!(
                "  {}: revision {} waits for `pbxcert approve {}`, or until {until}: {}",
                service.name, doubt.revision, service.certificate, doubt.changes
            ));
        }
        if let Some(problem) = &service.problem {
            show::line(&format!("  {}: {problem}", service.name));
        }
        if service.telling {
            show::line(&format!("  {}: {}", service.name, service.next));
        }
        if service.old_workers > 0 {
            show::line(&format!("  {}: {}", service.name, lingering(service)));
        }
    }
    show::line("");
    show::line(&report.check.line(now));
    if !report.alerts.is_empty() {
        show::line("");
        show::table(&alert::HEAD, report.alerts.iter().map(|open| open.line(now)).collect());
    }
    for name in &report.not_in_config {
        show::line(&format!("{name}: not in config; its store is kept"));
    }
    Ok(exit::DONE)
}

fn report(context: &Context, world: &World, now: Timestamp) -> Result<Report, Failed> {
    let config = &context.loaded.config;
    let stop = Cell::new(false);
    let reconciler = context.reconciler(world, &stop, false);
    let seed = crate::reconcile::seed(&context.store);
    let mut services = Vec::new();
    for spec in &config.services {
        let state = context.store.service(&spec.name)?.state()?;
        let old_workers = host::old_workers(spec.kind, since_reload(&state, now));
        let seen = reconciler.observe_service(spec, &state)?;
        let action = next_service(spec, &seen, &seed, now);
        let mut telling = is_telling(&action);
        let next = service_step(&spec.name, action, now);
        for certificate in &spec.certificates {
            let pair = state.pairs.get(certificate).cloned().unwrap_or_default();
            let endpoints = state.in_use(spec).into_iter();
            let endpoints = endpoints.filter(|e| e.certificate == *certificate);
            let shown = seen.pairs.iter().find(|p| p.certificate == *certificate);
            let held_until = shown.and_then(|shown| plan::held_until(shown, &seen));
            let judgement = shown.map(|shown| trust::judge(spec, shown, &seen, now));
            let doubt_until = match judgement {
                Some(Judgement::Doubted(doubted)) => Some(doubted.until),
                _ => None,
            };
            services.push(Service {
                name: spec.name.clone(),
                kind: spec.kind.to_string(),
                certificate: certificate.clone(),
                revision: pair.revision,
                step: pair.step,
                since: pair.since,
                held_by: pair.hold.map(|h| format!("{} since {}", h.by, show::clock(h.at))),
                held_until,
                doubt: pair.doubt.filter(|_| doubt_until.is_some()),
                doubt_until,
                approved: pair.approved,
                problem: pair.problem,
                next_at: next.at,
                next: match next.action.as_str() {
                    "wait" => next.why.clone(),
                    action => format!("{action}: {}", next.why),
                },
                // Once for all its certificates.
                telling: std::mem::take(&mut telling),
                old_workers,
                endpoints: endpoints.map(|e| looked_at(&e.to_string(), &state)).collect(),
            });
        }
    }
    let configured = |name: &String| config.certificate(name).is_some();
    Ok(Report {
        schema: 1,
        site: config.site.clone(),
        mode: match config.mode {
            crate::config::Mode::Observe => "observe",
            crate::config::Mode::On => "on",
        },
        now,
        daemon: context.store.daemon_record()?,
        identity: identity::report(world, &context.store),
        channels: world.notifiers.iter().map(|channel| channel.name().to_owned()).collect(),
        certificates: certificates(context, world, now)?,
        services,
        check: Checked::of(context, &seed, now)?,
        alerts: alert::open(context, now)?,
        not_in_config: context
            .store
            .certificates()?
            .into_iter()
            .filter(|name| !configured(name))
            .collect(),
    })
}

/// A problem and a hold have lines of their own; that all is well needs none.
fn is_telling(action: &ServiceAction) -> bool {
    match action {
        ServiceAction::Wait(wait) => matches!(
            wait.why,
            Why::After(_) | Why::Calm(_) | Why::Lint(_) | Why::Person(_) | Why::Quiet
        ),
        ServiceAction::Look => false,
        _ => true,
    }
}

/// How long ago the last reload was, when it brought what it should.
fn since_reload(state: &ServiceState, now: Timestamp) -> Option<Duration> {
    let last = state.reloads.last()?;
    let took = |(name, number): (&String, &u64)| {
        let pair = state.pairs.get(name);
        pair.is_some_and(|p| p.step == Step::Proved && p.revision == Some(*number))
    };
    let since = now.duration_since(last.at);
    last.revisions.iter().all(took).then(|| since.unsigned_abs())
}

fn certificates(
    context: &Context,
    world: &World,
    now: Timestamp,
) -> Result<Vec<Certificate>, Failed> {
    let stop = Cell::new(false);
    let config = &context.loaded.config;
    let reconciler = context.reconciler(world, &stop, false);
    let mut lines = Vec::new();
    for spec in &config.certificates {
        let seen = reconciler.observe(spec)?;
        let (next_at, next) = match reconciler.next(spec, &seen, now) {
            Action::AskRenewalInfo => (Some(now), "ask the CA when to renew".to_owned()),
            Action::Issue { reason, .. } => (Some(now), format!("order: {reason}")),
            Action::Placeholder(reason) => {
                (Some(now), format!("make a self-signed placeholder: {reason}"))
            }
            Action::Probe => (Some(now), "see whether the CA can reach us again".to_owned()),
            Action::Rehearse(reason) => (Some(now), format!("rehearse: {reason}")),
            Action::Wait(wait) => (wait.until, wait.why.to_string()),
        };
        let newest = seen.newest.as_ref();
        let word = match newest {
            Some(newest) => word(context, &spec.name, newest)?,
            None => Word { word: "none".to_owned(), because: "never issued".to_owned() },
        };
        lines.push(Certificate {
            name: spec.name.clone(),
            names: spec.identifiers.iter().map(ToString::to_string).collect(),
            state: word.word,
            because: word.because,
            revision: newest.map(|r| r.number),
            fingerprint: newest.map(|r| r.leaf.fingerprint.to_string()),
            not_after: newest.map(|r: &Revision| r.leaf.validity.not_after),
            next_at,
            next,
            problem: seen.state.backoff.last.as_ref().map(crate::reconcile::in_words),
            mode: Some(seen.state.mode).filter(|_| spec.source == Source::Auto),
            reach: Believed {
                verdict: seen.state.reach.verdict,
                since: seen.state.reach.since,
                reason: seen.state.reach.reason,
            },
            source: spec.source.word(),
            drop_folder: (spec.source != Source::Acme).then(|| spec.upload.dir.clone()),
            upload: context.store.upload_record(&spec.name)?,
            waiting: seen.state.waiting.clone(),
            unread: (config.mode == crate::config::Mode::Observe && spec.source != Source::Acme)
                .then(|| DropFolder::count(&spec.upload)),
        });
    }
    Ok(lines)
}

/// What may be said of the newest revision, from what its services remember.
fn word(context: &Context, certificate: &str, newest: &Revision) -> Result<Word, Failed> {
    let mut services = Vec::new();
    for spec in &context.loaded.config.services {
        if spec.certificates.iter().any(|c| c == certificate) {
            let state = context.store.service(&spec.name)?.state()?;
            let endpoints = state.in_use(spec).into_iter();
            let endpoints = endpoints.filter(|e| e.certificate == certificate);
            let endpoints: Vec<String> = endpoints.map(ToString::to_string).collect();
            services.push((spec.name.as_str(), state, endpoints));
        }
    }
    let wanting: Vec<Wanting<'_>> = services
        .iter()
        .map(|(service, state, endpoints)| Wanting { service, state, endpoints })
        .collect();
    Ok(words::certificate_word(certificate, newest, &wanting))
}
