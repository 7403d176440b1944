//! Messages to people.

pub mod log;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::config::alerts::Level;

/// A message that is due: the same in every channel.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Message {
    /// Unique; the same when it is sent again.
    pub id: String,
    /// When it was written.
    pub at: Timestamp,
    /// How loud.
    pub level: Level,
    /// Whose PBX.
    pub site: String,
    /// The certificate, service or part of the host that it is about; empty for a digest.
    pub object: String,
    /// What is wrong with it, one stable word: `expiry`, `renewal`, `deploy` ...
    pub condition: String,
    /// It is over.
    pub recovered: bool,
    /// How loud the beginning was told of what this says is over; `None`: nothing is. Whoever
    /// heard of the beginning hears of the end, however quiet the message itself is.
    #[serde(default)]
    pub ends: Option<Level>,
    /// When it takes effect if nobody does anything.
    pub by: Option<Timestamp>,
    /// `LEVEL site: what, by when`, at most 80 characters, one line.
    pub subject: String,
    /// Plain text, lines of any length.
    pub body: String,
    /// Files that go along (a signing request, say); never a secret.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
}

/// A file that goes along with a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attachment {
    /// File name: letters, digits, `.`, `-` and `_`.
    pub name: String,
    /// Its text.
    pub text: String,
}
