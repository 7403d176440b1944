//! TLS without trust (with trust: [`trusting_client`]): what is served is captured first and judged later.
//!
//! Trust, names and dates are findings of their own; a probe must see a certificate that is wrong,
//! expired or made by nobody. Only one thing is checked here: that the server holds the private
//! key of what it shows, because no phone gets past that.

mod peer;
mod roots;
mod trust;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, IpAddr, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, InconsistentKeys,
    ServerConfig, ServerConnection, SignatureScheme, SupportedCipherSuite,
};

use crate::cert::{self, Fingerprint, Leaf};
use crate::config::KeyFamily;

pub use peer::{certified, trusted};
pub use roots::{BadAnchor, Roots, anchors, roots};
pub use trust::trusting_client;

/// Why TLS cannot be spoken with these parts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The roots cannot be used.
    #[error("cannot use the trust anchor {path}: {reason}")]
    Anchor {
        /// The PEM file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system has no roots that can be used.
    #[error("cannot use the roots of this system: {0}; install ca-certificates")]
    Roots(#[source] rustls::Error),
    /// The certificate or key cannot be read, or they do not fit.
    #[error(transparent)]
    Pair(#[from] cert::Error),
    /// rustls would not shake hands with them.
    #[error("the handshake in memory failed: {0}")]
    Handshake(#[source] rustls::Error),
    /// Something else than the first certificate was served.
    #[error("the handshake in memory served {served}, not {expected}")]
    OtherLeaf {
        /// The first certificate in the file.
        expected: Fingerprint,
        /// What came over.
        served: Fingerprint,
    },
    /// The name cannot be sent.
    #[error("{0:?} cannot be sent as server name")]
    ServerName(String),
}

/// What a server showed in one handshake; filled also when the handshake fails later.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Certificates as sent, leaf first; empty when it did not get that far.
    pub chain: Vec<CertificateDer<'static>>,
    /// `TLS 1.2` or `TLS 1.3`, once the server has signed.
    pub version: Option<&'static str>,
    /// The server asked for a certificate of ours (mutual TLS).
    pub asked_for_ours: bool,
    /// And got it.
    pub ours_shown: bool,
}

/// Takes every certificate and keeps it. One per connection.
#[derive(Debug)]
pub struct Capture {
    provider: Arc<CryptoProvider>,
    /// The only family that we say we know.
    key: Option<KeyFamily>,
    /// What is shown to who asks for a certificate.
    ours: Option<Arc<CertifiedKey>>,
    shown: Mutex<Shown>,
}

impl Capture {
    /// What was shown until now.
    pub fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A client for one connection: TLS 1.2 and 1.3, no resumption (an old ticket would hide a new
/// certificate), accepts everything and captures it. Sends `sni` as server name, or none. With `key`
/// it says that it knows signatures of that family only, so that a server with an RSA and an ECDSA
/// certificate shows the one that is asked for.
///
/// # Errors
///
/// When `sni` is no DNS name.
pub fn capturing_client(
    sni: Option<&str>,
    key: Option<KeyFamily>,
) -> Result<(Arc<ClientConfig>, ServerName<'static>, Arc<Capture>), Error> {
    showing_client(sni, key, None)
}

/// The same, which shows `ours` to a server that asks for a certificate.
///
/// # Errors
///
/// When `sni` is no DNS name.
pub fn showing_client(
    sni: Option<&str>,
    key: Option<KeyFamily>,
    ours: Option<Arc<CertifiedKey>>,
) -> Result<(Arc<ClientConfig>, ServerName<'static>, Arc<Capture>), Error> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if let Some(key) = key {
        // In TLS 1.2 a suite names the kind of key, too.
        provider.cipher_suites.retain(|suite| signs_with(*suite, key));
    }
    let provider = Arc::new(provider);
    let shown = Mutex::default();
    let capture = Arc::new(Capture { provider: provider.clone(), key, ours, shown });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(capture.clone())
        .with_client_cert_resolver(capture.clone());
    config.resumption = Resumption::disabled();
    config.enable_sni = sni.is_some();
    let name = match sni {
        Some(sni) => {
            ServerName::try_from(sni.to_owned()).map_err(|_| Error::ServerName(sni.to_owned()))?
        }
        // rustls wants a name even where it sends none.
        None => ServerName::IpAddress(IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED)),
    };
    Ok((Arc::new(config), name, capture))
}

/// Shakes hands with itself in memory: a server made of exactly these bytes, a client that
/// captures. Answers with the fingerprint that was served.
///
/// `fullchain_pem` and `key_pem` may be the same bytes (key and chain in one file).
///
/// # Errors
///
/// When a part cannot be read, the key does not belong to the first certificate, or what came over
/// is not that certificate.
pub fn scratch_handshake(fullchain_pem: &[u8], key_pem: &[u8]) -> Result<Fingerprint, Error> {
    let chain = certificates(fullchain_pem)?;
    let expected = Fingerprint::of(&chain[0]);
    let mut server = server(chain, key_pem)?;
    let (config, name, capture) = capturing_client(None, None)?;
    let mut client = ClientConnection::new(config, name).map_err(Error::Handshake)?;
    while client.is_handshaking() || server.is_handshaking() {
        let sent = hand_over(&mut client, &mut server).map_err(Error::Handshake)?;
        let answered = hand_over(&mut server, &mut client).map_err(Error::Handshake)?;
        if !sent && !answered {
            return Err(Error::Handshake(rustls::Error::HandshakeNotComplete));
        }
    }
    let served = capture.shown().chain.first().map(|der| Fingerprint::of(der));
    match served {
        Some(served) if served == expected => Ok(served),
        Some(served) => Err(Error::OtherLeaf { expected, served }),
        None => Err(Error::Handshake(rustls::Error::NoCertificatesPresented)),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, cert::Error> {
    let unreadable = |e: rustls::pki_types::pem::Error| cert::Error::Certificate(e.to_string());
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(cert::Error::Certificate("there is no certificate in it".to_owned()));
    }
    Ok(chain)
}

fn server(chain: Vec<CertificateDer<'static>>, key_pem: &[u8]) -> Result<ServerConnection, Error> {
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|e| match e {
        rustls::pki_types::pem::Error::NoItemsFound => {
            cert::Error::Key("there is no private key in it".to_owned())
        }
        e => cert::Error::Key(e.to_string()),
    })?;
    let leaf = chain[0].clone();
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("aws-lc-rs has TLS 1.2 and 1.3")
    .with_no_client_auth()
    .with_single_cert(chain, key)
    .map_err(|e| match e {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            Error::Pair(cert::Error::KeyMismatch(names(&leaf)))
        }
        rustls::Error::General(reason) => Error::Pair(cert::Error::Key(reason)),
        e => Error::Handshake(e),
    })?;
    ServerConnection::new(Arc::new(config)).map_err(Error::Handshake)
}

fn names(der: &CertificateDer<'_>) -> String {
    match Leaf::parse(der) {
        Ok(leaf) => cert::bundle::names(&leaf),
        Err(_) => Fingerprint::of(der).short(),
    }
}

/// Carries what `from` wants to send over to `to`; tells whether there was anything.
fn hand_over<A, B>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<bool, rustls::Error> {
    let other = |e: std::io::Error| rustls::Error::General(e.to_string());
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).map_err(other)?;
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() && to.read_tls(&mut rest).map_err(other)? > 0 {
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

impl ServerCertVerifier for Capture {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(leaf).chain(intermediates);
        let chain = chain.map(|der| der.clone().into_owned()).collect();
        self.note(|shown| shown.chain = chain);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.note(|shown| shown.version = Some("TLS 1.2"));
        if !checkable(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.note(|shown| shown.version = Some("TLS 1.3"));
        if !checkable(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let schemes = self.provider.signature_verification_algorithms.supported_schemes();
        let asked_for = |scheme: &SignatureScheme| self.key.is_none_or(|k| family(*scheme) == k);
        schemes.into_iter().filter(asked_for).collect()
    }
}

fn signs_with(suite: SupportedCipherSuite, key: KeyFamily) -> bool {
    match suite {
        SupportedCipherSuite::Tls12(suite) => suite.sign.iter().any(|s| family(*s) == key),
        SupportedCipherSuite::Tls13(_) => true,
    }
}

/// EdDSA goes with ECDSA, as it does in the cipher suites (RFC 8422 section 2.2).
fn family(scheme: SignatureScheme) -> KeyFamily {
    match scheme {
        SignatureScheme::RSA_PKCS1_SHA1
        | SignatureScheme::RSA_PKCS1_SHA256
        | SignatureScheme::RSA_PKCS1_SHA384
        | SignatureScheme::RSA_PKCS1_SHA512
        | SignatureScheme::RSA_PSS_SHA256
        | SignatureScheme::RSA_PSS_SHA384
        | SignatureScheme::RSA_PSS_SHA512 => KeyFamily::Rsa,
        _ => KeyFamily::Ecdsa,
    }
}

/// Whether a signature of this certificate's key can be checked here: old telephone systems serve
/// RSA 1024, X.509 version 1 and strange curves, which phones read but aws-lc and webpki do not.
fn checkable(cert: &CertificateDer<'_>) -> bool {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    use x509_parser::public_key::PublicKey;

    const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
    const ED25519: &str = "1.3.101.112";

    let Ok((_, x509)) = X509Certificate::from_der(cert) else { return false };
    let algorithm = &x509.public_key().algorithm;
    let known_key = match x509.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) => (2048..=8192).contains(&rsa.key_size()),
        Ok(PublicKey::EC(_)) => {
            let curve = algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            curve.is_some_and(|oid| CURVES.contains(&oid.to_id_string().as_str()))
        }
        _ => algorithm.algorithm.to_id_string() == ED25519,
    };
    known_key && webpki::EndEntityCert::try_from(cert).is_ok()
}

impl ResolvesClientCert for Capture {
    fn resolve(&self, _roots: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.note(|shown| shown.asked_for_ours = true);
        // Whether its CA is among those that the server names is for the server to say.
        let ours = self.ours.clone().filter(|ours| ours.key.choose_scheme(schemes).is_some());
        self.note(|shown| shown.ours_shown = ours.is_some());
        ours
    }

    fn has_certs(&self) -> bool {
        self.ours.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::KeyType;
    use crate::cert::bundle::PrivateKey;
    use crate::cert::bundle::tests::Ca;

    fn pair(kind: KeyType) -> (String, PrivateKey) {
        let key = PrivateKey::generate(kind).unwrap();
        (Ca::root("root").issue(&["pbx.example"], &key), key)
    }

    #[test]
    fn every_kind_of_pair_shakes_hands_and_tells_its_fingerprint() {
        for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
            let (cert, key) = pair(kind);
            let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let served = scratch_handshake(cert.as_bytes(), key.to_pem().as_bytes()).unwrap();
            assert_eq!(served, Fingerprint::of(&der), "{kind}");
        }
    }

    #[test]
    fn key_and_chain_may_lie_in_one_file_in_either_order() {
        let (cert, key) = pair(KeyType::EcdsaP256);
        for text in [format!("{}{cert}", &*key.to_pem()), format!("{cert}{}", &*key.to_pem())] {
            scratch_handshake(text.as_bytes(), text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_named_as_such() {
        let (cert, _) = pair(KeyType::EcdsaP256);
        for other in [KeyType::EcdsaP256, KeyType::Rsa2048] {
            let key = PrivateKey::generate(other).unwrap();
            let error = scratch_handshake(cert.as_bytes(), key.to_pem().as_bytes()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the private key does not belong to the certificate for pbx.example"
            );
        }
    }

    #[test]
    fn a_chain_in_the_wrong_order_does_not_pass() {
        let root = Ca::root("root");
        let middle = root.intermediate("middle");
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let leaf = middle.issue(&["pbx.example"], &key);
        let upside_down = format!("{}{leaf}", middle.issue(&["other.example"], &other_key()));
        let error = scratch_handshake(upside_down.as_bytes(), key.to_pem().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("does not belong"), "{error}");
    }

    fn other_key() -> PrivateKey {
        PrivateKey::generate(KeyType::EcdsaP256).unwrap()
    }

    #[test]
    fn what_is_missing_or_broken_is_said() {
        let (cert, key) = pair(KeyType::EcdsaP256);
        let key = key.to_pem();
        let cut = &cert[..cert.len() / 2];
        for (cert, key, said) in [
            ("", key.as_str(), "there is no certificate in it"),
            (cert.as_str(), "", "there is no private key in it"),
            (cut, key.as_str(), "cannot read the certificate"),
            (cert.as_str(), &key[..key.len() / 2], "cannot read the private key"),
        ] {
            let error = scratch_handshake(cert.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(said), "{error} should say {said}");
        }
    }

    /// A server that says it holds the key of `cert`, but signs with `key`.
    fn impostor(cert: &str, key: &PrivateKey) -> ServerConnection {
        let chain = certificates(cert.as_bytes()).unwrap();
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.to_rustls()).unwrap();
        let resolver =
            rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, signer));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        ServerConnection::new(Arc::new(config)).unwrap()
    }

    #[test]
    fn a_server_without_the_key_of_what_it_shows_is_caught_but_captured() {
        let (cert, _) = pair(KeyType::EcdsaP256);
        let mut server = impostor(&cert, &other_key());
        let (config, name, capture) = capturing_client(Some("pbx.example"), None).unwrap();
        let mut client = ClientConnection::new(config, name).unwrap();
        let outcome = (0..4).try_for_each(|_| {
            hand_over(&mut client, &mut server)?;
            hand_over(&mut server, &mut client).map(drop)
        });
        assert_eq!(
            outcome.unwrap_err(),
            rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature)
        );
        assert_eq!(capture.shown().chain.len(), 1);
        assert_eq!(capture.shown().version, Some("TLS 1.3"));
    }

    #[test]
    fn a_name_that_cannot_be_sent_is_refused() {
        assert!(matches!(capturing_client(Some("a b"), None), Err(Error::ServerName(_))));
    }

    #[test]
    fn what_old_systems_serve_is_taken_unchecked_and_modern_keys_are_not() {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert!(!checkable(&der(RSA_1024)));
        assert!(!checkable(&der(VERSION_1)));
        assert!(!checkable(&CertificateDer::from(&b"no certificate"[..])));
        for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
            assert!(checkable(&der(&pair(kind).0)), "{kind}");
        }
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(vec!["pbx.example".to_owned()]).unwrap();
        assert!(checkable(params.self_signed(&ed25519).unwrap().der()));
    }

    /// `openssl req -x509 -newkey rsa:1024`.
    const RSA_1024: &str = "\
-----BEGIN CERTIFICATE-----
MIICCDCCAXGgAwIBAgIUS2a67DciYlnJPqUomN/n95fqDpUwDQYJKoZIhvcNAQEL
BQAwFjEUMBIGA1UEAwwLb2xkLmV4YW1wbGUwHhcNMjYxMTI0MDAzMTUwWhcNNDYx
MTE5MDAzMTUwWjAWMRQwEgYDVQQDDAtvbGQuZXhhbXBsZTCBnzANBgkqhkiG9w0B
AQEFAAOBjQAwgYkCgYEAxVOWhGEMxgy0Kt22ZoySxfjJduN963RsCdnwS12VC0ZS
dQX61nbOrJs3Ve462gFfLc5C+TwfkVsu70VEEFdCghuV3wMt8eabqS8147sXckUS
ljGldSjpKwbm7PkEimo6MKmx41FL1hMTX3m0iymklVeRaOPU5fn3nhZSwdTh/HUC
AwEAAaNTMFEwHQYDVR0OBBYEFP+mpkNc42JJ1T3EVj04/I7BCU52MB8GA1UdIwQY
MBaAFP+mpkNc42JJ1T3EVj04/I7BCU52MA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZI
hvcNAQELBQADgYEAeGwVkPqcwcQ0LtwGcb8CwjKLiUL1E7oH+oQmbhsO3Q2EZTqy
9ThyZ8PHThQ4fyqLu31aDAeFABWqdXIZd5s8/gzxkIw47CSYNIr7G42ELJhsR8Pe
dnGmrFB/7ogPv9duzqvoALLe1kfVNTJXEN/kWmyElrLikR/yf0BhuhfSdoc=
-----END CERTIFICATE-----";

    /// `openssl x509 -req` without extensions, as many set-up scripts do.
    const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJDCBywIUCr9LJryoEtfsP+likHGn0CMR1QMwCgYIKoZIzj0EAwIwFTETMBEG
A1UEAwwKdjEuZXhhbXBsZTAeFw0yNjExMjQwMDMxNTBaFw00NjExMTkwMDMxNTBa
MBUxEzARBgNVBAMMCnYxLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQmLy83ezP4LF5oNEwGGTvL7nKMPD3XzThDLM2dBSVP14X7ut2lCBbwEVfOY7fe
OzQ0TS9ux5AWIrZuflVSOGu+MAoGCCqGSM49BAMCA0gAMEUCIQC4Cos7YpUuxaeq
aD+hgZqT6iWdFYzSFSoB+ctzFsYdagIgXeKLvKe1vUqsLS/vPCyOVerY14KmiFUJ
4OGqtfR/iNc=
-----END CERTIFICATE-----";
}
