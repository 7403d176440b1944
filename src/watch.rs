//! File events, which only say "look again": a lost one costs one interval, never a certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Why folders cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch folders: {0}")]
pub struct Error(#[from] notify::Error);

/// Device, inode and birth of a folder: an inode alone is given to the next folder made.
type Which = (u64, u64, Option<SystemTime>);

/// Watches folders; several events become one wake.
#[derive(Debug)]
pub struct Watcher {
    inotify: RecommendedWatcher,
    /// What is watched, and which folder it was: one that is swapped is another one.
    watched: BTreeMap<PathBuf, Which>,
}

impl Watcher {
    /// Watches these folders. Each message of the channel says that something happened since the
    /// last one was taken; look, and then [`Self::watch`] again, since a folder that was swapped
    /// or made anew is not watched any more.
    ///
    /// # Errors
    ///
    /// When the system gives no inotify instance.
    pub fn new(folders: &BTreeSet<PathBuf>) -> Result<(Self, Receiver<()>), Error> {
        let (sender, receiver) = channel(1);
        let inotify = notify::recommended_watcher(move |event| wake(&sender, event))?;
        let mut watcher = Self { inotify, watched: BTreeMap::new() };
        watcher.watch(folders);
        Ok((watcher, receiver))
    }

    /// Watches these folders and no others. For one that is not there yet, the nearest folder
    /// above it is watched. Whether one is watched that was not before: look once more then, since
    /// what happened to it until now was not seen.
    pub fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
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

    async fn woken(wakes: &mut Receiver<()>) -> bool {
        tokio::time::timeout(Duration::from_secs(5), wakes.recv()).await.is_ok_and(|w| w.is_some())
    }

    fn drain(wakes: &mut Receiver<()>) {
        while wakes.try_recv().is_ok() {}
    }

    #[tokio::test]
    async fn a_new_file_and_a_swapped_folder_wake() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("live");
        let all = BTreeSet::from([folder.clone(), root.path().to_owned()]);
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
        let all = BTreeSet::from([root.path().to_owned()]);
        let (_watcher, mut wakes) = Watcher::new(&all).unwrap();
        std::fs::read(&file).unwrap();
        // Whatever reading raised comes before what writing raises: exactly one wake is there.
        std::fs::read_dir(root.path()).unwrap().count();
        assert!(wakes.try_recv().is_err());
        std::fs::write(&file, "2").unwrap();
        assert!(woken(&mut wakes).await);
    }
}
