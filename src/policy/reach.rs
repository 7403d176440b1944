//! Whether the CA can reach this host: findings with their strength and time become a belief that
//! changes slowly, and the belief decides the mode.
//!
//! Nothing here stops anything by itself: see `plan::mode`.

use std::time::Duration;

use jiff::Timestamp;

use super::schedule::{DAY, WEEK, after, holds_until};
use crate::cert::{Identifier, span};
use crate::config::{CertSpec, IssuerSpec, Source, ca};
use crate::state::reach::{Evidence, Mode, Reach, ReachState, Witness};
use crate::state::{Backoff, CertState, Failure, Revision};

/// How slowly the belief changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hysteresis {
    apart: Duration,
}

impl Default for Hysteresis {
    fn default() -> Self {
        Self { apart: Duration::from_secs(6 * 3600) }
    }
}

impl Hysteresis {
    /// For tests in real time. There is no configuration key for it: a belief that changes within
    /// minutes would follow every restart of a router.
    pub fn of(apart: Duration) -> Self {
        Self { apart }
    }

    /// How far apart two agreeing findings must lie.
    pub fn apart(self) -> Duration {
        self.apart
    }

    /// How long after a failure the CA is tried again in manual mode: daily.
    fn again(self) -> Duration {
        self.apart * 4
    }
}

/// What a try taught.
#[derive(Clone, Debug)]
pub enum Heard<'a> {
    /// Whether the CA can reach us.
    Found(Evidence),
    /// What this host knows of itself, beside the word of a CA: kept, and nothing more, since the
    /// CA was not tried again.
    Hint(Evidence),
    /// A certificate: no opinion, but the thing itself.
    Issued(Evidence),
    /// Nothing about that: the CA is down, or busy.
    Nothing(&'a Failure),
}

/// The state after a try, and the change of mode that it led to. `newest` is the certificate that
/// there is.
pub fn heard(
    spec: &CertSpec,
    state: &CertState,
    newest: Option<&Revision>,
    heard: Heard<'_>,
    hysteresis: Hysteresis,
    now: Timestamp,
) -> (CertState, Option<Switch>) {
    let before = &for_wish(&state.reach, &about(spec));
    let wait = !matches!(heard, Heard::Issued(_)) && is_usable(newest, now);
    let came_through = match &heard {
        Heard::Found(found) | Heard::Issued(found) => {
            found.reaches && found.witness > Witness::Local
        }
        Heard::Hint(_) | Heard::Nothing(_) => false,
    };
    let reach = match heard {
        Heard::Found(found) | Heard::Issued(found) => judge(before, found, wait, hysteresis, now),
        Heard::Hint(found) => {
            let mut reach = before.clone();
            add(&mut reach.evidence, found, now);
            reach
        }
        Heard::Nothing(failure) => unanswered(before, failure, hysteresis, now),
    };
    learn(spec, state, reach, came_through, now)
}

/// The belief after one more finding.
///
/// Two agreeing findings at least [`Hysteresis::apart`] apart change it, with nothing of equal
/// weight that disagrees in between; what a stronger witness has said within a week is not
/// overturned by weaker ones. Without `wait` (there is no usable certificate, or the finding is a
/// certificate) one finding is enough.
fn judge(
    before: &ReachState,
    found: Evidence,
    wait: bool,
    hysteresis: Hysteresis,
    now: Timestamp,
) -> ReachState {
    let mut state = before.clone();
    let newest = found.clone();
    add(&mut state.evidence, found, now);
    let against: Vec<&Evidence> =
        state.evidence.iter().filter(|e| e.reaches != newest.reaches).collect();
    let overruled = against
        .iter()
        .any(|e| e.witness > newest.witness && holds_until(e.at, WEEK, now).is_some());
    let agreed = state.evidence.iter().any(|first| {
        let by = first.witness.min(newest.witness);
        first.reaches == newest.reaches
            && span(first.at, newest.at) >= hysteresis.apart
            && !against.iter().any(|e| e.witness >= by && e.at >= first.at)
    });
    let says = if newest.reaches { Reach::Reachable } else { Reach::Unreachable };
    if state.verdict != says && !overruled && (agreed || !wait) {
        state.verdict = says;
        state.since = Some(now);
    }
    if state.verdict == says {
        state.reason = newest.reason;
    }
    let again = if newest.reaches { hysteresis.apart } else { hysteresis.again() };
    state.asked_at = Some(now);
    state.ask_again_at = Some(after(now, again));
    state
}

/// The CA was tried and nothing was found: tried again within the hour, or when it said.
fn unanswered(
    before: &ReachState,
    failure: &Failure,
    hysteresis: Hysteresis,
    now: Timestamp,
) -> ReachState {
    let soon = after(now, hysteresis.apart / 6);
    let told = failure.retry_after.map(|at| at.min(after(now, DAY)));
    ReachState {
        asked_at: Some(now),
        ask_again_at: Some(told.map_or(soon, |at| at.max(soon))),
        ..before.clone()
    }
}

/// What findings are about: other names, another CA or another challenge are another question.
pub fn about(spec: &CertSpec) -> String {
    let names: Vec<String> = spec.identifiers.iter().map(ToString::to_string).collect();
    let issuer = spec.issuers.first().map_or("", String::as_str);
    format!("{issuer}: {} by {}", names.join(" "), spec.challenges.join(" "))
}

/// A change of mode, for history and people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Switch {
    /// The mode from now on.
    pub to: Mode,
    /// In one sentence.
    pub text: String,
}

/// Remembers a belief and the mode that follows from it; the switch, if the mode changed.
///
/// Manual mode begins with `unreachable` and ends with `reachable`; `unknown` changes nothing. A CA
/// that comes through while the mode is manual ends the back-off: what is due need not wait for
/// yesterday's failures, only for what the CA said itself.
fn learn(
    spec: &CertSpec,
    state: &CertState,
    reach: ReachState,
    came_through: bool,
    now: Timestamp,
) -> (CertState, Option<Switch>) {
    let mut state = CertState { reach, ..state.clone() };
    let reach = &state.reach;
    let fresh = reach.evidence.is_empty() && reach.verdict == Reach::Unknown;
    let to = match (&state.mode, reach.verdict) {
        _ if spec.source != Source::Auto || fresh => Mode::Automatic,
        (Mode::Manual { since, .. }, Reach::Unreachable) => {
            Mode::Manual { since: *since, reason: reach.reason.clone() }
        }
        (Mode::Automatic, Reach::Unreachable) => {
            Mode::Manual { since: now, reason: reach.reason.clone() }
        }
        (_, Reach::Reachable) => Mode::Automatic,
        (mode, Reach::Unknown) => mode.clone(),
    };
    let switched = to.is_manual() != state.mode.is_manual();
    let text = match &to {
        Mode::Automatic => match reach.reason.as_str() {
            "" => "automatic again: the configuration has changed".to_owned(),
            reason => format!("automatic again: {reason}"),
        },
        Mode::Manual { reason, .. } => format!("manual from now on: {reason}"),
    };
    if came_through && state.mode.is_manual() {
        let told = state.backoff.last.take().filter(|last| last.retry_after.is_some());
        let asked = state.backoff.asked.take();
        state.backoff = Backoff { last: told, asked, ..Backoff::default() };
    }
    if switched {
        state.automatic_since = (!to.is_manual()).then_some(now);
    }
    state.mode = to.clone();
    (state, switched.then_some(Switch { to, text }))
}

/// What a CA found when it looked, as evidence in the operator's words; `None` for problems that say
/// nothing about the way to us.
pub fn seen_by_ca(
    issuer: &IssuerSpec,
    rehearsal: bool,
    name: &Identifier,
    problem: (&str, &str),
    now: Timestamp,
) -> Option<Evidence> {
    let (kind, detail) = problem;
    let ca = ca_name(issuer, rehearsal);
    let what = match kind {
        "connection" => format!("{ca} cannot open http://{name}/ from outside"),
        "dns" => format!("{ca} cannot look {name} up in the DNS"),
        "unauthorized" | "incorrectResponse" => {
            format!("somebody else answers {ca} at http://{name}/")
        }
        "tls" => format!("{ca} was led from http://{name}/ to https, and there is no TLS there"),
        "caa" => format!("a CAA record in the DNS does not allow {ca} to issue for {name}"),
        _ => return None,
    };
    let detail: String = detail.chars().take(300).collect();
    Some(Evidence {
        at: now,
        witness: if rehearsal { Witness::Rehearsal } else { Witness::Ca },
        reaches: false,
        kind: kind.to_owned(),
        reason: format!("{what} (\"{detail}\")"),
    })
}

/// A CA came through: to a certificate, or as far as it was asked to.
pub fn came_through(issuer: &IssuerSpec, rehearsal: bool, now: Timestamp) -> Evidence {
    Evidence {
        at: now,
        witness: if rehearsal { Witness::Rehearsal } else { Witness::Ca },
        reaches: true,
        kind: "validated".to_owned(),
        reason: format!("{} could validate every name", ca_name(issuer, rehearsal)),
    }
}

/// What this host cannot do, whoever asks: the response to a challenge.
pub fn seen_here(name: &Identifier, reason: &str, now: Timestamp) -> Evidence {
    let reason: String = reason.chars().take(500).collect();
    Evidence {
        at: now,
        witness: Witness::Local,
        reaches: false,
        kind: "responder".to_owned(),
        reason: format!("this host cannot answer a challenge for {name}: {reason}"),
    }
}

/// How people call a CA.
pub fn ca_name(issuer: &IssuerSpec, rehearsal: bool) -> String {
    let directory = issuer.rehearsal.as_deref().filter(|_| rehearsal).unwrap_or(&issuer.directory);
    match ca::Authority::at(directory).map(|known| known.word) {
        Some("letsencrypt") => "Let's Encrypt".to_owned(),
        Some("letsencrypt-staging") => "Let's Encrypt (staging)".to_owned(),
        Some("zerossl") => "ZeroSSL".to_owned(),
        Some("google") => "Google".to_owned(),
        _ => {
            let host = directory.split("//").nth(1).unwrap_or(directory);
            format!("the CA at {}", host.split('/').next().unwrap_or(host))
        }
    }
}

/// Whether a certificate serves now: without one there is no time to wait for a second opinion.
pub fn is_usable(newest: Option<&Revision>, now: Timestamp) -> bool {
    newest.is_some_and(|newest| newest.leaf.validity.contains(now))
}

fn for_wish(before: &ReachState, about: &str) -> ReachState {
    if before.about == about {
        return before.clone();
    }
    ReachState { about: about.to_owned(), ..ReachState::default() }
}

/// Of a row of equal findings the first and the last of each witness are kept: how long it has been
/// so is all that matters.
fn add(evidence: &mut Vec<Evidence>, found: Evidence, now: Timestamp) {
    evidence.retain(|e| holds_until(e.at, MEMORY, now).is_some());
    let begin =
        evidence.iter().rposition(|e| e.reaches != found.reaches).map_or(0, |last| last + 1);
    let same = |at: &usize| evidence[*at].witness == found.witness;
    let row: Vec<usize> = (begin..evidence.len()).filter(same).collect();
    if let [_, .., last] = row.as_slice() {
        evidence.remove(*last);
    }
    evidence.push(found);
    let over = evidence.len().saturating_sub(ReachState::MOST);
    evidence.drain(..over);
}

/// What was found a month ago agrees with nothing of today.
const MEMORY: Duration = Duration::from_secs(30 * 86_400);

#[cfg(test)]
mod tests;
