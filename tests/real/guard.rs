//! What every guard of a server has in common: a folder, a command, ports, and an end.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::process::Server;

/// A running server in a folder of its own; ended, with all its children, when dropped.
#[derive(Debug)]
pub struct Guard {
    name: &'static str,
    /// `None` while it is stopped.
    server: Option<Server>,
    argv: Vec<String>,
    ports: Vec<SocketAddr>,
    folder: TempDir,
}

impl Guard {
    /// Starts `argv` in `folder`, where its configuration lies already, and waits until each of
    /// `ports` takes connections.
    ///
    /// # Errors
    ///
    /// A sentence with the log's end when it does not come up.
    pub fn start(
        name: &'static str,
        folder: TempDir,
        argv: Vec<String>,
        ports: &[SocketAddr],
    ) -> Result<Self, String> {
        let mut guard = Self { name, server: None, argv, ports: ports.to_vec(), folder };
        guard.run()?;
        Ok(guard)
    }

    /// Where its configuration lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Process id of the first process.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// What it said to standard output and error.
    pub fn log(&self) -> String {
        super::text(self.folder.path().join("log"))
    }

    /// Sends a signal to the first process, as `systemctl kill --kill-whom=main` does.
    ///
    /// # Panics
    ///
    /// When it is stopped.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().expect("it runs").cast_signed()).expect("not 0");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Whether it has not ended by itself; one that has is waited for then, as its parent.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| server.exited().is_none())
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

    fn run(&mut self) -> Result<(), String> {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).current_dir(self.folder.path());
        let ports = &self.ports;
        let ready = || ports.iter().all(|port| TcpStream::connect(port).is_ok());
        let log = self.folder.path().join("log");
        self.server = Some(Server::start(self.name, &mut command, &log, ready)?);
        Ok(())
    }
}

/// Starts a server with new ports until it comes up: `configure` writes its configuration into the
/// folder and answers with the command; `COUNT` ports are given.
pub fn start<const COUNT: usize>(
    name: &'static str,
    configure: impl Fn(&Path, [SocketAddr; COUNT]) -> Vec<String>,
) -> (Guard, [SocketAddr; COUNT]) {
    super::start_with_free_ports(|| {
        let folder = super::shared_folder();
        let ports = std::array::from_fn(|_| super::loopback(super::free_port()));
        let argv = configure(folder.path(), ports);
        Guard::start(name, folder, argv, &ports).map(|guard| (guard, ports))
    })
}

/// Writes a configuration file.
pub fn write(path: &Path, text: &str) {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).expect("a folder can be made");
    }
    std::fs::write(path, text).expect("it can be written");
}

/// Gives a folder to a system user, as its package does; nothing when we are not root.
pub fn give(path: &Path, user: &str) {
    std::fs::create_dir_all(path).expect("a folder can be made");
    if super::is_root() {
        let user = nix::unistd::User::from_name(user).expect("users can be looked up");
        let user = user.expect("the package made it");
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .expect("root gives away what it likes");
    }
}

/// What stands before a command that is to run as a system user; nothing when we are not root.
pub fn run_as(user: &str) -> Vec<String> {
    if !super::is_root() {
        return Vec::new();
    }
    let (reuid, regid) = (format!("--reuid={user}"), format!("--regid={user}"));
    ["setpriv", "--reset-env", &reuid, &regid, "--init-groups"].map(str::to_owned).to_vec()
}

/// Runs a command to its end.
///
/// # Errors
///
/// What it said when it failed.
pub fn run(argv: &[&str]) -> Result<String, String> {
    let output = Command::new(argv[0]).args(&argv[1..]).output().map_err(|e| e.to_string())?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{argv:?}: {said}")) }
}
