//! Uploads: from a file in the drop folder to what the service serves, or to a sentence.

use std::cell::Cell;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use pbxcert::cert::Fingerprint;
use pbxcert::cert::bundle::Bundle;
use pbxcert::cert::import::File;
use pbxcert::clock::Clock as _;
use pbxcert::config::Mode;
use pbxcert::policy::upload::Verdict;
use pbxcert::reconcile::{Imported, Pass, Wish};
use pbxcert::state::Condition;
use pbxcert::state::upload::{UploadOutcome, UploadRecord};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::host::{Host, LIMIT, until};
use crate::lab::{Lab, Manner};

const MANUAL: &str = "source = \"manual\"\ntrust-anchor = \"DIR/ca.pem\"";
/// What always lies in the folder.
const OURS: [&str; 3] = ["accepted", "rejected", "STATUS.txt"];
const AUTO: &str = "trust-anchor = \"DIR/ca.pem\"";

fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

/// A lab whose folder is there.
async fn lab(certificate: &str) -> Lab {
    let lab = Lab::with(certificate, "").await;
    lab.pass().await;
    lab
}

/// The same, with a certificate for `pbx.test` of so many days live.
async fn live(days: i64) -> (Lab, Bundle) {
    let lab = lab(MANUAL).await;
    let bundle = lab.bought(days);
    lab.upload(&[("old.crt", &bundle.cert_pem()), ("old.key", &bundle.key().to_pem())]);
    lab.pass().await;
    assert_eq!(lab.served(), Some(bundle.leaf().fingerprint));
    (lab, bundle)
}

impl Lab {
    fn drop_dir(&self) -> PathBuf {
        self.config.certificates[0].upload.dir.clone()
    }

    fn upload(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            std::fs::write(self.drop_dir().join(name), text).unwrap();
        }
    }

    /// A certificate and its key as a shop would sell it.
    fn bought(&self, days: i64) -> Bundle {
        self.bought_for(&["pbx.test"], days)
    }

    fn bought_for(&self, names: &[&str], days: i64) -> Bundle {
        self.ca.bundle_for(names, self.clock.now(), SignedDuration::from_hours(24 * days))
    }

    fn upload_pair(&self, bundle: &Bundle) {
        self.upload(&[("new.crt", &bundle.cert_pem()), ("new.key", &bundle.key().to_pem())]);
    }

    /// What is in the folder, but for what we keep there.
    fn lies(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.drop_dir()).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|n| !OURS.contains(&n.as_str()) && !n.starts_with('.')).collect();
        names.sort();
        names
    }

    fn note(&self, name: &str) -> String {
        std::fs::read_to_string(self.drop_dir().join(name)).unwrap_or_default()
    }

    fn record(&self) -> UploadRecord {
        self.store.upload_record("pbx").unwrap().expect("an upload was decided on")
    }

    /// The revision that the service was seen to serve.
    fn served(&self) -> Option<Fingerprint> {
        self.state().seen.values().next()?.fingerprint()
    }

    /// What history tells last of this kind.
    fn told(&self, what: &str) -> String {
        let events = self.store.history().unwrap();
        events.into_iter().rfind(|e| e.what == what).map(|e| e.text).unwrap_or_default()
    }

    /// Uploads this and asserts that it is refused, in these words, and that nothing else happens.
    async fn refuses(&self, files: &[(&str, &str)], words: &[&str]) -> Pass {
        let (served, newest) = (self.served(), self.newest().map(|r| r.number));
        self.upload(files);
        let mut passes = self.pass().await;
        let reason = self.note("REASON.txt");
        for word in words {
            assert!(reason.contains(word), "{word:?} is not in {reason:?}");
        }
        assert_eq!(self.lies(), ["REASON.txt"]);
        assert_eq!(self.record().outcome, UploadOutcome::Refused);
        assert!(self.told("refused").contains(words[0]), "{}", self.told("refused"));
        assert_eq!((self.served(), self.newest().map(|r| r.number)), (served, newest));
        let pass = passes.remove("pbx").unwrap();
        let told = pass.findings.iter().find(|f| f.condition == Condition::DropRefused);
        assert!(told.is_some_and(|f| f.text.contains(words[0])), "{pass:?}");
        pass
    }

    async fn import(&self, bundle: &Bundle, accept_worse: bool, dry_run: bool) -> Imported {
        let stop = Cell::new(false);
        let text = format!("{}{}", bundle.cert_pem(), *bundle.key().to_pem());
        let file = File { name: "new.pem".to_owned(), bytes: text.into_bytes().into() };
        let files = [file];
        let wish = Wish { files: &files, password: None, accept_worse, dry_run, uid: 0 };
        self.reconciler(&stop).import(&self.config.certificates[0], &wish).await.unwrap()
    }
}

#[tokio::test]
async fn a_pair_that_comes_file_by_file_is_live_after_the_second() {
    let lab = lab(MANUAL).await;
    let bundle = lab.bought(365);
    lab.upload(&[("pbx_test.crt", &bundle.cert_pem())]);
    let passes = lab.pass().await;
    let waiting = "have: certificate for pbx.test; missing: its private key";
    assert!(lab.note("WAITING.txt").starts_with(waiting), "{}", lab.note("WAITING.txt"));
    assert_eq!(lab.lies(), ["WAITING.txt", "pbx_test.crt"]);
    let until = passes["pbx"].wait.until.unwrap();
    assert_eq!(until, lab.clock.now() + days(1), "it is looked at when it has waited a day");
    assert_eq!(lab.told("waiting"), waiting);

    // Written beside it, then renamed, as careful tools do.
    let beside = lab.drop_dir().join(".hidden.tmp");
    std::fs::write(&beside, bundle.key().to_pem().as_bytes()).unwrap();
    std::fs::rename(&beside, lab.drop_dir().join("whatever it is called")).unwrap();
    lab.pass().await;
    assert_eq!(lab.served(), Some(bundle.leaf().fingerprint));
    assert_eq!(lab.lies(), Vec::<String>::new());
    let record = lab.record();
    assert_eq!(record.outcome, UploadOutcome::Accepted);
    assert_eq!(record.files, ["pbx_test.crt", "whatever it is called"]);
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(record.uid, Some(uid));
    assert!(lab.told("accepted").contains(&format!("uid {uid}")), "{}", lab.told("accepted"));
    assert_no_key(&lab.drop_dir());
    let accepted = std::fs::read_dir(lab.drop_dir().join("accepted")).unwrap();
    let accepted: Vec<_> = accepted.map(|e| e.unwrap().path()).collect();
    let [accepted] = accepted.as_slice() else { panic!("{accepted:?}") };
    let text = std::fs::read_to_string(accepted.join("ACCEPTED.txt")).unwrap();
    assert!(text.starts_with("Accepted: the certificate for pbx.test, good until "), "{text}");
    let kept = std::fs::read_to_string(accepted.join("cert.pem")).unwrap();
    assert_eq!(kept, bundle.cert_pem());
}

/// No file in the folder or below holds a private key.
fn assert_no_key(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_key(&path);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let key = bytes.windows(11).any(|w| w == b"PRIVATE KEY");
            assert!(!key, "{} holds a key", path.display());
        }
    }
}

#[tokio::test]
async fn an_upload_takes_the_place_of_a_placeholder_at_once() {
    let lab = lab(MANUAL).await;
    let reloads = lab.service.reloads.get();
    assert!(lab.newest().is_some_and(|newest| newest.is_placeholder()));
    // Just reloaded, and it ends before the placeholder does.
    let bundle = lab.bought(20);
    lab.upload_pair(&bundle);
    lab.pass().await;
    assert_eq!(lab.served(), Some(bundle.leaf().fingerprint));
    assert_eq!(lab.service.reloads.get(), reloads + 1);
}

#[tokio::test]
async fn halves_find_each_other_with_days_between() {
    let lab = lab(MANUAL).await;
    let bundle = lab.bought(365);
    lab.upload(&[("cert.pem", &bundle.cert_pem())]);
    lab.pass().await;
    lab.clock.forward(SignedDuration::from_hours(23));
    lab.pass().await;
    assert_eq!(lab.lies(), ["WAITING.txt", "cert.pem"], "a day has not passed");
    lab.clock.forward(SignedDuration::from_hours(2));
    lab.pass().await;
    assert_eq!(lab.lies(), ["REASON.txt"]);
    assert!(lab.note("REASON.txt").contains("stayed incomplete for 24 hours"));

    lab.clock.forward(days(5));
    lab.upload(&[("key.pem", &bundle.key().to_pem())]);
    lab.pass().await;
    assert_eq!(lab.served(), Some(bundle.leaf().fingerprint));
    assert_eq!(lab.lies(), Vec::<String>::new());
    assert_no_key(&lab.drop_dir());
}

#[tokio::test]
async fn a_half_is_forgotten_after_a_week() {
    let lab = lab(MANUAL).await;
    let bundle = lab.bought(365);
    lab.upload(&[("cert.pem", &bundle.cert_pem())]);
    lab.pass().await;
    lab.clock.forward(days(2));
    lab.pass().await;
    lab.clock.forward(days(8));
    lab.upload(&[("key.pem", &bundle.key().to_pem())]);
    lab.pass().await;
    assert_ne!(lab.served(), Some(bundle.leaf().fingerprint));
    assert_eq!(
        lab.note("WAITING.txt").lines().next(),
        Some("have: private key (key.pem); missing: the certificate for pbx.test")
    );
}

#[tokio::test]
async fn what_is_taken_away_again_is_not_waited_for() {
    let lab = lab(MANUAL).await;
    lab.upload(&[("cert.pem", &lab.bought(365).cert_pem())]);
    lab.pass().await;
    std::fs::remove_file(lab.drop_dir().join("cert.pem")).unwrap();
    let passes = lab.pass().await;
    assert_eq!(lab.lies(), Vec::<String>::new(), "the note goes, too");
    assert!(passes["pbx"].findings.iter().all(|f| !f.text.contains("incomplete")));
}

#[tokio::test]
async fn a_renewed_certificate_for_the_key_of_the_last_one_needs_no_key() {
    let (lab, old) = live(60).await;
    let renewed = lab.ca.bundle_with(old.key().clone(), &["pbx.test"], lab.clock.now(), days(365));
    lab.upload(&[("renewed.crt", &renewed.cert_pem())]);
    lab.pass().await;
    assert_eq!(lab.served(), Some(renewed.leaf().fingerprint));
    assert!(lab.told("accepted").contains("with the key of revision"), "{}", lab.told("accepted"));
}

#[tokio::test]
async fn what_is_refused_says_why_and_leaves_what_is_live_alone() {
    let (lab, old) = live(100).await;
    let (one, other) = (lab.bought(365), lab.bought(365));
    let mixed = [("a.crt", &*one.cert_pem()), ("b.key", &*other.key().to_pem())];
    lab.refuses(&mixed, &["The private key in b.key does not belong to the certificate"]).await;
    let live_key = [("a.crt", &*one.cert_pem()), ("b.key", &*old.key().to_pem())];
    let fits = "It belongs to the certificate that is in use now (revision";
    lab.refuses(&live_key, &["does not belong", fits]).await;
    let wrong = lab.bought_for(&["www.test"], 365);
    let pair = |b: &Bundle| format!("{}{}", b.cert_pem(), *b.key().to_pem());
    let names = "good for www.test, but not for pbx.test";
    lab.refuses(&[("x.pem", &pair(&wrong))], &[names]).await;
    let short = lab.bought(50);
    lab.refuses(&[("x.pem", &pair(&short))], &["good until", "--accept-worse"]).await;
    let elsewhere = Lab::new().await.bought(365);
    let untrusted = "between yours and a trusted root is missing";
    lab.refuses(&[("x.pem", &pair(&elsewhere))], &[untrusted, "--accept-worse"]).await;
    lab.refuses(&[("notes.txt", "Dear Sir")], &["notes.txt: "]).await;
    let expired = lab.bought(1);
    lab.clock.forward(days(2));
    lab.refuses(&[("x.pem", &pair(&expired))], &["expired at"]).await;
    assert_eq!(lab.served(), Some(old.leaf().fingerprint));
}

#[tokio::test]
async fn a_good_upload_among_bad_ones_is_taken_and_the_others_are_named() {
    let lab = lab(MANUAL).await;
    let bundle = lab.bought(365);
    lab.upload_pair(&bundle);
    lab.upload(&[("notes.txt", "Dear Sir"), ("stray.key", &lab.bought(1).key().to_pem())]);
    symlink("/etc/shadow", lab.drop_dir().join("link.pem")).unwrap();
    let passes = lab.pass().await;
    assert_eq!(lab.served(), Some(bundle.leaf().fingerprint));
    let reason = lab.note("REASON.txt");
    for file in ["notes.txt: ", "stray.key: ", "link.pem: "] {
        assert!(reason.contains(file), "{file} is missing: {reason}");
    }
    assert!(!reason.contains("new."), "{reason}");
    assert_eq!(lab.lies(), ["REASON.txt", "link.pem"]);
    assert_eq!(lab.record().outcome, UploadOutcome::Accepted);
    assert!(passes["pbx"].findings.iter().any(|f| f.text.contains("link.pem")));
    // What lies there for good is told once.
    let events = lab.history().len();
    lab.pass().await;
    lab.pass().await;
    assert_eq!(lab.history().len(), events);
    assert_eq!(lab.record().outcome, UploadOutcome::Accepted);
}

#[tokio::test]
async fn of_two_candidates_the_better_is_taken() {
    let lab = lab(MANUAL).await;
    let (short, long) = (lab.bought(100), lab.bought(365));
    for (name, bundle) in [("short", &short), ("long", &long)] {
        let text = format!("{}{}", bundle.cert_pem(), *bundle.key().to_pem());
        lab.upload(&[(&format!("{name}.pem"), &text)]);
    }
    lab.pass().await;
    assert_eq!(lab.served(), Some(long.leaf().fingerprint));
    assert!(lab.record().text.contains("There were several certificates"), "{:?}", lab.record());
    assert!(lab.note("REASON.txt").starts_with("short.pem: It holds another certificate"));
}

/// A company CA with an intermediate: the certificates that it made for one key, each good for
/// longer than the one before, and its intermediate. All in PEM.
struct Company {
    key: String,
    leaves: Vec<String>,
    intermediate: String,
}

impl Company {
    /// Its root is what the lab trusts from now on.
    fn new(lab: &Lab, count: usize) -> Self {
        let ca = |name: &str| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            (params, rcgen::KeyPair::generate().unwrap())
        };
        let ((root, root_key), (between, between_key)) = (ca("Company Root"), ca("Company 1"));
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let root = rcgen::Issuer::new(root, root_key);
        let intermediate = between.signed_by(&between_key, &root).unwrap().pem();
        let between = rcgen::Issuer::new(between, between_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = |number: usize| {
            let mut params = for_pbx(lab, number);
            params.distinguished_name.push(rcgen::DnType::CommonName, "pbx.test");
            params.signed_by(&key, &between).unwrap().pem()
        };
        let leaves = (0..count).map(leaf).collect();
        std::fs::write(lab.dir.path().join("ca.pem"), root_pem).unwrap();
        Self { key: key.serialize_pem(), leaves, intermediate }
    }
}

/// Valid for a hundred days and `number` more.
fn for_pbx(lab: &Lab, number: usize) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::new(vec!["pbx.test".to_owned()]).unwrap();
    let now = Duration::from_secs(u64::try_from(lab.clock.now().as_second()).unwrap());
    let day = Duration::from_secs(24 * 60 * 60);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now - day;
    params.not_after = epoch + now + day * (100 + u32::try_from(number).unwrap());
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.serial_number = Some(u64::try_from(number + 1).unwrap().into());
    params
}

#[tokio::test]
async fn of_many_renewals_for_one_key_the_last_is_live_with_its_intermediate() {
    for count in [5, 11] {
        for last in [0, count / 2, count - 1] {
            let lab = lab(MANUAL).await;
            let mut company = Company::new(&lab, count);
            let newest = company.leaves.pop().unwrap();
            company.leaves.insert(last, newest.clone());
            for (place, pem) in company.leaves.iter().enumerate() {
                lab.upload(&[(&format!("y{place:02}.crt"), pem)]);
            }
            lab.upload(&[("a.key", &company.key), ("int.pem", &company.intermediate)]);
            lab.pass().await;
            let newest = CertificateDer::from_pem_slice(newest.as_bytes()).unwrap();
            assert_eq!(lab.served(), Some(Fingerprint::of(&newest)), "{last} of {count}");
            let store = lab.store.certificate("pbx").unwrap();
            let bundle = store.bundle(lab.newest().unwrap().number).unwrap();
            assert_eq!(bundle.chain().len(), 2, "{last} of {count}: the intermediate is not there");
        }
    }
}

#[tokio::test]
async fn a_self_signed_one_behind_many_others_does_not_take_the_place_of_a_trusted_one() {
    for count in [5, 11] {
        for place in [0, count / 2, count - 1] {
            let lab = lab(MANUAL).await;
            let company = Company::new(&lab, count);
            let key = rcgen::KeyPair::from_pem(&company.key).unwrap();
            let own = for_pbx(&lab, 1000).self_signed(&key).unwrap().pem();
            let good = [("old.crt", &*company.leaves[count - 1]), ("old.key", &*company.key)];
            lab.upload(&[&good[..], &[("int.pem", &company.intermediate)]].concat());
            lab.pass().await;
            let served = lab.served();
            let mut pems: Vec<&String> = company.leaves[..count - 1].iter().collect();
            pems.insert(place, &own);
            for (at, pem) in pems.iter().enumerate() {
                lab.upload(&[(&format!("{at:02}.crt"), pem)]);
            }
            lab.upload(&[("a.key", &company.key), ("int.pem", &company.intermediate)]);
            lab.pass().await;
            assert_eq!(lab.served(), served, "{place} of {count}");
            assert_eq!(lab.record().outcome, UploadOutcome::Refused, "{:?}", lab.record());
        }
    }
}

/// A key, locked with `changeit`.
fn locked_key() -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    let text = include_str!("../fixtures/import/pbes2.key.b64");
    BASE64_STANDARD.decode(text.replace('\n', "")).unwrap()
}

/// The certificate for the locked key, made by the lab's CA.
fn for_locked_key(lab: &Lab) -> Bundle {
    use pbxcert::cert::import::{ROUNDS, parts};

    let file = File { name: "a.key".to_owned(), bytes: locked_key().into() };
    let key = parts(&file, Some("changeit"), ROUNDS).keys[0].clone();
    lab.ca.bundle_with(key, &["pbx.test"], lab.clock.now(), days(365))
}

#[tokio::test]
async fn a_corrected_password_alone_opens_what_was_refused() {
    let lab = lab(MANUAL).await;
    let bundle = for_locked_key(&lab);
    std::fs::write(lab.drop_dir().join("a.key"), locked_key()).unwrap();
    lab.upload(&[("a.crt", &bundle.cert_pem()), ("password.txt", "changed")]);
    lab.clock.forward(SignedDuration::from_secs(60));
    lab.pass().await;
    // The certificate waits for the key, which could not be opened.
    assert!(lab.note("WAITING.txt").contains("does not open it"), "{}", lab.note("WAITING.txt"));
    lab.clock.forward(days(2));
    lab.pass().await;
    assert_eq!(lab.lies(), ["REASON.txt"]);

    lab.upload(&[("password.txt", "changeit")]);
    lab.pass().await;
    assert_eq!(lab.served(), Some(bundle.leaf().fingerprint), "{}", lab.note("WAITING.txt"));
    assert_eq!(lab.lies(), Vec::<String>::new());
    assert_no_key(&lab.drop_dir());
}

#[tokio::test]
async fn a_password_alone_is_told_of_and_does_not_lie_there_for_ever() {
    let lab = lab(MANUAL).await;
    lab.upload(&[("password.txt", "changeit")]);
    let passes = lab.pass().await;
    let note = lab.note("WAITING.txt");
    let words = "have: a password (password.txt); missing: the file that it opens";
    assert!(note.starts_with(words), "{note}");
    assert_eq!(lab.lies(), ["WAITING.txt", "password.txt"]);
    assert_eq!(passes["pbx"].wait.until, Some(lab.clock.now() + days(1)));
    lab.clock.forward(days(1));
    lab.pass().await;
    assert_eq!(lab.lies(), ["REASON.txt"]);
    assert!(lab.note("REASON.txt").contains("was removed"), "{}", lab.note("REASON.txt"));
    let rejected = lab.drop_dir().join("rejected");
    let kept = std::fs::read_dir(rejected).unwrap().map(|e| e.unwrap().path());
    assert!(kept.into_iter().all(|folder| !folder.join("password.txt").exists()));
}

#[tokio::test]
async fn a_password_that_opens_nothing_refused_waits_for_the_file_that_it_opens() {
    let lab = lab(MANUAL).await;
    std::fs::write(lab.drop_dir().join("other.key"), locked_key()).unwrap();
    lab.upload(&[("password.txt", "wrong"), ("notes.txt", "Dear Sir")]);
    lab.pass().await;
    lab.clock.forward(days(2));
    lab.pass().await;
    // A glob sends it first, and its file seconds later.
    lab.upload(&[("password.txt", "wrong, too")]);
    lab.pass().await;
    assert_eq!(lab.lies(), ["REASON.txt", "WAITING.txt", "password.txt"]);
    let note = lab.note("WAITING.txt");
    assert!(note.contains("Tried on what was refused before: ") && note.contains("other.key"));
}

#[tokio::test]
async fn an_intermediate_that_comes_after_the_refusal_makes_it_whole() {
    let (lab, _) = live(100).await;
    let company = Company::new(&lab, 1);
    // What is in use is trusted, so that this has to be.
    let company_root = std::fs::read_to_string(lab.dir.path().join("ca.pem")).unwrap();
    let roots = format!("{company_root}{}", lab.ca.root_pem);
    std::fs::write(lab.dir.path().join("ca.pem"), roots).unwrap();
    let pair = [("a.crt", &*company.leaves[0]), ("a.key", &*company.key)];
    let words = "Company 1. Download it from your CA";
    lab.refuses(&pair, &["is missing", words, "--accept-worse"]).await;
    lab.upload(&[("ca-bundle.crt", &company.intermediate)]);
    lab.pass().await;
    let leaf = CertificateDer::from_pem_slice(company.leaves[0].as_bytes()).unwrap();
    assert_eq!(lab.served(), Some(Fingerprint::of(&leaf)), "{}", lab.note("REASON.txt"));
    assert_eq!(lab.lies(), Vec::<String>::new());
}

#[tokio::test]
async fn the_first_upload_without_its_intermediate_is_taken_with_a_warning() {
    let lab = lab(MANUAL).await;
    let company = Company::new(&lab, 1);
    lab.upload(&[("a.crt", &company.leaves[0]), ("a.key", &company.key)]);
    lab.pass().await;
    let text = lab.record().text;
    assert_eq!(lab.record().outcome, UploadOutcome::Accepted, "{text}");
    for words in ["It was taken, because", "phones and browsers will refuse it", "Company 1"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test]
async fn every_reason_stays_as_long_as_what_it_is_about() {
    let lab = lab(MANUAL).await;
    std::fs::create_dir(lab.drop_dir().join("mycert")).unwrap();
    let passes = lab.pass().await;
    let told = |reason: &str| lab.note("REASON.txt").contains(reason);
    assert!(told("mycert: it is a folder"), "{}", lab.note("REASON.txt"));
    // At once, in status and in an alert.
    assert_eq!(lab.record().outcome, UploadOutcome::Refused);
    assert!(lab.record().text.contains("mycert: it is a folder"));
    let found = passes["pbx"].findings.iter().filter(|f| f.text.contains("mycert: "));
    assert_eq!(found.map(|f| f.condition).collect::<Vec<_>>(), [Condition::DropRefused]);

    lab.upload(&[("c.zip", "PK\u{3}\u{4} and so on")]);
    lab.pass().await;
    assert!(told("mycert: it is a folder") && told("c.zip: "), "{}", lab.note("REASON.txt"));
    lab.upload_pair(&lab.bought(365));
    lab.pass().await;
    assert_eq!(lab.record().outcome, UploadOutcome::Accepted);
    assert!(told("mycert: it is a folder") && !told("c.zip"), "{}", lab.note("REASON.txt"));
    let events = lab.history().len();
    lab.pass().await;
    assert_eq!(lab.history().len(), events, "it is told once");
}

#[tokio::test]
async fn whoever_uploads_reads_whether_it_is_live_or_why_not() {
    use std::os::unix::fs::MetadataExt as _;

    let (lab, first) = live(100).await;
    let short = first.leaf().fingerprint.short();
    let note = lab.note("STATUS.txt");
    assert!(note.contains(&short) && note.contains(": live since "), "{note}");
    let inode = || lab.drop_dir().join("STATUS.txt").metadata().unwrap().ino();
    let before = inode();
    lab.pass().await;
    assert_eq!(inode(), before, "a note that says the same wakes nobody");

    let second = lab.bought(365);
    lab.service.manner.set(Manner::Breaks);
    lab.upload_pair(&second);
    lab.pass().await;
    let note = lab.note("STATUS.txt");
    assert!(note.contains(&second.leaf().fingerprint.short()), "{note}");
    assert!(note.contains("not live") && !note.contains("live since"), "{note}");
    let before = inode();
    lab.pass().await;
    assert_eq!(inode(), before, "a note that says the same wakes nobody");
}

#[tokio::test]
async fn the_same_again_is_nothing_new() {
    let (lab, bundle) = live(365).await;
    let (newest, reloads) = (lab.newest().unwrap().number, lab.service.reloads.get());
    lab.upload_pair(&bundle);
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, newest);
    assert_eq!(lab.service.reloads.get(), reloads);
    assert_eq!(lab.lies(), Vec::<String>::new());
    let text = lab.record().text;
    assert!(text.contains("is here already (revision") && text.contains("nothing to do"), "{text}");
}

#[tokio::test]
async fn an_upload_does_not_wait_for_the_last_reload() {
    let (lab, _) = live(100).await;
    let next = lab.bought(365);
    lab.upload_pair(&next);
    let reloads = lab.service.reloads.get();
    lab.pass().await;
    assert_eq!(lab.served(), Some(next.leaf().fingerprint));
    assert_eq!(lab.service.reloads.get(), reloads + 1);
}

#[tokio::test]
async fn an_upload_is_taken_while_the_ca_refuses() {
    let lab = Lab::with(AUTO, "").await;
    for _ in 0..9 {
        let down = pbxcert::acme::Error::Certificate("maintenance".to_owned());
        lab.ca.failures.borrow_mut().push_back(down);
    }
    lab.pass().await;
    assert!(lab.history().iter().any(|what| what == "failed"), "{:?}", lab.history());
    let bundle = lab.bought(365);
    lab.upload_pair(&bundle);
    lab.pass().await;
    assert_eq!(lab.served(), Some(bundle.leaf().fingerprint));
    assert_eq!(lab.ca.orders.get(), 0);
}

#[tokio::test]
async fn an_upload_is_taken_while_the_ca_does_not_answer() {
    let lab = Lab::with(AUTO, "").await;
    lab.ca.hangs.set(true);
    let bundle = lab.bought(365);
    let upload = async {
        let there = async || lab.drop_dir().is_dir().then_some(());
        until("the folder is made", LIMIT, there).await;
        lab.upload_pair(&bundle);
    };
    let (passes, ()) = tokio::join!(lab.pass(), upload);
    assert_eq!(lab.served(), Some(bundle.leaf().fingerprint));
    assert_eq!(passes["pbx"].failed, None);
}

#[tokio::test]
async fn worse_is_taken_by_import_when_root_insists() {
    let (lab, old) = live(365).await;
    let worse = lab.bought(100);
    let imported = lab.import(&worse, false, false).await;
    assert!(matches!(imported.judgement.verdict, Verdict::Refuse(_)));
    assert_eq!(imported.revision, None);
    let imported = lab.import(&worse, true, true).await;
    assert!(matches!(imported.judgement.verdict, Verdict::Accept { .. }));
    assert_eq!(lab.newest().unwrap().leaf.fingerprint, old.leaf().fingerprint, "only judged");
    let imported = lab.import(&worse, true, false).await;
    assert_eq!(imported.revision, Some(lab.newest().unwrap().number));
    lab.pass().await;
    assert_eq!(lab.served(), Some(worse.leaf().fingerprint));
}

#[tokio::test]
async fn a_certificate_from_its_ca_alone_takes_no_uploads_and_says_so() {
    let lab = Lab::with("source = \"acme\"", "").await;
    lab.pass().await;
    assert!(!lab.drop_dir().exists(), "nobody is invited");
    std::fs::create_dir_all(lab.drop_dir()).unwrap();
    let (served, bundle) = (lab.served(), lab.bought(365));
    lab.upload_pair(&bundle);
    lab.pass().await;
    assert!(lab.note("REASON.txt").contains("source = \"acme\""), "{}", lab.note("REASON.txt"));
    assert_eq!(lab.served(), served);
}

#[tokio::test]
async fn who_only_observes_touches_no_upload() {
    let mut lab = lab(MANUAL).await;
    lab.config.mode = Mode::Observe;
    lab.upload_pair(&lab.bought(365));
    lab.pass().await;
    assert_eq!(lab.lies(), ["new.crt", "new.key"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_holds_up_nothing() {
    let mut lab = Lab::with(AUTO, "").await;
    let file = lab.dir.path().join("a file");
    std::fs::write(&file, "").unwrap();
    lab.config.certificates[0].upload.dir = file.join("pbx");
    let passes = lab.pass().await;
    assert!(lab.newest().is_some(), "the CA was asked all the same");
    let found = &passes["pbx"].findings;
    assert!(found.iter().any(|f| f.text.contains("the drop folder")), "{found:?}");
}

// ---------------------------------------------------------------- the real binary

/// A host whose certificate is uploaded, with a CA of the lab.
struct Manual {
    host: Host,
    shop: Lab,
}

impl Manual {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(certificate: &str) -> Self {
        let (host, shop) = (Host::new().await, Lab::new().await);
        let skew = jiff::Timestamp::now().duration_since(shop.clock.now());
        shop.clock.forward(skew);
        let anchor = shop.dir.path().join("ca.pem");
        let manual = format!("source = \"manual\"\ntrust-anchor = {anchor:?}\n{certificate}");
        let reload = host.reload();
        let text = format!("{}{manual}{}", host.head(), host.service_table(&reload, ""));
        host.configure(&text);
        Self { host, shop }
    }

    fn drop_dir(&self) -> PathBuf {
        self.host.state_dir().join("drop/pbx")
    }

    fn upload(&self, bundle: &Bundle) {
        for (name, text) in
            [("a.crt", bundle.cert_pem()), ("a.key", bundle.key().to_pem().to_string())]
        {
            std::fs::write(self.drop_dir().join(name), text).unwrap();
        }
    }

    /// `Some` once the service has it.
    fn is_live(&self, bundle: &Bundle) -> Option<()> {
        let pair = self.host.pair()?;
        (pair.leaf().fingerprint == bundle.leaf().fingerprint).then_some(())
    }

    /// How many certificates lie in `accepted/`; a crash may leave two folders of the same.
    fn accepted(&self) -> usize {
        let entries = std::fs::read_dir(self.drop_dir().join("accepted")).unwrap();
        let kept = entries.map(|e| std::fs::read(e.unwrap().path().join("cert.pem")).unwrap());
        kept.collect::<std::collections::BTreeSet<_>>().len()
    }

    fn revisions(&self) -> Vec<Fingerprint> {
        let store = pbxcert::store::Store::open_read_only(&self.host.state_dir()).unwrap();
        let revisions = store.certificate("pbx").unwrap().revisions().unwrap();
        let real = revisions.into_iter().filter(|r| !r.is_placeholder());
        real.map(|revision| revision.leaf.fingerprint).collect()
    }
}

#[tokio::test]
async fn an_upload_survives_a_crash_before_every_operation() {
    // A run has some 200 operations; each run of the tests takes another share of them.
    let begin = 1 + u64::from(std::process::id()) % 7;
    let lanes = (0..3).map(|lane| async move {
        let manual = Manual::new().await;
        manual.host.pbxcert(&["renew"]).await;
        let mut told = 0;
        for n in (begin + 7 * lane..600).step_by(21) {
            let bundle = manual.shop.bought(365 + i64::try_from(n).unwrap());
            manual.upload(&bundle);
            // It is taken once it has been quiet for a second.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let crash = [("PBXCERT_CRASH_AT", n.to_string())];
            let run = manual.host.pbxcert_with(&["renew"], &crash).await;
            let cut_off = run.signal == Some(6);
            // What was put back has to be quiet for a second once more.
            until("all is tidy", LIMIT, async || {
                manual.host.pbxcert(&["renew"]).await;
                (!manual.drop_dir().join("a.key").exists()).then_some(())
            })
            .await;
            told += 1;
            let fingerprint = bundle.leaf().fingerprint;
            let pair = manual.host.pair().map(|pair| pair.leaf().fingerprint);
            assert_eq!(pair, Some(fingerprint), "operation {n}: it is lost: {run:?}");
            let times = manual.revisions().into_iter().filter(|f| *f == fingerprint).count();
            assert_eq!(times, 1, "operation {n}: it was stored {times} times");
            assert_eq!(manual.host.happened("accepted"), told, "{n}: {:#?}", manual.host.history());
            assert_eq!(manual.accepted(), told, "operation {n}");
            for name in ["a.crt", "a.key", "REASON.txt", "WAITING.txt"] {
                assert!(!manual.drop_dir().join(name).exists(), "operation {n}: {name} is left");
            }
            assert_no_key(&manual.drop_dir());
            if !cut_off {
                return n;
            }
        }
        panic!("600 operations, and no end");
    });
    let ends = futures_util::future::join_all(lanes).await;
    assert!(ends.iter().all(|n| *n > 40), "a run has more operations than that: {ends:?}");
}

#[tokio::test]
async fn the_daemon_takes_what_is_dropped_and_tells_what_is_missing() {
    let manual = Manual::new().await;
    let _daemon = manual.host.start_daemon();
    let there = async || manual.drop_dir().is_dir().then_some(());
    until("the folder is made", LIMIT, there).await;
    let bundle = manual.shop.bought(365);
    std::fs::write(manual.drop_dir().join("a.crt"), bundle.cert_pem()).unwrap();
    let note = async || manual.drop_dir().join("WAITING.txt").exists().then_some(());
    let begun = Instant::now();
    until("the note is there", LIMIT, note).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let status = manual.host.status().await;
    let pbx = &status["certificates"][0];
    assert_eq!(pbx["source"], "manual");
    assert_eq!(pbx["drop-folder"], manual.drop_dir().to_str().unwrap());
    let waiting = "have: certificate for pbx.test; missing: its private key";
    assert_eq!(pbx["waiting"]["text"], waiting);
    manual.host.pbxcert(&["status"]).await.expect(0).says(waiting);

    manual.upload(&bundle);
    until("it is live", LIMIT, async || {
        let pair = manual.host.pair()?;
        (pair.leaf().fingerprint == bundle.leaf().fingerprint).then_some(())
    })
    .await;
    until("status says live", LIMIT, async || {
        let status = manual.host.status().await;
        (status["certificates"][0]["state"] == "live").then_some(())
    })
    .await;
    let status = manual.host.status().await;
    let pbx = &status["certificates"][0];
    assert_eq!((&pbx["waiting"], &pbx["upload"]["outcome"]), (&Value::Null, &"accepted".into()));
    manual
        .host
        .pbxcert(&["history"])
        .await
        .expect(0)
        .says("Accepted: the certificate for pbx.test");
}

#[tokio::test]
async fn who_only_observes_imports_nothing_and_says_what_waits() {
    let manual = Manual::new().await;
    let host = &manual.host;
    host.pbxcert(&["renew"]).await;
    let text = std::fs::read_to_string(host.config_file()).unwrap();
    host.configure(&format!("mode = \"observe\"\n{text}"));
    let bundle = manual.shop.bought(365);
    manual.upload(&bundle);
    let file = |name: &str| manual.drop_dir().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("a.crt"), file("a.key"));
    let refused = host.pbxcert(&["import", "pbx", &cert, &key]).await.expect(78);
    refused.says("nothing was imported").says("mode = \"on\"").says("--dry-run");
    assert_eq!(manual.revisions(), []);
    let judged = host.pbxcert(&["import", "pbx", &cert, &key, "--dry-run"]).await.expect(0);
    judged.says("ok    names: pbx.test");
    let status = host.pbxcert(&["status"]).await.expect(0);
    status.says("mode is \"observe\"").says("2 files wait there until mode = \"on\"");
    assert_eq!(host.status().await["certificates"][0]["unread"], 2);
}

#[tokio::test]
async fn a_password_file_is_read_as_windows_writes_it() {
    let manual = Manual::new().await;
    let host = &manual.host;
    let bundle = for_locked_key(&manual.shop);
    let at = |name: &str| host.dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, key, password) = (at("a.crt"), at("a.key"), at("password.txt"));
    std::fs::write(&cert, bundle.cert_pem()).unwrap();
    std::fs::write(&key, locked_key()).unwrap();
    let dry = ["import", "pbx", &cert, &key, "--dry-run", "--password-file", &password];
    std::fs::write(&password, "\u{feff}changeit\r\n").unwrap();
    host.pbxcert(&dry).await.expect(0).says("ok    private key: the key in");
    std::fs::write(&password, b"ch\xe4ngeit").unwrap();
    host.pbxcert(&dry).await.expect(1).says("save it as UTF-8");
}

#[tokio::test]
async fn a_signing_request_names_a_folder_that_is_there_or_why_there_is_none() {
    let manual = Manual::new().await;
    let host = &manual.host;
    let asked = host.pbxcert(&["csr", "pbx"]).await.expect(0);
    asked.says("BEGIN CERTIFICATE REQUEST").says(manual.drop_dir().to_str().unwrap());
    assert!(manual.drop_dir().is_dir());
    let beside = manual.drop_dir().with_file_name("pbx.csr");
    assert!(std::fs::read_to_string(beside).unwrap().contains("CERTIFICATE REQUEST"));

    let text = std::fs::read_to_string(host.config_file()).unwrap();
    host.configure(&text.replace("source = \"manual\"", "source = \"acme\""));
    let asked = host.pbxcert(&["csr", "pbx", "--new"]).await.expect(0);
    asked.says("BEGIN CERTIFICATE REQUEST").says("cannot be uploaded yet");
}

#[tokio::test]
async fn a_polled_folder_takes_what_is_dropped() {
    let manual = Manual::with("watch = \"poll\"\n").await;
    let _daemon = manual.host.start_daemon();
    let there = async || manual.drop_dir().is_dir().then_some(());
    until("the folder is made", LIMIT, there).await;
    let bundle = manual.shop.bought(365);
    manual.upload(&bundle);
    until("it is live", LIMIT, async || manual.is_live(&bundle)).await;
}

#[tokio::test]
async fn an_editor_that_saves_twice_and_a_copy_that_is_renamed_are_read_once_and_whole() {
    let manual = Manual::new().await;
    let _daemon = manual.host.start_daemon();
    let there = async || manual.drop_dir().is_dir().then_some(());
    until("the folder is made", LIMIT, there).await;
    let bundle = manual.shop.bought(365);
    let (cert, key) = (bundle.cert_pem(), bundle.key().to_pem());
    let at = |name: &str| manual.drop_dir().join(name);
    // In place, as scp writes; in pieces, with half of it on disk in between.
    let mut copied = std::fs::File::create(at("a.key")).unwrap();
    let (half, rest) = key.as_bytes().split_at(key.len() / 2);
    std::io::Write::write_all(&mut copied, half).unwrap();
    copied.sync_all().unwrap();
    // Over a backup, twice, as vim does.
    for text in [&cert[..cert.len() / 2], &cert] {
        std::fs::write(at(".a.crt.swp"), text).unwrap();
        std::fs::rename(at(".a.crt.swp"), at("a.crt")).unwrap();
    }
    std::io::Write::write_all(&mut copied, rest).unwrap();
    std::mem::drop(copied);
    until("it is live", LIMIT, async || manual.is_live(&bundle)).await;
    assert_eq!(manual.host.happened("refused"), 0, "{:#?}", manual.host.history());
}

#[tokio::test]
async fn import_prints_a_checklist_and_brings_it_into_service() {
    let manual = Manual::new().await;
    let host = &manual.host;
    let bundle = manual.shop.bought(365);
    let (cert, key) = (host.dir.path().join("my.crt"), host.dir.path().join("my.key"));
    std::fs::write(&cert, bundle.cert_pem()).unwrap();
    std::fs::write(&key, bundle.key().to_pem().as_bytes()).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());

    let alone = host.pbxcert(&["import", "pbx", cert]).await.expect(1);
    alone.says("incomplete, nothing was changed").says("missing: its private key");
    let judged = host.pbxcert(&["import", "pbx", cert, key, "--dry-run"]).await.expect(0);
    let judged = judged.says("ok    private key: ").says("ok    names: pbx.test");
    judged.says("It would be accepted: the certificate for pbx.test").says("nothing was changed");
    assert_eq!(manual.revisions(), []);

    let run = host.pbxcert(&["import", "pbx", cert, key]).await.expect(0);
    let run = run.says("Accepted: the certificate for pbx.test").says("sip: files installed");
    let run = run.says("It is revision ");
    run.says("sip: done: ");
    assert_eq!(host.pair().unwrap().leaf().fingerprint, bundle.leaf().fingerprint);
    let again = host.pbxcert(&["import", "pbx", cert, key, "--json"]).await.expect(0).json();
    assert_eq!((&again["schema"], &again["verdict"]), (&1.into(), &"already-there".into()));

    let worse = manual.shop.bought(30);
    let file = host.dir.path().join("worse.pem");
    std::fs::write(&file, format!("{}{}", worse.cert_pem(), *worse.key().to_pem())).unwrap();
    let file = file.to_str().unwrap();
    let refused = host.pbxcert(&["import", "pbx", file]).await.expect(1);
    refused.says("FAIL  not before the one in use: ").says("refused: nothing was changed");
    let refused = host.pbxcert(&["import", "pbx", file, "--json"]).await.expect(1).json();
    assert_eq!((&refused["verdict"], &refused["revision"]), (&"refused".into(), &Value::Null));
    let checks = refused["checks"].as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|c| c["outcome"] == "fail").collect();
    assert_eq!(failed.len(), 1, "{refused}");
    host.pbxcert(&["import", "pbx", file, "--accept-worse"]).await.expect(0);
    assert_eq!(host.pair().unwrap().leaf().fingerprint, worse.leaf().fingerprint);

    host.pbxcert(&["import", "pbx"]).await.expect(64);
    host.pbxcert(&["import", "door", cert]).await.expect(64).says("no certificate \"door\"");
    host.pbxcert(&["import", "pbx", "/nowhere"]).await.expect(1).says("cannot read /nowhere");
    let large = host.dir.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(1 << 30).unwrap();
    host.pbxcert(&["import", "pbx", large.to_str().unwrap()]).await.expect(1).says("larger than");
}
