//! Sends messages to people: one file per channel below. Decides nothing.

use jiff::Timestamp;

use crate::state::alert::Message;

/// A future of a seam; the runtime has one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Why a message did not go out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In words; never with a secret in it.
    #[error("{0}")]
    Failed(String),
}

/// A way to reach people.
pub trait Notifier {
    /// What it is called in reports: `e-mail to noc@voip.example`, `webhook hooks.slack.com`.
    fn name(&self) -> &str;

    /// Sends one message; returns when the other side has taken it.
    fn send<'a>(&'a self, message: &'a Message, now: Timestamp)
    -> BoxFuture<'a, Result<(), Error>>;
}
