//! What is special about coturn.

use rustix::process::{Pid, Signal, kill_process};

use super::{Bench, Product as _, of_coturn, run_hook};
use crate::real::stand::{Stand, served};
use crate::real::{Turnserver, tls};

#[test]
fn a_key_that_only_the_start_could_read_is_found_before_the_reload() {
    if !crate::real::is_root() {
        crate::real::say_skipped("only root starts a server that gives its privileges away");
        return;
    }
    let Some(mut stand) = Stand::new("coturn", &["coturn"]) else { return };
    let pair = stand.pair();
    let old = pair.write_self_signed("pbx.test");
    let private = || {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&pair.privkey, mode).unwrap();
    };
    private();
    let Some(product) = Turnserver::start_as_root(&pair) else { return };
    let leaf = || tls::served_leaf(product.turns(), "pbx.test");
    assert_eq!(leaf(), Ok(old.clone()), "at its start it could read the key");
    // What happens without a look beforehand: nothing at all, in silence.
    pair.write_self_signed("pbx.test");
    private();
    assert!(run_hook(&stand, "reload", &arguments(&product), &[]).status.success());
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(leaf(), Ok(old.clone()), "coturn has learnt to read it");

    stand.configure(&of_coturn(&stand, &product));
    stand.write_config(|text| {
        let target = "target = [{ path = \"fullchain.pem\", content = \"fullchain\", mode = \
                      \"0644\" }, { path = \"privkey.pem\", content = \"privkey\", mode = \
                      \"0600\" }]\n";
        text.replace("reload =", &format!("{target}reload ="))
    });
    let reloads = stand.reloads();
    let said = stand.fails(1, &["renew"]);
    assert!(said.contains("user turnserver cannot read"), "{said}");
    assert_eq!((leaf(), stand.reloads()), (Ok(old), reloads));
    stand.row("key for root alone, started as root", "refused before the switch", 0);

    stand.write_config(|text| text);
    stand.succeeds(&["deploy"]);
    stand.serve(&[product.turns()], 1);
}

#[test]
fn hup_reloads_nothing_so_the_hook_sends_usr2() {
    let Some(Bench { product, stand }) = Turnserver::new() else { return };
    let old = served(product.turns());
    let new = stand.pair().write_self_signed("pbx.test");
    let pid = Pid::from_raw(product.pid().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(served(product.turns()), old, "coturn has learnt to");
    assert!(run_hook(&stand, "reload", &arguments(&product), &[]).status.success());
    stand.wait_until("the new one is served", || {
        tls::served_leaf(product.turns(), "pbx.test").as_ref() == Ok(&new)
    });
}

#[test]
fn one_that_was_started_with_a_bad_pair_gets_its_first_good_one() {
    let Some(Bench { mut product, stand }) = Turnserver::new() else { return };
    product.stop();
    stand.pair().write_mismatched("pbx.test");
    product.start_again();
    assert!(served(product.turns()).is_err(), "coturn serves a pair that does not fit");
    stand.succeeds(&["renew"]);
    stand.serve(&[product.turns()], 1);
    stand.row("dead before", &stand.step(), stand.reloads());
}

#[test]
fn a_stopped_one_is_said_to_be_so() {
    let Some(Bench { mut product, stand }) = Turnserver::new() else { return };
    let arguments = arguments(&product);
    product.stop();
    for event in ["reload", "recover"] {
        let output = run_hook(&stand, event, &arguments, &[]);
        assert_eq!(output.status.code(), Some(75), "{event}: {output:?}");
    }
    assert!(run_hook(&stand, "test", &arguments, &[]).status.success());
}

fn arguments(product: &Turnserver) -> Vec<String> {
    product.arguments()
}
