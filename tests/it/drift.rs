//! Somebody else writes to the targets: adopted when it is better, replaced once when it is not.

use jiff::SignedDuration;
use pbxcert::state::{Condition, Origin, Step};

use crate::lab::{Lab, fingerprint_on_disk};

fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

async fn live() -> Lab {
    let lab = Lab::new().await;
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    lab
}

#[tokio::test]
async fn a_pair_from_outside_that_lasts_longer_becomes_ours_without_a_reload() {
    let lab = live().await;
    let reloads = lab.service.reloads.get();
    let foreign = lab.plant_foreign_pair(300);
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 1, "somebody may still be writing");
    lab.clock.forward(seconds(11));
    lab.pass().await;
    let newest = lab.newest().unwrap();
    assert_eq!((newest.number, &newest.origin), (2, &Origin::Outside));
    assert_eq!(newest.leaf.fingerprint, foreign.fingerprint);
    assert_eq!(lab.store.certificate("pbx").unwrap().bundle(2).unwrap().leaf(), &newest.leaf);
    let pair = lab.state().pairs["pbx"].clone();
    assert_eq!((pair.step, pair.revision), (Step::Proved, Some(2)));
    assert_eq!(lab.service.reloads.get(), reloads, "it is served already");
    assert!(lab.history().contains(&"adopted".to_owned()), "{:?}", lab.history());
    let passes = lab.pass().await;
    let told = |f: &pbxcert::state::Finding| f.condition == Condition::Drift;
    assert!(passes["sip"].findings.iter().any(told), "somebody should know");
    // And the CA takes over as from an upload: when it nears its end.
    lab.clock.forward(SignedDuration::from_hours(24 * 287));
    let passes = lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 3, "{:?}", passes["pbx"].wait);
    assert_eq!(lab.state().pairs["pbx"].revision, Some(3), "{:?}", passes["sip"].wait);
}

#[tokio::test]
async fn an_adopted_pair_that_the_service_did_not_take_is_reloaded() {
    let lab = live().await;
    let first = lab.store.certificate("pbx").unwrap().bundle(1).unwrap();
    let foreign = lab.plant_foreign_pair(300);
    lab.service.lie(&first);
    let reloads = lab.service.reloads.get();
    lab.pass().await;
    // More than the five minutes between two reloads.
    lab.clock.forward(seconds(301));
    lab.pass().await;
    assert_eq!(lab.service.reloads.get(), reloads + 1);
    let served = lab.state().seen.into_values().next().unwrap();
    assert_eq!(served.fingerprint(), Some(foreign.fingerprint));
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
}

#[tokio::test]
async fn ours_comes_back_over_an_older_one_after_a_minute_but_only_once() {
    let lab = live().await;
    let ours = lab.newest().unwrap().leaf.fingerprint;
    let old = lab.plant_foreign_pair(30);
    let files = ["fullchain.pem", "privkey.pem"].map(|name| {
        let path = lab.target(name);
        (path.clone(), std::fs::read(path).unwrap())
    });
    lab.clock.forward(seconds(300));
    lab.pass().await;
    lab.clock.forward(seconds(30));
    lab.pass().await;
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), old.fingerprint);
    lab.clock.forward(seconds(31));
    let passes = lab.pass().await;
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), ours);
    let served = lab.state().seen.into_values().next().unwrap();
    assert_eq!(served.fingerprint(), Some(ours));
    assert!(lab.history().contains(&"put-back".to_owned()), "{:?}", lab.history());
    let told = |f: &pbxcert::state::Finding| f.condition == Condition::Drift;
    assert!(passes["sip"].findings.iter().any(told));
    // The same again, by a cron job, say: whoever it is means it.
    for (path, bytes) in files {
        std::fs::write(path, bytes).unwrap();
    }
    lab.pass().await;
    lab.clock.forward(seconds(3600));
    let passes = lab.pass().await;
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), old.fingerprint);
    assert!(passes["sip"].findings.iter().any(told), "{:?}", passes["sip"].wait);
    assert_eq!(lab.newest().unwrap().number, 1);
}

#[tokio::test]
async fn a_self_signed_pair_is_not_adopted_however_long_it_lasts() {
    let lab = live().await;
    let ours = lab.newest().unwrap().leaf.fingerprint;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["pbx.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let snakeoil = params.self_signed(&key).unwrap().pem();
    std::fs::write(lab.target("fullchain.pem"), snakeoil).unwrap();
    std::fs::write(lab.target("privkey.pem"), key.serialize_pem()).unwrap();
    lab.clock.forward(seconds(300));
    lab.pass().await;
    lab.clock.forward(seconds(61));
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 1);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), ours);
}
