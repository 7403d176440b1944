//! Pebble, Let's Encrypt's ACME server for tests, with the DNS server that it asks.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use super::process::Server;

/// How Pebble is to behave.
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// Port that http-01 is asked on at 127.0.0.1; a free one when `None`.
    pub http_port: Option<u16>,
    /// Per cent of good nonces that are rejected.
    pub nonce_reject: u8,
    /// Certificates above the leaf, the root not counted among what is sent.
    pub chain_length: u8,
    /// How long certificates last, in seconds.
    pub validity: u64,
    /// Further profiles: name and validity in seconds (2.7 and newer).
    pub profiles: Vec<(String, u64)>,
    /// `Retry-After` of authorizations and orders in seconds (2.6 and newer); none by default.
    pub retry_after: Option<(u64, u64)>,
    /// Per cent of valid authorizations that serve again.
    pub authz_reuse: u8,
    /// Key identifier and base64url MAC key of an external account binding, which is then needed.
    pub eab: Option<(String, String)>,
    /// Names that are refused as `rejectedIdentifier`.
    pub blocked: Vec<String>,
    /// Every challenge is valid, unseen.
    pub always_valid: bool,
    /// Alternate roots offered.
    pub alternate_roots: u8,
    /// Seconds that a validation takes at least.
    pub validation_delay: Option<u64>,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        Self {
            http_port: None,
            nonce_reject: 0,
            chain_length: 1,
            validity: 90 * 86400,
            profiles: Vec::new(),
            retry_after: None,
            authz_reuse: 0,
            eab: None,
            blocked: vec!["blocked.example".into()],
            always_valid: false,
            alternate_roots: 0,
            validation_delay: None,
        }
    }
}

/// A running Pebble, for which every name is at 127.0.0.1.
#[derive(Debug)]
pub struct Pebble {
    /// `None` while it is stopped. Ended before its DNS server.
    server: Option<Server>,
    _dns: Server,
    program: PathBuf,
    options: PebbleOptions,
    folder: TempDir,
    acme: SocketAddr,
    management: SocketAddr,
    dns_server: SocketAddr,
    dns_management: SocketAddr,
    http_port: u16,
}

impl Pebble {
    /// Starts Pebble and its DNS server.
    pub fn start(options: &PebbleOptions) -> Option<Self> {
        let program = super::program("pebble")?;
        Some(super::start_with_free_ports(|| Self::start_once(&program, options)))
    }

    fn start_once(program: &Path, options: &PebbleOptions) -> Result<Self, String> {
        let folder = super::shared_folder();
        let [acme, management, dns_server, dns_management] =
            [(); 4].map(|()| super::loopback(super::free_port()));
        let http_port = options.http_port.unwrap_or_else(super::free_port);
        write_server_certificate(folder.path());
        let text = configuration(options, folder.path(), acme, management, http_port);
        std::fs::write(folder.path().join("pebble.json"), text).expect("it can be written");
        let dns = start_dns(program, folder.path(), dns_server, dns_management)?;
        let mut pebble = Self {
            server: None,
            _dns: dns,
            program: program.to_owned(),
            options: options.clone(),
            folder,
            acme,
            management,
            dns_server,
            dns_management,
            http_port,
        };
        pebble.run().map(|()| pebble)
    }

    /// URL of the ACME directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.acme.port())
    }

    /// The ACME directory (RFC 8555 section 7.1.1).
    ///
    /// # Panics
    ///
    /// When Pebble does not answer.
    pub fn directory_object(&self) -> serde_json::Value {
        let anchor = super::text(self.trust_anchor());
        let body = super::tls::get(self.acme, "/dir", anchor.as_bytes()).expect("it answers");
        serde_json::from_str(&body).expect("the directory is JSON")
    }

    /// Whether the directory has that resource: `renewalInfo` came with 2.6. Says that a test is
    /// skipped when not.
    pub fn offers(&self, resource: &str) -> bool {
        let offered = self.directory_object()[resource].is_string();
        if !offered {
            super::say_skipped(&format!("this Pebble offers no {resource}"));
        }
        offered
    }

    /// Address of the ACME server.
    pub fn address(&self) -> SocketAddr {
        self.acme
    }

    /// PEM file with the root that signed the ACME server's own certificate.
    pub fn trust_anchor(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// PEM of the root that issued certificates lead to; another one after each start.
    ///
    /// # Panics
    ///
    /// When Pebble does not answer.
    pub fn issuing_root(&self) -> String {
        self.ask_management("/roots/0").expect("Pebble shows its root")
    }

    /// `GET` on Pebble's management interface, such as `/cert-status-by-serial/<hex>`.
    ///
    /// # Errors
    ///
    /// What went wrong, or the answer when it is not 200.
    pub fn ask_management(&self, path: &str) -> Result<String, String> {
        let anchor = super::text(self.trust_anchor());
        super::tls::get(self.management, path, anchor.as_bytes())
    }

    /// Port at 127.0.0.1 that it asks for http-01.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The DNS server it asks.
    pub fn dns_server(&self) -> SocketAddr {
        self.dns_server
    }

    /// HTTP address that changes what the DNS server answers (`POST /set-txt`, `/add-caa` ...).
    pub fn dns_management(&self) -> SocketAddr {
        self.dns_management
    }

    /// What it said.
    pub fn log(&self) -> String {
        super::text(self.folder.path().join("pebble.log"))
    }

    /// Ends it: the CA is down. What it knew is gone.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port, as a CA that remembers nothing.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start_again(&mut self) {
        self.run().expect("it ran here before");
    }

    fn run(&mut self) -> Result<(), String> {
        let (folder, options) = (self.folder.path(), &self.options);
        let mut command = Command::new(&self.program);
        command.arg("-config").arg(folder.join("pebble.json"));
        command.arg("-dnsserver").arg(self.dns_server.to_string()).current_dir(folder);
        command.env("PEBBLE_WFE_NONCEREJECT", options.nonce_reject.to_string());
        command.env("PEBBLE_AUTHZREUSE", options.authz_reuse.to_string());
        command.env("PEBBLE_CHAIN_LENGTH", options.chain_length.to_string());
        command.env("PEBBLE_ALTERNATE_ROOTS", options.alternate_roots.to_string());
        match options.validation_delay {
            Some(seconds) => command.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
            None => command.env("PEBBLE_VA_NOSLEEP", "1"),
        };
        if options.always_valid {
            command.env("PEBBLE_VA_ALWAYS_VALID", "1");
        }
        // Its certificate was made for this start: an answer that it proves is from this one.
        let anchor = super::text(self.trust_anchor());
        let (acme, management) = (self.acme, self.management);
        let ready = || {
            super::tls::get(acme, "/dir", anchor.as_bytes()).is_ok()
                && super::tls::get(management, "/roots/0", anchor.as_bytes()).is_ok()
        };
        let log = folder.join("pebble.log");
        self.server = Some(Server::start("pebble", &mut command, &log, ready)?);
        Ok(())
    }
}

/// `PBXCERT_PEBBLE`, what `tests/provision` unpacked, or the one that is installed.
pub fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PBXCERT_PEBBLE") {
        return Some(path.into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let unpacked = target.join("provision/pebble/usr/bin/pebble");
    if unpacked.is_file() { Some(unpacked) } else { super::in_path("pebble") }
}

fn start_dns(
    pebble: &Path,
    folder: &Path,
    dns: SocketAddr,
    management: SocketAddr,
) -> Result<Server, String> {
    let program = pebble.with_file_name("pebble-challtestsrv");
    let mut command = Command::new(&program);
    command.args(["-management", &management.to_string(), "-defaultIPv4", "127.0.0.1"]);
    // The challenges are answered by us, so their ports are left alone.
    command.args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
    let help = Command::new(&program).arg("-h").output().map_err(|e| e.to_string())?;
    if String::from_utf8_lossy(&help.stderr).contains("-doh") {
        command.args(["-dnsserver", &dns.to_string(), "-doh", ""]);
    } else {
        command.args(["-dns01", &dns.to_string()]); // its name until 2.5
    }
    let ready = || TcpStream::connect(dns).is_ok() && TcpStream::connect(management).is_ok();
    Server::start("pebble-challtestsrv", &mut command, &folder.join("dns.log"), ready)
}

/// `ca.pem`, and `server.pem` with `server.key` signed by it for localhost.
fn write_server_certificate(folder: &Path) {
    let authority_key = KeyPair::generate().expect("P-256 keys can be made");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("it can be signed");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("P-256 keys can be made");
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let leaf = CertificateParams::new(names).expect("they are names");
    let leaf = leaf.signed_by(&key, &issuer).expect("it can be signed");
    for (name, content) in
        [("ca.pem", root.pem()), ("server.pem", leaf.pem()), ("server.key", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), content).expect("it can be written");
    }
}

fn configuration(
    options: &PebbleOptions,
    folder: &Path,
    acme: SocketAddr,
    management: SocketAddr,
    http_port: u16,
) -> String {
    let mut profiles = serde_json::Map::new();
    let default = ("default".to_owned(), options.validity);
    for (name, seconds) in std::iter::once(&default).chain(&options.profiles) {
        let profile = json!({"description": name, "validityPeriod": seconds});
        profiles.insert(name.clone(), profile);
    }
    let mut pebble = json!({
        "listenAddress": acme,
        "managementListenAddress": management,
        "certificate": folder.join("server.pem"),
        "privateKey": folder.join("server.key"),
        "httpPort": http_port,
        "tlsPort": super::free_port(),
        "externalAccountBindingRequired": options.eab.is_some(),
        "domainBlocklist": options.blocked,
        "certificateValidityPeriod": options.validity,
        "keyAlgorithm": "ecdsa",
        "profiles": profiles,
    });
    if let Some((id, key)) = &options.eab {
        pebble["externalAccountMACKeys"] = json!({id: key});
    }
    if let Some((authz, order)) = options.retry_after {
        pebble["retryAfter"] = json!({"authz": authz, "order": order});
    }
    json!({ "pebble": pebble }).to_string()
}
