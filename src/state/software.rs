//! What is installed, what is remembered of signed documents, and of the sources that they come
//! from.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// What the daily check remembers of advisories and their sources.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SoftwareMemory {
    /// The highest sequence number that was accepted, by the key that it was signed with.
    pub sequences: BTreeMap<String, u64>,
    /// Days on which no source could be reached.
    pub offline: OfflineMemory,
}

/// Distinct days on which a source was tried in vain.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct OfflineMemory {
    /// These days, on the clocks of this host, since the last success.
    pub days: BTreeSet<Date>,
    /// The day of the last success: it cannot count any more.
    pub reached_on: Option<Date>,
    /// Nothing counts until then, by a signed document.
    pub grace_until: Option<Timestamp>,
    /// Restricted since then.
    pub restricted_since: Option<Timestamp>,
    /// Seconds that have certainly passed since the first of these days, whatever the clock says.
    pub proven: u64,
    /// The last try that counted, or could have.
    pub last: Option<Moment>,
}

/// A point in time, with what is known of the clock that told it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// What the clock said.
    pub at: Timestamp,
    /// The kernel said that the clock was synchronised.
    pub trusted: bool,
    /// How long this machine had been up; `None`: it does not say.
    pub boot: Option<Boot>,
}

/// How long a machine has been up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Boot {
    /// Drawn by the kernel at each start.
    pub id: String,
    /// Seconds since then, those asleep included.
    pub up: u64,
}

/// A program that is installed here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Installed {
    /// Its name, as in `kind`: `asterisk`, `openssl`.
    pub product: String,
    /// The package that it came in; `None`: it came in none.
    pub package: Option<String>,
    /// Its version, or why nobody knows.
    pub version: Result<String, String>,
    /// Whose order its versions follow.
    pub order: Order,
    /// Who says so: `dpkg`, `rpm`, `/usr/sbin/asterisk`.
    pub source: String,
}

/// In which order versions follow each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// That of Debian's packages (Debian Policy section 5.6.12).
    Deb,
    /// That of RPM's packages.
    Rpm,
    /// Numbers and words between dots.
    Upstream,
}

/// Security updates that wait, as far as it can be told without asking anybody elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Updates {
    /// They are known.
    Known {
        /// Packages, each once.
        packages: Vec<String>,
        /// When the package index was fetched last.
        indexed_at: Option<Timestamp>,
        /// How they are installed.
        command: &'static str,
        /// How the index is fetched.
        refresh: &'static str,
    },
    /// Why it cannot be told.
    Unknown(String),
}
