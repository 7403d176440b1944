//! The CA cannot reach the PBX: manual mode, the way back, and the take-over.

use jiff::{SignedDuration, Timestamp};
use pbxcert::acme::{self, Problem, Rejection};
use pbxcert::clock::Clock as _;
use pbxcert::config::Config;
use pbxcert::daemon::{self, Start};
use pbxcert::state::Severity;
use pbxcert::state::alert::Level;
use pbxcert::state::reach::{Mode, Reach, ReachState};
use pbxcert::state::upload::UploadOutcome;
use pbxcert::store::Store;

use crate::alerts::LabNotifier;
use crate::host::{LIMIT, until};
use crate::lab::Lab;

/// What Let's Encrypt says when it cannot connect.
const DETAIL: &str = "203.0.113.10: Fetching http://pbx.test/.well-known/acme-challenge/x: Timeout \
                      during connect (likely firewall problem)";

fn refused(kind: &str) -> acme::Error {
    let problem = Problem {
        kind: Some(kind.to_owned()),
        detail: Some(DETAIL.to_owned()),
        ..Problem::default()
    };
    acme::Error::Validation(vec![Rejection { identifier: "pbx.test".parse().unwrap(), problem }])
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

impl Lab {
    fn mode(&self) -> Mode {
        self.store.certificate("pbx").unwrap().state().unwrap().mode
    }

    fn reach(&self) -> ReachState {
        self.store.certificate("pbx").unwrap().state().unwrap().reach
    }

    /// Passes as the daemon makes them, for so long; every look of the CA ends like that.
    async fn live(&self, time: SignedDuration, outcome: Option<&str>) {
        let end = self.clock.now().checked_add(time).unwrap();
        for _ in 0..2000 {
            self.ca.failures.borrow_mut().clear();
            if let Some(kind) = outcome {
                self.ca.failures.borrow_mut().push_back(refused(kind));
            }
            let wait = self.pass().await.remove("pbx").unwrap().wait;
            let now = self.clock.now();
            let day = now.checked_add(days(1)).unwrap();
            let next = wait.until.unwrap_or(day).min(day).max(now);
            if next >= end {
                self.ca.failures.borrow_mut().clear();
                return self.clock.forward(end.duration_since(now));
            }
            let least = SignedDuration::from_secs(1);
            self.clock.forward(next.duration_since(now).max(least));
        }
        panic!("two thousand passes");
    }

    /// A daemon runs until so many changes of the mode were told.
    async fn until_told_of_mode(&self, mail: &LabNotifier, times: usize) {
        let path = self.dir.path().join("pbxcert.toml");
        let start = Start { config: self.config.clone(), warnings: Vec::new(), degraded: None };
        let world = self.world.clone();
        let build = move |_: &Config, _: &Store| world.clone();
        let told = || mail.words().iter().filter(|word| *word == "mode").count();
        tokio::select! {
            ended = daemon::run_in(start, path, &build) => panic!("the daemon ended: {ended:?}"),
            () = until("it is told", LIMIT, async || (told() == times).then_some(())) => {}
        }
    }

    fn not_after(&self) -> Timestamp {
        self.newest().unwrap().leaf.validity.not_after
    }

    fn events(&self, what: &str) -> Vec<String> {
        let events = self.store.history().unwrap().into_iter();
        events.filter(|e| e.what == what).map(|e| e.text).collect()
    }
}

#[tokio::test]
async fn from_reachable_to_manual_and_back_to_the_ca() {
    // Changes of trust have tests of their own.
    let certificate = "trust-anchor = \"DIR/ca.pem\"\non-trust-change = \"go\"";
    let mut lab = Lab::with(certificate, "").await;
    let mail = LabNotifier::new("e-mail to noc@voip.test", false);
    lab.world.notifiers = vec![mail.clone()];

    // The first certificate: reachable.
    lab.pass().await;
    assert_eq!((lab.reach().verdict, lab.mode()), (Reach::Reachable, Mode::Automatic));
    let first = lab.not_after();

    // Somebody closes port 80. At the renewal the CA cannot connect; a day later it is believed.
    lab.live(days(58), None).await;
    lab.live(days(4), Some("connection")).await;
    let Mode::Manual { since, reason } = lab.mode() else { panic!("{:?}", lab.mode()) };
    assert_eq!(
        reason,
        format!("the CA at localhost:1 cannot open http://pbx.test/ from outside (\"{DETAIL}\")")
    );
    assert_eq!(lab.reach().since, Some(since));
    assert_eq!(lab.events("mode"), [format!("manual from now on: {reason}")]);
    let pass = lab.pass().await.remove("pbx").unwrap();
    let finding = pass.findings.iter().find(|f| f.text.contains("manual mode")).unwrap();
    assert_eq!(finding.severity, Severity::Warning);
    let ways = finding.ways.join("\n");
    assert!(ways.contains("pbxcert preflight pbx") && ways.contains("pbxcert csr pbx"), "{ways}");
    lab.until_told_of_mode(&mail, 1).await;
    let manual = mail.taken.borrow()[0].clone();
    let subject = &manual.subject;
    assert!(
        subject.starts_with("WARNING ") && subject.contains("uploads needed now: pbx.test"),
        "{subject}"
    );
    assert!(manual.body.contains("cannot open http://pbx.test/ from outside (timeout)"));
    assert!(manual.body.contains("Timeout during connect (likely firewall problem)\""));
    let [request] = &manual.attachments[..] else { panic!("{manual:?}") };
    assert_eq!(request.name, "pbx.csr");
    assert!(request.text.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request:?}");

    // Nothing is ordered in the ordinary course; the CA is tried once a day.
    let (orders, probes) = (lab.events("ordered").len(), lab.events("probed").len());
    lab.live(days(10), Some("connection")).await;
    assert_eq!(lab.events("ordered").len(), orders);
    let tries = lab.events("probed").len() - probes;
    assert!((9..=11).contains(&tries), "{tries} tries in ten days");
    assert!(lab.events("probed").last().unwrap().contains("Timeout during connect"));

    // The answer to that request, good for 90 days: it is deployed like any other, and serves on.
    let store = lab.store.certificate("pbx").unwrap();
    let key = store.waiting_keys().unwrap().remove(0);
    let bundle = lab.ca.answer(&request.text, key, lab.clock.now());
    let folder = &lab.config.certificates[0].upload.dir;
    std::fs::write(folder.join("from-the-shop.crt"), bundle.cert_pem()).unwrap();
    lab.live(days(1), Some("connection")).await;
    let upload = lab.store.upload_record("pbx").unwrap().expect("the upload was decided on");
    assert_eq!(upload.outcome, UploadOutcome::Accepted, "{}", upload.text);
    assert!(lab.not_after() > first);
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 2);
    assert!(lab.mode().is_manual());

    // Port 80 is open again: two looks that agree, and the mode is automatic; the uploaded
    // certificate stays.
    lab.live(days(2), None).await;
    assert_eq!((lab.mode(), lab.reach().verdict), (Mode::Automatic, Reach::Reachable));
    let back = lab.events("mode").pop().unwrap();
    assert_eq!(back, "automatic again: the CA at localhost:1 could validate every name");
    assert_eq!(lab.newest().unwrap().number, 2);
    lab.until_told_of_mode(&mail, 2).await;
    let automatic = mail.taken.borrow().last().unwrap().clone();
    assert!(automatic.subject.contains("renewed by itself again: pbx.test"), "{automatic:?}");
    assert_eq!((automatic.level, automatic.attachments.len()), (Level::Notice, 0));
    let pass = lab.pass().await.remove("pbx").unwrap();
    assert!(pass.findings.iter().all(|f| f.severity == Severity::Notice), "{:?}", pass.findings);

    // At 1/8 of its life the CA takes over: not before, and not much later.
    let take_over = lab.not_after().checked_sub(days(90) / 8).unwrap();
    let before = take_over.duration_since(lab.clock.now()) - SignedDuration::from_hours(1);
    lab.live(before, None).await;
    assert_eq!(lab.newest().unwrap().number, 2, "too early");
    lab.live(SignedDuration::from_hours(3), None).await;
    assert_eq!(lab.newest().unwrap().number, 3);
    assert!(lab.newest().unwrap().asked.is_some(), "from the CA");
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 3);
    assert_eq!(lab.events("mode").len(), 2, "one change there, one back");
    lab.until_told_of_mode(&mail, 2).await;
    let words = mail.words();
    let others: Vec<&String> = words.iter().filter(|word| *word != "mode").collect();
    assert_eq!(others, ["drop-accepted"], "that the upload was taken, and nothing else");
}

#[tokio::test]
async fn a_ca_that_is_down_leaves_the_mode_alone() {
    let lab = Lab::new().await;
    lab.pass().await;
    lab.live(days(58), None).await;
    let issued = lab.newest().unwrap().number;
    // The CA is down: for days nothing is found out, and nothing changes.
    for _ in 0..40 {
        lab.ca.failures.borrow_mut().push_back(acme::Error::Answer {
            deed: acme::Deed::Directory,
            reason: "maintenance".to_owned(),
        });
        lab.pass().await;
        lab.clock.forward(SignedDuration::from_hours(3));
        assert_eq!(lab.mode(), Mode::Automatic);
    }
    lab.ca.failures.borrow_mut().clear();
    lab.live(days(2), None).await;
    assert!(lab.newest().unwrap().number > issued, "renewed as ever");
    assert!(lab.events("mode").is_empty());
}

#[tokio::test]
async fn without_a_certificate_one_refusal_is_enough_and_the_tries_go_on_as_ever() {
    let lab = Lab::new().await;
    lab.ca.failures.borrow_mut().extend([refused("dns")]);
    let pass = lab.pass().await.remove("pbx").unwrap();
    assert!(lab.mode().is_manual());
    let finding = pass.findings.iter().find(|f| f.text.contains("manual mode")).unwrap();
    assert_eq!(finding.severity, Severity::Critical);
    // A minute later the ordinary back-off tries again, and manual mode is over.
    let until = pass.wait.until.unwrap().duration_since(lab.clock.now());
    assert!(until < SignedDuration::from_mins(2), "{until}");
    lab.clock.forward(until);
    lab.pass().await;
    assert!(lab.newest().is_some());
    assert_eq!((lab.mode(), lab.events("mode").len()), (Mode::Automatic, 2));
}

#[tokio::test]
async fn what_this_host_cannot_do_counts_as_much_as_it_lasts() {
    let lab = Lab::new().await;
    lab.pass().await;
    // Renewal is due on day 60, a day sooner or later.
    lab.live(days(58), None).await;
    let newest = lab.newest().unwrap().number;
    // A web server has taken port 80 since, and shows nothing of ours.
    let taken = || acme::Error::Challenge {
        identifier: "pbx.test".parse().unwrap(),
        reason: "port 80 is held by nginx (pid 812)".to_owned(),
    };
    for _ in 0..80 {
        lab.ca.failures.borrow_mut().clear();
        lab.ca.failures.borrow_mut().push_back(taken());
        lab.pass().await;
        lab.clock.forward(SignedDuration::from_hours(2));
        if lab.mode().is_manual() {
            break;
        }
    }
    let Mode::Manual { reason, .. } = lab.mode() else { panic!("{:?}", lab.reach()) };
    assert!(reason.contains("port 80 is held by nginx (pid 812)"), "{reason}");
    lab.ca.failures.borrow_mut().clear();
    lab.live(days(3), None).await;
    assert_eq!(lab.mode(), Mode::Automatic);
    assert!(lab.newest().unwrap().number > newest);
}

#[tokio::test]
async fn another_source_never_turns_manual_and_a_forced_renewal_is_tried_whatever_the_mode_is() {
    let lab = Lab::with("source = \"acme\"", "").await;
    lab.ca.failures.borrow_mut().extend([refused("connection")]);
    lab.pass().await;
    assert_eq!((lab.mode(), lab.reach().verdict), (Mode::Automatic, Reach::Unreachable));

    let lab = Lab::new().await;
    lab.pass().await;
    lab.live(days(58), None).await;
    lab.live(days(4), Some("connection")).await;
    assert!(lab.mode().is_manual());
    let store = lab.store.certificate("pbx").unwrap();
    let writer = store.try_lock(lab.clock.now()).unwrap().unwrap();
    let mut state = store.state().unwrap();
    state.forced_at = Some(lab.clock.now());
    writer.remember(&state).unwrap();
    drop(writer);
    lab.pass().await;
    assert_eq!(lab.newest().unwrap().number, 2);
    assert_eq!(lab.mode(), Mode::Automatic, "a certificate is the best proof");
}
