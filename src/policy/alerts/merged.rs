//! One finding for each object and condition.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::state::{Condition, Finding};

/// One finding for each object and condition: a service may have several certificates, and of one
/// certificate several things may be wrong that go by the same word.
pub(super) fn merged(findings: &[Finding]) -> BTreeMap<(String, Condition), Finding> {
    let mut groups: BTreeMap<(String, Condition), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        groups.entry((finding.object.clone(), finding.condition)).or_default().push(finding);
    }
    let one = |mut group: Vec<&Finding>| {
        group.sort_by_key(|finding| Reverse(finding.severity));
        joined(&group)
    };
    groups.into_iter().filter_map(|(key, group)| Some((key, one(group)?))).collect()
}

/// Those of one object and condition, the worst first: its title, and what the others say.
fn joined(group: &[&Finding]) -> Option<Finding> {
    let (first, others) = group.split_first()?;
    let mut joined = (*first).clone();
    let mut titles = vec![&first.title];
    for other in others {
        let text = if titles.contains(&&other.title) {
            other.text.clone()
        } else {
            titles.push(&other.title);
            format!("{}: {}", other.title, other.text)
        };
        if !joined.text.contains(&other.text) {
            joined.text = format!("{}; {text}", joined.text);
        }
        joined.since = joined.since.min(other.since).or(joined.since);
        joined.by = [joined.by, other.by].into_iter().flatten().min();
        joined.tries = joined.tries.max(other.tries);
        if let Some(consequence) = &other.consequence {
            match &mut joined.consequence {
                Some(there) if there.contains(consequence) => {}
                Some(there) => *there = format!("{there}; {consequence}"),
                None => joined.consequence = Some(consequence.clone()),
            }
        }
        joined.next = joined.next.or_else(|| other.next.clone());
        joined.quote = joined.quote.or_else(|| other.quote.clone());
        let ends = |life: &crate::state::Life| life.validity.not_after;
        joined.life = [joined.life, other.life].into_iter().flatten().min_by_key(ends);
        for way in &other.ways {
            if !joined.ways.contains(way) {
                joined.ways.push(way.clone());
            }
        }
        for file in &other.attachments {
            if !joined.attachments.contains(file) {
                joined.attachments.push(file.clone());
            }
        }
    }
    let more = titles.len() - 1;
    if more > 0 {
        joined.title = format!("{} and {more} more", joined.title);
        joined.over = None;
    }
    Some(joined)
}
