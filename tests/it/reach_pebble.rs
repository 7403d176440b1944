//! Reachability in real time against Pebble, whose DNS server leads it astray: the hysteresis is
//! of seconds here.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use pbxcert::cert::KeyType;
use pbxcert::cert::bundle::{Bundle, PrivateKey};
use pbxcert::config::{Config, file};
use pbxcert::policy::reach::Hysteresis;
use pbxcert::reconcile::{Pass, Reconciler};
use pbxcert::state::CertState;
use pbxcert::state::facts::Ground;
use pbxcert::state::reach::Reach;
use pbxcert::store::Store;
use pbxcert::world::World;

use crate::real::{Pebble, PebbleOptions};

struct Host {
    pebble: Pebble,
    _folder: tempfile::TempDir,
    config: Config,
    store: Store,
    world: World,
}

impl Host {
    fn new() -> Option<Self> {
        let pebble = Pebble::start(&PebbleOptions::default())?;
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "state-dir = {state:?}\ntime = \"unsynchronised\"\n\
             [acme]\ndirectory = {directory:?}\ncontact = [\"noc@voip.test\"]\n\
             agree-to-terms = true\ntrust-anchor = {anchor:?}\nrehearsal = \"none\"\n\
             [challenge.http]\nhttp-01 = {{ listen = [\"127.0.0.1:{port}\"] }}\n\
             [[certificate]]\nname = \"pbx\"\nnames = [\"pbx.test\"]\nkey = \"ecdsa-p256\"\n",
            state = folder.path().join("state"),
            directory = pebble.directory(),
            anchor = pebble.trust_anchor(),
            port = pebble.http_port(),
        );
        let path = folder.path().join("pbxcert.toml");
        std::fs::write(&path, text).unwrap();
        let config = file::load(&path, file::Options::HERE).unwrap_or_else(|e| panic!("{e}"));
        let config = config.config;
        let store = Store::open(&config.state_dir).unwrap();
        let mut world = World::real(&config, &store);
        world.hysteresis = Hysteresis::of(Duration::from_secs(2));
        world.ground = Some(Ground {
            dns: vec![pebble.dns_server()],
            http: pebble.http_port(),
            ..Ground::default()
        });
        Some(Self { pebble, _folder: folder, config, store, world })
    }

    async fn pass(&self) -> Pass {
        let stop = Cell::new(false);
        let reconciler = Reconciler {
            world: &self.world,
            store: &self.store,
            config: &self.config,
            by_hand: false,
            mend_at_once: false,
            stop: &stop,
            progress: &|_| {},
        };
        reconciler.certificate(&self.config.certificates[0]).await.unwrap()
    }

    /// Passes until it is so.
    async fn until(&self, what: &str, so: impl Fn(&CertState) -> bool) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            self.pass().await;
            if so(&self.state()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not {what} within a minute: {:#?}", self.state());
    }

    fn state(&self) -> CertState {
        self.store.certificate("pbx").unwrap().state().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut CertState)) {
        let store = self.store.certificate("pbx").unwrap();
        let writer = store.try_lock(Timestamp::now()).unwrap().unwrap();
        let mut state = store.state().unwrap();
        change(&mut state);
        writer.remember(&state).unwrap();
    }

    fn number(&self) -> u64 {
        self.store.certificate("pbx").unwrap().newest().unwrap().unwrap().number
    }

    fn told(&self, what: &str) -> usize {
        self.store.history().unwrap().into_iter().filter(|e| e.what == what).count()
    }

    /// Every name is there.
    fn lead_to(&self, address: &str) {
        let body = format!("{{\"ip\": \"{address}\"}}");
        post(self.pebble.dns_management(), "/set-default-ipv4", &body);
    }
}

fn post(server: SocketAddr, path: &str, body: &str) {
    let mut stream = TcpStream::connect(server).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A certificate of another CA that is good for 90 days and begins to need the next in a moment.
fn bought(take_over: Timestamp) -> Bundle {
    let at = |t: Timestamp| time::OffsetDateTime::from_unix_timestamp(t.as_second()).unwrap();
    let left = SignedDuration::from_hours(24) * 90 / 8;
    let end = take_over.checked_add(left).unwrap();
    let mut params = rcgen::CertificateParams::new(["pbx.test".to_owned()]).unwrap();
    params.not_after = at(end);
    params.not_before = at(end.checked_sub(SignedDuration::from_hours(24 * 90)).unwrap());
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let root = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(authority, root);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.signed_by(&key, &issuer).unwrap().pem();
    let key = PrivateKey::from_pem(key.serialize_pem().as_bytes()).unwrap();
    assert_eq!(key.kind(), Some(KeyType::EcdsaP256));
    Bundle::parse(pem.as_bytes(), key).unwrap()
}

#[tokio::test]
async fn pebble_is_led_astray_and_back_and_takes_over_in_the_end() {
    let Some(host) = Host::new() else { return };
    host.until("reachable", |state| state.reach.verdict == Reach::Reachable).await;
    assert_eq!(host.number(), 1);

    // The name leads elsewhere; a person asks for a renewal until it is believed.
    host.lead_to("127.0.0.2");
    host.change(|state| state.forced_at = Some(Timestamp::now()));
    host.pass().await;
    assert!(!host.state().mode.is_manual(), "one word is not enough");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    host.change(|state| state.forced_at = Some(Timestamp::now()));
    host.pass().await;
    let state = host.state();
    assert!(state.mode.is_manual(), "{state:#?}");
    assert!(state.reach.reason.contains("http://pbx.test/"), "{}", state.reach.reason);

    // Uploaded; Pebble is tried, in vain, and gives no certificate.
    let take_over = Timestamp::from_second(Timestamp::now().as_second() + 35).unwrap();
    let store = host.store.certificate("pbx").unwrap();
    let writer = store.try_lock(Timestamp::now()).unwrap().unwrap();
    // Hours ago: nothing is replaced within an hour after it came.
    let hours_ago = take_over.checked_sub(SignedDuration::from_hours(2)).unwrap();
    writer.commit(&bought(take_over), None, "upload", hours_ago).unwrap();
    drop(writer);
    host.change(|state| state.forced_at = None);
    let ordered = host.told("ordered");
    host.until("tried", |_| host.told("probed") > 0).await;
    assert!(host.state().mode.is_manual());

    // The name leads here again: tried twice, believed, and the upload serves on.
    host.lead_to("127.0.0.1");
    host.until("automatic", |state| !state.mode.is_manual()).await;
    assert_eq!(host.state().reach.verdict, Reach::Reachable);
    if Timestamp::now() < take_over {
        // On a machine that is not too busy.
        assert_eq!((host.number(), host.told("ordered")), (2, ordered), "tries order nothing");
    }

    // An eighth of its life is left: Pebble takes over.
    host.until("taken over", |_| host.number() == 3).await;
    assert!(Timestamp::now() >= take_over);
    assert_eq!(host.told("mode"), 2);
}
