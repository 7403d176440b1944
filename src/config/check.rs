//! When the daily check runs, whom it asks, and from where on it warns.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::{Time, Weekday};

use super::Proxy;

/// What `[check]` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckSpec {
    /// When it runs, in the local time of this host.
    pub at: CheckTime,
    /// Proxy for everything that it fetches.
    pub proxy: Option<Proxy>,
    /// This host has no way out and needs none: nothing is fetched, and nobody is warned of that.
    pub offline: bool,
    /// Signed advisories, and grace documents.
    pub advisories: AdvisorySpec,
    /// Text for the textfile collector of node_exporter; replaced whole.
    pub metrics_file: Option<PathBuf>,
    /// Limits of what is measured.
    pub limits: Limits,
    /// Programs of the operator.
    pub hooks: CheckHooks,
}

/// When the check runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CheckTime {
    /// Once a day at this time.
    Daily(Time),
    /// Once a day, at a time that nobody can predict.
    #[default]
    Random,
    /// Once a week.
    Weekly(Weekday, Time),
}

/// Where signed documents come from, and whose signatures count.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AdvisorySpec {
    /// Where they are fetched; the signature lies at the same address with `.minisig` behind it.
    pub url: Option<String>,
    /// PEM file with the only roots that are trusted for that; the system's when `None`.
    pub trust_anchor: Option<PathBuf>,
    /// A file that an administrator puts there, with `.minisig` beside it.
    pub file: Option<PathBuf>,
    /// Public keys in the form of minisign: one line in base64 each.
    pub keys: Vec<String>,
}

/// Programs of the operator, each with its arguments.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckHooks {
    /// After each check.
    pub check: Option<Vec<String>>,
    /// After 14 days without a source.
    pub restricted: Option<Vec<String>>,
    /// When it was reached again.
    pub restored: Option<Vec<String>>,
    /// When something with a known security issue is found installed.
    pub vulnerable: Option<Vec<String>>,
}

/// From where on a number is a warning, and critical.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Two days in a row.
    pub warning: f64,
    /// At once.
    pub critical: f64,
}

/// Limits of what is measured, in percent; the defaults are engineering judgement for machines
/// that carry calls, far below what a server may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Time in which something waited for a processor (PSI `cpu some`).
    pub processor: Limit,
    /// Load over 15 minutes for each processor, where the kernel has no PSI: 150 is 1.5.
    pub load: Limit,
    /// Memory that is still available, of all.
    pub memory: Limit,
    /// Time in which everything waited for memory (PSI `memory full`).
    pub memory_pressure: Limit,
    /// Time in which everything waited for the disk (PSI `io full`).
    pub io: Limit,
    /// Swap in use, while pages come back in.
    pub swap: Limit,
    /// Space and inodes that are free, of all.
    pub disk: Limit,
    /// How far the clock may be off.
    pub clock: [Duration; 2],
}

impl Default for Limits {
    fn default() -> Self {
        let limit = |warning, critical| Limit { warning, critical };
        Self {
            processor: limit(20.0, 40.0),
            load: limit(150.0, 300.0),
            memory: limit(10.0, 5.0),
            memory_pressure: limit(2.0, 10.0),
            io: limit(20.0, 40.0),
            swap: limit(50.0, 90.0),
            disk: limit(10.0, 3.0),
            clock: [Duration::from_secs(60), Duration::from_secs(300)],
        }
    }
}
