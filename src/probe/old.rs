//! A hello of an older time: TLS 1.2 at most, ciphers that rustls does not speak.
//!
//! Up to TLS 1.2 the server's certificate comes in plain text, so its leaf can be read although
//! the handshake cannot be finished: no cryptography is needed, and none is done here. That the
//! server holds the key is therefore not seen.

use std::io;

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::config::KeyFamily;

/// What a server answers to the hello.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// It goes on with this version and cipher suite, and shows these certificates (none where the
    /// suite needs none).
    Hello { version: u16, suite: u16, chain: Vec<Vec<u8>> },
    /// Nothing that is TLS, or the end.
    Nothing,
    /// It refused.
    Refused(AlertDescription),
}

/// Says hello, hears the answer and takes leave.
///
/// # Errors
///
/// When the connection fails. Whatever comes over it is an answer; at most 128 KiB are read.
pub(super) async fn look<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    sni: Option<&str>,
    key: Option<KeyFamily>,
) -> io::Result<Heard> {
    say(stream, &hello(TLS_1_2, sni, key)).await
}

/// The same as a client that knows nothing newer than TLS 1.1.
///
/// # Errors
///
/// As [`look`].
pub(super) async fn look_below<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    sni: Option<&str>,
    key: Option<KeyFamily>,
) -> io::Result<Heard> {
    say(stream, &hello(TLS_1_1, sni, key)).await
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, hello: &[u8]) -> io::Result<Heard> {
    stream.write_all(hello).await?;
    stream.flush().await?;
    let heard = listen(stream).await?;
    if matches!(heard, Heard::Hello { .. }) {
        // Whether it hears this or not, we have what we came for.
        let _ = stream.write_all(&LEAVE).await;
        let _ = stream.shutdown().await;
    }
    Ok(heard)
}

/// `TLS 1.0`, as protocol.
pub(super) fn version(version: u16) -> String {
    match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0303 => format!("TLS 1.{}", version - 0x0301),
        other => format!("TLS {other:#06x}"),
    }
}

/// What is spoken, as the beginning of a sentence.
pub(super) fn spoken(number: u16, suite: u16) -> String {
    let name = SUITES.iter().find(|(code, ..)| *code == suite).map(|(_, _, name)| *name);
    let name = name.map_or_else(|| format!("cipher {suite:#06x}"), str::to_owned);
    format!("it speaks {} with {name}", version(number))
}

/// Whether rustls could never have gone on so. A server that fails with what rustls speaks, too, is
/// not old, but broken, whatever it shows.
pub(super) fn is_beyond_us(version: u16, suite: u16) -> bool {
    let ours = &rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES;
    version < 0x0303 || !ours.iter().any(|known| u16::from(known.suite()) == suite)
}

async fn listen<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Heard> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(understand(&heard).unwrap_or(Heard::Nothing));
        }
        heard.extend_from_slice(&buffer[..count]);
        match understand(&heard) {
            Some(answer) => return Ok(answer),
            None if heard.len() > MOST => return Ok(Heard::Nothing),
            None => {}
        }
    }
}

/// What the records until now say; `None`: not enough yet.
fn understand(mut heard: &[u8]) -> Option<Heard> {
    let mut messages = Vec::new();
    while let Some((record, rest)) = record(heard) {
        heard = rest;
        match record {
            Record::Alert(alert) => return Some(Heard::Refused(alert)),
            Record::Handshake(part) => messages.extend_from_slice(part),
            Record::Warning => {}
            Record::Strange => return Some(Heard::Nothing),
        }
    }
    conversation(&messages)
}

enum Record<'a> {
    Alert(AlertDescription),
    Handshake(&'a [u8]),
    Strange,
    Warning,
}

/// The first record and what follows it (RFC 5246 section 6.2.1).
fn record(heard: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (head, rest) = heard.split_at_checked(5)?;
    let &[kind, major, _, high, low] = head else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if major != 3 || length == 0 || length > LONGEST_RECORD {
        return Some((Record::Strange, rest));
    }
    let (body, rest) = rest.split_at_checked(length)?;
    let record = match (kind, body) {
        // A warning (unrecognised name, say) is followed by the hello.
        (ALERT, [1, _]) => Record::Warning,
        (ALERT, [2, alert]) => Record::Alert(AlertDescription::from(*alert)),
        (HANDSHAKE, part) => Record::Handshake(part),
        _ => Record::Strange,
    };
    Some((record, rest))
}

/// What the handshake messages until now say (RFC 5246 section 7.4).
fn conversation(mut messages: &[u8]) -> Option<Heard> {
    let mut chosen = None;
    loop {
        let (head, rest) = messages.split_at_checked(4)?;
        let length = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        let (body, rest) = rest.split_at_checked(length)?;
        messages = rest;
        match (head[0], chosen) {
            (HELLO_REQUEST, _) => {}
            (SERVER_HELLO, None) => match server_hello(body) {
                Some(hello) => chosen = Some(hello),
                None => return Some(Heard::Nothing),
            },
            (CERTIFICATE, Some((version, suite))) => {
                let chain = certificates(body).unwrap_or_default();
                return Some(Heard::Hello { version, suite, chain });
            }
            // It goes on without one.
            (_, Some((version, suite))) => {
                return Some(Heard::Hello { version, suite, chain: Vec::new() });
            }
            (_, None) => return Some(Heard::Nothing),
        }
    }
}

/// Version and cipher suite.
fn server_hello(body: &[u8]) -> Option<(u16, u16)> {
    let (version, rest) = number(body)?;
    let session = usize::from(*rest.get(32)?);
    let (suite, _) = number(rest.get(33 + session..)?)?;
    Some((version, suite))
}

fn certificates(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut rest, _) = counted(body)?;
    let mut chain = Vec::new();
    while !rest.is_empty() {
        let (certificate, more) = counted(rest)?;
        chain.push(certificate.to_vec());
        rest = more;
    }
    Some(chain)
}

/// Bytes after their length in three bytes, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(3)?;
    let length =
        usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
    rest.split_at_checked(length)
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_at_checked(2)?;
    Some((u16::from_be_bytes([number[0], number[1]]), rest))
}

/// A ClientHello (RFC 5246 section 7.4.1.2) in a record of TLS 1.0, as everybody sends it.
fn hello(highest: u16, sni: Option<&str>, key: Option<KeyFamily>) -> Vec<u8> {
    let mut random = [0; 32];
    // What is never used to derive a key need not be random, only different.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let suites = SUITES.iter().filter(|(_, family, _)| key.is_none_or(|k| *family == k));
    let suites: Vec<u16> = suites.map(|(code, ..)| *code).collect();
    let schemes = SCHEMES.iter().filter(|(family, _)| key.is_none_or(|k| *family == k));
    let schemes: Vec<u16> = schemes.flat_map(|(_, schemes)| schemes.iter().copied()).collect();
    let mut extensions = Vec::new();
    if let Some(sni) = sni {
        let name = [&[0][..], &sized(sni.as_bytes())].concat();
        extensions.extend(extension(0, &sized(&name)));
    }
    extensions.extend(extension(10, &sized(&numbers(&GROUPS))));
    // Points in uncompressed form only (RFC 8422 section 5.1.2).
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &sized(&numbers(&schemes))));
    let body = [
        &highest.to_be_bytes()[..],
        &random,
        // No session to go on with; no compression.
        &[0],
        &sized(&numbers(&[&suites[..], &[RENEGOTIATION_INFO]].concat())),
        &[1, 0],
        &sized(&extensions),
    ]
    .concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &sized(&message)].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(body)].concat()
}

/// Bytes after their length in two bytes; what we send is never longer than that can say.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a hello of ours is short");
    [&length.to_be_bytes()[..], bytes].concat()
}

fn numbers(list: &[u16]) -> Vec<u8> {
    list.iter().flat_map(|number| number.to_be_bytes()).collect()
}

const TLS_1_1: u16 = 0x0302;
const TLS_1_2: u16 = 0x0303;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const HELLO_REQUEST: u8 = 0;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;

/// Most bytes that are read: a chain longer than that is none.
const MOST: usize = 128 * 1024;

/// RFC 5246 section 6.2.3.
const LONGEST_RECORD: usize = (1 << 14) + 2048;

/// The alerts `user_canceled` and `close_notify`, as warnings (RFC 5246 section 7.2).
const LEAVE: [u8; 14] = [21, 3, 1, 0, 2, 1, 90, 21, 3, 1, 0, 2, 1, 0];

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 section 3.3).
const RENEGOTIATION_INFO: u16 = 0x00ff;

/// What is offered, for which kind of key, and its name in OpenSSL: ECDHE with GCM, CBC and RC4;
/// DHE; RSA key exchange.
const SUITES: [(u16, KeyFamily, &str); 36] = [
    (0xc02b, KeyFamily::Ecdsa, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (0xc02c, KeyFamily::Ecdsa, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (0xc023, KeyFamily::Ecdsa, "ECDHE-ECDSA-AES128-SHA256"),
    (0xc024, KeyFamily::Ecdsa, "ECDHE-ECDSA-AES256-SHA384"),
    (0xc009, KeyFamily::Ecdsa, "ECDHE-ECDSA-AES128-SHA"),
    (0xc00a, KeyFamily::Ecdsa, "ECDHE-ECDSA-AES256-SHA"),
    (0xc008, KeyFamily::Ecdsa, "ECDHE-ECDSA-DES-CBC3-SHA"),
    (0xc007, KeyFamily::Ecdsa, "ECDHE-ECDSA-RC4-SHA"),
    (0xc02f, KeyFamily::Rsa, "ECDHE-RSA-AES128-GCM-SHA256"),
    (0xc030, KeyFamily::Rsa, "ECDHE-RSA-AES256-GCM-SHA384"),
    (0xc027, KeyFamily::Rsa, "ECDHE-RSA-AES128-SHA256"),
    (0xc028, KeyFamily::Rsa, "ECDHE-RSA-AES256-SHA384"),
    (0xc013, KeyFamily::Rsa, "ECDHE-RSA-AES128-SHA"),
    (0xc014, KeyFamily::Rsa, "ECDHE-RSA-AES256-SHA"),
    (0xc012, KeyFamily::Rsa, "ECDHE-RSA-DES-CBC3-SHA"),
    (0xc011, KeyFamily::Rsa, "ECDHE-RSA-RC4-SHA"),
    (0x009e, KeyFamily::Rsa, "DHE-RSA-AES128-GCM-SHA256"),
    (0x009f, KeyFamily::Rsa, "DHE-RSA-AES256-GCM-SHA384"),
    (0x0067, KeyFamily::Rsa, "DHE-RSA-AES128-SHA256"),
    (0x006b, KeyFamily::Rsa, "DHE-RSA-AES256-SHA256"),
    (0x0033, KeyFamily::Rsa, "DHE-RSA-AES128-SHA"),
    (0x0039, KeyFamily::Rsa, "DHE-RSA-AES256-SHA"),
    (0x0045, KeyFamily::Rsa, "DHE-RSA-CAMELLIA128-SHA"),
    (0x0088, KeyFamily::Rsa, "DHE-RSA-CAMELLIA256-SHA"),
    (0x0016, KeyFamily::Rsa, "DHE-RSA-DES-CBC3-SHA"),
    (0x009c, KeyFamily::Rsa, "AES128-GCM-SHA256"),
    (0x009d, KeyFamily::Rsa, "AES256-GCM-SHA384"),
    (0x003c, KeyFamily::Rsa, "AES128-SHA256"),
    (0x003d, KeyFamily::Rsa, "AES256-SHA256"),
    (0x002f, KeyFamily::Rsa, "AES128-SHA"),
    (0x0035, KeyFamily::Rsa, "AES256-SHA"),
    (0x0041, KeyFamily::Rsa, "CAMELLIA128-SHA"),
    (0x0084, KeyFamily::Rsa, "CAMELLIA256-SHA"),
    (0x000a, KeyFamily::Rsa, "DES-CBC3-SHA"),
    (0x0005, KeyFamily::Rsa, "RC4-SHA"),
    (0x0004, KeyFamily::Rsa, "RC4-MD5"),
];

/// Signatures, SHA-1 and MD5 included: nothing is verified here.
const SCHEMES: [(KeyFamily, &[u16]); 2] = [
    (KeyFamily::Ecdsa, &[0x0403, 0x0503, 0x0603, 0x0303, 0x0203]),
    (KeyFamily::Rsa, &[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0301, 0x0201, 0x0101]),
];

/// X25519, P-256, P-384, P-521, P-224, the Brainpool curves, and ffdhe2048 to 4096.
const GROUPS: [u16; 11] =
    [0x001d, 0x0017, 0x0018, 0x0019, 0x0015, 0x001a, 0x001b, 0x001c, 0x0100, 0x0101, 0x0102];

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 0][..], &sized(body)].concat()
    }

    fn in_record(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 3, 1][..], &sized(body)].concat()
    }

    fn server_hello_of(version: u16, suite: u16) -> Vec<u8> {
        let random = [7; 32];
        let body =
            [&version.to_be_bytes()[..], &random, &[4, 1, 2, 3, 4], &suite.to_be_bytes(), &[0]];
        message(SERVER_HELLO, &body.concat())
    }

    fn certificate_of(chain: &[&[u8]]) -> Vec<u8> {
        let list: Vec<u8> = chain.iter().flat_map(|der| [&[0][..], &sized(der)].concat()).collect();
        message(CERTIFICATE, &[&[0][..], &sized(&list)].concat())
    }

    async fn heard(answer: &[u8]) -> Heard {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        look(&mut ours, Some("pbx.example"), None).await.unwrap()
    }

    #[test]
    fn the_hello_is_read_by_another_tls_as_it_was_meant() {
        for (key, rsa, ecdsa) in [
            (None, true, true),
            (Some(KeyFamily::Rsa), true, false),
            (Some(KeyFamily::Ecdsa), false, true),
        ] {
            let bytes = hello(TLS_1_2, Some("pbx.example"), key);
            let mut acceptor = rustls::server::Acceptor::default();
            acceptor.read_tls(&mut &bytes[..]).unwrap();
            let accepted = acceptor.accept().ok().flatten().expect("a whole hello");
            let hello = accepted.client_hello();
            assert_eq!(hello.server_name(), Some("pbx.example"));
            let offers = |suite| hello.cipher_suites().contains(&rustls::CipherSuite::from(suite));
            assert_eq!((offers(0x002f), offers(0xc009)), (rsa, ecdsa));
            let knows = |scheme| hello.signature_schemes().contains(&scheme);
            assert_eq!(knows(rustls::SignatureScheme::RSA_PKCS1_SHA1), rsa);
            assert_eq!(knows(rustls::SignatureScheme::ECDSA_NISTP256_SHA256), ecdsa);
        }
        assert!(hello(TLS_1_2, None, None).len() < hello(TLS_1_2, Some("a"), None).len());
    }

    #[tokio::test]
    async fn hello_and_certificate_are_read_however_they_are_cut() {
        let messages =
            [server_hello_of(0x0301, 0x002f), certificate_of(&[b"leaf", b"issuer"])].concat();
        let wanted = Heard::Hello {
            version: 0x0301,
            suite: 0x002f,
            chain: vec![b"leaf".to_vec(), b"issuer".to_vec()],
        };
        assert_eq!(heard(&in_record(HANDSHAKE, &messages)).await, wanted);
        let single: Vec<u8> =
            messages.chunks(1).flat_map(|byte| in_record(HANDSHAKE, byte)).collect();
        assert_eq!(heard(&single).await, wanted);
        let warned = [in_record(ALERT, &[1, 112]), in_record(HANDSHAKE, &messages)].concat();
        assert_eq!(heard(&warned).await, wanted);
        let spoken = spoken(0x0301, 0x002f);
        assert_eq!(spoken, "it speaks TLS 1.0 with AES128-SHA");
        assert!(is_beyond_us(0x0301, 0xc02f) && is_beyond_us(0x0303, 0x002f));
        assert!(!is_beyond_us(0x0303, 0xc02f));
    }

    #[tokio::test]
    async fn refusals_and_anonymous_servers_are_told() {
        assert_eq!(
            heard(&in_record(ALERT, &[2, 70])).await,
            Heard::Refused(AlertDescription::ProtocolVersion)
        );
        let anonymous = [server_hello_of(0x0303, 0x0034), message(12, b"parameters")].concat();
        let Heard::Hello { suite, chain, .. } = heard(&in_record(HANDSHAKE, &anonymous)).await
        else {
            panic!("the hello is lost");
        };
        assert_eq!((suite, chain.len()), (0x0034, 0));
    }

    #[tokio::test]
    async fn what_is_no_answer_is_nothing_and_does_not_go_on_for_ever() {
        let lying = message(CERTIFICATE, &[0xff; 3]);
        let lying = [server_hello_of(0x0301, 0x002f), lying].concat();
        for answer in [
            &b""[..],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            &[22, 3, 1, 0xff, 0xff],
            &[22, 3, 1, 0, 4, 2, 0xff, 0xff, 0xff],
            &in_record(HANDSHAKE, &message(SERVER_HELLO, b"short")),
            &in_record(HANDSHAKE, &certificate_of(&[b"before the hello"])),
            // A message that claims 16 MiB and keeps coming.
            &[
                &in_record(HANDSHAKE, &[2, 0xff, 0xff, 0xff])[..],
                &in_record(HANDSHAKE, &[0; 16384]).repeat(10),
            ]
            .concat(),
        ] {
            assert_eq!(
                heard(answer).await,
                Heard::Nothing,
                "{:?}",
                &answer[..answer.len().min(20)]
            );
        }
        let Heard::Hello { chain, .. } = heard(&in_record(HANDSHAKE, &lying)).await else {
            panic!("the hello is lost");
        };
        assert!(chain.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, kind in 20_u8..24) {
            let _ = understand(&bytes);
            let body = &bytes[..bytes.len().min(60000)];
            let _ = understand(&in_record(kind, body));
            let _ = understand(&in_record(HANDSHAKE, &[server_hello_of(0x301, 5), bytes].concat()));
        }
    }
}
