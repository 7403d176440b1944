//! Folders on a share: its other users change it without our kernel being told, so we look.
//!
//! In a thread of its own, which also is the only one to wait when the share does not answer. While
//! there is nothing to poll it sleeps without end.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::fs::{self, Folder};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Names of a folder that are looked at.
const NAMES: usize = 4096;

/// Looks at folders now and then.
#[derive(Debug)]
pub(super) struct Poller {
    wake: tokio::sync::mpsc::Sender<()>,
    polled: BTreeSet<PathBuf>,
    thread: Option<Sender<BTreeSet<PathBuf>>>,
}

impl Poller {
    /// One that says so when something changed in a folder.
    pub(super) fn new(wake: tokio::sync::mpsc::Sender<()>) -> Self {
        Self { wake, polled: BTreeSet::new(), thread: None }
    }

    /// Looks at these folders from now on, and at no others.
    pub(super) fn poll(&mut self, folders: &BTreeSet<PathBuf>) {
        if self.polled == *folders {
            return;
        }
        if self.thread.is_none() {
            let (sender, receiver) = mpsc::channel();
            let wake = self.wake.clone();
            let thread = std::thread::Builder::new().name("poll".to_owned());
            match thread.spawn(move || look_now_and_then(&receiver, &wake)) {
                Ok(_) => self.thread = Some(sender),
                Err(error) => {
                    tracing::warn!("network folders are looked at once an hour only: {error}");
                    return;
                }
            }
        }
        self.polled.clone_from(folders);
        if let Some(thread) = &self.thread {
            // It ends with us, not before.
            let _ = thread.send(folders.clone());
        }
    }
}

/// Ends when the [`Poller`] does.
fn look_now_and_then(wanted: &Receiver<BTreeSet<PathBuf>>, wake: &tokio::sync::mpsc::Sender<()>) {
    let mut folders = BTreeSet::new();
    let mut last = 0;
    loop {
        let next = match folders.is_empty() {
            true => wanted.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => wanted.recv_timeout(EVERY),
        };
        match next {
            Ok(next) => folders = next,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = fingerprint(&folders);
        if now != last {
            last = now;
            // Full: a wake is on its way already.
            let _ = wake.try_send(());
        }
    }
}

/// Another number when anything in one of the folders is another file or was changed; reading
/// changes nothing of it.
fn fingerprint(folders: &BTreeSet<PathBuf>) -> u64 {
    folders.iter().fold(0, |sum: u64, folder| {
        // What cannot be looked at is as good as not there, until it can.
        sum.wrapping_mul(31).wrapping_add(of_folder(folder).unwrap_or_default())
    })
}

fn of_folder(path: &Path) -> Result<u64, fs::Error> {
    let folder = Folder::open(path)?;
    let itself = folder.itself()?;
    let mut sum = hash(b"", itself.device, itself.inode, 0, 0);
    folder.each(NAMES, |name| {
        // The system's order is none: a sum does not mind.
        if !name.as_bytes().starts_with(b".")
            && let Some(seen) = folder.look(name)?
        {
            let changed = if seen.is_folder() { 0 } else { seen.changed };
            let one = hash(name.as_bytes(), seen.device, seen.inode, seen.size, changed);
            sum = sum.wrapping_add(one);
        }
        Ok::<_, fs::Error>(())
    })?;
    Ok(sum)
}

fn hash(name: &[u8], device: u64, inode: u64, size: u64, changed: i64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, device, inode, size, changed).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf, BTreeSet<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("pbx");
        (dir, path.clone(), BTreeSet::from([path]))
    }

    #[test]
    fn every_change_is_another_fingerprint_and_reading_is_none() {
        let (_dir, path, folders) = folder();
        let mut seen = BTreeSet::new();
        let mut changed = || seen.insert(fingerprint(&folders));
        assert!(changed(), "nothing is there");
        std::fs::create_dir(&path).unwrap();
        assert!(changed(), "it was made");
        std::fs::write(path.join("a"), "1").unwrap();
        assert!(changed(), "a file came");
        std::fs::write(path.join("a"), "12").unwrap();
        assert!(changed(), "it grew");
        std::fs::rename(path.join("a"), path.join("b")).unwrap();
        assert!(changed(), "it was renamed");
        std::fs::create_dir(path.join("rejected")).unwrap();
        assert!(changed(), "a folder came");
        std::fs::read(path.join("b")).unwrap();
        std::fs::write(path.join("rejected/.clock"), "").unwrap();
        std::fs::write(path.join(".hidden"), "").unwrap();
        assert!(!changed(), "reading and what we do ourselves");
        std::fs::remove_dir_all(&path).unwrap();
        assert!(!changed(), "gone again, as at first");
    }

    #[tokio::test]
    async fn a_change_wakes_within_seconds_and_the_end_ends_it() {
        let (_dir, path, folders) = folder();
        std::fs::create_dir(&path).unwrap();
        let (sender, mut wakes) = tokio::sync::mpsc::channel(1);
        let mut poller = Poller::new(sender);
        let mut woken =
            async || tokio::time::timeout(Duration::from_secs(10), wakes.recv()).await.unwrap();
        poller.poll(&folders);
        assert!(woken().await.is_some(), "the first look");
        std::fs::write(path.join("a"), "1").unwrap();
        assert!(woken().await.is_some(), "a file came");
        // Removed and made anew by somebody: it is another folder.
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("b"), "1").unwrap();
        assert!(woken().await.is_some(), "the new one is looked at");
        drop(poller);
        assert!(woken().await.is_none(), "the thread ended and dropped its end");
    }
}
