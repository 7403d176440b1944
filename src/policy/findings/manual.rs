//! What only a person can bring: manual mode, placeholders, certificates of somebody else.

use super::Case;
use crate::config::Source;
use crate::policy::reach::is_usable;
use crate::policy::schedule::date;
use crate::state::reach::Mode;
use crate::state::{Condition, Finding, Severity};

impl Case<'_> {
    /// That a person is waited for, and what for.
    pub(super) fn manual(&self) -> Vec<Finding> {
        self.placeholder().into_iter().chain(self.foreign()).chain(self.mode()).collect()
    }

    /// Nobody trusts it: told at once, for as long as it is served.
    fn placeholder(&self) -> Option<Finding> {
        let placeholder = self.seen.placeholder()?;
        if self.seen.foreign_in_service.is_some() {
            return None;
        }
        let text = format!(
            "a self-signed placeholder stands in for {}: services can start with it, but phones, \
             trunks and browsers do not trust it",
            self.names()
        );
        let title = format!("{} has only a placeholder", self.first_name());
        let mut finding =
            Finding::new(Condition::Placeholder, &self.spec.name, Severity::Critical, title, text);
        finding.since = Some(placeholder.committed_at);
        finding.consequence = Some(self.who_stops("cannot connect"));
        finding.ways = self.upload().into_iter().chain(self.request()).collect();
        Some(finding)
    }

    /// In order today, but nobody watches over it.
    fn foreign(&self) -> Option<Finding> {
        let foreign = self.seen.foreign_in_service.as_ref()?;
        if self.spec.source != Source::Manual || foreign.not_after < self.now {
            return None;
        }
        let text = format!(
            "{} serves a certificate from outside for {}, which ends at {} and is left alone",
            foreign.service,
            self.names(),
            date(foreign.not_after)
        );
        let title = format!("{} is not watched over", self.first_name());
        let mut finding =
            Finding::new(Condition::Drift, &self.spec.name, Severity::Warning, title, text);
        finding.by = Some(foreign.not_after);
        finding.consequence = Some(self.who_stops("stop"));
        finding.ways = self.upload().into_iter().collect();
        Some(finding)
    }

    /// The CA does not reach this host: what is in the way, and what to do meanwhile.
    fn mode(&self) -> Option<Finding> {
        let Mode::Manual { since, reason } = &self.seen.state.mode else { return None };
        if self.spec.source != Source::Auto {
            return None;
        }
        let usable = is_usable(self.seen.certificate(), self.now);
        let severity = if usable { Severity::Warning } else { Severity::Critical };
        let title = format!("{} needs uploads now", self.first_name());
        let text = format!("manual mode for {}, because {reason}", self.names());
        let mut finding = Finding::new(Condition::Mode, &self.spec.name, severity, title, text);
        finding.since = Some(*since);
        finding.consequence = Some("certificates are not renewed by themselves".to_owned());
        let name = &self.spec.name;
        finding.ways = vec![format!("see what is in the way: pbxcert preflight {name}")];
        finding.ways.extend(self.upload());
        finding.ways.extend(self.request());
        Some(finding)
    }

    /// Where the signing request is.
    fn request(&self) -> Option<String> {
        (self.spec.source != Source::Acme)
            .then(|| format!("have this request signed: pbxcert csr {}", self.spec.name))
    }
}
