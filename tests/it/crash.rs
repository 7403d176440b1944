//! kill -9, or a full disk, before every single operation on the disk: what was live stays live,
//! and the next run brings everything to its end.

use std::path::Path;

use futures_util::future::join_all;
use pbxcert::cert::Fingerprint;
use serde_json::Value;

use crate::host::{Host, Run};

/// Runs side by side; each takes every so many operation.
const LANES: u64 = 4;
/// One run of the tests takes every so many operation of a lane, each run another share of them:
/// a run of pbxcert has some 200.
const EVERY: u64 = 3;
/// The same where only operations that need space can fail.
const EVERY_FULL: u64 = 6;
/// More operations than any run has; whoever comes here does not count.
const MOST: u64 = 400;
/// SIGABRT.
const ABORTED: Option<i32> = Some(6);

/// The order under way has an URL at the CA.
fn order_has_url(host: &Host) -> bool {
    let path = host.state_dir().join("shared/certificates/pbx/order.json");
    let Ok(text) = std::fs::read(path) else { return false };
    let order: Value = serde_json::from_slice(&text).expect("the journal is whole");
    order["stage"]["url"].is_string()
}

fn fingerprint(host: &Host) -> Option<Fingerprint> {
    host.pair().map(|pair| pair.leaf().fingerprint)
}

/// Everything is as if nothing had happened.
async fn assert_healed(host: &Host, at: u64) {
    let status = host.status().await;
    let pbx = &status["certificates"][0];
    assert_eq!(pbx["state"], "live", "after operation {at}: {status}");
    let on_disk = fingerprint(host).map(|f| Value::from(f.to_string()));
    assert_eq!(Some(pbx["fingerprint"].clone()), on_disk, "after operation {at}");
    let verified = host.pbxcert(&["verify"]).await;
    verified.expect(0);
    assert_no_leftovers(host, at);
    assert_history_is_sound(host, at);
}

fn assert_no_leftovers(host: &Host, at: u64) {
    let mut found = Vec::new();
    leftovers(&host.state_dir(), &mut found);
    leftovers(&host.dir.path().join("tls"), &mut found);
    for entry in std::fs::read_dir(host.state_dir().join("node/challenge")).unwrap() {
        found.push(entry.unwrap().path().display().to_string());
    }
    let order = host.state_dir().join("shared/certificates/pbx/order.json");
    found.extend(order.exists().then(|| "order.json".to_owned()));
    let key = order.with_extension("key");
    found.extend(key.exists().then(|| "order.key".to_owned()));
    assert!(found.is_empty(), "left behind after operation {at}: {found:?}");
}

/// Files that were being written, folders that were being filled, damage that was moved aside.
fn leftovers(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let temporary = name.starts_with(".pbxcert-") || name.ends_with(".pbxcert-new");
        if temporary || name.contains(".broken-") {
            found.push(path.display().to_string());
        }
        if path.is_dir() {
            leftovers(&path, found);
        }
    }
}

/// Each revision is issued at most once, is never in service before it is issued, and what
/// happened last to the newest one is its proof.
fn assert_history_is_sound(host: &Host, at: u64) {
    let history = host.history();
    let story = || {
        let lines = history.iter().map(|e| format!("{:?} {} {}", e.revision, e.what, e.text));
        let lines: Vec<_> = lines.collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    };
    let newest = history.iter().filter_map(|e| e.revision).max().expect("something was issued");
    for revision in 1..=newest {
        let of = |what: &str| {
            let places = history.iter().enumerate();
            let places = places.filter(|(_, e)| e.revision == Some(revision) && e.what == what);
            places.map(|(place, _)| place).collect::<Vec<_>>()
        };
        let (issued, proved) = (of("issued"), of("proved"));
        assert!(issued.len() <= 1, "issued twice, operation {at}:\n{}", story());
        if let (Some(issued), Some(proved)) = (issued.first(), proved.first()) {
            assert!(issued < proved, "proved before it was issued, operation {at}:\n{}", story());
        }
    }
    let last = history.iter().rfind(|e| e.service.is_some()).expect("a service was told of");
    assert_eq!((last.revision, last.what.as_str()), (Some(newest), "proved"), "{at}: {}", story());
}

fn crash_at(n: u64) -> [(&'static str, String); 1] {
    [("PBXCERT_CRASH_AT", n.to_string())]
}

fn full_at(n: u64) -> [(&'static str, String); 1] {
    [("PBXCERT_FULL_AT", n.to_string())]
}

/// Asserts that a run was cut off, and says whether it was: otherwise it has come to its end.
fn was_cut_off(run: Run) -> bool {
    if run.signal == ABORTED {
        return true;
    }
    run.expect(0);
    false
}

#[tokio::test]
async fn a_first_issuance_survives_a_crash_before_every_operation() {
    let lanes = (1..=LANES).map(|first| async move {
        for n in share(first, EVERY) {
            let host = Host::new().await;
            if !was_cut_off(host.pbxcert_with(&["renew"], &crash_at(n)).await) {
                return n;
            }
            // Matched or absent.
            fingerprint(&host);
            let (resumable, orders) = (order_has_url(&host), host.orders());
            host.pbxcert(&["renew"]).await.expect(0);
            if resumable {
                assert_eq!(host.orders(), orders, "a second order after operation {n}");
            }
            assert!(host.orders() <= orders + 1, "operation {n}");
            assert_healed(&host, n).await;
        }
        panic!("{MOST} operations, and no end");
    });
    let ends = join_all(lanes).await;
    assert!(ends.iter().all(|n| *n > 40), "a run has more operations than that: {ends:?}");
}

#[tokio::test]
async fn a_renewal_over_a_live_pair_survives_a_crash_before_every_operation() {
    let lanes = (1..=LANES).map(|first| async move {
        let host = Host::live().await;
        for n in share(first, EVERY) {
            let old = fingerprint(&host).expect("it is live");
            let run = host.pbxcert_with(&["renew", "--force"], &crash_at(n)).await;
            if !was_cut_off(run) {
                return n;
            }
            let now = fingerprint(&host).expect("the old pair or the new one");
            let store = pbxcert::store::Store::open_read_only(&host.state_dir()).unwrap();
            let newest = store.certificate("pbx").unwrap().newest().unwrap().unwrap();
            assert!(
                now == old || now == newest.leaf.fingerprint,
                "neither the old nor the new pair after operation {n}"
            );
            let (resumable, orders) = (order_has_url(&host), host.orders());
            host.pbxcert(&["renew"]).await.expect(0);
            if resumable {
                assert_eq!(host.orders(), orders, "a second order after operation {n}");
            }
            assert!(host.orders() <= orders + 1, "operation {n}");
            assert_healed(&host, n).await;
        }
        panic!("{MOST} operations, and no end");
    });
    let ends = join_all(lanes).await;
    assert!(ends.iter().all(|n| *n > 40), "a run has more operations than that: {ends:?}");
}

#[tokio::test]
async fn a_disk_that_is_full_from_any_operation_on_leaves_the_live_pair_alone() {
    let lanes = (1..=LANES).map(|first| async move {
        let host = Host::live().await;
        for n in share(first, EVERY_FULL) {
            let old = fingerprint(&host).expect("it is live");
            let run = host.pbxcert_with(&["renew", "--force"], &full_at(n)).await;
            assert_eq!(run.signal, None, "operation {n}: {run:?}");
            if run.code == Some(0) {
                return n;
            }
            let run = run.says("No space left on device");
            assert_eq!(run.err.matches("panicked").count(), 0, "{run:?}");
            let now = fingerprint(&host).expect("the old pair or the new one");
            let orders = host.orders();
            host.pbxcert(&["renew"]).await.expect(0);
            assert!(host.orders() <= orders + 1, "operation {n}");
            if now != old {
                // It was switched already: only its proof was missing.
                assert_eq!(fingerprint(&host), Some(now), "operation {n}");
            }
            assert_healed(&host, n).await;
        }
        panic!("{MOST} operations, and no end");
    });
    let ends = join_all(lanes).await;
    assert!(ends.iter().all(|n| *n > 40), "a run has more operations than that: {ends:?}");
}

/// The operations of a lane in this run of the tests, ascending.
fn share(lane: u64, every: u64) -> impl Iterator<Item = u64> {
    let begin = u64::from(std::process::id()) % every;
    (lane + LANES * begin..MOST).step_by((LANES * every) as usize)
}
