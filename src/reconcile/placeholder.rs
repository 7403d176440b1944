//! What stands in for a certificate that is not there yet.

use jiff::Timestamp;

use super::{Error, Reconciler};
use crate::cert::Leaf;
use crate::cert::bundle::PrivateKey;
use crate::config::CertSpec;
use crate::deploy::on_disk;
use crate::policy::plan::{self, Reason};
use crate::policy::schedule::date;
use crate::state::{Foreign, Observed, Origin};
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
