//! How often a service may be reloaded.

use jiff::Timestamp;

use super::{Old, Wait, Why};
use crate::config::ServiceSpec;
use crate::policy::schedule::{DAY, HOUR, before, date, frees_at, holds_until};
use crate::state::{PairSeen, Revision, ServiceSeen};

/// 3 automatic tries per revision and day, at least an hour apart after the second.
pub(super) fn reload_budget(
    pair: &PairSeen,
    newest: &Revision,
    seen: &ServiceSeen,
    now: Timestamp,
) -> Option<Wait> {
    let tries = || {
        let this = |name: &str| name == pair.certificate;
        seen.reloads
            .iter()
            .filter(|reload| !reload.by_hand)
            .filter(move |r| r.revisions.iter().any(|(n, rev)| this(n) && *rev == newest.number))
            .map(|reload| reload.at)
    };
    let day = frees_at(tries(), 3, DAY, now);
    let apart = frees_at(tries(), 2, DAY, now)
        .and_then(|_| tries().filter_map(|at| holds_until(at, HOUR, now)).max());
    let until = day.max(apart)?;
    let text = format!(
        "revision {} of {} was tried {} times within a day; next try at {}",
        newest.number,
        pair.certificate,
        tries().filter(|at| holds_until(*at, DAY, now).is_some()).count(),
        date(until)
    );
    Some(Wait { until: Some(until), why: Why::Budget(text) })
}

/// Some products lose a little at each reload. They are spared while what is served is good for
/// another day: without a certificate they would be worth nothing.
pub(super) fn spared(
    spec: &ServiceSpec,
    seen: &ServiceSeen,
    old: Old,
    now: Timestamp,
) -> Option<Wait> {
    let most = spec.reloads_per_day?;
    if matches!(old, Old::Nothing) {
        return None;
    }
    let automatic = seen.reloads.iter().filter(|reload| !reload.by_hand).map(|reload| reload.at);
    let mut until = frees_at(automatic, most as usize, DAY, now)?;
    if let Old::Ends(validity) = old {
        until = until.min(before(validity.not_after, DAY));
    }
    let text = format!(
        "{} loses memory at each reload, so it is reloaded {most} times a day at most; next try at \
         {} (`pbxcert deploy {}` does not wait)",
        spec.name,
        date(until),
        spec.name
    );
    (now < until).then_some(Wait { until: Some(until), why: Why::Budget(text) })
}
