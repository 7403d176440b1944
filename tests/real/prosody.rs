//! Prosody, serving XMPP with STARTTLS and over TLS, and BOSH over HTTPS, for the host `localhost`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running Prosody; under root it runs as its own user, as it does in the field.
#[derive(Debug)]
pub struct Prosody {
    pub guard: Guard,
    /// STARTTLS is offered here, on a stream to `localhost`.
    pub c2s: SocketAddr,
    /// TLS from the first byte.
    pub direct: SocketAddr,
    /// BOSH and WebSocket.
    pub https: SocketAddr,
}

impl Prosody {
    /// The host that it serves: `to` of a stream.
    pub const HOST: &str = "localhost";

    /// Starts it with `pair`, which must be a good one.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("prosody")?;
        let (guard, [c2s, direct, https]) = guard::start("prosody", |folder, ports| {
            let config = folder.join("prosody.cfg.lua");
            std::fs::create_dir(folder.join("data")).expect("a new folder can be made");
            guard::write(&config, &configuration(folder, pair, ports));
            guard::give(folder, "prosody");
            guard::give(&folder.join("data"), "prosody");
            let (program, config) = (program.display().to_string(), config.display().to_string());
            [guard::run_as("prosody"), vec![program, "--config".into(), config, "-F".into()]]
                .concat()
        });
        Some(Self { guard, c2s, direct, https })
    }

    /// For `prosodyctl --config`.
    pub fn config(&self) -> PathBuf {
        self.guard.folder().join("prosody.cfg.lua")
    }

    /// Where it logs.
    pub fn xmpp_log(&self) -> String {
        super::text(self.guard.folder().join("prosody.log"))
    }

    /// HUP.
    pub fn reload(&self) {
        self.guard.signal(Signal::HUP);
    }
}

fn configuration(folder: &Path, pair: &Pair, [c2s, direct, https]: [SocketAddr; 3]) -> String {
    let (at, fullchain) = (folder.display(), pair.fullchain.display());
    let (privkey, host) = (pair.privkey.display(), Prosody::HOST);
    let certificates = pair.fullchain.parent().unwrap_or(folder).display();
    let (c2s, direct, https) = (c2s.port(), direct.port(), https.port());
    format!(
        "pidfile = \"{at}/prosody.pid\"
data_path = \"{at}/data\"
certificates = \"{certificates}\"
interfaces = {{ \"127.0.0.1\" }}
c2s_ports = {{ {c2s} }}
c2s_direct_tls_ports = {{ {direct} }}
s2s_ports = {{}}
http_ports = {{}}
https_ports = {{ {https} }}
https_interfaces = {{ \"127.0.0.1\" }}
https_ssl = {{ certificate = \"{fullchain}\"; key = \"{privkey}\" }}
c2s_direct_tls_ssl = {{ certificate = \"{fullchain}\"; key = \"{privkey}\" }}
modules_enabled = {{ \"roster\"; \"saslauth\"; \"tls\"; \"disco\"; \"ping\"; \"bosh\"; \"websocket\"; }}
modules_disabled = {{ \"s2s\" }}
authentication = \"internal_hashed\"
log = {{ info = \"{at}/prosody.log\" }}
daemonize = false
VirtualHost \"{host}\"
    ssl = {{ certificate = \"{fullchain}\"; key = \"{privkey}\" }}
"
    )
}
