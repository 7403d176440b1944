//! What becomes of an upload once it is judged, and of what cannot be judged at all.

use std::time::Duration;

use jiff::Timestamp;

use super::{Drop, Strange, Trouble, Weighed};
use crate::config::CertSpec;
use crate::policy::schedule::{DAY, holds_until};
use crate::policy::upload::{self as judge, Judgement, Verdict};
use crate::reconcile::Reconciler;
use crate::state::CertState;
use crate::state::upload::{UploadOutcome, UploadRecord};
use crate::store::{CertificateWriter, DropFolder, Dropped, DroppedFile, FileKey};

impl Reconciler<'_> {
    /// Commits what was accepted, tells it, and only then tidies up: a crash in between comes here
    /// again, knows the certificate, and tells nothing twice.
    pub(super) fn take(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        drop: &Drop<'_>,
        files: &[DroppedFile],
        weighed: Weighed,
    ) -> Result<(), Trouble> {
        let Weighed { judgement, bundle, .. } = weighed;
        let Some(bundle) = bundle else { return Ok(()) };
        let why_not = |at: usize| judgement.unused.iter().find(|(unused, _)| *unused == at);
        let (mut used, mut beside, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for (at, file) in files.iter().enumerate() {
            match why_not(at) {
                None => used.push(file),
                Some((_, why)) => {
                    beside.push(file.key.clone());
                    reasons.push(format!("{}: {why}", file.file.name));
                }
            }
        }
        let text = self.commit_upload(writer, spec, &bundle, &judgement, &record_of(&used))?;
        let public = [("cert.pem", bundle.cert_pem()), ("chain.pem", bundle.chain_pem())];
        let public = public.into_iter().filter(|(_, pem)| !pem.is_empty());
        let public: Vec<_> = public.map(|(name, pem)| (name.to_owned(), pem)).collect();
        let now = self.world.now();
        let keys: Vec<FileKey> = used.iter().map(|file| file.key.clone()).collect();
        let keys = [keys, drop.password.iter().cloned().collect()].concat();
        drop.folder.accepted(&keys, &public, &text, now).map_err(Trouble::Folder)?;
        // What it says of the one before is over.
        self.note_progress(spec)?;
        if !reasons.is_empty() {
            let text = format!("beside an accepted upload: {}", reasons.join("\n"));
            self.tell(spec, "refused", &text, None)?;
        }
        reasons.extend(drop.strange.clone());
        if reasons.is_empty() {
            return Ok(());
        }
        drop.folder.rejected(&beside, &reasons.join("\n"), now).map_err(Trouble::Folder)
    }

    pub(super) fn refuse(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        drop: &Drop<'_>,
        files: &[DroppedFile],
        text: &str,
    ) -> Result<(), Trouble> {
        let record = record_of(&files.iter().collect::<Vec<_>>());
        self.remember_refusal(writer, spec, record, text)?;
        let keys = files.iter().map(|file| file.key.clone());
        let keys: Vec<FileKey> = keys.chain(drop.password.clone()).collect();
        let reason = std::iter::once(text).chain(drop.strange.as_deref());
        let reason = reason.collect::<Vec<_>>().join("\n");
        drop.folder.rejected(&keys, &reason, self.world.now()).map_err(Trouble::Folder)?;
        drop.folder.waiting("").map_err(Trouble::Folder)
    }

    /// Says what is missing; after 24 h it is refused.
    pub(super) fn wait(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        drop: &Drop<'_>,
        files: &[DroppedFile],
        judgement: &Judgement,
    ) -> Result<Option<Timestamp>, Trouble> {
        let now = self.world.now();
        let text = judgement.text();
        let (mut names, uid) = record_of(&files.iter().collect::<Vec<_>>());
        if names.is_empty() {
            names.push("password.txt".to_owned());
        }
        let state = writer.state()?;
        let before = state.waiting.as_ref().filter(|waiting| waiting.files == names);
        let since = before.map_or(now, |waiting| waiting.at);
        let Some(until) = holds_until(since, PATIENCE, now) else {
            let reason = match &judgement.verdict {
                Verdict::Wait(_) if files.is_empty() => judge::PASSWORD_IN_VAIN.to_owned(),
                Verdict::Wait(waiting) => judge::waited_in_vain(waiting),
                Verdict::Accept { .. } | Verdict::Refuse(_) => text,
            };
            return self.refuse(writer, spec, drop, files, &reason).map(|()| None);
        };
        if before.is_none_or(|waiting| waiting.text != text) {
            self.tell(spec, "waiting", &text, None)?;
            let outcome = UploadOutcome::Waiting;
            let waiting =
                UploadRecord { at: since, files: names, uid, outcome, text: text.clone() };
            writer.remember(&CertState { waiting: Some(waiting), ..state })?;
            self.say(&format!("{}: {text}", spec.name));
        }
        let note = judge::waiting_note(&text, until);
        drop.folder.waiting(&note).map_err(Trouble::Folder)?;
        Ok(Some(until))
    }

    /// Says once of what is no file that we take why not; returns that for every note that tells
    /// of more, for as long as it lies there.
    pub(super) fn turn_away(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        folder: &DropFolder,
        dropped: &Dropped,
    ) -> Result<Option<Strange>, Trouble> {
        let each = dropped.refused.iter().map(|(name, why)| format!("{name}: {why}"));
        let text = Some(each.collect::<Vec<_>>().join("\n")).filter(|text| !text.is_empty());
        let state = writer.state()?;
        // How many there are is no news.
        let uncounted =
            |text: &String| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        let is_news = state.turned_away.as_ref().map(uncounted) != text.as_ref().map(uncounted);
        if is_news {
            if let Some(text) = &text {
                let files = dropped.refused.iter().map(|(name, _)| name.clone()).collect();
                self.remember_strange(spec, files, text)?;
                folder.rejected(&[], text, self.world.now()).map_err(Trouble::Folder)?;
            }
            writer.remember(&CertState { turned_away: text.clone(), ..state })?;
        }
        Ok(text.map(|text| Strange { text, is_news }))
    }
}

/// Names of the files, and who owns the first of them.
fn record_of(files: &[&DroppedFile]) -> (Vec<String>, Option<u32>) {
    let names = files.iter().map(|file| file.file.name.clone()).collect();
    (names, files.first().map(|file| file.uid))
}

/// How long an incomplete upload stays.
const PATIENCE: Duration = DAY;
