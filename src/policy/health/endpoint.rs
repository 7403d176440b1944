//! What a look at an endpoint, or at a peer that is called, means.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::ZonedDateTime;
use serde::Serialize;

use super::super::lint::{self, Remark, Seen};
use super::super::verdict::CANNOT_PROBE;
use super::time::time;
use crate::cert::{Fingerprint, Identifier, Leaf};
use crate::config::TrunkSpec;
use crate::state::check::Verdict;
use crate::state::{Answer, Served};

/// The revisions that an endpoint may show, and the one it should.
#[derive(Debug, Default)]
pub struct Wanted {
    /// What is in service, else what is newest; `None`: there is none yet.
    pub fingerprint: Option<Fingerprint>,
    /// Installed, but not proved yet: nobody could be asked then.
    pub in_place: Option<Fingerprint>,
    /// The number of every revision that there is.
    pub known: BTreeMap<Fingerprint, u64>,
}

impl Wanted {
    /// Which of our revisions it is, if it is one.
    pub fn number_of(&self, fingerprint: Fingerprint) -> Option<u64> {
        self.known.get(&fingerprint).copied()
    }
}

/// The certificates that came, beside those that are installed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Chain {
    /// How many came, the leaf included.
    pub served: usize,
    /// How many are installed; absent where the leaf is not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<usize>,
    /// Whether both are the same, in the same order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_installed: Option<bool>,
}

impl Chain {
    /// `installed`: leaf first, where the leaf is ours.
    pub fn of(served: &Served, installed: Option<&[Fingerprint]>) -> Option<Self> {
        let Answer::Certificate { chain, .. } = &served.answer else { return None };
        Some(Self {
            served: chain.len(),
            installed: installed.map(<[_]>::len),
            as_installed: installed.map(|installed| installed == chain.as_slice()),
        })
    }

    /// Whether other certificates come than are installed.
    pub fn is_changed(&self) -> bool {
        self.as_installed == Some(false)
    }

    /// For a table.
    pub fn short(&self) -> String {
        match (self.installed, self.as_installed) {
            (Some(_), Some(true)) => format!("{}, as installed", self.served),
            (Some(installed), _) => format!("{}, installed {installed}", self.served),
            (None, _) => self.served.to_string(),
        }
    }
}

/// Of an endpoint of ours: is it what it should be, whole, and long enough?
pub fn ours(
    served: &Served,
    wanted: &Wanted,
    chain: Option<&Chain>,
    now: &ZonedDateTime,
) -> (Verdict, String) {
    let (leaf, what) = match shown(served, now) {
        Ok(shown) => shown,
        Err(verdict) => return verdict,
    };
    match compared(leaf, wanted, chain) {
        Err((Verdict::Warning, changed)) if wanted.fingerprint.is_some() => {
            let (verdict, text) = life(leaf, what, now);
            (verdict.max(Verdict::Warning), format!("{text}: {changed}"))
        }
        Err((verdict, why)) => (verdict, format!("{what}: {why}")),
        Ok(()) => life(leaf, what, now),
    }
}

/// The same without its life, which is the certificate's own: for who asks about that, too.
pub fn is_served(
    served: &Served,
    wanted: &Wanted,
    chain: Option<&Chain>,
    now: &ZonedDateTime,
) -> (Verdict, String) {
    let (leaf, what) = match shown(served, now) {
        Ok(shown) => shown,
        Err(verdict) => return verdict,
    };
    match compared(leaf, wanted, chain) {
        Err((verdict, why)) => (verdict, format!("{what}: {why}")),
        Ok(()) => {
            let number = wanted.number_of(leaf.fingerprint);
            let revision = number.map(|number| format!(", revision {number}")).unwrap_or_default();
            (Verdict::Ok, format!("serves what is live: {what}{revision}"))
        }
    }
}

fn compared(leaf: &Leaf, wanted: &Wanted, chain: Option<&Chain>) -> Result<(), (Verdict, String)> {
    let Some(fingerprint) = wanted.fingerprint else {
        return Err((Verdict::Warning, "not ours, and there is none of ours yet".to_owned()));
    };
    if leaf.fingerprint != fingerprint && Some(leaf.fingerprint) != wanted.in_place {
        let whose = match wanted.number_of(leaf.fingerprint) {
            Some(number) => format!("our revision {number}"),
            None => "not ours".to_owned(),
        };
        return Err((Verdict::Critical, format!("{whose}, wanted is {}", fingerprint.short())));
    }
    match chain {
        Some(Chain { served, installed: Some(installed), as_installed: Some(false) }) => {
            let text = format!("{served} certificates come, other than the {installed} installed");
            Err((Verdict::Warning, text))
        }
        _ => Ok(()),
    }
}

/// Of any endpoint: is what it shows valid, long enough, and for the name that was asked for?
pub fn anybodys(served: &Served, sni: Option<&str>, now: &ZonedDateTime) -> (Verdict, String) {
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

/// What a peer did when it was called.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What it showed.
    pub served: &'a Served,
    /// It asked for a certificate of ours.
    pub asked: bool,
    /// There is one of ours.
    pub has_ours: bool,
    /// Whether what it showed can be trusted, and why not.
    pub trust: Result<(), &'a str>,
}

/// Of a peer that we called: does it take us, and can we trust it, and how long?
pub fn peer(call: Call<'_>, trunk: &TrunkSpec, now: &ZonedDateTime) -> (Verdict, String) {
    let (leaf, what) = match shown(call.served, now) {
        Ok(shown) => shown,
        Err(verdict) => return verdict,
    };
    if let Answer::Certificate { unfinished: Some(_), .. } = &call.served.answer {
        return (Verdict::Critical, what);
    }
    let took = match (call.asked, call.has_ours) {
        (true, true) => "it asks for a certificate and takes ours",
        (true, false) => "it asks for a certificate, and there is none of ours yet",
        (false, _) => "it asks for no certificate",
    };
    if let Err(why) = call.trust {
        // Who names the roots wants them kept; else only the telephone system knows whether it looks.
        let named = trunk.trust_anchor.is_some();
        let verdict = if named { Verdict::Critical } else { Verdict::Warning };
        return (verdict, format!("{what}, its chain is not trusted: {why}; {took}"));
    }
    let soon = leaf.validity.left(now.timestamp()) < PEER_ENDS_SOON;
    let verdict = if soon { Verdict::Warning } else { Verdict::Ok };
    (verdict, format!("{what}; {took}"))
}

/// What anybody may stumble over, whoever comes.
pub fn remarks(served: &Served) -> Vec<Remark> {
    let Answer::Certificate { leaf, chain, .. } = &served.answer else { return Vec::new() };
    lint::lint(Seen { leaf, chain_length: chain.len(), root: None }, &[], &[])
}

/// The leaf that is valid now, and what it is in words.
fn shown<'a>(
    served: &'a Served,
    now: &ZonedDateTime,
) -> Result<(&'a Leaf, String), (Verdict, String)> {
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
    let ends = time(leaf.validity.not_after, now);
    let mut what = format!("{} ends {ends}", leaf.fingerprint.short());
    if let Some(why) = unfinished {
        what = format!("{what} ({why})");
    }
    if !leaf.validity.contains(now.timestamp()) {
        return Err((Verdict::Critical, format!("{what}: not valid now")));
    }
    if leaf.is_placeholder() {
        let text = format!("{what}: a self-signed placeholder, which no client trusts");
        return Err((Verdict::Critical, text));
    }
    Ok((leaf, what))
}

fn life(leaf: &Leaf, what: String, now: &ZonedDateTime) -> (Verdict, String) {
    let (left, lifetime) = (leaf.validity.left(now.timestamp()), leaf.validity.lifetime());
    match left.as_secs_f64() / lifetime.as_secs_f64().max(1.0) {
        left if left < 1.0 / 16.0 => (Verdict::Critical, format!("{what}: less than 1/16 left")),
        left if left < 1.0 / 4.0 => (Verdict::Warning, format!("{what}: less than 1/4 left")),
        _ => (Verdict::Ok, what),
    }
}

/// Who renews by itself has done so by then; who does not may still be called.
const PEER_ENDS_SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);
