//! One server of a kind with the pbxcert binary, Pebble, and a configuration in which only paths
//! and ports differ from what the kind presets.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use pbxcert::cert::Fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tempfile::TempDir;

use super::super::site::{LIMIT, Mount, command_with, install_hook, leaf_in, told};
use super::super::{Pair, Pebble, PebbleOptions, guard};
use super::products::{self, Port, Product};

/// The machine of one server.
pub struct Bench {
    /// Ended before the folder goes that it reads.
    pub product: Product,
    pub kind: &'static str,
    pebble: Pebble,
    /// What is said in the configuration besides what is always said.
    further: String,
    _mount: Option<Mount>,
    folder: TempDir,
}

impl Bench {
    /// The server with a certificate of its own and pbxcert configured for it; `None` where
    /// something is missing, after saying so.
    pub fn new(kind: &'static str) -> Option<Self> {
        Self::new_on(kind, None)
    }

    /// The same with the server's files on a disk of so many KiB.
    pub fn new_on(kind: &'static str, kib: Option<u32>) -> Option<Self> {
        if !super::super::is_root() {
            super::super::say_skipped("only root gives keys to the users of servers");
            return None;
        }
        let folder = super::super::shared_folder();
        for part in ["hooks", "disk"] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
        }
        let mount = match kib {
            None => None,
            Some(kib) => Some(Mount::new(&folder.path().join("disk"), kib)?),
        };
        install_hook(&folder.path().join("hooks"), kind);
        let tls = folder.path().join("disk/tls");
        std::fs::create_dir(&tls).unwrap();
        write_own_pair(&tls, &Pair::in_folder(&tls));
        let product = products::start(kind, &tls)?;
        // What is not ours would go along.
        for file in unused(kind) {
            std::fs::remove_file(tls.join(file)).unwrap();
        }
        let pebble = Pebble::start(&PebbleOptions::default())?;
        let mut bench =
            Self { product, kind, pebble, further: String::new(), _mount: mount, folder };
        bench.configure("");
        Some(bench)
    }

    /// Writes the configuration, with further lines for the service.
    pub fn configure(&mut self, further: &str) {
        self.further = further.to_owned();
        let endpoints: Vec<String> = self.product.ports.iter().map(endpoint).collect();
        self.write_config(&endpoints);
    }

    /// The same with looks of a second at most.
    pub fn configure_with_short_looks(&mut self, further: &str) {
        self.further = further.to_owned();
        let short = |port| endpoint(port).replace(" }", ", timeout = \"1 s\" }");
        let endpoints: Vec<String> = self.product.ports.iter().map(short).collect();
        self.write_config(&endpoints);
    }

    /// The same with one more endpoint, which is looked at for a second.
    pub fn configure_with_endpoint(&mut self, url: &str) {
        self.further = String::new();
        let mut endpoints: Vec<String> = self.product.ports.iter().map(endpoint).collect();
        endpoints.push(format!("{{ url = \"{url}\", timeout = \"1 s\" }}"));
        self.write_config(&endpoints);
    }

    fn write_config(&self, endpoints: &[String]) {
        let reload = [vec![self.hook()], self.product.arguments.clone()].concat();
        let text = format!(
            r#"site = "real"
state-dir = "{folder}/state"
time = "unsynchronised"

[acme]
directory = "{directory}"
trust-anchor = "{anchor}"
contact = ["noc@pbx.test"]
agree-to-terms = true

[challenge.http]
http-01 = {{ listen = ["127.0.0.1:{port}"] }}

[[certificate]]
name = "pbx"
names = ["pbx.test"]

[[service]]
kind = "{kind}"
target-dir = "{folder}/disk/tls"
reload = {reload:?}
endpoint = [{endpoints}]
{further}
"#,
            folder = self.folder.path().display(),
            directory = self.pebble.directory(),
            anchor = self.pebble.trust_anchor().display(),
            port = self.pebble.http_port(),
            kind = self.kind,
            endpoints = endpoints.join(", "),
            further = self.further,
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("pbxcert.toml")
    }

    /// The folder that the server reads its files from.
    pub fn tls(&self) -> PathBuf {
        self.folder.path().join("disk/tls")
    }

    /// The hook as it is shipped, behind one that keeps a log.
    pub fn hook(&self) -> String {
        self.folder.path().join("hooks").join(self.kind).display().to_string()
    }

    /// Runs the hook for an event as pbxcert does.
    pub fn run_hook(&self, event: &str) -> Output {
        Command::new(super::super::hook(self.kind))
            .args(&self.product.arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("PBXCERT_EVENT", event)
            .env("PBXCERT_PATHS", self.paths())
            .current_dir("/")
            .output()
            .unwrap()
    }

    /// Lines of shell that the hook runs first for that event.
    pub fn trip(&self, event: &str, lines: &str) {
        std::fs::write(format!("{}.{event}.trip", self.hook()), lines).unwrap();
    }

    /// The reload meets files that do not belong together, once, although pbxcert has tried good
    /// ones: the key of another, of the same type or of another one.
    pub fn trip_with_bad_pair(&self, same_type: bool) {
        let lines = format!("{}rm -f \"$trip\"\n", self.lines_of_bad_pair(same_type));
        self.trip("reload", &lines);
    }

    /// The same now, by somebody else and with another certificate, too.
    pub fn write_bad_pair(&self, same_type: bool) {
        let (paths, lines) = (self.paths(), self.lines_of_bad_pair(same_type));
        let lines = format!("PBXCERT_PATHS='{paths}'\n{lines}");
        guard::run(&["/bin/sh", "-c", &lines]).unwrap();
        let fullchain = self.tls().join("fullchain.pem");
        if fullchain.exists() {
            let other = std::fs::read(self.folder.path().join("other/fullchain.pem")).unwrap();
            // Owner and mode stay.
            std::fs::write(fullchain, other).unwrap();
        }
    }

    fn lines_of_bad_pair(&self, same_type: bool) -> String {
        let other = self.folder.path().join("other");
        std::fs::create_dir_all(&other).unwrap();
        let pair = Pair::in_folder(&other);
        pair.write_self_signed_rsa("other.test");
        let certificate = std::fs::read(&pair.fullchain).unwrap();
        if same_type {
            pair.write_self_signed_rsa("other.test");
        } else {
            pair.write_self_signed("other.test");
        }
        std::fs::write(&pair.fullchain, certificate).unwrap();
        let both = super::super::text(&pair.privkey) + &super::super::text(&pair.fullchain);
        std::fs::write(other.join("both.pem"), both).unwrap();
        // The content alone: owner and mode stay.
        let other = other.display();
        format!(
            "for file in $PBXCERT_PATHS; do case $file in\n*privkey.pem) cat {other}/privkey.pem \
             >\"$file\" ;;\n*combined.pem|*site.pem) cat {other}/both.pem >\"$file\" \
             ;;\nesac; done\n"
        )
    }

    fn paths(&self) -> String {
        let files = self.tls().read_dir().unwrap().map(|e| e.unwrap().path());
        let files: Vec<String> = files.map(|path| path.display().to_string()).collect();
        files.join(" ")
    }

    /// Nothing is in the way of that event any more.
    pub fn untrip(&self, event: &str) {
        std::fs::remove_file(format!("{}.{event}.trip", self.hook())).unwrap();
    }

    /// The events that the hook was run for, in order.
    pub fn events(&self) -> Vec<String> {
        let log = super::super::text(format!("{}.log", self.hook()));
        log.lines().map(str::to_owned).collect()
    }

    /// How often the server was told to take files, new or old.
    pub fn reloads(&self) -> usize {
        self.events().iter().filter(|e| *e == "reload" || *e == "recover").count()
    }

    /// Runs a verb to its end.
    pub fn pbxcert(&self, arguments: &[&str]) -> Output {
        command_with(&self.config()).args(arguments).output().unwrap()
    }

    /// As [`Self::pbxcert`], which must succeed; all it said.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.pbxcert(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", told(&output), self.clues());
        told(&output)
    }

    /// What a verb prints with `--json`, whatever its exit code.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.pbxcert(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", told(&output)))
    }

    /// The service's line of `status`.
    pub fn line(&self) -> Value {
        self.json(&["status"])["services"][0].clone()
    }

    /// The step that the service is at.
    pub fn step(&self) -> String {
        self.line()["step"].as_str().unwrap_or_default().to_owned()
    }

    /// What it has to say of the service.
    pub fn problem(&self) -> String {
        self.line()["problem"].as_str().unwrap_or_default().to_owned()
    }

    /// The number of the newest revision.
    pub fn newest(&self) -> u64 {
        self.json(&["status"])["certificates"][0]["revision"].as_u64().unwrap()
    }

    /// The folder of a revision in the store.
    pub fn revision(&self, number: u64) -> PathBuf {
        let revisions = self.folder.path().join("state/shared/certificates/pbx/rev");
        revisions.join(number.to_string())
    }

    /// Asserts that openssl sees the leaf of that revision on every port of the server.
    pub fn serves(&self, revision: u64) {
        let leaf = leaf_in(&self.revision(revision).join("cert.pem"));
        self.serves_leaf(leaf);
    }

    /// The same of any leaf.
    pub fn serves_leaf(&self, leaf: Fingerprint) {
        for port in &self.product.ports {
            let begun = Instant::now();
            // Old workers answer for some moments more.
            while served(port).as_ref() != Ok(&leaf) {
                assert!(
                    begun.elapsed() < Duration::from_secs(5),
                    "{}: {} does not serve {leaf:?} but {:?}\n{}",
                    self.kind,
                    endpoint(port),
                    served(port),
                    self.clues()
                );
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Whether nobody listens anywhere.
    pub fn is_down(&self) -> bool {
        self.product.ports.iter().all(|port| std::net::TcpStream::connect(port.at).is_err())
    }

    /// What the server and the hooks said, for a test that fails.
    pub fn clues(&self) -> String {
        let history = told(&self.pbxcert(&["history", "--lines", "30"]));
        let log = self.product.guard.log();
        let log: Vec<&str> = log.lines().rev().take(15).collect();
        format!("events: {:?}\n{history}\n{}: {log:#?}", self.events(), self.kind)
    }

    /// Waits until `done`, at most [`LIMIT`].
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < LIMIT, "{what}: not in {LIMIT:?}\n{}", self.clues());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An entry of `endpoint`.
fn endpoint(port: &Port) -> String {
    format!("{{ url = \"{}://{}\", sni = \"{}\" }}", port.scheme, port.at, port.sni)
}

/// The leaf that a port serves, by `openssl s_client`.
pub fn served(port: &Port) -> Result<Fingerprint, String> {
    let address = port.at.to_string();
    let mut argv = vec!["timeout", "5", "openssl", "s_client", "-connect", &address];
    argv.extend(["-servername", port.sni]);
    if let Some(protocol) = port.starttls() {
        argv.extend(["-starttls", protocol]);
    }
    if port.starttls() == Some("xmpp") {
        argv.extend(["-xmpphost", port.sni]);
    }
    let said = match guard::run(&argv) {
        Ok(said) | Err(said) => said,
    };
    let leaf = CertificateDer::from_pem_slice(said.as_bytes()).map_err(|_| said)?;
    Ok(Fingerprint::of(&leaf))
}

/// A pair that is not ours, in every shape that a server may want.
fn write_own_pair(folder: &Path, pair: &Pair) {
    pair.write_self_signed_rsa("pbx.test");
    let (chain, key) = (super::super::text(&pair.fullchain), super::super::text(&pair.privkey));
    std::fs::write(folder.join("combined.pem"), format!("{key}{chain}")).unwrap();
    std::fs::write(folder.join("site.pem"), format!("{chain}{key}")).unwrap();
}

fn unused(kind: &str) -> &'static [&'static str] {
    match kind {
        "postfix" => &["site.pem", "fullchain.pem", "privkey.pem"],
        "haproxy" => &["combined.pem", "fullchain.pem", "privkey.pem"],
        _ => &["site.pem", "combined.pem"],
    }
}
