//! ejabberd, serving XMPP with STARTTLS and over TLS, and HTTPS, for the host `pbx.test`. Needs
//! root.

use std::net::SocketAddr;
use std::path::Path;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running ejabberd, as its own user. Each of its commands takes two seconds.
#[derive(Debug)]
pub struct Ejabberd {
    pub guard: Guard,
    /// STARTTLS is offered here, on a stream to `pbx.test`.
    pub c2s: SocketAddr,
    /// TLS from the first byte.
    pub direct: SocketAddr,
    /// WebSocket.
    pub https: SocketAddr,
}

impl Ejabberd {
    /// The host that it serves: `to` of a stream.
    pub const HOST: &str = "pbx.test";

    /// Starts it with `pair`, which must be a good one.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("ejabberdctl")?;
        if !super::is_root() {
            super::say_skipped("ejabberd starts as its own user only");
            return None;
        }
        let (guard, [c2s, direct, https, _]) = guard::start("ejabberd", |folder, ports| {
            for (name, text) in [
                ("ejabberd.yml", configuration(pair, ports)),
                ("ejabberdctl.cfg", node(ports)),
                ("inetrc", super::text("/etc/ejabberd/inetrc")),
            ] {
                guard::write(&folder.join(name), &text);
            }
            let at = folder.display().to_string();
            for name in ["logs", "spool"] {
                std::fs::create_dir(folder.join(name)).expect("a new folder can be made");
            }
            guard::run(&["chown", "-R", "ejabberd:ejabberd", &at]).expect("we are root");
            let own = vec![program.display().to_string()];
            // Not its own `su`: that would make a process group that nobody ends.
            [guard::run_as("ejabberd"), own, arguments(folder), vec!["foreground".into()]].concat()
        });
        Some(Self { guard, c2s, direct, https })
    }

    /// Arguments of `ejabberdctl` that lead to this one.
    pub fn arguments(&self) -> Vec<String> {
        arguments(self.guard.folder())
    }
}

fn arguments(folder: &Path) -> Vec<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let named = [
        ("--config-dir", at("")),
        ("--config", at("ejabberd.yml")),
        ("--ctl-config", at("ejabberdctl.cfg")),
        ("--logs", at("logs")),
        ("--spool", at("spool")),
    ];
    named.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

/// The fourth port is that of its commands; with it no `epmd` is started, which would stay.
fn node([_, _, _, commands]: [SocketAddr; 4]) -> String {
    let port = commands.port();
    format!(
        "ERLANG_NODE=pbxcert{port}@localhost
INET_DIST_INTERFACE=127.0.0.1
ERL_DIST_PORT={port}
"
    )
}

fn configuration(pair: &Pair, [c2s, direct, https, _]: [SocketAddr; 4]) -> String {
    let (fullchain, privkey) = (pair.fullchain.display(), pair.privkey.display());
    let (c2s, direct, https) = (c2s.port(), direct.port(), https.port());
    let host = Ejabberd::HOST;
    format!(
        "hosts: [{host}]
loglevel: info
certfiles:
  - {fullchain}
  - {privkey}
listen:
  - {{port: {c2s}, ip: \"127.0.0.1\", module: ejabberd_c2s, starttls: true}}
  - {{port: {direct}, ip: \"127.0.0.1\", module: ejabberd_c2s, tls: true}}
  - {{port: {https}, ip: \"127.0.0.1\", module: ejabberd_http, tls: true, request_handlers: {{/ws: ejabberd_http_ws}}}}
acme: {{auto: false}}
modules: {{mod_ping: {{}}, mod_roster: {{}}}}
"
    )
}
