//! Which names of the folder are worth reading, found without opening any.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ffi::{OsStr, OsString};

use super::super::Error;
use super::FileKey;
use super::name::{LONGEST, Role, role, shown};
use crate::fs::{Folder, Seen};

/// What is larger is no certificate or key of a telephone system.
pub(super) const FILE_LIMIT: u64 = 256 << 10;
/// What is larger is no password.
pub(super) const PASSWORD_LIMIT: u64 = 1 << 10;
/// Files that are read at a time, the newest first: a heap of old ones holds up no new upload.
pub(super) const FILES: usize = 16;
/// Names that are told when something is wrong with them; the others are counted.
const TOLD: usize = 16;
/// Names that are looked at at all.
pub(super) const NAMES: usize = 1 << 16;

/// What a look at every name found.
#[derive(Default)]
pub(super) struct Listed {
    /// The newest, the oldest of them on top.
    uploads: BinaryHeap<(Reverse<i64>, FileKey)>,
    /// The password's.
    password: Option<FileKey>,
    /// The first by name, so that the same is told at each look.
    refused: BTreeMap<OsString, String>,
    untold: usize,
    too_many: usize,
    endless: bool,
}

/// Looks at the names in a folder.
pub(super) fn list(folder: &Folder) -> Result<Listed, Error> {
    let mut listed = Listed::default();
    listed.endless = folder.each(NAMES, |name| {
        let role = role(name);
        if role == Role::Ignored {
            return Ok(());
        }
        let Some(seen) = folder.look(name)? else { return Ok(()) };
        let limit = if role == Role::Password { PASSWORD_LIMIT } else { FILE_LIMIT };
        match objection(name, &seen, limit) {
            Some(reason) => listed.refuse(name, reason),
            None if role == Role::Password => listed.password = Some(FileKey::of(name, &seen)),
            None => listed.add(FileKey::of(name, &seen)),
        }
        Ok::<_, Error>(())
    })?;
    Ok(listed)
}

impl Listed {
    /// When each of what is worth reading changed, in nanoseconds since 1970.
    pub(super) fn changes(&self) -> impl Iterator<Item = i64> {
        let password = self.password.as_ref().map(FileKey::changed);
        self.uploads.iter().map(|(changed, _)| changed.0).chain(password)
    }

    /// Leaves out what changed at a time that does not please.
    pub(super) fn keep(&mut self, pleases: impl Fn(i64) -> bool) {
        self.uploads.retain(|(changed, _)| pleases(changed.0));
        self.password.take_if(|key| !pleases(key.changed()));
    }

    /// The uploads, by name.
    pub(super) fn uploads(&self) -> Vec<FileKey> {
        let mut keys: Vec<FileKey> = self.uploads.iter().map(|(_, key)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    /// The password.
    pub(super) fn password(&self) -> Option<FileKey> {
        self.password.clone()
    }

    fn add(&mut self, key: FileKey) {
        self.uploads.push((Reverse(key.changed()), key));
        if self.uploads.len() > FILES {
            self.uploads.pop();
            self.too_many += 1;
        }
    }

    /// Tells of a name that is not taken.
    pub(super) fn refuse(&mut self, name: &OsStr, reason: String) {
        self.refused.insert(name.to_owned(), reason);
        if self.refused.len() > TOLD {
            self.refused.pop_last();
            self.untold += 1;
        }
    }

    /// What is not taken, for people: name and reason.
    pub(super) fn refused(self) -> Vec<(String, String)> {
        let mut told: Vec<(String, String)> =
            self.refused.iter().map(|(name, reason)| (shown(name), reason.clone())).collect();
        if self.untold > 0 {
            let reason = "they are no files that can be taken either; remove them".to_owned();
            told.push((format!("{} more", self.untold), reason));
        }
        if self.too_many > 0 {
            told.push((
                format!("{} more files", self.too_many),
                format!(
                    "only the newest {FILES} files are read at a time; remove what is not \
                         needed"
                ),
            ));
        }
        if self.endless {
            told.push((
                "everything else".to_owned(),
                format!("there are more than {NAMES} names here; empty the folder"),
            ));
        }
        told
    }
}

/// Why something is not read at all.
pub(super) fn objection(name: &OsStr, seen: &Seen, limit: u64) -> Option<String> {
    if seen.is_folder() {
        return Some("it is a folder; put the files themselves here".to_owned());
    }
    if !seen.is_file() {
        return Some(format!("it is {}; put the file itself here", seen.what()));
    }
    if seen.links > 1 {
        return Some(format!(
            "it is one of {} names of the same file (hard links); put a copy here",
            seen.links
        ));
    }
    if name.len() > LONGEST {
        return Some(format!("its name is longer than {LONGEST} bytes; rename it"));
    }
    (seen.size > limit).then(|| too_large(limit))
}

/// Says so.
pub(super) fn too_large(limit: u64) -> String {
    let thing = if limit == PASSWORD_LIMIT { "password" } else { "certificate or key" };
    format!("it is larger than {} KiB, which no {thing} is; remove it", limit >> 10)
}
