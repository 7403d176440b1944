//! What is remembered of alerts: who was told what and when, what a person took note of, and how
//! the channels do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Level, Message};
use crate::state::Condition;

/// Everything remembered of alerts. One file, replaced whole.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AlertLog {
    /// Schema of this record.
    pub schema: u32,
    /// What was found, by object and condition.
    pub items: BTreeMap<String, BTreeMap<Condition, Item>>,
    /// What a person took note of.
    pub acks: Vec<Ack>,
    /// How each channel does, by its name.
    pub channels: BTreeMap<String, ChannelState>,
    /// Messages that were decided together with the items above and have not reached the outbox.
    pub pending: Vec<Message>,
    /// The last time at which the clock was believed.
    pub believed_at: Option<Timestamp>,
    /// When the clock was first seen to have jumped.
    pub jumped_at: Option<Timestamp>,
    /// Messages that were given up since the outbox was full, over all times.
    pub dropped: u64,
}

/// One condition of one object.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// Since when it is known, or (news) when it happened.
    pub since: Timestamp,
    /// A few words, for the message that says it is over.
    pub title: String,
    /// What is true once it is over, in a few words; may be empty.
    #[serde(default)]
    pub over: String,
    /// The configuration named its object when it was last found.
    #[serde(default)]
    pub named: bool,
    /// The level at which it was last told; `None`: nobody was told.
    #[serde(default)]
    pub level: Option<Level>,
    /// The loudest level at which it was told since it began: whoever heard that hears of its end.
    #[serde(default)]
    pub loudest: Option<Level>,
    /// How many points of the ladder have been told.
    #[serde(default)]
    pub rung: u8,
    /// When it was last told.
    #[serde(default)]
    pub told_at: Option<Timestamp>,
    /// How often it was told, over all its times: part of a message's id.
    #[serde(default)]
    pub count: u32,
    /// It is not found any more, since then, and nobody was told so yet.
    #[serde(default)]
    pub gone_at: Option<Timestamp>,
    /// When it was told to be over, lately.
    #[serde(default)]
    pub recovered_at: Vec<Timestamp>,
}

/// A person took note: no more messages about it for a while.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ack {
    /// About this object.
    pub object: String,
    /// About this condition of it; `None`: all.
    #[serde(default)]
    pub condition: Option<Condition>,
    /// Not louder than this: what becomes worse is told all the same.
    pub level: Level,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub note: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// How a channel does.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ChannelState {
    /// Tries in a row that failed.
    pub failures: u32,
    /// Since when.
    pub failing_since: Option<Timestamp>,
    /// No try before this time.
    pub retry_at: Option<Timestamp>,
    /// Why the last one failed.
    pub error: Option<String>,
}

/// A message on its way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outgoing {
    /// Schema of this record.
    #[serde(default)]
    pub schema: u32,
    /// The message.
    pub message: Message,
    /// Names of the channels that have taken it.
    #[serde(default)]
    pub sent: BTreeSet<String>,
}

impl AlertLog {
    /// What is remembered of a condition.
    pub fn item(&self, object: &str, condition: Condition) -> Option<&Item> {
        self.items.get(object)?.get(&condition)
    }

    /// What is open: told, and not over.
    pub fn open(&self) -> impl Iterator<Item = (&str, Condition, &Item)> {
        let all = self.items.iter();
        let all = all.flat_map(|(o, items)| items.iter().map(move |(c, i)| (o.as_str(), *c, i)));
        all.filter(|(_, c, item)| item.level.is_some() && item.gone_at.is_none() && !c.is_news())
    }

    /// The ack that covers a condition at this level.
    pub fn ack(
        &self,
        object: &str,
        condition: Condition,
        level: Level,
        now: Timestamp,
    ) -> Option<&Ack> {
        self.acks.iter().find(|ack| {
            ack.object == object
                && ack.condition.is_none_or(|c| c == condition)
                && level <= ack.level
                && now < ack.until
        })
    }
}
