//! A person's will: back to an older revision and held there, and free again.

use super::act::{now, person};
use super::{Context, Failed, exit};
use crate::config::ServiceSpec;
use crate::policy::verdict;
use crate::state::{Approval, Hold, PairState, Step};

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

/// Keeps what is live: nothing newer is deployed by itself.
pub(super) async fn hold(context: &Context, name: &str, json: bool) -> Result<u8, Failed> {
    context.certificates(Some(name))?;
    let services = context.services_of(name);
    let now = self::now();
    let newest = context.store.certificate(name)?.newest()?.map_or(0, |newest| newest.number);
    for spec in &services {
        context
            .change_pairs(spec, &[name.to_owned()], |pair| {
                let there = matches!(pair.step, Step::Proved | Step::Unproved | Step::NotTaken);
                // Whoever went back before stays there.
                let before = pair.hold.as_ref().and_then(|hold| hold.instead);
                let instead = before.or(pair.revision.filter(|_| there));
                let (by, at) = (person(), now);
                pair.hold = Some(Hold { refused: newest, newer_too: true, instead, by, at });
                pair.forced = false;
            })
            .await?;
    }
    let text = format!(
        "held by {} until `pbxcert release {name}`, or two days before what is served ends",
        person()
    );
    context.tell(name, "held", &text, now)?;
    context.store.touch_generation()?;
    context.reconcile_calmly(&services, json).await
}

/// A person agrees to a revision that phones might not trust. It goes in when its time has come:
/// windows, freezes and calls count as ever.
pub(super) async fn approve(context: &Context, name: &str, json: bool) -> Result<u8, Failed> {
    context.certificates(Some(name))?;
    let Some(newest) = context.store.certificate(name)?.newest()? else {
        let text = format!("there is no revision of {name} to approve");
        return Err(Failed::new(exit::FAILED, text));
    };
    let services = context.services_of(name);
    for spec in &services {
        context.approve_newest(spec, &[name.to_owned()]).await?;
        // A wish from before was not about this one.
        context.change_pairs(spec, &[name.to_owned()], |pair| pair.forced = false).await?;
    }
    let text = format!("revision {} approved by {}", newest.number, person());
    context.tell(name, "approved", &text, self::now())?;
    context.store.touch_generation()?;
    context.reconcile_calmly(&services, json).await
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
    /// Writes down that a person wants the newest revision of each of these in this service, whether
    /// phones know it or not.
    pub(super) async fn approve_newest(
        &self,
        spec: &ServiceSpec,
        certificates: &[String],
    ) -> Result<(), Failed> {
        let at = self::now();
        for name in certificates {
            let Some(newest) = self.store.certificate(name)?.newest()? else { continue };
            let approval = Approval { revision: newest.number, by: person(), at };
            let approve = |pair: &mut PairState| {
                let known = pair.approved.as_ref().is_some_and(|a| a.revision == newest.number);
                if !known {
                    pair.approved = Some(approval.clone());
                }
            };
            self.change_pairs(spec, std::slice::from_ref(name), approve).await?;
        }
        Ok(())
    }

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
        let revoked = self.store.certificate(name)?.state()?.revoked;
        verdict::may_go_back(&before.leaf, revoked.as_ref(), now).map_err(|reason| {
            failed(format!("revision {} is no way back: {reason}", before.number))
        })?;
        let instead = Some(before.number);
        Ok(Hold { refused, newer_too: false, instead, by: person(), at: now })
    }
}
