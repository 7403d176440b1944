//! The configuration, validated and final: what was written is in [`mod@file`], what it means is here.
//!
//! Every value here has been checked; nothing above this module asks "is this set?" again.

pub mod alerts;
pub mod ca;
pub mod calm;
pub mod check;
pub mod compatibility;
pub mod endpoint;
pub mod file;
mod ignore;
pub mod kind;
mod laboratory;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cert::{Identifier, KeyType};

pub use endpoint::{Endpoint, KeyFamily, Protocol};
pub use ignore::Ignore;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Named in every report; the host's name by default.
    pub site: String,
    /// Whether pbxcert acts or only looks.
    pub mode: Mode,
    /// Where everything is remembered.
    pub state_dir: PathBuf,
    /// This host's clock is never synchronised (`time = "unsynchronised"`): nobody waits for it.
    pub unsynchronised: bool,
    /// CAs by name; `[acme]` is the issuer named `acme`.
    pub issuers: BTreeMap<String, IssuerSpec>,
    /// Ways to prove control, by name.
    pub challenges: BTreeMap<String, ChallengeSpec>,
    /// What certificates are wanted, in the order written.
    pub certificates: Vec<CertSpec>,
    /// Who uses them, in the order written.
    pub services: Vec<ServiceSpec>,
    /// Peers that are called over TLS, in the order written.
    pub trunks: Vec<TrunkSpec>,
    /// Who is told, and through what.
    pub alerts: alerts::AlertSpec,
    /// The daily check.
    pub check: check::CheckSpec,
    /// What nobody wants to hear of.
    pub ignored: Vec<Ignore>,
    /// Files read, the main file first.
    pub files: Vec<PathBuf>,
    /// SHA-256 over the files read, in hex: tells whether daemon and CLI speak of the same.
    pub hash: String,
}

impl Config {
    /// The certificate of that name.
    pub fn certificate(&self, name: &str) -> Option<&CertSpec> {
        self.certificates.iter().find(|c| c.name == name)
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&ServiceSpec> {
        self.services.iter().find(|s| s.name == name)
    }
}

/// The services, each behind those that it comes after.
pub fn in_order<'a>(services: &[&'a ServiceSpec]) -> Vec<&'a ServiceSpec> {
    let mut left = services.to_vec();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |spec: &&ServiceSpec| left.iter().any(|l| spec.after.contains(&l.name));
        // There is no circle; if there were, the first would go.
        let next = left.iter().position(|spec| !waits(spec)).unwrap_or_default();
        ordered.push(left.remove(next));
    }
    ordered
}

/// Whether pbxcert acts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Probes and plans; orders and writes nothing outside the state folder.
    Observe,
    /// Does its work.
    #[default]
    On,
}

/// A CA directory, an account at it and how it is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerSpec {
    /// Name in the configuration; `acme` for the default one.
    pub name: String,
    /// The ACME directory (RFC 8555 section 7.1.1), always https.
    pub directory: String,
    /// Contacts as `mailto:` addresses.
    pub contact: Vec<String>,
    /// The operator agrees to the CA's terms.
    pub agree_to_terms: bool,
    /// PEM file with the roots of this CA; the system's roots when `None`.
    pub trust_anchor: Option<PathBuf>,
    /// Certificate profile to ask for, if the CA offers it.
    pub profile: Option<String>,
    /// Proxy for everything sent to this CA.
    pub proxy: Option<Proxy>,
    /// External account binding (RFC 8555 section 7.3.4).
    pub eab: Option<Eab>,
    /// Directory that is asked first, so that a mistake costs nothing; `None` switches it off.
    pub rehearsal: Option<String>,
    /// Certificates an issuer allows per exact set of names in 7 days (`None`: no limit known).
    pub weekly_limit: Option<u32>,
}

/// An HTTP proxy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proxy {
    /// `http://host:port` or `socks5://host:port`, without credentials.
    pub url: String,
    /// File with `user:password` on one line.
    pub auth_file: Option<PathBuf>,
}

/// External account binding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Eab {
    /// Key identifier given by the CA.
    pub key_id: String,
    /// File with the MAC key, base64url or base64.
    pub hmac_file: PathBuf,
}

/// A named way to prove control of an identifier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChallengeSpec {
    /// Name in the configuration.
    pub name: String,
    /// The method.
    pub method: Http01,
}

/// How http-01 (RFC 8555 section 8.3) is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Http01 {
    /// Port 80 free: own listener; held by a web server: its webroot, proved by a test token.
    Auto,
    /// Own listener on these addresses, open only while a challenge is pending.
    Listen(Vec<SocketAddr>),
    /// Files below `DIR/.well-known/acme-challenge/`, served by somebody else.
    Webroot(PathBuf),
}

/// A certificate that is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertSpec {
    /// Name: letters, digits, `-`, `_`, `.`; at most 64 bytes.
    pub name: String,
    /// Names in it; the first is the one that can never be given up.
    pub identifiers: Vec<Identifier>,
    /// Kind of key.
    pub key: KeyType,
    /// Where it may come from.
    pub source: Source,
    /// How it is uploaded.
    pub upload: UploadSpec,
    /// Issuers, tried in order; none for a manual certificate.
    pub issuers: Vec<String>,
    /// Challenges, tried in order.
    pub challenges: Vec<String>,
    /// A leaf younger than this is stored, but not deployed yet.
    pub min_age: Duration,
    /// What happens with one that phones might not trust as they trust the one before.
    pub on_trust_change: OnTrustChange,
}

/// What happens with a certificate of another root, a longer chain, another kind of key, or with
/// less usage than the one that is served.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnTrustChange {
    /// It waits for a person, until an eighth of the life of the one that is served is left.
    #[default]
    Ask,
    /// It goes in, as any other.
    Go,
    /// It goes in inside the next window.
    Window,
}

impl OnTrustChange {
    /// Every choice, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Ask, Self::Window, Self::Go];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Go => "go",
            Self::Window => "window",
        }
    }
}

/// Where a certificate may come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Source {
    /// From the CA when it can reach this host, else from the drop folder.
    #[default]
    Auto,
    /// From the CA only.
    Acme,
    /// From the drop folder only.
    Manual,
}

impl Source {
    /// Every source, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Acme, Self::Manual];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Acme => "acme",
            Self::Manual => "manual",
        }
    }
}

/// How a certificate is uploaded, and what is asked of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UploadSpec {
    /// The folder of this certificate that is watched: `<drop-dir>/<name>`.
    pub dir: PathBuf,
    /// The group, by name or number, whose members may write there; `None`: root alone.
    pub group: Option<String>,
    /// File events do not come from a network file system: look every few seconds instead.
    pub poll: bool,
    /// PEM file with further roots that an upload may lead to.
    pub trust_anchor: Option<PathBuf>,
    /// A missing intermediate may be fetched from the address that the certificate names.
    pub fetch_intermediates: bool,
}

/// A service that uses certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceSpec {
    /// Name; the kind's name by default.
    pub name: String,
    /// The product.
    pub kind: kind::Kind,
    /// Certificates it serves, at least one.
    pub certificates: Vec<String>,
    /// Services that have a revision in use before this one gets it.
    pub after: Vec<String>,
    /// What to write, per certificate of `certificates`.
    pub install: BTreeMap<String, Install>,
    /// Its user reads the installed files in the scratch handshake; `None`: ours.
    pub user: Option<String>,
    /// Says whether the configuration of the service is sound (`PBXCERT_EVENT=test`).
    pub test: Option<Vec<String>>,
    /// Makes the service take the new files (`PBXCERT_EVENT=reload`).
    pub reload: Option<Vec<String>>,
    /// Brings the service back after a rollback (`PBXCERT_EVENT=recover`).
    pub recover: Option<Vec<String>>,
    /// Prints the number of calls that are up (`PBXCERT_EVENT=busy`).
    pub busy: Option<Vec<String>>,
    /// What a reload does to those who are connected.
    pub class: kind::Class,
    /// Most automatic reloads within a day, whatever they bring; `None`: any number.
    pub reloads_per_day: Option<u32>,
    /// When it may be disturbed.
    pub calm: calm::Calm,
    /// What the hook puts before the product's own commands: `docker exec asterisk`.
    pub exec_prefix: Vec<String>,
    /// Families of phones and peers that connect to it.
    pub clients: Vec<compatibility::Family>,
    /// Domains behind the @ that are called at it.
    pub sip_domains: Vec<Identifier>,
    /// What a client will stumble over is a reason not to deploy by itself.
    pub strict_lint: bool,
    /// Where to look.
    pub endpoints: Vec<Endpoint>,
    /// How long to look for the new certificate.
    pub proof_timeout: Duration,
    /// How long a hook may run.
    pub hook_timeout: Duration,
}

/// A peer that we call over TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrunkSpec {
    /// Its name.
    pub name: String,
    /// Where it is called; with the certificate that we show when it asks for one.
    pub endpoint: Endpoint,
    /// PEM file with the roots that its certificate must lead to; the system's when `None`.
    pub trust_anchor: Option<PathBuf>,
}

/// The files of one certificate for one service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Install {
    /// A folder of ours, made beside its place and swapped in one step.
    Folder {
        /// The folder's path, which never changes.
        dir: PathBuf,
        /// Files in it: `path` is the bare file name.
        files: Vec<Target>,
    },
    /// Single files in folders of others, written beside their place and renamed back to back.
    Files(Vec<Target>),
}

impl Install {
    /// Absolute path and description of each file.
    pub fn targets(&self) -> Vec<(PathBuf, &Target)> {
        match self {
            Self::Folder { dir, files } => files.iter().map(|t| (dir.join(&t.path), t)).collect(),
            Self::Files(files) => files.iter().map(|t| (t.path.clone(), t)).collect(),
        }
    }
}

/// A file to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Absolute, or the bare name within the folder.
    pub path: PathBuf,
    /// What is in it.
    pub content: Content,
    /// Owner as name or number; `None`: ours.
    pub owner: Option<String>,
    /// Group as name or number; `None`: ours.
    pub group: Option<String>,
    /// Permission bits.
    pub mode: u32,
}

/// What a target file holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// The leaf.
    Cert,
    /// The intermediates.
    Chain,
    /// Leaf, then intermediates.
    Fullchain,
    /// The private key (PKCS#8).
    Privkey,
    /// Key, then leaf, then intermediates.
    Combined,
    /// Leaf, intermediates, then the key.
    FullchainPrivkey,
}

impl Content {
    /// Whether the private key is in it.
    pub fn holds_key(self) -> bool {
        matches!(self, Self::Privkey | Self::Combined | Self::FullchainPrivkey)
    }
}
