//! Advisories: a document that says which versions have known security issues, read strictly and
//! judged here against what is installed. Whether it is signed is `minisign`'s question.

mod judge;

pub use judge::judge;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::schedule::{DAY, after};
use super::version;

/// Longest document that is read, in bytes.
pub const LIMIT: usize = 16 * 1024;

/// The schema that is understood.
const SCHEMA: u64 = 1;

/// Longest text for a person, and longest address.
const LONGEST_TEXT: usize = 500;

const LONGEST_WORD: usize = 64;

/// Why a document is not believed, although it may be signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Somebody holds back newer ones (a freeze), or nobody makes them any more.
    #[error("it expired on {0}: whoever publishes it has to publish a new one")]
    Expired(Timestamp),
    /// Made in the future.
    #[error("it was issued on {0}, which is still to come: check the clock of this host")]
    Future(Timestamp),
    /// JSON, but not what belongs here.
    #[error("it is no advisory document: {0}")]
    NoDocument(String),
    /// An older one than was seen before (a rollback).
    #[error("its number {sequence} is lower than {seen}, which was seen before: it is out of date")]
    RolledBack {
        /// Its number.
        sequence: u64,
        /// The highest that was accepted.
        seen: u64,
    },
    /// Made for another version of this program.
    #[error(
        "it is written in schema {0}, and this pbxcert knows {SCHEMA}: install a newer pbxcert"
    )]
    Schema(u64),
    /// Too long.
    #[error("it is longer than {LIMIT} bytes")]
    TooLong,
}

/// What a vendor says.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub struct Document {
    /// Rises with each one.
    pub sequence: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// From then on it is not believed any more.
    pub expires: Timestamp,
    /// Known issues.
    #[serde(default)]
    pub items: Vec<Advisory>,
    /// Issues that people will ask about, and that do not concern these products.
    #[serde(default)]
    pub not_affected: Vec<String>,
    /// Days without a source do not count until then.
    #[serde(default)]
    pub grace: Option<Grace>,
}

/// One issue of one product.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub struct Advisory {
    /// Its name: `CVE-2026-1234`.
    pub id: String,
    /// The product, as in `kind`, or a package.
    pub product: String,
    /// Versions of the authors before this one do not have it.
    #[serde(default)]
    pub introduced: Option<String>,
    /// In which version it is mended.
    pub fixed: Fixed,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// Somebody already makes use of it.
    #[serde(default)]
    pub exploited: bool,
    /// For a person.
    #[serde(default)]
    pub text: String,
    /// Where more is written.
    #[serde(default)]
    pub url: Option<String>,
}

/// The version in which an issue is mended; must be said, if only that there is none.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum Fixed {
    /// By distribution (`debian-12`, `rocky-9`), `deb`, `rpm`, or `upstream`; `None`: not there yet.
    By(BTreeMap<String, Option<String>>),
    /// Of the authors.
    Upstream(String),
    /// There is none yet.
    Nowhere(()),
}

/// How bad an issue is, by whoever publishes it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Hardly.
    Low,
    /// Somewhat.
    Medium,
    /// Nothing is said.
    #[default]
    High,
    /// Mend it today.
    Critical,
}

/// Days without a source do not count.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub struct Grace {
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// When it is too long, in another schema, or not what belongs here.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Head {
            schema: u64,
        }

        if bytes.len() > LIMIT {
            return Err(Problem::TooLong);
        }
        let no = |error: serde_json::Error| Problem::NoDocument(plain(&error.to_string()));
        let head: Head = serde_json::from_slice(bytes).map_err(no)?;
        if head.schema != SCHEMA {
            return Err(Problem::Schema(head.schema));
        }
        let document: Self = serde_json::from_slice(bytes).map_err(no)?;
        document.trouble().map_or(Ok(document), |text| Err(Problem::NoDocument(text)))
    }

    /// Whether it may be believed now, when `seen` is the highest number that was accepted.
    ///
    /// # Errors
    ///
    /// When it is older than one that was seen, has expired, or was made in the future.
    pub fn stands(&self, seen: u64, now: Timestamp) -> Result<(), Problem> {
        if self.sequence < seen {
            return Err(Problem::RolledBack { sequence: self.sequence, seen });
        }
        if self.expires <= now {
            return Err(Problem::Expired(self.expires));
        }
        if self.issued > after(now, DAY) {
            return Err(Problem::Future(self.issued));
        }
        Ok(())
    }

    /// What is in it that nobody should have to read: its words go to terminals and into alerts.
    fn trouble(&self) -> Option<String> {
        if self.expires <= self.issued {
            return Some("it expires before it is issued".to_owned());
        }
        if !self.not_affected.iter().all(|id| is_word(id)) {
            return Some("\"not-affected\" holds something else than ids".to_owned());
        }
        if self.grace.as_ref().is_some_and(|grace| !is_text(&grace.reason)) {
            return Some("\"reason\" of \"grace\" is no short text".to_owned());
        }
        self.items.iter().enumerate().find_map(|(n, item)| {
            let what = item.trouble()?;
            Some(format!("item {}: {what}", n + 1))
        })
    }
}

impl Advisory {
    fn trouble(&self) -> Option<&'static str> {
        let versions = || self.fixed.versions().chain(&self.introduced);
        let is_address = |url: &String| {
            url.starts_with("https://")
                && url.len() <= LONGEST_TEXT
                && url.bytes().all(|b| b.is_ascii_graphic())
        };
        [
            (!is_word(&self.id), "\"id\" is no word of 64 letters at most"),
            (!is_word(&self.product), "\"product\" is no word of 64 letters at most"),
            (!is_text(&self.text), "\"text\" is no text of 500 letters at most"),
            (!self.url.iter().all(is_address), "\"url\" is no https address"),
            (!versions().all(|v| version::is_sound(v)), "a version begins with a digit"),
            (!self.fixed.keys().all(|key| is_word(key)), "\"fixed\" names no distribution"),
        ]
        .into_iter()
        .find_map(|(wrong, text)| wrong.then_some(text))
    }
}

impl Fixed {
    fn versions(&self) -> Box<dyn Iterator<Item = &String> + '_> {
        match self {
            Self::By(map) => Box::new(map.values().flatten()),
            Self::Upstream(version) => Box::new(std::iter::once(version)),
            Self::Nowhere(()) => Box::new(std::iter::empty()),
        }
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &String> + '_> {
        match self {
            Self::By(map) => Box::new(map.keys()),
            Self::Nowhere(()) | Self::Upstream(_) => Box::new(std::iter::empty()),
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_WORD && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Nothing in it that moves a cursor or turns the order of letters around.
fn is_text(text: &str) -> bool {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().count() <= LONGEST_TEXT && !text.chars().any(|c| c.is_control() || turns(c))
}

/// The library may quote what it read.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
