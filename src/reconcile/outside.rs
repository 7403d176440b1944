//! What came to the targets from outside: told from something poorer, adopted, or noted before ours
//! is put back over it.

use jiff::Timestamp;

use super::{Error, Reconciler};
use crate::cert::bundle::{Bundle, digest_hex};
use crate::cert::chain;
use crate::cert::top::Top;
use crate::config::{Install, ServiceSpec};
use crate::deploy::on_disk;
use crate::policy::schedule;
use crate::state::{Event, FilesSeen, Origin, PairState, PutBack, ServiceSeen, ServiceState, Step};
use crate::store::ServiceWriter;

impl Reconciler<'_> {
    /// Whether the pair at the targets could take the place of ours: good for servers, with a key
    /// of a kind that we make, and leading to a root that is trusted here; where ours does not,
    /// to the same one.
    pub(super) fn is_sound(&self, certificate: &str, install: &Install, now: Timestamp) -> bool {
        let Ok(bundle) = on_disk::pair_on_disk(install) else { return false };
        let leaf = bundle.leaf();
        if !leaf.server_auth || leaf.is_ca || leaf.key.is_none() || leaf.is_placeholder() {
            return false;
        }
        let Some(spec) = self.config.certificate(certificate) else { return false };
        let roots = self.roots(spec);
        if chain::validate(bundle.chain(), &roots, now).is_ok() {
            return true;
        }
        let Some(ours) = self.newest_bundle(certificate) else { return false };
        let as_trusted = chain::validate(ours.chain(), &roots, now).is_err();
        let tops = (Top::of(ours.chain()), Top::of(bundle.chain()));
        as_trusted
            && matches!(tops, (Some(ours), Some(theirs)) if !theirs.self_signed && ours.same_root(&theirs))
    }

    pub(super) fn newest_bundle(&self, certificate: &str) -> Option<Bundle> {
        let store = self.store.certificate(certificate).ok()?;
        store.bundle(store.newest().ok()??.number).ok()
    }

    /// Makes a revision of what lies at the targets. What its endpoints serve decides whether it is
    /// in service already; else the service is reloaded when its time has come.
    pub(super) async fn adopt(
        &self,
        spec: &ServiceSpec,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        certificate: &str,
    ) -> Result<bool, Error> {
        let Some(install) = spec.install.get(certificate) else { return Ok(false) };
        let now = self.world.now();
        let store = self.store.certificate(certificate)?;
        // Locks are taken in the order certificate, service; waiting here could be for ever.
        let Some(of_certificate) = store.try_lock(now)? else { return Ok(false) };
        let found = on_disk::files(install);
        let Ok(bundle) = on_disk::pair_on_disk(install) else { return Ok(false) };
        let revision = of_certificate.commit(&bundle, None, Origin::Outside, now)?;
        drop(of_certificate);
        let pair = state.pairs.entry(certificate.to_owned()).or_default();
        pair.files = found.into_iter().map(|(path, bytes)| (path, digest_hex(&bytes))).collect();
        pair.revision = Some(revision.number);
        (pair.step, pair.since) = (Step::NotTaken, Some(now));
        (pair.saved, pair.drift_at, pair.problem, pair.retry_at) = (None, None, None, None);
        pair.failures = 0;
        writer.remember(state)?;
        let text = format!(
            "somebody put a certificate that lasts until {} at the targets; it is ours now",
            schedule::date(revision.leaf.validity.not_after)
        );
        self.say(&format!("{}: adopted: {text}", spec.name));
        let service = spec.name.as_str();
        tracing::warn!(service, certificate, revision = revision.number, "adopted: {text}");
        self.store.record(&Event {
            at: now,
            certificate: Some(certificate.to_owned()),
            service: Some(spec.name.clone()),
            revision: Some(revision.number),
            what: "adopted".to_owned(),
            text,
        })?;
        self.store.touch_generation()?;
        self.deployment(spec).look_again(writer, state).await.ok();
        Ok(true)
    }

    /// Remembers, before it happens, that ours goes over something from outside: that is done once.
    pub(super) fn note_put_back(
        &self,
        spec: &ServiceSpec,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        seen: &ServiceSeen,
        pairs: &[(String, u64)],
    ) -> Result<(), Error> {
        let at = self.world.now();
        for (certificate, revision) in pairs {
            let Some(pair) = seen.pairs.iter().find(|p| p.certificate == *certificate) else {
                continue;
            };
            let FilesSeen::Foreign(leaf) = &pair.files else { continue };
            if pair.state.files.is_empty() || was_put_there_by_us(&pair.state, leaf.fingerprint) {
                continue;
            }
            let there = state.pairs.entry(certificate.clone()).or_default();
            let fingerprint = leaf.fingerprint;
            there.put_back.push(PutBack { at, fingerprint, revision: *revision });
            there.put_back.drain(..there.put_back.len().saturating_sub(MOST_REMEMBERED));
            let text = format!(
                "over a certificate from outside that ends at {}",
                schedule::date(leaf.validity.not_after)
            );
            self.store.record(&Event {
                at,
                certificate: Some(certificate.clone()),
                service: Some(spec.name.clone()),
                revision: Some(*revision),
                what: "put-back".to_owned(),
                text,
            })?;
            writer.remember(state)?;
        }
        Ok(())
    }
}

/// What a rollback of ours brought back is not from outside.
fn was_put_there_by_us(pair: &PairState, fingerprint: crate::cert::Fingerprint) -> bool {
    let saved = pair.saved.as_ref().and_then(|saved| saved.leaf.as_ref());
    matches!(pair.step, Step::RolledBack | Step::Stuck)
        && saved.is_some_and(|saved| saved.fingerprint == fingerprint)
}

/// Pairs from outside that are known again.
const MOST_REMEMBERED: usize = 16;
