//! Two days in a row for a warning.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::config::check::CheckTime;
use crate::state::alert::Level;
use crate::state::check::Verdict;
use crate::state::host::Streak;

/// The days on which limits were passed, while one check is judged.
#[derive(Debug)]
pub(super) struct Days {
    streaks: BTreeMap<String, Streak>,
    today: Date,
}

/// What is told after all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Settled {
    /// The answer.
    pub(super) verdict: Verdict,
    /// For how many days in a row a limit has been passed; 0: it is not.
    pub(super) days: u32,
}

impl Days {
    /// What was remembered, without what is no row any more: a day was left out, or the clock was
    /// put back.
    pub(super) fn new(before: &BTreeMap<String, Streak>, at: CheckTime, today: Date) -> Self {
        // Of a weekly check the neighbour is a week away, and a day more when it was caught up.
        let most = match at {
            CheckTime::Daily(_) | CheckTime::Random => 1,
            CheckTime::Weekly(..) => 8,
        };
        let follows = |streak: &Streak| {
            let gap = streak.last.until(today).map(|span| span.get_days());
            gap.is_ok_and(|gap| (0..=most).contains(&gap))
        };
        let kept = before.iter().filter(|(_, streak)| follows(streak));
        Self { streaks: kept.map(|(key, streak)| (key.clone(), *streak)).collect(), today }
    }

    /// What a limit that is passed now means, after the days before.
    pub(super) fn settle(&mut self, key: &str, level: Option<Level>) -> Settled {
        let today = self.today;
        let old = self.streaks.get(key).copied();
        let Some(level) = level else {
            // That it was passed earlier today is still one day of a row.
            if old.is_some_and(|old| old.last < today) {
                self.streaks.remove(key);
            }
            return Settled { verdict: Verdict::Ok, days: 0 };
        };
        let days = match old {
            Some(old) if old.last == today => old.days,
            Some(old) => old.days.saturating_add(1),
            None => 1,
        };
        self.streaks.insert(key.to_owned(), Streak { days, last: today });
        let verdict = match level {
            Level::Critical => Verdict::Critical,
            _ if days >= 2 => Verdict::Warning,
            _ => Verdict::Ok,
        };
        Settled { verdict, days }
    }

    /// What to remember.
    pub(super) fn done(self) -> BTreeMap<String, Streak> {
        self.streaks
    }
}
