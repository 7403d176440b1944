//! The guards and the ready hooks, without pbxcert.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::{Kamailio, Nginx, Pair, Pebble, PebbleOptions, tls};

#[test]
fn pebble_answers_its_directory_to_those_who_trust_it() {
    let Some(pebble) = Pebble::start(&PebbleOptions::default()) else { return };
    let directory = pebble.directory_object();
    let base = pebble.directory().replace("/dir", "/");
    assert!(directory["newOrder"].as_str().unwrap().starts_with(&base), "{directory}");
    assert!(pebble.issuing_root().contains("BEGIN CERTIFICATE"));
    assert!(pebble.offers("newNonce"));
    assert!(
        tls::get(pebble.address(), "/dir", b"").is_err(),
        "somebody trusts it without a reason"
    );
}

#[test]
fn nginx_takes_another_certificate_through_its_hook() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let old = pair.write_self_signed("old.test");
    let Some(nginx) = Nginx::start(&pair) else { return };
    assert_eq!(tls::served_leaf(nginx.https(), "pbx.test").unwrap(), old);

    let new = pair.write_self_signed("new.test");
    let output = run(&nginx.hook(), "test");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(tls::served_leaf(nginx.https(), "pbx.test").unwrap(), old, "a test is no reload");

    let output = run(&nginx.hook(), "reload");
    assert!(output.status.success(), "{output:?}");
    serves(&new, || tls::served_leaf(nginx.https(), "pbx.test"));
}

#[test]
fn nginx_hook_refuses_a_key_that_does_not_fit() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let old = pair.write_self_signed("old.test");
    let Some(nginx) = Nginx::start(&pair) else { return };
    pair.write_mismatched("new.test");
    for event in ["test", "reload", "recover"] {
        let output = run(&nginx.hook(), event);
        assert_eq!(output.status.code(), Some(1), "{event}: {output:?}");
        assert!(said(&output).contains("key values mismatch"), "{event}: {output:?}");
    }
    assert_eq!(tls::served_leaf(nginx.https(), "pbx.test").unwrap(), old);
}

#[test]
fn nginx_hook_starts_nothing_that_is_stopped() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    pair.write_self_signed("old.test");
    let Some(mut nginx) = Nginx::start(&pair) else { return };
    nginx.stop();
    let output = run(&nginx.hook(), "reload");
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(said(&output).contains("nginx is not running"), "{output:?}");
    assert!(tls::served_leaf(nginx.https(), "pbx.test").is_err());

    nginx.start_again();
    assert!(tls::served_leaf(nginx.https(), "pbx.test").is_ok());
}

#[test]
fn kamailio_takes_another_certificate_through_its_hook() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let old = pair.write_self_signed("old.test");
    let Some(kamailio) = Kamailio::start(&pair) else { return };
    assert_eq!(tls::served_leaf(kamailio.sips(), "pbx.test").unwrap(), old);

    let new = pair.write_self_signed("new.test");
    let output = run(&kamailio.hook(), "reload");
    assert!(output.status.success(), "{output:?}");
    serves(&new, || tls::served_leaf(kamailio.sips(), "pbx.test"));
}

#[test]
fn kamailio_hook_sees_the_failure_that_kamcmd_does_not_tell() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let old = pair.write_self_signed("old.test");
    let Some(kamailio) = Kamailio::start(&pair) else { return };
    pair.write_mismatched("new.test");

    let kamcmd = super::program("kamcmd").unwrap();
    let told = Command::new(kamcmd).args(kamailio.arguments()).arg("tls.reload").output().unwrap();
    assert!(told.status.success(), "kamcmd's exit code has become honest: {told:?}");
    for event in ["reload", "recover"] {
        let output = run(&kamailio.hook(), event);
        assert_eq!(output.status.code(), Some(1), "{event}: {output:?}");
        assert!(said(&output).contains("error: 500"), "{event}: {output:?}");
    }
    assert_eq!(tls::served_leaf(kamailio.sips(), "pbx.test").unwrap(), old);
}

#[test]
fn kamailio_hook_starts_nothing_that_is_stopped() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    pair.write_self_signed("old.test");
    let Some(mut kamailio) = Kamailio::start(&pair) else { return };
    kamailio.stop();
    let output = run(&kamailio.hook(), "reload");
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(said(&output).contains("Kamailio is not running"), "{output:?}");
    assert!(tls::served_leaf(kamailio.sips(), "pbx.test").is_err());
}

#[test]
fn a_guard_leaves_no_process_behind() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    pair.write_self_signed("old.test");
    let Some(mut kamailio) = Kamailio::start(&pair) else { return };
    let pid = kamailio.pid().unwrap();
    let group = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    assert!(rustix::process::test_kill_process_group(group).is_ok());
    kamailio.stop();
    assert!(rustix::process::test_kill_process_group(group).is_err());
}

#[test]
fn kamailio_hook_tells_what_its_answers_mean() {
    let wedge = "error: 500 - Error while loading TLS configuration file (consult server log)";
    for (answer, code, means) in [
        ("Ok. TLS configuration reloaded.", 0, "Ok."),
        ("error: 500 - Command Executed Too Fast", 75, "limits how often"),
        (wedge, 1, "systemctl restart kamailio"),
        ("error: 500 - command tls.reload not found", 1, "refused"),
        ("", 1, "no Ok"),
    ] {
        let output = kamailio_hook_hearing(answer);
        assert_eq!(output.status.code(), Some(code), "{answer}: {output:?}");
        assert!(said(&output).contains(answer), "{output:?}");
        assert!(said(&output).contains(means), "{answer}: {output:?}");
    }
}

#[test]
fn kamailio_hook_asks_once_more_when_a_pair_is_refused() {
    let folder = super::shared_folder();
    let refusal = "error: 500 - Error while fixing TLS configuration (consult server log)";
    let output = kamailio_hook_with("Ok. TLS configuration reloaded.")
        .env("FIRST", folder.path().join("first"))
        .env("FIRST_ANSWER", refusal)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said(&output).contains(refusal), "what it said first is told, too: {output:?}");
}

/// Runs it with a `kamcmd` that answers so.
fn kamailio_hook_hearing(answer: &str) -> Output {
    kamailio_hook_with(answer).output().unwrap()
}

fn kamailio_hook_with(answer: &str) -> Command {
    // A file of ours rather than a new one: another test's fork may hold a new one open for
    // writing, and the kernel then refuses to run it ("text file busy").
    let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/fake");
    let mut hook = Command::new(super::hook("kamailio"));
    hook.env("PATH", format!("{fake}:/usr/bin:/bin"))
        .env("PBXCERT_EVENT", "reload")
        .env("ANSWER", answer);
    hook
}

/// As pbxcert runs a hook: nothing in its environment but what is said here.
fn run(hook: &[String], event: &str) -> Output {
    Command::new(&hook[0])
        .args(&hook[1..])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .env("PBXCERT_EVENT", event)
        .current_dir("/")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Reloads are asynchronous: looks until `leaf` is served.
fn serves(leaf: &[u8], look: impl Fn() -> Result<Vec<u8>, String>) {
    let begun = Instant::now();
    loop {
        let seen = look();
        if seen.as_deref() == Ok(leaf) {
            return;
        }
        let waited = begun.elapsed() > Duration::from_secs(20);
        assert!(!waited, "still another certificate: {:?}", seen.map(|_| "a leaf"));
        std::thread::sleep(Duration::from_millis(20));
    }
}
