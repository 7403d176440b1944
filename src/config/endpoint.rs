//! Where to look at what a service serves: an address, what is spoken there, and how to ask.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use url::Url;

use super::kind::Kind;
use crate::cert::{Identifier, KeyType};

/// How long one look may take where nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Where to look at what a service serves.
///
/// A host name stands for one endpoint: the first of its addresses that takes the connection is
/// looked at, IPv4 or IPv6. Who wants each address looked at writes an endpoint for each, with the
/// address as host; the server name is then the certificate's.
///
/// 127.0.0.1 stands for this machine where a service of ours is looked at: when nobody listens there,
/// the address on which the service has bound the port is looked at.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Endpoint {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Server name indication; `None`: none is sent.
    pub sni: Option<String>,
    /// Ask only for a certificate with such a key; `None`: take what the server prefers.
    pub key: Option<KeyFamily>,
    /// The certificate of the service that is expected here.
    pub certificate: String,
    /// How long one look may take.
    pub timeout: Duration,
    /// The kind of the service that is looked at; `None`: it is none of ours.
    pub kind: Option<Kind>,
    /// Nobody wrote it: services of its kind are often there, and not all of them.
    pub usual: bool,
}

/// Which of its certificates a server is asked for that has one of each.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum KeyFamily {
    /// `ecdsa`
    Ecdsa,
    /// `rsa`
    Rsa,
}

/// What is spoken on an endpoint.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// `https://`
    Https,
    /// `imap+starttls://` (RFC 3501 section 6.2.1)
    ImapStarttls,
    /// `imaps://`
    Imaps,
    /// `ldap+starttls://` (RFC 4511 section 4.14)
    LdapStarttls,
    /// `ldaps://`
    Ldaps,
    /// `mqtts://`
    Mqtts,
    /// `pop3+starttls://` (RFC 2595 section 4)
    Pop3Starttls,
    /// `pop3s://`
    Pop3s,
    /// `sips://`: SIP over TLS; OPTIONS is asked and informs only.
    Sips,
    /// `smtp+starttls://` (RFC 3207)
    SmtpStarttls,
    /// `smtps://`
    Smtps,
    /// `tls://`: the handshake alone.
    Tls,
    /// `turns://`
    Turns,
    /// `wss://`: the handshake alone.
    Wss,
    /// `xmpp+starttls://` (RFC 6120 section 5); the stream is for the server name.
    XmppStarttls,
    /// `xmpps://`
    Xmpps,
}

impl Endpoint {
    /// What a person writes: `sips://pbx.example:5061`. The host's name is sent as server name;
    /// expected is no certificate in particular.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (protocol, host, port) = address(text)?;
        Ok(Self::at(protocol, &host, port))
    }

    /// There, asked for by its name when it has one; of no certificate and no service yet.
    pub fn at(protocol: Protocol, host: &Identifier, port: u16) -> Self {
        let sni = match host {
            Identifier::Dns(name) => Some(name.clone()),
            Identifier::Ip(_) => None,
        };
        Self {
            protocol,
            host: host.to_string(),
            port,
            sni,
            key: None,
            certificate: String::new(),
            timeout: TIMEOUT,
            kind: None,
            usual: false,
        }
    }

    /// The host's address; `None` for a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        if host.contains(':') {
            format!("[{host}]:{}", self.port)
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

/// The endpoint as an address, `sips://127.0.0.1:5061`; followed by ` (sni NAME)` or ` (no sni)`
/// where the server name is not what the address says, and by the kind of key that is asked for.
/// Names the endpoint in state and reports.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol, self.authority())?;
        let sni = match &self.sni {
            Some(sni) if *sni != self.host => Some(format!("sni {sni}")),
            None if self.ip().is_none() => Some("no sni".to_owned()),
            Some(_) | None => None,
        };
        match (sni, self.key) {
            (Some(sni), Some(key)) => write!(f, " ({sni}, {key})"),
            (Some(sni), None) => write!(f, " ({sni})"),
            (None, Some(key)) => write!(f, " ({key})"),
            (None, None) => Ok(()),
        }
    }
}

impl KeyFamily {
    /// Every family, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Rsa, Self::Ecdsa];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }

    /// The family of a kind of key.
    pub fn of(key: KeyType) -> Self {
        match key {
            KeyType::EcdsaP256 | KeyType::EcdsaP384 => Self::Ecdsa,
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => Self::Rsa,
        }
    }
}

impl fmt::Display for KeyFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Protocol {
    /// Every protocol, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::Sips,
        Self::Tls,
        Self::Https,
        Self::Wss,
        Self::Turns,
        Self::Mqtts,
        Self::SmtpStarttls,
        Self::Smtps,
        Self::ImapStarttls,
        Self::Imaps,
        Self::Pop3Starttls,
        Self::Pop3s,
        Self::XmppStarttls,
        Self::Xmpps,
        Self::LdapStarttls,
        Self::Ldaps,
    ];

    /// What stands before `://`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::ImapStarttls => "imap+starttls",
            Self::Imaps => "imaps",
            Self::LdapStarttls => "ldap+starttls",
            Self::Ldaps => "ldaps",
            Self::Mqtts => "mqtts",
            Self::Pop3Starttls => "pop3+starttls",
            Self::Pop3s => "pop3s",
            Self::Sips => "sips",
            Self::SmtpStarttls => "smtp+starttls",
            Self::Smtps => "smtps",
            Self::Tls => "tls",
            Self::Turns => "turns",
            Self::Wss => "wss",
            Self::XmppStarttls => "xmpp+starttls",
            Self::Xmpps => "xmpps",
        }
    }

    /// The port where none is written (IANA's registry of service names and port numbers).
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Https | Self::Wss => Some(443),
            Self::ImapStarttls => Some(143),
            Self::Imaps => Some(993),
            Self::LdapStarttls => Some(389),
            Self::Ldaps => Some(636),
            Self::Mqtts => Some(8883),
            Self::Pop3Starttls => Some(110),
            Self::Pop3s => Some(995),
            Self::Sips => Some(5061),
            Self::SmtpStarttls => Some(25),
            Self::Smtps => Some(465),
            Self::Tls => None,
            Self::Turns => Some(5349),
            Self::XmppStarttls => Some(5222),
            Self::Xmpps => Some(5223),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme())
    }
}

/// What is spoken, where, and on which port.
pub(super) fn address(text: &str) -> Result<(Protocol, Identifier, u16), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("write it like \"sips://127.0.0.1:5061\"".to_owned());
    };
    let Some(protocol) = Protocol::ALL.into_iter().find(|p| p.scheme() == scheme) else {
        return Err(format!("known are {}", schemes()));
    };
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    // Only for schemes that it knows does the crate read the host as one.
    let host = Url::parse(&format!("https://{rest}")).map_err(|e| e.to_string())?;
    if !matches!(host.path(), "" | "/")
        || host.query().is_some()
        || host.fragment().is_some()
        || !host.username().is_empty()
        || host.password().is_some()
    {
        return Err("write only scheme, host and port".to_owned());
    }
    let host = match host.host() {
        Some(url::Host::Ipv4(ip)) => Identifier::Ip(ip.into()),
        Some(url::Host::Ipv6(ip)) => Identifier::Ip(ip.into()),
        Some(url::Host::Domain(name)) => name.parse::<Identifier>().map_err(|e| e.to_string())?,
        None => return Err("it names no host".to_owned()),
    };
    match &host {
        Identifier::Ip(ip) if ip.is_unspecified() => {
            return Err(format!("nobody can connect to {ip}: write 127.0.0.1 or [::1]"));
        }
        name if name.is_wildcard() => return Err("a host is no wildcard".to_owned()),
        _ => {}
    }
    match url.port().or(protocol.port()) {
        Some(port @ 1..) => Ok((protocol, host, port)),
        Some(0) => Err("port 0 is none".to_owned()),
        None => Err(format!("{scheme}:// needs a port")),
    }
}

fn schemes() -> String {
    Protocol::ALL.map(|p| format!("{p}://")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_ports_of_their_schemes() {
        for (text, protocol, host, port) in [
            ("sips://127.0.0.1", Protocol::Sips, "127.0.0.1", 5061),
            ("sips://[2001:DB8::1]:443/", Protocol::Sips, "2001:db8::1", 443),
            ("https://Büro.example", Protocol::Https, "xn--bro-hoa.example", 443),
            ("https://pbx.example:443", Protocol::Https, "pbx.example", 443),
            ("wss://pbx.example", Protocol::Wss, "pbx.example", 443),
            ("wss://pbx.example:8089", Protocol::Wss, "pbx.example", 8089),
            ("tls://pbx:993", Protocol::Tls, "pbx", 993),
            ("turns://pbx", Protocol::Turns, "pbx", 5349),
            ("mqtts://pbx", Protocol::Mqtts, "pbx", 8883),
            ("smtp+starttls://pbx:587", Protocol::SmtpStarttls, "pbx", 587),
            ("xmpp+starttls://pbx", Protocol::XmppStarttls, "pbx", 5222),
            ("ldap+starttls://[::1]", Protocol::LdapStarttls, "::1", 389),
        ] {
            let found = address(text).unwrap();
            assert_eq!((found.0, found.1.to_string().as_str(), found.2), (protocol, host, port));
        }
    }

    #[test]
    fn every_protocol_is_written_as_it_is_read() {
        for protocol in Protocol::ALL {
            let endpoint = Endpoint::parse(&format!("{protocol}://pbx.example:4711")).unwrap();
            assert_eq!((endpoint.protocol, endpoint.port), (protocol, 4711));
            assert_eq!(endpoint.sni.as_deref(), Some("pbx.example"));
            assert_eq!(endpoint.to_string(), format!("{protocol}://pbx.example:4711"));
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "127.0.0.1:5061",
            "sip://127.0.0.1",
            "smtp://pbx.example",
            "tls://pbx.example",
            "https://pbx.example/path",
            "https://user@pbx.example",
            "sips://pbx.example:0",
            "sips://pbx.example:99999",
            "sips://0.0.0.0",
            "sips://::1:5061",
            "sips://*.pbx.example",
            "sips://",
        ] {
            assert!(address(text).is_err(), "{text}: {:?}", address(text));
        }
        assert!(address("smtp://pbx.example").unwrap_err().contains("smtp+starttls://"));
    }

    #[test]
    fn endpoints_are_told_apart_by_what_they_are_written_as() {
        let mut endpoint = Endpoint::parse("sips://127.0.0.1").unwrap();
        assert_eq!(endpoint.to_string(), "sips://127.0.0.1:5061");
        endpoint.key = Some(KeyFamily::Rsa);
        assert_eq!(endpoint.to_string(), "sips://127.0.0.1:5061 (rsa)");
        endpoint.sni = Some("sbc.example".to_owned());
        assert_eq!(endpoint.to_string(), "sips://127.0.0.1:5061 (sni sbc.example, rsa)");
        endpoint.key = None;
        assert_eq!(endpoint.to_string(), "sips://127.0.0.1:5061 (sni sbc.example)");
        endpoint.host = "sbc.example".to_owned();
        assert_eq!(endpoint.to_string(), "sips://sbc.example:5061");
        endpoint.sni = None;
        assert_eq!(endpoint.to_string(), "sips://sbc.example:5061 (no sni)");
    }
}
