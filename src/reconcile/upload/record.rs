//! What an upload leaves behind in the records.

use super::Trouble;
use crate::cert::bundle::Bundle;
use crate::config::CertSpec;
use crate::policy::findings::own;
use crate::policy::upload::{Judgement, Verdict};
use crate::reconcile::{Error, Reconciler};
use crate::state::upload::{UploadOutcome, UploadRecord};
use crate::state::{CertState, Finding, Origin};
use crate::store::CertificateWriter;

impl Reconciler<'_> {
    /// Commits an accepted upload unless it is there, tells it, and remembers it. Returns what is
    /// to be told of it.
    pub(super) fn commit_upload(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        bundle: &Bundle,
        judgement: &Judgement,
        (files, uid): &(Vec<String>, Option<u32>),
    ) -> Result<String, Error> {
        let Verdict::Accept { already, .. } = judgement.verdict else {
            return Ok(judgement.text());
        };
        let number = match already {
            Some(number) => number,
            None => writer.commit(bundle, None, Origin::Upload, self.world.now())?.number,
        };
        let state = writer.state()?;
        let mut text = judgement.text();
        let ours = writer.revision(number)?.is_some_and(|revision| revision.is_upload());
        let told = self.is_told(spec, "accepted", number)?;
        let tidied = |record: &&UploadRecord| {
            record.outcome != UploadOutcome::Accepted || record.files != *files
        };
        let cut_off = already.is_some() && ours && told;
        let last = self.store.upload_record(&spec.name)?;
        match last.as_ref().filter(|record| cut_off && !tidied(record)) {
            // A crash came between this record and tidying up.
            Some(record) => text.clone_from(&record.text),
            None => {
                if already.is_some() && ours && !told {
                    // A crash came between the commit and this line.
                    text = format!("Accepted: it is revision {number}.");
                }
                let by = uid.map(person).unwrap_or_default();
                let fingerprint = bundle.leaf().fingerprint.short();
                let event = format!("uploaded{by}: {text} Fingerprint {fingerprint}.");
                self.tell(spec, "accepted", &event, Some(number))?;
            }
        }
        let outcome = UploadOutcome::Accepted;
        let record =
            UploadRecord { at: self.world.now(), files: files.clone(), uid: *uid, outcome, text };
        let text = record.text.clone();
        self.store.remember_upload(&spec.name, &record)?;
        writer.remember(&CertState { waiting: None, ..state })?;
        writer.prune(&self.in_use(&spec.name)?)?;
        self.say(&format!("{}: {text}", spec.name));
        Ok(text)
    }

    pub(super) fn remember_refusal(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        (files, uid): (Vec<String>, Option<u32>),
        text: &str,
    ) -> Result<(), Trouble> {
        let by = uid.map(person).unwrap_or_default();
        let event = format!("uploaded{by}: {text}");
        self.tell(spec, "refused", &event, None)?;
        let state = writer.state()?;
        let outcome = UploadOutcome::Refused;
        let record =
            UploadRecord { at: self.world.now(), files, uid, outcome, text: text.to_owned() };
        self.store.remember_upload(&spec.name, &record)?;
        writer.remember(&CertState { waiting: None, ..state })?;
        self.say(&format!("{}: refused: {text}", spec.name));
        Ok(())
    }

    /// Tells of things in the folder that are no files to be taken.
    pub(super) fn remember_strange(
        &self,
        spec: &CertSpec,
        files: Vec<String>,
        text: &str,
    ) -> Result<(), Error> {
        self.tell(spec, "refused", text, None)?;
        let (at, outcome) = (self.world.now(), UploadOutcome::Refused);
        let record = UploadRecord { at, files, uid: None, outcome, text: text.to_owned() };
        self.store.remember_upload(&spec.name, &record)?;
        self.say(&format!("{}: refused: {text}", spec.name));
        Ok(())
    }

    /// The folder is empty: nothing is waited for.
    pub(super) fn forget_waiting(&self, writer: &CertificateWriter) -> Result<(), Error> {
        let state = writer.state()?;
        if state.waiting.is_some() {
            writer.remember(&CertState { waiting: None, ..state })?;
        }
        Ok(())
    }
}

/// ` by alice (uid 1000)`.
fn person(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    match user {
        Ok(Some(user)) => format!(" by {} (uid {uid})", user.name),
        _ => format!(" by uid {uid}"),
    }
}

/// That an upload is incomplete.
pub(in crate::reconcile) fn finding(spec: &CertSpec, state: &CertState) -> Option<Finding> {
    state.waiting.as_ref().map(|waiting| own::incomplete(spec, waiting))
}
