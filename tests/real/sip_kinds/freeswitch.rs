//! FreeSWITCH before and after `reloadcert`, and FusionPBX's links, with a simulated FreeSWITCH.

use std::path::Path;
use std::time::Duration;

use super::Bench;
use crate::real::sim::command::prefix;
use crate::real::sim::freeswitch::Options;
use crate::real::sim::{Freeswitch, port};
use crate::real::stand::{Stand, served};
use crate::real::{Pair, tls};

const HOT: Options = Options {
    version: "1.11.2",
    restart: Duration::from_millis(1500),
    youth: Duration::ZERO,
    calls: 0,
};

const COLD: Options = Options { version: "1.10.12", ..HOT };

fn freeswitch(options: Options) -> Option<Bench<Freeswitch>> {
    let mut stand = Stand::new("freeswitch", &["freeswitch"])?;
    for name in ["agent.pem", "wss.pem"] {
        write_all_in_one(&stand.tls().join(name));
    }
    let product = Freeswitch::start(&stand.tls(), &stand.bin(), options);
    let target = |name| target(&stand.tls().join(name));
    let service = of_freeswitch(&stand, &product, &[target("agent.pem"), target("wss.pem")]);
    let hot = if options.version == HOT.version { "class = \"hot\"\n" } else { "" };
    stand.configure(&format!("{hot}{service}"));
    Some(Bench { product, stand })
}

fn of_freeswitch(stand: &Stand, product: &Freeswitch, targets: &[String]) -> String {
    let us = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    format!(
        "user = \"{}\"\ntarget = [{}]\nexec-prefix = {:?}\nproof-timeout = \"4 s\"\nreload = \
         [{:?}]\nendpoint = [\"sips://{}\", \"https://{}\"]",
        us.name,
        targets.join(", "),
        prefix(&stand.bin()),
        stand.hook(),
        product.sips(),
        product.wss(),
    )
}

fn target(path: &Path) -> String {
    let path = path.display();
    format!("{{ path = \"{path}\", content = \"fullchain-privkey\", mode = \"0640\" }}")
}

fn write_all_in_one(path: &Path) {
    let pair = Pair { fullchain: path.with_extension("a"), privkey: path.with_extension("b") };
    pair.write_self_signed("pbx.test");
    let parts = [&pair.fullchain, &pair.privkey].map(|p| std::fs::read_to_string(p).unwrap());
    std::fs::write(path, parts.concat()).unwrap();
    for part in [pair.fullchain, pair.privkey] {
        std::fs::remove_file(part).unwrap();
    }
    assert!(port::load_file(path).is_some());
}

fn live(options: Options) -> Option<Bench<Freeswitch>> {
    let bench = freeswitch(options)?;
    bench.stand.succeeds(&["renew"]);
    bench.stand.serve(&[bench.product.sips(), bench.product.wss()], 1);
    Some(bench)
}

#[test]
fn from_1_11_1_on_reloadcert_drops_nothing() {
    let Some(Bench { product, stand }) = live(Options { calls: 2, ..HOT }) else { return };
    let mut held = tls::Held::open(product.sips(), "pbx.test").unwrap();
    held.options().unwrap();
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&[product.sips(), product.wss()], 2);
    assert!(held.options().unwrap().starts_with("SIP/2.0 200"), "an open connection was lost");
    assert_eq!(product.calls(), 2);
    stand.row("good swap (1.11.2)", &stand.step(), stand.reloads() - 1);
}

#[test]
fn an_ok_for_a_bad_file_is_not_believed() {
    let Some(Bench { product, stand }) = live(HOT) else { return };
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    assert!(stand.clues().contains("the reload hook ran"), "{}", stand.clues());
    stand.serve(&[product.sips(), product.wss()], 1);
    let outcome = "rolled back, the old one is served";
    stand.row("file bad at the reload (1.11.2)", outcome, stand.reloads() - 1);
}

#[test]
fn before_1_11_1_the_profile_is_restarted_when_no_call_is_up() {
    let Some(Bench { product, stand }) = freeswitch(Options { calls: 2, ..COLD }) else { return };
    let old = served(product.sips());
    let daemon = stand.daemon();
    stand.wait_until("it says that it waits", || {
        stand.succeeds(&["plan"]).contains("waits: 2 calls are up")
    });
    assert_eq!((served(product.sips()), product.calls()), (old, 2), "it did not wait");
    assert_eq!(stand.reloads(), 0);
    drop(daemon);
    // By itself it counts again 5 minutes later.
    product.hang_up();
    stand.succeeds(&["deploy"]);
    stand.serve(&[product.sips(), product.wss()], 1);
    stand.row("calls up (1.10)", "waits; proved when none is up", stand.reloads());
}

#[test]
fn a_profile_that_was_just_started_is_not_restarted_yet() {
    let youth = Duration::from_secs(600);
    let Some(Bench { product, stand }) = freeswitch(Options { youth, ..COLD }) else { return };
    let old = served(product.sips());
    stand.write_config(|text| text.replace("\"4 s\"", "\"1 s\""));
    stand.pbxcert(&["renew"]);
    assert_eq!(stand.step(), "not-taken", "{}", stand.clues());
    let problem = stand.problem();
    assert!(problem.contains("exit code 75"), "{problem}");
    assert!(problem.contains("the profile internal was started a moment ago"), "{problem}");
    assert_eq!(served(product.sips()), old);
    stand.write_config(|text| text);
    product.grows_old();
    stand.succeeds(&["deploy"]);
    stand.serve(&[product.sips(), product.wss()], 1);
    stand.row("profile started < 10 s ago (1.10)", "not taken, later proved", stand.reloads());
}

#[test]
fn a_profile_that_a_bad_file_kept_from_starting_is_started_with_the_old_one() {
    let Some(Bench { product, stand }) = live(COLD) else { return };
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    stand.serve(&[product.sips(), product.wss()], 1);
    let outcome = "rolled back, the profile is up again";
    stand.row("file bad at the restart (1.10)", outcome, stand.reloads() - 1);
}

#[test]
fn a_stopped_one_is_not_started() {
    for options in [HOT, COLD] {
        let Some(Bench { mut product, stand }) = live(options) else { return };
        product.stop();
        stand.pbxcert(&["renew", "--force"]);
        assert_eq!(stand.step(), "unproved", "{}", stand.clues());
        assert!(served(product.sips()).is_err(), "it was started");
        for event in ["reload", "recover", "busy"] {
            let output = super::run_hook(&stand, event, super::NONE, &prefix(&stand.bin()));
            assert_eq!(output.status.code(), Some(75), "{event}: {output:?}");
        }
        product.start_again();
        stand.serve(&[product.sips(), product.wss()], 2);
        stand.succeeds(&["deploy"]);
        assert_eq!((stand.step().as_str(), stand.reloads()), ("proved", 3));
        stand.row(&format!("stopped ({})", options.version), "unproved; proved at its start", 0);
    }
}

#[test]
fn the_links_of_fusionpbx_stay_links_and_its_dtls_file_stays_alone() {
    let Some(mut stand) = Stand::new("fusionpbx", &["freeswitch"]) else { return };
    write_all_in_one(&stand.tls().join("all.pem"));
    for link in ["agent.pem", "tls.pem", "wss.pem"] {
        std::os::unix::fs::symlink("all.pem", stand.tls().join(link)).unwrap();
    }
    std::fs::write(stand.tls().join("dtls-srtp.pem"), "FreeSWITCH's own").unwrap();
    let product = Freeswitch::start(&stand.tls(), &stand.bin(), COLD);
    let service = of_freeswitch(&stand, &product, &[target(&stand.tls().join("all.pem"))]);
    stand.configure(&service);
    stand.succeeds(&["renew"]);
    stand.serve(&[product.sips(), product.wss()], 1);
    for link in ["agent.pem", "tls.pem", "wss.pem"] {
        let to = std::fs::read_link(stand.tls().join(link));
        assert_eq!(to.unwrap(), Path::new("all.pem"), "{link}");
    }
    let dtls = std::fs::read_to_string(stand.tls().join("dtls-srtp.pem")).unwrap();
    assert_eq!(dtls, "FreeSWITCH's own");
    stand.row("links to one file", &stand.step(), stand.reloads());
}
