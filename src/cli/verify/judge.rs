//! What a look at an endpoint means for the one who asked.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::super::show;
use crate::cert::{Fingerprint, Identifier, Leaf};
use crate::config::TrunkSpec;
use crate::policy::lint::{self, Remark, Seen};
use crate::policy::verdict::CANNOT_PROBE;
use crate::probe::Called;
use crate::state::{Answer, Served};

/// How bad, in the order of a monitoring plugin's exit codes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Verdict {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// The worst of all: what is broken comes before what could not be seen.
    pub(super) fn worst(verdicts: impl Iterator<Item = Self> + Clone) -> Option<Self> {
        [Self::Critical, Self::Unknown, Self::Warning, Self::Ok]
            .into_iter()
            .find(|worst| verdicts.clone().any(|verdict| verdict == *worst))
    }
}

/// The revisions that an endpoint may show, and the one it should.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) fingerprint: Option<Fingerprint>,
    /// Installed, but not proved yet: nobody could be asked then.
    pub(super) in_place: Option<Fingerprint>,
    pub(super) known: BTreeMap<Fingerprint, u64>,
}

impl Wanted {
    pub(super) fn number_of(&self, fingerprint: Fingerprint) -> Option<u64> {
        self.known.get(&fingerprint).copied()
    }
}

/// The certificates that came, beside those that are installed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Chain {
    /// How many came, the leaf included.
    pub(super) served: usize,
    /// How many are installed; absent where the leaf is not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) installed: Option<usize>,
    /// Whether both are the same, in the same order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) as_installed: Option<bool>,
}

impl Chain {
    /// `installed`: leaf first, where the leaf is ours.
    pub(super) fn of(served: &Served, installed: Option<&[Fingerprint]>) -> Option<Self> {
        let Answer::Certificate { chain, .. } = &served.answer else { return None };
        Some(Self {
            served: chain.len(),
            installed: installed.map(<[_]>::len),
            as_installed: installed.map(|installed| installed == chain.as_slice()),
        })
    }

    /// Whether other certificates come than are installed.
    pub(super) fn is_changed(&self) -> bool {
        self.as_installed == Some(false)
    }

    /// For a table.
    pub(super) fn short(&self) -> String {
        match (self.installed, self.as_installed) {
            (Some(_), Some(true)) => format!("{}, as installed", self.served),
            (Some(installed), _) => format!("{}, installed {installed}", self.served),
            (None, _) => self.served.to_string(),
        }
    }
}

/// Of an endpoint of ours: is it what it should be, whole, and long enough?
pub(super) fn ours(
    served: &Served,
    wanted: &Wanted,
    chain: Option<&Chain>,
    now: Timestamp,
) -> (Verdict, String) {
    let (leaf, what) = match shown(served, now) {
        Ok(shown) => shown,
        Err(verdict) => return verdict,
    };
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
    let (verdict, text) = life(leaf, what, now);
    match chain {
        Some(Chain { served, installed: Some(installed), as_installed: Some(false) }) => {
            let text =
                format!("{text}: {served} certificates come, other than the {installed} installed");
            (verdict.max(Verdict::Warning), text)
        }
        _ => (verdict, text),
    }
}

/// Of any endpoint: is what it shows valid, long enough, and for the name that was asked for?
pub(super) fn anybodys(served: &Served, sni: Option<&str>, now: Timestamp) -> (Verdict, String) {
    let (leaf, what) = match shown(served, now) {
        Ok(shown) => shown,
        Err(verdict) => return verdict,
    };
    let named = sni.and_then(|sni| sni.parse::<Identifier>().ok());
    if let Some(name) = named.filter(|name| !leaf.identifiers.iter().any(|i| i.covers(name))) {
        return (Verdict::Critical, format!("{what}: not for the name {name}"));
    }
    life(leaf, what, now)
}

/// Of a peer that we called: does it take us, and can we trust it, and how long?
pub(super) fn peer(
    called: &Called,
    trunk: &TrunkSpec,
    has_ours: bool,
    now: Timestamp,
) -> (Verdict, String) {
    let (leaf, what) = match shown(&called.served, now) {
        Ok(shown) => shown,
        Err(verdict) => return verdict,
    };
    if let Answer::Certificate { unfinished: Some(_), .. } = &called.served.answer {
        return (Verdict::Critical, what);
    }
    let took = match (called.asked, has_ours) {
        (true, true) => "it asks for a certificate and takes ours",
        (true, false) => "it asks for a certificate, and there is none of ours yet",
        (false, _) => "it asks for no certificate",
    };
    if let Err(why) = &called.trust {
        // Who names the roots wants them kept; else only the telephone system knows whether it looks.
        let named = trunk.trust_anchor.is_some();
        let verdict = if named { Verdict::Critical } else { Verdict::Warning };
        return (verdict, format!("{what}, its chain is not trusted: {why}; {took}"));
    }
    let soon = leaf.validity.left(now) < PEER_ENDS_SOON;
    let verdict = if soon { Verdict::Warning } else { Verdict::Ok };
    (verdict, format!("{what}; {took}"))
}

/// What anybody may stumble over, whoever comes.
pub(super) fn remarks(served: &Served) -> Vec<Remark> {
    let Answer::Certificate { leaf, chain, .. } = &served.answer else { return Vec::new() };
    lint::lint(Seen { leaf, chain_length: chain.len(), root: None }, &[], &[])
}

/// The leaf that is valid now, and what it is in words.
fn shown(served: &Served, now: Timestamp) -> Result<(&Leaf, String), (Verdict, String)> {
    let (leaf, unfinished) = match &served.answer {
        Answer::Certificate { leaf, unfinished, .. } => (leaf, unfinished),
        Answer::Unreadable { reason, .. } => {
            return Err((Verdict::Critical, format!("serves something unreadable: {reason}")));
        }
        Answer::NoHandshake { reason } => {
            return Err((Verdict::Critical, format!("no TLS handshake: {reason}")));
        }
        Answer::Closed => return Err((Verdict::Critical, "nobody listens".to_owned())),
        Answer::TooOld { reason } => {
            return Err((Verdict::Unknown, format!("{CANNOT_PROBE}: {reason}")));
        }
        Answer::Unreachable { reason } => {
            return Err((Verdict::Unknown, format!("cannot be reached: {reason}")));
        }
    };
    let mut what =
        format!("{} ends {}", leaf.fingerprint.short(), show::time(leaf.validity.not_after, now));
    if let Some(why) = unfinished {
        what = format!("{what} ({why})");
    }
    if !leaf.validity.contains(now) {
        return Err((Verdict::Critical, format!("{what}: not valid now")));
    }
    if leaf.is_placeholder() {
        let text = format!("{what}: a self-signed placeholder, which no client trusts");
        return Err((Verdict::Critical, text));
    }
    Ok((leaf, what))
}

fn life(leaf: &Leaf, what: String, now: Timestamp) -> (Verdict, String) {
    let (left, lifetime) = (leaf.validity.left(now), leaf.validity.lifetime());
    match left.as_secs_f64() / lifetime.as_secs_f64().max(1.0) {
        left if left < 1.0 / 16.0 => (Verdict::Critical, format!("{what}: less than 1/16 left")),
        left if left < 1.0 / 4.0 => (Verdict::Warning, format!("{what}: less than 1/4 left")),
        _ => (Verdict::Ok, what),
    }
}

/// Who renews by itself has done so by then; who does not may still be called.
const PEER_ENDS_SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);
