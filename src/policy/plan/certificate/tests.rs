use proptest::prelude::*;

use super::*;
use crate::policy::remember;
use crate::policy::samples::{at, cases, day, failure, issuer, name, revision, seed, spec};
use crate::policy::schedule::{MINUTE, WEEK, before};
use crate::state::{Ari, Backoff, CertState, Ledger, LedgerEntry, LedgerEvent, Time, Window};

/// A certificate of 90 days, issued on day 0; its CA gave no advice, and is asked again later.
fn held(now: Timestamp) -> Observed {
    let newest = revision(1, day(0.0), DAY * 90);
    let state =
        remember::unadvised(&CertState::default(), &newest.leaf.cert_id().unwrap(), HOUR * 6, now);
    Observed { newest: Some(newest), state, ..Observed::default() }
}

fn step(seen: &Observed, now: Timestamp) -> Action {
    next(&spec(), &issuer(), seen, &seed(), now)
}

fn issue(reason: Reason) -> Action {
    Action::Issue { reason, replaces: None, exempt: false }
}

fn waits(action: Action) -> Wait {
    let Action::Wait(wait) = action else { panic!("{action:?} instead of a wait") };
    wait
}

fn failed(seen: &mut Observed, class: FailureClass, times: u32, at: Timestamp) {
    let wish = wish(&spec(), &issuer());
    let leaf = seen.newest.as_ref().map(|newest| newest.leaf.clone());
    for _ in 0..times {
        let failure = failure(class, at);
        seen.state = remember::failed(&seen.state, failure, &wish, leaf.as_ref(), &seed(), at);
    }
}

fn window(seen: &mut Observed, start: Timestamp, end: Timestamp, now: Timestamp) {
    let ari = Ari {
        cert_id: seen.newest.as_ref().unwrap().leaf.cert_id().unwrap(),
        window: Some(Window { start, end }),
        explanation: None,
        asked_at: now,
        ask_again_at: after(now, HOUR * 6),
    };
    seen.state = remember::advised(&seen.state, ari);
}

// ---------------------------------------------------------------- what is due

#[test]
fn a_missing_certificate_is_ordered_at_once() {
    assert_eq!(step(&Observed::default(), at(0)), issue(Reason::Missing));
}

#[test]
fn what_may_be_a_copy_orders_nothing_while_more_than_a_sixth_is_left_and_then_all_the_same() {
    let copied = |now| {
        let seen = held(now);
        Observed { possible_copy: Some("the board changed".to_owned()), ..seen }
    };
    for now in [day(61.0), day(70.0), day(74.9)] {
        assert!(matches!(step(&held(now), now), Action::Issue { .. }));
        let wait = waits(step(&copied(now), now));
        assert_eq!(wait.until, Some(day(75.0)));
        let Why::Copy(text) = &wait.why else { panic!("{wait:?}") };
        assert!(text.contains("pbxcert identity keep") && text.contains("identity new --lab"));
    }
    assert!(matches!(step(&copied(day(75.1)), day(75.1)), Action::Issue { .. }));
    // Neither an order under way, which the other has too, nor a person's wish goes on.
    let now = day(20.0);
    let mut seen = copied(now);
    seen.state.forced_at = Some(now);
    assert!(matches!(waits(step(&seen, now)).why, Why::Copy(_)));
    seen.order = Some(under_way(day(19.0)));
    assert!(matches!(waits(step(&seen, now)).why, Why::Copy(_)));
    // Before anything is due it waits as ever, and without a certificate nothing is held up.
    assert!(matches!(waits(step(&copied(day(10.0)), day(10.0))).why, Why::NotDue(_)));
    let nothing = Observed { possible_copy: Some(String::new()), ..Observed::default() };
    assert_eq!(step(&nothing, at(0)), issue(Reason::Missing));
}

#[test]
fn a_certificate_of_90_days_is_due_on_day_60_and_not_before() {
    let wait = waits(step(&held(day(59.0)), day(59.0)));
    assert!(wait.until.unwrap() <= day(59.25), "the CA is asked every 6 hours: {wait:?}");
    let Why::NotDue(text) = wait.why else { panic!("{:?}", wait.why) };
    assert!(text.starts_with("renewal at 2027-01-2"), "{text}");
    assert_eq!(step(&held(day(60.9)), day(60.9)), issue(Reason::Lifetime));
}

#[test]
fn advice_is_asked_for_right_after_issuing_and_again_at_its_time_but_not_of_the_dead() {
    let mut seen = held(day(1.0));
    assert!(matches!(step(&seen, day(1.2)), Action::Wait(_)));
    assert_eq!(step(&seen, day(1.25)), Action::AskRenewalInfo);
    seen.state.ari = None;
    assert_eq!(step(&seen, day(0.0)), Action::AskRenewalInfo);
    seen.state.ari.clone_from(&held(day(0.0)).state.ari);
    seen.state.ari.as_mut().unwrap().cert_id = "AA.AA".to_owned();
    assert_eq!(step(&seen, day(0.0)), Action::AskRenewalInfo, "advice about another certificate");
    assert_eq!(step(&seen, day(91.0)), issue(Reason::Expired));
    seen.newest.as_mut().unwrap().asked.as_mut().unwrap().issuer = "other".to_owned();
    assert!(!matches!(step(&seen, day(0.0)), Action::AskRenewalInfo), "not this CA's certificate");
}

#[test]
fn the_ca_can_ask_for_an_earlier_renewal_which_names_its_predecessor_and_is_exempt() {
    let mut seen = held(day(20.0));
    window(&mut seen, day(19.9), day(20.1), day(20.0));
    let id = seen.state.ari.as_ref().unwrap().cert_id.clone();
    // Somewhere in the window the pick lies behind us.
    let almost = before(day(20.1), MINUTE);
    let expected =
        |exempt| Action::Issue { reason: Reason::RenewalInfo, replaces: Some(id.clone()), exempt };
    assert_eq!(step(&seen, almost), expected(true));
    // A window in the past (revoked, incident) is now, but not exempt.
    assert_eq!(step(&seen, day(20.2)), expected(false));
    seen.state.without_replaces = Some(id.clone());
    assert_eq!(step(&seen, almost), issue(Reason::RenewalInfo), "nor exempt without its name");
}

#[test]
fn what_the_configuration_asks_now_is_compared_with_what_was_asked() {
    let seen = held(day(1.0));
    let changed =
        |spec: &CertSpec, issuer: &IssuerSpec| match next(spec, issuer, &seen, &seed(), day(1.0)) {
            Action::Issue { reason: Reason::Changed(what), .. } => what,
            other => format!("{other:?}"),
        };
    let mut two = spec();
    two.identifiers.push(name("sip.example"));
    assert_eq!(changed(&two, &issuer()), "the names pbx.example, sip.example");
    let mut ecdsa = spec();
    ecdsa.key = crate::cert::KeyType::EcdsaP256;
    assert_eq!(changed(&ecdsa, &issuer()), "a key of kind ecdsa-p256");
    let short = IssuerSpec { profile: Some("shortlived".to_owned()), ..issuer() };
    assert_eq!(changed(&spec(), &short), "the profile shortlived");
    let other = IssuerSpec { name: "zerossl".to_owned(), ..issuer() };
    assert_eq!(changed(&spec(), &other), "the issuer zerossl");
}

#[test]
fn another_order_of_names_or_another_answer_of_the_ca_is_no_change() {
    let mut seen = held(day(1.0));
    let mut spec = spec();
    spec.identifiers = vec![name("sip.example"), name("pbx.example")];
    let asked = &mut seen.newest.as_mut().unwrap().asked;
    asked.as_mut().unwrap().identifiers = spec.identifiers.iter().rev().cloned().collect();
    // The leaf has one of the names only, and a key of another kind.
    seen.newest.as_mut().unwrap().leaf.key = None;
    assert!(matches!(next(&spec, &issuer(), &seen, &seed(), day(1.0)), Action::Wait(_)));
}

#[test]
fn a_certificate_from_outside_has_to_cover_the_names() {
    let mut seen = held(day(1.0));
    seen.newest.as_mut().unwrap().asked = None;
    assert!(matches!(step(&seen, day(1.0)), Action::Wait(_)));
    let mut spec = spec();
    spec.identifiers.push(name("sip.example"));
    let action = next(&spec, &issuer(), &seen, &seed(), day(1.0));
    assert_eq!(action, issue(Reason::Changed("the names sip.example, too".to_owned())));
}

#[test]
fn a_wish_by_hand_is_met_once() {
    let mut seen = held(day(1.0));
    seen.state.forced_at = Some(day(1.0));
    assert_eq!(step(&seen, day(1.0)), issue(Reason::Forced));
    // The crash came between the revision and the note that the wish is met.
    seen.state.forced_at = Some(day(-0.1));
    assert!(matches!(step(&seen, day(1.0)), Action::Wait(_)));
}

#[test]
fn a_new_certificate_rests_an_hour_whatever_the_ca_suggests() {
    let mut seen = held(day(0.0));
    window(&mut seen, day(-0.2), day(-0.1), day(0.0));
    let wait = waits(step(&seen, at(60)));
    assert_eq!(wait.until, Some(at(3600)));
    assert!(matches!(step(&seen, at(3600)), Action::Issue { reason: Reason::RenewalInfo, .. }));
}

// ---------------------------------------------------------------- an order under way

fn under_way(started_at: Timestamp) -> OrderSeen {
    OrderSeen {
        asked: wish(&spec(), &issuer()),
        goal: Goal::Certificate,
        stage: "ordered",
        sent: true,
        started_at,
    }
}

#[test]
fn an_order_under_way_is_gone_on_with_without_rehearsal_or_a_new_certificate_in_the_budget() {
    let mut seen = held(day(30.0));
    let issuer = IssuerSpec { rehearsal: Some("https://staging.example".to_owned()), ..issuer() };
    seen.order = Some(under_way(day(29.9)));
    let identifiers = wish(&spec(), &issuer).identifiers;
    for d in [29.0, 29.1, 29.2] {
        let event = LedgerEvent::Issued { identifiers: identifiers.clone(), exempt: false };
        seen.ledger.entries.push(LedgerEntry { at: day(d), event });
    }
    let step = |seen: &Observed| next(&spec(), &issuer, seen, &seed(), day(30.0));
    assert_eq!(step(&seen), issue(Reason::UnderWay));
    seen.state.forced_at = Some(day(30.0));
    assert_eq!(step(&seen), issue(Reason::Forced));
    seen.order.as_mut().unwrap().sent = false;
    assert!(matches!(waits(step(&seen)).why, Why::Budget(_)));
    // One that has led to the newest revision is no reason for another.
    seen.state.forced_at = None;
    seen.order = Some(under_way(day(-0.1)));
    assert!(matches!(waits(step(&seen)).why, Why::NotDue(_)));
}

#[test]
fn an_order_that_was_validated_needs_no_budget() {
    let mut seen = Observed { order: Some(under_way(at(0))), ..Observed::default() };
    for _ in 0..2 {
        let event = LedgerEvent::ValidationFailed { identifier: name("pbx.example") };
        seen.ledger.entries.push(LedgerEntry { at: at(0), event });
    }
    assert!(matches!(waits(step(&seen, at(60))).why, Why::Budget(_)));
    seen.order.as_mut().unwrap().stage =
        crate::state::Stage::Finalizing { url: String::new() }.word();
    assert_eq!(step(&seen, at(60)), issue(Reason::Missing));
}

#[test]
fn the_words_for_validated_orders_are_those_of_the_stages() {
    use crate::state::Stage;

    let (url, certificate, chain) = (String::new(), String::new(), String::new());
    let stages = [
        Stage::Finalizing { url: url.clone() },
        Stage::Issued { url, certificate: certificate.clone() },
        Stage::Downloaded { certificate, chain },
    ];
    assert_eq!(stages.map(|stage| stage.word()), VALIDATED);
}

#[test]
fn an_order_for_an_older_wish_or_of_last_week_is_not_resumed() {
    let order = under_way(at(0));
    let wish = wish(&spec(), &issuer());
    assert!(resumes(&order, &wish, Goal::Certificate, day(6.9)));
    assert!(resumes(&order, &wish, Goal::Certificate, day(-4000.0)), "the clock went back");
    assert!(!resumes(&order, &wish, Goal::Certificate, day(7.0)));
    assert!(!resumes(&order, &wish, Goal::Rehearsal, at(0)));
    let other = Asked { profile: Some("shortlived".to_owned()), ..wish };
    assert!(!resumes(&order, &other, Goal::Certificate, at(0)));
    let mut seen = held(day(30.0));
    seen.order = Some(OrderSeen { asked: other, ..under_way(day(30.0)) });
    assert!(matches!(step(&seen, day(30.0)), Action::Wait(_)));
}

// ---------------------------------------------------------------- rehearsal

fn rehearsing() -> IssuerSpec {
    IssuerSpec { rehearsal: Some("https://staging.example".to_owned()), ..issuer() }
}

#[test]
fn the_first_order_at_an_issuer_is_rehearsed_once() {
    let mut seen = Observed::default();
    let step = |seen: &Observed| next(&spec(), &rehearsing(), seen, &seed(), at(60));
    assert_eq!(step(&seen), Action::Rehearse(Reason::Missing));
    seen.state = remember::rehearsed(&seen.state, at(0));
    assert_eq!(step(&seen), issue(Reason::Missing));
    let seen = held(day(61.0));
    let renewal = next(&spec(), &rehearsing(), &seen, &seed(), day(61.0));
    assert_eq!(renewal, issue(Reason::Lifetime), "this CA has issued before");
    let mut moved = held(day(1.0));
    moved.newest.as_mut().unwrap().asked.as_mut().unwrap().issuer = "zerossl".to_owned();
    let step = |seen: &Observed| next(&spec(), &rehearsing(), seen, &seed(), day(1.0));
    assert!(matches!(step(&moved), Action::Rehearse(Reason::Changed(_))));
    moved.state = remember::rehearsed(&moved.state, day(0.9));
    assert!(matches!(step(&moved), Action::Issue { reason: Reason::Changed(_), .. }));
}

#[test]
fn a_failed_validation_is_rehearsed_before_the_next_try_but_never_in_an_emergency() {
    let mut seen = held(day(61.0));
    failed(&mut seen, FailureClass::Validation, 1, day(61.0));
    let later = after(day(61.0), MINUTE * 2);
    let step = |seen: &Observed, now| next(&spec(), &rehearsing(), seen, &seed(), now);
    assert_eq!(step(&seen, later), Action::Rehearse(Reason::Lifetime));
    let mut rehearsed = seen.clone();
    rehearsed.state = remember::rehearsed(&seen.state, later);
    assert_eq!(step(&rehearsed, later), issue(Reason::Lifetime));
    assert_eq!(step(&seen, day(86.0)), issue(Reason::Emergency));
    // From a future that is no more: no reason to rehearse for ever.
    seen.state.backoff.last.as_mut().unwrap().at = day(4000.0);
    assert_eq!(step(&seen, later), issue(Reason::Lifetime));
}

#[test]
fn a_rehearsal_that_fails_twice_for_reasons_of_its_own_is_left_out() {
    let wish = wish(&spec(), &rehearsing());
    let mut state = CertState::default();
    let fail = |state: &CertState, class| {
        let rehearsal = Failure { rehearsal: true, ..failure(class, at(0)) };
        remember::failed(state, rehearsal, &wish, None, &seed(), at(0))
    };
    let step = |state: &CertState| {
        let seen = Observed { state: state.clone(), ..Observed::default() };
        next(&spec(), &rehearsing(), &seen, &seed(), day(2.0))
    };
    state = fail(&state, FailureClass::Transient);
    assert_eq!(step(&state), Action::Rehearse(Reason::Missing));
    assert_eq!(step(&fail(&state, FailureClass::Validation)), Action::Rehearse(Reason::Missing));
    state = fail(&state, FailureClass::Transient);
    assert_eq!(step(&state), issue(Reason::Missing));
}

#[test]
fn the_rehearsal_directorys_retry_after_does_not_bind_the_real_one() {
    let mut seen = held(day(61.0));
    failed(&mut seen, FailureClass::RateLimited, 1, day(61.0));
    let last = seen.state.backoff.last.as_mut().unwrap();
    (last.rehearsal, last.retry_after) = (true, Some(day(62.0)));
    seen.state.backoff.retry_at = None;
    let step = |seen: &Observed| next(&spec(), &rehearsing(), seen, &seed(), day(61.1));
    assert_eq!(step(&seen), issue(Reason::Lifetime));
    seen.state.backoff.last.as_mut().unwrap().rehearsal = false;
    assert_eq!(waits(step(&seen)).until, Some(day(62.0)));
}

// ---------------------------------------------------------------- what forbids a try

#[test]
fn a_failure_is_waited_out_and_told_in_the_operators_words() {
    let mut seen = held(day(61.0));
    failed(&mut seen, FailureClass::Transient, 3, day(61.0));
    let wait = waits(step(&seen, day(61.0)));
    let seconds = crate::cert::span(day(61.0), wait.until.unwrap()).as_secs();
    assert!((5400..=6600).contains(&seconds), "{seconds}");
    let Why::BackOff(text) = &wait.why else { panic!("{wait:?}") };
    assert!(text.starts_with("try 3 failed: cannot order: the CA answered 500; next try at"));
    assert_eq!(step(&seen, wait.until.unwrap()), issue(Reason::Lifetime));
}

#[test]
fn another_wish_or_a_person_ends_the_back_off_but_not_the_cas_retry_after() {
    let mut seen = held(day(61.0));
    failed(&mut seen, FailureClass::Person, 1, day(61.0));
    let now = day(61.1);
    assert!(matches!(waits(step(&seen, now)).why, Why::BackOff(_)));
    let mut two = spec();
    two.identifiers.push(name("sip.example"));
    let action = next(&two, &issuer(), &seen, &seed(), now);
    assert!(matches!(action, Action::Issue { reason: Reason::Changed(_), .. }), "{action:?}");
    seen.state.forced_at = Some(now);
    assert_eq!(step(&seen, now), issue(Reason::Forced));
    seen.state.backoff.last.as_mut().unwrap().retry_after = Some(day(61.5));
    seen.state.over_budget = true;
    assert_eq!(waits(step(&seen, now)).until, Some(day(61.5)));
    // Nor at the CA that did not say it.
    let other = IssuerSpec { name: "zerossl".to_owned(), ..issuer() };
    assert!(matches!(next(&spec(), &other, &seen, &seed(), now), Action::Issue { .. }));
}

#[test]
fn the_budget_goes_before_the_emergency_and_yields_only_to_a_confirmation() {
    let mut seen = held(day(89.0));
    for _ in 0..2 {
        let event = LedgerEvent::ValidationFailed { identifier: name("pbx.example") };
        seen.ledger.entries.push(LedgerEntry { at: day(89.0), event });
    }
    let now = after(day(89.0), MINUTE);
    let wait = waits(step(&seen, now));
    assert!(matches!(wait.why, Why::Budget(_)), "{wait:?}");
    assert_eq!(wait.until, Some(after(day(89.0), HOUR)));
    seen.state.over_budget = true;
    assert_eq!(step(&seen, now), issue(Reason::Emergency));
}

#[test]
fn a_wait_does_not_sleep_past_the_emergency_point() {
    let mut seen = held(day(85.0));
    failed(&mut seen, FailureClass::Person, 1, day(85.0));
    seen.state.backoff.retry_at = Some(day(86.0));
    assert_eq!(waits(step(&seen, day(85.0))).until, Some(day(85.5)));
    assert_eq!(step(&seen, day(85.5)), issue(Reason::Emergency), "the failure is an hour old");
}

#[test]
fn what_needs_a_person_is_tried_daily_all_the_same() {
    let mut seen = held(day(61.0));
    failed(&mut seen, FailureClass::Person, 50, day(61.0));
    seen.state.ari = held(day(61.8)).state.ari;
    assert!(matches!(waits(step(&seen, day(61.8))).why, Why::BackOff(_)));
    seen.state.ari = held(day(62.2)).state.ari;
    assert_eq!(step(&seen, day(62.2)), issue(Reason::Lifetime));
}

// ---------------------------------------------------------------- the clock

#[test]
fn a_clock_below_the_floor_is_wrong_and_waited_for() {
    let time = Time { trusted: true, floor: day(10.0), boot_at: None };
    let seen = Observed { time, ..Observed::default() };
    let wait = waits(step(&seen, day(9.0)));
    assert!(matches!(wait.why, Why::Clock(_)));
    assert_eq!(wait.until, Some(day(10.0)));
    assert_eq!(step(&seen, day(10.0)), issue(Reason::Missing));
}

#[test]
fn an_untrusted_clock_is_waited_for_ten_minutes_after_boot_and_not_for_ever() {
    let time = Time { trusted: false, floor: day(-1.0), boot_at: Some(at(0)) };
    let mut seen = Observed { time, ..Observed::default() };
    assert_eq!(waits(step(&seen, at(599))).until, Some(at(600)));
    assert_eq!(step(&seen, at(600)), issue(Reason::Missing));
    assert_eq!(step(&seen, at(-60)), issue(Reason::Missing), "booted in the future");
    seen.time.trusted = true;
    assert_eq!(step(&seen, at(1)), issue(Reason::Missing));
}

#[test]
fn a_back_off_of_2038_is_ignored_when_the_clock_is_back() {
    let mut seen = held(day(61.0));
    failed(&mut seen, FailureClass::Transient, 9, day(4000.0));
    assert_eq!(step(&seen, day(61.0)), issue(Reason::Lifetime));
    // Written with the right clock, but ending in another.
    seen.state.backoff.last.as_mut().unwrap().at = day(61.0);
    seen.state.backoff.last.as_mut().unwrap().retry_after = Some(day(4000.0));
    assert_eq!(waits(step(&seen, day(61.1))).until, Some(after(day(61.0), WEEK)));
    seen.state.backoff.last.as_mut().unwrap().retry_after = None;
    assert!(waits(step(&seen, day(61.1))).until.unwrap() <= day(62.1));
}

// ---------------------------------------------------------------- the net under it all

fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![(-10.0..100.0).prop_map(day), Just(day(4000.0)), Just(Timestamp::UNIX_EPOCH)]
}

fn class() -> impl Strategy<Value = FailureClass> {
    use FailureClass::{Person, RateLimited, Transient, Validation};
    prop_oneof![Just(Person), Just(RateLimited), Just(Transient), Just(Validation)]
}

prop_compose! {
    fn remembered()(
        failures in 0..200_u32,
        last in proptest::option::of((moment(), class(), any::<bool>())),
        retry_at in proptest::option::of(moment()),
        rehearsals in 0..4_u32,
        ari in proptest::option::of((moment(), moment(), moment(), moment(), any::<bool>())),
        forced_at in proptest::option::of(moment()),
        rehearsed_at in proptest::option::of(moment()),
    ) -> CertState {
        let wish = wish(&spec(), &issuer());
        let last = last.map(|(at, class, rehearsal)| Failure { rehearsal, ..failure(class, at) });
        let id = revision(1, day(0.0), DAY * 90).leaf.cert_id().unwrap();
        let ari = ari.map(|(start, end, asked_at, ask_again_at, ours)| Ari {
            cert_id: if ours { id.clone() } else { "AA.AA".to_owned() },
            window: Some(Window { start, end }),
            explanation: None,
            asked_at,
            ask_again_at,
        });
        let asked = Some(wish);
        let backoff = Backoff { failures, last, retry_at, asked, rehearsals, since: None };
        CertState { backoff, ari, forced_at, rehearsed_at, ..CertState::default() }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn past_the_emergency_point_it_is_ordered_within_the_hour(
        state in remembered(),
        into in 0.0..10.0_f64,
    ) {
        let now = day(85.5 + into);
        let newest = Some(revision(1, day(0.0), DAY * 90));
        let seen = Observed { newest, state, ..Observed::default() };
        match next(&spec(), &rehearsing(), &seen, &seed(), now) {
            Action::Issue { .. } => {}
            Action::Wait(wait) => prop_assert!(wait.until.unwrap() <= after(now, HOUR * 2), "{wait:?}"),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn every_wait_of_a_certificate_ends_within_the_longest_that_anything_may_ask(
        state in remembered(),
        entries in proptest::collection::vec((moment(), any::<bool>()), 0..12),
        spent_until in proptest::option::of(moment()),
        now in moment(),
        started_at in proptest::option::of(moment()),
    ) {
        let newest = Some(revision(1, day(0.0), DAY * 90));
        let identifiers = wish(&spec(), &issuer()).identifiers;
        let entries = entries.into_iter().map(|(at, issued)| LedgerEntry {
            at,
            event: if issued {
                LedgerEvent::Issued { identifiers: identifiers.clone(), exempt: false }
            } else {
                LedgerEvent::ValidationFailed { identifier: name("pbx.example") }
            },
        });
        let ledger = Ledger { entries: entries.collect(), spent_until, ..Ledger::default() };
        let order = started_at.map(under_way);
        let seen = Observed { newest, state, ledger, order, ..Observed::default() };
        if let Action::Wait(wait) = next(&spec(), &rehearsing(), &seen, &seed(), now) {
            let until = wait.until.unwrap();
            prop_assert!(until > now, "a wait that is over: {wait:?}");
            // The CA is asked again within a day; a limit frees within twice its span.
            let longest = if matches!(wait.why, Why::NotDue(_)) { DAY * 2 } else { WEEK * 2 };
            prop_assert!(until <= after(now, longest), "{wait:?}");
        }
    }
}
