//! What is remembered of signed documents, and of the sources that they come from.

use serde::{Deserialize, Serialize};

/// What the daily check remembers of advisories and their sources.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SoftwareMemory {}
