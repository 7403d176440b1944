//! The files of a revision on their way to where the service reads them: staged, tried, installed.

use std::collections::BTreeMap;

use super::{Deployment, Error, Wanted, install, on_disk};
use crate::cert::Leaf;
use crate::cert::bundle::names;
use crate::service::{self, HookEvent};
use crate::state::{FilesSeen, Saved, Served, ServiceState, Step};
use crate::store::ServiceWriter;

impl Deployment<'_> {
    /// Stage, scratch handshake, save, switch, syntax test. On an error nothing has changed.
    pub(super) async fn install(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        wanted: &[Wanted],
        baseline: &BTreeMap<String, Served>,
    ) -> Result<(), Error> {
        for want in wanted {
            let Some(install) = self.spec.install.get(&want.certificate) else { continue };
            let pair = state.pairs.entry(want.certificate.clone()).or_default();
            let digests = install::digests(install, &want.bundle);
            if pair.files == digests && on_disk::observe(install, pair) == FilesSeen::AsInstalled {
                // Never a new file where no byte changes; the reload may still be due.
                pair.baseline = self.endpoints_of(&want.certificate, baseline);
                if pair.promoted.as_ref().is_some_and(|p| p.revision == want.revision) {
                    // What is there was in service already: nothing older may take its place.
                    pair.saved = None;
                }
                self.reach_revision(writer, state, want, Step::Installed)?;
                continue;
            }
            let staged = install::stage(install, &want.bundle)?;
            self.scratch(&staged, install, want).await?;

            let before = on_disk::leaf_on_disk(install);
            let existed = install.targets().iter().any(|(path, _)| path.exists());
            let saved = writer.saved_dir(&want.certificate)?;
            let was_ours = match &before {
                Some(leaf) => self.revision_of(&want.certificate, leaf)?,
                None => None,
            };
            // The journal comes first: from here on a crash is settled from it.
            pair.saved = Some(Saved { revision: was_ours, leaf: before, existed });
            pair.files = digests;
            pair.baseline = self.endpoints_of(&want.certificate, baseline);
            install::save(install, &saved)?;
            self.reach_revision(writer, state, want, Step::Installing)?;
            install::switch(staged)?;
            self.reach_revision(writer, state, want, Step::Installed)?;
            let now = self.world.now();
            let text = format!("files for {} are in place", names(want.bundle.leaf()));
            self.tell(&want.certificate, Some(want.revision), "installed", &text, now);
            self.say(&format!("{}: files installed", self.spec.name));
        }
        self.syntax_test(writer, state, wanted).await
    }

    /// Our revision with this leaf: what lies there need not be what was last proved.
    pub(super) fn revision_of(&self, certificate: &str, leaf: &Leaf) -> Result<Option<u64>, Error> {
        let revisions = self.store.certificate(certificate)?.revisions()?;
        let same = revisions.iter().rfind(|r| r.leaf.fingerprint == leaf.fingerprint);
        Ok(same.map(|r| r.number))
    }

    /// A handshake with the very files, read as the service's user, before they are visible: a
    /// mismatched pair takes down 11 of 15 services, and their own tests do not see it.
    pub(super) async fn scratch(
        &self,
        staged: &install::Staged,
        install: &crate::config::Install,
        want: &Wanted,
    ) -> Result<(), Error> {
        let Some(pair) = staged.pair(install) else { return Ok(()) };
        let files = service::ScratchFiles { certificate: pair.certificate, key: pair.key };
        let targets = install.targets();
        let key = targets.iter().find(|(_, target)| target.content.holds_key());
        let reader = self.spec.user.as_deref().map(|user| service::Reader {
            user,
            group: key.and_then(|(_, target)| target.group.as_deref()),
            elsewhere: !self.spec.exec_prefix.is_empty(),
        });
        let served =
            service::scratch(&self.world.helper, reader, &files, self.spec.hook_timeout).await;
        match served {
            Ok(fingerprint) if fingerprint == want.bundle.leaf().fingerprint => Ok(()),
            Ok(other) => Err(Error::Scratch(format!(
                "a handshake with them showed {other:?}, not {:?}",
                want.bundle.leaf().fingerprint
            ))),
            Err(error) => Err(Error::Scratch(staged.of_targets(install, &error.to_string()))),
        }
    }

    /// Asks the service whether it could start with the files; a refusal takes them back before
    /// anything was reloaded.
    pub(super) async fn syntax_test(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        wanted: &[Wanted],
    ) -> Result<(), Error> {
        let Some(complaint) = self.refused(HookEvent::Test, wanted, state).await else {
            return Ok(());
        };
        let (back, refusals) = self.put_back(writer, state, wanted)?;
        let text = format!("the service's own test refused it: {complaint}");
        for (certificate, reason) in &refusals {
            self.end_stuck(writer, state, certificate, &format!("{text}; {reason}"))?;
        }
        if back.is_empty() {
            return Err(Error::Stays(complaint));
        }
        for want in wanted.iter().filter(|w| back.contains(&w.certificate)) {
            self.files_are_back(state, &want.certificate);
            self.reach(writer, state, &want.certificate, Step::RolledBack)?;
            let now = self.world.now();
            let pair = state.pairs.entry(want.certificate.clone()).or_default();
            pair.problem = Some(text.clone());
            self.tell(&want.certificate, Some(want.revision), "rolled-back", &text, now);
        }
        writer.remember(state)?;
        Err(Error::Test(complaint))
    }
}
