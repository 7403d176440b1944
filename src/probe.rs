//! Looks at what an endpoint really serves.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::Endpoint;
use crate::state::Served;

/// A future of a seam; the runtime has one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Makes one connection and tells what was served.
pub trait Prober {
    /// One look, within `limit`; every failure is an answer.
    fn probe<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        limit: Duration,
        now: Timestamp,
    ) -> BoxFuture<'a, Served>;
}
