//! Calm deployment: calls that are up, windows, freezes, announcements; a person waits for nobody.

use std::cell::Cell;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use pbxcert::clock::Clock as _;
use pbxcert::config::kind::Class;
use pbxcert::policy::plan::Why;
use pbxcert::reconcile::{Pass, Reconciler};
use pbxcert::state::{Condition, Step};

use crate::host::{Host, LIMIT, Manner, until};
use crate::lab::Lab;

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A service whose reload ends calls; as many are up as the file `calls` says.
async fn restarting(more: &str) -> Lab {
    let lab = Lab::with("", &format!("class = \"restart\"\nhook-timeout = \"1s\"\n{more}")).await;
    let script = format!("cat {}", lab.dir.path().join("calls").display());
    counted_by(lab, &script)
}

fn counted_by(mut lab: Lab, script: &str) -> Lab {
    let argv = ["/bin/sh", "-c", script];
    lab.config.services[0].busy = Some(argv.map(str::to_owned).to_vec());
    lab
}

fn calls(lab: &Lab, text: &str) {
    std::fs::write(lab.dir.path().join("calls"), text).unwrap();
}

/// Revision 1 is live, and revision 2 is issued, on 23 January 2027.
async fn renewed(lab: &Lab) -> Pass {
    calls(lab, "0\n");
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    lab.clock.forward(hours(24 * 61));
    calls(lab, "3\n");
    let pass = lab.pass().await.remove("sip").unwrap();
    assert_eq!(lab.newest().unwrap().number, 2);
    pass
}

fn calm(pass: &Pass) -> &str {
    let Why::Calm(text) = &pass.wait.why else { panic!("{pass:?}") };
    text
}

#[tokio::test]
async fn a_reload_that_ends_calls_waits_until_none_is_up() {
    let lab = restarting("").await;
    let pass = renewed(&lab).await;
    assert_eq!(calm(&pass), "waits: 3 calls are up");
    let now = lab.clock.now();
    assert_eq!(pass.wait.until, Some(now + SignedDuration::from_mins(5)), "asked again then");
    assert_eq!(lab.service.reloads.get(), 1);
    calls(&lab, "0\n");
    // The answer of a moment ago holds: nobody is asked again and again.
    lab.clock.forward(SignedDuration::from_mins(1));
    assert_eq!(calm(&lab.pass().await["sip"]), "waits: 3 calls are up");
    lab.clock.forward(SignedDuration::from_mins(4));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].revision, Some(2));
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
    assert_eq!(lab.service.reloads.get(), 2);
}

#[tokio::test]
async fn whoever_cannot_say_how_many_calls_are_up_is_busy() {
    for script in ["echo many", "echo 3; exit 75", "exit 1", "sleep 30", "echo -1", ":"] {
        let lab = restarting("").await;
        renewed(&lab).await;
        let lab = counted_by(lab, script);
        lab.clock.forward(SignedDuration::from_mins(6));
        let pass = lab.pass().await.remove("sip").unwrap();
        assert_eq!(calm(&pass), "waits: nobody can say how many calls are up", "{script}");
        assert_eq!(lab.service.reloads.get(), 1, "{script}");
    }
}

#[tokio::test]
async fn what_nobody_is_served_by_yet_does_not_wait_for_a_window() {
    let lab = Lab::with("", "deploy-window = \"22:00-05:00\"").await;
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved, "the first, at noon");
    // Nor does it end calls while some are up: the next night at the latest.
    let lab = restarting("").await;
    calls(&lab, "2\n");
    let pass = lab.pass().await.remove("sip").unwrap();
    assert_eq!(calm(&pass), "waits: 2 calls are up; it happens anyway at 2026-11-24 03:00 UTC");
    assert_eq!(lab.service.reloads.get(), 0);
    lab.clock.forward(hours(15));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);
}

#[tokio::test]
async fn what_drops_nothing_waits_for_its_window() {
    let lab = Lab::with("", "deploy-window = \"mon-fri 22:00-05:00\"").await;
    lab.pass().await;
    // Saturday noon.
    lab.clock.forward(hours(24 * 61));
    let pass = lab.pass().await.remove("sip").unwrap();
    assert_eq!(calm(&pass), "waits for its window at 2027-01-25 22:00 UTC");
    assert!(pass.wait.until <= Some(at("2027-01-25T22:00:00Z")), "or when it looks again");
    lab.clock.forward(hours(24 * 2 + 9));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].revision, Some(1), "an hour too early");
    lab.clock.forward(hours(1));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].revision, Some(2));
}

#[tokio::test]
async fn a_freeze_holds_deployments_and_not_orders() {
    let lab = Lab::with("", "freeze = \"2027-01-20..2027-01-31\"").await;
    lab.pass().await;
    lab.clock.forward(hours(24 * 61));
    let pass = lab.pass().await.remove("sip").unwrap();
    assert_eq!(lab.newest().unwrap().number, 2);
    assert!(calm(&pass).starts_with("deployments are frozen"), "{pass:?}");
    assert!(calm(&pass).ends_with("at 2027-02-01 00:00 UTC"), "{pass:?}");
    lab.clock.forward(hours(24 * 9));
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].revision, Some(2));
}

#[tokio::test]
async fn what_ends_calls_is_announced_and_happens_then() {
    let lab = restarting("").await;
    renewed(&lab).await;
    // A quarter of 90 days is left on 29 January; it is announced two days before.
    let mut told = None;
    for _ in 0..24 * 10 {
        let passes = lab.pass().await;
        let news = |f: &&pbxcert::state::Finding| f.condition == Condition::RestartAnnounced;
        told = passes["sip"].findings.iter().find(news).cloned();
        if told.is_some() {
            let text = calm(&passes["sip"]);
            assert!(text.starts_with("waits: 3 calls are up; it happens anyway at "), "{text}");
            break;
        }
        lab.clock.forward(hours(1));
    }
    let told = told.expect("it is announced");
    let takes_place = told.by.unwrap();
    let notice = takes_place.duration_since(lab.clock.now());
    assert!((hours(48)..hours(74)).contains(&notice), "{notice}");
    assert_eq!(takes_place.to_zoned_datetime(jiff::tz::TimeZone::UTC).hour(), 3);
    assert_eq!(lab.state().announced.unwrap().takes_place, takes_place);
    assert_eq!(lab.history().iter().filter(|what| *what == "announced").count(), 1);
    assert_eq!(lab.service.reloads.get(), 1, "not yet");
    lab.clock.forward(notice - SignedDuration::from_mins(1));
    lab.pass().await;
    assert_eq!(lab.service.reloads.get(), 1, "a minute too early");
    lab.clock.forward(SignedDuration::from_mins(1));
    let passes = lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].revision, Some(2), "with calls up, as announced");
    assert!(passes["sip"].findings.is_empty(), "it is no news any more");
    assert_eq!(lab.history().iter().filter(|what| *what == "announced").count(), 1);
}

#[tokio::test]
async fn never_leaves_it_to_a_person_who_waits_for_nobody() {
    let lab = restarting("disruptive = \"never\"\nfreeze = \"2027-01-20..2027-01-31\"").await;
    calls(&lab, "0\n");
    lab.pass().await;
    let never = lab.pass().await.remove("sip").unwrap();
    assert!(calm(&never).contains("is left to a person: `pbxcert deploy sip`"), "{never:?}");
    assert_eq!(lab.service.reloads.get(), 0);
    calls(&lab, "9\n");
    deploy(&lab).await;
    assert_eq!(lab.state().pairs["pbx"].revision, Some(1));
    lab.clock.forward(hours(24 * 61));
    lab.pass().await;
    assert_eq!(lab.service.reloads.get(), 1, "frozen, 9 calls are up, and it is never done");
    deploy(&lab).await;
    assert_eq!(lab.state().pairs["pbx"].revision, Some(2));
    assert_eq!(lab.service.reloads.get(), 2);
}

/// As `pbxcert deploy`: the wish first, then the pass.
async fn deploy(lab: &Lab) {
    let store = lab.store.service("sip").unwrap();
    let writer = store.try_lock(lab.clock.now()).unwrap().unwrap();
    let mut state = store.state().unwrap();
    state.pairs.entry("pbx".to_owned()).or_default().forced = true;
    writer.remember(&state).unwrap();
    drop(writer);
    let stop = Cell::new(false);
    let reconciler = Reconciler { by_hand: true, ..lab.reconciler(&stop) };
    reconciler.service(&lab.config.services[0]).await.unwrap();
}

#[tokio::test]
async fn the_daemon_wakes_for_what_it_waits_for_and_does_not_spin() {
    let lab = restarting("deploy-window = \"02:00-04:00\"").await;
    assert_eq!(lab.config.services[0].class, Class::Restart);
    renewed(&lab).await;
    // Runs as the daemon does: from wait to wait, until the revision is in.
    let mut wakes = 0;
    while lab.state().pairs["pbx"].revision != Some(2) {
        let pass = lab.pass().await.remove("sip").unwrap();
        let now = lab.clock.now();
        let until = pass.wait.until.expect("a wait that ends");
        if lab.state().pairs["pbx"].revision == Some(2) {
            break;
        }
        assert!(until > now, "a wait that is over: {pass:?}");
        lab.clock.forward(until.duration_since(now));
        wakes += 1;
        assert!(wakes < 400, "too often");
    }
    let hour = lab.clock.now().to_zoned_datetime(jiff::tz::TimeZone::UTC).hour();
    assert!((2..4).contains(&hour), "in its window: {}", lab.clock.now());
    assert!(Path::new(&lab.target("fullchain.pem")).exists());
}

#[tokio::test]
async fn status_and_plan_say_what_is_waited_for() {
    let host = Host::new().await;
    // Three days from now, whatever the time is.
    let night = (Timestamp::now() + hours(72))
        .to_zoned_datetime(jiff::tz::TimeZone::system())
        .strftime("%a 03:00-05:00")
        .to_string();
    let busy = format!(
        "class = \"restart\"\ndisruptive = \"window\"\ndeploy-window = {:?}\n\
         busy = [\"/bin/sh\", \"-c\", \"echo 3\"]",
        night.to_lowercase()
    );
    host.configure(&format!("{}\n{}", host.head(), host.service_table(&host.reload(), &busy)));
    let daemon = host.start_daemon();
    let waits = async || {
        let next = host.status().await["services"][0]["next"].clone();
        next.as_str().filter(|next| next.contains("calls are up")).map(str::to_owned)
    };
    let next = until("it waits for calls", LIMIT, waits).await;
    assert!(next.starts_with("waits: 3 calls are up; it happens anyway at "), "{next}");
    host.pbxcert(&["status"]).await.expect(0).says("  sip: waits: 3 calls are up");
    host.pbxcert(&["plan"]).await.expect(0).says("waits: 3 calls are up");
    let plan = host.pbxcert(&["plan", "--json"]).await.expect(0).json();
    let steps = plan["steps"].as_array().unwrap();
    let sip = steps.iter().find(|step| step["object"] == "sip").unwrap();
    assert_eq!(sip["action"], "wait", "{plan:#}");
    assert!(sip["at"].is_string(), "{plan:#}");
    drop(daemon);
    // A person waits for nobody.
    host.pbxcert(&["deploy", "sip"]).await.expect(0);
    assert_eq!(host.status().await["services"][0]["step"], "proved");
    host.pbxcert(&["plan", "--days", "90"]).await.expect(0).says("announced for ");
}

#[tokio::test]
async fn verbs_bring_services_in_their_order_and_stop_behind_one_that_fails() {
    let host = Host::new().await;
    let web = format!(
        "[[service]]\nkind = \"custom\"\nname = \"web\"\nafter = \"sip\"\n\
         target = [{{ path = {:?}, content = \"combined\" }}]\n",
        host.dir.path().join("tls/web.pem")
    );
    let sip = host.service_table(&host.reload(), "");
    host.configure(&format!("{}\n{web}\n{sip}", host.head()));
    host.pbxcert(&["renew"]).await.expect(0);
    let status = host.status().await;
    assert_eq!(status["services"][0]["revision"], 1, "{status:#}");
    host.service.behave_after_reload(Some(Manner::Foreign));
    let run = host.pbxcert(&["renew", "--force"]).await.expect(1);
    run.says("web: waits: waits for sip, which failed; to go on without it: pbxcert deploy web");
    assert_eq!(host.status().await["services"][0]["revision"], 1);
    host.pbxcert(&["deploy", "web"]).await.expect(0);
    assert_eq!(host.status().await["services"][0]["revision"], 2);
}
