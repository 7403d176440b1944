//! What was measured of this host, and what of it is remembered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// What the daily check remembers of this host.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct HostMemory {
    /// Limits that were passed on several days in a row, by topic and place.
    pub streaks: BTreeMap<String, Streak>,
    /// What the counters of the kernel stood at, for the mean until the next check.
    pub sample: Option<Sample>,
}

/// Days in a row on which a limit was passed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Streak {
    /// How many.
    pub days: u32,
    /// The last of them.
    pub last: Date,
}

/// Counters of the kernel, which only grow from boot on. `None`: not told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Which boot it was: random, drawn by the kernel.
    pub boot: String,
    /// Since boot, without what the wall clock did meanwhile.
    pub uptime: Duration,
    /// Microseconds in which something waited for a processor (PSI `cpu some`).
    #[serde(default)]
    pub processor: Option<u64>,
    /// Microseconds in which everything waited for memory (PSI `memory full`).
    #[serde(default)]
    pub memory: Option<u64>,
    /// Microseconds in which everything waited for the disk (PSI `io full`).
    #[serde(default)]
    pub io: Option<u64>,
    /// What the processors did.
    #[serde(default)]
    pub times: Option<ProcessorTimes>,
    /// Pages that came back from swap.
    #[serde(default)]
    pub paged_in: Option<u64>,
}

/// What all processors together did since boot, in ticks of the kernel.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessorTimes {
    /// Everything.
    pub all: u64,
    /// Nothing, or waiting for a disk.
    pub idle: u64,
    /// Time that the hypervisor gave to other virtual machines.
    pub stolen: u64,
}

/// What was measured at one time. What is `None` was not told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// The counters; `None` where not even the boot is known.
    pub sample: Option<Sample>,
    /// Waiting for a processor, by anything.
    pub processor: Pressure,
    /// Waiting for memory, by everything.
    pub memory_pressure: Pressure,
    /// Waiting for the disk, by everything.
    pub io: Pressure,
    /// How many wanted a processor, on average over 15 minutes.
    pub load: Option<f64>,
    /// Processors that are on.
    pub processors: Option<u32>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Memory that was moved to the disk.
    pub swap: Option<Swap>,
    /// A container: the clock is its host's, and the limits are its own where it has any.
    pub contained: bool,
    /// Time services that leave a mark which can be read.
    pub timekeepers: Vec<Timekeeper>,
}

/// Pressure stall information of one resource over 300 seconds.
///
/// Source: <https://docs.kernel.org/accounting/psi.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pressure {
    /// In percent of the time.
    Known(f64),
    /// This kernel keeps none: it is too old, or was started without `psi=1`.
    NotKept,
    /// It should be there, but cannot be read.
    #[default]
    Unreadable,
}

/// Memory, in bytes: of the container where that is limited, else of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory {
    /// All.
    pub all: u64,
    /// What a program that starts could have.
    pub available: u64,
}

/// Swap, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Swap {
    /// All; 0 without any.
    pub all: u64,
    /// In use.
    pub used: u64,
}

/// A time service on this host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timekeeper {
    /// Its name, as its unit is called.
    pub name: String,
    /// It runs.
    pub runs: bool,
    /// When it last set the clock.
    pub set_at: Option<Timestamp>,
}

/// A file system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disk {
    /// A folder on it, for `df`.
    pub place: PathBuf,
    /// We have to write there.
    pub ours: bool,
    /// What it has; what went wrong when nobody tells.
    pub space: Result<Space, String>,
}

/// What a file system has, as statvfs(3) tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Space {
    /// Bytes that programs without privileges can use: in use and free, without what is reserved
    /// for root.
    pub all: u64,
    /// Bytes that they can still use.
    pub free: u64,
    /// Inodes; 0 where a file system makes them as needed.
    pub inodes: u64,
    /// Inodes that are free.
    pub free_inodes: u64,
    /// Nothing can be written.
    pub read_only: bool,
}

/// How far the clock is off, by somebody who knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Offset {
    /// Seconds that it is ahead; negative: behind.
    pub seconds: f64,
    /// By whom.
    pub by: String,
}
