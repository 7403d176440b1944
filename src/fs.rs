//! Files that are never half there, never followed out of their place, never writable by others.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Nobody but root or our user can write this path or anything above it.
///
/// Links are followed: both the way as written and the real way must be safe. A sticky folder such
/// as `/tmp` is safe for what is in it and ours.
///
/// # Errors
///
/// The reason, with the path that somebody else can write.
pub fn guarded(path: &Path) -> Result<(), String> {
    let cannot = |path: &Path, e: std::io::Error| format!("cannot look at {}: {e}", path.display());
    let written = std::path::absolute(path).map_err(|e| cannot(path, e))?;
    let real = written.canonicalize().map_err(|e| cannot(&written, e))?;
    let us = rustix::process::geteuid().as_raw();
    for step in written.ancestors().skip(1).chain(real.ancestors()) {
        let meta = step.metadata().map_err(|e| cannot(step, e))?;
        let sticky = meta.is_dir() && meta.mode() & 0o1000 != 0 && step != real;
        if meta.uid() != 0 && meta.uid() != us {
            return Err(format!(
                "{} belongs to user {}, who could change it: chown root {}",
                step.display(),
                meta.uid(),
                step.display()
            ));
        }
        if meta.mode() & 0o022 != 0 && !sticky {
            return Err(format!(
                "{} can be written by others (mode {:04o}): chmod go-w {}",
                step.display(),
                meta.mode() & 0o7777,
                step.display()
            ));
        }
    }
    Ok(())
}

/// [`guarded`], and not readable by group or others.
///
/// # Errors
///
/// The reason.
pub fn secret(path: &Path) -> Result<(), String> {
    guarded(path)?;
    let meta = path.metadata().map_err(|e| format!("cannot look at {}: {e}", path.display()))?;
    if meta.mode() & 0o077 != 0 {
        return Err(format!(
            "{} can be read by others (mode {:04o}): chmod 600 {}",
            path.display(),
            meta.mode() & 0o7777,
            path.display()
        ));
    }
    Ok(())
}
