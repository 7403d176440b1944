//! What is special about Asterisk; each of these was seen to fail without what the hook does.

use super::super::asterisk::Pairs;
use super::super::stand::served;
use super::super::{Asterisk, Pair, tls};
use super::{Bench, asterisk, of_asterisk};
use crate::real::stand::Stand;

fn live() -> Option<Bench<Asterisk>> {
    let bench = asterisk()?;
    bench.stand.succeeds(&["renew"]);
    bench.stand.serve(&[bench.product.sips(), bench.product.https()], 1);
    Some(bench)
}

#[test]
fn both_ports_are_looked_at_and_neither_is_reloaded_by_core_reload() {
    let Some(Bench { product, stand }) = live() else { return };
    let mut held = tls::Held::open(product.https(), "pbx.test").unwrap();
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&[product.sips(), product.https()], 2);
    let request = b"GET /nothing HTTP/1.1\r\nHost: pbx.test\r\nContent-Length: 0\r\n\r\n";
    let answer = held.ask(request).expect("an open connection was lost");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let told = stand.json(&["history", "--lines", "1000"]).to_string();
    assert!(!told.contains("core reload"), "{told}");
    let endpoints = stand.json(&["verify"])["endpoints"].to_string();
    assert!(endpoints.contains("sips://") && endpoints.contains("https://"), "{endpoints}");
}

#[test]
fn the_first_connection_after_the_reload_is_made_before_files_can_change_again() {
    let Some(Bench { product, stand }) = live() else { return };
    stand.succeeds(&["renew", "--force"]);
    // What was read at the first connection stays, whatever lies there later.
    stand.pair().write_self_signed("other.test");
    assert_eq!(served(product.sips()), Ok(stand.leaf_of(2)));
}

#[test]
fn an_https_server_that_died_of_a_bad_pair_before_our_time_is_alive_again() {
    let Some(mut stand) = Stand::new("asterisk", &["asterisk"]) else { return };
    stand.pair().write_self_signed("pbx.test");
    let Some(product) = Asterisk::start(&stand.pair()) else { return };
    stand.configure(&of_asterisk(&stand, &product));
    stand.pair().write_mismatched("pbx.test");
    for module in ["res_pjsip.so", "http"] {
        product.answer(&format!("module reload {module}"));
    }
    assert!(served(product.https()).is_err() && served(product.sips()).is_err());
    stand.succeeds(&["renew"]);
    stand.serve(&[product.sips(), product.https()], 1);
    stand.row("dead before", &stand.step(), stand.reloads());
}

#[test]
fn new_files_of_the_same_size_and_time_are_taken_all_the_same() {
    let Some(Bench { product, stand }) = live() else { return };
    let before = ["fullchain.pem", "privkey.pem"].map(|f| times(&stand.tls().join(f)));
    stand.succeeds(&["renew", "--force"]);
    let after = ["fullchain.pem", "privkey.pem"].map(|f| times(&stand.tls().join(f)));
    for (before, after) in before.iter().zip(after) {
        assert_ne!((before.0, before.1), (after.0, after.1), "neither size nor time changed");
    }
    stand.serve(&[product.sips(), product.https()], 2);
}

/// Size and time of the last change.
fn times(path: &std::path::Path) -> (u64, std::time::SystemTime) {
    let facts = path.metadata().unwrap();
    (facts.len(), facts.modified().unwrap())
}

#[test]
fn a_transport_that_may_be_replaced_is_not_reloaded_while_a_call_is_up() {
    let Some(mut stand) = Stand::new("asterisk", &["asterisk"]) else { return };
    let pair = stand.pair();
    let old = pair.write_self_signed("pbx.test");
    let pairs = Pairs { sip: pair.clone(), http: pair, allow_reload: true };
    let Some(product) = Asterisk::start_with(&pairs) else { return };
    stand.configure(&of_asterisk(&stand, &product));
    stand.write_config(|text| text.replace("reload =", "proof-timeout = \"2 s\"\nreload ="));
    product.call();
    stand.pbxcert(&["renew"]);
    let problem = stand.problem();
    assert_eq!(stand.step(), "not-taken", "{problem}\n{}", stand.clues());
    assert!(
        problem.contains("transport-tls has allow_reload=yes and 1 call(s) are up"),
        "{problem}"
    );
    assert!(problem.contains("Set allow_reload=no in pjsip.conf"), "{problem}");
    assert_eq!(tls::served_leaf(product.sips(), "pbx.test"), Ok(old));
    stand.row("allow_reload=yes, a call up", "not reloaded, reported", 0);

    product.hang_up();
    stand.succeeds(&["deploy"]);
    stand.serve(&[product.sips(), product.https()], 1);
}

#[test]
fn calls_are_counted() {
    let Some(Bench { product, stand }) = live() else { return };
    let count = || {
        let output = std::process::Command::new(stand.hook())
            .args(product.arguments())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PBXCERT_EVENT", "busy")
            .env("PBXCERT_EXEC", product.exec_prefix().join(" "))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(count(), "0");
    product.call();
    assert_eq!(count(), "1");
}

#[test]
fn what_a_person_is_told_to_run_brings_it_back() {
    let Some(Bench { product, stand }) = live() else { return };
    stand.write_config(|text| text.replace("reload =", "proof-timeout = \"2 s\"\nreload ="));
    stand.trip_with_bad_pair("reload");
    stand.trip("recover", "echo 'not now' >&2; exit 1\n");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "stuck", "{}", stand.clues());
    assert!(served(product.https()).is_err() && served(product.sips()).is_err());
    let problem = stand.problem();
    stand.untrip("recover");
    let output = stand.run_as_told(&problem);
    assert!(output.status.success(), "{problem}: {output:?}");
    stand.serve(&[product.sips(), product.https()], 1);
    let outcome = "stuck; the command in the message repairs it";
    stand.row("pair bad, way back fails", outcome, stand.reloads() - 1);
    stand.succeeds(&["deploy"]);
    stand.serve(&[product.sips(), product.https()], 2);
}

#[test]
fn a_changed_pair_reaches_a_port_of_its_own_only_through_its_own_module() {
    // Why the hook reloads both: seen here on the product itself.
    let folder = crate::real::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let old = pair.write_self_signed("old.test");
    let Some(product) = Asterisk::start(&pair) else { return };
    let new = pair.write_self_signed("new.test");
    let leaf = |address| tls::served_leaf(address, "pbx.test").unwrap();
    product.answer("module reload res_pjsip.so");
    assert_eq!((leaf(product.sips()), leaf(product.https())), (new.clone(), old));
    product.answer("module reload http");
    assert_eq!((leaf(product.sips()), leaf(product.https())), (new.clone(), new));
}
