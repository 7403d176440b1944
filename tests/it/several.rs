//! Several certificates in one service, and services one after the other.

use jiff::SignedDuration;
use pbxcert::config::KeyFamily;
use pbxcert::policy::plan::Why;
use pbxcert::state::Step;

use crate::lab::{Lab, Manner, TARGET, fingerprint_on_disk};

fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

/// `pbx` and another certificate, in one service that serves both.
async fn two(other: &str) -> Lab {
    Lab::of(|dir, port| {
        format!(
            "{head}[[certificate]]\nname = \"tenant\"\n{other}\n\
             [[service]]\nkind = \"custom\"\nname = \"sip\"\nreload = [\"/bin/true\"]\n\
             certificate = \"*\"\ntarget-dir = {target:?}\n{TARGET}proof-timeout = \"2s\"\n\
             endpoint = [{{ url = \"tls://127.0.0.1:{port}\", certificate = \"pbx\" }}, \
             {{ url = \"tls://127.0.0.1:{port}\", certificate = \"tenant\" }}]\n",
            head = Lab::head(dir),
            target = dir.join("tls/{certificate}"),
        )
    })
    .await
}

async fn tenants() -> Lab {
    two("names = [\"tenant.test\"]\nkey = \"ecdsa-p256\"").await
}

fn on_disk(lab: &Lab, certificate: &str) -> pbxcert::cert::Fingerprint {
    fingerprint_on_disk(&lab.dir.path().join("tls").join(certificate).join("fullchain.pem"))
}

fn revision(lab: &Lab, certificate: &str, number: u64) -> pbxcert::cert::Fingerprint {
    let store = lab.store.certificate(certificate).unwrap();
    store.bundle(number).unwrap().leaf().fingerprint
}

#[tokio::test]
async fn certificates_that_are_ready_together_share_one_reload_and_each_is_proved_by_its_name() {
    let lab = tenants().await;
    lab.pass().await;
    let state = lab.state();
    for name in ["pbx", "tenant"] {
        assert_eq!(state.pairs[name].step, Step::Proved, "{name}");
        assert_eq!(on_disk(&lab, name), revision(&lab, name, 1));
    }
    assert_eq!(state.seen.len(), 2, "an endpoint for each name: {:?}", state.seen.keys());
    assert_eq!(lab.service.reloads.get(), 1);
    lab.clock.forward(days(62));
    lab.pass().await;
    assert_eq!(lab.service.reloads.get(), 2, "one more for both renewals");
    assert!(lab.state().pairs.values().all(|pair| pair.revision == Some(2)));
}

#[tokio::test]
async fn a_certificate_that_breaks_goes_back_alone() {
    let lab = tenants().await;
    lab.pass().await;
    lab.clock.forward(days(62));
    lab.service.spoils.set(Some("tenant.test"));
    lab.pass().await;
    let state = lab.state();
    assert_eq!(state.pairs["pbx"].step, Step::Proved);
    assert_eq!(on_disk(&lab, "pbx"), revision(&lab, "pbx", 2));
    assert_eq!(state.pairs["tenant"].step, Step::RolledBack);
    assert_eq!(on_disk(&lab, "tenant"), revision(&lab, "tenant", 1));
    lab.service.spoils.set(None);
    lab.clock.forward(SignedDuration::from_hours(2));
    lab.pass().await;
    assert_eq!(lab.state().pairs["tenant"].step, Step::Proved);
    assert_eq!(lab.state().pairs["tenant"].revision, Some(2));
    assert_eq!(lab.ca.orders.get(), 4, "nothing is ordered again");
}

#[tokio::test]
async fn rsa_and_ecdsa_for_one_name_are_each_asked_for() {
    let lab = two("names = [\"pbx.test\"]\nkey = \"rsa-2048\"").await;
    let asked: Vec<_> = lab.config.services[0].endpoints.iter().map(|e| e.key).collect();
    assert_eq!(asked, [Some(KeyFamily::Ecdsa), Some(KeyFamily::Rsa)]);
    lab.pass().await;
    let state = lab.state();
    let promoted = |name: &str| state.pairs[name].promoted.as_ref().map(|p| p.fingerprint).unwrap();
    assert_eq!(promoted("pbx"), revision(&lab, "pbx", 1));
    assert_eq!(promoted("tenant"), revision(&lab, "tenant", 1));
    assert_ne!(promoted("pbx"), promoted("tenant"));
    assert_eq!(lab.service.reloads.get(), 1);
}

/// `web` stands first in the configuration and comes after `sip`.
async fn one_after_the_other() -> Lab {
    Lab::of(|dir, port| {
        format!(
            "{head}[[service]]\nkind = \"custom\"\nname = \"web\"\nafter = [\"sip\"]\n\
             target-dir = {web:?}\n{TARGET}\
             [[service]]\nkind = \"custom\"\nname = \"sip\"\nreload = [\"/bin/true\"]\n\
             target-dir = {sip:?}\n{TARGET}proof-timeout = \"2s\"\n\
             endpoint = \"tls://127.0.0.1:{port}\"\n",
            head = Lab::head(dir),
            web = dir.join("tls/web"),
            sip = dir.join("tls/pbx"),
        )
    })
    .await
}

#[tokio::test]
async fn a_service_waits_for_the_one_that_it_comes_after() {
    let lab = one_after_the_other().await;
    lab.pass().await;
    assert_eq!(lab.state_of("web").pairs.get("pbx").map(|p| p.revision).unwrap_or_default(), None);
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    lab.pass().await;
    assert_eq!(lab.state_of("web").pairs["pbx"].step, Step::Unproved, "there is nobody to ask");

    lab.clock.forward(days(62));
    lab.service.manner.set(Manner::Breaks);
    lab.pass().await;
    let passes = lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::RolledBack);
    let Why::After(text) = &passes["web"].wait.why else { panic!("{:?}", passes["web"]) };
    assert!(text.starts_with("waits for sip: revision 2 of pbx is rolled back there"), "{text}");
    assert_eq!(on_disk(&lab, "web"), revision(&lab, "pbx", 1), "it is kept from the bad one");

    lab.service.manner.set(Manner::Honest);
    lab.clock.forward(SignedDuration::from_hours(2));
    lab.pass().await;
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    assert_eq!(on_disk(&lab, "web"), revision(&lab, "pbx", 2));
}

#[tokio::test]
async fn a_service_that_cannot_take_it_does_not_let_the_others_expire() {
    let lab = one_after_the_other().await;
    lab.pass().await;
    lab.pass().await;
    lab.service.manner.set(Manner::KeepsOld);
    lab.clock.forward(days(62));
    for _ in 0..26 {
        lab.clock.forward(SignedDuration::from_hours(1));
        lab.pass().await;
    }
    assert_eq!(lab.state().pairs["pbx"].step, Step::NotTaken);
    assert_eq!(on_disk(&lab, "web"), revision(&lab, "pbx", 2));
}
