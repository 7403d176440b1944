//! Hours in which warnings wait for the morning.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::alerts::Quiet;

/// When it ends, if it is quiet now. Wall-clock times of `zone`, also on days on which the clocks
/// change: a time that is skipped ends at the moment that takes its place.
pub fn until(quiet: Quiet, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let local = zone.to_datetime(now);
    let time = local.time();
    if !quiet.holds(time) {
        return None;
    }
    let mut day = local.date();
    if time >= quiet.to {
        day = day.tomorrow().ok()?;
    }
    let end = zone.to_ambiguous_timestamp(day.to_datetime(quiet.to)).compatible().ok()?;
    // In the hour that comes twice the end may lie behind us: the second one counts.
    if end > now {
        return Some(end);
    }
    zone.to_ambiguous_timestamp(day.to_datetime(quiet.to)).later().ok().filter(|at| *at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central Europe: from the last Sunday of March to the last one of October an hour ahead.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn until(quiet: &str, now: &str) -> Option<String> {
        let (from, to) = quiet.split_once('-').unwrap();
        let quiet = Quiet { from: from.parse().unwrap(), to: to.parse().unwrap() };
        super::until(quiet, &berlin(), now.parse().unwrap()).map(|at| at.to_string())
    }

    #[test]
    fn it_is_quiet_by_the_clocks_on_the_wall() {
        let at = |t: &str| Some(t.to_owned());
        assert_eq!(until("20:00-07:00", "2026-12-01T18:59:59Z"), None);
        assert_eq!(until("20:00-07:00", "2026-12-01T19:00:00Z"), at("2026-12-02T06:00:00Z"));
        assert_eq!(until("20:00-07:00", "2026-12-02T05:59:59Z"), at("2026-12-02T06:00:00Z"));
        assert_eq!(until("20:00-07:00", "2026-12-02T06:00:00Z"), None);
        assert_eq!(until("20:00-07:00", "2026-07-01T17:59:59Z"), None);
        assert_eq!(until("20:00-07:00", "2026-07-01T18:00:00Z"), at("2026-07-02T05:00:00Z"));
        assert_eq!(until("12:30-13:30", "2026-12-01T12:00:00Z"), at("2026-12-01T12:30:00Z"));
        assert_eq!(until("12:30-13:30", "2026-12-01T13:00:00Z"), None);
    }

    #[test]
    fn the_nights_on_which_clocks_change_end_in_the_morning_too() {
        let at = |t: &str| Some(t.to_owned());
        assert_eq!(until("20:00-07:00", "2027-03-27T23:00:00Z"), at("2027-03-28T05:00:00Z"));
        assert_eq!(until("20:00-07:00", "2026-10-24T22:00:00Z"), at("2026-10-25T06:00:00Z"));
        // 02:30 does not exist on that day, and comes twice on the other.
        assert_eq!(until("20:00-02:30", "2027-03-28T00:30:00Z"), at("2027-03-28T01:30:00Z"));
        assert_eq!(until("20:00-02:30", "2026-10-25T00:00:00Z"), at("2026-10-25T00:30:00Z"));
        assert_eq!(until("20:00-02:30", "2026-10-25T01:15:00Z"), at("2026-10-25T01:30:00Z"));
    }
}
