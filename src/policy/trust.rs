//! Whether phones will trust a new certificate as they trust the one that is served.
//!
//! Another root, a longer chain or another kind of key is what old phones stumble over, and nobody
//! sees it from the server. So it waits for a person, but not for ever: expired is worse.

mod change;

use jiff::Timestamp;

pub use self::change::{Change, Shown, changes};
use super::calm::night;
use super::lint::{self, Remark};
use super::schedule::{DAY, before};
use super::window;
use crate::cert::{Leaf, Validity};
use crate::config::{OnTrustChange, ServiceSpec};
use crate::state::{Answer, PairSeen, Revision, Served, ServiceSeen, Step, TrustSeen};

/// Whether the newest revision of a pair may go in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Judgement {
    /// It waits.
    Doubted(Doubted),
    /// Nothing is in the way.
    Given,
    /// Nobody has agreed, but waiting any longer would be worse.
    Late,
    /// Nobody has looked yet at what is served.
    Unseen,
}

/// Why a revision waits, and until when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Doubted {
    /// What is different from what is served.
    pub changes: Vec<Change>,
    /// Which families of `clients` will stumble that do not stumble now.
    pub remarks: Vec<Remark>,
    /// Of what is served: the one that ends first.
    pub ends: Validity,
    /// When it goes in by itself.
    pub until: Timestamp,
}

/// Whether the newest revision of a pair may go in, by what its endpoints serve now.
///
/// No guard where nothing usable is served: right names, in date, chained to a root that is trusted
/// here or the issuer's.
pub fn judge(spec: &ServiceSpec, pair: &PairSeen, seen: &ServiceSeen, now: Timestamp) -> Judgement {
    let (Some(trust), Some(newest)) = (&pair.trust, &pair.newest) else { return Judgement::Given };
    if trust.stance == OnTrustChange::Go || newest.is_placeholder() || is_settled(pair, newest) {
        return Judgement::Given;
    }
    let Some(served) = usable(pair, trust, newest, seen, now) else { return Judgement::Unseen };
    let after = Shown { leaf: &newest.leaf, top: trust.newest.as_ref() };
    let differing: Vec<(Shown<'_>, Vec<Change>)> = served
        .into_iter()
        .map(|before| (before, changes(before, after)))
        .filter(|(_, changes)| !changes.is_empty())
        .collect();
    let validities = differing.iter().map(|(before, _)| before.leaf.validity);
    let Some(ends) = validities.min_by_key(|validity| validity.not_after) else {
        return Judgement::Given;
    };
    let Some(until) = goes_in_at(spec, trust.stance, ends, now) else { return Judgement::Late };
    let mut changes: Vec<Change> = Vec::new();
    for change in differing.iter().flat_map(|(_, changes)| changes) {
        if !changes.contains(change) {
            changes.push(change.clone());
        }
    }
    let befores: Vec<Shown<'_>> = differing.iter().map(|(before, _)| *before).collect();
    Judgement::Doubted(Doubted { changes, remarks: remarks(spec, &befores, after), ends, until })
}

/// A person said yes, or it lies at the targets already.
fn is_settled(pair: &PairSeen, newest: &Revision) -> bool {
    let state = &pair.state;
    let approved = state.approved.as_ref().is_some_and(|a| a.revision == newest.number);
    let there = state.revision == Some(newest.number)
        && matches!(state.step, Step::Proved | Step::Unproved | Step::NotTaken);
    approved || there
}

/// Everything usable that is served; `None` when somebody has to look first.
fn usable<'a>(
    pair: &'a PairSeen,
    trust: &'a TrustSeen,
    newest: &Revision,
    seen: &'a ServiceSeen,
    now: Timestamp,
) -> Option<Vec<Shown<'a>>> {
    let is_usable = |shown: &Shown<'_>| {
        let fits = |leaf: &Leaf| {
            let names = &newest.leaf.identifiers;
            leaf.identifiers.iter().any(|held| names.iter().any(|name| held.covers(name)))
        };
        let broken =
            |top: &crate::cert::top::Top| top.self_signed || top.ends.is_some_and(|end| end < now);
        !shown.leaf.is_placeholder()
            && shown.leaf.validity.contains(now)
            && fits(shown.leaf)
            && !shown.top.is_some_and(broken)
    };
    let installed = trust.installed.as_ref();
    let installed = installed.map(|(leaf, top)| Shown { leaf, top: top.as_ref() });
    let mut all = Vec::new();
    let endpoints: Vec<&String> = seen
        .endpoints
        .iter()
        .filter(|(_, certificate)| **certificate == pair.certificate)
        .map(|(endpoint, _)| endpoint)
        .collect();
    if endpoints.is_empty() {
        all.extend(installed);
    }
    for endpoint in endpoints {
        let served = seen.seen.get(endpoint).filter(|served| !served.is_of_old())?;
        match served.leaf() {
            Some(leaf) if trust.anchored.contains(endpoint) => {
                all.push(Shown { leaf, top: served.top() });
            }
            // Stopped for a while: phones will meet what was installed when it is back.
            None if is_silent(served) => all.extend(installed),
            _ => {}
        }
    }
    all.retain(is_usable);
    Some(all)
}

fn is_silent(served: &Served) -> bool {
    matches!(served.answer, Answer::Closed | Answer::Unreachable { .. })
}

/// When it goes in by itself: inside a window (the small hours without any), with `ask` from an
/// eighth of the life of what is served on; in any case before that ends. `None`: now.
fn goes_in_at(
    spec: &ServiceSpec,
    stance: OnTrustChange,
    ends: Validity,
    now: Timestamp,
) -> Option<Timestamp> {
    let end = ends.not_after;
    // For short-lived ones no window may come in time.
    let last = before(end, DAY.min(ends.lifetime() / 16));
    let from = match stance {
        OnTrustChange::Ask => before(end, ends.lifetime() / 8).max(now),
        OnTrustChange::Go | OnTrustChange::Window => now,
    };
    let (windows, zone) = (night(&spec.calm), &spec.calm.zone);
    let open = window::open(windows, zone, from).map(|_| from);
    let opens = open.or_else(|| Some(window::next(windows, zone, from)?.start));
    let at = opens.map_or(last, |opens| opens.min(last));
    (at > now).then_some(at)
}

/// What clients will stumble over that they do not stumble over now.
fn remarks(spec: &ServiceSpec, befores: &[Shown<'_>], after: Shown<'_>) -> Vec<Remark> {
    let lint = |shown: Shown<'_>| {
        let seen = lint::Seen {
            leaf: shown.leaf,
            chain_length: shown.top.map_or(1, |top| top.length),
            root: shown.top.map(|top| top.issuer.as_str()),
        };
        lint::lint(seen, &spec.clients, &spec.sip_domains)
    };
    let known: Vec<Remark> = befores.iter().flat_map(|before| lint(*before)).collect();
    let who = |remark: &Remark| known.iter().any(|k| k.who == remark.who && k.text == remark.text);
    lint(after).into_iter().filter(|remark| !who(remark)).collect()
}

#[cfg(test)]
mod tests;
