//! Whether the CA took a certificate back: its list of revoked certificates, fetched, kept and
//! checked; and what follows from it.

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;

use super::{Checker, Error};
use crate::cert::bundle::Bundle;
use crate::cert::crl::{self, Word};
use crate::cert::{Fingerprint, chain};
use crate::deploy::chain_of;
use crate::feed;
use crate::policy::health::certificate::Revocation;
use crate::state::{Event, RevokedLeaf};

/// Asks the lists that the certificate names, one after the other, until one says something.
pub(super) async fn ask(
    checker: &Checker<'_>,
    bundle: &Bundle,
    roots: &[CertificateDer<'static>],
    now: Timestamp,
) -> Revocation {
    let [leaf, above @ ..] = bundle.chain() else {
        return Revocation::NotAsked("there is no certificate".to_owned());
    };
    let addresses = crl::addresses(leaf);
    if addresses.is_empty() {
        let why = "it names no list of revoked certificates, as short-lived ones and many of \
                   company CAs do not: there is nobody to be asked";
        return Revocation::NotAsked(why.to_owned());
    }
    let Some(issuer) = chain::maker(leaf, above).or_else(|| chain::maker(leaf, roots)) else {
        let why = "its list cannot be checked: the certificate of the CA that made it is missing";
        return Revocation::Unknown(why.to_owned());
    };
    let mut reasons = Vec::new();
    for address in addresses.iter().take(MOST_ADDRESSES) {
        match of_address(checker, address, leaf, issuer, now).await {
            Ok(Word { revoked: Some(revoked), .. }) => {
                return Revocation::Revoked { at: revoked.at, reason: revoked.reason };
            }
            Ok(Word { next_at, .. }) => return Revocation::Good(next_at),
            Err(why) => reasons.push(why),
        }
    }
    if checker.config.check.offline {
        return Revocation::NotAsked("offline = true: nobody is asked".to_owned());
    }
    Revocation::Unknown(reasons.join("; "))
}

/// A list that is kept is good until the next one is due; half a day old, another one is asked for,
/// since a revocation is in the next list and not in this one.
async fn of_address(
    checker: &Checker<'_>,
    address: &str,
    leaf: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<Word, String> {
    let Checker { world, store, config } = *checker;
    let kept = store.revocation_list(address).ok().flatten();
    let kept = kept.and_then(|list| crl::ask(&list, leaf, issuer, now).ok());
    let fresh = |word: &Word| word.revoked.is_some() || now.duration_since(word.made_at) < FRESH;
    match kept {
        Some(word) if fresh(&word) || config.check.offline => return Ok(word),
        None if config.check.offline => return Err("offline = true".to_owned()),
        _ => {}
    }
    let (proxy, may_fetch) = (config.check.proxy.as_ref(), world.may_fetch);
    let asked = match feed::revocation_list(address, proxy, may_fetch).await {
        Ok(list) => crl::ask(&list, leaf, issuer, now)
            .map(|word| (list, word))
            .map_err(|why| format!("the list of {address:?} is not used: {why}")),
        Err(error) => Err(format!("the CA's list cannot be fetched: {error}")),
    };
    match (asked, kept) {
        (Ok((list, word)), _) => {
            if let Err(error) = store.keep_revocation_list(address, &list) {
                tracing::warn!("a list of revoked certificates is not kept: {}", chain_of(&error));
            }
            Ok(word)
        }
        (Err(_), Some(word)) => Ok(word),
        (Err(why), None) => Err(why),
    }
}

/// Writes down once that the CA took a certificate back, and wakes the daemon: it is replaced.
///
/// # Errors
///
/// When records cannot be read or written.
pub(super) fn remember(
    checker: &Checker<'_>,
    certificate: &str,
    fingerprint: Fingerprint,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let store = checker.store.certificate(certificate)?;
    let known = RevokedLeaf { fingerprint, at };
    if store.state()?.revoked.as_ref() == Some(&known) {
        return Ok(());
    }
    // Whoever is at work on it is followed by the next check.
    let Some(writer) = store.try_lock(now)? else { return Ok(()) };
    let mut state = store.state()?;
    state.revoked = Some(known);
    writer.remember(&state)?;
    drop(writer);
    checker.store.record(&Event {
        at: now,
        certificate: Some(certificate.to_owned()),
        service: None,
        revision: None,
        what: "revoked".to_owned(),
        text: format!("the CA took {} back", fingerprint.short()),
    })?;
    Ok(checker.store.touch_generation()?)
}

const FRESH: SignedDuration = SignedDuration::from_hours(12);

const MOST_ADDRESSES: usize = 3;
