//! Trunks: peers that are called as a client, with a certificate of ours; `verify` and the daily
//! check call alike.

use futures_util::future::join_all;
use jiff::ZonedDateTime;

use super::{Checker, Error};
use crate::cert::bundle::Bundle;
use crate::config::TrunkSpec;
use crate::config::compatibility::{Family, families};
use crate::policy::health::endpoint::{self, Call};
use crate::policy::lint::{self, Remark, Seen};
use crate::probe::{self, Called};
use crate::state::check::Verdict;
use crate::tls;

/// The family of peers that ask for a certificate.
const MUTUAL: &str = "trunk-mutual";

/// Why a peer could not be called.
#[derive(Debug, thiserror::Error)]
pub enum Uncalled {
    /// What is shown to it could not be read.
    #[error(transparent)]
    Records(#[from] Error),
    /// What is shown to it cannot be shown.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// A peer that was called.
pub struct Trunk<'a> {
    /// Which.
    pub spec: &'a TrunkSpec,
    /// What it did.
    pub called: Called,
    /// What was shown to it when it asked.
    ours: Option<Bundle>,
}

impl Trunk<'_> {
    /// Does it take us, and can we trust it, and how long?
    pub fn judge(&self, now: &ZonedDateTime) -> (Verdict, String) {
        let Called { served, asked, trust } = &self.called;
        let trust = trust.as_ref().copied().map_err(String::as_str);
        let call = Call { served, asked: *asked, has_ours: self.ours.is_some(), trust };
        endpoint::peer(call, self.spec, now)
    }

    /// What who asks for a certificate will say to ours.
    pub fn remarks(&self) -> Vec<Remark> {
        let Some(ours) = self.ours.as_ref().filter(|_| self.called.asked) else {
            return Vec::new();
        };
        let clients: Vec<Family> = families().into_iter().filter(|f| f.name == MUTUAL).collect();
        let seen = Seen { leaf: ours.leaf(), chain_length: ours.chain().len(), root: None };
        lint::lint(seen, &clients, &[])
    }
}

impl<'a> Checker<'a> {
    /// Calls every trunk, all at once; of each what it did, or why it could not be called.
    pub async fn call_trunks(&self) -> Vec<(&'a TrunkSpec, Result<Trunk<'a>, Uncalled>)> {
        let Checker { config, .. } = *self;
        join_all(config.trunks.iter().map(|spec| async move { (spec, self.call(spec).await) }))
            .await
    }

    async fn call(&self, spec: &'a TrunkSpec) -> Result<Trunk<'a>, Uncalled> {
        let ours = self.shown_to(spec)?;
        let (endpoint, anchor) = (&spec.endpoint, spec.trust_anchor.as_deref());
        let called = probe::call(endpoint, ours.as_ref(), anchor, self.world.now()).await?;
        Ok(Trunk { spec, called, ours })
    }

    /// What is in service of a certificate, else what is newest; `None`: there is none yet.
    fn shown_to(&self, trunk: &TrunkSpec) -> Result<Option<Bundle>, Error> {
        let name = &trunk.endpoint.certificate;
        let Some(number) = self.in_service(name)? else { return Ok(None) };
        Ok(Some(self.store.certificate(name)?.bundle(number)?))
    }

    /// The revision of a certificate that is in service, the newest of several, else the newest
    /// that there is; never a placeholder.
    pub(super) fn in_service(&self, certificate: &str) -> Result<Option<u64>, Error> {
        let mut live = None;
        for service in &self.config.services {
            let state = self.store.service(&service.name)?.state()?;
            let promoted = state.pairs.get(certificate).and_then(|pair| pair.promoted.as_ref());
            live = live.max(promoted.map(|promotion| promotion.revision));
        }
        if live.is_some() {
            return Ok(live);
        }
        let newest = self.store.certificate(certificate)?.newest()?;
        Ok(newest.filter(|newest| !newest.is_placeholder()).map(|newest| newest.number))
    }
}
