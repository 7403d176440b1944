//! Janus, which reads certificates at its start only; `systemctl` is the test's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::{Bench, NONE, Product, run_hook};
use crate::real::sim::Commands;
use crate::real::sim::command::prefix;
use crate::real::stand::Stand;
use crate::real::{Gateway, tls};

/// A running Janus and its unit.
pub struct Janus {
    _systemctl: Commands,
    unit: Arc<Mutex<Gateway>>,
}

impl Product for Janus {
    const KIND: &'static str = "janus";
    /// What hangs is ended by its restart.
    const HUNG: &'static str = "proved";

    fn on(mut stand: Stand) -> Option<Bench<Self>> {
        stand.pair().write_self_signed("pbx.test");
        let unit = Arc::new(Mutex::new(Gateway::start(&stand.pair())?));
        let wss = unit.lock().unwrap().wss();
        let asked = Arc::clone(&unit);
        let systemctl = Commands::listen(&stand.bin(), &["systemctl"], move |words| {
            answer(&mut asked.lock().unwrap(), words)
        });
        let us = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
        stand.configure(&format!(
            "{}exec-prefix = {:?}\nreload = [{:?}]\nendpoint = [\"tls://{wss}\"]",
            super::folder(&stand.tls(), &us.name, ""),
            prefix(&stand.bin()),
            stand.hook(),
        ));
        Some(Bench { product: Self { _systemctl: systemctl, unit }, stand })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.unit.lock().unwrap().wss()]
    }

    /// A restart ends them all, which is why it waits for its time.
    fn answers(&self, _: &mut [tls::Held]) -> Result<(), String> {
        Ok(())
    }

    fn stop(&mut self) {
        self.unit.lock().unwrap().stop();
    }

    fn start_again(&mut self) {
        self.unit.lock().unwrap().run().unwrap();
    }

    fn pid(&self) -> Option<u32> {
        self.unit.lock().unwrap().pid()
    }
}

fn answer(janus: &mut Gateway, words: &str) -> (i32, String) {
    match words {
        "systemctl is-active --quiet janus" => (if janus.runs() { 0 } else { 3 }, String::new()),
        "systemctl try-restart janus" if !janus.runs() => (0, String::new()),
        "systemctl try-restart janus" | "systemctl restart janus" => {
            janus.stop();
            match janus.run() {
                Ok(()) => (0, String::new()),
                Err(_) => (1, "Job for janus.service failed.\n".to_owned()),
            }
        }
        _ => (1, format!("{words}: not known here\n")),
    }
}

#[test]
fn a_restart_makes_another_process() {
    let Some(Bench { product, stand }) = Janus::new() else { return };
    let pid = product.pid();
    stand.succeeds(&["renew"]);
    stand.serve(&product.addresses(), 1);
    assert_ne!(product.pid(), pid);
}

#[test]
fn a_stopped_one_is_said_to_be_so() {
    let Some(Bench { mut product, stand }) = Janus::new() else { return };
    product.stop();
    let output = run_hook(&stand, "reload", NONE, &prefix(&stand.bin()));
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(product.pid().is_none(), "it was started");
}
