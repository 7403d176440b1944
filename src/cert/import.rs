//! What administrators have: PEM, DER, PKCS#12, PKCS#7 and keys of every kind, taken apart.
//!
//! Everything here reads bytes from outside, and runs in a confined child ([`crate::confine`]).

use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::bundle::PrivateKey;

/// A file as it was uploaded.
#[derive(Clone)]
pub struct File {
    /// Its name, with everything that a terminal or a log could stumble over escaped.
    pub name: String,
    /// What is in it; may hold a key.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What was found in one file.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Certificates, in the order found.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Private keys, in the order found.
    pub keys: Vec<PrivateKey>,
    /// What could not be read of it, as sentences that say what to do.
    pub problems: Vec<String>,
    /// Rounds of key derivation that were spent.
    pub rounds: u64,
}

/// Takes a file apart. `password` opens what is encrypted, `rounds` is what may be spent on that.
pub fn parts(_file: &File, _password: Option<&str>, _rounds: u64) -> Parts {
    todo!()
}
