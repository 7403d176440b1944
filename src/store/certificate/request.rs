//! The writer's part in signing requests: one per certificate until it is used.

use jiff::Timestamp;

use super::super::{Error, csr};
use super::CertificateWriter;
use crate::cert::bundle::PrivateKey;
use crate::config::CertSpec;
use crate::store::Csr;

impl CertificateWriter {
    /// The signing request of this certificate: the one that stands, or a new one when there is
    /// none, it was used, or the configuration asks for other names or another kind of key.
    ///
    /// May make a key: for RSA that takes up to seconds ([`Self::standing_csr`] does not).
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub fn csr(&self, spec: &CertSpec, now: Timestamp) -> Result<Csr, Error> {
        match self.standing_csr(spec)? {
            Some(csr) => Ok(csr),
            None => self.new_csr(spec, now),
        }
    }

    /// Another signing request, whatever stands; the keys of those before are kept until a later
    /// one is live.
    ///
    /// # Errors
    ///
    /// As [`Self::csr`].
    pub fn new_csr(&self, spec: &CertSpec, now: Timestamp) -> Result<Csr, Error> {
        let key = PrivateKey::generate(spec.key);
        let key = key.map_err(|source| Error::Bundle { path: csr::json(&self.dir), source })?;
        self.csr_with(spec, &key, now)
    }

    /// [`Self::new_csr`] with a key that was made elsewhere, where waiting harms nobody.
    ///
    /// # Errors
    ///
    /// As [`Self::csr`].
    pub fn csr_with(
        &self,
        spec: &CertSpec,
        key: &PrivateKey,
        now: Timestamp,
    ) -> Result<Csr, Error> {
        let record = csr::write(&self.dir, spec, key, now)?;
        csr::show(&self.dir, spec, record, true)
    }

    /// The signing request that waits for its answer; what a crash left out of it is written.
    ///
    /// # Errors
    ///
    /// As [`Self::csr`].
    pub fn standing_csr(&self, spec: &CertSpec) -> Result<Option<Csr>, Error> {
        let Some((record, key)) = csr::standing(&self.dir, spec)? else { return Ok(None) };
        for revision in self.revisions()? {
            let used = self.bundle(revision.number);
            if used.is_ok_and(|bundle| bundle.key().public() == key.public()) {
                return Ok(None);
            }
        }
        csr::show(&self.dir, spec, record, false).map(Some)
    }

    /// Forgets the requests that are answered: revisions in `live` were seen in service.
    ///
    /// # Errors
    ///
    /// When something cannot be removed.
    pub fn retire_csrs(&self, spec: &CertSpec, live: &[u64]) -> Result<(), Error> {
        if csr::keys(&self.dir)?.is_empty() {
            return Ok(());
        }
        let bundles = live.iter().filter_map(|number| self.bundle(*number).ok());
        let keys: Vec<Vec<u8>> = bundles.map(|bundle| bundle.key().public().to_vec()).collect();
        csr::retire(&self.dir, spec, &keys)
    }
}
