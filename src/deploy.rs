//! One service: baseline → stage → scratch handshake → install → syntax test → reload → probe →
//! verdict → promote; what broke the service is rolled back.
//!
//! Needs the configuration and the store and nothing else, so that a privileged one-shot could run
//! it while the part that talks to the network has no privileges.

mod hooks;
pub(crate) mod install;
pub(crate) mod on_disk;
mod place;
mod prove;
mod record;
mod roll_back;
mod worth;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::cert::bundle::Bundle;
use crate::config::ServiceSpec;
use crate::policy::verdict::{self, Verdict};
use crate::service::HookEvent;
use crate::state::{PairState, ReloadRecord, Served, ServiceState, Step};
use crate::store::{self, ServiceWriter, Store};
use crate::world::World;

/// Why a deployment could not even be tried; what was there before is untouched or back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or making a certificate.
    #[error(transparent)]
    Cert(#[from] crate::cert::Error),
    /// A file operation.
    #[error(transparent)]
    Files(#[from] crate::fs::Error),
    /// A folder that could not be read.
    #[error("cannot read the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The index of what was saved.
    #[error("what was saved before the last switch cannot be read: {0}")]
    Index(String),
    /// An owner or group that this machine does not know.
    #[error("{path}: this machine knows no {what} {name:?}; correct it in the configuration")]
    Owner {
        /// The target.
        path: PathBuf,
        /// User or group.
        what: &'static str,
        /// As written.
        name: String,
    },
    /// The staged pair did not pass the scratch handshake.
    #[error("the new files were not installed: {0}")]
    Scratch(String),
    /// Remembering failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The service's own test failed with the new files, and there is no way back.
    #[error("the service's own test refused the new files, and they had to stay: {0}")]
    Stays(String),
    /// A folder of ours that holds folders of others.
    #[error("{dir} is swapped as a whole, but {entry} in it is not ours; move it elsewhere")]
    Stranger {
        /// Our folder.
        dir: PathBuf,
        /// What does not belong there.
        entry: PathBuf,
    },
    /// The service's own syntax test failed with the new files; they were taken back.
    #[error("the service's own test refused the new files, the old ones are back: {0}")]
    Test(String),
}

/// One deployment: who, with what, told how.
pub struct Deployment<'a> {
    /// The seams.
    pub world: &'a World,
    /// Where revisions come from.
    pub store: &'a Store,
    /// The service.
    pub spec: &'a ServiceSpec,
    /// A person asked for it: the reload does not count against the budget.
    pub by_hand: bool,
    /// Told each step, for a person who waits.
    pub progress: &'a dyn Fn(&str),
}

/// A revision to bring in.
#[derive(Clone)]
struct Wanted {
    certificate: String,
    revision: u64,
    bundle: Bundle,
}

impl Deployment<'_> {
    /// Brings the given revisions into service and proves it, or puts back what was there.
    ///
    /// # Errors
    ///
    /// When it could not be tried; the state says why and when it is tried again.
    pub async fn run(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        pairs: &[(String, u64)],
    ) -> Result<(), Error> {
        let wanted = self.wanted(pairs)?;
        self.remark(state, &wanted);
        let baseline = self.look(state).await;
        self.install(writer, state, &wanted, &baseline).await?;
        let reload = self.would_help(&wanted, &baseline);
        self.take(writer, state, &wanted, &baseline, reload).await
    }

    /// Finishes or undoes a switch that a crash cut off, before anything else is done.
    ///
    /// # Errors
    ///
    /// When files or records cannot be read or written.
    pub async fn settle(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
    ) -> Result<(), Error> {
        let (mut switched, mut untested, mut going_back) = (Vec::new(), Vec::new(), Vec::new());
        for (certificate, pair) in state.pairs.clone() {
            let (Some(install), Some(revision)) =
                (self.spec.install.get(&certificate), pair.revision)
            else {
                continue;
            };
            let saved = writer.saved_dir(&certificate)?;
            let lost = || self.wanted(&[(certificate.clone(), revision)]).is_err();
            let (step, what) = match pair.step {
                Step::Installed | Step::Reloaded | Step::RollingBack if lost() => {
                    // Nothing can be judged against it; the newest revision is deployed instead.
                    (Step::Waiting, "the revision is not in the store any more")
                }
                Step::Installing if install::switched(install, &pair.files)? => {
                    untested.push((certificate.clone(), revision));
                    (Step::Installed, "the switch had been finished")
                }
                Step::Installing if install::is_saved(install, &saved) => {
                    // Some of the single files may be new: all of them go back.
                    let existed = pair.saved.as_ref().is_some_and(|s| s.existed);
                    install::put_back(install, &saved, &pair.files, existed)?;
                    self.files_are_back(state, &certificate);
                    (Step::Waiting, "the half-done switch was undone")
                }
                Step::Installing => (Step::Waiting, "the switch had not begun"),
                Step::Installed => {
                    untested.push((certificate.clone(), revision));
                    continue;
                }
                Step::Reloaded => {
                    switched.push((certificate.clone(), revision));
                    continue;
                }
                Step::RollingBack => {
                    going_back.push((certificate.clone(), revision));
                    continue;
                }
                _ => continue,
            };
            self.reach(writer, state, &certificate, step)?;
            let text = format!("after an interruption: {what}");
            self.tell(&certificate, Some(revision), "settled", &text, self.world.now());
        }
        let going_back = self.wanted(&going_back)?;
        if !going_back.is_empty() {
            let baseline = baseline_of(state, &going_back);
            self.roll_back(writer, state, &going_back, &baseline).await?;
        }
        let untested = self.wanted(&untested)?;
        if !untested.is_empty() {
            self.syntax_test(writer, state, &untested).await?;
        }
        let switched = [untested, self.wanted(&switched)?].concat();
        if switched.is_empty() {
            return Ok(());
        }
        let seen = self.look(state).await;
        let mut baseline = baseline_of(state, &switched);
        if worth::nobody_listens(&seen) && self.booted_since(state, &switched) {
            // The machine was started anew and the service is not up yet: what it served before
            // says nothing about what we did.
            baseline.clone_from(&seen);
        }
        let reload = self.would_help(&switched, &seen) && self.may_reload(state, &switched);
        self.take(writer, state, &switched, &baseline, reload).await
    }

    /// Looks at every endpoint, remembers it, and proves what was unproved or not taken.
    ///
    /// # Errors
    ///
    /// When the records cannot be written.
    pub async fn look_again(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
    ) -> Result<(), Error> {
        let seen = self.look(state).await;
        for (certificate, pair) in state.pairs.clone() {
            let (Some(revision), Step::Unproved | Step::NotTaken) = (pair.revision, pair.step)
            else {
                continue;
            };
            let Ok(bundle) = self.store.certificate(&certificate)?.bundle(revision) else {
                continue;
            };
            let looks = self.looks(&certificate, &seen, &seen);
            let now = self.world.now();
            if let Verdict::Proved(verified) =
                verdict::verdict(revision, bundle.leaf().fingerprint, &looks)
            {
                let text = "the service serves it now, without a reload";
                self.tell(&certificate, Some(revision), "proved", text, now);
                writer.promote(state, &certificate, &verified, now)?;
            }
        }
        Ok(writer.remember(state)?)
    }

    fn wanted(&self, pairs: &[(String, u64)]) -> Result<Vec<Wanted>, Error> {
        pairs
            .iter()
            .map(|(certificate, revision)| {
                let bundle = self.store.certificate(certificate)?.bundle(*revision)?;
                Ok(Wanted { certificate: certificate.clone(), revision: *revision, bundle })
            })
            .collect()
    }

    /// Reload, look, judge; then promote, keep, or roll back.
    async fn take(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        wanted: &[Wanted],
        baseline: &BTreeMap<String, Served>,
        reload: bool,
    ) -> Result<(), Error> {
        let complaint = if reload { self.reload(writer, state, wanted).await? } else { None };
        self.say(&format!(
            "{}: looking at {} endpoints",
            self.spec.name,
            self.spec.endpoints.len()
        ));
        let after = self.prove(wanted, baseline, reload).await;
        state.note(after.clone());

        let mut broken = BTreeSet::new();
        // What cannot be remembered (a full disk) is told at the end: first, what is broken goes back.
        let mut unwritten = None;
        for want in wanted {
            let looks = self.looks(&want.certificate, baseline, &after);
            let fingerprint = want.bundle.leaf().fingerprint;
            let now = self.world.now();
            let (step, what, text) = match verdict::verdict(want.revision, fingerprint, &looks) {
                Verdict::Proved(verified) => {
                    let text = format!("seen in service on {}", verified.endpoints().join(", "));
                    // Told first: a crash in between tells it twice rather than never.
                    self.tell(&want.certificate, Some(want.revision), "proved", &text, now);
                    let promoted = writer.promote(state, &want.certificate, &verified, now);
                    unwritten = unwritten.or(promoted.err().map(Error::from));
                    (Step::Proved, "proved", text)
                }
                Verdict::NotTaken { endpoints } => {
                    let text = format!("still the old certificate on {}", endpoints.join(", "));
                    (Step::NotTaken, "not-taken", with_complaint(text, complaint.as_deref()))
                }
                Verdict::Unproved { why } => {
                    let text = with_complaint(why, complaint.as_deref());
                    (Step::Unproved, "unproved", text)
                }
                Verdict::Broken { endpoints } => {
                    broken.insert(want.certificate.clone());
                    let each = endpoints.iter().map(|(name, why)| format!("{name}: {why}"));
                    let text = each.collect::<Vec<_>>().join("; ");
                    (Step::Reloaded, "broken", with_complaint(text, complaint.as_deref()))
                }
            };
            self.say(&format!("{}: {} {text}", self.spec.name, want.certificate));
            if step != Step::Proved {
                self.tell(&want.certificate, Some(want.revision), what, &text, now);
            }
            let by_hand = match step {
                Step::NotTaken => self.by_a_person(HookEvent::Reload, &want.certificate, state),
                _ => None,
            };
            let pair = state.pairs.entry(want.certificate.clone()).or_default();
            pair.problem = (step != Step::Proved).then_some(text);
            pair.by_hand = by_hand;
            pair.failures = 0;
            pair.retry_at = None;
            unwritten = unwritten.or(self.reach(writer, state, &want.certificate, step).err());
        }
        let bad: Vec<Wanted> =
            wanted.iter().filter(|w| broken.contains(&w.certificate)).cloned().collect();
        if !bad.is_empty() {
            self.roll_back(writer, state, &bad, baseline).await?;
        }
        unwritten.map_or(Ok(()), Err)
    }

    fn booted_since(&self, state: &ServiceState, wanted: &[Wanted]) -> bool {
        let boot_at = (self.world.time)(None).boot_at;
        wanted.iter().all(|want| {
            let since = state.pairs.get(&want.certificate).and_then(|pair| pair.since);
            boot_at > since
        })
    }

    /// After an interruption: a reload that ends this process, or the machine, is not repeated
    /// without end.
    fn may_reload(&self, state: &ServiceState, wanted: &[Wanted]) -> bool {
        let now = self.world.now();
        let today = |r: &&ReloadRecord| now.duration_since(r.at).as_hours().abs() < 24;
        wanted.iter().all(|want| {
            let tries = state.reloads.iter().filter(today);
            tries.filter(|r| r.revisions.get(&want.certificate) == Some(&want.revision)).count() < 3
        })
    }

    fn endpoints_of(
        &self,
        certificate: &str,
        seen: &BTreeMap<String, Served>,
    ) -> BTreeMap<String, Served> {
        self.spec
            .endpoints
            .iter()
            .filter(|e| e.certificate == certificate)
            .filter_map(|e| seen.get(&e.to_string()).map(|s| (e.to_string(), s.clone())))
            .collect()
    }
}

/// What each endpoint served before the switch that a crash cut off.
fn baseline_of(state: &ServiceState, wanted: &[Wanted]) -> BTreeMap<String, Served> {
    let pairs = wanted.iter().filter_map(|w| state.pairs.get(&w.certificate));
    pairs.flat_map(|p: &PairState| p.baseline.clone()).collect()
}

fn with_complaint(text: String, complaint: Option<&str>) -> String {
    match complaint {
        None => text,
        Some(complaint) => format!("{text} (the hook said: {complaint})"),
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
