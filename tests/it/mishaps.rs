//! What goes wrong half-way: crashes at the worst moment, records that cannot be written, repairs
//! after a rollback.

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pbxcert::cert::bundle::PrivateKey;
use pbxcert::config::{ServiceSpec, file};
use pbxcert::hook;
use pbxcert::reconcile::Reconciler;
use pbxcert::service::{BoxFuture, HookEvent, Reloader};
use pbxcert::state::{
    Backoff, CertState, Failure, FailureClass, Goal, OrderJournal, ServiceState, Stage, Step,
};

use crate::lab::{Lab, Manner, fingerprint_on_disk};

/// Never comes back from one kind of hook, as if the machine went down in it.
struct Fatal {
    at: HookEvent,
    times: Cell<u32>,
    otherwise: Rc<dyn Reloader>,
}

impl Reloader for Fatal {
    fn run<'a>(
        &'a self,
        service: &'a ServiceSpec,
        event: HookEvent,
        variables: &'a [(String, String)],
        limit: Duration,
    ) -> BoxFuture<'a, Option<Result<hook::Output, hook::Error>>> {
        if event != self.at {
            return self.otherwise.run(service, event, variables, limit);
        }
        self.times.set(self.times.get() + 1);
        Box::pin(std::future::pending())
    }
}

fn fatal(lab: &mut Lab, at: HookEvent) -> Rc<Fatal> {
    let otherwise: Rc<dyn Reloader> = lab.service.clone();
    let fatal = Rc::new(Fatal { at, times: Cell::new(0), otherwise });
    lab.world.reloader = fatal.clone();
    fatal
}

/// A pass that is cut off, as by kill -9.
async fn cut_off(lab: &Lab) {
    let pass = tokio::time::timeout(Duration::from_secs(5), lab.pass()).await;
    assert!(pass.is_err(), "nothing was cut off");
}

/// The next revision is in the store, and no service has it yet.
async fn renew(lab: &Lab) {
    lab.clock.forward(SignedDuration::from_hours(24 * 62));
    let reconciler =
        reconciler(lab, &Cell::new(false)).certificate(&lab.config.certificates[0]).await;
    reconciler.unwrap();
}

fn reconciler<'a>(lab: &'a Lab, stop: &'a Cell<bool>) -> Reconciler<'a> {
    Reconciler {
        world: &lab.world,
        store: &lab.store,
        config: &lab.config,
        by_hand: false,
        mend_at_once: false,
        stop,
        progress: &|_| {},
    }
}

async fn service_pass(lab: &Lab) {
    reconciler(lab, &Cell::new(false)).service(&lab.config.services[0]).await.unwrap();
}

fn change(lab: &Lab, change: impl Fn(&mut ServiceState)) {
    let writer = lab.store.service("sip").unwrap().try_lock(Timestamp::now()).unwrap().unwrap();
    let mut state = writer.state().unwrap();
    change(&mut state);
    writer.remember(&state).unwrap();
}

#[tokio::test]
async fn a_crash_before_the_recover_hook_is_made_good_after_the_restart() {
    let mut lab = Lab::new().await;
    let foreign = lab.plant_foreign_pair(60);
    lab.service.manner.set(Manner::Breaks);
    let recover = fatal(&mut lab, HookEvent::Recover);
    cut_off(&lab).await;
    assert_eq!(recover.times.get(), 1);
    assert_eq!(lab.state().pairs["pbx"].step, Step::RollingBack, "nobody has recovered it yet");
    lab.world.reloader = lab.service.clone();
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::RolledBack);
    let served = lab.state().seen.into_values().next().unwrap();
    assert_eq!(served.fingerprint(), Some(foreign.fingerprint));
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), foreign.fingerprint);
}

#[tokio::test]
async fn a_reload_that_takes_the_machine_down_is_not_repeated_for_ever() {
    let mut lab = Lab::new().await;
    lab.plant_foreign_pair(60);
    let reload = fatal(&mut lab, HookEvent::Reload);
    for _ in 0..3 {
        cut_off(&lab).await;
    }
    let pass = tokio::time::timeout(Duration::from_secs(30), lab.pass()).await;
    assert!(pass.is_ok(), "it was told to reload a fourth time");
    assert_eq!(reload.times.get(), 3, "three tries per revision and day");
    assert_eq!(lab.state().pairs["pbx"].step, Step::NotTaken);
}

#[tokio::test]
async fn a_forced_deploy_that_breaks_brings_nothing_older_back() {
    let lab = Lab::new().await;
    lab.pass().await;
    renew(&lab).await;
    service_pass(&lab).await;
    let live = lab.newest().unwrap();
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 2);
    // Somebody restarted it with other files; now it is told by hand to take ours.
    let other = lab.ca.bundle_for(
        &["pbx.test"],
        "2027-01-24T12:00:00Z".parse().unwrap(),
        SignedDuration::from_hours(900),
    );
    lab.service.lie(&other);
    lab.service.manner.set(Manner::Breaks);
    change(&lab, |state| state.pairs.get_mut("pbx").unwrap().forced = true);
    service_pass(&lab).await;
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), live.leaf.fingerprint);
    assert_eq!(lab.state().pairs["pbx"].step, Step::Stuck);
}

#[tokio::test]
async fn after_a_rollback_the_files_that_were_put_back_are_mended_not_those_that_broke_it() {
    let lab = Lab::new().await;
    lab.pass().await;
    let first = lab.newest().unwrap();
    renew(&lab).await;
    lab.service.manner.set(Manner::Breaks);
    service_pass(&lab).await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::RolledBack);
    let reloads = lab.service.reloads.get();
    std::fs::remove_file(lab.target("privkey.pem")).unwrap();
    service_pass(&lab).await;
    lab.clock.forward(SignedDuration::from_secs(11));
    service_pass(&lab).await;
    assert!(lab.target("privkey.pem").exists());
    assert_eq!(fingerprint_on_disk(&lab.target("fullchain.pem")), first.leaf.fingerprint);
    assert_eq!(lab.service.reloads.get(), reloads, "it has the right one in memory");
}

#[tokio::test]
async fn what_is_saved_is_what_lay_there_and_not_what_was_proved_last() {
    let lab = Lab::new().await;
    lab.pass().await;
    renew(&lab).await;
    lab.service.manner.set(Manner::KeepsOld);
    service_pass(&lab).await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::NotTaken);
    renew(&lab).await;
    lab.service.manner.set(Manner::Honest);
    service_pass(&lab).await;
    let saved = lab.state().pairs["pbx"].saved.clone().unwrap();
    assert_eq!((saved.revision, lab.newest().unwrap().number), (Some(2), 3));
}

#[tokio::test]
async fn a_history_that_cannot_be_written_keeps_no_broken_service_broken() {
    let lab = Lab::new().await;
    lab.pass().await;
    let first = lab.newest().unwrap();
    renew(&lab).await;
    let history = lab.store.root().join("node/history.jsonl");
    std::fs::remove_file(&history).unwrap();
    std::fs::create_dir(&history).unwrap();
    lab.service.manner.set(Manner::Breaks);
    service_pass(&lab).await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::RolledBack);
    let served = lab.state().seen.into_values().next().unwrap();
    assert_eq!(served.fingerprint(), Some(first.leaf.fingerprint));
}

#[tokio::test]
async fn an_order_whose_certificate_is_stored_already_is_over() {
    let lab = Lab::new().await;
    lab.pass().await;
    let store = lab.store.certificate("pbx").unwrap();
    let (revision, bundle) = (lab.newest().unwrap(), store.bundle(1).unwrap());
    let writer = store.try_lock(Timestamp::now()).unwrap().unwrap();
    writer
        .remember_order(&OrderJournal {
            asked: revision.asked.unwrap(),
            identifiers: lab.config.certificates[0].identifiers.clone(),
            challenges: lab.config.certificates[0].challenges.clone(),
            replaces: None,
            goal: Goal::Certificate,
            key: PrivateKey::from_pem(bundle.key().to_pem().as_bytes()).unwrap(),
            started_at: revision.committed_at,
            stage: Stage::Downloaded {
                certificate: revision.origin.to_string(),
                chain: format!("{}{}", bundle.cert_pem(), bundle.chain_pem()),
            },
        })
        .unwrap();
    let failed = CertState { over_budget: true, ..writer.state().unwrap() };
    writer.remember(&failed).unwrap();
    drop(writer);
    lab.pass().await;
    assert!(store.order().unwrap().is_none(), "it would lie there until the next renewal");
    assert!(!store.state().unwrap().over_budget, "a confirmation is for one certificate");
    assert_eq!(lab.newest().unwrap().number, 1);
}

fn pbxcert(lab: &Lab, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pbxcert"));
    command.arg("--config").arg(lab.dir.path().join("pbxcert.toml")).args(arguments);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

#[tokio::test]
async fn a_person_waits_too_when_the_ca_said_when_to_come_back() {
    let lab = Lab::new().await;
    let now = Timestamp::now();
    let writer = lab.store.certificate("pbx").unwrap().try_lock(now).unwrap().unwrap();
    let retry_at = now.checked_add(SignedDuration::from_hours(2)).unwrap();
    let last = Failure {
        at: now,
        problem: None,
        class: FailureClass::RateLimited,
        text: "too many orders".to_owned(),
        detail: None,
        retry_after: Some(retry_at),
        rehearsal: false,
    };
    let backoff = Backoff { last: Some(last), retry_at: Some(retry_at), ..Backoff::default() };
    writer.remember(&CertState { backoff, ..CertState::default() }).unwrap();
    drop(writer);
    let (code, text) = pbxcert(&lab, &["renew", "pbx"]);
    assert!(text.contains("the CA asked us to come back"), "{text}");
    assert_eq!(code, Some(75), "{text}");
}

#[tokio::test]
async fn a_broken_configuration_hides_nothing_from_status_and_is_unknown_to_monitoring() {
    let lab = Lab::new().await;
    lab.pass().await;
    file::remember_accepted(&lab.config, Timestamp::now()).unwrap();
    std::fs::write(lab.dir.path().join("pbxcert.toml"), "certficate = 1\n").unwrap();
    let (code, text) = pbxcert(&lab, &["status"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("is broken (see `pbxcert validate`)") && text.contains("live"), "{text}");
    assert_eq!(pbxcert(&lab, &["verify"]).0, Some(3));
    assert_eq!(pbxcert(&lab, &["renew"]).0, Some(78));
}
