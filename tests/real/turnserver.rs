//! coturn, serving TURN over TLS with a pair of files, as its own user under root.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::pair::Pair;
use super::process::Server;

/// A running turnserver.
#[derive(Debug)]
pub struct Turnserver {
    /// `None` while it is stopped.
    server: Option<Server>,
    program: PathBuf,
    folder: TempDir,
    turns: SocketAddr,
    as_root: bool,
}

impl Turnserver {
    /// Starts it as [`Self::user`] with `pair`, which must be a good one that this user can read.
    pub fn start(pair: &Pair) -> Option<Self> {
        Self::start_as(pair, false)
    }

    /// Starts it as root, as which it reads the pair once, before it becomes [`Self::user`].
    pub fn start_as_root(pair: &Pair) -> Option<Self> {
        Self::start_as(pair, true)
    }

    fn start_as(pair: &Pair, as_root: bool) -> Option<Self> {
        let program = super::program("turnserver")?;
        Some(super::start_with_free_ports(|| {
            let folder = super::shared_folder();
            let [turns, plain] = [super::free_port(), super::free_port()].map(super::loopback);
            let run = folder.path().join("run");
            std::fs::create_dir(&run).expect("a new folder can be made");
            if let Some(user) = Self::user() {
                let user = nix::unistd::User::from_name(user).expect("users can be looked up");
                let user = user.expect("the package made it");
                std::os::unix::fs::chown(&run, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                    .expect("root gives away what it likes");
            }
            let text = configuration(folder.path(), pair, turns, plain, as_root);
            std::fs::write(folder.path().join("turn.conf"), text).expect("it can be written");
            let program = program.clone();
            let mut coturn = Self { server: None, program, folder, turns, as_root };
            coturn.run().map(|()| coturn)
        }))
    }

    /// The user it runs as; `None` when we are not root: as us.
    pub fn user() -> Option<&'static str> {
        super::is_root().then_some("turnserver")
    }

    /// Where TURN over TLS is answered.
    pub fn turns(&self) -> SocketAddr {
        self.turns
    }

    /// Arguments of `hooks/coturn` that lead to this one.
    pub fn arguments(&self) -> Vec<String> {
        vec![self.pid_file().display().to_string()]
    }

    /// Process id.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// What it said.
    pub fn log(&self) -> String {
        super::text(self.folder.path().join("out"))
    }

    /// Ends it; its port stays its own until it is dropped, as far as this process is concerned.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start_again(&mut self) {
        self.run().expect("it ran here before");
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.path().join("run/turn.pid")
    }

    fn run(&mut self) -> Result<(), String> {
        let (folder, turns, pid_file) = (self.folder.path(), self.turns, self.pid_file());
        let mut command = Command::new("setpriv");
        match Self::user() {
            Some(user) if !self.as_root => {
                command.args(["--reuid", user, "--regid", user, "--init-groups"]);
            }
            _ => {}
        }
        command.arg(&self.program).arg("-c").arg(folder.join("turn.conf")).current_dir("/");
        let ready = || pid_file.exists() && TcpStream::connect(turns).is_ok();
        self.server = Some(Server::start("coturn", &mut command, &folder.join("out"), ready)?);
        // It makes the pid file before it is what the number says.
        let pid = self.server.as_ref().map(Server::pid).unwrap_or_default();
        std::fs::write(&pid_file, format!("{pid}\n")).map_err(|e| e.to_string())
    }
}

fn configuration(
    folder: &Path,
    pair: &Pair,
    turns: SocketAddr,
    plain: SocketAddr,
    as_root: bool,
) -> String {
    let folder = folder.display();
    let user = if as_root { "proc-user=turnserver\nproc-group=turnserver\n" } else { "" };
    format!(
        "listening-ip=127.0.0.1
relay-ip=127.0.0.1
listening-port={}
tls-listening-port={}
no-cli
no-multicast-peers
lt-cred-mech
user=test:test
realm=localhost
cert={}
pkey={}
pidfile={folder}/run/turn.pid
userdb={folder}/run/turndb
log-file=stdout
simple-log
{user}",
        plain.port(),
        turns.port(),
        pair.fullchain.display(),
        pair.privkey.display(),
    )
}
