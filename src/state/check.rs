//! What the daily check found: items, each with a verdict, a reason and the next step.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::host::HostMemory;
use super::software::SoftwareMemory;

/// How something stands, in the order of a monitoring plugin's exit codes.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// In order.
    Ok = 0,
    /// Somebody should look at it.
    Warning = 1,
    /// A call, phone or browser meets it, or will soon.
    Critical = 2,
    /// It could not be observed: never the same as in order.
    #[default]
    Unknown = 3,
}

impl Verdict {
    /// The word in tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// The worst of all: what is broken comes before what could not be seen. `None` of nothing.
    pub fn worst(verdicts: impl Iterator<Item = Self> + Clone) -> Option<Self> {
        [Self::Critical, Self::Unknown, Self::Warning, Self::Ok]
            .into_iter()
            .find(|worst| verdicts.clone().any(|verdict| verdict == *worst))
    }
}

/// What a question of the check is about, as one stable word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Known security issues of the software that is installed, by a signed document.
    Advisories,
    /// The chain leads to a trusted root, now and at the planned renewal.
    Chain,
    /// The next end of any certificate in the chain.
    ChainEnd,
    /// The clock of this host.
    Clock,
    /// The dates of a certificate.
    Dates,
    /// Space and inodes of a file system.
    Disk,
    /// Whether this system runs twice.
    Duplicate,
    /// The files at the targets are what was installed.
    Files,
    /// What an endpoint or key file allows that it should not.
    Hygiene,
    /// Waiting for the disk.
    Io,
    /// The key fits its certificate.
    Key,
    /// The licence of the site.
    Licence,
    /// What phones and trunks stumble over.
    Lint,
    /// Memory that is left.
    Memory,
    /// The names of a certificate are those that are wanted.
    Names,
    /// Another program manages the same names.
    OtherClient,
    /// Processor time that is left.
    Processor,
    /// The CA took the certificate back.
    Revocation,
    /// What an endpoint serves is what is live.
    Served,
    /// Sources elsewhere that the configuration names can be reached.
    Sources,
    /// Memory that was moved to the disk.
    Swap,
    /// A peer that is called over TLS.
    Trunk,
    /// A listener with TLS that pbxcert does not look after.
    Unmanaged,
    /// Pending security updates of the distribution.
    Updates,
}

impl Topic {
    /// Every topic, in the order of the documentation.
    pub const ALL: [Self; 24] = [
        Self::Dates,
        Self::Names,
        Self::Key,
        Self::Chain,
        Self::ChainEnd,
        Self::Revocation,
        Self::Served,
        Self::Files,
        Self::Lint,
        Self::Trunk,
        Self::OtherClient,
        Self::Unmanaged,
        Self::Hygiene,
        Self::Duplicate,
        Self::Advisories,
        Self::Updates,
        Self::Processor,
        Self::Memory,
        Self::Swap,
        Self::Io,
        Self::Disk,
        Self::Clock,
        Self::Sources,
        Self::Licence,
    ];

    /// The word in tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Advisories => "advisories",
            Self::Chain => "chain",
            Self::ChainEnd => "chain-end",
            Self::Clock => "clock",
            Self::Dates => "dates",
            Self::Disk => "disk",
            Self::Duplicate => "duplicate",
            Self::Files => "files",
            Self::Hygiene => "hygiene",
            Self::Io => "io",
            Self::Key => "key",
            Self::Licence => "licence",
            Self::Lint => "lint",
            Self::Memory => "memory",
            Self::Names => "names",
            Self::OtherClient => "other-client",
            Self::Processor => "processor",
            Self::Revocation => "revocation",
            Self::Served => "served",
            Self::Sources => "sources",
            Self::Swap => "swap",
            Self::Trunk => "trunk",
            Self::Unmanaged => "unmanaged",
            Self::Updates => "updates",
        }
    }

    /// The condition under which people are told; `None`: the passes over certificates and
    /// services tell of it already, and nobody is to hear the same twice.
    pub fn condition(self) -> Option<Condition> {
        match self {
            Self::Dates | Self::Files | Self::Key | Self::Licence | Self::Names => None,
            Self::Advisories => Some(Condition::Vulnerable),
            Self::Chain | Self::ChainEnd => Some(Condition::Chain),
            // Not `Condition::Clock`, which casts doubt on every date: that is for a clock that is
            // known to be wrong.
            Self::Clock => Some(Condition::Unsynchronised),
            Self::Disk => Some(Condition::Disk),
            Self::Duplicate => Some(Condition::Duplicate),
            Self::Hygiene => Some(Condition::Hygiene),
            Self::Io | Self::Memory | Self::Processor | Self::Swap => Some(Condition::Load),
            Self::Lint => Some(Condition::Lint),
            Self::OtherClient => Some(Condition::OtherClient),
            Self::Revocation => Some(Condition::Revoked),
            Self::Served => Some(Condition::Served),
            Self::Sources => Some(Condition::Sources),
            Self::Trunk => Some(Condition::Trunk),
            Self::Unmanaged => Some(Condition::Unmanaged),
            Self::Updates => Some(Condition::Updates),
        }
    }
}

/// One question of the check, and its answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// What was asked.
    pub topic: Topic,
    /// Of what: a certificate, service or trunk by its name, or `host`.
    pub object: String,
    /// Where, when the object has several: an endpoint, a path, a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The answer.
    pub verdict: Verdict,
    /// Why, for a person; no full stop.
    pub text: String,
    /// What to do about it, with its command; `None` where there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Whether it counts in the verdict of the whole: not where nothing was asked for.
    pub counts: bool,
    /// A person took note, or the configuration ignores it: it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<String>,
    /// Since when the answer has been this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it takes effect: the end of a certificate, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Timestamp>,
    /// Numbers behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
}

impl Item {
    /// An answer that counts; the rest is for the caller to add.
    pub fn new(topic: Topic, object: &str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            topic,
            object: object.to_owned(),
            place: None,
            verdict,
            text: text.into(),
            next: None,
            counts: true,
            silenced: None,
            since: None,
            by: None,
            metrics: Vec::new(),
        }
    }

    /// A question that nobody asked here, and why: shown, and never counted.
    pub fn not_asked(topic: Topic, object: &str, verdict: Verdict, text: &str) -> Self {
        Self { counts: false, ..Self::new(topic, object, verdict, text) }
    }

    /// The same at a place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The same with what to do.
    #[must_use]
    pub fn then(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The same with a number.
    #[must_use]
    pub fn with(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// The condition under which people are told of it: that of its topic, but for a source that
    /// was out of reach for so long that this counts as something else.
    pub fn condition(&self) -> Option<Condition> {
        match (self.topic, self.verdict) {
            (Topic::Sources, Verdict::Critical) => Some(Condition::Restricted),
            (topic, _) => topic.condition(),
        }
    }

    /// Whether both answer the same question.
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        (self.topic, &self.object, &self.place) == (other.topic, &other.object, &other.place)
    }
}

/// A number with its limits, as monitoring plugins print it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Metric {
    /// A stable word.
    pub label: String,
    /// In its unit.
    pub value: f64,
    /// Of the value and the limits.
    pub unit: Unit,
    /// From here on it is a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<f64>,
    /// From here on it is critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<f64>,
}

/// The unit of a number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// A plain number.
    Count,
    /// Days.
    Days,
    /// Hundredths of a whole.
    Percent,
    /// Seconds.
    Seconds,
}

/// One verdict on the whole, with everything behind it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckReport {
    /// Schema of this report.
    pub schema: u32,
    /// Whose PBX.
    pub site: String,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// Of everything that counts.
    pub verdict: Verdict,
    /// In one line.
    pub summary: String,
    /// Worst first.
    pub items: Vec<Item>,
}

/// What is remembered between two checks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct CheckRecord {
    /// Schema of this record.
    pub schema: u32,
    /// The last check.
    pub report: Option<CheckReport>,
    /// Of this host.
    pub host: HostMemory,
    /// Of its software, and where word of that comes from.
    pub software: SoftwareMemory,
}
