//! Who comes first: other services, and the certificate's own youth.

use jiff::Timestamp;

use super::Old;
use crate::config::ServiceSpec;
use crate::policy::plan::{Wait, Why};
use crate::policy::schedule::{DAY, HOUR, after, before, date};
use crate::state::{Ahead, Origin, PairSeen, Revision, ServiceSeen, Step};

/// Services that come first (`after`) have not got this revision into use. They are waited for until
/// what is served here comes to its end (`deploy-deadline`), a day where that is not known: one that
/// cannot take a certificate must not let it expire everywhere.
pub(super) fn comes_first(
    spec: &ServiceSpec,
    pair: &PairSeen,
    newest: &Revision,
    old: Old,
    seen: &ServiceSeen,
    now: Timestamp,
) -> Option<Wait> {
    let mut ahead = seen.ahead.iter().filter(|ahead| ahead.certificate == pair.certificate);
    let first = ahead.find(|ahead| !has_it(ahead, newest))?;
    let until = match old {
        Old::Ends(old) => before(old.not_after, spec.calm.deadline.of(old.lifetime()).max(DAY)),
        Old::Nothing | Old::Unknown => after(newest.committed_at, DAY),
    };
    (now < until).then(|| {
        let text = format!(
            "waits for {}: {}; it goes in without that at {}",
            first.service,
            state_of(first, newest),
            date(until)
        );
        Wait { until: Some(until), why: Why::After(text) }
    })
}

/// Installed where nobody can be asked is as good as it gets there.
fn has_it(ahead: &Ahead, newest: &Revision) -> bool {
    ahead.revision >= Some(newest.number) && matches!(ahead.step, Step::Proved | Step::Unproved)
}

fn state_of(ahead: &Ahead, newest: &Revision) -> String {
    let (number, name) = (newest.number, &ahead.certificate);
    if ahead.revision >= Some(number) {
        format!("revision {number} of {name} is {} there", ahead.step)
    } else {
        format!("revision {number} of {name} is not in use there yet")
    }
}

/// Clients whose clock is behind refuse a certificate that is too young; while the old one is good
/// for two more days the new one can wait for them.
pub(super) fn young(
    spec: &ServiceSpec,
    pair: &PairSeen,
    newest: &Revision,
    old: Old,
    now: Timestamp,
) -> Option<Wait> {
    if newest.origin == Origin::Upload {
        // Whoever brings a certificate wants to see it in use.
        return None;
    }
    let validity = newest.leaf.validity;
    let no_clock = spec.clients.iter().any(|family| family.no_clock);
    let min_age = if no_clock { pair.min_age.max(HOUR) } else { pair.min_age };
    let age = match old {
        Old::Ends(old) if before(old.not_after, DAY * 2) > now => min_age,
        Old::Ends(_) | Old::Nothing => return None,
        Old::Unknown => min_age.min(validity.lifetime() / 8),
    };
    let until = after(validity.not_before, age);
    let latest = if let Old::Ends(old) = old { before(old.not_after, DAY * 2) } else { until };
    (now < until).then(|| {
        let text = format!(
            "revision {} of {} is deployed when it is older, at {}",
            newest.number,
            pair.certificate,
            date(until)
        );
        Wait { until: Some(until.min(latest)), why: Why::NotDue(text) }
    })
}
