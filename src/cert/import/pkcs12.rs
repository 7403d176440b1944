//! PKCS#12 (RFC 7292) and PKCS#7 (RFC 5652): their walls only; what is in them goes on to
//! [`super::Found`].
//!
//! Walked here and not by p12-keystore: rounds of key derivation are counted before each of them
//! is spent, also for keys locked inside a locked part; what Java, Netscape and Apple write is no
//! DER; and attributes of bags, odd as they may be, are not looked at.

use zeroize::Zeroizing;

use super::asn1::{
    self, CONTEXT_0, CONTEXT_0_PRIMITIVE, Element, OCTET_STRING, OID, Reader, SEQUENCE,
};
use super::locked;
use super::problem::{Form, Problem};
use super::{Found, LOCKED_KEY};

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
/// signedData.
pub(super) const SIGNED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const ENCRYPTED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];

/// bagtypes, but for the last number.
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
const KEY_BAG: u8 = 1;
const LOCKED_KEY_BAG: u8 = 2;
const CERTIFICATE_BAG: u8 = 3;
const SAFE_BAG: u8 = 6;

/// How deep safes may lie in safes.
const DEEPEST: u32 = 4;

const DAMAGED: Problem = Problem::Damaged("the PKCS#12 file");

/// Takes the certificates and keys out of a PFX.
///
/// Its MAC is not looked at: it proves that whoever wrote the file knew the password, which lies
/// in a file beside it. A key or a certificate that was changed does not fit the other.
pub(super) fn pfx(found: &mut Found<'_>, der: &[u8]) -> Result<(), Problem> {
    let safes = authenticated_safe(der).ok_or(DAMAGED)?;
    for safe in Reader(Reader(&safes).value(SEQUENCE).ok_or(DAMAGED)?) {
        let contents = contents(found, safe)?;
        bags(found, &contents, DEEPEST)?;
    }
    Ok(())
}

fn authenticated_safe(der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut pfx = Reader(der).enter(SEQUENCE)?;
    pfx.number()?;
    plain_content(pfx.any()?)
}

/// The octets in a ContentInfo of type data.
fn plain_content(info: Element<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let mut info = info.inside(SEQUENCE)?;
    (info.value(OID)? == DATA).then_some(())?;
    whole(info.enter(CONTEXT_0)?.value(OCTET_STRING)?)
}

/// One whole element in DER; what stands behind it is dropped.
fn whole(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    asn1::definite(bytes).map(|(der, _)| der)
}

/// The SafeContents of one part, opened when it is locked.
fn contents(found: &mut Found<'_>, info: Element<'_>) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let kind = info.inside(SEQUENCE).and_then(|mut info| info.value(OID)).ok_or(DAMAGED)?;
    if kind == DATA {
        return plain_content(info).ok_or(DAMAGED);
    }
    if kind != ENCRYPTED {
        return Err(Problem::OldCipher(Form::Pkcs12));
    }
    let (algorithm, data) = encrypted_content(info).ok_or(DAMAGED)?;
    let opened = locked::open(Form::Pkcs12, algorithm, &data, found.password, &mut found.budget)?;
    // A wrong password may go unnoticed until here.
    whole(&opened).ok_or_else(|| found.not_opened())
}

/// EncryptedData, RFC 5652 section 8.
fn encrypted_content(info: Element<'_>) -> Option<(Reader<'_>, Zeroizing<Vec<u8>>)> {
    let mut info = info.inside(SEQUENCE)?;
    info.any()?;
    let mut data = info.enter(CONTEXT_0)?.enter(SEQUENCE)?;
    data.number()?;
    let mut content = data.enter(SEQUENCE)?;
    content.value(OID)?;
    let algorithm = content.enter(SEQUENCE)?;
    let bytes = content.any()?;
    let bytes = match bytes.tag {
        CONTEXT_0_PRIMITIVE => Zeroizing::new(bytes.value.to_vec()),
        CONTEXT_0 => asn1::joined(bytes.value)?,
        _ => return None,
    };
    Some((algorithm, bytes))
}

fn bags(found: &mut Found<'_>, contents: &[u8], depth: u32) -> Result<(), Problem> {
    let depth = depth.checked_sub(1).ok_or(DAMAGED)?;
    for bag in Reader(Reader(contents).value(SEQUENCE).ok_or(DAMAGED)?) {
        let (kind, value) = bag_parts(bag).ok_or(DAMAGED)?;
        match kind {
            KEY_BAG => found.pkcs8(value.whole)?,
            LOCKED_KEY_BAG => found.locked_key(Form::Pkcs12, value.whole)?,
            CERTIFICATE_BAG => {
                let mut bag = value.inside(SEQUENCE).ok_or(DAMAGED)?;
                bag.any();
                let der = bag.enter(CONTEXT_0).and_then(|mut v| v.value(OCTET_STRING));
                found.certificate(der.ok_or(DAMAGED)?)?;
            }
            SAFE_BAG => bags(found, value.whole, depth)?,
            _ => {}
        }
    }
    Ok(())
}

/// The kind of a bag (0: none that is known), and its value.
fn bag_parts(bag: Element<'_>) -> Option<(u8, Element<'_>)> {
    let mut bag = bag.inside(SEQUENCE)?;
    let kind = bag.value(OID)?.strip_prefix(BAG).and_then(|rest| rest.first());
    let value = bag.enter(CONTEXT_0)?.any()?;
    Some((kind.copied().unwrap_or_default(), value))
}

/// Takes the certificates out of a PKCS#7 signed data.
pub(super) fn p7b(found: &mut Found<'_>, der: &[u8]) -> Result<(), Problem> {
    const DAMAGED: Problem = Problem::Damaged("the PKCS#7 file");

    let signed = || {
        let mut info = Reader(der).enter(SEQUENCE)?;
        info.any()?;
        info.enter(CONTEXT_0)?.enter(SEQUENCE)
    };
    let set = signed().ok_or(DAMAGED)?.find(|e| e.tag == CONTEXT_0);
    for certificate in Reader(set.map(|e| e.value).unwrap_or_default()) {
        if certificate.tag == SEQUENCE {
            found.certificate(certificate.whole)?;
        }
    }
    Ok(())
}

/// The two halves of an EncryptedPrivateKeyInfo, RFC 5958 section 3.
pub(super) fn locked_key_parts(der: &[u8]) -> Result<(Reader<'_>, &[u8]), Problem> {
    let parts = || {
        let mut info = Reader(der).enter(SEQUENCE)?;
        Some((info.enter(SEQUENCE)?, info.value(OCTET_STRING)?))
    };
    parts().ok_or(LOCKED_KEY)
}
