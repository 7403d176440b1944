//! The steps of a service.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::run::{MOST_STEPS, Run, ahead};
use super::{Entry, NoProgress, ServiceScene};
use crate::cert::Leaf;
use crate::cert::top::Top;
use crate::policy::plan::{self, DeployReason, ServiceAction};
use crate::policy::schedule::{DAY, WEEK, date, holds_until};
use crate::state::{
    Ahead, Announcement, Answer, Calls, FilesSeen, Promotion, ReloadRecord, Served, ServiceSeen,
    Step,
};

impl Run<'_> {
    /// One service until it waits.
    pub(super) fn service(
        &mut self,
        index: usize,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, NoProgress> {
        let object = self.scene.services[index].spec.name.clone();
        let mut last = None;
        for _ in 0..MOST_STEPS {
            self.look_ahead(index);
            let this = &self.scene.services[index];
            let action = plan::next_service(&this.spec, &this.seen, self.seed, now);
            let (what, why) = match &action {
                ServiceAction::Wait(wait) => return ahead(wait, object, now),
                ServiceAction::Announce { takes_place, pairs } => {
                    let revisions = pairs.iter().cloned().collect();
                    self.scene.services[index].seen.announced =
                        Some(Announcement { at: now, takes_place: *takes_place, revisions });
                    let what = format!("announced for {}", date(*takes_place));
                    (what, "a reload ends calls".to_owned())
                }
                ServiceAction::Adopt { certificate } => {
                    let seen = &mut self.scene.services[index].seen;
                    mend(seen, std::slice::from_ref(certificate), now);
                    (format!("{certificate} adopted"), "it came from outside".to_owned())
                }
                ServiceAction::CountCalls => {
                    let count = self.outcomes.calls(&object, now);
                    self.scene.services[index].seen.calls = Some(Calls { at: now, count });
                    let what = count.map_or("unknown".to_owned(), |count| count.to_string());
                    (format!("calls that are up: {what}"), "a reload would end them".to_owned())
                }
                ServiceAction::Look => {
                    self.scene.services[index].seen.looked_at = Some(now);
                    ("looked at its endpoints".to_owned(), "their last look was a while ago".into())
                }
                ServiceAction::Deploy { pairs, reason } => {
                    (self.deploy(index, pairs, *reason, now), reason.to_string())
                }
                ServiceAction::Mend { certificates } => {
                    let seen = &mut self.scene.services[index].seen;
                    mend(seen, certificates, now);
                    (format!("{} mended", certificates.join(", ")), "its files were damaged".into())
                }
                ServiceAction::Settle => {
                    settle(&mut self.scene.services[index].seen, now);
                    ("settled".to_owned(), "a switch was cut off".into())
                }
            };
            let routine = matches!(action, ServiceAction::Look | ServiceAction::CountCalls);
            self.timeline.push(Entry { at: now, object: object.clone(), what, why, routine });
            last = Some(action);
        }
        Err(NoProgress { object, action: format!("{last:?}"), at: now })
    }

    /// How far those are that come before it.
    fn look_ahead(&mut self, index: usize) {
        let spec = &self.scene.services[index].spec;
        let mut ahead = Vec::new();
        let first = |scene: &&ServiceScene| spec.after.contains(&scene.spec.name);
        for scene in self.scene.services.iter().filter(first) {
            for pair in &scene.seen.pairs {
                ahead.push(Ahead {
                    service: scene.spec.name.clone(),
                    certificate: pair.certificate.clone(),
                    revision: pair.state.revision,
                    step: pair.state.step,
                });
            }
        }
        self.scene.services[index].seen.ahead = ahead;
    }

    fn deploy(
        &mut self,
        index: usize,
        pairs: &[(String, u64)],
        reason: DeployReason,
        now: Timestamp,
    ) -> String {
        let ServiceScene { spec, seen } = &mut self.scene.services[index];
        let revisions: BTreeMap<String, u64> = pairs.iter().cloned().collect();
        seen.reloads.retain(|reload| holds_until(reload.at, WEEK, now).is_some());
        seen.reloads.push(ReloadRecord {
            at: now,
            revisions: revisions.clone(),
            by_hand: reason == DeployReason::Forced,
        });
        let mut words = Vec::new();
        for (name, number) in revisions {
            let endpoints: Vec<String> = seen
                .endpoints
                .iter()
                .filter(|(_, certificate)| **certificate == name)
                .map(|(endpoint, _)| endpoint.clone())
                .collect();
            let old = endpoints.iter().find_map(|endpoint| seen.seen.get(endpoint)?.leaf());
            let step = if endpoints.is_empty() {
                Step::Unproved
            } else {
                self.outcomes.deploy(&spec.name, old, now)
            };
            words.push(format!("revision {number} of {name} {step}"));
            let Some(pair) = seen.pairs.iter_mut().find(|pair| pair.certificate == name) else {
                continue;
            };
            let Some(leaf) = pair.newest.as_ref().map(|newest| newest.leaf.clone()) else {
                continue;
            };
            let top = pair.trust.as_ref().and_then(|trust| trust.newest.clone());
            pair.files = FilesSeen::AsInstalled;
            pair.in_place = Some(leaf.validity);
            pair.state.forced = false;
            pair.state.retry_at = None;
            (pair.state.revision, pair.state.step) = (Some(number), step);
            pair.state.since = Some(now);
            if step == Step::Proved {
                let fingerprint = leaf.fingerprint;
                pair.state.promoted = Some(Promotion {
                    revision: number,
                    fingerprint,
                    at: now,
                    endpoints: endpoints.clone(),
                });
                for endpoint in endpoints {
                    seen.seen.insert(endpoint, serving(&leaf, top.clone(), now));
                }
            }
        }
        words.join(", ")
    }
}

fn serving(leaf: &Leaf, top: Option<Top>, now: Timestamp) -> Served {
    let (chain, leaf) = (vec![leaf.fingerprint], Box::new(leaf.clone()));
    let answer = Answer::Certificate { leaf, chain, top, unfinished: None };
    Served { at: now, answer, protocol: None, options: None }
}

fn mend(seen: &mut ServiceSeen, certificates: &[String], now: Timestamp) {
    seen.mended.retain(|at| holds_until(*at, DAY, now).is_some());
    seen.mended.push(now);
    for pair in seen.pairs.iter_mut().filter(|pair| certificates.contains(&pair.certificate)) {
        pair.files = FilesSeen::AsInstalled;
        pair.state.drift_at = None;
    }
}

fn settle(seen: &mut ServiceSeen, now: Timestamp) {
    for pair in &mut seen.pairs {
        let step = match pair.state.step {
            Step::Installing => Step::Installed,
            Step::RollingBack => Step::RolledBack,
            _ => continue,
        };
        (pair.state.step, pair.state.since) = (step, Some(now));
    }
}
