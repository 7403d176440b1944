use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use super::*;
use crate::cert::KeyType;
use crate::cert::bundle::PrivateKey;
use crate::state::{Asked, Goal, Stage};

const DAY: i64 = 24 * 3600;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn order(names: &[&str]) -> OrderJournal {
    let identifiers: Vec<Identifier> = names.iter().map(|n| n.parse().unwrap()).collect();
    OrderJournal {
        asked: Asked {
            identifiers: identifiers.iter().cloned().collect(),
            key: KeyType::EcdsaP256,
            issuer: "acme".into(),
            profile: None,
        },
        identifiers,
        challenges: Vec::new(),
        replaces: None,
        goal: Goal::Certificate,
        key: PrivateKey::generate(KeyType::EcdsaP256).unwrap(),
        started_at: now(),
        stage: Stage::New,
    }
}

fn set(params: &mut CertificateParams, from: i64, to: i64) {
    let at = |days: i64| {
        let seconds = u64::try_from(now().as_second() + days * DAY).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds)
    };
    params.not_before = at(from);
    params.not_after = at(to);
}

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// An intermediate below a root that is not sent.
fn ca(change: impl FnOnce(&mut CertificateParams)) -> Ca {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "R1");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    set(&mut params, -100, 1000);
    change(&mut params);
    let pem = params.signed_by(&key, &root).unwrap().pem();
    Ca { issuer: Issuer::new(params, key), pem }
}

fn chain(ca: &Ca, order: &OrderJournal, change: impl FnOnce(&mut CertificateParams)) -> String {
    let names: Vec<String> = order.identifiers.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set(&mut params, 0, 90);
    change(&mut params);
    let key = KeyPair::from_pem(&order.key.to_pem()).unwrap();
    params.signed_by(&key, &ca.issuer).unwrap().pem() + &ca.pem
}

fn refusal(change: impl FnOnce(&mut CertificateParams)) -> String {
    let order = order(&["pbx.example", "192.0.2.7"]);
    let chain = chain(&ca(|_| {}), &order, change);
    check_issued(&order, &chain, now()).unwrap_err().to_string()
}

#[test]
fn what_was_ordered_is_taken() {
    let order = order(&["pbx.example", "192.0.2.7", "*.example.org"]);
    let chain = chain(&ca(|_| {}), &order, |_| {});
    let bundle = check_issued(&order, &chain, now()).unwrap();
    assert_eq!(bundle.chain().len(), 2);
    assert_eq!(bundle.key().public(), order.key.public());
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let (mine, other) = (order(&["pbx.example"]), order(&["pbx.example"]));
    let chain = chain(&ca(|_| {}), &other, |_| {});
    let error = check_issued(&mine, &chain, now()).unwrap_err().to_string();
    assert!(error.ends_with("the private key does not belong to the certificate for pbx.example"));
}

#[test]
fn other_names_are_refused() {
    for names in
        [&["pbx.example"][..], &["pbx.example", "192.0.2.7", "more.example"], &["x.example"]]
    {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let error = refusal(|p| {
            p.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names
        });
        assert!(error.contains("not for pbx.example, 192.0.2.7"), "{error}");
    }
}

#[test]
fn impossible_dates_are_refused() {
    let dates = |from: i64, to: i64| refusal(|p| set(p, from, to));
    assert!(dates(-90, -1).contains("it ended at 2026-11-22T12:00:00Z"));
    assert!(dates(2, 90).contains("it begins at 2026-11-25T12:00:00Z"));
    assert!(dates(5, 4).contains("it ends before it begins"));
}

#[test]
fn a_certificate_that_begins_within_a_day_is_taken() {
    let order = order(&["pbx.example"]);
    let chain = chain(&ca(|_| {}), &order, |p| set(p, 1, 90));
    check_issued(&order, &chain, now()).unwrap();
}

#[test]
fn a_ca_or_a_client_certificate_is_refused() {
    let error = refusal(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert!(error.ends_with("it is that of a CA"), "{error}");
    let error = refusal(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(error.contains("not for servers"), "{error}");
}

#[test]
fn a_chain_that_is_no_chain_is_refused() {
    let order = order(&["pbx.example"]);
    let refused = |chain: &str| check_issued(&order, chain, now()).unwrap_err().to_string();
    let (real, fake) = (ca(|_| {}), ca(|_| {}));
    let leaf = chain(&real, &order, |_| {}).replace(&real.pem, "");
    assert!(refused(&(leaf.clone() + &fake.pem)).contains("does not link"));
    let expired = ca(|p| set(p, -100, -1));
    assert!(refused(&chain(&expired, &order, |_| {})).contains("CN=R1 has expired"));
    let no_ca = ca(|p| p.is_ca = IsCa::ExplicitNoCa);
    assert!(refused(&chain(&no_ca, &order, |_| {})).contains("is no CA"));
}

#[test]
fn too_much_of_anything_is_refused() {
    let order = order(&["pbx.example"]);
    let refused = |chain: &str| check_issued(&order, chain, now()).unwrap_err().to_string();
    assert!(refused(&"x".repeat(70_000)).contains("70000 bytes"));
    let ca = ca(|_| {});
    assert!(refused(&ca.pem.repeat(11)).contains("11 certificates"));
    let many: Vec<String> = (0..101).map(|n| format!("n{n}.example")).collect();
    let error =
        refusal(|p| p.subject_alt_names = CertificateParams::new(many).unwrap().subject_alt_names);
    assert!(error.contains("101 names"), "{error}");
}

#[test]
fn garbage_is_an_error() {
    let order = order(&["pbx.example"]);
    for text in ["", "<html>", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(check_issued(&order, text, now()), Err(Error::Certificate(_))));
    }
}
