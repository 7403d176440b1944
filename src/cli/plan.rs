//! `plan`: what happens next, when, why, and what it waits for.

use std::cell::Cell;

use jiff::Timestamp;
use serde::Serialize;

use super::act::Line;
use super::lint::Expected;
use super::{Context, Failed, show};
use crate::config::ServiceSpec;
use crate::policy::plan::{self, Action, ServiceAction};
use crate::policy::schedule::date;
use crate::policy::schedule::{self, Seed};
use crate::policy::simulate::{self, AsExpected, CertScene, Scene, ServiceScene};
use crate::reconcile;
use crate::world::World;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    schema: u32,
    steps: Vec<Step>,
    #[serde(flatten)]
    tried: Tried,
}

/// What came of a dry run.
#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Tried {
    /// What a rehearsal of the orders came to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rehearsals: Vec<Line>,
    /// What clients will stumble over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) remarks: Vec<Expected>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Step {
    pub(super) object: String,
    pub(super) action: String,
    pub(super) at: Option<Timestamp>,
    pub(super) why: String,
}

pub(super) fn print(
    context: &Context,
    name: Option<&str>,
    days: Option<u32>,
    tried: Tried,
    json: bool,
) -> Result<(), Failed> {
    let config = &context.loaded.config;
    let world = World::real(config, &context.store);
    let (now, stop) = (world.now(), Cell::new(false));
    let reconciler = context.reconciler(&world, &stop, false);
    let seed = reconcile::seed(&context.store);
    let certificates = context.certificates(name)?;
    let wanted = |s: &&ServiceSpec| certificates.iter().any(|c| s.certificates.contains(&c.name));
    let mut scene = Scene::default();
    let mut steps = Vec::new();
    for spec in &certificates {
        let seen = reconciler.observe(spec)?;
        steps.push(certificate_step(&spec.name, reconciler.next(spec, &seen, now), now));
        if let Some(issuer) = spec.issuers.first().and_then(|i| config.issuers.get(i)) {
            let (spec, issuer) = ((*spec).clone(), issuer.clone());
            scene.certificates.push(CertScene { spec, issuer, seen });
        }
    }
    for spec in config.services.iter().filter(wanted) {
        let state = context.store.service(&spec.name)?.state()?;
        let seen = reconciler.observe_service(spec, &state)?;
        steps.push(service_step(&spec.name, plan::next_service(spec, &seen, &seed, now), now));
        scene.services.push(ServiceScene { spec: spec.clone(), seen });
    }
    if let Some(days) = days {
        // What waits for a person cannot be run ahead: it stays as it is.
        let by_hand = |step: &Step| {
            certificates.iter().any(|c| c.name == step.object && c.issuers.is_empty())
        };
        steps.retain(by_hand);
        steps.extend(ahead(&mut scene, &seed, days, now)?);
    }
    steps.sort_by_key(|s| s.at.unwrap_or(Timestamp::MAX));
    if json {
        show::json(&Report { schema: 1, steps, tried });
    } else {
        let rows = steps.into_iter().map(|s| {
            let at = s.at.map_or_else(|| "on change".to_owned(), |at| show::time(at, now));
            vec![at, s.object, s.action, s.why]
        });
        show::table(&["WHEN", "WHAT", "NEXT", "WHY"], rows.collect());
        for line in tried.rehearsals {
            show::line(&format!("{}: rehearsal: {}: {}", line.name, line.result, line.text));
        }
        for Expected { service, certificate, remark } in tried.remarks {
            show::line(&format!("{certificate} in {service}: {remark}"));
        }
    }
    Ok(())
}

/// The timeline as it is if every step succeeds, by the same functions that the daemon asks.
fn ahead(scene: &mut Scene, seed: &Seed, days: u32, now: Timestamp) -> Result<Vec<Step>, Failed> {
    let mut expected = AsExpected { until: schedule::after(now, schedule::DAY * days) };
    let timeline =
        simulate::simulate(scene, seed, &mut expected, now).map_err(|error| Failed::of(&error))?;
    let told = timeline.into_iter().filter(|entry| !entry.routine);
    Ok(told
        .map(|e| Step { object: e.object, action: e.what, at: Some(e.at), why: e.why })
        .collect())
}

fn certificate_step(name: &str, action: Action, now: Timestamp) -> Step {
    let (action, at, why) = match action {
        Action::AskRenewalInfo => {
            ("ask the CA when to renew", Some(now), "its last answer is due for renewal".to_owned())
        }
        Action::Issue { reason, .. } => ("order", Some(now), reason.to_string()),
        Action::Placeholder(reason) => {
            ("make a self-signed placeholder", Some(now), reason.to_string())
        }
        Action::Probe => {
            ("try the CA", Some(now), "manual mode: can it reach us again?".to_owned())
        }
        Action::Rehearse(reason) => ("rehearse the order", Some(now), reason.to_string()),
        Action::Wait(wait) => ("wait", wait.until, wait.why.to_string()),
    };
    Step { object: name.to_owned(), action: action.to_owned(), at, why }
}

/// The next step of a service, in words.
pub(super) fn service_step(name: &str, action: ServiceAction, now: Timestamp) -> Step {
    let (action, at, why) = match action {
        ServiceAction::Adopt { certificate } => {
            let what = format!("make a revision of what came to the files of {certificate}");
            (what, Some(now), "it came from outside, and lasts longer than ours".to_owned())
        }
        ServiceAction::Announce { takes_place, .. } => {
            ("announce".to_owned(), Some(now), format!("calls end at {}", date(takes_place)))
        }
        ServiceAction::CountCalls => {
            let why = "a reload would end those that are up".to_owned();
            ("count calls".to_owned(), Some(now), why)
        }
        ServiceAction::Deploy { pairs, reason } => {
            let pairs: Vec<String> =
                pairs.iter().map(|(c, r)| format!("{c} revision {r}")).collect();
            (format!("deploy {}", pairs.join(", ")), Some(now), reason.to_string())
        }
        ServiceAction::Look => {
            ("look".to_owned(), Some(now), "its endpoints were not looked at lately".to_owned())
        }
        ServiceAction::Mend { certificates } => {
            let why = "files are missing or damaged".to_owned();
            (format!("mend {}", certificates.join(", ")), Some(now), why)
        }
        ServiceAction::Settle => {
            ("settle".to_owned(), Some(now), "a switch was cut off".to_owned())
        }
        ServiceAction::Wait(wait) => ("wait".to_owned(), wait.until, wait.why.to_string()),
    };
    Step { object: name.to_owned(), action, at, why }
}
