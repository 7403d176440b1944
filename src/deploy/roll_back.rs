//! The way back from a revision that broke the service.

use std::collections::{BTreeMap, BTreeSet};

use super::{Deployment, Error, Wanted, chain_of, install, with_complaint};
use crate::config::kind::Kind;
use crate::policy::verdict;
use crate::service::HookEvent;
use crate::state::{PairState, Served, ServiceState, Step};
use crate::store::ServiceWriter;

impl Deployment<'_> {
    /// Puts back what was there, recovers the service and looks whether it is as before.
    pub(super) async fn roll_back(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        bad: &[Wanted],
        baseline: &BTreeMap<String, Served>,
    ) -> Result<(), Error> {
        self.say(&format!("{}: broken by the new certificate, rolling back", self.spec.name));
        let (back, refusals) = self.put_back(writer, state, bad)?;
        for (certificate, reason) in &refusals {
            self.end_stuck(writer, state, certificate, reason)?;
        }
        if back.is_empty() {
            return Ok(());
        }
        let complaint = self.refused(HookEvent::Recover, bad, state).await;
        let after = self.as_before(&back, baseline).await;
        state.note(after.clone());
        for want in bad.iter().filter(|w| back.contains(&w.certificate)) {
            // Not before: a crash until here has to come back and recover the service.
            self.files_are_back(state, &want.certificate);
            let now = self.world.now();
            let wrong = self.not_as_before(&want.certificate, baseline, &after);
            if wrong.is_empty() {
                self.reach(writer, state, &want.certificate, Step::RolledBack)?;
                let text = "what was there before is back and in service";
                self.tell(&want.certificate, Some(want.revision), "rolled-back", text, now);
                self.say(&format!("{}: rolled back", self.spec.name));
            } else {
                let text = with_complaint(
                    format!("the old files are back, but {}", wrong.join("; ")),
                    complaint.as_deref(),
                );
                self.end_stuck(writer, state, &want.certificate, &text)?;
            }
        }
        Ok(())
    }

    /// Puts back the files of each pair that may go back; returns those and the refused ones.
    pub(super) fn put_back(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        wanted: &[Wanted],
    ) -> Result<(BTreeSet<String>, BTreeMap<String, String>), Error> {
        let (mut back, mut refused) = (BTreeSet::new(), BTreeMap::new());
        for want in wanted {
            let Some(install) = self.spec.install.get(&want.certificate) else { continue };
            let pair = state.pairs.entry(want.certificate.clone()).or_default();
            let existed = match self.way_back(pair, want) {
                Ok(existed) => existed,
                Err(reason) => {
                    refused.insert(want.certificate.clone(), format!("no way back: {reason}"));
                    continue;
                }
            };
            let files = pair.files.clone();
            if let Err(error) = self.reach(writer, state, &want.certificate, Step::RollingBack) {
                // A full disk must not keep a broken service broken; doing it twice does no harm.
                let service = self.spec.name.as_str();
                tracing::warn!(service, "going back unannounced: {}", chain_of(&error));
            }
            install::put_back(install, &writer.saved_dir(&want.certificate)?, &files, existed)?;
            back.insert(want.certificate.clone());
        }
        Ok((back, refused))
    }

    /// Whether there was anything before the switch; an error says why it may not come back.
    pub(super) fn way_back(&self, pair: &PairState, want: &Wanted) -> Result<bool, String> {
        let saved = pair.saved.as_ref();
        let saved = saved.ok_or("the files were in service before, and did not change")?;
        if let (true, Some(leaf)) = (saved.existed, &saved.leaf) {
            // What cannot be read is no reason to leave a service broken.
            let store = self.store.certificate(&want.certificate).ok();
            let revoked = store.and_then(|store| store.state().ok()?.revoked);
            verdict::may_go_back(leaf, revoked.as_ref(), self.world.now())?;
        }
        let mended = pair.promoted.as_ref().is_some_and(|p| p.revision == want.revision);
        if saved.existed && saved.leaf.is_none() && mended {
            return Err("the files before were damaged".to_owned());
        }
        Ok(saved.existed)
    }

    /// What lies at the targets is our earlier revision again, against which drift is judged, or
    /// none of ours.
    pub(super) fn files_are_back(&self, state: &mut ServiceState, certificate: &str) {
        let pair = state.pairs.entry(certificate.to_owned()).or_default();
        let previous = pair.saved.as_ref().and_then(|s| s.revision);
        let bundle =
            previous.and_then(|r| self.store.certificate(certificate).ok()?.bundle(r).ok());
        pair.files = match (bundle, self.spec.install.get(certificate)) {
            (Some(bundle), Some(install)) => install::digests(install, &bundle),
            _ => BTreeMap::new(),
        };
    }

    pub(super) fn end_stuck(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        certificate: &str,
        text: &str,
    ) -> Result<(), Error> {
        let command = self.by_a_person(HookEvent::Recover, certificate, state);
        let run =
            command.as_ref().map(|command| format!("run `{command}` or ")).unwrap_or_default();
        let text = format!(
            "{text}; a person is needed: {run}restart the service, then `pbxcert deploy {}`",
            self.spec.name
        );
        let pair = state.pairs.entry(certificate.to_owned()).or_default();
        pair.problem = Some(text.clone());
        pair.by_hand = command;
        let revision = pair.revision;
        self.reach(writer, state, certificate, Step::Stuck)?;
        self.say(&format!("{}: stuck: {text}", self.spec.name));
        self.tell(certificate, revision, "stuck", &text, self.world.now());
        Ok(())
    }

    /// A hook as a person can run it: with what pbxcert would tell it. `None`: there is none.
    pub(super) fn by_a_person(
        &self,
        event: HookEvent,
        certificate: &str,
        state: &ServiceState,
    ) -> Option<String> {
        let argv = match event {
            HookEvent::Recover => self.spec.recover.as_ref().or(self.spec.reload.as_ref()),
            _ => self.spec.reload.as_ref(),
        }?;
        let reads: &[&str] = match self.spec.kind {
            Kind::Apache | Kind::Janus => &["PBXCERT_WAS_RUNNING"],
            Kind::Freepbx => &["PBXCERT_CERTIFICATE", "PBXCERT_WAS_RUNNING"],
            Kind::Haproxy => &["PBXCERT_PATHS"],
            Kind::Openldap => &["PBXCERT_PATHS", "PBXCERT_STATE", "PBXCERT_FINGERPRINT"],
            Kind::Custom | Kind::Opensips => &[
                "PBXCERT_CERTIFICATE",
                "PBXCERT_PATHS",
                "PBXCERT_STATE",
                "PBXCERT_FINGERPRINT",
                "PBXCERT_WAS_RUNNING",
            ],
            _ => &[],
        };
        let revision = state.pairs.get(certificate).and_then(|pair| pair.revision);
        let wanted = revision.map(|revision| self.wanted(&[(certificate.to_owned(), revision)]));
        let variables = self.variables(&wanted.and_then(Result::ok).unwrap_or_default(), state);
        let told = variables
            .iter()
            .filter(|(name, _)| name == "PBXCERT_EXEC" || reads.contains(&name.as_str()))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", quoted(value)));
        let event = format!("PBXCERT_EVENT={}", event.word());
        let words = argv.iter().map(|word| quoted(word));
        Some([event].into_iter().chain(told).chain(words).collect::<Vec<_>>().join(" "))
    }
}

/// For a shell, as it stands where it can.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
