//! Opening by handle, without following a single symbolic link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Error;
use super::durable::{self, Needs};

/// Opens a folder; no part of `path` may be a symbolic link.
///
/// # Errors
///
/// When it is no folder, cannot be reached, or a link is on the way.
pub fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    folder(path).map_err(Error::of("open", path))
}

/// Opens a regular file for reading; no part of `path` may be a symbolic link. Never waits for a
/// pipe's other end.
///
/// # Errors
///
/// When it is no regular file, cannot be reached, or a link is on the way.
pub fn open_file(path: &Path) -> Result<File, Error> {
    let handle = open(path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(Error::of("read", path))?;
    let file = File::from(handle);
    let stat = rustix::fs::fstat(&file).map_err(|e| Error::of("read", path)(e.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(file),
        kind => {
            Err(Error::Kind { tried: "read", path: path.to_owned(), what: kind_in_words(kind) })
        }
    }
}

/// The bytes of a regular file of at most `limit` bytes, reached without following links.
///
/// # Errors
///
/// As [`open_file`], and when it is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = open_file(path)?;
    let size = file.metadata().map_err(Error::of("read", path))?.len();
    let too_large = || Error::TooLarge { path: path.to_owned(), limit };
    if size > limit {
        return Err(too_large());
    }
    // Room for all at once: a buffer that grows leaves copies of a key behind.
    let room = usize::try_from(size).unwrap_or(0) + 64;
    let mut bytes = Vec::with_capacity(room);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::of("read", path))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        return Ok(bytes);
    }
    Err(too_large())
}

/// As [`read`]; `None` when there is no such file.
///
/// # Errors
///
/// As [`read`], but for a file or folder that is missing.
pub fn read_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    match read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e),
    }
}

/// When the content of a file changed last, as the file system tells it.
///
/// # Errors
///
/// As [`open_file`].
pub fn changed_at(path: &Path) -> Result<SystemTime, Error> {
    let metadata = open_file(path)?.metadata();
    metadata.and_then(|m| m.modified()).map_err(Error::of("read", path))
}

/// Appends a line to a file (made with `mode` when missing) in one write and flushes it to disk.
/// A torn line at its end, left by a crash, is ended first; a line that does not fit on the disk
/// leaves nothing behind. Only for one writer at a time.
///
/// Returns the length of the file afterwards.
///
/// # Errors
///
/// When it cannot be opened or written.
pub fn append_line(path: &Path, line: &str, mode: u32) -> Result<u64, Error> {
    append(path, line, mode).map_err(Error::of("append to", path))
}

fn append(path: &Path, line: &str, mode: u32) -> io::Result<u64> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
    durable::step(Needs::Space)?;
    let (folder, name) = parent(path)?;
    let handle = rustix::fs::openat(
        &folder,
        &name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::from_raw_mode(mode),
    )?;
    let mut file = File::from(handle);
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::with_capacity(line.len() + 2);
    if before.len() > 0 && last_byte(&file, before.len())? != b'\n' {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    durable::step(Needs::Space)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        durable::step(Needs::Nothing)?;
        file.sync_all()
    });
    if let Err(e) = written {
        // Half a line says nothing; if even this fails, the next call ends the torn line.
        let _ = file.set_len(before.len());
        return Err(e);
    }
    if before.len() == 0 {
        rustix::fs::fsync(&folder)?;
    }
    Ok(before.len() + u64::try_from(text.len()).unwrap_or_default())
}

fn last_byte(file: &File, length: u64) -> io::Result<u8> {
    use std::os::unix::fs::FileExt as _;

    let mut byte = [0];
    file.read_exact_at(&mut byte, length - 1)?;
    Ok(byte[0])
}

/// A folder's handle, good for `*at` calls and for flushing.
pub(super) fn folder(path: &Path) -> io::Result<OwnedFd> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// The handle of the folder that `path` lies in, and its name there.
pub(super) fn parent(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    Ok((folder(above)?, name.to_owned()))
}

/// Opens without following links, in one call where the kernel has it (Linux 5.6).
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    // Without NOFOLLOW here: with it, a link in the last place would be told as "not a folder".
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Container runtimes answer EPERM to calls that they do not know.
        Err(Errno::NOSYS | Errno::PERM) => Ok(open_by_component(path, flags | OFlags::NOFOLLOW)?),
        other => Ok(other?),
    }
}

/// As [`open`] does, one component at a time.
pub(super) fn open_by_component(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let start = if path.is_absolute() { "/" } else { "." };
    let mut at = rustix::fs::open(start, way, Mode::empty())?;
    let names: Vec<&OsStr> = path
        .components()
        .filter(|c| !matches!(c, Component::RootDir | Component::CurDir))
        .map(Component::as_os_str)
        .collect();
    let Some((last, names)) = names.split_last() else {
        return rustix::fs::openat(at, ".", flags, Mode::empty());
    };
    for name in names {
        at = one(&at, name, way)?;
    }
    one(&at, last, flags)
}

fn one(at: &OwnedFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR) if kind(at, name) == Some(FileType::Symlink) => Err(Errno::LOOP),
        other => other,
    }
}

/// What a name in a folder is; `None` when there is none.
pub(super) fn kind(folder: impl AsFd, name: &OsStr) -> Option<FileType> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

/// What something is, for a person.
pub(super) fn kind_in_words(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "no regular file",
    }
}
