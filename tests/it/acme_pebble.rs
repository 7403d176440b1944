//! The ACME flow against Pebble, a server that others wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use pbxcert::acme::{AcmeAuthority, Authority as _, Error, Limits, Step, check_issued};
use pbxcert::cert::bundle::{Bundle, PrivateKey};
use pbxcert::cert::{Identifier, KeyType};
use pbxcert::config::{ChallengeSpec, Eab, Http01, IssuerSpec};
use pbxcert::state::{Account, Asked, Goal, OrderJournal, Stage};

use crate::real::{Pebble, PebbleOptions};

struct Host {
    pebble: Pebble,
    folder: tempfile::TempDir,
    spec: IssuerSpec,
    account: Option<Account>,
}

impl Host {
    fn new(options: &PebbleOptions) -> Option<Self> {
        let pebble = Pebble::start(options)?;
        let spec = IssuerSpec {
            name: "pebble".into(),
            directory: pebble.directory(),
            contact: vec!["mailto:noc@voip.example".into()],
            agree_to_terms: true,
            trust_anchor: Some(pebble.trust_anchor()),
            profile: None,
            proxy: None,
            eab: None,
            rehearsal: None,
            weekly_limit: None,
        };
        let folder = tempfile::tempdir().unwrap();
        Some(Self { pebble, folder, spec, account: None })
    }

    fn authority(&self) -> AcmeAuthority {
        let listen = ([127, 0, 0, 1], self.pebble.http_port()).into();
        let method = Http01::Listen(vec![listen]);
        let challenge = ChallengeSpec { name: "http".into(), method };
        let challenges = BTreeMap::from([("http".to_owned(), challenge)]);
        let limits = Limits { request: Duration::from_secs(10), poll: Duration::from_secs(30) };
        let folder = self.folder.path().join("challenge");
        AcmeAuthority::new(self.spec.clone(), challenges, folder, limits)
    }

    async fn drive(
        &mut self,
        authority: &AcmeAuthority,
        order: &mut OrderJournal,
    ) -> Result<Bundle, Error> {
        loop {
            if let Stage::Downloaded { chain, .. } = &order.stage {
                return check_issued(order, chain, Timestamp::now());
            }
            match authority.step(order, self.account.as_ref(), Timestamp::now()).await? {
                Step::Account(account) => self.account = Some(account),
                Step::Order(stage) => order.stage = stage,
            }
        }
    }

    async fn issue(&mut self, names: &[&str]) -> Result<Bundle, Error> {
        let authority = self.authority();
        self.drive(&authority, &mut order(names)).await
    }

    /// Requests that Pebble has served.
    fn requests(&self) -> usize {
        self.pebble.log().matches("-> calling handler()").count()
    }
}

fn order(names: &[&str]) -> OrderJournal {
    let identifiers: Vec<Identifier> = names.iter().map(|n| n.parse().unwrap()).collect();
    OrderJournal {
        asked: Asked {
            identifiers: identifiers.iter().cloned().collect(),
            key: KeyType::EcdsaP256,
            issuer: "pebble".into(),
            profile: None,
        },
        identifiers,
        challenges: vec!["http".into()],
        replaces: None,
        goal: Goal::Certificate,
        key: PrivateKey::generate(KeyType::EcdsaP256).unwrap(),
        started_at: Timestamp::now(),
        stage: Stage::New,
    }
}

#[tokio::test]
async fn one_issuance_from_pebble_needs_nine_requests() {
    let Some(mut host) = Host::new(&PebbleOptions::default()) else { return };
    host.issue(&["first.example"]).await.unwrap();
    let mut fewest = usize::MAX;
    // A busy machine may answer the first question late, which costs one more.
    for n in 0..5 {
        let before = host.requests();
        let bundle = host.issue(&[&format!("pbx{n}.example")]).await.unwrap();
        assert_eq!(bundle.chain().len(), 2);
        fewest = fewest.min(host.requests() - before);
    }
    assert_eq!(fewest, 9);
}

#[tokio::test]
async fn with_half_of_the_nonces_rejected_twenty_of_twenty_succeed() {
    let options = PebbleOptions { nonce_reject: 50, ..PebbleOptions::default() };
    let Some(mut host) = Host::new(&options) else { return };
    for n in 0..20 {
        host.account = None;
        host.issue(&[&format!("pbx{n}.example"), &format!("sip{n}.example")]).await.unwrap();
    }
}

#[tokio::test]
async fn an_order_at_pebble_survives_a_crash_after_every_step() {
    let Some(mut host) = Host::new(&PebbleOptions::default()) else { return };
    let mut order = order(&["pbx.example", "sip.example", "127.0.0.1"]);
    while !matches!(order.stage, Stage::Downloaded { .. }) {
        let authority = host.authority();
        match authority.step(&order, host.account.as_ref(), Timestamp::now()).await.unwrap() {
            Step::Account(account) => host.account = Some(account),
            Step::Order(stage) => order.stage = stage,
        }
    }
    let Stage::Downloaded { chain, .. } = &order.stage else { unreachable!() };
    check_issued(&order, chain, Timestamp::now()).unwrap();
    let orders = host.pebble.log().matches("Added order").count();
    assert_eq!(orders, 1, "{}", host.pebble.log());
}

#[tokio::test]
async fn pebble_takes_a_replacement_once_and_tells_the_window() {
    let Some(mut host) = Host::new(&PebbleOptions::default()) else { return };
    if !host.pebble.offers("renewalInfo") {
        return;
    }
    let first = host.issue(&["pbx.example"]).await.unwrap();
    let authority = host.authority();
    let ari = authority.renewal_info(first.leaf(), Timestamp::now()).await.unwrap().unwrap();
    assert!(ari.window.is_some());
    for again in [false, true] {
        let mut order = order(&["pbx.example"]);
        order.replaces = first.leaf().cert_id();
        match host.drive(&authority, &mut order).await {
            Ok(_) => assert!(!again, "the same certificate was replaced twice"),
            Err(Error::ReplacesRefused { .. }) => {
                assert!(again, "Pebble did not take the first replacement");
                order.replaces = None;
                host.drive(&authority, &mut order).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn pebble_binds_an_external_account() {
    let eab = Some((
        "kid-1".to_owned(),
        "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W".to_owned(),
    ));
    let mac = eab.as_ref().unwrap().1.clone();
    let Some(mut host) = Host::new(&PebbleOptions { eab, ..PebbleOptions::default() }) else {
        return;
    };
    let hmac_file = host.folder.path().join("mac");
    std::fs::write(&hmac_file, mac).unwrap();
    host.spec.eab = Some(Eab { key_id: "kid-1".into(), hmac_file });
    host.issue(&["pbx.example"]).await.unwrap();
}

#[tokio::test]
async fn a_name_that_pebble_does_not_issue_for_is_for_a_person() {
    let Some(mut host) = Host::new(&PebbleOptions::default()) else { return };
    let error = host.issue(&["blocked.example"]).await.unwrap_err();
    let failure = error.failure(Timestamp::now(), false);
    assert_eq!(failure.problem.as_deref(), Some("rejectedIdentifier"), "{error}");
}
