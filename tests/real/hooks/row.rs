//! OpenSIPS: a row of the administrator's in its database, and a restart that ends it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;
use crate::real::program;
use crate::real::sim::Opensips;
use crate::real::sim::command::prefix;
use crate::real::sim::opensips::From;
use crate::real::stand::{Stand, served};

struct Bench {
    /// Ended before the folder goes that it reads.
    product: Opensips,
    database: PathBuf,
    stand: Stand,
}

/// SQL, and what it gives.
fn sql(database: &Path, text: &str) -> String {
    let output = Command::new("sqlite3").arg(database).arg(text).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn row(database: &Path) -> String {
    sql(database, "SELECT certificate, private_key FROM tls_mgm WHERE domain='dom';")
}

/// With a pair of its own: in files, at our targets; or in a row, and nothing at our targets.
fn bench(in_database: bool) -> Option<Bench> {
    program("sqlite3")?;
    let mut stand = Stand::new("opensips", &["opensips"])?;
    let database = stand.folder().join("opensips.db");
    stand.pair().write_self_signed("pbx.test");
    let from = if in_database {
        let own = stand.folder().join("own");
        std::fs::rename(stand.tls(), &own).unwrap();
        let read = |name| crate::real::text(own.join(name));
        let text = format!(
            "CREATE TABLE tls_mgm (domain TEXT, certificate BLOB, private_key BLOB);\nINSERT INTO \
             tls_mgm VALUES ('dom', '{}', '{}'), ('other', 'x', 'y');",
            read("fullchain.pem"),
            read("privkey.pem")
        );
        sql(&database, &text);
        From::Database(database.clone())
    } else {
        From::Files(stand.pair())
    };
    let product = Opensips::start(stand.folder(), &stand.bin(), from, 0);
    let reload =
        [vec![stand.hook()], arguments(&product, in_database.then_some(&database))].concat();
    let us = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    stand.configure(&format!(
        "target-dir = \"{}\"\nuser = \"{}\"\ntarget = [{{ path = \"fullchain.pem\", content = \
         \"fullchain\" }}, {{ path = \"privkey.pem\", content = \"privkey\" }}]\nexec-prefix = \
         {:?}\nproof-timeout = \"3 s\"\nreload = {reload:?}\nendpoint = [\"sips://{}\"]",
        stand.tls().display(),
        us.name,
        prefix(&stand.bin()),
        product.sips(),
    ));
    Some(Bench { product, database, stand })
}

fn arguments(product: &Opensips, database: Option<&PathBuf>) -> Vec<String> {
    let shown = |path: &Path| path.display().to_string();
    let mut arguments = vec![shown(&product.folder().join("fifo")), shown(product.folder())];
    if let Some(database) = database {
        arguments.extend(["dom".to_owned(), "sqlite3".to_owned(), shown(database)]);
    }
    arguments
}

#[test]
fn a_first_certificate_that_breaks_it_leaves_the_administrators_row_as_it_was() {
    let Some(Bench { product, database, stand }) = bench(true) else { return };
    let (own, before) = (served(product.sips()).unwrap(), row(&database));
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    assert_eq!(row(&database), before);
    assert_eq!(served(product.sips()), Ok(own), "{}", stand.clues());
    stand.row(
        "own row, bad at the first reload (database)",
        "rolled back, own row",
        stand.reloads(),
    );
    stand.succeeds(&["deploy"]);
    stand.serve(&[product.sips()], 1);
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    stand.serve(&[product.sips()], 1);
    let other = sql(&database, "SELECT certificate FROM tls_mgm WHERE domain='other';");
    assert_eq!(other.trim(), "x", "another row was touched");
}

#[test]
fn the_command_in_the_message_brings_the_administrators_row_back() {
    let Some(Bench { product, database, stand }) = bench(true) else { return };
    let (own, before) = (served(product.sips()).unwrap(), row(&database));
    stand.trip_with_bad_pair("reload");
    stand.trip("recover", "exit 1\n");
    stand.fails(1, &["renew"]);
    assert_eq!(stand.step(), "stuck", "{}", stand.clues());
    stand.untrip("recover");
    let output = stand.run_as_told(&stand.problem());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(row(&database), before);
    assert_eq!(served(product.sips()), Ok(own), "{}", stand.clues());
}

#[test]
fn files_that_are_not_there_empty_no_row() {
    let Some(Bench { product, database, stand }) = bench(true) else { return };
    let before = row(&database);
    let arguments = arguments(&product, Some(&database));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let exec = prefix(&stand.bin()).join(" ");
    let gone = format!("{0}/fullchain.pem {0}/privkey.pem", stand.tls().display());
    std::fs::create_dir(stand.tls()).unwrap();
    for empty in [false, true] {
        if empty {
            std::fs::write(stand.tls().join("fullchain.pem"), "").unwrap();
        }
        for event in ["reload", "recover"] {
            let variables = [("EVENT", event), ("EXEC", &exec), ("PATHS", &gone)];
            let output = run("opensips", &arguments, super::PATH, &variables);
            let said = crate::real::site::told(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("so the row of dom stays as it is"), "{said}");
            assert_eq!(row(&database), before, "{event}");
        }
    }
}

#[test]
fn what_cannot_be_kept_is_not_written_over() {
    let Some(Bench { product, database, stand }) = bench(true) else { return };
    let own = stand.folder().join("own");
    let paths = format!("{0}/fullchain.pem {0}/privkey.pem", own.display());
    let arguments = arguments(&product, Some(&database));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let exec = prefix(&stand.bin()).join(" ");
    let reload = |state: &str| {
        let variables = [
            ("EVENT", "reload"),
            ("EXEC", &*exec),
            ("PATHS", &*paths),
            ("STATE", state),
            ("FINGERPRINT", "f"),
        ];
        crate::real::site::told(&run("opensips", &arguments, super::PATH, &variables))
    };
    sql(
        &database,
        "UPDATE tls_mgm SET certificate='mine', private_key='mine, too' WHERE domain='dom';",
    );
    let said = reload("/nonexistent/folder");
    assert!(said.contains("cannot be kept"), "{said}");
    assert_eq!(row(&database), "mine|mine, too\n");
    sql(&database, "INSERT INTO tls_mgm VALUES ('dom', 'mine as well', 'z');");
    let said = reload(&stand.folder().display().to_string());
    assert!(said.contains("hold different certificates"), "{said}");
    sql(&database, "DELETE FROM tls_mgm WHERE domain='dom';");
    let said = reload(&stand.folder().display().to_string());
    assert!(said.contains("there is no row of the domain dom"), "{said}");
}

#[test]
fn one_that_our_own_restart_has_ended_is_started_with_the_old_pair() {
    let Some(Bench { product, stand, .. }) = bench(false) else { return };
    stand.succeeds(&["renew"]);
    stand.serve(&[product.sips()], 1);
    let before = stand.reloads();
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    stand.serve(&[product.sips()], 1);
    let outcome = "rolled back, started with the old one";
    stand.row("pair bad at the restart (files)", outcome, stand.reloads() - before);
}

#[test]
fn its_answer_is_for_nobody_else_to_write() {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let Some(Bench { product, stand, .. }) = bench(true) else { return };
    // A name that somebody may have guessed is taken already.
    let seen = stand.folder().join("seen");
    let text = format!(
        "#!/bin/sh\n\"$@\" || exit\ncase $1 in chown) ls -ln \"$3\" >{} ;; esac\n",
        seen.display()
    );
    let watched = stand.bin().join("watched");
    crate::real::sim::command::write_command(&watched, &text);
    let exec = format!("{} {}", prefix(&stand.bin()).join(" "), watched.display());
    let arguments = arguments(&product, None);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = run("opensips", &arguments, super::PATH, &[("EVENT", "busy"), ("EXEC", &exec)]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "{output:?}");
    let fifo = product.folder().join("fifo").metadata().unwrap();
    assert!(fifo.file_type().is_fifo());
    let seen = crate::real::text(&seen);
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("prw-------", fifo.uid().to_string().as_str()), "{seen}");
    let name = Path::new(words.last().unwrap()).file_name().unwrap().to_str().unwrap();
    assert!(!name.contains('.'), "OpenSIPS refuses such a name: {name}");
    let left = stand.folder().read_dir().unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("pbxcert_")
    });
    assert_eq!(left.count(), 0, "it is taken away");
}
