//! Alerts of the real daemon, from what is wrong to those who hear of it.

use std::path::PathBuf;

use jiff::SignedDuration;
use pbxcert::clock::{Clock as _, SystemClock};
use pbxcert::store::Store;
use serde_json::Value;

use crate::host::{Host, LIMIT, Manner, until};
use crate::real::process::Server;
use crate::real::sink::Sink;

/// A host with two channels: a command, which works while a file is there, and a webhook.
struct Road {
    host: Host,
    sink: Sink,
}

impl Road {
    async fn new(more: &str) -> Self {
        let road = Self { host: Host::live().await, sink: Sink::start("200 OK") };
        road.host.configure(&road.config(more));
        road
    }

    fn config(&self, more: &str) -> String {
        let (alive, taken) = (self.file("alive"), self.file("taken"));
        let script = format!(
            "test -e {} || {{ echo the pager is off; exit 7; }}; \
             echo \"$PBXCERT_ID $PBXCERT_CONDITION $PBXCERT_RECOVERED\" >> {}",
            alive.display(),
            taken.display()
        );
        format!(
            "{}\n[alerts]\n{more}\n[[alerts.command]]\nrun = [\"/bin/sh\", \"-c\", {script:?}]\n\
             [[alerts.webhook]]\nurl = \"http://{}/hook\"\n",
            self.host.config(),
            self.sink.address
        )
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.dir.path().join(name)
    }

    fn repair_the_command(&self) {
        std::fs::write(self.file("alive"), "").unwrap();
    }

    /// What the command took: id, condition, and whether it is over.
    fn by_command(&self) -> Vec<Vec<String>> {
        let taken = std::fs::read_to_string(self.file("taken")).unwrap_or_default();
        taken.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// What the webhook took.
    fn by_webhook(&self) -> Vec<Value> {
        let asked = self.sink.asked().into_iter().filter(|a| a.line.starts_with("POST /hook"));
        asked.map(|asked| serde_json::from_str(&asked.body).unwrap()).collect()
    }

    /// Conditions that the webhook was told; `over CONDITION` for a recovery.
    fn told(&self) -> Vec<String> {
        let over = |m: &Value| if m["recovered"] == true { "over " } else { "" };
        let word = |m: &Value| format!("{}{}", over(m), m["condition"].as_str().unwrap());
        self.by_webhook().iter().map(word).collect()
    }

    /// Told to the webhook, and marked on disk: between the two lies the one moment in which a kill
    /// makes a message come once more.
    async fn until_told(&self, words: &[&str]) {
        let name = format!("webhook {}", self.sink.address);
        until(&format!("{words:?} is told"), LIMIT, async || {
            let waiting = Store::open_read_only(&self.host.state_dir()).unwrap().outbox().unwrap();
            let marked = waiting.iter().all(|letter| letter.sent.contains(&name));
            (marked && self.told() == words).then_some(())
        })
        .await;
    }

    /// As if the pauses of the channels were over.
    fn rested(&self) {
        let store = Store::open(&self.host.state_dir()).unwrap();
        let now = SystemClock.now();
        let rest = |log: &mut pbxcert::state::alert::log::AlertLog| {
            log.channels.values_mut().for_each(|channel| channel.retry_at = None);
        };
        store.change_alerts(rest, now).unwrap();
    }

    fn tries(&self) -> u32 {
        let log = Store::open_read_only(&self.host.state_dir()).unwrap().alert_log().unwrap();
        log.channels.values().map(|channel| channel.failures).max().unwrap_or(0)
    }

    /// A renewal whose certificate the service does not survive; put back, it lives again.
    async fn break_a_renewal(&self) {
        self.host.service.behave_after_reload(Some(Manner::Resets));
        let before = self.host.service.reloads();
        let renewal = self.host.command(&["renew", "--force"], &[]).output();
        let recover = async {
            until("it is broken", LIMIT, async || {
                (self.host.service.reloads() > before).then_some(())
            })
            .await;
            self.host.service.behave_after_reload(Some(Manner::Serves));
        };
        let (renewal, ()) = tokio::join!(renewal, recover);
        assert_eq!(renewal.unwrap().status.code(), Some(1));
    }
}

/// kill -9: nothing is tidied up.
fn kill(daemon: Server) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    daemon.stop();
}

#[tokio::test]
async fn rolled_back_is_told_at_once_and_a_dead_channel_and_kills_lose_and_repeat_nothing() {
    let road = Road::new("").await;
    road.break_a_renewal().await;
    let daemon = road.host.start_daemon();
    road.until_told(&["rolled-back"]).await;
    let told = road.by_webhook().remove(0);
    assert_eq!(told["level"], "urgent");
    let body = told["body"].as_str().unwrap();
    assert!(body.contains("then: pbxcert deploy sip"), "{body}");
    assert!(body.contains("pbxcert rollback pbx"), "{body}");

    // The command does not work: its message waits on disk, over two kills.
    until("the command was tried", LIMIT, async || (road.tries() == 1).then_some(())).await;
    kill(daemon);
    for tries in 2..=3 {
        road.rested();
        let daemon = road.host.start_daemon();
        until("it is tried again", LIMIT, async || (road.tries() == tries).then_some(())).await;
        if tries == 3 {
            road.until_told(&["rolled-back", "channel-dead"]).await;
        }
        kill(daemon);
    }
    let dead = road.by_webhook().remove(1);
    assert!(dead["body"].as_str().unwrap().contains("the pager is off"), "{dead}");

    road.repair_the_command();
    road.rested();
    let daemon = road.host.start_daemon();
    road.until_told(&["rolled-back", "channel-dead", "over channel-dead"]).await;
    until("the command has it all", LIMIT, async || (road.by_command().len() == 1).then_some(()))
        .await;
    kill(daemon);
    let command = road.by_command();
    assert_eq!(command[0][1..], ["rolled-back", "no"], "that it was dead is not told through it");
    assert_eq!(command[0][0], told["id"].as_str().unwrap(), "the same message");
    let store = Store::open_read_only(&road.host.state_dir()).unwrap();
    assert_eq!(store.outbox().unwrap(), []);

    // The person does what the letter says; that it is over is told everywhere.
    road.host.pbxcert(&["deploy", "sip"]).await.expect(0);
    let _daemon = road.host.start_daemon();
    road.until_told(&["rolled-back", "channel-dead", "over channel-dead", "over rolled-back"])
        .await;
    until("the command, too", LIMIT, async || (road.by_command().len() == 2).then_some(())).await;
    assert_eq!(road.by_command()[1][1..], ["rolled-back", "yes"]);
}

#[tokio::test]
async fn a_refused_configuration_is_told_and_so_is_its_end_and_the_heartbeat_comes() {
    let road = Road::new("").await;
    let beat = format!("heartbeat-url = \"http://{}/beat\"", road.sink.address);
    let config = road.config(&beat);
    road.repair_the_command();
    road.host.configure(&config);
    let daemon = road.host.start_daemon();
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.pid()).unwrap()).unwrap();
    until("it watches", LIMIT, async || road.host.log().contains("is watching").then_some(()))
        .await;
    let beats = || road.sink.asked().iter().any(|asked| asked.line == "POST /beat HTTP/1.1");
    until("its heart beats", LIMIT, async || beats().then_some(())).await;

    road.host.configure(&format!("no-such-key = 1\n{config}"));
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    road.until_told(&["config-degraded"]).await;
    let body = road.by_webhook()[0]["body"].as_str().unwrap().to_owned();
    assert!(body.contains("no-such-key") && body.contains("pbxcert validate"), "{body}");
    road.host.configure(&config);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    road.until_told(&["config-degraded", "over config-degraded"]).await;
}

#[tokio::test]
async fn a_test_prints_each_channel_and_fails_with_one_that_is_dead() {
    let road = Road::new("").await;
    let run = road.host.pbxcert(&["alert", "test"]).await.expect(1);
    let run = run.says("command /bin/sh: failed: it ended with 7").says("the pager is off");
    run.says(&format!("webhook {}: sent: ", road.sink.address));
    road.repair_the_command();
    let report = road.host.pbxcert(&["alert", "test", "--json"]).await.expect(0).json();
    let results: Vec<&Value> =
        report["channels"].as_array().unwrap().iter().map(|c| &c["result"]).collect();
    assert_eq!(results, ["sent", "sent"]);
    assert_eq!(road.by_command()[0][1..], ["test", "no"]);
}

#[tokio::test]
async fn what_is_acked_or_ignored_is_shown_by_verify_and_does_not_count() {
    let host = Host::live().await;
    host.service.behave(Manner::Foreign);
    host.pbxcert(&["verify"]).await.expect(2).says("not ours");
    let until = SystemClock.now().checked_add(SignedDuration::from_hours(24 * 7)).unwrap();
    let day = until.strftime("%Y-%m-%d").to_string();
    let ack = async |item| {
        host.pbxcert(&["ack", item, "--until", &day, "--note", "new PBX comes"]).await.expect(0);
    };
    // About something else.
    ack("pbx/expiry").await;
    host.pbxcert(&["verify"]).await.expect(2);
    ack("sip").await;
    let run = host.pbxcert(&["verify"]).await.expect(0);
    run.says("0 of 1 endpoints fine, 1 known").says("not ours").says("new PBX comes");
    let line = host.pbxcert(&["verify", "--json"]).await.expect(0).json()["endpoints"][0].clone();
    assert_eq!(line["verdict"], "critical");
    assert!(line["silenced"].as_str().unwrap().contains("new PBX comes"), "{line}");
    host.pbxcert(&["ack", "sip", "--remove"]).await.expect(0);
    host.pbxcert(&["verify"]).await.expect(2);

    let ignore = |condition: &str| {
        format!(
            "{}[[ignore]]\nobject = \"sip\"\n{condition}reason = \"a test bed\"\n",
            host.config()
        )
    };
    host.configure(&ignore("condition = \"unproved\"\n"));
    host.pbxcert(&["verify"]).await.expect(2);
    host.configure(&ignore(""));
    host.pbxcert(&["verify"]).await.expect(0).says("ignored: a test bed");
}
