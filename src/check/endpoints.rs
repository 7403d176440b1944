//! A look at every endpoint of every service, and what it is held against; `verify` and the daily
//! check see the same.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use jiff::{Timestamp, ZonedDateTime};

use super::{Checker, Error};
use crate::cert::Fingerprint;
use crate::cert::bundle::Bundle;
use crate::config::{Endpoint, ServiceSpec};
use crate::policy::health::endpoint::{self, Chain, Wanted};
use crate::policy::lint::{self, Remark, Seen};
use crate::state::check::Verdict;
use crate::state::{Answer, Served, Step};
use crate::store::CertificateStore;

/// What came of one look.
pub struct Look<'a> {
    /// Whose endpoint it is.
    pub service: &'a ServiceSpec,
    /// Where.
    pub endpoint: &'a Endpoint,
    /// What was seen.
    pub served: Served,
}

/// What a look is held against.
pub struct Facts {
    /// What should be there.
    pub wanted: Wanted,
    /// Which of our revisions came.
    pub revision: Option<u64>,
    /// The certificates that came; `None`: none.
    pub chain: Option<Chain>,
    /// What the clients of the service stumble over.
    pub remarks: Vec<Remark>,
}

impl Facts {
    /// Is it what it should be, whole, and long enough?
    pub fn judge(&self, served: &Served, now: &ZonedDateTime) -> (Verdict, String) {
        endpoint::ours(served, &self.wanted, self.chain.as_ref(), now)
    }
}

impl<'a> Checker<'a> {
    /// Looks at every endpoint, all at once: what hangs costs its own time limit.
    pub async fn looks(&self) -> Vec<Look<'a>> {
        let Checker { world, config, .. } = *self;
        let looks = config.services.iter().flat_map(|service| {
            service.endpoints.iter().map(move |endpoint| async move {
                let served = world.prober.probe(endpoint, endpoint.timeout, world.now()).await;
                Look { service, endpoint, served }
            })
        });
        join_all(looks).await
    }

    /// What a look is held against.
    ///
    /// # Errors
    ///
    /// When records cannot be read.
    pub fn facts(&self, look: &Look<'_>) -> Result<Facts, Error> {
        let store = self.store.certificate(&look.endpoint.certificate)?;
        let wanted = self.wanted(&look.service.name, &store)?;
        let revision = look.served.fingerprint().and_then(|f| wanted.number_of(f));
        let bundle = revision.and_then(|number| store.bundle(number).ok());
        let installed: Option<Vec<Fingerprint>> = bundle
            .as_ref()
            .map(|bundle| bundle.chain().iter().map(|der| Fingerprint::of(der)).collect());
        let chain = Chain::of(&look.served, installed.as_deref());
        let remarks = remarks(look.service, &look.served, bundle.as_ref());
        Ok(Facts { wanted, revision, chain, remarks })
    }

    /// Keeps what was seen for `status`, unless somebody is at work on the service: then that one
    /// looks. Leaves the looks that count: not every service of a kind has all of its ports.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn remember_looks(&self, looks: &mut Vec<Look<'a>>, now: Timestamp) -> Result<(), Error> {
        let mut seen: BTreeMap<&str, BTreeMap<String, Served>> = BTreeMap::new();
        for Look { service, endpoint, served } in looks.iter() {
            seen.entry(&service.name).or_default().insert(endpoint.to_string(), served.clone());
        }
        let mut in_use = BTreeSet::new();
        for service in &self.config.services {
            let Some(seen) = seen.remove(service.name.as_str()) else { continue };
            let store = self.store.service(&service.name)?;
            let writer = store.try_lock(now)?;
            let mut state = store.state()?;
            state.note(seen);
            let used = state.in_use(service).into_iter().map(ToString::to_string);
            in_use.extend(used.map(|endpoint| (service.name.as_str(), endpoint)));
            if let Some(writer) = writer {
                writer.remember(&state)?;
            }
        }
        looks.retain(|look| {
            in_use.contains(&(look.service.name.as_str(), look.endpoint.to_string()))
        });
        Ok(())
    }

    /// What is in service, else what is newest.
    fn wanted(&self, service: &str, store: &CertificateStore) -> Result<Wanted, Error> {
        let state = self.store.service(service)?.state()?;
        let pair = state.pairs.get(store.name()).cloned().unwrap_or_default();
        let revisions = store.revisions()?;
        let known: BTreeMap<_, _> =
            revisions.into_iter().map(|r| (r.leaf.fingerprint, r.number)).collect();
        let newest = store.newest()?.filter(|newest| !newest.is_placeholder());
        let newest = newest.map(|newest| newest.leaf.fingerprint);
        let installed = matches!(pair.step, Step::Unproved | Step::NotTaken);
        let number = pair.revision.filter(|_| installed);
        let in_place = number.and_then(|n| known.iter().find(|(_, known)| **known == n));
        Ok(Wanted {
            fingerprint: pair.promoted.map(|p| p.fingerprint).or(newest),
            in_place: in_place.map(|(fingerprint, _)| *fingerprint),
            known,
        })
    }
}

/// What the clients of a service say to what it serves. The root is known of chains of ours, and
/// where the leaf is all that came.
fn remarks(service: &ServiceSpec, served: &Served, ours: Option<&Bundle>) -> Vec<Remark> {
    let Answer::Certificate { leaf, chain, .. } = &served.answer else { return Vec::new() };
    if leaf.is_placeholder() {
        return Vec::new();
    }
    let root = match ours.filter(|bundle| bundle.chain().len() == chain.len()) {
        Some(bundle) => bundle.root(),
        None => Some(leaf.issuer.clone()).filter(|_| chain.len() == 1),
    };
    let seen = Seen { leaf, chain_length: chain.len(), root: root.as_deref() };
    let mut remarks = lint::lint(seen, &service.clients, &service.sip_domains);
    if let Some(newest) = &served.protocol {
        remarks.extend(lint::versions(newest, &service.clients));
    }
    remarks
}
