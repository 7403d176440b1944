//! Blocks between `-----BEGIN` and `-----END` (RFC 7468), in whatever text they stand.

use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine as _};
use zeroize::Zeroizing;

/// Tools that forget the padding are forgiven.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A block, as far as it can be read.
pub(super) struct Block<'a> {
    /// `CERTIFICATE`, `RSA PRIVATE KEY` ...
    pub(super) label: &'a str,
    /// What it holds.
    pub(super) body: Body,
}

/// What a block holds.
pub(super) enum Body {
    /// Base64 that could be read.
    Bytes(Zeroizing<Vec<u8>>),
    /// No end, or letters in it that are none of base64.
    Damaged,
    /// Encrypted in OpenSSL's own way (RFC 1421 headers).
    Encrypted,
}

/// Every block of a text.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        rest = after;
        let Some((label, after)) = after.split_once("-----") else { break };
        if label.len() > 64 || label.contains('\n') {
            continue;
        }
        let next = after.find("-----BEGIN ").unwrap_or(after.len());
        let end = after[..next].find("-----END ");
        let body = end.map_or(Body::Damaged, |end| body(&after[..end]));
        found.push(Block { label, body });
        rest = &after[end.unwrap_or(next)..];
    }
    found
}

fn body(text: &str) -> Body {
    if text.contains("Proc-Type:") && text.contains("ENCRYPTED") {
        return Body::Encrypted;
    }
    let lines = text.lines().filter(|line| !line.contains(':'));
    let mut letters = Zeroizing::new(String::with_capacity(text.len()));
    letters.extend(lines.flat_map(str::chars).filter(|c| !c.is_whitespace()));
    decoded(&letters).map_or(Body::Damaged, Body::Bytes)
}

/// A text that is nothing but base64: a file whose first and last line were lost, or that a cloud
/// vault handed out so.
pub(super) fn bare(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut letters = Zeroizing::new(String::with_capacity(text.len()));
    letters.extend(text.chars().filter(|c| !c.is_whitespace()));
    decoded(&letters).filter(|bytes| bytes.len() > 64)
}

fn decoded(letters: &str) -> Option<Zeroizing<Vec<u8>>> {
    // One allocation of the final size, so that nothing of a key stays behind in a smaller one.
    let mut bytes = Zeroizing::new(Vec::with_capacity(letters.len()));
    FORGIVING.decode_vec(letters, &mut bytes).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}
