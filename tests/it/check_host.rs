//! The daily check of this host: against what other tools say of the real machine, by changing the
//! real thing, and with sources taken away.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use pbxcert::clock::Clock as _;
use pbxcert::config::check::{CheckTime, Limits};
use pbxcert::host;
use pbxcert::policy::health::host as judge;
use pbxcert::state::check::{CheckReport, Item, Topic, Verdict};
use pbxcert::state::host::{HostMemory, Pressure};
use tempfile::TempDir;

use crate::lab::Lab;
use crate::real::site::Mount;

const MIB: u64 = 1024 * 1024;

/// What another program prints; the test has nothing to compare with where it is not installed.
fn output(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).env("LC_ALL", "C").output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// Size, used, available, inodes and free inodes, in bytes where it is no number of inodes.
fn df(path: &Path) -> Option<[u64; 5]> {
    let columns = "--output=size,used,avail,itotal,iavail";
    let text = output("df", &["-B1", columns, path.to_str().unwrap()])?;
    let numbers = text.lines().nth(1)?.split_whitespace().map(|word| word.parse().unwrap_or(0));
    numbers.collect::<Vec<u64>>().try_into().ok()
}

#[test]
fn a_file_system_has_what_df_says() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(dir.path(), 64 * 1024) else { return };
    let folder = dir.path().join("not/there/yet");
    for kib in [0, 10_000, 60_000] {
        fs::write(dir.path().join("fill"), vec![0; kib * 1024]).unwrap();
        let Some([size, used, free, inodes, free_inodes]) = df(dir.path()) else { return };
        let disks = host::disks(&[(folder.clone(), true), (dir.path().to_owned(), false)]);
        assert_eq!(disks.len(), 1, "one file system: {disks:?}");
        let space = disks[0].space.clone().unwrap();
        assert_eq!((space.all, space.free), (used + free, free), "{size}");
        assert_eq!((space.inodes, space.free_inodes), (inodes, free_inodes));
        assert!((used >= kib as u64 * 1024) && !space.read_only && disks[0].ours);
    }
    // The real disk has blocks that only root may use; others write to it meanwhile.
    let Some([_, used, free, ..]) = df(Path::new("/")) else { return };
    let space = host::disks(&[(PathBuf::from("/"), true)])[0].space.clone().unwrap();
    let percent = |free: u64, all: u64| free as f64 / all as f64 * 100.0;
    let (ours, theirs) = (percent(space.free, space.all), percent(free, used + free));
    assert!((ours - theirs).abs() < 1.0, "{ours} {theirs}");
}

#[test]
fn a_read_only_file_system_is_seen_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(dir.path(), 1024) else { return };
    let path = dir.path().to_str().unwrap();
    if output("mount", &["-o", "remount,ro", path]).is_none() {
        return;
    }
    let disks = host::disks(&[(dir.path().to_owned(), true)]);
    assert!(disks[0].space.as_ref().unwrap().read_only);
}

#[test]
fn memory_is_what_free_says() {
    let load = host::load(Path::new("/"), Timestamp::now());
    let (Some(text), Some(memory)) = (output("free", &["-b"]), load.memory) else { return };
    let row = |name: &str| -> Vec<u64> {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect()
    };
    let (mem, swap) = (row("Mem:"), row("Swap:"));
    // In a container with a limit of its own, free speaks of the machine.
    if memory.all == mem[0] {
        let near = memory.available.abs_diff(mem[5]) as f64 / mem[0] as f64;
        assert!(near < 0.2, "{memory:?} {mem:?}");
        assert_eq!(load.swap.unwrap().all, swap[0]);
    }
}

#[test]
fn pressure_is_what_the_kernel_says() {
    let value = |file: &str, line: &str, key: &str| -> Option<f64> {
        let text = fs::read_to_string(Path::new("/proc/pressure").join(file)).ok()?;
        let line = text.lines().find(|text| text.starts_with(line))?;
        let word = line.split(' ').find_map(|word| word.strip_prefix(key))?;
        Some(word.parse().unwrap())
    };
    let all = || {
        [("cpu", "some"), ("memory", "full"), ("io", "full")]
            .map(|(file, line)| value(file, line, "avg300="))
    };
    // It is reckoned anew every two seconds: until none lies between two looks.
    let load = loop {
        let before = all();
        let load = host::load(Path::new("/"), Timestamp::now());
        if before == all() {
            break load;
        }
    };
    if load.contained {
        return;
    }
    let ours = [load.processor, load.memory_pressure, load.io].map(|pressure| match pressure {
        Pressure::Known(value) => Some(value),
        Pressure::NotKept | Pressure::Unreadable => None,
    });
    assert_eq!(ours, all());
    let sample = load.sample.unwrap();
    let total = value("cpu", "some", "total=").unwrap_or_default();
    let told = sample.processor.unwrap_or_default() as f64;
    assert!(told <= total && total - told < 60e6, "{told} {total}");
    let count = std::thread::available_parallelism().unwrap().get();
    assert!(load.processors.unwrap() as usize >= count, "some may be kept from us");
}

fn disk_of(report: &CheckReport, place: &Path) -> Item {
    let is_it = |item: &&Item| {
        item.topic == Topic::Disk && item.place.as_deref() == Some(place.to_str().unwrap())
    };
    report.items.iter().find(is_it).unwrap_or_else(|| panic!("{report:#?}")).clone()
}

#[tokio::test]
async fn a_small_file_system_that_fills_up_is_critical_until_it_is_cleared() {
    let lab = Lab::new().await;
    let tls = lab.dir.path().join("tls");
    let Some(_mount) = Mount::new(&tls, 64 * 1024) else { return };
    let before = disk_of(&lab.check().await, &tls);
    assert_eq!((before.verdict, before.next), (Verdict::Ok, None));

    fs::write(tls.join("recording.wav"), vec![0; 63 << 20]).unwrap();
    lab.clock.forward(SignedDuration::from_mins(5));
    let full = disk_of(&lab.check().await, &tls);
    assert_eq!(full.verdict, Verdict::Critical, "{full:?}");
    assert!(full.text.contains("1.0 MiB (1.6 %) of the file system of "), "{full:?}");
    assert!(full.next.unwrap().starts_with(&format!("df -h {}", tls.display())));

    fs::remove_file(tls.join("recording.wav")).unwrap();
    lab.clock.forward(SignedDuration::from_mins(5));
    let after = disk_of(&lab.check().await, &tls);
    assert_eq!((after.verdict, after.next), (Verdict::Ok, None));
}

fn of(report: &CheckReport, topic: Topic) -> Item {
    report.items.iter().find(|item| item.topic == topic).unwrap().clone()
}

#[tokio::test]
async fn a_clock_that_is_shifted_is_found_by_what_the_ca_says() {
    let lab = Lab::new().await;
    assert_eq!(of(&lab.check().await, Topic::Clock).verdict, Verdict::Unknown);
    let right = lab.clock.now();
    lab.ca.date.set(Some(right));
    let item = of(&lab.check().await, Topic::Clock);
    assert_eq!(item.verdict, Verdict::Ok);
    assert!(item.text.starts_with("the clock is right, going by the CA acme"), "{item:?}");

    lab.clock.forward(SignedDuration::from_mins(10));
    let item = of(&lab.check().await, Topic::Clock);
    assert_eq!(item.verdict, Verdict::Critical);
    assert!(item.text.starts_with("the clock is 10 min ahead, going by the CA acme"), "{item:?}");

    lab.ca.date.set(Some(lab.clock.now()));
    assert_eq!(of(&lab.check().await, Topic::Clock).verdict, Verdict::Ok);
}

#[tokio::test]
async fn without_a_way_out_nobody_is_asked_for_the_time() {
    let mut lab = Lab::new().await;
    lab.config.check.offline = true;
    lab.ca.date.set(Some(Timestamp::UNIX_EPOCH));
    let item = of(&lab.check().await, Topic::Clock);
    assert_eq!((item.verdict, item.counts), (Verdict::Unknown, false), "{item:?}");
}

/// A machine of files.
struct Paper {
    dir: TempDir,
    memory: HostMemory,
}

impl Paper {
    fn new() -> Self {
        let paper = Self { dir: tempfile::tempdir().unwrap(), memory: HostMemory::default() };
        paper.write("proc/loadavg", "0.10 0.20 0.30 1/100 4711\n");
        paper.write("proc/vmstat", "nr_free_pages 1\npswpin 0\npswpout 0\n");
        paper.write("proc/sys/kernel/random/boot_id", "08197a97-c838-445c-b3b4-eaf7878014bb\n");
        paper.meminfo(3_000_000, 0);
        paper.pressure("cpu", 0.0, 0);
        paper.pressure("memory", 0.0, 0);
        paper.pressure("io", 0.0, 0);
        paper.up(1000);
        paper
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn take_away(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn meminfo(&self, available: u64, swapped: u64) {
        let text = format!(
            "MemTotal: 4000000 kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n\
             SwapTotal: 1000000 kB\nSwapFree: {} kB\n",
            1_000_000 - swapped
        );
        self.write("proc/meminfo", &text);
    }

    fn pressure(&self, file: &str, recent: f64, total: u64) {
        let line = format!("avg10=0.00 avg60=0.00 avg300={recent:.2} total={total}");
        let text = format!("some {line}\nfull {line}\n");
        self.write(&format!("proc/pressure/{file}"), &text);
    }

    fn up(&self, seconds: u64) {
        self.write("proc/uptime", &format!("{seconds}.00 1.00\n"));
        let ticks = seconds * 200;
        let stat = format!("cpu  0 0 0 {ticks} 0 0 0 0 0 0\ncpu0 0 0 0 1\ncpu1 0 0 0 1\n");
        self.write("proc/stat", &stat);
    }

    /// The clock was set then.
    fn set_by(&self, mark: &str, at: Timestamp) {
        self.write(mark, "");
        let file = File::options().write(true).open(self.path(mark)).unwrap();
        let seconds = Duration::from_secs(at.as_second().unsigned_abs());
        file.set_modified(SystemTime::UNIX_EPOCH + seconds).unwrap();
    }

    fn check(&mut self, now: Timestamp) -> Vec<Item> {
        let load = host::load(self.dir.path(), now);
        let host = judge::Host { load: &load, disks: &[], offsets: &[], unsynchronised: false };
        let today = jiff::tz::TimeZone::UTC.to_datetime(now).date();
        let limits = Limits::default();
        let (items, memory) =
            judge::items(host, &limits, CheckTime::Random, &self.memory, today, now);
        // As it would be read again tomorrow.
        self.memory = serde_json::from_str(&serde_json::to_string(&memory).unwrap()).unwrap();
        items
    }

    fn verdict(&mut self, topic: Topic, now: Timestamp) -> Verdict {
        self.check(now).iter().find(|item| item.topic == topic).unwrap().verdict
    }
}

fn morning(day: i64) -> Timestamp {
    let first: Timestamp = "2026-12-01T03:30:00Z".parse().unwrap();
    first.checked_add(SignedDuration::from_hours(24 * day)).unwrap()
}

#[test]
fn what_is_taken_away_is_unknown_and_nothing_else_is() {
    let pressures = ["proc/pressure/cpu", "proc/pressure/memory", "proc/pressure/io"];
    for (away, unknown) in [
        (&["proc/meminfo"][..], &[Topic::Memory, Topic::Swap][..]),
        (&["proc/pressure/memory"], &[Topic::Memory]),
        (&["proc/pressure/io"], &[Topic::Io]),
        (&["proc/pressure/cpu", "proc/loadavg"], &[Topic::Processor]),
        (&["proc/pressure/cpu"], &[]),
        (&["run/systemd/timesync/synchronized"], &[Topic::Clock]),
        (&["proc/vmstat"], &[]),
        (&["proc/sys/kernel/random/boot_id", "proc/uptime", "proc/stat"], &[]),
        (&pressures, &[Topic::Memory, Topic::Io]),
    ] {
        let mut paper = Paper::new();
        paper.set_by("run/systemd/timesync/synchronized", morning(0));
        let all = paper.check(morning(0));
        assert!(all.iter().all(|item| item.verdict == Verdict::Ok), "{all:#?}");
        for file in away {
            paper.take_away(file);
        }
        let mut seen: Vec<Topic> = Vec::new();
        for item in paper.check(morning(0)) {
            match item.verdict {
                Verdict::Ok => {}
                Verdict::Unknown => {
                    assert!(item.next.is_some() && item.counts, "{item:?}");
                    seen.push(item.topic);
                }
                Verdict::Warning | Verdict::Critical => panic!("{item:?}"),
            }
        }
        assert_eq!(seen, unknown, "without {away:?}");
    }
}

#[test]
fn a_kernel_without_pressure_is_judged_by_its_load_and_says_what_it_does_not_know() {
    let mut paper = Paper::new();
    fs::remove_dir_all(paper.path("proc/pressure")).unwrap();
    let items = paper.check(morning(0));
    let of = |topic: Topic| items.iter().find(|item| item.topic == topic).unwrap();
    assert_eq!(of(Topic::Processor).verdict, Verdict::Ok);
    assert_eq!((of(Topic::Io).verdict, of(Topic::Io).counts), (Verdict::Unknown, false));
    paper.write("proc/loadavg", "9.00 9.00 6.00 1/100 4711\n");
    let items = paper.check(morning(0));
    let item = items.iter().find(|item| item.topic == Topic::Processor).unwrap();
    assert_eq!(item.verdict, Verdict::Critical);
    assert!(item.text.starts_with("6.0 programs at a time wanted one of 2 processors"), "{item:?}");
}

#[test]
fn days_of_waiting_become_a_warning_a_bad_one_is_critical_and_a_restart_starts_anew() {
    let mut paper = Paper::new();
    let (mut total, mut up) = (0, 1000);
    let mut seen = Vec::new();
    // Percent of each day in which programs waited; the last five minutes were always quiet.
    for (day, waited) in [0, 25, 25, 5, 25, 45, 25, 0].into_iter().enumerate() {
        total += waited * 864_000_000;
        up += 86_400;
        paper.pressure("cpu", 1.0, total);
        paper.up(up);
        let now = morning(i64::try_from(day).unwrap());
        seen.push(paper.verdict(Topic::Processor, now));
        // Somebody looks again in between.
        let later = now.checked_add(SignedDuration::from_secs(30)).unwrap();
        paper.up(up + 30);
        paper.verdict(Topic::Processor, later);
    }
    use Verdict::{Critical, Ok, Warning};
    assert_eq!(seen, [Ok, Ok, Warning, Ok, Ok, Critical, Warning, Ok]);

    // Off for a week: what the counters say began with the start.
    paper.write("proc/sys/kernel/random/boot_id", "another\n");
    paper.up(up + 86_400);
    paper.pressure("cpu", 1.0, total + 80_000_000_000);
    assert_eq!(paper.verdict(Topic::Processor, morning(16)), Ok);
}

#[test]
fn swap_is_judged_by_what_comes_back() {
    let mut paper = Paper::new();
    paper.meminfo(3_000_000, 950_000);
    assert_eq!(paper.verdict(Topic::Swap, morning(0)), Verdict::Unknown);
    paper.up(87_400);
    assert_eq!(paper.verdict(Topic::Swap, morning(1)), Verdict::Ok, "it only lies there");
    paper.up(173_800);
    paper.write("proc/vmstat", "pswpin 500000\n");
    assert_eq!(paper.verdict(Topic::Swap, morning(2)), Verdict::Critical);
    paper.meminfo(3_000_000, 100_000);
    paper.up(260_200);
    assert_eq!(paper.verdict(Topic::Swap, morning(3)), Verdict::Ok);
}

#[test]
fn a_container_is_judged_by_its_own_limits() {
    let mut paper = Paper::new();
    let group = |name: &str| format!("sys/fs/cgroup/{name}");
    // The group at the top of a machine has pressure, too, but neither type nor limit.
    paper.write(&group("cpu.pressure"), "some avg300=90.00 total=1\n");
    assert_eq!(paper.verdict(Topic::Processor, morning(0)), Verdict::Ok);

    paper.write(&group("cgroup.type"), "domain\n");
    assert_eq!(paper.verdict(Topic::Processor, morning(0)), Verdict::Critical);
    let memory = |max: &str, current: u64| {
        paper.write(&group("memory.max"), max);
        paper.write(&group("memory.current"), &format!("{current}\n"));
        let caches = "anon 1\ninactive_file 104857600\nactive_file 0\nslab_reclaimable 0\n";
        paper.write(&group("memory.stat"), caches);
        host::load(paper.dir.path(), morning(0)).memory.unwrap()
    };
    let limited = memory("536870912\n", 500 * MIB);
    assert_eq!((limited.all, limited.available), (512 * MIB, 112 * MIB));
    // Limited by what is not seen from here, or by more than there is.
    assert_eq!(memory("max\n", 500 * MIB).all, 4_000_000 * 1024);
    assert_eq!(memory("99999999999999\n", 500 * MIB).all, 4_000_000 * 1024);
    // A machine that has less than the container may use.
    memory("536870912\n", 500 * MIB);
    paper.meminfo(50_000, 0);
    let scarce = host::load(paper.dir.path(), morning(0)).memory.unwrap();
    assert_eq!(scarce.available, 50_000 * 1024);
    let items = paper.check(morning(0));
    let of = |topic: Topic| items.iter().find(|item| item.topic == topic).unwrap();
    assert_eq!(of(Topic::Memory).verdict, Verdict::Critical);
    assert!(!of(Topic::Clock).counts, "its clock is that of its host");
}

#[test]
fn a_time_service_is_believed_by_the_mark_it_leaves() {
    let ago = |hours: i64| morning(0).checked_sub(SignedDuration::from_hours(hours)).unwrap();
    for (mark, runs) in [
        ("run/systemd/timesync/synchronized", None),
        ("var/lib/chrony/chrony.drift", Some("run/chrony/chronyd.pid")),
        ("var/lib/chrony/drift", Some("run/chrony/chronyd.pid")),
        ("var/lib/ntpsec/ntp.drift", Some("run/ntpd.pid")),
    ] {
        let mut paper = Paper::new();
        paper.up(30 * 86_400);
        assert_eq!(paper.verdict(Topic::Clock, morning(0)), Verdict::Unknown, "{mark}");
        if let Some(pid) = runs {
            paper.write(pid, "1\n");
        }
        paper.set_by(mark, ago(1));
        assert_eq!(paper.verdict(Topic::Clock, morning(0)), Verdict::Ok, "{mark}");
        paper.set_by(mark, ago(30));
        assert_eq!(paper.verdict(Topic::Clock, morning(0)), Verdict::Critical, "{mark}");
        paper.set_by(mark, ago(0));
        assert_eq!(paper.verdict(Topic::Clock, morning(0)), Verdict::Ok, "{mark}");
    }
    // Started an hour ago, and nobody has answered yet.
    let mut paper = Paper::new();
    paper.up(3600);
    fs::create_dir_all(paper.path("run/systemd/timesync")).unwrap();
    assert_eq!(paper.verdict(Topic::Clock, morning(0)), Verdict::Unknown);
    paper.up(Duration::from_secs(2 * 86_400).as_secs());
    assert_eq!(paper.verdict(Topic::Clock, morning(0)), Verdict::Critical);
}
