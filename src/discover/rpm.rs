//! What rpm and dnf say. Their data bases are theirs alone, so they are asked, with a limit.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::Version;
use crate::hook;
use crate::state::software::{Order, Updates};

/// One line for each package.
const FORMAT: &str = "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n";

/// Whether this is a system of RPM packages.
pub(super) fn is_there(root: &Path) -> bool {
    let data = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
    data.iter().any(|folder| root.join(folder).is_dir()) && root.join("usr/bin/rpm").is_file()
}

/// Those of the named packages that are installed; `None` when rpm is silent.
pub(super) async fn versions(
    root: &Path,
    names: &BTreeSet<&str>,
    limit: Duration,
) -> Option<Vec<Version>> {
    let program = root.join("usr/bin/rpm").to_string_lossy().into_owned();
    let head = [program, "-q".to_owned(), "--qf".to_owned(), FORMAT.to_owned()];
    let argv: Vec<String> =
        head.into_iter().chain(names.iter().map(|name| (*name).to_owned())).collect();
    // Its exit code is the number of packages that are not installed.
    let output = hook::run(&argv, &[], limit).await.ok()?;
    Some(output.text.lines().filter_map(|line| version(line, names)).collect())
}

/// `openssl-libs 1:3.0.7-27.el9`; anything else is a sentence.
fn version(line: &str, names: &BTreeSet<&str>) -> Option<Version> {
    let (name, version) = line.split_once(' ')?;
    let version = version.strip_prefix("0:").unwrap_or(version).to_owned();
    let fits = names.contains(name) && crate::policy::version::is_sound(&version);
    fits.then(|| Version { name: name.to_owned(), version, order: Order::Rpm })
}

/// What dnf knows of security updates from its cache (`-C`), without asking anybody.
pub(super) async fn updates(root: &Path, limit: Duration) -> Updates {
    let program = root.join("usr/bin/dnf");
    if !program.is_file() {
        return Updates::Unknown("there is no dnf here to ask for security updates".to_owned());
    }
    let argv = [&*program.to_string_lossy(), "-C", "-q", "updateinfo", "list", "--security"];
    let output = match hook::run(&argv.map(str::to_owned), &[], limit).await {
        Ok(output) => output,
        Err(hook::Error::TimedOut { .. }) => {
            let text = format!("dnf did not answer within {} s", limit.as_secs());
            return Updates::Unknown(text);
        }
        Err(error) => return Updates::Unknown(error.to_string()),
    };
    if !output.done() {
        let said = output.text.lines().last().unwrap_or_default();
        return Updates::Unknown(format!("dnf has no package index: {said}"));
    }
    let packages: BTreeSet<String> = output.text.lines().filter_map(waiting).collect();
    Updates::Known {
        packages: packages.into_iter().collect(),
        indexed_at: indexed_at(root),
        command: "dnf upgrade --security",
        refresh: "dnf makecache",
    }
}

/// `RHSA-2026:1234 Important/Sec. openssl-libs-1:3.0.7-28.el9.x86_64`, dates behind it in newer
/// versions.
fn waiting(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (_, kind, package) = (words.next()?, words.next()?, words.next()?);
    // dnf 5 says `security Important package`.
    let package = if kind.ends_with("Sec.") { package } else { words.next()? };
    let (nevr, _) = package.rsplit_once('.')?;
    let (name_and_version, _) = nevr.rsplit_once('-')?;
    let (name, _) = name_and_version.rsplit_once('-')?;
    Some(name.to_owned())
}

/// When the cache was made or found fresh last.
fn indexed_at(root: &Path) -> Option<Timestamp> {
    let changed = |name: &str| -> Option<SystemTime> {
        std::fs::metadata(root.join(name)).and_then(|m| m.modified()).ok()
    };
    let marks = ["var/cache/dnf/last_makecache", "var/cache/dnf/expired_repos.json"];
    let newest = marks.into_iter().filter_map(changed).max()?;
    Timestamp::try_from(newest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_rpm_and_dnf_are_read() {
        let names = BTreeSet::from(["openssl-libs", "asterisk"]);
        let found = version("openssl-libs 1:3.0.7-27.el9", &names).unwrap();
        assert_eq!(
            (found.name.as_str(), found.version.as_str()),
            ("openssl-libs", "1:3.0.7-27.el9")
        );
        assert_eq!(version("asterisk 0:20.5.0-1", &names).unwrap().version, "20.5.0-1");
        assert_eq!(version("package kamailio is not installed", &names), None);
        assert_eq!(version("asterisk is not installed", &names), None);
        let line = "RHSA-2026:1234 Important/Sec. openssl-libs-1:3.0.7-28.el9.x86_64";
        assert_eq!(waiting(line).as_deref(), Some("openssl-libs"));
        let line = "FEDORA-2026-1 security Moderate kernel-core-6.1-1.fc43.x86_64 2026-11-01";
        assert_eq!(waiting(line).as_deref(), Some("kernel-core"));
        for bad in ["", "Last metadata expiration check", "x"] {
            let _ = waiting(bad);
        }
    }
}
