//! The next step of a service.

mod damage;
mod placeholder;
mod rest;

use std::time::Duration;

use jiff::Timestamp;

use self::damage::{damaged, quiet_at};
use self::rest::{joined, look_at};
use super::{DeployReason, ServiceAction, Wait, Why};
use crate::cert::{Leaf, Validity, span};
use crate::config::ServiceSpec;
use crate::config::kind::Class;
use crate::policy::calm::{self, Leave};
use crate::policy::schedule::{
    DAY, HOUR, MINUTE, Seed, after, before, date, frees_at, holds_until,
};
use crate::state::{FilesSeen, PairSeen, Revision, ServiceSeen, Step};

/// The one next step of a service: first what was cut off, then what is damaged, then what is new,
/// then a look at what is served.
pub fn next_service(
    spec: &ServiceSpec,
    seen: &ServiceSeen,
    seed: &Seed,
    now: Timestamp,
) -> ServiceAction {
    let cut_off = |step| {
        matches!(step, Step::Installing | Step::Installed | Step::Reloaded | Step::RollingBack)
    };
    if seen.pairs.iter().any(|pair| cut_off(pair.state.step)) {
        return ServiceAction::Settle;
    }
    let (certificates, mut waits) = damaged(seen, now);
    if !certificates.is_empty() {
        return ServiceAction::Mend { certificates };
    }
    match deploy(spec, seen, now) {
        Ok(action) => return action,
        Err(more) => waits.extend(more),
    }
    let look_at = look_at(seen, &spec.name, seed, now);
    if look_at.is_some_and(|at| at <= now) {
        return ServiceAction::Look;
    }
    ServiceAction::Wait(joined(waits, look_at, seen))
}

/// The time noted at the last failure.
fn noted(pair: &PairSeen, now: Timestamp) -> Option<Timestamp> {
    // Further ahead was written with another clock.
    pair.state.retry_at.filter(|at| now < *at && span(now, *at) <= DAY * 11 / 10)
}

/// One deployment for everything that is ready, or why there is none.
///
/// Automatic ones follow the last reload by 5 minutes, so that certificates that come together
/// share one; a person does not wait, nor does an upload, and takes along what is ready.
fn deploy(
    spec: &ServiceSpec,
    seen: &ServiceSeen,
    now: Timestamp,
) -> Result<ServiceAction, Vec<Wait>> {
    let mut ready = Vec::new();
    let mut waits = Vec::new();
    let mut uploaded = false;
    for pair in &seen.pairs {
        match candidate(pair, seen, now) {
            Candidate::Ready(number, reason) => {
                uploaded |= is_fresh_upload(pair, reason);
                ready.push(((pair.certificate.clone(), number), reason));
            }
            Candidate::Later(wait) => waits.push(wait),
            Candidate::Settled => {}
        }
    }
    let reasons: Vec<DeployReason> = ready.iter().map(|(_, reason)| *reason).collect();
    let strongest = [DeployReason::Forced, DeployReason::Newer, DeployReason::Retry];
    let Some(reason) = strongest.into_iter().find(|reason| reasons.contains(reason)) else {
        return Err(waits);
    };
    let last = seen.reloads.iter().filter_map(|r| holds_until(r.at, COALESCING, now)).max();
    let asked_for = seen.by_hand || reason == DeployReason::Forced;
    if let Some(until) = last.filter(|_| !asked_for && !uploaded) {
        let text = format!("reloaded less than 5 minutes ago; the next reload at {}", date(until));
        waits.push(Wait { until: Some(until), why: Why::NotDue(text) });
        return Err(waits);
    }
    let pairs: Vec<(String, u64)> = ready.into_iter().map(|(pair, _)| pair).collect();
    // Whoever uploads wants it now, but has not allowed to drop calls.
    if asked_for || uploaded && spec.class != Class::Restart {
        return Ok(ServiceAction::Deploy { pairs, reason });
    }
    match calm::leave(disturbance(spec, seen, &pairs), now) {
        Leave::Announce(takes_place) => Ok(ServiceAction::Announce { takes_place, pairs }),
        Leave::CountCalls => Ok(ServiceAction::CountCalls),
        Leave::Given => Ok(ServiceAction::Deploy { pairs, reason }),
        Leave::Later(until, why) => {
            waits.push(Wait { until, why: Why::Calm(why) });
            Err(waits)
        }
    }
}

/// What a deployment of these would disturb, and the pair that has the least time.
fn disturbance<'a>(
    spec: &'a ServiceSpec,
    seen: &'a ServiceSeen,
    pairs: &[(String, u64)],
) -> calm::Case<'a> {
    let ready = |pair: &&PairSeen| pairs.iter().any(|(name, _)| *name == pair.certificate);
    let olds: Vec<Old> = seen
        .pairs
        .iter()
        .filter(ready)
        .filter_map(|pair| pair.newest.as_ref().map(|newest| Old::of(pair, seen, newest)))
        .collect();
    let ends = olds.iter().filter_map(|old| match old {
        Old::Ends(validity) => Some(*validity),
        Old::Nothing | Old::Unknown => None,
    });
    let revisions = pairs.iter().cloned().collect();
    calm::Case {
        spec,
        old: ends.min_by_key(|validity| validity.not_after),
        unknown: olds.iter().any(|old| matches!(old, Old::Unknown)),
        calls: seen.calls,
        announced: seen.announced.as_ref().filter(|a| a.revisions == revisions),
    }
}

/// What is to be done for one certificate of a service.
enum Candidate {
    /// Its newest revision can be deployed now.
    Ready(u64, DeployReason),
    /// It is to be deployed, but not now.
    Later(Wait),
    /// Nothing is to be deployed.
    Settled,
}

/// Whether the newest revision of a pair is to be deployed now.
///
/// The guard against a changed trust (another root, a longer chain ...), windows, freezes and busy
/// services will stand here, after the dates: each gives another `Later`.
fn candidate(pair: &PairSeen, seen: &ServiceSeen, now: Timestamp) -> Candidate {
    let Some(newest) = &pair.newest else {
        return Candidate::Later(Wait { until: None, why: Why::NoCertificate });
    };
    let old = Old::of(pair, seen, newest);
    if let Some(candidate) = instead(pair, newest, old, now) {
        return candidate;
    }
    let Some(reason) = wanted(pair, newest) else { return Candidate::Settled };
    let at_once = reason == DeployReason::Forced || is_fresh_upload(pair, reason);
    let automatic = || {
        foreign(pair, newest, now)
            .or_else(|| young(pair, newest, old, now))
            .or_else(|| backing_off(pair, now))
            .or_else(|| reload_budget(pair, newest, seen, now))
    };
    let wait = held(pair, newest, old, now)
        .or_else(|| dates(pair, newest, now))
        .or_else(|| placeholder::kept_back(pair, newest, seen, now))
        .or_else(|| quiet_at(pair, now).map(|at| Wait { until: Some(at), why: Why::Quiet }))
        .or_else(|| if at_once { None } else { automatic() });
    wait.map_or(Candidate::Ready(newest.number, reason), Candidate::Later)
}

/// A person has uploaded the newest revision, and it was not tried yet: it waits for nothing but a
/// hold, the dates, files that are being written, and calls.
fn is_fresh_upload(pair: &PairSeen, reason: DeployReason) -> bool {
    reason == DeployReason::Newer && pair.newest.as_ref().is_some_and(Revision::is_upload)
}

/// Why the newest revision is wanted; `None` when it is where it belongs.
fn wanted(pair: &PairSeen, newest: &Revision) -> Option<DeployReason> {
    let state = &pair.state;
    if state.forced {
        return Some(DeployReason::Forced);
    }
    let Some(there) = state.revision else { return Some(DeployReason::Newer) };
    if there < newest.number {
        return Some(DeployReason::Newer);
    }
    let settled = matches!(state.step, Step::Proved | Step::Unproved);
    // A higher number is there: the store lost files, and an older revision is no progress.
    let untouched = there > newest.number || settled && foreign_leaf(pair).is_none();
    (!untouched).then_some(DeployReason::Retry)
}

/// A person went back to an older revision, which is not in service yet.
fn instead(pair: &PairSeen, newest: &Revision, old: Old, now: Timestamp) -> Option<Candidate> {
    held(pair, newest, old, now)?;
    let state = &pair.state;
    let number = state.hold.as_ref()?.instead?;
    let there = state.revision == Some(number)
        && matches!(state.step, Step::Proved | Step::Unproved | Step::NotTaken);
    if there && !state.forced {
        return None;
    }
    if state.forced {
        return Some(Candidate::Ready(number, DeployReason::Forced));
    }
    Some(
        backing_off(pair, now)
            .map_or(Candidate::Ready(number, DeployReason::Retry), Candidate::Later),
    )
}

/// A person's will, until 48 hours before what is served instead ends: expired is worse.
fn held(pair: &PairSeen, newest: &Revision, old: Old, now: Timestamp) -> Option<Wait> {
    let hold = pair.state.hold.as_ref().filter(|hold| hold.refused >= newest.number)?;
    let until = match old {
        Old::Ends(old) if old.not_after < newest.leaf.validity.not_after => {
            Some(before(old.not_after, DAY * 2))
        }
        _ => None,
    };
    if until.is_some_and(|until| until <= now) {
        return None;
    }
    let stays = hold.instead.map(|n| format!("; revision {n} stays")).unwrap_or_default();
    let text = format!(
        "revision {} of {} is held back by {} since {}{stays}; `pbxcert release {}` ends it",
        hold.refused,
        pair.certificate,
        hold.by,
        date(hold.at),
        pair.certificate
    );
    Some(Wait { until, why: Why::Held(text) })
}

/// Nobody is served by a certificate that is not valid yet, or not any more.
fn dates(pair: &PairSeen, newest: &Revision, now: Timestamp) -> Option<Wait> {
    let validity = newest.leaf.validity;
    let (number, name) = (newest.number, &pair.certificate);
    if now < validity.not_before {
        let from = validity.not_before;
        let text = format!("revision {number} of {name} is not valid before {}", date(from));
        return Some(Wait { until: Some(from), why: Why::NotDue(text) });
    }
    (now > validity.not_after).then(|| {
        let end = date(validity.not_after);
        let text = format!("revision {number} of {name} ended at {end}; waiting for a newer one");
        Wait { until: None, why: Why::NotDue(text) }
    })
}

/// A readable pair that is not ours lies at the targets: somebody put it there on purpose, so it is
/// left alone until a day before it ends.
fn foreign(pair: &PairSeen, newest: &Revision, now: Timestamp) -> Option<Wait> {
    let leaf = foreign_leaf(pair)?;
    let end = leaf.validity.not_after;
    let until = before(end, DAY);
    if until <= now && end < newest.leaf.validity.not_after {
        return None;
    }
    let text = format!(
        "the files of {} hold a certificate from outside that ends at {}; it is left alone until a \
         day before (`pbxcert deploy` puts ours back)",
        pair.certificate,
        date(end)
    );
    Some(Wait { until: (now < until).then_some(until), why: Why::Person(text) })
}

/// The leaf at the targets when it is neither ours nor what a rollback put back.
fn foreign_leaf(pair: &PairSeen) -> Option<&Leaf> {
    let FilesSeen::Foreign(leaf) = &pair.files else { return None };
    let put_back = matches!(pair.state.step, Step::RolledBack | Step::Stuck)
        && pair
            .state
            .saved
            .as_ref()
            .and_then(|saved| saved.leaf.as_ref())
            .is_some_and(|saved| saved.fingerprint == leaf.fingerprint);
    let newest = pair.newest.as_ref().is_some_and(|n| n.leaf.fingerprint == leaf.fingerprint);
    (!put_back && !newest).then_some(leaf)
}

/// Clients whose clock is behind refuse a certificate that is too young; while the old one is good
/// for two more days the new one can wait for them.
fn young(pair: &PairSeen, newest: &Revision, old: Old, now: Timestamp) -> Option<Wait> {
    let validity = newest.leaf.validity;
    let age = match old {
        Old::Ends(old) if before(old.not_after, DAY * 2) > now => pair.min_age,
        Old::Ends(_) | Old::Nothing => return None,
        Old::Unknown => pair.min_age.min(validity.lifetime() / 8),
    };
    let until = after(validity.not_before, age);
    let latest = if let Old::Ends(old) = old { before(old.not_after, DAY * 2) } else { until };
    (now < until).then(|| {
        let text = format!(
            "revision {} of {} is deployed when it is older, at {}",
            newest.number,
            pair.certificate,
            date(until)
        );
        Wait { until: Some(until.min(latest)), why: Why::NotDue(text) }
    })
}

/// The time noted at the last failure; without one, a pause that depends on how bad it was. A
/// service that could not be put back is left to a person, with one try a day.
fn backing_off(pair: &PairSeen, now: Timestamp) -> Option<Wait> {
    let state = &pair.state;
    let pause = match state.step {
        Step::Stuck => Some(DAY),
        Step::RolledBack if state.retry_at.is_none() => Some(HOUR),
        _ if state.problem.is_some() && state.retry_at.is_none() => Some(MINUTE),
        _ => None,
    };
    let same = state.revision == pair.newest.as_ref().map(|newest| newest.number);
    let paused = state.since.zip(pause).filter(|_| same);
    let paused = paused.and_then(|(since, pause)| holds_until(since, pause, now));
    let until = noted(pair, now).max(paused)?;
    let problem = state.problem.as_deref().unwrap_or("the last try did not end in proof");
    let text = format!("{}: {problem}; next try at {}", pair.certificate, date(until));
    let why = if state.step == Step::Stuck { Why::Person(text) } else { Why::BackOff(text) };
    Some(Wait { until: Some(until), why })
}

/// 3 automatic tries per revision and day, at least an hour apart after the second.
fn reload_budget(
    pair: &PairSeen,
    newest: &Revision,
    seen: &ServiceSeen,
    now: Timestamp,
) -> Option<Wait> {
    let tries = || {
        let this = |name: &str| name == pair.certificate;
        seen.reloads
            .iter()
            .filter(|reload| !reload.by_hand)
            .filter(move |r| r.revisions.iter().any(|(n, rev)| this(n) && *rev == newest.number))
            .map(|reload| reload.at)
    };
    let day = frees_at(tries(), 3, DAY, now);
    let apart = frees_at(tries(), 2, DAY, now)
        .and_then(|_| tries().filter_map(|at| holds_until(at, HOUR, now)).max());
    let until = day.max(apart)?;
    let text = format!(
        "revision {} of {} was tried {} times within a day; next try at {}",
        newest.number,
        pair.certificate,
        tries().filter(|at| holds_until(*at, DAY, now).is_some()).count(),
        date(until)
    );
    Some(Wait { until: Some(until), why: Why::Budget(text) })
}

/// What is served, or lies there, in place of the newest revision.
#[derive(Clone, Copy, Debug)]
enum Old {
    /// A certificate for one of these names was seen, with these dates; of several the one that ends
    /// (or ended) first.
    Ends(Validity),
    /// Everybody looked at serves nothing of use, or nothing was ever installed.
    Nothing,
    /// Something may be there that nobody has looked at.
    Unknown,
}

impl Old {
    fn of(pair: &PairSeen, seen: &ServiceSeen, newest: &Revision) -> Self {
        let endpoints: Vec<&String> = seen
            .endpoints
            .iter()
            .filter(|(_, c)| **c == pair.certificate)
            .map(|(e, _)| e)
            .collect();
        let looks: Vec<_> = endpoints.iter().filter_map(|e| seen.seen.get(*e)).collect();
        let touched = pair.state.revision.is_some()
            || pair.state.saved.as_ref().is_some_and(|saved| saved.existed);
        if looks.len() < endpoints.len() || endpoints.is_empty() && touched {
            return Self::Unknown;
        }
        let names = &newest.leaf.identifiers;
        let of_use = |leaf: &&Leaf| {
            leaf.identifiers.iter().any(|held| names.iter().any(|name| held.covers(name)))
        };
        // What a placeholder serves nobody can use: nothing is lost with it.
        let leaves = looks.iter().filter_map(|served| served.leaf()).filter(of_use);
        let leaves = leaves.filter(|leaf| newest.is_placeholder() || !leaf.is_placeholder());
        let first = leaves.map(|leaf| leaf.validity).min_by_key(|validity| validity.not_after);
        first.map_or(Self::Nothing, Self::Ends)
    }
}

/// An automatic reload follows the last one of its service by at least this.
const COALESCING: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
