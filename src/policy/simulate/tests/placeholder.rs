//! What stands in while the CA is out of reach, over months and wrong clocks.

use super::*;
use crate::config::Source;

/// Nothing is there, and the CA cannot reach this host.
fn unreachable(source: Source) -> Scene {
    let mut scene = empty(issuer());
    scene.certificates[0].spec.source = source;
    scene.certificates[0].seen.unreachable = true;
    scene
}

fn serves(scene: &Scene) -> &Leaf {
    scene.services[0].seen.seen[ENDPOINT].leaf().expect("something is served")
}

/// The CA is down until then; looks at what is served at each step.
struct Down {
    back_at: Timestamp,
    until: Timestamp,
    class: FailureClass,
    orders: usize,
}

impl Outcomes for Down {
    fn order(&mut self, held: Option<&Leaf>, _: bool, now: Timestamp) -> Result<Validity, Failed> {
        assert_eq!(held, None, "a placeholder is no certificate");
        self.orders += 1;
        if now < self.back_at {
            return Err(Failed { class: self.class, retry_after: None });
        }
        Ok(Validity { not_before: now, not_after: after(now, DAY * 90) })
    }

    fn deploy(&mut self, _service: &str, old: Option<&Leaf>, now: Timestamp) -> Step {
        assert!(old.is_none_or(|old| now < old.validity.not_after), "it had expired");
        Step::Proved
    }

    fn sleep(&mut self, wake: Option<Timestamp>, _now: Timestamp) -> Option<Timestamp> {
        wake.filter(|wake| *wake < self.until)
    }
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![Just(Source::Auto), Just(Source::Manual)]
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_placeholder_serves_all_the_time_until_the_ca_is_back(
        days in 0.01..200.0_f64,
        class in prop_oneof![
            Just(FailureClass::Transient), Just(FailureClass::Person), Just(FailureClass::Validation)
        ],
    ) {
        let back_at = day(days);
        // The back-off is a day at most, give or take a tenth.
        let until = after(back_at, HOUR * 27);
        let mut down = Down { back_at, until, class, orders: 0 };
        let mut scene = unreachable(Source::Auto);
        let timeline = simulate(&mut scene, &seed(), &mut down, day(0.0))?;
        let placeholders = timeline.iter().filter(|e| e.what.contains("a placeholder")).count();
        // One may still be renewed while the back-off lasts.
        let (least, most) = (1 + (days / 20.0) as usize, 1 + ((days + 1.2) / 19.95) as usize);
        prop_assert!((least..=most).contains(&placeholders), "{:#?}", timeline);
        prop_assert!(!serves(&scene).is_placeholder(), "{:#?}", timeline);
    }

    #[test]
    fn without_anybody_who_uploads_a_manual_certificate_is_a_placeholder_for_ever(
        days in 1.0..900.0_f64,
    ) {
        let until = day(days);
        let mut down = Down { back_at: day(0.0), until, class: FailureClass::Person, orders: 0 };
        let mut scene = unreachable(Source::Manual);
        simulate(&mut scene, &seed(), &mut down, day(0.0))?;
        prop_assert_eq!(down.orders, 0);
        let left = serves(&scene).validity.left(until);
        prop_assert!(serves(&scene).is_placeholder() && left > DAY * 9, "{left:?} left");
    }

    #[test]
    fn a_placeholder_that_a_wrong_clock_dated_is_gone_when_it_is_right_again(
        source in source(),
        mut jumps in proptest::collection::vec(jump(), 1..6),
    ) {
        jumps.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut jumps: Vec<_> = jumps.into_iter().map(|(d, by, t)| (day(d), by, t)).collect();
        jumps.push((day(61.0), 0, true));
        let until = after(day(61.0), WEEK * 2);
        let mut clocks = Clocks {
            lifetime: DAY * 90,
            truth: day(0.0),
            until,
            jumps,
            done: 0,
            orders: 0,
            failing: false,
        };
        let mut scene = unreachable(source);
        simulate(&mut scene, &seed(), &mut clocks, day(0.0))?;
        let leaf = held(&scene);
        prop_assert!(leaf.validity.contains(until), "{:?} at {until}", leaf.validity);
        prop_assert_eq!(serves(&scene).fingerprint, leaf.fingerprint);
        prop_assert_eq!(leaf.is_placeholder(), source == Source::Manual);
        prop_assert!(source == Source::Auto || clocks.orders == 0);
    }
}
