//! A seam for tests: every operation that changes the disk is counted, so that a test can end the
//! process, or fill the disk, before any one of them.
//!
//! In builds with debug assertions only, a child process started with `PBXCERT_CRASH_AT=n` aborts
//! just before its n-th operation, and one with `PBXCERT_FULL_AT=n` meets a full disk
//! at each operation that needs space from the n-th on. A release build has none of this.

use std::io;

/// What an operation needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Needs {
    /// A rename, a removal, a flush: works on a full disk.
    Nothing,
    /// New names or bytes.
    Space,
}

/// Called before each operation that changes the disk.
#[cfg(debug_assertions)]
pub(super) fn step(needs: Needs) -> io::Result<()> {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNT: AtomicU64 = AtomicU64::new(0);
    static CRASH_AT: LazyLock<Option<u64>> = LazyLock::new(|| number("PBXCERT_CRASH_AT"));
    static FULL_AT: LazyLock<Option<u64>> = LazyLock::new(|| number("PBXCERT_FULL_AT"));

    fn number(variable: &str) -> Option<u64> {
        std::env::var(variable).ok()?.parse().ok()
    }

    #[cfg(test)]
    cut::step()?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    if *CRASH_AT == Some(count) {
        std::process::abort();
    }
    if needs == Needs::Space && FULL_AT.is_some_and(|at| count >= at) {
        return Err(rustix::io::Errno::NOSPC.into());
    }
    Ok(())
}

/// Called before each operation that changes the disk; nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub(super) fn step(_: Needs) -> io::Result<()> {
    Ok(())
}

/// The same in this very thread, for tests that try thousands of moments: before an operation,
/// somebody else is quicker, or everything ends and none is done any more.
#[cfg(all(test, debug_assertions))]
pub(crate) mod cut {
    use std::cell::{Cell, RefCell};

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
        static OTHER: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    }

    /// The end comes before the operation of this number, from 1 on; `None`: not at all.
    pub(crate) fn at(operation: Option<u64>) {
        LEFT.set(operation);
    }

    /// Somebody else does this before the operation of this number.
    pub(crate) fn in_before(operation: u64, other: impl FnOnce() + 'static) {
        OTHER.set(Some(Box::new(other)));
        LEFT.set(Some(operation));
    }

    /// Whether the moment came.
    pub(crate) fn is_over() -> bool {
        LEFT.get() == Some(0)
    }

    pub(super) fn step() -> std::io::Result<()> {
        match (LEFT.get(), OTHER.take()) {
            (None, _) => Ok(()),
            (Some(1), Some(other)) => {
                LEFT.set(None);
                other();
                Ok(())
            }
            (Some(0 | 1), None) => {
                LEFT.set(Some(0));
                Err(rustix::io::Errno::IO.into())
            }
            (Some(left), other) => {
                OTHER.set(other);
                LEFT.set(Some(left.saturating_sub(1)));
                Ok(())
            }
        }
    }
}
