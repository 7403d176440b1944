//! `target` and `target-dir`: the files of a service.

mod places;

use std::path::{Component, Path, PathBuf};

use super::chosen::Chosen;
use super::overlap::Owned;
use super::value::unfit;
use super::walk::{At, Place, Read, Table, Value, Walk};
use super::{disk, keys};
use crate::config::kind::Preset;
use crate::config::{Content, Install, Target};

/// Stands for the name of the certificate.
const PLACEHOLDER: &str = "{certificate}";

/// The files of a service, where paths may still hold `{certificate}`.
pub(super) enum Layout {
    Folder { dir: At<PathBuf>, files: Vec<File> },
    Files(Vec<File>),
}

/// A file as written: of one certificate, or of each.
#[derive(Clone)]
pub(super) struct File {
    at: Place,
    target: Target,
    certificate: Option<At<String>>,
}

impl File {
    fn is_of(&self, certificate: &str) -> bool {
        self.certificate.as_ref().is_none_or(|own| own.it == certificate)
    }
}

impl Layout {
    fn files(&self) -> &[File] {
        match self {
            Self::Folder { files, .. } | Self::Files(files) => files,
        }
    }

    /// The files of one certificate.
    pub(super) fn install(&self, certificate: &str) -> Install {
        let own = self.files().iter().filter(|file| file.is_of(certificate));
        match self {
            Self::Folder { dir, .. } => Install::Folder {
                dir: filled(&dir.it, certificate),
                files: own.map(|file| file.target.clone()).collect(),
            },
            Self::Files(_) => {
                let target = |file: &File| Target {
                    path: filled(&file.target.path, certificate),
                    ..file.target.clone()
                };
                Install::Files(own.map(target).collect())
            }
        }
    }

    /// What is replaced: the folder, or each file.
    pub(super) fn owned(&self, certificate: &str) -> Vec<Owned> {
        let owned = |at: Place, path: &Path, is_folder| Owned {
            at,
            path: filled(path, certificate),
            is_folder,
        };
        let own = self.files().iter().filter(|file| file.is_of(certificate));
        match self {
            Self::Folder { dir, .. } => vec![owned(dir.at, &dir.it, true)],
            Self::Files(_) => own.map(|file| owned(file.at, &file.target.path, false)).collect(),
        }
    }
}

/// Reads what a service has to write, and checks that its certificates do not collide.
pub(super) fn read<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    preset: Option<&Preset>,
    chosen: &Chosen,
) -> Read<Layout> {
    let dir = walk.optional(table, "target-dir", template);
    let files = walk.optional(table, "target", targets);
    let layout = layout(walk, table, preset, dir?, files?, chosen)?;
    places::refuse_strangers(walk, &layout, chosen)?;
    places::refuse_collisions(walk, &layout, chosen)?;
    for certificate in &chosen.names {
        places::warn_of_half_a_pair(walk, &layout, certificate);
    }
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
    files: Option<Vec<File>>,
    chosen: &Chosen,
) -> Read<Layout> {
    let bare = |files: &[File]| files.iter().all(|file| is_bare(&file.target.path));
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
            let files = preset_files(preset, table.at);
            let bare = |file: File| {
                let name = file.target.path.file_name().map(PathBuf::from);
                let path = name.unwrap_or_else(|| file.target.path.clone());
                File { target: Target { path, ..file.target }, ..file }
            };
            let dir = match dir {
                Some(dir) => Some(dir),
                None => preset_dir(walk, table, preset, &files, chosen)?,
            };
            Ok(match dir {
                Some(dir) => Layout::Folder { dir, files: files.into_iter().map(bare).collect() },
                None => Layout::Files(files),
            })
        }
        (Some(dir), Some(files)) => {
            let mut sound = Ok(());
            for file in files.iter().filter(|file| !is_bare(&file.target.path)) {
                let text =
                    format!("{:?} lies in target-dir: write the bare file name", file.target.path);
                sound = Err(walk.problem(file.at, text));
            }
            sound.map(|()| Layout::Folder { dir, files })
        }
        (None, Some(files)) => {
            if let Some(preset) = preset.filter(|_| bare(&files))
                && let Some(dir) = preset_dir(walk, table, preset, &files, chosen)?
            {
                return Ok(Layout::Folder { dir, files });
            }
            let mut sound = Ok(());
            for file in &files {
                if let Some(reason) = unfit(&file.target.path) {
                    let text = format!("the target {:?}: {reason}", file.target.path);
                    sound = Err(walk.problem(file.at, text));
                }
            }
            sound.map(|()| Layout::Files(files))
        }
    }
}

/// The folder of a preset; with several certificates one in it for each.
///
/// Files of a time with one certificate lie in the folder itself, and the service reads them
/// there: nobody would renew those any more, so a person has to say that this is meant.
fn preset_dir(
    walk: &mut Walk<'_>,
    table: &Table<'_>,
    preset: &Preset,
    files: &[File],
    chosen: &Chosen,
) -> Read<Option<At<PathBuf>>> {
    let Some(dir) = preset.target_dir.map(PathBuf::from) else { return Ok(None) };
    if !chosen.several {
        return Ok(Some(At { at: table.at, it: dir }));
    }
    let each = dir.join(PLACEHOLDER);
    if let Some(path) = left_over(&dir, files).filter(|_| walk.options.machine) {
        let text = format!(
            "{} is of a time with one certificate, and would not be renewed any more: with several \
             each has a folder of its own. Write target-dir = \"{}\", and let the service read its \
             files there",
            path.display(),
            each.display()
        );
        return Err(walk.problem(table.at, text));
    }
    Ok(Some(At { at: table.at, it: each }))
}

/// A file of a time with one certificate.
fn left_over(dir: &Path, files: &[File]) -> Option<PathBuf> {
    let names = files.iter().filter_map(|file| file.target.path.file_name());
    names.map(|name| dir.join(name)).find(|path| path.is_file())
}

fn preset_files(preset: &Preset, at: Place) -> Vec<File> {
    let target = |file: &crate::config::kind::PresetFile| Target {
        path: file.name.into(),
        content: file.content,
        owner: file.owner.map(str::to_owned),
        group: file.group.map(str::to_owned),
        mode: file.mode,
    };
    preset.files.iter().map(|file| File { at, target: target(file), certificate: None }).collect()
}

fn targets<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<File>> {
    let tables = walk
        .elements(value, "a list of tables { path, content, owner, group, mode, certificate }")?;
    if tables.is_empty() {
        return Err(walk.problem(value.at, "\"target\" is an empty list: say what to write"));
    }
    let read: Vec<_> = tables.into_iter().map(|table| target(walk, table)).collect();
    read.into_iter().collect()
}

fn target<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<File> {
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
    let certificate = walk.optional(&table, "certificate", Walk::string);
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
    let target = Target { path: path.it, content, owner: owner?, group, mode };
    Ok(File { at: path.at, target, certificate: certificate? })
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
    refuse_white_space(walk, at, &it)?;
    if it.ends_with('/') {
        return Err(walk.problem(at, format!("the target {it:?} is a folder: name a file")));
    }
    Ok(At { at, it: it.into() })
}

fn template<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<At<PathBuf>> {
    let path = walk.path(value)?;
    refuse_other_placeholders(walk, path.at, &path.it.to_string_lossy())?;
    refuse_white_space(walk, path.at, &path.it.to_string_lossy())?;
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

/// Hooks are told all paths in one variable, and split it at spaces.
fn refuse_white_space(walk: &mut Walk<'_>, at: Place, path: &str) -> Read<()> {
    if path.contains(char::is_whitespace) {
        let text =
            format!("{path:?}: hooks cannot tell paths apart that hold a space; choose another");
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

fn filled(path: &Path, certificate: &str) -> PathBuf {
    match path.to_str() {
        Some(text) => text.replace(PLACEHOLDER, certificate).into(),
        // Paths come from a text: this is never another.
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kind::Kind;

    #[test]
    fn files_of_a_time_with_one_certificate_are_not_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let preset = Kind::Nginx.preset().unwrap();
        let files = preset_files(preset, Place { file: 0, offset: None });
        assert_eq!(left_over(dir.path(), &files), None);
        std::fs::create_dir(dir.path().join("pbx")).unwrap();
        assert_eq!(left_over(dir.path(), &files), None, "a folder for each is how it should be");
        std::fs::write(dir.path().join("privkey.pem"), "").unwrap();
        assert_eq!(left_over(dir.path(), &files), Some(dir.path().join("privkey.pem")));
    }
}
