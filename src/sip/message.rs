//! MESSAGE outside of a dialogue (RFC 3428), with digest authentication, over UDP or a stream.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::digest::{Asker, Challenge};
use super::response::{Found, Response, read};

/// Longest request over UDP (RFC 3261 section 18.1.1, RFC 3428 section 8).
pub const MOST_OVER_UDP: usize = 1300;

/// Longest request over a stream: nobody reads more on the display of a telephone.
const MOST_OVER_STREAM: usize = 8 * 1024;

/// A message to a telephone. Whoever makes it answers for `to` and `from` being SIP addresses
/// without line ends, spaces and angle brackets.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// Whom: `sip:100@pbx.example.com`.
    pub to: &'a str,
    /// Who says so.
    pub from: &'a str,
    /// Name and password, for a server that asks for them.
    pub login: Option<(&'a str, &'a str)>,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// Makes branch, From tag and Call-ID unique: letters and digits, another one for each message.
    pub tag: &'a str,
    /// The text; shortened to what the transport can carry.
    pub text: &'a str,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The peer ended the connection first.
    #[error("the server closed the connection before it answered")]
    Closed,
    /// Something else than a SIP response came.
    #[error("the answer is no SIP response: {0:?}")]
    NotSip(String),
    /// The addresses leave no room for a text.
    #[error("the addresses are too long for a message over UDP; use tcp")]
    NoRoom,
    /// The server wants a password that we do not have.
    #[error("the server asks for a password ({code}); set user and password-file")]
    NoPassword {
        /// 401 or 407.
        code: u16,
    },
    /// The password is wrong.
    #[error("the server refuses user and password ({code} {reason}); check user and password-file")]
    WrongPassword {
        /// 401 or 407.
        code: u16,
        /// In the server's words.
        reason: String,
    },
    /// The server wants something that we do not speak.
    #[error("the server asks for an authentication that is not known here ({code})")]
    Challenge {
        /// 401 or 407.
        code: u16,
    },
    /// The system gave no random number.
    #[error("the system gives no random numbers")]
    Random,
    /// Another answer.
    #[error("the server answered {code} {reason}{}", advice(*code))]
    Refused {
        /// The status.
        code: u16,
        /// In the server's words.
        reason: String,
    },
}

/// Sends over a connection that is already there: `TCP` or `TLS`. Whoever calls sets the limit of
/// time.
///
/// # Errors
///
/// When it was not taken with 200 or 202 (RFC 3428 section 7).
pub async fn over_stream<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    transport: &'static str,
    message: Outgoing<'_>,
) -> Result<(), Error> {
    let mut wire = Stream { stream, transport, seen: Vec::new() };
    converse(&mut wire, message).await
}

/// Sends over a socket that is connected to the server, again and again until it answers (RFC
/// 3261 section 17.1.2). Whoever calls sets the limit of time.
///
/// # Errors
///
/// When it was not taken with 200 or 202 (RFC 3428 section 7).
pub async fn over_udp(socket: &UdpSocket, message: Outgoing<'_>) -> Result<(), Error> {
    converse(&mut Datagrams { socket }, message).await
}

/// A way to ask and to be answered.
trait Wire {
    fn transport(&self) -> &'static str;

    fn most(&self) -> usize;

    /// Sends a request and waits for its final response.
    async fn ask(&mut self, request: &[u8], branch: &str) -> Result<Response, Error>;
}

async fn converse<W: Wire>(wire: &mut W, message: Outgoing<'_>) -> Result<(), Error> {
    let mut answers: Vec<Answer> = Vec::new();
    // A proxy on the way and the server itself may both ask, each once more for a stale nonce.
    for sequence in 1..=5 {
        let branch = format!("z9hG4bK{}{sequence}", message.tag);
        let request = request(wire, message, sequence, &branch, &answers)?;
        let response = wire.ask(request.as_bytes(), &branch).await?;
        match response.code {
            200 | 202 => return Ok(()),
            401 | 407 => answer(&mut answers, &response, message)?,
            code => return Err(Error::Refused { code, reason: response.reason }),
        }
    }
    Err(Error::Challenge { code: 401 })
}

/// What is sent back to one realm.
struct Answer {
    header: &'static str,
    realm: String,
    value: String,
}

fn answer(
    answers: &mut Vec<Answer>,
    response: &Response,
    message: Outgoing<'_>,
) -> Result<(), Error> {
    let code = response.code;
    let (asked, header) = match code {
        407 => ("Proxy-Authenticate", "Proxy-Authorization"),
        _ => ("WWW-Authenticate", "Authorization"),
    };
    // The topmost that we can answer (RFC 8760 section 2.4).
    let challenge = response.header(asked).find_map(Challenge::parse);
    let challenge = challenge.ok_or(Error::Challenge { code })?;
    let (user, password) = message.login.ok_or(Error::NoPassword { code })?;
    let before = answers.iter().position(|a| a.header == header && a.realm == challenge.realm);
    match before {
        Some(_) if !challenge.stale => {
            return Err(Error::WrongPassword { code, reason: response.reason.clone() });
        }
        Some(place) => drop(answers.remove(place)),
        None => {}
    }
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::Random)?;
    let cnonce = crate::cert::hex(&random);
    let asker = Asker { user, password, method: "MESSAGE", uri: message.to, cnonce: &cnonce };
    let value = challenge.answer(asker);
    answers.push(Answer { header, realm: challenge.realm, value });
    Ok(())
}

/// RFC 3261 section 8.1.1 and RFC 3428 section 4: no Contact.
fn request<W: Wire>(
    wire: &W,
    message: Outgoing<'_>,
    sequence: u32,
    branch: &str,
    answers: &[Answer],
) -> Result<String, Error> {
    let Outgoing { to, from, local, tag, text, .. } = message;
    let ip = match local {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    let mut lines = vec![
        format!("MESSAGE {to} SIP/2.0"),
        format!("Via: SIP/2.0/{} {local};rport;branch={branch}", wire.transport()),
        "Max-Forwards: 70".to_owned(),
        format!("From: <{from}>;tag={tag}"),
        format!("To: <{to}>"),
        format!("Call-ID: {tag}@{ip}"),
        format!("CSeq: {sequence} MESSAGE"),
    ];
    lines.extend(answers.iter().map(|a| format!("{}: {}", a.header, a.value)));
    lines.push(format!("User-Agent: pbxcert/{}", env!("CARGO_PKG_VERSION")));
    lines.push("Content-Type: text/plain;charset=UTF-8".to_owned());
    let head = lines.join("\r\n");
    // "Content-Length: 1234" and two line ends between head and text.
    let room = wire.most().checked_sub(head.len() + 26).filter(|room| *room >= LEAST_TEXT);
    let text = shortened(text, room.ok_or(Error::NoRoom)?);
    Ok(format!("{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
}

fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most - NOTE.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{NOTE}", &text[..end])
}

const NOTE: &str = " [shortened]";

/// Less is no message.
const LEAST_TEXT: usize = 100;

struct Stream<'s, S> {
    stream: &'s mut S,
    transport: &'static str,
    seen: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire for Stream<'_, S> {
    fn transport(&self) -> &'static str {
        self.transport
    }

    fn most(&self) -> usize {
        MOST_OVER_STREAM
    }

    async fn ask(&mut self, request: &[u8], branch: &str) -> Result<Response, Error> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut buffer = [0; 4096];
        loop {
            match read(&self.seen, false) {
                Found::Response(response, end) => {
                    self.seen.drain(..end);
                    if response.code >= 200 && response.answers(branch) {
                        return Ok(response);
                    }
                }
                Found::Part if self.seen.len() < super::MOST => {
                    let count = self.stream.read(&mut buffer).await?;
                    if count == 0 {
                        return Err(Error::Closed);
                    }
                    self.seen.extend_from_slice(&buffer[..count]);
                }
                Found::Part => return Err(Error::NotSip(super::printable(&self.seen))),
                Found::Rubbish(text) => return Err(Error::NotSip(text)),
            }
        }
    }
}

struct Datagrams<'s> {
    socket: &'s UdpSocket,
}

/// RFC 3261 table 4: T1, and T2, the longest time between two tries.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

impl Wire for Datagrams<'_> {
    fn transport(&self) -> &'static str {
        "UDP"
    }

    fn most(&self) -> usize {
        MOST_OVER_UDP
    }

    async fn ask(&mut self, request: &[u8], branch: &str) -> Result<Response, Error> {
        let mut buffer = vec![0; super::MOST];
        let mut pause = T1;
        loop {
            self.socket.send(request).await?;
            let mut patience = pause;
            while let Ok(response) = timeout(patience, self.hear(branch, &mut buffer)).await {
                let response = response?;
                if response.code >= 200 {
                    return Ok(response);
                }
                patience = T2;
            }
            pause = (pause * 2).min(T2);
        }
    }
}

impl Datagrams<'_> {
    /// The next response to this request; what is none is somebody else's, or an old one.
    async fn hear(&self, branch: &str, buffer: &mut [u8]) -> Result<Response, Error> {
        loop {
            let count = self.socket.recv(buffer).await?;
            match read(&buffer[..count], true) {
                Found::Response(response, _) if response.answers(branch) => return Ok(response),
                _ => {}
            }
        }
    }
}

/// What to do about an answer, where that is known.
fn advice(code: u16) -> &'static str {
    match code {
        403 => "; allow MESSAGE from this machine, or set user and password-file",
        404 | 604 => "; nobody has this extension: check to",
        405 | 415 | 501 => "; this server takes no text messages: use another channel",
        408 | 480 | 410 => "; the telephone is not registered",
        413 | 513 => "; the message is too long for it",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
