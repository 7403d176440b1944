//! The daily check: gathers the facts side by side, asks `policy::health` what they mean, and puts
//! one verdict on the whole wherever somebody looks for it.

mod certificates;
mod endpoints;
mod host;
mod hygiene;
mod identity;
mod metrics;
mod neighbours;
mod outside;
mod revocation;
mod software;
mod trunks;

use std::time::Instant;

use jiff::tz::TimeZone;

use crate::config::Config;
use crate::policy::alerts::Settings;
use crate::policy::health;
use crate::state::check::{CheckRecord, CheckReport};
use crate::store::{self, CheckWriter, Store};
use crate::world::World;

pub use endpoints::{Facts, Look};
pub use trunks::{Trunk, Uncalled};

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Records could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Whoever answers the one question: is this PBX in order?
#[derive(Clone, Copy)]
pub struct Checker<'a> {
    /// The seams.
    pub world: &'a World,
    /// What is remembered.
    pub store: &'a Store,
    /// What is wanted.
    pub config: &'a Config,
}

impl Checker<'_> {
    /// Checks everything now, remembers it, and tells whoever reads files or runs hooks.
    ///
    /// What could not be observed is an item of its own, never an error.
    ///
    /// # Errors
    ///
    /// When the records cannot be read or written.
    pub async fn run(&self, writer: &CheckWriter<'_>) -> Result<CheckReport, Error> {
        let began = Instant::now();
        let now = self.world.now();
        let before = self.store.check_record()?;
        let CheckRecord { mut host, mut software, .. } = before.clone();
        let (certificates, neighbours, machine, copies, programs) = tokio::join!(
            certificates::items(self, now),
            neighbours::items(self, now),
            host::items(self, &mut host, now),
            identity::items(self, now),
            software::items(self, &mut software, now),
        );
        let items = [certificates, neighbours, copies, programs, machine].concat();
        let settings = Settings::of(self.config, TimeZone::system());
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let log = self.store.alert_log()?;
        let report = health::report(items, before.report.as_ref(), &log, &settings, took, now);
        let record = CheckRecord { report: Some(report.clone()), host, software, ..before.clone() };
        writer.remember(&record, now)?;
        outside::publish(self, &report, &before, &record).await;
        Ok(report)
    }
}
