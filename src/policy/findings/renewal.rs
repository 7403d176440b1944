//! The CA does not give a new certificate: what that means, and the ways out.

use super::Case;
use crate::config::Source;
use crate::config::ca::Authority;
use crate::policy::reach::is_usable;
use crate::state::reach::{Evidence, Witness};
use crate::state::{Condition, Failure, FailureClass, Finding, Next, Quote};

/// What is in the way of a new certificate.
pub(super) struct Trouble {
    /// In one sentence, without the CA's words.
    pub(super) text: String,
    /// What can be done, the likeliest first; without the upload.
    pub(super) ways: Vec<String>,
    /// What the CA says.
    pub(super) quote: Option<Quote>,
}

impl Case<'_> {
    pub(super) fn renewal(&self, failure: &Failure) -> Finding {
        let names = self.first_name();
        let (title, over) = match &self.seen.newest {
            Some(_) => (format!("no renewal of {names}"), format!("renewed: {names}")),
            None => (format!("no certificate for {names}"), format!("issued: {names}")),
        };
        let backoff = &self.seen.state.backoff;
        let trouble = self.failed(failure);
        let mut finding =
            Finding::new(Condition::Renewal, &self.spec.name, self.severity(), title, trouble.text);
        finding.over = Some(over);
        finding.class = Some(failure.class);
        finding.since = Some(backoff.since.unwrap_or(failure.at));
        finding.seen_at = Some(failure.at);
        finding.tries = Some(backoff.failures);
        finding.consequence = Some(self.who_stops("stay without a certificate"));
        finding.ways = trouble.ways;
        finding.next =
            backoff.retry_at.map(|at| Next { what: "the next try".to_owned(), at: Some(at) });
        finding.quote = trouble.quote;
        self.for_upload(self.with_life(finding))
    }

    /// Manual mode: the certificate comes to its end, and why no other one comes.
    pub(super) fn without_ca(&self) -> Finding {
        let trouble = self.trouble();
        let title = match is_usable(self.seen.certificate(), self.now) {
            true => format!("no renewal of {}", self.first_name()),
            false => format!("no certificate for {}", self.first_name()),
        };
        let mut finding =
            Finding::new(Condition::Expiry, &self.spec.name, self.severity(), title, trouble.text);
        finding.over = Some(format!("renewed: {}", self.first_name()));
        finding.since = self.seen.state.reach.since;
        finding.consequence = Some(self.who_stops("stay without a certificate"));
        finding.ways = trouble.ways;
        finding.next = self.next_look();
        finding.quote = trouble.quote;
        self.for_upload(self.with_life(finding))
    }

    /// Manual mode: what is in the way, as it was last seen.
    pub(super) fn trouble(&self) -> Trouble {
        let reach = &self.seen.state.reach;
        let against = || reach.evidence.iter().rev().filter(|found| !found.reaches);
        match against().find(|found| found.witness > Witness::Local).or_else(|| against().next()) {
            Some(found) => self.out_of_reach(found),
            None => {
                Trouble { text: reach.reason.clone(), ways: vec![self.look_again()], quote: None }
            }
        }
    }

    fn failed(&self, failure: &Failure) -> Trouble {
        // The same look of the CA, in the operator's words.
        let same = |found: &&Evidence| {
            !found.reaches && failure.problem.as_deref() == Some(found.kind.as_str())
        };
        if let Some(found) = self.seen.state.reach.last_asked().filter(same) {
            return self.out_of_reach(found);
        }
        let name = &self.spec.name;
        let ways = match (failure.problem.as_deref(), failure.class) {
            (Some(kind), _) if self.is_in_the_way(kind) => self.ways_to_here(kind),
            (Some("externalAccountRequired"), _) => vec![
                "set eab of the issuer in pbxcert.toml; then: systemctl reload pbxcert".to_owned(),
            ],
            (_, FailureClass::RateLimited) => {
                vec!["nothing: the CA said when to come back".to_owned()]
            }
            (_, FailureClass::Person) => vec![format!(
                "correct what the CA objects to (its words are below); then: pbxcert renew {name}"
            )],
            (_, FailureClass::Validation) => vec![format!(
                "see what the CA meets at http://{}/ from outside: pbxcert preflight {name}",
                self.first_name()
            )],
            (_, FailureClass::Transient) => vec![format!(
                "wait; if it goes on, see whether this host reaches the CA: pbxcert renew {name} \
                 --dry-run"
            )],
        };
        let quote = failure.detail.clone().map(|words| Quote { who: self.ca(), words });
        Trouble { text: self.without_quote(failure), ways, quote }
    }

    /// What the CA, or this host, found to be in the way.
    fn out_of_reach(&self, found: &Evidence) -> Trouble {
        let (what, words) = match found.reason.split_once(" (\"") {
            Some((what, words)) => (what, Some(words.trim_end_matches(")").trim_end_matches('"'))),
            None => (found.reason.as_str(), None),
        };
        let mut text = format!("{what}{}", words.map(in_brief).unwrap_or_default());
        let here = self.seen.state.reach.here.as_ref();
        if found.kind == "connection" && here.is_some_and(|here| here.answers) {
            text.push_str("; on this host itself port 80 answers");
        }
        let hint = self.seen.state.reach.evidence.iter().rev();
        let hint = hint.take_while(|other| other.at >= found.at && *other != found).last();
        if let Some(hint) = hint.filter(|hint| !hint.reaches && hint.reason != found.reason) {
            text.push_str(&format!("; seen from this host: {}", hint.reason));
        }
        let quote = words.map(|words| Quote { who: self.ca(), words: words.to_owned() });
        Trouble { text, ways: self.ways_to_here(&found.kind), quote }
    }

    /// The CA's words stand last and alone.
    fn without_quote(&self, failure: &Failure) -> String {
        let Some(detail) = &failure.detail else { return failure.text.clone() };
        let text = failure.text.replace(detail.as_str(), "");
        text.trim().trim_end_matches([':', ';', ',', '"']).trim_end().to_owned()
    }

    fn is_in_the_way(&self, kind: &str) -> bool {
        ["connection", "tls", "dns", "dnssec", "caa", "unauthorized", "incorrectResponse"]
            .contains(&kind)
    }

    /// How the CA gets here, by the problem that it met.
    fn ways_to_here(&self, kind: &str) -> Vec<String> {
        let name = &self.spec.name;
        let check = format!("check: pbxcert preflight {name}");
        let address = self.first_name();
        let here = self.seen.state.reach.here.as_ref().and_then(|here| here.address);
        let here = here.map_or_else(|| "this host".to_owned(), |ip| ip.to_string());
        let records = format!(
            "if {address} leads elsewhere in the DNS, correct its A and AAAA records; {check}"
        );
        match kind {
            "connection" => vec![
                format!(
                    "open TCP 80 from everywhere to {here} in firewall and router (country blocks \
                     also count); {check}"
                ),
                records,
            ],
            "tls" => vec![format!(
                "answer http://{address}/.well-known/acme-challenge/ without leading on to https, \
                 or give https there a certificate; {check}"
            )],
            "dns" | "dnssec" => vec![format!(
                "correct the A and AAAA records of {address}, or its DNSSEC, where the zone is \
                 kept; {check}"
            )],
            "caa" => vec![match self.caa_identity() {
                Some(ca) => format!(
                    "allow this CA: add the record {address}. CAA 0 issue \"{ca}\" where the zone \
                     is kept; {check}"
                ),
                None => format!(
                    "allow this CA in the CAA record of {address} or its parent domain; {check}"
                ),
            }],
            "unauthorized" | "incorrectResponse" => vec![
                format!(
                    "another machine or web server answers there: lead \
                     http://{address}/.well-known/acme-challenge/ to {here}; {check}"
                ),
                records,
            ],
            _ => vec![self.look_again()],
        }
    }

    /// The domain by which CAA records call the CA.
    fn caa_identity(&self) -> Option<&'static str> {
        Authority::at(&self.about.issuer?.directory).map(|authority| authority.caa)
    }

    /// Where more is said of it.
    pub(super) fn look_again(&self) -> String {
        match self.spec.source {
            Source::Manual => format!("see what it waits for: pbxcert plan {}", self.spec.name),
            Source::Acme | Source::Auto => {
                format!(
                    "see what is in the way, and remove it: pbxcert preflight {}",
                    self.spec.name
                )
            }
        }
    }
}

/// The CA's words in one of ours, where that is enough.
fn in_brief(words: &str) -> &'static str {
    let words = words.to_ascii_lowercase();
    if words.contains("timeout") || words.contains("timed out") {
        " (timeout)"
    } else if words.contains("refused") {
        " (connection refused)"
    } else if words.contains("no route") || words.contains("unreachable") {
        " (no route)"
    } else {
        ""
    }
}
