//! The daily check's items about certificates: each goes from ok to bad and back by changing the
//! real thing, and to unknown by taking its source away; openssl says the same of the same files.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use pbxcert::cert::bundle::{Bundle, PrivateKey};
use pbxcert::cert::{Fingerprint, KeyType};
use pbxcert::check::Checker;
use pbxcert::clock::Clock as _;
use pbxcert::policy::plan::{Action, Reason};
use pbxcert::state::check::{CheckReport, Item, Topic, Verdict};
use pbxcert::state::{Ari, Window};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::lab::Lab;
use crate::real::{Openssl, Pair};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A company CA with an intermediate, whose certificates name a list.
struct Company {
    root: Issuer<'static, KeyPair>,
    root_pem: String,
    middle: Issuer<'static, KeyPair>,
    middle_pem: String,
    /// Where its list lies.
    list: Option<String>,
}

fn at(time: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap()
}

fn issuer(name: &str, from: Timestamp, to: Timestamp) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (at(from), at(to));
    params.use_authority_key_identifier_extension = true;
    (params, KeyPair::generate().unwrap())
}

impl Company {
    /// Whose intermediate ends then.
    fn new(lab: &Lab, middle_ends: SignedDuration) -> Self {
        let now = lab.clock.now();
        let begin = now.checked_sub(DAY * 30).unwrap();
        let (params, key) = issuer("company root", begin, now.checked_add(DAY * 3650).unwrap());
        let root_pem = params.self_signed(&key).unwrap().pem();
        let root = Issuer::new(params, key);
        let end = now.checked_add(middle_ends).unwrap();
        let (params, key) = issuer("company intermediate", begin, end);
        let middle_pem = params.signed_by(&key, &root).unwrap().pem();
        let company =
            Self { root, root_pem, middle: Issuer::new(params, key), middle_pem, list: None };
        company.trusted_by(lab);
        company
    }

    fn trusted_by(&self, lab: &Lab) {
        std::fs::write(lab.dir.path().join("ca.pem"), &self.root_pem).unwrap();
    }

    /// With a new intermediate that ends then.
    fn with_middle(self, lab: &Lab, ends: SignedDuration) -> Self {
        let now = lab.clock.now();
        let begin = now.checked_sub(DAY * 30).unwrap();
        let (params, key) = issuer("company intermediate", begin, now.checked_add(ends).unwrap());
        let middle_pem = params.signed_by(&key, &self.root).unwrap().pem();
        Self { middle: Issuer::new(params, key), middle_pem, ..self }
    }

    fn leaf(&self, lab: &Lab, serial: u64, names: &[&str], days: i64) -> Bundle {
        self.bundle(lab, serial, names, days, &self.middle_pem)
    }

    /// Without its intermediate.
    fn cut(&self, lab: &Lab, serial: u64) -> Bundle {
        self.bundle(lab, serial, &["pbx.test"], 90, "")
    }

    fn bundle(&self, lab: &Lab, serial: u64, names: &[&str], days: i64, above: &str) -> Bundle {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let pair = KeyPair::try_from(key.pkcs8()).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        let begin = lab.clock.now().checked_sub(SignedDuration::from_hours(1)).unwrap();
        params.not_before = at(begin);
        params.not_after = at(begin.checked_add(DAY * i32::try_from(days).unwrap()).unwrap());
        params.crl_distribution_points =
            self.list.iter().map(|url| CrlDistributionPoint { uris: vec![url.clone()] }).collect();
        let pem = params.signed_by(&pair, &self.middle).unwrap().pem();
        Bundle::parse(format!("{pem}{above}").as_bytes(), key).unwrap()
    }

    /// Its list, made now and good for a week.
    fn revokes(&self, lab: &Lab, serials: &[u64]) -> Vec<u8> {
        let now = lab.clock.now();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: at(now.checked_sub(SignedDuration::from_hours(2)).unwrap()),
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: at(now),
            next_update: at(now.checked_add(DAY * 7).unwrap()),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.middle).unwrap().der().as_ref().to_vec()
    }
}

/// A lab whose certificate is brought by a person and must lead to `ca.pem`.
async fn lab() -> Lab {
    let certificate = "source = \"manual\"\ntrust-anchor = \"DIR/ca.pem\"\n\
                       on-trust-change = \"go\"\n";
    Lab::with(certificate, "").await
}

/// Brings a bundle into service.
async fn bring(lab: &Lab, bundle: &Bundle) {
    let store = lab.store.certificate("pbx").unwrap();
    let writer = store.try_lock(lab.clock.now()).unwrap().unwrap();
    writer.commit(bundle, None, "test", lab.clock.now()).unwrap();
    drop(writer);
    lab.service.manner.set(crate::lab::Manner::Honest);
    let writer = lab.store.service("sip").unwrap().try_lock(lab.clock.now()).unwrap().unwrap();
    let mut state = lab.state();
    let pair = state.pairs.entry("pbx".to_owned()).or_default();
    pair.forced = true;
    writer.remember(&state).unwrap();
    drop(writer);
    lab.pass().await;
    let promoted = lab.state().pairs["pbx"].promoted.clone().unwrap();
    assert_eq!(promoted.fingerprint, bundle.leaf().fingerprint, "{:#?}", lab.state());
}

async fn check(lab: &Lab) -> CheckReport {
    let writer = lab.store.try_lock_check().unwrap().expect("nobody else checks");
    let checker = Checker { world: &lab.world, store: &lab.store, config: &lab.config };
    checker.run(&writer).await.unwrap()
}

fn items(report: &CheckReport, topic: Topic) -> Vec<&Item> {
    report.items.iter().filter(|item| item.topic == topic).collect()
}

/// The one item of a topic.
fn item(report: &CheckReport, topic: Topic) -> &Item {
    let found = items(report, topic);
    assert_eq!(found.len(), 1, "{topic:?}: {:#?}", report.items);
    found[0]
}

/// Checks, and expects this verdict with these words; whoever finds something says what to do.
async fn expect(lab: &Lab, topic: Topic, verdict: Verdict, words: &str) -> Item {
    let report = check(lab).await;
    let item = item(&report, topic).clone();
    assert_eq!(item.verdict, verdict, "{topic:?} {item:#?}");
    assert!(item.text.contains(words), "{topic:?} {item:#?}");
    let bad = matches!(verdict, Verdict::Warning | Verdict::Critical);
    assert!(!bad || item.next.is_some(), "nobody says what to do: {item:#?}");
    item
}

fn openssl(arguments: &[&str]) -> (bool, String) {
    let run = Command::new("openssl").args(arguments).output().unwrap();
    let said = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// `openssl verify` of what is in service, at the time of the lab.
fn openssl_verifies(lab: &Lab, more: &[&str]) -> (bool, String) {
    let (ca, chain) = (lab.dir.path().join("ca.pem"), lab.target("fullchain.pem"));
    let (ca, chain) = (ca.to_str().unwrap(), chain.to_str().unwrap());
    let now = lab.clock.now().as_second().to_string();
    let own = ["verify", "-attime", &now, "-CAfile", ca, "-untrusted", chain];
    openssl(&[&own[..], more, &[chain]].concat())
}

#[tokio::test]
async fn a_telephone_system_in_order_is_in_order_by_every_item() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    let report = check(&lab).await;
    for topic in [
        Topic::Dates,
        Topic::Names,
        Topic::Key,
        Topic::Chain,
        Topic::ChainEnd,
        Topic::Served,
        Topic::Files,
        Topic::Lint,
        Topic::OtherClient,
        Topic::Unmanaged,
    ] {
        assert_eq!(item(&report, topic).verdict, Verdict::Ok, "{:#?}", item(&report, topic));
    }
    for hygiene in items(&report, Topic::Hygiene) {
        assert_eq!(hygiene.verdict, Verdict::Ok, "{hygiene:#?}");
    }
    // It names no list: nobody is to be asked, and that does not count.
    let revocation = item(&report, Topic::Revocation);
    assert_eq!((revocation.verdict, revocation.counts), (Verdict::Unknown, false));
    let dates = item(&report, Topic::Dates);
    assert!(dates.text.contains("two independent readers of its dates agree"), "{dates:#?}");
    assert!((dates.metrics[0].value - 89.96).abs() < 0.01, "{dates:#?}");
    let (good, said) = openssl_verifies(&lab, &[]);
    assert!(good, "{said}");
}

#[tokio::test]
async fn dates_grow_worse_until_the_end_and_a_new_certificate_mends_them() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    let report = check(&lab).await;
    assert!(item(&report, Topic::Dates).text.contains("there is no certificate yet"));
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    expect(&lab, Topic::Dates, Verdict::Ok, "revision 1 ends").await;
    let file = lab.target("fullchain.pem");
    // Whether it is valid then, by openssl.
    let lives = |lab: &Lab| {
        let ahead = lab.clock.now().as_second() - Timestamp::now().as_second();
        let ahead = ahead.max(0).to_string();
        openssl(&["x509", "-in", file.to_str().unwrap(), "-noout", "-checkend", &ahead]).0
    };
    for (days, verdict, words) in [
        (68, Verdict::Warning, "less than 1/4"),
        (17, Verdict::Critical, "less than 1/16"),
        (6, Verdict::Critical, "ended"),
    ] {
        lab.clock.forward(DAY * days);
        expect(&lab, Topic::Dates, verdict, words).await;
        assert_eq!(lives(&lab), words != "ended", "openssl, {words}");
    }
    // Its own end is no fault of the chain.
    expect(&lab, Topic::Chain, Verdict::Ok, "trusted root").await;
    bring(&lab, &company.leaf(&lab, 2, &["pbx.test"], 90)).await;
    expect(&lab, Topic::Dates, Verdict::Ok, "revision 2 ends").await;
    assert!(lives(&lab));
}

#[tokio::test]
async fn a_clock_that_cannot_be_trusted_makes_dates_unknown() {
    let mut lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    let floor = lab.clock.now().checked_add(DAY).unwrap();
    let right = lab.world.time.clone();
    lab.world.time =
        std::rc::Rc::new(move |_| pbxcert::state::Time { trusted: false, floor, boot_at: None });
    for topic in [Topic::Dates, Topic::Chain, Topic::ChainEnd] {
        expect(&lab, topic, Verdict::Unknown, "the clock says").await;
    }
    lab.world.time = right;
    expect(&lab, Topic::Dates, Verdict::Ok, "agree").await;
}

#[tokio::test]
async fn a_name_that_is_wanted_and_not_in_it_is_missed() {
    let mut lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    expect(&lab, Topic::Names, Verdict::Ok, "the name is in it").await;
    lab.config.certificates[0].identifiers.push("sip.test".parse().unwrap());
    expect(&lab, Topic::Names, Verdict::Critical, "it is not for sip.test").await;
    let file = lab.target("fullchain.pem");
    let has_it = || {
        let host = ["-noout", "-checkhost", "sip.test"];
        let said = openssl(&[&["x509", "-in", file.to_str().unwrap()][..], &host].concat()).1;
        !said.contains("NOT")
    };
    assert!(!has_it());
    bring(&lab, &company.leaf(&lab, 2, &["pbx.test", "sip.test"], 90)).await;
    expect(&lab, Topic::Names, Verdict::Ok, "all 2 names").await;
    assert!(has_it());
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_found_in_the_store() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    expect(&lab, Topic::Key, Verdict::Ok, "its private key fits").await;
    let key = lab.config.state_dir.join("shared/certificates/pbx/rev/1/key.pem");
    let right = std::fs::read(&key).unwrap();
    let other = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    std::fs::write(&key, other.to_pem().as_bytes()).unwrap();
    let report = check(&lab).await;
    let bad = report
        .items
        .iter()
        .find(|item| matches!(item.topic, Topic::Key | Topic::Dates) && item.object == "pbx");
    let bad = bad.unwrap();
    assert!(matches!(bad.verdict, Verdict::Critical | Verdict::Unknown), "{bad:#?}");
    std::fs::write(&key, right).unwrap();
    expect(&lab, Topic::Key, Verdict::Ok, "its private key fits").await;
}

#[tokio::test]
async fn a_chain_that_is_cut_leads_nowhere() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    expect(&lab, Topic::Chain, Verdict::Ok, "now and at its renewal").await;
    assert!(openssl_verifies(&lab, &[]).0);
    bring(&lab, &company.cut(&lab, 2)).await;
    expect(&lab, Topic::Chain, Verdict::Critical, "nobody that this system trusts").await;
    assert!(!openssl_verifies(&lab, &[]).0);
    bring(&lab, &company.leaf(&lab, 3, &["pbx.test"], 90)).await;
    expect(&lab, Topic::Chain, Verdict::Ok, "now and at its renewal").await;
    // Without its source.
    std::fs::remove_file(lab.dir.path().join("ca.pem")).unwrap();
    expect(&lab, Topic::Chain, Verdict::Unknown, "cannot use the trust anchor").await;
}

#[tokio::test]
async fn an_intermediate_that_ends_first_is_told_before_it_does() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    expect(&lab, Topic::ChainEnd, Verdict::Ok, "company intermediate").await;
    let company = company.with_middle(&lab, DAY * 40);
    bring(&lab, &company.leaf(&lab, 2, &["pbx.test"], 90)).await;
    expect(&lab, Topic::ChainEnd, Verdict::Warning, "before it does itself").await;
    expect(&lab, Topic::Chain, Verdict::Warning, "no longer at its renewal").await;
    assert!(openssl_verifies(&lab, &[]).0);
    lab.clock.forward(DAY * 41);
    expect(&lab, Topic::ChainEnd, Verdict::Critical, "company intermediate").await;
    expect(&lab, Topic::Chain, Verdict::Critical, "has expired").await;
    // It is not the certificate's own end.
    expect(&lab, Topic::Dates, Verdict::Ok, "ends").await;
    let (good, said) = openssl_verifies(&lab, &[]);
    assert!(!good && said.contains("certificate has expired"), "{said}");
    let company = company.with_middle(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 3, &["pbx.test"], 90)).await;
    expect(&lab, Topic::ChainEnd, Verdict::Ok, "last longer").await;
    expect(&lab, Topic::Chain, Verdict::Ok, "trusted root").await;
}

/// A web server on loopback with one file.
struct Web {
    url: String,
    body: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<u32>>,
    task: tokio::task::JoinHandle<()>,
}

impl Web {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/company.crl", listener.local_addr().unwrap());
        let (body, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (its_body, its_count) = (body.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                *its_count.lock().unwrap() += 1;
                let body = its_body.lock().unwrap().clone();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            }
        });
        Self { url, body, asked, task }
    }

    fn serves(&self, body: Vec<u8>) {
        *self.body.lock().unwrap() = body;
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_certificate_that_the_ca_took_back_is_found_by_its_list_and_replaced() {
    let lab = lab().await;
    let web = Web::start().await;
    let company = Company { list: Some(web.url.clone()), ..Company::new(&lab, DAY * 1000) };
    bring(&lab, &company.leaf(&lab, 4711, &["pbx.test"], 90)).await;
    let crl = lab.dir.path().join("list.pem");
    let by_openssl = |list: &[u8]| {
        let der = lab.dir.path().join("list.der");
        std::fs::write(&der, list).unwrap();
        let (der, pem) = (der.to_str().unwrap(), crl.to_str().unwrap());
        assert!(openssl(&["crl", "-inform", "DER", "-in", der, "-out", pem]).0);
        openssl_verifies(&lab, &["-crl_check", "-CRLfile", pem])
    };

    let list = company.revokes(&lab, &[1, 2, 3]);
    let (good, said) = by_openssl(&list);
    assert!(good, "{said}");
    web.serves(list);
    expect(&lab, Topic::Revocation, Verdict::Ok, "not on the CA's list").await;
    expect(&lab, Topic::Revocation, Verdict::Ok, "not on the CA's list").await;
    assert_eq!(web.asked(), 1, "the list is kept");

    lab.clock.forward(SignedDuration::from_hours(13));
    let list = company.revokes(&lab, &[1, 4711]);
    let (good, said) = by_openssl(&list);
    assert!(!good && said.contains("certificate revoked"), "{said}");
    web.serves(list);
    let item = expect(&lab, Topic::Revocation, Verdict::Critical, "the CA revoked it").await;
    assert!(item.text.contains("its private key became known"), "{item:#?}");
    assert_eq!(web.asked(), 2);
    let state = lab.store.certificate("pbx").unwrap().state().unwrap();
    assert_eq!(state.revoked.unwrap().fingerprint, lab.newest().unwrap().leaf.fingerprint);
    check(&lab).await;
    let told = lab.history().into_iter().filter(|what| what == "revoked").count();
    assert_eq!(told, 1, "history is told once");

    bring(&lab, &company.leaf(&lab, 4712, &["pbx.test"], 90)).await;
    expect(&lab, Topic::Revocation, Verdict::Ok, "not on the CA's list").await;
}

#[tokio::test]
async fn a_revoked_certificate_of_the_ca_is_ordered_anew() {
    let lab = Lab::with("trust-anchor = \"DIR/ca.pem\"\n", "").await;
    lab.pass().await;
    let first = lab.newest().unwrap();
    let store = lab.store.certificate("pbx").unwrap();
    let writer = store.try_lock(lab.clock.now()).unwrap().unwrap();
    let mut state = store.state().unwrap();
    state.revoked = Some(pbxcert::state::RevokedLeaf {
        fingerprint: first.leaf.fingerprint,
        at: lab.clock.now(),
    });
    writer.remember(&state).unwrap();
    drop(writer);
    lab.clock.forward(SignedDuration::from_hours(2));
    let stop = std::cell::Cell::new(false);
    let reconciler = lab.reconciler(&stop);
    let spec = &lab.config.certificates[0];
    let seen = reconciler.observe(spec).unwrap();
    // Renewal information is asked first; then it is ordered.
    let action = reconciler.next(spec, &seen, lab.clock.now());
    let ordered = matches!(&action, Action::Issue { reason: Reason::Revoked, .. });
    assert!(ordered || action == Action::AskRenewalInfo, "{action:?}");
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, first.number + 1);
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, first.number + 1, "once");
}

#[tokio::test]
async fn without_its_list_nobody_knows_whether_a_certificate_was_revoked() {
    let mut lab = lab().await;
    let web = Web::start().await;
    let company = Company { list: Some(web.url.clone()), ..Company::new(&lab, DAY * 1000) };
    bring(&lab, &company.leaf(&lab, 7, &["pbx.test"], 90)).await;
    let unknown = Verdict::Unknown;
    web.serves(b"<html>captive portal</html>".to_vec());
    expect(&lab, Topic::Revocation, unknown, "cannot be read").await;
    // Of somebody else with the same name.
    let stranger = Company::new(&lab, DAY * 1000);
    company.trusted_by(&lab);
    web.serves(stranger.revokes(&lab, &[]));
    expect(&lab, Topic::Revocation, unknown, "the signature on it is not that of the CA").await;
    web.serves(company.revokes(&lab, &[]));
    expect(&lab, Topic::Revocation, Verdict::Ok, "not on the CA's list").await;
    // Kept, so that a CA that is down for a while is no alarm; past its time it is.
    drop(web);
    lab.clock.forward(DAY * 2);
    expect(&lab, Topic::Revocation, Verdict::Ok, "not on the CA's list").await;
    lab.clock.forward(DAY * 6);
    let item = expect(&lab, Topic::Revocation, unknown, "cannot be fetched").await;
    assert!(item.counts && item.next.unwrap().contains("[[ignore]]"));
    lab.config.check.offline = true;
    let item = expect(&lab, Topic::Revocation, unknown, "offline = true").await;
    assert!(!item.counts, "nobody is warned of what nobody asks for");
}

#[tokio::test]
async fn no_certificate_sends_us_to_an_address_that_is_not_public() {
    let mut lab = lab().await;
    lab.world.may_fetch = pbxcert::http::public::is_public;
    let web = Web::start().await;
    let company = Company { list: Some(web.url.clone()), ..Company::new(&lab, DAY * 1000) };
    bring(&lab, &company.leaf(&lab, 7, &["pbx.test"], 90)).await;
    web.serves(company.revokes(&lab, &[7]));
    expect(&lab, Topic::Revocation, Verdict::Unknown, "an address that is not public").await;
    assert_eq!(web.asked(), 0);
}

#[tokio::test]
async fn a_ca_that_wants_it_replaced_at_once_is_heard() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    let now = lab.clock.now();
    let says = |ends: Timestamp| {
        let store = lab.store.certificate("pbx").unwrap();
        let writer = store.try_lock(now).unwrap().unwrap();
        let mut state = store.state().unwrap();
        state.ari = Some(Ari {
            cert_id: lab.newest().unwrap().leaf.cert_id().unwrap(),
            window: Some(Window { start: ends.checked_sub(DAY).unwrap(), end: ends }),
            explanation: None,
            asked_at: now,
            ask_again_at: now.checked_add(DAY).unwrap(),
        });
        writer.remember(&state).unwrap();
    };
    says(now.checked_add(DAY * 60).unwrap());
    expect(&lab, Topic::Revocation, Verdict::Unknown, "names no list").await;
    says(now.checked_sub(SignedDuration::from_mins(1)).unwrap());
    expect(&lab, Topic::Revocation, Verdict::Warning, "the CA wants it replaced at once").await;
}

#[tokio::test]
async fn files_that_were_changed_by_hand_are_found() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    let path = lab.target("fullchain.pem");
    let right = std::fs::read(&path).unwrap();
    expect(&lab, Topic::Files, Verdict::Ok, "byte for byte").await;
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\noops\n").unwrap();
    expect(&lab, Topic::Files, Verdict::Critical, "was changed").await;
    std::fs::write(&path, &right).unwrap();
    expect(&lab, Topic::Files, Verdict::Ok, "byte for byte").await;
    std::fs::remove_file(&path).unwrap();
    expect(&lab, Topic::Files, Verdict::Critical, "is missing").await;
    std::fs::write(&path, &right).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    lab.plant_foreign_pair(30);
    expect(&lab, Topic::Files, Verdict::Warning, "somebody put another certificate there").await;
}

#[tokio::test]
async fn a_private_key_that_everybody_can_read_is_found() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    let path = lab.target("privkey.pem");
    let at_the_key = |report: &CheckReport| {
        let place = path.display().to_string();
        let found = items(report, Topic::Hygiene);
        found.into_iter().find(|item| item.place.as_ref() == Some(&place)).unwrap().clone()
    };
    assert_eq!(at_the_key(&check(&lab).await).verdict, Verdict::Ok);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = at_the_key(&check(&lab).await);
    assert_eq!(found.verdict, Verdict::Warning);
    let next = found.next.unwrap();
    assert_eq!(next, format!("chmod 0600 {}", path.display()));
    // What it says helps.
    let words: Vec<&str> = next.split(' ').collect();
    assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success());
    assert_eq!(at_the_key(&check(&lab).await).verdict, Verdict::Ok);
}

/// Which leaf openssl sees; the lab's own server answers meanwhile.
async fn shown_to_openssl(address: String) -> String {
    let look = move || openssl(&["s_client", "-connect", &address, "-showcerts"]).1;
    let said = tokio::task::spawn_blocking(look).await.unwrap();
    let pem = &said[said.find("-----BEGIN").unwrap()..];
    Fingerprint::of(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).short()
}

#[tokio::test]
async fn an_endpoint_that_serves_something_else_is_found() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    let live = lab.newest().unwrap().leaf.fingerprint.short();
    expect(&lab, Topic::Served, Verdict::Ok, &live).await;
    let address = format!("127.0.0.1:{}", lab.service.port);
    let shown = shown_to_openssl(address.clone()).await;
    assert_eq!(shown, live);
    let other = company.leaf(&lab, 66, &["pbx.test"], 90);
    lab.service.lie(&other);
    let item = expect(&lab, Topic::Served, Verdict::Critical, "not ours").await;
    assert!(item.text.contains(&live), "which one is wanted: {item:#?}");
    let shown = shown_to_openssl(address).await;
    assert_eq!(shown, other.leaf().fingerprint.short());
    lab.service.take();
    expect(&lab, Topic::Served, Verdict::Ok, &live).await;
    let lab = lab.with_closed_port();
    expect(&lab, Topic::Served, Verdict::Critical, "nobody listens").await;
    let mut lab = lab.with_open_port();
    lab.config.services[0].endpoints[0].host = "nowhere.invalid".to_owned();
    expect(&lab, Topic::Served, Verdict::Unknown, "cannot be reached").await;
}

#[tokio::test]
async fn an_endpoint_that_takes_tls_1_1_is_found() {
    let mut lab = lab().await;
    let pair = Pair::in_folder(lab.dir.path());
    pair.write_self_signed("pbx.test");
    let at_the_endpoint = |report: &CheckReport| {
        let found = items(report, Topic::Hygiene);
        let tls = |item: &&&Item| item.place.as_ref().is_some_and(|place| place.contains("://"));
        (*found.iter().find(tls).unwrap()).clone()
    };
    let old = ["-min_protocol", "TLSv1.1", "-cipher", "ALL:@SECLEVEL=0"];
    let Some(server) = Openssl::start(&pair, &old) else { return };
    lab.config.services[0].endpoints[0].port = server.tls.port();
    let found = at_the_endpoint(&check(&lab).await);
    assert_eq!(found.verdict, Verdict::Warning, "{found:#?}");
    assert!(found.text.contains("TLS 1.1"), "{found:#?}");
    drop(server);
    let Some(server) = Openssl::start(&pair, &["-min_protocol", "TLSv1.2"]) else { return };
    lab.config.services[0].endpoints[0].port = server.tls.port();
    let found = at_the_endpoint(&check(&lab).await);
    assert_eq!(found.verdict, Verdict::Ok, "{found:#?}");
    drop(server);
    let found = at_the_endpoint(&check(&lab).await);
    assert_eq!(found.verdict, Verdict::Unknown, "{found:#?}");
}

/// A mail server that can be told to offer no STARTTLS.
async fn mail(bundle: &Bundle, offers: Arc<std::sync::atomic::AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config =
        config.with_single_cert(bundle.chain().to_vec(), bundle.key().to_rustls()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (acceptor, offers) = (acceptor.clone(), offers.clone());
            tokio::spawn(async move {
                let mut said = [0; 512];
                stream.write_all(b"220 mail ESMTP\r\n").await?;
                let greeted = stream.read(&mut said).await?;
                assert!(greeted > 0, "EHLO");
                if !offers.load(std::sync::atomic::Ordering::SeqCst) {
                    return stream.write_all(b"250 mail\r\n").await;
                }
                stream.write_all(b"250-mail\r\n250 STARTTLS\r\n").await?;
                let asked = stream.read(&mut said).await?;
                assert!(asked > 0, "STARTTLS");
                stream.write_all(b"220 go ahead\r\n").await?;
                let mut tls = acceptor.accept(stream).await?;
                let _ = tls.read(&mut said).await;
                Ok::<_, std::io::Error>(())
            });
        }
    });
    address
}

#[tokio::test]
async fn starttls_that_is_gone_is_found_however_often_one_looks() {
    let mut lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    let bundle = company.leaf(&lab, 1, &["pbx.test"], 90);
    bring(&lab, &bundle).await;
    let offers = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let address = mail(&bundle, offers.clone()).await;
    let endpoint = &mut lab.config.services[0].endpoints[0];
    endpoint.protocol = pbxcert::config::Protocol::SmtpStarttls;
    endpoint.port = address.port();
    let place = endpoint.to_string();
    let hygiene = |report: &CheckReport| {
        let found = items(report, Topic::Hygiene);
        found.into_iter().find(|item| item.place.as_ref() == Some(&place)).unwrap().clone()
    };
    assert_eq!(hygiene(&check(&lab).await).verdict, Verdict::Ok);
    offers.store(false, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..2 {
        let found = hygiene(&check(&lab).await);
        assert_eq!(found.verdict, Verdict::Critical, "{found:#?}");
        assert!(found.text.contains("it does not offer STARTTLS"), "{found:#?}");
    }
    offers.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(hygiene(&check(&lab).await).verdict, Verdict::Ok);
}

/// Says in the kernel's words who listens.
fn listens(lab: &Lab, addresses: &[SocketAddr]) {
    let mut table = String::from("  sl  local_address rem_address   st\n");
    for (n, address) in addresses.iter().enumerate() {
        let SocketAddr::V4(v4) = address else { panic!("IPv4 only") };
        let ip = u32::from_ne_bytes(v4.ip().octets());
        let port = v4.port();
        table.push_str(&format!(
            "   {n}: {ip:08X}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 \
             {} 1\n",
            4700 + n
        ));
    }
    std::fs::write(lab.world.root.join("proc/net/tcp"), table).unwrap();
}

#[tokio::test]
async fn a_listener_that_nobody_looks_after_is_told_with_its_end() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    expect(&lab, Topic::Unmanaged, Verdict::Ok, "nothing else on this host speaks TLS").await;
    let folder = lab.dir.path().join("other");
    std::fs::create_dir_all(folder.join("phone")).unwrap();
    let other = crate::lab::LabService::start(folder.clone()).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = SocketAddr::from(([127, 0, 0, 1], lab.service.port));
    let foreign = SocketAddr::from(([127, 0, 0, 1], other.port));
    listens(&lab, &[own, foreign, plain.local_addr().unwrap()]);
    // Its holder, in the kernel's words.
    let process = lab.world.root.join("proc/812");
    std::fs::create_dir_all(process.join("fd")).unwrap();
    std::fs::write(process.join("comm"), "vendor-web\n").unwrap();
    std::os::unix::fs::symlink("socket:[4701]", process.join("fd/7")).unwrap();
    other.lie(&company.leaf(&lab, 5, &["phone.test"], 60));
    let item = expect(&lab, Topic::Unmanaged, Verdict::Ok, "not managed; phone.test ends").await;
    assert!(item.text.starts_with("vendor-web (pid 812)"), "{item:#?}");
    assert_eq!(item.place, Some(foreign.to_string()));
    other.lie(&company.leaf(&lab, 6, &["phone.test"], 5));
    expect(&lab, Topic::Unmanaged, Verdict::Warning, "(in 4 days)").await;
    other.lie(&company.leaf(&lab, 7, &["phone.test"], 60));
    expect(&lab, Topic::Unmanaged, Verdict::Ok, "not managed").await;
    std::fs::remove_file(lab.world.root.join("proc/net/tcp")).unwrap();
    expect(&lab, Topic::Unmanaged, Verdict::Unknown, "cannot be seen").await;
}

fn write(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn enable(root: &Path, unit: &str) {
    let folder = root.join("etc/systemd/system/timers.target.wants");
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink("/lib/systemd/system/x", folder.join(unit)).unwrap();
}

#[tokio::test]
async fn certbot_that_renews_our_name_is_told_with_what_switches_it_off() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    let root = lab.world.root.clone();
    expect(&lab, Topic::OtherClient, Verdict::Ok, "no other program").await;
    let pem = company.leaf(&lab, 9, &["pbx.test"], 60).cert_pem();
    write(root.join("etc/letsencrypt/archive/shop/cert1.pem"), &pem);
    let conf = root.join("etc/letsencrypt/renewal/shop.conf");
    write(conf.clone(), "cert = /etc/letsencrypt/archive/shop/cert1.pem\n[renewalparams]\n");
    expect(&lab, Topic::OtherClient, Verdict::Ok, "nothing was found that runs it").await;
    enable(&root, "certbot.timer");
    let found = expect(&lab, Topic::OtherClient, Verdict::Warning, "certbot renews pbx.test").await;
    let off = "mv /etc/letsencrypt/renewal/shop.conf /etc/letsencrypt/renewal/shop.conf.off";
    assert_eq!(found.next.as_deref(), Some(off));
    std::fs::rename(&conf, conf.with_extension("conf.off")).unwrap();
    expect(&lab, Topic::OtherClient, Verdict::Ok, "no other program").await;
    std::fs::remove_dir_all(&root).unwrap();
    expect(&lab, Topic::OtherClient, Verdict::Unknown, "cannot be looked at").await;
}

#[tokio::test]
async fn every_other_client_that_is_known_is_found() {
    let lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    let pem = company.leaf(&lab, 9, &["pbx.test"], 60).cert_pem();
    let root = lab.world.root.clone();
    let cron = "0 3 * * * root \"/root/.acme.sh\"/acme.sh --cron\n";
    write(root.join("var/spool/cron/crontabs/root"), cron);
    write(
        root.join("root/.acme.sh/pbx.test_ecc/pbx.test.conf"),
        "Le_Domain='pbx.test'\nLe_Alt='no'\n",
    );
    write(root.join("etc/dehydrated/domains.txt"), "# ours\nwww.test pbx.test > shop\n");
    write(root.join("etc/cron.daily/dehydrated"), "#!/bin/sh\nexec dehydrated -c\n");
    write(root.join("etc/asterisk/keys/pbx.test/fullchain.pem"), &pem);
    write(root.join("var/spool/cron/crontabs/asterisk"), "0 1 * * * fwconsole job --run\n");
    let caddy = "var/lib/caddy/.local/share/caddy/certificates/acme/pbx.test/pbx.test.crt";
    write(root.join(caddy), &pem);
    enable(&root, "caddy.service");
    std::fs::create_dir_all(root.join("etc/systemd/system/multi-user.target.wants")).unwrap();
    write(root.join("var/lib/lego/certificates/pbx.test.crt"), &pem);
    write(root.join("etc/cron.d/lego"), "5 5 * * * root lego renew\n");
    write(root.join("etc/apache2/md/domains/pbx.test/pubcert.pem"), &pem);
    write(root.join("etc/apache2/mods-enabled/md.load"), "LoadModule md_module x\n");
    // Of somebody else's name: no matter of ours.
    write(root.join("root/.acme.sh/www.test/www.test.conf"), "Le_Domain='www.test'\n");
    let report = check(&lab).await;
    let found = items(&report, Topic::OtherClient);
    for program in ["acme.sh", "dehydrated", "FreePBX certman", "Caddy", "lego", "mod_md"] {
        let one = found.iter().find(|item| item.text.starts_with(program));
        let one = one.unwrap_or_else(|| panic!("{program}: {found:#?}"));
        assert_eq!((one.verdict, &*one.object), (Verdict::Warning, "pbx"), "{one:#?}");
        assert!(one.next.is_some(), "{one:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_told_and_holds_up_no_other() {
    let mut lab = lab().await;
    let company = Company::new(&lab, DAY * 1000);
    bring(&lab, &company.leaf(&lab, 1, &["pbx.test"], 90)).await;
    // Takes connections, and says nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = lab.config.services[0].endpoints[0].clone();
    for _ in 0..18 {
        lab.config.services[0].endpoints.push(own.clone());
    }
    let hangs = pbxcert::config::Endpoint {
        port: deaf.local_addr().unwrap().port(),
        timeout: std::time::Duration::from_millis(500),
        ..own
    };
    lab.config.services[0].endpoints.push(hangs.clone());
    let report = check(&lab).await;
    let served = items(&report, Topic::Served);
    let place = Some(hangs.to_string());
    let (hung, others): (Vec<&Item>, Vec<&Item>) =
        served.into_iter().partition(|item| item.place == place);
    assert_eq!((hung.len(), others.len()), (1, 19));
    assert_ne!(hung[0].verdict, Verdict::Ok);
    assert!(others.iter().all(|item| item.verdict == Verdict::Ok), "{others:#?}");
    if let Ok(path) = std::env::var("PBXCERT_MEASURE") {
        std::fs::write(path, report.took.to_string()).unwrap();
    }
}
