//! One certificate, or one service: observe → plan → act until the plan says wait.

mod certificate;
mod hint;
mod order;
mod outside;
mod placeholder;
mod reach;
mod service;
mod trust;
mod upload;

use std::cell::Cell;
use std::time::Duration;

use tokio::time::sleep;

use crate::acme::Authority;
use crate::config::{CertSpec, Config, IssuerSpec};
use crate::policy::plan::{Wait, Why};
use crate::policy::schedule::Seed;
use crate::state::{Event, Failure, Finding};
use crate::store::{self, Store};
use crate::world::World;

pub use upload::{Imported, Wish};

/// More steps than any honest pass takes: a loop that does not end is a bug, and must not spin.
const MOST_ACTIONS: usize = 16;

/// Why a pass could not be made; the next one may.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Records could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A key could not be made.
    #[error(transparent)]
    Cert(#[from] crate::cert::Error),
    /// The planner asked for the same thing again and again.
    #[error("{0}: the plan does not come to rest; please report this")]
    Restless(String),
    /// A certificate without an issuer.
    #[error("{0}: no issuer is configured")]
    NoIssuer(String),
    /// Work on a blocking thread was cut off.
    #[error("work was cut off: {0}")]
    Cut(String),
}

/// How a pass ended.
#[derive(Debug)]
pub struct Pass {
    /// What is waited for now.
    pub wait: Wait,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was tried in this pass and failed, for a person who waits.
    pub failed: Option<String>,
}

impl Pass {
    /// Nothing was there to do.
    pub fn nothing() -> Self {
        Self { wait: nothing(), findings: Vec::new(), failed: None }
    }
}

/// Reconciles what is with what is wanted.
pub struct Reconciler<'a> {
    /// The seams.
    pub world: &'a World,
    /// What is remembered.
    pub store: &'a Store,
    /// What is wanted.
    pub config: &'a Config,
    /// A person asked for this pass.
    pub by_hand: bool,
    /// Damaged files are mended at once: at start, or when a person asks.
    pub mend_at_once: bool,
    /// Set when the process is to end: no new step is begun.
    pub stop: &'a Cell<bool>,
    /// Told each step, for a person who waits.
    pub progress: &'a dyn Fn(&str),
}

impl Reconciler<'_> {
    fn issuer(&self, spec: &CertSpec) -> Option<&IssuerSpec> {
        // A second issuer is asked only in need; `policy::plan` will choose it.
        self.config.issuers.get(spec.issuers.first()?)
    }

    fn authority(&self, spec: &CertSpec) -> Option<std::rc::Rc<dyn Authority>> {
        self.world.authorities.get(spec.issuers.first()?).cloned()
    }

    fn seed(&self) -> Seed {
        seed(self.store)
    }

    fn tell(
        &self,
        spec: &CertSpec,
        what: &str,
        text: &str,
        revision: Option<u64>,
    ) -> Result<(), Error> {
        let certificate = spec.name.as_str();
        tracing::info!(certificate, revision, what, "{text}");
        Ok(self.store.record(&Event {
            at: self.world.now(),
            certificate: Some(certificate.to_owned()),
            service: None,
            revision,
            what: what.to_owned(),
            text: text.to_owned(),
        })?)
    }

    fn say(&self, text: &str) {
        (self.progress)(text);
    }
}

/// Waits for a kernel lock that another process holds.
///
/// # Errors
///
/// When the lock cannot be tried at all.
pub async fn wait_for<L>(
    name: &str,
    try_lock: impl Fn() -> Result<Option<L>, store::Error>,
    progress: &dyn Fn(&str),
) -> Result<L, store::Error> {
    let mut pause = Duration::from_millis(10);
    let mut told = false;
    loop {
        if let Some(lock) = try_lock()? {
            return Ok(lock);
        }
        if !told && pause > Duration::from_millis(100) {
            progress(&format!("another pbxcert is busy with {name}, waiting"));
            told = true;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// The source of this host's jitter. Without a key, in a store that may only be read, times are
/// those of no host in particular: good enough to show.
pub fn seed(store: &Store) -> Seed {
    store.instance_key().map_or_else(|_| Seed::new(&[0; 32]), |key| Seed::new(key.as_slice()))
}

fn nothing() -> Wait {
    Wait { until: None, why: Why::NotDue("nothing is due".to_owned()) }
}

/// A failure in one line: what was tried, and the CA's words last.
pub fn in_words(failure: &Failure) -> String {
    match &failure.detail {
        Some(detail) if !failure.text.contains(detail.as_str()) => {
            format!("{}; the CA says: {detail}", failure.text)
        }
        _ => failure.text.clone(),
    }
}
