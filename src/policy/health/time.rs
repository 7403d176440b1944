//! Times as people read them.

use jiff::{Timestamp, ZonedDateTime};

/// `2027-02-21 14:05 (in 89 days)`, in the zone of `now`.
pub fn time(at: Timestamp, now: &ZonedDateTime) -> String {
    let clock = at.to_zoned_datetime(now.time_zone().clone()).strftime("%Y-%m-%d %H:%M");
    format!("{clock} ({})", relative(at, now.timestamp()))
}

/// `in 89 days`, `12 minutes ago`, `now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    let (count, unit) = match seconds.unsigned_abs() {
        s if s < 1 => return "now".to_owned(),
        s if s < 120 => (s, "second"),
        s if s < 2 * 3600 => (s / 60, "minute"),
        s if s < 2 * 86400 => (s / 3600, "hour"),
        s => (s / 86400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if seconds > 0 {
        format!("in {count} {unit}{plural}")
    } else {
        format!("{count} {unit}{plural} ago")
    }
}
