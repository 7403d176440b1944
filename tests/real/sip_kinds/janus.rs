//! Gateway, which reads certificates at its start only; `systemctl` is the test's.

use std::sync::{Arc, Mutex};

use super::{NONE, run_hook};
use crate::real::Gateway;
use crate::real::sim::Commands;
use crate::real::sim::command::prefix;
use crate::real::stand::{Stand, served};

struct Bench {
    _systemctl: Commands,
    product: Arc<Mutex<Gateway>>,
    stand: Stand,
}

fn janus() -> Option<Bench> {
    let mut stand = Stand::new("janus", &["janus"])?;
    stand.pair().write_self_signed("pbx.test");
    let product = Arc::new(Mutex::new(Gateway::start(&stand.pair())?));
    let unit = Arc::clone(&product);
    let systemctl = Commands::listen(&stand.bin(), &["systemctl"], move |words| {
        let mut janus = unit.lock().unwrap();
        match words {
            "systemctl is-active --quiet janus" => {
                (if janus.runs() { 0 } else { 3 }, String::new())
            }
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
    });
    let us = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    let wss = product.lock().unwrap().wss();
    stand.configure(&format!(
        "{}exec-prefix = {:?}\nproof-timeout = \"3 s\"\nreload = [{:?}]\nendpoint = \
         [\"tls://{wss}\"]",
        super::folder(&stand.tls(), &us.name, ""),
        prefix(&stand.bin()),
        stand.hook(),
    ));
    stand.succeeds(&["renew"]);
    stand.serve(&[wss], 1);
    Some(Bench { _systemctl: systemctl, product, stand })
}

#[test]
fn a_restart_brings_the_new_pair() {
    let Some(Bench { _systemctl, product, stand }) = janus() else { return };
    let wss = product.lock().unwrap().wss();
    let pid = product.lock().unwrap().pid();
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&[wss], 2);
    assert_ne!(product.lock().unwrap().pid(), pid);
    stand.row("good swap", &stand.step(), stand.reloads() - 1);
}

#[test]
fn one_that_a_bad_pair_kept_from_starting_is_started_with_the_old_one() {
    let Some(Bench { _systemctl, product, stand }) = janus() else { return };
    let wss = product.lock().unwrap().wss();
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    stand.serve(&[wss], 1);
    let outcome = "rolled back, started with the old one";
    stand.row("pair bad at the restart", outcome, stand.reloads() - 1);
}

#[test]
fn a_stopped_one_is_not_started() {
    let Some(Bench { _systemctl, product, stand }) = janus() else { return };
    let wss = product.lock().unwrap().wss();
    product.lock().unwrap().stop();
    stand.pbxcert(&["renew", "--force"]);
    assert_eq!(stand.step(), "unproved", "{}", stand.clues());
    let output = run_hook(&stand, "reload", NONE, &prefix(&stand.bin()));
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(served(wss).is_err(), "it was started");
    product.lock().unwrap().run().unwrap();
    stand.serve(&[wss], 2);
    stand.row("stopped", "unproved, not started", 0);
}
