//! The questions that an upload is asked.

use std::time::Duration;

use super::facts::plain;
use super::pick::at_fault;
use super::{
    Candidate, Case, Check, Facts, Judgement, KeyPlace, Outcome, Trust, UploadedCertificate,
    Verdict, candidates, words,
};
use crate::cert::bundle::names;
use crate::cert::{Identifier, Leaf};
use crate::config::Source;
use crate::policy::schedule::{WEEK, date};

/// What is to become of an upload. Of several certificates with their keys the best is judged:
/// one without a fault first, then one that is trusted, then the one that ends last.
pub fn judge(case: &Case<'_>) -> Judgement {
    let candidates = candidates(case.upload, case.ours);
    let mut judged: Vec<(Candidate, Vec<Check>)> =
        candidates.into_iter().map(|candidate| (candidate, case.checks(candidate))).collect();
    judged.sort_by_key(|(candidate, checks)| {
        let ends = case.leaf(*candidate).validity.not_after;
        (failures(checks).count(), case.distrust(*candidate), std::cmp::Reverse(ends))
    });
    let several = judged.len() > 1;
    let Some((candidate, checks)) = judged.into_iter().next() else {
        return case.without_a_pair();
    };
    if failures(&checks).next().is_some() {
        let sentences = failures(&checks).map(|check| check.text.clone()).collect();
        let (verdict, unused) = (Verdict::Refuse(sentences), Vec::new());
        return Judgement { checks, verdict, remarks: case.problems_of(|_| true), unused };
    }
    let leaf = case.leaf(candidate);
    let already = case.already(candidate);
    let text = match already {
        Some(number) => words::already_live(&shown(leaf), number),
        None => words::accepted(&shown(leaf), leaf.validity.not_after, &case.key(candidate)),
    };
    let unused = case.unused(candidate);
    // What is wrong with a file that is not needed is told with that file.
    let mut remarks = case.problems_of(|place| unused.iter().all(|(at, _)| *at != place));
    let warnings = checks.iter().filter(|check| check.outcome == Outcome::Warning);
    remarks.extend(warnings.map(|check| check.text.clone()));
    if several {
        remarks.push(words::another_is_better(&shown(leaf), leaf.validity.not_after));
    }
    let verdict = Verdict::Accept { candidate, already, text };
    Judgement { checks, verdict, remarks, unused }
}

impl Case<'_> {
    pub(super) fn found(&self, candidate: Candidate) -> &UploadedCertificate {
        &self.upload.certificates[candidate.certificate]
    }

    pub(super) fn leaf(&self, candidate: Candidate) -> &Leaf {
        &self.found(candidate).facts.leaf
    }

    /// Less is better: trusted, trusted by nobody, not followed.
    pub(super) fn distrust(&self, candidate: Candidate) -> u8 {
        match self.trust.get(&candidate.certificate).map(|trust| &trust.now) {
            Some(Ok(())) => 0,
            Some(Err(_)) => 1,
            None => 2,
        }
    }

    /// Every question about a certificate with its key.
    pub(super) fn checks(&self, candidate: Candidate) -> Vec<Check> {
        let found = self.found(candidate);
        let mut checks = vec![ok("private key", self.key(candidate))];
        checks.extend(self.own_checks(found));
        checks.push(self.trusted(candidate, &checks));
        checks.push(self.ends_later(candidate));
        checks.push(self.keeps_names(candidate));
        checks
    }

    /// Questions that a certificate answers alone.
    pub(super) fn own_checks(&self, found: &UploadedCertificate) -> Vec<Check> {
        let facts = &found.facts;
        vec![
            self.of_a_server(found),
            self.dates(&facts.leaf),
            self.names(&facts.leaf),
            self.key_length(facts),
            signature(facts),
            for_servers(&facts.leaf),
        ]
    }

    fn of_a_server(&self, found: &UploadedCertificate) -> Check {
        const NAME: &str = "server certificate";
        let facts = &found.facts;
        if !facts.leaf.is_ca {
            return ok(NAME, format!("for {}", shown(&facts.leaf)));
        }
        let file = self.upload.named(&found.files);
        let self_made = facts.self_issued && self.missing(&facts.leaf).is_empty();
        fail(NAME, words::ca(&file, &facts.subject, &self.wanted(), self_made))
    }

    fn dates(&self, leaf: &Leaf) -> Check {
        const NAME: &str = "dates";
        let validity = leaf.validity;
        if self.now < validity.not_before {
            return fail(NAME, words::not_yet_valid(&shown(leaf), validity.not_before, self.now));
        }
        if self.now > validity.not_after {
            return fail(NAME, words::expired(&shown(leaf), validity.not_after, self.now));
        }
        ok(NAME, format!("{} to {}", date(validity.not_before), date(validity.not_after)))
    }

    fn names(&self, leaf: &Leaf) -> Check {
        const NAME: &str = "names";
        let missing = self.missing(leaf);
        if missing.is_empty() {
            return ok(NAME, format!("{}: all there", self.wanted()));
        }
        let held = list(leaf.identifiers.iter());
        fail(NAME, words::names_missing(&list(missing), &held, &self.spec.name))
    }

    fn missing(&self, leaf: &Leaf) -> Vec<&Identifier> {
        let wanted = self.spec.identifiers.iter();
        wanted.filter(|name| !leaf.identifiers.iter().any(|held| held.covers(name))).collect()
    }

    fn key_length(&self, facts: &Facts) -> Check {
        const NAME: &str = "key length";
        match facts.rsa_bits {
            Some(bits) if bits < SHORTEST_RSA => {
                let whose = format!("the certificate for {}", shown(&facts.leaf));
                fail(NAME, words::rsa_too_small(&whose, bits, &self.spec.name))
            }
            Some(bits) => ok(NAME, format!("RSA, {bits} bits")),
            None => ok(
                NAME,
                facts.leaf.key.map_or_else(|| facts.curve(), |kind| kind.word()).to_owned(),
            ),
        }
    }

    /// Not asked of a certificate with a fault of its own, which would only be told twice.
    fn trusted(&self, candidate: Candidate, before: &[Check]) -> Check {
        const NAME: &str = "trusted chain";
        let not_asked = |text: String| Check { name: NAME, outcome: Outcome::NotAsked, text };
        if at_fault(before) {
            return not_asked("the certificate itself has to be mended first".to_owned());
        }
        // Whoever asks follows the best of them. What was not followed is not taken.
        let Some(trust) = self.trust.get(&candidate.certificate) else {
            return fail(NAME, words::too_many_pairs(&shown(self.leaf(candidate))));
        };
        if let Some(weak) = weak_in(&trust.chain) {
            return fail(NAME, weak);
        }
        match (&trust.now, &trust.at_end) {
            (Ok(()), Ok(())) => ok(NAME, "leads to a trusted root until its end".to_owned()),
            (Ok(()), Err(reason)) => {
                let text = format!(
                    "The chain is trusted now, but not until the certificate ends ({}): {}. Ask \
                     the CA for newer intermediate certificates before then.",
                    date(self.leaf(candidate).validity.not_after),
                    plain(reason)
                );
                Check { name: NAME, outcome: Outcome::Warning, text }
            }
            (Err(reason), _) if !self.must_be_trusted() => {
                let in_use = self.live.is_some_and(|live| !live.placeholder);
                let taken = words::taken_untrusted(in_use);
                let text = format!("{taken} {}", self.untrusted(trust, reason));
                Check { name: NAME, outcome: Outcome::Warning, text }
            }
            (Err(reason), _) if self.accept_worse => not_asked(format!(
                "it leads to no trusted root ({}); taken all the same (--accept-worse)",
                plain(reason)
            )),
            (Err(reason), _) => {
                let all_the_same = words::accept_worse(&self.spec.name);
                fail(NAME, format!("{} {all_the_same}", self.untrusted(trust, reason)))
            }
        }
    }

    fn must_be_trusted(&self) -> bool {
        self.spec.source == Source::Auto || self.live.is_some_and(|live| live.trusted)
    }

    fn untrusted(&self, trust: &Trust, reason: &str) -> String {
        let name = &self.spec.name;
        match &trust.missing {
            Some(missing) => {
                let addresses: Vec<String> = missing.addresses.iter().map(|a| plain(a)).collect();
                let fetches = self.spec.upload.fetch_intermediates;
                let not_fetched = trust.not_fetched.as_deref().map(plain);
                let issuer = plain(&missing.issuer);
                words::intermediate_missing(
                    &issuer,
                    &addresses,
                    fetches,
                    not_fetched.as_deref(),
                    name,
                )
            }
            None => words::untrusted(&plain(reason), name),
        }
    }

    fn ends_later(&self, candidate: Candidate) -> Check {
        const NAME: &str = "not before the one in use";
        let ends = self.leaf(candidate).validity.not_after;
        match self.worth_keeping(candidate) {
            Err(why) => Check { name: NAME, outcome: Outcome::NotAsked, text: why },
            Ok(live) if ends < live.leaf.validity.not_after => {
                let live_ends = live.leaf.validity.not_after;
                fail(NAME, words::ends_earlier(ends, &live.what, live_ends, &self.spec.name))
            }
            Ok(live) => {
                ok(NAME, format!("that one ends at {}", date(live.leaf.validity.not_after)))
            }
        }
    }

    fn keeps_names(&self, candidate: Candidate) -> Check {
        const NAME: &str = "names of the one in use";
        let live = match self.worth_keeping(candidate) {
            Err(why) => return Check { name: NAME, outcome: Outcome::NotAsked, text: why },
            Ok(live) => live,
        };
        let held = &self.leaf(candidate).identifiers;
        let kept = |name: &&Identifier| held.iter().any(|h| h.covers(name) || h == *name);
        let lost: Vec<&Identifier> =
            live.leaf.identifiers.iter().filter(|name| !kept(name)).collect();
        if lost.is_empty() {
            return ok(NAME, "all kept".to_owned());
        }
        fail(NAME, words::loses_names(&list(lost), &live.what, &self.spec.name))
    }

    /// The certificate in use, when an upload that is worse than it would do harm.
    fn worth_keeping(&self, candidate: Candidate) -> Result<&super::Live, String> {
        let Some(live) = self.live else { return Err("nothing is in use yet".to_owned()) };
        let validity = live.leaf.validity;
        if live.placeholder {
            return Err("the one in use is only a placeholder".to_owned());
        }
        if live.revoked {
            return Err("the one in use was revoked by its CA".to_owned());
        }
        if self.now > validity.not_after {
            return Err(format!("the one in use expired at {}", date(validity.not_after)));
        }
        if validity.left(self.now) < LITTLE_LEFT {
            return Err(format!("the one in use ends soon, at {}", date(validity.not_after)));
        }
        let trusted = self.trust.get(&candidate.certificate).is_some_and(|t| t.now.is_ok());
        if trusted && !live.trusted {
            return Err("the one in use is trusted by nobody".to_owned());
        }
        if self.accept_worse {
            return Err("worse is right this time (--accept-worse)".to_owned());
        }
        Ok(live)
    }

    /// The number of the newest revision, when that is exactly this.
    fn already(&self, candidate: Candidate) -> Option<u64> {
        let newest = self.newest?;
        let same_chain = self.trust.get(&candidate.certificate)?.chain == newest.chain;
        (newest.fingerprint == self.leaf(candidate).fingerprint && same_chain)
            .then_some(newest.number)
    }

    /// Whose key it is, as it stands in "with ...".
    fn key(&self, candidate: Candidate) -> String {
        match candidate.key {
            KeyPlace::Ours(place) => {
                let from = self.ours.get(place).map_or("this host", |key| key.from.as_str());
                format!("the key of {from}")
            }
            KeyPlace::Uploaded(place) => {
                let files = self.upload.keys.get(place).map(|key| key.files.as_slice());
                format!("the key in {}", self.upload.named(files.unwrap_or_default()))
            }
        }
    }

    pub(super) fn wanted(&self) -> String {
        list(self.spec.identifiers.iter())
    }

    /// What could not be read in these files, for people.
    pub(super) fn problems_of(&self, wanted: impl Fn(usize) -> bool) -> Vec<String> {
        let problems = self.upload.problems.iter().filter(|(place, _)| wanted(*place));
        problems
            .map(|(place, text)| words::unreadable(&self.upload.named(&[*place]), text))
            .collect()
    }

    /// What a stray key belongs to.
    pub(super) fn fits(&self, public: &[u8]) -> Option<&str> {
        self.known.iter().find(|known| known.public == public).map(|known| known.what.as_str())
    }

    /// Files that have no part in what is taken, and why.
    fn unused(&self, taken: Candidate) -> Vec<(usize, String)> {
        let upload = self.upload;
        let mut used: Vec<usize> = self.found(taken).files.clone();
        if let KeyPlace::Uploaded(place) = taken.key {
            used.extend(&upload.keys[place].files);
        }
        for certificate in upload.certificates.iter().filter(|c| c.facts.leaf.is_ca) {
            used.extend(&certificate.files);
        }
        let mut unused = Vec::new();
        for place in (0..upload.files.len()).filter(|place| !used.contains(place)) {
            let problem = upload.problems.iter().find(|(at, _)| *at == place);
            let key = upload.keys.iter().find(|key| key.files.contains(&place));
            let other = upload.certificates.iter().find(|c| c.files.contains(&place));
            let why = match (other, key, problem) {
                (Some(other), _, _) => words::not_taken_beside(&shown(&other.facts.leaf)),
                (None, Some(key), _) => {
                    let public = key.key.public();
                    let beside = upload.certificates.iter().find(|c| c.facts.public == public);
                    let beside =
                        beside.map(|c| words::the_other_certificate(&upload.named(&c.files)));
                    words::key_not_taken(beside.as_deref().or(self.fits(public)))
                }
                (None, None, Some((_, problem))) => problem.clone(),
                (None, None, None) => words::NOTHING_IN_IT.to_owned(),
            };
            unused.push((place, why));
        }
        unused
    }
}

fn signature(facts: &Facts) -> Check {
    const NAME: &str = "signature";
    match facts.weak_hash {
        Some(hash) => {
            let whose = format!("the certificate for {}", shown(&facts.leaf));
            fail(NAME, words::weak_signature(&whose, hash))
        }
        None => ok(NAME, "made with a hash that is trusted".to_owned()),
    }
}

fn for_servers(leaf: &Leaf) -> Check {
    const NAME: &str = "made for servers";
    // Of a CA's certificate something else has to be said.
    if leaf.server_auth || leaf.is_ca {
        return ok(NAME, "serverAuth".to_owned());
    }
    fail(NAME, words::not_for_servers(&shown(leaf)))
}

/// The sentence about an intermediate that nobody trusts because of its signature.
fn weak_in(chain: &[rustls::pki_types::CertificateDer<'static>]) -> Option<String> {
    let facts = chain.iter().skip(1).filter_map(|der| Facts::read(der).ok());
    let (subject, hash) =
        facts.filter(|f| !f.self_issued).find_map(|f| Some((f.subject.clone(), f.weak_hash?)))?;
    Some(words::weak_signature(&format!("the certificate of the CA {subject}"), hash))
}

pub(super) fn failures(checks: &[Check]) -> impl Iterator<Item = &Check> {
    checks.iter().filter(|check| check.outcome == Outcome::Fail)
}

fn ok(name: &'static str, text: String) -> Check {
    Check { name, outcome: Outcome::Ok, text }
}

pub(super) fn fail(name: &'static str, text: String) -> Check {
    Check { name, outcome: Outcome::Fail, text }
}

pub(super) fn shown(leaf: &Leaf) -> String {
    plain(&names(leaf))
}

fn list<'a>(names: impl IntoIterator<Item = &'a Identifier>) -> String {
    names.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The CA/Browser Forum's baseline requirements, section 6.1.5.
const SHORTEST_RSA: usize = 2048;

/// With so little left anything that works is better.
const LITTLE_LEFT: Duration = Duration::from_secs(2 * WEEK.as_secs());
