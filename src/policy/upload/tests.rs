use std::time::Duration;

use super::*;
use crate::cert::KeyType;
use crate::config::Source;
use crate::policy::samples::{at, day, leaf, name, spec};
use crate::policy::schedule::DAY;

/// An upload of one good certificate for `pbx.example` and its key, and what is known beside it.
struct Scene {
    spec: CertSpec,
    upload: Upload,
    ours: Vec<OurKey>,
    known: Vec<Known>,
    live: Option<Live>,
    newest: Option<Newest>,
    trust: BTreeMap<usize, Trust>,
    accept_worse: bool,
}

fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::EcdsaP256).unwrap()
}

fn der(of: &Leaf) -> CertificateDer<'static> {
    CertificateDer::from(of.fingerprint.0.to_vec())
}

fn facts(leaf: Leaf, key: &PrivateKey) -> Facts {
    Facts {
        public: key.public().to_vec(),
        subject: leaf.common_name.clone().unwrap_or_else(|| "pbx.example".to_owned()),
        rsa_bits: None,
        weak_hash: None,
        self_issued: false,
        leaf,
    }
}

fn good() -> Leaf {
    leaf("pbx.example", 1, day(-10.0), DAY * 90)
}

fn trusted(leaf: &Leaf) -> Trust {
    Trust { chain: vec![der(leaf)], missing: None, not_fetched: None, now: Ok(()), at_end: Ok(()) }
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self {
            spec: CertSpec { source: Source::Manual, ..spec() },
            upload: Upload::default(),
            ours: Vec::new(),
            known: Vec::new(),
            live: None,
            newest: None,
            trust: BTreeMap::new(),
            accept_worse: false,
        };
        let key = scene.key("key.pem", key());
        scene.certificate("cert.pem", good(), &key);
        scene
    }

    fn empty() -> Self {
        let mut scene = Self::new();
        (scene.upload, scene.trust) = (Upload::default(), BTreeMap::new());
        scene
    }

    fn file(&mut self, name: &str) -> Vec<usize> {
        self.upload.files.push(name.to_owned());
        vec![self.upload.files.len() - 1]
    }

    fn key(&mut self, file: &str, key: PrivateKey) -> PrivateKey {
        let files = self.file(file);
        self.upload.keys.push(UploadedKey { files, key: key.clone() });
        key
    }

    fn certificate(&mut self, file: &str, leaf: Leaf, key: &PrivateKey) {
        let files = self.file(file);
        self.trust.insert(self.upload.certificates.len(), trusted(&leaf));
        let (der, facts) = (der(&leaf), facts(leaf, key));
        self.upload.certificates.push(UploadedCertificate { files, der, facts });
    }

    fn ca(&mut self, file: &str) {
        let ca = Leaf {
            is_ca: true,
            server_auth: true,
            common_name: Some("Example CA 1".to_owned()),
            ..leaf("ca.example", 99, day(-100.0), DAY * 3650)
        };
        self.certificate(file, ca, &key());
    }

    fn change(mut self, change: impl FnOnce(&mut Facts)) -> Self {
        change(&mut self.upload.certificates[0].facts);
        self
    }

    fn untrusted(mut self, missing: Option<Missing>) -> Self {
        let why = "it is signed by itself".to_owned();
        let trust =
            Trust { now: Err(why.clone()), at_end: Err(why), missing, ..self.trust[&0].clone() };
        self.trust.insert(0, trust);
        self
    }

    fn over(mut self, names: &str, from: Timestamp, lifetime: Duration) -> Self {
        let leaf = leaf(names, 7, from, lifetime);
        let what = "revision 3".to_owned();
        self.live = Some(Live { leaf, what, placeholder: false, revoked: false, trusted: true });
        self
    }

    fn judge(&self) -> Judgement {
        self.case(judge)
    }

    fn case<T>(&self, ask: impl Fn(&Case<'_>) -> T) -> T {
        ask(&Case {
            spec: &self.spec,
            upload: &self.upload,
            ours: &self.ours,
            known: &self.known,
            live: self.live.as_ref(),
            newest: self.newest.as_ref(),
            trust: &self.trust,
            accept_worse: self.accept_worse,
            now: at(0),
        })
    }

    #[track_caller]
    fn accepted(&self) -> Judgement {
        let judgement = self.judge();
        let accepted = matches!(judgement.verdict, Verdict::Accept { already: None, .. });
        assert!(accepted, "{judgement:#?}");
        judgement
    }

    #[track_caller]
    fn refused(&self) -> String {
        let judgement = self.judge();
        let Verdict::Refuse(sentences) = &judgement.verdict else { panic!("{judgement:#?}") };
        assert!(!sentences.is_empty());
        judgement.text()
    }

    #[track_caller]
    fn waits(&self) -> String {
        let judgement = self.judge();
        let Verdict::Wait(_) = &judgement.verdict else { panic!("{judgement:#?}") };
        judgement.text()
    }
}

fn missing() -> Option<Missing> {
    Some(Missing {
        issuer: "Example CA R3".to_owned(),
        addresses: vec!["http://ca.example/r3.der".to_owned()],
    })
}

fn mismatched() -> Scene {
    let mut scene = Scene::empty();
    scene.key("key.pem", key());
    scene.certificate("cert.pem", good(), &key());
    scene
}

/// Every sentence that a person can meet, under what led to it.
fn sentences() -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    let mut refused = |what, scene: Scene| told.push((what, scene.refused()));
    refused("the key is another one", mismatched());
    let mut scene = mismatched();
    let public = scene.upload.keys[0].key.public().to_vec();
    let what = "the certificate that is in use now (revision 3)".to_owned();
    scene.known.push(Known { public, what });
    refused("the key is that of the certificate in use", scene);
    let mut scene = Scene::new();
    scene.spec.identifiers.push(name("sip.example"));
    refused("a name is missing", scene);
    refused("there are no names", Scene::new().change(|f| f.leaf.identifiers.clear()));
    refused("expired", Scene::new().change(|f| f.leaf.validity.not_after = day(-1.0)));
    refused("not yet valid", Scene::new().change(|f| f.leaf.validity.not_before = day(1.0)));
    refused("a CA's certificate with its key", Scene::new().change(|f| f.leaf.is_ca = true));
    let self_made = |f: &mut Facts| (f.leaf.is_ca, f.self_issued) = (true, true);
    refused("a self-made certificate that says CA", Scene::new().change(self_made));
    refused("RSA too short", Scene::new().change(|f| f.rsa_bits = Some(1024)));
    refused("SHA-1", Scene::new().change(|f| f.weak_hash = Some("SHA-1")));
    refused("not for servers", Scene::new().change(|f| f.leaf.server_auth = false));
    let live = || Scene::new().over("pbx.example", day(-80.0), DAY * 120);
    refused("no trusted root", live().untrusted(None));
    refused("an intermediate is missing", live().untrusted(missing()));
    let mut scene = live().untrusted(missing());
    scene.spec.upload.fetch_intermediates = true;
    let why = "no answer within 5 s".to_owned();
    scene.trust.get_mut(&0).unwrap().not_fetched = Some(why);
    refused("an intermediate could not be fetched", scene);
    refused("ends earlier", Scene::new().over("pbx.example", day(-5.0), DAY * 365));
    refused("loses a name", Scene::new().over("pbx.example old.example", day(-50.0), DAY * 100));
    let mut scene = Scene::empty();
    let place = scene.file("notes.docx")[0];
    scene.upload.problems.push((place, "is no certificate and no key".to_owned()));
    refused("nothing readable", scene);
    let two = |f: &mut Facts| {
        f.leaf.validity.not_after = day(-1.0);
        f.rsa_bits = Some(1024);
    };
    refused("two faults", Scene::new().change(two));
    let mut scene = Scene::empty();
    let place = scene.file("odd.crt")[0];
    scene.upload.problems.push((place, words::unusable("Extension: InvalidDate")));
    refused("a certificate that cannot be read to its end", scene);
    let mut scene = Scene::new().change(|f| f.leaf.validity.not_after = day(-1.0));
    scene.upload.keys.clear();
    refused("expired, and its key has not come", scene);

    let mut waits = |what, scene: Scene| told.push((what, scene.waits()));
    let mut scene = Scene::new();
    scene.upload.keys.clear();
    waits("only the certificate", scene);
    let mut scene = Scene::new();
    scene.upload.certificates.clear();
    waits("only the key", scene);
    let mut scene = Scene::new();
    scene.upload.certificates.clear();
    scene.ca("ca.crt");
    waits("the key and the CA's certificate", scene);
    let mut scene = Scene::empty();
    scene.ca("ca.crt");
    waits("only the CA's certificate", scene);
    let mut scene = Scene::empty();
    let place = scene.file("pbx.p12")[0];
    let problem = "it is locked with a password, and none was given: put the password, \
                   and nothing else, into a file password.txt beside it"
        .to_owned();
    scene.upload.problems.push((place, problem));
    scene.upload.locked = true;
    waits("a locked file", scene);

    let mut accepted = |what, scene: Scene| {
        let judgement = scene.accepted();
        let beside =
            judgement.unused.iter().map(|(at, why)| format!("{}: {why}", scene.upload.files[*at]));
        let text = judgement.text();
        told.push((what, std::iter::once(text).chain(beside).collect::<Vec<_>>().join("\n")));
    };
    accepted("good", Scene::new());
    let mut scene = Scene::new();
    let key_of_ours = scene.upload.keys.remove(0).key;
    scene.upload.files.remove(0);
    scene.upload.certificates[0].files = vec![0];
    scene.ours.push(OurKey { key: key_of_ours, from: "the signing request".to_owned() });
    accepted("the key is ours", scene);
    let mut scene = Scene::new();
    let other = scene.key("other.key", key());
    scene.certificate("other.pem", leaf("pbx.example", 2, day(-20.0), DAY * 60), &other);
    let place = scene.file("notes.docx")[0];
    scene.upload.problems.push((place, "is no certificate and no key".to_owned()));
    scene.key("stray.key", key());
    accepted("two, and strangers beside them", scene);
    let mut scene = Scene::new();
    scene.trust.get_mut(&0).unwrap().at_end = Err("an intermediate ends before".to_owned());
    accepted("the chain ends before the certificate", scene);
    accepted("the first one, and an intermediate is missing", Scene::new().untrusted(missing()));
    let mut scene = Scene::new().over("pbx.example", day(-80.0), DAY * 120).untrusted(None);
    scene.live.as_mut().unwrap().trusted = false;
    accepted("nobody trusts it, nor the one in use", scene);
    let mut scene = Scene::new();
    let (fingerprint, chain) = (good().fingerprint, vec![der(&good())]);
    scene.newest = Some(Newest { number: 3, fingerprint, chain });
    told.push(("the same again", scene.judge().text()));

    told.push((
        "waited a day",
        waited_in_vain("have: certificate for a; missing: its private key"),
    ));
    told.push(("it does not fit after all", not_put_together("certificate: \u{1b}[2J")));
    told.push(("chains of too many", words::too_many_pairs("pbx.example")));
    told.push(("only a password", password_alone(None).text()));
    told.push((
        "only a password, and the wrong one",
        password_alone(Some("a.p12: the password does not open it: upload both again")).text(),
    ));
    told.push(("a password waited a day", PASSWORD_IN_VAIN.to_owned()));
    told.push(("source is acme", acme_only("pbx")));
    told.push(("a signing request, and source is acme", request_of_acme("pbx")));
    told
}

#[test]
fn every_sentence_says_what_is_wrong_and_what_to_do() {
    let told: Vec<String> =
        sentences().into_iter().map(|(what, text)| format!("## {what}\n{text}\n")).collect();
    let told = told.join("\n");
    let expected = include_str!("sentences.txt");
    assert!(told == expected, "sentences.txt is to be:\n{told}");
}

#[test]
fn no_sentence_lets_the_reader_guess_what_to_do() {
    // A word that tells to do something, or says that nothing is to be done.
    let todo = [
        "Upload",
        "upload",
        "Order",
        "order",
        "Run",
        "Ask",
        "ownload",
        "missing:",
        "nothing to do",
        "Accepted",
        "put the password",
        "Write",
        "no certificate and no key",
    ];
    for (what, text) in sentences() {
        for line in text.lines().filter(|line| !line.contains(": It holds")) {
            assert!(todo.iter().any(|word| line.contains(word)), "{what}: {line}");
        }
    }
}

#[test]
fn a_good_pair_is_accepted_and_every_question_was_asked() {
    let judgement = Scene::new().over("pbx.example", day(-80.0), DAY * 120).accepted();
    let names: Vec<&str> = judgement.checks.iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        [
            "private key",
            "server certificate",
            "dates",
            "names",
            "key length",
            "signature",
            "made for servers",
            "trusted chain",
            "not before the one in use",
            "names of the one in use",
        ]
    );
    assert!(judgement.checks.iter().all(|check| check.outcome == Outcome::Ok), "{judgement:#?}");
    assert!(judgement.unused.is_empty() && judgement.remarks.is_empty());
}

#[test]
fn trust_is_asked_for_when_the_one_in_use_has_it_or_the_ca_may_take_over() {
    Scene::new().untrusted(None).accepted();
    let mut automatic = Scene::new().untrusted(None);
    automatic.spec.source = Source::Auto;
    automatic.refused();
    automatic.accept_worse = true;
    automatic.accepted();
    let mut scene = Scene::new().over("pbx.example", day(-80.0), DAY * 120).untrusted(None);
    scene.refused();
    scene.live.as_mut().unwrap().trusted = false;
    scene.accepted();
}

#[test]
fn worse_is_refused_only_where_something_good_would_be_lost() {
    let worse = || Scene::new().over("pbx.example old.example", day(-5.0), DAY * 365);
    let text = worse().refused();
    assert!(text.contains("ends at") && text.contains("old.example"), "{text}");
    let mut scene = worse();
    scene.accept_worse = true;
    scene.accepted();
    let mut scene = worse();
    scene.live.as_mut().unwrap().placeholder = true;
    scene.accepted();
    let mut scene = worse();
    scene.live.as_mut().unwrap().revoked = true;
    scene.accepted();
    let mut scene = worse();
    scene.live.as_mut().unwrap().trusted = false;
    scene.accepted();
    scene.untrusted(None).refused();
    // Ends within 14 days, and has ended.
    for ends in [day(13.9), day(-0.1)] {
        let mut scene = worse();
        scene.live.as_mut().unwrap().leaf.validity.not_after = ends;
        scene.accepted();
    }
    let mut scene = worse();
    scene.live.as_mut().unwrap().leaf.validity.not_after = day(14.1);
    scene.refused();
}

#[test]
fn accept_worse_waives_nothing_else() {
    for change in [
        |f: &mut Facts| f.leaf.validity.not_after = day(-1.0),
        |f: &mut Facts| f.leaf.identifiers.clear(),
        |f: &mut Facts| f.leaf.is_ca = true,
        |f: &mut Facts| f.weak_hash = Some("SHA-1"),
        |f: &mut Facts| f.rsa_bits = Some(2047),
        |f: &mut Facts| f.leaf.server_auth = false,
    ] {
        let mut scene = Scene::new().change(change);
        scene.accept_worse = true;
        scene.refused();
    }
    let mut scene = mismatched();
    scene.accept_worse = true;
    scene.refused();
}

#[test]
fn of_two_the_better_is_taken_whatever_their_order() {
    for longer_first in [true, false] {
        let mut scene = Scene::empty();
        let ends = if longer_first { [90, 60] } else { [60, 90] };
        for (number, days) in ends.into_iter().enumerate() {
            let key = scene.key(&format!("{days}.key"), key());
            let leaf = leaf("pbx.example", number as u64, day(-10.0), DAY * days);
            scene.certificate(&format!("{days}.pem"), leaf, &key);
        }
        let judgement = scene.accepted();
        let unused: Vec<&str> =
            judgement.unused.iter().map(|(at, _)| scene.upload.files[*at].as_str()).collect();
        assert_eq!(unused, ["60.key", "60.pem"]);
    }
    // One that ends later and is at fault does not win.
    let mut scene = Scene::new();
    let key = scene.key("later.key", key());
    scene.certificate("later.pem", leaf("other.example", 5, day(-1.0), DAY * 300), &key);
    let Verdict::Accept { candidate, .. } = scene.accepted().verdict else { unreachable!() };
    assert_eq!(candidate.certificate, 0);
}

#[test]
fn a_wildcard_covers_the_names() {
    Scene::new().change(|f| f.leaf.identifiers = [name("*.voip.example")].into()).refused();
    let mut scene = Scene::new().change(|f| f.leaf.identifiers = [name("*.voip.example")].into());
    scene.spec.identifiers = vec![name("pbx.voip.example"), name("sip.voip.example")];
    scene.accepted();
}

#[test]
fn names_from_outside_cannot_steer_a_terminal() {
    let mut scene = Scene::empty();
    scene.ca("ca.crt");
    let evil = "\u{1b}[2J\nCA \u{202e}live";
    scene.upload.certificates[0].facts.subject = facts::plain(evil);
    let text = scene.waits();
    assert!(!text.contains('\u{1b}') && !text.contains('\n') && !text.contains('\u{202e}'));
    assert!(facts::plain(&"a".repeat(10_000)).chars().count() < 130);
}

#[test]
fn the_same_certificate_in_several_files_counts_once() {
    let key = key();
    let pem = crate::cert::bundle::tests::Ca::root("test").issue(&["pbx.example"], &key);
    let bundle = crate::cert::bundle::Bundle::parse(pem.as_bytes(), key.clone()).unwrap();
    let certificate = || Parts { certificates: bundle.chain().to_vec(), ..Parts::default() };
    let both = Parts { keys: vec![key], ..certificate() };
    let upload = Upload::of(vec![("a.pem".to_owned(), both), ("b.pem".to_owned(), certificate())]);
    assert_eq!((upload.certificates.len(), upload.keys.len()), (1, 1));
    assert_eq!(upload.certificates[0].files, [0, 1]);
    assert_eq!(candidates(&upload, &[]).len(), 1);
    let facts = &upload.certificates[0].facts;
    assert_eq!((facts.rsa_bits, facts.weak_hash), (None, None));
    assert!(!facts.self_issued);
}

#[test]
fn what_is_no_certificate_is_a_problem_of_its_file() {
    let garbage =
        Parts { certificates: vec![CertificateDer::from(vec![0x30, 0x00])], ..Parts::default() };
    let upload = Upload::of(vec![("a.crt".to_owned(), garbage)]);
    assert!(upload.certificates.is_empty());
    assert_eq!(upload.problems.len(), 1);
}

#[test]
fn one_whose_chain_was_not_followed_is_never_taken() {
    for live in [false, true] {
        let mut scene = Scene::new();
        if live {
            scene = scene.over("pbx.example", day(-80.0), DAY * 120);
        }
        scene.trust.clear();
        let text = scene.refused();
        assert!(text.contains("too many certificates") && text.contains("alone"), "{text}");
        scene.accept_worse = true;
        scene.refused();
    }
}

/// So many certificates of one key, each ends a day after the one before it.
fn renewals(count: usize) -> Scene {
    let mut scene = Scene::empty();
    let key = scene.key("a.key", key());
    for number in 0..count {
        let leaf = leaf("pbx.example", number as u64, day(-10.0), DAY * (90 + number as u32));
        scene.certificate(&format!("{number}.crt"), leaf, &key);
    }
    scene
}

#[test]
fn chains_are_followed_from_the_one_that_ends_last_and_those_at_fault_are_left_out() {
    let mut scene = renewals(11);
    scene.upload.certificates[10].facts.leaf.validity.not_after = day(-1.0);
    scene.upload.certificates[9].facts.leaf.identifiers.clear();
    let followed: Vec<usize> = scene.case(to_follow).into_iter().map(|c| c.certificate).collect();
    assert_eq!(followed, [8, 7, 6, 5, 4, 3, 2, 1, 0, 9]);
}

#[test]
fn of_many_the_trusted_one_is_taken_wherever_it_stands() {
    for count in [2, 5, 11] {
        for good in 0..count {
            let mut scene = renewals(count);
            for (place, trust) in &mut scene.trust {
                trust.now = if *place == good { Ok(()) } else { Err("nobody".to_owned()) };
            }
            let Verdict::Accept { candidate, .. } = scene.accepted().verdict else { panic!() };
            assert_eq!(candidate.certificate, good, "{good} of {count}");
            let best = |place| {
                let candidate = Candidate { certificate: place, ..candidate };
                scene.case(|case| is_best(case, candidate))
            };
            assert_eq!((0..count).filter(|place| best(*place)).collect::<Vec<_>>(), [good]);
        }
    }
}
