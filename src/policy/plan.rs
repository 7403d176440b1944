//! The one next step, and why.
//!
//! [`next`] and [`next_service`] are called again after each step, until they say `Wait`. A caller
//! writes down what a step led to before it asks again ([`super::remember`]): with unchanged state
//! the answer is the same.

mod certificate;
mod clock;
mod copied;
mod manual;
mod mode;
mod service;

use std::fmt;

use jiff::Timestamp;

pub use certificate::{next, resumes, wish};
pub use clock::clock_doubt;
pub use manual::{next_manual, placeholder_validity, wants_request};
pub use service::{held_until, next_service};

/// The next step for a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Ask the CA for renewal information now.
    AskRenewalInfo,
    /// Order, or go on with the order that is under way when [`resumes`] says that it fits; one
    /// that does not fit is dropped first.
    Issue {
        /// Why.
        reason: Reason,
        /// certID to name in the order (RFC 9773 section 5).
        replaces: Option<String>,
        /// Inside an ARI window: does not count against the budget.
        exempt: bool,
    },
    /// Make a self-signed certificate, with the key of the placeholder before it if there is one, so
    /// that the services can start.
    Placeholder(Reason),
    /// Manual mode: see whether the CA can reach this host again, and order nothing.
    Probe,
    /// Try the names at the rehearsal directory first; an order under way as with `Issue`.
    Rehearse(Reason),
    /// Nothing to do before a certain time.
    Wait(Wait),
}

/// The next step for a service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServiceAction {
    /// Make a revision of the pair that somebody put at the targets: it lasts longer than ours.
    Adopt {
        /// The certificate that it is one for.
        certificate: String,
    },
    /// Tell people that a reload at this time will end calls.
    Announce {
        /// The beginning of a window.
        takes_place: Timestamp,
        /// Certificate and revision that it brings in.
        pairs: Vec<(String, u64)>,
    },
    /// Ask how many calls a reload would end.
    CountCalls,
    /// Install these revisions, reload once, prove.
    Deploy {
        /// Certificate and revision.
        pairs: Vec<(String, u64)>,
        /// Why, per pair the same.
        reason: DeployReason,
    },
    /// Probe the endpoints: nothing was seen lately, or something unproved may have changed.
    Look,
    /// Put back files that are missing or broken, then reload and prove.
    Mend {
        /// Certificates whose files are not what was installed.
        certificates: Vec<String>,
    },
    /// A switch was cut off: finish or undo it before anything else.
    Settle,
    /// Nothing to do before a certain time.
    Wait(Wait),
}

/// Why a certificate is ordered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The configuration asks for something else than was asked last.
    Changed(String),
    /// Less than 1/20 of life is left.
    Emergency,
    /// Past its end.
    Expired,
    /// A person asked for it.
    Forced,
    /// Two thirds of the lifetime (half below 10 days) have passed.
    Lifetime,
    /// There is none.
    Missing,
    /// The CA suggests it (RFC 9773).
    RenewalInfo,
    /// The CA took it back.
    Revoked,
    /// An uploaded certificate nears its end, and the CA can reach us.
    TakeOver,
    /// An order for exactly this is under way.
    UnderWay,
}

/// Why a revision is deployed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeployReason {
    /// A person asked for it.
    Forced,
    /// A newer revision than the service has.
    Newer,
    /// Somebody put something older or poorer in its place.
    PutBack,
    /// The last try did not end in proof.
    Retry,
}

/// Nothing to do for now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wait {
    /// When to look again; `None`: only when something changes.
    pub until: Option<Timestamp>,
    /// What is waited for, in the operator's words.
    pub why: Why,
}

/// What is waited for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    /// Another service comes first.
    After(String),
    /// Phones might not trust it: a person has to agree.
    Approval(String),
    /// The last try failed.
    BackOff(String),
    /// The CA's limits, or our own below them.
    Budget(String),
    /// A window, the end of a freeze, or calls that are up.
    Calm(String),
    /// The clock cannot be trusted.
    Clock(String),
    /// This may be a copy of another system: a person has to say.
    Copy(String),
    /// Clients will stumble over it, and `strict-lint` is set.
    Lint(String),
    /// Nothing is due.
    NotDue(String),
    /// There is nothing to deploy yet.
    NoCertificate,
    /// A person holds it.
    Held(String),
    /// Files changed a moment ago; waiting until they are quiet.
    Quiet,
    /// A person has to act first.
    Person(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(what) => write!(f, "the configuration asks for {what}"),
            Self::Emergency => f.write_str("less than 1/20 of its life is left"),
            Self::Expired => f.write_str("it has expired"),
            Self::Forced => f.write_str("asked for by hand"),
            Self::Lifetime => {
                f.write_str("two thirds of its life have passed (half below 10 days)")
            }
            Self::Missing => f.write_str("there is none yet"),
            Self::RenewalInfo => f.write_str("the CA suggests it"),
            Self::Revoked => f.write_str("the CA revoked it"),
            Self::TakeOver => f.write_str("the uploaded certificate nears its end"),
            Self::UnderWay => f.write_str("an order for it is under way"),
        }
    }
}

impl fmt::Display for DeployReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forced => "asked for by hand",
            Self::Newer => "a newer certificate than the service has",
            Self::PutBack => "something older or poorer came to its place from outside",
            Self::Retry => "the last try did not end in proof",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(text)
            | Self::Approval(text)
            | Self::BackOff(text)
            | Self::Budget(text)
            | Self::Calm(text)
            | Self::Clock(text)
            | Self::Copy(text)
            | Self::Lint(text)
            | Self::NotDue(text)
            | Self::Held(text)
            | Self::Person(text) => f.write_str(text),
            Self::NoCertificate => f.write_str("there is no certificate to deploy yet"),
            Self::Quiet => f.write_str("files changed a moment ago; waiting until they are quiet"),
        }
    }
}
