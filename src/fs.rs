//! Files that are never half there, never followed out of their place, never writable by others.

use std::path::Path;

/// Says why `path` may not be trusted as code: somebody else than root or the running user owns or
/// can write it, or one of its parents. A sticky parent (`/tmp`) counts as safe.
///
/// # Errors
///
/// The reason, for a person.
pub fn guarded(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;

    let me = rustix::process::geteuid().as_raw();
    for part in path.ancestors() {
        let facts = std::fs::metadata(part).map_err(|e| format!("{}: {e}", part.display()))?;
        let sticky_folder = facts.is_dir() && facts.mode() & 0o1000 != 0;
        if facts.uid() != 0 && facts.uid() != me {
            return Err(format!("{} belongs to user {}", part.display(), facts.uid()));
        }
        if facts.mode() & 0o022 != 0 && !sticky_folder {
            let mode = facts.mode() & 0o7777;
            return Err(format!("{} can be written by others ({mode:04o})", part.display()));
        }
    }
    Ok(())
}
