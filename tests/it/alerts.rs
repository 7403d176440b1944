//! Alerts from the daemon to the people: channels that are dead, restarts in between, and what a
//! person says to it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use pbxcert::alert::{self, BoxFuture, Notifier};
use pbxcert::clock::Clock;
use pbxcert::config::{Config, file};
use pbxcert::daemon::{self, Start};
use pbxcert::reconcile::Pass;
use pbxcert::state::Condition;
use pbxcert::state::alert::log::AlertLog;
use pbxcert::state::alert::{Level, Message};
use pbxcert::state::check::Verdict;
use pbxcert::store::Store;

use crate::host::{Host, LIMIT, until};
use crate::lab::{Lab, Manner};
use crate::real::sink::Sink;

/// A channel that keeps what it takes.
pub struct LabNotifier {
    name: &'static str,
    least: Level,
    dead: Cell<bool>,
    pub taken: RefCell<Vec<Message>>,
    tries: Cell<u32>,
}

impl LabNotifier {
    pub fn new(name: &'static str, dead: bool) -> Rc<Self> {
        Self::for_least(name, Level::Notice, dead)
    }

    fn for_least(name: &'static str, least: Level, dead: bool) -> Rc<Self> {
        Rc::new(Self {
            name,
            least,
            dead: Cell::new(dead),
            taken: RefCell::default(),
            tries: Cell::new(0),
        })
    }

    /// Condition of each message, in order; `over CONDITION` for a recovery.
    pub fn words(&self) -> Vec<String> {
        let taken = self.taken.borrow();
        let over = |m: &Message| if m.recovered { "over " } else { "" };
        taken.iter().map(|m| format!("{}{}", over(m), m.condition)).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.taken.borrow().iter().map(|m| m.id.clone()).collect()
    }
}

impl Notifier for LabNotifier {
    fn name(&self) -> &str {
        self.name
    }

    fn least(&self) -> Level {
        self.least
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        _now: Timestamp,
    ) -> BoxFuture<'a, Result<(), alert::Error>> {
        Box::pin(async move {
            self.tries.set(self.tries.get() + 1);
            if self.dead.get() {
                return Err(alert::Error::Failed("connection refused\r\nX: y".to_owned()));
            }
            self.taken.borrow_mut().push(message.clone());
            Ok(())
        })
    }
}

/// The clock of this machine, ahead by what it was set forward: the daemon's timer is on that one.
struct AheadClock(Mutex<SignedDuration>);

impl AheadClock {
    fn forward(&self, by: SignedDuration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for AheadClock {
    fn now(&self) -> Timestamp {
        Timestamp::now().checked_add(*self.0.lock().unwrap()).unwrap()
    }
}

/// A daemon in this process, in a world whose clock is set by hand. Times are looked at when a
/// daemon starts: set it forward, then start the next one.
struct Site {
    lab: Lab,
    clock: Arc<AheadClock>,
    mail: Rc<LabNotifier>,
    hook: Rc<LabNotifier>,
}

impl Site {
    async fn new() -> Self {
        let mail = LabNotifier::new("e-mail to noc@voip.test", true);
        let hook = LabNotifier::new("webhook hooks.voip.test", false);
        let mut lab = Lab::new().await;
        lab.world.notifiers = vec![mail.clone(), hook.clone()];
        let clock = Arc::new(AheadClock(Mutex::default()));
        lab.world.clock = clock.clone();
        lab.clock.forward(Timestamp::now().duration_since(lab.clock.now()));
        Self { lab, clock, mail, hook }
    }

    /// Runs a daemon until there is an answer, then ends it as abruptly as kill -9.
    async fn run_until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let path = self.lab.dir.path().join("pbxcert.toml");
        let config = file::load(&path, file::Options::HERE).unwrap().config;
        let start = Start { config, warnings: Vec::new(), degraded: None };
        let world = self.lab.world.clone();
        let build = move |_: &Config, _: &Store| world.clone();
        let daemon = daemon::run_in(start, path, &build);
        tokio::select! {
            ended = daemon => panic!("the daemon ended: {ended:?}"),
            found = until(what, LIMIT, async || look()) => found,
        }
    }

    fn log(&self) -> AlertLog {
        self.lab.store.alert_log().unwrap()
    }

    fn waiting(&self) -> usize {
        self.lab.store.outbox().unwrap().len()
    }
}

#[tokio::test]
async fn a_dead_channel_and_a_restart_lose_nothing_and_repeat_nothing() {
    let site = Site::new().await;
    // The service breaks for good: stuck, which is told at once.
    site.lab.plant_foreign_pair(60);
    site.lab.service.manner.set(Manner::BreaksForGood);
    let (mail, hook) = (site.mail.clone(), site.hook.clone());
    site.run_until("the hook hears of it", || (!hook.words().is_empty()).then_some(())).await;
    assert_eq!(hook.words(), ["stuck"]);
    assert_eq!((mail.words().len(), site.waiting()), (0, 1), "it waits for the mail");

    // Restarted three times while the mail server is down, each time after its pause.
    for failures in 2..=3 {
        site.clock.forward(SignedDuration::from_mins(if failures == 2 { 1 } else { 5 }));
        let tried = || site.log().channels.get(mail.name)?.failures.eq(&failures).then_some(());
        site.run_until("the mail is tried again", tried).await;
    }
    let told = || (hook.words().len() > 1).then_some(());
    site.run_until("the hook hears that the mail is dead", told).await;
    assert_eq!(hook.words(), ["stuck", "channel-dead"], "once");
    let dead = hook.taken.borrow()[1].clone();
    assert!(dead.subject.ends_with("does not work: e-mail to noc@voip.test"), "{}", dead.subject);
    assert!(dead.body.contains("connection refused X: y"), "{}", dead.body);

    // It lives again: everything that waited comes, in order, and only once.
    mail.dead.set(false);
    site.clock.forward(SignedDuration::from_mins(15));
    let all = || (site.waiting() == 0 && hook.words().len() == 3).then_some(());
    site.run_until("nothing waits", all).await;
    assert_eq!(mail.words(), ["stuck"], "that it was dead is not told through itself");
    assert_eq!(hook.words(), ["stuck", "channel-dead", "over channel-dead"]);
    for channel in [&mail, &hook] {
        let ids = channel.ids();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "something came twice");
    }
    assert_eq!(site.log().channels.len(), 0);
}

#[tokio::test]
async fn what_is_too_quiet_for_every_channel_does_not_wait_for_one() {
    let mut site = Site::new().await;
    let loud = LabNotifier::for_least("pager", Level::Critical, false);
    site.lab.world.notifiers = vec![loud.clone()];
    // Rolled back is urgent: nobody here wants to hear of it, and nothing is kept for later.
    site.lab.plant_foreign_pair(60);
    site.lab.service.manner.set(Manner::Breaks);
    let open = || (site.log().open().count() == 1).then_some(());
    site.run_until("it is found", open).await;
    assert_eq!((loud.tries.get(), site.waiting()), (0, 0));
    // What is loud enough goes out.
    site.lab.service.manner.set(Manner::BreaksForGood);
    site.clock.forward(SignedDuration::from_hours(25));
    let heard = || loud.words().contains(&"stuck".to_owned()).then_some(());
    site.run_until("the pager hears of it", heard).await;
}

#[tokio::test]
async fn heartbeats_arrive_for_as_long_as_the_daemon_lives() {
    let mut site = Site::new().await;
    let sink = Sink::start("200 OK");
    let text = format!("[alerts]\nheartbeat-url = \"http://{}/ping\"\n", sink.address);
    let alerts = file::parse(std::path::Path::new("test.toml"), &text).unwrap().config.alerts;
    site.lab.world.heartbeat = alert::heartbeat(&alerts);
    site.lab.world.beat = std::time::Duration::from_millis(200);
    let beats = || (sink.asked().len() >= 3).then(|| sink.asked());
    let beats = site.run_until("three of them", beats).await;
    for beat in &beats {
        assert_eq!(beat.line, "POST /ping HTTP/1.1");
    }
    let last = sink.asked().len();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(sink.asked().len() <= last + 1, "none without a daemon");
}

#[tokio::test]
async fn what_is_told_is_told_to_be_over_also_across_a_restart() {
    let site = Site::new().await;
    site.mail.dead.set(false);
    site.lab.plant_foreign_pair(60);
    site.lab.service.manner.set(Manner::BreaksForGood);
    let mail = site.mail.clone();
    site.run_until("it is told", || (!mail.words().is_empty()).then_some(())).await;
    // Just after a restart nothing is known, and nothing is over.
    let tried = mail.tries.get();
    let at_rest = || (site.log().open().count() == 1).then_some(());
    site.run_until("it is still open", at_rest).await;
    assert_eq!(mail.tries.get(), tried);
    // A person mends it; a day later it is tried once more.
    site.lab.service.manner.set(Manner::Honest);
    site.clock.forward(SignedDuration::from_hours(25));
    let over = || mail.words().iter().any(|w| w == "over stuck").then_some(());
    site.run_until("it is over", over).await;
    assert_eq!(site.log().open().count(), 0);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_keeps_no_alert_from_its_people() {
    let site = Site::new().await;
    site.mail.dead.set(false);
    site.lab.plant_foreign_pair(60);
    site.lab.service.manner.set(Manner::BreaksForGood);
    let newer = r#"{"schema": 99}"#;
    std::fs::write(site.lab.store.root().join("node/alerts.json"), newer).unwrap();
    let mail = site.mail.clone();
    site.run_until("it is told", || (!mail.words().is_empty()).then_some(())).await;
    assert_eq!(mail.words(), ["stuck"]);
    let there = std::fs::read_to_string(site.lab.store.root().join("node/alerts.json")).unwrap();
    assert_eq!(there, newer, "a newer pbxcert's log is left alone");
}

#[tokio::test]
async fn the_heartbeat_tells_the_loudest_that_is_open() {
    let mut site = Site::new().await;
    let beats: Rc<RefCell<Vec<Verdict>>> = Rc::default();
    let kept = beats.clone();
    site.lab.world.heartbeat = Some(Rc::new(move |verdict, _| {
        kept.borrow_mut().push(verdict);
        Box::pin(async { Ok(()) })
    }));
    site.lab.plant_foreign_pair(60);
    site.lab.service.manner.set(Manner::BreaksForGood);
    let hook = site.hook.clone();
    site.run_until("it is told", || (!hook.words().is_empty()).then_some(())).await;
    assert_eq!(*beats.borrow(), [Verdict::Unknown], "at the start nobody has looked yet");
    site.clock.forward(SignedDuration::from_mins(61));
    site.run_until("another", || (beats.borrow().len() > 1).then_some(())).await;
    assert_eq!(beats.borrow()[1], Verdict::Critical, "known from before");
}

#[tokio::test]
async fn a_heartbeat_says_soon_what_was_found_and_not_that_all_is_well_for_an_hour() {
    let mut site = Site::new().await;
    let beats: Rc<RefCell<Vec<Verdict>>> = Rc::default();
    let kept = beats.clone();
    site.lab.world.heartbeat = Some(Rc::new(move |verdict, _| {
        kept.borrow_mut().push(verdict);
        Box::pin(async { Ok(()) })
    }));
    // The pause between two that say something else is never longer than this.
    site.lab.world.beat = std::time::Duration::from_millis(300);
    site.lab.plant_foreign_pair(60);
    site.lab.service.manner.set(Manner::BreaksForGood);
    let found = || beats.borrow().contains(&Verdict::Critical).then_some(());
    site.run_until("it says so", found).await;
    assert_eq!(beats.borrow()[0], Verdict::Unknown);
    assert!(!beats.borrow().contains(&Verdict::Ok), "{beats:?}");
}

#[tokio::test]
async fn a_heartbeat_that_does_not_get_out_is_tried_again_and_told_and_so_is_its_end() {
    let mut site = Site::new().await;
    let (works, tries) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let (working, tried) = (works.clone(), tries.clone());
    site.lab.world.heartbeat = Some(Rc::new(move |_, _| {
        tried.set(tried.get() + 1);
        let failed = alert::Error::Failed("hc.voip.test: no answer".to_owned());
        let outcome = if working.get() { Ok(()) } else { Err(failed) };
        Box::pin(async { outcome })
    }));
    let failures = |site: &Site| site.log().channels.get("heartbeat").map_or(0, |c| c.failures);
    for (n, minutes) in [(1, 0), (2, 1), (3, 5)] {
        site.clock.forward(SignedDuration::from_mins(minutes));
        site.run_until("it is tried", || (failures(&site) == n).then_some(())).await;
    }
    let hook = site.hook.clone();
    site.run_until("it is told", || (!hook.words().is_empty()).then_some(())).await;
    let told = hook.taken.borrow()[0].clone();
    assert_eq!((told.condition.as_str(), told.object.as_str()), ("channel-dead", "heartbeat"));
    assert!(told.body.contains("heartbeat says: \"hc.voip.test: no answer\""), "{}", told.body);
    works.set(true);
    site.clock.forward(SignedDuration::from_mins(15));
    let over = || hook.words().contains(&"over channel-dead".to_owned()).then_some(());
    site.run_until("it is over", over).await;
    assert!(!site.log().channels.contains_key("heartbeat"));
}

#[tokio::test]
async fn a_pager_for_the_worst_hears_of_its_end_and_of_no_other() {
    let mut site = Site::new().await;
    let pager = LabNotifier::for_least("pager", Level::Critical, false);
    site.lab.world.notifiers = vec![pager.clone(), site.hook.clone()];
    site.lab.plant_foreign_pair(60);
    site.lab.service.manner.set(Manner::Breaks);
    let hook = site.hook.clone();
    site.run_until("it is told", || (!hook.words().is_empty()).then_some(())).await;
    assert_eq!(hook.words(), ["rolled-back"]);
    site.lab.service.manner.set(Manner::Honest);
    site.clock.forward(SignedDuration::from_hours(25));
    let over = || hook.words().contains(&"over rolled-back".to_owned()).then_some(());
    site.run_until("it is over", over).await;
    assert_eq!((pager.words().len(), site.waiting()), (0, 0), "it heard of no beginning");
}

#[tokio::test]
async fn a_channel_that_left_the_configuration_is_forgotten() {
    let mut site = Site::new().await;
    site.lab.plant_foreign_pair(60);
    site.lab.service.manner.set(Manner::BreaksForGood);
    let failed = || site.log().channels.contains_key(site.mail.name).then_some(());
    site.run_until("the mail was tried", failed).await;
    site.lab.world.notifiers = vec![site.hook.clone()];
    site.run_until("it is forgotten", || site.log().channels.is_empty().then_some(())).await;
    assert_eq!(site.waiting(), 0);
}

#[tokio::test]
async fn a_person_acks_lists_and_removes() {
    let host = Host::live().await;
    host.pbxcert(&["alert", "list"]).await.expect(0).says("nothing is open");
    let run = host.pbxcert(&["ack", "door", "--until", "2099-01-01", "--note", "x"]).await;
    run.expect(64).says("--until");
    let next = Timestamp::now().checked_add(SignedDuration::from_hours(24 * 30)).unwrap();
    let day = next.strftime("%Y-%m-%d").to_string();
    let ack = |item: &'static str| {
        let host = &host;
        let day = day.clone();
        async move { host.pbxcert(&["ack", item, "--until", &day, "--note", "known"]).await }
    };
    ack("door").await.expect(64).says("there is no \"door\"");
    ack("pbx/no-such").await.expect(64);
    ack("pbx/expiry").await.expect(0).says("pbx/expiry: silent until ");
    for wrong in ["yesterday", "2020-01-01", ""] {
        let arguments = ["ack", "pbx", "--until", wrong, "--note", "x"];
        host.pbxcert(&arguments).await.expect(64).says("--until");
    }
    host.pbxcert(&["ack", "pbx"]).await.expect(64);
    let list = host.pbxcert(&["alert", "list", "--json"]).await.expect(0).json();
    assert_eq!(list["acks"][0]["object"], "pbx");
    assert_eq!(list["acks"][0]["condition"], "expiry");
    assert_eq!(list["acks"][0]["note"], "known");
    assert_eq!(list["unsent"].as_array().unwrap().len(), 0);
    host.pbxcert(&["alert", "list"]).await.expect(0).says("pbx/expiry: known");
    host.pbxcert(&["ack", "pbx/expiry", "--remove"]).await.expect(0).says("alerts go on");
    host.pbxcert(&["ack", "pbx/expiry", "--remove"]).await.expect(1).says("was not acked");
    ack("pbx").await.expect(0);
    let run = host.pbxcert(&["ack", "pbx/expiry", "--remove"]).await.expect(1);
    run.says("silent because everything of pbx is").says("pbxcert ack pbx --remove");
    host.pbxcert(&["ack", "pbx", "--remove"]).await.expect(0).says("alerts go on");
    assert_eq!(host.status().await["alerts"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn the_real_daemon_opens_what_status_shows() {
    let host = Host::live().await;
    let _daemon = host.start_daemon();
    let broken = format!("no-such-key = 1\n{}", host.config());
    until("it watches", LIMIT, async || host.log().contains("is watching").then_some(())).await;
    host.configure(&broken);
    let daemon = host.status().await["daemon"].clone();
    let pid = daemon["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    until("it is told", LIMIT, async || {
        let status = host.status().await;
        (status["alerts"][0]["condition"] == "config-degraded").then_some(())
    })
    .await;
    host.configure(&host.config());
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    until("it is over", LIMIT, async || {
        (host.status().await["alerts"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    let started = host.status().await["daemon"]["started-at"].clone();
    assert_eq!(started, daemon["started-at"], "reading the configuration again is no start");
    let log = host.log();
    assert!(log.contains("the configuration is broken, an older one is in use"), "{log}");
}

#[tokio::test]
async fn a_test_without_channels_says_how_to_get_one() {
    let host = Host::live().await;
    host.pbxcert(&["alert", "test"]).await.expect(78).says("no channel is configured");
    // A heartbeat alone is tried, too, and tells nobody what is wrong.
    let sink = Sink::start("200 OK");
    let beat = format!("heartbeat-url = \"http://{}/ping\"", sink.address);
    host.configure(&format!("{}\n[alerts]\n{beat}\n", host.config()));
    let run = host.pbxcert(&["alert", "test"]).await.expect(0);
    run.says("heartbeat: sent: ").says("only a heartbeat is configured");
    assert!(sink.asked()[0].body.starts_with("unknown: a test"), "{}", sink.asked()[0].body);
}

#[tokio::test]
async fn a_restart_that_ends_calls_is_announced_until_it_has_happened() {
    let calm = "class = \"restart\"\ndisruptive = \"window\"\ndeploy-window = [\"03:00-05:00\"]";
    let lab = Lab::with("min-age = \"0s\"", calm).await;
    let restart = |passes: &BTreeMap<String, Pass>| {
        let found = passes["sip"].findings.iter();
        found.filter(|f| f.condition == Condition::RestartAnnounced).cloned().collect::<Vec<_>>()
    };
    let night = async || {
        for _ in 0..24 {
            lab.clock.forward(SignedDuration::from_hours(1));
            lab.pass().await;
        }
    };
    lab.pass().await;
    night().await;
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 1);
    assert!(restart(&lab.pass().await).is_empty(), "the first one ended nobody's calls");

    let now = lab.clock.now();
    let bundle = lab.ca.bundle_for(&["pbx.test"], now, SignedDuration::from_hours(24 * 90));
    let store = lab.store.certificate("pbx").unwrap();
    let writer = store.try_lock(now).unwrap().unwrap();
    writer.commit(&bundle, None, "upload", now).unwrap();
    drop(writer);
    let passes = lab.pass().await;
    let found = restart(&passes);
    assert_eq!(found.len(), 1, "{passes:?}");
    let (by, since) = (found[0].by.unwrap(), found[0].since.unwrap());
    assert_eq!(since, now);
    assert!(by.duration_since(now) >= SignedDuration::from_hours(48), "{by}");
    let ways = found[0].ways.join("\n");
    assert!(ways.contains("pbxcert deploy sip") && ways.contains("deploy-window"), "{ways}");
    // That it waits is no alert of its own: the newer one comes in its time.
    let mut waiting = passes["pbx"].findings.iter().filter_map(|finding| finding.life);
    assert!(waiting.all(|life| life.scheduled), "{passes:?}");

    night().await;
    assert_eq!(restart(&lab.pass().await).len(), 1, "the same news");
    night().await;
    night().await;
    assert_eq!(lab.state().pairs["pbx"].promoted.as_ref().unwrap().revision, 2);
    assert!(restart(&lab.pass().await).is_empty());
}
