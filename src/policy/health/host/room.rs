//! Room: memory, swap, file systems.

use super::days::Days;
use super::means::Means;
use super::{HOST, bytes, judged, level, percent, rounded, share, span};
use crate::config::check::Limit;
use crate::state::alert::Level;
use crate::state::check::{Item, Metric, Topic, Unit, Verdict};
use crate::state::host::{Disk, Memory, Space, Swap};

const MIB: u64 = 1024 * 1024;

/// A program that starts, or a reload of a PBX, takes that much at once.
const LEAST_MEMORY: u64 = 64 * MIB;

/// A few minutes of recordings, or of a log that something floods.
const LEAST_DISK: u64 = 100 * MIB;

/// Pages that come back from swap each second, on average: 34 MiB a day. Less is what jobs of the
/// night touch once.
const PAGING: f64 = 0.1;

/// Whether there is memory left.
pub(super) fn memory(memory: Option<Memory>, limit: Limit, days: &mut Days) -> Item {
    let next = "top -o %MEM shows what uses it";
    let Some(Memory { all, available }) = memory else {
        let text = "how much memory is available is not known: /proc/meminfo does not say";
        let next = "see what grep Mem /proc/meminfo says";
        return Item::new(Topic::Memory, HOST, Verdict::Unknown, text).then(next);
    };
    let value = share(available, all);
    let short = available < LEAST_MEMORY;
    let reached = if short { Some(Level::Critical) } else { level(value, limit) };
    let settled = days.settle("memory", reached);
    let mark = match settled.verdict {
        Verdict::Critical if level(value, limit) != Some(Level::Critical) => bytes(LEAST_MEMORY),
        Verdict::Critical => format!("{} %", limit.critical),
        _ => format!("{} %", limit.warning),
    };
    let text = format!(
        "{} of {} memory are available ({value:.1} %){}",
        bytes(available),
        bytes(all),
        judged(
            settled,
            &format!("below {mark}"),
            "the kernel ends programs when none is left",
            "more memory"
        ),
    );
    let mut item = Item::new(Topic::Memory, HOST, settled.verdict, text);
    item.next = reached.map(|_| next.to_owned());
    item.with(percent("memory-available", value, Some(limit)))
}

/// Whether memory that is needed lies on the disk. What lies there unused is no harm.
pub(super) fn swap(
    swap: Option<Swap>,
    means: Option<&Means>,
    limit: Limit,
    days: &mut Days,
) -> Item {
    let Some(Swap { all, used }) = swap else {
        let text = "how much swap is in use is not known: /proc/meminfo does not say";
        let next = "see what grep Swap /proc/meminfo says";
        return Item::new(Topic::Swap, HOST, Verdict::Unknown, text).then(next);
    };
    if all == 0 {
        return Item::not_asked(Topic::Swap, HOST, Verdict::Ok, "there is no swap");
    }
    let value = share(used, all);
    let metric = percent("swap-used", value, Some(limit));
    let so_much = format!("{} of {} swap are used ({value:.1} %)", bytes(used), bytes(all));
    let pages = means.zip(means.and_then(|means| means.paged_in));
    let Some((means, pages)) = pages else {
        if level(value, limit).is_none() {
            days.settle("swap", None);
            return Item::new(Topic::Swap, HOST, Verdict::Ok, so_much).with(metric);
        }
        let text = format!("{so_much}; whether it is needed is not known before the next check");
        let next = "vmstat 5 shows under si what comes back from swap";
        return Item::new(Topic::Swap, HOST, Verdict::Unknown, text).then(next).with(metric);
    };
    let reached = level(value, limit).filter(|_| pages >= PAGING);
    let settled = days.settle("swap", reached);
    let mark = if settled.verdict == Verdict::Critical { limit.critical } else { limit.warning };
    let text = format!(
        "{so_much}, and {pages:.1} pages a second came back in since the last check ({}){}",
        span(means.seconds),
        judged(settled, &format!("above {mark} %"), "programs wait for memory", "more memory"),
    );
    let mut item = Item::new(Topic::Swap, HOST, settled.verdict, text).with(metric);
    item.next = reached.map(|_| "top -o %MEM shows what uses memory; vmstat 5 what swaps".into());
    item.with(Metric {
        label: "swap-in-mean".to_owned(),
        value: rounded(pages),
        unit: Unit::Count,
        warning: None,
        critical: None,
    })
}

/// Whether a file system has room for what is written next.
pub(super) fn disk(disk: &Disk, limit: Limit, days: &mut Days) -> Item {
    let place = disk.place.display().to_string();
    let item = |verdict, text: String| Item::new(Topic::Disk, HOST, verdict, text).at(&*place);
    let space = match &disk.space {
        Ok(space) => space,
        Err(error) => {
            let text = format!("how much space is left at {place} is not known: {error}");
            return item(Verdict::Unknown, text).then(format!("see what df -h {place} says"));
        }
    };
    if space.read_only {
        return read_only(disk, &place);
    }
    if space.all == 0 {
        let text = format!(
            "how much space is left at {place} is not known: its file system has \
                            no size"
        );
        return item(Verdict::Unknown, text).then(format!("see what df -h {place} says"));
    }
    let value = share(space.free, space.all);
    let inodes = (space.inodes > 0).then(|| share(space.free_inodes, space.inodes));
    let scarce = inodes.and_then(|inodes| level(inodes, limit));
    let short = space.free < least(space, limit);
    let full = if short { Some(Level::Critical) } else { level(value, limit) };
    let settled = days.settle(&format!("disk {place}"), full.max(scarce));
    let critical = settled.verdict == Verdict::Critical;
    let mark = match level(value, limit) {
        other if critical && short && other != Some(Level::Critical) => bytes(least(space, limit)),
        _ if critical => format!("{} %", limit.critical),
        _ => format!("{} %", limit.warning),
    };
    let of_inodes = match inodes {
        Some(inodes) => format!(", and {inodes:.1} % of its inodes (places for files)"),
        None => String::new(),
    };
    let text = format!(
        "{} ({value:.1} %) of the file system of {place} are free{of_inodes}{}",
        bytes(space.free),
        judged(
            settled,
            &format!("below {mark}"),
            "when it is full, neither certificates nor logs and voicemail can be written",
            "more space on that disk"
        ),
    );
    let mut item = item(settled.verdict, text);
    if full.max(scarce).is_some() {
        item.next = Some(clean(&place, scarce > full));
    }
    item = item.with(percent("disk-free", value, Some(limit)));
    match inodes {
        None => item,
        Some(inodes) => item.with(percent("inodes-free", inodes, Some(limit))),
    }
}

/// Below this many bytes it is critical. Never more than what would be worth a warning anyway: logs
/// in a small memory disk are not critical for being small.
fn least(space: &Space, limit: Limit) -> u64 {
    let worth_a_warning = space.all as f64 * limit.warning / 100.0;
    LEAST_DISK.min(worth_a_warning as u64)
}

fn clean(place: &str, inodes: bool) -> String {
    if inodes {
        return format!(
            "df -i {place} shows it, and du --inodes -x {place} | sort -n | tail where the many \
             small files are"
        );
    }
    format!(
        "df -h {place} shows it; journalctl --vacuum-size=200M and logrotate -f \
         /etc/logrotate.conf give space back, and du -xh {place} | sort -h | tail shows where the \
         rest went"
    )
}

/// A disk with errors is often mounted so by the kernel itself.
fn read_only(disk: &Disk, place: &str) -> Item {
    if !disk.ours {
        let text = format!("the file system of {place} is read-only: nothing fills it");
        return Item::not_asked(Topic::Disk, HOST, Verdict::Ok, &text).at(place);
    }
    let text = format!(
        "the file system of {place} is read-only: no certificate can be renewed or installed; \
         Linux does that by itself when a disk fails"
    );
    let next = format!(
        "dmesg --level=err tells of a failing disk; without one, mount -o remount,rw and the mount \
         point that df {place} shows"
    );
    Item::new(Topic::Disk, HOST, Verdict::Critical, text).at(place).then(next)
}
