//! What is fetched from elsewhere, bounded and checked: intermediates by AIA.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

/// Why nothing could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In words.
    #[error("{0}")]
    Refused(String),
}

/// Fetches the certificate that a chain lacks from one of the addresses it names (RFC 5280
/// section 4.2.2.1), DER or PKCS#7. http only, no redirect to elsewhere, at most 64 KiB; never from
/// loopback, private, link-local or metadata addresses, judged on the address connected to.
///
/// # Errors
///
/// Why none of the addresses gave one.
pub async fn intermediates(
    _addresses: &[String],
    _limit: Duration,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    todo!()
}
