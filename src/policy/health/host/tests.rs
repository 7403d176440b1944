//! The tables of limits, and what no sequence of checks may lead to.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{Time, Weekday, date};
use proptest::prelude::*;

use super::*;
use crate::state::check::{Item, Topic};
use crate::state::host::{Memory, Pressure, ProcessorTimes, Sample, Space, Swap, Timekeeper};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const RANDOM: CheckTime = CheckTime::Random;

fn monday() -> Timestamp {
    "2026-11-30T03:30:00Z".parse().unwrap()
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

fn later(by: SignedDuration) -> Timestamp {
    monday().checked_add(by).unwrap()
}

/// A machine with nothing to do, that came up a day before.
fn calm(now: Timestamp) -> Load {
    let up = now.duration_since(later(hours(-24))).as_secs().unsigned_abs();
    let sample = Sample {
        at: now,
        boot: "08197a97".to_owned(),
        uptime: Duration::from_secs(up),
        processor: Some(0),
        memory: Some(0),
        io: Some(0),
        times: Some(ProcessorTimes { all: up * 200, idle: up * 200, stolen: 0 }),
        paged_in: Some(0),
    };
    Load {
        sample: Some(sample),
        processor: Pressure::Known(0.0),
        memory_pressure: Pressure::Known(0.0),
        io: Pressure::Known(0.0),
        load: Some(0.1),
        processors: Some(2),
        memory: Some(Memory { all: 4 * GIB, available: 3 * GIB }),
        swap: Some(Swap { all: GIB, used: 0 }),
        contained: false,
        timekeepers: vec![keeper("systemd-timesyncd", Some(now))],
    }
}

fn keeper(name: &str, set_at: Option<Timestamp>) -> Timekeeper {
    Timekeeper { name: name.to_owned(), runs: true, set_at }
}

fn disk(all: u64, free: u64) -> Disk {
    let space = Space { all, free, inodes: 1000, free_inodes: 900, read_only: false };
    Disk { place: PathBuf::from("/var/log"), ours: false, space: Ok(space) }
}

/// Checks of one machine, one after the other.
#[derive(Default)]
struct Checks {
    memory: HostMemory,
    disks: Vec<Disk>,
    offsets: Vec<Offset>,
    unsynchronised: bool,
    at: CheckTime,
}

impl Checks {
    fn check(&mut self, load: &Load, now: Timestamp) -> Vec<Item> {
        let host = Host {
            load,
            disks: &self.disks,
            offsets: &self.offsets,
            unsynchronised: self.unsynchronised,
        };
        let today = jiff::tz::TimeZone::UTC.to_datetime(now).date();
        let (items, memory) = items(host, &Limits::default(), self.at, &self.memory, today, now);
        self.memory = memory;
        items
    }

    fn one(&mut self, load: &Load, topic: Topic, now: Timestamp) -> Item {
        of(self.check(load, now), topic)
    }
}

fn of(items: Vec<Item>, topic: Topic) -> Item {
    items.into_iter().find(|item| item.topic == topic).unwrap()
}

fn first(load: &Load, topic: Topic) -> Item {
    Checks::default().one(load, topic, monday())
}

/// The answer on the first day, and on the second when all is the same.
fn both(load: impl Fn(Timestamp) -> Load, topic: Topic) -> (Verdict, Verdict) {
    let mut checks = Checks::default();
    let (today, tomorrow) = (monday(), later(hours(24)));
    let one = checks.one(&load(today), topic, today).verdict;
    (one, checks.one(&load(tomorrow), topic, tomorrow).verdict)
}

use Verdict::{Critical, Ok as Fine, Unknown, Warning};

#[test]
fn a_calm_machine_is_in_order_and_says_so_with_numbers() {
    let mut checks = Checks { disks: vec![disk(100 * GIB, 60 * GIB)], ..Checks::default() };
    checks.check(&calm(monday()), monday());
    let now = later(hours(23));
    let items = checks.check(&calm(now), now);
    assert!(items.iter().all(|item| item.verdict == Fine && item.next.is_none()), "{items:#?}");
    let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
    let expected = [
        "programs waited for a processor 0.0 % of the time since the last check (23 h) and 0.0 % \
         of the last 5 minutes",
        "3.0 GiB of 4.0 GiB memory are available (75.0 %)",
        "all programs waited for memory 0.0 % of the time since the last check (23 h) and 0.0 % of \
         the last 5 minutes",
        "0.0 MiB of 1.0 GiB swap are used (0.0 %), and 0.0 pages a second came back in since the \
         last check (23 h)",
        "all programs waited for the disk 0.0 % of the time since the last check (23 h) and 0.0 % \
         of the last 5 minutes",
        "60.0 GiB (60.0 %) of the file system of /var/log are free, and 90.0 % of its inodes \
         (places for files)",
        "systemd-timesyncd set it 0 s ago",
    ];
    assert_eq!(texts, expected);
    // Labels name one number each.
    let mut labels: Vec<_> = items
        .iter()
        .flat_map(|item| item.metrics.iter().map(|metric| (&item.place, metric.label.as_str())))
        .collect();
    let all = labels.len();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!((labels.len(), all), (all, 14), "{labels:?}");
}

#[test]
fn waiting_is_critical_at_once_and_a_warning_on_the_second_day() {
    type Set = fn(&mut Load, f64);
    let table: [(Topic, Set, [f64; 2]); 3] = [
        (Topic::Processor, |load, n| load.processor = Pressure::Known(n), [20.0, 40.0]),
        (Topic::Io, |load, n| load.io = Pressure::Known(n), [20.0, 40.0]),
        (
            Topic::Processor,
            |load, n| {
                load.processor = Pressure::NotKept;
                load.load = Some(n / 100.0 * 2.0);
            },
            [150.0, 300.0],
        ),
    ];
    for (topic, set, [warning, critical]) in table {
        let with = |value: f64| {
            move |now| {
                let mut load = calm(now);
                set(&mut load, value);
                load
            }
        };
        assert_eq!(both(with(warning - 0.1), topic), (Fine, Fine), "{topic:?}");
        assert_eq!(both(with(warning), topic), (Fine, Warning), "{topic:?}");
        assert_eq!(both(with(critical - 0.1), topic), (Fine, Warning), "{topic:?}");
        assert_eq!(both(with(critical), topic), (Critical, Critical), "{topic:?}");
        let once = first(&with(warning)(monday()), topic);
        assert!(once.text.ends_with("a warning if the next day's check finds it, too"), "{once:?}");
        let bad = first(&with(critical)(monday()), topic);
        assert!(bad.text.contains("improve the hardware or the virtual machine: "), "{bad:?}");
        assert!(bad.text.contains(&format!("above {critical} %")), "{bad:?}");
        assert!(bad.next.is_some(), "{bad:?}");
    }
}

#[test]
fn pressure_of_memory_is_beside_what_is_left_of_it() {
    let mut load = calm(monday());
    load.memory_pressure = Pressure::Known(10.0);
    let items = Checks::default().check(&load, monday());
    let memory: Vec<_> = items.iter().filter(|item| item.topic == Topic::Memory).collect();
    let seen: Vec<_> = memory.iter().map(|item| (item.place.as_deref(), item.verdict)).collect();
    assert_eq!(seen, [(None, Fine), (Some("pressure"), Critical)]);
}

#[test]
fn a_bad_night_counts_though_the_last_minutes_were_quiet() {
    let (before, now) = (calm(monday()), later(hours(24)));
    let mut load = calm(now);
    let sample = load.sample.as_mut().unwrap();
    // 43.2 % of a day.
    sample.processor = Some(864 * 432 * 100_000);
    sample.times = Some(ProcessorTimes { all: 19_200_000, idle: 17_280_000, stolen: 192_000 });
    let mut checks = Checks::default();
    checks.check(&before, monday());
    let item = checks.one(&load, Topic::Processor, now);
    assert_eq!(item.verdict, Critical);
    assert_eq!(
        item.text,
        "programs waited for a processor 43.2 % of the time since the last check (24 h) and 0.0 % \
         of the last 5 minutes, which is above 40 %: speech breaks up; improve the hardware or the \
         virtual machine: more processor time; other virtual machines took 10.0 % of the processor \
         time (steal)"
    );
    assert!(item.next.unwrap().starts_with("ask whoever runs the virtualisation"));
    let metric = |label: &str| item.metrics.iter().find(|m| m.label == label).unwrap();
    let mean = metric("processor-waiting-mean");
    assert_eq!((mean.value, mean.warning, mean.critical), (43.2, Some(20.0), Some(40.0)));
    assert_eq!(metric("processor-steal-mean").value, 10.0);
    assert_eq!(metric("processor-busy-mean").value, 100.0);
}

#[test]
fn a_restart_or_a_counter_that_went_back_gives_no_mean() {
    let now = later(hours(24));
    let heavy = |change: fn(&mut Sample)| {
        let mut before = calm(monday());
        before.sample.as_mut().unwrap().processor = Some(1000);
        let mut load = calm(now);
        let sample = load.sample.as_mut().unwrap();
        sample.processor = Some(80_000_000_000);
        change(sample);
        let mut checks = Checks::default();
        checks.check(&before, monday());
        checks.one(&load, Topic::Processor, now).metrics.iter().any(|m| m.label.ends_with("g-mean"))
    };
    assert!(heavy(|_| {}));
    assert!(!heavy(|sample| sample.boot = "another".to_owned()));
    assert!(!heavy(|sample| sample.uptime = Duration::from_secs(10)));
    assert!(!heavy(|sample| sample.processor = Some(999)));
    assert!(!heavy(|sample| sample.processor = None));
    // A container was started anew 20 hours ago, on a machine that was not.
    assert!(!heavy(|sample| sample.uptime = Duration::from_secs(86_400 + 20 * 3600)));
    // Somebody checks again at once.
    assert!(!heavy(|sample| {
        sample.uptime = Duration::from_secs(86_400 + 30);
        sample.at = later(SignedDuration::from_secs(30));
    }));
}

#[test]
fn checks_in_quick_succession_do_not_lose_what_the_mean_begins_with() {
    let mut checks = Checks::default();
    for seconds in [0, 20, 40] {
        let now = later(SignedDuration::from_secs(seconds));
        checks.check(&calm(now), now);
        assert_eq!(checks.memory.sample.as_ref().unwrap().at, monday(), "after {seconds} s");
    }
    let now = later(SignedDuration::from_secs(60));
    checks.check(&calm(now), now);
    assert_eq!(checks.memory.sample.as_ref().unwrap().at, now);
    // Nothing is told: what was known is kept.
    checks.check(&Load { sample: None, ..calm(now) }, now);
    assert_eq!(checks.memory.sample.as_ref().unwrap().at, now);
}

#[test]
fn memory_is_short_by_its_share_or_below_64_mib() {
    let with =
        |all, available| move |now| Load { memory: Some(Memory { all, available }), ..calm(now) };
    for (all, available, expected) in [
        (4 * GIB, 411 * MIB, (Fine, Fine)),
        (4 * GIB, 409 * MIB, (Fine, Warning)),
        (4 * GIB, 204 * MIB, (Critical, Critical)),
        (512 * MIB, 64 * MIB, (Fine, Fine)),
        (512 * MIB, 63 * MIB, (Critical, Critical)),
    ] {
        assert_eq!(both(with(all, available), Topic::Memory), expected, "{available} of {all}");
    }
    let item = first(&with(512 * MIB, 63 * MIB)(monday()), Topic::Memory);
    assert_eq!(
        item.text,
        "63.0 MiB of 512.0 MiB memory are available (12.3 %), which is below 64.0 MiB: the kernel \
         ends programs when none is left; improve the hardware or the virtual machine: more memory"
    );
}

#[test]
fn swap_only_counts_while_pages_come_back() {
    let load = |used: u64, pages: u64, now| {
        let mut load = calm(now);
        load.swap = Some(Swap { all: 1000 * MIB, used: used * MIB });
        load.sample.as_mut().unwrap().paged_in = Some(pages);
        load
    };
    // used, pages in a day, the answer on the day after the first.
    for (used, pages, expected) in [
        (499, 1_000_000, Fine),
        (500, 1_000_000, Fine),
        (900, 1_000_000, Critical),
        (900, 8_000, Fine),
        (1000, 0, Fine),
    ] {
        let mut checks = Checks::default();
        checks.check(&load(used, 0, monday()), monday());
        let now = later(hours(24));
        let item = checks.one(&load(used, pages, now), Topic::Swap, now);
        assert_eq!(item.verdict, expected, "{used} {pages}: {item:?}");
        let now = later(hours(48));
        let next = checks.one(&load(used, 2 * pages, now), Topic::Swap, now).verdict;
        assert_eq!(next == Warning, (used, pages) == (500, 1_000_000), "{used} {pages}");
    }
    assert_eq!(first(&load(499, 0, monday()), Topic::Swap).verdict, Fine);
    let unclear = first(&load(500, 0, monday()), Topic::Swap);
    assert_eq!((unclear.verdict, unclear.counts), (Unknown, true), "not seen yet: {unclear:?}");
    let none = Load { swap: Some(Swap { all: 0, used: 0 }), ..calm(monday()) };
    assert!(!first(&none, Topic::Swap).counts);
}

#[test]
fn a_disk_is_full_by_its_share_its_inodes_or_below_100_mib() {
    let mut checks = Checks::default();
    let mut answer = |disk: Disk| {
        checks = Checks { disks: vec![disk.clone()], ..Checks::default() };
        let one = checks.one(&calm(monday()), Topic::Disk, monday()).verdict;
        let now = later(hours(24));
        (one, checks.one(&calm(now), Topic::Disk, now).verdict)
    };
    for (all, free, expected) in [
        (100 * GIB, 11 * GIB, (Fine, Fine)),
        (100 * GIB, 10 * GIB, (Fine, Warning)),
        (100 * GIB, 3 * GIB, (Critical, Critical)),
        (2 * GIB, 101 * MIB, (Fine, Warning)),
        (2 * GIB, 99 * MIB, (Critical, Critical)),
        // Logs in a memory disk: small, and quite empty.
        (50 * MIB, 40 * MIB, (Fine, Fine)),
        (50 * MIB, 4 * MIB, (Critical, Critical)),
    ] {
        assert_eq!(answer(disk(all, free)), expected, "{free} of {all}");
    }
    let mut inodes = |free_inodes, inodes| {
        let mut disk = disk(100 * GIB, 60 * GIB);
        let space = disk.space.as_mut().unwrap();
        (space.inodes, space.free_inodes) = (inodes, free_inodes);
        answer(disk)
    };
    assert_eq!(inodes(100, 1000), (Fine, Warning));
    assert_eq!(inodes(30, 1000), (Critical, Critical));
    assert_eq!(inodes(0, 0), (Fine, Fine), "made as needed");
}

#[test]
fn a_disk_says_what_to_do_with_its_path() {
    let one = |disk: Disk| {
        Checks { disks: vec![disk], ..Checks::default() }.one(
            &calm(monday()),
            Topic::Disk,
            monday(),
        )
    };
    let full = one(disk(2 * GIB, 99 * MIB));
    assert_eq!(full.place.as_deref(), Some("/var/log"));
    assert!(full.text.starts_with("99.0 MiB (4.8 %) of the file system of /var/log are free"));
    assert!(full.text.contains("which is below 100.0 MiB"), "{full:?}");
    let next = full.next.unwrap();
    assert!(next.contains("df -h /var/log") && next.contains("journalctl --vacuum-size"), "{next}");
    let mut files = disk(2 * GIB, GIB);
    files.space.as_mut().unwrap().free_inodes = 0;
    assert!(one(files).next.unwrap().contains("df -i /var/log"));

    let gone = Disk { space: Err("Permission denied".to_owned()), ..disk(1, 1) };
    assert_eq!(one(gone).verdict, Unknown);
    assert_eq!(one(disk(0, 0)).verdict, Unknown);
    let mut squashed = disk(GIB, 0);
    squashed.space.as_mut().unwrap().read_only = true;
    let item = one(squashed.clone());
    assert_eq!((item.verdict, item.counts), (Fine, false), "nobody has to write there");
    let item = one(Disk { ours: true, ..squashed });
    assert_eq!((item.verdict, item.counts), (Critical, true), "{item:?}");
}

#[test]
fn the_clock_is_judged_by_what_others_say() {
    let now = monday();
    for (seconds, expected) in
        [(0.4, Fine), (-59.0, Fine), (60.0, Warning), (-299.0, Warning), (300.0, Critical)]
    {
        let offset = Offset { seconds, by: "the CA acme".to_owned() };
        let mut checks = Checks { offsets: vec![offset], ..Checks::default() };
        let one = checks.one(&calm(now), Topic::Clock, now);
        assert_eq!(one.verdict == Critical, expected == Critical, "{one:?}");
        let tomorrow = later(hours(24));
        let two = checks.one(&calm(tomorrow), Topic::Clock, tomorrow);
        assert_eq!(two.verdict, expected, "{two:?}");
    }
    let offset = Offset { seconds: -330.0, by: "the CA acme".to_owned() };
    let item =
        Checks { offsets: vec![offset], ..Checks::default() }.one(&calm(now), Topic::Clock, now);
    assert_eq!(
        item.text,
        "the clock is 6 min behind, going by the CA acme; systemd-timesyncd set it 0 s ago; with a \
         wrong clock certificates seem expired or not yet valid, and calls are billed at the wrong \
         time"
    );
}

#[test]
fn a_time_service_that_stopped_setting_the_clock_is_found() {
    let ago = |hours_ago: i64| Some(later(hours(-hours_ago)));
    let up = |load: &mut Load, n: u64| {
        load.sample.as_mut().unwrap().uptime = Duration::from_secs(n * 3600);
    };
    // Set how many hours ago, running, up for so many hours.
    for (set_at, runs, hours_up, expected) in [
        (ago(0), true, 100, Fine),
        (ago(6), false, 100, Fine),
        (ago(23), true, 100, Fine), // a warning tomorrow
        (ago(25), true, 100, Critical),
        (None, true, 25, Critical),
        (None, true, 1, Unknown),
        // The machine was off for weeks.
        (ago(900), true, 1, Unknown),
        // Another service took over, which leaves no mark.
        (ago(900), false, 100, Unknown),
    ] {
        let mut load = calm(monday());
        up(&mut load, hours_up);
        load.timekeepers = vec![Timekeeper { runs, ..keeper("chrony", set_at) }];
        let item = first(&load, Topic::Clock);
        assert_eq!(item.verdict, expected, "{set_at:?} {runs} {hours_up}: {item:?}");
        assert_eq!(item.next.is_some(), expected != Fine || set_at == ago(23), "{item:?}");
    }
    let mut load = Load { timekeepers: Vec::new(), ..calm(monday()) };
    assert_eq!(first(&load, Topic::Clock).verdict, Unknown);
    load.timekeepers = vec![keeper("chrony", ago(50)), keeper("systemd-timesyncd", ago(1))];
    assert_eq!(first(&load, Topic::Clock).verdict, Fine);
    // Put back by an hour after it was set.
    load.timekeepers = vec![keeper("chrony", ago(-1))];
    let item = first(&load, Topic::Clock);
    assert_eq!(item.verdict, Critical);
    assert!(item.text.starts_with("the clock is 60 min behind, going by when chrony set it last"));
}

#[test]
fn nobody_is_asked_for_a_clock_that_is_not_this_host_s_business() {
    let contained = Load { contained: true, timekeepers: Vec::new(), ..calm(monday()) };
    let item = first(&contained, Topic::Clock);
    assert_eq!((item.verdict, item.counts), (Unknown, false));
    let mut checks = Checks { unsynchronised: true, ..Checks::default() };
    let item = checks.one(&calm(monday()), Topic::Clock, monday());
    assert_eq!((item.verdict, item.counts), (Unknown, false));
    // But when somebody knows that it is wrong, it is.
    checks.offsets = vec![Offset { seconds: 900.0, by: "the CA acme".to_owned() }];
    let item = checks.one(&contained, Topic::Clock, monday());
    assert_eq!((item.verdict, item.counts), (Critical, true));
}

#[test]
fn what_is_not_told_is_unknown_and_never_in_order() {
    let nothing = Load { timekeepers: Vec::new(), ..Load::default() };
    let gone = Disk { space: Err("no".to_owned()), ..disk(1, 1) };
    let items = Checks { disks: vec![gone], ..Checks::default() }.check(&nothing, monday());
    assert_eq!(items.len(), 7);
    for item in items {
        assert_eq!((item.verdict, item.counts), (Unknown, true), "{item:?}");
        assert!(item.next.is_some(), "{item:?}");
    }
    // A kernel that keeps no account: shown as unknown, not counted for ever.
    let old = Load {
        memory_pressure: Pressure::NotKept,
        io: Pressure::NotKept,
        processor: Pressure::NotKept,
        ..calm(monday())
    };
    let io = first(&old, Topic::Io);
    assert_eq!((io.verdict, io.counts), (Unknown, false));
    assert!(io.next.unwrap().contains("psi=1"));
    assert_eq!(first(&old, Topic::Processor).verdict, Fine, "by its load");
}

#[test]
fn what_no_kernel_tells_keeps_nothing_beside_it_wrong() {
    use crate::policy::health::unseen;
    use crate::state::Condition;
    use crate::state::check::CheckReport;
    let report = |io| CheckReport {
        schema: 1,
        site: String::new(),
        at: monday(),
        took: 0,
        verdict: Fine,
        summary: String::new(),
        items: Checks::default().check(&Load { io, ..calm(monday()) }, monday()),
    };
    let load = ("host".to_owned(), Condition::Load);
    assert!(unseen(&report(Pressure::Unreadable)).contains(&load));
    assert!(!unseen(&report(Pressure::NotKept)).contains(&load));
}

/// A machine that waits as much as is told, on a day and hour of December 2026.
fn streak_of(checks: &mut Checks, waits: f64, day: i8, hour: i8) -> Verdict {
    let at = date(2026, 12, day).at(hour, 0, 0, 0);
    let now = jiff::tz::TimeZone::UTC.to_timestamp(at).unwrap();
    let load = Load { processor: Pressure::Known(waits), ..calm(now) };
    checks.one(&load, Topic::Processor, now).verdict
}

#[test]
fn two_days_in_a_row_are_two_days_of_the_calendar() {
    let mut checks = Checks::default();
    let mut on = |day, hour, waits| streak_of(&mut checks, waits, day, hour);
    assert_eq!(on(1, 3, 25.0), Fine);
    assert_eq!(on(1, 9, 25.0), Fine, "the same day does not count twice");
    assert_eq!(on(1, 15, 1.0), Fine);
    assert_eq!(on(2, 3, 25.0), Warning, "a quiet look in between does not end a row");
    assert_eq!(on(2, 9, 1.0), Fine, "what is mended is in order at once");
    assert_eq!(on(3, 3, 1.0), Fine);
    assert_eq!(on(4, 3, 25.0), Fine, "a new row");
    assert_eq!(on(6, 3, 25.0), Fine, "a day was left out");
    assert_eq!(on(7, 3, 45.0), Critical);
    assert_eq!(on(8, 3, 25.0), Warning);
    assert_eq!(on(5, 3, 25.0), Fine, "the clock was put back");
}

#[test]
fn of_a_weekly_check_weeks_follow_each_other() {
    let at = CheckTime::Weekly(Weekday::Sunday, Time::midnight());
    let mut checks = Checks { at, ..Checks::default() };
    let mut on = |day, waits| streak_of(&mut checks, waits, day, 3);
    assert_eq!(on(6, 25.0), Fine);
    assert_eq!(on(14, 25.0), Warning, "caught up on Monday");
    assert_eq!(on(20, 25.0), Warning);
    assert_eq!(on(30, 25.0), Fine, "one was left out");
}

#[test]
fn what_could_not_be_seen_for_an_hour_does_not_end_a_row() {
    let mut checks = Checks::default();
    assert_eq!(streak_of(&mut checks, 25.0, 1, 3), Fine);
    let blind = Load { processor: Pressure::Unreadable, load: None, ..calm(monday()) };
    let now = date(2026, 12, 2).at(1, 0, 0, 0);
    let now = jiff::tz::TimeZone::UTC.to_timestamp(now).unwrap();
    assert_eq!(checks.one(&blind, Topic::Processor, now).verdict, Unknown);
    assert_eq!(streak_of(&mut checks, 25.0, 2, 3), Warning);
}

#[test]
fn what_is_remembered_survives_the_disk() {
    let mut checks = Checks::default();
    streak_of(&mut checks, 25.0, 1, 3);
    let text = serde_json::to_string(&checks.memory).unwrap();
    assert_eq!(serde_json::from_str::<HostMemory>(&text).unwrap(), checks.memory);
    assert_eq!(serde_json::from_str::<HostMemory>("{}").unwrap(), HostMemory::default());
}

proptest! {
    /// Days and hours in any order, whatever the clock does: a warning has a day before it, never
    /// comes of what is fine now, and memory stays small.
    #[test]
    fn no_sequence_of_checks_warns_without_two_days(
        looks in prop::collection::vec((1_i8..=31, 0_i8..=23, 0.0_f64..60.0), 1..40)
    ) {
        let mut checks = Checks { at: RANDOM, ..Checks::default() };
        let mut past: Vec<(i8, f64)> = Vec::new();
        for (day, hour, waits) in looks {
            let verdict = streak_of(&mut checks, waits, day, hour);
            prop_assert_eq!(verdict == Critical, waits >= 40.0);
            if waits < 20.0 {
                prop_assert_eq!(verdict, Fine);
            }
            if verdict == Warning {
                let before = |&(d, w): &(i8, f64)| d + 1 == day && w >= 20.0;
                prop_assert!(past.iter().any(before), "day {} after {:?}", day, past);
            }
            past.push((day, waits));
            prop_assert!(checks.memory.streaks.len() <= 7);
        }
    }

    /// Whatever is measured: percents stay between 0 and 100, and no text is empty or ends with a
    /// full stop.
    #[test]
    fn any_numbers_make_sentences(
        counters in prop::array::uniform8(any::<u64>()),
        memory in any::<(u64, u64)>(), swap in any::<(u64, u64)>(),
        space in prop::array::uniform4(any::<u64>()),
        load in any::<f64>(), processors in any::<u32>(), up in 0_u64..10_000_000,
        kept in any::<bool>(),
    ) {
        let sample = |n: usize, up: u64| Sample {
            at: later(SignedDuration::from_secs(i64::try_from(up).unwrap())),
            boot: String::new(),
            uptime: Duration::from_secs(up),
            processor: Some(counters[n]),
            memory: Some(counters[n + 1]),
            io: Some(counters[n + 2]),
            times: Some(ProcessorTimes { all: counters[n], idle: counters[n + 1], stolen: counters[n + 2] }),
            paged_in: Some(counters[n + 3]),
        };
        let load = Load {
            sample: Some(sample(4, up)),
            processor: if kept { Pressure::Known(50.0) } else { Pressure::NotKept },
            load: Some(load.abs()).filter(|load| load.is_finite()),
            processors: Some(processors),
            memory: Some(Memory { all: memory.0.max(memory.1).max(1), available: memory.0.min(memory.1) }),
            swap: Some(Swap { all: swap.0.max(swap.1), used: swap.0.min(swap.1) }),
            ..calm(monday())
        };
        let [a, b, c, d] = space;
        let space = Space { all: a.max(b), free: a.min(b), inodes: c.max(d), free_inodes: c.min(d), read_only: false };
        let mut checks = Checks { disks: vec![Disk { space: Ok(space), ..disk(1, 1) }], ..Checks::default() };
        checks.memory.sample = Some(sample(0, 0));
        for item in checks.check(&load, monday()) {
            prop_assert!(!item.text.is_empty() && !item.text.ends_with('.'), "{:?}", item);
            for metric in &item.metrics {
                prop_assert!(metric.value.is_finite() && metric.value >= 0.0, "{:?}", metric);
                if metric.unit == Unit::Percent && metric.label != "load" {
                    prop_assert!(metric.value <= 100.0, "{:?}", metric);
                }
            }
        }
    }
}
