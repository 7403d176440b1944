//! When each certificate of a chain ends, its root among them.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The end of one certificate of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct End {
    /// Its distinguished name, for people.
    pub subject: String,
    /// Its last second.
    pub not_after: Timestamp,
}

/// The ends of a chain, leaf first, and of the root that it leads to, if that is one of `roots`; what
/// cannot be read is left out.
pub fn ends(chain: &[CertificateDer<'static>], roots: &[CertificateDer<'static>]) -> Vec<End> {
    let root = chain.last().and_then(|last| maker(last, roots));
    chain.iter().chain(root).filter_map(end).collect()
}

/// Who of `candidates` made a certificate, by the signature; of several the one that ends last.
pub fn maker<'a>(
    certificate: &CertificateDer<'_>,
    candidates: &'a [CertificateDer<'static>],
) -> Option<&'a CertificateDer<'static>> {
    let (_, child) = X509Certificate::from_der(certificate).ok()?;
    let made = candidates.iter().filter_map(|der| {
        let (_, candidate) = X509Certificate::from_der(der).ok()?;
        let named = candidate.subject().as_raw() == child.issuer().as_raw();
        let made = named && child.verify_signature(Some(candidate.public_key())).is_ok();
        made.then(|| (candidate.validity().not_after.timestamp(), der))
    });
    made.max_by_key(|(end, _)| *end).map(|(_, der)| der)
}

fn end(der: &CertificateDer<'static>) -> Option<End> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
    Some(End { subject: certificate.subject().to_string(), not_after })
}
