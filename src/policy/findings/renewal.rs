//! The CA does not give a new certificate: what that means, and the ways out.

use super::Case;
use crate::config::Source;
use crate::state::{Condition, Failure, FailureClass, Finding, Next, Quote};

impl Case<'_> {
    pub(super) fn renewal(&self, failure: &Failure) -> Finding {
        let names = self.first_name();
        let title = match &self.seen.newest {
            Some(_) => format!("no renewal of {names}"),
            None => format!("no certificate for {names}"),
        };
        let backoff = &self.seen.state.backoff;
        let tries = match backoff.failures {
            0 | 1 => String::new(),
            tries => format!("; {tries} tries failed so far"),
        };
        let text = format!("{}{tries}", self.without_quote(failure));
        let mut finding =
            Finding::new(Condition::Renewal, &self.spec.name, self.severity(), title, text);
        finding.class = Some(failure.class);
        finding.since = Some(backoff.since.unwrap_or(failure.at));
        finding.seen_at = Some(failure.at);
        finding.consequence = Some(self.who_stops("stay without a certificate"));
        finding.ways = self.ways_out(failure);
        finding.next =
            backoff.retry_at.map(|at| Next { what: "the next try".to_owned(), at: Some(at) });
        finding.quote = failure.detail.clone().map(|words| Quote { who: self.ca(), words });
        self.with_life(finding)
    }

    /// The CA's words stand last and alone.
    fn without_quote(&self, failure: &Failure) -> String {
        let Some(detail) = &failure.detail else { return failure.text.clone() };
        let text = failure.text.replace(detail.as_str(), "");
        text.trim().trim_end_matches([':', ';', ',', '"']).trim_end().to_owned()
    }

    /// What can be done, the likeliest first.
    fn ways_out(&self, failure: &Failure) -> Vec<String> {
        let name = &self.spec.name;
        let check = format!("then check: pbxcert preflight {name}");
        let address = self.spec.identifiers.first().map(ToString::to_string).unwrap_or_default();
        let mut ways = match (failure.problem.as_deref(), failure.class) {
            (Some("connection" | "tls"), _) => vec![
                format!(
                    "open TCP port 80 of {address} from everywhere to this host in the firewall \
                     (country blocks also count); {check}"
                ),
                format!(
                    "correct the A and AAAA records of {address}, if they lead elsewhere; {check}"
                ),
            ],
            (Some("dns" | "dnssec"), _) => {
                vec![format!("correct the A and AAAA records of {address}; {check}")]
            }
            (Some("caa"), _) => vec![format!(
                "allow this CA in the CAA record of {address} (or of its parent domain); {check}"
            )],
            (Some("unauthorized" | "incorrectResponse"), _) => vec![format!(
                "lead http://{address}/.well-known/acme-challenge/ to this host: another machine \
                 or web server answers there; {check}"
            )],
            (Some("externalAccountRequired"), _) => {
                vec![
                    "set eab of the issuer in pbxcert.toml; then: systemctl reload pbxcert"
                        .to_owned(),
                ]
            }
            (_, FailureClass::RateLimited) => {
                vec!["nothing: the CA said when to come back".to_owned()]
            }
            (_, FailureClass::Person) => vec![format!(
                "correct what the CA objects to (its words are below); then: pbxcert renew {name}"
            )],
            (_, FailureClass::Validation) => vec![format!(
                "see what the CA meets at http://{address}/ from outside: pbxcert preflight {name}"
            )],
            (_, FailureClass::Transient) => vec![format!(
                "see whether this host reaches the CA: pbxcert renew {name} --dry-run"
            )],
        };
        if self.spec.source != Source::Acme {
            ways.extend(self.upload());
        }
        ways
    }
}
