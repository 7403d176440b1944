//! The one seam to the time of day.

use jiff::Timestamp;

/// Tells the time. Read only by `daemon`, `cli` and the flows at rank 7 and above; everything
/// below takes `now` as its last argument.
pub trait Clock: Send + Sync {
    /// The wall-clock time now.
    fn now(&self) -> Timestamp;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
