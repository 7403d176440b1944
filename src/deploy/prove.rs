//! Looks at the endpoints of a service until they show what is wanted, or the time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};

use super::{Deployment, Wanted};
use crate::config::{Endpoint, Protocol};
use crate::policy::verdict::{self, EndpointLook, EndpointVerdict};
use crate::state::{Answer, Served, ServiceState};

/// Longest time from the beginning of one look at an endpoint to that of the next, unless the look
/// itself takes longer: with it a new certificate is seen within 250 ms of its being served.
const LONGEST_PAUSE: Duration = Duration::from_millis(125);

/// Looks beside one that hangs, and how long each of them may take. A server that was in the middle
/// of its reload may never answer the look that it met there; no more of them, so that the queue of
/// one that hangs for long is left to its clients.
const MOST_BESIDE: usize = 8;
const LOOK_BESIDE: Duration = Duration::from_millis(500);

/// How long an endpoint without TLS before and after a reload is waited for.
const HEALING: Duration = Duration::from_secs(2);

/// However little of the proof time is left, a look gets so much.
const SHORTEST_LOOK: Duration = Duration::from_millis(500);

impl Deployment<'_> {
    /// One look at every endpoint, remembered as the latest.
    pub(super) async fn look(&self, state: &mut ServiceState) -> BTreeMap<String, Served> {
        let seen = self.look_once(Duration::MAX).await;
        state.note(seen.clone());
        seen
    }

    /// A port that says nothing must not eat the whole proof time: each look has the limit of its
    /// endpoint, and `most`.
    async fn look_once(&self, most: Duration) -> BTreeMap<String, Served> {
        let looks = self.spec.endpoints.iter().map(|endpoint| async move {
            (endpoint.to_string(), self.look_at(endpoint, most).await)
        });
        join_all(looks).await.into_iter().collect()
    }

    async fn look_at(&self, endpoint: &Endpoint, most: Duration) -> Served {
        self.world.prober.probe(endpoint, endpoint.timeout.min(most), self.world.now()).await
    }

    /// Looks until every endpoint that can be judged shows its wanted leaf twice in a row (old
    /// workers of a reloaded server answer for some milliseconds more), or the time is up. After a
    /// reload, one that listened without TLS is given some time, too.
    pub(super) async fn prove(
        &self,
        wanted: &[Wanted],
        baseline: &BTreeMap<String, Served>,
        reloaded: bool,
    ) -> BTreeMap<String, Served> {
        let begun = Instant::now();
        self.look_until(|endpoint, seen| {
            let Some(want) = wanted.iter().find(|w| w.certificate == endpoint.certificate) else {
                return true;
            };
            let fingerprint = want.bundle.leaf().fingerprint;
            match verdict::endpoint(fingerprint, baseline.get(&endpoint.to_string()), seen) {
                EndpointVerdict::Proved => true,
                EndpointVerdict::Broken(_) | EndpointVerdict::NotTaken => false,
                // One that listened in vain may be healed by a reload that takes effect later.
                EndpointVerdict::NotJudged(_) => {
                    let may_heal = matches!(seen.answer, Answer::NoHandshake { .. });
                    !(reloaded && may_heal) || begun.elapsed() >= HEALING
                }
            }
        })
        .await
    }

    /// After a rollback: looks until the endpoints show what they showed before.
    pub(super) async fn as_before(
        &self,
        certificates: &BTreeSet<String>,
        baseline: &BTreeMap<String, Served>,
    ) -> BTreeMap<String, Served> {
        self.look_until(|endpoint, seen| {
            !certificates.contains(&endpoint.certificate)
                || is_as_before(baseline.get(&endpoint.to_string()), seen)
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
            .filter(|look| !is_as_before(look.before, look.after))
            .map(|look| format!("{} does not serve what it served before", look.name))
            .collect()
    }

    /// Looks until `good` holds at every endpoint and still does in one look at all of them, or the
    /// time is up. Each endpoint goes at its own pace, so that one that hangs delays no other.
    async fn look_until(
        &self,
        good: impl Fn(&Endpoint, &Served) -> bool,
    ) -> BTreeMap<String, Served> {
        let deadline = Instant::now() + self.spec.proof_timeout;
        loop {
            let watched = self.spec.endpoints.iter().map(|e| self.watch(e, deadline, &good));
            let watched: Vec<_> = join_all(watched).await;
            let all_good = watched.iter().all(|(endpoint, seen)| good(endpoint, seen));
            if !all_good || Instant::now() >= deadline {
                return watched.into_iter().map(|(e, seen)| (e.to_string(), seen)).collect();
            }
            let seen = self.look_once(left(deadline)).await;
            let holds = |e: &Endpoint| seen.get(&e.to_string()).is_some_and(|seen| good(e, seen));
            if self.spec.endpoints.iter().all(holds) {
                return seen;
            }
        }
    }

    /// The last look at an endpoint: a good one, or that at the deadline.
    async fn watch<'e>(
        &self,
        endpoint: &'e Endpoint,
        deadline: Instant,
        good: impl Fn(&Endpoint, &Served) -> bool,
    ) -> (&'e Endpoint, Served) {
        let quick = handshake_only(endpoint);
        let mut pace = Pace::default();
        loop {
            let begun = Instant::now();
            let seen = self.look_at_while_it_may_hang(&quick, left(deadline)).await;
            if good(endpoint, &seen) {
                return (endpoint, seen);
            }
            let rest = pace.rest(begun.elapsed());
            if Instant::now() + rest >= deadline {
                return (endpoint, seen);
            }
            sleep(rest).await;
        }
    }

    /// One look, and while it is not over short ones beside it, as often as looks are made: the first
    /// that shows a certificate, or the end of the one.
    async fn look_at_while_it_may_hang(&self, endpoint: &Endpoint, most: Duration) -> Served {
        let one = self.look_at(endpoint, most);
        tokio::pin!(one);
        let mut beside = FuturesUnordered::new();
        let mut begun = 0;
        loop {
            tokio::select! {
                biased;
                seen = &mut one => return seen,
                Some(seen) = beside.next() => {
                    let seen: Served = seen;
                    if seen.fingerprint().is_some() {
                        return seen;
                    }
                }
                () = sleep(LONGEST_PAUSE), if begun < MOST_BESIDE => {
                    begun += 1;
                    beside.push(self.look_at(endpoint, most.min(LOOK_BESIDE)));
                }
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

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(SHORTEST_LOOK)
}

/// OPTIONS informs only, and waiting for its answer would delay the next look.
fn handshake_only(endpoint: &Endpoint) -> Endpoint {
    let protocol = match endpoint.protocol {
        Protocol::Sips => Protocol::Tls,
        other => other,
    };
    Endpoint { protocol, ..endpoint.clone() }
}

/// Whether an endpoint serves what it served before, where it served something.
fn is_as_before(before: Option<&Served>, after: &Served) -> bool {
    match before {
        Some(before) if before.is_alive() => {
            after.is_alive() && before.fingerprint() == after.fingerprint()
        }
        _ => true,
    }
}

/// How often one endpoint is looked at: soon at first, then steadily, from beginning to beginning.
#[derive(Debug)]
struct Pace {
    pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: Duration::from_millis(25) }
    }
}

impl Pace {
    /// How long to rest after a look that took so long.
    fn rest(&mut self, took: Duration) -> Duration {
        let rest = self.pause.saturating_sub(took);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look shows what is served when its handshake ends; the goodbye comes after it.
    #[test]
    fn a_new_certificate_is_found_within_250_ms_of_its_being_served() {
        let ms = Duration::from_millis;
        for (handshake, goodbye) in [(0, 0), (3, 2), (20, 100), (60, 100), (30, 200)] {
            let (handshake, goodbye) = (ms(handshake), ms(goodbye));
            for served_at in (0..30_000).step_by(7).map(ms) {
                let (mut pace, mut clock) = (Pace::default(), Duration::ZERO);
                let found_at = loop {
                    // The certificate is chosen at the beginning of the handshake, at the latest.
                    let shown = clock >= served_at;
                    clock += handshake;
                    if shown {
                        break clock;
                    }
                    clock += goodbye;
                    clock += pace.rest(handshake + goodbye);
                };
                let took = found_at - served_at;
                assert!(took <= ms(250) + handshake, "{took:?} after {served_at:?}");
                assert!(handshake + goodbye > ms(160) || took <= ms(250), "{took:?}");
            }
        }
    }

    #[test]
    fn waiting_looks_at_most_eight_times_a_second() {
        let mut pace = Pace::default();
        let looks = std::iter::repeat_with(|| pace.rest(Duration::ZERO));
        let mut clock = Duration::ZERO;
        let in_30_s = looks.take_while(|rest| {
            clock += *rest;
            clock < Duration::from_secs(30)
        });
        assert!(in_30_s.count() <= 245);
    }
}
