//! How loud a finding is at this moment: the ladder of a life that runs out, and a table for
//! everything else.

use std::time::Duration;

use jiff::Timestamp;

use crate::cert::{Validity, span};
use crate::policy::schedule::{DAY, HOUR, MINUTE, after, before};
use crate::state::alert::Level;
use crate::state::{Condition, FailureClass, Finding, Life, Severity};

/// How loud a finding is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Standing {
    /// `None`: nobody is told yet.
    pub(super) level: Option<Level>,
    /// Points of the ladder that have passed.
    pub(super) rung: u8,
    /// When that changes by itself.
    pub(super) changes_at: Option<Timestamp>,
}

/// How loud it is now, when it is known since `since`.
pub(super) fn of(finding: &Finding, since: Timestamp, now: Timestamp) -> Standing {
    let ladder = finding.life.map(|life| ladder(life, now));
    match finding.condition {
        Condition::Expiry => ladder.unwrap_or_else(|| at_once(severe(finding))),
        Condition::Renewal => renewal(finding, ladder, since, now),
        Condition::Placeholder | Condition::Stuck => at_once(Level::Critical),
        Condition::RolledBack => louder(at_once(severe(finding).max(Level::Urgent)), ladder),
        Condition::DeployBroken | Condition::NotTaken => {
            let standing = patient(severe(finding), SECOND_TRY, since, now);
            if standing.level.is_some() { louder(standing, ladder) } else { standing }
        }
        Condition::Unproved => patient(severe(finding), DAY, since, now),
        Condition::Fault | Condition::StoreDamage => {
            patient(severe(finding), MINUTE * 10, since, now)
        }
        Condition::RestartAnnounced => in_time(finding.by, now),
        Condition::Chain
        | Condition::ChannelDead
        | Condition::Clock
        | Condition::ConfigDegraded
        | Condition::Disk
        | Condition::Drift
        | Condition::DropAccepted
        | Condition::DropRefused
        | Condition::Duplicate
        | Condition::Hold
        | Condition::Hygiene
        | Condition::Lint
        | Condition::Load
        | Condition::Mode
        | Condition::OtherClient
        | Condition::Restricted
        | Condition::Revoked
        | Condition::Served
        | Condition::Sources
        | Condition::Trunk
        | Condition::TrustChange
        | Condition::Unmanaged
        | Condition::Unsynchronised
        | Condition::Updates
        | Condition::Vulnerable => louder(at_once(severe(finding)), ladder),
    }
}

fn severe(finding: &Finding) -> Level {
    match finding.severity {
        Severity::Notice => Level::Notice,
        Severity::Warning => Level::Warning,
        Severity::Critical => Level::Critical,
    }
}

fn at_once(level: Level) -> Standing {
    Standing { level: Some(level), rung: 0, changes_at: None }
}

/// News of what will happen must not wait for the end of the quiet hours when it happens before.
fn in_time(by: Option<Timestamp>, now: Timestamp) -> Standing {
    let soon = by.map(|by| before(by, DAY / 2));
    match soon.filter(|soon| now < *soon) {
        Some(soon) => Standing { changes_at: Some(soon), ..at_once(Level::Warning) },
        None => at_once(Level::Urgent),
    }
}

/// What is often gone at the next try is told when it is not.
fn patient(level: Level, patience: Duration, since: Timestamp, now: Timestamp) -> Standing {
    let at = after(since, patience);
    if now < at {
        return Standing { level: None, rung: 0, changes_at: Some(at) };
    }
    at_once(level)
}

/// What heals by itself is told after a day or at 1/4 of life left; what needs a person, at once.
/// Louder with every point of the ladder, also where the ladder alone is silent.
fn renewal(
    finding: &Finding,
    ladder: Option<Standing>,
    since: Timestamp,
    now: Timestamp,
) -> Standing {
    let base = match finding.class {
        Some(FailureClass::Person) => Level::Warning,
        _ => {
            let waiting = patient(Level::Warning, healing(finding, since), since, now);
            let Some(ladder) = ladder else {
                // Without any certificate there is no life to go by.
                return Standing { level: waiting.level.map(|_| Level::Urgent), ..waiting };
            };
            if waiting.level.is_none() && ladder.level.is_none() {
                let changes_at = [waiting.changes_at, ladder.changes_at].into_iter().flatten();
                return Standing { changes_at: changes_at.min(), ..waiting };
            }
            Level::Warning
        }
    };
    let Some(ladder) = ladder else { return at_once(Level::Urgent) };
    louder(at_once(base), Some(ladder))
}

/// How long it may take to heal: a day that has seen failures at both ends. The tries are a day
/// apart by then, and one that is still to come may well succeed.
fn healing(finding: &Finding, since: Timestamp) -> Duration {
    let sure = finding.seen_at.is_none_or(|at| span(since, at) >= DAY * 5 / 6);
    if sure { DAY } else { DAY * 3 / 2 }
}

fn louder(one: Standing, ladder: Option<Standing>) -> Standing {
    let Some(ladder) = ladder else { return one };
    let changes_at = [one.changes_at, ladder.changes_at].into_iter().flatten().min();
    Standing { level: one.level.max(ladder.level), changes_at, ..ladder }
}

/// 1/4, 1/8 and 1/16 of life left, 3 days, 1 day, the end. A certificate that a person brings:
/// 45, 30, 14, 7, 3, 1 days. None before the last quarter, nor more than 60 days ahead.
fn ladder(life: Life, now: Timestamp) -> Standing {
    let Validity { not_after: end, .. } = life.validity;
    if life.scheduled && now < end {
        return Standing { level: None, rung: 0, changes_at: Some(end) };
    }
    let lifetime = life.validity.lifetime();
    let mut passed = 0;
    let mut next = None;
    for left in rungs(life) {
        let at = before(end, left);
        if at <= now {
            passed += 1;
        } else {
            next = next.or(Some(at));
        }
    }
    // Between the first point and the last, the level also rises at 1/8 and 1/16.
    let levels = [(lifetime / 8, Level::Urgent), (lifetime / 16, Level::Critical)];
    let mut level = (passed > 0).then_some(Level::Warning);
    for (left, reached) in levels {
        let at = before(end, left);
        if at > now {
            next = Some(next.map_or(at, |next: Timestamp| next.min(at)));
        } else if passed > 0 {
            level = Some(reached);
        }
    }
    Standing { level, rung: passed, changes_at: next }
}

/// How much is left at each point, the first one first.
fn rungs(life: Life) -> Vec<Duration> {
    let lifetime = life.validity.lifetime();
    let mut rungs = vec![lifetime / 4, lifetime / 8, lifetime / 16];
    if life.manual && lifetime > LONG {
        rungs = [45, 30, 14, 7, 3, 1].map(|days| DAY * days).to_vec();
    } else if lifetime > LONG {
        rungs.extend([DAY * 3, DAY]);
    }
    for rung in &mut rungs {
        *rung = (*rung).min(lifetime / 4).min(DAY * 60);
    }
    rungs.push(Duration::ZERO);
    rungs.sort_unstable_by(|a, b| b.cmp(a));
    rungs.dedup();
    rungs
}

/// Below it days are too coarse.
const LONG: Duration = Duration::from_secs(30 * 86_400);

/// By then a deployment that could not begin, or was not taken, has had its second automatic try.
const SECOND_TRY: Duration = HOUR;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{at, day, leaf};

    fn life(days: f64, manual: bool) -> Life {
        let validity = leaf("pbx.example", 1, day(0.0), DAY.mul_f64(days)).validity;
        Life { validity, manual, scheduled: false }
    }

    /// Days before the end at which something is told, and how loud it is then.
    fn told(life: Life) -> Vec<(f64, Level)> {
        let mut told: Vec<(f64, Level)> = Vec::new();
        let (mut now, mut last) = (life.validity.not_before, Standing::default());
        while let Some(next) = ladder(life, now).changes_at {
            now = next;
            let standing = ladder(life, now);
            if (standing.level, standing.rung) != (last.level, last.rung) {
                let left = crate::cert::span(now, life.validity.not_after).as_secs_f64() / 86_400.0;
                told.push(((left * 100.0).round() / 100.0, standing.level.unwrap()));
            }
            last = standing;
        }
        told
    }

    #[test]
    fn the_ladder_of_each_life_has_its_points() {
        use Level::{Critical, Urgent, Warning};

        let of_90 = [
            (22.5, Warning),
            (11.25, Urgent),
            (5.63, Critical),
            (3.0, Critical),
            (1.0, Critical),
            (0.0, Critical),
        ];
        assert_eq!(told(life(90.0, false)), of_90);
        let of_47 = [
            (11.75, Warning),
            (5.88, Urgent),
            (3.0, Urgent),
            (2.94, Critical),
            (1.0, Critical),
            (0.0, Critical),
        ];
        assert_eq!(told(life(47.0, false)), of_47);
        let of_6 = [(1.5, Warning), (0.75, Urgent), (0.38, Critical), (0.0, Critical)];
        assert_eq!(told(life(6.0, false)), of_6);
        let manual_90 = [
            (22.5, Warning),
            (14.0, Warning),
            (11.25, Urgent),
            (7.0, Urgent),
            (5.63, Critical),
            (3.0, Critical),
            (1.0, Critical),
            (0.0, Critical),
        ];
        assert_eq!(told(life(90.0, true)), manual_90);
        assert_eq!(told(life(398.0, false))[0], (60.0, Warning), "not more than 60 days ahead");
        assert_eq!(told(life(825.0, true))[0].0, 45.0);
        assert_eq!(told(life(7.0, true))[0], (1.75, Warning), "short ones by their quarters");
    }

    #[test]
    fn a_newer_one_that_waits_on_schedule_silences_until_the_end() {
        let life = Life { scheduled: true, ..life(90.0, false) };
        for d in [70.0, 80.0, 89.9] {
            assert_eq!(ladder(life, day(d)).level, None);
        }
        assert_eq!(ladder(life, day(90.0)).level, Some(Level::Critical));
    }

    fn failing(class: FailureClass, life: Option<Life>) -> Finding {
        let mut finding = Finding::new(Condition::Renewal, "pbx", Severity::Warning, "", "");
        (finding.class, finding.life) = (Some(class), life);
        finding
    }

    #[test]
    fn what_heals_is_told_after_a_day_or_at_a_quarter_and_what_needs_a_person_at_once() {
        use FailureClass::{Person, RateLimited, Transient, Validation};

        let life = Some(life(90.0, false));
        for class in [Transient, Validation, RateLimited] {
            let level = |since, now| of(&failing(class, life), day(since), day(now)).level;
            assert_eq!(level(60.0, 60.9), None);
            assert_eq!(level(60.0, 61.0), Some(Level::Warning));
            assert_eq!(level(67.4, 67.5), Some(Level::Warning), "1/4 left");
            assert_eq!(level(78.7, 78.8), Some(Level::Urgent), "1/8 left");
            assert_eq!(level(84.3, 84.4), Some(Level::Critical), "1/16 left");
        }
        let person = failing(Person, life);
        assert_eq!(of(&person, day(60.0), day(60.0)).level, Some(Level::Warning));
        assert_eq!(of(&person, day(80.0), day(80.0)).level, Some(Level::Urgent));
        let first = failing(Person, None);
        assert_eq!(of(&first, at(0), at(0)).level, Some(Level::Urgent), "no certificate at all");
        let first = failing(Transient, None);
        assert_eq!(of(&first, day(0.0), day(0.9)).level, None);
        assert_eq!(of(&first, day(0.0), day(1.0)).level, Some(Level::Urgent));
    }

    #[test]
    fn a_silent_finding_says_when_it_will_speak() {
        let finding = failing(FailureClass::Transient, Some(life(90.0, false)));
        let mut now = day(60.0);
        let mut levels = Vec::new();
        while let Some(next) = of(&finding, day(60.0), now).changes_at {
            assert!(next > now, "{next} is over at {now}");
            now = next;
            levels.push(of(&finding, day(60.0), now).level);
        }
        assert_eq!(levels.first(), Some(&Some(Level::Warning)));
        assert_eq!(levels.last(), Some(&Some(Level::Critical)));
    }

    #[test]
    fn news_of_a_restart_waits_for_no_morning_after_it() {
        let mut restart =
            Finding::new(Condition::RestartAnnounced, "sip", Severity::Warning, "", "");
        restart.by = Some(day(2.0));
        let level = |now| of(&restart, day(0.0), now).level;
        assert_eq!(level(day(0.0)), Some(Level::Warning));
        assert_eq!(of(&restart, day(0.0), day(0.0)).changes_at, Some(day(1.5)));
        assert_eq!(level(day(1.5)), Some(Level::Urgent));
    }
}
