use std::time::Duration;

use super::*;
use crate::config::IssuerSpec;
use crate::policy::plan::{Reason, next};
use crate::policy::reach::{self, Heard, Hysteresis};
use crate::policy::remember;
use crate::policy::samples::{day, issuer, name, revision, seed, spec};
use crate::policy::schedule::{HOUR, after};
use crate::state::{LedgerEvent, Observed};

fn uploaded(days: u32) -> Revision {
    Revision { asked: None, ..revision(1, day(0.0), DAY * days) }
}

/// The CA looked at that time, with that outcome.
fn looked(mut seen: Observed, reaches: bool, now: Timestamp) -> Observed {
    let evidence = match reaches {
        true => reach::came_through(&issuer(), false, now),
        false => {
            let problem = ("connection", "timeout");
            reach::seen_by_ca(&issuer(), false, &name("pbx.example"), problem, now).unwrap()
        }
    };
    let newest = seen.newest.as_ref();
    let heard = Heard::Found(evidence);
    let slowly = Hysteresis::default();
    seen.state = reach::heard(&spec(), &seen.state, newest, heard, slowly, now).0;
    seen
}

/// Manual mode since `from` + 1 day, with this certificate.
fn manual(newest: Revision, from: f64) -> Observed {
    let seen = Observed { newest: Some(newest), ..Observed::default() };
    let seen = looked(looked(seen, false, day(from)), false, day(from + 1.0));
    assert!(seen.state.mode.is_manual());
    seen
}

fn step(seen: &Observed, now: Timestamp) -> Action {
    step_at(&issuer(), seen, now)
}

fn step_at(issuer: &IssuerSpec, seen: &Observed, now: Timestamp) -> Action {
    // The question for advice is out of the way.
    let mut seen = seen.clone();
    if let Some(id) = seen.newest.as_ref().and_then(|newest| newest.leaf.cert_id()) {
        seen.state = remember::unadvised(&seen.state, &id, DAY, now);
    }
    next(&spec(), issuer, &seen, &seed(), now)
}

fn until(action: &Action) -> f64 {
    let Action::Wait(wait) = action else { panic!("{action:?}") };
    crate::cert::span(day(0.0), wait.until.unwrap()).as_secs_f64() / 86_400.0
}

#[test]
fn the_ca_takes_over_at_an_eighth_or_14_days_whichever_is_later() {
    for (days, expected) in [(90, 78.75), (200, 186.0), (365, 351.0), (30, 26.25)] {
        let at = take_over_at(&spec(), &uploaded(days)).unwrap();
        assert_eq!(at, day(expected), "{days} days");
    }
    assert_eq!(take_over_at(&spec(), &revision(1, day(0.0), DAY * 90)), None, "the CA's own");
    let acme = CertSpec { source: Source::Acme, ..spec() };
    assert_eq!(take_over_at(&acme, &uploaded(90)), None);
}

#[test]
fn manual_mode_orders_nothing_and_tries_the_ca_daily() {
    let seen = manual(revision(1, day(0.0), DAY * 90), 62.0);
    let action = step(&seen, day(63.1));
    // A day later, a tenth of it as spread, and never more than an eighth of the life left.
    assert!((64.0..64.2).contains(&until(&action)), "{action:?}");
    let Action::Wait(Wait { why: Why::Person(text), .. }) = &action else { panic!("{action:?}") };
    assert!(text.starts_with("manual mode since 2027-01-25 12:00 UTC: the CA at ca.example"));
    assert!(text.contains("upload a certificate; the CA is tried again at 2027-01-26"), "{text}");
    assert_eq!(step(&seen, day(64.2)), Action::Probe);
}

#[test]
fn one_success_has_what_is_due_ordered_at_once() {
    let seen = manual(revision(1, day(0.0), DAY * 90), 62.0);
    let seen = looked(seen, true, day(64.2));
    assert!(seen.state.mode.is_manual(), "one word is not enough for the mode");
    assert!(matches!(step(&seen, day(64.2)), Action::Issue { reason: Reason::Lifetime, .. }));
    let refused = looked(seen, false, day(64.3));
    assert!(matches!(step(&refused, day(64.3)), Action::Wait(_)));
}

#[test]
fn an_uploaded_certificate_serves_until_the_ca_takes_over() {
    let seen = looked(manual(uploaded(90), 1.0), true, day(5.0));
    let action = step(&seen, day(5.0));
    assert!((5.25..5.30).contains(&until(&action)), "the second word: {action:?}");
    assert_eq!(step(&seen, day(5.3)), Action::Probe);
    let seen = looked(seen, true, day(5.3));
    assert!(!seen.state.mode.is_manual());
    let action = step(&seen, day(5.3));
    let Action::Wait(Wait { until: Some(at), why: Why::NotDue(text) }) = &action else {
        panic!("{action:?}");
    };
    assert!(text.contains("the uploaded certificate nears its end"), "{text}");
    assert_eq!(*at, day(78.75));
    let Action::Issue { reason, .. } = step(&seen, day(78.8)) else { panic!("not taken over") };
    assert_eq!(reason, Reason::TakeOver);
}

#[test]
fn a_probe_at_the_ca_itself_keeps_its_budget_and_one_at_the_rehearsal_needs_none() {
    let mut seen = manual(revision(1, day(0.0), DAY * 90), 62.0);
    for minute in 0..2 {
        let at = after(day(64.2), Duration::from_secs(minute * 60));
        let event = LedgerEvent::ValidationFailed { identifier: name("pbx.example") };
        seen.ledger = remember::entered(&seen.ledger, event, at);
    }
    let now = after(day(64.2), HOUR / 2);
    let action = step(&seen, now);
    assert!(until(&action) > 64.2 + 1.0 / 24.0 - 0.001, "{action:?}");
    let rehearsing = IssuerSpec { rehearsal: Some("https://staging.example".into()), ..issuer() };
    assert_eq!(step_at(&rehearsing, &seen, now), Action::Probe);
}

#[test]
fn near_the_end_or_by_hand_the_mode_holds_nothing_back() {
    let seen = manual(revision(1, day(0.0), DAY * 90), 62.0);
    let action = step(&seen, day(85.6));
    assert!(matches!(action, Action::Issue { reason: Reason::Emergency, .. }), "{action:?}");
    let expired = step(&seen, day(91.0));
    assert!(matches!(expired, Action::Issue { reason: Reason::Expired, .. }), "{expired:?}");
    let mut forced = seen.clone();
    forced.state.forced_at = Some(day(63.1));
    let action = step(&forced, day(63.2));
    assert!(matches!(action, Action::Issue { reason: Reason::Forced, .. }), "{action:?}");
    let short = manual(revision(1, day(0.0), DAY * 6), 3.0);
    assert!(matches!(step(&short, day(4.1)), Action::Issue { .. }));
    // The wait never goes past the emergency point.
    let late = looked(seen, false, day(85.0));
    assert!(until(&step(&late, day(85.1))) <= 85.5);
}

#[test]
fn a_clock_that_was_ahead_puts_off_no_probe() {
    let seen = manual(revision(1, day(0.0), DAY * 90), 62.0);
    let seen = looked(seen, false, day(4000.0));
    assert_eq!(step(&seen, day(64.2)), Action::Probe);
}
