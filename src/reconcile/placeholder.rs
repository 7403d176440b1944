//! What stands in for a certificate that is not there yet.

use jiff::Timestamp;

use super::{Error, Reconciler};
use crate::cert::Leaf;
use crate::cert::bundle::PrivateKey;
use crate::config::{CertSpec, Source};
use crate::deploy::on_disk;
use crate::policy::plan::{self, Reason};
use crate::policy::schedule::date;
use crate::state::{Finding, Foreign, Observed, Origin, Severity};
use crate::store::{CertificateWriter, Csr};

impl Reconciler<'_> {
    /// Makes a placeholder and commits it; from there on it goes the way of every revision.
    pub(super) async fn stand_in(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        seen: &Observed,
        reason: &Reason,
    ) -> Result<(), Error> {
        let key = match self.last_key(spec, seen) {
            Some(key) => key,
            None => self.new_key(spec.key).await?,
        };
        let now = self.world.now();
        let bundle = key.self_signed(&spec.identifiers, plan::placeholder_validity(now))?;
        let revision = writer.commit(&bundle, None, Origin::Placeholder, now)?;
        writer.prune(&self.in_use(&spec.name)?)?;
        let text = format!(
            "a self-signed placeholder until {}, so that services can start ({reason}); no client \
             trusts it",
            date(revision.leaf.validity.not_after)
        );
        self.say(&format!("{}: {text}", spec.name));
        self.tell(spec, "placeholder", &text, Some(revision.number))
    }

    /// The signing request that waits for its answer; one is made when there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub(super) async fn request(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
    ) -> Result<Csr, Error> {
        if let Some(csr) = writer.standing_csr(spec)? {
            return Ok(csr);
        }
        let key = self.new_key(spec.key).await?;
        let csr = writer.csr_with(spec, &key, self.world.now())?;
        let text = format!("a signing request lies in {}", csr.path.display());
        self.say(&format!("{}: {text}", spec.name));
        self.tell(spec, "csr", &text, None)?;
        Ok(csr)
    }

    /// The key of the placeholder before, if it is still of the kind that is wanted.
    fn last_key(&self, spec: &CertSpec, seen: &Observed) -> Option<PrivateKey> {
        let number = seen.placeholder()?.number;
        let bundle = self.store.certificate(&spec.name).ok()?.bundle(number).ok()?;
        Some(bundle.key().clone()).filter(|key| key.kind() == Some(spec.key))
    }

    /// A valid certificate of somebody else that lies at the targets of a service, or is served
    /// there as far as was looked.
    pub(super) fn foreign_in_service(
        &self,
        spec: &CertSpec,
        now: Timestamp,
    ) -> Result<Option<Foreign>, Error> {
        let works = |leaf: &Leaf| !leaf.is_placeholder() && leaf.validity.contains(now);
        for service in self.config.services.iter().filter(|s| s.certificates.contains(&spec.name)) {
            let state = self.store.service(&service.name)?.state()?;
            let on_disk = service.install.get(&spec.name).and_then(on_disk::any_leaf_on_disk);
            let served = service
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.certificate == spec.name)
                .filter_map(|endpoint| state.seen.get(&endpoint.to_string())?.leaf().cloned());
            let ends = on_disk.into_iter().chain(served).filter(works);
            if let Some(not_after) = ends.map(|leaf| leaf.validity.not_after).max() {
                return Ok(Some(Foreign { service: service.name.clone(), not_after }));
            }
        }
        Ok(None)
    }
}

/// That there is no certificate, or only a placeholder, and what to do.
pub(super) fn finding(spec: &CertSpec, seen: &Observed, now: Timestamp) -> Option<Finding> {
    let folder = spec.upload.dir.display();
    let (severity, text) = match (seen.placeholder(), &seen.foreign_in_service) {
        (Some(_), None) => (
            Severity::Critical,
            format!(
                "a self-signed placeholder stands in for {}: the service can start, but phones, \
                 trunks and browsers do not trust it; upload a certificate into {folder}/ \
                 (the request for it: `pbxcert csr {}`)",
                spec.name, spec.name
            ),
        ),
        (None, None) if spec.source == Source::Manual && seen.certificate().is_none() => (
            Severity::Critical,
            format!(
                "there is no certificate yet; upload one into {folder}/ (the request for it: \
                 `pbxcert csr {}`)",
                spec.name
            ),
        ),
        (_, Some(foreign)) if spec.source == Source::Manual && now <= foreign.not_after => (
            Severity::Warning,
            format!(
                "{} has a certificate from outside that ends at {} and is left alone; upload one \
                 into {folder}/, so that it is watched and renewed in time",
                foreign.service,
                date(foreign.not_after)
            ),
        ),
        _ => return None,
    };
    Some(Finding { object: spec.name.clone(), severity, text })
}
