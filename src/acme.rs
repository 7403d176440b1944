//! A CA spoken to in steps: [`Authority::step`] returns, before each side effect, the value that
//! must be remembered; the caller stores it and calls again. So a crash between any two steps
//! loses nothing, and no file is touched here.

use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;

use crate::cert::Leaf;
use crate::state::{Account, Ari, OrderJournal, Stage};

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

    /// Removes challenge responses; also called at start for what a crash left behind. Never fails:
    /// a response that stays is harmless and goes with the next call.
    fn retract(&self, tokens: &[String]);

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

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {}
