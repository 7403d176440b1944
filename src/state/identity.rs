//! By what this host is known, so that a copy can be told from the system that was copied: keyed
//! hashes only, what was accepted, and what nobody has answered yet.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something by which a host is known. None of them proves anything: each also changes for honest
/// reasons, and a copy that is exact changes none.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// The UUID of board or virtual machine (DMI), or the serial number in a device tree.
    Board,
    /// The UUID of the root file system.
    Disk,
    /// What the cloud calls this instance (cloud-init).
    Instance,
    /// `/etc/machine-id`.
    #[serde(rename = "machine-id")]
    Machine,
    /// The hardware addresses of all network cards together: one of them seen again is enough.
    Network,
    /// Bare metal, virtual machine or container.
    Surroundings,
}

impl Mark {
    /// Every mark, in the order of `identity show`.
    pub const ALL: [Self; 6] =
        [Self::Machine, Self::Board, Self::Network, Self::Disk, Self::Instance, Self::Surroundings];

    /// The word in tables, JSON and hashes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Board => "board",
            Self::Disk => "disk",
            Self::Instance => "instance",
            Self::Machine => "machine-id",
            Self::Network => "network",
            Self::Surroundings => "surroundings",
        }
    }

    /// For a person, in a sentence.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Board => "the UUID of the board or virtual machine",
            Self::Disk => "the root file system",
            Self::Instance => "the cloud's instance number",
            Self::Machine => "the machine-id",
            Self::Network => "the network cards",
            Self::Surroundings => "the kind of machine",
        }
    }
}

/// What a system runs on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surroundings {
    /// A container made anew at each update (Docker, Podman, Kubernetes): it has no marks of its
    /// own that last.
    Application,
    /// No hypervisor below.
    Metal,
    /// A container that is kept like a machine (LXC, systemd-nspawn).
    System,
    /// A virtual machine.
    Virtual,
}

impl Surroundings {
    /// For a person.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Application => "an application container (Docker, Podman, Kubernetes)",
            Self::Metal => "bare metal",
            Self::System => "a system container (LXC, nspawn)",
            Self::Virtual => "a virtual machine",
        }
    }
}

/// The marks of a host as they were seen once: hashes under its instance key, so that two hosts, or
/// the same after `identity new`, have nothing in common.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Marks {
    /// A hash of nothing: tells under which key the others were made.
    pub key: String,
    /// `None`: it could not be told.
    pub surroundings: Option<Surroundings>,
    /// Of each mark that could be read; more than one only for [`Mark::Network`].
    pub hashes: BTreeMap<Mark, BTreeSet<String>>,
}

/// The marks that somebody accepted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Accepted {
    /// As they were then.
    pub marks: Marks,
    /// When.
    pub at: Timestamp,
    /// Who: a user, or `the first start`.
    pub by: String,
}

/// Marks have changed, and nobody has said why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Question {
    /// When that was first seen.
    pub since: Timestamp,
    /// Which.
    pub marks: BTreeSet<Mark>,
    /// Two or more independent ones: this may be a copy.
    pub quarantine: bool,
}

/// This is a copy for trying things out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Laboratory {
    /// Since when.
    pub since: Timestamp,
    /// Who said so.
    pub by: String,
}

/// What a CA said that it says when two systems share an account; each has other causes, too.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HintKind {
    /// It does not know our account any more.
    AccountGone,
    /// Somebody has replaced our certificate already, and we have not.
    AlreadyReplaced,
    /// Names were validated already, and not by us.
    AlreadyValid,
}

impl HintKind {
    /// For a person.
    pub fn shown(self) -> &'static str {
        match self {
            Self::AccountGone => "a CA no longer knew the account of this system",
            Self::AlreadyReplaced => {
                "a certificate had been replaced already, and not by this system"
            }
            Self::AlreadyValid => "names were validated already, and not by this system",
        }
    }
}

/// One such word of a CA.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hint {
    /// What.
    pub kind: HintKind,
    /// Of which certificate.
    pub certificate: String,
    /// When it was last said.
    pub at: Timestamp,
    /// How often.
    pub count: u32,
}

/// What is remembered of the identity of this host.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct IdentityRecord {
    /// Schema of this record.
    pub schema: u32,
    /// `None` before the first start.
    pub accepted: Option<Accepted>,
    /// What waits for an answer.
    pub question: Option<Question>,
    /// `identity new --lab`.
    pub laboratory: Option<Laboratory>,
    /// Evidence from CAs since the last answer; it never decides.
    pub hints: Vec<Hint>,
}

impl IdentityRecord {
    /// Why this may be a copy of another system, until somebody answers.
    pub fn copy(&self) -> Option<&Question> {
        self.question.as_ref().filter(|question| question.quarantine)
    }

    /// Remembers a word of a CA; of each kind and certificate the last.
    pub fn hear(&mut self, kind: HintKind, certificate: &str, now: Timestamp) {
        let same = |hint: &&mut Hint| hint.kind == kind && hint.certificate == certificate;
        if let Some(hint) = self.hints.iter_mut().find(same) {
            (hint.at, hint.count) = (now, hint.count.saturating_add(1));
            return;
        }
        self.hints.push(Hint { kind, certificate: certificate.to_owned(), at: now, count: 1 });
        let over = self.hints.len().saturating_sub(MOST_HINTS);
        self.hints.drain(..over);
    }
}

/// More are not remembered; the oldest go.
const MOST_HINTS: usize = 30;
