//! Whether this machine has enough left for calls: processor, memory, disk and clock.
//!
//! A warning needs two days in a row, so that one backup or one upgrade is none; critical is told
//! at once.

mod clock;
mod days;
mod means;
mod room;
mod waiting;

use jiff::Timestamp;
use jiff::civil::Date;

use self::days::Days;
use self::means::Means;
use crate::config::check::{CheckTime, Limit, Limits};
use crate::state::alert::Level;
use crate::state::check::{Metric, Unit, Verdict};
use crate::state::host::{Disk, HostMemory, Load, Offset};

/// What was found of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// What was measured.
    pub load: &'a Load,
    /// The file systems that matter.
    pub disks: &'a [Disk],
    /// What others say about the clock.
    pub offsets: &'a [Offset],
    /// This host's clock is never synchronised, as the configuration says.
    pub unsynchronised: bool,
}

/// What there is to say of this machine, and what to remember for the next time.
///
/// `at` says which checks follow each other, `today` is the day of this host's own calendar.
pub fn items(
    host: Host<'_>,
    limits: &Limits,
    at: CheckTime,
    before: &HostMemory,
    today: Date,
    now: Timestamp,
) -> (Vec<crate::state::check::Item>, HostMemory) {
    let load = host.load;
    let means = Means::between(before.sample.as_ref(), load.sample.as_ref());
    let mut days = Days::new(&before.streaks, at, today);
    let mut items = vec![waiting::processor(load, means.as_ref(), limits, &mut days)];
    items.push(room::memory(load.memory, limits.memory, &mut days));
    items.push(waiting::memory(load, means.as_ref(), limits, &mut days));
    items.push(room::swap(load.swap, means.as_ref(), limits.swap, &mut days));
    items.push(waiting::io(load, means.as_ref(), limits, &mut days));
    items.extend(host.disks.iter().map(|disk| room::disk(disk, limits.disk, &mut days)));
    items.push(clock::item(host, limits.clock, &mut days, now));
    let sample = means::remembered(before.sample.as_ref(), load.sample.as_ref()).cloned();
    (items, HostMemory { streaks: days.done(), sample })
}

/// The object of every item here.
const HOST: &str = "host";

/// Which limit a number has reached. What is left falls, everything else rises.
fn level(value: f64, limit: Limit) -> Option<Level> {
    let rises = limit.warning < limit.critical;
    let reached = |mark: f64| if rises { value >= mark } else { value <= mark };
    match (reached(limit.critical), reached(limit.warning)) {
        (true, _) => Some(Level::Critical),
        (false, true) => Some(Level::Warning),
        (false, false) => None,
    }
}

/// A number in percent with its limits.
fn percent(label: &str, value: f64, limit: Option<Limit>) -> Metric {
    Metric {
        label: label.to_owned(),
        value: rounded(value),
        unit: Unit::Percent,
        warning: limit.map(|limit| limit.warning),
        critical: limit.map(|limit| limit.critical),
    }
}

/// Hundredths are plenty, and read the same in every output.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// `part` of `all`, in percent.
fn share(part: u64, all: u64) -> f64 {
    part as f64 / all as f64 * 100.0
}

/// `40 min`, `23 h`, `3 days`.
fn span(seconds: f64) -> String {
    const HOUR: f64 = 3600.0;
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 2.0 * HOUR => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * HOUR => format!("{:.0} h", s / HOUR),
        s => format!("{:.0} days", s / (24.0 * HOUR)),
    }
}

/// `512.0 MiB`, `3.2 GiB`.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["MiB", "GiB", "TiB", "PiB"];
    let mut value = number as f64 / (1024.0 * 1024.0);
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// What follows the bare numbers in a text, `limit` being `above 40 %`: nothing while all is well.
fn judged(settled: days::Settled, limit: &str, meaning: &str, improve: &str) -> String {
    let advice = format!("{meaning}; improve the hardware or the virtual machine: {improve}");
    match (settled.verdict, settled.days) {
        (Verdict::Critical, _) => format!(", which is {limit}: {advice}"),
        (Verdict::Warning, days) => format!(", {limit} for {days} days: {advice}"),
        (_, 0) => String::new(),
        // One day is none: a backup, an upgrade.
        (..) => format!(", {limit}: a warning if the next day's check finds it, too"),
    }
}

#[cfg(test)]
mod tests;
