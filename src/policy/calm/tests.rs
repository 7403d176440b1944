use super::*;
use crate::config::calm::{Freeze, Share};
use crate::config::kind::Kind;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn spec(class: Class) -> ServiceSpec {
    ServiceSpec {
        name: "pbx".to_owned(),
        kind: Kind::Freeswitch,
        certificates: vec!["pbx".to_owned()],
        install: Default::default(),
        user: None,
        test: None,
        reload: Some(vec!["/bin/true".to_owned()]),
        recover: None,
        busy: Some(vec!["/bin/true".to_owned()]),
        class,
        reloads_per_day: None,
        calm: Calm::default(),
        exec_prefix: Vec::new(),
        clients: Vec::new(),
        sip_domains: Vec::new(),
        strict_lint: false,
        after: Vec::new(),
        endpoints: Vec::new(),
        proof_timeout: HOUR,
        hook_timeout: HOUR,
    }
}

/// 64 days of life, of which 62 hours of the first day have no meaning.
fn old() -> Validity {
    Validity { not_before: at("2026-11-01T00:00Z"), not_after: at("2027-01-04T00:00Z") }
}

fn case(spec: &ServiceSpec) -> Case<'_> {
    Case { spec, old: Some(old()), unknown: false, calls: None, announced: None }
}

fn up(count: u32, now: Timestamp) -> Option<Calls> {
    Some(Calls { at: now, count: Some(count) })
}

#[test]
fn what_drops_nothing_waits_for_its_window_and_for_nothing_else() {
    let mut hot = spec(Class::Hot);
    let noon = at("2026-12-01T12:00Z");
    assert_eq!(leave(case(&hot), noon), Leave::Given);
    hot.calm.windows = vec![Window { days: [true; 7], from: 1320, to: 300 }];
    let Leave::Later(until, why) = leave(case(&hot), noon) else { panic!("it is noon") };
    assert_eq!(until, Some(at("2026-12-01T22:00Z")));
    assert_eq!(why, "waits for its window at 2026-12-01 22:00 UTC");
    assert_eq!(leave(case(&hot), at("2026-12-01T23:00Z")), Leave::Given);
    // 1/6 of 64 days before the end.
    let late = at("2026-12-24T09:00Z");
    assert_eq!(leave(case(&hot), late), Leave::Given);
    let first = Case { old: None, ..case(&hot) };
    assert_eq!(leave(first, noon), Leave::Given, "nobody is served now");
    hot.calm.deadline = Share::Span(DAY);
    assert!(matches!(leave(case(&hot), late), Leave::Later(..)));
}

#[test]
fn a_freeze_ends_two_days_before_the_end_at_the_latest() {
    let mut hot = spec(Class::Drain);
    let freeze = Freeze { from: "2026-12-18".parse().unwrap(), to: "2027-01-06".parse().unwrap() };
    hot.calm.freezes = vec![freeze];
    let last = at("2027-01-02T00:00Z");
    for now in [at("2026-12-18T12:00Z"), at("2026-12-30T12:00Z")] {
        let Leave::Later(Some(until), why) = leave(case(&hot), now) else { panic!("frozen") };
        assert!(until <= last && why.contains("frozen"), "{until} {why}");
    }
    assert_eq!(leave(case(&hot), last), Leave::Given);
    assert_eq!(leave(case(&hot), at("2026-12-17T12:00Z")), Leave::Given);
}

#[test]
fn what_ends_calls_goes_in_when_none_is_up() {
    let restart = spec(Class::Restart);
    let now = at("2026-12-01T12:00Z");
    assert_eq!(leave(case(&restart), now), Leave::CountCalls);
    let idle = Case { calls: up(0, now), ..case(&restart) };
    assert_eq!(leave(idle, now), Leave::Given);
    let busy = Case { calls: up(3, now), ..case(&restart) };
    let Leave::Later(Some(until), why) = leave(busy, now) else { panic!("calls are up") };
    assert_eq!((until, why.as_str()), (at("2026-12-01T12:05Z"), "waits: 3 calls are up"));
    let stale = Case { calls: up(0, at("2026-12-01T11:50Z")), ..case(&restart) };
    assert_eq!(leave(stale, now), Leave::CountCalls, "that was ten minutes ago");
    let silent = Calls { at: now, count: None };
    let silent = Case { calls: Some(silent), ..case(&restart) };
    let Leave::Later(_, why) = leave(silent, now) else { panic!("unknown is busy") };
    assert!(why.contains("nobody can say"), "{why}");
}

#[test]
fn from_a_quarter_of_life_left_it_is_announced_two_days_before_a_window() {
    let restart = spec(Class::Restart);
    // A quarter of 64 days is left on 19 December.
    let now = at("2026-12-17T00:00Z");
    assert!(matches!(leave(case(&restart), at("2026-12-16T00:00Z")), Leave::CountCalls));
    let takes_place = at("2026-12-19T03:00Z");
    assert_eq!(leave(case(&restart), now), Leave::Announce(takes_place));
    let told = Announcement { at: now, takes_place, revisions: Default::default() };
    let case = Case { announced: Some(&told), ..case(&restart) };
    let busy = |now| Case { calls: up(20, now), ..case };
    let noon = at("2026-12-18T12:00Z");
    let Leave::Later(Some(_), why) = leave(busy(noon), noon) else { panic!("not yet") };
    assert_eq!(why, "waits: 20 calls are up; it happens anyway at 2026-12-19 03:00 UTC");
    assert_eq!(leave(busy(takes_place), takes_place), Leave::Given);
    assert_eq!(leave(busy(at("2026-12-19T04:59Z")), at("2026-12-19T04:59Z")), Leave::Given);
    // It was off that night: not at noon, but the next night.
    let missed = at("2026-12-19T12:00Z");
    let Leave::Later(Some(_), why) = leave(busy(missed), missed) else { panic!("noon") };
    assert!(why.contains("anyway at 2026-12-20 03:00"), "{why}");
    assert_eq!(leave(busy(at("2026-12-20T03:30Z")), at("2026-12-20T03:30Z")), Leave::Given);
}

#[test]
fn with_a_day_left_everybody_loses_more_by_waiting() {
    for disruptive in Disruptive::ALL {
        let mut restart = spec(Class::Restart);
        restart.calm.disruptive = disruptive;
        let now = at("2027-01-03T00:00Z");
        let busy = Case { calls: up(20, now), ..case(&restart) };
        assert_eq!(leave(busy, now), Leave::Given, "{disruptive:?}");
        let earlier = at("2027-01-02T12:00Z");
        let busy = Case { calls: up(20, earlier), ..case(&restart) };
        assert_ne!(leave(busy, earlier), Leave::Given, "{disruptive:?}");
    }
}

#[test]
fn never_means_by_a_person() {
    let mut restart = spec(Class::Restart);
    restart.calm.disruptive = Disruptive::Never;
    let now = at("2026-12-20T03:30Z");
    let idle = Case { calls: up(0, now), ..case(&restart) };
    let Leave::Later(until, why) = leave(idle, now) else { panic!("never") };
    assert_eq!(until, Some(at("2027-01-03T00:00Z")));
    assert!(why.contains("`pbxcert deploy pbx`"), "{why}");
}

#[test]
fn where_nothing_is_served_the_next_night_will_do() {
    let restart = spec(Class::Restart);
    let noon = at("2026-12-01T12:00Z");
    let first = Case { old: None, calls: up(2, noon), ..case(&restart) };
    let Leave::Later(Some(_), why) = leave(first, noon) else { panic!("calls are up") };
    assert_eq!(why, "waits: 2 calls are up; it happens anyway at 2026-12-02 03:00 UTC");
    assert_eq!(leave(first, at("2026-12-02T03:00Z")), Leave::Given);
    let mut windowed = restart.clone();
    windowed.calm.windows = vec![Window { days: [true; 7], from: 1320, to: 300 }];
    let idle = Case { old: None, calls: up(0, noon), ..case(&windowed) };
    assert_eq!(leave(idle, noon), Leave::Given, "nobody is served, and nobody speaks");
    let unseen = Case { unknown: true, ..idle };
    assert!(matches!(leave(unseen, noon), Leave::Later(..)), "nobody has looked");
    let mut mute = spec(Class::Restart);
    mute.busy = None;
    let first = Case { spec: &mute, ..first };
    let Leave::Later(Some(until), _) = leave(first, noon) else { panic!("nobody can say") };
    assert_eq!(until, at("2026-12-02T03:00Z"));
}
