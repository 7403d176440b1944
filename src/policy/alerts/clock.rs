//! A clock that jumps while nobody vouches for it.

use std::time::Duration;

use super::{Round, letter};
use crate::cert::span;
use crate::policy::schedule::{DAY, holds_until};
use crate::state::{Condition, Finding, Severity};

impl Round<'_> {
    /// Whether the clock jumped further than a day while nobody vouched for it. It is doubted for a
    /// day at most: silence about a certificate that ends would be worse than a false alarm.
    pub(super) fn believe_clock(&mut self, trusted: bool) -> bool {
        let now = self.now;
        let last = self.log.believed_at.unwrap_or(now);
        let jumped = !trusted && span(last.min(now), last.max(now)) > CLOCK_STEP;
        if jumped {
            let since = *self.log.jumped_at.get_or_insert(now);
            if let Some(until) = holds_until(since, DAY, now) {
                self.wake_at(until);
                return true;
            }
        }
        self.log.jumped_at = None;
        self.log.believed_at = Some(now);
        false
    }

    pub(super) fn jump(&self) -> Finding {
        let before = self.log.believed_at.unwrap_or(self.now);
        let mut finding = Finding::new(
            Condition::Clock,
            "clock",
            Severity::Warning,
            "the clock jumped",
            format!(
                "the clock of this host jumped from {} to {}, and nothing vouches for it; \
                 certificates are not judged by it for a day",
                letter::local(before, &self.settings.zone),
                letter::local(self.now, &self.settings.zone)
            ),
        );
        finding.over = Some("the clock is right again".to_owned());
        finding
            .ways
            .push("look at the time: timedatectl; switch on: timedatectl set-ntp true".to_owned());
        finding
    }
}

/// A step of the clock that is more than a night's sleep.
const CLOCK_STEP: Duration = Duration::from_secs(25 * 3600);
