//! Looks at the endpoints of a service until they show what is wanted, or the time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{Deployment, Wanted};
use crate::policy::verdict::{self, EndpointLook, EndpointVerdict};
use crate::state::{Served, ServiceState};

/// One look may take this long; a port that says nothing must not eat the whole proof time.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// A new certificate is found at most this long after it is served.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

impl Deployment<'_> {
    /// One look at every endpoint, remembered as the latest.
    pub(super) async fn look(&self, state: &mut ServiceState) -> BTreeMap<String, Served> {
        let seen = self.look_once(LOOK_LIMIT).await;
        state.seen.extend(seen.clone());
        seen
    }

    async fn look_once(&self, limit: Duration) -> BTreeMap<String, Served> {
        let looks = self.spec.endpoints.iter().map(|endpoint| async move {
            let now = self.world.now();
            (endpoint.to_string(), self.world.prober.probe(endpoint, limit, now).await)
        });
        join_all(looks).await.into_iter().collect()
    }

    /// Looks until every endpoint that can be judged shows its wanted leaf twice in a row (old
    /// workers of a reloaded server answer for some milliseconds more), or the time is up.
    pub(super) async fn prove(
        &self,
        wanted: &[Wanted],
        baseline: &BTreeMap<String, Served>,
    ) -> BTreeMap<String, Served> {
        self.look_until(|seen| {
            wanted.iter().all(|want| {
                let fingerprint = want.bundle.leaf().fingerprint;
                self.looks(&want.certificate, baseline, seen).iter().all(|look| {
                    matches!(
                        verdict::endpoint(fingerprint, look.before, look.after),
                        EndpointVerdict::Proved | EndpointVerdict::NotJudged(_)
                    )
                })
            })
        })
        .await
    }

    /// After a rollback: looks until the endpoints show what they showed before.
    pub(super) async fn as_before(
        &self,
        certificates: &BTreeSet<String>,
        baseline: &BTreeMap<String, Served>,
    ) -> BTreeMap<String, Served> {
        self.look_until(|seen| {
            certificates.iter().all(|c| self.not_as_before(c, baseline, seen).is_empty())
        })
        .await
    }

    /// Endpoints that served a certificate before and do not serve the same one now, in words.
    pub(super) fn not_as_before(
        &self,
        certificate: &str,
        baseline: &BTreeMap<String, Served>,
        after: &BTreeMap<String, Served>,
    ) -> Vec<String> {
        self.looks(certificate, baseline, after)
            .into_iter()
            .filter(|look| {
                let before = look.before.and_then(Served::fingerprint);
                before.is_some() && before != look.after.fingerprint()
            })
            .map(|look| format!("{} does not serve what it served before", look.name))
            .collect()
    }

    async fn look_until(
        &self,
        done: impl Fn(&BTreeMap<String, Served>) -> bool,
    ) -> BTreeMap<String, Served> {
        let deadline = Instant::now() + self.spec.proof_timeout;
        let mut pause = Duration::from_millis(25);
        let mut in_a_row = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let seen = self.look_once(LOOK_LIMIT.min(left.max(Duration::from_millis(500)))).await;
            in_a_row = if done(&seen) { in_a_row + 1 } else { 0 };
            if in_a_row == 2 || self.spec.endpoints.is_empty() {
                return seen;
            }
            if Instant::now() + pause >= deadline {
                return seen;
            }
            if in_a_row == 0 {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// The endpoints where a certificate is expected, before and after.
    pub(super) fn looks<'s>(
        &self,
        certificate: &str,
        baseline: &'s BTreeMap<String, Served>,
        after: &'s BTreeMap<String, Served>,
    ) -> Vec<EndpointLook<'s>> {
        self.spec
            .endpoints
            .iter()
            .filter(|e| e.certificate == certificate)
            .filter_map(|e| {
                let (name, after) = after.get_key_value(&e.to_string())?;
                Some(EndpointLook { name, before: baseline.get(name), after })
            })
            .collect()
    }
}
