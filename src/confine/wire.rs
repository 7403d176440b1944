//! How the daemon and its child talk: a tag, a length in four bytes, the bytes. No format of the
//! world's: a key is in it, and it should lie in as few places as can be.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::cert::bundle::PrivateKey;
use crate::cert::import::{File, Parts};

const BYTES: u8 = b'b';
const CERTIFICATE: u8 = b'c';
const END: u8 = b'e';
const KEY: u8 = b'k';
const LOCKED: u8 = b'l';
const NAME: u8 = b'n';
const PASSWORD: u8 = b's';
const PROBLEM: u8 = b'p';
const REFUSED: u8 = b'x';
const ROUNDS: u8 = b'r';
const WANTED: u8 = b'w';

/// What the child is given.
pub(super) fn question(file: &File, password: Option<&str>, rounds: u64) -> Zeroizing<Vec<u8>> {
    let rounds = rounds.to_be_bytes();
    let items: Vec<(u8, &[u8])> = [(ROUNDS, &rounds[..]), (NAME, file.name.as_bytes())]
        .into_iter()
        .chain(password.map(|p| (PASSWORD, p.as_bytes())))
        .chain([(BYTES, file.bytes.as_slice()), (END, &[][..])])
        .collect();
    written(&items)
}

/// A question as it was read.
pub(super) type Question = (File, Option<Zeroizing<String>>, u64);

/// Reads what the child is given; `None` when it was cut off.
pub(super) fn read_question(bytes: &[u8]) -> Option<Question> {
    let (mut file, mut password, mut rounds) =
        (File { name: String::new(), bytes: Zeroizing::default() }, None, 0);
    for (tag, value) in items(bytes)? {
        match tag {
            BYTES => file.bytes = Zeroizing::new(value.to_vec()),
            NAME => file.name = String::from_utf8(value.to_vec()).ok()?,
            PASSWORD => password = Some(Zeroizing::new(String::from_utf8(value.to_vec()).ok()?)),
            ROUNDS => rounds = number(value)?,
            _ => return None,
        }
    }
    Some((file, password, rounds))
}

/// What the child found.
pub(super) fn answer(parts: &Parts) -> Zeroizing<Vec<u8>> {
    let (rounds, wanted) = (parts.rounds.to_be_bytes(), parts.wanted.to_be_bytes());
    let items: Vec<(u8, &[u8])> = [(ROUNDS, &rounds[..]), (WANTED, &wanted[..])]
        .into_iter()
        .chain(parts.certificates.iter().map(|c| (CERTIFICATE, c.as_ref())))
        .chain(parts.keys.iter().map(|k| (KEY, k.pkcs8())))
        .chain(parts.problems.iter().map(|p| (PROBLEM, p.as_bytes())))
        .chain(parts.locked.then_some((LOCKED, &[][..])))
        .chain([(END, &[][..])])
        .collect();
    written(&items)
}

/// Why the child could not begin.
pub(super) fn refusal(reason: &str) -> Zeroizing<Vec<u8>> {
    written(&[(REFUSED, reason.as_bytes()), (END, &[])])
}

/// Reads an answer: what was found, or why the child could not begin; `None` when it was cut off
/// or is none.
pub(super) fn read_answer(bytes: &[u8]) -> Option<Result<Parts, String>> {
    let mut parts = Parts::default();
    for (tag, value) in items(bytes)? {
        match tag {
            CERTIFICATE => parts.certificates.push(CertificateDer::from(value.to_vec())),
            KEY => {
                let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(value));
                parts.keys.push(PrivateKey::from_der(&der).ok()?);
            }
            LOCKED => parts.locked = true,
            PROBLEM => parts.problems.push(String::from_utf8(value.to_vec()).ok()?),
            REFUSED => return Some(Err(String::from_utf8_lossy(value).into_owned())),
            ROUNDS => parts.rounds = number(value)?,
            WANTED => parts.wanted = number(value)?,
            _ => return None,
        }
    }
    Some(Ok(parts))
}

fn written(items: &[(u8, &[u8])]) -> Zeroizing<Vec<u8>> {
    // Of the final size at once: growing would leave copies of a key behind.
    let size = items.iter().map(|(_, value)| 5 + value.len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    for (tag, value) in items {
        // Never longer than a file.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        out.push(*tag);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
    out
}

/// All items up to the end; `None` when there is no end, or something after it.
fn items(mut bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut items = Vec::new();
    loop {
        let (head, rest) = bytes.split_first_chunk::<5>()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        if head[0] == END {
            return rest.is_empty().then_some(items);
        }
        items.push((head[0], value));
        bytes = rest;
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
