//! What a SIP server answers (RFC 3261 section 7.2), as far as it is needed.

use super::printable;

/// A response without its body.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) code: u16,
    /// The reason phrase, control characters replaced.
    pub(super) reason: String,
    headers: Vec<(String, String)>,
}

/// What stands at the beginning of received bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// A response that takes so many bytes.
    Response(Response, usize),
    /// Its end is missing.
    Part,
    /// No SIP response.
    Rubbish(String),
}

impl Response {
    /// The values of a header, also by its compact name (RFC 3261 section 7.3.3).
    pub(super) fn header(&self, name: &str) -> impl Iterator<Item = &str> {
        let compact = match name {
            "Via" => "v",
            "Content-Length" => "l",
            _ => name,
        };
        let same = move |n: &str| n.eq_ignore_ascii_case(name) || n.eq_ignore_ascii_case(compact);
        self.headers.iter().filter(move |(n, _)| same(n)).map(|(_, value)| value.as_str())
    }

    /// Whether it answers the request of that branch (RFC 3261 section 17.1.3).
    pub(super) fn answers(&self, branch: &str) -> bool {
        let top = self.header("Via").next().unwrap_or_default();
        let top = top.split(',').next().unwrap_or_default();
        top.split(';').any(|p| p.trim().strip_prefix("branch=").is_some_and(|b| b == branch))
    }
}

/// Reads a response from the beginning of `bytes`; a datagram is `whole`, however long it says it
/// is.
pub(super) fn read(bytes: &[u8], whole: bool) -> Found {
    // Blank lines before a message are keep-alives (RFC 3261 section 7.5).
    let start = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let Some(length) = bytes[start..].windows(4).position(|w| w == b"\r\n\r\n") else {
        return if whole { Found::Rubbish(printable(bytes)) } else { Found::Part };
    };
    let head = String::from_utf8_lossy(&bytes[start..start + length]);
    let Some(response) = head_of(&head) else {
        return Found::Rubbish(printable(&bytes[start..]));
    };
    let body = response.header("Content-Length").next().and_then(|v| v.trim().parse().ok());
    let end = (start + length + 4).saturating_add(body.unwrap_or(0));
    if !whole && bytes.len() < end {
        return Found::Part;
    }
    Found::Response(response, end.min(bytes.len()))
}

fn head_of(head: &str) -> Option<Response> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("SIP/2.0 ")?;
    let (code, reason) = status.split_once(' ').unwrap_or((status, ""));
    let code = code.parse().ok().filter(|code| (100..700).contains(code))?;
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        match headers.last_mut() {
            // A header may go on in lines that begin with a space.
            Some((_, value)) if line.starts_with([' ', '\t']) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                let (name, value) = line.split_once(':')?;
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
    Some(Response { code, reason: printable(reason.as_bytes()), headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "SIP/2.0 202 Accepted\r\nv: SIP/2.0/TCP 127.0.0.1;rport=5;branch=z9hG4bKa;x\r\n\
                      Subject: a\r\n b\r\nl: 3\r\n\r\nabcSIP";

    #[test]
    fn a_response_is_read_with_folded_and_compact_headers_and_its_length() {
        let Found::Response(response, end) = read(format!("\r\n{OK}").as_bytes(), false) else {
            panic!("no response");
        };
        assert_eq!((response.code, response.reason.as_str()), (202, "Accepted"));
        assert_eq!(end, 2 + OK.len() - 3);
        assert_eq!(response.header("subject").next(), Some("a b"));
        assert!(response.answers("z9hG4bKa") && !response.answers("z9hG4bK"));
    }

    #[test]
    fn parts_wait_for_the_rest_and_rubbish_does_not() {
        for end in [1, 20, OK.len() - 6, OK.len() - 4] {
            assert!(matches!(read(&OK.as_bytes()[..end], false), Found::Part), "{end}");
        }
        assert!(matches!(read(&OK.as_bytes()[..OK.len() - 4], true), Found::Response(..)));
        for bad in
            ["HTTP/1.1 200 OK\r\n\r\n", "SIP/2.0 99 x\r\n\r\n", "SIP/2.0 200 OK\r\nx\r\n\r\n"]
        {
            assert!(matches!(read(bad.as_bytes(), false), Found::Rubbish(_)), "{bad}");
        }
        let endless = "SIP/2.0 200 OK\r\nl: 99999999999999999999\r\n\r\n";
        assert!(matches!(read(endless.as_bytes(), false), Found::Response(..)));
        let huge = format!("SIP/2.0 200 OK\r\nl: {}\r\n\r\n", usize::MAX);
        assert!(matches!(read(huge.as_bytes(), false), Found::Part));
    }
}
