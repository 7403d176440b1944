//! File events, which only say "look again": a lost one costs one interval, never a certificate.

mod poll;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Sleep;

use self::poll::Poller;

/// Events come from folders in which others write: a wake is followed by so much rest, whatever
/// they do.
const REST: Duration = Duration::from_millis(500);

/// Why folders cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch folders: {0}")]
pub struct Error(#[from] notify::Error);

/// Device, inode and birth of a folder: an inode alone is given to the next folder made.
type Which = (u64, u64, Option<SystemTime>);

/// Folders in which something can happen that is worth a look.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Folders {
    /// Those whose file system tells of changes.
    pub told: BTreeSet<PathBuf>,
    /// Those that must be looked at now and then: on a share that others change.
    pub polled: BTreeSet<PathBuf>,
}

/// Watches folders; several events become one wake.
#[derive(Debug)]
pub struct Watcher {
    inotify: RecommendedWatcher,
    poller: Poller,
    /// What is watched, and which folder it was: one that is swapped is another one.
    watched: BTreeMap<PathBuf, Which>,
}

impl Watcher {
    /// Watches these folders. Each wake says that something happened since the last one; look, and
    /// then [`Self::watch`] again, since a folder that was swapped or made anew is not watched any
    /// more.
    ///
    /// # Errors
    ///
    /// When the system gives no inotify instance.
    pub fn new(folders: &Folders) -> Result<(Self, Wakes), Error> {
        let (sender, events) = channel(1);
        let poller = Poller::new(sender.clone());
        let inotify = notify::recommended_watcher(move |event| wake(&sender, event))?;
        let mut watcher = Self { inotify, poller, watched: BTreeMap::new() };
        watcher.watch(folders);
        Ok((watcher, Wakes { events, rest: None }))
    }

    /// Watches these folders and no others. For one that is not there yet, the nearest folder
    /// above it is watched. Whether one is watched that was not before: look once more then, since
    /// what happened to it until now was not seen.
    pub fn watch(&mut self, folders: &Folders) -> bool {
        self.poller.poll(&folders.polled);
        let folders = &folders.told;
        let wanted: BTreeMap<PathBuf, Which> =
            folders.iter().filter_map(|folder| there(folder)).collect();
        for (folder, which) in &self.watched {
            if wanted.get(folder) != Some(which) {
                // Gone already, perhaps: then there is nothing to end.
                let _ = self.inotify.unwatch(folder);
            }
        }
        let new = wanted.iter().filter(|(folder, which)| self.watched.get(*folder) != Some(which));
        let mut is_new = false;
        for (folder, _) in new {
            is_new = true;
            if let Err(error) = self.inotify.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!("{} is not watched: {error}", folder.display());
            }
        }
        self.watched = wanted;
        is_new
    }
}

/// What wakes.
#[derive(Debug)]
pub struct Wakes {
    events: Receiver<()>,
    rest: Option<Pin<Box<Sleep>>>,
}

impl Wakes {
    /// Waits for the next wake, at least half a second after the last one; `None` when there will
    /// be none any more. Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<()> {
        if let Some(rest) = &mut self.rest {
            rest.await;
            self.rest = None;
        }
        self.events.recv().await?;
        self.rest = Some(Box::pin(tokio::time::sleep(REST)));
        Some(())
    }
}

/// The folder, or the nearest one above it that is there, and which one it is.
fn there(folder: &Path) -> Option<(PathBuf, Which)> {
    folder.ancestors().find_map(|folder| {
        let meta = folder.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        Some((folder.to_owned(), (meta.dev(), meta.ino(), meta.created().ok())))
    })
}

fn wake(sender: &Sender<()>, event: notify::Result<notify::Event>) {
    // Reading raises events too, and would have us wake ourselves without end. A write is told
    // when the file is closed: a log that grows beside our folder is not worth a look.
    let idle = |kind: &EventKind| match kind {
        EventKind::Access(access) => *access != AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => true,
        _ => false,
    };
    if !event.is_ok_and(|event| idle(&event.kind) && !event.need_rescan()) {
        // Full: a wake is on its way already.
        let _ = sender.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn woken(wakes: &mut Wakes) -> bool {
        tokio::time::timeout(Duration::from_secs(5), wakes.next()).await.is_ok_and(|w| w.is_some())
    }

    fn drain(wakes: &mut Wakes) {
        while wakes.events.try_recv().is_ok() {}
    }

    fn told(folders: &[&Path]) -> Folders {
        let told = folders.iter().map(|folder| folder.to_path_buf()).collect();
        Folders { told, polled: BTreeSet::new() }
    }

    #[tokio::test]
    async fn a_new_file_and_a_swapped_folder_wake() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("live");
        let all = told(&[&folder, root.path()]);
        let (mut watcher, mut wakes) = Watcher::new(&all).unwrap();
        std::fs::create_dir(&folder).unwrap();
        assert!(woken(&mut wakes).await, "the folder was made");
        watcher.watch(&all);
        std::fs::write(folder.join("a"), "1").unwrap();
        assert!(woken(&mut wakes).await, "a file was written in it");
        let other = root.path().join("other");
        std::fs::create_dir(&other).unwrap();
        std::fs::rename(&folder, root.path().join("old")).unwrap();
        std::fs::rename(&other, &folder).unwrap();
        assert!(woken(&mut wakes).await, "it was swapped");
        assert!(watcher.watch(&all), "the new one was not watched yet");
        assert!(!watcher.watch(&all));
        drain(&mut wakes);
        std::fs::write(folder.join("b"), "2").unwrap();
        assert!(woken(&mut wakes).await, "the new folder is watched");
    }

    #[tokio::test]
    async fn reading_wakes_nobody() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a");
        std::fs::write(&file, "1").unwrap();
        let all = told(&[root.path()]);
        let (_watcher, mut wakes) = Watcher::new(&all).unwrap();
        std::fs::read(&file).unwrap();
        // Whatever reading raised comes before what writing raises: exactly one wake is there.
        std::fs::read_dir(root.path()).unwrap().count();
        assert!(wakes.events.try_recv().is_err());
        std::fs::write(&file, "2").unwrap();
        assert!(woken(&mut wakes).await);
    }

    #[tokio::test]
    async fn a_folder_that_is_removed_and_made_anew_is_found() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("drop/pbx");
        std::fs::create_dir_all(&folder).unwrap();
        let all = told(&[&folder]);
        let (mut watcher, mut wakes) = Watcher::new(&all).unwrap();
        std::fs::remove_dir_all(root.path().join("drop")).unwrap();
        assert!(woken(&mut wakes).await, "it was removed");
        assert!(watcher.watch(&all), "the one above it is watched now");
        drain(&mut wakes);
        for _ in 0..2 {
            std::fs::create_dir_all(&folder).unwrap();
            while watcher.watch(&all) {}
            if watcher.watched.contains_key(&folder) {
                break;
            }
        }
        drain(&mut wakes);
        std::fs::write(folder.join("a"), "1").unwrap();
        assert!(woken(&mut wakes).await, "the new one is watched");
    }

    #[tokio::test]
    async fn a_storm_of_events_wakes_twice_a_second() {
        let root = tempfile::tempdir().unwrap();
        let (_watcher, mut wakes) = Watcher::new(&told(&[root.path()])).unwrap();
        let storm = async {
            for n in 0.. {
                std::fs::write(root.path().join("a"), n.to_string()).unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let mut count = 0;
        let counted = async {
            while wakes.next().await.is_some() {
                count += 1;
            }
        };
        let both = async { tokio::join!(storm, counted) };
        assert!(tokio::time::timeout(Duration::from_millis(1800), both).await.is_err());
        assert!((2..=4).contains(&count), "{count} wakes");
    }
}
