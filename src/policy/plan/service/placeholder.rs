//! A placeholder lets a service start, and never takes the place of something that works.

use jiff::Timestamp;

use crate::cert::Leaf;
use crate::policy::plan::{Wait, Why};
use crate::policy::schedule::date;
use crate::state::{FilesSeen, PairSeen, Revision, ServiceSeen};

/// Why a placeholder is not deployed: somebody else's valid certificate lies at the targets or is
/// served, or nobody has looked yet. Not even a person's `deploy` goes over that.
pub(super) fn kept_back(
    pair: &PairSeen,
    newest: &Revision,
    seen: &ServiceSeen,
    now: Timestamp,
) -> Option<Wait> {
    if !newest.is_placeholder() {
        return None;
    }
    let name = &pair.certificate;
    let endpoints = || seen.endpoints.iter().filter(|(_, c)| *c == name).map(|(e, _)| e);
    if endpoints().any(|endpoint| !seen.seen.contains_key(endpoint)) {
        let text = format!("the endpoints of {name} are looked at before a placeholder comes");
        return Some(Wait { until: None, why: Why::NotDue(text) });
    }
    let works = |leaf: &&Leaf| !leaf.is_placeholder() && leaf.validity.contains(now);
    let on_disk = match &pair.files {
        FilesSeen::Foreign(leaf) => Some(&**leaf),
        _ => None,
    };
    let served = endpoints().filter_map(|endpoint| seen.seen.get(endpoint)?.leaf());
    let end =
        on_disk.into_iter().chain(served).filter(works).map(|l| l.validity.not_after).max()?;
    let text = format!(
        "{name} has a certificate from outside that ends at {}; no placeholder takes its place",
        date(end)
    );
    let until = crate::policy::schedule::after(end, std::time::Duration::from_secs(1));
    Some(Wait { until: Some(until), why: Why::Person(text) })
}
