//! What a certificate is: identifiers, dates, fingerprints, leaf facts.

pub mod bundle;
pub mod chain;
pub mod crl;
pub mod import;
pub mod top;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why something is no certificate, key or identifier that we can use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that can be no DNS name, wildcard or IP address.
    #[error("{name:?} is no DNS name or IP address: {reason}")]
    Identifier {
        /// As written.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes that hold no readable certificate.
    #[error("cannot read the certificate: {0}")]
    Certificate(String),
    /// Bytes that hold no readable or no supported private key.
    #[error("cannot read the private key: {0}")]
    Key(String),
    /// The two parsers disagree on the dates.
    #[error("two readers of the certificate disagree on its dates: {0}")]
    Dates(String),
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate for {0}")]
    KeyMismatch(String),
    /// The chain does not lead from the leaf upwards.
    #[error("the chain does not link: {0}")]
    Chain(String),
    /// A signing request could not be made.
    #[error("cannot make the signing request: {0}")]
    Csr(String),
}

/// What a certificate is for: a DNS name (perhaps a wildcard) or an IP address.
///
/// DNS names are held as lower-case A-labels. RFC 8555 section 9.7.7, RFC 8738.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Identifier {
    /// `pbx.example.com`, `*.example.com`, `xn--...`.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

impl Identifier {
    /// Whether this is a wildcard name.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Dns(name) if name.starts_with("*."))
    }

    /// Whether a certificate for `self` is good for `name` (RFC 6125: a wildcard stands for
    /// exactly one label).
    pub fn covers(&self, name: &Self) -> bool {
        match (self, name) {
            (Self::Dns(pattern), Self::Dns(name)) => {
                pattern == name
                    || pattern.strip_prefix("*.").is_some_and(|rest| {
                        name.split_once('.').is_some_and(|(label, tail)| {
                            tail == rest && label != "*" && !label.is_empty()
                        })
                    })
            }
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// SHA-256 of a certificate's DER: the one way to ask "is it the same certificate?".
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(pub [u8; 32]);

/// From when to when a certificate is valid (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Validity {
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
}

/// The kinds of key that pbxcert makes and accepts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyType {
    /// ECDSA on P-256.
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on P-384.
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// RSA, 2048 bits: what every phone understands, and the default.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA, 3072 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA, 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// The facts of an end-entity certificate.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leaf {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// Subject alternative names that we understand (DNS and IP).
    pub identifiers: BTreeSet<Identifier>,
    /// Dates, read by two independent parsers that agree.
    pub validity: Validity,
    /// Serial number: the DER content octets in lower-case hex (a leading 00 kept, RFC 9773).
    pub serial: String,
    /// The issuer's distinguished name, for people.
    pub issuer: String,
    /// The subject's common name, if there is one.
    pub common_name: Option<String>,
    /// Key algorithm and size; `None` when it is none that we make.
    pub key: Option<KeyType>,
    /// Extended key usage serverAuth (true also without the extension).
    pub server_auth: bool,
    /// Extended key usage clientAuth (true also without the extension).
    pub client_auth: bool,
    /// Key usage keyEncipherment (true also without the extension), which the RSA key exchange of
    /// old phones needs; `None` in a record that was written before this was looked at.
    #[serde(default)]
    pub key_encipherment: Option<bool>,
    /// Basic constraints say CA.
    pub is_ca: bool,
    /// Authority key identifier in lower-case hex, for ARI.
    pub authority_key: Option<String>,
}

impl FromStr for Identifier {
    type Err = Error;

    /// Reads what a person writes: `pbx.example.com`, `*.example.com`, `büro.example`, `192.0.2.1`,
    /// `2001:db8::1`. A final dot is dropped.
    fn from_str(written: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Identifier {
            name: written.to_owned(),
            reason: reason.to_owned(),
        };
        let text = written.trim();
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        if text.contains("://") || text.contains('/') {
            return Err(bad("write the bare name, without a scheme or path"));
        }
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.contains('*') {
            return Err(bad("a wildcard stands only as the first label, `*.example.com`"));
        }
        if rest.contains(':') {
            return Err(bad("a name has no port, and this is no IPv6 address"));
        }
        let rest = rest.strip_suffix('.').unwrap_or(rest);
        if rest.is_empty() {
            return Err(bad("it is empty"));
        }
        let ascii = idna::domain_to_ascii_strict(rest)
            .map_err(|_| bad("labels hold letters, digits and inner hyphens, 1 to 63 of them"))?;
        if ascii.len() > 253 {
            return Err(bad("it is longer than 253 characters"));
        }
        let last = ascii.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad("it looks like an IP address, but is none"));
        }
        if wildcard && !ascii.contains('.') {
            return Err(bad("a wildcard needs at least two labels after the star"));
        }
        Ok(Self::Dns(if wildcard { format!("*.{ascii}") } else { ascii }))
    }
}

impl Serialize for Identifier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate's DER.
    pub fn of(der: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// The first 12 hex digits, for a table.
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = unhex(text).and_then(|b| <[u8; 32]>::try_from(b).ok());
        bytes.map(Self).ok_or_else(|| Error::Certificate(format!("{text:?} is no fingerprint")))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Validity {
    /// From first to last second.
    pub fn lifetime(&self) -> std::time::Duration {
        span(self.not_before, self.not_after)
    }

    /// How much is left; zero once it has ended.
    pub fn left(&self, now: Timestamp) -> std::time::Duration {
        span(now, self.not_after)
    }

    /// Whether `now` lies inside.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// From `from` to `to`; zero when `to` is not later.
pub fn span(from: Timestamp, to: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

impl KeyType {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 5] =
        [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcdsaP256, Self::EcdsaP384];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Leaf {
    /// Whether it is one of our own self-signed placeholders, by the mark in its name.
    pub fn is_placeholder(&self) -> bool {
        self.issuer.contains(PLACEHOLDER)
    }

    /// Reads the facts of an end-entity certificate.
    ///
    /// # Errors
    ///
    /// When it is no X.509 certificate, has bytes behind it, or the two parsers disagree on its
    /// dates (dehydrated #982: one external tool told a wrong date, and certificates expired).
    pub fn parse(der: &[u8]) -> Result<Self, Error> {
        use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

        let unreadable = |e: &dyn fmt::Display| Error::Certificate(e.to_string());
        let (rest, x509) = X509Certificate::from_der(der).map_err(|e| unreadable(&e))?;
        if !rest.is_empty() {
            return Err(Error::Certificate(format!("{} bytes follow it", rest.len())));
        }
        let san = x509.subject_alternative_name().map_err(|e| unreadable(&e))?;
        let mut identifiers = BTreeSet::new();
        for name in san.iter().flat_map(|san| &san.value.general_names) {
            match name {
                GeneralName::DNSName(name) => {
                    identifiers.insert(name.parse()?);
                }
                GeneralName::IPAddress(bytes) => {
                    identifiers.insert(Identifier::Ip(address(bytes)?));
                }
                _ => {}
            }
        }
        let usage = x509.extended_key_usage().map_err(|e| unreadable(&e))?;
        let usage = usage.map(|u| u.value);
        let authority_key = x509.extensions().iter().find_map(|e| match e.parsed_extension() {
            x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(aki) => {
                aki.key_identifier.as_ref().map(|id| hex(id.0))
            }
            _ => None,
        });
        let key_usage = x509.key_usage().map_err(|e| unreadable(&e))?;
        let is_ca = x509.basic_constraints().map_err(|e| unreadable(&e))?;
        Ok(Self {
            fingerprint: Fingerprint::of(der),
            identifiers,
            validity: agreed_validity(&x509, der)?,
            serial: hex(x509.raw_serial()),
            issuer: x509.issuer().to_string(),
            common_name: x509
                .subject()
                .iter_common_name()
                .find_map(|cn| cn.as_str().ok())
                .map(str::to_owned),
            key: key_type(x509.public_key()),
            server_auth: usage.is_none_or(|u| u.server_auth || u.any),
            client_auth: usage.is_none_or(|u| u.client_auth || u.any),
            key_encipherment: Some(key_usage.is_none_or(|u| u.value.key_encipherment())),
            is_ca: is_ca.is_some_and(|b| b.value.ca),
            authority_key,
        })
    }

    /// The certID of renewal information, when the certificate has what it needs.
    ///
    /// RFC 9773 section 4.1: base64url of the authority key identifier, a dot, base64url of the
    /// serial's content octets.
    pub fn cert_id(&self) -> Option<String> {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

        let authority_key = unhex(self.authority_key.as_deref()?)?;
        let serial = unhex(&self.serial)?;
        Some(format!(
            "{}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(authority_key),
            BASE64_URL_SAFE_NO_PAD.encode(serial)
        ))
    }
}

/// The dates, when x509-parser and x509-cert read the same ones.
fn agreed_validity(
    x509: &x509_parser::certificate::X509Certificate<'_>,
    der: &[u8],
) -> Result<Validity, Error> {
    use x509_cert::der::Decode as _;

    let first = (x509.validity().not_before.timestamp(), x509.validity().not_after.timestamp());
    let other =
        x509_cert::Certificate::from_der(der).map_err(|e| Error::Certificate(e.to_string()))?;
    let other = other.tbs_certificate().validity();
    let seconds = |time: &x509_cert::time::Time| {
        i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
    };
    let second = (seconds(&other.not_before), seconds(&other.not_after));
    if first != second {
        return Err(Error::Dates(format!("{first:?} and {second:?}")));
    }
    let at = |seconds| {
        Timestamp::from_second(seconds).map_err(|e| Error::Dates(format!("{seconds}: {e}")))
    };
    Ok(Validity { not_before: at(first.0)?, not_after: at(first.1)? })
}

fn address(bytes: &[u8]) -> Result<IpAddr, Error> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes)
        .map(IpAddr::from)
        .map_err(|_| Error::Certificate(format!("an IP address of {} bytes", bytes.len())))
}

fn key_type(spki: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Option<KeyType> {
    use x509_parser::public_key::PublicKey;

    match spki.parsed().ok()? {
        PublicKey::RSA(rsa) => match rsa.key_size() {
            2048 => Some(KeyType::Rsa2048),
            3072 => Some(KeyType::Rsa3072),
            4096 => Some(KeyType::Rsa4096),
            _ => None,
        },
        PublicKey::EC(point) => match point.key_size() {
            256 => Some(KeyType::EcdsaP256),
            384 => Some(KeyType::EcdsaP384),
            _ => None,
        },
        _ => None,
    }
}

/// Organisation in the name of a self-signed placeholder, so that nobody takes it for more.
pub(crate) const PLACEHOLDER: &str = "pbxcert placeholder";

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads hex in either case.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Identifier {
        text.parse().unwrap()
    }

    #[test]
    fn names_become_lower_case_a_labels() {
        assert_eq!(name("PBX.Example.COM.").to_string(), "pbx.example.com");
        assert_eq!(name("büro.example").to_string(), "xn--bro-hoa.example");
        assert_eq!(name("*.Büro.example").to_string(), "*.xn--bro-hoa.example");
    }

    #[test]
    fn addresses_are_addresses() {
        assert_eq!(name("192.0.2.1"), Identifier::Ip([192, 0, 2, 1].into()));
        assert_eq!(name("[2001:DB8::1]").to_string(), "2001:db8::1");
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_reason() {
        for bad in [
            "",
            " ",
            ".",
            "a..b",
            "-a.example",
            "a_b.example",
            "*.",
            "*.com",
            "a.*.example",
            "https://pbx.example",
            "pbx.example:443",
            "192.0.2.300",
            "a b.example",
            "ex\u{0}.com",
            &"a.".repeat(200),
            &"a".repeat(64),
        ] {
            let error = bad.parse::<Identifier>().unwrap_err().to_string();
            assert!(error.contains("is no DNS name or IP address: "), "{bad:?}: {error}");
        }
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let star = name("*.example.com");
        assert!(star.covers(&name("pbx.example.com")));
        assert!(star.covers(&star));
        assert!(!star.covers(&name("example.com")));
        assert!(!star.covers(&name("a.b.example.com")));
        assert!(!name("pbx.example.com").covers(&star));
    }

    #[test]
    fn the_cert_id_is_that_of_the_rfc() {
        let mut leaf = bundle::tests::leaf(&["pbx.example"]);
        leaf.authority_key = Some("69885B6B87464041E1B37B847BA0AE2CDE01C8D4".to_lowercase());
        leaf.serial = "0087654321".to_owned();
        assert_eq!(leaf.cert_id().unwrap(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        for bytes in [&b""[..], b"0", b"\x30\x82\xff\xff", &[0x30; 4096]] {
            assert!(Leaf::parse(bytes).is_err());
        }
    }
}
