//! The ordinary client: whom it talks to must prove who he is.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::Error;

/// A client that trusts the roots of the system, or only those of the PEM file `anchor`.
///
/// # Errors
///
/// When there are none that can be used.
pub fn trusting_client(anchor: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has TLS 1.2 and 1.3");
    let config = match anchor {
        Some(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
        None => {
            let system = rustls_platform_verifier::Verifier::new(provider).map_err(Error::Roots)?;
            let verifier = builder.dangerous().with_custom_certificate_verifier(Arc::new(system));
            verifier.with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

pub(super) fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let bad = |reason: String| Error::Anchor { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))? {
        let root = root.map_err(|e| bad(e.to_string()))?;
        roots.add(root).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}
