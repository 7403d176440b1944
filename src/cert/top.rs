//! The upper end of a chain: who made its last certificate.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::hex;

/// The upper end of a chain as it was shown, without the root itself, which clients have already.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Top {
    /// How many certificates lead up to the root, the leaf among them.
    pub length: usize,
    /// The distinguished name of who made the last one.
    pub issuer: String,
    /// The key of who made the last one (its authority key identifier), in lower-case hex.
    #[serde(default)]
    pub authority_key: Option<String>,
    /// When the first of the intermediates ends; `None` without any.
    #[serde(default)]
    pub ends: Option<Timestamp>,
    /// The leaf was signed by itself.
    #[serde(default)]
    pub self_signed: bool,
}

/// What a client has in its list of roots, as a chain speaks of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RootName {
    /// The distinguished name.
    pub subject: String,
    /// The subject key identifier in lower-case hex.
    pub key: Option<String>,
}

impl Top {
    /// Follows the chain from its first certificate upwards as far as it goes, whatever else was
    /// shown with it; `None` when that one cannot be read.
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let read: Vec<X509Certificate<'_>> = chain
            .iter()
            .map_while(|der| X509Certificate::from_der(der).ok().map(|(_, read)| read))
            .collect();
        let leaf = read.first()?;
        let mut way = vec![leaf];
        while let Some(last) = way.last().copied()
            && !is_self_issued(last)
            && let Some(parent) = read.iter().find(|candidate| {
                candidate.subject().as_raw() == last.issuer().as_raw()
                    && !is_self_issued(candidate)
                    && way.iter().all(|there| there.as_raw() != candidate.as_raw())
            })
        {
            way.push(parent);
        }
        let last = *way.last()?;
        let ends = way.iter().skip(1).map(|c| c.validity().not_after.timestamp()).min();
        Some(Self {
            length: way.len(),
            issuer: last.issuer().to_string(),
            authority_key: authority_key(last),
            ends: ends.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            self_signed: is_self_issued(leaf),
        })
    }

    /// Whether two chains lead to the same root: its key decides where both name it (a name may be
    /// given to a new key, and a key may be certified anew), else its name.
    pub fn same_root(&self, other: &Self) -> bool {
        match (&self.authority_key, &other.authority_key) {
            (Some(one), Some(other)) => one == other,
            _ => self.issuer == other.issuer,
        }
    }

    /// Whether one of these made the last certificate.
    pub fn leads_to(&self, roots: &[RootName]) -> bool {
        let made = |root: &RootName| {
            root.subject == self.issuer
                && match (&root.key, &self.authority_key) {
                    (Some(one), Some(other)) => one == other,
                    _ => true,
                }
        };
        roots.iter().any(made)
    }
}

impl RootName {
    /// Reads it from a root; `None` when that cannot be read.
    pub fn of(root: &CertificateDer<'_>) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(root).ok()?;
        let key = read.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(hex(key.0)),
            _ => None,
        });
        Some(Self { subject: read.subject().to_string(), key })
    }
}

fn authority_key(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(key) => {
            key.key_identifier.as_ref().map(|id| hex(id.0))
        }
        _ => None,
    })
}

fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == certificate.subject().as_raw()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use rustls::pki_types::CertificateDer;

    use super::*;

    type Made = (CertificateDer<'static>, Issuer<'static, KeyPair>);

    fn make(name: &str, by: Option<&Issuer<'static, KeyPair>>) -> Made {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        let der = match by {
            Some(by) => params.signed_by(&key, by).unwrap().der().clone(),
            None => params.self_signed(&key).unwrap().der().clone(),
        };
        (der, Issuer::new(params, key))
    }

    fn der(made: &Made) -> CertificateDer<'static> {
        made.0.clone()
    }

    #[test]
    fn the_root_is_the_same_whether_it_is_shown_or_not_and_through_another_intermediate() {
        let root = make("root", None);
        let (ten, eleven) = (make("R10", Some(&root.1)), make("R11", Some(&root.1)));
        let (one, two) = (make("pbx", Some(&ten.1)), make("pbx", Some(&eleven.1)));
        let old = Top::of(&[der(&one), der(&ten)]).unwrap();
        let new = Top::of(&[der(&two), der(&eleven), der(&root)]).unwrap();
        assert_eq!((old.length, new.length), (2, 2), "a root that is shown counts for nothing");
        assert_eq!((old.issuer.as_str(), &old.issuer), ("CN=root", &new.issuer));
        assert!(old.same_root(&new) && !old.self_signed);
        assert!(old.leads_to(&[RootName::of(&root.0).unwrap()]));
        let namesake = make("root", None);
        assert!(!old.leads_to(&[RootName::of(&namesake.0).unwrap()]), "another key");
        let other = make("pbx", Some(&namesake.1));
        assert!(!old.same_root(&Top::of(&[der(&other)]).unwrap()), "the same name, another key");
    }

    #[test]
    fn strangers_and_another_order_change_nothing_and_a_self_signed_leaf_is_one() {
        let root = make("root", None);
        let first = make("one", Some(&root.1));
        let second = make("two", Some(&first.1));
        let leaf = make("pbx", Some(&second.1));
        let stranger = make("stranger", Some(&make("elsewhere", None).1));
        let straight = Top::of(&[der(&leaf), der(&second), der(&first)]).unwrap();
        let mixed = Top::of(&[der(&leaf), der(&stranger), der(&first), der(&second)]).unwrap();
        assert_eq!(straight, mixed);
        assert_eq!((straight.length, straight.issuer.as_str()), (3, "CN=root"));
        let alone = Top::of(&[der(&root)]).unwrap();
        assert!(alone.self_signed && alone.ends.is_none());
        assert_eq!(Top::of(&[CertificateDer::from(vec![1, 2, 3])]), None);
        assert_eq!(Top::of(&[]), None);
    }
}
