//! What only a person can bring: manual mode and back, placeholders, certificates of somebody else,
//! and what became of an upload.

use super::Case;
use crate::config::Source;
use crate::policy::reach::is_usable;
use crate::policy::schedule::{WEEK, date, holds_until};
use crate::state::alert::Attachment;
use crate::state::reach::Mode;
use crate::state::upload::UploadOutcome;
use crate::state::{Condition, Finding, Next, Severity};

impl Case<'_> {
    /// That a person is waited for, and what for.
    pub(super) fn manual(&self) -> Vec<Finding> {
        let standing = self.placeholder().into_iter().chain(self.foreign());
        standing.chain(self.mode()).chain(self.uploaded()).collect()
    }

    /// A person has to bring the next one.
    pub(super) fn is_by_hand(&self) -> bool {
        super::is_by_hand(self.spec, self.seen)
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
        let title = format!("only a placeholder: {}", self.first_name());
        let mut finding =
            Finding::new(Condition::Placeholder, &self.spec.name, Severity::Critical, title, text);
        finding.since = Some(placeholder.committed_at);
        finding.over = Some(format!("real certificate in place: {}", self.first_name()));
        finding.consequence = Some(self.who_stops("cannot connect"));
        finding.ways = match self.spec.source {
            Source::Auto if self.is_by_hand() => self.trouble().ways,
            Source::Auto | Source::Acme => vec![self.look_again()],
            Source::Manual => Vec::new(),
        };
        Some(self.for_upload(finding))
    }

    /// In order today, but nobody watches over it.
    fn foreign(&self) -> Option<Finding> {
        let foreign = self.seen.foreign_in_service.as_ref()?;
        if !self.is_by_hand() || foreign.not_after < self.now {
            return None;
        }
        let text = format!(
            "{} serves a certificate for {} that somebody else put there; it ends at {}, pbxcert \
             leaves it alone and does not renew it",
            foreign.service,
            self.names(),
            date(foreign.not_after)
        );
        let title = format!("not watched over: {}", self.first_name());
        let mut finding =
            Finding::new(Condition::Drift, &self.spec.name, Severity::Warning, title, text);
        finding.by = Some(foreign.not_after);
        finding.over = Some(format!("watched over: {}", self.first_name()));
        finding.consequence = Some(self.who_stops("stop"));
        Some(self.for_upload(finding))
    }

    /// The CA does not reach this host any more, or reaches it again: news.
    fn mode(&self) -> Option<Finding> {
        if self.spec.source != Source::Auto {
            return None;
        }
        match &self.seen.state.mode {
            Mode::Manual { since, .. } => {
                let mut finding = self.turned_manual();
                finding.since = Some(*since);
                Some(finding)
            }
            Mode::Automatic => {
                let since = self.seen.state.automatic_since?;
                holds_until(since, WEEK, self.now)?;
                let mut finding = self.automatic_again();
                finding.since = Some(since);
                Some(finding)
            }
        }
    }

    fn turned_manual(&self) -> Finding {
        let usable = is_usable(self.seen.certificate(), self.now);
        let severity = if usable { Severity::Warning } else { Severity::Critical };
        let title = format!("uploads needed now: {}", self.first_name());
        let trouble = self.trouble();
        let name = &self.spec.name;
        let text = format!("{}; so {name} is in manual mode from now on", trouble.text);
        let mut finding = Finding::new(Condition::Mode, &self.spec.name, severity, title, text);
        finding.by = self.met.as_ref().map(|met| met.life.validity.not_after);
        let stop = self.who_stops("stop");
        finding.consequence = Some(match finding.by {
            Some(_) => format!("{stop}, unless somebody does one of these first"),
            None => "no certificate comes by itself until one of these is done".to_owned(),
        });
        finding.ways = trouble.ways;
        finding.next = self.next_look();
        finding.quote = trouble.quote;
        self.for_upload(finding)
    }

    fn automatic_again(&self) -> Finding {
        let name = self.first_name();
        let reason = match self.seen.state.reach.reason.as_str() {
            "" => "the configuration has changed",
            reason => reason,
        };
        let (title, text) = (
            format!("renewed by itself again: {name}"),
            format!("{reason}: from now on {} is renewed by itself again", self.names()),
        );
        let mut finding =
            Finding::new(Condition::Mode, &self.spec.name, Severity::Notice, title, text);
        finding.consequence = Some("nothing is to be done or uploaded".to_owned());
        finding
    }

    /// What became of the last upload: news. One that is not whole yet is told beside the drop.
    fn uploaded(&self) -> Option<Finding> {
        let upload = self.about.upload.filter(|upload| {
            upload.outcome != UploadOutcome::Waiting
                && holds_until(upload.at, WEEK, self.now).is_some()
        })?;
        let (name, first) = (&self.spec.name, self.first_name());
        let (condition, severity, title) = match upload.outcome {
            UploadOutcome::Accepted => {
                (Condition::DropAccepted, Severity::Notice, format!("upload accepted: {first}"))
            }
            UploadOutcome::Refused | UploadOutcome::Waiting => {
                (Condition::DropRefused, Severity::Warning, format!("upload refused: {first}"))
            }
        };
        let mut finding = Finding::new(condition, name, severity, title, upload.text.clone());
        finding.since = Some(upload.at);
        if condition == Condition::DropRefused {
            finding.consequence = Some("nothing live was touched".to_owned());
            finding.ways = vec![format!(
                "correct that, and put the whole set again into {}/",
                self.spec.upload.dir.display()
            )];
        }
        Some(finding)
    }

    /// With the way of the upload, and the signing request for it.
    pub(super) fn for_upload(&self, mut finding: Finding) -> Finding {
        if self.spec.source == Source::Acme {
            return finding;
        }
        let (name, folder) = (&self.spec.name, self.spec.upload.dir.display());
        let Some(request) = self.about.request else {
            finding.ways.push(format!(
                "upload a certificate for {}: have a request (pbxcert csr {name}) signed by your \
                 certificate shop or company CA, and put the answer into {folder}/; or a certificate \
                 with its chain and key",
                self.all_names()
            ));
            return finding;
        };
        finding.ways.push(format!(
            "upload a certificate: have the request {name}.csr (attached, or: pbxcert csr {name}) \
             signed by your certificate shop or company CA, and put the answer into {folder}/"
        ));
        finding.attachments =
            vec![Attachment { name: format!("{name}.csr"), text: request.to_owned() }];
        finding
    }

    /// Manual mode: when the CA is tried again.
    pub(super) fn next_look(&self) -> Option<Next> {
        (self.spec.source == Source::Auto)
            .then(|| Next { what: "the CA is tried again".to_owned(), at: self.wait_until })
    }
}
