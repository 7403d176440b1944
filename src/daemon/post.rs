//! Messages on their way: each channel by itself, one message after the other, with pauses while it
//! does not work.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;

use crate::alert::Notifier;
use crate::policy::alerts::post as plan;
use crate::state::Finding;
use crate::state::alert::log::{AlertLog, ChannelState, Outgoing};
use crate::store::{self, Store};

/// How a try to send one message through one channel ended.
pub(super) struct Sent {
    channel: String,
    message: String,
    outcome: Result<(), String>,
    at: Timestamp,
}

/// What is remembered of alerts and the outbox, as on disk; ahead of it while the disk is full.
pub(super) struct Post {
    pub(super) log: AlertLog,
    letters: Vec<Outgoing>,
    /// Channels in use.
    channels: Vec<Rc<dyn Notifier>>,
    busy: BTreeSet<String>,
    pub(super) sending: FuturesUnordered<LocalBoxFuture<'static, Sent>>,
    /// Heartbeats under way.
    pub(super) beating: FuturesUnordered<LocalBoxFuture<'static, Result<(), String>>>,
    /// The log on disk is older than this one.
    behind: bool,
}

impl Post {
    pub(super) fn new(store: &Store, now: Timestamp) -> Self {
        let mut post = Self {
            log: AlertLog::default(),
            letters: Vec::new(),
            channels: Vec::new(),
            busy: BTreeSet::new(),
            sending: FuturesUnordered::new(),
            beating: FuturesUnordered::new(),
            behind: false,
        };
        post.change(store, |_| {}, now);
        post
    }

    /// Changes the log, on disk too, and takes its pending messages into the outbox. A disk that
    /// takes nothing must not keep an alert from its people: then it lives in memory.
    pub(super) fn change(&mut self, store: &Store, change: impl Fn(&mut AlertLog), now: Timestamp) {
        let (log, behind) = (self.log.clone(), self.behind);
        let decided = std::cell::RefCell::new(Vec::new());
        let apply = |there: &mut AlertLog| {
            if behind {
                // What a person took note of meanwhile is the only thing that others write.
                *there = AlertLog { acks: std::mem::take(&mut there.acks), ..log.clone() };
            }
            change(there);
            decided.borrow_mut().clone_from(&there.pending);
        };
        match store.change_alerts(apply, now) {
            Ok(log) => (self.log, self.behind) = (log, false),
            Err(error) => {
                tell(&error, self.behind);
                self.behind = true;
                change(&mut self.log);
                *decided.borrow_mut() = std::mem::take(&mut self.log.pending);
            }
        }
        for message in decided.into_inner() {
            let (level, subject) = (message.level.word(), &message.subject);
            tracing::warn!(level, object = message.object, "{subject}");
            let id = message.id.clone();
            if !self.letters.iter().any(|there| there.message.id == id) {
                self.letters.push(Outgoing { schema: 0, message, sent: BTreeSet::new() });
            }
        }
        // Those of a daemon that was cut off, too.
        for there in store.outbox().unwrap_or_default() {
            if !self.letters.iter().any(|ours| ours.message.id == there.message.id) {
                self.letters.push(there);
            }
        }
        self.letters.sort_by_key(|letter| letter.message.at);
        let over = self.letters.len().saturating_sub(store::OUTBOX_LIMIT);
        self.letters.drain(..over);
    }

    /// Starts the next message of each channel that is free and works.
    pub(super) fn start(&mut self, store: &Store, channels: &[Rc<dyn Notifier>], now: Timestamp) {
        self.channels = channels.to_vec();
        self.settle(store);
        for channel in channels {
            let name = channel.name().to_owned();
            let state = self.log.channels.get(&name).cloned().unwrap_or_default();
            if self.busy.contains(&name) || plan::rests_until(&state, now).is_some() {
                continue;
            }
            let waiting: Vec<&Outgoing> =
                self.letters.iter().filter(|letter| awaits(&**channel, letter)).collect();
            let Some(letter) = plan::pick(&waiting, &state) else { continue };
            let (message, channel) = (letter.message.clone(), Rc::clone(channel));
            self.busy.insert(name.clone());
            self.sending.push(Box::pin(async move {
                let sending = tokio::time::timeout(SEND_LIMIT, channel.send(&message, now));
                let outcome = match sending.await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(crate::deploy::chain_of(&error)),
                    Err(_) => Err(format!("nothing came of it within {} s", SEND_LIMIT.as_secs())),
                };
                Sent { channel: name, message: message.id, outcome, at: now }
            }));
        }
    }

    /// Remembers how a try ended; what was taken is marked first of all.
    pub(super) fn finished(&mut self, sent: Sent, store: &Store) {
        let Sent { channel, message, outcome, at } = sent;
        self.busy.remove(&channel);
        if let Err(error) = &outcome {
            tracing::warn!(channel, "a message was not sent: {error}");
        }
        if outcome.is_ok()
            && let Some(letter) = self.letters.iter_mut().find(|l| l.message.id == message)
        {
            letter.sent.insert(channel.clone());
            if let Err(error) = store.mark_sent(letter) {
                tell(&error, false);
            }
        }
        self.tried(&channel, &outcome, store, at);
        self.settle(store);
    }

    /// Remembers how a heartbeat ended.
    pub(super) fn beaten(&mut self, outcome: &Result<(), String>, store: &Store, at: Timestamp) {
        if let Err(error) = outcome {
            tracing::warn!("no heartbeat: {error}");
        }
        self.tried(plan::HEARTBEAT, outcome, store, at);
    }

    /// How a channel does now; written only when that has changed.
    fn tried(&mut self, channel: &str, outcome: &Result<(), String>, store: &Store, at: Timestamp) {
        let before = self.log.channels.get(channel).cloned().unwrap_or_default();
        let after = match outcome {
            Ok(()) => ChannelState::default(),
            Err(error) => plan::failed(&before, error, at),
        };
        if before == after {
            return;
        }
        let keep = |log: &mut AlertLog| {
            if after == ChannelState::default() {
                log.channels.remove(channel);
            } else {
                log.channels.insert(channel.to_owned(), after.clone());
            }
        };
        self.change(store, keep, at);
    }

    /// Forgets what every channel has taken that it is for.
    fn settle(&mut self, store: &Store) {
        let channels = &self.channels;
        self.letters.retain(|letter| {
            let waits = channels.iter().any(|channel| awaits(&**channel, letter));
            if !waits && let Err(error) = store.forget_message(&letter.message) {
                tell(&error, false);
            }
            waits
        });
    }

    /// When a channel is to be tried again.
    pub(super) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let free = self.channels.iter().filter(|channel| !self.busy.contains(channel.name()));
        free.filter(|channel| self.waiting(&***channel) > 0)
            .filter_map(|channel| plan::rests_until(self.log.channels.get(channel.name())?, now))
            .min()
    }

    /// Channels that do not work, and heartbeats that do not get out.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let dead = self.channels.iter().filter_map(|channel| {
            let state = self.log.channels.get(channel.name())?;
            plan::dead(channel.name(), state, self.waiting(&**channel))
        });
        let silent = self.log.channels.get(plan::HEARTBEAT).and_then(plan::silent);
        dead.chain(silent).collect()
    }

    /// How many messages a channel has still to take.
    fn waiting(&self, channel: &dyn Notifier) -> usize {
        self.letters.iter().filter(|letter| awaits(channel, letter)).count()
    }
}

/// Whether a message has still to go through a channel: what is too quiet for it never does.
fn awaits(channel: &dyn Notifier, letter: &Outgoing) -> bool {
    plan::is_for(letter, channel.name()) && channel.takes(&letter.message)
}

fn tell(error: &store::Error, told: bool) {
    if !told {
        let text = crate::deploy::chain_of(error);
        tracing::error!("alerts cannot be remembered, a restart may repeat them: {text}");
    }
}

/// A server that takes longer than this takes no message.
const SEND_LIMIT: Duration = Duration::from_secs(90);
