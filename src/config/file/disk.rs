//! What only the machine itself can tell: who can write what, and what lies where files will go.

use std::fs::{Metadata, read_to_string, symlink_metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::overlap::Owned;
use super::walk::{At, Place, Read, Walk};
use crate::config::kind::Kind;
use crate::fs;

/// Secrets are short.
const MOST_SECRET_BYTES: u64 = 64 << 10;

/// Notes a user that does not exist. A number may stand for anybody.
pub(super) fn check_user(walk: &mut Walk<'_>, name: &At<String>) -> Read<()> {
    let found = |name: &str| nix::unistd::User::from_name(name).map(|user| user.is_some());
    check_exists(walk, name, "user", found)
}

/// Notes a group that does not exist.
pub(super) fn check_group(walk: &mut Walk<'_>, name: &At<String>) -> Read<()> {
    let found = |name: &str| nix::unistd::Group::from_name(name).map(|group| group.is_some());
    check_exists(walk, name, "group", found)
}

fn check_exists(
    walk: &mut Walk<'_>,
    name: &At<String>,
    what: &str,
    found: impl Fn(&str) -> nix::Result<bool>,
) -> Read<()> {
    if !walk.options.machine || name.it.parse::<u32>().is_ok() {
        return Ok(());
    }
    let reason = match found(&name.it) {
        Ok(true) => return Ok(()),
        Ok(false) => "there is none on this machine; is the product installed?".to_owned(),
        Err(e) => format!("it cannot be looked up: {e}"),
    };
    Err(walk.problem(name.at, format!("the {what} {:?}: {reason}", name.it)))
}

/// Whether a hook may be run.
pub(super) fn executable(path: &Path) -> Result<(), String> {
    let meta = regular(path)?;
    if meta.mode() & 0o111 == 0 {
        return Err(format!("it is not executable: chmod 755 {}", path.display()));
    }
    fs::guarded(path)
}

/// The text of a secret that nobody else can read.
pub(super) fn secret(path: &Path) -> Result<String, String> {
    if regular(path)?.len() > MOST_SECRET_BYTES {
        return Err("it is too large for a secret".to_owned());
    }
    fs::secret(path)?;
    read_to_string(path).map_err(|e| format!("it cannot be read: {e}"))
}

/// Whether a file holds roots, and nobody else can add one.
pub(super) fn trust_anchor(path: &Path) -> Result<(), String> {
    regular(path)?;
    fs::guarded(path)?;
    let roots = CertificateDer::pem_file_iter(path).map_err(|e| format!("cannot be read: {e}"))?;
    let mut count = 0;
    for root in roots {
        let root = root.map_err(|e| format!("is no PEM file: {e}"))?;
        webpki::anchor_from_trusted_cert(&root)
            .map_err(|e| format!("holds a certificate that cannot be a root: {e}"))?;
        count += 1;
    }
    match count {
        0 => Err("holds no certificate: it must be PEM (-----BEGIN CERTIFICATE-----)".to_owned()),
        _ => Ok(()),
    }
}

/// Whether there is a folder.
pub(super) fn folder(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err("it is no folder".to_owned()),
        Err(e) => Err(why_not(&e)),
    }
}

fn regular(path: &Path) -> Result<Metadata, String> {
    match path.metadata() {
        Ok(meta) if meta.is_file() => Ok(meta),
        Ok(_) => Err("it is no regular file".to_owned()),
        Err(e) => Err(why_not(&e)),
    }
}

fn why_not(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::NotFound => "it does not exist".to_owned(),
        _ => format!("it cannot be looked at: {e}"),
    }
}

/// Notes a state folder that somebody else can write, or that the next boot empties.
pub(super) fn check_state_dir(walk: &mut Walk<'_>, at: Place, path: &Path, may_vanish: bool) {
    // Before the first start it is not there yet; then what it will be made in counts.
    let Some(nearest) = path.ancestors().find(|p| p.exists()) else { return };
    if path.exists() && !path.is_dir() {
        walk.problem(at, format!("the state-dir {} is no folder", path.display()));
    } else if let Err(reason) = guarded_place(path, nearest) {
        walk.problem(at, format!("the state-dir {}: {reason}", path.display()));
    } else if !may_vanish && is_volatile(nearest) {
        let text = format!(
            "the state-dir {} is lost at the next boot, and with it the account and the budget \
             at the CA: choose another, or write ephemeral = true",
            path.display()
        );
        walk.problem(at, text);
    }
}

/// Like [`fs::guarded`], where the path may be yet to be made: then nobody else can remove it from
/// a sticky folder.
fn guarded_place(path: &Path, nearest: &Path) -> Result<(), String> {
    let sticky = |folder: &Path| folder.metadata().is_ok_and(|meta| meta.mode() & 0o1000 != 0);
    match nearest.parent() {
        Some(above) if nearest != path && sticky(nearest) => fs::guarded(above),
        _ => fs::guarded(nearest),
    }
}

/// tmpfs or ramfs (`statfs(2)`).
fn is_volatile(path: &Path) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    // The magic numbers have 32 bits; the type of the field differs between platforms.
    rustix::fs::statfs(path).is_ok_and(|stat| [TMPFS, RAMFS].contains(&(stat.f_type as u32)))
}

/// Notes what stands in the way of the files of a service.
pub(super) fn check_targets(walk: &mut Walk<'_>, owned: &[Owned]) {
    if !walk.options.machine {
        return;
    }
    for Owned { at, path, is_folder } in owned {
        let mounts =
            walk.mounts.get_or_init(|| read_to_string("/proc/self/mountinfo").unwrap_or_default());
        // The folder around those of several certificates is ours, too, and made when it is needed.
        let around = path.parent().filter(|around| is_preset(around) && !around.exists());
        let (path, is_folder) = around.map_or((path.as_path(), *is_folder), |path| (path, true));
        if let Err(reason) = target(path, is_folder, mounts) {
            walk.problem(*at, format!("the target {}: {reason}", path.display()));
        }
    }
}

fn is_preset(dir: &Path) -> bool {
    let presets = Kind::ALL.into_iter().filter_map(Kind::preset);
    presets.filter_map(|preset| preset.target_dir).any(|preset| Path::new(preset) == dir)
}

/// Targets are reached without following links and replaced whole: whatever prevents this is said
/// before the first certificate is ordered.
fn target(path: &Path, is_folder: bool, mounts: &str) -> Result<(), String> {
    let Some(parent) = path.parent() else { return Err("it has no parent folder".to_owned()) };
    let real = match parent.canonicalize() {
        Ok(real) => real,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let parent = parent.display();
            return Err(format!("its folder does not exist: install -d -m 0755 {parent}"));
        }
        Err(e) => return Err(format!("its folder {} is out of reach: {e}", parent.display())),
    };
    if !real.is_dir() {
        return Err(format!("{} is no folder", parent.display()));
    }
    if real.as_os_str() != parent.components().collect::<PathBuf>().as_os_str() {
        let there = real.join(path.file_name().unwrap_or_default());
        return Err(format!("a link leads there; write the real path {}", there.display()));
    }
    let meta = match symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(why_not(&e)),
    };
    if meta.is_symlink() {
        return Err(match path.canonicalize() {
            Ok(real) => {
                format!("it is a link to {}; write that path, or remove the link", real.display())
            }
            Err(e) => format!("it is a link that leads nowhere ({e}); remove it"),
        });
    }
    if let Some(source) = bind_mount(path, mounts) {
        let what = if is_folder { "choose a folder inside it" } else { "mount its folder instead" };
        return Err(format!("{source} is mounted on it, so it cannot be replaced: {what}"));
    }
    match (is_folder, meta.is_dir(), meta.is_file()) {
        (true, true, _) | (false, _, true) => Ok(()),
        (true, ..) => Err("it is no folder; target-dir must be one, or not exist".to_owned()),
        (false, true, _) => Err("it is a folder; name a file in it, or use target-dir".to_owned()),
        (false, ..) => Err("it is no regular file".to_owned()),
    }
}

/// What is mounted on exactly this path (`proc_pid_mountinfo(5)`).
fn bind_mount(path: &Path, mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        (unescaped(point).as_os_str() == path.as_os_str())
            .then(|| unescaped(root).display().to_string())
    })
}

/// Undoes the octal escapes of space, tab, newline and backslash.
fn unescaped(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|o| std::str::from_utf8(o).ok());
        match octal.and_then(|o| u8::from_str_radix(o, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_mounted_target_is_told_with_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("a b.pem");
        std::fs::write(&path, "").unwrap();
        let escaped = path.display().to_string().replace(' ', "\\040");
        let mounts = format!(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             36 22 8:1 /srv/real\\040key.pem {escaped} rw,noatime - ext4 /dev/sda1 rw\n"
        );
        let told = target(&path, false, &mounts).unwrap_err();
        assert!(told.starts_with("/srv/real key.pem is mounted on it"), "{told}");
        assert!(told.ends_with("mount its folder instead"), "{told}");
        assert_eq!(target(&path, false, "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), Ok(()));
    }

    #[test]
    fn escapes_of_the_kernel_are_undone_and_others_left() {
        for (field, path) in [
            ("/a\\040b", "/a b"),
            ("/a\\134", "/a\\"),
            ("/a\\", "/a\\"),
            ("/a\\xyz", "/a\\xyz"),
            ("/ü\\011", "/ü\t"),
        ] {
            assert_eq!(unescaped(field), Path::new(path));
        }
    }
}
