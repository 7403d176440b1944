//! One finding for each object and condition.

use std::collections::BTreeMap;

use crate::state::{Condition, Finding};

/// One finding for each object and condition: a service may have several certificates.
pub(super) fn merged(findings: &[Finding]) -> BTreeMap<(String, Condition), Finding> {
    let mut merged: BTreeMap<(String, Condition), Finding> = BTreeMap::new();
    for finding in findings {
        let key = (finding.object.clone(), finding.condition);
        let Some(there) = merged.get_mut(&key) else {
            merged.insert(key, finding.clone());
            continue;
        };
        if there.text != finding.text {
            there.text = format!("{}; {}", there.text, finding.text);
        }
        there.severity = there.severity.max(finding.severity);
        there.since = there.since.min(finding.since).or(there.since);
        there.by = [there.by, finding.by].into_iter().flatten().min();
        for way in &finding.ways {
            if !there.ways.contains(way) {
                there.ways.push(way.clone());
            }
        }
    }
    merged
}
