//! nginx, serving HTTPS with a pair of files and a webroot over HTTP.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::pair::Pair;
use super::process::Server;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    /// `None` while it is stopped.
    server: Option<Server>,
    program: PathBuf,
    folder: TempDir,
    https: SocketAddr,
    http: SocketAddr,
}

impl Nginx {
    /// Starts nginx with `pair`, which must be a good one; it reads the files again when reloaded.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("nginx")?;
        Some(super::start_with_free_ports(|| {
            let folder = super::shared_folder();
            let https = super::loopback(super::free_port());
            let http = super::loopback(super::free_port());
            std::fs::create_dir(folder.path().join("webroot")).expect("a new folder can be made");
            let text = configuration(folder.path(), pair, https, http);
            std::fs::write(folder.path().join("nginx.conf"), text).expect("it can be written");
            let program = program.clone();
            let mut nginx = Self { server: None, program, folder, https, http };
            nginx.run().map(|()| nginx)
        }))
    }

    /// `https://127.0.0.1:port` answers `nginx ok`.
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// Plain HTTP: the files of [`Self::webroot`].
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Folder that is served over HTTP.
    pub fn webroot(&self) -> PathBuf {
        self.folder.path().join("webroot")
    }

    /// `hooks/nginx` with the arguments that lead to this nginx.
    pub fn hook(&self) -> Vec<String> {
        [vec![super::hook("nginx")], self.arguments()].concat()
    }

    /// Arguments of `nginx` that lead to this one.
    pub fn arguments(&self) -> Vec<String> {
        let at = |name| self.folder.path().join(name).display().to_string();
        vec!["-c".into(), at("nginx.conf"), "-e".into(), at("error.log")]
    }

    /// Where its configuration lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Process id of the master.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// What it said.
    pub fn log(&self) -> String {
        super::text(self.folder.path().join("error.log"))
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

    fn run(&mut self) -> Result<(), String> {
        let folder = self.folder.path().to_owned();
        let pid_file = folder.join("nginx.pid");
        let _ = std::fs::remove_file(&pid_file);
        let mut command = Command::new(&self.program);
        command.args(self.arguments()).current_dir(&folder);
        // The pid file comes after the ports were taken, so an answer is then from this one.
        let https = self.https;
        let ready = || pid_file.exists() && TcpStream::connect(https).is_ok();
        self.server = Some(Server::start("nginx", &mut command, &folder.join("error.log"), ready)?);
        Ok(())
    }
}

pub fn configuration(folder: &Path, pair: &Pair, https: SocketAddr, http: SocketAddr) -> String {
    let (folder, fullchain) = (folder.display(), pair.fullchain.display());
    let privkey = pair.privkey.display();
    format!(
        "daemon off; worker_processes 1; pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/tmp-body; proxy_temp_path {folder}/tmp-proxy;
  fastcgi_temp_path {folder}/tmp-fastcgi; uwsgi_temp_path {folder}/tmp-uwsgi;
  scgi_temp_path {folder}/tmp-scgi;
  server {{
    listen {https} ssl;
    ssl_certificate {fullchain};
    ssl_certificate_key {privkey};
    location / {{ default_type text/plain; return 200 \"nginx ok\\n\"; }}
  }}
  server {{
    listen {http};
    root {folder}/webroot;
  }}
}}
"
    )
}
