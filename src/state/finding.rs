//! What is wrong, as facts and words for a person who has to do something about it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FailureClass;
use super::alert::Attachment;
use crate::cert::Validity;

/// A fact that is wrong. Whether and when anybody is told is decided by `policy::alerts`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What it is about: a certificate, a service, or a part of the host.
    pub object: String,
    /// What is wrong with it, as one stable word.
    pub condition: Condition,
    /// How bad.
    pub severity: Severity,
    /// A few words for a subject line: `no renewal of pbx.example`.
    pub title: String,
    /// What is wrong, for a person; no full stop.
    pub text: String,
    /// Since when, as far as that is known.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// How many tries failed since then.
    #[serde(default)]
    pub tries: Option<u32>,
    /// When it was last seen to be so; `None`: now.
    #[serde(default)]
    pub seen_at: Option<Timestamp>,
    /// When it takes effect if nobody does anything.
    #[serde(default)]
    pub by: Option<Timestamp>,
    /// What happens then, without the time: `sip (kamailio) stops serving phones over TLS`.
    #[serde(default)]
    pub consequence: Option<String>,
    /// What is true once it is over, for a subject line: `renewed: pbx.example`.
    #[serde(default)]
    pub over: Option<String>,
    /// What can be done about it, each with its path or command; one of them is enough.
    #[serde(default)]
    pub ways: Vec<String>,
    /// What pbxcert does next by itself.
    #[serde(default)]
    pub next: Option<Next>,
    /// Words of somebody else.
    #[serde(default)]
    pub quote: Option<Quote>,
    /// The life that runs out, when the end of a certificate decides how loud it is.
    #[serde(default)]
    pub life: Option<Life>,
    /// What kind of failure it is, for a renewal.
    #[serde(default)]
    pub class: Option<FailureClass>,
    /// Files for whoever has to act: a signing request.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
}

/// What is wrong, as one stable word: half of the key by which alerts are told apart.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The chain of a certificate leads to no trusted root, or ends before it.
    Chain,
    /// A way to reach people does not work.
    ChannelDead,
    /// The clock is wrong, or cannot be trusted.
    Clock,
    /// The configuration on disk cannot be used; an older one is in use.
    ConfigDegraded,
    /// A deployment could not be tried.
    DeployBroken,
    /// A file system is nearly full.
    Disk,
    /// Files at the targets are not what was installed.
    Drift,
    /// An upload became a revision (news).
    DropAccepted,
    /// An upload was refused (news).
    DropRefused,
    /// This system may be a copy that runs beside the original.
    Duplicate,
    /// A certificate comes to its end.
    Expiry,
    /// Something else.
    Fault,
    /// A person holds a service at its certificate, and that comes to its end.
    Hold,
    /// An endpoint or a key file allows what it should not.
    Hygiene,
    /// Phones or trunks will stumble over what is served.
    Lint,
    /// Processor, memory or disk are too slow for calls.
    Load,
    /// Automatic to manual, or back (news).
    Mode,
    /// The service keeps serving the old certificate.
    NotTaken,
    /// Another program manages the same names.
    OtherClient,
    /// A self-signed stand-in is served.
    Placeholder,
    /// The CA does not give a new one.
    Renewal,
    /// Calls will drop at a known time (news).
    RestartAnnounced,
    /// A source that is to be reached was out of reach for 14 days.
    Restricted,
    /// The CA took a certificate back.
    Revoked,
    /// A new certificate broke the service and was taken back.
    RolledBack,
    /// An endpoint serves something else than what is live.
    Served,
    /// A source that is to be reached is out of reach.
    Sources,
    /// Records are damaged, newer than this program, or cannot be written.
    StoreDamage,
    /// The service is broken and putting back did not help.
    Stuck,
    /// A peer cannot be called, or will soon not be trusted.
    Trunk,
    /// A new certificate waits for approval, because phones might not trust it.
    TrustChange,
    /// A listener with TLS that nobody here looks after comes to its end.
    Unmanaged,
    /// Installed, but nobody could be asked.
    Unproved,
    /// Nothing keeps the clock, or it is off.
    Unsynchronised,
    /// Security updates of the distribution wait.
    Updates,
    /// Software with a known security issue is installed.
    Vulnerable,
}

impl Condition {
    /// Every condition, in the order of the documentation.
    pub const ALL: [Self; 36] = [
        Self::Chain,
        Self::ChannelDead,
        Self::Clock,
        Self::ConfigDegraded,
        Self::DeployBroken,
        Self::Disk,
        Self::Drift,
        Self::DropAccepted,
        Self::DropRefused,
        Self::Duplicate,
        Self::Expiry,
        Self::Fault,
        Self::Hold,
        Self::Hygiene,
        Self::Lint,
        Self::Load,
        Self::Mode,
        Self::NotTaken,
        Self::OtherClient,
        Self::Placeholder,
        Self::Renewal,
        Self::RestartAnnounced,
        Self::Restricted,
        Self::Revoked,
        Self::RolledBack,
        Self::Served,
        Self::Sources,
        Self::StoreDamage,
        Self::Stuck,
        Self::Trunk,
        Self::TrustChange,
        Self::Unmanaged,
        Self::Unproved,
        Self::Unsynchronised,
        Self::Updates,
        Self::Vulnerable,
    ];

    /// The word in commands, JSON and `[[ignore]]`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::ChannelDead => "channel-dead",
            Self::Clock => "clock",
            Self::ConfigDegraded => "config-degraded",
            Self::DeployBroken => "deploy-broken",
            Self::Disk => "disk",
            Self::Drift => "drift",
            Self::DropAccepted => "drop-accepted",
            Self::DropRefused => "drop-refused",
            Self::Duplicate => "duplicate",
            Self::Expiry => "expiry",
            Self::Fault => "fault",
            Self::Hold => "hold",
            Self::Hygiene => "hygiene",
            Self::Lint => "lint",
            Self::Load => "load",
            Self::Mode => "mode",
            Self::NotTaken => "not-taken",
            Self::OtherClient => "other-client",
            Self::Placeholder => "placeholder",
            Self::Renewal => "renewal",
            Self::RestartAnnounced => "restart-announced",
            Self::Restricted => "restricted",
            Self::Revoked => "revoked",
            Self::RolledBack => "rolled-back",
            Self::Served => "served",
            Self::Sources => "sources",
            Self::StoreDamage => "store-damage",
            Self::Stuck => "stuck",
            Self::Trunk => "trunk",
            Self::TrustChange => "trust-change",
            Self::Unmanaged => "unmanaged",
            Self::Unproved => "unproved",
            Self::Unsynchronised => "unsynchronised",
            Self::Updates => "updates",
            Self::Vulnerable => "vulnerable",
        }
    }

    /// The condition of a word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.word() == word)
    }

    /// Something that happened, rather than something that lasts: told once for each time it
    /// happens ([`Finding::since`]), never repeated, and never over.
    pub fn is_news(self) -> bool {
        matches!(self, Self::DropAccepted | Self::DropRefused | Self::Mode | Self::RestartAnnounced)
    }

    /// The life of a certificate runs out: one and the same worry, whatever the reason.
    pub fn is_about_life(self) -> bool {
        matches!(self, Self::Expiry | Self::Renewal)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Notice,
    /// Worth knowing.
    Warning,
    /// A call, phone or browser will meet a bad certificate, or does.
    Critical,
}

/// The life that runs out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Life {
    /// Of the certificate that phones and browsers meet.
    pub validity: Validity,
    /// A person has to bring the next one: told earlier.
    pub manual: bool,
    /// A newer one is there and waits on schedule for its time: nobody is told.
    pub scheduled: bool,
}

/// What pbxcert does by itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Next {
    /// In words, without the time: `the next try`.
    pub what: String,
    /// When.
    pub at: Option<Timestamp>,
}

/// Words of somebody else.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Quote {
    /// Who: `Let's Encrypt`.
    pub who: String,
    /// As they came: not to be trusted with a terminal.
    pub words: String,
}

impl Finding {
    /// What is wrong with what, in a few words and in a sentence; the rest is for the caller to add.
    pub fn new(
        condition: Condition,
        object: &str,
        severity: Severity,
        title: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            object: object.to_owned(),
            condition,
            severity,
            title: title.into(),
            text: text.into(),
            since: None,
            tries: None,
            seen_at: None,
            by: None,
            consequence: None,
            over: None,
            ways: Vec::new(),
            next: None,
            quote: None,
            life: None,
            class: None,
            attachments: Vec::new(),
        }
    }
}
