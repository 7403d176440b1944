//! What runs by itself on a host: cron and the timers of systemd, as files.

use std::fs;
use std::path::{Path, PathBuf};

/// Everything that is planned, read once.
pub(super) struct Planned {
    /// Where it stands, and its lines that are no comments.
    files: Vec<(PathBuf, String)>,
    /// Units that start by themselves.
    units: Vec<String>,
}

impl Planned {
    /// Reads the tables of cron and the units that are enabled, below `root`. What cannot be read is
    /// left out: who is not root sees less.
    pub(super) fn read(root: &Path) -> Self {
        let tables = ["etc/crontab"].map(|path| root.join(path)).to_vec();
        let folders = CRON.iter().flat_map(|folder| list(&root.join(folder)));
        let paths = tables.into_iter().chain(folders).take(MOST);
        let files = paths.filter_map(|path| {
            let text = read(&path)?;
            let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            Some((path.clone(), lines.collect::<Vec<_>>().join("\n")))
        });
        let units = WANTS.iter().flat_map(|folder| list(&root.join(folder)));
        let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Self { files: files.collect(), units: units.filter_map(name).collect() }
    }

    /// The first table of cron that says a word in one of its lines, or has it for a name.
    pub(super) fn cron(&self, word: &str) -> Option<&Path> {
        let says = |(path, text): &&(PathBuf, String)| {
            text.contains(word) || path.file_name().is_some_and(|name| name == word)
        };
        self.files.iter().find(says).map(|(path, _)| path.as_path())
    }

    /// Whether a unit starts by itself.
    pub(super) fn starts(&self, unit: &str) -> bool {
        self.units.iter().any(|there| there == unit)
    }
}

/// What lies in a folder, in order, bounded; nothing where it cannot be listed.
pub(super) fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.take(MOST).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// A file of a sensible size, as text; `None` where there is none.
pub(super) fn read(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok().filter(|meta| meta.is_file() && meta.len() <= LONGEST)?;
    let bytes = fs::read(path).ok().filter(|_| meta.len() <= LONGEST)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

const CRON: [&str; 7] = [
    "etc/cron.d",
    "etc/cron.hourly",
    "etc/cron.daily",
    "etc/cron.weekly",
    "etc/cron.monthly",
    "var/spool/cron/crontabs",
    "var/spool/cron",
];

const WANTS: [&str; 3] = [
    "etc/systemd/system/timers.target.wants",
    "etc/systemd/system/multi-user.target.wants",
    "etc/systemd/system/default.target.wants",
];

/// Entries of one folder that are looked at.
const MOST: usize = 300;

const LONGEST: u64 = 256 * 1024;
