//! Weekly windows and frozen days, in a time zone with its summer time.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::config::calm::{Calm, Freeze, Window};

/// From when to when something may be done: start inclusive, end exclusive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opening {
    /// First moment.
    pub start: Timestamp,
    /// First moment after it.
    pub end: Timestamp,
}

/// The opening that `now` lies in.
pub fn open(windows: &[Window], zone: &TimeZone, now: Timestamp) -> Option<Opening> {
    openings(windows, zone, now).find(|o| o.start <= now && now < o.end)
}

/// The first opening that begins at `from` or later.
pub fn next(windows: &[Window], zone: &TimeZone, from: Timestamp) -> Option<Opening> {
    openings(windows, zone, from).filter(|o| o.start >= from).min_by_key(|o| o.start)
}

/// Until when deployments are frozen, if they are.
pub fn frozen_until(calm: &Calm, now: Timestamp) -> Option<Timestamp> {
    let today = now.to_zoned_datetime(calm.zone.clone()).date();
    let mut last = calm.freezes.iter().filter(|f| holds(f, today)).map(|f| f.to).max()?;
    // One freeze may begin where another ends.
    while let Ok(tomorrow) = last.tomorrow()
        && let Some(to) = calm.freezes.iter().filter(|f| holds(f, tomorrow)).map(|f| f.to).max()
        && to > last
    {
        last = to;
    }
    moment(last.tomorrow().ok()?, 0, &calm.zone)
}

fn holds(freeze: &Freeze, day: Date) -> bool {
    freeze.from <= day && day <= freeze.to
}

/// Those that begin between the day before and the week after.
fn openings<'a>(
    windows: &'a [Window],
    zone: &'a TimeZone,
    around: Timestamp,
) -> impl Iterator<Item = Opening> + 'a {
    let first = around.to_zoned_datetime(zone.clone()).date().yesterday();
    let days = first.into_iter().flat_map(|first| first.series(jiff::Span::new().days(1)).take(10));
    days.flat_map(move |day| {
        let weekday = usize::from(day.weekday().to_monday_zero_offset().unsigned_abs());
        windows.iter().filter(move |w| w.days[weekday]).filter_map(move |w| {
            let end_day = if w.to <= w.from { day.tomorrow().ok()? } else { day };
            let opening =
                Opening { start: moment(day, w.from, zone)?, end: moment(end_day, w.to, zone)? };
            // Summer time may swallow one.
            (opening.start < opening.end).then_some(opening)
        })
    })
}

/// A minute of a day; one that summer time skips is the first moment after the gap.
fn moment(day: Date, minute: u16, zone: &TimeZone) -> Option<Timestamp> {
    let (day, minute) = if minute == 1440 { (day.tomorrow().ok()?, 0) } else { (day, minute) };
    let time = Time::new((minute / 60).try_into().ok()?, (minute % 60).try_into().ok()?, 0, 0);
    Some(DateTime::from_parts(day, time.ok()?).to_zoned_datetime(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: [bool; 7], from: u16, to: u16) -> Window {
        Window { days, from, to }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        let friday = window([false, false, false, false, true, false, false], 1320, 300);
        let utc = TimeZone::UTC;
        // 2026-11-27 is a Friday.
        let night = Opening { start: at("2026-11-27T22:00Z"), end: at("2026-11-28T05:00Z") };
        assert_eq!(open(&[friday], &utc, at("2026-11-28T04:59Z")), Some(night));
        assert_eq!(open(&[friday], &utc, at("2026-11-28T05:00Z")), None);
        assert_eq!(open(&[friday], &utc, at("2026-11-27T21:59Z")), None);
        assert_eq!(next(&[friday], &utc, at("2026-11-23T12:00Z")), Some(night));
        assert_eq!(next(&[friday], &utc, at("2026-11-27T22:00Z")), Some(night));
        assert_eq!(
            next(&[friday], &utc, at("2026-11-27T22:01Z")).unwrap().start,
            at("2026-12-04T22:00Z")
        );
    }

    #[test]
    fn summer_time_moves_a_window_and_swallows_none_that_is_longer() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let night = [window([true; 7], 180, 300)];
        assert_eq!(
            open(&night, &zone, at("2026-07-01T01:30Z")).unwrap().end,
            at("2026-07-01T03:00Z")
        );
        assert_eq!(
            open(&night, &zone, at("2026-12-01T02:30Z")).unwrap().end,
            at("2026-12-01T04:00Z")
        );
        // 02:00 to 03:00 does not exist on 2027-03-28.
        let gone = [window([true; 7], 120, 180)];
        let after = next(&gone, &zone, at("2027-03-27T12:00Z")).unwrap();
        assert_eq!(after.start, at("2027-03-29T00:00Z"));
    }

    #[test]
    fn freezes_that_touch_are_one() {
        let calm = Calm {
            freezes: vec![
                Freeze { from: "2026-12-18".parse().unwrap(), to: "2026-12-24".parse().unwrap() },
                Freeze { from: "2026-12-25".parse().unwrap(), to: "2027-01-06".parse().unwrap() },
            ],
            ..Calm::default()
        };
        assert_eq!(frozen_until(&calm, at("2026-12-17T23:59Z")), None);
        assert_eq!(frozen_until(&calm, at("2026-12-18T00:00Z")), Some(at("2027-01-07T00:00Z")));
        assert_eq!(frozen_until(&calm, at("2027-01-06T23:59Z")), Some(at("2027-01-07T00:00Z")));
    }
}
