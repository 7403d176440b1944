//! What services replace, so that none replaces what belongs to another.

use std::path::PathBuf;

use super::service::Served;
use super::source::Source;
use super::top::Top;
use super::walk::{Declared, Place, Walk};

/// A path that is replaced as a whole.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) at: Place,
    pub(super) path: PathBuf,
    pub(super) is_folder: bool,
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
