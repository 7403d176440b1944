//! A new certificate that phones might not trust.

use super::*;
use crate::cert::top::Top;
use crate::config::OnTrustChange;
use crate::policy::samples::top;
use crate::policy::schedule::before;
use crate::state::{Approval, TrustSeen};

fn other_root() -> Top {
    Top { issuer: "CN=another root".to_owned(), ..top(&revision(2, day(60.0), DAY * 90).leaf) }
}

/// Revision 2 is there since day 60 and leads to another root; revision 1 is served until day 90.
fn doubtful(stance: OnTrustChange, now: Timestamp) -> ServiceSeen {
    let mut pair = renewed(Step::Proved);
    pair.trust = Some(TrustSeen {
        stance,
        newest: Some(other_root()),
        anchored: [ENDPOINT.to_owned()].into(),
        installed: None,
    });
    serving(vec![pair], now)
}

type Spoil = fn(&mut ServiceSeen, crate::cert::Leaf);

fn newer() -> ServiceAction {
    deploy_of(2, DeployReason::Newer)
}

#[test]
fn another_root_waits_for_a_person_and_goes_in_at_an_eighth_in_the_next_window() {
    let now = day(60.0);
    let mut seen = doubtful(OnTrustChange::Ask, now);
    // An eighth of 90 days before day 90 is 06:00 on day 78; the next night is at 03:00.
    let night = after(day(78.75), HOUR * 21);
    let Judgement::Doubted(doubted) = trust::judge(&spec(), &seen.pairs[0], &seen, now) else {
        panic!()
    };
    assert_eq!(doubted.until, night);
    let action = step(&seen, now);
    let Why::Approval(text) = waits(action).why else { panic!() };
    assert_eq!(
        text,
        "revision 2 of pbx waits for `pbxcert approve pbx`, because it leads to CN=another root \
         instead of CN=test root; it goes in at 2027-02-11 03:00 UTC"
    );
    seen.looked_at = Some(before(night, MINUTE));
    assert!(matches!(waits(step(&seen, before(night, MINUTE))).why, Why::Approval(_)));
    assert_eq!(step(&seen, night), newer());
    // A wish of `renew` is not about this, nor is one for another revision.
    seen.looked_at = Some(now);
    seen.pairs[0].state.forced = true;
    assert!(matches!(waits(step(&seen, now)).why, Why::Approval(_)));
    assert_eq!(step(&seen, night), newer(), "with windows and calls");
    let approved = |revision| Some(Approval { revision, by: "eva".to_owned(), at: now });
    seen.pairs[0].state.approved = approved(1);
    assert!(matches!(waits(step(&seen, now)).why, Why::Approval(_)));
    seen.pairs[0].state.forced = false;
    seen.pairs[0].state.approved = approved(2);
    assert_eq!(step(&seen, now), newer());
}

#[test]
fn with_window_it_goes_in_in_the_next_night_and_with_go_at_once() {
    let now = day(60.0);
    let seen = doubtful(OnTrustChange::Window, now);
    let wait = waits(step(&seen, now));
    let night = after(now, HOUR * 15);
    assert!(matches!(wait.why, Why::Approval(_)));
    let mut later = doubtful(OnTrustChange::Window, night);
    later.looked_at = Some(night);
    assert!(matches!(step(&later, before(night, MINUTE)), ServiceAction::Wait(_)));
    assert_eq!(step(&later, night), newer());
    assert_eq!(step(&doubtful(OnTrustChange::Go, now), now), newer());
}

#[test]
fn there_is_no_guard_where_nothing_usable_is_served() {
    let now = day(60.0);
    let ask = || doubtful(OnTrustChange::Ask, now);
    let old = revision(1, day(0.0), DAY * 90).leaf;
    let spoiled: [(&str, Spoil); 5] = [
        ("untrusted", |seen, _| {
            seen.pairs[0].trust.as_mut().unwrap().anchored.clear();
        }),
        ("over", |seen, leaf| {
            let over = crate::cert::Validity { not_after: day(59.0), ..leaf.validity };
            let leaf = crate::cert::Leaf { validity: over, ..leaf };
            seen.seen = [(ENDPOINT.to_owned(), served(&leaf, day(60.0)))].into();
        }),
        ("other names", |seen, leaf| {
            let identifiers = ["pbx.other".parse().unwrap()].into();
            let leaf = crate::cert::Leaf { identifiers, ..leaf };
            seen.seen = [(ENDPOINT.to_owned(), served(&leaf, day(60.0)))].into();
        }),
        ("an intermediate is over", |seen, leaf| {
            let mut served = served(&leaf, day(60.0));
            if let crate::state::Answer::Certificate { top: Some(top), .. } = &mut served.answer {
                top.ends = Some(day(59.0));
            }
            seen.seen = [(ENDPOINT.to_owned(), served)].into();
        }),
        ("nobody listens", |seen, _| {
            seen.seen = [(ENDPOINT.to_owned(), closed(day(60.0)))].into();
        }),
    ];
    for (what, spoil) in spoiled {
        let mut seen = ask();
        spoil(&mut seen, old.clone());
        assert_eq!(step(&seen, now), newer(), "{what}");
    }
    // Stopped for a while, it will serve what was installed when it is back.
    let mut stopped = ask();
    stopped.seen = [(ENDPOINT.to_owned(), closed(now))].into();
    stopped.pairs[0].trust.as_mut().unwrap().installed = Some((old.clone(), Some(top(&old))));
    assert!(matches!(waits(step(&stopped, now)).why, Why::Approval(_)));
    stopped.endpoints.clear();
    assert!(matches!(waits(step(&stopped, now)).why, Why::Approval(_)), "no endpoint at all");
}

#[test]
fn nothing_is_changed_before_somebody_has_looked() {
    let now = day(60.0);
    let mut seen = doubtful(OnTrustChange::Ask, now);
    seen.seen.clear();
    seen.looked_at = None;
    assert_eq!(step(&seen, now), ServiceAction::Look);
    // A record of old says nothing of the chain.
    let mut old = served(&revision(1, day(0.0), DAY * 90).leaf, now);
    if let crate::state::Answer::Certificate { top, .. } = &mut old.answer {
        *top = None;
    }
    seen.seen = [(ENDPOINT.to_owned(), old)].into();
    assert_eq!(step(&seen, now), ServiceAction::Look);
}

#[test]
fn what_lies_there_already_is_not_doubted() {
    let now = day(60.0);
    let mut seen = doubtful(OnTrustChange::Ask, now);
    (seen.pairs[0].state.revision, seen.pairs[0].state.step) = (Some(2), Step::NotTaken);
    assert_eq!(step(&seen, now), deploy_of(2, DeployReason::Retry));
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn the_guard_ends_before_what_is_served_does(
        life in 0.2..400.0_f64,
        passed in 0.0..1.0_f64,
        window in any::<bool>(),
        day_of_week in 0..7_usize,
        from in 0..1440_u16,
    ) {
        let lifetime = DAY.mul_f64(life);
        let old = revision(1, day(0.0), lifetime);
        let end = old.leaf.validity.not_after;
        let now = after(day(0.0), lifetime.mul_f64(passed));
        let stance = if window { OnTrustChange::Window } else { OnTrustChange::Ask };
        let mut seen = doubtful(stance, now);
        seen.seen = [(ENDPOINT.to_owned(), served(&old.leaf, now))].into();
        seen.pairs[0].newest = Some(revision(2, now, lifetime));
        let mut spec = spec();
        let mut days = [false; 7];
        days[day_of_week] = true;
        spec.calm.windows =
            vec![crate::config::calm::Window { days, from, to: (from + 60) % 1440 }];
        match trust::judge(&spec, &seen.pairs[0], &seen, now) {
            Judgement::Doubted(doubted) => {
                prop_assert!(now < doubted.until && doubted.until < end, "{doubted:?}");
                // And when that time has come, it is over.
                let late = trust::judge(&spec, &seen.pairs[0], &seen, doubted.until);
                prop_assert_eq!(late, Judgement::Late);
            }
            Judgement::Late => {}
            other => prop_assert!(now >= end, "{other:?}"),
        }
    }
}
