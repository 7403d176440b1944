//! Without a road to the CA: the placeholder, and the request that waits for its answer.

use jiff::SignedDuration;
use pbxcert::clock::Clock as _;
use pbxcert::state::{Origin, Severity, Step};

use crate::host::Host;
use crate::lab::{Lab, Manner, fingerprint_on_disk};

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

async fn manual() -> Lab {
    Lab::with("source = \"manual\"", "").await
}

#[tokio::test]
async fn a_service_that_had_nothing_gets_a_placeholder_and_the_alert_is_critical() {
    let lab = manual().await;
    let passes = lab.pass().await;
    let placeholder = lab.newest().expect("something stands in");
    assert_eq!(placeholder.origin, Origin::Placeholder);
    assert_eq!(placeholder.leaf.identifiers, ["pbx.test".parse().unwrap()].into());
    assert_eq!(placeholder.leaf.validity.lifetime().as_secs(), 30 * 86_400);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), placeholder.leaf.fingerprint);
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    let finding = &passes["pbx"].findings[0];
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.text.contains("a self-signed placeholder stands in for pbx"), "{finding:?}");
    assert_eq!(lab.ca.orders.get(), 0, "a manual certificate is never ordered");
    assert_eq!(lab.history().iter().filter(|what| *what == "placeholder").count(), 1);

    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 1, "a second pass makes no second one");
}

#[tokio::test]
async fn a_placeholder_is_renewed_with_the_same_key() {
    let lab = manual().await;
    lab.pass().await;
    lab.clock.forward(hours(24 * 19));
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 1);
    lab.clock.forward(hours(24));
    lab.pass().await;
    let newest = lab.newest().unwrap();
    assert_eq!((newest.number, &newest.origin), (2, &Origin::Placeholder));
    let store = lab.store.certificate("pbx").unwrap();
    let (one, two) = (store.bundle(1).unwrap(), store.bundle(2).unwrap());
    assert_eq!(one.key().public(), two.key().public());
    assert_ne!(one.leaf().serial, two.leaf().serial);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), newest.leaf.fingerprint);
}

#[tokio::test]
async fn a_working_certificate_of_somebody_else_stays_and_gets_no_placeholder() {
    let lab = manual().await;
    let foreign = lab.plant_foreign_pair(60);
    let passes = lab.pass().await;
    assert_eq!(lab.newest(), None);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), foreign.fingerprint);
    assert_eq!(lab.service.reloads.get(), 0);
    assert_eq!(passes["pbx"].findings[0].severity, Severity::Warning, "{passes:?}");
    // Once it has ended there is nothing to lose.
    lab.clock.forward(hours(24 * 61));
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().origin, Origin::Placeholder);
    let here = fingerprint_on_disk(&lab.target("fullchain.pem"));
    assert_eq!(here, lab.newest().unwrap().leaf.fingerprint);
}

#[tokio::test]
async fn one_that_is_only_served_is_found_before_a_placeholder_is_deployed() {
    let lab = manual().await;
    let elsewhere = lab.ca.bundle_for(&["pbx.test"], lab.clock.now(), hours(24 * 60));
    lab.service.lie(&elsewhere);
    lab.pass().await;
    lab.pass().await;
    assert_eq!(lab.service.reloads.get(), 0);
    assert!(!lab.target("fullchain.pem").exists());
}

#[tokio::test]
async fn a_certificate_that_somebody_puts_over_a_placeholder_stays() {
    let lab = manual().await;
    lab.pass().await;
    let foreign = lab.plant_foreign_pair(60);
    for days in [1, 25] {
        lab.clock.forward(hours(24 * days));
        lab.pass().await;
        assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), foreign.fingerprint);
    }
}

#[tokio::test]
async fn the_ca_is_asked_as_if_there_were_none_and_its_certificate_takes_over_at_once() {
    let mut lab = manual().await;
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().origin, Origin::Placeholder);
    lab.config.certificates[0].source = pbxcert::config::Source::Auto;
    lab.config.certificates[0].issuers = vec!["acme".to_owned()];
    lab.config.certificates[0].min_age = std::time::Duration::from_secs(86_400);
    lab.clock.forward(hours(1));
    let passes = lab.pass().await;
    let newest = lab.newest().unwrap();
    assert!(matches!(newest.origin, Origin::Authority { .. }), "{newest:?}");
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, newest.number);
    assert!(passes["pbx"].findings.is_empty(), "{passes:?}");
}

#[tokio::test]
async fn there_is_no_way_back_to_a_placeholder() {
    let mut lab = manual().await;
    lab.pass().await;
    lab.config.certificates[0].source = pbxcert::config::Source::Auto;
    lab.config.certificates[0].issuers = vec!["acme".to_owned()];
    lab.clock.forward(hours(1));
    lab.service.manner.set(Manner::Breaks);
    lab.pass().await;
    let pair = lab.state().pairs["pbx"].clone();
    assert_eq!(pair.step, Step::Stuck);
    assert!(pair.problem.unwrap().contains("is a self-signed placeholder"));
    assert_eq!(
        fingerprint_on_disk(&lab.target("fullchain.pem")),
        lab.newest().unwrap().leaf.fingerprint
    );
}

#[tokio::test]
async fn in_manual_mode_a_request_lies_ready_and_its_answer_needs_no_key() {
    let lab = manual().await;
    lab.pass().await;
    let store = lab.store.certificate("pbx").unwrap();
    let folder = lab.config.state_dir.join("shared/certificates/pbx");
    let pem = std::fs::read_to_string(folder.join("csr.pem")).expect("a request was made");
    assert_eq!(lab.history().iter().filter(|what| *what == "csr").count(), 1);
    lab.clock.forward(hours(24));
    lab.pass().await;
    assert_eq!(std::fs::read_to_string(folder.join("csr.pem")).unwrap(), pem, "one until used");

    // The shop answers; the key is found, and the certificate takes the placeholder's place.
    let key = store.waiting_keys().unwrap().remove(0);
    let bundle = lab.ca.answer(&pem, key, lab.clock.now());
    let writer = store.try_lock(lab.clock.now()).unwrap().unwrap();
    let revision = writer.commit(&bundle, None, Origin::Upload, lab.clock.now()).unwrap();
    drop(writer);
    let passes = lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, revision.number);
    assert!(passes["pbx"].findings.is_empty(), "{passes:?}");
    // Live: nothing waits any more, and none is made before the last third of its life.
    lab.pass().await;
    assert!(!folder.join("csr.key").exists() && !folder.join("csr.pem").exists());
    lab.clock.forward(hours(24 * 61));
    lab.pass().await;
    assert!(folder.join("csr.key").exists());
    assert_eq!(lab.ca.orders.get(), 0);
}

#[tokio::test]
async fn the_verb_prints_the_request_alone_and_writes_it_where_it_is_asked_to() {
    let host = Host::new().await;
    let out = host.dir.path().join("for-the-shop.csr");
    let first = host.pbxcert(&["csr", "pbx", "--out", out.to_str().unwrap()]).await.expect(0);
    assert!(first.out.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"), "{first:?}");
    assert!(first.out.ends_with("-----END CERTIFICATE REQUEST-----\n"), "{first:?}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), first.out);
    assert!(first.err.contains("give it to your web shop or company CA"), "{first:?}");
    let again = host.pbxcert(&["csr", "pbx"]).await.expect(0);
    assert_eq!(again.out, first.out);
    let other = host.pbxcert(&["csr", "pbx", "--new"]).await.expect(0);
    assert_ne!(other.out, first.out);
    let made = host.history().into_iter().filter(|event| event.what == "csr").count();
    assert_eq!(made, 2);
    host.pbxcert(&["csr", "door"]).await.expect(64).says("no certificate \"door\"");
    let openssl = std::process::Command::new("openssl")
        .args(["req", "-verify", "-noout", "-in"])
        .arg(&out)
        .output()
        .expect("openssl is installed");
    assert!(openssl.status.success(), "{openssl:?}");
}

#[tokio::test]
async fn a_placeholder_is_critical_wherever_somebody_looks() {
    let host = Host::new().await;
    let manual = host.head() + "source = \"manual\"\n";
    host.configure(&format!("{manual}{}", host.service_table(&host.reload(), "")));
    host.pbxcert(&["renew"]).await;
    let status = host.status().await;
    assert_eq!(status["certificates"][0]["state"], "placeholder, live", "{status}");
    let next = status["certificates"][0]["next"].as_str().unwrap();
    assert!(next.starts_with("a placeholder serves until "), "{next}");
    let run = host.pbxcert(&["verify"]).await.expect(2);
    assert!(run.out.contains("a self-signed placeholder, which no client trusts"), "{run:?}");
    let ahead = host.pbxcert(&["plan", "--days", "90"]).await.expect(0);
    assert!(ahead.out.contains("upload a certificate into"), "{ahead:?}");
}

#[tokio::test]
async fn a_placeholder_from_a_wrong_clock_does_not_stop_the_clock_from_being_set() {
    let lab = manual().await;
    lab.clock.forward(hours(24 * 4000));
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 1);
    lab.clock.forward(hours(-24 * 4000 + 1));
    lab.pass().await;
    let newest = lab.newest().unwrap();
    assert_eq!(newest.number, 2);
    assert!(newest.leaf.validity.contains(lab.clock.now()));
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), newest.leaf.fingerprint);
}

#[tokio::test]
async fn not_even_a_person_deploys_a_placeholder_over_what_works() {
    let lab = manual().await;
    lab.pass().await;
    let foreign = lab.plant_foreign_pair(60);
    let service = lab.store.service("sip").unwrap();
    let writer = service.try_lock(lab.clock.now()).unwrap().unwrap();
    let mut state = service.state().unwrap();
    state.pairs.get_mut("pbx").unwrap().forced = true;
    writer.remember(&state).unwrap();
    drop(writer);
    lab.pass().await;
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), foreign.fingerprint);
}
