//! Looks at what an endpoint really serves.
//!
//! The handshake is the only truth: exit codes and files say nothing about what a caller meets.

mod listening;
mod lowest;
mod old;
mod peer;
mod starttls;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cert::top::Top;
use crate::cert::{Fingerprint, Leaf, bundle};
use crate::config::{Endpoint, Protocol};
use crate::policy::verdict::CANNOT_PROBE;
use crate::state::{Answer, Served};
use crate::{sip, tls};

pub use lowest::{Lowest, lowest};
pub use peer::{Called, call};

use words::{Ours, Tap};

/// A future of a seam; the runtime has one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Longest wait for the answer to OPTIONS, which informs only (RFC 3261: 64 x T1 would be 32 s).
const OPTIONS_LIMIT: Duration = Duration::from_secs(2);

/// Longest wait for the peer's goodbye: closing with its last words unread would reset the
/// connection. Who looks again and again waits for it each time.
const GOODBYE_LIMIT: Duration = Duration::from_millis(100);

/// The same where a certificate of ours was asked for: in TLS 1.3 the refusal comes only now.
const REFUSAL_LIMIT: Duration = Duration::from_millis(200);

/// Makes one connection and tells what was served.
pub trait Prober {
    /// One look, within `limit`; every failure is an answer.
    fn probe<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        limit: Duration,
        now: Timestamp,
    ) -> BoxFuture<'a, Served>;
}

/// Looks with a TLS handshake of its own: one connection, no resumption. Only to a server that
/// refuses the handshake before it has shown anything a second one is made, with the ClientHello of
/// an older time: that tells a server that is too old for us from a dead one.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsProber;

impl Prober for TlsProber {
    fn probe<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        limit: Duration,
        now: Timestamp,
    ) -> BoxFuture<'a, Served> {
        Box::pin(async move {
            let mut look = Look::at(endpoint, limit, now);
            if timeout(limit, look.follow()).await.is_err() {
                look.run_out();
            }
            look.served
        })
    }
}

/// One look, and what is known so far: what was seen stays seen when time runs out.
struct Look<'a> {
    endpoint: &'a Endpoint,
    limit: Duration,
    /// Shown to who asks for a certificate.
    ours: Option<Arc<CertifiedKey>>,
    tap: Tap,
    capture: Option<Arc<tls::Capture>>,
    concluded: bool,
    served: Served,
}

impl<'a> Look<'a> {
    fn at(endpoint: &'a Endpoint, limit: Duration, now: Timestamp) -> Self {
        let answer = Answer::Unreachable { reason: words::no_connection(limit) };
        let served = Served { at: now, answer, protocol: None, options: None };
        let tap = Tap::default();
        Self { endpoint, limit, ours: None, tap, capture: None, concluded: false, served }
    }

    async fn follow(&mut self) {
        let Some(stream) = self.open().await else { return };
        let local = stream.local_addr();
        let mut stream = match self.shake_hands(stream).await {
            Ok(stream) => stream,
            Err(Unshaken::Final) => return,
            Err(Unshaken::PerhapsOld(alert)) => return self.look_again_as_of_old(alert).await,
        };
        if let (Protocol::Sips, Ok(local)) = (self.endpoint.protocol, local) {
            self.ask_options(&mut stream, local).await;
        }
        self.say_goodbye(stream).await;
    }

    /// A connection on which TLS may begin.
    async fn open(&mut self) -> Option<TcpStream> {
        let mut stream = match connect(self.endpoint, self.limit).await {
            Ok(stream) => stream,
            Err(answer) => {
                self.served.answer = answer;
                return None;
            }
        };
        if starttls::comes_first(self.endpoint.protocol) {
            self.served.answer = Answer::NoHandshake { reason: words::no_go_ahead(self.limit) };
        }
        match starttls::ask(&mut stream, self.endpoint).await {
            Ok(()) => Some(stream),
            Err(error) => {
                self.served.answer = Answer::NoHandshake { reason: error.to_string() };
                None
            }
        }
    }

    async fn shake_hands(
        &mut self,
        stream: TcpStream,
    ) -> Result<TlsStream<words::Tapped>, Unshaken> {
        let (sni, key) = (self.sni(), self.endpoint.key);
        let (config, name, capture) = match tls::showing_client(sni, key, self.ours.clone()) {
            Ok(parts) => parts,
            Err(e) => {
                self.served.answer = Answer::NoHandshake { reason: e.to_string() };
                return Err(Unshaken::Final);
            }
        };
        self.capture = Some(capture);
        let outcome = TlsConnector::from(config).connect(name, self.tap.on(stream)).await;
        let unfinished = outcome.as_ref().err().map(|error| self.reason(error));
        match &outcome {
            Err(e) if words::is_impostor(e) => self.conclude_impostor(),
            _ => self.conclude(unfinished),
        }
        outcome.map_err(|error| match self.served.answer {
            Answer::NoHandshake { .. } if !self.has_shown_anything() => {
                words::perhaps_old(&error, &self.tap.first())
            }
            _ => Unshaken::Final,
        })
    }

    /// rustls speaks TLS 1.2 and 1.3 with forward secrecy and AEAD only; `refused` is the alert
    /// that it got, if any.
    async fn look_again_as_of_old(&mut self, refused: Option<AlertDescription>) {
        let modern = self.served.answer.clone();
        let Some(mut stream) = self.open().await else { return self.served.answer = modern };
        self.served.answer = modern;
        let heard = old::look(&mut stream, self.sni(), self.endpoint.key).await;
        match heard {
            Ok(old::Heard::Hello { version, suite, chain })
                if old::is_beyond_us(version, suite) =>
            {
                self.served.protocol = Some(old::version(version));
                self.served.answer = old_answer(&old::spoken(version, suite), &chain);
            }
            Ok(old::Heard::Refused(alert)) => {
                if let Some(answer) = words::refused_twice(refused, alert, self.endpoint.key) {
                    self.served.answer = answer;
                }
            }
            // The first reason is the better one.
            Ok(_) | Err(_) => {}
        }
    }

    /// rustls sends no address as server name (RFC 6066 section 3).
    fn sni(&self) -> Option<&'a str> {
        self.endpoint.sni.as_deref().filter(|sni| sni.parse::<IpAddr>().is_err())
    }

    /// Puts what was shown into the answer; `unfinished` says why there is no connection.
    fn conclude(&mut self, unfinished: Option<String>) {
        self.concluded = true;
        let shown = self.capture.as_ref().map(|capture| capture.shown()).unwrap_or_default();
        self.served.protocol = shown.version.map(str::to_owned);
        self.served.answer = match (shown.chain.first().map(|der| Leaf::parse(der)), unfinished) {
            (Some(Ok(leaf)), unfinished) => Answer::Certificate {
                leaf: Box::new(leaf),
                chain: shown.chain.iter().map(|der| Fingerprint::of(der)).collect(),
                top: Top::of(&shown.chain),
                unfinished,
            },
            (Some(Err(e)), _) => Answer::Unreadable {
                fingerprint: Fingerprint::of(&shown.chain[0]),
                reason: e.to_string(),
            },
            (None, reason) => Answer::NoHandshake {
                reason: reason.unwrap_or_else(|| "it shows no certificate".to_owned()),
            },
        };
    }

    /// A certificate whose key the server does not hold serves nobody.
    fn conclude_impostor(&mut self) {
        self.conclude(None);
        let whose = self.served.leaf().map_or_else(|| "something".to_owned(), bundle::names);
        self.served.answer = Answer::NoHandshake {
            reason: format!("it shows the certificate for {whose} without holding its private key"),
        };
    }

    async fn ask_options(&mut self, stream: &mut TlsStream<words::Tapped>, local: SocketAddr) {
        let target = self.endpoint.authority();
        let tag =
            bundle::digest_hex(format!("{} {local} {}", self.endpoint, self.served.at).as_bytes());
        match sip::options(stream, &target, local, &tag[..16], OPTIONS_LIMIT).await {
            Ok(status) => self.served.options = Some(status),
            Err(sip::Error::Io(e)) => self.refused_late(&e),
            Err(_) => {}
        }
    }

    async fn say_goodbye(&mut self, mut stream: TlsStream<words::Tapped>) {
        let goodbye = async {
            stream.shutdown().await?;
            let mut rest = [0; 4096];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        let limit = if self.asked_for_ours() { REFUSAL_LIMIT } else { GOODBYE_LIMIT };
        if let Ok(Err(e)) = timeout(limit, goodbye).await {
            self.refused_late(&e);
        }
    }

    /// In TLS 1.3 a client has finished before the server has seen its (missing) certificate.
    fn refused_late(&mut self, error: &std::io::Error) {
        if words::is_alert(error) {
            self.conclude(Some(self.reason(error)));
        }
    }

    fn reason(&self, error: &std::io::Error) -> String {
        let sni = self.endpoint.sni.as_deref();
        let shown = self.capture.as_ref().map(|c| c.shown()).unwrap_or_default();
        let ours = match (shown.asked_for_ours, shown.ours_shown) {
            (true, true) => Ours::Shown,
            (true, false) => Ours::Lacking,
            (false, _) => Ours::NotAsked,
        };
        words::failure(error, &self.tap.first(), sni, ours)
    }

    fn has_shown_anything(&self) -> bool {
        let shown = self.capture.as_ref().map(|c| c.shown()).unwrap_or_default();
        shown.asked_for_ours || !shown.chain.is_empty()
    }

    fn asked_for_ours(&self) -> bool {
        self.capture.as_ref().is_some_and(|c| c.shown().asked_for_ours)
    }

    /// Time has run out: what was shown counts, whatever came after it.
    fn run_out(&mut self) {
        if self.capture.is_some() && !self.concluded {
            self.conclude(Some(words::no_handshake(&self.tap.first(), self.limit)));
        }
    }
}

/// Why there is no TLS connection.
enum Unshaken {
    /// What is known is in the answer.
    Final,
    /// Nothing was shown: an older hello may be understood. With the alert, if one came.
    PerhapsOld(Option<AlertDescription>),
}

/// What was read from an old server in plain text: its key was not seen at work.
fn old_answer(spoken: &str, chain: &[Vec<u8>]) -> Answer {
    let Some(der) = chain.first() else {
        return Answer::TooOld { reason: format!("{spoken}, and shows no certificate") };
    };
    match Leaf::parse(der) {
        Ok(leaf) => Answer::Certificate {
            leaf: Box::new(leaf),
            chain: chain.iter().map(|der| Fingerprint::of(der)).collect(),
            top: Top::of(&ders(chain)),
            unfinished: Some(format!("{CANNOT_PROBE} further than its certificate: {spoken}")),
        },
        Err(e) => Answer::Unreadable { fingerprint: Fingerprint::of(der), reason: e.to_string() },
    }
}

fn ders(chain: &[Vec<u8>]) -> Vec<CertificateDer<'_>> {
    chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect()
}

/// Connects to the first address that lets us; each gets its part of the time.
async fn connect(endpoint: &Endpoint, limit: Duration) -> Result<TcpStream, Answer> {
    let addresses = addresses(endpoint).await?;
    let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut first = None;
    let mut refused_by_all = true;
    for address in addresses {
        let error = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => e,
            Err(_) => {
                std::io::Error::new(std::io::ErrorKind::TimedOut, words::no_connection(share))
            }
        };
        if error.kind() == std::io::ErrorKind::ConnectionReset {
            // Taken, and dropped before we could say a word.
            return Err(Answer::NoHandshake { reason: words::RESET.to_owned() });
        }
        if error.kind() != std::io::ErrorKind::ConnectionRefused {
            refused_by_all = false;
            first.get_or_insert(format!("{address}: {error}"));
        }
    }
    if refused_by_all {
        return Err(Answer::Closed);
    }
    Err(Answer::Unreachable { reason: first.unwrap_or_default() })
}

async fn addresses(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Answer> {
    let host = &endpoint.host;
    if let Some(ip) = endpoint.ip() {
        let mut found = vec![ip];
        if let Some(kind) = endpoint.kind.filter(|_| ip.is_loopback()) {
            found
                .extend(listening::addresses(kind, endpoint.port).into_iter().filter(|a| *a != ip));
        }
        return Ok(found.into_iter().map(|ip| SocketAddr::new(ip, endpoint.port)).collect());
    }
    let unreachable = |why: String| Answer::Unreachable {
        reason: format!("cannot find the address of {host}: {why}"),
    };
    let found = tokio::net::lookup_host((host.as_str(), endpoint.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|e| unreachable(e.to_string()))?.collect();
    if found.is_empty() {
        return Err(unreachable("there is none".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
