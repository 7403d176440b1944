//! One timer on the wall clock, which also fires when the clock is set or the machine wakes from
//! suspend, so that an idle daemon never wakes to look at the time.

use std::io;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A `timerfd` on CLOCK_REALTIME. See timerfd_create(2), `TFD_TIMER_CANCEL_ON_SET`.
pub(super) struct Timer {
    fd: AsyncFd<OwnedFd>,
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Realtime, flags)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, for types that lend their descriptor; ours owns it"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Self { fd })
    }

    /// Fires at `at`, at once when that has passed, and whenever the clock is set.
    pub(super) fn set(&self, at: Timestamp) {
        // Zero would switch it off; a time before 1970 has passed as well.
        let value = Timespec {
            tv_sec: at.as_second().max(1),
            tv_nsec: i64::from(at.subsec_nanosecond().max(0)),
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.fd, flags, &spec) {
            // It is set all the same, and tells once more that the clock was (timerfd_create(2)).
            Ok(_) | Err(rustix::io::Errno::CANCELED) => {}
            Err(error) => tracing::error!("the timer cannot be set: {error}"),
        }
    }

    /// Waits until it fires or the clock was set; either way, look again.
    pub(super) async fn fired(&self) {
        loop {
            let Ok(mut ready) = self.fd.readable().await else { return };
            let mut count = [0; 8];
            // ECANCELED says that the clock was set: as good a reason to look as any.
            match ready.try_io(|fd| Ok(rustix::io::read(fd, &mut count)?)) {
                Ok(_) => return,
                Err(_would_block) => {}
            }
        }
    }
}
