//! Facts of this machine: its clock, its network, by what it is known, what it has left, and processes
//! that a reload left behind.

mod identity;
mod load;
pub mod network;
mod workers;

use std::path::Path;

use jiff::Timestamp;

use crate::state::Time;

pub use identity::marks;
pub use load::{disks, load};
pub use workers::old_workers;

/// A time that has certainly passed: this version was not built before it.
const BUILT: Timestamp = Timestamp::constant(1_795_392_000, 0);

/// What is known of the clock. `newest` is the newest notBefore that we hold, `unsynchronised` the
/// configuration's word that this host's clock never is: then nobody waits for it.
pub fn time(newest: Option<Timestamp>, unsynchronised: bool) -> Time {
    Time {
        trusted: unsynchronised || is_synchronised(),
        floor: newest.map_or(BUILT, |newest| newest.max(BUILT)),
        boot_at: boot_at(&std::fs::read_to_string("/proc/stat").unwrap_or_default()),
    }
}

/// systemd-timesyncd touches this file once the clock is set (systemd-timesyncd.service(8)). Other
/// time services leave no mark that can be read without asking the kernel through unsafe code:
/// with them the clock counts as untrusted, which only costs the first ten minutes after boot.
fn is_synchronised() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

/// The line `btime` of /proc/stat (proc_stat(5)): boot time in seconds of the wall clock.
fn boot_at(stat: &str) -> Option<Timestamp> {
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_time_is_read_and_garbage_is_none() {
        let stat = "cpu  1 2 3\nbtime 1795392000\nprocesses 7\n";
        assert_eq!(boot_at(stat), Some(BUILT));
        for bad in ["", "btime", "btime x", "btime 99999999999999999999"] {
            assert_eq!(boot_at(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_floor_is_the_newest_time_that_is_known_to_have_passed() {
        let later = Timestamp::constant(1_900_000_000, 0);
        assert_eq!(time(Some(later), true).floor, later);
        assert_eq!(time(Some(Timestamp::UNIX_EPOCH), true).floor, BUILT);
        assert!(time(None, true).trusted);
    }
}
