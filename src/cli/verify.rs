//! `verify`: looks at every endpoint now, in the manner of a monitoring plugin.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use super::{Context, Failed, show};
use crate::cert::Fingerprint;
use crate::state::{Answer, Served, Step};
use crate::world::World;

const LOOK_LIMIT: Duration = Duration::from_secs(5);

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    schema: u32,
    verdict: &'static str,
    summary: String,
    endpoints: Vec<Line>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    service: String,
    endpoint: String,
    certificate: String,
    verdict: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    served: Served,
}

/// How bad, in the order of a monitoring plugin's exit codes.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Verdict {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

pub(super) async fn run(context: &Context, json: bool) -> Result<u8, Failed> {
    let config = &context.loaded.config;
    let world = &World::real(config, &context.store);
    let mut lines = Vec::new();
    for service in &config.services {
        let looks = service.endpoints.iter().map(|endpoint| async move {
            (endpoint, world.prober.probe(endpoint, LOOK_LIMIT, world.now()).await)
        });
        let looks = join_all(looks).await;
        let seen = looks.iter().map(|(e, served)| (e.to_string(), served.clone())).collect();
        context.remember_seen(&service.name, seen, world.now())?;
        for (endpoint, served) in looks {
            let wanted = context.wanted(&service.name, &endpoint.certificate)?;
            let (verdict, text) = judge(&served, &wanted, world.now());
            let revision = served.fingerprint().and_then(|f| wanted.number_of(f));
            lines.push((
                verdict,
                Line {
                    service: service.name.clone(),
                    endpoint: endpoint.to_string(),
                    certificate: endpoint.certificate.clone(),
                    verdict: verdict.word(),
                    text,
                    revision,
                    served,
                },
            ));
        }
    }
    let worst = [Verdict::Critical, Verdict::Unknown, Verdict::Warning]
        .into_iter()
        .find(|v| lines.iter().any(|(verdict, _)| verdict == v))
        .unwrap_or(if lines.is_empty() { Verdict::Unknown } else { Verdict::Ok });
    let summary = summary(worst, &lines);
    let endpoints: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
    if json {
        show::json(&Report { schema: 1, verdict: worst.word(), summary, endpoints });
    } else {
        show::line(&format!("{}: {summary}", worst.word().to_uppercase()));
        let rows = endpoints
            .into_iter()
            .map(|l| vec![l.service, l.endpoint, l.verdict.to_owned(), l.text]);
        show::table(&["SERVICE", "ENDPOINT", "VERDICT", "SEEN"], rows.collect());
    }
    Ok(worst as u8)
}

/// The revisions that an endpoint may show, and the one it should.
struct Wanted {
    fingerprint: Option<Fingerprint>,
    /// Installed, but not proved yet: nobody could be asked then.
    in_place: Option<Fingerprint>,
    known: BTreeMap<Fingerprint, u64>,
}

impl Wanted {
    fn number_of(&self, fingerprint: Fingerprint) -> Option<u64> {
        self.known.get(&fingerprint).copied()
    }
}

impl Context {
    /// What is in service, else what is newest.
    fn wanted(&self, service: &str, certificate: &str) -> Result<Wanted, Failed> {
        let store = self.store.certificate(certificate)?;
        let state = self.store.service(service)?.state()?;
        let pair = state.pairs.get(certificate).cloned().unwrap_or_default();
        let known: BTreeMap<_, _> =
            store.revisions()?.into_iter().map(|r| (r.leaf.fingerprint, r.number)).collect();
        let newest = store.newest()?.filter(|newest| !newest.is_placeholder());
        let newest = newest.map(|newest| newest.leaf.fingerprint);
        let installed = matches!(pair.step, Step::Unproved | Step::NotTaken);
        let number = pair.revision.filter(|_| installed);
        let in_place = number.and_then(|n| known.iter().find(|(_, known)| **known == n));
        Ok(Wanted {
            fingerprint: pair.promoted.map(|p| p.fingerprint).or(newest),
            in_place: in_place.map(|(fingerprint, _)| *fingerprint),
            known,
        })
    }

    /// Keeps the look for `status`, unless somebody is at work on the service: then that one looks.
    fn remember_seen(
        &self,
        service: &str,
        seen: BTreeMap<String, Served>,
        now: jiff::Timestamp,
    ) -> Result<(), Failed> {
        let store = self.store.service(service)?;
        if let Some(writer) = store.try_lock(now)? {
            let mut state = store.state()?;
            state.seen.extend(seen);
            writer.remember(&state)?;
        }
        Ok(())
    }
}

fn judge(served: &Served, wanted: &Wanted, now: jiff::Timestamp) -> (Verdict, String) {
    let leaf = match &served.answer {
        Answer::Certificate { leaf, .. } => leaf,
        Answer::Unreadable { reason, .. } => {
            return (Verdict::Critical, format!("serves something unreadable: {reason}"));
        }
        Answer::NoHandshake { reason } => {
            return (Verdict::Critical, format!("no TLS handshake: {reason}"));
        }
        Answer::Closed => return (Verdict::Critical, "nobody listens".to_owned()),
        Answer::Unreachable { reason } => {
            return (Verdict::Unknown, format!("cannot be reached: {reason}"));
        }
    };
    let ends = show::time(leaf.validity.not_after, now);
    let what = format!("{} ends {ends}", leaf.fingerprint.short());
    if !leaf.validity.contains(now) {
        return (Verdict::Critical, format!("{what}: not valid now"));
    }
    if leaf.is_placeholder() {
        let text = format!("{what}: a self-signed placeholder, which no client trusts");
        return (Verdict::Critical, text);
    }
    let Some(fingerprint) = wanted.fingerprint else {
        return (Verdict::Warning, format!("{what}: not ours, and there is none of ours yet"));
    };
    if leaf.fingerprint != fingerprint && Some(leaf.fingerprint) != wanted.in_place {
        let whose = match wanted.number_of(leaf.fingerprint) {
            Some(number) => format!("our revision {number}"),
            None => "not ours".to_owned(),
        };
        let text = format!("{what}: {whose}, wanted is {}", fingerprint.short());
        return (Verdict::Critical, text);
    }
    let (left, lifetime) = (leaf.validity.left(now), leaf.validity.lifetime());
    match left.as_secs_f64() / lifetime.as_secs_f64().max(1.0) {
        left if left < 1.0 / 16.0 => (Verdict::Critical, format!("{what}: less than 1/16 left")),
        left if left < 1.0 / 4.0 => (Verdict::Warning, format!("{what}: less than 1/4 left")),
        _ => (Verdict::Ok, what),
    }
}

fn summary(worst: Verdict, lines: &[(Verdict, Line)]) -> String {
    if lines.is_empty() {
        return "no endpoint is configured".to_owned();
    }
    let good = lines.iter().filter(|(v, _)| *v == Verdict::Ok).count();
    let first = lines.iter().find(|(v, _)| *v == worst && worst != Verdict::Ok);
    match first {
        None => format!("all {good} endpoints serve what they should"),
        Some((_, line)) => {
            format!("{good} of {} endpoints fine; {}: {}", lines.len(), line.endpoint, line.text)
        }
    }
}
