//! Making the folder, and opening what is there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::super::{Error, PASSABLE, PRIVATE, check_guarded};
use super::name::{ACCEPTED, REJECTED, again};
use crate::config::UploadSpec;
use crate::fs::{self, Folder, Owner, Seen, make_dir};

/// The group may put files there and pass through, but not list; only owners remove (sticky).
const GROUP: u32 = 0o1730;
/// Public parts and notes: whoever may pass through the folder above may read them.
const READABLE: u32 = 0o755;

/// The folder and what we keep in it, held open for one call.
pub(super) struct Open {
    pub(super) folder: Folder,
    pub(super) accepted: Folder,
    pub(super) rejected: Folder,
}

/// Makes what is not there yet; returns where it is, without symbolic links.
pub(super) fn make(spec: &UploadSpec) -> Result<PathBuf, Error> {
    let refused =
        |reason: &str| Error::DropFolder { path: spec.dir.clone(), reason: reason.to_owned() };
    let (Some(above), Some(name)) = (spec.dir.parent(), spec.dir.file_name()) else {
        return Err(refused("it is no folder with a name; change `drop-dir`"));
    };
    let rights = Rights::of(spec)?;
    let above = way(above)?;
    let path = above.join(name);
    let above = Folder::open(&above)?;
    match above.look(name)? {
        None => make_whole(&above, name, &rights, spec)?,
        Some(seen) if seen.is_folder() => {}
        Some(seen) => {
            return Err(refused(&format!("{} is in its place; remove that", seen.what())));
        }
    }
    let folder = above.inner(name)?;
    rights.renew(&folder, spec)?;
    within(folder)?;
    Ok(path)
}

/// The folder that holds the drop folders; made when missing. Links on the way are followed when
/// nobody else can change where they lead, and are not on a network share, whose owners we cannot
/// judge.
fn way(above: &Path) -> Result<PathBuf, Error> {
    if let (Err(_), Some(parent), Some(name)) =
        (above.symlink_metadata(), above.parent(), above.file_name())
    {
        make_dir(&judged(parent)?.join(name), PASSABLE, Owner::default())?;
    }
    judged(above)
}

fn judged(path: &Path) -> Result<PathBuf, Error> {
    if fs::is_remote(path) {
        return Ok(path.to_owned());
    }
    check_guarded(path)?;
    let cannot = |source| fs::Error::Io { tried: "find", path: path.to_owned(), source };
    Ok(path.canonicalize().map_err(cannot)?)
}

/// Makes it with everything that belongs in it, so that nobody can be first to put something else
/// there.
fn make_whole(
    above: &Folder,
    name: &OsStr,
    rights: &Rights,
    spec: &UploadSpec,
) -> Result<(), Error> {
    // A crash in here leaves the folder half made beside its place, and nobody else looks there.
    above.sweep()?;
    let staged = above.stage_dir()?;
    staged.make_dir(ACCEPTED, READABLE)?;
    staged.make_dir(REJECTED, PRIVATE)?;
    match staged.settle(above, name, rights.mode, rights.owner()) {
        // Somebody made it at the same time.
        Err(e) if e.is_taken() => Ok(()),
        other => other.map_err(|e| rights.cannot(e, spec)),
    }
}

/// Who may do what in the folder.
struct Rights {
    mode: u32,
    gid: Option<u32>,
}

impl Rights {
    fn of(spec: &UploadSpec) -> Result<Self, Error> {
        let Some(group) = &spec.group else { return Ok(Self { mode: PRIVATE, gid: None }) };
        let gid = match group.parse() {
            Ok(gid) => Some(gid),
            Err(_) => nix::unistd::Group::from_name(group).ok().flatten().map(|g| g.gid.as_raw()),
        };
        match gid {
            Some(gid) => Ok(Self { mode: GROUP, gid: Some(gid) }),
            None => Err(Error::DropFolder {
                path: spec.dir.clone(),
                reason: format!(
                    "there is no group {group}; run `groupadd {group}`, or change `drop-group`"
                ),
            }),
        }
    }

    fn owner(&self) -> Owner {
        Owner { uid: None, gid: self.gid }
    }

    /// Takes a changed `drop-group` over to a folder that is there. Rights that we never give were
    /// given by somebody else, who wanted them so.
    fn renew(&self, folder: &Folder, spec: &UploadSpec) -> Result<(), Error> {
        let seen = folder.itself()?;
        let right = seen.mode == self.mode && self.gid.is_none_or(|gid| gid == seen.gid);
        if right || !is_ours(&seen) || ![GROUP, PRIVATE].contains(&seen.mode) {
            return Ok(());
        }
        folder.give(self.mode, self.owner()).map_err(|e| self.cannot(e, spec))
    }

    fn cannot(&self, error: fs::Error, spec: &UploadSpec) -> Error {
        match &spec.group {
            Some(group) if error.is_permission() || error.is_unsupported() => Error::DropFolder {
                path: spec.dir.clone(),
                reason: format!(
                    "the system does not let us give it to the group {group}; make it yourself \
                     where its files are kept, writable for the uploaders, and leave out \
                     `drop-group`"
                ),
            },
            _ => error.into(),
        }
    }
}

fn is_ours(seen: &Seen) -> bool {
    seen.uid == nix::unistd::Uid::effective().as_raw()
}

/// Opens the folder; `None` when it is not there.
pub(super) fn open(path: &Path) -> Result<Option<Open>, Error> {
    match Folder::open(path) {
        Ok(folder) => within(folder).map(Some),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Opens what we keep in it, making what somebody removed.
fn within(folder: Folder) -> Result<Open, Error> {
    let accepted = ours(&folder, ACCEPTED, READABLE)?;
    let rejected = ours(&folder, REJECTED, PRIVATE)?;
    Ok(Open { folder, accepted, rejected })
}

/// A folder of ours in it. Something of an uploader's under its name is moved out of the way.
fn ours(folder: &Folder, name: &str, mode: u32) -> Result<Folder, Error> {
    let name = OsStr::new(name);
    for _ in 0..TRIES {
        match folder.inner(name) {
            Ok(inner) if is_trusted(&inner, folder)? => return Ok(inner),
            Err(e) if e.is_missing() => match folder.make_dir(name, mode, Owner::default()) {
                Err(e) if !e.is_taken() => return Err(e.into()),
                _ => {}
            },
            Err(e) if e.is_permission() => return Err(e.into()),
            Ok(_) | Err(_) => put_aside(folder, name)?,
        }
    }
    Err(Error::DropFolder {
        path: folder.path().to_owned(),
        reason: format!("somebody keeps putting something else under the name {}", name.display()),
    })
}

/// Ours, root's, or of whoever owns the whole folder (on a network share, everything is theirs).
fn is_trusted(inner: &Folder, folder: &Folder) -> Result<bool, Error> {
    let (inner, folder) = (inner.itself()?, folder.itself()?);
    Ok(is_ours(&inner) || inner.uid == 0 || inner.uid == folder.uid)
}

/// Moves what is in the way of something of ours to a free name beside it.
pub(super) fn put_aside(folder: &Folder, name: &OsStr) -> Result<(), Error> {
    place_free(name, |aside| folder.move_new(name, folder, aside), 2)
}

/// Tries names from the `first`-th on until one is free. What vanished meanwhile needs no place.
pub(super) fn place_free(
    name: &OsStr,
    mut place: impl FnMut(&OsStr) -> Result<(), fs::Error>,
    first: u32,
) -> Result<(), Error> {
    for n in first..first + TRIES {
        match place(&again(name, n)) {
            Err(e) if e.is_taken() => {}
            Err(e) if e.is_missing() => return Ok(()),
            other => return Ok(other?),
        }
    }
    Ok(place(&again(name, first + TRIES))?)
}

/// Nobody uploads so many of one name by mistake.
const TRIES: u32 = 99;
