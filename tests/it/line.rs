//! The main line: from the CA to the service, proved by a handshake, and back when it breaks.

use std::cell::Cell;

use jiff::SignedDuration;
use pbxcert::clock::Clock as _;
use pbxcert::policy::plan::Why;
use pbxcert::policy::words::{Wanting, Word, certificate_word};
use pbxcert::state::{Condition, Step};

use crate::lab::{Lab, Manner, fingerprint_on_disk};

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

fn word(lab: &Lab) -> Word {
    let (state, newest) = (lab.state(), lab.newest().unwrap());
    let endpoints: Vec<String> = state.seen.keys().cloned().collect();
    let wanting = Wanting { service: "sip", state: &state, endpoints: &endpoints };
    certificate_word("pbx", &newest, &[wanting])
}

#[tokio::test]
async fn a_certificate_goes_from_the_ca_to_the_service_and_is_live() {
    let lab = Lab::new().await;
    lab.pass().await;
    let revision = lab.newest().unwrap();
    assert_eq!(revision.number, 1);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), revision.leaf.fingerprint);
    // Nothing was served before, so the first look judged nothing; the service takes its files
    // when it is told to, and the next look proves it.
    let state = lab.state();
    let promoted = state.pairs["pbx"].promoted.as_ref().expect("it was seen in service");
    assert_eq!(promoted.fingerprint, revision.leaf.fingerprint);
    assert_eq!(state.pairs["pbx"].step, Step::Proved);
    assert_eq!(word(&lab).word, "live");
    assert_eq!(lab.ca.orders.get(), 1);
}

#[tokio::test]
async fn a_second_pass_does_nothing() {
    let lab = Lab::new().await;
    lab.pass().await;
    let before = lab.history();
    lab.pass().await;
    assert_eq!(lab.history(), before);
    assert_eq!(lab.ca.orders.get(), 1);
    assert_eq!(lab.service.reloads.get(), 1);
}

#[tokio::test]
async fn it_is_renewed_at_two_thirds_of_its_life_and_taken_by_one_reload() {
    let lab = Lab::new().await;
    lab.pass().await;
    lab.clock.forward(hours(24 * 58));
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 1, "not due at day 58");
    lab.clock.forward(hours(24 * 4));
    lab.pass().await;
    let newest = lab.newest().unwrap();
    assert_eq!(newest.number, 2);
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 2);
    assert_eq!(lab.service.reloads.get(), 2);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), newest.leaf.fingerprint);
}

#[tokio::test]
async fn what_breaks_the_service_is_rolled_back_to_exactly_what_was_there() {
    let lab = Lab::new().await;
    let foreign = lab.plant_foreign_pair(60);
    let before = std::fs::read(lab.target("fullchain.pem")).unwrap();
    lab.service.manner.set(Manner::Breaks);
    lab.pass().await;
    assert_eq!(std::fs::read(lab.target("fullchain.pem")).unwrap(), before);
    assert_eq!(lab.state().pairs["pbx"].step, Step::RolledBack);
    let served = lab.state().seen.into_values().next().unwrap();
    assert_eq!(served.fingerprint(), Some(foreign.fingerprint));
    assert!(lab.history().iter().any(|w| w == "rolled-back"), "{:?}", lab.history());
}

#[tokio::test]
async fn another_leaf_after_the_reload_is_rolled_back_as_well() {
    let lab = Lab::new().await;
    let foreign = lab.plant_foreign_pair(60);
    lab.service.manner.set(Manner::ServesOther);
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::RolledBack);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), foreign.fingerprint);
}

#[tokio::test]
async fn a_rollback_that_does_not_help_is_stuck_and_names_the_command() {
    let lab = Lab::new().await;
    lab.plant_foreign_pair(60);
    lab.service.manner.set(Manner::BreaksForGood);
    lab.pass().await;
    let pair = lab.state().pairs["pbx"].clone();
    assert_eq!(pair.step, Step::Stuck);
    let problem = pair.problem.unwrap();
    for words in
        ["run `PBXCERT_EVENT=recover PBXCERT_CERTIFICATE=pbx ", " PBXCERT_PATHS=", " /bin/true`"]
    {
        assert!(problem.contains(words), "{problem}");
    }
    assert!(problem.contains("pbxcert deploy sip"), "{problem}");
    assert_eq!(pair.by_hand.as_deref(), problem.split('`').nth(1), "an alert has the same");
    let found = pbxcert::policy::findings::service(&lab.config.services[0], &lab.state(), None);
    let ways = found.into_iter().find(|f| f.condition == Condition::Stuck).unwrap().ways;
    assert_eq!(ways[0], format!("run: {}; then: pbxcert deploy sip", pair.by_hand.unwrap()));
}

#[tokio::test]
async fn there_is_no_way_back_to_a_certificate_that_ends_within_a_day() {
    let lab = Lab::new().await;
    lab.plant_foreign_pair(1);
    lab.service.manner.set(Manner::Breaks);
    lab.pass().await;
    let pair = lab.state().pairs["pbx"].clone();
    assert_eq!(pair.step, Step::Stuck);
    assert!(pair.problem.unwrap().contains("no way back"));
    let newest = lab.newest().unwrap();
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), newest.leaf.fingerprint);
}

#[tokio::test]
async fn a_service_that_keeps_the_old_one_is_reloaded_again_without_a_new_order() {
    let lab = Lab::new().await;
    lab.plant_foreign_pair(60);
    lab.service.manner.set(Manner::KeepsOld);
    lab.pass().await;
    let pair = lab.state().pairs["pbx"].clone();
    assert_eq!(pair.step, Step::NotTaken);
    let by_hand = pair.by_hand.unwrap();
    assert!(
        by_hand.starts_with("PBXCERT_EVENT=reload PBXCERT_CERTIFICATE=pbx PBXCERT_"),
        "{by_hand}"
    );
    assert!(by_hand.ends_with(" PBXCERT_WAS_RUNNING=1 /bin/true"), "{by_hand}");
    let newest = lab.newest().unwrap();
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), newest.leaf.fingerprint);
    for _ in 0..12 {
        lab.clock.forward(hours(1));
        lab.pass().await;
    }
    assert_eq!(lab.service.reloads.get(), 3, "three tries per revision and day");
    assert_eq!(lab.ca.orders.get(), 1);
    lab.service.manner.set(Manner::Honest);
    lab.clock.forward(hours(24));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    assert_eq!(lab.ca.orders.get(), 1);
}

#[tokio::test]
async fn a_service_that_lies_changes_the_word() {
    let lab = Lab::new().await;
    lab.pass().await;
    assert_eq!(word(&lab).word, "live");
    let other =
        lab.ca.bundle_for(&["pbx.test"], "2026-11-23T12:00:00Z".parse().unwrap(), hours(99));
    lab.service.lie(&other);
    lab.clock.forward(hours(30));
    lab.pass().await;
    let word = word(&lab);
    assert_ne!(word.word, "live");
    assert!(word.because.contains(&other.leaf().fingerprint.short()), "{word:?}");
}

#[tokio::test]
async fn a_missing_key_file_is_mended_without_a_reload() {
    let lab = Lab::new().await;
    lab.pass().await;
    std::fs::remove_file(lab.target("privkey.pem")).unwrap();
    lab.pass().await;
    lab.clock.forward(SignedDuration::from_secs(11));
    lab.pass().await;
    assert!(lab.target("privkey.pem").exists());
    assert_eq!(lab.service.reloads.get(), 1, "the service has the right one in memory");
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    assert!(lab.history().iter().any(|w| w == "mending"), "{:?}", lab.history());
}

#[tokio::test]
async fn files_of_others_in_our_folder_survive_the_swap() {
    let lab = Lab::new().await;
    lab.plant_foreign_pair(60);
    std::fs::write(lab.target("dhparam.pem"), "precious").unwrap();
    std::os::unix::fs::symlink("dhparam.pem", lab.target("link.pem")).unwrap();
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    assert_eq!(std::fs::read_to_string(lab.target("dhparam.pem")).unwrap(), "precious");
    assert_eq!(std::fs::read_to_string(lab.target("link.pem")).unwrap(), "precious");
}

#[tokio::test]
async fn a_stopped_service_gets_its_files_and_no_reload_and_is_proved_when_it_starts() {
    let lab = Lab::with("", "").await;
    let lab = lab.with_closed_port();
    lab.pass().await;
    let state = lab.state();
    assert_eq!(state.pairs["pbx"].step, Step::Unproved);
    assert_eq!(lab.service.reloads.get(), 0, "no hook of ours is run for a stopped service");
    assert!(lab.target("privkey.pem").exists());
    assert_eq!(word(&lab).word, "installed");
    let lab = lab.with_open_port();
    lab.service.take();
    lab.clock.forward(hours(2));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    assert_eq!(lab.service.reloads.get(), 0);
}

#[tokio::test]
async fn a_failing_ca_leaves_the_live_certificate_alone_and_is_asked_again_later() {
    let lab = Lab::new().await;
    lab.pass().await;
    let live = fingerprint_on_disk(&lab.target("fullchain.pem"));
    lab.clock.forward(hours(24 * 62));
    lab.ca.failures.borrow_mut().push_back(pbxcert::acme::Error::Pending {
        what: pbxcert::acme::Deed::Order,
        limit: std::time::Duration::from_secs(1),
        retry_after: None,
    });
    let passes = lab.pass().await;
    assert!(matches!(passes["pbx"].wait.why, Why::BackOff(_)), "{:?}", passes["pbx"]);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), live);
    lab.clock.forward(SignedDuration::from_mins(2));
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 2);
}

#[tokio::test]
async fn an_unreadable_file_on_the_way_is_no_reason_to_order_again() {
    let lab = Lab::new().await;
    lab.pass().await;
    // The folder of the targets becomes a file: nothing can be installed there.
    let folder = lab.dir.path().join("tls/pbx");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    for _ in 0..30 {
        lab.clock.forward(hours(1));
        lab.pass().await;
    }
    assert_eq!(lab.ca.orders.get(), 1);
    assert!(lab.state().pairs["pbx"].problem.is_some());
    std::fs::remove_file(&folder).unwrap();
    lab.clock.forward(hours(30));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
}

#[tokio::test]
async fn just_after_boot_a_clock_is_believed_when_the_ca_agrees() {
    let mut lab = Lab::new().await;
    let now = lab.clock.now();
    let booted = now - SignedDuration::from_secs(30);
    lab.world.time = std::rc::Rc::new(move |_| pbxcert::state::Time {
        trusted: false,
        floor: jiff::Timestamp::UNIX_EPOCH,
        boot_at: Some(booted),
    });
    lab.ca.date.set(Some(now + SignedDuration::from_mins(20)));
    let passes = lab.pass().await;
    assert!(matches!(passes["pbx"].wait.why, Why::Clock(_)), "{:?}", passes["pbx"]);
    assert_eq!(lab.ca.orders.get(), 0, "twenty minutes apart: somebody is wrong");
    lab.ca.date.set(Some(now + SignedDuration::from_mins(4)));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
}

#[tokio::test]
async fn a_dry_run_rehearses_and_leaves_nothing_behind() {
    let mut lab = Lab::new().await;
    let issuer = lab.config.issuers.get_mut("acme").unwrap();
    issuer.rehearsal = Some("https://localhost:2/dir".to_owned());
    let spec = &lab.config.certificates[0];
    assert!(matches!(lab.reconciler(&Cell::new(false)).try_out(spec).await, Ok(Some(Ok(())))));
    lab.ca.failures.borrow_mut().push_back(pbxcert::acme::Error::OrderLost {
        reason: "the rehearsal CA forgot it".to_owned(),
    });
    let failed = lab.reconciler(&Cell::new(false)).try_out(spec).await.unwrap();
    assert!(failed.unwrap().unwrap_err().text.contains("forgot it"));
    let store = lab.store.certificate("pbx").unwrap();
    assert!(store.order().unwrap().is_none() && store.newest().unwrap().is_none());
    assert!(store.state().unwrap().backoff.last.is_none());
    assert!(lab.history().is_empty());
}
