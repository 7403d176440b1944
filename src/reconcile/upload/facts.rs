//! Everything that the judge is shown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::Weighed;
use crate::cert::bundle::{Bundle, PrivateKey};
use crate::cert::chain;
use crate::cert::import::Parts;
use crate::config::CertSpec;
use crate::feed;
use crate::policy::upload::{
    self as judge, Case, KeyPlace, Known, Live, Newest, OurKey, Trust, Upload, Verdict,
};
use crate::reconcile::{Error, Reconciler};
use crate::state::Revision;
use crate::store::CertificateStore;
use crate::tls;

impl Reconciler<'_> {
    /// Gathers what has to be known of an upload and has it judged.
    pub(super) async fn weigh(
        &self,
        store: &CertificateStore,
        spec: &CertSpec,
        files: Vec<(String, Parts)>,
        accept_worse: bool,
        fetches: &Fetches,
    ) -> Result<Weighed, Error> {
        let locked = files.iter().any(|(_, parts)| parts.rounds > 0);
        let upload = Upload::of(files);
        let revisions = store.revisions()?;
        let bundles: Vec<(&Revision, Bundle)> = revisions
            .iter()
            .filter_map(|revision| Some((revision, store.bundle(revision.number).ok()?)))
            .collect();
        let roots = self.roots(spec);
        let ours = self.our_keys(store, &bundles)?;
        let live = self.in_service(spec, &bundles, &roots)?;
        let known = self.known(spec, live.as_ref(), &bundles)?;
        let newest = bundles.last().map(|(revision, bundle)| Newest {
            number: revision.number,
            fingerprint: revision.leaf.fingerprint,
            chain: bundle.chain().to_vec(),
        });
        let mut trust = BTreeMap::new();
        let nothing_followed = BTreeMap::new();
        let case = Case {
            spec,
            upload: &upload,
            ours: &ours,
            known: &known,
            live: live.as_ref(),
            newest: newest.as_ref(),
            trust: &nothing_followed,
            accept_worse,
            now: self.world.now(),
        };
        for candidate in judge::to_follow(&case).into_iter().take(MOST_CHAINS) {
            let place = candidate.certificate;
            trust.insert(place, self.trust(spec, &upload, place, &bundles, &roots, fetches).await);
            if judge::is_best(&Case { trust: &trust, ..case }, candidate) {
                break;
            }
        }
        let mut judgement = judge::judge(&Case { trust: &trust, ..case });
        let mut bundle = None;
        if let Verdict::Accept { candidate, .. } = &judgement.verdict {
            let key = match candidate.key {
                KeyPlace::Ours(place) => ours[place].key.clone(),
                KeyPlace::Uploaded(place) => upload.keys[place].key.clone(),
            };
            // Without one there is no bundle, and nothing is committed.
            let chain = trust.remove(&candidate.certificate).map(|trust| trust.chain);
            let chain = chain.unwrap_or_default();
            match Bundle::from_ders(chain, key) {
                Ok(whole) => bundle = Some(whole),
                Err(error) => {
                    let text = judge::not_put_together(&error.to_string());
                    judgement.verdict = Verdict::Refuse(vec![text]);
                }
            }
        }
        Ok(Weighed { upload, judgement, bundle, locked })
    }

    /// Keys that never left this host, and those of earlier revisions.
    fn our_keys(
        &self,
        store: &CertificateStore,
        bundles: &[(&Revision, Bundle)],
    ) -> Result<Vec<OurKey>, Error> {
        let from = |key: &PrivateKey| {
            let same = |(_, bundle): &&(&Revision, Bundle)| bundle.key().public() == key.public();
            match bundles.iter().rfind(same) {
                Some((revision, _)) => format!("revision {}", revision.number),
                None => "the signing request that was made here".to_owned(),
            }
        };
        let keys = store.waiting_keys()?.into_iter();
        Ok(keys.map(|key| OurKey { from: from(&key), key }).collect())
    }

    /// What a certificate may lead to: this machine's roots, and those of the configuration. One that cannot be read trusts nobody, and says so in the log.
    pub(in crate::reconcile) fn roots(&self, spec: &CertSpec) -> Vec<CertificateDer<'static>> {
        let issuer = spec.issuers.first().and_then(|name| self.config.issuers.get(name));
        let issuer = issuer.and_then(|issuer| issuer.trust_anchor.as_deref());
        let warned = |error: &tls::BadAnchor| tracing::warn!("{error}");
        let ours = tls::roots(spec.upload.trust_anchor.as_deref())
            .inspect_err(warned)
            .or_else(|_| tls::roots(None))
            .unwrap_or_default();
        ours.complaint.iter().for_each(|text| tracing::warn!("{text}"));
        let issuer = issuer.map(|path| tls::anchors(path).inspect_err(warned).unwrap_or_default());
        [ours.certificates, issuer.unwrap_or_default()].concat()
    }

    /// Where the chain of a certificate leads, with what was uploaded, what is known, and what may
    /// be fetched.
    async fn trust(
        &self,
        spec: &CertSpec,
        upload: &Upload,
        place: usize,
        bundles: &[(&Revision, Bundle)],
        roots: &[CertificateDer<'static>],
        fetches: &Fetches,
    ) -> Trust {
        let found = &upload.certificates[place];
        let mut known: Vec<CertificateDer<'static>> =
            upload.certificates.iter().map(|c| c.der.clone()).collect();
        let earlier = bundles.iter().rev().flat_map(|(_, bundle)| bundle.chain()[1..].iter());
        known.extend(earlier.cloned());
        known.extend(fetches.found.borrow().iter().cloned());
        let mut not_fetched = None;
        let mut built = chain::build(&found.der, &known, roots, self.world.now());
        if spec.upload.fetch_intermediates {
            for _ in 0..MOST_FETCHES {
                let Some(missing) = built.missing.as_ref().filter(|m| !m.addresses.is_empty())
                else {
                    break;
                };
                self.say(&format!("{}: fetching {}", spec.name, missing.issuer));
                match fetches.ask(&missing.addresses).await {
                    Ok(fetched) => known.extend(fetched),
                    Err(reason) => {
                        let certificate = spec.name.as_str();
                        tracing::warn!(certificate, "an intermediate is missing: {reason}");
                        not_fetched = Some(reason);
                        break;
                    }
                }
                let before = built.certificates.len();
                let next = chain::build(&found.der, &known, roots, self.world.now());
                if next.certificates.len() == before {
                    let reason = format!("what lies there is not that of {}", missing.issuer);
                    not_fetched = Some(fetches.is_useless(&missing.addresses, reason));
                    break;
                }
                built = next;
            }
        }
        let at = |time| {
            chain::validate(&built.certificates, roots, time).map_err(|error| error.to_string())
        };
        let (now, at_end) = (at(self.world.now()), at(found.facts.leaf.validity.not_after));
        Trust { chain: built.certificates, missing: built.missing, not_fetched, now, at_end }
    }

    /// What an upload would replace: the newest revision that was seen in service, else the newest
    /// one, else what the endpoints showed when they were looked at.
    fn in_service(
        &self,
        spec: &CertSpec,
        bundles: &[(&Revision, Bundle)],
        roots: &[CertificateDer<'static>],
    ) -> Result<Option<Live>, Error> {
        let promoted = self.live(&spec.name)?.into_iter().max();
        let mut shown = None;
        for service in self.config.services.iter().filter(|s| s.certificates.contains(&spec.name)) {
            let state = self.store.service(&service.name)?.state()?;
            let endpoints = service.endpoints.iter().filter(|e| e.certificate == spec.name);
            shown =
                endpoints.filter_map(|e| state.seen.get(&e.to_string())?.leaf().cloned()).next();
        }
        let of = |number| bundles.iter().find(|(r, _)| Some(r.number) == number);
        if let Some((revision, bundle)) = of(promoted).or(bundles.last()) {
            let ends = revision.leaf.validity.not_after;
            let fingerprint = revision.leaf.fingerprint;
            let revoked = self.store.certificate(&spec.name)?.state()?.revoked;
            let at: Timestamp = self.world.now().min(ends);
            return Ok(Some(Live {
                leaf: revision.leaf.clone(),
                what: format!("revision {}", revision.number),
                placeholder: revision.is_placeholder(),
                revoked: revoked.is_some_and(|leaf| leaf.fingerprint == fingerprint),
                trusted: chain::validate(bundle.chain(), roots, at).is_ok(),
            }));
        }
        let of_use = |leaf: &crate::cert::Leaf| {
            let covers = |n| leaf.identifiers.iter().any(|held| held.covers(n));
            // What every new PBX has: signed by itself, good for decades, of use to nobody.
            let own = leaf.common_name.as_ref().is_some_and(|cn| leaf.issuer == format!("CN={cn}"));
            spec.identifiers.iter().any(covers) && !own
        };
        Ok(shown.filter(of_use).map(|leaf| Live {
            leaf,
            what: "from another tool".to_owned(),
            placeholder: false,
            revoked: false,
            // Only its leaf was kept.
            trusted: false,
        }))
    }

    /// Public keys of what we have, so that a stray key can be named.
    fn known(
        &self,
        spec: &CertSpec,
        live: Option<&Live>,
        bundles: &[(&Revision, Bundle)],
    ) -> Result<Vec<Known>, Error> {
        let mut known = Vec::new();
        for (revision, bundle) in bundles.iter().rev() {
            let in_use = live.is_some_and(|l| l.leaf.fingerprint == revision.leaf.fingerprint);
            let what = if in_use {
                format!("the certificate that is in use now (revision {})", revision.number)
            } else {
                format!("an earlier certificate (revision {})", revision.number)
            };
            known.push(Known { public: bundle.key().public().to_vec(), what });
        }
        for other in self.config.certificates.iter().filter(|c| c.name != spec.name) {
            let store = self.store.certificate(&other.name)?;
            let Some(newest) = store.newest()? else { continue };
            let Ok(bundle) = store.bundle(newest.number) else { continue };
            let what = format!("another certificate of this host, {:?}", other.name);
            known.push(Known { public: bundle.key().public().to_vec(), what });
        }
        Ok(known)
    }
}

/// What is fetched for one upload, however often it is weighed: each server is asked once, and all
/// of them together take no longer than [`FETCH_LIMIT`], for the certificate is locked meanwhile.
pub(super) struct Fetches {
    found: RefCell<Vec<CertificateDer<'static>>>,
    /// Addresses that gave nothing of use, and why.
    failed: RefCell<BTreeMap<Vec<String>, String>>,
    left: Cell<Duration>,
}

impl Fetches {
    pub(super) fn new() -> Self {
        let (found, failed) = (RefCell::default(), RefCell::default());
        Self { found, failed, left: Cell::new(FETCH_LIMIT) }
    }

    /// Asks for what lies at these addresses; why there is nothing.
    async fn ask(&self, addresses: &[String]) -> Result<Vec<CertificateDer<'static>>, String> {
        if let Some(reason) = self.failed.borrow().get(addresses) {
            return Err(reason.clone());
        }
        if self.left.get().is_zero() {
            return Err(format!("no answer within {} s", FETCH_LIMIT.as_secs()));
        }
        let begun = Instant::now();
        let asked = feed::intermediates(addresses, self.left.get()).await;
        self.left.set(self.left.get().saturating_sub(begun.elapsed()));
        match asked {
            Ok(fetched) => {
                self.found.borrow_mut().extend(fetched.iter().cloned());
                Ok(fetched)
            }
            Err(error) => Err(self.is_useless(addresses, error.to_string())),
        }
    }

    fn is_useless(&self, addresses: &[String], reason: String) -> String {
        self.failed.borrow_mut().insert(addresses.to_vec(), reason.clone());
        reason
    }
}

/// Certificates with their keys in one upload whose chains are followed: as many as 16 files of 10
/// hold, so that none of them can be hidden behind others.
const MOST_CHAINS: usize = 160;

/// Intermediates that are fetched for one chain.
const MOST_FETCHES: usize = 3;

/// For all that is fetched for one upload.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
