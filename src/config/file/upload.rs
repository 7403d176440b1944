//! The keys of `[[certificate]]` that are about uploads.

use std::path::{Path, PathBuf};

use super::issuer;
use super::walk::{Read, Table, Value, Walk};
use crate::config::{Source, UploadSpec};

/// What stands in the table; the folder is known once the state folder is.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) source: Source,
    drop_dir: Option<PathBuf>,
    group: Option<String>,
    poll: bool,
    trust_anchor: Option<PathBuf>,
    fetch_intermediates: bool,
}

/// Reads the keys of one certificate, or of `[defaults]` for their own sake.
pub(super) fn read<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Written> {
    let source = walk.optional(table, "source", |walk, value| {
        let words = Source::ALL.map(Source::word);
        walk.word(value, |word| Source::ALL.into_iter().find(|s| s.word() == word), &words)
    });
    let drop_dir = walk.optional(table, "drop-dir", |walk, value| Ok(walk.path(value)?.it));
    let group = walk.optional(table, "drop-group", |walk, value| Ok(walk.string(value)?.it));
    let poll = walk.optional(table, "watch", poll);
    let trust_anchor = walk.optional(table, "trust-anchor", issuer::trust_anchor);
    let fetch_intermediates = walk.optional(table, "fetch-intermediates", Walk::bool);
    Ok(Written {
        source: source?.unwrap_or_default(),
        drop_dir: drop_dir?,
        group: group?,
        poll: poll?.unwrap_or_default(),
        trust_anchor: trust_anchor?,
        fetch_intermediates: fetch_intermediates?.unwrap_or_default(),
    })
}

impl Written {
    /// With the folder in which uploads lie unless the configuration names another.
    pub(super) fn spec(self, usual: &Path, name: &str) -> UploadSpec {
        UploadSpec {
            dir: self.drop_dir.unwrap_or_else(|| usual.to_owned()).join(name),
            group: self.group,
            poll: self.poll,
            trust_anchor: self.trust_anchor,
            fetch_intermediates: self.fetch_intermediates,
        }
    }
}

fn poll<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<bool> {
    let meaning = |word: &str| match word {
        "events" => Some(false),
        "poll" => Some(true),
        _ => None,
    };
    walk.word(value, meaning, &["events", "poll"])
}
