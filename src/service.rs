//! Runs the hooks of a service.

use std::time::Duration;

use crate::config::ServiceSpec;
use crate::hook;

/// A future of a seam; the runtime has one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a hook is asked to do, `PBXCERT_EVENT`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HookEvent {
    /// Say whether the service's configuration is sound.
    Test,
    /// Make the service take the new files.
    Reload,
    /// Bring the service back after a rollback.
    Recover,
}

/// Makes a service do something.
pub trait Reloader {
    /// Runs the service's hook for `event` with `PBXCERT_*` variables; `None` when it has none.
    fn run<'a>(
        &'a self,
        service: &'a ServiceSpec,
        event: HookEvent,
        variables: &'a [(String, String)],
        limit: Duration,
    ) -> BoxFuture<'a, Option<Result<hook::Output, hook::Error>>>;
}
