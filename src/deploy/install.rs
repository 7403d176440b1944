//! Puts the files of one revision where a service reads them, and back again.
//!
//! A folder of ours is made beside its place and swapped in one step, so no moment shows a
//! mismatched pair. Single files are written beside their place and renamed back to back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Error;
use super::on_disk::found;
use crate::cert::bundle::{Bundle, digest_hex};
use crate::config::{Content, Install, Target};
use crate::fs::{self, Owner};

/// Files of at most this size are read back; a target that is larger is none of ours.
pub(super) const READ_LIMIT: u64 = 1024 * 1024;

/// The files of one revision, written beside their place and not visible yet.
#[must_use]
pub(crate) enum Staged {
    Folder { staged: PathBuf, dir: PathBuf },
    Files(Vec<fs::Staged>),
}

/// Where the scratch handshake reads a pair.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PairPaths {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Staged {
    /// Where the staged pair can be read; `None` when the targets hold no whole pair.
    pub(crate) fn pair(&self, install: &Install) -> Option<PairPaths> {
        let targets = install.targets();
        let find = |wanted: &[Content]| {
            let found = targets.iter().position(|(_, t)| wanted.contains(&t.content))?;
            Some(self.place(found, &targets[found].0))
        };
        Some(PairPaths {
            certificate: find(&[
                Content::Fullchain,
                Content::FullchainPrivkey,
                Content::Combined,
                Content::Cert,
            ])?,
            key: find(&[Content::Privkey, Content::FullchainPrivkey, Content::Combined])?,
        })
    }

    /// A sentence about staged files, said of the targets that they are to become: a person knows
    /// those.
    pub(crate) fn of_targets(&self, install: &Install, text: &str) -> String {
        install.targets().iter().enumerate().fold(text.to_owned(), |text, (i, (target, _))| {
            let staged = self.place(i, target).display().to_string();
            text.replace(&staged, &target.display().to_string())
        })
    }

    /// Where the file for the target of that number lies.
    fn place(&self, number: usize, target: &Path) -> PathBuf {
        match self {
            Self::Folder { staged, .. } => staged.join(target.file_name().unwrap_or_default()),
            Self::Files(files) => files[number].beside(),
        }
    }
}

/// Writes every file beside its place with its final owner and mode.
pub(crate) fn stage(install: &Install, bundle: &Bundle) -> Result<Staged, Error> {
    match install {
        Install::Folder { dir, files } => {
            if let Some(folder) = dir.parent() {
                if !folder.exists() {
                    // Around the folders of several certificates; the configuration allowed it.
                    fs::make_dir(folder, 0o755, Owner::default())?;
                }
                fs::sweep(folder)?;
            }
            let staged = beside(dir, "new");
            fs::remove_tree(&staged)?;
            // Others pass through; what may be read is said by each file's own mode.
            fs::make_dir(&staged, 0o755, Owner::default())?;
            for target in files {
                let bytes = render(target.content, bundle);
                fs::replace(&staged.join(&target.path), &bytes, target.mode, owner(target)?)?;
            }
            carry_over(dir, &staged, files)?;
            Ok(Staged::Folder { staged, dir: dir.clone() })
        }
        Install::Files(targets) => {
            for folder in targets.iter().filter_map(|t| t.path.parent()).collect::<BTreeSet<_>>() {
                // What a crash left half-written, keys among it.
                fs::sweep(folder)?;
            }
            let mut files = Vec::new();
            for target in targets {
                let bytes = render(target.content, bundle);
                files.push(fs::stage(&target.path, &bytes, target.mode, owner(target)?)?);
            }
            Ok(Staged::Files(files))
        }
    }
}

/// Keeps what lies there now, so that [`put_back`] can bring back exactly that.
///
/// For a folder the switch itself keeps it; single files are copied into `saved`. The index is
/// written last: without it nothing was switched yet.
pub(crate) fn save(install: &Install, saved: &Path) -> Result<(), Error> {
    match install {
        Install::Folder { dir, .. } => Ok(fs::remove_tree(&beside(dir, "previous"))?),
        Install::Files(targets) => {
            fs::remove_tree(saved)?;
            fs::make_dir(saved, 0o700, Owner::default())?;
            let mut index = SavedIndex::default();
            for (number, target) in targets.iter().enumerate() {
                let Some(file) = found(&target.path)? else {
                    index.files.insert(target.path.clone(), None);
                    continue;
                };
                let copy = format!("{number}");
                fs::replace(&saved.join(&copy), &file.bytes, 0o600, Owner::default())?;
                let kept = SavedFile { copy, mode: file.mode, uid: file.uid, gid: file.gid };
                index.files.insert(target.path.clone(), Some(kept));
            }
            let text = serde_json::to_vec(&index).map_err(|e| Error::Index(e.to_string()))?;
            Ok(fs::replace(&saved.join(INDEX), &text, 0o600, Owner::default())?)
        }
    }
}

/// Makes the staged files visible.
pub(crate) fn switch(staged: Staged) -> Result<(), Error> {
    match staged {
        Staged::Folder { staged, dir } => {
            if dir.symlink_metadata().is_ok() {
                fs::exchange(&staged, &dir)?;
                fs::move_new(&staged, &beside(&dir, "previous"))?;
            } else {
                fs::move_new(&staged, &dir)?;
            }
            Ok(())
        }
        Staged::Files(files) => Ok(fs::commit_all(files)?),
    }
}

/// Brings back exactly what lay there before the last switch: also when that was not ours, also
/// when there was nothing. Doing it twice does no harm.
///
/// `installed` are the digests of what the switch put there.
pub(crate) fn put_back(
    install: &Install,
    saved: &Path,
    installed: &BTreeMap<PathBuf, String>,
    existed: bool,
) -> Result<(), Error> {
    match install {
        Install::Folder { dir, .. } => {
            finish_switch(dir, installed)?;
            let previous = beside(dir, "previous");
            let there = previous.symlink_metadata().is_ok();
            if there && !folder_matches(&previous, installed) {
                if dir.symlink_metadata().is_ok() {
                    fs::exchange(&previous, dir)?;
                } else {
                    fs::move_new(&previous, dir)?;
                }
            } else if !there && !existed && folder_matches(dir, installed) {
                fs::remove_tree(dir)?;
            }
            Ok(())
        }
        Install::Files(_) => {
            let index = read_index(saved)?;
            for (path, file) in &index.files {
                match file {
                    None => fs::remove(path)?,
                    Some(file) => {
                        let copy = saved.join(&file.copy);
                        let bytes = fs::read_if_there(&copy, READ_LIMIT)?
                            .map(Zeroizing::new)
                            .ok_or_else(|| Error::Index(format!("{} is gone", copy.display())))?;
                        let owner = Owner { uid: Some(file.uid), gid: Some(file.gid) };
                        fs::replace(path, &bytes, file.mode, owner)?;
                    }
                }
            }
            Ok(())
        }
    }
}

/// After a crash: whether the switch that the journal announced has taken place. A folder that was
/// exchanged, but whose old content was not moved aside yet, is finished here.
pub(crate) fn switched(
    install: &Install,
    installed: &BTreeMap<PathBuf, String>,
) -> Result<bool, Error> {
    if let Install::Folder { dir, .. } = install {
        finish_switch(dir, installed)?;
    }
    Ok(matches_digests(installed))
}

/// Whether [`save`] had come to its end.
pub(crate) fn is_saved(install: &Install, saved: &Path) -> bool {
    match install {
        Install::Folder { .. } => true,
        Install::Files(_) => read_index(saved).is_ok(),
    }
}

fn finish_switch(dir: &Path, installed: &BTreeMap<PathBuf, String>) -> Result<(), Error> {
    let (staged, previous) = (beside(dir, "new"), beside(dir, "previous"));
    if staged.symlink_metadata().is_ok() && matches_digests(installed) {
        // Exchanged: what is called "new" is the old one.
        if previous.symlink_metadata().is_err() {
            return Ok(fs::move_new(&staged, &previous)?);
        }
    }
    Ok(())
}

/// The digests of the files of a revision, by path.
pub(crate) fn digests(install: &Install, bundle: &Bundle) -> BTreeMap<PathBuf, String> {
    install
        .targets()
        .into_iter()
        .map(|(path, target)| (path, digest_hex(&render(target.content, bundle))))
        .collect()
}

fn matches_digests(installed: &BTreeMap<PathBuf, String>) -> bool {
    !installed.is_empty()
        && installed.iter().all(|(path, digest)| {
            found(path).ok().flatten().is_some_and(|file| digest_hex(&file.bytes) == *digest)
        })
}

/// Whether `folder` holds what was installed, wherever it lies now.
fn folder_matches(folder: &Path, installed: &BTreeMap<PathBuf, String>) -> bool {
    let moved = installed
        .iter()
        .filter_map(|(path, digest)| Some((folder.join(path.file_name()?), digest.clone())));
    matches_digests(&moved.collect())
}

fn render(content: Content, bundle: &Bundle) -> Zeroizing<Vec<u8>> {
    let (cert, chain) = (bundle.cert_pem(), bundle.chain_pem());
    let key = bundle.key().to_pem();
    let parts: &[&str] = match content {
        Content::Cert => &[&cert],
        Content::Chain => &[&chain],
        Content::Fullchain => &[&cert, &chain],
        Content::Privkey => &[&key],
        Content::Combined => &[&key, &cert, &chain],
        Content::FullchainPrivkey => &[&cert, &chain, &key],
    };
    Zeroizing::new(parts.concat().into_bytes())
}

/// Files of others in the folder go along: a swap must not hide an administrator's `dhparam.pem`.
fn carry_over(dir: &Path, staged: &Path, files: &[Target]) -> Result<(), Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Folder { path: dir.to_path_buf(), source }),
    };
    for entry in entries {
        let io_error = |source| Error::Folder { path: dir.to_path_buf(), source };
        let entry = entry.map_err(io_error)?;
        if files.iter().any(|t| t.path.as_os_str() == entry.file_name()) {
            continue;
        }
        let kind = entry.file_type().map_err(io_error)?;
        let copy = staged.join(entry.file_name());
        if kind.is_file() {
            fs::link_new(&entry.path(), &copy)?;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).map_err(io_error)?;
            std::os::unix::fs::symlink(target, copy).map_err(io_error)?;
        } else {
            return Err(Error::Stranger { dir: dir.to_path_buf(), entry: entry.path() });
        }
    }
    Ok(())
}

pub(super) fn owner(target: &Target) -> Result<Owner, Error> {
    let unknown =
        |what, name: &str| Error::Owner { path: target.path.clone(), what, name: name.to_owned() };
    let uid = match &target.owner {
        None => None,
        Some(name) => Some(match name.parse() {
            Ok(number) => number,
            Err(_) => nix::unistd::User::from_name(name)
                .ok()
                .flatten()
                .ok_or_else(|| unknown("user", name))?
                .uid
                .as_raw(),
        }),
    };
    let gid = match &target.group {
        None => None,
        Some(name) => Some(match name.parse() {
            Ok(number) => number,
            Err(_) => nix::unistd::Group::from_name(name)
                .ok()
                .flatten()
                .ok_or_else(|| unknown("group", name))?
                .gid
                .as_raw(),
        }),
    };
    Ok(Owner { uid, gid })
}

/// `.NAME.pbxcert-new` or `.NAME.pbxcert-previous` in the same folder.
fn beside(dir: &Path, what: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.pbxcert-{what}"))
}

const INDEX: &str = "index.json";

#[derive(Default, Deserialize, Serialize)]
struct SavedIndex {
    files: BTreeMap<PathBuf, Option<SavedFile>>,
}

#[derive(Deserialize, Serialize)]
struct SavedFile {
    copy: String,
    mode: u32,
    uid: u32,
    gid: u32,
}

fn read_index(saved: &Path) -> Result<SavedIndex, Error> {
    let path = saved.join(INDEX);
    let file = fs::read_if_there(&path, READ_LIMIT)?
        .ok_or_else(|| Error::Index(format!("{} is missing", path.display())))?;
    serde_json::from_slice(&file).map_err(|e| Error::Index(e.to_string()))
}
