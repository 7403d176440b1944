//! A chain with its private key: made only by [`Bundle::parse`], so that one that does not fit
//! does not exist.

use std::fmt;

use aws_lc_rs::digest;
use rcgen::PublicKeyData as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{Error, Identifier, KeyType, Leaf, Validity};

/// A private key in PKCS#8; wiped when dropped, never shown.
#[derive(Clone)]
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    /// Subject public key info, DER.
    public: Vec<u8>,
    kind: Option<KeyType>,
}

impl PrivateKey {
    /// Makes a new key. RSA takes up to seconds: call it where waiting harms nobody.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails.
    pub fn generate(kind: KeyType) -> Result<Self, Error> {
        use rcgen::RsaKeySize;

        let rsa = |size| rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match kind {
            KeyType::EcdsaP256 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyType::EcdsaP384 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyType::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyType::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyType::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        let pair = pair.map_err(|e| Error::Key(e.to_string()))?;
        Ok(Self::from_pair(&pair, Zeroizing::new(pair.serialize_der())))
    }

    /// Reads the first private key of a PEM text: PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    ///
    /// When there is none, or it is of a kind that we cannot use.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|e| Error::Key(e.to_string()))?;
        Self::from_der(&der)
    }

    /// Takes a private key in DER: PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    ///
    /// When it is of a kind that we cannot use.
    pub fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, Error> {
        let pkcs8 = pkcs8_of(der)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
        let pair = rcgen::KeyPair::try_from(&der).map_err(|e| Error::Key(e.to_string()))?;
        Ok(Self::from_pair(&pair, pkcs8))
    }

    fn from_pair(pair: &rcgen::KeyPair, pkcs8: Zeroizing<Vec<u8>>) -> Self {
        let public = pair.subject_public_key_info();
        Self { pkcs8, kind: kind_of(&public), public }
    }

    /// PKCS#8 in DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// PKCS#8 in PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", &self.pkcs8))
    }

    /// The kind, when it is one that we make.
    pub fn kind(&self) -> Option<KeyType> {
        self.kind
    }

    /// The public half: subject public key info, DER.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The key for rustls; the copy is wiped by nobody, so hand it on at once.
    pub fn to_rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.pkcs8.to_vec().into())
    }

    /// A signing request for exactly these identifiers, all as subject alternative names; the
    /// server picks the common name (RFC 8555 section 7.4).
    ///
    /// # Errors
    ///
    /// When an identifier cannot be encoded or signing fails.
    pub fn csr(&self, identifiers: &[Identifier]) -> Result<Vec<u8>, Error> {
        let csr = |e: rcgen::Error| Error::Csr(e.to_string());
        let names: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names).map_err(csr)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.pair()?).map_err(csr)?;
        Ok(request.der().to_vec())
    }

    /// A signing request as web shops take it: all identifiers as subject alternative names, and
    /// the first DNS name that fits (64 characters, RFC 5280 appendix A.1) as common name.
    ///
    /// # Errors
    ///
    /// As [`Self::csr`].
    pub fn csr_with_name(&self, identifiers: &[Identifier]) -> Result<Vec<u8>, Error> {
        let csr = |e: rcgen::Error| Error::Csr(e.to_string());
        let params = named(identifiers).map_err(csr)?;
        Ok(params.serialize_request(&self.pair()?).map_err(csr)?.der().to_vec())
    }

    /// A certificate signed by its own key, for servers, marked as our placeholder.
    ///
    /// # Errors
    ///
    /// When an identifier cannot be encoded or signing fails.
    pub fn self_signed(
        &self,
        identifiers: &[Identifier],
        validity: Validity,
    ) -> Result<Bundle, Error> {
        let bad = |e: rcgen::Error| Error::Certificate(e.to_string());
        let mut params = named(identifiers).map_err(bad)?;
        params.distinguished_name.push(rcgen::DnType::OrganizationName, super::PLACEHOLDER);
        // In rcgen's type of time, which is no dependency of ours.
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since_1970(validity.not_before);
        params.not_after = epoch + since_1970(validity.not_after);
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::DigitalSignature, rcgen::KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        // The same key signs one after the other: no two may have one number.
        let start = validity.not_before.as_second().to_be_bytes();
        let number = digest::digest(&digest::SHA256, &[self.public(), &start[..]].concat());
        let mut number = number.as_ref()[..16].to_vec();
        number[0] = number[0] & 0x7f | 0x40;
        params.serial_number = Some(number.into());
        let der = params.self_signed(&self.pair()?).map_err(bad)?.der().clone();
        Bundle::from_ders(vec![der], self.clone())
    }

    fn pair(&self) -> Result<rcgen::KeyPair, Error> {
        rcgen::KeyPair::try_from(self.pkcs8.as_slice()).map_err(|e| Error::Key(e.to_string()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.kind.map_or("other", KeyType::word))
    }
}

/// A leaf, its intermediates and its private key.
#[derive(Clone, Debug)]
pub struct Bundle {
    leaf: Leaf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
}

impl Bundle {
    /// Puts certificates (PEM, in any order, roots and strangers among them) and a key together:
    /// finds the leaf by the key, orders the chain upwards, drops self-signed roots.
    ///
    /// # Errors
    ///
    /// When a certificate cannot be read, none fits the key, or the signatures do not link.
    pub fn parse(certificates: &[u8], key: PrivateKey) -> Result<Self, Error> {
        let mut ders = Vec::new();
        for der in CertificateDer::pem_slice_iter(certificates) {
            ders.push(der.map_err(|e| Error::Certificate(e.to_string()))?);
        }
        Self::from_ders(ders, key)
    }

    /// As [`Self::parse`], from certificates in DER.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn from_ders(ders: Vec<CertificateDer<'static>>, key: PrivateKey) -> Result<Self, Error> {
        use x509_parser::prelude::{FromDer, X509Certificate};

        if ders.is_empty() {
            return Err(Error::Certificate("there is no certificate in it".to_owned()));
        }
        let read = |der: &CertificateDer<'static>| -> Result<(), Error> {
            X509Certificate::from_der(der)
                .map(|_| ())
                .map_err(|e| Error::Certificate(e.to_string()))
        };
        for der in &ders {
            read(der)?;
        }
        let parsed: Vec<X509Certificate<'_>> = ders
            .iter()
            .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, c)| c))
            .collect();
        let Some(leaf) = parsed.iter().position(|c| c.public_key().raw == key.public()) else {
            let first = Leaf::parse(&ders[0])?;
            return Err(Error::KeyMismatch(names(&first)));
        };
        let mut order = vec![leaf];
        // Upwards: the issuer by name whose key made the signature.
        while let Some(&last) = order.last() {
            let child = &parsed[last];
            if child.issuer().as_raw() == child.subject().as_raw() {
                break;
            }
            let parent = parsed.iter().enumerate().find(|(i, candidate)| {
                !order.contains(i)
                    && candidate.subject().as_raw() == child.issuer().as_raw()
                    && child.verify_signature(Some(candidate.public_key())).is_ok()
            });
            let Some((parent, _)) = parent else { break };
            order.push(parent);
        }
        // A second leaf or an unrelated certificate in what a CA sent is a sign of a mix-up, but
        // extra cross-signs are not: only what should link to the leaf and does not is refused.
        if order.len() == 1
            && ders.len() > 1
            && parsed.iter().any(|c| is_issuer_of(c, &parsed[leaf]))
        {
            return Err(Error::Chain(format!(
                "the signature on the certificate was not made by {}",
                parsed[leaf].issuer()
            )));
        }
        let chain: Vec<CertificateDer<'static>> = order
            .iter()
            .enumerate()
            .filter(|(place, i)| {
                *place == 0 || parsed[**i].issuer().as_raw() != parsed[**i].subject().as_raw()
            })
            .map(|(_, i)| ders[*i].clone())
            .collect();
        Ok(Self { leaf: Leaf::parse(&chain[0])?, chain, key })
    }

    /// Facts of the leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Leaf first, then the intermediates upwards, without a root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The name of who made the last certificate of the chain: the root, unless that is one of its
    /// own; `None` when that certificate cannot be read.
    pub fn root(&self) -> Option<String> {
        self.chain.last().and_then(|der| Leaf::parse(der).ok()).map(|last| last.issuer)
    }

    /// The private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The leaf in PEM.
    pub fn cert_pem(&self) -> String {
        pem("CERTIFICATE", &self.chain[0])
    }

    /// The intermediates in PEM; empty without any.
    pub fn chain_pem(&self) -> String {
        self.chain[1..].iter().map(|der| pem("CERTIFICATE", der)).collect()
    }
}

/// The names of a leaf in one line.
pub fn names(leaf: &Leaf) -> String {
    if leaf.identifiers.is_empty() {
        return leaf
            .common_name
            .clone()
            .unwrap_or_else(|| "a certificate without names".to_owned());
    }
    let names: Vec<String> = leaf.identifiers.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// SHA-256 in hex, for comparing files.
pub fn digest_hex(bytes: &[u8]) -> String {
    super::hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The identifiers as alternative names, the first DNS name that fits as common name.
fn named(identifiers: &[Identifier]) -> Result<rcgen::CertificateParams, rcgen::Error> {
    let names: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
    let fits = |name: &&Identifier| matches!(name, Identifier::Dns(name) if name.len() <= LONGEST_COMMON_NAME);
    let common = identifiers.iter().find(fits).or(identifiers.first()).map(ToString::to_string);
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(common) = common.filter(|name| name.len() <= LONGEST_COMMON_NAME) {
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
    }
    Ok(params)
}

/// `ub-common-name` of RFC 5280 appendix A.1.
const LONGEST_COMMON_NAME: usize = 64;

fn since_1970(at: jiff::Timestamp) -> std::time::Duration {
    super::span(jiff::Timestamp::UNIX_EPOCH, at)
}

/// The one spelling that every server reads; rcgen keeps a key as it came.
fn pkcs8_of(der: &PrivateKeyDer<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, RsaKeyPair,
    };

    let unusable = || Error::Key("it is damaged, or of a kind that is not used here".to_owned());
    match der {
        PrivateKeyDer::Pkcs8(pkcs8) => Ok(Zeroizing::new(pkcs8.secret_pkcs8_der().to_vec())),
        PrivateKeyDer::Pkcs1(pkcs1) => {
            let pair = RsaKeyPair::from_der(pkcs1.secret_pkcs1_der()).map_err(|_| unusable())?;
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| unusable())?;
            Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
        }
        PrivateKeyDer::Sec1(sec1) => {
            let curves = [
                &ECDSA_P256_SHA256_ASN1_SIGNING,
                &ECDSA_P384_SHA384_ASN1_SIGNING,
                &ECDSA_P521_SHA512_ASN1_SIGNING,
            ];
            let on = |curve| EcdsaKeyPair::from_private_key_der(curve, sec1.secret_sec1_der()).ok();
            let pair = curves.into_iter().find_map(on).ok_or_else(unusable)?;
            let pkcs8 = pair.to_pkcs8v1().map_err(|_| unusable())?;
            Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
        }
        _ => Err(unusable()),
    }
}

fn is_issuer_of(
    candidate: &x509_parser::certificate::X509Certificate<'_>,
    child: &x509_parser::certificate::X509Certificate<'_>,
) -> bool {
    candidate.subject().as_raw() == child.issuer().as_raw()
        && child.issuer().as_raw() != child.subject().as_raw()
}

/// DER as PEM text with this label.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    let body = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 64);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn kind_of(spki: &[u8]) -> Option<KeyType> {
    use x509_parser::prelude::FromDer as _;

    x509_parser::x509::SubjectPublicKeyInfo::from_der(spki)
        .ok()
        .and_then(|(_, spki)| super::key_type(&spki))
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// A CA made for one test.
    pub(crate) struct Ca {
        pem: String,
        issuer: Issuer<'static, KeyPair>,
    }

    impl Ca {
        pub(crate) fn root(name: &str) -> Self {
            let key = KeyPair::generate().unwrap();
            let params = Self::params(name);
            let pem = params.self_signed(&key).unwrap().pem();
            Self { pem, issuer: Issuer::new(params, key) }
        }

        pub(crate) fn intermediate(&self, name: &str) -> Self {
            let key = KeyPair::generate().unwrap();
            let params = Self::params(name);
            let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
            Self { pem, issuer: Issuer::new(params, key) }
        }

        pub(crate) fn pem(&self) -> &str {
            &self.pem
        }

        fn params(name: &str) -> CertificateParams {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        }

        pub(crate) fn issue(&self, names: &[&str], key: &PrivateKey) -> String {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.use_authority_key_identifier_extension = true;
            params.signed_by(&key.pair().unwrap(), &self.issuer).unwrap().pem()
        }
    }

    pub(crate) fn leaf(names: &[&str]) -> Leaf {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let pem = Ca::root("test").issue(names, &key);
        Bundle::parse(pem.as_bytes(), key).unwrap().leaf().clone()
    }

    #[test]
    fn a_chain_in_any_order_is_put_in_order_and_loses_its_root() {
        let root = Ca::root("root");
        let middle = root.intermediate("middle");
        let low = middle.intermediate("low");
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let leaf = low.issue(&["pbx.example", "192.0.2.7"], &key);
        let all = [&root.pem, &low.pem, &leaf, &middle.pem];
        let text: String = all.into_iter().map(String::as_str).collect();
        let bundle = Bundle::parse(text.as_bytes(), key).unwrap();
        let subjects: Vec<String> = bundle.chain()[1..]
            .iter()
            .map(|der| Leaf::parse(der).unwrap().common_name.unwrap())
            .collect();
        assert_eq!(subjects, ["low", "middle"]);
        assert_eq!(names(bundle.leaf()), "pbx.example, 192.0.2.7");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let other = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let pem = Ca::root("root").issue(&["pbx.example"], &key);
        let error = Bundle::parse(pem.as_bytes(), other).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the private key does not belong to the certificate for pbx.example"
        );
    }

    #[test]
    fn a_signature_by_another_ca_of_the_same_name_is_refused() {
        let (real, fake) = (Ca::root("root"), Ca::root("root"));
        let (real, fake) = (real.intermediate("R1"), fake.intermediate("R1"));
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let text = format!("{}{}", real.issue(&["pbx.example"], &key), fake.pem);
        let error = Bundle::parse(text.as_bytes(), key).unwrap_err();
        assert!(matches!(error, Error::Chain(_)), "{error}");
    }

    #[test]
    fn every_kind_of_key_is_made_read_back_and_signs() {
        for kind in KeyType::ALL {
            let key = PrivateKey::generate(kind).unwrap();
            assert_eq!(key.kind(), Some(kind));
            let again = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
            assert_eq!(again.public(), key.public());
            assert!(!key.csr(&["pbx.example".parse().unwrap()]).unwrap().is_empty());
        }
    }

    #[test]
    fn a_key_of_every_spelling_is_kept_as_pkcs8() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
        for name in ["rsa-pkcs1.key", "shop.key"] {
            use base64::prelude::{BASE64_STANDARD, Engine as _};

            let text = std::fs::read_to_string(folder.join(format!("{name}.b64"))).unwrap();
            let pem = BASE64_STANDARD.decode(text.replace('\n', "")).unwrap();
            let key = PrivateKey::from_pem(&pem).unwrap();
            let again = PrivatePkcs8KeyDer::from_pem_slice(key.to_pem().as_bytes()).unwrap();
            let again = PrivateKey::from_der(&PrivateKeyDer::Pkcs8(again)).unwrap();
            assert_eq!(again.public(), key.public(), "{name}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ecdsa-p256)");
    }
}
