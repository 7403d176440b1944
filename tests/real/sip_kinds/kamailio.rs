//! What is special about Kamailio.

use super::{Bench, Product as _, run_hook};
use crate::real::Kamailio;
use crate::real::sim::command::{prefix, write_command};

fn live() -> Option<Bench<Kamailio>> {
    let bench = Kamailio::new()?;
    bench.stand.succeeds(&["renew"]);
    bench.stand.serve(&[bench.product.sips()], 1);
    Some(bench)
}

/// Starts it again with another configuration.
fn change(product: &mut Kamailio, change: impl Fn(String) -> String) {
    let path = product.folder().join("kamailio.cfg");
    let text = std::fs::read_to_string(&path).unwrap();
    product.stop();
    std::fs::write(&path, change(text)).unwrap();
    product.start_again();
}

#[test]
fn one_that_answers_no_options_is_proved_by_its_handshake() {
    let Some(Bench { mut product, stand }) = live() else { return };
    change(&mut product, |text| text.replace("sl_send_reply(\"200\", \"kam ok\"); exit;", "drop;"));
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&[product.sips()], 2);
    assert_eq!(stand.step(), "proved");
    stand.row("OPTIONS dropped", "proved", stand.reloads() - 1);
}

#[test]
fn one_that_takes_no_more_files_is_left_alone_and_its_restart_is_named() {
    let Some(Bench { mut product, stand }) = live() else { return };
    // What 5.6 says, until it is restarted, after bad files of three kinds (issue 3305).
    let wedged = "error: 500 - Error while loading TLS configuration file (consult server log)";
    write_command(&stand.bin().join("kamcmd"), &format!("#!/bin/sh\necho '{wedged}'\n"));
    let exec = format!("exec-prefix = {:?}\n", prefix(&stand.bin()));
    stand.write_config(|text| {
        text.replace("reload =", &format!("{exec}proof-timeout = \"2 s\"\nreload ="))
    });
    let before = stand.reloads();
    stand.pbxcert(&["renew", "--force"]);
    assert_eq!(stand.step(), "not-taken", "{}", stand.clues());
    assert!(stand.problem().contains("systemctl restart kamailio"), "{}", stand.problem());
    stand.serve(&[product.sips()], 1);
    let reloads = stand.reloads() - before;
    // What the command does.
    product.stop();
    product.start_again();
    stand.serve(&[product.sips()], 2);
    stand.pbxcert(&["deploy"]);
    assert_eq!(stand.step(), "proved", "{}", stand.clues());
    stand.row("wedged by bad files", "not taken; the named restart repairs it", reloads);
}

#[test]
fn calls_are_counted_where_the_dialog_module_counts_them() {
    let Some(Bench { mut product, stand }) = Kamailio::new() else { return };
    let arguments = product.arguments();
    let output = run_hook(&stand, "busy", &arguments, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    change(&mut product, |text| {
        let modules = "loadmodule \"tm.so\"\nloadmodule \"rr.so\"\nloadmodule \"dialog.so\"\n\
                       modparam(\"dialog\", \"dlg_flag\", 4)\n";
        text.replacen("modparam(", &format!("{modules}modparam("), 1)
    });
    let output = run_hook(&stand, "busy", &arguments, &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "{output:?}");
    product.stop();
    let output = run_hook(&stand, "reload", &arguments, &[]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
}
