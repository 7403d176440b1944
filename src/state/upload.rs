//! What is remembered of uploads, and what the judge is shown of one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Origin, Revision};

impl Revision {
    /// Whether a person uploaded it: it is deployed without delay.
    pub fn is_upload(&self) -> bool {
        self.origin == Origin::Upload
    }
}

/// What became of the last upload; for `status`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UploadRecord {
    /// When it was decided.
    pub at: Timestamp,
    /// Names of the files, escaped.
    pub files: Vec<String>,
    /// Who owned them.
    pub uid: Option<u32>,
    /// What became of them.
    pub outcome: UploadOutcome,
    /// The sentence that was written beside the drop.
    pub text: String,
}

/// What became of an upload.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UploadOutcome {
    /// It is a revision now.
    Accepted,
    /// It was refused.
    Refused,
    /// Something is missing.
    Waiting,
}

impl UploadOutcome {
    /// One word for a person.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
        }
    }
}
