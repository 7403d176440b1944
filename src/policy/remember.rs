//! What a try leaves behind in the state: pure transitions, so that the daemon and the simulation
//! remember alike.

use std::time::Duration;

use jiff::Timestamp;

use super::schedule::{
    DAY, HOUR, LONGEST_RETRY_AFTER, MINUTE, Seed, WEEK, after, back_off, holds_until, in_emergency,
};
use crate::cert::Leaf;
use crate::state::{
    Ari, Asked, Backoff, CertState, Failure, FailureClass, Ledger, LedgerEntry, LedgerEvent,
    PairState,
};

/// A try failed. `held` is the newest certificate that there is.
///
/// A confirmation to go over the budget is spent by it; a failure for another wish starts a new
/// row. When the CA said when to come back, that is not a failure of this host: only the time is
/// kept.
pub fn failed(
    state: &CertState,
    failure: Failure,
    wish: &Asked,
    held: Option<&Leaf>,
    seed: &Seed,
    now: Timestamp,
) -> CertState {
    let before = if state.backoff.asked.as_ref() == Some(wish) {
        state.backoff.clone()
    } else {
        Backoff::default()
    };
    let told = failure.class == FailureClass::RateLimited && failure.retry_after.is_some();
    let failures = if told { before.failures } else { before.failures.saturating_add(1) };
    let rehearsals = match (failure.rehearsal, failure.class) {
        (true, FailureClass::Validation) => 0,
        (true, _) => before.rehearsals.saturating_add(1),
        (false, _) => before.rehearsals,
    };
    let left = held.map(|leaf| leaf.validity.left(now));
    let emergency = held.is_some_and(|leaf| in_emergency(leaf.validity, now));
    let fraction = seed.fraction(&["retry", &wish_text(wish), &now.to_string()]);
    let own = after(now, back_off(failure.class, failures.max(1), left, emergency, fraction));
    let retry_at = match failure.retry_after.map(|t| t.min(after(now, LONGEST_RETRY_AFTER))) {
        Some(floor) if told => floor,
        Some(floor) => own.max(floor),
        None => own,
    };
    CertState {
        backoff: Backoff {
            failures,
            since: before.since.or(Some(failure.at)),
            last: Some(failure),
            retry_at: Some(retry_at),
            asked: Some(wish.clone()),
            rehearsals,
        },
        over_budget: false,
        ..state.clone()
    }
}

fn wish_text(wish: &Asked) -> String {
    let names: Vec<String> = wish.identifiers.iter().map(ToString::to_string).collect();
    format!("{} {}", wish.issuer, names.join(" "))
}

/// The rehearsal succeeded: the real order follows.
pub fn rehearsed(state: &CertState, now: Timestamp) -> CertState {
    let mut state = state.clone();
    state.rehearsed_at = Some(now);
    state.backoff.rehearsals = 0;
    state
}

/// A certificate was committed: wishes are met, failures forgotten.
pub fn issued(state: &CertState) -> CertState {
    CertState {
        backoff: Backoff::default(),
        ari: None,
        forced_at: None,
        over_budget: false,
        without_replaces: None,
        ..state.clone()
    }
}

/// The CA answered the question for renewal information.
pub fn advised(state: &CertState, ari: Ari) -> CertState {
    CertState { ari: Some(ari), ..state.clone() }
}

/// The CA offers no renewal information, or the question failed: asked again after `again` (6 h
/// for what will not heal by itself, a minute at least). A window that we have for this
/// certificate stays.
pub fn unadvised(state: &CertState, cert_id: &str, again: Duration, now: Timestamp) -> CertState {
    let kept = state.ari.clone().filter(|ari| ari.cert_id == cert_id);
    let (window, explanation) = kept.map_or((None, None), |ari| (ari.window, ari.explanation));
    let ari = Ari {
        cert_id: cert_id.to_owned(),
        window,
        explanation,
        asked_at: now,
        ask_again_at: after(now, again),
    };
    CertState { ari: Some(ari), ..state.clone() }
}

/// A deployment could not even begin: tried again after 1 min, 10 min, then hourly. A person's
/// wish is spent by it.
pub fn put_off(pair: &PairState, problem: String, now: Timestamp) -> PairState {
    let failures = pair.failures.saturating_add(1);
    let pause = match failures {
        1 => MINUTE,
        2 => MINUTE * 10,
        _ => HOUR,
    };
    PairState {
        failures,
        retry_at: Some(after(now, pause)),
        problem: Some(problem),
        forced: false,
        ..pair.clone()
    }
}

/// Something happened at the issuer. Entries that can no longer count are dropped: after 8 days,
/// and those of a future that is further ahead than any limit.
pub fn entered(ledger: &Ledger, event: LedgerEvent, now: Timestamp) -> Ledger {
    let mut ledger = ledger.clone();
    ledger.entries.retain(|entry| holds_until(entry.at, WEEK + DAY, now).is_some());
    ledger.entries.push(LedgerEntry { at: now, event });
    ledger
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::plan;
    use crate::policy::samples::{at, day, failure, issuer, leaf, name, seed, spec};

    fn wish() -> Asked {
        plan::wish(&spec(), &issuer())
    }

    fn after_failure(state: &CertState, failure: Failure) -> CertState {
        let held = leaf("pbx.example", 1, day(-60.0), DAY * 90);
        let now = failure.at;
        failed(state, failure, &wish(), Some(&held), &seed(), now)
    }

    fn wait(state: &CertState) -> f64 {
        let from = state.backoff.last.as_ref().unwrap().at;
        crate::cert::span(from, state.backoff.retry_at.unwrap()).as_secs_f64()
    }

    #[test]
    fn failures_in_a_row_wait_longer_and_success_forgets_them() {
        let mut state = CertState { forced_at: Some(at(0)), ..CertState::default() };
        for expected in [60.0, 600.0, 6000.0, 86_400.0, 86_400.0] {
            state = after_failure(&state, failure(FailureClass::Transient, at(0)));
            let wait = wait(&state);
            assert!((wait / expected - 1.0).abs() <= 0.1, "{wait} is not about {expected}");
            assert!((wait - expected).abs() > 1e-6, "no jitter");
        }
        assert_eq!(state.backoff.failures, 5);
        let state = issued(&state);
        assert_eq!((state.backoff, state.forced_at), (Backoff::default(), None));
    }

    #[test]
    fn another_wish_starts_a_new_row() {
        let mut state = CertState::default();
        for _ in 0..4 {
            state = after_failure(&state, failure(FailureClass::Transient, at(0)));
        }
        let mut other = wish();
        other.identifiers.insert(name("sip.example"));
        let last = failure(FailureClass::Transient, at(0));
        let state = failed(&state, last, &other, None, &seed(), at(0));
        assert_eq!(state.backoff.failures, 1);
        assert!(wait(&state) < 70.0);
    }

    #[test]
    fn the_ca_may_make_us_wait_longer_but_not_for_years() {
        let told = |class, seconds| {
            let retry_after = Some(after(at(0), Duration::from_secs(seconds)));
            after_failure(&CertState::default(), Failure { retry_after, ..failure(class, at(0)) })
        };
        assert!((wait(&told(FailureClass::Transient, 7200)) - 7200.0).abs() < 1.0);
        assert!(wait(&told(FailureClass::Transient, 1)) > 50.0, "a floor, no ceiling");
        assert!((wait(&told(FailureClass::Transient, 1 << 33)) - WEEK.as_secs_f64()).abs() < 1.0);
        let limited = told(FailureClass::RateLimited, 5400);
        assert!((wait(&limited) - 5400.0).abs() < 1.0);
        assert_eq!(limited.backoff.failures, 0, "not a failure of this host");
    }

    #[test]
    fn a_confirmation_is_for_one_try() {
        let state = CertState { over_budget: true, forced_at: Some(at(0)), ..CertState::default() };
        let state = after_failure(&state, failure(FailureClass::Transient, at(1)));
        assert_eq!((state.over_budget, state.forced_at), (false, Some(at(0))));
    }

    #[test]
    fn a_window_survives_a_question_that_failed_but_not_another_certificate() {
        let ari = Ari {
            cert_id: "a.b".to_owned(),
            window: Some(crate::state::Window { start: day(1.0), end: day(2.0) }),
            explanation: None,
            asked_at: at(0),
            ask_again_at: at(3600),
        };
        let state = advised(&CertState::default(), ari.clone());
        let again = unadvised(&state, "a.b", HOUR * 6, at(3600)).ari.unwrap();
        assert_eq!((again.window, again.ask_again_at), (ari.window, at(7 * 3600)));
        assert_eq!(unadvised(&state, "c.d", MINUTE, at(0)).ari.unwrap().window, None);
        assert_eq!(issued(&state).ari, None);
    }

    #[test]
    fn the_ledger_keeps_eight_days_and_no_far_future() {
        let event = || LedgerEvent::ValidationFailed { identifier: name("a.example") };
        let mut ledger = Ledger::default();
        for d in [0.0, 1.0, 4000.0] {
            ledger = entered(&ledger, event(), day(d));
        }
        let ledger = entered(&ledger, event(), day(8.5));
        let kept: Vec<Timestamp> = ledger.entries.iter().map(|entry| entry.at).collect();
        assert_eq!(kept, [day(8.5)], "the jump to day 4000 dropped the first two");
        let ledger = entered(&entered(&Ledger::default(), event(), day(1.0)), event(), day(8.5));
        assert_eq!(ledger.entries.len(), 2);
    }
}
