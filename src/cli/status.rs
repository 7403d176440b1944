//! `status` and `history`: read-only, from records that name the observation behind each word.

use std::cell::Cell;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::{Context, Failed, alert, exit, show};
use crate::config::Source;
use crate::policy::plan::Action;
use crate::policy::verdict;
use crate::policy::words::{self, Wanting, Word};
use crate::state::reach::{Mode, Reach};
use crate::state::upload::UploadRecord;
use crate::state::{Revision, ServiceState, Step};
use crate::store::DaemonRecord;
use crate::world::World;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    schema: u32,
    site: String,
    mode: &'static str,
    now: Timestamp,
    daemon: Option<DaemonRecord>,
    certificates: Vec<Certificate>,
    services: Vec<Service>,
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
    problem: Option<String>,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Endpoint {
    endpoint: String,
    looked_at: Option<Timestamp>,
    seen: String,
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
            show::line(&format!("  {}: held by {held_by}", service.name));
        }
        if let Some(problem) = &service.problem {
            show::line(&format!("  {}: {problem}", service.name));
        }
    }
    if !report.alerts.is_empty() {
        show::line("");
        show::table(&alert::HEAD, report.alerts.iter().map(|open| open.line(now)).collect());
    }
    for name in &report.not_in_config {
        show::line(&format!("{name}: not in config; its store is kept"));
    }
    Ok(exit::DONE)
}

/// The mode, when a person should know of it.
fn mode_line(certificate: &Certificate, now: Timestamp) -> Option<String> {
    let believed = &certificate.reach;
    match (&certificate.mode, believed.verdict) {
        (Some(Mode::Manual { since, reason }), _) => {
            Some(format!("manual mode since {}: {reason}", show::relative(*since, now)))
        }
        (_, Reach::Unreachable) => {
            let since = believed.since.map(|at| show::relative(at, now)).unwrap_or_default();
            Some(format!("the CA cannot reach this host since {since}: {}", believed.reason))
        }
        (_, Reach::Reachable | Reach::Unknown) => None,
    }
}

fn show_uploads(certificate: &Certificate, now: Timestamp) {
    let Some(folder) = &certificate.drop_folder else { return };
    let name = &certificate.name;
    if certificate.source == Source::Manual.word()
        || certificate.upload.is_some()
        || certificate.waiting.is_some()
    {
        let source = certificate.source;
        show::line(&format!("  {name}: source {source}, drop folder {}", folder.display()));
    }
    for (what, upload) in
        [("incomplete upload", &certificate.waiting), ("last upload", &certificate.upload)]
    {
        let Some(upload) = upload else { continue };
        let outcome = upload.outcome.word();
        let when = show::relative(upload.at, now);
        for (at, line) in upload.text.lines().enumerate() {
            let head = if at == 0 { format!("{what} {outcome} {when}: ") } else { String::new() };
            show::line(&format!("  {name}: {head}{line}"));
        }
    }
}

fn report(context: &Context, world: &World, now: Timestamp) -> Result<Report, Failed> {
    let config = &context.loaded.config;
    let mut services = Vec::new();
    for spec in &config.services {
        let state = context.store.service(&spec.name)?.state()?;
        for certificate in &spec.certificates {
            let pair = state.pairs.get(certificate).cloned().unwrap_or_default();
            let endpoints = spec.endpoints.iter().filter(|e| e.certificate == *certificate);
            services.push(Service {
                name: spec.name.clone(),
                kind: spec.kind.to_string(),
                certificate: certificate.clone(),
                revision: pair.revision,
                step: pair.step,
                since: pair.since,
                held_by: pair.hold.map(|h| format!("{} since {}", h.by, show::clock(h.at))),
                problem: pair.problem,
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
        certificates: certificates(context, world, now)?,
        services,
        alerts: alert::open(context, now)?,
        not_in_config: context
            .store
            .certificates()?
            .into_iter()
            .filter(|name| !configured(name))
            .collect(),
    })
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
        });
    }
    Ok(lines)
}

/// What may be said of the newest revision, from what its services remember.
fn word(context: &Context, certificate: &str, newest: &Revision) -> Result<Word, Failed> {
    let mut services = Vec::new();
    for spec in &context.loaded.config.services {
        if spec.certificates.iter().any(|c| c == certificate) {
            let endpoints = spec.endpoints.iter().filter(|e| e.certificate == certificate);
            let endpoints: Vec<String> = endpoints.map(ToString::to_string).collect();
            let state = context.store.service(&spec.name)?.state()?;
            services.push((spec.name.as_str(), state, endpoints));
        }
    }
    let wanting: Vec<Wanting<'_>> = services
        .iter()
        .map(|(service, state, endpoints)| Wanting { service, state, endpoints })
        .collect();
    Ok(words::certificate_word(certificate, newest, &wanting))
}

fn looked_at(endpoint: &str, state: &ServiceState) -> Endpoint {
    let served = state.seen.get(endpoint);
    Endpoint {
        endpoint: endpoint.to_owned(),
        looked_at: served.map(|s| s.at),
        seen: served.map_or_else(|| "not looked at yet".to_owned(), verdict::shown),
    }
}

fn daemon_line(context: &Context, report: &Report, now: Timestamp) -> String {
    let Some(daemon) = &report.daemon else {
        return "the daemon is not running (systemctl start pbxcert)".to_owned();
    };
    if !context.store.daemon_runs() {
        return "the daemon died; its last record is kept (systemctl start pbxcert)".to_owned();
    }
    let other = if daemon.config_hash == context.loaded.config.hash {
        ""
    } else {
        ", with another configuration than this (systemctl reload pbxcert)"
    };
    format!("daemon pid {} started {}{other}", daemon.pid, show::relative(daemon.started_at, now))
}

pub(super) fn history(
    context: &Context,
    name: Option<&str>,
    lines: usize,
    json: bool,
) -> Result<u8, Failed> {
    #[derive(Serialize)]
    struct Report {
        schema: u32,
        events: Vec<crate::state::Event>,
    }

    let wanted = |e: &crate::state::Event| {
        name.is_none_or(|n| e.certificate.as_deref() == Some(n) || e.service.as_deref() == Some(n))
    };
    let mut events: Vec<_> = context.store.history()?.into_iter().filter(wanted).collect();
    events.drain(..events.len().saturating_sub(lines));
    if json {
        show::json(&Report { schema: 1, events });
        return Ok(exit::DONE);
    }
    let rows = events.into_iter().map(|e| {
        let object = match (e.certificate, e.service) {
            (Some(c), Some(s)) => format!("{c} in {s}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "-".to_owned(),
        };
        let revision = e.revision.map_or_else(|| "-".to_owned(), |r| r.to_string());
        vec![show::clock(e.at), object, revision, e.what, e.text]
    });
    show::table(&["WHEN", "OBJECT", "REVISION", "WHAT", "TEXT"], rows.collect());
    Ok(exit::DONE)
}
