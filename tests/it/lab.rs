//! A laboratory: temporary folders, a clock that is set by hand, a CA in this process, and a TLS
//! service on loopback that takes its files when told to.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pbxcert::acme::{self, Authority, Step};
use pbxcert::cert::bundle::Bundle;
use pbxcert::cert::{Fingerprint, Leaf};
use pbxcert::check::Checker;
use pbxcert::clock::Clock;
use pbxcert::config::{Config, ServiceSpec, file};
use pbxcert::hook;
use pbxcert::policy::reach::Hysteresis;
use pbxcert::probe::TlsProber;
use pbxcert::reconcile::{Pass, Reconciler};
use pbxcert::service::{HookEvent, HookReloader, Reloader};
use pbxcert::state::check::CheckReport;
use pbxcert::state::{Account, Ari, Goal, OrderJournal, ServiceState, Stage, Time};
use pbxcert::store::Store;
use pbxcert::world::World;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Everything a test needs; ends when dropped.
pub struct Lab {
    pub dir: TempDir,
    pub clock: Arc<LabClock>,
    pub ca: Rc<LabCa>,
    pub service: Rc<LabService>,
    pub store: Store,
    pub config: Config,
    pub world: World,
}

impl Lab {
    /// A certificate `pbx`, wanted by one custom service with a folder of ours.
    pub async fn new() -> Self {
        Self::with("", "").await
    }

    /// With further lines for `[[certificate]]` and `[[service]]`; `DIR` stands for the folder, in
    /// which `ca.pem` is the CA's root.
    pub async fn with(certificate: &str, service: &str) -> Self {
        Self::of(|dir, port| {
            format!(
                "{head}{certificate}\n\
                 [[service]]\nkind = \"custom\"\nname = \"sip\"\nreload = [\"/bin/true\"]\n\
                 target-dir = {target:?}\n{TARGET}\
                 endpoint = [\"tls://127.0.0.1:{port}\"]\nproof-timeout = \"2s\"\n{service}\n",
                head = Self::head(dir),
                target = dir.join("tls/pbx"),
            )
        })
        .await
    }

    /// Everything up to the certificate `pbx`, to which more lines may be added.
    pub fn head(dir: &Path) -> String {
        format!(
            "state-dir = {state:?}\ntime = \"unsynchronised\"\n\
             [acme]\ndirectory = \"https://localhost:1/dir\"\ncontact = [\"noc@voip.test\"]\n\
             agree-to-terms = true\n\
             [[certificate]]\nname = \"pbx\"\nnames = [\"pbx.test\"]\nkey = \"ecdsa-p256\"\n",
            state = dir.join("state"),
        )
    }

    /// With a configuration of one's own, made of the folder and the port of the service.
    pub async fn of(configuration: impl Fn(&Path, u16) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Rc::new(LabCa::new());
        std::fs::write(dir.path().join("ca.pem"), &ca.root_pem).unwrap();
        let clock = Arc::new(LabClock(Mutex::new("2026-11-23T12:00:00Z".parse().unwrap())));
        let tls = dir.path().join("tls");
        let lab_service = Rc::new(LabService::start(tls.clone()).await);
        std::fs::create_dir(&tls).unwrap();
        let text = configuration(dir.path(), lab_service.port);
        let path = dir.path().join("pbxcert.toml");
        std::fs::write(&path, text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
        let config = file::load(&path, file::Options::HERE).unwrap_or_else(|e| panic!("{e}"));
        let mut config = config.config;
        for service in &mut config.services {
            // Windows of the lab are in the time of its clock.
            service.calm.zone = jiff::tz::TimeZone::UTC;
        }
        let store = Store::open(&config.state_dir).unwrap();
        let clock_in_world: Arc<dyn Clock> = clock.clone();
        let world = World {
            clock: clock_in_world,
            root: empty_host(&dir.path().join("root")),
            marks: Rc::default(),
            time: Rc::new(|newest| Time {
                trusted: true,
                floor: newest.unwrap_or(Timestamp::UNIX_EPOCH),
                boot_at: None,
            }),
            confirmed: Rc::default(),
            authorities: BTreeMap::from([("acme".to_owned(), ca.clone() as Rc<dyn Authority>)]),
            prober: Rc::new(TlsProber),
            reloader: lab_service.clone(),
            hysteresis: Hysteresis::default(),
            ground: None,
            helper: PathBuf::from(env!("CARGO_BIN_EXE_pbxcert")),
            notifiers: Vec::new(),
            heartbeat: None,
            beat: std::time::Duration::from_secs(3600),
            may_fetch: |ip| ip.is_loopback(),
        };
        Self { dir, clock, ca, service: lab_service, store, config, world }
    }

    /// The same, with the endpoint on a port where nobody listens.
    pub fn with_closed_port(mut self) -> Self {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        self.config.services[0].endpoints[0].port = closed.local_addr().unwrap().port();
        self
    }

    /// The same, with the endpoint where the service listens.
    pub fn with_open_port(mut self) -> Self {
        self.config.services[0].endpoints[0].port = self.service.port;
        self
    }

    /// One pass over every certificate, then over every service; returns the passes by name.
    pub async fn pass(&self) -> BTreeMap<String, Pass> {
        let stop = Cell::new(false);
        let reconciler = self.reconciler(&stop);
        let mut passes = BTreeMap::new();
        for spec in &self.config.certificates {
            let pass = reconciler.certificate(spec).await.unwrap();
            passes.insert(spec.name.clone(), pass);
        }
        for spec in &self.config.services {
            let pass = reconciler.service(spec).await.unwrap();
            passes.insert(spec.name.clone(), pass);
        }
        passes
    }

    /// The daily check, now.
    pub async fn check(&self) -> CheckReport {
        let checker = Checker { world: &self.world, store: &self.store, config: &self.config };
        let writer = self.store.try_lock_check().unwrap().unwrap();
        checker.run(&writer).await.unwrap()
    }

    /// As the daemon has it.
    pub fn reconciler<'a>(&'a self, stop: &'a Cell<bool>) -> Reconciler<'a> {
        Reconciler {
            world: &self.world,
            store: &self.store,
            config: &self.config,
            by_hand: false,
            mend_at_once: false,
            stop,
            progress: &|_| {},
        }
    }

    pub fn state(&self) -> ServiceState {
        self.state_of("sip")
    }

    pub fn state_of(&self, service: &str) -> ServiceState {
        self.store.service(service).unwrap().state().unwrap()
    }

    pub fn newest(&self) -> Option<pbxcert::state::Revision> {
        self.store.certificate("pbx").unwrap().newest().unwrap()
    }

    /// What happened, as words in order.
    pub fn history(&self) -> Vec<String> {
        self.store.history().unwrap().into_iter().map(|e| e.what).collect()
    }

    pub fn target(&self, name: &str) -> PathBuf {
        self.dir.path().join("tls/pbx").join(name)
    }

    /// Puts a pair of somebody else at the targets and lets the service serve it.
    pub fn plant_foreign_pair(&self, days: i64) -> Leaf {
        let bundle = self.ca.bundle_for(
            &["pbx.test"],
            self.clock.now(),
            SignedDuration::from_hours(24 * days),
        );
        std::fs::create_dir_all(self.target("").parent().unwrap()).unwrap();
        std::fs::create_dir_all(self.dir.path().join("tls/pbx")).unwrap();
        let fullchain = format!("{}{}", bundle.cert_pem(), bundle.chain_pem());
        std::fs::write(self.target("fullchain.pem"), fullchain).unwrap();
        std::fs::write(self.target("privkey.pem"), bundle.key().to_pem().as_bytes()).unwrap();
        self.service.take();
        bundle.leaf().clone()
    }
}

/// A host where nobody else is, and nothing listens.
fn empty_host(root: &Path) -> PathBuf {
    std::fs::create_dir_all(root.join("proc/net")).unwrap();
    std::fs::write(root.join("proc/net/tcp"), "  sl  local_address rem_address   st\n").unwrap();
    root.to_owned()
}

/// A clock that stands still until it is moved.
pub struct LabClock(Mutex<Timestamp>);

impl LabClock {
    pub fn forward(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }
}

impl Clock for LabClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A CA in this process: drives orders through every stage.
pub struct LabCa {
    root: Issuer<'static, KeyPair>,
    pub root_pem: String,
    pub lifetime: Cell<SignedDuration>,
    /// Errors to answer with, at the next steps.
    pub failures: RefCell<VecDeque<acme::Error>>,
    /// Takes every connection, and never answers.
    pub hangs: Cell<bool>,
    pub orders: Cell<u32>,
    /// What time it thinks it is.
    pub date: Cell<Option<Timestamp>>,
    issued: RefCell<BTreeMap<String, String>>,
}

impl LabCa {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "lab CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            root_pem: params.self_signed(&key).unwrap().pem(),
            hangs: Cell::new(false),
            root: Issuer::new(params, key),
            lifetime: Cell::new(SignedDuration::from_hours(24 * 90)),
            failures: RefCell::default(),
            orders: Cell::new(0),
            date: Cell::new(None),
            issued: RefCell::default(),
        }
    }

    fn sign(&self, csr: &[u8], now: Timestamp, lifetime: SignedDuration) -> String {
        let mut request = rcgen::CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        let at = |t: Timestamp| time::OffsetDateTime::from_unix_timestamp(t.as_second()).unwrap();
        let begin = now.checked_sub(SignedDuration::from_hours(1)).unwrap();
        request.params.not_before = at(begin);
        request.params.not_after = at(begin.checked_add(lifetime).unwrap());
        request.params.use_authority_key_identifier_extension = true;
        request.params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        request.signed_by(&self.root).unwrap().pem()
    }

    pub fn bundle_for(&self, names: &[&str], now: Timestamp, lifetime: SignedDuration) -> Bundle {
        let key =
            pbxcert::cert::bundle::PrivateKey::generate(pbxcert::cert::KeyType::EcdsaP256).unwrap();
        self.bundle_with(key, names, now, lifetime)
    }

    pub fn bundle_with(
        &self,
        key: pbxcert::cert::bundle::PrivateKey,
        names: &[&str],
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Bundle {
        let names: Vec<_> = names.iter().map(|n| n.parse().unwrap()).collect();
        let pem = self.sign(&key.csr(&names).unwrap(), now, lifetime);
        Bundle::parse(pem.as_bytes(), key).unwrap()
    }
}

impl LabCa {
    /// What a web shop sends for a request, put together with the key that was found for it.
    pub fn answer(
        &self,
        request: &str,
        key: pbxcert::cert::bundle::PrivateKey,
        now: Timestamp,
    ) -> Bundle {
        let request = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).unwrap();
        let pem = self.sign(&request, now, self.lifetime.get());
        Bundle::parse(pem.as_bytes(), key).unwrap()
    }
}

impl Authority for LabCa {
    fn step<'a>(
        &'a self,
        order: &'a OrderJournal,
        account: Option<&'a Account>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Step, acme::Error>> {
        Box::pin(async move {
            if self.hangs.get() {
                std::future::pending::<()>().await;
            }
            if let Some(error) = self.failures.borrow_mut().pop_front() {
                return Err(error);
            }
            if account.is_none() {
                let key =
                    pbxcert::cert::bundle::PrivateKey::generate(pbxcert::cert::KeyType::EcdsaP256)
                        .unwrap();
                return Ok(Step::Account(Account {
                    directory: "https://localhost:1/dir".to_owned(),
                    key,
                    url: Some("https://localhost:1/account/1".to_owned()),
                    contact: Vec::new(),
                }));
            }
            Ok(Step::Order(match &order.stage {
                Stage::New => {
                    self.orders.set(self.orders.get() + 1);
                    Stage::Ordered {
                        url: format!("https://localhost:1/order/{}", self.orders.get()),
                    }
                }
                Stage::Ordered { url } => {
                    Stage::Published { url: url.clone(), tokens: vec!["token".to_owned()] }
                }
                Stage::Published { .. } if order.goal == Goal::Rehearsal => Stage::Rehearsed,
                Stage::Published { url, .. } => Stage::Finalizing { url: url.clone() },
                Stage::Finalizing { url } => {
                    let csr = order.key.csr(&order.identifiers).unwrap();
                    let chain = self.sign(&csr, now, self.lifetime.get());
                    self.issued.borrow_mut().insert(url.clone(), chain);
                    Stage::Issued { url: url.clone(), certificate: format!("{url}/cert") }
                }
                Stage::Issued { url, certificate } => Stage::Downloaded {
                    certificate: certificate.clone(),
                    chain: self.issued.borrow()[url].clone(),
                },
                done => done.clone(),
            }))
        })
    }

    fn retract(&self, _tokens: &[String]) {}

    fn date(&self) -> BoxFuture<'_, Option<Timestamp>> {
        Box::pin(async { self.date.get() })
    }

    fn renewal_info<'a>(
        &'a self,
        _leaf: &'a Leaf,
        _now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Ari>, acme::Error>> {
        Box::pin(async { Ok(None) })
    }
}

/// What the service does when it is told to reload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// Takes the files.
    Honest,
    /// Says yes and keeps what it had: "renewed on disk, old in memory".
    KeepsOld,
    /// Says yes and resets every handshake from then on, until its next recover.
    Breaks,
    /// As `Breaks`, and recovering does not help either.
    BreaksForGood,
    /// Serves a certificate of somebody else from then on, until its next recover.
    ServesOther,
}

/// A TLS service on loopback: has the pairs of every folder, and chooses by the name that it is
/// asked for, or the first.
pub struct LabService {
    pub port: u16,
    folder: PathBuf,
    pub manner: Cell<Manner>,
    /// A reload makes it serve another certificate for this name, until its next recover.
    pub spoils: Cell<Option<&'static str>>,
    pub reloads: Cell<u32>,
    served: Arc<Mutex<Option<Arc<rustls::ServerConfig>>>>,
}

/// Fullchain and key of a certificate in a folder of its own.
pub const TARGET: &str = "target = [\
    { path = \"fullchain.pem\", content = \"fullchain\", mode = \"0644\" }, \
    { path = \"privkey.pem\", content = \"privkey\", mode = \"0600\" }]\n";

impl LabService {
    pub async fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served: Arc<Mutex<Option<Arc<rustls::ServerConfig>>>> = Arc::default();
        let shared = served.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let config = shared.lock().unwrap().clone();
                tokio::spawn(async move {
                    // Without a certificate: accepts, then closes, as Asterisk does.
                    if let Some(config) = config {
                        let _ = TlsAcceptor::from(config).accept(stream).await;
                    }
                });
            }
        });
        let (manner, spoils, reloads) = (Cell::new(Manner::Honest), Cell::default(), Cell::new(0));
        Self { port, folder, manner, spoils, reloads, served }
    }

    /// Loads what lies at the targets, as at a start.
    pub fn take(&self) {
        let pairs = load(&self.folder);
        *self.served.lock().unwrap() = (!pairs.is_empty()).then(|| server(pairs));
    }

    /// Serves this, whatever lies at the targets.
    pub fn lie(&self, bundle: &Bundle) {
        let key = bundle.key().to_rustls();
        *self.served.lock().unwrap() = Some(server(vec![(bundle.chain().to_vec(), key)]));
    }

    /// Takes its files, and serves another certificate for this name.
    fn spoil(&self, name: &str) {
        let mut pairs = load(&self.folder);
        let day = SignedDuration::from_hours(24);
        let other = LabCa::new().bundle_for(&[name], Timestamp::now(), day);
        pairs.insert(0, (other.chain().to_vec(), other.key().to_rustls()));
        *self.served.lock().unwrap() = Some(server(pairs));
    }

    /// Answers no handshake any more.
    pub fn go_dead(&self) {
        *self.served.lock().unwrap() = None;
    }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn load(folder: &Path) -> Vec<Pair> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // What lies beside its place is hidden.
    folders.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    folders.sort();
    folders.iter().filter_map(|folder| pair(folder)).collect()
}

fn pair(folder: &Path) -> Option<Pair> {
    let chain = CertificateDer::pem_file_iter(folder.join("fullchain.pem")).ok()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("privkey.pem")).ok()?;
    Some((chain.map(|c| c.unwrap()).collect(), key))
}

/// The pair whose names cover the one that is asked for and whose key the client can verify.
#[derive(Debug)]
struct ByName(Vec<(Leaf, Arc<rustls::sign::CertifiedKey>)>);

impl rustls::server::ResolvesServerCert for ByName {
    fn resolve(
        &self,
        hello: rustls::server::ClientHello<'_>,
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        let name = hello.server_name().and_then(|name| name.parse().ok());
        let fits = |leaf: &Leaf| {
            name.as_ref().is_some_and(|name| leaf.identifiers.iter().any(|i| i.covers(name)))
        };
        let knows = |key: &rustls::sign::CertifiedKey| {
            key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let usable = || self.0.iter().filter(|(_, key)| knows(key));
        let found = usable().find(|(leaf, _)| fits(leaf)).or_else(|| usable().next());
        found.map(|(_, key)| key.clone())
    }
}

fn server(pairs: Vec<Pair>) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let known = pairs.into_iter().map(|(chain, key)| {
        let leaf = Leaf::parse(&chain[0]).unwrap();
        let key = rustls::sign::CertifiedKey::from_der(chain, key, &provider).unwrap();
        (leaf, Arc::new(key))
    });
    let known = Arc::new(ByName(known.collect()));
    let config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(known);
    Arc::new(config)
}

impl Reloader for LabService {
    fn run<'a>(
        &'a self,
        service: &'a ServiceSpec,
        event: HookEvent,
        variables: &'a [(String, String)],
        limit: Duration,
    ) -> BoxFuture<'a, Option<Result<hook::Output, hook::Error>>> {
        Box::pin(async move {
            let said_yes = Some(Ok(hook::Output { code: 0, text: String::new() }));
            match (event, self.manner.get()) {
                (HookEvent::Test, _) => return None,
                // Counted by the very hook that is configured.
                (HookEvent::Busy, _) => {
                    return HookReloader.run(service, event, variables, limit).await;
                }
                (HookEvent::Reload, manner) => {
                    self.reloads.set(self.reloads.get() + 1);
                    match manner {
                        Manner::Honest => match self.spoils.get() {
                            None => self.take(),
                            Some(name) => self.spoil(name),
                        },
                        Manner::KeepsOld => {}
                        Manner::Breaks | Manner::BreaksForGood => self.go_dead(),
                        Manner::ServesOther => {
                            let ca = LabCa::new();
                            let day = SignedDuration::from_hours(24);
                            self.lie(&ca.bundle_for(&["other.test"], Timestamp::now(), day));
                        }
                    }
                }
                (HookEvent::Recover, Manner::BreaksForGood) => {}
                (HookEvent::Recover, _) => self.take(),
            }
            said_yes
        })
    }
}

/// The fingerprint of what lies at a path.
pub fn fingerprint_on_disk(path: &Path) -> Fingerprint {
    let der = CertificateDer::from_pem_file(path).unwrap();
    Fingerprint::of(&der)
}
