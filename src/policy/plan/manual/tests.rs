use super::*;
use crate::cert::PLACEHOLDER;
use crate::policy::plan::next;
use crate::policy::samples::{
    at, day, failure, issuer, leaf, name, revision, seed, spec as auto_spec,
};
use crate::state::{FailureClass, Foreign, Origin, Time};

fn manual() -> CertSpec {
    let mut spec = CertSpec { source: Source::Manual, issuers: Vec::new(), ..auto_spec() };
    spec.upload.dir = "/drop/pbx".into();
    spec
}

fn placeholder(now: Timestamp) -> Revision {
    let validity = placeholder_validity(now);
    let mut leaf = leaf("pbx.example", 1, validity.not_before, validity.lifetime());
    leaf.issuer = format!("CN=pbx.example, O={PLACEHOLDER}");
    let origin = Origin::Placeholder;
    Revision { asked: None, leaf, origin, committed_at: now, ..revision(1, now, DAY) }
}

fn with(newest: Revision) -> Observed {
    Observed { newest: Some(newest), ..Observed::default() }
}

fn foreign(not_after: Timestamp) -> Option<Foreign> {
    Some(Foreign { service: "sip".to_owned(), not_after })
}

fn text(action: &Action) -> (Option<Timestamp>, String) {
    let Action::Wait(wait) = action else { panic!("{action:?} is no wait") };
    (wait.until, wait.why.to_string())
}

#[test]
fn without_anything_a_placeholder_is_made_at_once() {
    let action = next_manual(&manual(), &Observed::default(), day(0.0));
    assert_eq!(action, Action::Placeholder(Reason::Missing));
}

#[test]
fn a_working_certificate_of_somebody_else_is_left_alone_until_it_ends() {
    let mut seen = Observed { foreign_in_service: foreign(day(10.0)), ..Observed::default() };
    let (until, words) = text(&next_manual(&manual(), &seen, day(0.0)));
    assert_eq!(until, Some(day(10.0) + jiff::SignedDuration::from_secs(1)));
    assert_eq!(
        words,
        "sip has one from outside that ends at 2026-12-03 12:00 UTC and is left alone; upload a \
         certificate into /drop/pbx/"
    );
    let missing = Action::Placeholder(Reason::Missing);
    assert_eq!(next_manual(&manual(), &seen, day(11.0)), missing);
    // Not renewed either, once somebody has put a certificate there.
    seen.newest = Some(placeholder(day(-25.0)));
    assert!(matches!(next_manual(&manual(), &seen, day(0.0)), Action::Wait(_)));
}

#[test]
fn a_placeholder_is_renewed_at_two_thirds_of_its_30_days() {
    let seen = with(placeholder(day(0.0)));
    let (until, words) = text(&next_manual(&manual(), &seen, day(1.0)));
    let due_at = until.unwrap();
    assert!(day(19.9) < due_at && due_at < day(20.0), "{due_at}");
    assert!(words.starts_with("a placeholder serves until 2026-12-23"), "{words}");
    assert_eq!(next_manual(&manual(), &seen, due_at), Action::Placeholder(Reason::Lifetime));
    assert_eq!(next_manual(&manual(), &seen, day(40.0)), Action::Placeholder(Reason::Lifetime));
}

#[test]
fn a_placeholder_for_other_names_or_from_a_wrong_clock_is_made_anew() {
    let other = CertSpec { identifiers: vec![name("new.example")], ..manual() };
    let action = next_manual(&other, &with(placeholder(day(0.0))), day(1.0));
    assert!(matches!(action, Action::Placeholder(Reason::Changed(_))), "{action:?}");
    let action = next_manual(&manual(), &with(placeholder(day(4000.0))), day(1.0));
    assert!(matches!(action, Action::Placeholder(Reason::Changed(_))), "{action:?}");
}

#[test]
fn a_manual_certificate_is_never_ordered_whatever_its_age() {
    for days in [0.0, 30.0, 70.0, 89.9, 91.0, 5000.0] {
        let seen = with(revision(1, day(0.0), DAY * 90));
        for action in [
            next_manual(&manual(), &seen, day(days)),
            next(&manual(), &issuer(), &seen, &seed(), day(days)),
        ] {
            let (until, words) = text(&action);
            assert!(until.is_none_or(|until| until > day(days)), "{until:?}");
            let end = if days < 90.5 { "ends" } else { "ended" };
            let said = format!("{end} 2027-02-21 12:00 UTC; upload the next one into /drop/pbx/");
            assert_eq!(words, said);
        }
    }
}

#[test]
fn a_wrong_clock_dates_no_placeholder() {
    let time = Time { floor: day(10.0), ..Time::default() };
    let seen = Observed { time, ..Observed::default() };
    let action = next_manual(&manual(), &seen, day(0.0));
    assert!(matches!(action, Action::Wait(Wait { why: Why::Clock(_), .. })), "{action:?}");
}

#[test]
fn automatic_means_a_try_at_the_ca_first_and_a_placeholder_while_that_is_unreachable() {
    let (spec, issuer, seed) = (auto_spec(), issuer(), seed());
    let mut seen = Observed { unreachable: true, ..Observed::default() };
    let action = next(&spec, &issuer, &seen, &seed, at(0));
    assert!(matches!(action, Action::Issue { reason: Reason::Missing, .. }), "{action:?}");
    seen.state.backoff.last = Some(failure(FailureClass::Validation, at(0)));
    seen.state.backoff.retry_at = Some(day(1.0));
    seen.state.backoff.failures = 1;
    let stands_in = Action::Placeholder(Reason::Missing);
    assert_eq!(next(&spec, &issuer, &seen, &seed, at(1)), stands_in);
    seen.unreachable = false;
    assert!(matches!(next(&spec, &issuer, &seen, &seed, at(1)), Action::Wait(_)));
    seen.unreachable = true;
    let acme_only = CertSpec { source: Source::Acme, ..auto_spec() };
    assert!(matches!(next(&acme_only, &issuer, &seen, &seed, at(1)), Action::Wait(_)));
    // With the placeholder there the CA is asked again as if there were none.
    seen.newest = Some(placeholder(at(1)));
    let (until, _) = text(&next(&spec, &issuer, &seen, &seed, at(2)));
    assert_eq!(until, Some(day(1.0)));
    let action = next(&spec, &issuer, &seen, &seed, day(1.0));
    let missing = Action::Issue { reason: Reason::Missing, replaces: None, exempt: false };
    assert_eq!(action, missing);
}

#[test]
fn a_certificate_of_ours_is_never_followed_by_a_placeholder() {
    for now in [day(1.0), day(100.0)] {
        let mut seen = with(revision(1, day(0.0), DAY * 90));
        seen.unreachable = true;
        seen.state.backoff.last = Some(failure(FailureClass::Validation, now));
        seen.state.backoff.retry_at = Some(now + jiff::SignedDuration::from_mins(30));
        for action in
            [next(&auto_spec(), &issuer(), &seen, &seed(), now), next_manual(&manual(), &seen, now)]
        {
            assert!(!matches!(action, Action::Placeholder(_)), "{action:?}");
        }
    }
}

#[test]
fn a_request_lies_ready_while_there_is_none_and_in_the_last_third_of_life() {
    let mut seen = Observed::default();
    assert!(wants_request(&manual(), &seen, day(0.0)));
    assert!(!wants_request(&auto_spec(), &seen, day(0.0)), "the CA can be asked");
    seen.unreachable = true;
    assert!(wants_request(&auto_spec(), &seen, day(0.0)));
    seen.newest = Some(placeholder(day(0.0)));
    assert!(wants_request(&manual(), &seen, day(1.0)), "a placeholder is none");
    seen.newest = Some(revision(1, day(0.0), DAY * 90));
    assert!(!wants_request(&manual(), &seen, day(59.9)));
    assert!(wants_request(&manual(), &seen, day(60.1)));
}
