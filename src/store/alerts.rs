//! What is remembered of alerts, and the messages on their way.
//!
//! ```text
//! node/  alerts.json          who was told what, what a person took note of, how the channels do
//!        alerts.lock          held for one call, inside no other and with none inside
//!        outbox/<time>-<id>.json   a message, and which channels have taken it
//! ```
//!
//! **Nothing lost**: a decision and its messages are written in one file (`pending`), then the
//! messages move to the outbox, then the decision forgets them. A crash in between repeats the
//! move, which makes the same files again: nothing is sent before it is over.
//!
//! **Nothing twice**: a channel is marked on disk as soon as it has taken the message. A crash
//! between the two is the one moment in which a message goes out once more, with the same id: there
//! is no way to do both at once with a server elsewhere, and once more is better than never.

use std::path::PathBuf;

use jiff::Timestamp;

use super::record::{self, Read, Record};
use super::{Error, PRIVATE, Store, Subject};
use crate::fs::{self, Lock, Owner, make_dir};
use crate::state::alert::log::{AlertLog, Outgoing};
use crate::state::alert::{Level, Message};

/// More messages than this do not wait: of the quietest the oldest is given up.
pub const OUTBOX_LIMIT: usize = 500;

impl Record for AlertLog {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

impl Record for Outgoing {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

impl Store {
    /// What is remembered of alerts; nothing when that is missing or damaged.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn alert_log(&self) -> Result<AlertLog, Error> {
        Ok(record::read(&self.alert_file())?.whole().unwrap_or_default())
    }

    /// Changes what is remembered of alerts, under its lock; `pending` messages move to the
    /// outbox. Returns what is remembered then.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written; what was remembered before stays.
    pub fn change_alerts(
        &self,
        change: impl FnOnce(&mut AlertLog),
        now: Timestamp,
    ) -> Result<AlertLog, Error> {
        self.check_writable()?;
        let _lock = Lock::acquire_blocking(&self.node().join("alerts.lock"))?;
        let path = self.alert_file();
        let mut log = match record::read::<AlertLog>(&path)? {
            Read::Whole(log) => log,
            Read::Missing => AlertLog::default(),
            Read::Broken(reason) => {
                record::move_aside(self, &Subject::Host, &path, &reason, now)?;
                AlertLog::default()
            }
        };
        log.schema = crate::state::SCHEMA;
        // Left by a crash: first what was decided then.
        self.post(&mut log)?;
        change(&mut log);
        record::write(&path, log.clone())?;
        self.post(&mut log)?;
        Ok(log)
    }

    /// Messages that some channel has not taken yet, oldest first. What is damaged is left out.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn outbox(&self) -> Result<Vec<Outgoing>, Error> {
        let mut messages = Vec::new();
        for name in self.outbox_files()? {
            match record::read::<Outgoing>(&self.outbox_dir().join(name)) {
                Ok(read) => messages.extend(read.whole()),
                Err(Error::Newer { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(messages)
    }

    /// A channel has taken a message: remembered on disk when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn mark_sent(&self, outgoing: &Outgoing) -> Result<(), Error> {
        self.check_writable()?;
        record::write(&self.outgoing_file(&outgoing.message), outgoing.clone())
    }

    /// Every channel has taken a message.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn forget_message(&self, message: &Message) -> Result<(), Error> {
        self.check_writable()?;
        Ok(fs::remove(&self.outgoing_file(message))?)
    }

    /// Moves pending messages to the outbox.
    fn post(&self, log: &mut AlertLog) -> Result<(), Error> {
        if log.pending.is_empty() {
            return Ok(());
        }
        make_dir(&self.outbox_dir(), PRIVATE, Owner::default())?;
        fs::sweep(&self.outbox_dir())?;
        for message in &log.pending {
            let path = self.outgoing_file(message);
            let outgoing =
                Outgoing { schema: 0, message: message.clone(), sent: Default::default() };
            record::write(&path, outgoing)?;
        }
        log.pending.clear();
        log.dropped = log.dropped.saturating_add(self.make_room()?);
        record::write(&self.alert_file(), log.clone())
    }

    /// Gives up what is over the limit: of the quietest the oldest. Returns how many.
    fn make_room(&self) -> Result<u64, Error> {
        let files = self.outbox_files()?;
        let Some(over) = files.len().checked_sub(OUTBOX_LIMIT).filter(|over| *over > 0) else {
            return Ok(0);
        };
        let level = |name: &String| {
            let read = record::read::<Outgoing>(&self.outbox_dir().join(name));
            read.ok().and_then(Read::whole).map_or(Level::Notice, |o| o.message.level)
        };
        let mut files: Vec<(Level, String)> = files.into_iter().map(|f| (level(&f), f)).collect();
        files.sort();
        for (_, name) in files.iter().take(over) {
            tracing::error!(message = name, "too many messages wait: one is given up");
            fs::remove(&self.outbox_dir().join(name))?;
        }
        Ok(over as u64)
    }

    /// Names of the files, oldest first.
    fn outbox_files(&self) -> Result<Vec<String>, Error> {
        let mut files = fs::list(&self.outbox_dir())?;
        files.retain(|name| name.ends_with(".json") && !name.starts_with('.'));
        files.sort();
        Ok(files)
    }

    fn outgoing_file(&self, message: &Message) -> PathBuf {
        let id: String = message.id.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        self.outbox_dir().join(format!("{:012}-{id}.json", message.at.as_second().max(0)))
    }

    fn outbox_dir(&self) -> PathBuf {
        self.node().join("outbox")
    }

    fn alert_file(&self) -> PathBuf {
        self.node().join("alerts.json")
    }
}
