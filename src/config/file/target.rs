//! `target` and `target-dir`: the files of a service.

use std::path::{Component, Path, PathBuf};

use super::service::Served;
use super::source::Source;
use super::top::Top;
use super::value::unfit;
use super::walk::{At, Declared, Place, Read, Table, Value, Walk};
use super::{disk, keys};
use crate::config::kind::Preset;
use crate::config::{Content, Install, Target};

/// Stands for the name of the certificate.
const PLACEHOLDER: &str = "{certificate}";

/// The files of a service, where paths may still hold `{certificate}`.
pub(super) enum Layout {
    Folder { dir: At<PathBuf>, files: Vec<Target> },
    Files(Vec<At<Target>>),
}

impl Layout {
    /// The files of one certificate.
    pub(super) fn install(&self, certificate: &str) -> Install {
        match self {
            Self::Folder { dir, files } => {
                Install::Folder { dir: filled(&dir.it, certificate), files: files.clone() }
            }
            Self::Files(files) => Install::Files(
                files
                    .iter()
                    .map(|t| Target { path: filled(&t.it.path, certificate), ..t.it.clone() })
                    .collect(),
            ),
        }
    }

    /// What is replaced: the folder, or each file.
    pub(super) fn owned(&self, certificate: &str) -> Vec<Owned> {
        let owned = |at: Place, path: &Path, is_folder| Owned {
            at,
            path: filled(path, certificate),
            is_folder,
        };
        match self {
            Self::Folder { dir, .. } => vec![owned(dir.at, &dir.it, true)],
            Self::Files(files) => files.iter().map(|t| owned(t.at, &t.it.path, false)).collect(),
        }
    }
}

/// A path that is replaced as a whole.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) at: Place,
    pub(super) path: PathBuf,
    pub(super) is_folder: bool,
}

/// Reads what a service has to write, and checks that its certificates do not collide.
pub(super) fn read<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    preset: Option<&Preset>,
    certificates: usize,
) -> Read<Layout> {
    let dir = walk.optional(table, "target-dir", template);
    let files = walk.optional(table, "target", targets);
    let layout = layout(walk, table, preset, dir?, files?)?;
    refuse_collisions(walk, &layout, certificates)?;
    warn_of_half_a_pair(walk, &layout);
    Ok(layout)
}

/// Reads the keys as they stand in `[defaults]`.
pub(super) fn check_defaults<'a>(walk: &mut Walk<'a>, defaults: &Table<'a>) -> Read<()> {
    let dir = walk.optional(defaults, "target-dir", template);
    let files = walk.optional(defaults, "target", targets);
    dir.and(files).map(|_| ())
}

fn layout(
    walk: &mut Walk<'_>,
    table: &Table<'_>,
    preset: Option<&Preset>,
    dir: Option<At<PathBuf>>,
    files: Option<Vec<At<Target>>>,
) -> Read<Layout> {
    let preset_dir = || {
        let dir = preset.and_then(|p| p.target_dir)?;
        Some(At { at: table.at, it: PathBuf::from(dir) })
    };
    let bare = |files: &[At<Target>]| files.iter().all(|t| is_bare(&t.it.path));
    match (dir, files) {
        (dir, None) => {
            let Some(preset) = preset else {
                let why = "say what to write, such as target = [{ path = \"/etc/pbx/cert.pem\", \
                           content = \"fullchain\" }, { path = \"/etc/pbx/key.pem\", \
                           content = \"privkey\" }]";
                return Err(walk.missing(table, "target", why));
            };
            for group in preset.files.iter().filter_map(|file| file.group) {
                disk::check_group(walk, &At { at: table.at, it: group.to_owned() })?;
            }
            let files = preset_files(preset);
            let bare = |t: Target| Target {
                path: t.path.file_name().map_or(t.path.clone(), Into::into),
                ..t
            };
            match dir.or_else(preset_dir) {
                Some(dir) => {
                    Ok(Layout::Folder { dir, files: files.into_iter().map(bare).collect() })
                }
                None => {
                    let at = |it| At { at: table.at, it };
                    Ok(Layout::Files(files.into_iter().map(at).collect()))
                }
            }
        }
        (Some(dir), Some(files)) => {
            let mut sound = Ok(());
            for file in files.iter().filter(|t| !is_bare(&t.it.path)) {
                let text =
                    format!("{:?} lies in target-dir: write the bare file name", file.it.path);
                sound = Err(walk.problem(file.at, text));
            }
            sound.map(|()| Layout::Folder { dir, files: files.into_iter().map(|t| t.it).collect() })
        }
        (None, Some(files)) => {
            if let Some(dir) = preset_dir().filter(|_| bare(&files)) {
                return Ok(Layout::Folder {
                    dir,
                    files: files.into_iter().map(|t| t.it).collect(),
                });
            }
            let mut sound = Ok(());
            for file in &files {
                if let Some(reason) = unfit(&file.it.path) {
                    let text = format!("the target {:?}: {reason}", file.it.path);
                    sound = Err(walk.problem(file.at, text));
                }
            }
            sound.map(|()| Layout::Files(files))
        }
    }
}

fn preset_files(preset: &Preset) -> Vec<Target> {
    let target = |file: &crate::config::kind::PresetFile| Target {
        path: file.name.into(),
        content: file.content,
        owner: file.owner.map(str::to_owned),
        group: file.group.map(str::to_owned),
        mode: file.mode,
    };
    preset.files.iter().map(target).collect()
}

fn targets<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<At<Target>>> {
    let tables = walk.elements(value, "a list of tables { path, content, owner, group, mode }")?;
    if tables.is_empty() {
        return Err(walk.problem(value.at, "\"target\" is an empty list: say what to write"));
    }
    let read: Vec<_> = tables.into_iter().map(|table| target(walk, table)).collect();
    read.into_iter().collect()
}

fn target<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<At<Target>> {
    let table = walk.table(value, keys::TARGET)?;
    walk.refuse_unknown_keys(&table);
    let path = walk.required(&table, "path", file_path, "say where the file lies");
    let contents = CONTENTS.map(|(word, _)| word);
    let content = walk.required(
        &table,
        "content",
        |walk, value| {
            let meaning = |word: &str| CONTENTS.iter().find(|(w, _)| *w == word).map(|(_, c)| *c);
            walk.word(value, meaning, &contents)
        },
        "say what to write, such as content = \"fullchain\"",
    );
    let owner = walk.optional(&table, "owner", owner);
    let group = walk.optional(&table, "group", group);
    let mode = walk.optional(&table, "mode", mode);
    let (path, content, group, mode) = (path?, content?, group?, mode?);
    let mode = match mode {
        Some(At { at, it }) if content.holds_key() && it & 0o007 != 0 => {
            let text = format!(
                "mode {it:04o} lets everybody at the private key: write \"0600\", or \"0640\" \
                 with a group"
            );
            return Err(walk.problem(at, text));
        }
        Some(At { it, .. }) => it,
        None if content.holds_key() && group.is_some() => 0o640,
        None if content.holds_key() => 0o600,
        None => 0o644,
    };
    Ok(At { at: path.at, it: Target { path: path.it, content, owner: owner?, group, mode } })
}

const CONTENTS: [(&str, Content); 6] = [
    ("cert", Content::Cert),
    ("chain", Content::Chain),
    ("fullchain", Content::Fullchain),
    ("privkey", Content::Privkey),
    ("combined", Content::Combined),
    ("fullchain-privkey", Content::FullchainPrivkey),
];

/// Absolute, or a bare name; which of them is right shows later.
fn file_path<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<At<PathBuf>> {
    let At { at, it } = walk.string(value)?;
    refuse_other_placeholders(walk, at, &it)?;
    if it.ends_with('/') {
        return Err(walk.problem(at, format!("the target {it:?} is a folder: name a file")));
    }
    Ok(At { at, it: it.into() })
}

fn template<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<At<PathBuf>> {
    let path = walk.path(value)?;
    refuse_other_placeholders(walk, path.at, &path.it.to_string_lossy())?;
    if path.it.parent().is_none() {
        return Err(walk.problem(path.at, "\"target-dir\" cannot be \"/\""));
    }
    Ok(path)
}

fn refuse_other_placeholders(walk: &mut Walk<'_>, at: Place, path: &str) -> Read<()> {
    if path.replace(PLACEHOLDER, "").contains(['{', '}']) {
        let text = format!("{path:?}: only {PLACEHOLDER} may stand in braces");
        return Err(walk.problem(at, text));
    }
    Ok(())
}

fn owner<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<String> {
    if let Some(number) = value.number() {
        return Ok(number.to_string());
    }
    let name = walk.string(value)?;
    disk::check_user(walk, &name)?;
    Ok(name.it)
}

fn group<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<String> {
    if let Some(number) = value.number() {
        return Ok(number.to_string());
    }
    let name = walk.string(value)?;
    disk::check_group(walk, &name)?;
    Ok(name.it)
}

fn mode<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<At<u32>> {
    if value.number().is_some() {
        return Err(walk.wrong_type(value, "a string in quotes, such as \"0640\""));
    }
    let At { at, it } = walk.string(value)?;
    let octal = (3..=4).contains(&it.len()) && it.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let reason = match u32::from_str_radix(&it, 8) {
        Ok(mode) if octal => {
            if mode > 0o777 {
                "only permissions for owner, group and others can be set"
            } else if mode & 0o002 != 0 {
                "everybody could change the file"
            } else if mode & 0o400 == 0 {
                "its owner could not read it"
            } else {
                return Ok(At { at, it: mode });
            }
        }
        _ => "write it in octal, such as \"0640\"",
    };
    Err(walk.problem(at, format!("mode {it:?} cannot be used: {reason}")))
}

fn is_bare(path: &Path) -> bool {
    let mut components = path.components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

/// With several certificates each needs paths of its own, and no path may stand twice.
fn refuse_collisions(walk: &mut Walk<'_>, layout: &Layout, certificates: usize) -> Read<()> {
    let mut sound = Ok(());
    if certificates > 1 {
        for owned in layout.owned(PLACEHOLDER) {
            let path = owned.path.to_string_lossy();
            if path.contains(PLACEHOLDER) {
                continue;
            }
            let text = if owned.is_folder {
                format!(
                    "a service with several certificates needs a folder for each: write \
                     target-dir = \"{path}/{PLACEHOLDER}\""
                )
            } else {
                format!(
                    "a service with several certificates needs a file for each: put \
                     {PLACEHOLDER} into the path {path:?}"
                )
            };
            sound = Err(walk.problem(owned.at, text));
        }
    }
    let files: Vec<(Place, &Path)> = match layout {
        Layout::Folder { dir, files } => files.iter().map(|t| (dir.at, &*t.path)).collect(),
        Layout::Files(files) => files.iter().map(|t| (t.at, &*t.it.path)).collect(),
    };
    for (i, (at, path)) in files.iter().enumerate() {
        if files[..i].iter().any(|(_, other)| other == path) {
            sound = Err(walk.problem(*at, format!("the target {path:?} stands twice; keep one")));
        }
    }
    sound
}

/// Each renewal makes a new key: a certificate without its key, or a key without it, fits nothing.
fn warn_of_half_a_pair(walk: &mut Walk<'_>, layout: &Layout) {
    let (at, contents): (Place, Vec<Content>) = match layout {
        Layout::Folder { dir, files } => (dir.at, files.iter().map(|t| t.content).collect()),
        Layout::Files(files) => match files.first() {
            Some(first) => (first.at, files.iter().map(|t| t.it.content).collect()),
            None => return,
        },
    };
    if !contents.iter().any(|c| c.holds_key()) {
        walk.warning(at, "the private key is in no target, and every renewal makes a new one");
    }
    if contents.iter().all(|c| matches!(c, Content::Chain | Content::Privkey)) {
        walk.warning(at, "the certificate itself is in no target");
    }
}

/// Notes paths that two services write, and folders that would be swapped away with what is not
/// theirs.
pub(super) fn refuse_overlaps(
    walk: &mut Walk<'_>,
    services: &Declared<Served>,
    top: Option<&Top>,
    sources: &[Source],
) {
    let ours = ours(top, sources);
    let mut seen: Vec<(&str, &Owned)> = Vec::new();
    for service in services.sound() {
        let name = service.spec.name.as_str();
        for owned in &service.owned {
            let clash = seen.iter().find(|(other, o)| *other != name && overlap(owned, o));
            if let Some((other, o)) = clash {
                let text = format!(
                    "{:?} is also written by the service {other:?} ({:?}): give each its own",
                    owned.path, o.path
                );
                walk.problem(owned.at, text);
            }
            for path in &ours {
                if overlap(owned, &Owned { at: owned.at, path: path.clone(), is_folder: true }) {
                    let text = format!(
                        "{:?} would replace what belongs to pbxcert itself ({path:?}): choose \
                         another place",
                        owned.path
                    );
                    walk.problem(owned.at, text);
                    break;
                }
            }
            seen.push((name, owned));
        }
    }
}

/// The state folder and every file of the configuration.
fn ours(top: Option<&Top>, sources: &[Source]) -> Vec<PathBuf> {
    let files = sources.iter().filter_map(|s| std::path::absolute(&s.path).ok());
    top.map(|top| top.state_dir.clone()).into_iter().chain(files).collect()
}

fn overlap(a: &Owned, b: &Owned) -> bool {
    a.path == b.path
        || (a.is_folder && b.path.starts_with(&a.path))
        || (b.is_folder && a.path.starts_with(&b.path))
}

fn filled(path: &Path, certificate: &str) -> PathBuf {
    match path.to_str() {
        Some(text) => text.replace(PLACEHOLDER, certificate).into(),
        // Paths come from a text: this is never another.
        None => path.to_owned(),
    }
}
