//! What an uploaded certificate is, beyond the facts that every leaf has.

use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::cert::Leaf;

/// The facts of one certificate that a judge asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Those of every leaf.
    pub leaf: Leaf,
    /// Subject public key info, DER.
    pub public: Vec<u8>,
    /// Who it is for, for people: common name, else the distinguished name.
    pub subject: String,
    /// Bits of its RSA key; `None`: another kind of key.
    pub rsa_bits: Option<usize>,
    /// The signature on it is made with this hash, which nobody accepts any more.
    pub weak_hash: Option<&'static str>,
    /// Issuer and subject are the same.
    pub self_issued: bool,
}

impl Facts {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// Why it is no certificate that can be used, in words.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let leaf = Leaf::parse(der).map_err(|e| plain(&e.to_string()))?;
        let (_, x509) = X509Certificate::from_der(der).map_err(|e| plain(&e.to_string()))?;
        let rsa_bits = match x509.public_key().parsed() {
            Ok(PublicKey::RSA(rsa)) => Some(rsa.key_size()),
            _ => None,
        };
        let subject = match &leaf.common_name {
            Some(name) => name.clone(),
            None => x509.subject().to_string(),
        };
        Ok(Self {
            public: x509.public_key().raw.to_vec(),
            subject: plain(&subject),
            rsa_bits,
            weak_hash: weak_hash(&x509),
            self_issued: x509.subject().as_raw() == x509.issuer().as_raw(),
            leaf,
        })
    }
}

impl Facts {
    /// What a key is that we never make ourselves.
    pub(super) fn curve(&self) -> &'static str {
        // secp521r1, RFC 5480 section 2.1.1.1, as an object identifier in DER.
        let p521 = [6, 5, 0x2b, 0x81, 4, 0, 0x23];
        let named = self.public.windows(p521.len()).any(|window| window == p521);
        if named { "ecdsa-p521" } else { "of another kind than RSA" }
    }
}

fn weak_hash(x509: &X509Certificate<'_>) -> Option<&'static str> {
    let algorithm = x509.signature_algorithm.algorithm.to_id_string();
    WEAK.iter().find(|(id, _)| *id == algorithm).map(|(_, hash)| *hash)
}

/// Signature algorithms that can be forged, and their hash.
const WEAK: [(&str, &str); 8] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.3", "MD4"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.3.14.3.2.25", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
];

/// Text from outside as it may stand in a sentence: no control characters, not too long.
pub(super) fn plain(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() || is_steering(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() { format!("{shown}…") } else { shown }
}

/// Characters that change the direction or the look of a line (Trojan Source, CVE-2021-42574).
fn is_steering(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A name that a person can read.
const LONGEST: usize = 120;
