//! Janus, serving WebSockets over TLS with a pair of files.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::pair::Pair;
use super::process::Server;

/// A running Janus.
#[derive(Debug)]
pub struct Gateway {
    /// `None` while it is stopped.
    server: Option<Server>,
    program: PathBuf,
    folder: TempDir,
    wss: SocketAddr,
}

impl Gateway {
    /// Starts it with `pair`, which must be a good one.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("janus")?;
        Some(super::start_with_free_ports(|| {
            let folder = super::shared_folder();
            let wss = super::loopback(super::free_port());
            for (name, text) in configuration(folder.path(), pair, wss) {
                let path = folder.path().join(name);
                std::fs::create_dir_all(path.parent().expect("it lies in a folder"))
                    .and_then(|()| std::fs::write(path, text))
                    .expect("it can be written");
            }
            std::fs::create_dir(folder.path().join("empty")).expect("a new folder can be made");
            let program = program.clone();
            let mut janus = Self { server: None, program, folder, wss };
            janus.run().map(|()| janus)
        }))
    }

    /// Where WebSockets over TLS are answered.
    pub fn wss(&self) -> SocketAddr {
        self.wss
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| server.exited().is_none())
    }

    /// Process id.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Ends it; its port stays its own until it is dropped, as far as this process is concerned.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    ///
    /// The end of its log, when it does not come up.
    pub fn run(&mut self) -> Result<(), String> {
        let (folder, wss) = (self.folder.path(), self.wss);
        let mut command = Command::new(&self.program);
        command.arg("-C").arg(folder.join("etc/janus.jcfg")).arg("-F").arg(folder.join("etc"));
        let ready = || TcpStream::connect(wss).is_ok();
        self.server = Some(Server::start("janus", &mut command, &folder.join("log"), ready)?);
        Ok(())
    }
}

fn configuration(folder: &Path, pair: &Pair, wss: SocketAddr) -> [(&'static str, String); 3] {
    let libraries = std::fs::read_dir("/usr/lib").expect("every system has it");
    let transports = libraries
        .filter_map(|entry| Some(entry.ok()?.path().join("janus/transports")))
        .find(|path| path.is_dir())
        .expect("the package has transports");
    let (folder, transports) = (folder.display(), transports.display());
    let pair = format!(
        "certificates: {{ cert_pem = \"{}\" cert_key = \"{}\" }}\n",
        pair.fullchain.display(),
        pair.privkey.display()
    );
    let main = format!(
        "general: {{ configs_folder = \"{folder}/etc\" plugins_folder = \"{folder}/empty\" \
         transports_folder = \"{transports}\" events_folder = \"{folder}/empty\" loggers_folder = \
         \"{folder}/empty\" debug_level = 4 interface = \"127.0.0.1\" }}\n{pair}nat: {{ \
         ice_enforce_list = \"lo\" ignore_mdns = true }}\ntransports: {{ disable = \
         \"libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,\
         libjanus_http.so\" }}\n"
    );
    let websockets = format!(
        "general: {{ json = \"indented\" ws = false wss = true wss_port = {} wss_ip = \
         \"127.0.0.1\" }}\nadmin: {{ admin_ws = false }}\n{pair}",
        wss.port()
    );
    [
        ("etc/janus.jcfg", main),
        ("etc/janus.transport.websockets.jcfg", websockets),
        ("etc/README", String::new()),
    ]
}
