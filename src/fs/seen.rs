//! What lies under a name, as far as that tells without opening it.

use rustix::fs::FileType;

use super::open;

/// What a name stands for, without following it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    kind: FileType,
    /// Device that it lies on.
    pub device: u64,
    /// Inode on the device.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// How many names it has.
    pub links: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// When its content changed, in nanoseconds since 1970; its owner can set it.
    pub modified: i64,
    /// When anything about it changed, in nanoseconds since 1970; nobody can set it.
    pub changed: i64,
}

impl Seen {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// What it is, for a person: "a symbolic link".
    pub fn what(&self) -> &'static str {
        open::kind_in_words(self.kind)
    }

    #[allow(clippy::useless_conversion, reason = "some widths differ between processors")]
    pub(super) fn of(stat: &rustix::fs::Stat) -> Self {
        let nanoseconds = |seconds: i64, rest: u64| {
            seconds.saturating_mul(1_000_000_000).saturating_add_unsigned(rest)
        };
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            links: stat.st_nlink.into(),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}
