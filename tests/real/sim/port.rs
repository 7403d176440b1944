//! A TLS port that can be as broken as one was seen to be.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::Pair;

/// What a port does with a new connection.
#[derive(Clone, Debug)]
pub enum Tls {
    /// Serves this pair.
    Serves(Arc<CertifiedKey>),
    /// Ends each handshake with an alert.
    Refuses,
    /// Takes connections and says nothing.
    Hangs,
    /// Ends each connection before a handshake.
    Resets,
    /// Reads its files at the next connection, and serves them or resets.
    Reads(Pair),
}

/// A listening port; closed, with all its connections, when dropped.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    tls: Mutex<Tls>,
    hung: AtomicBool,
    /// When a handshake ended first with what is served now.
    shown_at: Mutex<Option<Instant>>,
    /// Handshakes that ended well.
    shown: AtomicU32,
    /// Connections that were taken and met silence.
    hanging: AtomicU32,
    ended: AtomicBool,
    /// Connections begun before this number of cuts are over.
    cuts: AtomicU32,
}

impl Port {
    /// Listens where it listened before, or where nobody does.
    pub fn open(address: SocketAddr, tls: Tls) -> Self {
        let begun = std::time::Instant::now();
        let listener = loop {
            match TcpListener::bind(address) {
                Ok(listener) => break listener,
                Err(e) => assert!(begun.elapsed().as_secs() < 20, "{address}: {e}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let address = listener.local_addr().unwrap();
        let (ended, cuts) = (AtomicBool::new(false), AtomicU32::new(0));
        let hung = AtomicBool::new(false);
        let (tls, shown_at) = (Mutex::new(tls), Mutex::new(None));
        let (shown, hanging) = (AtomicU32::new(0), AtomicU32::new(0));
        let state = Arc::new(State { tls, hung, shown_at, shown, hanging, ended, cuts });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                if let Ok(stream) = stream {
                    std::thread::spawn(move || shared.serve(stream));
                }
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections meet this.
    pub fn becomes(&self, tls: Tls) {
        let mut now = self.state.tls.lock().unwrap();
        *self.state.shown_at.lock().unwrap() = None;
        *now = tls;
    }

    /// When a handshake ended first with what is served now.
    pub fn shown_at(&self) -> Option<Instant> {
        *self.state.shown_at.lock().unwrap()
    }

    /// How many handshakes ended well so far.
    pub fn shown(&self) -> u32 {
        self.state.shown.load(Ordering::SeqCst)
    }

    /// How many connections met silence so far.
    pub fn hanging(&self) -> u32 {
        self.state.hanging.load(Ordering::SeqCst)
    }

    /// From now on, or no longer, nothing is done with any connection.
    pub fn hang(&self, hung: bool) {
        self.state.hung.store(hung, Ordering::SeqCst);
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        self.state.cuts.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.cut();
        // Until the listener is gone.
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl State {
    fn now(&self) -> Tls {
        let mut tls = self.tls.lock().unwrap();
        if let Tls::Reads(pair) = &*tls {
            *tls = load_pair(pair).map_or(Tls::Resets, Tls::Serves);
        }
        tls.clone()
    }

    fn note_shown(&self, shown: Option<&Arc<CertifiedKey>>) {
        let now = self.tls.lock().unwrap();
        let is_served = |shown| matches!(&*now, Tls::Serves(served) if Arc::ptr_eq(served, shown));
        self.shown.fetch_add(1, Ordering::SeqCst);
        if shown.is_some_and(is_served) {
            self.shown_at.lock().unwrap().get_or_insert_with(Instant::now);
        }
    }

    fn serve(&self, stream: TcpStream) {
        let cuts = self.cuts.load(Ordering::SeqCst);
        let over = || self.ended.load(Ordering::SeqCst) || self.cuts.load(Ordering::SeqCst) != cuts;
        while self.hung.load(Ordering::SeqCst) && !over() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let pair = match self.now() {
            Tls::Resets | Tls::Reads(_) => return,
            Tls::Serves(pair) => Some(pair),
            Tls::Refuses => None,
            Tls::Hangs => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                while !over() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return;
            }
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Pairs(pair.clone())));
        let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
        while stream.conn.is_handshaking() && !over() {
            match stream.conn.complete_io(&mut stream.sock) {
                Err(e) if e.kind() != std::io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
        self.note_shown(pair.as_ref());
        let mut heard = Vec::new();
        let mut some = [0; 4096];
        while !over() {
            if self.hung.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            match stream.read(&mut some) {
                Ok(0) => return,
                Ok(count) => heard.extend_from_slice(&some[..count]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            let text = String::from_utf8_lossy(&heard).into_owned();
            if text.ends_with("\r\n\r\n") {
                let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                if text.starts_with("GET ") && stream.write_all(not_found).is_err() {
                    return;
                }
                if text.starts_with("OPTIONS ") && stream.write_all(&answer(&text)).is_err() {
                    return;
                }
                heard.clear();
            }
        }
    }
}

/// RFC 3261 section 8.2.6: what the request said of itself is said again.
fn answer(request: &str) -> Vec<u8> {
    let same = |name: &str| request.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let lines = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].map(same).join("\r\n");
    format!("SIP/2.0 200 OK\r\n{lines}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[derive(Debug)]
struct Pairs(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Pairs {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

/// A pair as OpenSSL would take it: the key has to fit.
pub fn load(chain: &[u8], key: &[u8]) -> Option<Arc<CertifiedKey>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let key = PrivateKeyDer::from_pem_slice(key).ok()?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain.ok()?, key, &provider).ok().map(Arc::new)
}

/// As [`load`], from the two files of a pair.
pub fn load_pair(pair: &Pair) -> Option<Arc<CertifiedKey>> {
    load(&std::fs::read(&pair.fullchain).ok()?, &std::fs::read(&pair.privkey).ok()?)
}

/// As [`load`], from one file that holds both.
pub fn load_file(path: &Path) -> Option<Arc<CertifiedKey>> {
    let bytes = std::fs::read(path).ok()?;
    load(&bytes, &bytes)
}
