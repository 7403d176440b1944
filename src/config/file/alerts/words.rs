//! What addresses are made of.

use std::net::IpAddr;

use url::Url;

use crate::cert::Identifier;

/// Whether it is an http or https address without user and password.
pub(super) fn is_web_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && !text.contains(char::is_whitespace)
    })
}

/// Whether it belongs to a product whose addresses hold a token.
pub(super) fn is_known_secret(text: &str) -> bool {
    const HOSTS: [&str; 6] = [
        "hooks.slack.com",
        "webhook.office.com",
        "logic.azure.com",
        "powerplatform.com",
        "discord.com",
        "chat.googleapis.com",
    ];
    let Ok(url) = Url::parse(text) else { return false };
    let host = url.host_str().unwrap_or_default();
    HOSTS.iter().any(|known| {
        host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// `host`, `host:port`, `address`, `[v6]` or `[v6]:port`.
pub(super) fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match host.parse::<Identifier>().ok()? {
        Identifier::Dns(name) if name.contains('*') => return None,
        Identifier::Dns(_) | Identifier::Ip(_) => {}
    }
    let port = match port {
        Some(digits) => Some(digits.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    Some((host.to_owned(), port))
}

/// The host of a SIP address such as `sip:100@pbx.example.com:5060;transport=udp` (RFC 3261
/// section 19.1), which must hold nothing that could end it early in a header.
pub(super) fn sip_host(text: &str) -> Option<String> {
    let rest = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"))?;
    let fit = |b: u8| b.is_ascii_graphic() && !b"<>\"?,\\`{}^|".contains(&b);
    if !rest.bytes().all(fit) {
        return None;
    }
    let (user, rest) = rest.split_once('@')?;
    let place = rest.split(';').next().unwrap_or_default();
    let (host, _) = host_and_port(place)?;
    (!user.is_empty()).then(|| if host.contains(':') { format!("[{host}]") } else { host })
}

/// Whether it is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_taken_apart() {
        for (text, host, port) in [
            ("mail.pbx.de", "mail.pbx.de", None),
            ("localhost:25", "localhost", Some(25)),
            ("192.0.2.1:587", "192.0.2.1", Some(587)),
            ("[::1]:5060", "::1", Some(5060)),
            ("[2001:db8::1]", "2001:db8::1", None),
        ] {
            assert_eq!(host_and_port(text), Some((host.to_owned(), port)), "{text}");
        }
        for bad in ["", ":25", "a b", "mail:0", "mail:x", "::1", "[::1", "[::1]5", "a/b", "*.de"] {
            assert_eq!(host_and_port(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sip_address_cannot_end_early() {
        for (text, host) in [
            ("sip:100@127.0.0.1", "127.0.0.1"),
            ("sips:noc@pbx.de:5061;transport=tls", "pbx.de"),
            ("sip:%23100@[::1]:5060", "[::1]"),
        ] {
            assert_eq!(sip_host(text).as_deref(), Some(host), "{text}");
        }
        for bad in
            ["100@pbx.de", "sip:pbx.de", "sip:@pbx.de", "sip:1@a>b", "sip:1@a\r\nb", "sip:1@a?x=y"]
        {
            assert_eq!(sip_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_with_tokens_are_known() {
        assert!(is_known_secret("https://hooks.slack.com/services/T0/B0/x"));
        assert!(is_known_secret("https://acme.webhook.office.com/x"));
        assert!(!is_known_secret("https://nothooks.slack.com.evil.de/x"));
        assert!(!is_known_secret("https://ntfy.pbx.de/x"));
    }

    #[test]
    fn only_web_addresses_are_web_addresses() {
        assert!(is_web_address("https://a.de/x?y=z") && is_web_address("http://127.0.0.1:80/"));
        for bad in ["ftp://a.de", "a.de", "https://me:secret@a.de", "https://a.de/ b", "https://"] {
            assert!(!is_web_address(bad), "{bad}");
        }
    }
}
