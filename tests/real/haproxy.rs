//! HAProxy, serving HTTPS and TLS for SIP, both from one file with chain and key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running HAProxy in master-worker mode; as us, also under root.
#[derive(Debug)]
pub struct Haproxy {
    pub guard: Guard,
    /// HTTPS, mode http; 503 is its answer, since nothing is behind it.
    pub https: SocketAddr,
    /// TLS, mode tcp.
    pub sips: SocketAddr,
}

impl Haproxy {
    /// The one file that it reads, in `folder`.
    pub fn combined_in(folder: &Path) -> PathBuf {
        folder.join("combined.pem")
    }

    /// Puts both files of `pair` into [`Self::combined_in`] its folder.
    pub fn combine(pair: &Pair) -> PathBuf {
        let combined = Self::combined_in(pair.fullchain.parent().expect("it lies in a folder"));
        let text = super::text(&pair.fullchain) + &super::text(&pair.privkey);
        let beside = combined.with_extension("new");
        guard::write(&beside, &text);
        std::fs::rename(&beside, &combined).expect("it can be renamed");
        combined
    }

    /// Starts it with what [`Self::combine`] makes of `pair`.
    pub fn start(pair: &Pair) -> Option<Self> {
        Self::start_with(&Self::combine(pair), "")
    }

    /// Starts it with this file (chain and key) and further words for each `bind` line.
    pub fn start_with(combined: &Path, bind: &str) -> Option<Self> {
        let program = super::program("haproxy")?;
        let (guard, [https, sips]) = guard::start("haproxy", |folder, ports| {
            let config = folder.join("haproxy.cfg");
            guard::write(&config, &configuration(folder, combined, bind, ports));
            let (program, config) = (program.display().to_string(), config.display().to_string());
            let pid_file = folder.join("haproxy.pid").display().to_string();
            let options = ["-W", "-db", "-p", &pid_file, "-f", &config].map(str::to_owned);
            [vec![program], options.to_vec()].concat()
        });
        Some(Self { guard, https, sips })
    }

    /// For `haproxy -c -f`.
    pub fn config(&self) -> PathBuf {
        self.guard.folder().join("haproxy.cfg")
    }

    /// The socket of the runtime API, level admin.
    pub fn admin_socket(&self) -> PathBuf {
        self.guard.folder().join("admin.sock")
    }

    /// Where its master's process id stands.
    pub fn pid_file(&self) -> PathBuf {
        self.guard.folder().join("haproxy.pid")
    }

    /// USR2 to the master.
    pub fn reload(&self) {
        self.guard.signal(Signal::USR2);
    }
}

fn configuration(
    folder: &Path,
    combined: &Path,
    bind: &str,
    [https, sips]: [SocketAddr; 2],
) -> String {
    let (at, combined) = (folder.display(), combined.display());
    format!(
        "global
    stats socket {at}/admin.sock mode 600 level admin expose-fd listeners
    hard-stop-after 300s
    ssl-default-bind-options ssl-min-ver TLSv1.0
defaults
    mode http
    timeout connect 2s
    timeout client 300s
    timeout server 300s
    timeout tunnel 1h
frontend fe
    bind {https} ssl crt {combined} {bind}
    default_backend be
backend be
listen siptls
    mode tcp
    bind {sips} ssl crt {combined} {bind}
"
    )
}
