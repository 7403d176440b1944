//! Whether the time is good enough to go by.

use std::time::Duration;

use jiff::Timestamp;

use super::{Wait, Why};
use crate::policy::schedule::{after, date};
use crate::state::Time;

/// A time that is certainly wrong, or is not trusted just after boot, is waited out. One that is
/// never synchronised must not stop renewals for ever.
pub(super) fn clock(time: Time, now: Timestamp) -> Option<Wait> {
    if now < time.floor {
        let text = format!(
            "the clock says {}, which is before {}: it is wrong; set it",
            date(now),
            date(time.floor)
        );
        return Some(Wait { until: Some(time.floor), why: Why::Clock(text) });
    }
    let boot_at = time.boot_at.filter(|_| !time.trusted)?;
    let until = after(boot_at, SYNCHRONISATION);
    (boot_at <= now && now < until).then(|| {
        let text =
            format!("the clock is not synchronised yet; waiting for it until {}", date(until));
        Wait { until: Some(until), why: Why::Clock(text) }
    })
}

/// Why nothing can be said about dates now, in words; `None`: the time is good enough.
pub fn clock_doubt(time: Time, now: Timestamp) -> Option<String> {
    clock(time, now).map(|wait| wait.why.to_string())
}

/// How long the clock may take to be synchronised after boot.
const SYNCHRONISATION: Duration = Duration::from_secs(600);
