//! Taking files away once they are decided on, and the notes beside them.
//!
//! What is taken goes, one file after the other, to `rejected/.taking`, where nobody but us can
//! touch it, and is only then compared with what was read: somebody may have put a newer file under
//! its name. The whole of it is disposed of in one rename, so that a crash leaves either all files
//! of an upload or none: what lies in `.taking` is put back ([`recover`]).

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

use jiff::Timestamp;

use super::super::{Error, PRIVATE, checked};
use super::list::NAMES;
use super::make::{Open, place_free, put_aside};
use super::name::{
    ACCEPTED_NOTE, PASSWORD, REASON_NOTE, REJECTED, STATUS_NOTE, WAITING_NOTE, numbered, of_time,
    time_of,
};
use super::{FileKey, KEPT};
use crate::fs::{self, Folder, Owner};

/// Files that are taken, as long as they can still be put back.
const TAKING: &str = ".taking";
/// Files that will not be wanted again.
const GONE: &str = ".gone";
/// Whoever may pass through the folder may read what is in it: nothing of it is secret.
const NOTE: u32 = 0o644;
/// As [`NOTE`], for a folder.
const NOTES: u32 = 0o755;
/// Refusals that are kept at most, whatever their age: some uploads come by machine.
const REFUSALS: usize = 200;
/// Longer notes are none of ours.
const NOTE_LIMIT: u64 = 1 << 20;

/// Puts back what a crash left half taken, and removes what it left half removed.
pub(super) fn recover(open: &Open) -> Result<(), Error> {
    if let Some(taking) = inner(&open.rejected, TAKING)? {
        for name in names(&taking)? {
            place_free(&name, |free| taking.move_new(&name, &open.folder, free), 1)?;
        }
        open.rejected.remove_empty(OsStr::new(TAKING))?;
    }
    Ok(open.rejected.remove_tree(OsStr::new(GONE))?)
}

/// See [`super::DropFolder::accepted`].
pub(super) fn accepted(
    open: &Open,
    files: &[FileKey],
    public: &[(String, String)],
    text: &str,
    now: Timestamp,
) -> Result<(), Error> {
    recover(open)?;
    let staged = open.accepted.stage_dir()?;
    for (name, pem) in public {
        staged.write(checked(name)?, pem.as_bytes(), NOTE, Owner::default())?;
    }
    staged.write(ACCEPTED_NOTE, text.as_bytes(), NOTE, Owner::default())?;
    let taken = take(open, files)?;
    settle_new(
        &of_time(now),
        |name| open.accepted.look(name),
        |name| staged.settle(&open.accepted, name, NOTES, Owner::default()),
    )?;
    if taken {
        open.rejected.move_new(OsStr::new(TAKING), &open.rejected, OsStr::new(GONE))?;
        open.rejected.remove_tree(OsStr::new(GONE))?;
    }
    remove_note(&open.folder, WAITING_NOTE)?;
    remove_note(&open.folder, REASON_NOTE)
}

/// See [`super::DropFolder::rejected`].
pub(super) fn rejected(
    open: &Open,
    files: &[FileKey],
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    recover(open)?;
    // First the reason: a file that goes without one is the worse surprise.
    write_note(&open.folder, REASON_NOTE, reason)?;
    let fresh: Vec<FileKey> = files.iter().filter(|key| !key.is_old()).cloned().collect();
    if !take(open, &fresh)? {
        return Ok(());
    }
    let rejected = &open.rejected;
    let mut place = None;
    settle_new(
        &of_time(now),
        |name| rejected.look(name),
        |name| {
            place = Some(name.to_owned());
            rejected.move_new(OsStr::new(TAKING), rejected, name)
        },
    )?;
    match place {
        // It opens what was refused: there is nothing to keep it for.
        Some(place) => Ok(rejected.inner(&place)?.remove(OsStr::new(PASSWORD))?),
        None => Ok(()),
    }
}

/// Puts something under the first free name of a moment.
fn settle_new(
    time: &str,
    look: impl Fn(&OsStr) -> Result<Option<fs::Seen>, fs::Error>,
    settle: impl FnOnce(&OsStr) -> Result<(), fs::Error>,
) -> Result<(), Error> {
    let mut n = 1;
    // Nobody else writes there: what is free stays free.
    while look(&numbered(time, n))?.is_some() {
        n += 1;
    }
    Ok(settle(&numbered(time, n))?)
}

/// Takes the files that are still the ones that were read; whether there is any.
fn take(open: &Open, files: &[FileKey]) -> Result<bool, Error> {
    let name = OsStr::new(TAKING);
    let mut taken = None;
    for key in files {
        let Some((from, file)) = place(open, key)? else { continue };
        if from.look(&file)?.is_none_or(|seen| !key.is(&seen)) {
            continue;
        }
        let taking = match &taken {
            Some(taking) => taking,
            None => taken.insert(ours(&open.rejected, name)?),
        };
        let mut lies = file.clone();
        place_free(
            &file,
            |free| {
                lies = free.to_owned();
                from.move_new(&file, taking, free)
            },
            1,
        )?;
        // It was swapped in this very moment: a newer upload, to be read first.
        if taking.look(&lies)?.is_some_and(|seen| !key.is_moved(&seen)) {
            place_free(&file, |free| taking.move_new(&lies, &open.folder, free), 1)?;
        }
    }
    match taken {
        Some(taking) => Ok(!names(&taking)?.is_empty()),
        None => Ok(false),
    }
}

/// Where a file was read; `None` when its folder is gone.
fn place(open: &Open, key: &FileKey) -> Result<Option<(Folder, OsString)>, Error> {
    let mut names = Vec::new();
    for part in Path::new(&key.name).components() {
        let Component::Normal(name) = part else { return Ok(None) };
        names.push(name);
    }
    match names.as_slice() {
        [name] => Ok(Some((open.folder.again()?, (*name).to_owned()))),
        [first, time, name] if *first == REJECTED => {
            Ok(inner(&open.rejected, time)?.map(|folder| (folder, (*name).to_owned())))
        }
        _ => Ok(None),
    }
}

fn ours(folder: &Folder, name: &OsStr) -> Result<Folder, Error> {
    match folder.make_dir(name, PRIVATE, Owner::default()) {
        Err(e) if !e.is_taken() => return Err(e.into()),
        _ => {}
    }
    Ok(folder.inner(name)?)
}

fn inner(folder: &Folder, name: impl AsRef<OsStr>) -> Result<Option<Folder>, Error> {
    match folder.inner(name.as_ref()) {
        Ok(inner) => Ok(Some(inner)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn names(folder: &Folder) -> Result<Vec<OsString>, Error> {
    let mut names = Vec::new();
    folder.each(NAMES, |name| {
        names.push(name.to_owned());
        Ok::<_, Error>(())
    })?;
    names.sort_unstable();
    Ok(names)
}

/// See [`super::DropFolder::waiting`].
pub(super) fn waiting(open: &Open, text: &str) -> Result<(), Error> {
    note(open, WAITING_NOTE, text)
}

/// See [`super::DropFolder::progress`].
pub(super) fn progress(open: &Open, text: &str) -> Result<(), Error> {
    note(open, STATUS_NOTE, text)
}

fn note(open: &Open, name: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        remove_note(&open.folder, name)
    } else {
        write_note(&open.folder, name, text)
    }
}

/// Replaces a note, unless the very same is there: the folder is watched, and we would wake
/// ourselves without end.
fn write_note(folder: &Folder, name: &str, text: &str) -> Result<(), Error> {
    let name = OsStr::new(name);
    if let Ok(Some((there, seen))) = folder.read(name, NOTE_LIMIT)
        && there == text.as_bytes()
        && seen.mode == NOTE
    {
        return Ok(());
    }
    if folder.look(name)?.is_some_and(|seen| seen.is_folder()) {
        put_aside(folder, name)?;
    }
    Ok(folder.replace(name, text.as_bytes(), NOTE)?)
}

fn remove_note(folder: &Folder, name: &str) -> Result<(), Error> {
    let name = OsStr::new(name);
    match folder.look(name)? {
        Some(seen) if !seen.is_folder() => Ok(folder.remove(name)?),
        _ => Ok(()),
    }
}

/// See [`super::DropFolder::sweep`].
pub(super) fn sweep(open: &Open, now: Timestamp) -> Result<(), Error> {
    for folder in [&open.folder, &open.accepted, &open.rejected] {
        folder.sweep()?;
    }
    let mut refusals: Vec<(Timestamp, OsString)> = names(&open.rejected)?
        .into_iter()
        .filter_map(|name| time_of(&name).map(|at| (at, name)))
        .collect();
    refusals.sort_unstable_by(|a, b| b.cmp(a));
    let since = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let wrong = now.checked_add(jiff::SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
    for (n, (at, name)) in refusals.iter().enumerate() {
        if *at < since || n >= REFUSALS {
            open.rejected.remove_tree(name)?;
            continue;
        }
        if *at > wrong {
            // The clock was wrong then: their time begins now.
            let rejected = &open.rejected;
            settle_new(
                &of_time(now),
                |name| rejected.look(name),
                |to| rejected.move_new(name, rejected, to),
            )?;
            continue;
        }
        if let Some(folder) = inner(&open.rejected, name)?
            && folder.look(OsStr::new(PASSWORD))?.is_some()
        {
            folder.remove(OsStr::new(PASSWORD))?;
        }
    }
    Ok(())
}
