//! Asterisk, in the newer Debian that `tests/provision asterisk` keeps below target/, serving SIP
//! over TLS and HTTPS with a pair of files, as its own user.
//!
//! It runs in a mount namespace of its own, rooted in that Debian, where the temporary folder has
//! the same path as outside. What is mounted there goes with the namespace.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::pair::Pair;
use super::process::Server;

/// A running Asterisk.
#[derive(Debug)]
pub struct Asterisk {
    /// `None` while it is stopped.
    server: Option<Server>,
    /// Keeps the namespace, whether Asterisk runs or not.
    container: Server,
    ids: (u32, u32),
    folder: TempDir,
    sips: SocketAddr,
    https: SocketAddr,
}

/// Files that Asterisk is to serve.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// On SIP over TLS.
    pub sip: Pair,
    /// On HTTPS.
    pub http: Pair,
    /// A transport that may be replaced while calls use it.
    pub allow_reload: bool,
}

impl Asterisk {
    /// Starts Asterisk with one good pair for both ports, which [`Self::ids`] can read.
    pub fn start(pair: &Pair) -> Option<Self> {
        let pairs = Pairs { sip: pair.clone(), http: pair.clone(), allow_reload: false };
        Self::start_with(&pairs)
    }

    /// As [`Self::start`], with more said.
    pub fn start_with(pairs: &Pairs) -> Option<Self> {
        let root = root()?;
        Some(super::start_with_free_ports(|| {
            let folder = super::shared_folder();
            let ids = ids(&root);
            for name in ["lib", "db", "keys", "spool", "run", "log", "etc"] {
                let path = folder.path().join(name);
                std::fs::create_dir(&path).expect("a new folder can be made");
                if name != "etc" {
                    std::os::unix::fs::chown(&path, Some(ids.0), Some(ids.1)).expect("as root");
                }
            }
            let [sips, https] = [super::free_port(), super::free_port()].map(super::loopback);
            for (name, text) in configuration(&root, folder.path(), pairs, sips, https) {
                let path = folder.path().join("etc").join(name);
                std::fs::write(path, text).expect("it can be written");
            }
            let container = container(&root, folder.path())?;
            let mut asterisk = Self { server: None, container, ids, folder, sips, https };
            asterisk.run().map(|()| asterisk)
        }))
    }

    /// Number of its user and of its group.
    pub fn ids(&self) -> (u32, u32) {
        self.ids
    }

    /// Where SIP over TLS is answered.
    pub fn sips(&self) -> SocketAddr {
        self.sips
    }

    /// Where HTTPS is answered.
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// What stands before a command that is to run beside this Asterisk.
    pub fn exec_prefix(&self) -> Vec<String> {
        let container = self.container.pid().to_string();
        ["nsenter", "--target", &container, "--mount", "--root", "--wd"].map(str::to_owned).into()
    }

    /// Arguments of `asterisk` that lead to this one.
    pub fn arguments(&self) -> Vec<String> {
        vec!["-C".into(), self.folder.path().join("etc/asterisk.conf").display().to_string()]
    }

    /// Asks `asterisk -rx`.
    pub fn ask(&self, command: &str) -> Output {
        self.command().arg("-rx").arg(command).output().expect("nsenter starts")
    }

    /// As [`Self::ask`]; what it answers.
    pub fn answer(&self, command: &str) -> String {
        String::from_utf8_lossy(&self.ask(command).stdout).into_owned()
    }

    /// A call between two channels of its own, which stays up.
    pub fn call(&self) {
        self.answer("channel originate Local/echo@pbx application Wait 600");
        let begun = std::time::Instant::now();
        while !self.answer("core show channels count").contains("1 active call\n") {
            assert!(begun.elapsed() < super::site::LIMIT, "no call: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Ends every call.
    pub fn hang_up(&self) {
        self.answer("channel request hangup all");
        let begun = std::time::Instant::now();
        while !self.answer("core show channels count").contains("0 active calls") {
            assert!(begun.elapsed() < super::site::LIMIT, "still a call: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Where its configuration lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Process id of Asterisk.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// What it said.
    pub fn log(&self) -> String {
        super::text(self.folder.path().join("log/out"))
    }

    /// Ends it; its ports stay its own until it is dropped, as far as this process is concerned.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same ports.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start_again(&mut self) {
        self.run().expect("it ran here before");
    }

    fn command(&self) -> Command {
        let prefix = self.exec_prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg("asterisk").args(self.arguments());
        command
    }

    fn run(&mut self) -> Result<(), String> {
        let mut command = self.command();
        command.args(["-f", "-U", "asterisk", "-G", "asterisk"]);
        // Its command line is there before its ports are, and not whole at once.
        let ready = || {
            TcpStream::connect(self.sips).is_ok()
                && TcpStream::connect(self.https).is_ok()
                && self.answer("core show channels count").contains("0 active calls")
        };
        let log = self.folder.path().join("log/out");
        self.server = Some(Server::start("asterisk", &mut command, &log, ready)?);
        Ok(())
    }
}

/// The Debian that holds it; `None` after saying why there is none.
fn root() -> Option<PathBuf> {
    if !super::is_root() {
        super::say_skipped("Asterisk is a newer Debian's: only root can enter it");
        return None;
    }
    let kept = || {
        let target = Path::new(env!("CARGO_BIN_EXE_pbxcert")).ancestors().nth(2)?;
        Some(target.join("provision/asterisk"))
    };
    let root = std::env::var_os("PBXCERT_ASTERISK").map(PathBuf::from).or_else(kept);
    let found = root.filter(|root| root.join("usr/sbin/asterisk").is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("PBXCERT_REAL").is_none_or(|v| v != "1"),
            "Asterisk is not there, and PBXCERT_REAL=1 says that it must be: tests/provision \
             asterisk"
        );
        super::say_skipped("Asterisk is not there (tests/provision asterisk brings it)");
    }
    found.map(|root| root.canonicalize().expect("it is there"))
}

/// Its user and group, which need not exist outside.
fn ids(root: &Path) -> (u32, u32) {
    let passwd = super::text(root.join("etc/passwd"));
    let line = passwd.lines().find(|line| line.starts_with("asterisk:"));
    let fields: Vec<&str> = line.expect("the package made the user").split(':').collect();
    (fields[2].parse().expect("a number"), fields[3].parse().expect("a number"))
}

/// A process that does nothing but be there, in namespace and root.
fn container(root: &Path, folder: &Path) -> Result<Server, String> {
    let shared = std::env::temp_dir();
    let inside = root.join(shared.strip_prefix("/").expect("temporary folders are absolute"));
    std::fs::create_dir_all(&inside).map_err(|e| format!("{}: {e}", inside.display()))?;
    let script = "mount --rbind \"$1\" \"$2\" && mount -t proc proc \"$3/proc\" && \
                  mount --rbind /dev \"$3/dev\" && exec chroot \"$3\" sleep 1000000";
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", script, "sh"]).arg(&shared).arg(&inside).arg(root);
    let log = folder.join("container.log");
    // Ready at once, as far as the guard knows: which process it is has to be known first.
    let mut server = Server::start("a container", &mut command, &log, || true)?;
    let at = format!("/proc/{}", server.pid());
    let begun = std::time::Instant::now();
    while std::fs::read_link(format!("{at}/root")).ok().as_deref() != Some(root)
        || !super::text(format!("{at}/comm")).starts_with("sleep")
    {
        if server.exited().is_some() || begun.elapsed() > super::site::LIMIT {
            return Err(format!("no container for Asterisk: {}", server.log()));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(server)
}

fn configuration(
    root: &Path,
    folder: &Path,
    pairs: &Pairs,
    sips: SocketAddr,
    https: SocketAddr,
) -> [(&'static str, String); 5] {
    let modules = std::fs::read_dir(root.join("usr/lib")).expect("Debian has it");
    let modules = modules
        .filter_map(|entry| Some(entry.ok()?.path().join("asterisk/modules")))
        .find(|path| path.is_dir())
        .expect("the package has modules");
    let modules = Path::new("/").join(modules.strip_prefix(root).expect("it lies in there"));
    let (modules, folder) = (modules.display(), folder.display());
    let path = |path: &Path| path.display().to_string();
    let asterisk = format!(
        "[directories]
astetcdir => {folder}/etc
astmoddir => {modules}
astvarlibdir => {folder}/lib
astdbdir => {folder}/db
astkeydir => {folder}/keys
astdatadir => /usr/share/asterisk
astagidir => /usr/share/asterisk/agi-bin
astspooldir => {folder}/spool
astrundir => {folder}/run
astlogdir => {folder}/log
"
    );
    // Those that SIP, HTTP and a call need; all of them take seconds.
    let modules = [
        "res_sorcery_config",
        "res_sorcery_memory",
        "res_sorcery_astdb",
        "res_timing_timerfd",
        "res_pjproject",
        "res_pjsip",
        "res_pjsip_session",
        "res_pjsip_endpoint_identifier_ip",
        "res_pjsip_endpoint_identifier_user",
        "res_http_websocket",
        "res_clioriginate",
        "pbx_config",
    ];
    let modules: String = modules.map(|m| format!("load = {m}.so\n")).concat();
    let pjsip = format!(
        "[transport-tls]
type=transport
protocol=tls
bind={sips}
cert_file={}
priv_key_file={}
method=tlsv1_2
allow_reload={}
",
        path(&pairs.sip.fullchain),
        path(&pairs.sip.privkey),
        if pairs.allow_reload { "yes" } else { "no" },
    );
    let http = format!(
        "[general]
enabled=no
tlsenable=yes
tlsbindaddr={https}
tlscertfile={}
tlsprivatekey={}
",
        path(&pairs.http.fullchain),
        path(&pairs.http.privkey),
    );
    let extensions = "[pbx]\nexten => echo,1,Answer()\n same => n,Wait(600)\n".to_owned();
    [
        ("asterisk.conf", asterisk),
        ("modules.conf", format!("[modules]\nautoload=no\n{modules}")),
        ("pjsip.conf", pjsip),
        ("http.conf", http),
        ("extensions.conf", extensions),
    ]
}
