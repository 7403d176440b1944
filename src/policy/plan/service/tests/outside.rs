//! Pairs that somebody else put at the targets, and what a person holds.

use super::*;
use crate::cert::span;
use crate::policy::schedule::before;
use crate::state::PutBack;

/// Revision 2 is there since day 60; at the targets lies this one, from day 0 on.
pub(super) fn foreign(days: f64) -> PairSeen {
    let leaf = leaf("pbx.example", 77, day(0.0), DAY.mul_f64(days));
    PairSeen {
        files: FilesSeen::Foreign(Box::new(leaf)),
        in_place: Some(revision(1, day(0.0), DAY * 90).leaf.validity),
        outside_is_sound: true,
        ..renewed(Step::Proved)
    }
}

fn adopts() -> ServiceAction {
    ServiceAction::Adopt { certificate: "pbx".to_owned() }
}

fn fingerprint(pair: &PairSeen) -> crate::cert::Fingerprint {
    let FilesSeen::Foreign(leaf) = &pair.files else { panic!() };
    leaf.fingerprint
}

#[test]
fn a_good_pair_that_lasts_longer_is_adopted_after_10_seconds_of_quiet() {
    let now = day(60.0);
    let mut pair = foreign(300.0);
    pair.state.drift_at = Some(now);
    let wait = waits(step(&serving(vec![pair.clone()], now), now));
    assert_eq!((wait.until, wait.why), (Some(after(now, QUIET)), Why::Quiet));
    let later = after(now, QUIET);
    assert_eq!(step(&serving(vec![pair.clone()], now), later), adopts());
    // A person who asks for ours gets ours.
    let mut forced = pair.clone();
    forced.state.forced = true;
    assert_eq!(step(&serving(vec![forced], now), later), deploy_of(2, DeployReason::Forced));
    // Only what is as good as ours, for all of our names, and valid.
    let minute = after(now, MINUTE);
    for spoil in [
        (|pair: &mut PairSeen| pair.outside_is_sound = false) as fn(&mut PairSeen),
        |pair| {
            let other = leaf("pbx.other", 77, day(0.0), DAY * 300);
            pair.files = FilesSeen::Foreign(Box::new(other));
        },
        |pair| {
            let later = leaf("pbx.example", 77, day(70.0), DAY * 300);
            pair.files = FilesSeen::Foreign(Box::new(later));
        },
    ] {
        let mut poor = pair.clone();
        spoil(&mut poor);
        let seen = serving(vec![poor], now);
        assert_eq!(waits(step(&seen, later)).until, Some(minute), "60 seconds of quiet");
        assert_eq!(step(&seen, minute), deploy_of(2, DeployReason::Newer));
    }
    // Nothing of ours was ever there: another tool's, which is taken over in the usual way.
    let mut never = pair;
    never.state = PairState::default();
    assert_eq!(step(&serving(vec![never], now), minute), deploy_of(2, DeployReason::Newer));
}

#[test]
fn ours_is_put_back_over_something_older_once_and_then_it_is_left_alone() {
    let now = day(10.0);
    let mut pair = foreign(80.0);
    pair.newest = Some(revision(1, day(0.0), DAY * 90));
    pair.state.drift_at = Some(now);
    let seen = |pair: &PairSeen| serving(vec![pair.clone()], now);
    let minute = after(now, MINUTE);
    assert_eq!(waits(step(&seen(&pair), after(now, QUIET))).until, Some(minute));
    assert_eq!(step(&seen(&pair), minute), deploy_of(1, DeployReason::PutBack));
    let put_back = |at, fingerprint| PutBack { at, fingerprint, revision: 1 };
    pair.state.put_back = vec![put_back(now, fingerprint(&pair))];
    let wait = waits(step(&seen(&pair), minute));
    let Why::Person(text) = wait.why else { panic!("{:?}", wait.why) };
    assert!(text.contains("ours was put back over it before, and now it is left alone"), "{text}");
    let mut later = serving(vec![pair.clone()], day(40.0));
    later.seen = seen(&pair).seen;
    assert!(matches!(step(&later, day(40.0)), ServiceAction::Wait(_)), "for good");
    // Expired is worse.
    assert_eq!(step(&seen(&pair), day(79.0)), deploy_of(1, DeployReason::PutBack));
    // A newer one of ours goes over it in the usual way.
    pair.newest = Some(revision(2, day(60.0), DAY * 90));
    let renewed = serving(vec![pair], day(60.0));
    assert_eq!(step(&renewed, day(60.0)), deploy_of(2, DeployReason::Newer));
}

#[test]
fn ours_is_put_back_twice_a_day_at_most() {
    let now = day(10.0);
    let mut pair = foreign(80.0);
    pair.newest = Some(revision(1, day(0.0), DAY * 90));
    let other = |n: u64| leaf("pbx.example", n, day(0.0), DAY).fingerprint;
    let two = [(1, HOUR * 5), (2, HOUR * 2)];
    pair.state.put_back = two
        .map(|(n, ago)| PutBack { at: before(now, ago), fingerprint: other(n), revision: 1 })
        .into();
    let seen = serving(vec![pair.clone()], now);
    let wait = waits(step(&seen, now));
    assert!(matches!(&wait.why, Why::Person(text) if text.contains("twice today")), "{wait:?}");
    pair.state.put_back.remove(0);
    assert_eq!(step(&serving(vec![pair], now), now), deploy_of(1, DeployReason::PutBack));
}

#[test]
fn what_belongs_there_is_put_back_also_where_a_newer_one_is_held_back() {
    let now = day(65.0);
    let mut pair = foreign(70.0);
    pair.state.hold = Some(hold(true, Some(1)));
    let seen = serving(vec![pair.clone()], now);
    assert_eq!(step(&seen, now), deploy_of(1, DeployReason::PutBack));
    // But nothing that lasts longer gives way to what is held.
    let leaf = leaf("pbx.example", 77, day(0.0), DAY * 100);
    pair.files = FilesSeen::Foreign(Box::new(leaf));
    let wait = waits(step(&serving(vec![pair], now), now));
    assert!(matches!(wait.why, Why::Held(_)), "{wait:?}");
}

#[test]
fn what_a_rollback_put_back_is_not_from_outside() {
    let mut seen = serving(vec![foreign(300.0)], day(60.0));
    let FilesSeen::Foreign(leaf) = seen.pairs[0].files.clone() else { panic!() };
    seen.pairs[0].state.step = Step::RolledBack;
    seen.pairs[0].state.saved = Some(Saved { revision: None, leaf: Some(*leaf), existed: true });
    assert_eq!(step(&seen, day(60.0)), deploy_of(2, DeployReason::Newer));
}

// ---------------------------------------------------------------- what a person holds

fn hold(newer_too: bool, instead: Option<u64>) -> Hold {
    Hold { refused: 1, newer_too, instead, by: "eva".to_owned(), at: day(50.0) }
}

#[test]
fn a_hold_keeps_back_every_newer_one_until_48_hours_before_the_end() {
    let now = day(60.0);
    let mut pair = renewed(Step::Proved);
    pair.state.hold = Some(hold(true, Some(1)));
    let mut seen = serving(vec![pair], now);
    let wait = waits(step(&seen, now));
    let Why::Held(text) = wait.why else { panic!("{:?}", wait.why) };
    assert_eq!(
        text,
        "revision 2 of pbx is held back by eva since 2027-01-12 12:00 UTC; revision 1 stays; \
         `pbxcert release pbx` ends it"
    );
    assert_eq!(held_until(&seen.pairs[0], &seen), Some(day(88.0)));
    seen.looked_at = Some(day(87.9));
    assert!(matches!(waits(step(&seen, day(87.9))).why, Why::Held(_)));
    assert_eq!(step(&seen, day(88.0)), deploy_of(2, DeployReason::Newer));
    // Where nobody can look, what was installed counts.
    seen.endpoints.clear();
    seen.pairs[0].in_place = Some(revision(1, day(0.0), DAY * 90).leaf.validity);
    assert_eq!(step(&seen, day(88.0)), deploy_of(2, DeployReason::Newer));
    assert!(matches!(waits(step(&seen, day(87.9))).why, Why::Held(_)));
    // A person's earlier refusal of one revision is no hold of the next.
    seen.pairs[0].state.hold = Some(hold(false, None));
    assert_eq!(held_until(&seen.pairs[0], &seen), None);
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Newer));
}

#[test]
fn the_end_of_a_hold_is_announced_a_week_before() {
    use crate::policy::findings::holds;

    let mut pair = renewed(Step::Proved);
    pair.state.hold = Some(hold(true, Some(1)));
    let seen = serving(vec![pair], day(60.0));
    assert_eq!(holds(&spec(), &seen, day(80.9)), []);
    let found = holds(&spec(), &seen, day(81.0));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].object.as_str(), found[0].condition.word()), ("pbx", "hold"));
    assert_eq!((found[0].by, found[0].since), (Some(day(88.0)), Some(day(81.0))));
    assert!(found[0].text.contains("held by eva"), "{}", found[0].text);
    assert_eq!(holds(&spec(), &seen, day(88.0)), [], "it is over");
    assert_eq!(span(day(81.0), day(88.0)), DAY * 7);
}
