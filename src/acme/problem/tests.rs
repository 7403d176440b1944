use std::time::Duration;

use super::*;
use crate::acme::{Refusal, Rejection, RetryAfter};

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn refused(deed: Deed, status: u16, body: &str) -> Error {
    let response = ::http::Response::builder().status(status).header("retry-after", "90");
    let response = response.body(bytes::Bytes::from(body.to_owned())).unwrap();
    Error::Refused { deed, refusal: Box::new(Refusal::read(&response)) }
}

fn problem(kind: &str, detail: &str) -> String {
    format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"{detail}"}}"#)
}

fn rejection(name: &str, kind: &str) -> Rejection {
    let problem =
        Problem { kind: Some(kind.into()), detail: Some("why".into()), ..Problem::default() };
    Rejection { identifier: name.parse().unwrap(), problem }
}

/// Class and retry of every type, at the place where CAs send it. Written down a second time on
/// purpose: who changes the table has to say so here.
#[test]
fn every_type_has_its_class() {
    use Deed::{Account, Authorization, Certificate, Challenge, Finalize, NewOrder, Order};

    for (kind, status, deed, class, retry) in [
        ("accountDoesNotExist", 400, NewOrder, Person, Daily),
        ("alreadyReplaced", 409, NewOrder, Transient, Now),
        ("alreadyRevoked", 400, Order, Person, Daily),
        ("badCSR", 400, Finalize, Person, Daily),
        ("badNonce", 400, NewOrder, Transient, Now),
        ("badPublicKey", 400, Account, Person, Daily),
        ("badRevocationReason", 400, Order, Person, Daily),
        ("badSignatureAlgorithm", 400, Account, Person, Daily),
        ("caa", 403, Finalize, Person, Daily),
        ("caa", 0, Authorization, Person, Daily),
        ("conflict", 409, NewOrder, Transient, Now),
        ("connection", 0, Authorization, Validation, Later),
        ("dns", 0, Authorization, Validation, Later),
        ("externalAccountRequired", 403, Account, Person, Daily),
        ("incorrectResponse", 0, Authorization, Validation, Later),
        ("invalidContact", 400, Account, Person, Daily),
        ("invalidProfile", 400, NewOrder, Person, Daily),
        ("malformed", 400, NewOrder, Person, Daily),
        ("orderNotReady", 403, Finalize, Transient, Now),
        ("rateLimited", 429, NewOrder, RateLimited, Later),
        ("rateLimited", 503, NewOrder, RateLimited, Later),
        ("rejectedIdentifier", 403, NewOrder, Person, Daily),
        ("serverInternal", 500, NewOrder, Transient, Later),
        ("serverInternal", 0, Authorization, Transient, Later),
        ("tls", 0, Authorization, Validation, Later),
        ("unauthorized", 0, Authorization, Validation, Later),
        ("unauthorized", 403, Challenge, Validation, Later),
        ("unauthorized", 403, Finalize, Validation, Later),
        ("unauthorized", 401, NewOrder, Person, Daily),
        ("unsupportedContact", 400, Account, Person, Daily),
        ("unsupportedIdentifier", 400, NewOrder, Person, Daily),
        ("userActionRequired", 403, NewOrder, Person, Daily),
        // Whatever it is called: with 5xx the CA is in trouble, with 429 it limits.
        ("malformed", 500, NewOrder, Transient, Later),
        ("somethingNew", 429, NewOrder, RateLimited, Later),
        ("somethingNew", 400, NewOrder, Person, Daily),
        ("somethingNew", 503, NewOrder, Transient, Later),
        ("somethingNew", 0, Authorization, Validation, Later),
        ("malformed", 404, Certificate, Person, Daily),
    ] {
        let verdict = judge(Some(kind), status, deed);
        assert_eq!((verdict.class, verdict.retry), (class, retry), "{kind} {status} {deed:?}");
        assert!(!verdict.advice.is_empty(), "{kind}");
    }
    assert_eq!(judge(None, 404, Certificate).class, Transient);
    assert_eq!(judge(None, 408, Order).class, Transient);
    assert_eq!(judge(None, 502, Order).class, Transient);
    assert_eq!(judge(None, 429, Order).class, RateLimited);
    assert_eq!(judge(None, 403, Order).class, Person);
}

#[test]
fn every_row_can_be_reached() {
    for (place, row) in TABLE.iter().enumerate() {
        let before =
            TABLE[..place].iter().find(|r| r.0 == row.0 && r.1.is_none_or(|d| Some(d) == row.1));
        assert!(before.is_none(), "{} {:?} is hidden", row.0, row.1);
    }
}

#[test]
fn a_failure_has_our_words_the_cas_words_and_its_wait() {
    let error = refused(Deed::NewOrder, 429, &problem("rateLimited", "too many certificates"));
    let failure = error.failure(now(), true);
    assert_eq!(failure.class, RateLimited);
    assert_eq!(
        failure.text,
        "the CA refused the order: too many certificates; the CA's limit is reached; it is tried \
         again when the CA allows"
    );
    assert_eq!(failure.detail.as_deref(), Some("too many certificates"));
    assert_eq!(failure.problem.as_deref(), Some("rateLimited"));
    assert_eq!(failure.retry_after, Some("2026-11-23T12:01:30Z".parse().unwrap()));
    assert!(failure.rehearsal);
    assert!(error.keeps_order());
}

#[test]
fn a_paused_account_is_for_a_person_with_the_address() {
    let detail = "Account paused. Visit https://ca.example/sfe/v1/unpause?jwt=abc to go on";
    let failure =
        refused(Deed::NewOrder, 429, &problem("rateLimited", detail)).failure(now(), false);
    assert_eq!(failure.class, Person);
    assert_eq!(
        failure.text,
        "the CA has paused this account or name; lift it at https://ca.example/sfe/v1/unpause?jwt=abc"
    );
}

#[test]
fn new_terms_are_shown_with_their_address() {
    let body = r#"{"type":"urn:ietf:params:acme:error:userActionRequired","detail":"agree","instance":"https://ca.example/terms2"}"#;
    let failure = refused(Deed::NewOrder, 403, body).failure(now(), false);
    assert_eq!(failure.class, Person);
    assert!(failure.text.ends_with(": https://ca.example/terms2"), "{}", failure.text);
}

#[test]
fn one_name_that_needs_a_person_outweighs_the_others() {
    let error = Error::Validation(vec![
        rejection("a.example", "connection"),
        rejection("b.example", "caa"),
    ]);
    assert_eq!(error.failure(now(), false).class, Person);
    assert_eq!(error.failed_identifiers().len(), 2);
    assert!(!error.keeps_order());
    let body = r#"{"type":"urn:ietf:params:acme:error:compound","detail":"several","subproblems":[
        {"type":"urn:ietf:params:acme:error:malformed","detail":"m"},
        {"type":"urn:ietf:params:acme:error:serverInternal","detail":"s"}]}"#;
    assert_eq!(refused(Deed::NewOrder, 400, body).failure(now(), false).class, Person);
    let body = body.replace("malformed", "rateLimited");
    assert_eq!(refused(Deed::NewOrder, 400, &body).failure(now(), false).class, RateLimited);
}

#[test]
fn a_failed_validation_says_what_to_do() {
    let failure =
        Error::Validation(vec![rejection("pbx.example", "connection")]).failure(now(), false);
    assert_eq!(failure.class, Validation);
    assert_eq!(
        failure.text,
        "the CA could not validate pbx.example: why; the CA could not connect: check that port 80 \
         of this name is open from the internet and forwarded to this machine"
    );
}

#[test]
fn trouble_on_the_way_is_passing_but_for_what_only_a_person_changes() {
    let to = |trouble| Error::Http {
        deed: Deed::Directory,
        source: http::Error::Transport { url: "https://ca/".into(), trouble, detail: "d".into() },
    };
    for (trouble, class, words) in [
        (Trouble::Broken, Transient, "ended before"),
        (Trouble::CertificateExpired, Transient, "check the time"),
        (Trouble::CertificateNotYetValid, Transient, "check the time"),
        (Trouble::CertificateUntrusted, Transient, "trust-anchor"),
        (Trouble::Connect, Transient, "firewall"),
        (Trouble::Dns, Transient, "DNS"),
        (Trouble::Proxy, Transient, "proxy"),
        (Trouble::ProxyCredentials, Person, "proxy-auth-file"),
        (Trouble::Timeout, Transient, "in time"),
        (Trouble::Tls, Transient, "TLS"),
    ] {
        let failure = to(trouble).failure(now(), false);
        assert_eq!(failure.class, class, "{trouble:?}");
        assert!(failure.text.contains(words), "{trouble:?}: {}", failure.text);
    }
}

#[test]
fn what_is_refused_for_good_gives_up_the_order() {
    assert!(!refused(Deed::Finalize, 400, &problem("badCSR", "x")).keeps_order());
    assert!(refused(Deed::Finalize, 500, &problem("serverInternal", "x")).keeps_order());
    assert!(refused(Deed::NewOrder, 400, &problem("malformed", "x")).keeps_order());
    assert!(refused(Deed::Certificate, 404, "").keeps_order());
    assert!(!Error::OrderLost { reason: String::new() }.keeps_order());
    let pending = Error::Pending {
        what: Deed::Finalize,
        limit: Duration::from_secs(300),
        retry_after: Some(RetryAfter::In(Duration::from_secs(600))),
    };
    assert!(pending.keeps_order());
    let retry_after = pending.failure(now(), false).retry_after;
    assert_eq!(retry_after, Some("2026-11-23T12:10:00Z".parse().unwrap()));
}
