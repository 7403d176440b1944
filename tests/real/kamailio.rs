//! Kamailio, serving SIP over TLS with a pair of files; OPTIONS is answered with 200.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::pair::Pair;
use super::process::Server;

/// A running Kamailio; under root it runs as its own user, as it does in the field.
#[derive(Debug)]
pub struct Kamailio {
    /// `None` while it is stopped.
    server: Option<Server>,
    program: PathBuf,
    folder: TempDir,
    sips: SocketAddr,
}

impl Kamailio {
    /// Starts Kamailio with `pair`, which must be a good one that [`Self::user`] can read; it
    /// reads the files again when reloaded.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("kamailio")?;
        Some(super::start_with_free_ports(|| {
            let folder = super::shared_folder();
            let sips = super::loopback(super::free_port());
            let run = folder.path().join("run");
            std::fs::create_dir(&run).expect("a new folder can be made");
            if let Some(user) = Self::user() {
                let user = nix::unistd::User::from_name(user).expect("users can be looked up");
                let user = user.expect("the package made it");
                std::os::unix::fs::chown(&run, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                    .expect("root gives away what it likes");
            }
            let tls = folder.path().join("tls.cfg");
            std::fs::write(&tls, profiles(pair)).expect("it can be written");
            let text = configuration(folder.path(), sips);
            std::fs::write(folder.path().join("kamailio.cfg"), text).expect("it can be written");
            let program = program.clone();
            let mut kamailio = Self { server: None, program, folder, sips };
            kamailio.run().map(|()| kamailio)
        }))
    }

    /// The user it runs as; `None` when we are not root: as us.
    pub fn user() -> Option<&'static str> {
        super::is_root().then_some("kamailio")
    }

    /// Where SIP over TLS is answered.
    pub fn sips(&self) -> SocketAddr {
        self.sips
    }

    /// `hooks/kamailio` with the arguments that lead to this Kamailio.
    pub fn hook(&self) -> Vec<String> {
        [vec![super::hook("kamailio")], self.arguments()].concat()
    }

    /// Arguments of `kamcmd` that lead to this one.
    pub fn arguments(&self) -> Vec<String> {
        vec!["-s".into(), format!("unix:{}", self.control().display())]
    }

    /// Where its configuration lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Process id of the main process.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// What it said.
    pub fn log(&self) -> String {
        super::text(self.folder.path().join("log"))
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

    fn control(&self) -> PathBuf {
        self.folder.path().join("run/ctl")
    }

    fn run(&mut self) -> Result<(), String> {
        let (folder, control) = (self.folder.path().to_owned(), self.control());
        let _ = std::fs::remove_file(&control);
        let mut command = Command::new(&self.program);
        command.arg("-f").arg(folder.join("kamailio.cfg")).arg("-DD");
        command.arg("-P").arg(folder.join("run/pid")).arg("-Y").arg(folder.join("run"));
        command.args(["-m", "64", "-M", "8"]).current_dir(&folder);
        if let Some(user) = Self::user() {
            command.args(["-u", user, "-g", user]);
        }
        let sips = self.sips;
        let ready = || control.exists() && TcpStream::connect(sips).is_ok() && answers(&control);
        self.server = Some(Server::start("kamailio", &mut command, &folder.join("log"), ready)?);
        Ok(())
    }
}

/// The control socket is there before the workers are: a reload too early is refused.
fn answers(control: &Path) -> bool {
    let Some(kamcmd) = super::in_path("kamcmd") else { return false };
    let socket = format!("unix:{}", control.display());
    let output = Command::new(kamcmd).args(["-s", &socket, "core.uptime"]).output();
    output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("uptime:"))
}

pub fn profiles(pair: &Pair) -> String {
    format!(
        "[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
private_key = {}
certificate = {}
[client:default]
verify_certificate = no
require_certificate = no
",
        pair.privkey.display(),
        pair.fullchain.display()
    )
}

fn configuration(folder: &Path, sips: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=2
enable_tls=yes
listen=tls:{sips}
loadmodule \"tls.so\"
loadmodule \"kex.so\"
loadmodule \"corex.so\"
loadmodule \"sl.so\"
loadmodule \"pv.so\"
loadmodule \"textops.so\"
loadmodule \"siputils.so\"
loadmodule \"ctl.so\"
modparam(\"tls\", \"config\", \"{folder}/tls.cfg\")
modparam(\"ctl\", \"binrpc\", \"unix:{folder}/run/ctl\")
request_route {{
  if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"kam ok\"); exit; }}
  sl_send_reply(\"404\", \"no\");
}}
"
    )
}
