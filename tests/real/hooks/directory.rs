//! OpenLDAP: its `cn=config` named files of the administrator's before ours.

use std::path::Path;

use super::run;
use crate::real::stand::{Stand, served};
use crate::real::{Pair, Slapd, is_root, say_skipped};

struct Bench {
    /// Ended before the folder goes that it reads.
    slapd: Slapd,
    stand: Stand,
}

/// A slapd with a pair of its own in a folder of its own, and nothing at our targets.
fn bench() -> Option<Bench> {
    if !is_root() {
        say_skipped("only root gives keys to the users of servers");
        return None;
    }
    let mut stand = Stand::new("openldap", &["openldap"])?;
    let own = stand.folder().join("own");
    std::fs::create_dir(&own).unwrap();
    let pair = Pair::in_folder(&own);
    pair.write_self_signed_rsa("pbx.test");
    let slapd = Slapd::start(&pair)?;
    stand.configure(&format!(
        "target-dir = \"{}\"\nproof-timeout = \"3 s\"\nreload = {:?}\nendpoint = [\"ldaps://{}\"]",
        stand.folder().join("ours").display(),
        [stand.hook(), slapd.ldapi()],
        slapd.ldaps
    ));
    Some(Bench { slapd, stand })
}

#[test]
fn a_first_certificate_that_breaks_it_leaves_the_administrators_own_in_service() {
    let Some(Bench { slapd, stand }) = bench() else { return };
    let own = served(slapd.ldaps).unwrap();
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    assert_eq!(served(slapd.ldaps), Ok(own), "{}", stand.clues());
    stand.row(
        "own certificate elsewhere, pair bad at the reload",
        "rolled back, own one",
        stand.reloads(),
    );
    // Nothing is in the way of the next try, nor of the one after it.
    stand.succeeds(&["deploy"]);
    stand.serve(&[slapd.ldaps], 1);
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&[slapd.ldaps], 2);
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    stand.serve(&[slapd.ldaps], 2);
}

#[test]
fn the_command_in_the_message_brings_the_administrators_own_back() {
    let Some(Bench { slapd, stand }) = bench() else { return };
    let own = served(slapd.ldaps).unwrap();
    stand.trip_with_bad_pair("reload");
    stand.trip("recover", "exit 1\n");
    stand.fails(1, &["renew"]);
    assert_eq!(stand.step(), "stuck", "{}", stand.clues());
    stand.untrip("recover");
    let output = stand.run_as_told(&stand.problem());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(served(slapd.ldaps), Ok(own), "{}", stand.clues());
    stand.row("own certificate, way back fails", "stuck; the command repairs it", stand.reloads());
}

#[test]
fn files_that_slapd_cannot_see_do_not_get_into_its_configuration() {
    let Some(Bench { slapd, stand }) = bench() else { return };
    let own = served(slapd.ldaps).unwrap();
    // As in a container without that folder.
    let blind = stand.bin().join("in-there");
    let text = "#!/bin/sh\ncase \"$1 $2\" in 'test -f') exit 1 ;; esac\nexec \"$@\"\n";
    crate::real::sim::command::write_command(&blind, text);
    let paths = |folder: &Path| {
        let at = folder.display();
        format!("{at}/fullchain.pem {at}/privkey.pem")
    };
    let (exec, paths) = (blind.display().to_string(), paths(&stand.folder().join("own")));
    for event in ["reload", "recover"] {
        let variables = [("EVENT", event), ("EXEC", &exec), ("PATHS", &paths)];
        let output = run("openldap", &[&slapd.ldapi()], super::PATH, &variables);
        let said = crate::real::site::told(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("A container needs the folder under the same name"), "{said}");
    }
    assert_eq!(served(slapd.ldaps), Ok(own));
}
