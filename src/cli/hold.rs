//! A person's will: back to an older revision and held there, and free again.

use super::act::{now, person};
use super::{Context, Failed, exit};
use crate::config::ServiceSpec;
use crate::policy::verdict;
use crate::state::{Hold, Step};

pub(super) async fn roll_back(context: &Context, name: &str, json: bool) -> Result<u8, Failed> {
    context.certificates(Some(name))?;
    let services = context.services_of(name);
    let now = self::now();
    // Everything is checked before anything is changed.
    let hold = context.way_back(name, &services, now)?;
    for spec in &services {
        context
            .change_pairs(spec, &[name.to_owned()], |pair| {
                pair.hold = Some(hold.clone());
                pair.forced = true;
                pair.retry_at = None;
            })
            .await?;
    }
    let text = format!("held by {} until `pbxcert release {name}` or a newer revision", hold.by);
    context.tell(name, "held", &text, now)?;
    context.store.touch_generation()?;
    context.reconcile(&[], &services, json).await
}

pub(super) async fn release(context: &Context, name: &str, json: bool) -> Result<u8, Failed> {
    context.certificates(Some(name))?;
    let services = context.services_of(name);
    let now = self::now();
    for spec in &services {
        context
            .change_pairs(spec, &[name.to_owned()], |pair| {
                let held = pair.hold.take().is_some();
                pair.forced |= held || matches!(pair.step, Step::RolledBack | Step::Stuck);
                pair.retry_at = None;
                pair.failures = 0;
            })
            .await?;
    }
    context.tell(name, "released", &format!("released by {}", person()), now)?;
    context.store.touch_generation()?;
    context.reconcile(&[], &services, json).await
}

impl Context {
    /// The revision before the newest, or before the one that it is held at already. One that waits
    /// for its deployment is refused too: then the one in place stays.
    fn way_back(
        &self,
        name: &str,
        services: &[&ServiceSpec],
        now: jiff::Timestamp,
    ) -> Result<Hold, Failed> {
        let failed = |text: String| Failed::new(exit::FAILED, text);
        let revisions = self.store.certificate(name)?.revisions()?;
        let Some(refused) = revisions.last().map(|newest| newest.number) else {
            return Err(failed(format!("there is no revision of {name} to go back from")));
        };
        let mut from = refused;
        for spec in services {
            let state = self.store.service(&spec.name)?.state()?;
            let hold = state.pairs.get(name).and_then(|pair| pair.hold.clone());
            from = hold.and_then(|hold| hold.instead).map_or(from, |instead| instead.min(from));
        }
        let before = revisions.iter().rev().find(|r| r.number < from);
        let before = before
            .ok_or_else(|| failed(format!("there is no revision of {name} before {from}")))?;
        verdict::may_go_back(&before.leaf, now).map_err(|reason| {
            failed(format!("revision {} is no way back: {reason}", before.number))
        })?;
        Ok(Hold { refused, instead: Some(before.number), by: person(), at: now })
    }
}
