//! Means since the last check, from counters that only grow.

use crate::state::host::{ProcessorTimes, Sample};

/// What was so on average between two checks, in percent of the time. `None`: not told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Means {
    /// How long that was, in seconds.
    pub(super) seconds: f64,
    /// Something waited for a processor.
    pub(super) processor: Option<f64>,
    /// Everything waited for memory.
    pub(super) memory: Option<f64>,
    /// Everything waited for the disk.
    pub(super) io: Option<f64>,
    /// The processors worked.
    pub(super) busy: Option<f64>,
    /// Processor time went to other virtual machines.
    pub(super) stolen: Option<f64>,
    /// Pages that came back from swap, each second.
    pub(super) paged_in: Option<f64>,
}

impl Means {
    /// Between two samples of the same boot, at least a minute apart.
    pub(super) fn between(before: Option<&Sample>, now: Option<&Sample>) -> Option<Self> {
        let (before, now) = (before?, now?);
        let seconds = apart(before, now)?;
        if seconds < LEAST {
            return None;
        }
        // A counter that went back counts something else now: a container was started anew.
        let grown = |before: Option<u64>, now: Option<u64>| now?.checked_sub(before?);
        let stalled = |before, now| {
            grown(before, now).map(|micros| (micros as f64 / seconds / 1e4).min(100.0))
        };
        let times = before.times.zip(now.times).and_then(|(before, now)| spent(before, now));
        Some(Self {
            seconds,
            processor: stalled(before.processor, now.processor),
            memory: stalled(before.memory, now.memory),
            io: stalled(before.io, now.io),
            busy: times.map(|(busy, _)| busy),
            stolen: times.map(|(_, stolen)| stolen),
            paged_in: grown(before.paged_in, now.paged_in).map(|pages| pages as f64 / seconds),
        })
    }
}

/// The sample that the next check compares with: the new one, unless it is so soon after the old
/// one that somebody who checks every few seconds would never see a mean.
pub(super) fn remembered<'a>(
    before: Option<&'a Sample>,
    now: Option<&'a Sample>,
) -> Option<&'a Sample> {
    let too_soon = |(before, now)| apart(before, now).is_some_and(|seconds| seconds < LEAST);
    if before.zip(now).is_some_and(too_soon) { before } else { now.or(before) }
}

/// Seconds from one to the other, when no restart lies between them. The boot is the machine's: a
/// container that was started anew shows in what start and clock make of each other.
fn apart(before: &Sample, now: &Sample) -> Option<f64> {
    let up = now.uptime.checked_sub(before.uptime)?.as_secs_f64();
    let clock = now.at.duration_since(before.at).as_secs_f64();
    let same = before.boot == now.boot && (clock - up).abs() <= PLAY;
    same.then_some(up)
}

/// How much of their time the processors were busy, and how much was taken from them.
fn spent(before: ProcessorTimes, now: ProcessorTimes) -> Option<(f64, f64)> {
    let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
    let idle = now.idle.checked_sub(before.idle)?;
    let stolen = now.stolen.checked_sub(before.stolen).filter(|stolen| *stolen <= all)?;
    let percent = |part: u64| part as f64 / all as f64 * 100.0;
    Some((percent(all.checked_sub(idle)?), percent(stolen)))
}

/// In seconds. A mean over less says no more than the last 300 seconds do.
const LEAST: f64 = 60.0;

/// In seconds. A clock that was set right by more than that costs one mean.
const PLAY: f64 = 600.0;
