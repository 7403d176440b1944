mod outside;
mod trusted;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::damage::QUIET;
use super::*;
use crate::config::kind::Kind;
use crate::policy::samples::{at, cases, closed, day, leaf, revision, seed, served};
use crate::policy::schedule::{after, before};
use crate::state::{Ahead, FilesSeen, Hold, PairState, Promotion, ReloadRecord, Saved, Served};

const ENDPOINT: &str = "https://127.0.0.1:443";

fn spec() -> ServiceSpec {
    ServiceSpec {
        name: "web".to_owned(),
        kind: Kind::Nginx,
        certificates: vec!["pbx".to_owned()],
        install: BTreeMap::new(),
        user: None,
        test: None,
        reload: None,
        recover: None,
        busy: None,
        class: crate::config::kind::Class::Hot,
        reloads_per_day: None,
        exec_prefix: Vec::new(),
        clients: Vec::new(),
        sip_domains: Vec::new(),
        strict_lint: false,
        after: Vec::new(),
        calm: crate::config::calm::Calm::default(),
        endpoints: Vec::new(),
        proof_timeout: MINUTE,
        hook_timeout: MINUTE,
    }
}

/// Revision 1, from day 0 for 90 days, at this step since day 0.
fn pair(step: Step) -> PairSeen {
    PairSeen {
        certificate: "pbx".to_owned(),
        newest: Some(revision(1, day(0.0), DAY * 90)),
        min_age: Duration::ZERO,
        root: None,
        state: PairState {
            step,
            revision: Some(1),
            since: Some(day(0.0)),
            files: [("/etc/nginx/tls/cert.pem".into(), "00".to_owned())].into(),
            promoted: (step == Step::Proved).then(|| Promotion {
                revision: 1,
                fingerprint: revision(1, day(0.0), DAY * 90).leaf.fingerprint,
                at: day(0.0),
                endpoints: vec![ENDPOINT.to_owned()],
            }),
            ..PairState::default()
        },
        files: FilesSeen::AsInstalled,
        in_place: None,
        outside_is_sound: false,
        trust: None,
    }
}

fn renewed(step: Step) -> PairSeen {
    PairSeen { newest: Some(revision(2, day(60.0), DAY * 90)), ..pair(step) }
}

fn fresh() -> PairSeen {
    PairSeen { state: PairState::default(), files: FilesSeen::Untouched, ..pair(Step::Waiting) }
}

/// Its one endpoint was looked at a moment ago, and showed this.
fn service(pairs: Vec<PairSeen>, seen: Served) -> ServiceSeen {
    ServiceSeen {
        pairs,
        reloads: Vec::new(),
        mended: Vec::new(),
        looked_at: Some(seen.at),
        seen: [(ENDPOINT.to_owned(), seen)].into(),
        endpoints: [(ENDPOINT.to_owned(), "pbx".to_owned())].into(),
        by_hand: false,
        calls: None,
        announced: None,
        ahead: Vec::new(),
    }
}

/// It serves revision 1.
fn serving(pairs: Vec<PairSeen>, now: Timestamp) -> ServiceSeen {
    service(pairs, served(&revision(1, day(0.0), DAY * 90).leaf, now))
}

fn step(seen: &ServiceSeen, now: Timestamp) -> ServiceAction {
    next_service(&spec(), seen, &seed(), now)
}

fn deploy_of(number: u64, reason: DeployReason) -> ServiceAction {
    ServiceAction::Deploy { pairs: vec![("pbx".to_owned(), number)], reason }
}

fn waits(action: ServiceAction) -> Wait {
    let ServiceAction::Wait(wait) = action else { panic!("{action:?} instead of a wait") };
    wait
}

fn reload(number: u64, at: Timestamp) -> ReloadRecord {
    ReloadRecord { at, revisions: [("pbx".to_owned(), number)].into(), by_hand: false }
}

// ---------------------------------------------------------------- first what was cut off

#[test]
fn a_switch_that_was_cut_off_is_settled_before_anything_else() {
    for cut in [Step::Installing, Step::Installed, Step::Reloaded, Step::RollingBack] {
        let mut broken = pair(Step::Proved);
        broken.files = FilesSeen::Broken("cert.pem is missing".to_owned());
        let mut forced = renewed(Step::Proved);
        forced.state.forced = true;
        let seen = serving(vec![forced, broken, pair(cut)], day(60.0));
        assert_eq!(step(&seen, day(60.0)), ServiceAction::Settle);
    }
}

// ---------------------------------------------------------------- then what is damaged

fn broken(drift_at: Option<Timestamp>) -> PairSeen {
    let files = FilesSeen::Broken("key.pem is missing".to_owned());
    let mut broken = PairSeen { files, ..pair(Step::Proved) };
    broken.state.drift_at = drift_at;
    broken
}

#[test]
fn damaged_files_are_mended_at_once_at_start_and_else_when_they_are_quiet() {
    let mend = ServiceAction::Mend { certificates: vec!["pbx".to_owned()] };
    let now = day(10.0);
    assert_eq!(step(&serving(vec![broken(None)], now), now), mend);
    let seen = serving(vec![broken(Some(now))], now);
    let wait = waits(step(&seen, now));
    assert_eq!((wait.until, wait.why), (Some(after(now, QUIET)), Why::Quiet));
    assert_eq!(step(&seen, after(now, QUIET)), mend);
    assert_eq!(step(&seen, before(now, DAY)), mend, "the clock went back");
}

#[test]
fn a_reload_that_damages_the_files_is_not_repeated_without_end() {
    let now = day(10.0);
    let mut seen = serving(vec![broken(None)], now);
    let times = [50, 30, 1].map(|minutes| before(now, MINUTE * minutes));
    seen.reloads = times[..2].iter().map(|at| reload(1, *at)).collect();
    assert!(matches!(step(&seen, now), ServiceAction::Mend { .. }));
    seen.reloads = times.iter().map(|at| reload(1, *at)).collect();
    let wait = waits(step(&seen, now));
    assert_eq!(wait.until, Some(after(now, MINUTE * 10)));
    assert!(matches!(wait.why, Why::Person(text) if text.contains("find out who changes them")));
    // Reloads that brought in others are no reason to leave a service with files that are damaged.
    seen.reloads[0].revisions = [("pbx".to_owned(), 0)].into();
    assert!(matches!(step(&seen, now), ServiceAction::Mend { .. }));
}

#[test]
fn a_repair_that_failed_is_put_off_but_not_at_start() {
    let now = day(10.0);
    let mut pair = broken(Some(before(now, MINUTE)));
    pair.state.retry_at = Some(after(now, MINUTE));
    pair.state.problem = Some("the disk is full".to_owned());
    let wait = waits(step(&serving(vec![pair.clone()], now), now));
    assert_eq!(wait.until, Some(after(now, MINUTE)));
    assert!(matches!(wait.why, Why::BackOff(text) if text.contains("the disk is full")));
    let mend = ServiceAction::Mend { certificates: vec!["pbx".to_owned()] };
    assert_eq!(step(&serving(vec![pair.clone()], now), after(now, MINUTE)), mend);
    pair.state.drift_at = None;
    assert_eq!(step(&serving(vec![pair], now), now), mend);
}

#[test]
fn after_three_repairs_a_day_a_person_is_needed_and_a_new_revision_still_goes_in() {
    let now = day(60.5);
    let mut seen = serving(vec![broken(None)], now);
    seen.mended = vec![day(60.0), day(60.1), day(60.2)];
    let wait = waits(step(&seen, now));
    let Why::Person(text) = wait.why else { panic!("{:?}", wait.why) };
    assert!(text.starts_with("the files of pbx are damaged again (key.pem is missing), after 3"));
    assert_eq!(wait.until, Some(day(61.0)));
    assert!(matches!(step(&seen, day(61.0)), ServiceAction::Mend { .. }));
    seen.pairs[0].newest = renewed(Step::Proved).newest;
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Newer));
}

// ---------------------------------------------------------------- then what is new

#[test]
fn what_is_proved_is_left_alone_and_what_is_newer_is_deployed() {
    let now = day(60.0);
    let wait = waits(step(&serving(vec![pair(Step::Proved)], now), now));
    assert_eq!(wait.why, Why::NotDue("revision 1 of pbx is proved".to_owned()));
    let newer = deploy_of(2, DeployReason::Newer);
    assert_eq!(step(&serving(vec![renewed(Step::Proved)], now), now), newer);
    assert_eq!(step(&service(vec![fresh()], closed(now)), now), deploy_of(1, DeployReason::Newer));
    let mut none = fresh();
    none.newest = None;
    assert_eq!(waits(step(&service(vec![none], closed(now)), now)).why, Why::NoCertificate);
}

#[test]
fn the_store_that_lost_its_newest_revision_does_not_take_a_service_back() {
    let mut seen = serving(vec![pair(Step::Proved)], day(60.0));
    seen.pairs[0].state.revision = Some(2);
    assert!(matches!(step(&seen, day(60.0)), ServiceAction::Wait(_)));
}

#[test]
fn several_that_are_ready_share_one_reload() {
    let now = day(60.0);
    let mut tenant = renewed(Step::Proved);
    tenant.certificate = "tenant".to_owned();
    let mut held = renewed(Step::Proved);
    held.certificate = "held".to_owned();
    held.state.hold = Some(Hold {
        refused: 2,
        newer_too: false,
        by: "root".to_owned(),
        instead: None,
        at: day(60.0),
    });
    let seen = serving(vec![renewed(Step::NotTaken), tenant, held], now);
    let pairs = vec![("pbx".to_owned(), 2), ("tenant".to_owned(), 2)];
    let expected = ServiceAction::Deploy { pairs, reason: DeployReason::Newer };
    assert_eq!(step(&seen, now), expected);
}

#[test]
fn an_automatic_reload_follows_the_last_one_by_five_minutes_and_a_person_does_not_wait() {
    let now = day(60.0);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    seen.reloads = vec![reload(1, before(now, MINUTE * 4))];
    assert_eq!(waits(step(&seen, now)).until, Some(after(now, MINUTE)));
    let newer = deploy_of(2, DeployReason::Newer);
    assert_eq!(step(&seen, after(now, MINUTE)), newer);
    seen.by_hand = true;
    assert_eq!(step(&seen, now), newer);
    seen.by_hand = false;
    seen.pairs[0].state.forced = true;
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Forced));
}

#[test]
fn a_held_revision_is_not_deployed_and_a_newer_one_is() {
    let now = day(60.0);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    let hold = |refused| {
        Some(Hold {
            refused,
            newer_too: false,
            by: "root".to_owned(),
            instead: None,
            at: day(60.0),
        })
    };
    seen.pairs[0].state.hold = hold(2);
    let wait = waits(step(&seen, now));
    let text = "revision 2 of pbx is held back by root since 2027-01-22 12:00 UTC; \
        `pbxcert release pbx` ends it";
    assert_eq!(wait.why, Why::Held(text.to_owned()));
    seen.pairs[0].state.forced = true;
    assert!(matches!(waits(step(&seen, now)).why, Why::Held(_)), "an older wish by hand");
    seen.pairs[0].state.forced = false;
    seen.pairs[0].state.hold = hold(1);
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Newer));
}

#[test]
fn a_hold_ends_two_days_before_what_is_served_instead() {
    let mut seen = serving(vec![renewed(Step::Proved)], day(87.9));
    seen.pairs[0].state.hold = Some(Hold {
        refused: 2,
        newer_too: false,
        by: "root".to_owned(),
        instead: None,
        at: day(60.0),
    });
    assert_eq!(waits(step(&seen, day(87.9))).until, Some(day(88.0)));
    assert_eq!(step(&seen, day(88.0)), deploy_of(2, DeployReason::Newer));
    // A service that is stopped serves nothing, which says nothing about the hold.
    let stopped = service(seen.pairs, closed(day(88.0)));
    assert!(matches!(waits(step(&stopped, day(88.0))).why, Why::Held(_)));
}

#[test]
fn nothing_is_deployed_before_it_is_valid_or_after_it_has_ended_not_even_by_hand() {
    let now = day(60.0);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    seen.pairs[0].state.forced = true;
    assert_eq!(waits(step(&seen, before(now, HOUR))).until, Some(now));
    let late = day(150.1);
    seen.looked_at = Some(late);
    let Why::NotDue(text) = waits(step(&seen, late)).why else { panic!() };
    assert_eq!(text, "revision 2 of pbx ended at 2027-04-22 12:00 UTC; waiting for a newer one");
}

#[test]
fn a_young_certificate_waits_while_the_old_one_is_good_for_two_days() {
    let now = after(day(60.0), MINUTE);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    seen.pairs[0].min_age = HOUR;
    assert_eq!(waits(step(&seen, now)).until, Some(after(day(60.0), HOUR)));
    assert_eq!(step(&seen, after(day(60.0), HOUR)), deploy_of(2, DeployReason::Newer));
    seen.pairs[0].state.forced = true;
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Forced));
    seen.pairs[0].state.forced = false;

    let mut short = seen.clone();
    short.seen =
        [(ENDPOINT.to_owned(), served(&leaf("pbx.example", 1, day(0.0), DAY * 61), now))].into();
    assert_eq!(step(&short, now), deploy_of(2, DeployReason::Newer), "ends in a day");
    short.seen = [(ENDPOINT.to_owned(), closed(now))].into();
    assert_eq!(step(&short, now), deploy_of(2, DeployReason::Newer), "nothing is served");
    short.seen =
        [(ENDPOINT.to_owned(), served(&leaf("localhost", 1, day(0.0), DAY * 9999), now))].into();
    assert_eq!(step(&short, now), deploy_of(2, DeployReason::Newer), "nothing of use is served");
    short.endpoints.clear();
    short.pairs[0].min_age = DAY * 80;
    let wait = waits(step(&short, now));
    assert_eq!(wait.until, Some(after(day(60.0), DAY * 90 / 8)), "unknown: an eighth of its life");
}

#[test]
fn phones_without_a_clock_get_a_certificate_that_is_an_hour_old_unless_somebody_uploaded_it() {
    let now = after(day(60.0), MINUTE);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    let families = crate::config::compatibility::families();
    let clients: Vec<_> = families.into_iter().filter(|f| f.no_clock).take(1).collect();
    let yealink = ServiceSpec { clients, ..spec() };
    let next = |seen: &ServiceSeen| next_service(&yealink, seen, &seed(), now);
    assert_eq!(waits(next(&seen)).until, Some(after(day(60.0), HOUR)));
    let mut first = seen.clone();
    first.seen = [(ENDPOINT.to_owned(), closed(now))].into();
    assert_eq!(next(&first), deploy_of(2, DeployReason::Newer), "nothing is served");
    let mut forced = seen.clone();
    forced.pairs[0].state.forced = true;
    assert_eq!(next(&forced), deploy_of(2, DeployReason::Forced));
    seen.pairs[0].newest.as_mut().unwrap().origin = crate::state::Origin::Upload;
    assert_eq!(next(&seen), deploy_of(2, DeployReason::Newer));
}

// ---------------------------------------------------------------- who comes first

#[test]
fn a_service_gets_a_revision_after_those_that_come_before_it_have_proved_it() {
    let now = day(60.0);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    let mut ahead = |revision: u64, step: Step| {
        let certificate = "pbx".to_owned();
        let service = "sip".to_owned();
        seen.ahead = vec![Ahead { service, certificate, revision: Some(revision), step }];
        next_service(&spec(), &seen, &seed(), now)
    };
    for (revision, step) in [(2, Step::Proved), (3, Step::Proved), (2, Step::Unproved)] {
        assert_eq!(ahead(revision, step), deploy_of(2, DeployReason::Newer), "{revision} {step}");
    }
    let wait = waits(ahead(1, Step::Proved));
    let Why::After(text) = &wait.why else { panic!("{wait:?}") };
    assert!(text.starts_with("waits for sip: revision 2 of pbx is not in use there yet"), "{text}");
    for step in [Step::RolledBack, Step::Stuck, Step::NotTaken, Step::Reloaded] {
        let wait = waits(ahead(2, step));
        let Why::After(text) = &wait.why else { panic!("{wait:?}") };
        assert!(text.contains(&format!("revision 2 of pbx is {step} there")), "{text}");
    }
    // Expired everywhere would be worse: at a sixth of life left it goes in.
    ahead(2, Step::Stuck);
    assert_eq!(step(&seen, day(75.0)), deploy_of(2, DeployReason::Newer));
    seen.looked_at = Some(day(74.9));
    assert!(matches!(waits(step(&seen, day(74.9))).why, Why::After(_)));
    // Another certificate of that service is none of its business, and a person waits for nobody.
    seen.ahead[0].certificate = "door".to_owned();
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Newer));
    seen.ahead[0].certificate = "pbx".to_owned();
    seen.pairs[0].state.forced = true;
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Forced));
}

#[test]
fn strict_lint_holds_back_what_clients_will_refuse_until_an_eighth_of_life_is_left() {
    let now = day(60.0);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    seen.pairs[0].newest.as_mut().unwrap().leaf.key = Some(crate::cert::KeyType::EcdsaP256);
    let families = crate::config::compatibility::families();
    let clients: Vec<_> = families.into_iter().filter(|f| f.name == "freeswitch-1.10").collect();
    let lax = ServiceSpec { clients, ..spec() };
    let strict = ServiceSpec { strict_lint: true, ..lax.clone() };
    let next = |spec: &ServiceSpec, seen: &ServiceSeen, now| next_service(spec, seen, &seed(), now);
    assert_eq!(next(&lax, &seen, now), deploy_of(2, DeployReason::Newer));
    let wait = waits(next(&strict, &seen, now));
    let Why::Lint(text) = &wait.why else { panic!("{wait:?}") };
    assert!(
        text.contains("takes RSA keys only") && text.contains("`pbxcert deploy web`"),
        "{text}"
    );
    let an_eighth = before(day(90.0), DAY * 90 / 8);
    assert_eq!(next(&strict, &seen, an_eighth), deploy_of(2, DeployReason::Newer));
    let first = ServiceSeen { seen: [(ENDPOINT.to_owned(), closed(now))].into(), ..seen.clone() };
    assert_eq!(next(&strict, &first, now), deploy_of(2, DeployReason::Newer), "serves nobody");
    seen.pairs[0].state.forced = true;
    assert_eq!(next(&strict, &seen, now), deploy_of(2, DeployReason::Forced));
    seen.pairs[0].state.forced = false;
    seen.pairs[0].newest.as_mut().unwrap().leaf.key = Some(crate::cert::KeyType::Rsa2048);
    assert_eq!(next(&strict, &seen, now), deploy_of(2, DeployReason::Newer));
}

// ---------------------------------------------------------------- retries

#[test]
fn what_was_not_proved_is_tried_three_times_a_day_an_hour_apart_after_the_second() {
    for again in [Step::NotTaken, Step::Waiting] {
        let now = day(0.0);
        let mut seen = serving(vec![pair(again)], now);
        let retry = deploy_of(1, DeployReason::Retry);
        assert_eq!(step(&seen, now), retry, "{again}");
        seen.reloads.push(reload(1, now));
        assert_eq!(waits(step(&seen, at(60))).until, Some(at(300)));
        assert_eq!(step(&seen, at(300)), retry);
        seen.reloads.push(reload(1, at(300)));
        let wait = waits(step(&seen, at(600)));
        assert_eq!(wait.until, Some(at(3900)));
        let Why::Budget(text) = wait.why else { panic!("{:?}", wait.why) };
        assert_eq!(
            text,
            "revision 1 of pbx was tried 2 times within a day; next try at 2026-11-23 13:05 UTC"
        );
        assert_eq!(step(&seen, at(3900)), retry);
        seen.reloads.push(reload(1, at(3900)));
        seen.looked_at = Some(at(80_000));
        assert_eq!(waits(step(&seen, at(80_000))).until, Some(at(86_400)), "tomorrow");
        assert_eq!(step(&seen, at(86_400)), retry);
        // Neither those by hand nor those of another revision count.
        seen.reloads[2].by_hand = true;
        seen.reloads[1] = reload(2, at(300));
        assert_eq!(step(&seen, at(7200)), retry);
    }
}

#[test]
fn a_product_that_loses_memory_at_each_reload_is_spared_while_what_it_serves_is_good() {
    let spared = ServiceSpec { name: "edge".to_owned(), reloads_per_day: Some(2), ..spec() };
    let now = day(60.0);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    // Two reloads for other certificates of the same service.
    let other = |hours: f64| ReloadRecord {
        at: day(60.0 - hours / 24.0),
        revisions: [("other".to_owned(), 7)].into(),
        by_hand: false,
    };
    seen.reloads = vec![other(20.0), other(2.0)];
    let newer = deploy_of(2, DeployReason::Newer);
    assert_eq!(step(&seen, now), newer, "other kinds are not spared");
    let wait = waits(next_service(&spared, &seen, &seed(), now));
    assert_eq!(wait.until, Some(day(60.0 + 4.0 / 24.0)), "{wait:?}");
    let Why::Budget(text) = wait.why else { panic!("{:?}", wait.why) };
    assert!(text.starts_with("edge loses memory at each reload"), "{text}");
    assert!(text.contains("`pbxcert deploy edge` does not wait"), "{text}");

    seen.pairs[0].state.forced = true;
    let forced = deploy_of(2, DeployReason::Forced);
    assert_eq!(next_service(&spared, &seen, &seed(), now), forced);
    seen.pairs[0].state.forced = false;
    seen.reloads[0].by_hand = true;
    assert_eq!(next_service(&spared, &seen, &seed(), now), newer, "a person's does not count");
    seen.reloads[0].by_hand = false;

    // What is served ends on day 90.
    let late = day(89.5);
    let mut seen = serving(vec![renewed(Step::Proved)], late);
    seen.reloads = vec![reload(1, day(89.2)), reload(1, day(89.4))];
    assert_eq!(next_service(&spared, &seen, &seed(), late), newer, "too late to spare anything");
}

#[test]
fn a_rolled_back_revision_rests_an_hour_and_one_that_got_stuck_a_day() {
    let now = day(0.0);
    let mut seen = serving(vec![pair(Step::RolledBack)], now);
    seen.pairs[0].state.problem = Some("sips://127.0.0.1:5061 was broken".to_owned());
    let wait = waits(step(&seen, now));
    assert_eq!(wait.until, Some(at(3600)));
    let text = "pbx: sips://127.0.0.1:5061 was broken; next try at 2026-11-23 13:00 UTC";
    assert_eq!(wait.why, Why::BackOff(text.to_owned()));
    assert_eq!(step(&seen, at(3600)), deploy_of(1, DeployReason::Retry));
    seen.pairs[0].state.retry_at = Some(at(60));
    assert_eq!(step(&seen, at(60)), deploy_of(1, DeployReason::Retry), "the time that was noted");
    seen.pairs[0].state.step = Step::Stuck;
    assert!(matches!(waits(step(&seen, at(60))).why, Why::Person(_)));
    assert_eq!(step(&seen, at(86_400)), deploy_of(1, DeployReason::Retry));
    seen.pairs[0].newest = renewed(Step::Stuck).newest;
    assert_eq!(step(&seen, day(60.0)), deploy_of(2, DeployReason::Newer));
}

#[test]
fn a_noted_time_is_kept_unless_it_is_from_another_clock() {
    let now = day(60.0);
    let mut seen = serving(vec![renewed(Step::Proved)], now);
    seen.pairs[0].state.retry_at = Some(after(now, HOUR));
    assert_eq!(waits(step(&seen, now)).until, Some(after(now, HOUR)));
    seen.pairs[0].state.retry_at = Some(day(4000.0));
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Newer));
}

// ---------------------------------------------------------------- then a look

#[test]
fn endpoints_are_looked_at_first_thing_and_then_about_daily() {
    let now = day(10.0);
    let mut seen = serving(vec![pair(Step::Proved)], now);
    let until = waits(step(&seen, now)).until.unwrap();
    let pause = span(now, until);
    assert!(DAY * 9 / 10 <= pause && pause <= DAY, "{pause:?}");
    assert_eq!(step(&seen, until), ServiceAction::Look);
    assert_eq!(step(&seen, day(-10.0)), ServiceAction::Look, "looked at in the future");
    seen.looked_at = None;
    assert_eq!(step(&seen, now), ServiceAction::Look);
    seen.endpoints.clear();
    let wait = waits(step(&seen, now));
    assert_eq!(wait.until, None, "nothing to look at, nothing to do");
}

#[test]
fn what_nobody_could_be_asked_about_is_looked_at_after_1_5_15_60_minutes_and_hourly() {
    let mut seen = service(vec![pair(Step::Unproved)], closed(day(0.0)));
    let mut points = Vec::new();
    for _ in 0..6 {
        let looked_at = seen.looked_at.unwrap();
        let until = waits(step(&seen, looked_at)).until.unwrap();
        assert_eq!(step(&seen, until), ServiceAction::Look);
        seen.looked_at = Some(until);
        points.push(span(day(0.0), until).as_secs() / 60);
    }
    assert_eq!(points, [1, 5, 15, 60, 120, 180]);
}

// ---------------------------------------------------------------- always

fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![(-10.0..160.0).prop_map(day), Just(day(4000.0)), Just(Timestamp::UNIX_EPOCH)]
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn every_wait_of_a_service_lies_ahead(
        stage in 0..10_usize,
        installed in proptest::option::of(1..4_u64),
        files in 0..3,
        now in moment(),
        times in proptest::array::uniform6(moment()),
        reloads in proptest::collection::vec((moment(), 1..3_u64, any::<bool>()), 0..8),
        flags in proptest::array::uniform4(any::<bool>()),
    ) {
        use Step::*;
        let steps = [Waiting, Installed, Reloaded, Proved, Unproved, NotTaken, RolledBack, Stuck,
            Installing, RollingBack];
        let [since, retry_at, drift_at, looked_at, held_at, mended] = times;
        let mut pair = renewed(steps[stage]);
        pair.state.revision = installed;
        pair.state.since = Some(since);
        pair.state.retry_at = flags[0].then_some(retry_at);
        pair.state.forced = flags[1];
        pair.state.hold = flags[2].then(|| Hold { refused: 2, newer_too: false, by: "root".to_owned(), instead: None, at: held_at });
        pair.state.drift_at = flags[3].then_some(drift_at);
        pair.files = match files {
            0 => FilesSeen::AsInstalled,
            1 => FilesSeen::Broken("gone".to_owned()),
            _ => outside::foreign(100.0).files,
        };
        let mut seen = serving(vec![pair], looked_at);
        seen.mended = vec![mended; 3];
        seen.reloads = reloads
            .into_iter()
            .map(|(at, number, by_hand)| ReloadRecord { by_hand, ..reload(number, at) })
            .collect();
        if let ServiceAction::Wait(wait) = step(&seen, now) {
            prop_assert!(wait.until.is_none_or(|until| until > now), "{wait:?}");
            // There is an endpoint, so nothing sleeps past the next look.
            prop_assert!(wait.until.unwrap() <= after(now, DAY * 2), "{wait:?}");
        }
    }
}
