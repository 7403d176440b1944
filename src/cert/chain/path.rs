//! The search for the best way up, bounded.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::is_self_issued;

/// A way upwards from the leaf.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// Places in `known`, from below.
    pub(super) steps: Vec<usize>,
    /// There is nothing above that could be fetched: a root is reached, or known and nobody's.
    pub(super) ends: bool,
    /// One of the roots made one of these, or the leaf.
    to_root: bool,
    /// Every certificate of it is valid now.
    valid: bool,
}

impl Way {
    /// Better is greater.
    fn worth(&self) -> (bool, bool, usize) {
        (
            self.to_root && self.valid,
            self.to_root,
            if self.valid { self.steps.len() + 1 } else { 0 },
        )
    }
}

/// What is known, read once.
pub(super) struct Search<'a> {
    known: Vec<Option<X509Certificate<'a>>>,
    roots: Vec<X509Certificate<'a>>,
    now: Timestamp,
    /// Signatures that may still be checked.
    checks: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        known: &'a [CertificateDer<'static>],
        roots: &'a [CertificateDer<'static>],
        now: Timestamp,
    ) -> Self {
        let read = |der: &'a CertificateDer<'static>| X509Certificate::from_der(der).ok();
        Self {
            known: known.iter().map(|der| read(der).map(|(_, c)| c)).collect(),
            roots: roots.iter().filter_map(|der| read(der).map(|(_, c)| c)).collect(),
            now,
            checks: MOST_CHECKS,
        }
    }

    /// The best way up from `leaf`.
    pub(super) fn best(&mut self, leaf: &X509Certificate<'_>) -> Way {
        let start = Way { valid: true, ..Way::default() };
        let mut best = start.clone();
        self.climb(leaf, start, &mut best);
        best
    }

    fn climb(&mut self, child: &X509Certificate<'_>, way: Way, best: &mut Way) {
        let mut here = way.clone();
        // What was reached below stays reached.
        here.to_root |= self.made_by_root(child);
        let (parents, own_root) = self.parents(child, &way.steps);
        here.ends = here.to_root || own_root;
        let reached = here.to_root;
        // The first of equals stays: what was uploaded stands before what was known.
        if here.worth() > best.worth() || best.steps.is_empty() && here.steps.is_empty() {
            *best = here;
        }
        if way.steps.len() == LONGEST {
            return;
        }
        for place in parents {
            let Some(parent) = self.known[place].clone() else { continue };
            let mut longer = Way { to_root: reached, ..way.clone() };
            longer.steps.push(place);
            longer.valid &= self.is_valid(&parent);
            self.climb(&parent, longer, best);
        }
    }

    /// Who of the known ones may have made `child`, the likeliest first; and whether the one that
    /// did is a root, which is never served.
    fn parents(&mut self, child: &X509Certificate<'_>, steps: &[usize]) -> (Vec<usize>, bool) {
        let mut found: Vec<(bool, bool, usize)> = Vec::new();
        let mut own_root = false;
        for place in 0..self.known.len() {
            let Some(parent) = &self.known[place] else { continue };
            if parent.subject().as_raw() != child.issuer().as_raw()
                || parent.public_key().raw == child.public_key().raw
            {
                continue;
            }
            // A cross-sign of one that is on the way already leads back, not up.
            let is = |step: &usize| {
                self.known[*step].as_ref().is_some_and(|on_the_way| {
                    on_the_way.public_key().raw == parent.public_key().raw
                        && on_the_way.subject().as_raw() == parent.subject().as_raw()
                })
            };
            let twin = found.iter().any(|(_, _, other)| {
                self.known[*other].as_ref().is_some_and(|o| o.as_raw() == parent.as_raw())
            });
            if steps.iter().any(is) || twin {
                continue;
            }
            let root = is_self_issued(parent);
            if !root && !parent.is_ca() || !signed(child, parent, &mut self.checks) {
                continue;
            }
            if root {
                own_root = true;
            } else {
                found.push((!keys_fit(child, parent), !self.is_valid(parent), place));
            }
        }
        found.sort_unstable();
        (found.into_iter().map(|(_, _, place)| place).collect(), own_root)
    }

    fn made_by_root(&mut self, child: &X509Certificate<'_>) -> bool {
        let Self { roots, checks, .. } = self;
        roots.iter().any(|root| {
            root.subject().as_raw() == child.issuer().as_raw() && signed(child, root, checks)
        })
    }

    fn is_valid(&self, certificate: &X509Certificate<'_>) -> bool {
        let (validity, now) = (certificate.validity(), self.now.as_second());
        validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp()
    }
}

fn signed(child: &X509Certificate<'_>, parent: &X509Certificate<'_>, checks: &mut usize) -> bool {
    if *checks == 0 {
        return false;
    }
    *checks -= 1;
    child.verify_signature(Some(parent.public_key())).is_ok()
}

/// Authority and subject key identifier (RFC 5280 sections 4.2.1.1 and 4.2.1.2) are a hint only:
/// some CAs get them wrong, and the signature has been checked.
fn keys_fit(child: &X509Certificate<'_>, parent: &X509Certificate<'_>) -> bool {
    let authority = child.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    let subject = parent.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    authority.zip(subject).is_none_or(|(authority, subject)| authority == subject)
}

/// Signatures that are checked for one chain: far more than any honest mix of bundles needs.
const MOST_CHECKS: usize = 100;

/// Intermediates of one chain.
const LONGEST: usize = 8;
