//! The way from a leaf up to a root: put in order, filled from what is known, and validated.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

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
pub fn build(
    _leaf: &CertificateDer<'static>,
    _known: &[CertificateDer<'static>],
    _roots: &[CertificateDer<'static>],
) -> Chain {
    todo!()
}

/// Whether the chain leads to one of the roots at that time, by rustls-webpki.
///
/// # Errors
///
/// Why not, in words.
pub fn validate(
    _chain: &[CertificateDer<'static>],
    _roots: &[CertificateDer<'static>],
    _at: Timestamp,
) -> Result<(), Untrusted> {
    todo!()
}
