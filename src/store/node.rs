//! What is remembered of this host: history, instance key, the daemon's word, challenge answers.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::record::{self, Record};
use super::{Error, PRIVATE_FILE, Store};
use crate::fs::{self, Lock, Owner};
use crate::state::Event;

/// At this size, in bytes, history goes on in a new file; one old file is kept.
const HISTORY_LIMIT: u64 = 1 << 20;

/// What the daemon says of itself. There until it ends well; ask whether `pid` lives.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DaemonRecord {
    /// Schema of this record.
    #[serde(default)]
    pub schema: u32,
    /// Its process.
    pub pid: u32,
    /// Since when.
    pub started_at: Timestamp,
    /// Hash of the configuration that it runs with.
    pub config_hash: String,
    /// Why it runs with an older configuration than the one on disk, if it does.
    pub degraded: Option<String>,
}

impl Record for DaemonRecord {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

impl Store {
    /// Appends a line to history, on disk when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot be written; no half line stays.
    pub fn record(&self, event: &Event) -> Result<(), Error> {
        let (current, old) = self.history_files();
        let line = serde_json::to_string(event)
            .map_err(|source| Error::Unwritable { path: current.clone(), source })?;
        let _lock = self.lock_node()?;
        let length = fs::append_line(&current, &line, PRIVATE_FILE)?;
        if length >= HISTORY_LIMIT {
            fs::remove(&old)?;
            fs::move_new(&current, &old)?;
        }
        Ok(())
    }

    /// History, oldest first. Lines that are no events, torn by a crash, are left out.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn history(&self) -> Result<Vec<Event>, Error> {
        // While the files change places, one would be read twice or not at all.
        let _lock = if self.writable { Some(self.lock_node()?) } else { None };
        let (current, old) = self.history_files();
        let mut events = Vec::new();
        for file in [old, current] {
            let bytes = fs::read_if_there(&file, 16 * HISTORY_LIMIT)?.unwrap_or_default();
            let lines = bytes.split(|b| *b == b'\n');
            events.extend(lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok()));
        }
        Ok(events)
    }

    fn history_files(&self) -> (PathBuf, PathBuf) {
        (self.node().join("history.jsonl"), self.node().join("history.1.jsonl"))
    }

    /// 32 random bytes that are this installation's own; made once. Damaged, it is made again: it
    /// spreads times over many hosts, and guards nothing.
    ///
    /// # Errors
    ///
    /// When it can be neither read nor made; [`Error::ReadOnly`] when there is none yet in a store
    /// that is opened for reading only.
    pub fn instance_key(&self) -> Result<Zeroizing<[u8; 32]>, Error> {
        let path = self.instance_key_file();
        let read = || -> Result<Option<[u8; 32]>, Error> {
            let bytes = fs::read_if_there(&path, 1024)?.map(Zeroizing::new);
            Ok(bytes.and_then(|bytes| bytes.as_slice().try_into().ok()))
        };
        if let Some(key) = read()? {
            return Ok(Zeroizing::new(key));
        }
        let _lock = self.lock_node()?;
        if let Some(key) = read()? {
            return Ok(Zeroizing::new(key));
        }
        self.make_instance_key()
    }

    /// Makes another instance key: this installation is a copy of the one that had the old one.
    ///
    /// # Errors
    ///
    /// When it cannot be made; the old one stays.
    pub fn renew_instance_key(&self) -> Result<(), Error> {
        let _lock = self.lock_node()?;
        self.make_instance_key().map(|_| ())
    }

    /// Only under the node's lock.
    fn make_instance_key(&self) -> Result<Zeroizing<[u8; 32]>, Error> {
        let path = self.instance_key_file();
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(key.as_mut_slice())
            .map_err(|_| Error::Random { path: path.clone() })?;
        fs::replace(&path, key.as_slice(), PRIVATE_FILE, Owner::default())?;
        Ok(key)
    }

    fn instance_key_file(&self) -> PathBuf {
        self.node().join("instance.key")
    }

    /// Where challenge answers lie: whoever owns the port gives everybody's.
    pub fn challenge_dir(&self) -> PathBuf {
        self.node().join("challenge")
    }

    /// Goes up with every wish of a person; 0 at first.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn generation(&self) -> Result<u64, Error> {
        let bytes = fs::read_if_there(&self.generation_file(), 1024)?.unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        Ok(text.trim().parse().unwrap_or(0))
    }

    /// Wakes the daemon, which watches this file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn touch_generation(&self) -> Result<(), Error> {
        let _lock = self.lock_node()?;
        let next = self.generation()?.wrapping_add(1);
        let text = format!("{next}\n");
        let path = self.generation_file();
        Ok(fs::replace(&path, text.as_bytes(), PRIVATE_FILE, Owner::default())?)
    }

    /// The file behind [`Self::generation`].
    fn generation_file(&self) -> PathBuf {
        self.wake_dir().join("generation")
    }

    /// The folder to be watched: nothing but wishes is written there.
    pub fn wake_dir(&self) -> PathBuf {
        self.node().join("wake")
    }

    /// Takes the daemon's role; `None` when another daemon has it.
    ///
    /// # Errors
    ///
    /// When the lock cannot be tried.
    pub fn try_lock_daemon(&self) -> Result<Option<Lock>, Error> {
        self.check_writable()?;
        Ok(Lock::try_acquire(&self.node().join("daemon.lock"))?)
    }

    /// Whether a daemon has its role now; `false` too when we may not ask.
    pub fn daemon_runs(&self) -> bool {
        matches!(Lock::try_acquire(&self.node().join("daemon.lock")), Ok(None))
    }

    /// Removes challenge answers that a crash left, but for these tokens.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn sweep_challenges(&self, pending: &BTreeSet<String>) -> Result<(), Error> {
        let folder = self.challenge_dir();
        for token in fs::list(&folder)? {
            if !pending.contains(&token) {
                fs::remove(&folder.join(token))?;
            }
        }
        Ok(())
    }

    /// What the daemon last said of itself; `None` when it said nothing readable.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn daemon_record(&self) -> Result<Option<DaemonRecord>, Error> {
        Ok(record::read(&self.daemon_file())?.whole())
    }

    /// Replaces what the daemon says of itself, also what is damaged: nothing in it is worth
    /// keeping.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote what is there, or it cannot be written.
    pub fn remember_daemon(&self, daemon: &DaemonRecord) -> Result<(), Error> {
        let _lock = self.lock_node()?;
        record::write(&self.daemon_file(), daemon.clone())
    }

    /// Removes what the daemon said of itself, when it ends.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn forget_daemon(&self) -> Result<(), Error> {
        let _lock = self.lock_node()?;
        Ok(fs::remove(&self.daemon_file())?)
    }

    fn daemon_file(&self) -> PathBuf {
        self.node().join("daemon.json")
    }

    /// Held for a moment, inside any other lock.
    pub(super) fn lock_node(&self) -> Result<Lock, Error> {
        self.check_writable()?;
        Ok(Lock::acquire_blocking(&self.node().join("lock"))?)
    }
}
