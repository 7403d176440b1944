use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

/// A system in a folder.
struct Root {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        Self { _dir: dir, path }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh\n{text}\n"));
        let path = self.path.join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn installed(&self, more: &[&str]) -> Vec<Installed> {
        let more = more.iter().map(|name| (*name).to_owned()).collect();
        System::read(&self.path).installed(&self.path, &[], &more).await
    }
}

const DEBIAN: &str =
    "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";

fn status(packages: &[(&str, &str, &str)]) -> String {
    let one = |(name, state, version): &(&str, &str, &str)| {
        format!(
            "Package: {name}\nStatus: {state}\nArchitecture: amd64\nVersion: {version}\n\
             Description: a package\n Version: 99 is only said here\n\n"
        )
    };
    packages.iter().map(one).collect()
}

fn word(found: &[Installed], product: &str) -> String {
    let one = |f: &Installed| {
        let version = f.version.clone().unwrap_or_else(|reason| reason);
        format!("{version} by {}", f.source)
    };
    found.iter().filter(|f| f.product == product).map(one).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn dpkg_says_what_is_installed_and_what_it_is_not() {
    let root = Root::new();
    root.write("etc/os-release", DEBIAN);
    root.write(
        "var/lib/dpkg/status",
        &status(&[
            ("libssl3", "install ok installed", "3.0.15-1~deb12u1"),
            ("libssl1.1", "deinstall ok config-files", "1.1.1w-0+deb11u1"),
            ("asterisk", "hold ok installed", "1:16.28.0~dfsg-0+deb12u4"),
            ("apache2-bin", "install ok installed", "2.4.62-1~deb12u2"),
            ("kamailio", "install ok half-configured", "5.6.3-2"),
        ]),
    );
    let found = root.installed(&["apache", "asterisk", "kamailio", "-e", "../x"]).await;
    assert_eq!(word(&found, "openssl"), "3.0.15-1~deb12u1 by dpkg");
    assert_eq!(word(&found, "asterisk"), "1:16.28.0~dfsg-0+deb12u4 by dpkg");
    assert_eq!(word(&found, "kamailio"), "");
    assert_eq!(word(&found, "apache"), "2.4.62-1~deb12u2 by dpkg", "by its packages");
    assert_eq!(word(&found, "pbxcert"), format!("{} by this program", env!("CARGO_PKG_VERSION")));
    assert_eq!(System::read(&root.path).release, ["debian-12", "debian"]);
}

#[tokio::test]
async fn rpm_is_asked_and_dnf_from_its_cache_alone() {
    let root = Root::new();
    root.write("etc/os-release", "ID=\"rocky\"\nVERSION_ID=\"9.4\"\nID_LIKE=\"rhel centos\"\n");
    root.write("var/lib/rpm/rpmdb.sqlite", "");
    root.program(
        "usr/bin/rpm",
        "[ \"$1 $2\" = '-q --qf' ] || exit 9\n\
         echo 'openssl-libs 1:3.0.7-27.el9'; echo 'package asterisk is not installed'; exit 1",
    );
    let system = System::read(&root.path);
    assert_eq!(
        system.release,
        [
            "rocky-9.4",
            "rocky-9",
            "rocky",
            "rhel-9.4",
            "rhel-9",
            "rhel",
            "centos-9.4",
            "centos-9",
            "centos"
        ]
    );
    assert_eq!(word(&root.installed(&[]).await, "openssl"), "1:3.0.7-27.el9 by rpm");
    let updates = system.updates(&root.path).await;
    assert!(matches!(&updates, Updates::Unknown(why) if why.contains("no dnf")), "{updates:?}");
    root.program(
        "usr/bin/dnf",
        "[ \"$1\" = -C ] || exit 9\n\
         echo 'RHSA-2026:1 Important/Sec. openssl-libs-1:3.0.7-28.el9.x86_64'",
    );
    let updates = system.updates(&root.path).await;
    assert!(
        matches!(&updates, Updates::Known { packages, .. } if packages == &["openssl-libs"]),
        "{updates:?}"
    );
    root.program("usr/bin/dnf", "echo 'Cache-only enabled but no cache for baseos'; exit 1");
    let updates = system.updates(&root.path).await;
    assert!(matches!(&updates, Updates::Unknown(why) if why.contains("no cache")), "{updates:?}");
    root.program("usr/bin/dnf", "exec sleep 60");
    let updates = system.updates(&root.path).await;
    assert!(matches!(&updates, Updates::Unknown(why) if why.contains("within 2 s")), "{updates:?}");
}

#[tokio::test]
async fn a_program_without_a_package_says_its_own_version() {
    let root = Root::new();
    assert_eq!(word(&root.installed(&[]).await, "openssl"), "", "nobody said that it is there");
    root.program("usr/bin/openssl", "[ \"$1\" = version ] && echo 'OpenSSL 3.0.15 3 Sep 2024'");
    let path = root.path.join("usr/bin/openssl");
    let said = format!("3.0.15 by {}", path.display());
    assert_eq!(word(&root.installed(&[]).await, "openssl"), said);
    // Whoever can write a program could have it run as root.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(word(&root.installed(&[]).await, "openssl"), "");
}

#[tokio::test]
async fn updates_are_those_of_security_suites_that_are_newer() {
    let root = Root::new();
    let lists = "var/lib/apt/lists";
    let security =
        "deb.debian.org_debian-security_dists_bookworm-security_main_binary-amd64_Packages";
    let rest = "deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages";
    root.write(
        "var/lib/dpkg/status",
        &status(&[
            ("libssl3", "install ok installed", "3.0.14-1~deb12u2"),
            ("nginx", "hold ok installed", "1.22.1-9"),
            ("bash", "install ok installed", "5.2.15-2+b8"),
        ]),
    );
    let updates = async || System::read(&root.path).updates(&root.path).await;
    let known = async || match updates().await {
        Updates::Known { packages, indexed_at, .. } => {
            assert!(indexed_at.is_some());
            packages
        }
        other => panic!("{other:?}"),
    };
    let why = async || match updates().await {
        Updates::Unknown(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(why().await.contains("cannot read"));
    root.write(&format!("{lists}/partial/x"), "");
    assert!(why().await.contains("no package index"));
    root.write(&format!("{lists}/{rest}"), &status(&[("bash", "", "5.2.15-2+b13")]));
    assert!(why().await.contains("no source of security updates"));
    root.write(&format!("{lists}/{security}.lz4"), "x");
    assert!(why().await.contains("compressed"));
    let offered = [("libssl3", "", "3.0.14-1~deb12u1"), ("nginx", "", "1.22.1-9+deb12u1")];
    root.write(&format!("{lists}/{security}"), &status(&offered));
    assert!(known().await.is_empty(), "older, or held");
    let offered = [("libssl3", "", "3.0.14-1~deb12u1"), ("libssl3", "", "3.0.15-1~deb12u1")];
    root.write(&format!("{lists}/{security}"), &status(&offered));
    assert_eq!(known().await, ["libssl3"]);
    root.write(
        "var/lib/dpkg/status",
        &status(&[("libssl3", "install ok installed", "3.0.15-1~deb12u1")]),
    );
    assert!(known().await.is_empty());
    // Cut off, and no text at all.
    root.write(&format!("{lists}/{security}"), "Package: libssl3\nVersion");
    assert!(known().await.is_empty());
    std::fs::write(root.path.join(lists).join(security), [0xff, 0, b'\n', 0xff]).unwrap();
    assert!(known().await.is_empty());
}

/// This machine, by dpkg-query and apt-get: another way to the same answer.
#[tokio::test]
async fn dpkg_query_and_apt_get_say_the_same_of_this_machine() {
    let run = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let format = "-f=${db:Status-Status} ${Package} ${Version}\n";
    let Some(list) = run("dpkg-query", &["-W", format]) else { return };
    let Ok(Some(ours)) = debian::packages(Path::new("/")) else { panic!("dpkg is here") };
    let mut theirs: Vec<(&str, &str)> =
        list.lines().filter_map(|line| line.strip_prefix("installed ")?.split_once(' ')).collect();
    let mut ours: Vec<(&str, &str)> =
        ours.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
    // The security list of this machine, unpacked when it is kept packed.
    let root = Root::new();
    let folder = Path::new("/var/lib/apt/lists");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(at) = name.find("_Packages").filter(|_| name.contains("-security_")) {
            let path = entry.path().display().to_string();
            let text = run("/usr/lib/apt/apt-helper", &["cat-file", &path]).unwrap();
            let plain = &name[..at + "_Packages".len()];
            root.write(&format!("var/lib/apt/lists/{plain}"), &text);
        }
    }
    let installed = debian::packages(Path::new("/")).unwrap().unwrap();
    let Updates::Known { packages, .. } = debian::updates(&root.path, &installed) else { return };
    let options = ["-s", "-qq", "-o", "Debug::NoLocking=1", "dist-upgrade"];
    let Some(simulated) = run("apt-get", &options) else { return };
    let theirs: BTreeSet<&str> = simulated
        .lines()
        .filter(|line| line.starts_with("Inst ") && line.contains('['))
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    // Every one of ours is one of theirs; theirs are more: not only security suites.
    let wrong: Vec<&String> =
        packages.iter().filter(|package| !theirs.contains(package.as_str())).collect();
    assert!(wrong.is_empty(), "apt-get would not upgrade {wrong:?}");
    let by_security = |line: &&str| line.starts_with("Inst ") && line.contains("-security");
    let missing: Vec<&str> = simulated
        .lines()
        .filter(by_security)
        .filter(|line| line.contains('['))
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|name| !packages.iter().any(|package| package == name))
        .collect();
    assert!(missing.is_empty(), "only apt-get knows {missing:?}");
}

#[test]
fn names_from_documents_are_names() {
    for good in ["asterisk", "libssl1.1", "g++", "openssl-libs", "3proxy"] {
        assert!(is_name(good), "{good}");
    }
    for bad in ["", "-e", "--root=/", "a b", "a/b", "*", "ä"] {
        assert!(!is_name(bad), "{bad}");
    }
}
