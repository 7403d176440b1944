//! A CA that changes its root at every renewal, and a guard that nobody answers.

use super::*;
use crate::cert::top::Top;
use crate::config::OnTrustChange;
use crate::config::kind::Class;
use crate::policy::samples::top;
use crate::state::TrustSeen;

/// Another root each time; notes how much life was left at each deployment.
struct Restless {
    until: Timestamp,
    roots: u64,
    changes: bool,
    left: Vec<f64>,
}

impl Outcomes for Restless {
    fn order(&mut self, held: Option<&Leaf>, _: bool, now: Timestamp) -> Result<Validity, Failed> {
        let lifetime = held.map_or(DAY * 90, |leaf| leaf.validity.lifetime());
        Ok(Validity { not_before: now, not_after: after(now, lifetime) })
    }

    fn chain(&mut self, _now: Timestamp) -> Option<Top> {
        self.roots += u64::from(self.changes);
        let issuer = format!("CN=root {}", self.roots);
        Some(Top { length: 2, issuer, authority_key: None, ends: None, self_signed: false })
    }

    fn deploy(&mut self, _service: &str, old: Option<&Leaf>, now: Timestamp) -> Step {
        let validity = old.expect("something is served").validity;
        assert!(now < validity.not_after, "it had expired");
        let left = validity.left(now).as_secs_f64() / validity.lifetime().as_secs_f64();
        self.left.push(left);
        Step::Proved
    }

    fn sleep(&mut self, wake: Option<Timestamp>, _now: Timestamp) -> Option<Timestamp> {
        wake.filter(|wake| *wake < self.until)
    }
}

fn guarded(lifetime: Duration, stance: OnTrustChange, class: Class) -> Scene {
    let mut scene = scene(lifetime, issuer());
    let web = &mut scene.services[0];
    web.spec.class = class;
    let pair = &mut web.seen.pairs[0];
    let first = top(&pair.newest.as_ref().unwrap().leaf);
    pair.trust = Some(TrustSeen {
        stance,
        newest: Some(first),
        anchored: [ENDPOINT.to_owned()].into(),
        installed: None,
    });
    scene
}

fn run(scene: &mut Scene, changes: bool, days: f64) -> Vec<f64> {
    let mut outcomes = Restless { until: day(days), roots: 0, changes, left: Vec::new() };
    simulate(scene, &seed(), &mut outcomes, day(0.0)).unwrap();
    outcomes.left
}

#[test]
fn in_a_year_without_an_answer_each_new_root_goes_in_at_an_eighth_of_life() {
    let mut scene = guarded(DAY * 90, OnTrustChange::Ask, Class::Hot);
    let left = run(&mut scene, true, 400.0);
    assert!(left.len() >= 5, "{left:?}");
    // And within a day after that: the next night.
    assert!(left.iter().all(|left| (0.11..=0.125).contains(left)), "{left:?}");
}

#[test]
fn the_same_root_is_never_waited_for() {
    let mut scene = guarded(DAY * 90, OnTrustChange::Ask, Class::Hot);
    let left = run(&mut scene, false, 400.0);
    // The first one leads elsewhere than what was served at the beginning.
    assert!(left[1..].iter().all(|left| *left > 0.3), "{left:?}");
    assert!(left.len() >= 6, "{left:?}");
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn nothing_expires_for_a_guard_that_nobody_answers(
        life in prop_oneof![Just(6.0), Just(45.0), Just(90.0), Just(398.0), 1.0..400.0_f64],
        window in any::<bool>(),
        restart in any::<bool>(),
        weekly in proptest::option::of(0..7_usize),
    ) {
        let stance = if window { OnTrustChange::Window } else { OnTrustChange::Ask };
        let class = if restart { Class::Restart } else { Class::Hot };
        let mut scene = guarded(DAY.mul_f64(life), stance, class);
        if let Some(weekday) = weekly {
            let mut days = [false; 7];
            days[weekday] = true;
            let window = crate::config::calm::Window { days, from: 180, to: 240 };
            scene.services[0].spec.calm.windows = vec![window];
        }
        // `deploy` looks whether what was served had expired.
        let left = run(&mut scene, true, life * 4.0);
        prop_assert!(left.len() >= 2, "{left:?}");
    }
}
