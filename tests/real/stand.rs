//! One service of a kind, and the pbxcert binary with Pebble and a configuration for it, in which
//! only paths, ports and the words before commands differ from what the kind presets.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pbxcert::cert::Fingerprint;
use serde_json::Value;
use tempfile::TempDir;

use super::site::{LIMIT, Mount, command_with, install_hook, leaf_in, told};
use super::{Pair, Pebble, PebbleOptions, tls};

/// The machine of one service.
pub struct Stand {
    pub pebble: Pebble,
    kind: &'static str,
    /// What the configuration says of the service.
    service: String,
    _mount: Option<Mount>,
    folder: TempDir,
}

impl Stand {
    /// With the hooks of this kind and of those it calls, and nothing configured yet; `None` where
    /// Pebble is missing, after saying so.
    pub fn new(kind: &'static str, hooks: &[&str]) -> Option<Self> {
        Self::new_on(kind, hooks, None)
    }

    /// The same with the service's files on a disk of so many KiB; needs root.
    pub fn new_on(kind: &'static str, hooks: &[&str], kib: Option<u32>) -> Option<Self> {
        let pebble = Pebble::start(&PebbleOptions::default())?;
        let folder = super::shared_folder();
        for part in ["hooks", "disk", "bin"] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
        }
        let mount = match kib {
            None => None,
            Some(kib) => Some(Mount::new(&folder.path().join("disk"), kib)?),
        };
        std::fs::create_dir(folder.path().join("disk/tls")).unwrap();
        let stand = Self { pebble, kind, service: String::new(), _mount: mount, folder };
        for hook in hooks {
            install_hook(&stand.hooks(), hook);
        }
        Some(stand)
    }

    /// Configures the service by these lines below `kind`, and the certificate `pbx`.
    pub fn configure(&mut self, service: &str) {
        self.service = service.to_owned();
        self.write_config(|text| text);
    }

    /// Writes the configuration, changed by `change`.
    pub fn write_config(&self, change: impl Fn(String) -> String) {
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
names = ["pbx.test", "sip.test"]

[[service]]
kind = "{kind}"
{service}
"#,
            folder = self.folder.path().display(),
            directory = self.pebble.directory(),
            anchor = self.pebble.trust_anchor().display(),
            port = self.pebble.http_port(),
            kind = self.kind,
            service = self.service,
        );
        std::fs::write(self.config(), change(text)).unwrap();
    }

    /// Who reads the key.
    pub fn user_of_key(&self) -> String {
        let written = self.service.lines().find_map(|line| line.strip_prefix("user = "));
        match (written, self.kind) {
            // Root reads everything: another is named for once.
            (Some("\"root\""), _) => "nobody".to_owned(),
            (Some(user), _) => user.trim_matches('"').to_owned(),
            (None, "coturn") => "turnserver".to_owned(),
            (None, kind) => kind.to_owned(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("pbxcert.toml")
    }

    /// Everything lies in here.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Folder of ours that the service reads its pair from.
    pub fn tls(&self) -> PathBuf {
        self.folder.path().join("disk/tls")
    }

    /// Commands that stand for others.
    pub fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// The two files in [`Self::tls`].
    pub fn pair(&self) -> Pair {
        Pair::in_folder(&self.tls())
    }

    fn hooks(&self) -> PathBuf {
        self.folder.path().join("hooks")
    }

    /// The hook as it is shipped, behind one that keeps a log.
    pub fn hook(&self) -> String {
        self.hooks().join(self.kind.replace("fusionpbx", "freeswitch")).display().to_string()
    }

    /// Lines of shell that the hook runs first for that event.
    pub fn trip(&self, event: &str, lines: &str) {
        std::fs::write(format!("{}.{event}.trip", self.hook()), lines).unwrap();
    }

    /// Nothing is in the way of that event any more.
    pub fn untrip(&self, event: &str) {
        std::fs::remove_file(format!("{}.{event}.trip", self.hook())).unwrap();
    }

    /// The hook meets files that do not belong together, once, although pbxcert has tried good ones.
    pub fn trip_with_bad_pair(&self, event: &str) {
        let other = self.folder.path().join("other.pem");
        let pair = Pair { fullchain: other.with_extension("crt"), privkey: other };
        pair.write_self_signed("other.test");
        // The content alone: owner and mode stay.
        let lines = format!(
            "for file in $PBXCERT_PATHS; do case $file in\n*privkey*|*.key) cat '{}' >\"$file\" \
             ;;\n*agent.pem|*wss.pem|*all.pem) echo garbage >\"$file\" ;;\nesac; done\n\
             rm -f \"$trip\"\n",
            pair.privkey.display()
        );
        self.trip(event, &lines);
    }

    /// The events that the hook was run for, in order.
    pub fn events(&self) -> Vec<String> {
        let log = super::text(format!("{}.log", self.hook()));
        log.lines().map(str::to_owned).collect()
    }

    /// How often the service was told to take files, new or old.
    pub fn reloads(&self) -> usize {
        self.events().iter().filter(|e| *e == "reload" || *e == "recover").count()
    }

    /// Runs a verb to its end.
    pub fn pbxcert(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// The binary with this configuration.
    pub fn command(&self) -> Command {
        command_with(&self.config())
    }

    /// `pbxcert run`; ended when dropped.
    pub fn daemon(&self) -> Daemon {
        let log = std::fs::File::create(self.folder.path().join("daemon.log")).unwrap();
        let mut command = self.command();
        command.arg("run").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Daemon(command.spawn().unwrap())
    }

    /// As [`Self::pbxcert`], which must succeed; all it said.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.pbxcert(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", told(&output), self.clues());
        told(&output)
    }

    /// As [`Self::pbxcert`], which must end with `code`; all it said.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.pbxcert(arguments);
        let said = format!("{}\n{}", told(&output), self.clues());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
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

    /// The leaf of a revision in the store.
    pub fn leaf_of(&self, revision: u64) -> Fingerprint {
        let folder = self.folder.path().join("state/shared/certificates/pbx/rev");
        leaf_in(&folder.join(revision.to_string()).join("cert.pem"))
    }

    /// Asserts that each of these serves the leaf of that revision.
    pub fn serve(&self, addresses: &[SocketAddr], revision: u64) {
        for address in addresses {
            let leaf = Ok(self.leaf_of(revision));
            assert_eq!(served(*address), leaf, "{address}, revision {revision}\n{}", self.clues());
        }
    }

    /// What the hooks saw and said, for a test that fails.
    pub fn clues(&self) -> String {
        let history = self.pbxcert(&["history", "--lines", "100"]);
        let status = self.pbxcert(&["status"]);
        format!("events: {:?}\n{}\n{}", self.events(), told(&history), told(&status))
    }

    /// Waits until `done`, at most [`LIMIT`].
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < LIMIT, "{what}: not in {LIMIT:?}\n{}", self.clues());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A line of the table in README.md, which `./test` prints: what happened to a service, and how
    /// it ended. The one that stands there, whether the product is the real one or a simulated one.
    pub fn row(&self, fault: &str, outcome: &str, reloads: usize) {
        assert!(reloads <= 3, "{} {fault}: {reloads} reloads\n{}", self.kind, self.clues());
        let case = format!("| {} | {fault} |", self.kind);
        let line = format!("{case} {outcome} | {reloads} |");
        let _ = writeln!(std::io::stderr(), "table: {line}");
        let readme = include_str!("../../README.md");
        let told: Vec<&str> = readme.lines().filter(|told| told.starts_with(&case)).collect();
        assert_eq!(told, [line], "README.md tells it otherwise");
    }

    /// The command that a person is told to run, run as it stands.
    pub fn run_as_told(&self, said: &str) -> Output {
        let (_, rest) = said.split_once("a person is needed: run `").expect(said);
        let (command, _) = rest.split_once('`').expect(said);
        Command::new("/bin/sh").args(["-c", command]).output().unwrap()
    }
}

/// The leaf that is served there, by a handshake of the tests' own.
pub fn served(address: SocketAddr) -> Result<Fingerprint, String> {
    tls::served_leaf(address, "pbx.test").map(|der| Fingerprint::of(&der))
}

/// `pbxcert run`; ended when dropped.
pub struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
