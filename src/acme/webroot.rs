//! Response files, created and removed without following a link: the folders belong to others.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Writes `DIR/.well-known/acme-challenge/<token>`, readable by all; makes the two folders.
pub(super) fn place(root: &Path, token: &str, body: &str) -> io::Result<()> {
    // The root itself may be a link: it was named by the operator.
    let mut folder = rustix::fs::open(root, FOLDER, Mode::empty())?;
    for name in FOLDERS {
        folder = inside(&folder, name)?;
    }
    write(&folder, token, body)
}

/// Removes what [`place`] wrote; nothing there is as good.
pub(super) fn remove(root: &Path, token: &str) -> io::Result<()> {
    let mut folder = rustix::fs::open(root, FOLDER, Mode::empty())?;
    for name in FOLDERS {
        folder = rustix::fs::openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    }
    rustix::fs::unlinkat(&folder, token, AtFlags::empty())?;
    Ok(())
}

/// Writes `<folder>/<token>`; makes the folder.
pub(super) fn place_in(folder: &Path, token: &str, body: &str) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    write(&rustix::fs::open(folder, FOLDER, Mode::empty())?, token, body)
}

fn inside(folder: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let made = match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let inner = rustix::fs::openat(folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
    let inner = inner.map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => {
            io::Error::other(format!("{name} in it is no folder, or a symbolic link"))
        }
        error => error.into(),
    })?;
    if made {
        // Whatever our umask is, the web server must get in.
        rustix::fs::fchmod(&inner, Mode::from_raw_mode(0o755))?;
    }
    Ok(inner)
}

fn write(folder: impl AsFd, token: &str, body: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(&folder, token, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let mut file = File::from(rustix::fs::openat(&folder, token, flags, mode)?);
    let written = rustix::fs::fchmod(&file, mode)
        .map_err(io::Error::from)
        .and_then(|()| file.write_all(body.as_bytes()));
    if written.is_err() {
        // A full disk: half a response is worse than none.
        let _ = rustix::fs::unlinkat(&folder, token, AtFlags::empty());
    }
    written
}

const FOLDERS: [&str; 2] = [".well-known", "acme-challenge"];

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_response_is_readable_by_all_and_goes_again() {
        let root = tempfile::tempdir().unwrap();
        place(root.path(), "tok", "tok.key").unwrap();
        place(root.path(), "tok", "tok.other").unwrap();
        let path = root.path().join(".well-known/acme-challenge/tok");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "tok.other");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o644, 0o755));
        remove(root.path(), "tok").unwrap();
        assert!(!path.exists());
        assert!(remove(root.path(), "tok").is_err());
    }

    #[test]
    fn no_link_is_followed() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(other.path(), root.path().join(".well-known")).unwrap();
        let error = place(root.path(), "tok", "x").unwrap_err().to_string();
        assert_eq!(error, ".well-known in it is no folder, or a symbolic link");
        assert_eq!(other.path().read_dir().unwrap().count(), 0);

        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(".well-known/acme-challenge");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(other.path().join("victim"), "untouched").unwrap();
        symlink(other.path().join("victim"), folder.join("tok")).unwrap();
        place(root.path(), "tok", "x").unwrap();
        let victim = std::fs::read_to_string(other.path().join("victim")).unwrap();
        assert_eq!(victim, "untouched");
        assert!(!folder.join("tok").is_symlink());
    }

    #[test]
    fn a_missing_root_is_not_made() {
        let root = tempfile::tempdir().unwrap();
        assert!(place(&root.path().join("html"), "tok", "x").is_err());
        assert!(!root.path().join("html").exists());
    }
}
