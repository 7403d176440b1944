//! Reading what lies there: whole files only, nothing followed, within bounds.

use std::ffi::OsStr;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::super::Error;
use super::list::{FILE_LIMIT, Listed, NAMES, PASSWORD_LIMIT, list, objection, too_large};
use super::make::Open;
use super::name::{PASSWORD, REJECTED, shown, time_of};
use super::{Dropped, DroppedFile, FileKey, LATELY};
use crate::cert::import::{self, File};
use crate::fs::{self, Folder};

/// Refused files that are read again at a time, the newest first.
const OLD_FILES: usize = 32;

const SECOND: i64 = 1_000_000_000;
/// For so long nothing may have been written.
const QUIET: i64 = SECOND;
/// What is whole for so long is read although something beside it is still being written: a file
/// that never comes to rest holds nobody up.
const PATIENCE: i64 = 4 * SECOND;
/// What changed so far in the future was not written since the clock was set back.
const AHEAD: i64 = 2 * SECOND;

/// What lies in the folder.
pub(super) fn look(open: &Open, now: Timestamp) -> Result<Dropped, Error> {
    let mut listed = list(&open.folder)?;
    let mut dropped = Dropped::default();
    let mut until_quiet = None;
    if listed.changes().next().is_some() {
        let clock = clock(open, now)?;
        until_quiet = listed.changes().filter_map(|changed| until_quiet_at(changed, clock)).max();
        if until_quiet.is_some() {
            listed.keep(|changed| is_quiet_for(PATIENCE, changed, clock));
        }
    }
    let mut take = |key: &FileKey, limit: u64, listed: &mut Listed| {
        match read(&open.folder, &key.name, limit, now) {
            // Untouched since it was found quiet, so that its one name is the one here: who links a
            // file of somebody else to this name, and removes that link once we have opened it,
            // changes its ctime twice.
            Found::File(file) if file.key == *key => return Some(file),
            Found::Gone => {}
            Found::Refused(reason) => listed.refuse(&key.name, reason),
            Found::File(_) | Found::Unquiet => until_quiet = until_quiet.max(Some(QUIET)),
        }
        None
    };
    for key in listed.uploads() {
        dropped.files.extend(take(&key, FILE_LIMIT, &mut listed));
    }
    if let Some(key) = listed.password()
        && let Some(file) = take(&key, PASSWORD_LIMIT, &mut listed)
    {
        match import::password(&file.file.bytes) {
            Ok(password) => dropped.password = Some(password),
            Err(reason) => listed.refuse(&key.name, reason.to_owned()),
        }
        dropped.password_key = Some(file.key);
    }
    dropped.refused = listed.refused();
    dropped.quiet_at = until_quiet.map(|by| later(now, by));
    Ok(dropped)
}

/// The time to which the times of files are compared, in nanoseconds since 1970.
fn clock(open: &Open, now: Timestamp) -> Result<i64, Error> {
    let ours = nanoseconds(now);
    if !open.folder.is_remote()? {
        return Ok(ours);
    }
    // The server's clock, which stamps the files, may differ; ours is better than none.
    Ok(open.rejected.clock(OsStr::new(".clock")).unwrap_or(ours))
}

/// How long something must still be left alone; `None`: it may be read. Judged by when it changed
/// (ctime), since anybody can give a file any time of writing (mtime), `scp -p` for one.
fn until_quiet_at(changed: i64, clock: i64) -> Option<i64> {
    let still = QUIET.saturating_sub(clock.saturating_sub(changed));
    (still > 0 && still <= QUIET + AHEAD).then_some(still)
}

fn is_quiet_for(long: i64, changed: i64, clock: i64) -> bool {
    let age = clock.saturating_sub(changed);
    age >= long || age < -AHEAD
}

/// What became of reading a file.
enum Found {
    File(DroppedFile),
    Gone,
    Refused(String),
    Unquiet,
}

fn read(folder: &Folder, name: &OsStr, limit: u64, now: Timestamp) -> Found {
    let (bytes, seen) = match folder.read(name, limit) {
        Ok(Some(read)) => read,
        Ok(None) => return Found::Unquiet,
        Err(e) if e.is_missing() => return Found::Gone,
        Err(e) => return Found::Refused(why(&e, limit)),
    };
    let written_at = Timestamp::from_nanosecond(seen.changed.into()).unwrap_or(now).min(now);
    let file = File { name: shown(name), bytes: Zeroizing::new(bytes) };
    Found::File(DroppedFile { file, uid: seen.uid, written_at, key: FileKey::of(name, &seen) })
}

/// Why a file that looked well could not be read: it was swapped since, or is not for us.
pub(super) fn why(error: &fs::Error, limit: u64) -> String {
    match error {
        fs::Error::Kind { what, .. } => format!("it is {what}; put the file itself here"),
        fs::Error::Link { .. } => "it is a symbolic link; put the file itself here".to_owned(),
        fs::Error::TooLarge { .. } => too_large(limit),
        fs::Error::Io { source, .. } => {
            format!(
                "it cannot be read ({source}); make it readable for pbxcert, or put it here anew"
            )
        }
    }
}

/// Files that were refused lately, of the newest refusals first.
pub(super) fn rejected_lately(open: &Open, now: Timestamp) -> Result<Vec<DroppedFile>, Error> {
    let mut folders = Vec::new();
    let since = now.checked_sub(LATELY).unwrap_or(Timestamp::MIN);
    open.rejected.each(NAMES, |name| {
        folders.extend(time_of(name).filter(|at| *at >= since).map(|at| (at, name.to_owned())));
        Ok::<_, Error>(())
    })?;
    folders.sort_unstable_by(|a, b| b.cmp(a));
    let mut files = Vec::new();
    for (_, time) in folders {
        let folder = open.rejected.inner(&time)?;
        for mut file in files_in(&folder, now)? {
            if files.len() == OLD_FILES {
                return Ok(files);
            }
            let way = std::path::Path::new(REJECTED).join(&time).join(&file.key.name);
            file.key.name = way.into_os_string();
            files.push(file);
        }
    }
    Ok(files)
}

fn files_in(folder: &Folder, now: Timestamp) -> Result<Vec<DroppedFile>, Error> {
    let mut names = Vec::new();
    folder.each(OLD_FILES, |name| {
        let seen = folder.look(name)?;
        let fine = seen.is_some_and(|seen| objection(name, &seen, FILE_LIMIT).is_none());
        if fine && name != PASSWORD {
            names.push(name.to_owned());
        }
        Ok::<_, Error>(())
    })?;
    names.sort_unstable();
    let read = |name| match read(folder, name, FILE_LIMIT, now) {
        Found::File(file) => Some(file),
        Found::Gone | Found::Refused(_) | Found::Unquiet => None,
    };
    Ok(names.iter().filter_map(|name| read(name)).collect())
}

fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn later(now: Timestamp, nanoseconds: i64) -> Timestamp {
    now.checked_add(jiff::SignedDuration::from_nanos(nanoseconds)).unwrap_or(Timestamp::MAX)
}
