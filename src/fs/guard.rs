//! Who else could write a path? Configuration, hooks and state are code for root: whoever can
//! write them, or swap a folder above them, is root.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

/// As many links as the kernel itself follows.
const LINKS: usize = 40;

/// Says that nobody but root and our user can write `path` or swap any folder on the way to it.
///
/// Every component is looked at, links are resolved one by one. A sticky folder that others can
/// write (such as /tmp) is safe: only the owner can remove or rename what lies in it. A group that
/// may write counts as somebody else, whoever is in it.
///
/// # Errors
///
/// In words who can write what, and the command that ends it.
pub fn guarded(path: &Path) -> Result<(), String> {
    walk(path, &[0, own_user()]).map(|_| ())
}

/// As [`guarded`], but `user` may write too: for files of a service, whose user could replace them
/// anyway.
///
/// # Errors
///
/// As [`guarded`].
pub fn guarded_for(path: &Path, user: u32) -> Result<(), String> {
    walk(path, &[0, own_user(), user]).map(|_| ())
}

/// As [`guarded`], and nobody else can read it either.
///
/// # Errors
///
/// In words who can write or read what, and the command that ends it.
pub fn secret(path: &Path) -> Result<(), String> {
    let (place, metadata) = walk(path, &[0, own_user()])?;
    let Some(who) = others(&metadata, 0o4) else { return Ok(()) };
    Err(format!(
        "{who} can read {} (mode {:04o}); run: chmod go-rwx {}",
        place.display(),
        metadata.mode() & 0o7777,
        quoted(&place)
    ))
}

fn own_user() -> u32 {
    Uid::effective().as_raw()
}

/// Follows `path` from the root, looking at every component; returns where it ends.
fn walk(path: &Path, friends: &[u32]) -> Result<(PathBuf, Metadata), String> {
    let absolute = std::path::absolute(path)
        .map_err(|e| format!("cannot find out where {} is: {e}", path.display()))?;
    let mut left: VecDeque<OsString> = parts(&absolute);
    let mut at = PathBuf::from("/");
    let mut metadata = look(&at)?;
    judge(&at, &metadata, friends)?;
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            metadata = look(&at)?;
            continue;
        }
        let above_is_shared = is_shared(&metadata);
        let next = at.join(&name);
        let found = look(&next)?;
        if !found.is_symlink() {
            judge(&next, &found, friends)?;
            (at, metadata) = (next, found);
            continue;
        }
        // A link cannot be changed, only replaced: by whoever can write its folder (looked at
        // already), or in a sticky one by its owner.
        if above_is_shared && !friends.contains(&found.uid()) {
            return Err(format!(
                "{} can change where the link {} leads; run: chown -h root {}",
                user(found.uid()),
                next.display(),
                quoted(&next)
            ));
        }
        links += 1;
        if links > LINKS {
            return Err(format!("{} leads in a circle of symbolic links", path.display()));
        }
        let target = std::fs::read_link(&next).map_err(|e| cannot_look(&next, &e))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
            metadata = look(&at)?;
        }
        for part in parts(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    // What is asked for must be ours alone, sticky or not.
    match others(&metadata, 0o2) {
        Some(who) => Err(can_write(&who, &at, &metadata)),
        None => Ok((at, metadata)),
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|c| !matches!(c, Component::RootDir | Component::CurDir))
        .map(|c| c.as_os_str().to_owned())
        .collect()
}

fn look(path: &Path) -> Result<Metadata, String> {
    std::fs::symlink_metadata(path).map_err(|e| cannot_look(path, &e))
}

fn cannot_look(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        _ => format!("cannot find out who can write {}: {error}", path.display()),
    }
}

fn judge(path: &Path, metadata: &Metadata, friends: &[u32]) -> Result<(), String> {
    if !friends.contains(&metadata.uid()) {
        return Err(format!(
            "{} owns {} and can write it; run: chown root {}",
            user(metadata.uid()),
            path.display(),
            quoted(path)
        ));
    }
    match others(metadata, 0o2) {
        Some(who) if !is_shared(metadata) => Err(can_write(&who, path, metadata)),
        _ => Ok(()),
    }
}

fn can_write(who: &str, path: &Path, metadata: &Metadata) -> String {
    let (place, mode) = (path.display(), metadata.mode() & 0o7777);
    format!("{who} can write {place} (mode {mode:04o}); run: chmod go-w {}", quoted(path))
}

/// A folder in which everybody may make files, but only owners remove them.
fn is_shared(metadata: &Metadata) -> bool {
    metadata.is_dir() && metadata.mode() & 0o1000 != 0
}

/// Who of group and others has this permission bit.
fn others(metadata: &Metadata, bit: u32) -> Option<String> {
    let mode = metadata.mode();
    if mode & bit != 0 {
        return Some("everybody".to_owned());
    }
    (mode & (bit << 3) != 0).then(|| {
        let gid = Gid::from_raw(metadata.gid());
        match Group::from_gid(gid) {
            Ok(Some(group)) => format!("the group {}", group.name),
            _ => format!("the group {gid}"),
        }
    })
}

fn user(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("the user {}", user.name),
        _ => format!("the user {uid}"),
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@,:".contains(&b)) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
