//! coturn, serving TURN over TLS.

use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running coturn; as us, also under root.
#[derive(Debug)]
pub struct Coturn {
    pub guard: Guard,
    /// TURN over TCP, in plain text.
    pub turn: SocketAddr,
    /// TURN over TLS.
    pub turns: SocketAddr,
}

impl Coturn {
    /// Starts it with `pair`.
    pub fn start(pair: &Pair) -> Option<Self> {
        Self::start_with(pair, "")
    }

    /// The same with further lines of `turnserver.conf`, such as `proc-user=turnserver`.
    pub fn start_with(pair: &Pair, lines: &str) -> Option<Self> {
        let program = super::program("turnserver")?;
        let (guard, [turn, turns]) = guard::start("coturn", |folder, ports| {
            let config = folder.join("turnserver.conf");
            let text = format!("{}{lines}\n", configuration(folder, pair, ports));
            guard::write(&config, &text);
            vec![program.display().to_string(), "-c".into(), config.display().to_string()]
        });
        Some(Self { guard, turn, turns })
    }

    /// Where it logs.
    pub fn turn_log(&self) -> String {
        super::text(self.guard.folder().join("turn.log"))
    }

    /// USR2: HUP only rotates the log.
    pub fn reload(&self) {
        self.guard.signal(Signal::USR2);
    }
}

fn configuration(folder: &Path, pair: &Pair, [turn, turns]: [SocketAddr; 2]) -> String {
    let (at, fullchain) = (folder.display(), pair.fullchain.display());
    let (privkey, turn, turns) = (pair.privkey.display(), turn.port(), turns.port());
    format!(
        "listening-ip=127.0.0.1
relay-ip=127.0.0.1
listening-port={turn}
tls-listening-port={turns}
no-cli
no-multicast-peers
lt-cred-mech
user=test:test
realm=localhost
cert={fullchain}
pkey={privkey}
pidfile={at}/turn.pid
userdb={at}/turndb
log-file={at}/turn.log
simple-log
"
    )
}
