//! Which certificates have their key, and whose chains are to be followed.

use std::cmp::Reverse;

use super::judge::failures;
use super::{Candidate, Case, Check, KeyPlace, OurKey, Upload};

/// The candidates whose chains decide something, the one that ends last first: one with a fault of
/// its own is not taken, wherever it leads.
pub fn to_follow(case: &Case<'_>) -> Vec<Candidate> {
    let mut found: Vec<(usize, Candidate)> = candidates(case.upload, case.ours)
        .into_iter()
        .map(|candidate| (candidate, case.own_checks(case.found(candidate))))
        .filter(|(_, own)| !at_fault(own))
        .map(|(candidate, own)| (failures(&own).count(), candidate))
        .collect();
    let ends = |candidate: &Candidate| case.leaf(*candidate).validity.not_after;
    found.sort_by_key(|(faults, candidate)| (*faults, Reverse(ends(candidate))));
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// No candidate that comes after this one in [`to_follow`] can be better.
pub fn is_best(case: &Case<'_>, candidate: Candidate) -> bool {
    case.distrust(candidate) == 0 && failures(&case.checks(candidate)).next().is_none()
}

/// A certificate with such a fault is of no use, wherever its chain leads.
pub(super) fn at_fault(own: &[Check]) -> bool {
    failures(own).any(|check| check.name != "names")
}

/// The certificates that are a server's and have their key, uploaded or ours; when there is none,
/// those of a CA that lie beside their own key.
pub fn candidates(upload: &Upload, ours: &[OurKey]) -> Vec<Candidate> {
    let key = |public: &[u8]| {
        let uploaded = upload.keys.iter().position(|k| k.key.public() == public);
        let ours = || ours.iter().position(|k| k.key.public() == public);
        uploaded.map(KeyPlace::Uploaded).or_else(|| ours().map(KeyPlace::Ours))
    };
    let pairs = upload.certificates.iter().enumerate().filter_map(|(certificate, found)| {
        Some(Candidate { certificate, key: key(&found.facts.public)? })
    });
    let is_ca = |candidate: &Candidate| upload.certificates[candidate.certificate].facts.leaf.is_ca;
    let (cas, servers): (Vec<Candidate>, Vec<Candidate>) = pairs.partition(is_ca);
    if !servers.is_empty() {
        return servers;
    }
    // Beside the certificate of a server, that of a CA is no more than its chain.
    let server_there = upload.certificates.iter().any(|c| !c.facts.leaf.is_ca);
    let own = |candidate: &Candidate| matches!(candidate.key, KeyPlace::Uploaded(_));
    if server_there { Vec::new() } else { cas.into_iter().filter(own).collect() }
}
