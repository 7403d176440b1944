//! The drop folder: look → take apart → judge → commit or refuse, before anything else of a pass.

mod facts;
mod import;
mod progress;
mod record;
mod settle;

use std::time::Duration;

use jiff::Timestamp;

use self::facts::Fetches;
use super::{Error, Pass, Reconciler};
use crate::cert::bundle::Bundle;
use crate::cert::import::{File, Parts};
use crate::config::{CertSpec, Mode, Source};
use crate::confine;
use crate::deploy::chain_of;
use crate::policy::findings::own;
use crate::policy::upload::{self as judge, Judgement, Upload, Verdict};
use crate::state::Finding;
use crate::store::{CertificateWriter, DropFolder, Dropped, DroppedFile, FileKey};

pub use import::{Imported, Wish};
pub(super) use record::finding;

/// Where an upload lies, and what lies beside its files.
struct Drop<'a> {
    folder: &'a DropFolder,
    /// `password.txt`: goes with what it opens.
    password: Option<FileKey>,
    /// What is told of things there that are no files to be taken.
    strange: Option<String>,
}

/// Things in the folder that are no files to be taken.
struct Strange {
    /// What they are, and what to do.
    text: String,
    /// It was not told before.
    is_news: bool,
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
        let strange = self.turn_away(writer, spec, &folder, &dropped)?;
        // A password alone may be for what was refused before, or for what still comes.
        let nothing = dropped.files.is_empty() && dropped.password_key.is_none();
        if nothing || dropped.files.is_empty() && quiet_at.is_some() {
            if quiet_at.is_none() {
                self.forget_waiting(writer)?;
                folder.waiting("").map_err(Trouble::Folder)?;
            }
            return Ok(quiet_at);
        }
        let mut drop = Drop {
            folder: &folder,
            password: dropped.password_key.clone(),
            strange: strange.as_ref().map(|strange| strange.text.clone()),
        };
        if spec.source == Source::Acme {
            let text = judge::acme_only(&spec.name);
            self.refuse(writer, spec, &drop, &dropped.files, &text)?;
            return Ok(quiet_at);
        }
        let (files, weighed) = self.weigh_dropped(writer, spec, &folder, dropped).await?;
        let until = match &weighed.judgement.verdict {
            Verdict::Accept { .. } => {
                self.take(writer, spec, &drop, &files, weighed)?;
                // The record tells of what was taken.
                let beside = strange.filter(|strange| strange.is_news);
                pass.findings.extend(beside.map(|strange| strange.finding(spec)));
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
        let fetches = Fetches::new();
        let fresh = taken_apart(&dropped.files).await;
        let mut weighed = self.weigh(writer, spec, fresh.clone(), false, &fetches).await?;
        if matches!(weighed.judgement.verdict, Verdict::Accept { .. }) {
            return Ok((dropped.files, weighed));
        }
        let count = dropped.files.len();
        if count == 0 {
            weighed.judgement = judge::password_alone(None);
        }
        let earlier = folder.rejected_lately(self.world.now()).map_err(Trouble::Folder)?;
        if earlier.is_empty() {
            return Ok((dropped.files, weighed));
        }
        let all = [fresh, taken_apart(&earlier).await].concat();
        let mut together = self.weigh(writer, spec, all, false, &fetches).await?;
        // A password alone has to be what makes the difference.
        let fits = if count == 0 { together.locked } else { together.takes_one_of(count) };
        if !together.is_news() || !fits {
            if count == 0 && together.locked {
                let text = together.judgement.text();
                weighed.judgement = judge::password_alone(Some(&text));
            }
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
    /// Key, certificate or an intermediate of it lies in one of the first `count` files.
    fn takes_one_of(&self, count: usize) -> bool {
        let Verdict::Accept { candidate, .. } = &self.judgement.verdict else { return false };
        let fresh = |files: &[usize]| files.iter().any(|at| *at < count);
        let key = match candidate.key {
            judge::KeyPlace::Uploaded(place) => fresh(&self.upload.keys[place].files),
            judge::KeyPlace::Ours(_) => false,
        };
        let chain = self.bundle.as_ref().map(Bundle::chain).unwrap_or_default();
        let of_chain = self.upload.certificates.iter().filter(|c| chain.contains(&c.der));
        key || of_chain.into_iter().any(|certificate| fresh(&certificate.files))
    }
}

impl Strange {
    fn finding(self, spec: &CertSpec) -> Finding {
        own::strange_files(spec, format!("in the drop folder, {}", self.text))
    }
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

/// While a CA is asked, the folder is looked at so often.
const GLANCE: Duration = Duration::from_millis(500);
