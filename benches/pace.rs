//! How soon a new certificate is found once a real TLS port serves it: 250 ms are promised, also
//! while a look at that port hangs in the middle of its reload.
//!
//! `tests/provision nginx` first, then `cargo bench --bench pace`.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, reason = "what measures ends when it cannot")]
#![allow(unreachable_pub, reason = "the guards are written for the tests")]

#[allow(unused_imports, reason = "tests that a bench leaves out")]
#[path = "../tests/real/mod.rs"]
mod real;

use std::time::Duration;

const RUNS: usize = 11;
const PROMISED: Duration = Duration::from_millis(250);

fn main() {
    for (hanging, what) in [(false, "nothing hangs"), (true, "a look hangs")] {
        let Some(mut found) = real::pace::found_after(hanging, RUNS) else { return };
        found.sort_unstable();
        let (first, middle, last) = (found[0], found[RUNS / 2], found[RUNS - 1]);
        println!("{what:<14} minimum {first:?}, median {middle:?}, maximum {last:?}");
        assert!(middle <= PROMISED, "{PROMISED:?} are promised");
    }
}
