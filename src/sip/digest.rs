//! Digest authentication as SIP uses it (RFC 3261 section 22.4, RFC 8760). No crate that is well
//! kept speaks it without a second provider of randomness and an HTTP client around it.

use aws_lc_rs::digest::{self, SHA256, SHA512_256};
use md5::Digest as _;

/// What a server wants to be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Challenge {
    pub(super) realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// The word of the algorithm as it was sent; `None` when there was none.
    word: Option<String>,
    session: bool,
    /// `qop=auth` is offered; without it the answer is that of RFC 2069.
    auth: bool,
    /// The answer was right, but for an old nonce.
    pub(super) stale: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Algorithm {
    Md5,
    Sha256,
    Sha512Of256,
}

/// What is asked, and by whom.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    /// Our own random number.
    pub(super) cnonce: &'a str,
}

impl Challenge {
    /// Reads the value of `WWW-Authenticate` or `Proxy-Authenticate`; `None` where it is nothing
    /// that we could answer.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let parameters = parameters(rest);
        let find = |name: &str| {
            parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
        };
        let word = find("algorithm");
        let upper = word.as_deref().unwrap_or("MD5").to_ascii_uppercase();
        let (plain, session) = match upper.strip_suffix("-SESS") {
            Some(plain) => (plain, true),
            None => (upper.as_str(), false),
        };
        let algorithm = match plain {
            "MD5" => Algorithm::Md5,
            "SHA-256" => Algorithm::Sha256,
            "SHA-512-256" => Algorithm::Sha512Of256,
            _ => return None,
        };
        let qop = find("qop");
        let auth = qop
            .as_deref()
            .is_some_and(|list| list.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth")));
        if qop.is_some() && !auth {
            return None;
        }
        Some(Self {
            realm: find("realm")?,
            nonce: find("nonce")?,
            opaque: find("opaque"),
            algorithm,
            word,
            session,
            auth,
            stale: find("stale").is_some_and(|v| v.eq_ignore_ascii_case("true")),
        })
    }

    /// The value of `Authorization` or `Proxy-Authorization`.
    pub(super) fn answer(&self, asker: Asker<'_>) -> String {
        let Asker { user, uri, cnonce, .. } = asker;
        let mut fields = vec![
            format!("username=\"{}\"", user.replace('\\', "\\\\").replace('"', "\\\"")),
            format!("realm=\"{}\"", self.realm),
            format!("nonce=\"{}\"", self.nonce),
            format!("uri=\"{uri}\""),
            format!("response=\"{}\"", self.response(asker)),
        ];
        fields.extend(self.word.as_ref().map(|word| format!("algorithm={word}")));
        if self.auth {
            fields.push(format!("qop=auth, nc={FIRST}"));
        }
        if self.auth || self.session {
            fields.push(format!("cnonce=\"{cnonce}\""));
        }
        fields.extend(self.opaque.as_ref().map(|opaque| format!("opaque=\"{opaque}\"")));
        format!("Digest {}", fields.join(", "))
    }

    /// RFC 7616 section 3.4.1; without qop RFC 2617 section 3.2.2.1.
    fn response(&self, asker: Asker<'_>) -> String {
        let Asker { user, password, method, uri, cnonce } = asker;
        let (realm, nonce) = (&self.realm, &self.nonce);
        let hash = |text: String| self.algorithm.hash(&text);
        let mut secret = hash(format!("{user}:{realm}:{password}"));
        if self.session {
            secret = hash(format!("{secret}:{nonce}:{cnonce}"));
        }
        let request = hash(format!("{method}:{uri}"));
        if self.auth {
            hash(format!("{secret}:{nonce}:{FIRST}:{cnonce}:auth:{request}"))
        } else {
            hash(format!("{secret}:{nonce}:{request}"))
        }
    }
}

impl Algorithm {
    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => crate::cert::hex(&md5::Md5::digest(text)),
            Self::Sha256 => crate::cert::hex(digest::digest(&SHA256, text.as_bytes()).as_ref()),
            Self::Sha512Of256 => {
                crate::cert::hex(digest::digest(&SHA512_256, text.as_bytes()).as_ref())
            }
        }
    }
}

/// Every nonce is used once.
const FIRST: &str = "00000001";

/// `name=value` or `name="value"`, separated by commas. Quoted text is kept as it was sent: it is
/// hashed and sent back that way.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = closing(quoted);
                (&quoted[..end], quoted.get(end + 1..).unwrap_or_default())
            }
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim_end(), &after[end..])
            }
        };
        found.push((name.trim().to_owned(), value.to_owned()));
        rest = next.trim_start_matches([' ', '\t', ',']);
    }
    found
}

/// Where the quoted text ends: at the first quote that no backslash escapes.
fn closing(quoted: &str) -> usize {
    let mut escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            '"' if !escaped => return at,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    quoted.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(challenge: &str, asker: Asker<'_>) -> String {
        let answer = Challenge::parse(challenge).unwrap().answer(asker);
        let (_, rest) = answer.split_once("response=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// RFC 7616 section 3.9.1.
    const MUFASA: Asker<'_> = Asker {
        user: "Mufasa",
        password: "Circle of Life",
        method: "GET",
        uri: "/dir/index.html",
        cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    };

    #[test]
    fn the_example_of_rfc_7616_is_answered_with_md5_and_sha_256() {
        let challenge = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        };
        assert_eq!(response(&challenge("MD5"), MUFASA), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            response(&challenge("SHA-256"), MUFASA),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        let answer = Challenge::parse(&challenge("SHA-256")).unwrap().answer(MUFASA);
        for part in [
            "username=\"Mufasa\"",
            "algorithm=SHA-256",
            "qop=auth, nc=00000001",
            "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
        ] {
            assert!(answer.contains(part), "{answer} lacks {part}");
        }
    }

    #[test]
    fn the_example_of_rfc_2617_is_answered_and_so_is_its_predecessor_without_qop() {
        let asker = Asker { password: "Circle Of Life", cnonce: "0a4f113b", ..MUFASA };
        let challenge = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                         nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        assert_eq!(response(challenge, asker), "6629fae49393a05397450978507c4ef1");
        let old = challenge.replace("qop=\"auth,auth-int\", ", "");
        // Not in the RFC: `printf HA1:nonce:HA2 | md5sum` of the same values.
        assert_eq!(response(&old, asker), "670fd8c2df070c60b045671b8b24ff02");
        let answer = Challenge::parse(&old).unwrap().answer(asker);
        assert!(!answer.contains("qop") && !answer.contains("cnonce"), "{answer}");
    }

    #[test]
    fn what_cannot_be_answered_is_no_challenge() {
        for value in [
            "Basic realm=\"x\"",
            "Digest realm=\"x\"",
            "Digest nonce=\"x\"",
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA-1",
            "Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\"",
            "Digest",
            "",
        ] {
            assert_eq!(Challenge::parse(value), None, "{value}");
        }
    }

    #[test]
    fn quotes_commas_and_ends_that_are_missing_are_survived() {
        let challenge =
            Challenge::parse("digest realm=\"a, \\\"b\\\"\",nonce=n ,stale=TRUE, opaque=\"open")
                .unwrap();
        assert_eq!(challenge.realm, "a, \\\"b\\\"");
        assert_eq!(challenge.nonce, "n");
        assert_eq!(challenge.opaque.as_deref(), Some("open"));
        assert!(challenge.stale);
    }
}
