use std::collections::BTreeSet;

use jiff::tz::Offset;
use proptest::prelude::*;

use super::*;
use crate::policy::samples::{at, cases};
use crate::state::software::Boot;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A machine whose clock, power and place change. All in seconds since a point in real time.
struct Machine {
    real: i64,
    /// How far its clock is ahead.
    ahead: i64,
    booted_at: i64,
    boots: u32,
    /// Its clock is synchronised whenever it is right.
    synchronised: bool,
    zone: TimeZone,
    memory: OfflineMemory,
}

impl Machine {
    fn new(synchronised: bool) -> Self {
        Self {
            real: 0,
            ahead: 0,
            booted_at: 0,
            boots: 0,
            synchronised,
            zone: vienna(),
            memory: OfflineMemory::default(),
        }
    }

    fn moment(&self) -> Moment {
        let up = u64::try_from(self.real - self.booted_at).unwrap();
        Moment {
            at: at(self.real + self.ahead),
            trusted: self.synchronised && self.ahead == 0,
            boot: Some(Boot { id: self.boots.to_string(), up }),
        }
    }

    fn today(&self) -> Date {
        self.zone.to_datetime(self.moment().at).date()
    }

    fn tries(&mut self, outcome: Outcome) {
        self.memory = after(&self.memory, outcome, &self.zone, &self.moment());
    }

    fn off_for(&mut self, seconds: i64) {
        self.real += seconds;
        (self.booted_at, self.boots) = (self.real, self.boots + 1);
    }

    fn days(&self) -> usize {
        self.memory.days.len()
    }

    fn is_restricted(&self) -> bool {
        self.memory.restricted_since.is_some()
    }
}

fn vienna() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

/// A day passes, and nobody answers.
fn in_vain(machine: &mut Machine, days: usize) {
    for _ in 0..days {
        machine.tries(Outcome::Failed);
        machine.real += DAY;
    }
}

#[test]
fn fourteen_days_in_vain_restrict_and_one_success_restores() {
    for synchronised in [true, false] {
        let mut machine = Machine::new(synchronised);
        in_vain(&mut machine, 13);
        assert!(!machine.is_restricted());
        in_vain(&mut machine, 1);
        assert!(machine.is_restricted(), "{:?}", machine.memory);
        let since = machine.memory.restricted_since;
        in_vain(&mut machine, 3);
        assert_eq!((machine.days(), machine.memory.restricted_since), (17, since));
        machine.tries(Outcome::Reached);
        assert_eq!((machine.days(), machine.is_restricted()), (0, false));
    }
}

#[test]
fn a_day_with_a_success_does_not_count_whatever_comes_after_it() {
    let mut machine = Machine::new(true);
    in_vain(&mut machine, 5);
    machine.tries(Outcome::Reached);
    machine.real += HOUR;
    machine.tries(Outcome::Failed);
    assert_eq!(machine.days(), 0);
    machine.real += DAY;
    machine.tries(Outcome::Failed);
    machine.tries(Outcome::Failed);
    assert_eq!(machine.days(), 1, "and a day counts once");
}

#[test]
fn no_network_and_faults_of_the_server_are_no_days() {
    let mut machine = Machine::new(true);
    for _ in 0..30 {
        machine.tries(Outcome::NotOurs);
        machine.real += DAY;
    }
    assert_eq!(machine.memory, OfflineMemory::default());
    in_vain(&mut machine, 12);
    machine.tries(Outcome::NotOurs);
    assert_eq!(machine.days(), 12, "they restore nothing either");
}

#[test]
fn months_without_power_are_no_days() {
    let mut machine = Machine::new(true);
    in_vain(&mut machine, 12);
    machine.off_for(200 * DAY);
    machine.tries(Outcome::Failed);
    assert_eq!((machine.days(), machine.is_restricted()), (13, false));
}

#[test]
fn a_machine_that_is_off_at_night_counts_like_any_other() {
    let mut machine = Machine::new(true);
    for _ in 0..14 {
        assert!(!machine.is_restricted());
        machine.real += 8 * HOUR;
        machine.tries(Outcome::Failed);
        machine.off_for(16 * HOUR);
    }
    assert!(machine.is_restricted());
}

#[test]
fn a_clock_that_runs_through_the_calendar_restricts_nobody() {
    let mut machine = Machine::new(false);
    for jump in 0..100 {
        machine.ahead = jump * DAY * if jump % 2 == 0 { 1 } else { -1 };
        machine.tries(Outcome::Failed);
        machine.real += 60;
    }
    assert_eq!(machine.days(), 2, "as many as a span around midnight can touch");
    // A dead battery: another date at each start.
    for start in 0..100 {
        machine.off_for(60);
        machine.ahead = (start % 17) * 40 * DAY;
        machine.real += 600;
        machine.tries(Outcome::Failed);
    }
    assert!(!machine.is_restricted(), "{:?}", machine.memory);
}

#[test]
fn a_synchronised_clock_that_is_set_by_hand_proves_nothing() {
    let mut machine = Machine::new(true);
    for day in 0..30 {
        let mut moment = machine.moment();
        moment.at = at(day * DAY);
        machine.memory = after(&machine.memory, Outcome::Failed, &machine.zone, &moment);
        machine.real += 60;
    }
    assert_eq!(machine.days(), 2);
}

#[test]
fn a_grace_lifts_the_restriction_and_stops_the_count_until_it_ends() {
    let mut machine = Machine::new(true);
    in_vain(&mut machine, 20);
    assert!(machine.is_restricted());
    let until = at(machine.real + 30 * DAY);
    machine.memory = forgiven(&machine.memory, until, machine.moment().at);
    assert_eq!((machine.days(), machine.is_restricted()), (0, false));
    in_vain(&mut machine, 30);
    assert_eq!(machine.days(), 0);
    in_vain(&mut machine, 13);
    assert!(!machine.is_restricted());
    in_vain(&mut machine, 1);
    assert!(machine.is_restricted());
    // One that is over lifts nothing.
    let again = forgiven(&machine.memory, until, machine.moment().at);
    assert_eq!(again, machine.memory);
}

#[test]
fn without_an_uptime_the_count_stays_below_the_limit() {
    let mut machine = Machine::new(true);
    for day in 0..60 {
        let moment = Moment { at: at(day * DAY), trusted: true, boot: None };
        machine.memory = after(&machine.memory, Outcome::Failed, &machine.zone, &moment);
    }
    assert!(machine.days() <= 2);
}

#[derive(Clone, Debug)]
enum Happens {
    Fails,
    Passes(i64),
    PowerOff(i64),
    Reaches,
    ServerFails,
    Jumps(i64),
    Moves(i8),
}

fn quiet_life() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => Just(Happens::Fails),
        6 => (0..30 * HOUR).prop_map(Happens::Passes),
        1 => (0..90 * DAY).prop_map(Happens::PowerOff),
        1 => Just(Happens::ServerFails),
    ]
}

fn wild_life() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => quiet_life(),
        2 => (-400 * DAY..400 * DAY).prop_map(Happens::Jumps),
        1 => Just(Happens::Jumps(0)),
        1 => (-12_i8..14).prop_map(Happens::Moves),
    ]
}

fn live(machine: &mut Machine, event: &Happens) {
    match event {
        Happens::Fails => machine.tries(Outcome::Failed),
        Happens::Passes(seconds) => machine.real += seconds,
        Happens::PowerOff(seconds) => machine.off_for(*seconds),
        Happens::Reaches => machine.tries(Outcome::Reached),
        Happens::ServerFails => machine.tries(Outcome::NotOurs),
        Happens::Jumps(ahead) => machine.ahead = *ahead,
        Happens::Moves(hours) => machine.zone = Offset::constant(*hours).to_time_zone(),
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// Whatever clock, power and place do: nobody is restricted before as much real time has passed
    /// as the shortest fourteen days have.
    #[test]
    fn nobody_is_restricted_too_early(events in prop::collection::vec(wild_life(), 1..300)) {
        let mut machine = Machine::new(true);
        let mut first = None;
        for event in &events {
            live(&mut machine, event);
            if machine.days() > 0 && first.is_none() {
                first = Some(machine.real);
            }
            if machine.is_restricted() {
                let real = machine.real - first.unwrap();
                prop_assert!(real >= 12 * 23 * HOUR, "after {real} s: {:?}", machine.memory);
            }
            prop_assert!(machine.days() <= MOST);
        }
        machine.tries(Outcome::Reached);
        prop_assert_eq!((machine.days(), machine.is_restricted()), (0, false));
    }

    /// With a clock that is right the count is the number of days by the words of the contract,
    /// through reboots, months without power and both changes of the clocks.
    #[test]
    fn a_right_clock_counts_exactly(
        events in prop::collection::vec(
            prop_oneof![20 => quiet_life(), 1 => Just(Happens::Reaches)], 1..300),
    ) {
        let mut machine = Machine::new(true);
        let (mut failed, mut reached) = (BTreeSet::new(), BTreeSet::new());
        for event in &events {
            live(&mut machine, event);
            match event {
                Happens::Fails => drop(failed.insert(machine.today())),
                Happens::Reaches => {
                    failed.clear();
                    reached.insert(machine.today());
                }
                _ => {}
            }
            let expected = failed.difference(&reached).count();
            prop_assert_eq!(machine.days(), expected.min(MOST));
            prop_assert_eq!(machine.is_restricted(), expected >= RESTRICTED);
        }
    }

    /// A host that is cut off from time servers, too, counts as exactly while it runs.
    #[test]
    fn uptime_alone_counts_exactly(steps in prop::collection::vec(0..40 * HOUR, 1..60)) {
        let mut machine = Machine::new(false);
        let mut failed = BTreeSet::new();
        for step in steps {
            machine.real += step;
            machine.tries(Outcome::Failed);
            failed.insert(machine.today());
            prop_assert_eq!(machine.days(), failed.len());
        }
    }
}
