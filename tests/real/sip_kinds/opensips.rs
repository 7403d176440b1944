//! OpenSIPS with its certificates in files and in a database, simulated.

use std::process::Command;

use super::Bench;
use crate::real::sim::Opensips;
use crate::real::sim::command::prefix;
use crate::real::sim::opensips::From;
use crate::real::stand::{Stand, served};
use crate::real::tls;

fn opensips(in_database: bool, dialogs: u32, arguments: &[&str]) -> Option<Bench<Opensips>> {
    let sqlite = crate::real::program("sqlite3")?;
    let mut stand = Stand::new("opensips", &["opensips"])?;
    stand.pair().write_self_signed("pbx.test");
    let database = stand.folder().join("opensips.db");
    let from = if in_database {
        let read = |name| std::fs::read_to_string(stand.tls().join(name)).unwrap();
        let sql = format!(
            "CREATE TABLE tls_mgm (domain TEXT, certificate BLOB, private_key BLOB);\nINSERT INTO \
             tls_mgm VALUES ('dom', '{}', '{}');",
            read("fullchain.pem"),
            read("privkey.pem")
        );
        let made = Command::new(&sqlite).arg(&database).arg(sql).status().unwrap();
        assert!(made.success());
        From::Database(database.clone())
    } else {
        From::Files(stand.pair())
    };
    let product = Opensips::start(stand.folder(), &stand.bin(), from, dialogs);
    let fifo = product.folder().join("fifo").display().to_string();
    let replies = product.folder().display().to_string();
    let mut reload = vec![stand.hook(), fifo, replies];
    reload.extend(arguments.iter().map(|a| a.replace("DATABASE", &database.display().to_string())));
    let us = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    stand.configure(&format!(
        "{}exec-prefix = {:?}\nproof-timeout = \"3 s\"\nreload = {reload:?}\nendpoint = \
         [\"sips://{}\"]",
        super::folder(&stand.tls(), &us.name, ""),
        prefix(&stand.bin()),
        product.sips(),
    ));
    Some(Bench { product, stand })
}

const IN_DATABASE: [&str; 3] = ["dom", "sqlite3", "DATABASE"];

fn live(in_database: bool, dialogs: u32) -> Option<Bench<Opensips>> {
    let arguments = if in_database { &IN_DATABASE[..] } else { &[] };
    let bench = opensips(in_database, dialogs, arguments)?;
    bench.stand.succeeds(&["renew"]);
    bench.stand.serve(&[bench.product.sips()], 1);
    Some(bench)
}

#[test]
fn a_row_of_its_database_is_changed_and_nobody_is_dropped() {
    let Some(Bench { product, stand }) = live(true, 2) else { return };
    let mut held = tls::Held::open(product.sips(), "pbx.test").unwrap();
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&[product.sips()], 2);
    assert!(held.options().unwrap().starts_with("SIP/2.0 200"), "an open connection was lost");
    assert_eq!((product.dialogs(), product.restarts()), (2, 0));
    stand.row("good swap (database)", &stand.step(), stand.reloads() - 1);
}

#[test]
fn an_ok_for_a_bad_row_is_not_believed() {
    let Some(Bench { product, stand }) = live(true, 2) else { return };
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    assert!(stand.clues().contains("the reload hook ran"), "{}", stand.clues());
    stand.serve(&[product.sips()], 1);
    let outcome = "rolled back, the old one is served";
    stand.row("row bad at the reload (database)", outcome, stand.reloads() - 1);
}

#[test]
fn certificates_in_files_are_not_mistaken_for_a_database() {
    let Some(Bench { product, stand }) = opensips(false, 0, &IN_DATABASE[..]) else { return };
    let old = served(product.sips());
    // The row is there; OpenSIPS does not read it.
    let sql = "CREATE TABLE tls_mgm (domain TEXT, certificate BLOB, private_key BLOB);\nINSERT INTO \
               tls_mgm VALUES ('dom', '', '');";
    let made = Command::new("sqlite3").arg(stand.folder().join("opensips.db")).arg(sql).status();
    assert!(made.unwrap().success());
    stand.pbxcert(&["renew"]);
    let problem = stand.problem();
    assert!(problem.contains("DB url not set"), "{problem}\n{}", stand.clues());
    assert!(problem.contains("leave out the domain"), "{problem}");
    assert_eq!((stand.step().as_str(), served(product.sips())), ("not-taken", old));
    stand.row("files, told as a database", "not taken, told what to change", stand.reloads());
}

#[test]
fn certificates_in_files_take_a_restart() {
    let Some(Bench { product, stand }) = live(false, 0) else { return };
    assert_eq!(product.restarts(), 1);
    stand.row("first certificate (files)", &stand.step(), stand.reloads());
}

#[test]
fn calls_that_a_restart_would_end_are_counted() {
    for (in_database, calls) in [(false, "3"), (true, "0")] {
        let arguments = if in_database { &IN_DATABASE[..] } else { &[] };
        let Some(Bench { product, stand }) = opensips(in_database, 3, arguments) else { return };
        let fifo = product.folder().join("fifo").display().to_string();
        let replies = product.folder().display().to_string();
        let arguments = [&[fifo.as_str(), &replies], arguments].concat();
        let output = super::run_hook(&stand, "busy", &arguments, &prefix(&stand.bin()));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), calls, "{output:?}");
    }
}

#[test]
fn a_stopped_one_is_not_started() {
    for in_database in [false, true] {
        let Some(Bench { product, stand }) = live(in_database, 0) else { return };
        let (before, restarts) = (stand.reloads(), product.restarts());
        product.stop();
        stand.pbxcert(&["renew", "--force"]);
        assert_eq!(stand.step(), "unproved", "{}", stand.clues());
        let fifo = product.folder().join("fifo").display().to_string();
        let replies = product.folder().display().to_string();
        let database = stand.folder().join("opensips.db").display().to_string();
        let of_row = ["dom", "sqlite3", &database];
        for event in ["reload", "recover", "busy"] {
            let further = if in_database { &of_row[..] } else { &[] };
            let arguments = [&[fifo.as_str(), &replies], further].concat();
            let paths = format!("{0}/fullchain.pem {0}/privkey.pem", stand.tls().display());
            let exec = prefix(&stand.bin());
            let output = super::run_hook_with(&stand, event, &arguments, &exec, &paths);
            // With a database no reload ends a call: it need not be asked.
            let code = if in_database && event == "busy" { 0 } else { 75 };
            assert_eq!(output.status.code(), Some(code), "{event}: {output:?}");
        }
        assert!(served(product.sips()).is_err(), "it was started");
        assert_eq!(product.restarts(), restarts);
        let way = if in_database { "database" } else { "files" };
        let _ = before;
        stand.row(&format!("stopped ({way})"), "unproved, not started", 0);
    }
}
