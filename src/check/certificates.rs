//! Certificates, the endpoints that serve them, and the peers that we call with them.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use rustls::pki_types::CertificateDer;

use super::endpoints::Look;
use super::trunks::{Trunk, Uncalled};
use super::{Checker, Error, hygiene, revocation};
use crate::cert::bundle::Bundle;
use crate::cert::chain;
use crate::config::{CertSpec, IssuerSpec, ServiceSpec, Source, TrunkSpec};
use crate::deploy::{chain_of, on_disk};
use crate::policy::health::certificate::{self, About, Revocation, Trust};
use crate::policy::health::endpoint;
use crate::policy::plan;
use crate::policy::schedule::{Seed, renew_at, speaks_of};
use crate::state::check::{Item, Topic, Verdict};
use crate::state::{FilesSeen, PairState, ServiceState};
use crate::{store, tls};

/// What there is to say of them.
pub(super) async fn items(checker: &Checker<'_>, now: Timestamp) -> Vec<Item> {
    let here = now.to_zoned_datetime(TimeZone::system());
    // As they were before the looks of this check are kept.
    let states = states(checker);
    let system = tls::roots(None).unwrap_or_default();
    let of_each = checker.config.certificates.iter();
    let certificates = join_all(of_each.map(|spec| of_certificate(checker, spec, &system, &here)));
    let (certificates, mut looks, lowest, trunks) = tokio::join!(
        certificates,
        checker.looks(),
        hygiene::lowest_of_all(checker),
        checker.call_trunks()
    );
    if let Err(error) = checker.remember_looks(&mut looks, now) {
        tracing::warn!("what was seen at the endpoints is not kept: {}", chain_of(&error));
    }
    let mut items = certificates.concat();
    items.extend(looks.iter().flat_map(|look| of_look(checker, look, &here)));
    for service in &checker.config.services {
        items.extend(files(service, states.get(service.name.as_str())));
    }
    items.extend(trunks.into_iter().map(|(spec, trunk)| of_trunk(spec, trunk, &here)));
    let before = checker.store.check_record().ok().and_then(|record| record.report);
    items.extend(looks.iter().zip(lowest).map(|(look, lowest)| {
        let state = states.get(look.service.name.as_str());
        hygiene::of_endpoint(look, &lowest, state, before.as_ref())
    }));
    items.extend(checker.config.services.iter().flat_map(hygiene::key_files));
    items
}

fn states<'a>(checker: &Checker<'a>) -> BTreeMap<&'a str, ServiceState> {
    let read = |service: &'a ServiceSpec| {
        let state = checker.store.service(&service.name).ok()?.state().ok()?;
        Some((service.name.as_str(), state))
    };
    checker.config.services.iter().filter_map(read).collect()
}

/// Everything about one certificate that no endpoint is needed for.
async fn of_certificate(
    checker: &Checker<'_>,
    spec: &CertSpec,
    system: &tls::Roots,
    now: &ZonedDateTime,
) -> Vec<Item> {
    let held = match Held::read(checker, spec) {
        Ok(Some(held)) => held,
        Ok(None) => return vec![none(checker, spec)],
        Err(Error::Store(store::Error::Bundle { path, source })) => {
            let text = format!("{} cannot be used: {}", path.display(), chain_of(&source));
            let item = Item::new(Topic::Key, &spec.name, Verdict::Critical, text);
            return vec![item.then(format!("pbxcert renew {} --force", spec.name))];
        }
        Err(error) => {
            let text = format!("its records cannot be read: {}", chain_of(&error));
            let item = Item::new(Topic::Dates, &spec.name, Verdict::Unknown, text);
            return vec![item.then("see what is damaged: pbxcert status")];
        }
    };
    let about = held.about(spec);
    let (bundle, leaf) = (&held.bundle, held.bundle.leaf());
    let fullchain = [bundle.cert_pem(), bundle.chain_pem()].concat();
    let handshake = tls::scratch_handshake(fullchain.as_bytes(), bundle.key().to_pem().as_bytes());
    let handshake = handshake.map(|_| ()).map_err(|error| chain_of(&error));
    let mut items = vec![
        certificate::dates(about, now),
        certificate::names(about),
        certificate::key(about, handshake),
    ];
    let roots = match roots(checker, spec, system) {
        Ok(roots) => roots,
        Err(error) => {
            let item = Item::new(Topic::Chain, &spec.name, Verdict::Unknown, error.to_string());
            items.push(item.then("mend that file, or take trust-anchor out of pbxcert.toml"));
            system.certificates.clone()
        }
    };
    if items.iter().all(|item| item.topic != Topic::Chain) {
        let is_private = issuer(checker, spec).is_some_and(|issuer| issuer.trust_anchor.is_some());
        let trust = held.trust(&roots, system, is_private, now.timestamp());
        items.push(certificate::chain(about, &trust, now));
    }
    items.push(certificate::chain_end(about, &chain::ends(bundle.chain(), &roots), now));
    let known = revocation::ask(checker, bundle, &roots, now.timestamp()).await;
    if let Revocation::Revoked { at, .. } = known {
        let (name, now) = (&spec.name, now.timestamp());
        if let Err(error) = revocation::remember(checker, name, leaf.fingerprint, at, now) {
            tracing::warn!("{name} was revoked, which is not kept: {}", chain_of(&error));
        }
    }
    items.push(certificate::revocation(about, &known, held.window, now));
    items
}

fn none(checker: &Checker<'_>, spec: &CertSpec) -> Item {
    let newest = checker.store.certificate(&spec.name).and_then(|store| store.newest());
    certificate::missing(spec, newest.is_ok_and(|newest| newest.is_some()))
}

/// The certificate that is in service, and what is remembered of it.
struct Held {
    bundle: Bundle,
    number: u64,
    newer: Option<Timestamp>,
    clock: Option<String>,
    renew_at: Timestamp,
    window: Option<crate::state::Window>,
}

impl Held {
    fn read(checker: &Checker<'_>, spec: &CertSpec) -> Result<Option<Self>, Error> {
        let store = checker.store.certificate(&spec.name)?;
        let Some(number) = checker.in_service(&spec.name)? else { return Ok(None) };
        let bundle = store.bundle(number)?;
        let newest = store.newest()?.filter(|newest| newest.number > number);
        let ends = bundle.leaf().validity.not_after;
        let newer = newest.map(|n| n.leaf.validity.not_after).filter(|later| *later > ends);
        let now = checker.world.now();
        let mut time = (checker.world.time)(Some(bundle.leaf().validity.not_before));
        time.trusted |= checker.world.confirmed.get();
        let ari = store.state()?.ari.filter(|ari| speaks_of(ari, bundle.leaf()));
        let renew_at = match spec.source {
            // Nobody but a person renews it: until its end.
            Source::Manual => ends,
            Source::Auto | Source::Acme => {
                let key = checker.store.instance_key();
                let seed = key.map_or_else(|_| Seed::new(&[0; 32]), |key| Seed::new(&key[..]));
                renew_at(bundle.leaf(), ari.as_ref(), &seed).at
            }
        };
        let clock = plan::clock_doubt(time, now);
        let window = ari.and_then(|ari| ari.window);
        Ok(Some(Self { bundle, number, newer, clock, renew_at, window }))
    }

    fn about<'a>(&'a self, spec: &'a CertSpec) -> About<'a> {
        let (number, newer) = (self.number, self.newer);
        About { spec, leaf: self.bundle.leaf(), number, newer, clock: self.clock.as_deref() }
    }

    /// Its own dates are a question of their own: they are left out here.
    fn trust(
        &self,
        roots: &[CertificateDer<'static>],
        system: &tls::Roots,
        is_private: bool,
        now: Timestamp,
    ) -> Trust {
        let validity = self.bundle.leaf().validity;
        let inside = |at: Timestamp| at.clamp(validity.not_before, validity.not_after);
        let later_at = inside(self.renew_at.max(now));
        let at =
            |at| chain::validate(self.bundle.chain(), roots, at).map_err(|untrusted| untrusted.0);
        Trust {
            now: at(inside(now)),
            later_at,
            later: at(later_at),
            roots: system.complaint.clone(),
            is_private,
        }
    }
}

/// The roots that count for a certificate: the system's, those of its uploads, and its issuer's.
fn roots(
    checker: &Checker<'_>,
    spec: &CertSpec,
    system: &tls::Roots,
) -> Result<Vec<CertificateDer<'static>>, tls::BadAnchor> {
    let issuer = issuer(checker, spec).and_then(|issuer| issuer.trust_anchor.as_deref());
    let mut roots = system.certificates.clone();
    for anchor in [spec.upload.trust_anchor.as_deref(), issuer].into_iter().flatten() {
        roots.extend(tls::anchors(anchor)?);
    }
    Ok(roots)
}

fn issuer<'a>(checker: &Checker<'a>, spec: &CertSpec) -> Option<&'a IssuerSpec> {
    spec.issuers.first().and_then(|name| checker.config.issuers.get(name))
}

/// What an endpoint serves, and who stumbles over it.
fn of_look(checker: &Checker<'_>, look: &Look<'_>, now: &ZonedDateTime) -> Vec<Item> {
    let (service, place) = (&look.service.name, look.endpoint.to_string());
    let facts = match checker.facts(look) {
        Ok(facts) => facts,
        Err(error) => {
            let text = format!("what it should serve cannot be read: {}", chain_of(&error));
            return vec![Item::new(Topic::Served, service, Verdict::Unknown, text).at(place)];
        }
    };
    let (verdict, text) =
        endpoint::is_served(&look.served, &facts.wanted, facts.chain.as_ref(), now);
    let mut served = Item::new(Topic::Served, service, verdict, text).at(&*place);
    if verdict != Verdict::Ok {
        let next = match verdict {
            Verdict::Unknown => {
                format!("look at it from this host: pbxcert verify --endpoint {place}")
            }
            _ => {
                format!("pbxcert deploy {service}; what happened before: pbxcert history {service}")
            }
        };
        served = served.then(next);
    }
    let lint = match (look.served.leaf(), facts.remarks.as_slice()) {
        (None, _) => {
            let text = "it shows no certificate that could be held against the phones";
            Item::new(Topic::Lint, service, Verdict::Unknown, text)
        }
        (Some(_), []) => {
            let text = "nothing that phones and trunks stumble over";
            Item::new(Topic::Lint, service, Verdict::Ok, text)
        }
        (Some(_), remarks) => {
            let text: Vec<String> = remarks.iter().map(ToString::to_string).collect();
            let next = format!(
                "change it in pbxcert.toml; then: pbxcert renew {} --dry-run",
                look.endpoint.certificate
            );
            Item::new(Topic::Lint, service, Verdict::Warning, text.join("; ")).then(next)
        }
    };
    vec![served, lint.at(place)]
}

/// Whether the files of each certificate are what was installed.
fn files(service: &ServiceSpec, state: Option<&ServiceState>) -> Vec<Item> {
    let of = |(certificate, install): (&String, &crate::config::Install)| {
        let item = |verdict, text: String| {
            Item::new(Topic::Files, &service.name, verdict, text).at(certificate)
        };
        let Some(state) = state else {
            return item(Verdict::Unknown, "what was installed cannot be read".to_owned())
                .then("see what is damaged: pbxcert status");
        };
        let untouched = PairState::default();
        let pair = state.pairs.get(certificate).unwrap_or(&untouched);
        let mend = format!("put ours back: pbxcert deploy {}", service.name);
        match on_disk::observe(install, pair) {
            FilesSeen::AsInstalled => {
                item(Verdict::Ok, "the files are byte for byte what was installed".to_owned())
            }
            FilesSeen::Broken(why) => item(Verdict::Critical, why).then(mend),
            FilesSeen::Foreign(leaf) => {
                let text =
                    format!("somebody put another certificate there: {}", leaf.fingerprint.short());
                item(Verdict::Warning, text).then(mend)
            }
            FilesSeen::Untouched => {
                let text = "pbxcert has installed nothing there yet";
                Item::not_asked(Topic::Files, &service.name, Verdict::Unknown, text).at(certificate)
            }
        }
    };
    service.install.iter().map(of).collect()
}

fn of_trunk(spec: &TrunkSpec, trunk: Result<Trunk<'_>, Uncalled>, now: &ZonedDateTime) -> Item {
    let place = spec.endpoint.to_string();
    let item = match trunk {
        Ok(trunk) => {
            let (verdict, text) = trunk.judge(now);
            let remarks = trunk.remarks();
            let texts = [text].into_iter().chain(remarks.iter().map(ToString::to_string));
            let text = texts.collect::<Vec<_>>().join("; ");
            let verdict = if remarks.is_empty() { verdict } else { verdict.max(Verdict::Warning) };
            Item::new(Topic::Trunk, &spec.name, verdict, text)
        }
        Err(error) => {
            let text = format!("it cannot be called: {}", chain_of(&error));
            Item::new(Topic::Trunk, &spec.name, Verdict::Unknown, text)
        }
    };
    let item = item.at(&*place);
    if item.verdict == Verdict::Ok {
        return item;
    }
    item.then(format!("tell the carrier, and look again: pbxcert verify --endpoint {place}"))
}
