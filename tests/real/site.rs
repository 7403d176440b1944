//! A whole machine for the pbxcert binary: Pebble, nginx, Kamailio, a configuration, and hooks that
//! a test can put something in the way of.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pbxcert::cert::Fingerprint;
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tempfile::TempDir;

use super::{Kamailio, Nginx, Pair, Pebble, PebbleOptions, tls};

/// How long anything may take that a test waits for.
pub const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// How a service's files are named in the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// `target-dir`, swapped as a whole; its key belongs to the service's group, as root.
    Folder,
    /// Two single paths.
    Paths,
}

/// Both services with an old self-signed pair, and pbxcert configured for them.
pub struct Site {
    pub pebble: Pebble,
    pub nginx: Nginx,
    pub kamailio: Kamailio,
    /// State and targets, perhaps on a small disk. Gone after the servers.
    pub disk: PathBuf,
    layout: Layout,
    _mount: Option<Mount>,
    folder: TempDir,
}

impl Site {
    /// `None` where something real is missing, after saying so.
    pub fn start(layout: Layout) -> Option<Self> {
        Self::start_on(layout, None)
    }

    /// With state and targets on a disk of so many KiB; needs root.
    pub fn start_on_small_disk(layout: Layout, kib: u32) -> Option<Self> {
        Self::start_on(layout, Some(kib))
    }

    fn start_on(layout: Layout, kib: Option<u32>) -> Option<Self> {
        let folder = super::shared_folder();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let mount = match kib {
            None => None,
            Some(kib) => Some(Mount::new(&disk, kib)?),
        };
        let hooks = folder.path().join("hooks");
        std::fs::create_dir(&hooks).unwrap();
        for service in ["nginx", "kamailio"] {
            let pair = Pair::in_folder(&disk.join(service).join("tls"));
            std::fs::create_dir_all(pair.fullchain.parent().unwrap()).unwrap();
            pair.write_self_signed("pbx.test");
            install_hook(&hooks, service);
        }
        let nginx = Nginx::start(&Pair::in_folder(&disk.join("nginx/tls")))?;
        let kamailio = Kamailio::start(&Pair::in_folder(&disk.join("kamailio/tls")))?;
        let pebble = Pebble::start(&PebbleOptions::default())?;
        let site = Self { pebble, nginx, kamailio, disk, layout, _mount: mount, folder };
        site.write_config(|text| text);
        Some(site)
    }

    /// Writes the configuration, changed by `change`.
    pub fn write_config(&self, change: impl Fn(String) -> String) {
        let text = format!(
            r#"site = "real"
state-dir = "{disk}/state"
time = "unsynchronised"

[acme]
directory = "{directory}"
trust-anchor = "{anchor}"
contact = ["noc@pbx.test"]
agree-to-terms = true

[challenge.http]
http-01 = {{ listen = ["127.0.0.1:{port}"] }}

[defaults]
key = "ecdsa-p256"
proof-timeout = "10 s"

[[certificate]]
name = "pbx"
names = ["pbx.test", "sip.test"]

{kamailio}
endpoint = ["sips://{sips}"]

{nginx}
endpoint = ["https://{https}"]
"#,
            disk = self.disk.display(),
            directory = self.pebble.directory(),
            anchor = self.pebble.trust_anchor().display(),
            port = self.pebble.http_port(),
            kamailio = self.service("kamailio", &self.kamailio.arguments()),
            sips = self.kamailio.sips(),
            nginx = self.service("nginx", &self.nginx.arguments()),
            https = self.nginx.https(),
        );
        std::fs::write(self.config(), change(text)).unwrap();
    }

    /// A configuration that looks no longer for what will not come.
    pub fn be_impatient(&self) {
        self.write_config(|text| text.replace("\"10 s\"", "\"2 s\""));
    }

    fn service(&self, kind: &str, arguments: &[String]) -> String {
        let hook = [vec![self.hooks().join(kind).display().to_string()], arguments.to_vec()];
        let hook = hook.concat();
        let test = if kind == "nginx" { format!("test = {hook:?}\n") } else { String::new() };
        let dir = self.folder_of(kind);
        let dir = dir.display();
        let files = match (self.layout, super::is_root()) {
            (Layout::Folder, true) => format!("target-dir = \"{dir}\""),
            // Only root gives files to the user kamailio; else both servers run as we do.
            (_, root) => {
                let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
                let (user, key) = match (kind, root) {
                    ("kamailio", true) => {
                        ("kamailio".to_owned(), r#"group = "kamailio", mode = "0640""#)
                    }
                    _ => (user.name, r#"mode = "0600""#),
                };
                format!(
                    "user = \"{user}\"\ntarget = [\n  {{ path = \"{dir}/fullchain.pem\", content \
                     = \"fullchain\", mode = \"0644\" }},\n  {{ path = \"{dir}/privkey.pem\", \
                     content = \"privkey\", {key} }},\n]"
                )
            }
        };
        format!(
            "[[service]]\nkind = \"{kind}\"\ncertificate = \"pbx\"\n{files}\n{test}reload = \
             {hook:?}"
        )
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("pbxcert.toml")
    }

    fn hooks(&self) -> PathBuf {
        self.folder.path().join("hooks")
    }

    /// pbxcert's state folder.
    pub fn state(&self) -> PathBuf {
        self.disk.join("state")
    }

    /// Where a service reads its pair.
    pub fn folder_of(&self, service: &str) -> PathBuf {
        self.disk.join(service).join("tls")
    }

    /// Lines of shell that the hook of `service` runs first for that event.
    pub fn trip(&self, service: &str, event: &str, lines: &str) {
        std::fs::write(self.hooks().join(format!("{service}.{event}.trip")), lines).unwrap();
    }

    /// Nothing is in the way any more.
    pub fn untrip(&self) {
        for entry in std::fs::read_dir(self.hooks()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "trip") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// The events that the hook of `service` was run for, in order.
    pub fn events(&self, service: &str) -> Vec<String> {
        let log = super::text(self.hooks().join(format!("{service}.log")));
        log.lines().map(str::to_owned).collect()
    }

    /// How often `service` was told to reload.
    pub fn reloads(&self, service: &str) -> usize {
        self.events(service).iter().filter(|e| *e == "reload").count()
    }

    /// How many orders Pebble was sent.
    pub fn orders(&self) -> usize {
        self.pebble.log().lines().filter(|l| l.contains("Added order")).count()
    }

    /// Runs a verb to its end.
    pub fn pbxcert(&self, arguments: &[&str]) -> Output {
        command(self).args(arguments).output().unwrap()
    }

    /// As [`Self::pbxcert`], which must succeed; what it printed.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.pbxcert(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Self::pbxcert`], which must end with `code`; all it said.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.pbxcert(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", told(&output));
        told(&output)
    }

    /// What a verb prints with `--json`, whatever its exit code.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.pbxcert(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", told(&output)))
    }

    /// The certificate's word in `status`.
    pub fn word(&self) -> String {
        self.json(&["status"])["certificates"][0]["state"].as_str().unwrap().to_owned()
    }

    /// The line of `status` for a service.
    pub fn service_line(&self, service: &str) -> Value {
        let status = self.json(&["status"]);
        let lines = status["services"].as_array().unwrap();
        lines.iter().find(|l| l["name"] == service).unwrap().clone()
    }

    /// What `history` tells, oldest first: what happened, and to which service, as `what@service`.
    pub fn story(&self) -> Vec<String> {
        let history = self.json(&["history", "--lines", "1000"]);
        let events = history["events"].as_array().unwrap();
        let times: Vec<&str> = events.iter().map(|e| e["at"].as_str().unwrap()).collect();
        let times: Vec<jiff::Timestamp> = times.iter().map(|t| t.parse().unwrap()).collect();
        assert!(times.is_sorted(), "history is not in order: {times:?}");
        let told = events.iter().map(|e| match e["service"].as_str() {
            Some(service) => format!("{}@{service}", e["what"].as_str().unwrap()),
            None => e["what"].as_str().unwrap().to_owned(),
        });
        told.collect()
    }

    /// How often that was told. From the file: asking pbxcert may take longer than what is waited for.
    pub fn count(&self, what: &str) -> usize {
        let history = super::text(self.state().join("node/history.jsonl"));
        history.matches(&format!("\"what\":\"{what}\"")).count()
    }

    /// Asserts that these happened in this order, whatever happened between.
    pub fn tells(&self, wanted: &[&str]) {
        let story = self.story();
        let mut rest = story.iter();
        for what in wanted {
            assert!(rest.any(|told| told == what), "{what} is not told in its place: {story:#?}");
        }
    }

    /// Where a service serves.
    pub fn address_of(&self, service: &str) -> SocketAddr {
        if service == "nginx" { self.nginx.https() } else { self.kamailio.sips() }
    }

    /// The leaf that a service serves, by a handshake of the tests' own.
    pub fn served(&self, service: &str) -> Result<Fingerprint, String> {
        tls::served_leaf(self.address_of(service), "pbx.test").map(|der| Fingerprint::of(&der))
    }

    /// Whether the note beside the drop says that both services serve this leaf. No handshake is made
    /// for it: Kamailio 5.6 with OpenSSL 3 dies now and then of one in the very moment of its reload
    /// ("qm: fragm. beginning overwritten", from tls_init.c).
    pub fn is_noted_live(&self, leaf: Fingerprint) -> bool {
        let note = super::text(self.state().join("drop/pbx/STATUS.txt"));
        let live = |service: &&str| note.contains(&format!("\n{service}: live since "));
        note.contains(&leaf.short()) && ["kamailio", "nginx"].iter().all(live)
    }

    /// The leaf of a revision in the store.
    pub fn leaf_of(&self, revision: u64) -> Fingerprint {
        let folder = self.state().join("shared/certificates/pbx/rev").join(revision.to_string());
        leaf_in(&folder.join("cert.pem"))
    }

    /// Asserts that both services serve the leaf of that revision, and have its matching pair.
    pub fn both_serve(&self, revision: u64) {
        for service in ["kamailio", "nginx"] {
            self.serves(service, revision);
        }
    }

    /// Asserts that a service serves the leaf of that revision, and has its matching pair.
    pub fn serves(&self, service: &str, revision: u64) {
        let leaf = self.leaf_of(revision);
        assert_eq!(self.served(service), Ok(leaf), "{service}, revision {revision}");
        assert_eq!(self.matching_pair(service), Ok(leaf), "{service}, revision {revision}");
    }

    /// The leaf on disk, if the key beside it fits: TLS's own check of a pair.
    pub fn matching_pair(&self, service: &str) -> Result<Fingerprint, String> {
        let pair = Pair::in_folder(&self.folder_of(service));
        let chain = CertificateDer::pem_file_iter(&pair.fullchain).map_err(|e| e.to_string())?;
        let chain: Result<Vec<_>, _> = chain.collect();
        let chain = chain.map_err(|e| e.to_string())?;
        let key = PrivateKeyDer::from_pem_file(&pair.privkey).map_err(|e| e.to_string())?;
        let leaf = Fingerprint::of(chain.first().ok_or("no certificate")?);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        rustls::sign::CertifiedKey::from_der(chain, key, &provider).map_err(|e| e.to_string())?;
        Ok(leaf)
    }

    /// Starts `pbxcert run`.
    pub fn daemon(&self) -> Daemon {
        let log = self.folder.path().join("daemon.log");
        let output = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let errors = output.try_clone().unwrap();
        let mut command = command(self);
        command.arg("run").stdin(Stdio::null()).stdout(output).stderr(errors);
        Daemon { child: command.spawn().unwrap(), log }
    }

    /// What the hooks, servers and daemon said, for a test that fails.
    pub fn clues(&self) -> String {
        format!(
            "daemon: {}\nnginx: {}\nkamailio: {}\nhistory: {:#?}",
            super::text(self.folder.path().join("daemon.log")),
            self.nginx.log(),
            self.kamailio.log(),
            self.story()
        )
    }

    /// Waits until `done`, at most [`LIMIT`].
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < LIMIT, "{what}: not in {LIMIT:?}\n{}", self.clues());
            std::thread::sleep(POLL);
        }
    }
}

fn command(site: &Site) -> Command {
    command_with(&site.config())
}

/// The binary, with a configuration.
pub fn command_with(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pbxcert"));
    command.env("PBXCERT_CONFIG", config).env("USER", "ada").env_remove("SUDO_USER");
    command
}

/// The hook as it is shipped, behind one that keeps a log and runs what a test put in the way.
/// A copy: pbxcert runs no hook that somebody else could write, as a checkout may be.
pub fn install_hook(hooks: &Path, service: &str) {
    let shipped = hooks.join(format!("{service}.shipped"));
    std::fs::copy(super::hook(service), &shipped).unwrap();
    let before = hooks.join(service);
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$PBXCERT_EVENT\" >>'{before}.log'\ntrip=\"{before}.\
         $PBXCERT_EVENT.trip\"\n[ ! -e \"$trip\" ] || . \"$trip\"\nexec '{}' \"$@\"\n",
        shipped.display(),
        before = before.display()
    );
    std::fs::write(&before, text).unwrap();
    for file in [shipped, before] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The leaf in a PEM file.
pub fn leaf_in(path: &Path) -> Fingerprint {
    Fingerprint::of(&CertificateDer::from_pem_file(path).unwrap())
}

/// All that a verb said.
pub fn told(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s));
    format!("{}\n{out}{err}", output.status)
}

/// `pbxcert run`; ended when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// SIGKILL: as a crash.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it goes on.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let begun = Instant::now();
        while self.runs() {
            assert!(begun.elapsed() < LIMIT, "it does not end: {}", super::text(&self.log));
            std::thread::sleep(POLL);
        }
        self.child.wait().unwrap().code()
    }

    /// Processor time that it has used, in ticks.
    pub fn processor_time(&self) -> u64 {
        let stat = super::text(format!("/proc/{}/stat", self.child.id()));
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        // utime and stime, proc_pid_stat(5), counted from the state on.
        [12, 13].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
    }

    /// The most memory that it ever had, in KiB.
    pub fn most_memory(&self) -> u64 {
        let status = super::text(format!("/proc/{}/status", self.child.id()));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap()
    }

    /// What all daemons of the site said.
    pub fn log(&self) -> String {
        super::text(&self.log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small file system of its own.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// So many KiB at a folder; `None` after saying that it cannot be had.
    pub fn new(at: &Path, kib: u32) -> Option<Self> {
        let size = format!("size={kib}k,mode=755");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { at: at.to_owned() });
        }
        super::say_skipped("no small file system can be mounted here: this needs root");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
