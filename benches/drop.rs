//! How long an upload takes: from the last byte written into the drop folder until Kamailio and
//! nginx both serve it, with the real daemon; and until the note about what is missing lies there.
//!
//! `tests/provision pebble kamailio nginx` first, then
//! `PBXCERT_PEBBLE=... cargo bench --bench drop`. Fails when the median is 2.5 s or more, or that of
//! the note 2 s.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, reason = "what measures ends when it cannot")]
#![allow(unreachable_pub, reason = "the guards are written for the tests")]

#[allow(unused_imports, reason = "tests that a bench leaves out")]
#[path = "../tests/real/mod.rs"]
mod real;

use std::time::{Duration, Instant};

use pbxcert::cert::Fingerprint;
use real::site::{Layout, Site};

const RUNS: usize = 7;
/// Half of it is the quiet second that tells a whole file from half of one.
const MOST: Duration = Duration::from_millis(2500);
/// Until somebody is told what is missing.
const MOST_FOR_NOTE: Duration = Duration::from_secs(2);

fn main() {
    let Some(site) = Site::start(Layout::Folder) else { return };
    site.write_config(|text| {
        text.replace("name = \"pbx\"\n", "name = \"pbx\"\nsource = \"manual\"\n")
    });
    let daemon = site.daemon();
    let drop = site.state().join("drop/pbx");
    site.wait_until("the folder is made", || drop.is_dir());
    let (mut notes, mut served) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        // Signed by itself: where nothing trusted is live, that is enough.
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["pbx.test".to_owned(), "sip.test".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040 + i32::try_from(run).unwrap(), 1, 1);
        let leaf = params.self_signed(&key).unwrap();
        let fingerprint = Fingerprint::of(leaf.der());

        std::fs::write(drop.join("new.crt"), leaf.pem()).unwrap();
        let begun = Instant::now();
        site.wait_until("the note is there", || drop.join("WAITING.txt").exists());
        notes.push(begun.elapsed());

        std::fs::write(drop.join("new.key"), key.serialize_pem()).unwrap();
        let begun = Instant::now();
        // Both were seen serving it by then.
        site.wait_until("both serve it", || site.is_noted_live(fingerprint));
        served.push(begun.elapsed());
        for service in ["nginx", "kamailio"] {
            assert_eq!(site.served(service), Ok(fingerprint), "{service}");
        }
    }
    assert_eq!(daemon.stop(), Some(0));
    println!("{RUNS} uploads, the quiet second included: minimum, median, maximum");
    let note = print("note", &mut notes);
    let median = print("served by both", &mut served);
    assert!(median < MOST, "the median {median:?} is not under {MOST:?}");
    assert!(note < MOST_FOR_NOTE, "the median {note:?} is not under {MOST_FOR_NOTE:?}");
}

fn print(what: &str, times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let median = times[times.len() / 2];
    let [first, middle, last] =
        [times[0], median, times[times.len() - 1]].map(|time| time.as_secs_f64());
    println!("{what:<16}{first:>8.2} {middle:>8.2} {last:>8.2} s");
    median
}
