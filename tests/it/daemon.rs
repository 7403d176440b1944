//! The daemon as a process: signals, broken configurations, verbs beside it, and its idle hours.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::ca::{Endpoint, Fault};
use crate::host::{Host, LIMIT, until};
use crate::real::process::Server;

fn send(daemon: &Server, signal: Signal) {
    let pid = i32::try_from(daemon.pid()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Waits for its end; returns its exit code.
async fn ended(daemon: &mut Server) -> Option<i32> {
    until("the daemon ends", LIMIT, async || daemon.exited()).await.code()
}

async fn until_logged(host: &Host, words: &str) {
    until(&format!("{words:?} is logged"), LIMIT, async || {
        host.log().contains(words).then_some(())
    })
    .await;
}

async fn until_happened(host: &Host, what: &str, times: usize) {
    until(&format!("{what:?} in history"), LIMIT, async || {
        (host.happened(what) >= times).then_some(())
    })
    .await;
}

async fn until_watching(host: &Host) {
    until_logged(host, "pbxcert is watching").await;
}

/// How often its threads went to sleep so far.
fn switches(daemon: &Server) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let of = |task: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(task.path().join("status")).ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse().ok()
    };
    tasks.filter_map(|task| of(task.unwrap())).sum()
}

/// Waits until it has done nothing for two seconds.
async fn until_idle(daemon: &Server) {
    let mut last = (switches(daemon), Instant::now());
    until("nothing moves for 2 s", LIMIT, async || {
        let now = switches(daemon);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_obtains_and_deploys_by_itself_and_ends_well() {
    let host = Host::new().await;
    let mut daemon = host.start_daemon();
    host.until_live(1).await;
    assert_eq!(host.service.reloads(), 1);
    assert_eq!(host.status().await["daemon"]["pid"], daemon.pid());
    send(&daemon, Signal::TERM);
    let begun = Instant::now();
    assert_eq!(ended(&mut daemon).await, Some(0), "{}", host.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "between steps it ends at once");
    assert_eq!(host.status().await["daemon"], Value::Null);
}

#[tokio::test]
async fn a_hangup_takes_a_new_certificate_in() {
    let host = Host::live().await;
    let daemon = host.start_daemon();
    until_watching(&host).await;
    let more = "[[certificate]]\nname = \"door\"\nnames = [\"door.test\"]\nkey = \"ecdsa-p256\"\n";
    let service = host.service_table(&host.reload(), "certificate = \"pbx\"");
    host.configure(&format!("{}{more}{service}", host.head()));
    send(&daemon, Signal::HUP);
    until("the new certificate is issued", LIMIT, async || {
        let status = host.status().await;
        (status["certificates"][1]["state"] == "issued").then_some(())
    })
    .await;
    assert_eq!(host.orders(), 2);
}

#[tokio::test]
async fn a_hangup_with_a_broken_configuration_changes_nothing() {
    let host = Host::live().await;
    let sound = host.config();
    let mut daemon = host.start_daemon();
    until_watching(&host).await;
    host.configure(&format!("no-such-key = 1\n{sound}"));
    send(&daemon, Signal::HUP);
    until_logged(&host, "the configuration was refused; the old one goes on").await;
    assert!(host.log().contains("no-such-key"), "{}", host.log());
    assert!(daemon.exited().is_none());
    host.configure(&sound);
    assert_eq!(host.status().await["daemon"]["degraded"], Value::Null);
    // It still works by the old one.
    host.pbxcert(&["renew", "--force"]).await.expect(0);
    host.until_live(2).await;
}

#[tokio::test]
async fn a_removed_certificate_keeps_its_store_and_is_not_in_config() {
    let host = Host::live().await;
    let daemon = host.start_daemon();
    until_watching(&host).await;
    let others = host.head().replace("\"pbx\"", "\"door\"").replace("pbx.test", "door.test");
    host.configure(&others);
    send(&daemon, Signal::HUP);
    until_logged(&host, "the configuration was read again").await;
    let status = host.status().await;
    assert_eq!(status["not-in-config"][0], "pbx", "{status}");
    host.pbxcert(&["status"]).await.expect(0).says("pbx: not in config; its store is kept");
    assert!(host.state_dir().join("shared/certificates/pbx/rev/1/key.pem").exists());
    assert!(host.pair().is_some(), "what is in service stays");
}

#[tokio::test]
async fn it_ends_only_after_a_deployment_that_is_under_way() {
    let host = Host::new().await;
    let hook = host.hook("sleep 2;");
    host.configure(&format!("{}{}", host.head(), host.service_table(&hook, "")));
    let mut daemon = host.start_daemon();
    until_happened(&host, "installed", 1).await;
    send(&daemon, Signal::TERM);
    assert_eq!(ended(&mut daemon).await, Some(0), "{}", host.log());
    assert_eq!(host.happened("proved"), 1, "{:?}", host.history());
    assert_eq!(host.status().await["certificates"][0]["state"], "live");
}

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let host = Host::live().await;
    let _daemon = host.start_daemon();
    until_watching(&host).await;
    let second = host.pbxcert(&["run"]).await.expect(1);
    second.says("another pbxcert is running on").says("stop it first (systemctl stop pbxcert)");
}

#[tokio::test]
async fn a_broken_configuration_at_start_gives_way_to_the_accepted_one() {
    let host = Host::new().await;
    let mut daemon = host.start_daemon();
    host.until_live(1).await;
    send(&daemon, Signal::TERM);
    assert_eq!(ended(&mut daemon).await, Some(0));
    let reloads = host.service.reloads();

    // Broken, and without the reload hook that was accepted.
    let broken = host.service_table(&host.hook("true;"), "no-such-key = 1");
    host.configure(&format!("{}{broken}", host.head()));
    let mut daemon = host.start_daemon();
    until("it watches again", LIMIT, async || {
        (host.log().matches("pbxcert is watching").count() == 2).then_some(())
    })
    .await;
    let log = host.log();
    assert!(log.contains("degraded: the configuration of "), "{log}");
    assert!(log.contains("no-such-key"), "{log}");
    assert!(log.contains("the reload hook of sip is not run"), "{log}");
    // The pair is damaged and mended, but the hook of yesterday is not run.
    std::fs::remove_file(host.target_dir().join("privkey.pem")).unwrap();
    until_happened(&host, "mending", 1).await;
    until_happened(&host, "installed", 2).await;
    assert_eq!(host.service.reloads(), reloads, "the accepted hook is not named any more");
    assert!(daemon.exited().is_none());
    // What is on disk is broken, so `status` is asked with what was accepted.
    host.pbxcert(&["validate"]).await.expect(78).says("no-such-key");
    host.configure(&host.config());
    host.pbxcert(&["status"]).await.expect(0).says("degraded: the configuration of ");
}

#[tokio::test]
async fn a_broken_configuration_at_the_very_first_start_is_refused() {
    let host = Host::new().await;
    host.configure(&format!("no-such-key = 1\n{}", host.config()));
    let run = host.pbxcert(&["run"]).await.expect(78);
    run.says("no-such-key").says("no earlier one can be used");
}

#[tokio::test]
async fn verbs_wait_for_a_busy_daemon_and_say_so() {
    let host = Host::new().await;
    let hook = host.hook("sleep 2;");
    host.configure(&format!("{}{}", host.head(), host.service_table(&hook, "")));
    let _daemon = host.start_daemon();
    // Its first deployment keeps the daemon busy for two seconds.
    until_happened(&host, "installed", 1).await;
    let deploy = host.command(&["deploy"], &[]).output();
    let verify = host.pbxcert(&["verify"]);
    let (deploy, verify, status) = tokio::join!(deploy, verify, host.status());
    assert_eq!(status["services"][0]["name"], "sip", "status waits for nobody");
    assert!(verify.code.is_some_and(|code| code <= 3), "{verify:?}");
    let deploy = deploy.unwrap();
    let words = String::from_utf8(deploy.stderr).unwrap();
    assert_eq!(deploy.status.code(), Some(0), "{words}");
    assert!(words.contains("busy with sip, waiting"), "{words}");
    host.pbxcert(&["renew", "--force"]).await.expect(0);
    host.until_live(2).await;
}

#[tokio::test]
async fn a_wish_of_a_killed_verb_is_granted_by_the_daemon() {
    let host = Host::live().await;
    let _daemon = host.start_daemon();
    until_watching(&host).await;
    // The order hangs for a while: long enough to kill whoever asked for it.
    host.ca.fail(Endpoint::NewOrder, Fault::Slow(Duration::from_secs(2)));
    let asked = host.ca.count(Endpoint::NewOrder);
    let mut verb = host.command(&["renew", "--force"], &[]).spawn().unwrap();
    until("the CA is asked", LIMIT, async || {
        (host.ca.count(Endpoint::NewOrder) > asked).then_some(())
    })
    .await;
    verb.start_kill().unwrap();
    let status = verb.wait().await.unwrap();
    assert!(status.signal().is_some(), "it was killed at work");
    until("the daemon has renewed", LIMIT, async || {
        let status = host.status().await;
        (status["certificates"][0]["revision"] == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_ca_that_is_down_at_the_start_is_asked_again() {
    let host = Host::new().await;
    for _ in 0..2 {
        host.ca.fail(Endpoint::Directory, Fault::text(503, "<html>maintenance</html>"));
    }
    let _daemon = host.start_daemon();
    until_happened(&host, "failed", 1).await;
    assert_eq!(host.status().await["certificates"][0]["state"], "none");
    // Only shortens the wait for its next try.
    let _ = host.pbxcert(&["renew"]).await;
    let _ = host.pbxcert(&["renew"]).await;
    host.until_live(1).await;
}

#[tokio::test]
async fn a_deleted_key_file_is_mended_after_a_quiet_while() {
    let host = Host::live().await;
    let daemon = host.start_daemon();
    until_watching(&host).await;
    // Its first look mends at once.
    until_idle(&daemon).await;
    let before = host.pair().unwrap().leaf().fingerprint;
    for times in 1..=2 {
        let begun = Instant::now();
        std::fs::remove_file(host.target_dir().join("privkey.pem")).unwrap();
        until_happened(&host, "mending", times).await;
        assert!(begun.elapsed() > Duration::from_secs(8), "somebody may still be writing");
        assert!(begun.elapsed() < Duration::from_secs(30), "it was woken by the event");
        until("the key is back", LIMIT, async || {
            host.target_dir().join("privkey.pem").exists().then_some(())
        })
        .await;
        assert_eq!(host.pair().unwrap().leaf().fingerprint, before);
    }
    assert_eq!(host.orders(), 1, "no new order for a lost file");
}

#[tokio::test]
async fn an_idle_daemon_does_not_wake() {
    let host = Host::live().await;
    let daemon = host.start_daemon();
    until_watching(&host).await;
    until_idle(&daemon).await;
    let before = switches(&daemon);
    // The one measurement that needs time to pass.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let woken = switches(&daemon) - before;
    assert!(woken <= 2, "woke {woken} times within 5 s of nothing to do");
}

/// Waits until something makes it move.
async fn until_moved(daemon: &Server, what: impl FnOnce()) {
    until_idle(daemon).await;
    let before = switches(daemon);
    what();
    until("it moves", LIMIT, async || (switches(daemon) > before + 5).then_some(())).await;
}

fn has_thread(daemon: &Server, name: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .any(|comm| comm.trim() == name)
}

#[tokio::test]
async fn an_upload_wakes_it_also_into_a_folder_that_was_made_anew() {
    let host = Host::live().await;
    let folder = host.state_dir().join("drop/pbx");
    std::fs::create_dir_all(&folder).unwrap();
    let daemon = host.start_daemon();
    until_watching(&host).await;
    until_moved(&daemon, || std::fs::write(folder.join("a.pem"), "A").unwrap()).await;
    // In one step, for the daemon makes it anew at once.
    let (drop, gone) = (host.state_dir().join("drop"), host.dir.path().join("gone"));
    until_moved(&daemon, || std::fs::rename(&drop, &gone).unwrap()).await;
    until("it makes it anew", LIMIT, async || folder.is_dir().then_some(())).await;
    until_moved(&daemon, || std::fs::write(folder.join("b.pem"), "B").unwrap()).await;
    assert!(!has_thread(&daemon, "poll"), "nothing is polled that need not be");
}

#[tokio::test]
async fn a_folder_on_a_share_is_looked_at_now_and_then() {
    let host = Host::live().await;
    let service = host.service_table(&host.reload(), "");
    host.configure(&format!("{}watch = \"poll\"\n{service}", host.head()));
    let daemon = host.start_daemon();
    until_watching(&host).await;
    until("a thread looks", LIMIT, async || has_thread(&daemon, "poll").then_some(())).await;
}
