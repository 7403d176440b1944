use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};

use super::*;

type Der = CertificateDer<'static>;

/// A CA: its key and name, from which any number of certificates can be made.
struct Ca {
    key: KeyPair,
    name: String,
}

impl Ca {
    fn new(name: &str) -> Self {
        Self { key: KeyPair::generate().unwrap(), name: name.to_owned() }
    }

    fn params(&self, from: i32, to: i32) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, self.name.as_str());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        params
    }

    fn root(&self) -> Der {
        self.params(2020, 2040).self_signed(&self.key).unwrap().der().clone()
    }

    fn by(&self, issuer: &Self) -> Der {
        self.by_from_to(issuer, 2020, 2040)
    }

    fn by_from_to(&self, issuer: &Self, from: i32, to: i32) -> Der {
        let params = issuer.params(2020, 2040);
        let issuer = Issuer::from_params(&params, &issuer.key);
        self.params(from, to).signed_by(&self.key, &issuer).unwrap().der().clone()
    }

    fn leaf(&self) -> Der {
        self.leaf_with(|_| ())
    }

    fn leaf_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Der {
        let mut params = CertificateParams::new(vec!["pbx.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "pbx.example");
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        change(&mut params);
        let own = self.params(2020, 2040);
        let issuer = Issuer::from_params(&own, &self.key);
        params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone()
    }
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn is(chain: &Chain, expected: &[&Der]) {
    let names = |ders: &[&Der]| -> Vec<String> {
        ders.iter()
            .map(|der| X509Certificate::from_der(der).unwrap().1)
            .map(|c| format!("{} by {} to {}", c.subject(), c.issuer(), c.validity().not_after))
            .collect()
    };
    let there: Vec<&Der> = chain.certificates.iter().collect();
    assert_eq!(names(&there), names(expected));
    assert_eq!(there, expected);
}

fn said(chain: &[Der], roots: &[Der], at: &str) -> String {
    validate(chain, roots, at.parse().unwrap()).unwrap_err().to_string()
}

#[test]
fn parts_in_any_order_with_strangers_twice_and_a_root_become_a_chain() {
    let (root, middle, low, other) = (Ca::new("r"), Ca::new("m"), Ca::new("l"), Ca::new("o"));
    let (m, l, leaf) = (middle.by(&root), low.by(&middle), low.leaf());
    let known = [root.root(), m.clone(), leaf.clone(), other.root(), l.clone(), m.clone()];
    let chain = build(&leaf, &known, &[root.root()], now());
    is(&chain, &[&leaf, &l, &m]);
    assert_eq!(chain.missing, None);
    validate(&chain.certificates, &[root.root()], now()).unwrap();
}

#[test]
fn who_is_missing_is_told_with_the_address_in_the_certificate() {
    let (root, middle) = (Ca::new("root"), Ca::new("middle"));
    // SEQUENCE of SEQUENCE { caIssuers, [6] URI }, and an OCSP address that is none.
    let describe = |oid: u8, uri: &[u8]| {
        let mut one = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, oid, 0x86, uri.len() as u8];
        one.extend_from_slice(uri);
        [vec![0x30, one.len() as u8], one].concat()
    };
    let both = [describe(1, b"http://o.example"), describe(2, b"http://a.example/m.crt")].concat();
    let content = [vec![0x30, both.len() as u8], both].concat();
    let leaf = middle.leaf_with(|params| {
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
        params.custom_extensions.push(CustomExtension::from_oid_content(&oid, content));
    });
    let chain = build(&leaf, &[], &[root.root()], now());
    is(&chain, &[&leaf]);
    let expected =
        Missing { issuer: "CN=middle".into(), addresses: vec!["http://a.example/m.crt".into()] };
    assert_eq!(chain.missing, Some(expected));
    let found = build(&leaf, &[middle.by(&root)], &[root.root()], now());
    assert_eq!(found.missing, None);
    assert_eq!(found.certificates.len(), 2);
}

#[test]
fn a_root_that_is_known_but_nobodys_is_neither_served_nor_missing() {
    let root = Ca::new("company");
    let leaf = root.leaf();
    let chain = build(&leaf, &[root.root()], &[Ca::new("public").root()], now());
    is(&chain, &[&leaf]);
    assert_eq!(chain.missing, None);
}

#[test]
fn a_cross_sign_that_was_sent_stays_on_top_for_clients_with_older_roots() {
    let (old, new, low) = (Ca::new("old root"), Ca::new("new root"), Ca::new("low"));
    let (leaf, l, cross) = (low.leaf(), low.by(&new), new.by(&old));
    for roots in [vec![old.root()], vec![new.root()], vec![old.root(), new.root()]] {
        let chain = build(&leaf, &[l.clone(), cross.clone()], &roots, now());
        is(&chain, &[&leaf, &l, &cross]);
        assert_eq!(chain.missing, None);
        validate(&chain.certificates, &roots, now()).unwrap();
    }
}

#[test]
fn an_expired_cross_sign_is_left_out_where_a_root_is_reached_without_it() {
    let (old, new, low) = (Ca::new("old root"), Ca::new("new root"), Ca::new("low"));
    let (leaf, l, expired) = (low.leaf(), low.by(&new), new.by_from_to(&old, 2000, 2020));
    let known = [expired.clone(), l.clone()];
    is(&build(&leaf, &known, &[old.root(), new.root()], now()), &[&leaf, &l]);
    // Without another way it is taken, and the verdict names it.
    let chain = build(&leaf, &known, &[old.root()], now());
    is(&chain, &[&leaf, &l, &expired]);
    let why = validate(&chain.certificates, &[old.root()], now()).unwrap_err().to_string();
    assert_eq!(
        why,
        "the certificate of \"new root\" in its chain has expired: it ended at 2020-01-01 00:00 \
         UTC; upload the current intermediate certificates (\"CA bundle\")"
    );
}

#[test]
fn of_two_twins_the_valid_one_is_taken_whichever_comes_first() {
    let (root, middle) = (Ca::new("root"), Ca::new("middle"));
    let (valid, expired) = (middle.by(&root), middle.by_from_to(&root, 2015, 2025));
    let leaf = middle.leaf();
    for known in [[valid.clone(), expired.clone()], [expired, valid.clone()]] {
        is(&build(&leaf, &known, &[root.root()], now()), &[&leaf, &valid]);
    }
}

#[test]
fn of_two_equal_ones_the_first_is_taken() {
    let (root, middle) = (Ca::new("root"), Ca::new("middle"));
    let one = middle.by(&root);
    let other = middle.by_from_to(&root, 2021, 2040);
    let leaf = middle.leaf();
    for known in [[one.clone(), other.clone()], [other, one]] {
        is(&build(&leaf, &known, &[root.root()], now()), &[&leaf, &known[0]]);
    }
}

#[test]
fn a_ca_of_the_same_name_with_another_key_is_no_issuer() {
    let (root, middle, impostor) = (Ca::new("root"), Ca::new("middle"), Ca::new("middle"));
    let (leaf, fake, real) = (middle.leaf(), impostor.by(&root), middle.by(&root));
    let roots = [root.root()];
    is(&build(&leaf, std::slice::from_ref(&fake), &roots, now()), &[&leaf]);
    is(&build(&leaf, &[fake, real.clone()], &roots, now()), &[&leaf, &real]);
}

#[test]
fn two_cas_that_signed_each_other_are_no_endless_way() {
    let (a, b, root) = (Ca::new("a"), Ca::new("b"), Ca::new("root"));
    let leaf = a.leaf();
    let (ab, ba, ar) = (a.by(&b), b.by(&a), a.by(&root));
    let chain = build(&leaf, &[ab.clone(), ba.clone()], &[root.root()], now());
    assert!(chain.certificates.len() <= 3, "{}", chain.certificates.len());
    let chain = build(&leaf, &[ab, ba, ar.clone()], &[root.root()], now());
    is(&chain, &[&leaf, &ar]);
}

#[test]
fn a_hostile_heap_of_twins_costs_no_more_than_the_bound() {
    let ca = Ca::new("same");
    let twins: Vec<Der> = (0..60).map(|n| ca.by_from_to(&Ca::new("x"), 2020, 2030 + n)).collect();
    let began = std::time::Instant::now();
    let leaf = ca.leaf();
    let chain = build(&leaf, &twins, &[Ca::new("root").root()], now());
    assert_eq!(chain.certificates.len(), 2);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

#[test]
fn what_cannot_be_read_is_passed_over_and_never_a_panic() {
    let (root, middle) = (Ca::new("root"), Ca::new("middle"));
    let (leaf, real) = (middle.leaf(), middle.by(&root));
    let garbage = Der::from(vec![0x30, 0x82, 0xff, 0xff]);
    let known = [garbage.clone(), real.clone()];
    is(&build(&leaf, &known, &[garbage.clone(), root.root()], now()), &[&leaf, &real]);
    let alone = build(&garbage, &known, &[root.root()], now());
    assert_eq!(alone.certificates, std::slice::from_ref(&garbage));
    assert!(!said(&[garbage], &[root.root()], "2026-11-23T12:00:00Z").is_empty());
    assert!(!said(&[], &[root.root()], "2026-11-23T12:00:00Z").is_empty());
}

#[test]
fn every_refusal_says_what_to_do_next() {
    let (root, middle) = (Ca::new("Root CA"), Ca::new("Shop CA 3"));
    let (leaf, m, roots) = (middle.leaf(), middle.by(&root), [root.root()]);
    let at = "2026-11-23T12:00:00Z";
    let chain = [leaf.clone(), m.clone()];
    validate(&chain, &roots, now()).unwrap();
    assert_eq!(
        said(std::slice::from_ref(&leaf), &roots, at),
        "nobody that this system trusts stands behind it: \"pbx.example\" was made by \"Shop CA \
         3\", which is unknown; upload the intermediate certificates (\"CA bundle\") as well, or \
         name the root of a company CA in trust-anchor"
    );
    assert_eq!(
        said(&chain, &roots, "2027-01-01T00:00:01Z"),
        "it has expired: it ended at 2027-01-01 00:00 UTC"
    );
    assert_eq!(
        said(&chain, &roots, "2025-12-31T23:00:00Z"),
        "it is not valid yet: it begins at 2026-01-01 00:00 UTC"
    );
    assert_eq!(
        said(&[m, root.root()], &roots, at),
        "it is the certificate of a CA (\"Shop CA 3\"), not one for a server; upload the one that \
         was made for this system"
    );
    assert_eq!(
        said(&[Ca::new("old-pbx").root()], &roots, at),
        "it is signed by itself (\"old-pbx\"), so nobody but its owner trusts it; get one from a \
         shop or company CA"
    );
    let client = middle.leaf_with(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(
        said(&[client, middle.by(&root)], &roots, at),
        "it is not for servers (extended key usage serverAuth is missing); order one for a web \
         server"
    );
}

#[test]
fn names_from_outside_are_shown_escaped() {
    let (root, evil) = (Ca::new("root"), Ca::new("evil\u{1b}[31m\nCA"));
    let why = said(&[evil.leaf()], &[root.root()], "2026-11-23T12:00:00Z");
    assert!(why.contains("\"evil[31mCA\""), "{why}");
    assert!(!why.chars().any(char::is_control), "{why:?}");
}

#[test]
fn a_placeholder_is_no_certificate_of_anybodys() {
    use crate::cert::Validity;
    use crate::cert::bundle::PrivateKey;

    let key = PrivateKey::generate(crate::cert::KeyType::EcdsaP256).unwrap();
    let validity =
        Validity { not_before: now(), not_after: "2026-12-23T12:00:00Z".parse().unwrap() };
    let names = ["pbx.example".parse().unwrap(), "192.0.2.7".parse().unwrap()];
    let bundle = key.self_signed(&names, validity).unwrap();
    assert!(bundle.leaf().is_placeholder());
    assert_eq!(bundle.leaf().validity, validity);
    assert!(bundle.leaf().server_auth && !bundle.leaf().is_ca);
    let chain = build(&bundle.chain()[0], &[], &[Ca::new("root").root()], now());
    assert_eq!((chain.certificates.len(), chain.missing), (1, None));
    let why = validate(&chain.certificates, &[Ca::new("root").root()], now()).unwrap_err();
    assert!(why.to_string().starts_with("it is signed by itself"), "{why}");
    // A year's worth of renewals: no two with one number.
    let again = Validity { not_before: "2026-11-24T12:00:00Z".parse().unwrap(), ..validity };
    let again = key.self_signed(&names, again).unwrap();
    assert_ne!(again.leaf().serial, bundle.leaf().serial);
}
