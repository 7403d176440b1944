//! The next step of a certificate.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::clock;
use super::{Action, Reason, Wait, Why, copied, manual, mode};
use crate::cert::Identifier;
use crate::config::{CertSpec, IssuerSpec, Source};
use crate::policy::budget::{self, Order};
use crate::policy::schedule::{
    DAY, Due, HOUR, LONGEST_BACK_OFF, LONGEST_RETRY_AFTER, Seed, after, ask_at, date, emergency_at,
    holds_until, in_emergency, renew_at, renewal_period, speaks_of, valid_window,
};
use crate::state::{Asked, Failure, FailureClass, Goal, Observed, OrderSeen, Revision};

/// What the configuration asks of an issuer.
pub fn wish(spec: &CertSpec, issuer: &IssuerSpec) -> Asked {
    Asked {
        identifiers: spec.identifiers.iter().cloned().collect(),
        key: spec.key,
        issuer: issuer.name.clone(),
        profile: issuer.profile.clone(),
    }
}

/// Whether the order under way is the one to go on with. One that asks for something else, or has
/// another goal, is dropped by the caller, with its key; so is one that the CA has surely forgotten
/// (7 days).
pub fn resumes(order: &OrderSeen, wish: &Asked, goal: Goal, now: Timestamp) -> bool {
    order.asked == *wish
        && order.goal == goal
        && (now <= order.started_at || now < after(order.started_at, DAY * 7))
}

/// The one next step of a certificate at an issuer.
///
/// Past the emergency point (1/20 of life left) it is `Issue`, or a wait that only the CA's
/// `Retry-After`, the budget, an untrusted clock or a back-off of an hour can give.
///
/// `issuer` is the first of the certificate's issuers; when a second one is asked is to be decided
/// beside `Case::due`. The guard against a changed trust stands between a revision and its deployment,
/// in `service::candidate`; names that are left out for a while change [`wish`].
pub fn next(
    spec: &CertSpec,
    issuer: &IssuerSpec,
    seen: &Observed,
    seed: &Seed,
    now: Timestamp,
) -> Action {
    if spec.source == Source::Manual {
        return manual::next_manual(spec, seen, now);
    }
    if let Some(wait) = clock(seen.time, now) {
        return Action::Wait(wait);
    }
    match copied::hold_back(seen, at_the_ca(spec, issuer, seen, seed, now), now) {
        // A try at the CA comes first: a placeholder is for the time between two of them.
        Action::Wait(wait) if spec.source == Source::Auto && seen.unreachable => {
            manual::stand_in(spec, seen, wait, now)
        }
        action => action,
    }
}

fn at_the_ca(
    spec: &CertSpec,
    issuer: &IssuerSpec,
    seen: &Observed,
    seed: &Seed,
    now: Timestamp,
) -> Action {
    let case =
        Case { spec, issuer, seen, newest: seen.certificate(), wish: wish(spec, issuer), now };
    let ask_at = case.ask_at();
    if ask_at.is_some_and(|at| at <= now) {
        return Action::AskRenewalInfo;
    }
    let due = case.due(seed);
    if let Some(action) = case.manual(&due, seed) {
        return action;
    }
    if due.at > now {
        return Action::Wait(not_due(&due, ask_at));
    }
    let replaces = case.replaces();
    let order = case.order(&due.reason, replaces.is_some());
    if let Some(wait) = case.barred(order) {
        return Action::Wait(wait);
    }
    if case.rehearses() {
        return Action::Rehearse(due.reason);
    }
    Action::Issue { reason: due.reason, replaces, exempt: order.exempt }
}

fn not_due(due: &Due, ask_at: Option<Timestamp>) -> Wait {
    let mut text = format!("renewal at {}, when {}", date(due.at), due.reason);
    if due.reason == Reason::RenewalInfo {
        text = format!("renewal at {}, as the CA suggests", date(due.at));
    }
    let until = ask_at.map_or(due.at, |at| at.min(due.at));
    if until < due.at {
        text.push_str(&format!("; the CA is asked again at {}", date(until)));
    }
    Wait { until: Some(until), why: Why::NotDue(text) }
}

/// What the decision is made on.
pub(super) struct Case<'a> {
    pub(super) spec: &'a CertSpec,
    pub(super) issuer: &'a IssuerSpec,
    pub(super) seen: &'a Observed,
    /// A placeholder is none.
    pub(super) newest: Option<&'a Revision>,
    wish: Asked,
    pub(super) now: Timestamp,
}

impl Case<'_> {
    /// When and why a certificate is to be ordered.
    fn due(&self, seed: &Seed) -> Due {
        let now = |reason| Due { at: self.now, reason };
        let Some(newest) = self.newest else { return now(Reason::Missing) };
        let validity = newest.leaf.validity;
        if self.forced(newest) {
            return now(Reason::Forced);
        }
        if let Some(what) = changed(newest, &self.wish) {
            return now(Reason::Changed(what));
        }
        let rested = rested_at(newest, self.now);
        if self.now > validity.not_after {
            return Due { at: rested, reason: Reason::Expired };
        }
        if in_emergency(validity, self.now) {
            return Due { at: rested, reason: Reason::Emergency };
        }
        if self.resumable().is_some_and(|order| self.newer(order.started_at, newest)) {
            return now(Reason::UnderWay);
        }
        let revoked = self.seen.state.revoked.as_ref();
        if revoked.is_some_and(|revoked| revoked.fingerprint == newest.leaf.fingerprint) {
            return Due { at: rested, reason: Reason::Revoked };
        }
        if let Some(at) = mode::take_over_at(self.spec, newest) {
            return Due { at: at.max(rested), reason: Reason::TakeOver };
        }
        let due = renew_at(&newest.leaf, self.seen.state.ari.as_ref(), seed);
        Due { at: due.at.max(rested), ..due }
    }

    pub(super) fn forced(&self, newest: &Revision) -> bool {
        self.seen.state.forced_at.is_some_and(|at| self.newer(at, newest))
    }

    /// A wish or order that is older than what we have was met by it (a crash came before the
    /// note); unless that is from a future that is no more.
    fn newer(&self, begun_at: Timestamp, newest: &Revision) -> bool {
        begun_at > newest.committed_at || newest.committed_at > self.now
    }

    /// When to ask for renewal information; `None`: not of this certificate. Not past the
    /// emergency point, where the answer changes nothing, and never for an expired certificate
    /// (RFC 9773 section 4.3).
    fn ask_at(&self) -> Option<Timestamp> {
        let newest = self.newest?;
        if !self.ours(newest) || in_emergency(newest.leaf.validity, self.now) {
            return None;
        }
        newest.leaf.cert_id()?;
        match &self.seen.state.ari {
            Some(ari) if speaks_of(ari, &newest.leaf) => Some(ask_at(ari, self.now)),
            _ => Some(self.now),
        }
    }

    /// The certID to name in the order: of a certificate of this CA that shares a name, once the
    /// CA has shown that it offers renewal information, unless it refused exactly this.
    fn replaces(&self) -> Option<String> {
        let newest = self.newest.filter(|newest| self.ours(newest))?;
        let ari = self.seen.state.ari.as_ref()?;
        let shares = !newest.leaf.identifiers.is_disjoint(&self.wish.identifiers);
        let refused = self.seen.state.without_replaces.as_deref() == Some(ari.cert_id.as_str());
        let offered = ari.window.is_some() && speaks_of(ari, &newest.leaf);
        (shares && offered && !refused).then(|| ari.cert_id.clone())
    }

    fn ours(&self, newest: &Revision) -> bool {
        newest.asked.as_ref().is_some_and(|asked| asked.issuer == self.issuer.name)
    }

    /// The order as the budget sees it. Exempt is what names its predecessor inside the window.
    fn order(&self, reason: &Reason, replaces: bool) -> Order<'_> {
        let newest = self.newest;
        let lifetime = newest.map_or(USUAL_LIFETIME, |newest| newest.leaf.validity.lifetime());
        let in_window = newest.zip(self.seen.state.ari.as_ref()).is_some_and(|(newest, ari)| {
            valid_window(ari, &newest.leaf)
                .is_some_and(|(_, window)| window.start <= self.now && self.now < window.end)
        });
        let order = Order {
            identifiers: &self.wish.identifiers,
            period: renewal_period(lifetime),
            exempt: replaces && in_window,
            early: matches!(reason, Reason::Changed(_) | Reason::Forced | Reason::RenewalInfo),
            begun: self.resumable().is_some_and(|order| order.sent),
            confirmed: self.seen.state.over_budget,
            late: newest.is_none_or(|newest| in_emergency(newest.leaf.validity, self.now)),
        };
        let exempt = budget::exempt(order, self.issuer, &self.seen.ledger, self.now);
        Order { exempt, ..order }
    }

    fn resumable(&self) -> Option<&OrderSeen> {
        let order = self.seen.order.as_ref()?;
        resumes(order, &self.wish, Goal::Certificate, self.now).then_some(order)
    }

    /// What forbids to have the names validated now, and nothing more.
    pub(super) fn barred_from_probing(&self) -> Option<Wait> {
        if self.issuer.rehearsal.is_some() {
            return None;
        }
        let order = Order { begun: true, ..self.order(&Reason::TakeOver, false) };
        let spent = budget::may_order(order, self.issuer, &self.seen.ledger, self.now).err();
        let budget = spent.map(|s| Wait { until: Some(s.until), why: Why::Budget(s.why) });
        [self.told_to_wait(), budget].into_iter().flatten().max_by_key(|wait| wait.until)
    }

    /// What forbids a try now. Precedence: Retry-After, budget, emergency, back-off; of several
    /// the one that lasts longest is told.
    fn barred(&self, order: Order<'_>) -> Option<Wait> {
        let budget = || {
            let spent = budget::may_order(order, self.issuer, &self.seen.ledger, self.now).err()?;
            Some(Wait { until: Some(spent.until), why: Why::Budget(spent.why) })
        };
        // Validated already: nothing that the budget is about can happen any more.
        let validated = self.resumable().is_some_and(|order| VALIDATED.contains(&order.stage));
        let budget = if validated { None } else { budget() };
        let barriers = [self.told_to_wait(), budget, self.backing_off()];
        barriers.into_iter().flatten().max_by_key(|wait| wait.until)
    }

    /// The CA said when to come back. That of the rehearsal directory does not bind the real one.
    fn told_to_wait(&self) -> Option<Wait> {
        let last = self.last_failure()?;
        if last.rehearsal && !self.rehearses() {
            return None;
        }
        let lasts = crate::cert::span(last.at, last.retry_after?).min(LONGEST_RETRY_AFTER);
        let until = holds_until(last.at, lasts, self.now)?;
        let text = format!("the CA asked us to come back at {}: {}", date(until), last.text);
        Some(Wait { until: Some(until), why: Why::BackOff(text) })
    }

    /// The back-off of this wish, unless a person has asked since; past the emergency point an
    /// hour at most, whatever was written before.
    fn backing_off(&self) -> Option<Wait> {
        let backoff = &self.seen.state.backoff;
        let last = self.last_failure()?;
        let for_this = backoff.asked.as_ref().is_none_or(|asked| *asked == self.wish);
        let forced = self.seen.state.forced_at.is_some_and(|at| at > last.at);
        if !for_this || forced {
            return None;
        }
        let emergency_at = self.newest.map(|n| emergency_at(n.leaf.validity));
        let emergency = emergency_at.is_some_and(|at| at <= self.now);
        let longest = if emergency { HOUR } else { LONGEST_BACK_OFF };
        let lasts = crate::cert::span(last.at, backoff.retry_at?).min(longest);
        let mut until = holds_until(last.at, lasts, self.now)?;
        let text = format!(
            "try {} failed: {}; next try at {}",
            backoff.failures.max(1),
            last.text,
            date(until)
        );
        if let Some(at) = emergency_at.filter(|at| *at > self.now) {
            until = until.min(at);
        }
        Some(Wait { until: Some(until), why: Why::BackOff(text) })
    }

    /// The last failure, unless it was at another issuer.
    fn last_failure(&self) -> Option<&Failure> {
        let backoff = &self.seen.state.backoff;
        let here = backoff.asked.as_ref().is_none_or(|asked| asked.issuer == self.wish.issuer);
        backoff.last.as_ref().filter(|_| here)
    }

    /// Whether the names are tried at the rehearsal directory first: before the first order at this
    /// issuer, and after a failed validation. It must never cost a certificate: not past the
    /// emergency point or in the last 12 hours, not when it failed twice for reasons of its own,
    /// and not for an order that the CA has already.
    fn rehearses(&self) -> bool {
        let state = &self.seen.state;
        let newest = self.newest;
        let late = newest.is_some_and(|newest| {
            let validity = newest.leaf.validity;
            in_emergency(validity, self.now) || validity.left(self.now) < HOUR * 12
        });
        let begun = self.resumable().is_some_and(|order| order.sent);
        if self.issuer.rehearsal.is_none()
            || late
            || begun
            || self.last_failure().is_some() && state.backoff.rehearsals >= 2
        {
            return false;
        }
        let rehearsed_since = |moment: Timestamp| {
            // A moment in the future is older than any rehearsal: the clock went back.
            moment > self.now || state.rehearsed_at.is_some_and(|at| at > moment)
        };
        let failed = self.last_failure().is_some_and(|last| {
            last.class == FailureClass::Validation && !rehearsed_since(last.at)
        });
        let first = match newest {
            None => state.rehearsed_at.is_none(),
            Some(newest) => {
                !self.ours(newest)
                    && (state.rehearsed_at.is_none() || !rehearsed_since(newest.committed_at))
            }
        };
        failed || first
    }
}

/// What the configuration asks now that was not asked for this revision. What the CA answered
/// instead is no reason to ask again; a revision from outside has to cover the names.
fn changed(newest: &Revision, wish: &Asked) -> Option<String> {
    let Some(asked) = &newest.asked else {
        let missing: BTreeSet<&Identifier> = wish
            .identifiers
            .iter()
            .filter(|name| !newest.leaf.identifiers.iter().any(|held| held.covers(name)))
            .collect();
        return (!missing.is_empty()).then(|| format!("the names {}, too", list(missing)));
    };
    let mut what = Vec::new();
    if asked.identifiers != wish.identifiers {
        what.push(format!("the names {}", list(wish.identifiers.iter())));
    }
    if asked.key != wish.key {
        what.push(format!("a key of kind {}", wish.key));
    }
    if asked.issuer != wish.issuer {
        what.push(format!("the issuer {}", wish.issuer));
    }
    if asked.profile != wish.profile {
        what.push(match &wish.profile {
            Some(profile) => format!("the profile {profile}"),
            None => "no profile".to_owned(),
        });
    }
    (!what.is_empty()).then(|| what.join(" and "))
}

fn list<'a>(names: impl IntoIterator<Item = &'a Identifier>) -> String {
    names.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A certificate is not replaced just after it came, unless it was asked for: a CA whose advice is
/// always "now", or a clock that makes each new certificate look old, would have us order without
/// end.
fn rested_at(newest: &Revision, now: Timestamp) -> Timestamp {
    let rest = (newest.leaf.validity.lifetime() / 20).min(HOUR);
    holds_until(newest.committed_at, rest, now).unwrap_or(now)
}

/// Taken for the lifetime of a certificate while there is none.
const USUAL_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

/// [`crate::state::Stage::word`] of the stages after validation.
const VALIDATED: [&str; 3] = ["validated", "issued", "downloaded"];

#[cfg(test)]
mod tests;
