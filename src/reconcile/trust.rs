//! What the guard against a changed trust goes by, and what it leaves behind.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Error, Reconciler};
use crate::cert::top::{RootName, Top};
use crate::config::{OnTrustChange, ServiceSpec};
use crate::policy::findings;
use crate::policy::trust::{self, Judgement};
use crate::state::{
    Doubt, Event, Finding, PairState, Revision, ServiceSeen, ServiceState, Step, TrustSeen,
};
use crate::store::ServiceWriter;

impl Reconciler<'_> {
    /// What the guard goes by; `None` where there is nothing to be guarded. Chains are read and
    /// roots are asked only while a revision is on its way.
    pub(super) fn trust_seen(
        &self,
        spec: &ServiceSpec,
        certificate: &str,
        newest: Option<&Revision>,
        pair: &PairState,
        state: &ServiceState,
    ) -> Option<TrustSeen> {
        let wanted = self.config.certificate(certificate)?;
        let stance = wanted.on_trust_change;
        let newest = newest.filter(|newest| !newest.is_placeholder())?;
        let there = pair.revision == Some(newest.number)
            && matches!(pair.step, Step::Proved | Step::Unproved | Step::NotTaken);
        if stance == OnTrustChange::Go || there {
            return None;
        }
        let store = self.store.certificate(certificate).ok()?;
        let top = |number| store.bundle(number).ok().and_then(|b| Top::of(b.chain()));
        let roots: Vec<RootName> = self.roots(wanted).iter().filter_map(RootName::of).collect();
        // Without any root, nobody can say whom phones trust: whoever is not self-signed.
        let trusted = |top: &Top| top.leads_to(&roots) || roots.is_empty() && !top.self_signed;
        let endpoints = spec.endpoints.iter().filter(|e| e.certificate == certificate);
        let anchored: BTreeSet<String> = endpoints
            .map(ToString::to_string)
            .filter(|e| state.seen.get(e).and_then(|seen| seen.top()).is_some_and(trusted))
            .collect();
        let installed = pair.revision.filter(|number| *number != newest.number);
        let installed = installed.and_then(|number| {
            let bundle = store.bundle(number).ok()?;
            let top = Top::of(bundle.chain()).filter(trusted)?;
            Some((bundle.leaf().clone(), Some(top)))
        });
        Some(TrustSeen { stance, newest: top(newest.number), anchored, installed })
    }

    /// Remembers and tells once that a revision waits; what is wrong then.
    pub(super) fn doubts(
        &self,
        spec: &ServiceSpec,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        seen: &ServiceSeen,
    ) -> Result<Vec<Finding>, Error> {
        let now = self.world.now();
        let mut found = Vec::new();
        let mut changed = false;
        for pair in &seen.pairs {
            let name = &pair.certificate;
            let there = state.pairs.entry(name.clone()).or_default();
            let (Judgement::Doubted(doubted), Some(newest)) =
                (trust::judge(spec, pair, seen, now), &pair.newest)
            else {
                changed |= there.doubt.take().is_some();
                continue;
            };
            let known = there.doubt.as_ref().filter(|d| d.revision == newest.number);
            let since = known.map_or(now, |doubt| doubt.since);
            let changes: Vec<String> = doubted.changes.iter().map(ToString::to_string).collect();
            let doubt = Doubt { revision: newest.number, since, changes: changes.join(", ") };
            if known.is_none() {
                self.record_doubt(spec, name, &doubt, now)?;
            }
            if there.doubt.as_ref() != Some(&doubt) {
                there.doubt = Some(doubt);
                changed = true;
            }
            found.push(findings::trust(spec, name, newest.number, &doubted, since));
        }
        if changed {
            writer.remember(state)?;
        }
        Ok(found)
    }

    fn record_doubt(
        &self,
        spec: &ServiceSpec,
        certificate: &str,
        doubt: &Doubt,
        now: Timestamp,
    ) -> Result<(), Error> {
        let text = format!("waits for `pbxcert approve {certificate}`: {}", doubt.changes);
        self.say(&format!("{}: {text}", spec.name));
        Ok(self.store.record(&Event {
            at: now,
            certificate: Some(certificate.to_owned()),
            service: Some(spec.name.clone()),
            revision: Some(doubt.revision),
            what: "doubted".to_owned(),
            text,
        })?)
    }
}
