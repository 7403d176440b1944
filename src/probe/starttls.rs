//! Asks in plain text for TLS to begin, in the words of each protocol.
//!
//! Nothing that a stranger says is kept but one line, and after the go-ahead nothing more may have
//! come in plain text: whoever puts words in before TLS begins would have them taken for what was
//! said under its protection (CVE-2011-0411).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::words::printable;
use crate::config::{Endpoint, Protocol};

/// Why TLS cannot begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The peer ended the connection.
    #[error("it closed the connection before TLS could begin (STARTTLS)")]
    Closed,
    /// Plain text came after the go-ahead.
    #[error("it said more in plain text after its go-ahead for TLS ({0:?}): refused")]
    Injected(String),
    /// The connection failed.
    #[error("the connection failed before TLS could begin (STARTTLS): {0}")]
    Io(#[from] io::Error),
    /// It talks, but offers no TLS: what OpenSSL and Postfix do with a broken pair, too.
    #[error("it does not offer STARTTLS")]
    NotOffered,
    /// Another protocol than the one asked for.
    #[error("it does not speak {protocol}: {said:?}")]
    NotSpoken {
        /// What was expected.
        protocol: &'static str,
        /// What it said.
        said: String,
    },
    /// It said no.
    #[error("it refuses STARTTLS: {0:?}")]
    Refused(String),
    /// TLS from the first byte.
    #[error("it speaks TLS from the first byte, without STARTTLS")]
    Tls,
    /// More than anybody says before TLS.
    #[error("it says more than {} KiB in plain text before TLS could begin", MOST / 1024)]
    TooMuch,
}

/// Whether plain text comes first.
pub(super) fn comes_first(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::ImapStarttls
            | Protocol::LdapStarttls
            | Protocol::Pop3Starttls
            | Protocol::SmtpStarttls
            | Protocol::XmppStarttls
    )
}

/// Talks until the peer waits for TLS to begin; says nothing where TLS comes first anyway.
///
/// # Errors
///
/// Why it will not. At most 64 KiB are read; the time is the caller's to limit.
pub(super) async fn ask(stream: &mut TcpStream, endpoint: &Endpoint) -> Result<(), Error> {
    if !comes_first(endpoint.protocol) {
        return Ok(());
    }
    let local = stream.local_addr()?;
    let name = endpoint.sni.as_deref().unwrap_or(&endpoint.host);
    talk(stream, endpoint.protocol, name, local).await
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    protocol: Protocol,
    name: &str,
    local: SocketAddr,
) -> Result<(), Error> {
    let mut talk = Talk { stream, unread: Vec::new(), heard: 0 };
    match protocol {
        Protocol::ImapStarttls => imap(&mut talk).await?,
        Protocol::LdapStarttls => ldap(&mut talk).await?,
        Protocol::Pop3Starttls => pop3(&mut talk).await?,
        Protocol::SmtpStarttls => smtp(&mut talk, local).await?,
        Protocol::XmppStarttls => xmpp(&mut talk, name).await?,
        _ => {}
    }
    match talk.unread.as_slice() {
        [] => Ok(()),
        more => Err(Error::Injected(printable(more))),
    }
}

/// RFC 3207.
async fn smtp<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<'_, S>,
    local: SocketAddr,
) -> Result<(), Error> {
    let (code, said) = smtp_reply(talk).await?;
    if code != "220" {
        return Err(Error::Refused(said));
    }
    // An address stands for a name that we may not have (RFC 5321 section 4.1.3).
    let us = match local {
        SocketAddr::V4(v4) => format!("[{}]", v4.ip()),
        SocketAddr::V6(v6) => format!("[IPv6:{}]", v6.ip()),
    };
    talk.say(&format!("EHLO {us}\r\n")).await?;
    let mut offered = false;
    loop {
        let (code, last, said) = smtp_line(talk).await?;
        if code != "250" {
            return Err(Error::Refused(said));
        }
        offered |= said[4.min(said.len())..].trim().eq_ignore_ascii_case("STARTTLS");
        if last {
            break;
        }
    }
    if !offered {
        return Err(Error::NotOffered);
    }
    talk.say("STARTTLS\r\n").await?;
    match smtp_reply(talk).await? {
        (code, _) if code == "220" => Ok(()),
        (_, said) => Err(Error::Refused(said)),
    }
}

/// Code and last line of a reply.
async fn smtp_reply<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<'_, S>,
) -> Result<(String, String), Error> {
    loop {
        if let (code, true, said) = smtp_line(talk).await? {
            return Ok((code, said));
        }
    }
}

/// Code, whether it is the last line of its reply, and the line.
async fn smtp_line<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<'_, S>,
) -> Result<(String, bool, String), Error> {
    let line = talk.line().await?;
    let (code, more) = match line.as_bytes() {
        [a, b, c] => ([*a, *b, *c], b' '),
        [a, b, c, more @ (b' ' | b'-'), ..] => ([*a, *b, *c], *more),
        _ => ([b'?'; 3], b' '),
    };
    if !code.iter().all(u8::is_ascii_digit) {
        return Err(not_spoken("SMTP", &line));
    }
    Ok((String::from_utf8_lossy(&code).into_owned(), more == b' ', line))
}

/// RFC 3501 section 6.2.1.
async fn imap<S: AsyncRead + AsyncWrite + Unpin>(talk: &mut Talk<'_, S>) -> Result<(), Error> {
    let greeting = talk.line().await?;
    match greeting.strip_prefix("* ").map(first_word).as_deref() {
        Some("OK") => {}
        Some("BYE" | "PREAUTH") => return Err(Error::Refused(greeting)),
        _ => return Err(not_spoken("IMAP", &greeting)),
    }
    talk.say("a CAPABILITY\r\n").await?;
    let mut offered = false;
    loop {
        let line = talk.line().await?;
        if line.starts_with("* CAPABILITY ") {
            offered |= line.split(' ').any(|word| word.eq_ignore_ascii_case("STARTTLS"));
        } else if line.starts_with("a ") {
            break;
        }
    }
    if !offered {
        return Err(Error::NotOffered);
    }
    talk.say("b STARTTLS\r\n").await?;
    loop {
        let line = talk.line().await?;
        match line.strip_prefix("b ").map(first_word).as_deref() {
            Some("OK") => return Ok(()),
            Some(_) => return Err(Error::Refused(line)),
            None => {}
        }
    }
}

/// RFC 2595 section 4.
async fn pop3<S: AsyncRead + AsyncWrite + Unpin>(talk: &mut Talk<'_, S>) -> Result<(), Error> {
    let greeting = talk.line().await?;
    match first_word(&greeting).as_str() {
        "+OK" => {}
        "-ERR" => return Err(Error::Refused(greeting)),
        _ => return Err(not_spoken("POP3", &greeting)),
    }
    talk.say("STLS\r\n").await?;
    let line = talk.line().await?;
    match first_word(&line).as_str() {
        "+OK" => Ok(()),
        _ => Err(Error::Refused(line)),
    }
}

/// RFC 6120 section 5.4. No XML reader is needed for three tags that may stand in one way only.
async fn xmpp<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<'_, S>,
    name: &str,
) -> Result<(), Error> {
    talk.say(&format!(
        "<?xml version='1.0'?><stream:stream to='{name}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    ))
    .await?;
    let until = ["</stream:features>", "<stream:features/>", "</stream:error>", "</stream:stream>"];
    let features = talk.until(&until, "XMPP").await?;
    if features.contains("<stream:error") {
        let reason = features.split("<stream:error").nth(1).unwrap_or_default();
        return Err(Error::Refused(printable(format!("<stream:error{reason}").as_bytes())));
    }
    if !features.contains("<stream:stream") {
        return Err(not_spoken("XMPP", &features));
    }
    if !features.contains("urn:ietf:params:xml:ns:xmpp-tls") {
        return Err(Error::NotOffered);
    }
    talk.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
    let answer = talk.until(&[">"], "XMPP").await?;
    if !answer.trim_start().starts_with("<proceed") {
        return Err(Error::Refused(printable(answer.as_bytes())));
    }
    if !answer.ends_with("/>") {
        talk.until(&["</proceed>"], "XMPP").await?;
    }
    Ok(())
}

/// RFC 4511 section 4.14: an extended request, and what is said to it.
async fn ldap<S: AsyncRead + AsyncWrite + Unpin>(talk: &mut Talk<'_, S>) -> Result<(), Error> {
    // LDAPMessage { messageID 1, [APPLICATION 23] { [0] "1.3.6.1.4.1.1466.20037" } }
    let mut request = vec![0x30, 0x1d, 2, 1, 1, 0x77, 0x18, 0x80, 0x16];
    request.extend_from_slice(b"1.3.6.1.4.1.1466.20037");
    talk.say_bytes(&request).await?;
    loop {
        if let [first, ..] = talk.unread.as_slice() {
            match *first {
                0x30 => {}
                0x15 | 0x16 => return Err(Error::Tls),
                _ => return Err(not_spoken("LDAP", &printable(&talk.unread))),
            }
            if let Some((message, rest)) = value(&talk.unread) {
                let verdict = ldap_result(message);
                talk.unread = rest.to_vec();
                return verdict;
            }
        }
        talk.more().await?;
    }
}

/// ExtendedResponse: result code 0 is the go-ahead.
fn ldap_result(message: &[u8]) -> Result<(), Error> {
    let not_ldap = || not_spoken("LDAP", &printable(message));
    let (_, rest) = value(message).ok_or_else(not_ldap)?;
    let (&kind, _) = rest.split_first().ok_or_else(not_ldap)?;
    let (response, _) = value(rest).ok_or_else(not_ldap)?;
    if kind != 0x78 {
        return Err(not_ldap());
    }
    let (code, rest) = value(response).ok_or_else(not_ldap)?;
    if code == [0] {
        return Ok(());
    }
    let diagnostic = value(rest).and_then(|(_, rest)| value(rest)).map(|(text, _)| text);
    let code = code.iter().fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
    // protocolError is what a server without TLS says (RFC 4511 section 4.14.1).
    let text = format!("result code {code} {}", printable(diagnostic.unwrap_or_default()));
    Err(Error::Refused(text.trim_end().to_owned()))
}

/// The content of a BER value, and what follows it; lengths of four bytes at most.
fn value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[_, short], rest) = bytes.split_first_chunk::<2>()?;
    if short < 0x80 {
        return rest.split_at_checked(usize::from(short));
    }
    let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
    if length.is_empty() || length.len() > 4 {
        return None;
    }
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

fn first_word(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_ascii_uppercase()
}

fn not_spoken(protocol: &'static str, said: &str) -> Error {
    Error::NotSpoken { protocol, said: printable(said.as_bytes()) }
}

/// Both sides of the conversation.
struct Talk<'a, S> {
    stream: &'a mut S,
    /// Came, but was not listened to yet.
    unread: Vec<u8>,
    heard: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn say(&mut self, text: &str) -> Result<(), Error> {
        self.say_bytes(text.as_bytes()).await
    }

    async fn say_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// One line without its end.
    async fn line(&mut self) -> Result<String, Error> {
        loop {
            if matches!(self.unread.first(), Some(0x15 | 0x16)) {
                return Err(Error::Tls);
            }
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more().await?;
        }
    }

    /// Everything up to the first of these ends.
    async fn until(&mut self, ends: &[&str], protocol: &'static str) -> Result<String, Error> {
        loop {
            match self.unread.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(0x15 | 0x16) => return Err(Error::Tls),
                Some(byte) if self.heard == self.unread.len() && *byte != b'<' => {
                    return Err(not_spoken(protocol, &printable(&self.unread)));
                }
                _ => {}
            }
            let found = ends.iter().filter_map(|end| {
                let mut windows = self.unread.windows(end.len());
                Some(windows.position(|window| window == end.as_bytes())? + end.len())
            });
            if let Some(length) = found.min() {
                let said: Vec<u8> = self.unread.drain(..length).collect();
                return Ok(String::from_utf8_lossy(&said).into_owned());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Error> {
        if self.heard >= MOST {
            return Err(Error::TooMuch);
        }
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(Error::Closed);
        }
        self.unread.extend_from_slice(&buffer[..count]);
        self.heard += count;
        Ok(())
    }
}

/// Most bytes that are heard before TLS.
const MOST: usize = 64 * 1024;

#[cfg(test)]
mod tests;
