//! `strict-lint`: what clients will stumble over waits for a person.

use jiff::Timestamp;

use super::Old;
use crate::config::ServiceSpec;
use crate::policy::lint::{self, Seen};
use crate::policy::plan::{Wait, Why};
use crate::policy::schedule::{after, before, date};
use crate::state::{PairSeen, Revision};

/// A revision that some clients will refuse, until an eighth of what is served is left: by then
/// expired is worse. What serves nobody is no reason to wait.
pub(super) fn held_back(
    spec: &ServiceSpec,
    pair: &PairSeen,
    newest: &Revision,
    old: Old,
    now: Timestamp,
) -> Option<Wait> {
    if !spec.strict_lint || newest.is_placeholder() {
        return None;
    }
    let chain_length = newest.chain_length;
    let seen = Seen { leaf: &newest.leaf, chain_length, root: pair.root.as_deref() };
    let remark = lint::lint(seen, &spec.clients, &spec.sip_domains).into_iter().next()?;
    let until = match old {
        Old::Nothing => return None,
        Old::Ends(old) => before(old.not_after, old.lifetime() / 8),
        // It was made with a third of life left, as far as can be said.
        Old::Unknown => after(newest.leaf.validity.not_before, newest.leaf.validity.lifetime() / 6),
    };
    (now < until).then(|| {
        let text = format!(
            "revision {} of {} is held back by strict-lint: {remark}; it goes in at {} all the same \
             (`pbxcert deploy {}` brings it in now)",
            newest.number,
            pair.certificate,
            date(until),
            spec.name
        );
        Wait { until: Some(until), why: Why::Lint(text) }
    })
}
