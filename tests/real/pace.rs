//! How soon a new certificate is found once it is served: on a port that switches when the test
//! says so, just after a look at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::sim::Commands;
use super::sim::port::{Port, Tls, load_pair};
use super::sip_kinds::folder;
use super::stand::Stand;

#[test]
fn a_new_certificate_is_found_also_while_a_look_hangs() {
    for hanging in [false, true] {
        // How soon is a question for a bench: benches/pace.rs.
        let Some(found) = found_after(hanging, 1) else { return };
        println!("found after {found:?}, a look hanging: {hanging}");
    }
}

/// How long after the switch of a real TLS port a handshake ended that showed it, several times;
/// with a look that hangs meanwhile, or not.
pub fn found_after(hanging: bool, times: usize) -> Option<Vec<Duration>> {
    let bench = Bench::new()?;
    Some((0..times).map(|_| bench.found_after(hanging)).collect())
}

struct Bench {
    port: Port,
    /// How often it was told to reload.
    told: Arc<AtomicU32>,
    _commands: Commands,
    stand: Stand,
}

impl Bench {
    fn new() -> Option<Self> {
        let mut stand = Stand::new("nginx", &["nginx"])?;
        stand.pair().write_self_signed("pbx.test");
        let own = load_pair(&stand.pair()).unwrap();
        let port = Port::open(super::loopback(super::free_port()), Tls::Serves(own));
        let told = Arc::new(AtomicU32::new(0));
        let counts = Arc::clone(&told);
        let commands = Commands::listen(&stand.bin(), &["told"], move |_| {
            counts.fetch_add(1, Ordering::SeqCst);
            (0, String::new())
        });
        stand.trip("test", "exit 0\n");
        stand.trip("reload", &format!("exec {}\n", stand.bin().join("told").display()));
        let us = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
        stand.configure(&format!(
            "{}reload = [{:?}]\nendpoint = [\"tls://{}\"]",
            folder(&stand.tls(), &us.name, ""),
            stand.hook(),
            port.address(),
        ));
        Some(Self { port, told, _commands: commands, stand })
    }

    /// How long after the switch a handshake ended that showed it.
    fn found_after(&self, hanging: bool) -> Duration {
        let told = self.told.load(Ordering::SeqCst);
        std::thread::scope(|scope| {
            let renewal = scope.spawn(|| self.stand.succeeds(&["renew", "--force"]));
            let is_told = || self.told.load(Ordering::SeqCst) > told;
            wait_until(is_told);
            let (shown, hung) = (self.port.shown(), self.port.hanging());
            if hanging {
                self.port.becomes(Tls::Hangs);
                wait_until(|| self.port.hanging() > hung);
            } else {
                // Until it goes at its slowest.
                wait_until(|| self.port.shown() >= shown + 6);
            }
            let new = load_pair(&self.stand.pair()).unwrap();
            let switched_at = Instant::now();
            self.port.becomes(Tls::Serves(new));
            wait_until(|| self.port.shown_at().is_some());
            renewal.join().unwrap();
            self.port.shown_at().unwrap() - switched_at
        })
    }
}

/// To the millisecond.
fn wait_until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < super::site::LIMIT, "it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}
