//! Guards of real servers on loopback: each runs in a temporary folder of its own, on ports that
//! were free when it started, and is ended when its guard is dropped, also by a failing test.
//!
//! `start` answers `None` where the server is not installed, after a line that says so; with
//! `PBXCERT_REAL=1` in the environment, as under `./test`, that is a failure instead.
#![allow(dead_code, reason = "the guards offer more than each flow needs")]

pub mod apache;
pub mod asterisk;
pub mod coturn;
pub mod dovecot;
pub mod ejabberd;
pub mod filtered;
pub mod gateway;
pub mod guard;
pub mod haproxy;
pub mod janus;
pub mod kamailio;
pub mod mailbox;
pub mod mosquitto;
pub mod nginx;
pub mod openssl;
pub mod pace;
pub mod pair;
pub mod pebble;
pub mod postfix;
pub mod process;
pub mod prosody;
pub mod registrar;
pub mod sim;
pub mod sink;
pub mod site;
pub mod slapd;
pub mod stand;
pub mod tls;
pub mod turnserver;

mod alerts;
mod broken;
mod done;
mod guards;
mod hooks;
mod line;
mod other_kinds;
mod probes;
mod sip_kinds;
mod smoke;
mod upload;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use apache::Apache;
pub use asterisk::Asterisk;
pub use coturn::Coturn;
pub use dovecot::Dovecot;
pub use ejabberd::Ejabberd;
pub use gateway::Gateway;
pub use haproxy::Haproxy;
pub use janus::Janus;
pub use kamailio::Kamailio;
pub use mosquitto::Mosquitto;
pub use nginx::Nginx;
pub use openssl::Openssl;
pub use pair::Pair;
pub use pebble::{Pebble, PebbleOptions};
pub use postfix::Postfix;
pub use prosody::Prosody;
pub use slapd::Slapd;
pub use turnserver::Turnserver;

/// The program of that name, or `None` after saying that the test is skipped.
///
/// # Panics
///
/// When it is missing although `PBXCERT_REAL=1` says that nothing real may be skipped.
pub fn program(name: &str) -> Option<PathBuf> {
    let found = if name == "pebble" { pebble::find() } else { in_path(name) };
    if found.is_none() {
        assert!(
            std::env::var_os("PBXCERT_REAL").is_none_or(|v| v != "1"),
            "{name} is not installed, and PBXCERT_REAL=1 says that it must be: tests/provision"
        );
        // Not eprintln!, which the test harness keeps to itself while a test passes.
        let _ =
            writeln!(std::io::stderr(), "skipped: {name} is not installed (./test installs it)");
    }
    found
}

/// A line that `./test` repeats in its summary.
pub fn say_skipped(why: &str) {
    // Not eprintln!, which the test harness keeps to itself while a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Looks where servers lie, too, which an ordinary user's `PATH` leaves out.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A loopback port that is free for TCP and UDP, and was not handed out in this process before.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = tcp.local_addr().expect("a bound socket has an address").port();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if udp.is_ok() && GIVEN.lock().expect("no holder panics").insert(port) {
            return port;
        }
    }
}

/// `127.0.0.1:port`.
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Path of a ready hook of this project.
pub fn hook(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks").join(name).display().to_string()
}

/// Runs `start` with new ports until the server comes up: between finding a free port and the
/// server's taking it, somebody else may have it.
///
/// # Panics
///
/// With the last reason when it does not come up three times.
pub fn start_with_free_ports<T>(mut start: impl FnMut() -> Result<T, String>) -> T {
    let mut reason = String::new();
    for _ in 0..3 {
        match start() {
            Ok(server) => return server,
            Err(why) => reason = why,
        }
    }
    panic!("{reason}");
}

/// A folder that a server's own user can enter.
pub fn shared_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new()
        .prefix("pbxcert-real-")
        .permissions(open)
        .tempdir()
        .expect("a temporary folder can be made")
}

/// Whether we run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn text(path: impl AsRef<OsStr>) -> String {
    std::fs::read_to_string(Path::new(&path)).unwrap_or_default()
}
