//! Values that the tests of this module share.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::ProptestConfig;

use super::plan;
use super::schedule::{Seed, after};
use crate::cert::top::Top;
use crate::cert::{Fingerprint, Identifier, KeyType, Leaf, Validity};
use crate::config::{CertSpec, IssuerSpec};
use crate::state::{Answer, Failure, FailureClass, Revision, SCHEMA, Served};

/// Seconds after 2026-11-23 12:00 UTC.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_435_200 + seconds).unwrap()
}

/// Days after 2026-11-23 12:00 UTC.
pub(super) fn day(days: f64) -> Timestamp {
    at((days * 86_400.0).round() as i64)
}

pub(super) fn seed() -> Seed {
    Seed::new(b"the key of this host")
}

pub(super) fn name(text: &str) -> Identifier {
    text.parse().unwrap()
}

pub(super) fn leaf(names: &str, serial: u64, from: Timestamp, lifetime: Duration) -> Leaf {
    Leaf {
        fingerprint: Fingerprint::of(format!("{names} {serial}").as_bytes()),
        identifiers: names.split(' ').map(name).collect(),
        validity: Validity { not_before: from, not_after: after(from, lifetime) },
        serial: format!("{serial:016x}"),
        issuer: "CN=test".to_owned(),
        common_name: None,
        key: Some(KeyType::Rsa2048),
        server_auth: true,
        client_auth: false,
        key_encipherment: Some(true),
        is_ca: false,
        authority_key: Some("69885b6b87464041e1b37b847ba0ae2cde01c8d4".to_owned()),
    }
}

/// A certificate named pbx for pbx.example.
pub(super) fn spec() -> CertSpec {
    CertSpec {
        name: "pbx".to_owned(),
        identifiers: vec![name("pbx.example")],
        key: KeyType::Rsa2048,
        source: crate::config::Source::Auto,
        upload: crate::config::UploadSpec {
            dir: "/nowhere".into(),
            group: None,
            poll: false,
            trust_anchor: None,
            fetch_intermediates: false,
        },
        issuers: vec!["acme".to_owned()],
        challenges: vec!["http".to_owned()],
        min_age: Duration::ZERO,
        on_trust_change: crate::config::OnTrustChange::Ask,
    }
}

/// A public CA without rehearsal.
pub(super) fn issuer() -> IssuerSpec {
    IssuerSpec {
        name: "acme".to_owned(),
        directory: "https://ca.example/directory".to_owned(),
        contact: Vec::new(),
        agree_to_terms: true,
        trust_anchor: None,
        profile: None,
        proxy: None,
        eab: None,
        rehearsal: None,
        weekly_limit: Some(5),
    }
}

/// What [`issuer`] gave for [`spec`], valid from `from`.
pub(super) fn revision(number: u64, from: Timestamp, lifetime: Duration) -> Revision {
    Revision {
        schema: SCHEMA,
        number,
        asked: Some(plan::wish(&spec(), &issuer())),
        leaf: leaf("pbx.example", number, from, lifetime),
        chain_length: 1,
        committed_at: from,
        origin: format!("https://ca.example/cert/{number}").into(),
    }
}

pub(super) fn failure(class: FailureClass, at: Timestamp) -> Failure {
    Failure {
        at,
        class,
        text: "cannot order: the CA answered 500".to_owned(),
        detail: None,
        problem: None,
        retry_after: None,
        rehearsal: false,
    }
}

/// An endpoint that serves this leaf.
pub(super) fn served(leaf: &Leaf, at: Timestamp) -> Served {
    let chain = vec![leaf.fingerprint];
    let (leaf, top) = (Box::new(leaf.clone()), Some(top(leaf)));
    let answer = Answer::Certificate { leaf, chain, top, unfinished: None };
    Served { at, answer, protocol: Some("TLSv1.3".to_owned()), options: None }
}

/// The chain above a leaf: one intermediate, made by the root of its issuer.
pub(super) fn top(leaf: &Leaf) -> Top {
    Top {
        length: 2,
        issuer: format!("{} root", leaf.issuer),
        authority_key: None,
        ends: None,
        self_signed: false,
    }
}

/// An endpoint where nobody listens.
pub(super) fn closed(at: Timestamp) -> Served {
    Served { at, answer: Answer::Closed, protocol: None, options: None }
}

/// An endpoint that accepts and says nothing.
pub(super) fn silent(at: Timestamp) -> Served {
    let answer = Answer::NoHandshake { reason: "nothing within the limit".to_owned() };
    Served { at, answer, protocol: None, options: None }
}

/// This many cases, and no files left behind when one fails (its message has the input).
pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
