//! What holds for whatever is uploaded: one body, for the property test here and for the fuzzer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use pbxcert::cert::bundle::Bundle;
use pbxcert::cert::chain;
use pbxcert::cert::import::{File, parts};
use pbxcert::config::{Config, file};
use pbxcert::policy::upload::{Case, KeyPlace, Trust, Upload, Verdict, is_best, judge, to_follow};
use zeroize::Zeroizing;

/// Takes it apart, judges it, and makes a bundle of what is accepted, as an upload goes.
pub fn holds(bytes: &[u8]) {
    for password in [None, Some("changeit")] {
        let file = File { name: "x".to_owned(), bytes: Zeroizing::new(bytes.to_vec()) };
        let found = parts(&file, password, ROUNDS);
        assert!(found.certificates.len() <= 10 && found.keys.len() <= 10);
        assert!(found.rounds <= ROUNDS && found.problems.len() <= 10);
        let nothing = found.certificates.is_empty() && found.keys.is_empty();
        assert!(!nothing || !found.problems.is_empty(), "nothing said of nothing");
        judged(&Upload::of(vec![("x".to_owned(), found)]));
    }
}

fn judged(upload: &Upload) {
    let nowhere = BTreeMap::new();
    let case = Case {
        spec: &CONFIG.certificates[0],
        upload,
        ours: &[],
        known: &[],
        live: None,
        newest: None,
        trust: &nowhere,
        accept_worse: false,
        now: "2026-06-01T12:00:00Z".parse().unwrap(),
    };
    let known: Vec<_> = upload.certificates.iter().map(|c| c.der.clone()).collect();
    let mut trust = BTreeMap::new();
    for candidate in to_follow(&case) {
        let found = &upload.certificates[candidate.certificate];
        let chain::Chain { certificates, missing } =
            chain::build(&found.der, &known, &known, case.now);
        let at =
            |time| chain::validate(&certificates, &known, time).map_err(|error| error.to_string());
        let (now, at_end) = (at(case.now), at(found.facts.leaf.validity.not_after));
        let trusted = Trust { chain: certificates, missing, not_fetched: None, now, at_end };
        trust.insert(candidate.certificate, trusted);
        if is_best(&Case { trust: &trust, ..case }, candidate) {
            break;
        }
    }
    let judgement = judge(&Case { trust: &trust, ..case });
    let text = judgement.text();
    assert!(!text.is_empty(), "nothing is said");
    let steers = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(steers), "a terminal is steered: {text:?}");
    let Verdict::Accept { candidate, .. } = judgement.verdict else { return };
    let KeyPlace::Uploaded(place) = candidate.key else { panic!("there are no keys of ours") };
    let key = upload.keys[place].key.clone();
    let chain = trust.remove(&candidate.certificate).unwrap().chain;
    if let Ok(bundle) = Bundle::from_ders(chain, key) {
        assert_eq!(bundle.chain()[0], upload.certificates[candidate.certificate].der);
    }
}

/// Few, so that a fuzzer gets on.
const ROUNDS: u64 = 5000;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = "[[certificate]]\nname = \"pbx\"\nnames = [\"pbx.example.test\"]\nsource = \
                \"manual\"\n";
    file::parse(Path::new("pbxcert.toml"), text).unwrap().config
});
