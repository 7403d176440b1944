//! The drop folder: look → take apart → judge → commit or refuse, before anything else of a pass.

mod facts;
mod import;
mod record;

use std::time::Duration;

use jiff::Timestamp;

use super::{Error, Pass, Reconciler};
use crate::cert::bundle::Bundle;
use crate::cert::import::{File, Parts};
use crate::config::{CertSpec, Mode, Source};
use crate::confine;
use crate::deploy::chain_of;
use crate::policy::findings::own;
use crate::policy::schedule::{DAY, holds_until};
use crate::policy::upload::{self as judge, Judgement, Upload, Verdict};
use crate::state::CertState;
use crate::state::upload::{UploadOutcome, UploadRecord};
use crate::store::{CertificateWriter, DropFolder, Dropped, DroppedFile, FileKey};

pub use import::{Imported, Wish};
pub(super) use record::finding;

/// Where an upload lies, and what lies beside its files.
struct Drop<'a> {
    folder: &'a DropFolder,
    /// `password.txt`: goes with what it opens.
    password: Option<FileKey>,
    /// What is told of things there that are no files to be taken, when it is news.
    strange: Option<String>,
}

/// An upload that was judged.
struct Weighed {
    upload: Upload,
    judgement: Judgement,
    /// What is to be committed, or is there already, when it was accepted.
    bundle: Option<Bundle>,
    /// A password was tried on one of its files.
    locked: bool,
}

impl Weighed {
    /// It was accepted, and is something new.
    fn is_news(&self) -> bool {
        matches!(self.judgement.verdict, Verdict::Accept { already: None, .. })
    }
}

/// Whether something may lie in the drop folder. Notes and folders of ours that are always there
/// are nothing.
pub(super) fn may_be_waiting(spec: &CertSpec) -> bool {
    let Ok(entries) = std::fs::read_dir(&spec.upload.dir) else {
        // Made by the pass that finds it missing.
        return spec.source != Source::Acme;
    };
    let is_ours = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        name == "accepted" || name == "rejected"
    };
    entries.flatten().any(|entry| !is_ours(&entry))
}

impl Reconciler<'_> {
    /// Looks into the drop folder and does what is to be done with what lies there. A folder that
    /// cannot be used is a finding, and holds up nothing else.
    ///
    /// # Errors
    ///
    /// When records cannot be read or written.
    pub(super) async fn uploads(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        pass: &mut Pass,
    ) -> Result<Option<Timestamp>, Error> {
        let unused = spec.source == Source::Acme && !spec.upload.dir.exists();
        if self.config.mode == Mode::Observe || unused {
            return Ok(None);
        }
        match self.look_into(writer, spec, pass).await {
            Ok(until) => Ok(until),
            Err(Trouble::Folder(error)) => {
                let finding = own::closed_folder(spec, &chain_of(&error));
                let certificate = spec.name.as_str();
                tracing::warn!(certificate, "{}", finding.text);
                pass.findings.push(finding);
                Ok(None)
            }
            Err(Trouble::Records(error)) => Err(error),
        }
    }

    /// Returns when to look again.
    async fn look_into(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        pass: &mut Pass,
    ) -> Result<Option<Timestamp>, Trouble> {
        let folder = DropFolder::open(&spec.upload).map_err(Trouble::Folder)?;
        let now = self.world.now();
        folder.sweep(now).map_err(Trouble::Folder)?;
        let dropped = folder.look(now).map_err(Trouble::Folder)?;
        let quiet_at = dropped.quiet_at;
        let strange = self.turn_away(writer, spec, &folder, &dropped, pass)?;
        if dropped.files.is_empty() {
            if quiet_at.is_none() {
                self.forget_waiting(writer)?;
                folder.waiting("").map_err(Trouble::Folder)?;
            }
            return Ok(quiet_at);
        }
        let mut drop = Drop { folder: &folder, password: dropped.password_key.clone(), strange };
        if spec.source == Source::Acme {
            let text = judge::acme_only(&spec.name);
            self.refuse(writer, spec, &drop, &dropped.files, &text)?;
            return Ok(quiet_at);
        }
        let (files, weighed) = self.weigh_dropped(writer, spec, &folder, dropped).await?;
        let until = match &weighed.judgement.verdict {
            Verdict::Accept { .. } => {
                self.take(writer, spec, &drop, &files, weighed)?;
                None
            }
            Verdict::Refuse(_) => {
                // It may have come for a file that follows.
                drop.password = drop.password.filter(|_| weighed.locked);
                let text = weighed.judgement.text();
                self.refuse(writer, spec, &drop, &files, &text)?;
                None
            }
            Verdict::Wait(_) => self.wait(writer, spec, &drop, &files, &weighed.judgement)?,
        };
        Ok(quiet_at.into_iter().chain(until).min())
    }

    /// Judges what lies there; what makes it whole may lie among what was refused lately.
    async fn weigh_dropped(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        folder: &DropFolder,
        dropped: Dropped,
    ) -> Result<(Vec<DroppedFile>, Weighed), Trouble> {
        let password = dropped.password;
        let taken_apart = async |files: &[DroppedFile]| -> Vec<(String, Parts)> {
            let files: Vec<File> = files.iter().map(|f| f.file.clone()).collect();
            let parts = confine::parts(&self.world.helper, &files, password.as_ref()).await;
            files.into_iter().map(|f| f.name).zip(parts).collect()
        };
        let fresh = taken_apart(&dropped.files).await;
        let weighed = self.weigh(writer, spec, fresh.clone(), false).await?;
        if matches!(weighed.judgement.verdict, Verdict::Accept { .. }) {
            return Ok((dropped.files, weighed));
        }
        let earlier = folder.rejected_lately(self.world.now()).map_err(Trouble::Folder)?;
        if earlier.is_empty() {
            return Ok((dropped.files, weighed));
        }
        let all = [fresh, taken_apart(&earlier).await].concat();
        let count = dropped.files.len();
        let mut together = self.weigh(writer, spec, all, false).await?;
        if !together.is_news() || !together.takes_one_of(count) {
            return Ok((dropped.files, weighed));
        }
        let files = [dropped.files, earlier].concat();
        // What was refused before and is not needed now stays where it is.
        let unused: Vec<usize> = together.judgement.unused.iter().map(|(at, _)| *at).collect();
        let stays = |at: usize| at >= count && unused.contains(&at);
        together.judgement.unused.retain(|(at, _)| *at < count);
        let kept = files.into_iter().enumerate().filter(|(at, _)| !stays(*at));
        Ok((kept.map(|(_, file)| file).collect(), together))
    }

    /// Commits what was accepted, tells it, and only then tidies up: a crash in between comes here
    /// again, knows the certificate, and tells nothing twice.
    fn take(
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

    fn refuse(
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
    fn wait(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        drop: &Drop<'_>,
        files: &[DroppedFile],
        judgement: &Judgement,
    ) -> Result<Option<Timestamp>, Trouble> {
        let now = self.world.now();
        let text = judgement.text();
        let (names, uid) = record_of(&files.iter().collect::<Vec<_>>());
        let state = writer.state()?;
        let before = state.waiting.as_ref().filter(|waiting| waiting.files == names);
        let since = before.map_or(now, |waiting| waiting.at);
        let Some(until) = holds_until(since, PATIENCE, now) else {
            let reason = match &judgement.verdict {
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

    /// Says once of what is no file that we take why not; returns that when it is news, for a
    /// note that tells of more.
    fn turn_away(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        folder: &DropFolder,
        dropped: &Dropped,
        pass: &mut Pass,
    ) -> Result<Option<String>, Trouble> {
        let each = dropped.refused.iter().map(|(name, why)| format!("{name}: {why}"));
        let text = Some(each.collect::<Vec<_>>().join("\n")).filter(|text| !text.is_empty());
        if let Some(text) = &text {
            let text = format!("in the drop folder, {text}");
            pass.findings.push(own::strange_files(spec, text));
        }
        let state = writer.state()?;
        // How many there are is no news.
        let uncounted =
            |text: &String| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        if state.turned_away.as_ref().map(uncounted) == text.as_ref().map(uncounted) {
            return Ok(None);
        }
        if let Some(text) = &text {
            self.tell(spec, "refused", text, None)?;
            folder.rejected(&[], text, self.world.now()).map_err(Trouble::Folder)?;
        }
        writer.remember(&CertState { turned_away: text.clone(), ..state })?;
        Ok(text)
    }

    /// Does `work`, unless an upload that is whole comes meanwhile: then `None`, and `work` is cut
    /// off where it is. An order goes on later from what was remembered of it.
    pub(super) async fn unless_uploaded<T>(
        &self,
        spec: &CertSpec,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let folder = match spec.source {
            Source::Acme => None,
            Source::Auto | Source::Manual => DropFolder::open(&spec.upload).ok(),
        };
        let (Some(folder), false) = (folder, self.by_hand) else { return Some(work.await) };
        let there = || {
            let dropped = folder.look(self.world.now()).ok()?;
            let keys = dropped.files.into_iter().map(|file| file.key).collect::<Vec<_>>();
            dropped.quiet_at.is_none().then_some(keys)
        };
        let before = there().unwrap_or_default();
        let arrival = async {
            loop {
                tokio::time::sleep(GLANCE).await;
                if there().is_some_and(|keys| !keys.is_empty() && keys != before) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = arrival => None,
        }
    }
}

impl Weighed {
    /// Certificate or key lies in one of the first `count` files.
    fn takes_one_of(&self, count: usize) -> bool {
        let Verdict::Accept { candidate, .. } = &self.judgement.verdict else { return false };
        let fresh = |files: &[usize]| files.iter().any(|at| *at < count);
        let key = match candidate.key {
            judge::KeyPlace::Uploaded(place) => fresh(&self.upload.keys[place].files),
            judge::KeyPlace::Ours(_) => false,
        };
        key || fresh(&self.upload.certificates[candidate.certificate].files)
    }
}

/// Names of the files, and who owns the first of them.
fn record_of(files: &[&DroppedFile]) -> (Vec<String>, Option<u32>) {
    let names = files.iter().map(|file| file.file.name.clone()).collect();
    (names, files.first().map(|file| file.uid))
}

/// What stands in the way of an upload.
enum Trouble {
    /// The folder: told as a finding.
    Folder(crate::store::Error),
    /// Our records: nothing can be done.
    Records(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Records(error)
    }
}

impl From<crate::store::Error> for Trouble {
    fn from(error: crate::store::Error) -> Self {
        Self::Records(error.into())
    }
}

/// How long an incomplete upload stays.
const PATIENCE: Duration = DAY;

/// While a CA is asked, the folder is looked at so often.
const GLANCE: Duration = Duration::from_millis(500);
