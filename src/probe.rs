//! Looks at what an endpoint really serves.
//!
//! The handshake is the only truth: exit codes and files say nothing about what a caller meets.

mod words;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cert::{Fingerprint, Leaf, bundle};
use crate::config::{Endpoint, Protocol};
use crate::state::{Answer, Served};
use crate::{sip, tls};

use words::Tap;

/// A future of a seam; the runtime has one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Longest wait for the answer to OPTIONS, which informs only (RFC 3261: 64 x T1 would be 32 s).
const OPTIONS_LIMIT: Duration = Duration::from_secs(2);

/// Longest wait for the peer's goodbye: closing with its last words unread would reset the
/// connection, and a refusal in TLS 1.3 (no client certificate) comes only now.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);

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

/// Looks with a TLS handshake of its own: one connection, no resumption.
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
            let mut look = Look::at(endpoint, now);
            if timeout(limit, look.follow(limit)).await.is_err() {
                look.run_out(limit);
            }
            look.served
        })
    }
}

/// One look, and what is known so far: what was seen stays seen when time runs out.
struct Look<'a> {
    endpoint: &'a Endpoint,
    tap: Tap,
    capture: Option<Arc<tls::Capture>>,
    served: Served,
}

impl<'a> Look<'a> {
    fn at(endpoint: &'a Endpoint, now: Timestamp) -> Self {
        let answer = Answer::Unreachable { reason: "nothing was tried".to_owned() };
        let served = Served { at: now, answer, protocol: None, options: None };
        Self { endpoint, tap: Tap::default(), capture: None, served }
    }

    async fn follow(&mut self, limit: Duration) {
        self.served.answer = Answer::Unreachable { reason: words::no_connection(limit) };
        let stream = match connect(self.endpoint, limit).await {
            Ok(stream) => stream,
            Err(answer) => return self.served.answer = answer,
        };
        let local = stream.local_addr();
        let Some(mut stream) = self.shake_hands(stream).await else { return };
        if let (Protocol::Sips, Ok(local)) = (self.endpoint.protocol, local) {
            self.ask_options(&mut stream, local).await;
        }
        self.say_goodbye(stream).await;
    }

    async fn shake_hands(&mut self, stream: TcpStream) -> Option<TlsStream<words::Tapped>> {
        // rustls sends no address as server name (RFC 6066 section 3).
        let sni = self.endpoint.sni.as_deref().filter(|sni| sni.parse::<IpAddr>().is_err());
        let (config, name, capture) = match tls::capturing_client(sni) {
            Ok(parts) => parts,
            Err(e) => {
                self.served.answer = Answer::NoHandshake { reason: e.to_string() };
                return None;
            }
        };
        self.capture = Some(capture);
        let outcome = TlsConnector::from(config).connect(name, self.tap.on(stream)).await;
        let unfinished = outcome.as_ref().err().map(|error| self.reason(error));
        match &outcome {
            Err(e) if words::is_impostor(e) => self.conclude_impostor(),
            _ => self.conclude(unfinished),
        }
        outcome.ok()
    }

    /// Puts what was shown into the answer; `unfinished` says why there is no connection.
    fn conclude(&mut self, unfinished: Option<String>) {
        let shown = self.capture.as_ref().map(|capture| capture.shown()).unwrap_or_default();
        self.served.protocol = shown.version.map(str::to_owned);
        self.served.answer = match (shown.chain.first().map(|der| Leaf::parse(der)), unfinished) {
            (Some(Ok(leaf)), unfinished) => Answer::Certificate {
                leaf: Box::new(leaf),
                chain: shown.chain.iter().map(|der| Fingerprint::of(der)).collect(),
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
        if let Ok(Err(e)) = timeout(GOODBYE_LIMIT, goodbye).await {
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
        let asked_for_ours = self.capture.as_ref().is_some_and(|c| c.shown().asked_for_ours);
        let sni = self.endpoint.sni.as_deref();
        words::failure(error, &self.tap.first(), sni, asked_for_ours)
    }

    /// Time has run out: what was shown counts, whatever came after it.
    fn run_out(&mut self, limit: Duration) {
        let concluded = !matches!(self.served.answer, Answer::Unreachable { .. });
        if self.capture.is_some() && !concluded {
            self.conclude(Some(words::no_handshake(&self.tap.first(), limit)));
        }
    }
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
    let host = endpoint.host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, endpoint.port)]);
    }
    let unreachable = |why: String| Answer::Unreachable {
        reason: format!("cannot find the address of {host}: {why}"),
    };
    let found = tokio::net::lookup_host((host, endpoint.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|e| unreachable(e.to_string()))?.collect();
    if found.is_empty() {
        return Err(unreachable("there is none".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
