//! One daemon at a time.

use std::time::Duration;

use crate::fs::Lock;
use crate::store::{self, Store};

/// The lock of the one daemon; `None` when another one goes on holding it. One that was killed may
/// leave a child between fork and exec, which has the lock for some moments more.
pub(super) async fn only_one(store: &Store) -> Result<Option<Lock>, store::Error> {
    for _ in 0..TRIES {
        if let Some(lock) = store.try_lock_daemon()? {
            return Ok(Some(lock));
        }
        tokio::time::sleep(PAUSE).await;
    }
    store.try_lock_daemon()
}

/// How often the lock is tried for, and how long between two tries: a second in all.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
