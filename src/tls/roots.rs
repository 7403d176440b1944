//! Who is trusted on this machine: the system's roots, and those that an administrator adds.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The roots that an upload may lead to.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// The system's, then those of the trust anchor.
    pub certificates: Vec<CertificateDer<'static>>,
    /// What is wrong with the system's, for a person: without any, no public CA is trusted.
    pub complaint: Option<String>,
}

/// The trust anchor of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the trust anchor {path}: {reason}")]
pub struct BadAnchor {
    /// The PEM file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// Reads the system's roots (those that the HTTP client trusts: `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// count) and adds those of `trust_anchor`.
///
/// # Errors
///
/// When the trust anchor cannot be read or holds no certificate. A system without roots is no
/// error: a company CA may be all that is needed.
pub fn roots(trust_anchor: Option<&Path>) -> Result<Roots, BadAnchor> {
    let found = rustls_native_certs::load_native_certs();
    let complaint = complaint(found.certs.len(), found.errors.first());
    let mut certificates = found.certs;
    if let Some(path) = trust_anchor {
        certificates.extend(anchors(path)?);
    }
    Ok(Roots { certificates, complaint })
}

/// The certificates of a trust anchor alone.
///
/// # Errors
///
/// As [`roots`].
pub fn anchors(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadAnchor> {
    let bad = |reason: String| BadAnchor { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    let anchors = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(|e| bad(e.to_string()))?;
    if anchors.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    match anchors.iter().find_map(|der| webpki::anchor_from_trusted_cert(der).err()) {
        Some(error) => Err(bad(format!("a certificate in it can be no root: {error}"))),
        None => Ok(anchors),
    }
}

/// One unreadable file among a hundred roots harms nobody.
fn complaint(found: usize, error: Option<&rustls_native_certs::Error>) -> Option<String> {
    (found == 0).then(|| {
        let why = error.map(|error| format!(" ({error})")).unwrap_or_default();
        format!(
            "this system has no trusted root certificates{why}: install the package \
             ca-certificates"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::bundle::tests::Ca;

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.pem");
        std::fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn the_trust_anchor_is_added_to_what_the_system_has() {
        let ca = Ca::root("company");
        let (_dir, path) = file(&format!("Company root\r\n{}", ca.pem()));
        let (with, without) = (roots(Some(&path)).unwrap(), roots(None).unwrap());
        assert_eq!(with.certificates.len(), without.certificates.len() + 1);
        let der = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
        assert_eq!(with.certificates.last(), Some(&der));
        assert_eq!(without.complaint.is_some(), without.certificates.is_empty());
    }

    #[test]
    fn a_trust_anchor_that_is_none_is_named() {
        for (content, said) in [
            ("", "there is no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can be no root"),
        ] {
            let (_dir, path) = file(content);
            let error = roots(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("roots.pem"), "{error}");
        }
        let error = roots(Some(Path::new("/nowhere/roots.pem"))).unwrap_err().to_string();
        assert!(error.starts_with("cannot use the trust anchor /nowhere/roots.pem: "), "{error}");
    }

    #[test]
    fn a_system_without_roots_is_told_what_to_install() {
        assert_eq!(complaint(1, None), None);
        let said = complaint(0, None).unwrap();
        assert!(said.ends_with("install the package ca-certificates"), "{said}");
    }
}
