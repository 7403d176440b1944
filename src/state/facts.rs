//! Facts of the way from the CA to this host, as they were found; nothing is judged here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::cert::Identifier;

/// Where is looked.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Name servers; this host's when empty.
    pub dns: Vec<SocketAddr>,
    /// The port that the CA opens for http-01: 80.
    pub http: u16,
    /// The port where web servers speak TLS: 443.
    pub https: u16,
    /// For one question to the DNS.
    pub question: Duration,
    /// For one request over HTTP.
    pub request: Duration,
}

impl Default for Ground {
    fn default() -> Self {
        Self {
            dns: Vec::new(),
            http: 80,
            https: 443,
            question: Duration::from_secs(6),
            request: Duration::from_secs(10),
        }
    }
}

/// Everything that was found at one time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// When.
    pub at: Timestamp,
    /// The names of the certificate, in their order.
    pub names: Vec<NameFacts>,
    /// Addresses of our interfaces, without loopback and link-local ones.
    pub addresses: Vec<IpAddr>,
    /// Those of them that packets to the internet leave from.
    pub facing: Vec<IpAddr>,
    /// Port 80 and port 443, in this order.
    pub ports: Vec<PortFacts>,
    /// The CA's directory.
    pub directory: DirectoryFacts,
}

/// A name as it is seen from here.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NameFacts {
    /// Which.
    pub name: Identifier,
    /// Its A records.
    pub a: Looked<Ipv4Addr>,
    /// Its AAAA records.
    pub aaaa: Looked<Ipv6Addr>,
    /// The CAA records that hold for it.
    pub caa: CaaFacts,
    /// Whether a response to a challenge for it can be published and is seen on this host.
    #[serde(serialize_with = "outcome")]
    pub responder: Result<(), String>,
    /// What came back when it was asked for by its public address from here; `None`: not tried.
    #[serde(serialize_with = "tried")]
    pub hairpin: Option<Result<(), String>>,
    /// Whether port 443 is open at its public address where port 80 did not answer; `None`: not
    /// tried.
    pub tls: Option<bool>,
}

/// `{"ok": ...}` or `{"failed": "why"}`.
fn outcome<T: Serialize, S: Serializer>(
    result: &Result<T, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    match result {
        Ok(value) => map.serialize_entry("ok", value)?,
        Err(why) => map.serialize_entry("failed", why)?,
    }
    map.end()
}

fn tried<S: Serializer>(
    result: &Option<Result<(), String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match result {
        Some(result) => outcome(result, serializer),
        None => serializer.serialize_none(),
    }
}

/// What a question to the DNS came to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer", content = "records")]
pub enum Looked<T> {
    /// At least one record.
    Found(Vec<T>),
    /// The name is there, and has no such record.
    NoData,
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The server refused or failed (SERVFAIL is what broken DNSSEC looks like).
    Failed(String),
    /// No server answered within the limit.
    Timeout,
    /// Not asked, and why.
    NotAsked(String),
}

impl<T> Looked<T> {
    /// The records, if there are any.
    pub fn records(&self) -> &[T] {
        match self {
            Self::Found(records) => records,
            _ => &[],
        }
    }

    /// Certainly none: the DNS answered, and there is nothing.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::NoData | Self::NoSuchName)
    }
}

/// The closest set of CAA records above a name (RFC 8659 section 3).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CaaFacts {
    /// The domain that has them, or the last one that was asked.
    pub domain: String,
    /// What was found there.
    pub records: Looked<CaaRecord>,
}

/// A CAA record (RFC 8659 section 4.1), as it is on the wire.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CaaRecord {
    /// Who does not know the tag must not issue.
    pub critical: bool,
    /// `issue`, `issuewild`, `iodef` ...
    pub tag: String,
    /// Not trusted to be text.
    pub value: Vec<u8>,
}

/// A TCP port of this host.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortFacts {
    /// Which.
    pub port: u16,
    /// The program that listens there, with its pid; `None`: nobody.
    pub holder: Option<String>,
}

/// What the CA's directory answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DirectoryFacts {
    /// Its address.
    pub url: String,
    /// The proxy on the way, if there is one.
    pub proxy: Option<String>,
    /// The answer, or why there is none.
    #[serde(serialize_with = "outcome")]
    pub answer: Result<DirectoryAnswer, String>,
}

/// What a directory says about itself (RFC 8555 section 7.1.1).
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DirectoryAnswer {
    /// Domains by which CAA records may call this CA.
    pub caa_identities: Vec<String>,
    /// What time the CA thinks it is.
    pub date: Option<Timestamp>,
}
