//! Files that want too much, made here; and arbitrary ones.

use std::time::{Duration, Instant};

use super::*;
use crate::cert::KeyType;
use crate::cert::import::asn1::push;

/// An element of these parts.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, tag, &parts.concat());
    out
}

fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, parts)
}

fn int(number: u64) -> Vec<u8> {
    // DER: a zero in front only where the first bit would make it negative.
    let bytes = number.to_be_bytes();
    let digits = asn1::unsigned(&bytes);
    let sign: &[u8] = if digits.first().is_none_or(|b| *b >= 0x80) { &[0] } else { &[] };
    tlv(INTEGER, &[sign, digits])
}

fn oid(last: &[u8]) -> Vec<u8> {
    tlv(OID, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1], last])
}

fn pbes2(kdf: &[u8]) -> Vec<u8> {
    let aes = tlv(OID, &[&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42]]);
    let cipher = seq(&[&aes, &tlv(OCTET_STRING, &[&[7; 16]])]);
    seq(&[&oid(&[5, 13]), &seq(&[kdf, &cipher])])
}

fn pbkdf2(rounds: u64) -> Vec<u8> {
    let prf = seq(&[&tlv(OID, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9]]), &[5, 0]]);
    let parameters = seq(&[&tlv(OCTET_STRING, &[&[9; 8]]), &int(rounds), &prf]);
    pbes2(&seq(&[&oid(&[5, 12]), &parameters]))
}

fn scrypt(n: u64, r: u64, p: u64) -> Vec<u8> {
    let name = tlv(OID, &[&[0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11]]);
    let parameters = seq(&[&tlv(OCTET_STRING, &[&[9; 8]]), &int(n), &int(r), &int(p)]);
    pbes2(&seq(&[&name, &parameters]))
}

fn pkcs12_pbe(rounds: u64) -> Vec<u8> {
    seq(&[&oid(&[12, 1, 3]), &seq(&[&tlv(OCTET_STRING, &[&[9; 8]]), &int(rounds)])])
}

fn locked_key(algorithm: &[u8]) -> Vec<u8> {
    seq(&[algorithm, &tlv(OCTET_STRING, &[&[1; 160]])])
}

/// A PKCS#12 file with these parts of its authenticated safe.
fn pfx(safes: &[&[u8]], mac: &[u8]) -> Vec<u8> {
    let safe = tlv(OCTET_STRING, &[&seq(safes)]);
    seq(&[&int(3), &seq(&[&oid(&[7, 1]), &tlv(CONTEXT_0, &[&safe])]), mac])
}

fn encrypted(algorithm: &[u8]) -> Vec<u8> {
    let content = seq(&[&oid(&[7, 1]), algorithm, &tlv(0x80, &[&[1; 160]])]);
    seq(&[&oid(&[7, 6]), &tlv(CONTEXT_0, &[&seq(&[&int(0), &content])])])
}

/// Takes it apart, and says what was wrong, once.
fn problem(bytes: Vec<u8>) -> String {
    let since = Instant::now();
    let found = parts(&file("x", bytes), Some("changeit"), ROUNDS);
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert!(found.certificates.is_empty() && found.keys.is_empty());
    assert_eq!(found.rounds, 0);
    found.problems.join(" | ")
}

fn sentence(problem: &Problem) -> String {
    problem.sentence("x")
}

#[test]
fn rounds_are_looked_at_before_they_are_spent() {
    let many = 1 << 31;
    for algorithm in [pbkdf2(many - 1), pkcs12_pbe(many)] {
        let rounds = if algorithm == pkcs12_pbe(many) { many } else { many - 1 };
        assert_eq!(
            problem(pfx(&[&encrypted(&algorithm)], &[])),
            sentence(&Problem::Rounds(Form::Pkcs12, rounds))
        );
        assert_eq!(problem(locked_key(&algorithm)), sentence(&Problem::Rounds(Form::Key, rounds)));
    }
    // More than a number of 31 bits, or than one of 64.
    assert!(problem(locked_key(&pkcs12_pbe(u64::MAX))).contains("18446744073709551615 rounds"));
    assert!(!problem(locked_key(&pbkdf2(u64::MAX))).is_empty());
}

#[test]
fn rounds_are_counted_over_all_parts_of_a_file() {
    let safe = encrypted(&pbkdf2(1000));
    let found = parts(&file("x", pfx(&[&safe], &[])), Some("changeit"), 1000);
    assert_eq!((found.rounds, found.wanted), (1000, 0));
    assert_eq!(found.problems, [sentence(&Problem::WrongPassword)]);
    let found = parts(&fixture("openssl3.p12"), Some("changeit"), 4095);
    assert_eq!((found.rounds, found.wanted), (2048, 4096));
    assert_eq!((found.certificates.len(), found.keys.len()), (3, 0));
    assert!(found.problems[0].contains("2048 rounds"), "{:?}", found.problems);
    let found = parts(&fixture("openssl3.p12"), Some("changeit"), 4096);
    assert_eq!((found.certificates.len(), found.keys.len()), (3, 1));
}

#[test]
fn scrypt_takes_32_mib_at_most() {
    // 128 x N x r bytes.
    let gigabyte = scrypt(1 << 20, 8, 1);
    assert_eq!(
        problem(pfx(&[&encrypted(&gigabyte)], &[])),
        sentence(&Problem::Scrypt(Form::Pkcs12, 1024))
    );
    assert_eq!(problem(locked_key(&gigabyte)), sentence(&Problem::Scrypt(Form::Key, 1024)));
    assert!(problem(locked_key(&scrypt(1 << 14, 8, 60_000))).contains("rounds to turn"));
    assert!(!problem(locked_key(&scrypt(u64::MAX, 65_535, 65_535))).is_empty());
}

#[test]
fn ten_thousand_levels_are_damage() {
    for tag in [SEQUENCE, CONTEXT_0, 0x24, 0x31] {
        let mut deep = Vec::new();
        for _ in 0..10_000 {
            deep = tlv(tag, &[&deep]);
        }
        let inside = seq(&[&deep]);
        assert_eq!(problem(inside.clone()), sentence(&Problem::Damaged("the file")));
        let text = BASE64_STANDARD.encode(&inside);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        assert_eq!(problem(pem.into()), sentence(&Problem::Damaged("the file")));
        let safe = seq(&[&oid(&[7, 1]), &tlv(CONTEXT_0, &[&tlv(OCTET_STRING, &[&inside])])]);
        let damaged = Problem::Damaged("the PKCS#12 file");
        assert_eq!(problem(pfx(&[&safe], &[])), sentence(&damaged));
    }
    // Nothing but openings, in the size of the largest upload.
    assert!(!problem([SEQUENCE, 0x80].repeat(128 * 1024)).is_empty());
    assert!(!problem([SEQUENCE, 0x80, 0, 0].repeat(64 * 1024)).is_empty());
}

#[test]
fn safes_in_safes_end() {
    let bag = |value: &[u8]| seq(&[&oid(&[12, 10, 1, 6]), &tlv(CONTEXT_0, &[value])]);
    let mut contents = seq(&[]);
    for _ in 0..6 {
        contents = seq(&[&bag(&contents)]);
    }
    let safe = seq(&[&oid(&[7, 1]), &tlv(CONTEXT_0, &[&tlv(OCTET_STRING, &[&contents])])]);
    assert_eq!(problem(pfx(&[&safe], &[])), sentence(&Problem::Damaged("the PKCS#12 file")));
}

/// A certificate of these names and this subject public key info, signed by nobody.
fn certificate(names: &[u8], spki: &[u8]) -> Vec<u8> {
    let algorithm = seq(&[&oid(&[1, 11]), &[5, 0]]);
    let time = tlv(0x17, &[b"260101000000Z"]);
    let san =
        seq(&[&tlv(OID, &[&[0x55, 0x1d, 0x11]]), &tlv(OCTET_STRING, &[&tlv(SEQUENCE, &[names])])]);
    let tbs = seq(&[
        &tlv(CONTEXT_0, &[&int(2)]),
        &int(1),
        &algorithm,
        &seq(&[]),
        &seq(&[&time, &time]),
        &seq(&[]),
        spki,
        &tlv(0xa3, &[&seq(&[&san])]),
    ]);
    seq(&[&tbs, &algorithm, &tlv(BIT_STRING, &[&[0; 65]])])
}

fn rsa_spki(bits: usize) -> Vec<u8> {
    let modulus = tlv(INTEGER, &[&[0], &vec![0xff; bits / 8]]);
    let key = seq(&[&modulus, &int(65_537)]);
    seq(&[&seq(&[&oid(&[1, 1]), &[5, 0]]), &tlv(BIT_STRING, &[&[0], &key])])
}

#[test]
fn a_certificate_with_100_000_names_is_refused_and_one_with_100_is_not() {
    let names = |count: usize| tlv(0x82, &[b"a.b"]).repeat(count);
    let spki = rsa_spki(2048);
    assert_eq!(
        problem(certificate(&names(100_000), &spki)),
        sentence(&Problem::TooManyNames(100_000))
    );
    let found = parts(&file("x", certificate(&names(100), &spki)), None, 0);
    assert_eq!((found.certificates.len(), found.problems.len()), (1, 0));
}

#[test]
fn rsa_of_65_536_bits_is_refused_in_a_certificate_and_in_a_key() {
    let too_long = sentence(&Problem::RsaSize(65_536));
    let name = tlv(0x82, &[b"a.b"]);
    assert_eq!(problem(certificate(&name, &rsa_spki(65_536))), too_long);
    let number = tlv(INTEGER, &[&[0], &[0xff; 8192]]);
    let mut key = int(0);
    key.extend_from_slice(&number.repeat(8));
    let pkcs1 = seq(&[&key]);
    assert_eq!(problem(pkcs1.clone()), too_long);
    let algorithm = seq(&[&oid(&[1, 1]), &[5, 0]]);
    assert_eq!(problem(seq(&[&int(0), &algorithm, &tlv(OCTET_STRING, &[&pkcs1])])), too_long);
    let found = parts(&file("x", certificate(&name, &rsa_spki(8192))), None, 0);
    assert_eq!(found.certificates.len(), 1);
}

#[test]
fn more_than_ten_certificates_are_none() {
    let leaf = |n: usize| {
        let name = tlv(0x82, &[format!("n{n}.b").as_bytes()]);
        let der = BASE64_STANDARD.encode(certificate(&name, &rsa_spki(2048)));
        format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
    };
    let text: String = (0..11).map(leaf).collect();
    assert_eq!(problem(text.into()), sentence(&Problem::TooManyCertificates(11)));
    let text: String = (0..10).map(leaf).chain((0..10).map(leaf)).collect();
    assert_eq!(parts(&file("x", text), None, 0).certificates.len(), 10);
}

#[test]
fn a_key_store_in_ber_and_with_a_mac_of_rfc_9579_is_read() {
    // Everything indefinite, and octet strings in pieces of 100 bytes, as X.690 section 8.7 has it.
    fn ber(der: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for element in Reader(der) {
            match element.tag {
                OCTET_STRING => {
                    out.extend_from_slice(&[0x24, 0x80]);
                    for piece in element.value.chunks(100) {
                        push(&mut out, OCTET_STRING, piece);
                    }
                    out.extend_from_slice(&[0, 0]);
                }
                tag if tag & 0x20 != 0 => {
                    out.extend_from_slice(&[tag, 0x80]);
                    out.extend_from_slice(&ber(element.value));
                    out.extend_from_slice(&[0, 0]);
                }
                _ => out.extend_from_slice(element.whole),
            }
        }
        out
    }
    for name in ["openssl3.p12", "legacy.p12"] {
        let original = fixture(name);
        let mut outer = Reader(&original.bytes).enter(SEQUENCE).unwrap();
        let (version, safe) = (outer.any().unwrap(), outer.any().unwrap());
        let pbmac1 = seq(&[&oid(&[5, 14]), &pbkdf2(1 << 31)]);
        let digest = seq(&[&pbmac1, &tlv(OCTET_STRING, &[&[1; 32]])]);
        let mac = seq(&[&digest, &tlv(OCTET_STRING, &[&[0; 8]]), &int(1)]);
        for bytes in [ber(&original.bytes), seq(&[version.whole, safe.whole, &mac])] {
            let found = parts(&file(name, bytes), Some("changeit"), ROUNDS);
            let counts = (found.certificates.len(), found.keys.len(), found.problems.len());
            assert_eq!(counts, (3, 1, 0), "{:?}", found.problems);
        }
    }
}

#[test]
fn a_short_private_value_and_a_missing_curve_are_mended() {
    let key = loop {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        if pkcs8_inner(&key)[0] == 0 {
            break key;
        }
    };
    let value = pkcs8_inner(&key);
    let sec1 = seq(&[&int(1), &tlv(OCTET_STRING, &[asn1::unsigned(&value)])]);
    let found = parts(&file("x", sec1), None, 0);
    assert_eq!(found.keys[0].public(), key.public());
}

/// The private value in a key on a curve.
fn pkcs8_inner(key: &PrivateKey) -> Vec<u8> {
    let mut info = Reader(key.pkcs8()).enter(SEQUENCE).unwrap();
    info.number();
    info.any();
    let mut sec1 = Reader(info.value(OCTET_STRING).unwrap()).enter(SEQUENCE).unwrap();
    sec1.number();
    sec1.value(OCTET_STRING).unwrap().to_vec()
}

#[test]
fn a_wrong_and_a_missing_password_are_told_apart() {
    for name in ["openssl3.p12", "legacy.p12", "keytool.p12", "pbes2.key", "pbes2.der"] {
        let wrong = parts(&fixture(name), Some("wrong"), ROUNDS);
        assert_eq!(wrong.problems, [Problem::WrongPassword.sentence(name)], "{name}");
        let missing = parts(&fixture(name), None, ROUNDS);
        assert_eq!(missing.problems, [Problem::Locked.sentence(name)], "{name}");
    }
}

#[test]
fn strange_things_are_named() {
    let archive = |kind, command| Problem::Archive(kind, command);
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, expected) in [
        (b"PK\x03\x04rest".to_vec(), archive("zip", "unzip")),
        (b"\x1f\x8b\x08rest".to_vec(), archive("gzip", "gunzip")),
        (b"7z\xbc\xaf\x27\x1crest".to_vec(), archive("7z", "7z x")),
        (b"Rar!\x1a\x07\x01".to_vec(), archive("rar", "unrar x")),
        (tar, archive("tar", "tar -xf")),
        (b"".to_vec(), Problem::Empty),
        (b" \r\n".to_vec(), Problem::Empty),
        (b"hello".to_vec(), Problem::Unknown),
        (vec![0xff; 4096], Problem::Unknown),
        (b"ssh-ed25519 AAAA me".to_vec(), Problem::SshKey),
        ("—–BEGIN CERTIFICATE—–".into(), Problem::Damaged("the text in it")),
        (b"-----BEGIN CERTIFICATE-----\nMIIB".to_vec(), Problem::Damaged("a certificate in it")),
        (
            b"-----BEGIN PRIVATE KEY-----\n%\n-----END PRIVATE KEY-----".to_vec(),
            Problem::Damaged("the private key in it"),
        ),
        (pfx(&[], &[]), Problem::Nothing("PKCS#12 file")),
    ] {
        assert_eq!(problem(bytes), sentence(&expected));
    }
}
