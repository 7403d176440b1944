//! What was measured of this host, and what of it is remembered.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// What the daily check remembers of this host.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct HostMemory {
    /// Limits that were passed on several days in a row, by topic and place.
    pub streaks: BTreeMap<String, Streak>,
}

/// Days in a row on which a limit was passed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Streak {
    /// How many.
    pub days: u32,
    /// The last of them.
    pub last: Date,
}
