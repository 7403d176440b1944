//! Processor, memory, disk and clock of this host.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Checker;
use crate::host;
use crate::policy::health::host as judge;
use crate::state::check::Item;
use crate::state::host::{HostMemory, Offset};

/// Whoever is asked for the time answers at once, or is not waited for.
const QUESTION: Duration = Duration::from_secs(2);

/// What there is to say of it.
pub(super) async fn items(
    checker: &Checker<'_>,
    memory: &mut HostMemory,
    now: Timestamp,
) -> Vec<Item> {
    let config = checker.config;
    let load = host::load(&checker.world.root, now);
    let disks = host::disks(&folders(checker));
    let offsets = [too_early(checker, now), by_peer(checker).await];
    let offsets: Vec<Offset> = offsets.into_iter().flatten().collect();
    let seen = judge::Host {
        load: &load,
        disks: &disks,
        offsets: &offsets,
        unsynchronised: config.unsynchronised,
    };
    let today = TimeZone::system().to_datetime(now).date();
    let spec = &config.check;
    let (items, after) = judge::items(seen, &spec.limits, spec.at, memory, today, now);
    *memory = after;
    items
}

/// Where we write, and where everybody logs.
fn folders(checker: &Checker<'_>) -> Vec<(PathBuf, bool)> {
    let config = checker.config;
    let installs = config.services.iter().flat_map(|service| service.install.values());
    let files = installs.flat_map(|install| install.targets());
    let targets = files.filter_map(|(path, _)| Some((path.parent()?.to_owned(), true)));
    let mut folders = vec![(config.state_dir.clone(), true)];
    folders.extend(targets);
    folders.push((PathBuf::from("/var/log"), false));
    folders.dedup();
    folders
}

/// A time that has certainly passed is still to come.
fn too_early(checker: &Checker<'_>, now: Timestamp) -> Option<Offset> {
    let floor = (checker.world.time)(None).floor;
    let seconds = now.duration_since(floor).as_secs_f64();
    let by = "the day this version of pbxcert was made, at least".to_owned();
    (seconds < 0.0).then_some(Offset { seconds, by })
}

/// What the first CA that answers says over verified TLS.
async fn by_peer(checker: &Checker<'_>) -> Option<Offset> {
    if checker.config.check.offline {
        return None;
    }
    let ask = async {
        for (name, authority) in &checker.world.authorities {
            if let Some(date) = authority.date().await {
                return Some((name, date));
            }
        }
        None
    };
    let (name, date) = tokio::time::timeout(QUESTION, ask).await.ok()??;
    // When it answered: the question may have taken a while.
    let seconds = checker.world.now().duration_since(date).as_secs_f64();
    // It has whole seconds, cut off.
    let seconds = if (0.0..1.0).contains(&seconds) { 0.0 } else { seconds };
    Some(Offset { seconds, by: format!("the CA {name}") })
}
