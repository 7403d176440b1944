//! What is remembered and told while a deployment goes on.

use jiff::Timestamp;

use super::{Deployment, Error, Wanted, chain_of};
use crate::policy::lint::{self, Seen};
use crate::state::{Event, ServiceState, Step};
use crate::store::ServiceWriter;

impl Deployment<'_> {
    pub(super) fn reach_revision(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        want: &Wanted,
        step: Step,
    ) -> Result<(), Error> {
        state.pairs.entry(want.certificate.clone()).or_default().revision = Some(want.revision);
        self.reach(writer, state, &want.certificate, step)
    }

    pub(super) fn reach(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        certificate: &str,
        step: Step,
    ) -> Result<(), Error> {
        let pair = state.pairs.entry(certificate.to_owned()).or_default();
        pair.step = step;
        pair.since = Some(self.world.now());
        // A wish whose try was cut off is still one.
        let on_the_way =
            matches!(step, Step::Waiting | Step::Installing | Step::Installed | Step::RollingBack);
        if !on_the_way {
            pair.forced = false;
        }
        Ok(writer.remember(state)?)
    }

    pub(super) fn tell(
        &self,
        certificate: &str,
        revision: Option<u64>,
        what: &str,
        text: &str,
        now: Timestamp,
    ) {
        let service = self.spec.name.as_str();
        tracing::info!(service, certificate, revision, what, "{text}");
        let told = self.store.record(&Event {
            at: now,
            certificate: Some(certificate.to_owned()),
            service: Some(service.to_owned()),
            revision,
            what: what.to_owned(),
            text: text.to_owned(),
        });
        if let Err(error) = told {
            // A line of history is worth less than a rollback.
            tracing::warn!(service, "history cannot be written: {}", chain_of(&error));
        }
    }

    /// What clients will stumble over is said before the switch, once for each revision.
    pub(super) fn remark(&self, state: &ServiceState, wanted: &[Wanted]) {
        for want in wanted {
            let there = state.pairs.get(&want.certificate).and_then(|pair| pair.revision);
            let root = want.bundle.root();
            let seen = Seen {
                leaf: want.bundle.leaf(),
                chain_length: want.bundle.chain().len(),
                root: root.as_deref(),
            };
            if there == Some(want.revision) || seen.leaf.is_placeholder() {
                continue;
            }
            for remark in lint::lint(seen, &self.spec.clients, &self.spec.sip_domains) {
                let text = remark.to_string();
                let (certificate, now) = (&want.certificate, self.world.now());
                self.tell(certificate, Some(want.revision), "remark", &text, now);
                self.say(&format!("{}: {certificate}: {text}", self.spec.name));
            }
        }
    }

    pub(super) fn say(&self, text: &str) {
        (self.progress)(text);
    }
}
