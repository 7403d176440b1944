//! SIP MESSAGE to an extension: the telephone on the desk of whoever is there.

use std::net::SocketAddr;

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

use super::{password, text};
use crate::config::alerts::{SipSpec, Transport};
use crate::sip::message::{self, Outgoing};
use crate::state::alert::Message;
use crate::tls;

/// More is read by nobody on a telephone.
const MOST: usize = 4 * 1024;

/// So much of a body fits beside the subject, whatever the server asks for.
const MOST_OVER_UDP: usize = 380;

/// Sends it; taken with 200 or 202.
pub(super) async fn send(spec: &SipSpec, message: &Message, now: Timestamp) -> Result<(), String> {
    let password = spec.login.as_ref().map(password).transpose()?;
    let login = spec.login.as_ref().zip(password.as_ref());
    let tag = tag(spec, message, now);
    let body = match spec.transport {
        // One datagram of 1300 bytes, of which addresses and login take a half.
        Transport::Udp => text::brief(&message.body, MOST_OVER_UDP),
        Transport::Tcp | Transport::Tls => text::plain(&message.body, MOST),
    };
    let text = format!("{}\n{body}", text::subject(message));
    let outgoing = |local: SocketAddr| Outgoing {
        to: &spec.to,
        from: &spec.from,
        login: login.map(|(login, password)| (login.user.as_str(), password.as_str())),
        local,
        tag: &tag,
        text: &text,
    };
    let place = place(spec);
    let unreachable = |e: std::io::Error| {
        format!("cannot reach {place}: {e}; check server and transport, and that it runs")
    };
    let sent = match spec.transport {
        Transport::Udp => {
            let socket = udp(&place).await.map_err(unreachable)?;
            let local = socket.local_addr().map_err(unreachable)?;
            message::over_udp(&socket, outgoing(local)).await
        }
        Transport::Tcp => {
            let mut stream = TcpStream::connect(&place).await.map_err(unreachable)?;
            let local = stream.local_addr().map_err(unreachable)?;
            message::over_stream(&mut stream, "TCP", outgoing(local)).await
        }
        Transport::Tls => {
            let config =
                tls::trusting_client(spec.trust_anchor.as_deref()).map_err(|e| e.to_string())?;
            let name = ServerName::try_from(spec.sni.clone())
                .map_err(|_| format!("{:?} is no name of a server; check sni", spec.sni))?;
            let stream = TcpStream::connect(&place).await.map_err(unreachable)?;
            let local = stream.local_addr().map_err(unreachable)?;
            let stream = TlsConnector::from(config).connect(name, stream).await;
            let mut stream = stream.map_err(|e| {
                format!("no TLS with {place}: {e}; check sni ({}) and trust-anchor", spec.sni)
            })?;
            message::over_stream(&mut stream, "TLS", outgoing(local)).await
        }
    };
    sent.map_err(|e| format!("{place}: {e}"))
}

async fn udp(place: &str) -> std::io::Result<UdpSocket> {
    let address = tokio::net::lookup_host(place).await?.next();
    let address = address.ok_or_else(|| std::io::Error::other("it has no address"))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

fn place(spec: &SipSpec) -> String {
    let bare = spec.host.trim_start_matches('[').trim_end_matches(']');
    if bare.contains(':') {
        format!("[{bare}]:{}", spec.port)
    } else {
        format!("{bare}:{}", spec.port)
    }
}

/// Another one for each try, so that a server does not take it for the one before.
fn tag(spec: &SipSpec, message: &Message, now: Timestamp) -> String {
    let text = format!("{}\n{}\n{}", spec.to, message.id, now.as_nanosecond());
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    crate::cert::hex(&hash.as_ref()[..12])
}
