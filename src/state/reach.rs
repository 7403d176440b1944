//! Whether the CA can reach this host: what was found, what is believed, and the mode it led to.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is remembered of a certificate's way from the CA to us.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ReachState {
    /// What it is about: issuer, names and challenges. Another wish starts afresh.
    pub about: String,
    /// What is believed.
    pub verdict: Reach,
    /// Why, in the operator's words; empty while nothing is known.
    pub reason: String,
    /// Since when it is believed.
    pub since: Option<Timestamp>,
    /// The findings that matter, oldest first, at most [`ReachState::MOST`].
    pub evidence: Vec<Evidence>,
    /// When the CA was last tried.
    pub asked_at: Option<Timestamp>,
    /// In manual mode: when it is tried again.
    pub ask_again_at: Option<Timestamp>,
    /// What this host saw of itself when a CA last did not get here.
    pub here: Option<Here>,
}

/// The way to this host, as it sees it itself: proves nothing, but helps a person who looks for
/// what is in the way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Here {
    /// Where a router has to pass port 80 on to.
    pub address: Option<IpAddr>,
    /// A response to a challenge is seen on this host itself, for every name.
    pub answers: bool,
}

impl ReachState {
    /// How many findings are kept.
    pub const MOST: usize = 12;

    /// The newest finding of a CA: whether it came through.
    pub fn last_asked(&self) -> Option<&Evidence> {
        self.evidence.iter().rev().find(|found| found.witness > Witness::Local)
    }
}

/// Whether the CA can reach this host.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It can.
    Reachable,
    /// Nobody can tell. Never a reason to stop trying.
    #[default]
    Unknown,
    /// It cannot.
    Unreachable,
}

impl Reach {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Who found something, weakest first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Witness {
    /// This host, about itself: port taken, no records, reserved addresses only.
    Local,
    /// The rehearsal CA looked from outside.
    Rehearsal,
    /// The CA itself looked.
    Ca,
}

/// One finding. What decides nothing (a hairpin that fails, an address that is not ours behind a
/// router) is none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub witness: Witness,
    /// The CA can reach us; else it cannot.
    pub reaches: bool,
    /// ACME's type of the problem (`connection`), or a word of ours (`port`).
    pub kind: String,
    /// In the operator's words.
    pub reason: String,
}

/// How a certificate with `source = "auto"` is come by.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum Mode {
    /// Ordered from the CA.
    #[default]
    Automatic,
    /// Uploaded by a person, because the CA cannot reach us; the CA is tried daily.
    Manual {
        /// Since when.
        since: Timestamp,
        /// Why, in the operator's words.
        reason: String,
    },
}

impl Mode {
    /// A person has to upload the next certificate, unless the CA comes through before.
    pub fn is_manual(&self) -> bool {
        matches!(self, Self::Manual { .. })
    }

    /// The word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Manual { .. } => "manual",
        }
    }
}
