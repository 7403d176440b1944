//! dpkg's own list of what is installed, and apt's lists of what there is: read, without running
//! either of them. `apt-get -s upgrade` says the same for two seconds of a processor.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::policy::version::compare;
use crate::state::software::{Order, Updates};

/// Far above any list that was ever seen.
const MOST_BYTES: u64 = 256 << 20;

/// A package that is installed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) architecture: String,
    pub(super) version: String,
    /// A person said that it stays as it is.
    pub(super) held: bool,
}

/// What is installed; `None` when there is no dpkg.
pub(super) fn packages(root: &Path) -> Result<Option<Vec<Package>>, String> {
    let path = root.join("var/lib/dpkg/status");
    if !path.exists() {
        return Ok(None);
    }
    let mut found = Vec::new();
    paragraphs(&path, |fields| {
        let status = fields.get("Status").map(String::as_str).unwrap_or_default();
        let mut words = status.split(' ');
        let (wish, state) = (words.next(), words.nth(1));
        if state.is_some_and(|state| state == "installed") {
            found.extend(package(fields, wish == Some("hold")));
        }
    })?;
    Ok(Some(found))
}

/// Packages of security suites that are newer than what is installed.
pub(super) fn updates(root: &Path, installed: &[Package]) -> Updates {
    let folder = root.join("var/lib/apt/lists");
    let lists = match lists(&folder) {
        Ok(lists) => lists,
        Err(reason) => return Updates::Unknown(reason),
    };
    let mut ours: BTreeMap<(&str, &str), &Package> = BTreeMap::new();
    for package in installed.iter().filter(|package| !package.held) {
        ours.insert((&package.name, &package.architecture), package);
    }
    let mut waiting = BTreeSet::new();
    for list in &lists {
        let read = paragraphs(list, |fields| {
            let Some(offered) = package(fields, false) else { return };
            let key = (offered.name.as_str(), offered.architecture.as_str());
            let Some(old) = ours.get(&key) else { return };
            if compare(Order::Deb, &old.version, &offered.version).is_lt() {
                waiting.insert(offered.name);
            }
        });
        if let Err(reason) = read {
            return Updates::Unknown(reason);
        }
    }
    Updates::Known {
        packages: waiting.into_iter().collect(),
        indexed_at: indexed_at(root),
        command: "apt-get update && apt-get upgrade",
        refresh: "apt-get update",
    }
}

/// Lists of suites that hold security updates: `..._dists_bookworm-security_main_binary-amd64_Packages`.
fn lists(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let no = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    let (mut plain, mut packed, mut any) = (Vec::new(), false, false);
    for entry in std::fs::read_dir(folder).map_err(no)? {
        let path = entry.map_err(no)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        any |= name.contains("_Packages");
        let suite = name.split("_dists_").nth(1).unwrap_or_default();
        // Before Debian 11 the suite was called buster_updates in an archive of its own.
        if !(suite.contains("-security_") || name.contains("debian-security_dists_")) {
            continue;
        }
        if name.ends_with("_Packages") {
            plain.push(path);
        } else {
            packed |= name.contains("_Packages.");
        }
    }
    if !plain.is_empty() {
        return Ok(plain);
    }
    let reason = if packed {
        "the package index is kept compressed here (Acquire::GzipIndexes), and so it is not read: \
         see apt-get -s upgrade"
    } else if any {
        "no source of security updates is set up for apt: add one to /etc/apt/sources.list"
    } else {
        "there is no package index: fetch one with apt-get update"
    };
    Err(reason.to_owned())
}

/// When the index was fetched last. Files of it keep the server's date: what apt touches at each
/// run tells.
fn indexed_at(root: &Path) -> Option<Timestamp> {
    let marks = ["var/lib/apt/periodic/update-success-stamp", "var/lib/apt/lists/partial"];
    let changed = |name: &&str| -> Option<SystemTime> {
        std::fs::metadata(root.join(name)).and_then(|m| m.modified()).ok()
    };
    let newest = marks.iter().filter_map(changed).max()?;
    Timestamp::try_from(newest).ok()
}

fn package(fields: &BTreeMap<String, String>, held: bool) -> Option<Package> {
    Some(Package {
        name: fields.get("Package")?.clone(),
        architecture: fields.get("Architecture")?.clone(),
        version: fields.get("Version")?.clone(),
        held,
    })
}

/// Hands over the few fields that matter of each paragraph of a control file (deb822(5)).
fn paragraphs(path: &Path, mut each: impl FnMut(&BTreeMap<String, String>)) -> Result<(), String> {
    const WANTED: [&str; 4] = ["Package", "Architecture", "Version", "Status"];

    let no = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut reader = BufReader::new(File::open(path).map_err(no)?.take(MOST_BYTES));
    let (mut line, mut fields) = (Vec::new(), BTreeMap::new());
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(no)?;
        let text = line.trim_ascii_end();
        if text.is_empty() && !fields.is_empty() {
            each(&fields);
            fields.clear();
        }
        if length == 0 {
            return Ok(());
        }
        let field = WANTED.iter().find_map(|name| {
            let rest = text.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
            Some((*name, String::from_utf8_lossy(rest.trim_ascii()).into_owned()))
        });
        if let Some((name, value)) = field {
            fields.insert(name.to_owned(), value);
        }
    }
}
