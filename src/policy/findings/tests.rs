use super::*;
use crate::policy::samples::{day, failure, revision, spec};
use crate::policy::schedule::{DAY, HOUR, after};
use crate::state::reach::Mode;
use crate::state::upload::{UploadOutcome, UploadRecord};
use crate::state::{FailureClass, Foreign, Origin, Revision};

fn now() -> Timestamp {
    day(65.0)
}

fn waits() -> Wait {
    Wait { until: Some(after(now(), HOUR)), why: Why::NotDue("later".to_owned()) }
}

/// A certificate of 90 days, a third of it left.
fn held() -> Observed {
    Observed { newest: Some(revision(1, day(0.0), DAY * 90)), ..Observed::default() }
}

fn by_hand(mut seen: Observed) -> Observed {
    let reason = "the CA cannot open http://pbx.example/ from outside (\"Timeout\")".to_owned();
    seen.state.mode = Mode::Manual { since: day(64.0), reason: reason.clone() };
    seen.state.reach.reason = reason;
    seen.state.backoff.last = Some(failure(FailureClass::Validation, day(64.0)));
    seen
}

fn found(spec: &CertSpec, seen: &Observed, about: About<'_>) -> Vec<Finding> {
    certificate(spec, about, seen, &waits(), now())
}

fn conditions(found: &[Finding]) -> Vec<Condition> {
    found.iter().map(|finding| finding.condition).collect()
}

#[test]
fn manual_mode_is_told_by_the_ladder_of_manual_certificates_and_not_as_a_failure() {
    let all = found(&spec(), &by_hand(held()), About::default());
    assert_eq!(conditions(&all), [Condition::Mode, Condition::Expiry]);
    assert_eq!(all[0].since, Some(day(64.0)));
    assert!(all[1].life.unwrap().manual);
    let mut automatic = by_hand(held());
    automatic.state.mode = Mode::Automatic;
    let all = found(&spec(), &automatic, About::default());
    assert_eq!(conditions(&all), [Condition::Renewal]);
    assert!(!all[0].life.unwrap().manual);
}

#[test]
fn the_way_back_is_news_for_a_week() {
    for (since, told) in [(64.0, true), (57.9, false)] {
        let mut seen = held();
        seen.state.automatic_since = Some(day(since));
        let all = found(&spec(), &seen, About::default());
        let back = all.iter().find(|finding| finding.condition == Condition::Mode);
        assert_eq!(
            back.map(|f| (f.since, f.severity)),
            told.then_some((Some(day(since)), Severity::Notice))
        );
    }
    let mut seen = held();
    seen.state.automatic_since = Some(day(64.0));
    let acme = CertSpec { source: Source::Acme, ..spec() };
    assert_eq!(conditions(&found(&acme, &seen, About::default())), [Condition::Expiry]);
}

#[test]
fn the_request_goes_along_wherever_a_person_has_to_upload() {
    let request = About { request: Some("REQUEST"), ..About::default() };
    let manual = CertSpec { source: Source::Manual, issuers: Vec::new(), ..spec() };
    let placeholder = Revision { origin: Origin::Placeholder, ..revision(1, day(60.0), DAY * 30) };
    let stands_in = Observed { newest: Some(placeholder), ..Observed::default() };
    let foreign = Foreign { service: "sip".to_owned(), not_after: day(80.0) };
    let foreign = Observed { foreign_in_service: Some(foreign), ..Observed::default() };
    for (spec, seen, expected) in [
        (&manual, held(), vec![Condition::Expiry]),
        (&manual, Observed::default(), vec![Condition::Expiry]),
        (&manual, stands_in.clone(), vec![Condition::Placeholder]),
        (&manual, foreign, vec![Condition::Drift]),
        (&spec(), by_hand(held()), vec![Condition::Mode, Condition::Expiry]),
        (&spec(), by_hand(stands_in), vec![Condition::Placeholder, Condition::Mode]),
    ] {
        let all = found(spec, &seen, request);
        assert_eq!(conditions(&all), expected);
        for finding in all {
            let names: Vec<&str> = finding.attachments.iter().map(|a| a.name.as_str()).collect();
            assert_eq!(names, ["pbx.csr"], "{finding:?}");
            assert_eq!(finding.attachments[0].text, "REQUEST");
            let way = finding.ways.last().unwrap();
            assert!(way.contains("pbxcert csr pbx") && way.contains("/nowhere/"), "{way}");
        }
    }
    let acme = CertSpec { source: Source::Acme, ..spec() };
    assert!(found(&acme, &held(), request)[0].attachments.is_empty(), "nobody uploads it");
}

#[test]
fn an_upload_is_news_for_a_week_unless_it_is_incomplete() {
    let mut upload = UploadRecord {
        at: day(64.0),
        files: vec!["a.pem".to_owned()],
        uid: None,
        outcome: UploadOutcome::Refused,
        text: "The certificate expired.".to_owned(),
    };
    let news = |upload: &UploadRecord| {
        let about = About { upload: Some(upload), ..About::default() };
        let all = found(&spec(), &held(), about);
        let of_upload = |c| matches!(c, Condition::DropAccepted | Condition::DropRefused);
        all.into_iter().find(|f| of_upload(f.condition)).map(|f| (f.condition, f.severity, f.since))
    };
    let at = Some(day(64.0));
    assert_eq!(news(&upload), Some((Condition::DropRefused, Severity::Warning, at)));
    upload.outcome = UploadOutcome::Accepted;
    assert_eq!(news(&upload), Some((Condition::DropAccepted, Severity::Notice, at)));
    upload.outcome = UploadOutcome::Waiting;
    assert_eq!(news(&upload), None);
    (upload.outcome, upload.at) = (UploadOutcome::Refused, day(57.0));
    assert_eq!(news(&upload), None, "long ago");
}
