//! SIP as far as it is needed here: one OPTIONS over a connection that is already there (RFC 3261
//! section 11), and MESSAGE to an extension ([`message`]).
//!
//! OPTIONS informs only: whatever is answered, even 404 or 503, somebody speaks SIP behind the TLS.

mod digest;
pub mod message;
mod response;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Most bytes that are read in search of a status line.
const MOST: usize = 64 * 1024;

/// Longest status line that is kept, in characters.
const LONGEST: usize = 128;

/// Why there is no status line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("OPTIONS got no answer")]
    Io(#[from] std::io::Error),
    /// The peer ended the connection first.
    #[error("the connection was closed before OPTIONS was answered")]
    Closed,
    /// Something else than a SIP response came.
    #[error("the answer to OPTIONS is no SIP response: {0:?}")]
    NotSip(String),
    /// Nothing came in time.
    #[error("OPTIONS was not answered within {0:?}")]
    TimedOut(Duration),
}

/// Asks OPTIONS over TLS and gives the status line without its version: `200 OK`.
///
/// `target` is `host:port` of the peer, `local` our end, `tag` makes branch, From tag and Call-ID
/// unique (letters and digits; another one for each request).
///
/// # Errors
///
/// When nothing, or nothing that is SIP, comes within `limit` and 64 KiB.
pub async fn options<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: &str,
    local: SocketAddr,
    tag: &str,
    limit: Duration,
) -> Result<String, Error> {
    let exchange = async {
        stream.write_all(request(target, local, tag).as_bytes()).await?;
        stream.flush().await?;
        status_line(stream).await
    };
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Error::TimedOut(limit)))
}

/// RFC 3261 section 8.1.1; `sip:` with `transport=tls` because many servers refuse a `sips:`
/// request URI that they would have to keep secure to its end.
fn request(target: &str, local: SocketAddr, tag: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let ip = match local {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    [
        format!("OPTIONS sip:{target};transport=tls SIP/2.0"),
        format!("Via: SIP/2.0/TLS {local};rport;branch=z9hG4bK{tag}"),
        "Max-Forwards: 70".to_owned(),
        format!("From: <sip:pbxcert@{ip}>;tag={tag}"),
        format!("To: <sip:{target}>"),
        format!("Call-ID: {tag}@{ip}"),
        "CSeq: 1 OPTIONS".to_owned(),
        format!("Contact: <sip:pbxcert@{local};transport=tls>"),
        "Accept: application/sdp".to_owned(),
        format!("User-Agent: pbxcert/{version}"),
        "Content-Length: 0".to_owned(),
        "\r\n".to_owned(),
    ]
    .join("\r\n")
}

async fn status_line<S: AsyncRead + Unpin>(stream: &mut S) -> Result<String, Error> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while seen.len() < MOST {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(Error::Closed);
        }
        seen.extend_from_slice(&buffer[..count]);
        // Blank lines before a message are keep-alives (RFC 3261 section 7.5).
        let start = seen.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(seen.len());
        if let Some(length) = seen[start..].iter().position(|b| matches!(b, b'\r' | b'\n')) {
            return read_status(&seen[start..start + length]);
        }
    }
    Err(Error::NotSip(printable(&seen)))
}

fn read_status(line: &[u8]) -> Result<String, Error> {
    let text = printable(line);
    let status = text.strip_prefix("SIP/2.0 ").filter(|rest| {
        let code = rest.split(' ').next().unwrap_or_default();
        code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit())
    });
    status.map(str::to_owned).ok_or_else(|| Error::NotSip(text.clone()))
}

/// The beginning of `bytes`, control characters replaced.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST)]);
    text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn local() -> SocketAddr {
        "127.0.0.1:40000".parse().unwrap()
    }

    /// What `options` says when `answer` is what comes back, then the end of the stream.
    async fn answered(answer: &[u8]) -> Result<String, Error> {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        options(&mut ours, "127.0.0.1:5061", local(), "abc", LIMIT).await
    }

    #[test]
    fn the_request_has_every_mandatory_header_once_and_ends_with_a_blank_line() {
        let text = request("pbx.example:5061", local(), "abc");
        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(rest, "");
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next(), Some("OPTIONS sip:pbx.example:5061;transport=tls SIP/2.0"));
        let names: Vec<&str> = lines.map(|line| line.split_once(": ").unwrap().0).collect();
        for must in ["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq"] {
            assert_eq!(names.iter().filter(|name| **name == must).count(), 1, "{must}");
        }
        assert!(head.contains("branch=z9hG4bKabc"));
    }

    #[tokio::test]
    async fn any_status_counts_also_after_keep_alives() {
        assert_eq!(answered(b"SIP/2.0 200 OK\r\n").await.unwrap(), "200 OK");
        let late = b"\r\n\r\nSIP/2.0 503 Service Unavailable\r\nVia: x\r\n\r\n";
        assert_eq!(answered(late).await.unwrap(), "503 Service Unavailable");
    }

    #[tokio::test]
    async fn what_is_not_sip_is_said() {
        for bad in
            ["HTTP/1.1 400 Bad Request\r\n", "SIP/2.0 20 no\r\n", "OPTIONS sip:x SIP/2.0\r\n"]
        {
            let error = answered(bad.as_bytes()).await.unwrap_err();
            assert!(matches!(error, Error::NotSip(_)), "{bad}: {error}");
        }
        assert!(matches!(answered(b"SIP/2.0 200").await, Err(Error::Closed)));
    }

    #[tokio::test]
    async fn an_endless_line_is_given_up_at_64_kib() {
        let error = answered(&vec![b'x'; 1 << 19]).await.unwrap_err();
        let Error::NotSip(text) = error else { panic!("{error}") };
        assert_eq!(text.len(), LONGEST);
    }

    #[tokio::test]
    async fn silence_ends_at_the_limit() {
        let (mut ours, _theirs) = tokio::io::duplex(1 << 16);
        let limit = Duration::from_millis(20);
        let outcome = options(&mut ours, "127.0.0.1:5061", local(), "abc", limit).await;
        assert!(matches!(outcome, Err(Error::TimedOut(_))));
    }
}
