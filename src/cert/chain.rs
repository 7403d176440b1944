//! The way from a leaf up to a root: put in order, filled from what is known, and validated.

mod end;
mod path;
mod words;

use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use self::path::Search;

pub use end::{End, ends, maker};

/// A chain as far as it could be built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chain {
    /// Leaf first, then intermediates upwards, without a root.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The last one was not made by any of `roots`, and its issuer is not known: its address, if
    /// the certificate names one (RFC 5280 section 4.2.2.1).
    pub missing: Option<Missing>,
}

/// The next certificate upwards is not known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missing {
    /// The distinguished name of who is missing, for people.
    pub issuer: String,
    /// Where it may be fetched, as the certificate says: not to be trusted.
    pub addresses: Vec<String>,
}

/// Why a chain leads nowhere, in words for a person.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Untrusted(pub String);

/// Builds the chain of `leaf` from `known` certificates (of the upload first, then of earlier
/// revisions, then fetched ones) up to one of `roots` where that is possible.
///
/// Of several ways the one is taken that leads to a root, then the one in which everything is
/// valid at `now`, then the longest: what a shop sends on top of the shortest way is a cross-sign
/// for clients with older roots. Signatures are followed, not only names. A leaf that cannot be
/// read is a chain of its own. Bounded, whatever lies in `known`.
pub fn build(
    leaf: &CertificateDer<'static>,
    known: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    now: Timestamp,
) -> Chain {
    let alone = Chain { certificates: vec![leaf.clone()], missing: None };
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return alone };
    if is_self_issued(&parsed) {
        return alone;
    }
    let mut search = Search::new(known, roots, now);
    let best = search.best(&parsed);
    let certificates: Vec<CertificateDer<'static>> = std::iter::once(leaf.clone())
        .chain(best.steps.iter().map(|place| known[*place].clone()))
        .collect();
    let missing = certificates.last().filter(|_| !best.ends).and_then(|last| missing(last));
    Chain { certificates, missing }
}

fn missing(last: &CertificateDer<'_>) -> Option<Missing> {
    let (_, last) = X509Certificate::from_der(last).ok()?;
    let issuer = last.issuer().to_string();
    let extensions = last.extensions().iter();
    let access = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => Some(access),
        _ => None,
    });
    let issuers = access
        .flat_map(|access| &access.accessdescs)
        .filter(|access| access.access_method.to_id_string() == CA_ISSUERS);
    let addresses = issuers.filter_map(|access| match &access.access_location {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Some(Missing { issuer, addresses: addresses.collect() })
}

/// Its own issuer, by name: a root, or what its owner signed.
fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == certificate.subject().as_raw()
}

/// Whether the chain leads to one of the roots at that time, by rustls-webpki.
///
/// # Errors
///
/// Why not, in words.
pub fn validate(
    chain: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    at: Timestamp,
) -> Result<(), Untrusted> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(Untrusted("there is no certificate".to_owned()));
    };
    // A root that webpki cannot read can be nobody's.
    let anchors: Vec<TrustAnchor<'_>> =
        roots.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(at.as_second()).unwrap_or_default(),
    ));
    let usage = KeyUsage::server_auth();
    let checked = EndEntityCert::try_from(leaf).and_then(|leaf| {
        let algorithms = ALL_VERIFICATION_ALGS;
        leaf.verify_for_usage(algorithms, &anchors, intermediates, time, usage, None, None)
            .map(|_| ())
    });
    checked.map_err(|error| Untrusted(words::why(&error, chain, at)))
}

/// id-ad-caIssuers, RFC 5280 section 4.2.2.1.
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

#[cfg(test)]
mod tests;
