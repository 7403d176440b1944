//! Facts of the way from the CA to this host as a good doctor tells them: each finding with what to
//! do about it. What cannot be known from here is `unknown`, never a failure.

mod names;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::address::is_shared;
use super::budget::{self, Order};
use super::plan;
use super::reach::{about, ca_name};
use super::schedule::{DAY, date, renewal_period};
use crate::cert::span;
use crate::config::{CertSpec, IssuerSpec};
use crate::state::Observed;
use crate::state::facts::{Facts, PortFacts};
use crate::state::reach::{Evidence, Here, Mode, Reach, Witness};

/// One line of the checklist.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// What was looked at: `clock`, `directory`, `dns`, `caa`, `responder`, `from-outside`,
    /// `address`, `port-80`, `port-443`, `budget`, `last-verdict`, `mode`.
    pub item: &'static str,
    /// The name that it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// It speaks against the CA getting here, though it proves nothing.
    #[serde(skip)]
    pub against: bool,
}

/// How something stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is in the way here.
    Ok,
    /// It may be in the way.
    Warn,
    /// It is in the way.
    Fail,
    /// It cannot be known from here.
    Unknown,
}

impl Verdict {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

impl Check {
    fn new(item: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        let against = verdict == Verdict::Fail;
        Self { item, name: None, verdict, text: text.into(), advice: None, against }
    }

    fn against(self) -> Self {
        Self { against: true, ..self }
    }

    fn of(self, name: &impl ToString) -> Self {
        Self { name: Some(name.to_string()), ..self }
    }

    fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// What the checklist is made of.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What is wanted.
    pub spec: &'a CertSpec,
    /// Of whom.
    pub issuer: &'a IssuerSpec,
    /// What is remembered.
    pub seen: &'a Observed,
    /// Our account at the CA, if there is one.
    pub account: Option<&'a str>,
    /// The configuration says that nobody waits for this host's clock to be synchronised.
    pub unsynchronised: bool,
    /// What was found.
    pub facts: &'a Facts,
}

/// The checklist, in the order in which a person would go about it.
pub fn checklist(case: Case<'_>) -> Vec<Check> {
    let mut checks = vec![clock(case), directory(case)];
    for name in &case.facts.names {
        checks.extend(names::checks(case, name));
    }
    checks.push(address(case));
    checks.extend([port_80(case), port_443(case), budget(case), last_verdict(case), mode(case)]);
    checks
}

/// What this host knows to be in the way, as evidence; weaker than any word of a CA.
pub fn hints(checks: &[Check], now: Timestamp) -> Vec<Evidence> {
    let local = ["dns", "caa", "responder", "address"];
    checks
        .iter()
        .filter(|check| check.against && local.contains(&check.item))
        .map(|check| Evidence {
            at: now,
            witness: Witness::Local,
            reaches: false,
            kind: check.item.to_owned(),
            reason: check.text.chars().take(300).collect(),
        })
        .collect()
}

/// What a person who opens the way needs to know of this host.
pub fn here(facts: &Facts) -> Here {
    let addresses = || facts.facing.iter().chain(&facts.addresses);
    Here {
        address: addresses().find(|ip| ip.is_ipv4()).or_else(|| addresses().next()).copied(),
        answers: facts.names.iter().all(|name| name.responder.is_ok()),
    }
}

fn clock(case: Case<'_>) -> Check {
    let now = case.facts.at;
    let check = |verdict, text: String| Check::new("clock", verdict, text);
    let date_there = case.facts.directory.answer.as_ref().ok().and_then(|answer| answer.date);
    let Some(there) = date_there else {
        return match (case.unsynchronised, case.seen.time.trusted) {
            (true, _) => check(
                Verdict::Unknown,
                "nobody could be asked for the time, and this host's clock is not synchronised \
                 (time = \"unsynchronised\")"
                    .to_owned(),
            ),
            (false, true) => check(Verdict::Ok, "synchronised, as this host says".to_owned()),
            (false, false) => {
                check(Verdict::Unknown, "nobody could be asked for the time".to_owned())
            }
        };
    };
    let off = span(now.min(there), now.max(there));
    if off <= AGREEMENT {
        return check(Verdict::Ok, format!("agrees with the CA's within {} s", off.as_secs()));
    }
    let text = format!("here it is {}, at the CA {}", date(now), date(there));
    check(Verdict::Fail, text).advise("set the clock and keep it right: `timedatectl set-ntp true`")
}

fn directory(case: Case<'_>) -> Check {
    let facts = &case.facts.directory;
    let through = facts.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}"));
    let through = through.unwrap_or_default();
    match &facts.answer {
        Ok(_) => Check::new("directory", Verdict::Ok, format!("{} answers{through}", facts.url)),
        Err(reason) => {
            let check = Check::new("directory", Verdict::Fail, format!("{reason}{through}"));
            let advice = if reason.contains("cannot be resolved") {
                "name servers that answer belong into /etc/resolv.conf; with proxy in the issuer's \
                 table the proxy looks names up"
            } else if facts.proxy.is_some() {
                "ask who runs the proxy to let it through to that address"
            } else if reason.contains("certificate") {
                "a device in between may show a certificate of its own: let this host out to it \
                 directly, or name its root as trust-anchor in the issuer's table"
            } else {
                "let this host out to it over HTTPS (TCP 443), or set proxy in the issuer's table"
            };
            check.advise(advice)
        }
    }
}

/// The addresses of this host, and what they tell.
fn address(case: Case<'_>) -> Check {
    let Facts { facing, addresses, .. } = case.facts;
    let Some(shared) = facing.iter().find(|ip| is_shared(**ip)) else {
        let leaves = match facing.as_slice() {
            [] => "; no way to the internet is set up".to_owned(),
            facing => format!("; it leaves by {}", names::list(facing)),
        };
        let verdict = if facing.is_empty() { Verdict::Unknown } else { Verdict::Ok };
        let text = format!("this host has {}{leaves}", names::list(addresses));
        return Check::new("address", verdict, text);
    };
    let text = format!(
        "this host leaves by {shared}, an address that its provider shares among customers \
         (CGNAT): nobody can connect to it from outside by IPv4"
    );
    let check = Check::new("address", Verdict::Warn, text).against();
    check.advise("ask the provider for a public address, or upload certificates")
}

fn port_80(case: Case<'_>) -> Check {
    let port = port(case, 0);
    let number = port.port;
    let answers = case.facts.names.iter().all(|name| name.responder.is_ok());
    let check = |verdict, text| Check::new("port-80", verdict, text);
    match (&port.holder, answers) {
        (None, true) => check(
            Verdict::Ok,
            format!("port {number} is free: it is opened for each challenge, and closed after it"),
        ),
        (Some(holder), true) => check(
            Verdict::Ok,
            format!("port {number} is held by {holder}, and our responses are seen there"),
        ),
        (holder, false) => {
            let who = holder.as_ref().map_or_else(
                || format!("port {number} is free, and yet our response is not seen there"),
                |holder| format!("port {number} is held by {holder}, and our response is not seen"),
            );
            check(Verdict::Fail, who).advise(ways_out(case))
        }
    }
}

fn port_443(case: Case<'_>) -> Check {
    let port = port(case, 1);
    let text = match &port.holder {
        Some(holder) => format!("port {} is held by {holder}", port.port),
        None => format!("port {} is free", port.port),
    };
    Check::new("port-443", Verdict::Ok, format!("{text}; http-01 does not need it"))
}

/// Port 80 is needed, whatever else is open.
fn ways_out(case: Case<'_>) -> String {
    let mut ways = "stop what holds it; or set http-01 = { webroot = \"DIR\" } to the folder that \
                    its web server shows; or have it pass /.well-known/acme-challenge/ on to \
                    http-01 = { listen = [\"127.0.0.1:8402\"] }"
        .to_owned();
    if port(case, 1).holder.is_some() {
        ways.push_str(
            "; port 443 alone is not enough: the CA begins at port 80, so let it through and have \
             it answer, or lead from there to the web server on 443; or upload certificates",
        );
    }
    ways
}

fn port(case: Case<'_>, index: usize) -> &PortFacts {
    const NONE: &PortFacts = &PortFacts { port: 0, holder: None };
    case.facts.ports.get(index).unwrap_or(NONE)
}

fn budget(case: Case<'_>) -> Check {
    let identifiers = plan::wish(case.spec, case.issuer).identifiers;
    let lifetime = case.seen.newest.as_ref().map_or(DAY * 90, |n| n.leaf.validity.lifetime());
    let order = Order {
        identifiers: &identifiers,
        period: renewal_period(lifetime),
        exempt: false,
        early: false,
        begun: false,
        confirmed: false,
        late: false,
    };
    match budget::may_order(order, case.issuer, &case.seen.ledger, case.facts.at) {
        Ok(()) => {
            let left = budget::left(order, case.issuer, &case.seen.ledger, case.facts.at);
            let text = match left {
                None => "the CA is your own: nothing is counted".to_owned(),
                Some(left) => format!(
                    "an order is within the CA's limits: {} of {} certificates for these names are \
                     left this week, and {} of {} tries that fail today",
                    left.certificates.0, left.certificates.1, left.failures.0, left.failures.1
                ),
            };
            Check::new("budget", Verdict::Ok, text)
        }
        Err(spent) => {
            let text = format!("{}; free again at {}", spent.why, date(spent.until));
            let check = Check::new("budget", Verdict::Warn, text);
            check.advise("wait: tries that fail now only prolong it")
        }
    }
}

/// What a CA said last, in its words.
fn last_verdict(case: Case<'_>) -> Check {
    let reach = &case.seen.state.reach;
    let last = reach.last_asked().filter(|_| reach.about == about(case.spec));
    let Some(last) = last else {
        let failed = case.seen.state.backoff.last.as_ref();
        return match failed {
            Some(failure) => Check::new(
                "last-verdict",
                Verdict::Warn,
                format!("the last try, at {}, failed: {}", date(failure.at), failure.text),
            ),
            None => Check::new(
                "last-verdict",
                Verdict::Unknown,
                format!("{} has not looked yet", ca_name(case.issuer, false)),
            )
            .advise(format!("have it look: `pbxcert renew {} --dry-run`", case.spec.name)),
        };
    };
    let text = format!("at {}: {}", date(last.at), last.reason);
    let verdict = if last.reaches { Verdict::Ok } else { Verdict::Warn };
    Check::new("last-verdict", verdict, text)
}

fn mode(case: Case<'_>) -> Check {
    let reach = &case.seen.state.reach;
    let (word, since) = (reach.verdict.word(), reach.since.map(date).unwrap_or_default());
    let belief = match reach.verdict {
        Reach::Unknown => "whether the CA can reach this host is not known yet".to_owned(),
        Reach::Reachable | Reach::Unreachable => {
            format!("{word} since {since}: {}", reach.reason)
        }
    };
    match &case.seen.state.mode {
        Mode::Automatic if reach.verdict == Reach::Unreachable => {
            Check::new("mode", Verdict::Warn, belief)
        }
        Mode::Automatic => Check::new("mode", Verdict::Ok, format!("automatic; {belief}")),
        Mode::Manual { since, .. } => {
            let text = format!("manual since {}; {belief}", date(*since));
            Check::new("mode", Verdict::Warn, text).advise(format!(
                "repair what is in the way, then `pbxcert renew {}`; or upload a certificate into \
                 {}",
                case.spec.name,
                case.spec.upload.dir.display()
            ))
        }
    }
}

/// Clocks agree when they are no further apart than this.
const AGREEMENT: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests;
