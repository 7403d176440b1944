//! Thirty days of a host, with power-offs, clocks that jump and two copies of it: what its people
//! are told, kept in `month.txt` and read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::time;
use jiff::tz::TimeZone;

use super::*;
use crate::config::check::Limits;
use crate::policy::alerts::{self, Seen};
use crate::policy::schedule::{HOUR, Seed, after};
use crate::policy::{daily, identity, offline};
use crate::state::alert::Message;
use crate::state::check::Topic;
use crate::state::host::{
    Disk, HostMemory, Load, Memory, Pressure, ProcessorTimes, Sample, Space, Swap, Timekeeper,
};
use crate::state::identity::{IdentityRecord, Mark, Marks, Surroundings};
use crate::state::software::{Boot, Moment, OfflineMemory};

const SNAPSHOT: &str = include_str!("month.txt");
const GIB: u64 = 1 << 30;

/// What really happens, by hours since Monday 2026-11-30 00:00 UTC. A copy lives the same life.
#[derive(Clone, Copy)]
struct Life {
    /// Hours in which the machine is off.
    off: &'static [(u64, u64)],
    /// Hours in which programs wait for a processor.
    busy: &'static [(u64, u64)],
    /// Hours in which its disk is full.
    full: &'static [(u64, u64)],
    /// Hours in which an endpoint serves something else.
    strange: &'static [(u64, u64)],
    /// Hours in which nobody answers at the advisories' address.
    cut_off: &'static [(u64, u64)],
    /// Hours in which the clock is so many hours off, and nobody vouches for it.
    clock: &'static [(u64, u64, i64)],
    /// The network card is another one from then on, the board and the disk as well.
    moved: (u64, u64),
}

const ORIGINAL: Life = Life {
    off: &[(125, 166), (300, 310)],
    // One evening, which is nothing, and three days, which is told on the second.
    busy: &[(75, 80), (192, 264)],
    full: &[(240, 265)],
    strange: &[(335, 361)],
    cut_off: &[(40, 470)],
    // A night in 1970, and an afternoon in the next year.
    clock: &[(500, 506, -490_000), (540, 545, 9_000)],
    moved: (u64::MAX, u64::MAX),
};

/// A copy of the whole machine, started beside it on day 20.
const COPY: Life = Life { moved: (480, 480), ..ORIGINAL };
/// A copy in the laboratory whose network card alone is another one.
const TWIN: Life = Life { moved: (600, u64::MAX), ..ORIGINAL };

fn within(spans: &[(u64, u64)], hour: u64) -> bool {
    spans.iter().any(|(from, to)| (*from..*to).contains(&hour))
}

/// What is remembered on the disk of a machine, and so copied with it.
#[derive(Clone, Default)]
struct Machine {
    log: AlertLog,
    report: Option<CheckReport>,
    host: HostMemory,
    offline: OfflineMemory,
    identity: IdentityRecord,
    told: String,
}

impl Machine {
    /// Lives these hours.
    fn live(&mut self, life: Life, hours: std::ops::Range<u64>) {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut started = hours.start;
        for hour in hours {
            if within(life.off, hour) {
                started = hour + 1;
                continue;
            }
            let off = life.clock.iter().find(|(from, to, _)| (*from..*to).contains(&hour));
            let real = after(monday(), HOUR * u32::try_from(hour).unwrap());
            let shift = jiff::SignedDuration::from_hours(off.map_or(0, |(.., by)| *by));
            let now = real.checked_add(shift).unwrap();
            let up = HOUR * u32::try_from(hour - started).unwrap();
            let begun = now.checked_sub(up).unwrap();
            let world = World { life, hour, started, now, trusted: off.is_none(), up };
            self.identity = identity::look(&self.identity, &world.marks(), now).record;
            let at = CheckTime::Daily(time(3, 30, 0, 0));
            let last = self.report.as_ref().map(|report| report.at);
            let seed = Seed::new(b"one host");
            if daily::next_at(at, last, begun, &seed, &zone, now) <= now {
                self.check(&world, &zone);
            }
            self.alert(&world, &zone);
        }
    }

    fn check(&mut self, world: &World, zone: &TimeZone) {
        let now = world.now;
        let (load, disk) = (world.load(), world.disk());
        let facts = host::Host {
            load: &load,
            disks: std::slice::from_ref(&disk),
            offsets: &[],
            unsynchronised: false,
        };
        let today = zone.to_datetime(now).date();
        let at = CheckTime::Daily(time(3, 30, 0, 0));
        let (mut items, memory) =
            host::items(facts, &Limits::default(), at, &self.host, today, now);
        self.host = memory;
        let (outcome, heard) = if within(world.life.cut_off, world.hour) {
            (offline::Outcome::Failed, offline::Heard::Nothing("no answer within 10 s".to_owned()))
        } else {
            (offline::Outcome::Reached, offline::Heard::Well)
        };
        let boot = Boot { id: world.started.to_string(), up: world.up.as_secs() };
        let moment = Moment { at: now, trusted: world.trusted, boot: Some(boot) };
        self.offline = offline::after(&self.offline, outcome, zone, &moment);
        items.push(offline::item(&self.offline, "https://updates.example", &heard, now));
        items.push(identity::item(&self.identity));
        items.push(world.served());
        let settings = self.settings(zone);
        let before = self.report.as_ref();
        self.report = Some(report(items, before, &self.log, &settings, 1, now));
    }

    fn settings(&self, zone: &TimeZone) -> Settings {
        Settings {
            possible_copy: self.identity.copy().is_some(),
            site: "0142 Hotel Post".to_owned(),
            zone: zone.clone(),
            quiet: None,
            ignored: Vec::new(),
        }
    }

    fn alert(&mut self, world: &World, zone: &TimeZone) {
        let mut found = self.report.as_ref().map(findings).unwrap_or_default();
        found.extend(identity::finding(&self.identity));
        let unseen = self.report.as_ref().map(unseen).unwrap_or_default();
        let seen = Seen {
            findings: &found,
            unseen: &BTreeSet::new(),
            unseen_conditions: &unseen,
            named: &BTreeSet::from(["sip".to_owned()]),
            trusted: world.trusted,
        };
        let due = alerts::due(seen, &self.log, &self.settings(zone), world.now);
        self.log = due.log;
        for message in due.messages {
            self.tell(world, &message);
        }
    }

    fn tell(&mut self, world: &World, message: &Message) {
        let (day, hour) = (world.hour / 24 + 1, world.hour % 24);
        let object = format!("{}/{}", message.object, message.condition);
        let _ = writeln!(self.told, "day {day:2} {hour:02}:00  {object:22} {}", message.subject);
    }
}

/// One machine at one moment.
struct World {
    life: Life,
    hour: u64,
    started: u64,
    now: Timestamp,
    trusted: bool,
    up: Duration,
}

fn monday() -> Timestamp {
    "2026-11-30T00:00:00Z".parse().unwrap()
}

impl World {
    fn load(&self) -> Load {
        let busy = within(self.life.busy, self.hour);
        let waited = (self.started..self.hour).filter(|hour| within(self.life.busy, *hour)).count();
        let sample = Sample {
            at: self.now,
            boot: self.started.to_string(),
            uptime: self.up,
            // A third of an hour in each.
            processor: Some(waited as u64 * 1_200_000_000),
            memory: Some(0),
            io: Some(0),
            times: Some(ProcessorTimes {
                all: self.up.as_secs() * 200,
                idle: self.up.as_secs() * 200,
                stolen: 0,
            }),
            paged_in: Some(0),
        };
        let set_at = self.trusted.then_some(self.now);
        Load {
            sample: Some(sample),
            processor: Pressure::Known(if busy { 33.0 } else { 0.0 }),
            memory_pressure: Pressure::Known(0.0),
            io: Pressure::Known(0.0),
            load: Some(0.1),
            processors: Some(2),
            memory: Some(Memory { all: 4 * GIB, available: 3 * GIB }),
            swap: Some(Swap { all: GIB, used: 0 }),
            contained: false,
            timekeepers: vec![Timekeeper {
                name: "systemd-timesyncd".to_owned(),
                runs: true,
                set_at,
            }],
        }
    }

    fn disk(&self) -> Disk {
        let free = if within(self.life.full, self.hour) { GIB / 50 } else { 40 * GIB };
        let space =
            Space { all: 100 * GIB, free, inodes: 1000, free_inodes: 900, read_only: false };
        Disk { place: PathBuf::from("/var/lib/pbxcert"), ours: true, space: Ok(space) }
    }

    fn served(&self) -> Item {
        let place = "sips://192.168.1.10:5061";
        if within(self.life.strange, self.hour) {
            let text = "serves a certificate that is none of ours";
            return Item::new(Topic::Served, "sip", Verdict::Critical, text)
                .at(place)
                .then("pbxcert deploy sip");
        }
        Item::new(Topic::Served, "sip", Verdict::Ok, "serves what is live").at(place)
    }

    fn marks(&self) -> Marks {
        let (card, rest) = self.life.moved;
        let word = |at: u64, old: &str, new: &str| {
            BTreeSet::from([if self.hour < at { old } else { new }.to_owned()])
        };
        let hashes = BTreeMap::from([
            (Mark::Machine, BTreeSet::from(["m".to_owned()])),
            (Mark::Board, word(rest, "b", "B")),
            (Mark::Disk, word(rest, "d", "D")),
            (Mark::Network, word(card, "n", "N")),
        ]);
        Marks { key: "k".to_owned(), surroundings: Some(Surroundings::Virtual), hashes }
    }
}

#[test]
fn a_month_with_power_offs_clocks_that_jump_and_two_copies_is_told_as_it_was_read() {
    let mut story = String::new();
    let mut original = Machine::default();
    original.live(ORIGINAL, 0..480);
    let mut copy = Machine { told: String::new(), ..original.clone() };
    copy.live(COPY, 480..720);
    original.live(ORIGINAL, 480..600);
    let mut twin = Machine { told: String::new(), ..original.clone() };
    twin.live(TWIN, 600..720);
    original.live(ORIGINAL, 600..720);
    for (who, machine) in [
        ("the original", original),
        ("its copy, from day 21", copy),
        ("its twin, from day 26", twin),
    ] {
        let _ = writeln!(story, "# {who}\n{}", machine.told);
    }
    let story = story.trim_end().to_owned() + "\n";
    if std::env::var_os("PBXCERT_WRITE_MONTH").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/health/month.txt");
        std::fs::write(path, &story).unwrap();
        return;
    }
    assert_eq!(story, SNAPSHOT, "month.txt is to be:\n{story}");
}
