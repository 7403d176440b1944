//! A new certificate that phones might not trust waits for a person, but not until it is too late.

use std::process::Command;
use std::rc::Rc;

use jiff::SignedDuration;
use pbxcert::acme::Authority;
use pbxcert::policy::plan::Why;
use pbxcert::reconcile::Pass;
use pbxcert::state::{Condition, Finding, Step};

use crate::lab::{Lab, LabCa, fingerprint_on_disk};

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

/// The CA of the lab is one that phones trust, and its certificate is served.
async fn served() -> Lab {
    let lab = Lab::with("trust-anchor = \"DIR/ca.pem\"\n", "clients = [\"yealink-t4x\"]\n").await;
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    lab
}

/// From now on the CA gives certificates of another root.
fn change_root(lab: &mut Lab) {
    let other: Rc<dyn Authority> = Rc::new(LabCa::new());
    lab.world.authorities.insert("acme".to_owned(), other);
}

async fn pass(lab: &Lab) -> Pass {
    lab.pass().await.remove("sip").unwrap()
}

fn trust_change(pass: &Pass) -> Option<&Finding> {
    pass.findings.iter().find(|finding| finding.condition == Condition::TrustChange)
}

fn pbxcert(lab: &Lab, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pbxcert"));
    command.env("SUDO_USER", "eva").arg("--config").arg(lab.dir.path().join("pbxcert.toml"));
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

#[tokio::test]
async fn another_root_is_stored_waits_for_approval_and_goes_in_when_a_person_agrees() {
    let mut lab = served().await;
    let first = lab.newest().unwrap();
    change_root(&mut lab);
    lab.clock.forward(hours(24 * 62));
    let waiting = pass(&lab).await;
    assert_eq!(lab.newest().unwrap().number, 2);
    assert_eq!(lab.state().pairs["pbx"].revision, Some(1));
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), first.leaf.fingerprint);
    assert!(matches!(waiting.wait.why, Why::Approval(_)), "{:?}", waiting.wait);
    let finding = trust_change(&waiting).expect("somebody has to know");
    assert_eq!(finding.object, "pbx");
    assert!(finding.text.contains("another root of the name CN=lab CA"), "{}", finding.text);
    assert!(finding.by.is_some() && finding.ways[0].ends_with("pbxcert approve pbx"));
    // Told once, and shown all the time.
    pass(&lab).await;
    assert_eq!(lab.history().iter().filter(|what| *what == "doubted").count(), 1);
    let (_, text) = pbxcert(&lab, &["status"]);
    assert!(text.contains("revision 2 waits for `pbxcert approve pbx`"), "{text}");
    // A wish to renew is no approval.
    let (_, text) = pbxcert(&lab, &["release", "pbx"]);
    assert_eq!(lab.state().pairs["pbx"].revision, Some(1), "{text}");
    let (_, text) = pbxcert(&lab, &["approve", "pbx"]);
    let approved = lab.state().pairs["pbx"].approved.clone().unwrap_or_else(|| panic!("{text}"));
    assert_eq!((approved.revision, approved.by.as_str()), (2, "eva"));
    let done = pass(&lab).await;
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 2);
    assert_eq!((trust_change(&done), &lab.state().pairs["pbx"].doubt), (None, &None));
}

#[tokio::test]
async fn nobody_answers_and_it_goes_in_at_an_eighth_of_life_in_the_small_hours() {
    let mut lab = served().await;
    change_root(&mut lab);
    lab.clock.forward(hours(24 * 62));
    let until = pass(&lab).await.wait.until.unwrap();
    lab.clock.forward(hours(24 * 16));
    for _ in 0..48 {
        let waiting = pass(&lab).await;
        if lab.state().pairs["pbx"].revision == Some(2) {
            break;
        }
        assert!(matches!(waiting.wait.why, Why::Approval(_)), "{:?}", waiting.wait);
        lab.clock.forward(hours(1));
    }
    let promoted = lab.state().pairs["pbx"].promoted.clone().unwrap();
    assert_eq!(promoted.revision, 2);
    assert!(until <= promoted.at, "{until}");
    assert_eq!(promoted.at.to_string(), "2027-02-11T03:00:00Z", "the first window after it");
}

#[tokio::test]
async fn taking_over_from_another_tool_waits_too_and_deploy_is_an_approval() {
    let mut lab = Lab::with("trust-anchor = \"DIR/ca.pem\"\n", "").await;
    let foreign = lab.plant_foreign_pair(60);
    change_root(&mut lab);
    let waiting = pass(&lab).await;
    assert!(trust_change(&waiting).is_some(), "{:?}", waiting.wait);
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), foreign.fingerprint);
    pbxcert(&lab, &["deploy", "sip"]);
    assert_eq!(lab.state().pairs["pbx"].approved.as_ref().unwrap().revision, 1);
    pass(&lab).await;
    let ours = lab.newest().unwrap().leaf.fingerprint;
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), ours);
}

#[tokio::test]
async fn what_nobody_trusts_is_not_guarded_and_go_goes() {
    let mut lab = Lab::new().await;
    lab.plant_foreign_pair(60);
    change_root(&mut lab);
    assert!(trust_change(&pass(&lab).await).is_none());
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 1);

    let go = "trust-anchor = \"DIR/ca.pem\"\non-trust-change = \"go\"\n";
    let mut lab = Lab::with(go, "").await;
    lab.plant_foreign_pair(60);
    change_root(&mut lab);
    pass(&lab).await;
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 1);
}

#[tokio::test]
async fn what_is_held_stays_until_it_is_released() {
    let lab = served().await;
    let (code, text) = pbxcert(&lab, &["hold", "pbx"]);
    assert_eq!(code, Some(0), "{text}");
    lab.clock.forward(hours(24 * 62));
    let held = pass(&lab).await;
    assert_eq!((lab.newest().unwrap().number, lab.state().pairs["pbx"].revision), (2, Some(1)));
    assert!(matches!(held.wait.why, Why::Held(_)), "{:?}", held.wait);
    let (_, text) = pbxcert(&lab, &["status"]);
    assert!(text.contains("held by eva since") && text.contains(" until 2027-02-19"), "{text}");
    assert!(!held.findings.iter().any(|f| f.condition == Condition::Hold));
    lab.clock.forward(hours(24 * 20));
    let announced = pass(&lab).await;
    let finding = announced.findings.iter().find(|f| f.condition == Condition::Hold);
    assert!(finding.expect("a week before").text.contains("held by eva"));
    lab.clock.forward(hours(24 * 6));
    pass(&lab).await;
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 2);
}
