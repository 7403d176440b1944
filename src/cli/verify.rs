//! `verify`: looks at endpoints now, in the manner of a monitoring plugin.

mod silence;

use std::time::Duration;

use futures_util::future::{join, join_all};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use serde::Serialize;

use super::{Context, Failed, exit, show};
use crate::cert::{Fingerprint, KeyType};
use crate::check::{Checker, Trunk};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Endpoint, KeyFamily};
use crate::policy::health::endpoint::{self, Chain};
use crate::policy::lint::Remark;
use crate::probe::{Called, Prober as _, TlsProber};
use crate::state::check::Verdict;
use crate::state::{Answer, Served};

use silence::{Look, Silence};

/// An endpoint that need not be configured, as said on the command line.
pub(super) struct Asked {
    pub(super) urls: Vec<String>,
    pub(super) sni: Option<String>,
    pub(super) key: Option<String>,
    pub(super) timeout: u64,
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trunk: Option<String>,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    verdict: &'static str,
    text: String,
    /// A person took note, or the configuration ignores it: it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    silenced: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Chain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    /// What clients stumble over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lint: Vec<Remark>,
    /// Of a trunk.
    #[serde(flatten)]
    peer: Option<Peer>,
    served: Served,
}

/// What a peer did when we called it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Peer {
    asks_for_certificate: bool,
    /// Why its chain cannot be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    untrusted: Option<String>,
}

impl Line {
    fn of(endpoint: &Endpoint, served: Served, now: Timestamp) -> Self {
        let leaf = served.leaf();
        Self {
            service: None,
            trunk: None,
            endpoint: endpoint.to_string(),
            certificate: None,
            verdict: Verdict::Unknown.word(),
            text: String::new(),
            silenced: None,
            fingerprint: served.fingerprint(),
            revision: None,
            chain: None,
            key: leaf.and_then(|leaf| leaf.key),
            days_left: leaf.map(|leaf| leaf.validity.left(now).as_secs() / 86400),
            protocol: served.protocol.clone(),
            lint: Vec::new(),
            peer: None,
            served,
        }
    }

    fn judged(mut self, (mut verdict, mut text): (Verdict, String)) -> (Verdict, Self) {
        if let Some(first) = self.lint.first() {
            verdict = verdict.max(Verdict::Warning);
            text = format!("{text}; {first}");
        }
        self.verdict = verdict.word();
        self.text = text;
        (verdict, self)
    }
}

/// Looks at every endpoint of the configuration, all at once.
pub(super) async fn configured(context: &Context, json: bool) -> Result<u8, Failed> {
    let (config, store) = (&context.loaded.config, &context.store);
    let world = &context.world();
    let checker = Checker { world, store, config };
    let (mut looks, trunks) = join(checker.looks(), checker.call_trunks()).await;
    let now = here(world.now());
    checker.remember_looks(&mut looks, now.timestamp()).map_err(failed)?;
    let silence = Silence::new(store.alert_log()?, config, now.timestamp());
    let mut lines = Vec::new();
    for look in looks {
        let facts = checker.facts(&look).map_err(failed)?;
        let verdict = facts.judge(&look.served, &now);
        let certificate = &look.endpoint.certificate;
        let silenced = silence.of(&Look {
            service: &look.service.name,
            certificate,
            served: &look.served,
            wanted: &facts.wanted,
            chain: facts.chain.as_ref(),
            verdict: verdict.0,
        });
        let mut line = Line::of(look.endpoint, look.served, now.timestamp());
        line.service = Some(look.service.name.clone());
        line.certificate = Some(certificate.clone());
        line.revision = facts.revision;
        line.chain = facts.chain;
        line.lint = facts.remarks;
        line.silenced = silenced;
        lines.push(line.judged(verdict));
    }
    for (_, trunk) in trunks {
        lines.push(called(trunk.map_err(|error| Failed::of(&error))?, &now));
    }
    Ok(print(lines, "no endpoint is configured", json))
}

/// A peer that was called.
fn called(trunk: Trunk<'_>, now: &ZonedDateTime) -> (Verdict, Line) {
    let (verdict, lint) = (trunk.judge(now), trunk.remarks());
    let (spec, Called { served, asked, trust }) = (trunk.spec, trunk.called);
    let mut line = Line::of(&spec.endpoint, served, now.timestamp());
    line.trunk = Some(spec.name.clone());
    line.certificate = Some(spec.endpoint.certificate.clone());
    line.chain = Chain::of(&line.served, None);
    line.lint = lint;
    let peer = Peer { asks_for_certificate: asked, untrusted: trust.err() };
    line.peer = line.served.leaf().is_some().then_some(peer);
    line.judged(verdict)
}

fn here(now: Timestamp) -> ZonedDateTime {
    now.to_zoned_datetime(TimeZone::system())
}

fn failed(crate::check::Error::Store(error): crate::check::Error) -> Failed {
    error.into()
}

/// Looks at endpoints of the command line; no configuration is read, nothing is remembered.
pub(super) async fn asked(asked: &Asked, json: bool) -> Result<u8, Failed> {
    let mut lines = Vec::new();
    let groups = asked.urls.iter().map(|url| asked.endpoint(url)).collect::<Result<Vec<_>, _>>()?;
    let looks = groups.iter().map(|endpoint| async move {
        let addresses = each_address(endpoint).await;
        let looks = addresses.into_iter().map(|endpoint| async move {
            let now = SystemClock.now();
            let served = TlsProber.probe(&endpoint, endpoint.timeout, now).await;
            (endpoint, served)
        });
        join_all(looks).await
    });
    let now = here(SystemClock.now());
    for group in join_all(looks).await {
        let one_answers = group.iter().any(|(_, served)| served.is_alive());
        for (endpoint, served) in group {
            let silent = matches!(served.answer, Answer::Closed | Answer::Unreachable { .. });
            let mut line = Line::of(&endpoint, served, now.timestamp());
            line.chain = Chain::of(&line.served, None);
            line.lint = endpoint::remarks(&line.served);
            let sni = endpoint.sni.as_deref();
            let (verdict, text) = endpoint::anybodys(&line.served, sni, &now);
            // Another address of the same name serves those who come here, a little later.
            let verdict = if silent && one_answers { Verdict::Warning } else { verdict };
            lines.push(line.judged((verdict, text)));
        }
    }
    Ok(print(lines, "no endpoint is given", json))
}

impl Asked {
    fn endpoint(&self, url: &str) -> Result<Endpoint, Failed> {
        let usage = |text: String| Failed::new(exit::USAGE, text);
        let mut endpoint = Endpoint::parse(url)
            .map_err(|why| usage(format!("the endpoint {url:?} cannot be used: {why}")))?;
        match self.sni.as_deref() {
            Some("none") => endpoint.sni = None,
            Some(name) => endpoint.sni = Some(name.to_owned()),
            None => {}
        }
        if let Some(word) = self.key.as_deref() {
            let family = KeyFamily::ALL.into_iter().find(|family| family.word() == word);
            endpoint.key = Some(family.ok_or_else(|| {
                usage(format!("the key {word:?} is none; known are \"rsa\" and \"ecdsa\""))
            })?);
        }
        endpoint.timeout = Duration::from_secs(self.timeout.clamp(1, 60));
        Ok(endpoint)
    }
}

/// A name with several addresses, IPv4 and IPv6, is looked at on each of them.
async fn each_address(endpoint: &Endpoint) -> Vec<Endpoint> {
    let whole = || vec![endpoint.clone()];
    if endpoint.ip().is_some() {
        return whole();
    }
    let lookup = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port));
    // Why there is none is said by the look itself.
    let Ok(Ok(found)) = tokio::time::timeout(endpoint.timeout, lookup).await else {
        return whole();
    };
    let mut hosts: Vec<String> = Vec::new();
    for address in found {
        let host = address.ip().to_string();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    if hosts.len() < 2 {
        return whole();
    }
    hosts.into_iter().map(|host| Endpoint { host, ..endpoint.clone() }).collect()
}

fn print(lines: Vec<(Verdict, Line)>, nothing: &str, json: bool) -> u8 {
    let counted = lines.iter().filter(|(_, line)| line.silenced.is_none());
    let worst = Verdict::worst(counted.map(|(verdict, _)| *verdict));
    let nothing_counts = if lines.is_empty() { Verdict::Unknown } else { Verdict::Ok };
    let worst = worst.unwrap_or(nothing_counts);
    let summary = summary(worst, &lines, nothing);
    let endpoints: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
    if json {
        show::json(&Report { schema: 1, verdict: worst.word(), summary, endpoints });
        return worst as u8;
    }
    show::line(&format!("{}: {summary}", worst.word().to_uppercase()));
    let dash = || "-".to_owned();
    // The first one stands in its line.
    let further = endpoints.iter().flat_map(|l| l.lint.iter().skip(1).map(|r| (&l.endpoint, r)));
    let further: Vec<String> =
        further.map(|(name, remark)| format!("  {name}: {remark}")).collect();
    let rows = endpoints.into_iter().map(|l| {
        vec![
            l.service.or(l.trunk.map(|trunk| format!("trunk {trunk}"))).unwrap_or_else(dash),
            l.endpoint,
            l.verdict.to_owned(),
            l.revision.map_or_else(dash, |r| r.to_string()),
            l.key.map_or_else(dash, |k| k.to_string()),
            l.chain.map_or_else(dash, |c| c.short()),
            l.days_left.map_or_else(dash, |d| d.to_string()),
            l.protocol.unwrap_or_else(dash),
            l.silenced.map(|why| format!("{} [{why}]", l.text)).unwrap_or(l.text),
        ]
    });
    let head =
        ["SERVICE", "ENDPOINT", "VERDICT", "REVISION", "KEY", "CHAIN", "DAYS", "PROTOCOL", "SEEN"];
    show::table(&head, rows.collect());
    for line in further {
        show::line(&line);
    }
    worst as u8
}

fn summary(worst: Verdict, lines: &[(Verdict, Line)], nothing: &str) -> String {
    if lines.is_empty() {
        return nothing.to_owned();
    }
    let good = lines.iter().filter(|(v, _)| *v == Verdict::Ok).count();
    let counts = |line: &&(Verdict, Line)| line.1.silenced.is_none();
    let first = lines.iter().filter(counts).find(|(v, _)| *v == worst && worst != Verdict::Ok);
    let known = match lines.iter().filter(|line| !counts(line)).count() {
        0 => String::new(),
        known => format!(", {known} known (ack, [[ignore]])"),
    };
    match first {
        None if known.is_empty() => format!("all {good} endpoints serve what they should"),
        None => format!("{good} of {} endpoints fine{known}", lines.len()),
        Some((_, line)) => format!(
            "{good} of {} endpoints fine{known}; {}: {}",
            lines.len(),
            line.endpoint,
            line.text
        ),
    }
}
