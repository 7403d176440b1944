//! Will phones and trunks accept this certificate?
//!
//! Remarks, not refusals: a phone may have been taught more than the table knows. `strict-lint`
//! makes them a reason not to deploy by itself.

use std::fmt;

use serde::Serialize;

use crate::cert::{Identifier, KeyType, Leaf};
use crate::config::compatibility::Family;

/// A certificate as somebody who verifies it sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The leaf.
    pub leaf: &'a Leaf,
    /// How many certificates are shown, the leaf among them.
    pub chain_length: usize,
    /// The name of who made the last one that is shown.
    pub root: Option<&'a str>,
}

/// Something that somebody will stumble over.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remark {
    /// Who.
    pub who: String,
    /// Over what, and what to do.
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.text)
    }
}

/// What the clients of a service will stumble over. `domains` are the SIP domains that are called.
pub fn lint(seen: Seen<'_>, clients: &[Family], domains: &[Identifier]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for family in clients {
        let texts = [
            key(seen, family),
            common_name(seen, family),
            wildcard(seen, family),
            sip_domain(seen, family, domains),
            root(seen, family),
            client_auth(seen, family),
        ];
        let remark = |text| Remark { who: family.title.clone(), text };
        remarks.extend(texts.into_iter().flatten().map(remark));
    }
    remarks.extend(chain(seen));
    remarks
}

/// Who cannot speak with a server whose newest version of TLS is this one (`TLS 1.2`). That it speaks
/// older ones as well is not seen, so nothing is said of clients that need one.
pub fn versions(newest: &str, clients: &[Family]) -> Vec<Remark> {
    // SSL is older than any TLS, also by its name.
    let served = newest.strip_prefix("TLS ").unwrap_or_default();
    let remark = |family: &Family| {
        let oldest = family.tls.iter().min().filter(|oldest| served < oldest.as_str())?;
        let text = format!(
            "speaks TLS {oldest} and newer, and the server nothing newer than {newest}: switch \
             TLS {oldest} on in its configuration"
        );
        Some(Remark { who: family.title.clone(), text })
    };
    clients.iter().filter_map(remark).collect()
}

fn key(seen: Seen<'_>, family: &Family) -> Option<String> {
    let kind = match seen.leaf.key? {
        KeyType::EcdsaP256 | KeyType::EcdsaP384 => "ecdsa",
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => "rsa",
    };
    let takes = family.key.is_empty() || family.key.iter().any(|k| k == kind);
    (!takes).then(|| {
        let wants = family.key.join(" or ").to_uppercase();
        format!("takes {wants} keys only, and this is {}: key = \"rsa-2048\"", kind.to_uppercase())
    })
}

fn common_name(seen: Seen<'_>, family: &Family) -> Option<String> {
    let missing = seen.leaf.common_name.as_deref().is_none_or(str::is_empty);
    (family.common_name && missing).then(|| {
        "looks at the common name (CN), and there is none: ask the CA for a profile with one \
         (profile = \"classic\" at Let's Encrypt)"
            .to_owned()
    })
}

fn wildcard(seen: Seen<'_>, family: &Family) -> Option<String> {
    if family.wildcard != Some(false) {
        return None;
    }
    let wildcard = seen.leaf.identifiers.iter().find(|name| name.is_wildcard())?;
    Some(format!("does not accept {wildcard} (RFC 5922): name each host"))
}

fn sip_domain(seen: Seen<'_>, family: &Family, domains: &[Identifier]) -> Option<String> {
    if !family.sip_domain {
        return None;
    }
    // RFC 5922 section 7.2: no wildcard stands for a domain.
    let held = |domain: &Identifier| seen.leaf.identifiers.contains(domain);
    let missing = domains.iter().find(|domain| !held(domain))?;
    Some(format!("looks for the SIP domain {missing}, which is none of the names: add it to names"))
}

fn root(seen: Seen<'_>, family: &Family) -> Option<String> {
    let root = seen.root.filter(|_| !family.roots.is_empty())?;
    let known = |word: &String| root.to_lowercase().contains(&word.to_lowercase());
    (!family.roots.iter().any(known)).then(|| {
        format!(
            "knows {} out of the box, and the chain ends at {root}: load that root into the phones \
             before this goes in",
            family.roots.join(", ")
        )
    })
}

fn client_auth(seen: Seen<'_>, family: &Family) -> Option<String> {
    (family.client_auth && !seen.leaf.client_auth).then(|| {
        "asks for a client certificate, and this one is for servers only (public CAs give no other \
         since 2026): use one of the carrier's or of your own CA for the trunk"
            .to_owned()
    })
}

/// Small TLS stacks have small buffers.
fn chain(seen: Seen<'_>) -> Option<Remark> {
    (seen.chain_length > LONG_CHAIN).then(|| Remark {
        who: "Small phones".to_owned(),
        text: format!(
            "{} certificates are shown at each handshake; old ones have room for {LONG_CHAIN}",
            seen.chain_length
        ),
    })
}

/// Leaf and three intermediates: what the longest chain of Let's Encrypt has.
const LONG_CHAIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compatibility::families;
    use crate::policy::samples;

    fn family(name: &str) -> Vec<Family> {
        let found: Vec<Family> = families().into_iter().filter(|f| f.name == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found
    }

    fn said(leaf: &Leaf, name: &str) -> String {
        let seen = Seen { leaf, chain_length: 2, root: Some("CN=ISRG Root X1") };
        let domains = ["example.com".parse().unwrap()];
        let remarks = lint(seen, &family(name), &domains);
        remarks.into_iter().map(|r| format!("{} {}\n", r.who, r.text)).collect()
    }

    fn leaf() -> Leaf {
        let lifetime = std::time::Duration::from_secs(90 * 86_400);
        let mut leaf = samples::leaf("pbx.example.com", 1, jiff::Timestamp::UNIX_EPOCH, lifetime);
        leaf.identifiers = ["example.com", "pbx.example.com"].map(|n| n.parse().unwrap()).into();
        leaf.common_name = Some("example.com".to_owned());
        leaf.key = Some(KeyType::Rsa2048);
        leaf.client_auth = true;
        leaf
    }

    #[test]
    fn a_certificate_that_suits_everybody_gets_no_remark() {
        for family in families().iter().filter(|f| f.roots.is_empty()) {
            assert_eq!(said(&leaf(), &family.name), "", "{}", family.name);
        }
    }

    #[test]
    fn each_remark_says_who_stumbles_over_what_and_what_to_do() {
        let ecdsa = Leaf { key: Some(KeyType::EcdsaP256), ..leaf() };
        assert_eq!(
            said(&ecdsa, "freeswitch-1.10"),
            "FreeSWITCH 1.10.7 and older as a peer takes RSA keys only, and this is ECDSA: \
             key = \"rsa-2048\"\n"
        );
        let nameless = Leaf { common_name: None, ..leaf() };
        assert!(said(&nameless, "yealink-t4x").contains("common name (CN), and there is none"));
        let mut wild = leaf();
        wild.identifiers = ["*.example.com".parse().unwrap()].into();
        let remarks = said(&wild, "sip-proxy");
        assert!(remarks.contains("does not accept *.example.com (RFC 5922)"), "{remarks}");
        assert!(remarks.contains("looks for the SIP domain example.com"), "{remarks}");
        assert_eq!(said(&wild, "teams-direct-routing"), "");
        let server = Leaf { client_auth: false, ..leaf() };
        assert!(said(&server, "trunk-mutual").contains("for servers only"));
        let old = said(&leaf(), "aastra-6xxx");
        assert!(old.contains("the chain ends at CN=ISRG Root X1: load that root"), "{old}");
    }

    #[test]
    fn a_server_that_is_too_old_for_a_family_is_remarked_and_a_newer_one_is_not() {
        let teams = family("teams-direct-routing");
        for old in ["TLS 1.1", "TLS 1.0", "SSL 3.0"] {
            let said = versions(old, &teams);
            assert_eq!(said.len(), 1, "{old}");
            assert!(said[0].text.contains(&format!("nothing newer than {old}")), "{}", said[0]);
        }
        for new in ["TLS 1.2", "TLS 1.3"] {
            assert_eq!(versions(new, &teams), [], "{new}");
        }
        assert_eq!(versions("TLS 1.0", &family("snom")), [], "nothing is known of it");
    }

    #[test]
    fn a_chain_that_is_longer_than_any_public_one_is_remarked() {
        let leaf = leaf();
        let seen = |chain_length| Seen { leaf: &leaf, chain_length, root: None };
        assert_eq!(lint(seen(4), &[], &[]), []);
        assert_eq!(lint(seen(5), &[], &[]).len(), 1);
    }
}
