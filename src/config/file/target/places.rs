//! Each certificate has its files, and each file a place of its own.

use std::path::{Path, PathBuf};

use super::super::chosen::Chosen;
use super::super::walk::{Read, Walk};
use super::{Layout, PLACEHOLDER, filled};
use crate::config::Content;

/// A target names a certificate of this service, and each certificate has targets.
pub(super) fn refuse_strangers(walk: &mut Walk<'_>, layout: &Layout, chosen: &Chosen) -> Read<()> {
    let mut sound = Ok(());
    if chosen.names.is_empty() {
        // What is wrong with them is told already.
        return sound;
    }
    for name in layout.files().iter().filter_map(|file| file.certificate.as_ref()) {
        let known = chosen.names.iter().map(String::as_str);
        sound = sound.and(walk.refuse_unknown(name, known, "certificate of this service"));
    }
    sound?;
    let at = layout.files().first().map_or(chosen.at, |file| file.at);
    for name in &chosen.names {
        if !layout.files().iter().any(|file| file.is_of(name)) {
            let text = format!("there is no target for the certificate {name:?}");
            sound = Err(walk.problem(at, text));
        }
    }
    sound
}

/// With several certificates each needs paths of its own, and no path may stand twice.
pub(super) fn refuse_collisions(walk: &mut Walk<'_>, layout: &Layout, chosen: &Chosen) -> Read<()> {
    let mut sound = Ok(());
    let lacks = |path: &Path| chosen.several && !path.to_string_lossy().contains(PLACEHOLDER);
    match layout {
        Layout::Folder { dir, .. } if lacks(&dir.it) => {
            let text = format!(
                "a service with several certificates needs a folder for each: write target-dir = \
                 \"{}/{PLACEHOLDER}\"",
                dir.it.display()
            );
            sound = Err(walk.problem(dir.at, text));
        }
        Layout::Folder { .. } => {}
        Layout::Files(files) => {
            let shared = files.iter().filter(|file| file.certificate.is_none());
            for file in shared.filter(|file| lacks(&file.target.path)) {
                let text = format!(
                    "a service with several certificates needs a file for each: put {PLACEHOLDER} \
                     into the path {:?}, or say whose it is: certificate = {:?}",
                    file.target.path,
                    chosen.names.first().map_or("NAME", String::as_str)
                );
                sound = Err(walk.problem(file.at, text));
            }
        }
    }
    sound?;
    let mut seen: Vec<PathBuf> = Vec::new();
    for name in &chosen.names {
        for (path, _) in layout.install(name).targets() {
            if seen.contains(&path) {
                let at = layout.files().iter().find(|file| filled(&file.target.path, name) == path);
                let at = at.map_or(chosen.at, |file| file.at);
                sound =
                    Err(walk.problem(at, format!("the target {path:?} stands twice; keep one")));
            }
            seen.push(path);
        }
    }
    sound
}

/// Each renewal makes a new key: a certificate without its key, or a key without it, fits nothing.
pub(super) fn warn_of_half_a_pair(walk: &mut Walk<'_>, layout: &Layout, certificate: &str) {
    let own = || layout.files().iter().filter(|file| file.is_of(certificate));
    let at = match (layout, own().next()) {
        (Layout::Folder { dir, .. }, _) => dir.at,
        (Layout::Files(_), Some(first)) => first.at,
        (Layout::Files(_), None) => return,
    };
    if !own().any(|file| file.target.content.holds_key()) {
        walk.warning(at, "the private key is in no target, and every renewal makes a new one");
    }
    if own().all(|file| matches!(file.target.content, Content::Chain | Content::Privkey)) {
        walk.warning(at, "the certificate itself is in no target");
    }
}
