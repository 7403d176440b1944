//! `pbxcert import`: the same pipeline on files that root names.

use zeroize::Zeroizing;

use super::facts::Fetches;
use crate::cert::import::File;
use crate::config::CertSpec;
use crate::confine;
use crate::policy::upload::{Judgement, Verdict};
use crate::reconcile::{Error, Reconciler, wait_for};

/// What is to be imported, and how.
pub struct Wish<'a> {
    /// The files.
    pub files: &'a [File],
    /// Opens what is encrypted.
    pub password: Option<&'a Zeroizing<String>>,
    /// Also what is worse than the one in use.
    pub accept_worse: bool,
    /// Only judge.
    pub dry_run: bool,
    /// Who asks.
    pub uid: u32,
}

/// What became of it.
pub struct Imported {
    /// Each question and the verdict.
    pub judgement: Judgement,
    /// The revision that it is, when it was accepted and not only judged.
    pub revision: Option<u64>,
}

impl Reconciler<'_> {
    /// Judges files and commits what is accepted.
    ///
    /// # Errors
    ///
    /// When records cannot be read or written.
    pub async fn import(&self, spec: &CertSpec, wish: &Wish<'_>) -> Result<Imported, Error> {
        let store = self.store.certificate(&spec.name)?;
        let parts = confine::parts(&self.world.helper, wish.files, wish.password).await;
        let names: Vec<String> = wish.files.iter().map(|file| file.name.clone()).collect();
        let parts: Vec<_> = names.iter().cloned().zip(parts).collect();
        let fetches = Fetches::new();
        if wish.dry_run {
            let weighed = self.weigh(&store, spec, parts, wish.accept_worse, &fetches).await?;
            return Ok(Imported { judgement: weighed.judgement, revision: None });
        }
        let now = || self.world.now();
        let writer = wait_for(&spec.name, || store.try_lock(now()), self.progress).await?;
        let weighed = self.weigh(&store, spec, parts, wish.accept_worse, &fetches).await?;
        let judgement = weighed.judgement;
        let Some(bundle) = weighed.bundle else {
            let text = judgement.text();
            let word = match judgement.verdict {
                Verdict::Wait(_) => "incomplete",
                _ => "refused",
            };
            self.tell(spec, "refused", &format!("import: {word}: {text}"), None)?;
            return Ok(Imported { judgement, revision: None });
        };
        self.commit_upload(&writer, spec, &bundle, &judgement, &(names, Some(wish.uid)))?;
        let newest = store.newest()?.map(|newest| newest.number);
        Ok(Imported { judgement, revision: newest })
    }
}
