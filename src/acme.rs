//! A CA spoken to in steps: [`Authority::step`] returns, before each side effect, the value that
//! must be remembered; the caller stores it and calls again. So a crash between any two steps
//! loses nothing, and nothing is remembered here.

mod ari;
mod check;
mod client;
mod directory;
pub mod holder;
mod http01;
mod jws;
mod listener;
mod new_order;
mod order;
pub mod problem;
pub mod refusal;
mod session;
mod transport;
mod webroot;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;

use crate::cert::{self, Identifier, Leaf};
use crate::http;
use crate::state::{Account, Ari, OrderJournal, Stage};

pub use check::check_issued;
pub use client::{AcmeAuthority, Limits};
pub use http01::Auto;
pub use refusal::{Problem, Refusal, RetryAfter};

/// A future of a seam; the runtime has one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A CA with which orders are driven.
pub trait Authority {
    /// Does the next side effect of an order and returns what to remember before the one after.
    fn step<'a>(
        &'a self,
        order: &'a OrderJournal,
        account: Option<&'a Account>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Step, Error>>;

    /// Publishes a response that no CA has asked for, as for one of these challenges, and looks at
    /// it from here: [`Authority::retract`] takes it back, also after an error.
    ///
    /// Why that failed, for a person.
    fn show<'a>(
        &'a self,
        _challenges: &'a [String],
        _identifier: &'a Identifier,
        _token: &'a str,
        _body: &'a str,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("there is nothing to answer with".to_owned()) })
    }

    /// Removes challenge responses; also called at start for what a crash left behind. Never fails:
    /// a response that stays is harmless and goes with the next call.
    fn retract(&self, tokens: &[String]);

    /// What time the CA thinks it is, told over verified TLS; `None` when it cannot be asked. A
    /// second opinion for a clock that nobody has vouched for yet.
    fn date(&self) -> BoxFuture<'_, Option<Timestamp>>;

    /// Asks for renewal information (RFC 9773); `None` when the CA offers none.
    fn renewal_info<'a>(
        &'a self,
        leaf: &'a Leaf,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Ari>, Error>>;
}

/// What to remember before calling [`Authority::step`] again.
#[derive(Debug)]
pub enum Step {
    /// The account changed: made, or registered.
    Account(Account),
    /// The order moved on.
    Order(Stage),
}

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deed {
    /// newAccount.
    Account,
    /// Looking at an authorization, or what the CA found when it looked.
    Authorization,
    /// Downloading the chain.
    Certificate,
    /// Telling the CA to look.
    Challenge,
    /// Reading the directory.
    Directory,
    /// Sending the signing request.
    Finalize,
    /// newOrder.
    NewOrder,
    /// Looking at the order.
    Order,
    /// Asking for renewal information.
    RenewalInfo,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "the registration",
            Self::Authorization => "the validation",
            Self::Certificate => "the download of the certificate",
            Self::Challenge => "the challenge",
            Self::Directory => "the request for its directory",
            Self::Finalize => "the signing request",
            Self::NewOrder => "the order",
            Self::Order => "the question for the order",
            Self::RenewalInfo => "the question for renewal information",
        })
    }
}

/// Why a step did not succeed. [`Error::failure`] says what it means, [`Error::keeps_order`]
/// whether the order that was under way is worth going on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something in the configuration is missing for an account.
    #[error("cannot register at {directory}: {reason}")]
    Account {
        /// The directory.
        directory: String,
        /// What is missing, and what to do.
        reason: String,
    },
    /// An answer that is not what the protocol says.
    #[error("the CA's answer to {deed} is not understood: {reason}")]
    Answer {
        /// What was asked.
        deed: Deed,
        /// What is odd.
        reason: String,
    },
    /// The response to a challenge cannot be published, or the self-test does not see it.
    #[error("cannot answer the challenge for {identifier}: {reason}")]
    Challenge {
        /// The name.
        identifier: Identifier,
        /// Why, per way that was tried.
        reason: String,
    },
    /// A chain that is not what was ordered.
    #[error("the CA sent a certificate that is not what was ordered: {0}")]
    Certificate(String),
    /// The CA could not be reached.
    #[error("{deed} did not reach the CA: {source}")]
    Http {
        /// What was asked.
        deed: Deed,
        /// Why.
        source: http::Error,
    },
    /// A key or signing request could not be made.
    #[error("cannot make a key or signing request: {0}")]
    Key(#[from] cert::Error),
    /// The CA offers no way of proof that is configured.
    #[error("no way to prove control of {identifier}: {reason}")]
    NoChallenge {
        /// The name.
        identifier: Identifier,
        /// What the CA offers, or what is not configured.
        reason: String,
    },
    /// The order failed at the CA without a reason per name.
    #[error("the CA gave up the order: {}", .0.detail())]
    OrderInvalid(Box<Problem>),
    /// The CA does not know the order (any more).
    #[error("the CA does not know the order any more: {reason}")]
    OrderLost {
        /// Its words.
        reason: String,
    },
    /// The CA is not ready within our limit; the order goes on later.
    #[error("the CA has not finished {what} within {} s", .limit.as_secs())]
    Pending {
        /// What.
        what: Deed,
        /// How long we waited.
        limit: Duration,
        /// When it said to come back.
        retry_after: Option<RetryAfter>,
    },
    /// The CA said no.
    #[error("the CA refused {deed}: {refusal}")]
    Refused {
        /// What was asked.
        deed: Deed,
        /// What it said.
        refusal: Box<Refusal>,
    },
    /// The CA does not like `replaces`: take it out of the journal, and call again.
    #[error("the CA refused to take the order as a replacement: {detail}")]
    ReplacesRefused {
        /// Its words.
        detail: String,
        /// It says that another order has replaced it already (RFC 9773 section 5).
        already: bool,
    },
    /// The CA looked and did not find what it wanted.
    #[error("the CA could not validate {}", rejections(.0))]
    Validation(Vec<Rejection>),
}

/// A name that the CA could not validate.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The name.
    pub identifier: Identifier,
    /// Why.
    pub problem: Problem,
}

impl Error {
    /// Whether the order, if there is one, is worth going on with: the next call looks at it and
    /// costs no new one. Otherwise the caller drops it and begins anew with a new key.
    pub fn keeps_order(&self) -> bool {
        match self {
            Self::Account { .. }
            | Self::Answer { .. }
            | Self::Challenge { .. }
            | Self::Http { .. }
            | Self::Key(_)
            | Self::Pending { .. }
            | Self::ReplacesRefused { .. } => true,
            Self::Certificate(_)
            | Self::NoChallenge { .. }
            | Self::OrderInvalid(_)
            | Self::OrderLost { .. }
            | Self::Validation(_) => false,
            // Before there is an order there is none to lose; after that, what is refused for good
            // is refused again: only a new order, with a new key, can help.
            Self::Refused { deed, .. } => {
                matches!(deed, Deed::Account | Deed::Directory | Deed::NewOrder | Deed::RenewalInfo)
                    || self.is_passing()
            }
        }
    }

    /// The names whose validation failed, for the CA's budget.
    pub fn failed_identifiers(&self) -> Vec<Identifier> {
        match self {
            Self::Validation(all) => all.iter().map(|r| r.identifier.clone()).collect(),
            _ => Vec::new(),
        }
    }
}

fn rejections(all: &[Rejection]) -> String {
    let texts: Vec<String> =
        all.iter().map(|r| format!("{}: {}", r.identifier, r.problem.detail())).collect();
    texts.join("; ")
}
