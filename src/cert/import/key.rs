//! Private keys of every spelling made into the one that the rest of the world reads.

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::asn1::{self, BIT_STRING, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};
use super::problem::Problem;
use crate::cert::bundle::PrivateKey;

/// rsaEncryption, RFC 8017 appendix C.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// id-ecPublicKey, RFC 5480 section 2.1.1.
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// Curves, RFC 5480 section 2.1.1.1, and how long a private value on them is.
const CURVES: [(&[u8], usize); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 32),
    (&[0x2b, 0x81, 4, 0, 34], 48),
    (&[0x2b, 0x81, 4, 0, 35], 66),
];

/// Least and most bits of an RSA key.
pub(super) const RSA_BITS: std::ops::RangeInclusive<u64> = 2048..=8192;

/// Reads PKCS#8 (RFC 5958).
pub(super) fn pkcs8(der: &[u8]) -> Result<PrivateKey, Problem> {
    let (algorithm, parameters, inner) = pkcs8_parts(der).ok_or(DAMAGED)?;
    match algorithm {
        RSA => {
            check_rsa(inner)?;
            load(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)))
        }
        EC => sec1_on(inner, parameters),
        // Ed25519 too: the library reads it, hardly any phone does, and no public CA signs it.
        _ => Err(Problem::KeyKind),
    }
}

/// Reads PKCS#1 (RFC 8017 appendix A.1.2).
pub(super) fn pkcs1(der: &[u8]) -> Result<PrivateKey, Problem> {
    check_rsa(der)?;
    load(&PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)))
}

/// Reads SEC1 (RFC 5915).
pub(super) fn sec1(der: &[u8]) -> Result<PrivateKey, Problem> {
    sec1_on(der, None)
}

const DAMAGED: Problem = Problem::Damaged("the private key");

type Pkcs8Parts<'a> = (&'a [u8], Option<asn1::Element<'a>>, &'a [u8]);

/// Algorithm, its parameters, and the key itself.
fn pkcs8_parts(der: &[u8]) -> Option<Pkcs8Parts<'_>> {
    let mut info = Reader(der).enter(SEQUENCE)?;
    info.number()?;
    let mut algorithm = info.enter(SEQUENCE)?;
    Some((algorithm.value(OID)?, algorithm.any(), info.value(OCTET_STRING)?))
}

/// The size is looked at before anything is computed with it.
fn check_rsa(pkcs1: &[u8]) -> Result<(), Problem> {
    let modulus = || {
        let mut key = Reader(pkcs1).enter(SEQUENCE)?;
        key.number()?;
        key.value(INTEGER)
    };
    let bits = bits(modulus().ok_or(DAMAGED)?);
    if RSA_BITS.contains(&bits) { Ok(()) } else { Err(Problem::RsaSize(bits)) }
}

/// How long a number is.
pub(super) fn bits(number: &[u8]) -> u64 {
    let number = asn1::unsigned(number);
    let first = number.first().map_or(0, |b| b.leading_zeros());
    (number.len() as u64 * 8).saturating_sub(u64::from(first))
}

/// A SEC1 key, alone or in a PKCS#8 that names the curve, written anew: GnuTLS puts a zero before
/// the private value, others leave zeros out, and a public half that somebody claims is left away
/// and computed.
fn sec1_on(der: &[u8], curve: Option<asn1::Element<'_>>) -> Result<PrivateKey, Problem> {
    let (value, own_curve) = sec1_parts(der).ok_or(DAMAGED)?;
    let value = asn1::unsigned(value);
    let (curve, length) = match curve.or(own_curve) {
        Some(named) if named.tag == OID => {
            let known = CURVES.iter().find(|(oid, _)| *oid == named.value);
            *known.ok_or(Problem::KeyKind)?
        }
        Some(_) => return Err(Problem::CurveSpelledOut),
        // No curve at all: it follows from the length.
        None => *CURVES.iter().find(|(_, n)| value.len() <= *n).ok_or(Problem::KeyKind)?,
    };
    if value.is_empty() || value.len() > length {
        return Err(DAMAGED);
    }
    let pkcs8 = ec_pkcs8(curve, value, length);
    load(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice())))
}

/// The private value, and the curve when it is named there.
fn sec1_parts(der: &[u8]) -> Option<(&[u8], Option<asn1::Element<'_>>)> {
    let mut key = Reader(der).enter(SEQUENCE)?;
    (key.number()? == 1).then_some(())?;
    let value = key.value(OCTET_STRING)?;
    let curve = key.find(|e| e.tag == asn1::CONTEXT_0).and_then(|e| Reader(e.value).any());
    Some((value, curve))
}

fn ec_pkcs8(curve: &[u8], value: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    // More than enough, so that no half-written key is left behind by growing.
    let room = || Zeroizing::new(Vec::with_capacity(256));
    let mut padded = room();
    padded.resize(length - value.len(), 0);
    padded.extend_from_slice(value);
    let mut sec1 = room();
    asn1::push(&mut sec1, INTEGER, &[1]);
    asn1::push(&mut sec1, OCTET_STRING, &padded);
    let mut key = room();
    asn1::push(&mut key, SEQUENCE, &sec1);
    let mut algorithm = Vec::new();
    asn1::push(&mut algorithm, OID, EC);
    asn1::push(&mut algorithm, OID, curve);
    let mut info = room();
    asn1::push(&mut info, INTEGER, &[0]);
    asn1::push(&mut info, SEQUENCE, &algorithm);
    asn1::push(&mut info, OCTET_STRING, &key);
    let mut pkcs8 = room();
    asn1::push(&mut pkcs8, SEQUENCE, &info);
    pkcs8
}

fn load(key: &PrivateKeyDer<'_>) -> Result<PrivateKey, Problem> {
    PrivateKey::from_der(key).map_err(|_| Problem::KeyKind)
}

/// Whether a subject public key info is that of an RSA key, and of how many bits.
pub(super) fn public_rsa_bits(spki: &[u8]) -> Option<u64> {
    let mut info = Reader(spki).enter(SEQUENCE)?;
    (info.enter(SEQUENCE)?.value(OID)? == RSA).then_some(())?;
    let key = info.value(BIT_STRING)?.get(1..)?;
    Some(bits(Reader(key).enter(SEQUENCE)?.value(INTEGER)?))
}
