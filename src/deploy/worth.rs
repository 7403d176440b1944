//! Whether a reload is worth it.

use std::collections::BTreeMap;

use super::{Deployment, Wanted};
use crate::config::kind::Class;
use crate::state::{Answer, Served};

impl Deployment<'_> {
    /// Whether a reload could change what is served.
    pub(super) fn would_help(&self, wanted: &[Wanted], seen: &BTreeMap<String, Served>) -> bool {
        !self.serves_already(wanted, seen) && !self.is_stopped(seen)
    }

    fn serves_already(&self, wanted: &[Wanted], baseline: &BTreeMap<String, Served>) -> bool {
        !self.spec.endpoints.is_empty()
            && wanted.iter().all(|want| {
                let seen = self.endpoints_of(&want.certificate, baseline);
                let wanted = Some(want.bundle.leaf().fingerprint);
                seen.values().any(|s| s.fingerprint() == wanted)
                    && seen.iter().all(|(name, s)| {
                        s.fingerprint() == wanted
                            || s.answer == Answer::Closed && self.is_usual(name)
                    })
            })
    }

    /// Nobody listens anywhere: the service is stopped, and no hook of ours starts one.
    ///
    /// Where only the usual places were looked at it may be elsewhere. Its hook knows, and does
    /// nothing to one that is stopped; but it is not to end calls that nobody has looked for.
    fn is_stopped(&self, baseline: &BTreeMap<String, Served>) -> bool {
        let known = self.spec.endpoints.iter().any(|endpoint| !endpoint.usual);
        nobody_listens(baseline) && (known || self.spec.class == Class::Restart)
    }

    fn is_usual(&self, name: &str) -> bool {
        self.spec.endpoints.iter().any(|endpoint| endpoint.usual && endpoint.to_string() == name)
    }
}

pub(super) fn nobody_listens(seen: &BTreeMap<String, Served>) -> bool {
    !seen.is_empty() && seen.values().all(|s| s.answer == Answer::Closed)
}
