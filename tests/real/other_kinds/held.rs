//! A client that stays connected while certificates change.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use super::super::tls;

/// What a client says: something at the beginning, which may be answered, and later a question.
#[derive(Clone, Copy)]
pub struct Talk {
    hello: &'static [u8],
    greeting: &'static [u8],
    question: &'static [u8],
    answer: &'static [u8],
}

impl Talk {
    /// A request of which the end is missing.
    pub const HTTP: Self = Self {
        hello: b"GET / HTTP/1.1\r\nHost: pbx.test\r\n",
        greeting: b"",
        question: b"\r\n",
        answer: b"HTTP/1.",
    };
    pub const SMTP: Self =
        Self { hello: b"", greeting: b"220 ", question: b"NOOP\r\n", answer: b"250 " };
    pub const IMAP: Self =
        Self { hello: b"", greeting: b"* OK", question: b"a NOOP\r\n", answer: b"a OK" };
    /// To `localhost`.
    pub const XMPP: Self = Self {
        hello: b"<stream:stream xmlns='jabber:client' version='1.0' to='localhost' \
                 xmlns:stream='http://etherx.jabber.org/streams'>",
        greeting: b"<stream:",
        question: b"</stream:stream>",
        answer: b"</stream:stream>",
    };
    /// The same to `pbx.test`.
    pub const XMPP_OF_PBX: Self = Self {
        hello: b"<stream:stream xmlns='jabber:client' version='1.0' to='pbx.test' \
                 xmlns:stream='http://etherx.jabber.org/streams'>",
        ..Self::XMPP
    };
    /// CONNECT as `x`, answered by CONNACK; PINGREQ and PINGRESP.
    pub const MQTT: Self = Self {
        hello: b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x",
        greeting: b"\x20\x02",
        question: b"\xc0\x00",
        answer: b"\xd0\x00",
    };
    /// An anonymous bind, twice, with its answer: success.
    pub const LDAP: Self = Self {
        hello: b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00",
        greeting: b"\x61\x07\x0a\x01\x00",
        question: b"\x30\x0c\x02\x01\x02\x60\x07\x02\x01\x03\x04\x00\x80\x00",
        answer: b"\x02\x01\x02\x61\x07\x0a\x01\x00",
    };
}

/// A client in the middle of its talk.
pub struct Held {
    stream: tls::Stream,
    talk: Talk,
}

impl Held {
    /// Connects and says hello.
    pub fn open(address: SocketAddr, name: &str, talk: Talk) -> Self {
        let mut stream = tls::open(address, name).unwrap();
        stream.write_all(talk.hello).unwrap();
        let mut held = Self { stream, talk };
        held.hears(talk.greeting).unwrap();
        held
    }

    /// Whether it is still answered.
    pub fn is_answered(&mut self) -> Result<(), String> {
        self.stream.write_all(self.talk.question).map_err(|e| e.to_string())?;
        self.hears(self.talk.answer)
    }

    fn hears(&mut self, wanted: &[u8]) -> Result<(), String> {
        let (mut heard, mut some) = (Vec::new(), [0; 4096]);
        while !wanted.is_empty() && !heard.windows(wanted.len()).any(|w| w == wanted) {
            match self.stream.read(&mut some) {
                Ok(0) => return Err(format!("closed after {heard:?}")),
                Ok(count) => heard.extend_from_slice(&some[..count]),
                Err(e) => return Err(format!("{e} after {heard:?}")),
            }
        }
        Ok(())
    }
}
