//! When to look again, and what is said while nothing is to be done.

use jiff::Timestamp;

use crate::cert::span;
use crate::policy::plan::{Wait, Why};
use crate::policy::schedule::{DAY, HOUR, MINUTE, Seed, holds_until};
use crate::state::{ServiceSeen, Step};

/// When to look at the endpoints next: about once a day, so that `live` stays true; 1, 5, 15 and
/// then every 60 minutes after an installation that nobody could be asked about.
pub(super) fn look_at(
    seen: &ServiceSeen,
    service: &str,
    seed: &Seed,
    now: Timestamp,
) -> Option<Timestamp> {
    if seen.endpoints.is_empty() {
        return None;
    }
    let Some(looked_at) = seen.looked_at else { return Some(now) };
    let fraction = seed.fraction(&["look", service, &looked_at.to_string()]);
    let daily = DAY.mul_f64(0.9 + fraction / 10.0);
    let unproved = seen.pairs.iter().filter(|pair| {
        pair.state.step == Step::Unproved && seen.endpoints.values().any(|c| *c == pair.certificate)
    });
    let pause = unproved.map(|pair| {
        let Some(since) = pair.state.since else { return HOUR };
        let elapsed = span(since, looked_at);
        let point = [1, 5, 15, 60].into_iter().map(|n| MINUTE * n).find(|point| *point > elapsed);
        point.map_or(HOUR, |point| point - elapsed)
    });
    let pause = pause.min().map_or(daily, |pause| pause.min(daily));
    Some(holds_until(looked_at, pause, now).unwrap_or(now))
}

/// One wait for the whole service: as long as the shortest, for the most telling reason.
pub(super) fn joined(mut waits: Vec<Wait>, look_at: Option<Timestamp>, seen: &ServiceSeen) -> Wait {
    let until = waits.iter().filter_map(|wait| wait.until).chain(look_at).min();
    waits.sort_by_key(|wait| match wait.why {
        Why::Approval(_) | Why::Person(_) => 0,
        Why::Held(_) => 1,
        Why::Lint(_) => 2,
        Why::Budget(_) => 3,
        Why::BackOff(_) => 4,
        Why::After(_) => 5,
        Why::Calm(_) => 6,
        // Certificates wait for that, services never do.
        Why::Clock(_) | Why::Copy(_) => 7,
        Why::Quiet => 8,
        Why::NotDue(_) => 9,
        Why::NoCertificate => 10,
    });
    let why = waits.into_iter().next().map_or_else(|| settled(seen), |wait| wait.why);
    Wait { until, why }
}

fn settled(seen: &ServiceSeen) -> Why {
    let pairs = seen.pairs.iter().map(|pair| match pair.state.revision {
        Some(number) => format!("revision {number} of {} is {}", pair.certificate, pair.state.step),
        None => format!("nothing of {} is installed", pair.certificate),
    });
    Why::NotDue(pairs.collect::<Vec<_>>().join(", "))
}
