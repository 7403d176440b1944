//! What one issuance costs, as whole processes, against a real Pebble on loopback with the account
//! there: wall time, processor time and memory of `pbxcert renew --force`, ECDSA P-256, one name,
//! no service.
//!
//! `tests/provision pebble` first, then `PBXCERT_PEBBLE=... cargo bench --bench issue`.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, reason = "what measures ends when it cannot")]
#![allow(unreachable_pub, reason = "the guards are written for the tests")]

#[allow(unused_imports, reason = "tests that a bench leaves out")]
#[path = "../tests/real/mod.rs"]
mod real;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};

use real::pebble::{Pebble, PebbleOptions};

const RUNS: usize = 11;

fn main() {
    let Some(pebble) = Pebble::start(&PebbleOptions::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("pbxcert.toml");
    let text = format!(
        "state-dir = {state:?}\ntime = \"unsynchronised\"\n\
         [acme]\ndirectory = {directory:?}\ntrust-anchor = {anchor:?}\n\
         contact = [\"noc@voip.test\"]\nagree-to-terms = true\n\
         [challenge.http]\nhttp-01 = {{ listen = [\"127.0.0.1:{port}\"] }}\n\
         [[certificate]]\nname = \"pbx\"\nnames = [\"pbx.test\"]\nkey = \"ecdsa-p256\"\n",
        state = folder.path().join("state"),
        directory = pebble.directory(),
        anchor = pebble.trust_anchor(),
        port = pebble.http_port(),
    );
    std::fs::write(&config, text).unwrap();
    let renew = || {
        let status = Command::new(env!("CARGO_BIN_EXE_pbxcert"))
            .args(["renew", "--force"])
            .env("PBXCERT_CONFIG", &config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "it issues");
    };
    renew();
    let (mut wall, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (begun, used) = (Instant::now(), processor_time());
        renew();
        wall.push(begun.elapsed());
        processor.push(processor_time() - used);
    }
    println!("{RUNS} issuances, account there: minimum, median, maximum");
    print("wall", wall);
    print("processor", processor);
    let kib = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    println!(
        "{:<12}{:>8.1} MiB at most, Pebble's start not counted out",
        "memory",
        kib as f64 / 1024.0
    );
}

/// User and system time of all children that have ended.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap();
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let (first, middle, last) = (times[0], times[RUNS / 2], times[RUNS - 1]);
    println!(
        "{what:<12}{:>8.1} {:>8.1} {:>8.1} ms",
        milliseconds(first),
        milliseconds(middle),
        milliseconds(last)
    );
}
