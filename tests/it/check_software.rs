//! The daily check of software: signed advisories over https and as a file, updates that wait, and
//! the count of days without a source. Each verdict is seen going over and coming back by changing
//! what is looked at.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use pbxcert::check::Checker;
use pbxcert::clock::Clock as _;
use pbxcert::minisign::PrivateKey;
use pbxcert::policy::health;
use pbxcert::state::Condition;
use pbxcert::state::check::{CheckReport, Item, Topic, Verdict};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::host::Host;
use crate::lab::Lab;
use crate::real;

/// A vendor with a key, its server, and a machine that asks it.
struct Stand {
    lab: Lab,
    server: Server,
    key: PrivateKey,
    sequence: u64,
    up: u64,
}

impl Stand {
    async fn new(more: &str) -> Self {
        let (server, key) = (Server::start().await, PrivateKey::generate().unwrap());
        let (root, url, public) = (server.root_pem.clone(), server.url(), key.public());
        let lab = Lab::of(|dir, _| {
            std::fs::write(dir.join("server.pem"), &root).unwrap();
            let hook = dir.join("hook");
            std::fs::write(
                &hook,
                format!("#!/bin/sh\necho \"$PBXCERT_EVENT\" >> {}/hooks\n", dir.display()),
            )
            .unwrap();
            mode(&hook, 0o755);
            format!("{}[check]\nadvisory-keys = [\"{public}\"]\n{more}\n", Lab::head(dir)).replace(
                "URL",
                &format!("advisory-url = {url:?}\ntrust-anchor = \"DIR/server.pem\""),
            )
        })
        .await;
        let mut stand = Self { lab, server, key, sequence: 0, up: 1000 };
        stand.lab.world.root = stand.lab.dir.path().canonicalize().unwrap().join("root");
        stand.file("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
        stand.file("proc/sys/kernel/random/boot_id", "5f9f6d3c-one-boot\n");
        stand.network(true);
        stand.asterisk("1:16.28.0~dfsg-0+deb12u3");
        stand
    }

    fn root(&self) -> &Path {
        &self.lab.world.root
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn network(&self, up: bool) {
        let route = if up { "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n" } else { "" };
        self.file("proc/net/route", &format!("Iface\tDestination\tGateway\tFlags\n{route}"));
    }

    fn asterisk(&self, version: &str) {
        self.file(
            "var/lib/dpkg/status",
            &format!(
                "Package: asterisk\nStatus: install ok installed\nArchitecture: amd64\n\
                 Version: {version}\n\n"
            ),
        );
    }

    /// A new document with one issue of Asterisk.
    fn document(&mut self) -> Value {
        self.sequence += 1;
        let now = self.lab.clock.now();
        let hours = |n| now.checked_add(SignedDuration::from_hours(n)).unwrap().to_string();
        json!({
            "schema": 1, "sequence": self.sequence, "issued": hours(-1), "expires": hours(24 * 14),
            "items": [{
                "id": "CVE-2026-1", "product": "asterisk", "severity": "high", "exploited": true,
                "fixed": {"debian-12": "1:16.28.0~dfsg-0+deb12u4", "upstream": "20.5.2"},
                "text": "calls without a password",
            }],
        })
    }

    /// Serves a document, signed as it should be.
    fn publish(&self, document: &Value) {
        let text = document.to_string();
        let signature = self.key.sign(text.as_bytes(), "timestamp:1");
        self.server.serve("/a.json", Answer::good(text.as_bytes()));
        self.server.serve("/a.json.minisig", Answer::good(signature.as_bytes()));
    }

    fn drop_file(&self, document: &Value) {
        let path = self.lab.config.check.advisories.file.as_ref().unwrap();
        let text = document.to_string();
        std::fs::write(path, &text).unwrap();
        let signature = self.key.sign(text.as_bytes(), "by hand");
        std::fs::write(beside(path), signature).unwrap();
    }

    async fn check(&self) -> CheckReport {
        self.file("proc/uptime", &format!("{}.07 9.9\n", self.up));
        let Lab { world, store, config, .. } = &self.lab;
        let writer = store.try_lock_check().unwrap().unwrap();
        Checker { world, store, config }.run(&writer).await.unwrap()
    }

    async fn items(&self, topic: Topic) -> Vec<Item> {
        self.check().await.items.into_iter().filter(|item| item.topic == topic).collect()
    }

    /// What is said of Asterisk, of the document, and of the source.
    async fn verdicts(&self) -> (Option<Verdict>, Option<Verdict>, Option<Verdict>) {
        let report = self.check().await;
        let of = |topic, place: &str| {
            let is = |item: &&Item| {
                item.topic == topic && item.place.as_deref().is_some_and(|p| p.starts_with(place))
            };
            report.items.iter().find(is).map(|item| item.verdict)
        };
        let advisories = Topic::Advisories;
        (of(advisories, "asterisk"), of(advisories, "document"), of(Topic::Sources, "https"))
    }

    fn a_day_passes(&mut self) {
        self.lab.clock.forward(SignedDuration::from_hours(24));
        self.up += 24 * 3600;
    }

    fn hooks(&self) -> String {
        std::fs::read_to_string(self.lab.dir.path().join("hooks")).unwrap_or_default()
    }
}

fn beside(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.minisig", path.display()))
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

const GOOD: Option<Verdict> = Some(Verdict::Ok);
const WARNING: Option<Verdict> = Some(Verdict::Warning);
const CRITICAL: Option<Verdict> = Some(Verdict::Critical);
const UNKNOWN: Option<Verdict> = Some(Verdict::Unknown);

#[tokio::test]
async fn an_advisory_hits_until_the_package_is_updated() {
    let mut stand = Stand::new("URL\non-vulnerable = [\"DIR/hook\"]").await;
    let document = stand.document();
    stand.publish(&document);
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD));
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD));
    assert_eq!(stand.hooks(), "vulnerable\n", "told once");
    stand.asterisk("1:16.28.0~dfsg-0+deb12u4");
    assert_eq!(stand.verdicts().await, (GOOD, GOOD, GOOD));
    stand.asterisk("1:16.28.0~dfsg-0+deb12u3");
    let mut milder = stand.document();
    milder["items"][0]["exploited"] = false.into();
    stand.publish(&milder);
    assert_eq!(stand.verdicts().await, (WARNING, GOOD, GOOD));
    let mut mended = stand.document();
    mended["items"] = json!([]);
    stand.publish(&mended);
    let report = stand.check().await;
    assert!(!health::findings(&report).iter().any(|f| f.condition == Condition::Vulnerable));
}

#[tokio::test]
async fn a_document_that_is_not_to_be_believed_changes_nothing() {
    let mut stand = Stand::new("URL").await;
    assert_eq!(stand.verdicts().await, (None, UNKNOWN, WARNING), "nothing there yet");
    let first = stand.document();
    stand.publish(&first);
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD));
    let good = stand.document();
    stand.publish(&good);
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD));
    // What was kept stays in use, and says the same; the source says what is wrong.
    let mut harmless = stand.document();
    harmless["items"] = json!([]);
    let text = harmless.to_string();
    let other = PrivateKey::generate().unwrap();
    let long = vec![b' '; 10 << 20];
    let mut expired = harmless.clone();
    expired["expires"] = harmless["issued"].clone();
    expired["issued"] = "2026-01-01T00:00:00Z".into();
    let mut strange = harmless.clone();
    strange["schema"] = 7.into();
    let signed = |text: &str| stand.key.sign(text.as_bytes(), "");
    let (expired, strange, first) = (expired.to_string(), strange.to_string(), first.to_string());
    let answer = Answer::good;
    for (what, document, signature, words) in [
        ("forged", answer(text.as_bytes()), signed(&first), "changed after it was signed"),
        ("other key", answer(text.as_bytes()), other.sign(text.as_bytes(), ""), "is none of those"),
        ("rolled back", answer(first.as_bytes()), signed(&first), "is lower than 2"),
        ("expired", answer(expired.as_bytes()), signed(&expired), "it expired on"),
        ("strange", answer(strange.as_bytes()), signed(&strange), "schema 7"),
        ("no signature", answer(text.as_bytes()), "x".to_owned(), "no signature of minisign"),
        ("long", answer(&long), signed(&text), "longer than"),
        ("a little long", answer(&long[..17_000]), signed(&text), "longer than 16384 bytes"),
        ("not there", Answer { status: 404, ..answer(b"") }, signed(&text), "404"),
    ] {
        stand.server.serve("/a.json", document);
        stand.server.serve("/a.json.minisig", answer(signature.as_bytes()));
        let source = &stand.items(Topic::Sources).await[0];
        assert!(source.text.contains(words), "{what}: {}", source.text);
        assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, WARNING), "{what}");
    }
    // What passes by itself is no warning, and no day.
    for (what, document) in [
        ("broken", Answer { status: 503, ..answer(b"later") }),
        ("truncated", Answer { cut: true, ..answer(text.as_bytes()) }),
    ] {
        stand.server.serve("/a.json", document);
        assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD), "{what}");
        let source = &stand.items(Topic::Sources).await[0];
        assert!(source.text.contains("counts for nothing"), "{what}: {}", source.text);
        assert_eq!(source.metrics[0].value, 0.0, "{what}");
    }
    stand.publish(&harmless);
    assert_eq!(stand.verdicts().await.1, GOOD);
    assert_eq!(stand.verdicts().await.2, GOOD);
}

#[tokio::test]
async fn without_a_server_the_last_document_is_used_until_it_ends() {
    let mut stand = Stand::new("URL").await;
    let document = stand.document();
    stand.publish(&document);
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD));
    stand.server.stop().await;
    stand.a_day_passes();
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD));
    let source = &stand.items(Topic::Sources).await[0];
    assert!(source.text.contains("1 of 14"), "{}", source.text);
    stand.lab.clock.forward(SignedDuration::from_hours(24 * 20));
    let (asterisk, document, _) = stand.verdicts().await;
    assert_eq!((asterisk, document), (None, UNKNOWN), "expired");
    // The key is believed no more.
    stand.lab.config.check.advisories.keys =
        vec![PrivateKey::generate().unwrap().public().to_string()];
    assert_eq!(stand.verdicts().await.1, UNKNOWN);
}

#[tokio::test]
async fn fourteen_days_without_a_source_restrict_and_one_success_restores() {
    let hooks = "URL\non-restricted = [\"DIR/hook\"]\non-restored = [\"DIR/hook\"]";
    let mut stand = Stand::new(hooks).await;
    stand.server.stop().await;
    for day in 1..=16 {
        let report = stand.check().await;
        let source = report.items.iter().find(|item| item.topic == Topic::Sources).unwrap();
        let expected = match day {
            1..10 => Verdict::Ok,
            10..14 => Verdict::Warning,
            _ => Verdict::Critical,
        };
        assert_eq!(source.verdict, expected, "day {day}: {}", source.text);
        let told = health::findings(&report).into_iter().map(|f| f.condition);
        let told: Vec<Condition> =
            told.filter(|c| [Condition::Sources, Condition::Restricted].contains(c)).collect();
        let expected: &[Condition] = match day {
            1..10 => &[],
            10..14 => &[Condition::Sources],
            _ => &[Condition::Restricted],
        };
        assert_eq!(told, expected, "day {day}");
        assert_eq!(stand.hooks(), if day < 14 { "" } else { "restricted\n" }, "day {day}");
        stand.a_day_passes();
    }
    stand.server.go_on().await;
    let document = stand.document();
    stand.publish(&document);
    assert_eq!(stand.verdicts().await.2, GOOD);
    assert_eq!(stand.verdicts().await.2, GOOD);
    assert_eq!(stand.hooks(), "restricted\nrestored\n");
}

#[tokio::test]
async fn a_signed_grace_restores_and_offline_silences() {
    let hooks = "URL\nadvisory-file = \"DIR/dropped.json\"\non-restored = [\"DIR/hook\"]";
    let mut stand = Stand::new(hooks).await;
    stand.server.stop().await;
    for _ in 0..14 {
        stand.check().await;
        stand.a_day_passes();
    }
    assert_eq!(stand.verdicts().await.2, CRITICAL);
    let mut document = stand.document();
    let until = stand.lab.clock.now().checked_add(SignedDuration::from_hours(24 * 10)).unwrap();
    document["grace"] = json!({"until": until.to_string(), "reason": "the line is being dug up"});
    stand.drop_file(&document);
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD));
    assert_eq!(stand.hooks(), "restored\n");
    for _ in 0..9 {
        stand.a_day_passes();
        assert_eq!(stand.items(Topic::Sources).await[0].metrics[0].value, 0.0);
    }
    stand.lab.config.check.offline = true;
    let source = &stand.items(Topic::Sources).await[0];
    assert!(!source.counts && source.text.contains("not applicable"), "{}", source.text);
    let asked = stand.server.asked();
    stand.check().await;
    assert_eq!(stand.server.asked(), asked, "nothing is fetched");
}

#[tokio::test]
async fn no_network_is_no_day() {
    let mut stand = Stand::new("URL").await;
    stand.server.stop().await;
    stand.network(false);
    for _ in 0..20 {
        let source = &stand.items(Topic::Sources).await[0];
        assert_eq!((source.verdict, source.metrics[0].value), (Verdict::Unknown, 0.0));
        stand.a_day_passes();
    }
}

#[tokio::test]
async fn a_dropped_file_is_believed_when_it_is_signed() {
    let mut stand = Stand::new("advisory-file = \"DIR/dropped.json\"").await;
    assert_eq!(stand.verdicts().await, (None, UNKNOWN, None), "not there yet");
    let document = stand.document();
    stand.drop_file(&document);
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, None));
    let path = stand.lab.config.check.advisories.file.clone().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("CVE-2026-1", "CVE-2026-2")).unwrap();
    assert_eq!(stand.verdicts().await, (CRITICAL, WARNING, None), "the one before stays in use");
    let real = path.with_file_name("real.json");
    std::fs::write(&real, &text).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&real, &path).unwrap();
    assert_eq!(stand.verdicts().await, (CRITICAL, WARNING, None), "no link is followed");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, None), "taken, and tidied up");
    let document = stand.document();
    stand.drop_file(&document);
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, None));
}

#[tokio::test]
async fn the_way_is_through_the_proxy_and_no_other() {
    let mut stand = Stand::new("URL").await;
    let proxy = Proxy::start().await;
    stand.lab.config.check.proxy =
        Some(pbxcert::config::Proxy { url: format!("http://{}", proxy.address), auth_file: None });
    let document = stand.document();
    stand.publish(&document);
    assert_eq!(stand.verdicts().await, (CRITICAL, GOOD, GOOD));
    assert_eq!(proxy.tunnels.load(Ordering::SeqCst), 2, "the document, and its signature");
    let asked = stand.server.asked();
    drop(proxy);
    stand.a_day_passes();
    let source = &stand.items(Topic::Sources).await[0];
    assert_eq!(source.metrics[0].value, 1.0, "{}", source.text);
    assert_eq!(stand.server.asked(), asked, "never around the proxy");
}

#[tokio::test]
async fn nothing_configured_is_not_applicable_and_counts_nowhere() {
    let stand = Stand::new("").await;
    for topic in [Topic::Sources, Topic::Advisories, Topic::Licence] {
        let items = stand.items(topic).await;
        assert!(items.len() == 1 && !items[0].counts, "{items:?}");
    }
}

#[tokio::test]
async fn security_updates_come_and_go() {
    let stand = Stand::new("").await;
    let verdict = async || stand.items(Topic::Updates).await[0].verdict;
    assert_eq!(verdict().await, Verdict::Unknown, "no index");
    let list = "var/lib/apt/lists/deb.debian.org_debian-security_dists_bookworm-security_main_\
                binary-amd64_Packages";
    let offer = |version: &str| {
        let package = "Package: asterisk\nArchitecture: amd64\n";
        stand.file(list, &format!("{package}Version: {version}\n\n"));
    };
    stand.file("var/lib/apt/lists/partial/x", "");
    // Files are made by the clock of this machine; the lab's may be behind, and then they are new.
    offer("1:16.28.0~dfsg-0+deb12u3");
    assert_eq!(verdict().await, Verdict::Ok);
    offer("1:16.28.0~dfsg-0+deb12u4");
    assert_eq!(verdict().await, Verdict::Warning);
    stand.asterisk("1:16.28.0~dfsg-0+deb12u4");
    assert_eq!(verdict().await, Verdict::Ok);
    std::fs::remove_file(stand.root().join(list)).unwrap();
    assert_eq!(verdict().await, Verdict::Unknown);
}

#[tokio::test]
async fn minisign_and_pbxcert_read_each_others_keys_and_signatures() {
    let Some(minisign) = real::program("minisign") else { return };
    let host = Host::new().await;
    let dir = host.dir.path().canonicalize().unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let now = Timestamp::now();
    let hours = |n| now.checked_add(SignedDuration::from_hours(n)).unwrap().to_string();
    let document = json!({"schema": 1, "sequence": 3, "issued": hours(-1), "expires": hours(48)});
    std::fs::write(path("a.json"), document.to_string()).unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(&minisign).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Ours: made, signed, taken by both.
    let made = host.pbxcert(&["advisories", "keygen", &path("ours.key")]).await.expect(0);
    let line = made.out.split('"').nth(1).unwrap().to_owned();
    host.pbxcert(&["advisories", "keygen", &path("ours.key")])
        .await
        .expect(1)
        .says("never written over");
    let (file, key) = (path("a.json"), path("ours.key"));
    host.pbxcert(&["advisories", "sign", &file, "--key", &key]).await.expect(0);
    let verify = ["advisories", "verify", file.as_str(), "--key", line.as_str()];
    host.pbxcert(&verify).await.expect(0).says("good: number 3");
    run(&["-V", "-P", &line, "-m", &file]);
    run(&["-S", "-W", "-s", &key, "-m", &file]);
    host.pbxcert(&verify).await.expect(0).says("good: number 3");
    // Theirs: a key without a password, in both forms of signatures.
    let (secret, public) = (path("their.key"), path("their.pub"));
    run(&["-G", "-W", "-s", &secret, "-p", &public]);
    let text = std::fs::read_to_string(&public).unwrap();
    let their = text.lines().nth(1).unwrap();
    let verify = ["advisories", "verify", file.as_str(), "--key", their];
    host.pbxcert(&verify).await.expect(1).says("none of those that are believed");
    for form in ["-S", "-Sl"] {
        run(&[form, "-W", "-s", &secret, "-m", &file]);
        host.pbxcert(&verify).await.expect(0).says("good: number 3");
    }
    host.pbxcert(&["advisories", "sign", &file, "--key", &secret]).await.expect(0);
    run(&["-V", "-P", their, "-m", &file]);
    // A secret that others can read signs nothing.
    mode(Path::new(&secret), 0o644);
    host.pbxcert(&["advisories", "sign", &file, "--key", &secret]).await.expect(77).says("chmod");
}

/// What is answered to a path.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
    /// Half of it, and the end.
    cut: bool,
}

impl Answer {
    fn good(body: &[u8]) -> Self {
        Self { status: 200, body: body.to_vec(), cut: false }
    }
}

type Pages = Arc<Mutex<BTreeMap<String, Answer>>>;

/// An https server on loopback with a root of its own.
struct Server {
    address: SocketAddr,
    root_pem: String,
    tls: tokio_rustls::TlsAcceptor,
    pages: Pages,
    asked: Arc<AtomicUsize>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    async fn start() -> Self {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root_pem = root.self_signed(&key).unwrap().pem();
        let root = Issuer::new(root, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())
            .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Self {
            address: socket.local_addr().unwrap(),
            root_pem,
            tls: tokio_rustls::TlsAcceptor::from(Arc::new(config)),
            pages: Pages::default(),
            asked: Arc::default(),
            task: None,
        };
        server.listen(socket);
        server
    }

    fn listen(&mut self, socket: TcpListener) {
        let (tls, pages, asked) = (self.tls.clone(), self.pages.clone(), self.asked.clone());
        self.task = Some(tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                let (tls, pages, asked) = (tls.clone(), pages.clone(), asked.clone());
                open.spawn(async move { answer(stream, tls, pages, asked).await });
            }
        }));
    }

    fn url(&self) -> String {
        format!("https://{}/a.json", self.address)
    }

    fn serve(&self, path: &str, answer: Answer) {
        self.pages.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Nobody listens any more.
    async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// On the port of before.
    async fn go_on(&mut self) {
        let socket = TcpListener::bind(self.address).await.unwrap();
        self.listen(socket);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn answer(
    stream: TcpStream,
    tls: tokio_rustls::TlsAcceptor,
    pages: Pages,
    asked: Arc<AtomicUsize>,
) {
    let Ok(mut stream) = tls.accept(stream).await else { return };
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let page = pages.lock().unwrap().get(path).cloned();
    let Answer { status, body, cut } =
        page.unwrap_or(Answer { status: 404, body: Vec::new(), cut: false });
    let head = format!(
        "HTTP/1.1 {status} status\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let sent = if cut { &body[..body.len() / 2] } else { &body };
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(sent).await;
    let _ = stream.shutdown().await;
}

/// A proxy that makes tunnels (RFC 9110 section 9.3.6), and counts them.
struct Proxy {
    address: SocketAddr,
    tunnels: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let counted = tunnels.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = socket.accept().await {
                let counted = counted.clone();
                open.spawn(async move {
                    let (mut request, mut byte) = (Vec::new(), [0]);
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read(&mut byte).await {
                            Ok(1) => request.push(byte[0]),
                            _ => return,
                        }
                    }
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let to = text.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
                    let mut origin = TcpStream::connect(to.unwrap()).await.unwrap();
                    counted.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut origin).await;
                });
            }
        });
        Self { address, tunnels, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
