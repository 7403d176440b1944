//! The formats of the kernel. What is not as documented is `None`.

use std::time::Duration;

use crate::state::host::ProcessorTimes;

/// One line of a pressure file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stall {
    /// In percent of the last 300 seconds.
    pub(super) avg300: f64,
    /// In microseconds since boot.
    pub(super) total: u64,
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
pub(super) fn stall(text: &str, line: &str) -> Option<Stall> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    let words = lines.find_map(|mut words| (words.next() == Some(line)).then_some(words))?;
    let value = |key: &str| {
        let mut pairs = words.clone().filter_map(|word| word.split_once('='));
        pairs.find_map(|(name, value)| (name == key).then_some(value))
    };
    let avg300: f64 = value("avg300")?.parse().ok()?;
    let total = value("total")?.parse().ok()?;
    (0.0..=100.0).contains(&avg300).then_some(Stall { avg300, total })
}

/// The line `cpu` of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq and
/// steal. What follows them is part of user and nice already.
pub(super) fn times(stat: &str) -> Option<ProcessorTimes> {
    let words = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Option<Vec<u64>> =
        words.split_ascii_whitespace().take(8).map(|word| word.parse().ok()).collect();
    let times = times.filter(|times| times.len() >= 4)?;
    let at = |n: usize| times.get(n).copied().unwrap_or(0);
    let all = times.iter().try_fold(0_u64, |sum, time| sum.checked_add(*time))?;
    Some(ProcessorTimes { all, idle: at(3) + at(4), stolen: at(7) })
}

/// The lines `cpu0`, `cpu1`, ... of /proc/stat: processors that are on.
pub(super) fn processors(stat: &str) -> Option<u32> {
    let is_one = |line: &&str| {
        let rest = line.strip_prefix("cpu").unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_digit())
    };
    u32::try_from(stat.lines().filter(is_one).count()).ok().filter(|count| *count > 0)
}

/// The third number of /proc/loadavg.
pub(super) fn load15(text: &str) -> Option<f64> {
    let load: f64 = text.split_ascii_whitespace().nth(2)?.parse().ok()?;
    (load.is_finite() && load >= 0.0).then_some(load)
}

/// The first number of /proc/uptime, in seconds.
pub(super) fn uptime(text: &str) -> Option<Duration> {
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    // Written as it is remembered: milliseconds are plenty.
    let millis = Duration::try_from_secs_f64(seconds).ok()?.as_millis();
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// `MemTotal:  1024 kB`, in bytes.
pub(super) fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let value = lines.find_map(|(name, value)| (name == key).then_some(value))?;
    let number = value.trim().strip_suffix("kB")?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// `pswpin 17`.
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find_map(|(name, value)| (name == key).then_some(value))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CPU: &str = "some avg10=3.50 avg60=2.32 avg300=9.92 total=361532356\n\
                       full avg10=0.00 avg60=0.00 avg300=0.01 total=7\n";

    #[test]
    fn a_pressure_file_tells_the_line_that_is_asked_for() {
        assert_eq!(stall(CPU, "some"), Some(Stall { avg300: 9.92, total: 361_532_356 }));
        assert_eq!(stall(CPU, "full"), Some(Stall { avg300: 0.01, total: 7 }));
        for bad in ["", "some", "some avg300=1.0", "some total=1", "some avg300=x total=1"] {
            assert_eq!(stall(bad, "some"), None, "{bad:?}");
        }
        for bad in ["NaN", "-1", "101", "inf"] {
            assert_eq!(stall(&format!("some avg300={bad} total=1"), "some"), None, "{bad}");
        }
    }

    #[test]
    fn processor_times_are_read_with_and_without_those_of_newer_kernels() {
        let stat = "cpu  164550 2 40322 184592 3494 0 1856 503 9 9\n\
                    cpu0 77991 0 17831 99902 1109 0 344 248 0 0\n\
                    cpu1 86558 0 22490 84689 2385 0 1512 254 0 0\nintr 1\ncpufreq 3\n";
        let all = 164_550 + 2 + 40_322 + 184_592 + 3_494 + 1_856 + 503;
        let expected = ProcessorTimes { all, idle: 188_086, stolen: 503 };
        assert_eq!(times(stat), Some(expected));
        assert_eq!(processors(stat), Some(2));
        assert_eq!(times("cpu 1 2 3 4\n"), Some(ProcessorTimes { all: 10, idle: 4, stolen: 0 }));
        for bad in ["", "cpu", "cpu 1 2 3", "cpu 1 2 x 4", "cpu0 1 2 3 4"] {
            assert_eq!(times(bad), None, "{bad:?}");
        }
        assert_eq!(processors("cpu 1 2 3 4"), None);
    }

    #[test]
    fn the_other_files_are_read_and_garbage_is_none() {
        assert_eq!(load15("0.24 0.97 1.30 2/96 14129\n"), Some(1.3));
        assert_eq!(load15("0.24 0.97"), None);
        assert_eq!(load15("0 0 NaN"), None);
        assert_eq!(uptime("2184.47 2042.76\n"), Some(Duration::from_millis(2_184_470)));
        assert_eq!(uptime("-1"), None);
        let info = "MemTotal:       24684092 kB\nMemAvailable:   7 kB\nHugePages_Total:       0\n";
        assert_eq!(kibibytes(info, "MemTotal"), Some(24_684_092 * 1024));
        assert_eq!(kibibytes(info, "MemFree"), None);
        assert_eq!(kibibytes(info, "HugePages_Total"), None);
        assert_eq!(kibibytes("MemTotal: 18446744073709551615 kB", "MemTotal"), None);
        assert_eq!(field("pswpout 3\npswpin 17\n", "pswpin"), Some(17));
        assert_eq!(field("pswpin", "pswpin"), None);
    }

    proptest! {
        #[test]
        fn nothing_in_a_file_ends_the_check(text in "\\PC{0,80}", more in "[0-9a-z =.:\n-]{0,200}") {
            for text in [text.as_str(), more.as_str(), &format!("cpu {more}"), &format!("some {more}")] {
                let _ = (stall(text, "some"), times(text), processors(text), load15(text));
                let _ = (uptime(text), kibibytes(text, "a"), field(text, "a"));
            }
        }
    }
}
