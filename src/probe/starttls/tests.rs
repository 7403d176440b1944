use std::time::Duration;

use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;

const PROTOCOLS: [Protocol; 5] = [
    Protocol::ImapStarttls,
    Protocol::LdapStarttls,
    Protocol::Pop3Starttls,
    Protocol::SmtpStarttls,
    Protocol::XmppStarttls,
];

const FEATURES: &str = "<?xml version='1.0'?><stream:stream id='1' version='1.0' \
     xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:features>\
     <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
const LDAP_OK: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";

/// Turns of a conversation: what the server says first, and after each thing that it hears.
fn good(protocol: Protocol) -> Vec<&'static [u8]> {
    match protocol {
        Protocol::ImapStarttls => vec![
            b"* OK ready\r\n",
            b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK done\r\n",
            b"b OK begin\r\n",
        ],
        Protocol::LdapStarttls => vec![b"", LDAP_OK],
        Protocol::Pop3Starttls => vec![b"+OK ready\r\n", b"+OK begin\r\n"],
        Protocol::SmtpStarttls => vec![
            b"220-mail.example\r\n220 ESMTP\r\n",
            b"250-mail.example\r\n250-PIPELINING\r\n250-starttls\r\n250 8BITMIME\r\n",
            b"220 2.0.0 Ready\r\n",
        ],
        Protocol::XmppStarttls => {
            vec![b"", FEATURES.as_bytes(), b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"]
        }
        _ => unreachable!("these have no STARTTLS"),
    }
}

fn local() -> SocketAddr {
    "127.0.0.1:40000".parse().unwrap()
}

/// What comes of talking with a server that says `turns` and then ends, and what it heard.
async fn with(protocol: Protocol, turns: &[&[u8]]) -> (Result<(), Error>, Vec<String>) {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 21);
    let asked = async {
        let outcome = talk(&mut ours, protocol, "pbx.example", local()).await;
        drop(ours);
        outcome
    };
    tokio::join!(asked, serve(&mut theirs, turns))
}

async fn serve(stream: &mut DuplexStream, turns: &[&[u8]]) -> Vec<String> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    for (turn, said) in turns.iter().enumerate() {
        if turn > 0 {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return heard,
                Ok(count) => heard.push(String::from_utf8_lossy(&buffer[..count]).into_owned()),
            }
        }
        if stream.write_all(said).await.is_err() {
            return heard;
        }
    }
    let _ = stream.shutdown().await;
    heard
}

#[tokio::test]
async fn each_protocol_reaches_the_point_where_tls_begins() {
    for protocol in PROTOCOLS {
        let (outcome, heard) = with(protocol, &good(protocol)).await;
        outcome.unwrap_or_else(|e| panic!("{protocol}: {e}"));
        match protocol {
            Protocol::SmtpStarttls => {
                assert_eq!(heard, ["EHLO [127.0.0.1]\r\n", "STARTTLS\r\n"]);
            }
            Protocol::XmppStarttls => {
                assert!(heard[0].contains("to='pbx.example'"), "{heard:?}");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_proceed_may_be_written_at_length() {
    let long = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>";
    let (outcome, _) = with(Protocol::XmppStarttls, &[b"", FEATURES.as_bytes(), long]).await;
    outcome.unwrap();
}

#[tokio::test]
async fn answers_may_come_byte_by_byte() {
    for protocol in PROTOCOLS {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let asked = talk(&mut ours, protocol, "pbx.example", local());
        let served = async {
            let mut buffer = [0; 4096];
            for (turn, said) in good(protocol).iter().enumerate() {
                if turn > 0 && theirs.read(&mut buffer).await.unwrap() == 0 {
                    return;
                }
                for byte in *said {
                    theirs.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        };
        let (outcome, ()) = tokio::join!(asked, served);
        outcome.unwrap_or_else(|e| panic!("{protocol}: {e}"));
    }
}

#[tokio::test]
async fn words_put_in_before_tls_are_refused() {
    for protocol in PROTOCOLS {
        let mut turns: Vec<Vec<u8>> = good(protocol).into_iter().map(<[u8]>::to_vec).collect();
        turns.last_mut().unwrap().extend_from_slice(b"250 injected\r\n");
        let turns: Vec<&[u8]> = turns.iter().map(Vec::as_slice).collect();
        let error = with(protocol, &turns).await.0.unwrap_err();
        assert!(matches!(&error, Error::Injected(said) if said == "250 injected"), "{error}");
    }
}

#[tokio::test]
async fn an_end_at_each_step_is_an_end() {
    for protocol in PROTOCOLS {
        let turns = good(protocol);
        for kept in 0..turns.len() {
            let error = with(protocol, &turns[..kept]).await.0.unwrap_err();
            // A side that is gone may show in reading or in writing.
            assert!(matches!(error, Error::Closed | Error::Io(_)), "{protocol} {kept}: {error}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_or_not_offered_is_said() {
    let refused: [(Protocol, &[&[u8]], &str); 9] = [
        (Protocol::SmtpStarttls, &[b"554 go away\r\n"], "refuses STARTTLS: \"554 go away\""),
        (Protocol::SmtpStarttls, &[b"220 x\r\n", b"250-x\r\n250 HELP\r\n"], "does not offer"),
        (
            Protocol::SmtpStarttls,
            &[b"220 x\r\n", b"250 STARTTLS\r\n", b"454 TLS not available\r\n"],
            "refuses STARTTLS: \"454 TLS not available\"",
        ),
        (Protocol::ImapStarttls, &[b"* BYE busy\r\n"], "refuses STARTTLS: \"* BYE busy\""),
        (
            Protocol::ImapStarttls,
            &[b"* OK x\r\n", b"* CAPABILITY IMAP4rev1\r\na OK\r\n"],
            "does not offer",
        ),
        (
            Protocol::ImapStarttls,
            &[b"* OK x\r\n", b"* CAPABILITY STARTTLS\r\na OK\r\n", b"b NO later\r\n"],
            "refuses STARTTLS: \"b NO later\"",
        ),
        (
            Protocol::Pop3Starttls,
            &[b"+OK x\r\n", b"-ERR unknown\r\n"],
            "refuses STARTTLS: \"-ERR unknown\"",
        ),
        (
            Protocol::XmppStarttls,
            &[b"", b"<stream:stream><stream:features></stream:features>"],
            "does not offer",
        ),
        (
            Protocol::LdapStarttls,
            &[b"", b"\x30\x0e\x02\x01\x01\x78\x09\x0a\x01\x02\x04\x00\x04\x02no"],
            "refuses STARTTLS: \"result code 2 no\"",
        ),
    ];
    for (protocol, turns, said) in refused {
        let error = with(protocol, turns).await.0.unwrap_err().to_string();
        assert!(error.contains(said), "{protocol}: {error}");
    }
    let lost = b"<stream:stream><stream:error><host-unknown/></stream:error></stream:stream>";
    let error = with(Protocol::XmppStarttls, &[b"", lost]).await.0.unwrap_err();
    assert!(error.to_string().contains("host-unknown"), "{error}");
    let failure = b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let turns: [&[u8]; 3] = [b"", FEATURES.as_bytes(), failure];
    let error = with(Protocol::XmppStarttls, &turns).await.0.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
}

#[tokio::test]
async fn another_protocol_is_told_from_the_one_asked_for() {
    for protocol in PROTOCOLS {
        let http: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        let error = with(protocol, &[http]).await.0.unwrap_err();
        assert!(matches!(error, Error::NotSpoken { .. }), "{protocol}: {error}");
        let error = with(protocol, &[b"\x15\x03\x03\x00\x02\x02\x0a"]).await.0.unwrap_err();
        assert!(matches!(error, Error::Tls), "{protocol}: {error}");
    }
}

#[tokio::test]
async fn nobody_is_listened_to_for_ever() {
    let line = vec![b'x'; 1 << 20];
    let banner = b"220-hello\r\n".repeat(100_000);
    let untagged = [&b"* OK x\r\n"[..], &b"* OK still here\r\n".repeat(80_000)].concat();
    let spaces = [&b"<stream:stream>"[..], &vec![b' '; 1 << 20]].concat();
    let ldap = [&b"\x30\x84\x7f\xff\xff\xff"[..], &vec![0; 1 << 20]].concat();
    for (protocol, said) in [
        (Protocol::SmtpStarttls, &line),
        (Protocol::SmtpStarttls, &banner),
        (Protocol::ImapStarttls, &line),
        (Protocol::ImapStarttls, &untagged),
        (Protocol::Pop3Starttls, &line),
        (Protocol::XmppStarttls, &spaces),
        (Protocol::LdapStarttls, &ldap),
    ] {
        let error = with(protocol, &[said]).await.0.unwrap_err();
        assert!(matches!(error, Error::TooMuch), "{protocol}: {error}");
        assert!(error.to_string().contains("64 KiB"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a stranger says, cut or changed anywhere: an answer, and at once.
    #[test]
    fn no_stranger_makes_it_panic_or_wait(
        which in 0_usize..5,
        noise: Vec<u8>,
        at in 0_usize..200,
        turn in 0_usize..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let protocol = PROTOCOLS[which];
            let mut turns: Vec<Vec<u8>> = good(protocol).iter().map(|t| t.to_vec()).collect();
            let turn = turn.min(turns.len() - 1);
            let at = at.min(turns[turn].len());
            turns[turn].splice(at.., noise);
            turns.truncate(turn + 1);
            let turns: Vec<&[u8]> = turns.iter().map(Vec::as_slice).collect();
            let limit = Duration::from_secs(20);
            let _ = tokio::time::timeout(limit, with(protocol, &turns)).await.expect("it ends");
        });
    }
}
