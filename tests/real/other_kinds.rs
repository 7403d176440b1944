//! Web, mail, chat, message and directory servers, each through the pbxcert binary as its kind
//! presets it, with the same faults. Looked at with `openssl s_client`.

mod bench;
mod held;
mod products;
mod rest;

use std::io::Write as _;

use bench::Bench;
use held::Held;
use products::Product;
use rustix::process::{Pid, Signal, kill_process_group};

use super::filtered::Filtered;
use super::guard;

/// What a test of a kind found: one row of the table in README.md.
struct Row {
    kind: &'static str,
    cells: Vec<String>,
}

impl Row {
    fn note(&mut self, bench: &Bench, outcome: &str, reloads: usize) {
        assert!(reloads <= 3, "{} {outcome}: {reloads} reloads\n{}", self.kind, bench.clues());
        self.cells.push(format!("{outcome}, {reloads}"));
    }

    fn print(&self) {
        let line = format!("| {} | {} |", self.kind, self.cells.join(" | "));
        // Not eprintln!, which the test harness keeps to itself while a test passes.
        let _ = writeln!(std::io::stderr(), "table: {line}");
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&line), "README.md does not have this row:\n{line}");
    }
}

fn whole_table(kind: &'static str, bad: &'static str) {
    let Some(mut bench) = new_bench(kind) else { return };
    let mut row = Row { kind, cells: Vec::new() };
    good_swap(&bench, &mut row);
    bad_reload(&mut bench, bad, &mut row);
    stopped(&mut bench, &mut row);
    hung(&mut bench, &mut row);
    unreadable(&mut bench, &mut row);
    filtered(&mut bench, &mut row);
    mistyped(&bench, &mut row);
    row.print();
}

fn first(bench: &Bench) {
    bench.succeeds(&["renew"]);
    bench.serves(1);
    bench.succeeds(&["verify"]);
    assert_eq!(bench.reloads(), 1, "{}", bench.clues());
    for (event, code) in [("test", 0), ("busy", 1), ("start", 1), ("", 1)] {
        let output = bench.run_hook(event);
        assert_eq!(output.status.code(), Some(code), "{event}: {}", super::site::told(&output));
    }
}

fn good_swap(bench: &Bench, row: &mut Row) {
    let before = bench.reloads();
    let port = bench.product.ports.last().unwrap();
    let mut held = Held::open(port.at, port.sni, bench.product.talk);
    bench.succeeds(&["renew", "--force"]);
    bench.serves(2);
    held.is_answered().unwrap_or_else(|e| panic!("{}: {e}\n{}", bench.kind, bench.clues()));
    assert_eq!(bench.step(), "proved");
    row.note(bench, "proved, connection stays", bench.reloads() - before);
}

fn bad_reload(bench: &mut Bench, expected: &str, row: &mut Row) {
    let before = bench.reloads();
    let old = bench.newest();
    bench.configure("proof-timeout = \"3 s\"");
    bench.trip_with_bad_pair(true);
    bench.pbxcert(&["renew", "--force"]);
    let clues = bench.clues();
    assert_eq!(bench.step(), expected, "{}: {}\n{clues}", bench.kind, bench.problem());
    let outcome = match expected {
        "proved" => "refused, old stays; mended",
        _ => "rolled back, old is served",
    };
    bench.serves(if expected == "proved" { old + 1 } else { old });
    back_in_its_guard(bench);
    row.note(bench, outcome, bench.reloads() - before);
    bench.configure("");
    bench.succeeds(&["deploy"]);
    bench.serves(old + 1);
    assert_eq!(bench.step(), "proved", "{}", bench.clues());
}

/// A server that its reload has ended was started by the hook, and is nobody's child.
fn back_in_its_guard(bench: &mut Bench) {
    if bench.product.guard.is_running() {
        return;
    }
    let stop = [vec!["apache2ctl".to_owned()], bench.product.arguments.clone()].concat();
    let stop = [stop, vec!["-k".to_owned(), "stop".to_owned()]].concat();
    guard::run(&stop.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    bench.wait_until("it ends", || bench.is_down());
    bench.product.guard.stop();
    bench.product.guard.start_again();
}

fn stopped(bench: &mut Bench, row: &mut Row) {
    let before = bench.reloads();
    let newest = bench.newest();
    bench.product.guard.stop();
    bench.wait_until("it ends", || bench.is_down());
    bench.pbxcert(&["renew", "--force"]);
    assert_eq!(bench.step(), "unproved", "{}", bench.clues());
    assert_eq!(bench.reloads(), before, "a stopped server was reloaded\n{}", bench.clues());
    // A hook that is run all the same starts nothing, and says so.
    for event in ["reload", "recover"] {
        let output = bench.run_hook(event);
        let said = super::site::told(&output);
        assert_eq!(output.status.code(), Some(75), "{event}: {said}");
        assert!(said.contains("not running"), "{said}");
        assert!(bench.is_down(), "{event} started it");
    }
    bench.product.guard.start_again();
    bench.serves(newest + 1);
    bench.succeeds(&["deploy"]);
    assert_eq!(bench.step(), "proved", "{}", bench.clues());
    assert_eq!(bench.reloads(), before, "it serves it already");
    row.note(bench, "installed; proved at its start", 0);
}

fn hung(bench: &mut Bench, row: &mut Row) {
    let before = bench.reloads();
    let newest = bench.newest();
    bench.configure_with_short_looks("proof-timeout = \"2 s\"\nhook-timeout = \"2 s\"");
    let hung = Hung::new(&bench.product);
    bench.pbxcert(&["renew", "--force"]);
    assert_eq!(bench.step(), "unproved", "{}", bench.clues());
    row.note(bench, "not judged; proved when back", bench.reloads() - before);
    drop(hung);
    bench.configure("");
    bench.succeeds(&["deploy"]);
    bench.serves(newest + 1);
    assert_eq!(bench.step(), "proved", "{}", bench.clues());
    assert!(bench.reloads() - before <= 3, "{}", bench.clues());
}

/// Process groups that do nothing until this is dropped.
struct Hung(Vec<Pid>);

impl Hung {
    fn new(product: &Product) -> Self {
        let groups: Vec<Pid> = product
            .groups()
            .into_iter()
            .map(|pid| Pid::from_raw(pid.cast_signed()).unwrap())
            .collect();
        for group in &groups {
            kill_process_group(*group, Signal::STOP).unwrap();
        }
        Self(groups)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        for group in &self.0 {
            let _ = kill_process_group(*group, Signal::CONT);
        }
    }
}

/// A key that is closed to the user who reads it. Where that is root, who reads everything, another
/// is named for once.
fn unreadable(bench: &mut Bench, row: &mut Row) {
    let (newest, events) = (bench.newest(), bench.events());
    let (user, further) = match bench.product.user {
        Some(user) => (
            user,
            "target = [{ path = \"fullchain.pem\", content = \"fullchain\", mode = \"0644\" }, \
             { path = \"privkey.pem\", content = \"privkey\", mode = \"0600\" }]",
        ),
        None => ("nobody", "user = \"nobody\""),
    };
    bench.configure(further);
    let said = super::site::told(&bench.pbxcert(&["renew", "--force"]));
    bench.serves(newest);
    let sentence = format!("the new files were not installed: user {user} cannot read ");
    assert!(said.contains(&sentence), "{said}\n{}", bench.clues());
    assert_eq!(bench.events(), events, "a hook was run");
    row.note(bench, "refused untouched", 0);
    bench.configure("");
    bench.succeeds(&["deploy"]);
    bench.serves(newest + 1);
}

/// One more endpoint, whose packets nobody answers.
fn filtered(bench: &mut Bench, row: &mut Row) {
    let before = bench.reloads();
    let newest = bench.newest();
    let filtered = Filtered::new();
    bench.configure_with_endpoint(&format!("tls://{}", filtered.at));
    let said = super::site::told(&bench.pbxcert(&["renew", "--force"]));
    assert_eq!(bench.newest(), newest + 1, "{said}");
    bench.serves(newest + 1);
    assert_eq!(bench.step(), "proved", "{}: {}\n{}", bench.kind, bench.problem(), bench.clues());
    let verified = bench.json(&["verify"]);
    assert_ne!(verified["verdict"], "ok", "nobody looked there: {verified}");
    row.note(bench, "proved elsewhere", bench.reloads() - before);
    bench.configure("");
}

/// A mistake in the server's own configuration, which its own test finds.
fn mistyped(bench: &Bench, row: &mut Row) {
    let config = match bench.kind {
        "apache" => "httpd.conf",
        "dovecot" => "dovecot.conf",
        "haproxy" => "haproxy.cfg",
        "nginx" => "nginx.conf",
        "postfix" => "etc/main.cf",
        _ => {
            row.cells.push("no test of its own".to_owned());
            return;
        }
    };
    let config = bench.product.guard.folder().join(config);
    let sound = std::fs::read_to_string(&config).unwrap();
    let (newest, before) = (bench.newest(), bench.reloads());
    std::fs::write(&config, format!("{sound}\ngarbage {{\n")).unwrap();
    let said = super::site::told(&bench.pbxcert(&["renew", "--force"]));
    bench.serves(newest);
    assert!(said.contains("the service's own test refused the new files"), "{said}");
    row.note(bench, "files back", bench.reloads() - before);
    std::fs::write(&config, sound).unwrap();
    bench.succeeds(&["deploy"]);
    bench.serves(newest + 1);
}

macro_rules! kinds {
    ($($kind:ident: $bad:expr, $own:ident, $slower:expr;)*) => {
        $(#[test]
        fn $kind() {
            // Side by side: most of the time goes by in waiting.
            std::thread::scope(|scope| {
                let kind = stringify!($kind);
                scope.spawn(move || rest::whole_table(kind, rest::OwnPair::$own, $slower));
                whole_table(kind, $bad);
            });
        })*
    };
}

// What becomes of a pair that goes bad between the handshake and the reload; what a bad pair does
// that is not ours; and what becomes of a server that is slower than the proof: where the command
// for the reload waits for its answer, so do we, and of Dovecot only the master halts.
kinds! {
    apache: "rolled-back", Ends, "rolled-back";
    dovecot: "rolled-back", Darkens, "proved";
    ejabberd: "rolled-back", Darkens, "proved";
    haproxy: "proved", IsRefused, "proved";
    mosquitto: "rolled-back", Darkens, "rolled-back";
    nginx: "proved", Darkens, "rolled-back";
    openldap: "rolled-back", Darkens, "proved";
    postfix: "rolled-back", Darkens, "rolled-back";
    prosody: "rolled-back", Darkens, "rolled-back";
}

/// A server that serves our first certificate.
fn new_bench(kind: &'static str) -> Option<Bench> {
    let bench = Bench::new(kind)?;
    first(&bench);
    Some(bench)
}

/// Reloaded with a client in the middle of a request, then asked for its status.
fn says_that_an_old_worker_lingers(kind: &'static str, before: impl FnOnce(&Bench), limit: &str) {
    let Some(bench) = new_bench(kind) else { return };
    // Others of that kind may be on this machine.
    assert!(bench.line()["old-workers"].is_u64(), "{}", bench.line());
    before(&bench);
    let port = bench.product.ports.last().unwrap();
    let mut held = Held::open(port.at, port.sni, bench.product.talk);
    bench.succeeds(&["renew", "--force"]);
    bench.serves(2);
    assert!(bench.line()["old-workers"].as_u64() >= Some(1), "{}\n{}", bench.line(), bench.clues());
    let said = bench.succeeds(&["status"]);
    let sentence = "old worker process";
    assert!(said.contains(sentence) && said.contains(limit), "{said}");
    held.is_answered().unwrap();
}

#[test]
fn nginx_with_an_old_worker_says_so() {
    let limit = "worker_shutdown_timeout in nginx.conf limits that";
    says_that_an_old_worker_lingers("nginx", |_| {}, limit);
}

#[test]
fn apache_with_an_old_worker_says_so() {
    // A child that is as young as its server is told from the next by its age.
    let wait = |_: &Bench| std::thread::sleep(std::time::Duration::from_secs(1));
    says_that_an_old_worker_lingers("apache", wait, "");
}

#[test]
fn haproxy_without_its_socket_is_told_by_signal_and_says_that_an_old_worker_stays() {
    let gone = |bench: &Bench| {
        std::fs::remove_file(bench.product.guard.folder().join("admin.sock")).unwrap();
    };
    says_that_an_old_worker_lingers("haproxy", gone, "hard-stop-after in haproxy.cfg limits that");
}

#[test]
fn haproxy_over_its_socket_keeps_its_worker_and_has_the_same_after_the_next_reload() {
    let Some(bench) = new_bench("haproxy") else { return };
    let workers = || {
        let master = bench.product.guard.pid().unwrap().to_string();
        // None for a moment, while the master starts itself anew.
        guard::run(&["pgrep", "-P", &master]).unwrap_or_default()
    };
    let before = workers();
    bench.succeeds(&["renew", "--force"]);
    bench.serves(2);
    assert_eq!(workers(), before, "a worker was replaced");
    // What is on the disk is what the next one reads.
    bench.product.guard.signal(Signal::USR2);
    bench.wait_until("a new worker", || !["", &before].contains(&workers().as_str()));
    bench.serves(2);
}

#[test]
fn openldap_without_any_certificate_gets_its_first() {
    let Some(mut bench) = Bench::new("openldap") else { return };
    bench.product.guard.stop();
    let config = bench.product.guard.folder().join("conf.d/cn=config.ldif");
    let text = std::fs::read_to_string(&config).unwrap();
    let bare: Vec<&str> = text.lines().filter(|l| !l.starts_with("olcTLSCertificate")).collect();
    assert!(bare.len() < text.lines().count(), "{text}");
    std::fs::write(&config, bare.join("\n") + "\n").unwrap();
    bench.product.guard.start_again();
    let before = &bench.product.ports[0];
    assert!(bench::served(before).is_err(), "it serves one");
    first(&bench);
}

/// RSA and ECDSA certificates lie side by side in OpenSSL, and Mosquitto only ever adds.
#[test]
fn mosquitto_keeps_a_certificate_with_another_type_of_key_until_it_is_restarted() {
    let Some(mut bench) = new_bench("mosquitto") else { return };
    bench.configure("proof-timeout = \"2 s\"");
    let config = bench.config();
    let with = |key: &str| {
        let text = std::fs::read_to_string(&config).unwrap();
        let named = "names = [\"pbx.test\"]\n";
        let rest = text.split_once(named).unwrap().1.trim_start_matches("key = \"ecdsa-p256\"\n");
        let head = text.split_once(named).unwrap().0;
        std::fs::write(&config, format!("{head}{named}{key}{rest}")).unwrap();
    };
    with("key = \"ecdsa-p256\"\n");
    bench.succeeds(&["renew", "--force"]);
    bench.serves(2);
    with("");
    bench.pbxcert(&["renew", "--force"]);
    assert_eq!(bench.step(), "not-taken", "{}", bench.clues());
    bench.serves(2);
    bench.product.guard.stop();
    bench.product.guard.start_again();
    bench.serves(3);
    bench.succeeds(&["deploy"]);
    assert_eq!(bench.step(), "proved");
}

/// nginx -t takes a key of another type than the certificate's, and then no handshake succeeds.
#[test]
fn a_key_of_another_type_passes_the_test_of_nginx_and_is_rolled_back() {
    let Some(mut bench) = new_bench("nginx") else { return };
    bench.configure("proof-timeout = \"2 s\"");
    bench.trip_with_bad_pair(false);
    bench.pbxcert(&["renew", "--force"]);
    assert_eq!(bench.step(), "rolled-back", "{}", bench.clues());
    bench.serves(1);
}

#[test]
fn users_groups_and_folders_of_the_presets_are_those_of_the_packages() {
    use pbxcert::config::kind::Kind;
    use std::os::unix::fs::MetadataExt as _;

    for (word, program) in [
        ("apache", "apache2"),
        ("haproxy", "haproxy"),
        ("nginx", "nginx"),
        ("postfix", "postfix"),
        ("dovecot", "dovecot"),
        ("prosody", "prosody"),
        ("ejabberd", "ejabberdctl"),
        ("mosquitto", "mosquitto"),
        ("openldap", "slapd"),
    ] {
        if super::program(program).is_none() {
            continue;
        }
        let preset = Kind::named(word).unwrap().preset().unwrap();
        let parent = std::path::Path::new(preset.target_dir.unwrap()).parent().unwrap();
        let meta = parent.metadata().unwrap_or_else(|e| panic!("{word}: {parent:?}: {e}"));
        assert_eq!((meta.uid(), meta.mode() & 0o022), (0, 0), "{word}: {parent:?} is not root's");
        let users = preset.user.into_iter().chain(preset.files.iter().filter_map(|f| f.owner));
        for user in users {
            assert!(nix::unistd::User::from_name(user).unwrap().is_some(), "{word}: {user}");
        }
        for group in preset.files.iter().filter_map(|file| file.group) {
            let group = nix::unistd::Group::from_name(group).unwrap();
            let group = group.unwrap_or_else(|| panic!("{word}: no such group"));
            let user = nix::unistd::User::from_name(preset.user.unwrap()).unwrap().unwrap();
            let reads = user.gid == group.gid || group.mem.contains(&user.name);
            assert!(reads, "{word}: {} is not in {}", user.name, group.name);
        }
    }
}
