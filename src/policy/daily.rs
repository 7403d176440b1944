//! When the daily check runs.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::schedule::{DAY, HOUR, MINUTE, Seed, after, holds_until};
use crate::config::check::CheckTime;

/// After a start a check that was missed waits for so long at least: services and the clock come up
/// first.
const SETTLING: Duration = Duration::from_secs(5 * 60);

/// Machines that come up together after a power cut do not ask the same servers at once.
const SPREAD: Duration = HOUR;

/// When the next check runs: at the first planned moment after the last one, caught up when that
/// has passed. `started_at` is when whoever runs it started.
///
/// Wall-clock times follow the zone: one that a change to summer time leaves out comes an hour
/// later, one that comes twice counts once.
pub fn next_at(
    at: CheckTime,
    last: Option<Timestamp>,
    started_at: Timestamp,
    seed: &Seed,
    zone: &TimeZone,
    now: Timestamp,
) -> Timestamp {
    // One from the future was written with a clock that was ahead: it says nothing of today, and
    // whoever waited for it would wait for months.
    let last = last.filter(|last| *last <= now);
    let settled = after(started_at, SETTLING + SPREAD.mul_f64(seed.fraction(&["check", "start"])));
    let Some(last) = last else { return settled.clamp(now, after(now, SETTLING + SPREAD)) };
    let planned = planned_after(at, last, seed, zone);
    if planned > now {
        return planned;
    }
    // Missed. Just now is no reason to wait; a start is.
    let waits = holds_until(started_at, SETTLING + SPREAD, now).is_some() && planned < started_at;
    if waits { settled.max(now) } else { now }
}

/// The first planned moment after `last`.
fn planned_after(at: CheckTime, last: Timestamp, seed: &Seed, zone: &TimeZone) -> Timestamp {
    let today = zone.to_datetime(last).date();
    // A week and a day: a weekday comes at least once.
    for day in 0..9 {
        let Ok(date) = today.checked_add(jiff::Span::new().days(day)) else { break };
        let Some(time) = time_on(at, date, seed) else { continue };
        let Ok(moment) = zone.to_ambiguous_timestamp(date.to_datetime(time)).compatible() else {
            continue;
        };
        // Never twice within an hour, whatever the clocks do.
        if moment > after(last, MINUTE * 30) {
            return moment;
        }
    }
    after(last, DAY)
}

fn time_on(at: CheckTime, date: Date, seed: &Seed) -> Option<Time> {
    match at {
        CheckTime::Daily(time) => Some(time),
        CheckTime::Weekly(day, time) => (date.weekday() == day).then_some(time),
        CheckTime::Random => {
            let minutes = (seed.fraction(&["check", &date.to_string()]) * 1440.0) as i16;
            let minutes = minutes.clamp(0, 1439);
            Time::new((minutes / 60) as i8, (minutes % 60) as i8, 0, 0).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::civil::{Weekday, time};
    use proptest::prelude::*;

    use super::*;
    use crate::policy::samples::{at as point, cases};

    fn seed() -> Seed {
        Seed::new(b"one host")
    }

    fn vienna() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn stamp(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn local(at: Timestamp, zone: &TimeZone) -> String {
        at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
    }

    #[test]
    fn a_fixed_time_stays_at_its_hour_through_both_changes_of_the_clocks() {
        let (zone, at) = (vienna(), CheckTime::Daily(time(3, 30, 0, 0)));
        let mut now = stamp("2027-03-26T12:00:00Z");
        let mut seen = Vec::new();
        for _ in 0..4 {
            now = next_at(at, Some(now), stamp("2027-01-01T00:00:00Z"), &seed(), &zone, now);
            seen.push(local(now, &zone));
        }
        let days = ["2027-03-27", "2027-03-28", "2027-03-29", "2027-03-30"];
        assert_eq!(seen, days.map(|day| format!("{day} 03:30")));
        // 02:30 is left out in spring and comes twice in autumn.
        let at = CheckTime::Daily(time(2, 30, 0, 0));
        let next = |last: &str| {
            let last = stamp(last);
            local(next_at(at, Some(last), last, &seed(), &zone, last), &zone)
        };
        assert_eq!(next("2027-03-27T12:00:00Z"), "2027-03-28 03:30");
        assert_eq!(next("2027-10-30T12:00:00Z"), "2027-10-31 02:30");
        assert_eq!(next("2027-10-31T00:30:00Z"), "2027-11-01 02:30", "not twice");
    }

    #[test]
    fn a_weekday_comes_once_a_week() {
        let (zone, at) = (vienna(), CheckTime::Weekly(Weekday::Sunday, time(3, 30, 0, 0)));
        let last = stamp("2026-12-06T02:30:00Z");
        let next = next_at(at, Some(last), last, &seed(), &zone, last);
        assert_eq!(local(next, &zone), "2026-12-13 03:30");
    }

    #[test]
    fn random_times_differ_by_day_and_by_host() {
        let zone = TimeZone::UTC;
        let mut times = BTreeSet::new();
        for host in [b"one host".as_slice(), b"another"] {
            let seed = Seed::new(host);
            let mut now = point(0);
            for _ in 0..10 {
                now = next_at(CheckTime::Random, Some(now), point(0), &seed, &zone, now);
                times.insert(local(now, &zone)[11..].to_owned());
            }
        }
        assert!(times.len() > 15, "{times:?}");
    }

    #[test]
    fn what_was_missed_is_caught_up_and_after_a_start_not_at_once() {
        let (zone, at) = (TimeZone::UTC, CheckTime::Daily(time(3, 30, 0, 0)));
        let last = stamp("2026-12-01T03:30:00Z");
        let now = stamp("2026-12-05T12:00:00Z");
        // Suspended, say: it ran all the time.
        assert_eq!(next_at(at, Some(last), last, &seed(), &zone, now), now);
        let next = next_at(at, Some(last), now, &seed(), &zone, now);
        assert!(after(now, SETTLING) <= next && next <= after(now, SETTLING + SPREAD), "{next}");
        let again = next_at(at, Some(last), now, &seed(), &zone, after(now, MINUTE));
        assert_eq!(again, next, "it does not move while it waits");
    }

    #[test]
    fn one_from_the_future_is_as_good_as_none() {
        let (zone, at) = (TimeZone::UTC, CheckTime::Daily(time(3, 30, 0, 0)));
        let now = stamp("2026-12-05T12:00:00Z");
        let ahead = stamp("2027-12-05T12:00:00Z");
        let started = stamp("2026-12-01T12:00:00Z");
        assert_eq!(next_at(at, Some(ahead), started, &seed(), &zone, now), now);
        let later = after(now, DAY);
        assert_eq!(next_at(at, Some(ahead), started, &seed(), &zone, later), later, "and so on");
    }

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn it_is_never_further_away_than_a_day_and_comes_again_and_again(
            last in -5_000_000_i64..5_000_000,
            now in 0_i64..5_000_000,
            started in 0_i64..5_000_000,
        ) {
            let now = point(now);
            let (last, started) = (point(last), point(started).min(now));
            let zone = vienna();
            let next = next_at(CheckTime::Random, Some(last), started, &seed(), &zone, now);
            prop_assert!(next >= now);
            prop_assert!(next <= after(now, DAY * 2), "{now} {next}");
            // A check at that time is followed by another day's.
            let then = next_at(CheckTime::Random, Some(next), started, &seed(), &zone, next);
            prop_assert!(then > next);
        }
    }
}
