//! What this machine has left for calls: processor, memory, file systems, and who sets its clock.
//!
//! A few small reads in /proc, /sys, /run and /var/lib, and one statvfs for each folder.

mod parse;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::StatVfsMountFlags;

use crate::state::host::{Disk, Load, Memory, Pressure, Sample, Space, Swap, Timekeeper};

/// Measures now. `root` is `/`, where there are /proc, /sys, /run and /var/lib.
///
/// Where this is a container with a control group of its own (cgroup v2), its pressure and its
/// limits come before those of the machine.
pub fn load(root: &Path, now: Timestamp) -> Load {
    let machine = Machine { root };
    let processor = machine.pressure("cpu", "some");
    let memory = machine.pressure("memory", "full");
    let io = machine.pressure("io", "full");
    let total = |told: &Stall| told.as_ref().ok().map(|told| told.total);
    let stat = machine.text("proc/stat");
    let boot = machine.text("proc/sys/kernel/random/boot_id");
    let uptime = machine.text("proc/uptime").and_then(|text| parse::uptime(&text));
    let sample = boot.zip(uptime).map(|(boot, uptime)| Sample {
        at: now,
        boot: boot.trim().to_owned(),
        uptime,
        processor: total(&processor),
        memory: total(&memory),
        io: total(&io),
        times: stat.as_deref().and_then(parse::times),
        paged_in: machine.paged_in(),
    });
    let average = |told: Stall| told.map_or_else(|why| why, |told| Pressure::Known(told.avg300));
    Load {
        sample,
        processor: average(processor),
        memory_pressure: average(memory),
        io: average(io),
        load: machine.text("proc/loadavg").and_then(|text| parse::load15(&text)),
        processors: stat.as_deref().and_then(parse::processors),
        memory: machine.memory(),
        swap: machine.swap(),
        contained: machine.is_contained(),
        timekeepers: machine.timekeepers(),
    }
}

/// The file systems that these folders are on, each once, in the order of their first folder; with
/// each whether we have to write there. A folder that does not exist yet counts as its parent.
pub fn disks(folders: &[(PathBuf, bool)]) -> Vec<Disk> {
    let mut seen = BTreeSet::new();
    let mut disks = Vec::new();
    for (folder, ours) in folders {
        let place = folder.ancestors().find(|place| place.exists()).unwrap_or(folder);
        let device = fs::metadata(place).map(|meta| meta.dev());
        // What cannot be looked at is nobody else's.
        if device.as_ref().is_ok_and(|device| !seen.insert(*device)) {
            continue;
        }
        let space = device.and_then(|_| Ok(space(&rustix::fs::statvfs(place)?)));
        let space = space.map_err(|error| error.to_string());
        disks.push(Disk { place: place.to_owned(), ours: *ours, space });
    }
    disks
}

fn space(stat: &rustix::fs::StatVfs) -> Space {
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    Space {
        all: used.saturating_add(stat.f_bavail).saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: stat.f_files,
        free_inodes: stat.f_ffree,
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    }
}

/// What a pressure file says, or why it says nothing.
type Stall = Result<parse::Stall, Pressure>;

struct Machine<'a> {
    root: &'a Path,
}

impl Machine<'_> {
    /// The container's own pressure, else the machine's.
    fn pressure(&self, resource: &str, line: &str) -> Stall {
        let own = self.own(&format!("{resource}.pressure"));
        if let Some(stall) = own.and_then(|text| parse::stall(&text, line)) {
            return Ok(stall);
        }
        let folder = self.root.join("proc/pressure");
        match read(&folder.join(resource)) {
            Ok(text) => parse::stall(&text, line).ok_or(Pressure::Unreadable),
            // Without psi=1 older kernels have the files, and refuse to read them.
            Err(error) if error.raw_os_error() == Some(OPNOTSUPP) => Err(Pressure::NotKept),
            Err(_) if self.root.join("proc").exists() && !folder.exists() => Err(Pressure::NotKept),
            Err(_) => Err(Pressure::Unreadable),
        }
    }

    /// MemAvailable of /proc/meminfo (proc_meminfo(5)), less where a control group allows less.
    fn memory(&self) -> Option<Memory> {
        let info = self.text("proc/meminfo")?;
        let all = parse::kibibytes(&info, "MemTotal").filter(|all| *all > 0)?;
        let available = parse::kibibytes(&info, "MemAvailable")?.min(all);
        let machine = Memory { all, available };
        Some(self.own_memory(machine).unwrap_or(machine))
    }

    fn own_memory(&self, machine: Memory) -> Option<Memory> {
        // "max": limited by nothing that is seen from here; lxcfs has meminfo say it then.
        let limit = self.own_number("memory.max").filter(|max| *max < machine.all)?;
        let current = self.own_number("memory.current")?;
        let stat = self.own("memory.stat")?;
        // What lxcfs counts as available: free, and what can be had back from caches.
        let caches = ["active_file", "inactive_file", "slab_reclaimable"];
        let caches: u64 = caches.iter().filter_map(|key| parse::field(&stat, key)).sum();
        let available = limit.saturating_sub(current.saturating_sub(caches));
        Some(Memory { all: limit, available: available.min(machine.available) })
    }

    fn swap(&self) -> Option<Swap> {
        if let Some(all) = self.own_number("memory.swap.max") {
            let used = self.own_number("memory.swap.current")?;
            return Some(Swap { all, used: used.min(all) });
        }
        let info = self.text("proc/meminfo")?;
        let all = parse::kibibytes(&info, "SwapTotal")?;
        let free = parse::kibibytes(&info, "SwapFree")?;
        Some(Swap { all, used: all.saturating_sub(free) })
    }

    fn paged_in(&self) -> Option<u64> {
        if self.own_number("memory.swap.max").is_some() {
            let stat = self.own("memory.stat")?;
            // Older kernels tell only of pages that are missed soon after they were moved.
            let told = ["pswpin", "workingset_refault_anon"];
            return told.iter().find_map(|key| parse::field(&stat, key));
        }
        parse::field(&self.text("proc/vmstat")?, "pswpin")
    }

    /// A file of the control group at the top of what is seen from here, when that is not the top
    /// of the machine: only groups below that one have a type (cgroup-v2, "cgroup.type").
    fn own(&self, name: &str) -> Option<String> {
        let group = self.root.join("sys/fs/cgroup");
        group.join("cgroup.type").exists().then(|| read(&group.join(name)).ok()).flatten()
    }

    fn own_number(&self, name: &str) -> Option<u64> {
        self.own(name)?.trim().parse().ok()
    }

    fn is_contained(&self) -> bool {
        const MARKS: [&str; 4] = [
            "sys/fs/cgroup/cgroup.type",
            "run/systemd/container",
            "run/.containerenv",
            ".dockerenv",
        ];
        MARKS.iter().any(|mark| self.root.join(mark).exists())
    }

    /// Those that leave a mark in a file whenever they set the clock. The kernel knows for all of
    /// them, but is only asked through unsafe code.
    fn timekeepers(&self) -> Vec<Timekeeper> {
        let touched = |file: &&str| {
            let meta = fs::metadata(self.root.join(file)).ok()?;
            Timestamp::from_second(meta.mtime()).ok()
        };
        let keepers = TIMEKEEPERS.iter().map(|(name, marks, running)| Timekeeper {
            name: (*name).to_owned(),
            runs: running.iter().any(|file| self.root.join(file).exists()),
            set_at: marks.iter().filter_map(touched).max(),
        });
        keepers.filter(|keeper| keeper.runs || keeper.set_at.is_some()).collect()
    }

    fn text(&self, path: &str) -> Option<String> {
        read(&self.root.join(path)).ok()
    }
}

/// Name, files that are written when the clock is set, files that are there while it runs.
type Mark = (&'static str, &'static [&'static str], &'static [&'static str]);

/// systemd-timesyncd touches its mark each time (systemd-timesyncd.service(8)); chronyd and ntpd
/// write down how fast the clock runs about once an hour, while they have a source (chrony.conf(5)
/// and ntp.conf(5), `driftfile`).
const TIMEKEEPERS: [Mark; 3] = [
    (
        "systemd-timesyncd",
        &["run/systemd/timesync/synchronized"],
        // Its RuntimeDirectory.
        &["run/systemd/timesync"],
    ),
    (
        "chrony",
        &["var/lib/chrony/chrony.drift", "var/lib/chrony/drift"],
        &["run/chrony/chronyd.pid", "run/chronyd.pid"],
    ),
    (
        "ntpd",
        &["var/lib/ntpsec/ntp.drift", "var/lib/ntp/ntp.drift", "var/lib/ntp/drift"],
        &["run/ntpd.pid"],
    ),
];

/// EOPNOTSUPP.
const OPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

/// The interrupts of a large machine fill some 100 KiB of /proc/stat.
const MOST: u64 = 1024 * 1024;

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
