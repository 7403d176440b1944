//! What is served, or lies there, in place of the newest revision.

use crate::cert::{Leaf, Validity};
use crate::state::{PairSeen, Revision, ServiceSeen};

/// What is served, or lies there, in place of the newest revision.
#[derive(Clone, Copy, Debug)]
pub(super) enum Old {
    /// A certificate for one of these names was seen, with these dates; of several the one that ends
    /// (or ended) first.
    Ends(Validity),
    /// Everybody looked at serves nothing of use, or nothing was ever installed.
    Nothing,
    /// Something may be there that nobody has looked at.
    Unknown,
}

impl Old {
    pub(super) fn of(pair: &PairSeen, seen: &ServiceSeen, newest: &Revision) -> Self {
        let endpoints: Vec<&String> = seen
            .endpoints
            .iter()
            .filter(|(_, c)| **c == pair.certificate)
            .map(|(e, _)| e)
            .collect();
        let looks: Vec<_> = endpoints.iter().filter_map(|e| seen.seen.get(*e)).collect();
        let touched = pair.state.revision.is_some()
            || pair.state.saved.as_ref().is_some_and(|saved| saved.existed);
        if looks.len() < endpoints.len() || endpoints.is_empty() && touched {
            return Self::Unknown;
        }
        let names = &newest.leaf.identifiers;
        let of_use = |leaf: &&Leaf| {
            leaf.identifiers.iter().any(|held| names.iter().any(|name| held.covers(name)))
        };
        // What a placeholder serves nobody can use: nothing is lost with it.
        let leaves = looks.iter().filter_map(|served| served.leaf()).filter(of_use);
        let leaves = leaves.filter(|leaf| newest.is_placeholder() || !leaf.is_placeholder());
        let first = leaves.map(|leaf| leaf.validity).min_by_key(|validity| validity.not_after);
        first.map_or(Self::Nothing, Self::Ends)
    }
}
