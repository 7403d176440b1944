//! The next step of a service.

mod ahead;
mod budget;
mod damage;
mod drift;
mod hold;
mod old;
mod placeholder;
mod rest;
mod strict;

use std::time::Duration;

use jiff::Timestamp;

use self::budget::{reload_budget, spared};
use self::damage::{damaged, quiet_at};
use self::drift::foreign_leaf;
pub use self::hold::held_until;
use self::old::Old;
use self::rest::{joined, look_at};
use super::{DeployReason, ServiceAction, Wait, Why};
use crate::cert::span;
use crate::config::ServiceSpec;
use crate::config::kind::Class;
use crate::policy::calm::{self, Leave};
use crate::policy::schedule::{DAY, HOUR, MINUTE, Seed, date, holds_until};
use crate::policy::trust::{self, Judgement};
use crate::state::{PairSeen, Revision, ServiceSeen, Step};

/// The one next step of a service: first what was cut off, then what is damaged, then what
/// came from outside, then what is new, then a look at what is served.
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
    if let Some(certificate) = drift::adopted(seen, now) {
        return ServiceAction::Adopt { certificate };
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
        match candidate(spec, pair, seen, now) {
            Candidate::Ready(number, reason) => {
                uploaded |= is_fresh_upload(pair, reason);
                ready.push(((pair.certificate.clone(), number), reason));
            }
            Candidate::Later(wait) => waits.push(wait),
            Candidate::Settled => {}
        }
    }
    let reasons: Vec<DeployReason> = ready.iter().map(|(_, reason)| *reason).collect();
    let strongest =
        [DeployReason::Forced, DeployReason::Newer, DeployReason::Retry, DeployReason::PutBack];
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

/// Whether a revision of a pair is to be deployed now: the newest; where that has to wait, the one
/// that belongs there and was replaced from outside.
fn candidate(spec: &ServiceSpec, pair: &PairSeen, seen: &ServiceSeen, now: Timestamp) -> Candidate {
    match newest(spec, pair, seen, now) {
        Candidate::Later(wait) => drift::put_back(pair, now)
            .map_or(Candidate::Later(wait), |n| Candidate::Ready(n, DeployReason::PutBack)),
        settled_or_ready => settled_or_ready,
    }
}

/// Whether the newest revision of a pair is to be deployed now.
fn newest(spec: &ServiceSpec, pair: &PairSeen, seen: &ServiceSeen, now: Timestamp) -> Candidate {
    let Some(newest) = &pair.newest else {
        return Candidate::Later(Wait { until: None, why: Why::NoCertificate });
    };
    let old = Old::of(pair, seen, newest);
    if let Some(candidate) = hold::instead(pair, newest, old, now) {
        return candidate;
    }
    let Some(mut reason) = wanted(pair, newest) else { return Candidate::Settled };
    let forced = reason == DeployReason::Forced;
    let uploaded = is_fresh_upload(pair, reason);
    let at_once = forced || uploaded;
    let automatic = || {
        drift::left_alone(pair, newest, now)
            .or_else(|| ahead::young(spec, pair, newest, old, now))
            .or_else(|| strict::held_back(spec, pair, newest, old, now))
            .or_else(|| ahead::comes_first(spec, pair, newest, old, seen, now))
            .or_else(|| backing_off(pair, now))
            .or_else(|| reload_budget(pair, newest, seen, now))
            .or_else(|| spared(spec, seen, old, now))
    };
    let trust = trust::judge(spec, pair, seen, now);
    if trust == Judgement::Late && forced {
        // A wish that was not about this: windows and calls count.
        reason = DeployReason::Newer;
    }
    let wait = hold::held(pair, newest, old, now)
        .or_else(|| dates(pair, newest, now))
        .or_else(|| placeholder::kept_back(pair, newest, seen, now))
        // Whoever uploads has chosen the CA.
        .or_else(|| if uploaded { None } else { doubted(pair, newest, &trust) })
        .or_else(|| quiet_at(pair, now).map(|at| Wait { until: Some(at), why: Why::Quiet }))
        .or_else(|| if at_once { None } else { automatic() });
    wait.map_or(Candidate::Ready(newest.number, reason), Candidate::Later)
}

/// A person has uploaded the newest revision, and it was not tried yet: it waits for nothing but a
/// hold, the dates, files that are being written, and calls.
fn is_fresh_upload(pair: &PairSeen, reason: DeployReason) -> bool {
    reason == DeployReason::Newer && pair.newest.as_ref().is_some_and(Revision::is_upload)
}

/// Phones might not trust it as they trust the one that is served.
fn doubted(pair: &PairSeen, newest: &Revision, trust: &Judgement) -> Option<Wait> {
    let (number, name) = (newest.number, &pair.certificate);
    match trust {
        Judgement::Given | Judgement::Late => None,
        Judgement::Unseen => {
            let text = format!("the endpoints of {name} are looked at before anything is changed");
            Some(Wait { until: None, why: Why::NotDue(text) })
        }
        Judgement::Doubted(doubted) => {
            let changes: Vec<String> = doubted.changes.iter().map(ToString::to_string).collect();
            let text = format!(
                "revision {number} of {name} waits for `pbxcert approve {name}`, because {}; it goes \
                 in at {}",
                changes.join(", "),
                date(doubted.until)
            );
            Some(Wait { until: Some(doubted.until), why: Why::Approval(text) })
        }
    }
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
    if there > newest.number || settled && foreign_leaf(pair).is_none() {
        return None;
    }
    Some(if settled { DeployReason::PutBack } else { DeployReason::Retry })
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

/// An automatic reload follows the last one of its service by at least this.
const COALESCING: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
