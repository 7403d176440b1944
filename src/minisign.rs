//! Signatures of documents in the form of minisign: Ed25519 (RFC 8032) over the document itself
//! (`Ed`) or over its BLAKE2b-512 (`ED`, RFC 7693), and a second one over the first and a comment
//! that can so be trusted. Made and read here without a password, like `minisign -W`; what is
//! signed here, `minisign -V` takes, and the other way round.
//!
//! The form: <https://jedisct1.github.io/minisign/#signature-format>.

use std::fmt;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Blake2b512, Digest as _};
use zeroize::{Zeroize as _, Zeroizing};

/// Longest file of a signature that is read, in bytes: two comments and two lines of base64.
pub const SIGNATURE_LIMIT: usize = 4 * 1024;

/// What is behind the name of a document in that of its signature.
pub const ENDING: &str = ".minisig";

/// Why a signature does not count, or a key cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The document was changed, or the signature was made up.
    #[error("its signature does not fit: it was changed after it was signed, or forged")]
    Forged,
    /// Signed with a key that nobody here believes.
    #[error("it is signed with the key {0}, which is none of those that are believed here")]
    OtherKey(KeyId),
    /// No signature in this form.
    #[error("the file beside it is no signature of minisign: {0}")]
    NoSignature(&'static str),
    /// No public key in this form.
    #[error("this is no public key of minisign: {0}")]
    NoPublicKey(&'static str),
    /// No private key in this form, or one with a password.
    #[error("this is no private key: {0}")]
    NoPrivateKey(&'static str),
    /// The library has no randomness, or refuses the key.
    #[error("no key can be made or used")]
    Library,
}

/// Eight bytes by which keys are told apart; shown as minisign shows them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

/// Whose signatures are believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    id: KeyId,
    bytes: [u8; 32],
}

impl PublicKey {
    /// Reads one line of base64: the second one of a `.pub` file.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let bytes = STANDARD.decode(line.trim()).map_err(|_| Error::NoPublicKey("no base64"))?;
        let (kind, rest) = bytes.split_at_checked(2).unwrap_or_default();
        if kind != LEGACY {
            return Err(Error::NoPublicKey("another algorithm than Ed25519"));
        }
        let (id, key) = rest.split_at_checked(8).unwrap_or_default();
        match (id.try_into(), key.try_into()) {
            (Ok(id), Ok(bytes)) => Ok(Self { id: KeyId(id), bytes }),
            _ => Err(Error::NoPublicKey("it has not the length of one")),
        }
    }

    /// What its signatures say they are made with.
    pub fn id(&self) -> KeyId {
        self.id
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode([LEGACY, &self.id.0, &self.bytes].concat()))
    }
}

/// What a good signature says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// By whom.
    pub by: KeyId,
    /// The comment that was signed along.
    pub comment: String,
}

/// Checks a document against the text of its signature; any of `keys` is good.
///
/// # Errors
///
/// When the signature is none, is made with another key, or does not fit: to the document, or to
/// the comment.
pub fn verify(document: &[u8], signature: &[u8], keys: &[PublicKey]) -> Result<Signed, Error> {
    let parts = Parts::parse(signature)?;
    let mut same = keys.iter().filter(|key| key.id == parts.id).peekable();
    if same.peek().is_none() {
        return Err(Error::OtherKey(parts.id));
    }
    let hash;
    let message = match parts.prehashed {
        true => {
            hash = Blake2b512::digest(document);
            hash.as_slice()
        }
        false => document,
    };
    let whole = [&parts.signature[..], parts.comment.as_bytes()].concat();
    let fits = |key: &PublicKey| {
        key.verifies(message, &parts.signature) && key.verifies(&whole, &parts.of_comment)
    };
    let good = same.any(fits);
    if good { Ok(Signed { by: parts.id, comment: parts.comment }) } else { Err(Error::Forged) }
}

/// A signature, taken apart.
struct Parts {
    prehashed: bool,
    id: KeyId,
    signature: [u8; 64],
    comment: String,
    of_comment: [u8; 64],
}

impl Parts {
    fn parse(text: &[u8]) -> Result<Self, Error> {
        let no = Error::NoSignature;
        if text.len() > SIGNATURE_LIMIT {
            return Err(no("it is too long"));
        }
        let text = std::str::from_utf8(text).map_err(|_| no("it is no text"))?;
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        if !first.starts_with(UNTRUSTED) {
            return Err(no("its first line is no comment"));
        }
        let short = || no("it ends too early");
        let bytes = STANDARD.decode(lines.next().ok_or_else(short)?.trim());
        let bytes = bytes.map_err(|_| no("its second line is no base64"))?;
        let comment = lines.next().ok_or_else(short)?.strip_prefix(TRUSTED);
        let comment = comment.ok_or(no("its third line is no trusted comment"))?;
        let of_comment = STANDARD.decode(lines.next().ok_or_else(short)?.trim());
        let of_comment = of_comment.map_err(|_| no("its fourth line is no base64"))?;
        if lines.any(|line| !line.trim().is_empty()) {
            return Err(no("more lines than four"));
        }
        let (kind, rest) = bytes.split_at_checked(2).unwrap_or_default();
        let (id, signature) = rest.split_at_checked(8).unwrap_or_default();
        let prehashed = match kind {
            PREHASHED => true,
            LEGACY => false,
            _ => return Err(no("another algorithm than Ed25519")),
        };
        let length = |_| no("it has not the length of one");
        Ok(Self {
            prehashed,
            id: KeyId(id.try_into().map_err(length)?),
            signature: signature.try_into().map_err(length)?,
            comment: comment.to_owned(),
            of_comment: of_comment.as_slice().try_into().map_err(length)?,
        })
    }
}

/// Signs; never shown.
pub struct PrivateKey {
    id: KeyId,
    pair: Ed25519KeyPair,
    /// Seed and public key, as the file has them.
    bytes: Zeroizing<[u8; 64]>,
}

impl PrivateKey {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        let random = SystemRandom::new();
        let mut seed = Zeroizing::new([0; 32]);
        let mut id = [0; 8];
        random.fill(&mut *seed).map_err(|_| Error::Library)?;
        random.fill(&mut id).map_err(|_| Error::Library)?;
        Self::of(KeyId(id), &seed)
    }

    fn of(id: KeyId, seed: &[u8; 32]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::Library)?;
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(seed);
        bytes[32..].copy_from_slice(pair.public_key().as_ref());
        Ok(Self { id, pair, bytes })
    }

    /// Reads a file of `keygen`, or of `minisign -G -W`.
    ///
    /// # Errors
    ///
    /// When it is none, is damaged, or has a password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let no = Error::NoPrivateKey;
        let line = text.lines().nth(1).ok_or(no("it has no second line"))?;
        let bytes = STANDARD.decode(line.trim()).map_err(|_| no("its second line is no base64"))?;
        let bytes = Zeroizing::new(bytes);
        if bytes.len() != SECRET_LENGTH || !bytes.starts_with(LEGACY) {
            return Err(no("it is no secret key of minisign"));
        }
        if bytes[2..4] != NO_PASSWORD {
            return Err(no(
                "it has a password; make one without: pbxcert advisories keygen FILE, \
                           or minisign -G -W",
            ));
        }
        let (head, sum) = bytes[SECRET_AT..].split_at(72);
        // Minisign writes no checksum where there is no password.
        if sum != [0; 32] && checksum(head) != sum {
            return Err(no("it is damaged"));
        }
        let length = |_| no("it is damaged");
        let id = KeyId(head[..8].try_into().map_err(length)?);
        let mut seed: Zeroizing<[u8; 32]> = Zeroizing::new(head[8..40].try_into().map_err(length)?);
        let key = Self::of(id, &seed);
        seed.zeroize();
        let key = key?;
        if key.bytes[..] == head[8..] { Ok(key) } else { Err(no("its two halves do not fit")) }
    }

    /// The text of its file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let head = Zeroizing::new([&self.id.0[..], &self.bytes[..]].concat());
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_LENGTH));
        bytes.extend([LEGACY, &NO_PASSWORD, b"B2"].concat());
        // Salt and limits of a password that there is none of.
        bytes.resize(SECRET_AT, 0);
        bytes.extend_from_slice(&head);
        bytes.extend(checksum(&head));
        let line = Zeroizing::new(STANDARD.encode(&*bytes));
        Zeroizing::new(format!("{UNTRUSTED} secret key without a password\n{}\n", *line))
    }

    /// The half that others may see.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&self.bytes[32..]);
        PublicKey { id: self.id, bytes }
    }

    /// The text of the signature of a document, with a comment of one line that is signed, too.
    pub fn sign(&self, document: &[u8], comment: &str) -> String {
        let comment: String = comment.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        let signature = self.pair.sign(&Blake2b512::digest(document));
        let of_comment = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let line = STANDARD.encode([PREHASHED, &self.id.0, signature.as_ref()].concat());
        let of_comment = STANDARD.encode(of_comment.as_ref());
        format!("{UNTRUSTED} signed by pbxcert\n{line}\n{TRUSTED}{comment}\n{of_comment}\n")
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Over algorithm, id, seed and public key.
fn checksum(head: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::new().chain_update(LEGACY).chain_update(head).finalize().into()
}

/// Ed25519 over the document; also the kind of every key.
const LEGACY: &[u8] = b"Ed";

/// Ed25519 over the BLAKE2b-512 of the document.
const PREHASHED: &[u8] = b"ED";

const NO_PASSWORD: [u8; 2] = [0, 0];

/// Three algorithms of two bytes, 32 of salt, two limits of 8.
const SECRET_AT: usize = 6 + 32 + 16;

/// Then the id, seed, public key, and a checksum of 32.
const SECRET_LENGTH: usize = SECRET_AT + 8 + 64 + 32;

const UNTRUSTED: &str = "untrusted comment:";

const TRUSTED: &str = "trusted comment: ";

#[cfg(test)]
mod tests;
