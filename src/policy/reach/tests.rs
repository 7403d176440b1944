use proptest::prelude::*;

use super::*;
use crate::policy::plan::{self, Action};
use crate::policy::samples::{at, cases, day, issuer, name, revision, seed, spec};
use crate::policy::schedule::{HOUR, MINUTE, before};
use crate::state::Observed;

const SLOWLY: Hysteresis = Hysteresis { apart: Duration::from_secs(6 * 3600) };

fn found(witness: Witness, reaches: bool, at: Timestamp) -> Evidence {
    let reason = format!("{witness:?} says {reaches}");
    Evidence { at, witness, reaches, kind: "connection".to_owned(), reason }
}

fn hours(hours: f64) -> Timestamp {
    at((hours * 3600.0) as i64)
}

/// The beliefs after each finding, with a certificate that serves.
fn beliefs(findings: &[(Witness, bool, f64)]) -> Vec<Reach> {
    let mut state = ReachState::default();
    let judged = findings.iter().map(|(witness, reaches, time)| {
        let now = hours(*time);
        state = judge(&state, found(*witness, *reaches, now), true, SLOWLY, now);
        state.verdict
    });
    judged.collect()
}

use Reach::{Reachable as Yes, Unknown, Unreachable as No};
use Witness::{Ca, Local, Rehearsal};

#[test]
fn two_agreeing_findings_six_hours_apart_change_the_belief() {
    for (findings, expected) in [
        (vec![(Ca, false, 0.0), (Ca, false, 5.9)], vec![Unknown, Unknown]),
        (vec![(Ca, false, 0.0), (Ca, false, 6.0)], vec![Unknown, No]),
        (vec![(Ca, false, 0.0), (Rehearsal, false, 6.0)], vec![Unknown, No]),
        (vec![(Ca, true, 0.0), (Ca, true, 6.0)], vec![Unknown, Yes]),
        // Disagreement in between begins a new row.
        (
            vec![(Ca, false, 0.0), (Ca, true, 3.0), (Ca, false, 6.0), (Ca, false, 9.0)],
            vec![Unknown, Unknown, Unknown, Unknown],
        ),
        // What is weaker does not disagree.
        (
            vec![(Ca, false, 0.0), (Rehearsal, true, 3.0), (Ca, false, 6.0)],
            vec![Unknown, Unknown, No],
        ),
        // A row is no longer than a month.
        (vec![(Ca, false, 0.0), (Ca, false, 24.0 * 31.0)], vec![Unknown, Unknown]),
        // Hints alone are enough where no CA has ever looked ...
        (vec![(Local, false, 0.0), (Local, false, 7.0)], vec![Unknown, No]),
        // ... but not against the word of one within a week.
        (
            vec![(Ca, true, 0.0), (Ca, true, 7.0), (Local, false, 8.0), (Local, false, 20.0)],
            vec![Unknown, Yes, Yes, Yes],
        ),
        (
            vec![(Ca, true, 0.0), (Ca, true, 7.0), (Local, false, 8.0), (Local, false, 200.0)],
            vec![Unknown, Yes, Yes, No],
        ),
        (
            vec![
                (Ca, true, 0.0),
                (Ca, true, 6.0),
                (Rehearsal, false, 7.0),
                (Rehearsal, false, 14.0),
            ],
            vec![Unknown, Yes, Yes, Yes],
        ),
    ] {
        assert_eq!(beliefs(&findings), expected, "{findings:?}");
    }
}

#[test]
fn the_reason_is_the_newest_that_agrees_and_the_time_that_of_the_change() {
    let mut state = ReachState::default();
    for (hour, reaches) in [(0.0, false), (6.0, false), (30.0, false), (31.0, true)] {
        let mut evidence = found(Ca, reaches, hours(hour));
        evidence.reason = format!("at {hour}");
        state = judge(&state, evidence, true, SLOWLY, hours(hour));
    }
    assert_eq!((state.verdict, state.reason.as_str()), (No, "at 30"));
    assert_eq!(state.since, Some(hours(6.0)));
    assert_eq!(state.ask_again_at, Some(hours(37.0)), "the second word after six hours");
}

#[test]
fn without_a_certificate_one_finding_is_enough_and_an_issued_one_always_is() {
    let now = hours(0.0);
    let state = CertState::default();
    let refused = Heard::Found(found(Ca, false, now));
    let (state, switch) = heard(&spec(), &state, None, refused, SLOWLY, now);
    let text = switch.unwrap().text;
    assert_eq!(text, "manual from now on: Ca says false");
    assert_eq!(state.mode, Mode::Manual { since: now, reason: "Ca says false".to_owned() });

    let newest = revision(1, now, DAY * 90);
    let issued = Heard::Issued(found(Ca, true, hours(1.0)));
    let (state, switch) = heard(&spec(), &state, Some(&newest), issued, SLOWLY, hours(1.0));
    assert_eq!(switch.unwrap().text, "automatic again: Ca says true");
    assert_eq!((state.mode, state.reach.verdict), (Mode::Automatic, Yes));
}

#[test]
fn hints_are_kept_beside_the_word_of_a_ca_and_change_nothing() {
    let newest = revision(1, day(-70.0), DAY * 90);
    let mut state = CertState::default();
    for hour in [0.0, 10.0, 20.0] {
        let hint = Heard::Hint(found(Local, false, hours(hour)));
        (state, _) = heard(&spec(), &state, Some(&newest), hint, SLOWLY, hours(hour));
    }
    assert_eq!((state.reach.verdict, state.reach.evidence.len()), (Unknown, 2));
    assert_eq!(state.reach.asked_at, None);
}

#[test]
fn only_a_source_that_may_be_either_has_a_manual_mode() {
    let other = CertSpec { source: Source::Acme, ..spec() };
    let now = hours(0.0);
    let refused = Heard::Found(found(Ca, false, now));
    let (state, switch) = heard(&other, &CertState::default(), None, refused, SLOWLY, now);
    assert_eq!((state.mode, switch), (Mode::Automatic, None));
    assert_eq!(state.reach.verdict, No, "it is known all the same");
}

#[test]
fn other_names_are_another_question() {
    let (refused, now) = (Heard::Found(found(Ca, false, hours(0.0))), hours(0.0));
    let (state, _) = heard(&spec(), &CertState::default(), None, refused, SLOWLY, now);
    assert!(state.mode.is_manual());
    let newest = revision(1, day(-70.0), DAY * 90);
    let mut other = spec();
    other.identifiers.push(name("sip.example"));
    let seen = Observed { newest: Some(newest.clone()), state, ..Observed::default() };
    let action = plan::next(&spec(), &issuer(), &seen, &seed(), hours(1.0));
    assert!(matches!(action, Action::AskRenewalInfo), "{action:?}");
    let waits = asked(seen.clone(), hours(1.0));
    let action = plan::next(&spec(), &issuer(), &waits, &seed(), hours(1.0));
    assert!(matches!(action, Action::Wait(_)), "held back: {action:?}");
    let action = plan::next(&other, &issuer(), &waits, &seed(), hours(1.0));
    assert!(matches!(action, Action::Issue { .. }), "{action:?}");
}

/// The question for advice is out of the way.
fn asked(mut seen: Observed, now: Timestamp) -> Observed {
    let cert_id = seen.newest.as_ref().unwrap().leaf.cert_id().unwrap();
    seen.state = crate::policy::remember::unadvised(&seen.state, &cert_id, DAY, now);
    seen
}

#[test]
fn each_kind_of_problem_has_words_and_others_tell_nothing() {
    let issuer = IssuerSpec {
        directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
        ..issuer()
    };
    let words = |kind| {
        let problem = (kind, "Timeout during connect");
        let name = name("pbx.hotelpost.at");
        seen_by_ca(&issuer, false, &name, problem, at(0)).map(|found| found.reason)
    };
    assert_eq!(
        words("connection").unwrap(),
        "Let's Encrypt cannot open http://pbx.hotelpost.at/ from outside (\"Timeout during \
         connect\")"
    );
    for kind in ["dns", "unauthorized", "incorrectResponse", "tls", "caa"] {
        assert!(words(kind).unwrap().contains("Let's Encrypt"), "{kind}");
    }
    for kind in ["serverInternal", "rateLimited", "rejectedIdentifier", "accountDoesNotExist"] {
        assert_eq!(words(kind), None, "{kind}");
    }
}

#[test]
fn a_state_without_reach_is_read_and_one_with_it_survives_the_disk() {
    let old: CertState = serde_json::from_str("{\"schema\": 1}").unwrap();
    assert_eq!((old.reach, old.mode), (ReachState::default(), Mode::Automatic));
    let refused = Heard::Found(found(Ca, false, at(0)));
    let (state, _) = heard(&spec(), &CertState::default(), None, refused, SLOWLY, at(0));
    let text = serde_json::to_string(&state).unwrap();
    assert!(text.contains("\"mode\":{\"mode\":\"manual\","), "{text}");
    assert_eq!(serde_json::from_str::<CertState>(&text).unwrap(), state);
}

// ---------------------------------------------------------------- what may never happen

fn witness() -> impl Strategy<Value = Witness> {
    prop_oneof![Just(Local), Just(Rehearsal), Just(Ca)]
}

/// Minutes since the finding before, who, and what.
fn findings() -> impl Strategy<Value = Vec<(u32, Witness, bool)>> {
    proptest::collection::vec((0..2000_u32, witness(), any::<bool>()), 1..60)
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_change_is_always_backed_by_two_that_agree_and_the_memory_is_bounded(all in findings()) {
        let mut state = ReachState::default();
        let mut now = at(0);
        let mut told: Vec<Evidence> = Vec::new();
        for (minutes, witness, reaches) in all {
            now = after(now, MINUTE * minutes);
            let before = state.verdict;
            let evidence = found(witness, reaches, now);
            told.push(evidence.clone());
            state = judge(&state, evidence, true, SLOWLY, now);
            prop_assert!(state.evidence.len() <= ReachState::MOST);
            if state.verdict == before {
                continue;
            }
            prop_assert_eq!(state.verdict == Yes, reaches, "the newest decides");
            let backed = told.iter().any(|e| {
                e.reaches == reaches && span(e.at, now) >= SLOWLY.apart
            });
            prop_assert!(backed, "{told:#?}");
        }
    }

    #[test]
    fn a_way_that_flaps_faster_than_six_hours_never_changes_the_belief(
        minutes in proptest::collection::vec(1..359_u32, 2..80),
        first in any::<bool>(),
    ) {
        let mut state = ReachState::default();
        let mut now = at(0);
        for (n, minutes) in minutes.into_iter().enumerate() {
            now = after(now, MINUTE * minutes);
            let reaches = first == (n % 2 == 0);
            state = judge(&state, found(Ca, reaches, now), true, SLOWLY, now);
            prop_assert_eq!(state.verdict, Unknown);
        }
    }

    #[test]
    fn as_long_as_nothing_is_known_the_mode_is_automatic(
        failures in proptest::collection::vec(0..3000_u32, 1..40),
    ) {
        let newest = revision(1, day(-70.0), DAY * 90);
        let mut state = CertState::default();
        let mut now = at(0);
        for minutes in failures {
            now = after(now, MINUTE * minutes);
            let failure = crate::policy::samples::failure(
                crate::state::FailureClass::Transient, now,
            );
            let nothing = Heard::Nothing(&failure);
            let (next, switch) = heard(&spec(), &state, Some(&newest), nothing, SLOWLY, now);
            prop_assert_eq!(switch, None);
            prop_assert_eq!(&next.mode, &Mode::Automatic);
            state = next;
        }
    }

    /// Whatever was learned: near its end, or without a certificate, the CA is asked as ever.
    #[test]
    fn no_belief_holds_back_an_order_in_an_emergency(
        all in findings(), left in 0.0..0.05_f64, lives in any::<bool>(),
    ) {
        let lifetime = DAY * 90;
        let mut newest = revision(1, at(0), lifetime);
        newest.asked = newest.asked.filter(|_| left < 0.03);
        let now = before(newest.leaf.validity.not_after, lifetime.mul_f64(left));
        let newest = Some(newest).filter(|_| lives);
        let mut state = CertState::default();
        let mut time = before(now, HOUR * 24 * 25);
        for (minutes, witness, reaches) in all {
            time = after(time, MINUTE * minutes).min(now);
            let heard_now = Heard::Found(found(witness, reaches, time));
            state = heard(&spec(), &state, newest.as_ref(), heard_now, SLOWLY, time).0;
        }
        let seen = Observed { newest, state, ..Observed::default() };
        let action = plan::next(&spec(), &issuer(), &seen, &seed(), now);
        prop_assert!(matches!(action, Action::Issue { .. }), "{action:?}");
    }
}
