//! The second table: what was dark before we came, a crash, a slow server, a full disk.

use std::io::Write as _;

use super::bench::{self, Bench};
use super::{Row, first};

/// What a bad pair of its own does to a server that is reloaded with it.
#[derive(Clone, Copy)]
pub enum OwnPair {
    /// The server ends.
    Ends,
    /// No handshake succeeds any more.
    Darkens,
    /// It goes on with what it has.
    IsRefused,
}

/// Puts a server through all of it.
pub fn whole_table(kind: &'static str, own: OwnPair, slower: &'static str) {
    let Some(mut bench) = Bench::new_on(kind, Some(256)) else { return };
    let mut row = Row { kind, cells: Vec::new() };
    dead_before(&mut bench, own, &mut row);
    crash(&bench, &mut row);
    slow(&mut bench, &mut row);
    slower_than_the_proof(&mut bench, slower, &mut row);
    full(&bench, &mut row);
    row.print();
}

/// Somebody reloads it with a key that does not fit, before our time.
fn dead_before(bench: &mut Bench, own: OwnPair, row: &mut Row) {
    let old: Vec<_> = bench.product.ports.iter().map(bench::served).collect();
    // ejabberd serves no pair that is signed by itself, and is dark from its start.
    let is_dark = |bench: &Bench| {
        let mut ports = bench.product.ports.iter().zip(&old);
        ports.any(|(port, old)| !bench::served(port).is_ok_and(|leaf| old.as_ref() == Ok(&leaf)))
    };
    // Of nginx only another type of key passes the test.
    bench.write_bad_pair(bench.kind != "nginx");
    bench.run_hook("reload");
    match own {
        OwnPair::Ends => {
            bench.wait_until("it ends", || bench.is_down());
            bench.product.guard.stop();
            bench.pbxcert(&["renew"]);
            assert_eq!(bench.step(), "unproved", "{}", bench.clues());
            bench.product.guard.start_again();
            bench.serves(1);
            bench.succeeds(&["deploy"]);
            assert_eq!(bench.step(), "proved", "{}", bench.clues());
            row.note(bench, "it had ended; proved at its start", bench.reloads());
        }
        OwnPair::Darkens => {
            bench.wait_until("it is dark", || is_dark(bench));
            first(bench);
            row.note(bench, "it was dark; proved", bench.reloads());
        }
        OwnPair::IsRefused => {
            first(bench);
            row.note(bench, "never dark; proved", bench.reloads());
        }
    }
}

/// pbxcert is killed between files and reload.
fn crash(bench: &Bench, row: &mut Row) {
    let (before, newest) = (bench.reloads(), bench.newest());
    bench.trip("reload", "kill -s KILL $PPID; exit 0\n");
    let output = bench.pbxcert(&["renew", "--force"]);
    assert_eq!(output.status.code(), None, "it was not killed");
    bench.serves(newest);
    bench.untrip("reload");
    bench.succeeds(&["renew"]);
    bench.serves(newest + 1);
    assert_eq!(bench.step(), "proved", "{}", bench.clues());
    row.note(bench, "settled; proved", bench.reloads() - before);
}

/// It does nothing for some seconds from the reload on.
fn slow(bench: &mut Bench, row: &mut Row) {
    let (before, newest) = (bench.reloads(), bench.newest());
    halt_at_the_reload(bench, 2);
    bench.succeeds(&["renew", "--force"]);
    bench.serves(newest + 1);
    assert_eq!(bench.step(), "proved", "{}", bench.clues());
    row.note(bench, "waited for; proved", bench.reloads() - before);
}

/// The same for longer than is waited: 40 s after 30 s, made shorter.
fn slower_than_the_proof(bench: &mut Bench, expected: &str, row: &mut Row) {
    let (before, newest) = (bench.reloads(), bench.newest());
    bench.configure_with_short_looks("proof-timeout = \"2 s\"");
    halt_at_the_reload(bench, 3);
    bench.pbxcert(&["renew", "--force"]);
    assert_eq!(bench.step(), expected, "{}: {}\n{}", bench.kind, bench.problem(), bench.clues());
    bench.serves(if expected == "proved" { newest + 1 } else { newest });
    let outcome = match expected {
        "proved" => "proved",
        _ => "rolled back, old is served",
    };
    row.note(bench, outcome, bench.reloads() - before);
    bench.configure("");
    bench.succeeds(&["deploy"]);
    bench.serves(newest + 1);
}

fn halt_at_the_reload(bench: &Bench, seconds: u32) {
    let groups: Vec<String> = bench.product.groups().iter().map(|g| format!("-{g}")).collect();
    let groups = groups.join(" ");
    // What ends it has to be out of the hook's process group before the hook ends, or it may end
    // with it.
    let lines = format!(
        "rm -f \"$trip\"\nsetsid sh -c ': >\"$0\"; sleep {seconds}; kill -s CONT -- {groups}' \
         \"$trip.on\" >/dev/null 2>&1 </dev/null &\nuntil [ -e \"$trip.on\" ]; do sleep 0.02; \
         done\nrm -f \"$trip.on\"\nkill -s STOP -- {groups}\n"
    );
    bench.trip("reload", &lines);
}

/// No byte can be written where the server's files lie.
fn full(bench: &Bench, row: &mut Row) {
    let (before, newest) = (bench.reloads(), bench.newest());
    let filler = bench.tls().with_file_name("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    let said = crate::real::site::told(&bench.pbxcert(&["renew", "--force"]));
    assert!(said.contains("No space left"), "{said}");
    bench.serves(newest);
    assert_eq!(bench.reloads(), before, "{}", bench.clues());
    row.note(bench, "nothing changed; proved with room again", 1);
    drop(file);
    std::fs::remove_file(filler).unwrap();
    bench.succeeds(&["deploy"]);
    bench.serves(newest + 1);
    assert_eq!(bench.reloads(), before + 1, "{}", bench.clues());
}
