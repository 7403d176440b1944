//! Just enough ASN.1 to tell what a file is, and to take PKCS#12 and PKCS#7 apart as people's
//! tools write them: BER is made DER first, with a limit on how deep it may nest, so that no other
//! parser ever sees something deep.

use zeroize::Zeroizing;

/// How deep a file may nest; certificates and key stores stay below 16.
const DEEPEST: u32 = 32;

/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
/// `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub(super) const OID: u8 = 0x06;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[0]`, primitive: an implicit octet string.
pub(super) const CONTEXT_0_PRIMITIVE: u8 = 0x80;

/// Bit of a tag: there are elements inside.
const CONSTRUCTED: u8 = 0x20;

/// One element.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    /// Its tag, one byte: longer ones occur in nothing that is read here.
    pub(super) tag: u8,
    /// What is in it.
    pub(super) value: &'a [u8],
    /// With its tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements inside, when it has that tag.
    pub(super) fn inside(self, tag: u8) -> Option<Reader<'a>> {
        (self.tag == tag).then_some(Reader(self.value))
    }
}

/// Reads one element after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (tag, length, header) = head(self.0)?;
        let end = header.checked_add(length?)?;
        let whole = self.0.get(..end)?;
        self.0 = &self.0[end..];
        Some(Element { tag, value: &whole[header..], whole })
    }

    /// The next element's content, when it has that tag.
    pub(super) fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let element = self.any()?;
        (element.tag == tag).then_some(element.value)
    }

    /// Goes into the next element, when it has that tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.value(tag).map(Self)
    }

    /// The next element as a number of at most 64 bits, not negative.
    pub(super) fn number(&mut self) -> Option<u64> {
        let bytes = unsigned(self.value(INTEGER)?);
        (bytes.len() <= 8).then(|| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.any()
    }
}

/// A number without the zeros in front.
pub(super) fn unsigned(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    &bytes[zeros..]
}

/// The first element of `bytes` with definite lengths, and how many bytes it took; `None` when it
/// is damaged, or nests deeper than anything real.
///
/// Netscape, Java and Apple write PKCS#12 with indefinite lengths and octet strings in pieces
/// (X.690 section 8.1.3.6 and 8.7.3).
pub(super) fn definite(bytes: &[u8]) -> Option<(Zeroizing<Vec<u8>>, usize)> {
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let used = copy(bytes, &mut out, DEEPEST)?;
    Some((out, used))
}

fn copy(bytes: &[u8], out: &mut Vec<u8>, depth: u32) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let (tag, length, header) = head(bytes)?;
    if tag & CONSTRUCTED == 0 {
        let value = bytes.get(header..header.checked_add(length?)?)?;
        push(out, tag, value);
        return Some(header + value.len());
    }
    let limit = match length {
        Some(length) => bytes.get(..header.checked_add(length)?)?,
        None => bytes,
    };
    // Not of the size of all that follows: a file of nothing but openings would cost its square.
    let mut inside = Vec::with_capacity(length.unwrap_or_default());
    let mut at = header;
    loop {
        match (length, limit.get(at..)?) {
            (Some(_), []) => break,
            (None, [0, 0, ..]) => {
                at += 2;
                break;
            }
            (_, rest) => at += copy(rest, &mut inside, depth)?,
        }
    }
    if tag == OCTET_STRING | CONSTRUCTED {
        push(out, OCTET_STRING, &joined(&inside)?);
    } else {
        push(out, tag, &inside);
    }
    Some(at)
}

/// An octet string out of its pieces.
pub(super) fn joined(pieces: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(pieces.len()));
    let mut reader = Reader(pieces);
    while !reader.0.is_empty() {
        whole.extend_from_slice(reader.value(OCTET_STRING)?);
    }
    Some(whole)
}

/// Tag, length (`None`: indefinite) and the size of both.
fn head(bytes: &[u8]) -> Option<(u8, Option<usize>, usize)> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if tag & 0x1f == 0x1f || tag == 0 {
        return None;
    }
    match first {
        0..=0x7f => Some((tag, Some(usize::from(first)), 2)),
        0x80 => (tag & CONSTRUCTED != 0).then_some((tag, None, 2)),
        _ => {
            let count = usize::from(first & 0x7f);
            let length = rest.get(..count)?;
            let significant = unsigned(length);
            if significant.len() > 4 {
                return None;
            }
            let length = significant.iter().fold(0, |n, b| n << 8 | usize::from(*b));
            Some((tag, Some(length), 2 + count))
        }
    }
}

/// Writes an element in DER.
pub(super) fn push(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    let length = value.len().to_be_bytes();
    let length = unsigned(&length);
    match length {
        [] => out.push(0),
        [short @ 0..=0x7f] => out.push(*short),
        long => {
            // Four bytes at most: nothing longer was read.
            out.push(0x80 | long.len() as u8);
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_stays_as_it_is() {
        let der = rcgen::KeyPair::generate().unwrap().serialize_der();
        let (same, used) = definite(&der).unwrap();
        assert_eq!((same.as_slice(), used), (der.as_slice(), der.len()));
    }

    #[test]
    fn indefinite_lengths_and_pieces_become_whole() {
        let ber = [0x30, 0x80, 0x24, 0x80, 4, 1, 7, 4, 2, 8, 9, 0, 0, 2, 0x81, 1, 5, 0, 0, 99];
        let (der, used) = definite(&ber).unwrap();
        assert_eq!(der.as_slice(), [0x30, 8, 4, 3, 7, 8, 9, 2, 1, 5]);
        assert_eq!(used, ber.len() - 1);
    }

    #[test]
    fn what_nests_too_deep_or_lies_about_its_length_is_refused() {
        for definite_length in [true, false] {
            let mut deep = Vec::new();
            for _ in 0..10_000 {
                if definite_length {
                    let mut outer = Vec::new();
                    push(&mut outer, SEQUENCE, &deep);
                    deep = outer;
                } else {
                    deep.extend_from_slice(&[SEQUENCE, 0x80]);
                }
            }
            assert!(definite(&deep).is_none());
        }
        for lie in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 5, 2, 9], &[0x30, 0x80, 0]] {
            assert!(definite(lie).is_none(), "{lie:?}");
        }
    }
}
