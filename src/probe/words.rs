//! Why there was no handshake, in words of the trade; and the first bytes that tell it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Unshaken;
use crate::config::KeyFamily;
use crate::state::Answer;

/// How much of what a server says first is kept.
const KEPT: usize = 128;

/// Content types of TLS records (RFC 8446 section 5.1): what the first byte of an answer can be.
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 0x14..=0x18;

/// The content type of an alert.
const ALERT: u8 = 0x15;

/// The first bytes that came, shared with the [`Tapped`] connection they came over.
#[derive(Clone, Debug, Default)]
pub(super) struct Tap(Arc<Mutex<Vec<u8>>>);

impl Tap {
    pub(super) fn on(&self, stream: TcpStream) -> Tapped {
        Tapped { stream, tap: self.clone() }
    }

    pub(super) fn first(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = bytes.len().min(KEPT - kept.len());
        kept.extend_from_slice(&bytes[..room]);
    }
}

/// Why there was no TCP connection.
pub(super) fn no_connection(limit: Duration) -> String {
    format!("no connection within {limit:?}")
}

/// Why TLS could not even begin.
pub(super) fn no_go_ahead(limit: Duration) -> String {
    format!("it did not agree to begin TLS (STARTTLS) within {limit:?}")
}

/// Why the time ran out after the connection was made.
pub(super) fn no_handshake(first: &[u8], limit: Duration) -> String {
    match first {
        [] => format!("it accepted the connection and said nothing within {limit:?}"),
        [byte, ..] if !RECORD_TYPES.contains(byte) => no_tls(first),
        _ => format!("the handshake did not end within {limit:?}"),
    }
}

/// What became of a certificate of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ours {
    /// The server asked for one, and there was none to show.
    Lacking,
    /// The server asked for none.
    NotAsked,
    /// The server asked for one and saw it.
    Shown,
}

/// Why the handshake failed, where `first` came first and `sni` was sent.
pub(super) fn failure(error: &io::Error, first: &[u8], sni: Option<&str>, ours: Ours) -> String {
    if first.first().is_some_and(|byte| !RECORD_TYPES.contains(byte)) {
        return no_tls(first);
    }
    match (cause(error), error.kind()) {
        // Whatever the alert: TLS 1.2 servers send one that means other things as well.
        (Some(Error::AlertReceived(alert)), _) if ours == Ours::Lacking => {
            format!("it wants a client certificate (alert {alert:?})")
        }
        (Some(Error::AlertReceived(alert)), _) if ours == Ours::Shown => {
            format!("it refuses our certificate: {} (alert {alert:?})", complaint(*alert))
        }
        (Some(Error::AlertReceived(alert)), _) => refusal(*alert, sni),
        (Some(Error::PeerIncompatible(why)), _) => {
            format!("no TLS version and cipher in common ({why:?})")
        }
        (Some(e), _) => format!("the handshake failed: {e}"),
        (None, _) if ours == Ours::Shown => {
            "it ended the connection after it saw our certificate".to_owned()
        }
        (None, _) if ours == Ours::Lacking => {
            "it ended the connection after asking for a client certificate".to_owned()
        }
        (None, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => RESET.to_owned(),
        (None, io::ErrorKind::UnexpectedEof) => {
            "it closed the connection during the handshake".to_owned()
        }
        (None, _) => format!("the connection failed during the handshake: {error}"),
    }
}

/// The server does not hold the key of the certificate that it shows.
pub(super) fn is_impostor(error: &io::Error) -> bool {
    match cause(error) {
        Some(Error::InvalidCertificate(e)) => matches!(
            e,
            CertificateError::BadSignature
                | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        ),
        _ => false,
    }
}

/// Whether a hello of an older time may get another answer than this failure, after which nothing
/// was shown and `first` came first. Some old servers just close on what they do not understand; one
/// that went on with us and refused later is not too old.
pub(super) fn perhaps_old(error: &io::Error, first: &[u8]) -> Unshaken {
    match (cause(error), first.first()) {
        (Some(Error::AlertReceived(AlertDescription::UnrecognisedName)), _) => Unshaken::Final,
        (Some(Error::AlertReceived(alert)), Some(&ALERT)) => Unshaken::PerhapsOld(Some(*alert)),
        (Some(Error::AlertReceived(_)), _) => Unshaken::Final,
        (Some(Error::PeerIncompatible(_)), _) => Unshaken::PerhapsOld(None),
        (None, None) => Unshaken::PerhapsOld(None),
        _ => Unshaken::Final,
    }
}

/// What two refusals mean together, of our hello and of an older one; `None`: nothing new.
pub(super) fn refused_twice(
    modern: Option<AlertDescription>,
    old: AlertDescription,
    key: Option<KeyFamily>,
) -> Option<Answer> {
    use AlertDescription::{HandshakeFailure, ProtocolVersion};
    match (modern, old) {
        (Some(ProtocolVersion), ProtocolVersion) => {
            let reason = "it speaks none of TLS 1.3 to 1.0 (alert ProtocolVersion)".to_owned();
            Some(Answer::TooOld { reason })
        }
        (_, HandshakeFailure) => {
            let lacks = match key {
                Some(key) => format!("it has no {key} certificate loaded"),
                None => "it has no certificate loaded".to_owned(),
            };
            let reason = format!(
                "it finds no cipher in common, new or old, so probably {lacks} (alert \
                 HandshakeFailure)"
            );
            Some(Answer::NoHandshake { reason })
        }
        _ => None,
    }
}

/// The server refused in so many words.
pub(super) fn is_alert(error: &io::Error) -> bool {
    matches!(cause(error), Some(Error::AlertReceived(_)))
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn refusal(alert: AlertDescription, sni: Option<&str>) -> String {
    match alert {
        AlertDescription::ProtocolVersion => {
            "it speaks no TLS version that we speak (alert ProtocolVersion)".to_owned()
        }
        // Also what OpenSSL answers when it could not load its certificate.
        AlertDescription::HandshakeFailure => "it finds no cipher in common, or it has no \
             certificate loaded (alert HandshakeFailure)"
            .to_owned(),
        AlertDescription::UnrecognisedName => match sni {
            Some(sni) => format!("it does not know the server name {sni}"),
            None => "it wants a server name, and none is sent".to_owned(),
        },
        alert => format!("it refused the handshake (alert {alert:?})"),
    }
}

/// What a server has against our certificate (RFC 8446 section 6.2).
fn complaint(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnknownCA => "it does not know the CA that made it",
        AlertDescription::UnsupportedCertificate => {
            "it is of the wrong kind, for servers only perhaps"
        }
        AlertDescription::CertificateExpired => "it has ended, or its clock is wrong",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::CertificateRequired => "it wants another one",
        AlertDescription::AccessDenied => "it is none of those that may call",
        AlertDescription::BadCertificate => "there is something wrong with it",
        _ => "it does not say why",
    }
}

/// What speaks there instead of TLS.
fn no_tls(first: &[u8]) -> String {
    let line = first.split(|b| matches!(b, b'\r' | b'\n')).find(|line| !line.is_empty());
    match line {
        Some(line) if line.iter().all(|b| matches!(b, b' '..=b'~' | b'\t')) => {
            let text = printable(line);
            format!("it speaks plain text ({text:?}), not TLS")
        }
        _ => format!("it speaks something else than TLS (first byte {:#04x})", first[0]),
    }
}

/// The beginning of what somebody said, control characters replaced.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST_QUOTE)]);
    text.trim_end()
        .chars()
        .take(LONGEST_QUOTE)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A connection whose first bytes are kept.
#[derive(Debug)]
pub(super) struct Tapped {
    stream: TcpStream,
    tap: Tap,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.tap.note(&buffer.filled()[before..]);
        outcome
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Longest quotation of a stranger, in characters.
const LONGEST_QUOTE: usize = 60;

/// The peer dropped the connection with a reset.
pub(super) const RESET: &str = "it reset the connection during the handshake";
