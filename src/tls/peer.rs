//! A peer that we call: what we show it, and whether what it shows can be trusted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};

use super::trust;
use crate::cert::bundle::Bundle;

/// A bundle as a client shows it.
///
/// # Errors
///
/// When its key cannot be used.
pub fn certified(bundle: &Bundle) -> Result<Arc<CertifiedKey>, super::Error> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let (chain, key) = (bundle.chain().to_vec(), bundle.key().to_rustls());
    let certified = CertifiedKey::from_der(chain, key, &provider);
    certified.map(Arc::new).map_err(super::Error::Handshake)
}

/// Whether a chain leads to a root of the system, or of `anchor` alone, and is valid now for `name`,
/// a host name or an address.
///
/// # Errors
///
/// Why not, in words.
pub fn trusted(
    chain: &[CertificateDer<'_>],
    name: &str,
    anchor: Option<&Path>,
    now: Timestamp,
) -> Result<(), String> {
    let [leaf, intermediates @ ..] = chain else { return Err("it shows none".to_owned()) };
    let roots = match anchor {
        Some(path) => trust::roots(path).map_err(|error| error.to_string())?,
        None => {
            let mut roots = RootCertStore::empty();
            let system = super::roots(None).map_err(|error| error.to_string())?;
            roots.add_parsable_certificates(system.certificates);
            roots
        }
    };
    let name = ServerName::try_from(name).map_err(|_| format!("{name:?} is no name of a host"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().map_err(|error| format!("there are no roots: {error}"))?;
    let now = u64::try_from(now.as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    match verifier.verify_server_cert(leaf, intermediates, &name, &[], now) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(error)) => Err(in_words(&error)),
        Err(error) => Err(error.to_string()),
    }
}

fn in_words(error: &CertificateError) -> String {
    match error {
        // What the last of many roots had against it, each of which was tried.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it leads to no root that is trusted here, or an intermediate is missing".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "a certificate in it has ended".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "a certificate in it is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        error => error.to_string(),
    }
}
