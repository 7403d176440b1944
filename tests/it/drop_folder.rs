//! A drop folder in the hands of somebody with bad intentions, or bad luck: nothing hangs, nothing
//! outside is touched, and what lies beside it is taken.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use pbxcert::config::UploadSpec;
use pbxcert::store::{DropFolder, Dropped, FileKey};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// What rests for so long counts as whole where somebody swaps files.
const REST: Duration = Duration::from_millis(100);

/// Nothing may take longer.
const LIMIT: Duration = Duration::from_secs(5);

const SECRET: &str = "SECRET OF SOMEBODY ELSE";

struct Folder {
    dir: tempfile::TempDir,
    drop: DropFolder,
    path: PathBuf,
    secret: PathBuf,
    secret_was: (u64, i64, u64),
}

impl Folder {
    /// With an honest certificate in it, and a secret outside.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let path = root.join("drop/pbx");
        let secret = root.join("secret.pem");
        std::fs::write(&secret, SECRET).unwrap();
        let secret_was = stamp(&secret);
        let drop = DropFolder::open(&UploadSpec {
            dir: path.clone(),
            group: None,
            poll: false,
            trust_anchor: None,
            fetch_intermediates: false,
        });
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("good.pem"), "GOOD").unwrap();
        Self { dir, drop: drop.unwrap(), path, secret, secret_was }
    }

    fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// What is there once quiet, within the limit.
    fn look(&self) -> Dropped {
        let begun = Instant::now();
        let dropped = self.drop.look(quiet()).unwrap();
        assert!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
        dropped
    }

    /// The one file that is taken is the honest one, and this is said of the other one.
    fn refuses(&self, name: &str, words: &str) {
        let dropped = self.look();
        assert_eq!(names(&dropped), ["good.pem"], "{name}");
        let said = dropped.refused.iter().find(|(told, _)| told == name);
        let said = &said.unwrap_or_else(|| panic!("{name}: {:?}", dropped.refused)).1;
        assert!(said.contains(words), "{name}: {said}");
        self.nothing_outside_is_touched();
    }

    /// Decides on what is there, both ways.
    fn decide(&self) {
        let begun = Instant::now();
        let now = quiet();
        self.drop.rejected(&keys_of(&self.look(), "x"), "no", now).unwrap();
        self.drop.waiting("missing: a key").unwrap();
        self.drop.rejected_lately(now).unwrap();
        self.drop.accepted(&self.look().keys(), &[], "yes", now).unwrap();
        self.drop.sweep(now + SignedDuration::from_hours(31 * 24)).unwrap();
        assert!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
        self.nothing_outside_is_touched();
    }

    fn nothing_outside_is_touched(&self) {
        assert_eq!(std::fs::read_to_string(&self.secret).unwrap(), SECRET);
        assert_eq!(stamp(&self.secret), self.secret_was);
        let mut outside: Vec<_> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        outside.sort();
        assert_eq!(outside, ["drop", "secret.pem"]);
    }
}

/// Ends the other side of a race, also when an assertion fails: its scope would wait for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn stamp(path: &Path) -> (u64, i64, u64) {
    let metadata = path.metadata().unwrap();
    (metadata.ino(), metadata.mtime_nsec(), u64::from(metadata.mode()))
}

fn quiet() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(10)
}

fn names(dropped: &Dropped) -> Vec<&str> {
    dropped.files.iter().map(|file| file.file.name.as_str()).collect()
}

fn keys_of(dropped: &Dropped, name: &str) -> Vec<FileKey> {
    let files = dropped.files.iter().filter(|file| file.file.name.contains(name));
    files.map(|file| file.key.clone()).collect()
}

fn node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), device).unwrap();
}

#[test]
fn links_of_every_kind_are_refused_and_not_followed() {
    for (target, name) in [
        ("../../secret.pem", "to-a-secret"),
        ("/etc/shadow", "to-the-system"),
        ("to-itself", "to-itself"),
        ("nowhere", "dangling"),
        ("good.pem", "to-a-neighbour"),
        (".", "to-its-folder"),
        ("/proc/self/fd/0", "to-our-input"),
        ("/dev/zero", "endless"),
    ] {
        let folder = Folder::new();
        symlink(target, folder.at(name)).unwrap();
        folder.refuses(name, "a symbolic link");
        folder.decide();
        assert!(folder.at(name).is_symlink());
    }
    let folder = Folder::new();
    symlink("../../secret.pem", folder.at("password.txt")).unwrap();
    folder.refuses("password.txt", "a symbolic link");
    let folder = Folder::new();
    std::fs::hard_link(&folder.secret, folder.at("hard.pem")).unwrap();
    folder.refuses("hard.pem", "one of 2 names of the same file");
    folder.decide();
    assert!(folder.at("hard.pem").exists());
}

#[test]
fn what_is_no_file_is_refused_and_waited_for_by_nobody() {
    let folder = Folder::new();
    node(&folder.at("pipe.pem"), FileType::Fifo, 0);
    folder.refuses("pipe.pem", "a pipe");
    let _socket = UnixListener::bind(folder.at("socket.pem")).unwrap();
    folder.refuses("socket.pem", "a socket");
    std::fs::create_dir_all(folder.at("folder.pem/a/b/c")).unwrap();
    symlink("../../..", folder.at("folder.pem/a/b/c/loop")).unwrap();
    folder.refuses("folder.pem", "put the files themselves here");
    if nix::unistd::Uid::effective().is_root() {
        // /dev/zero, and the disk that nobody has. Only root can make them.
        node(&folder.at("zero.pem"), FileType::CharacterDevice, makedev(1, 5));
        node(&folder.at("disk.pem"), FileType::BlockDevice, makedev(259, 99));
        folder.refuses("zero.pem", "a device");
        folder.refuses("disk.pem", "a device");
    }
    folder.decide();
    assert!(folder.at("pipe.pem").exists() && folder.at("folder.pem/a/b/c/loop").is_symlink());
}

#[test]
fn names_are_taken_as_they_are_and_shown_harmless() {
    let long = format!("{}.pem", "n".repeat(251));
    for (name, shown) in [
        (&b"new\nline.pem"[..], r"new\nline.pem"),
        (b"\x1b[2J\x1b[31mred.pem", r"\u{1b}[2J\u{1b}[31mred.pem"),
        (b"..x", ""),
        (b"...", ""),
        (b"x..", "x.."),
        (b"$(reboot)`reboot`;reboot", "$(reboot)`reboot`;reboot"),
        (b"-rf", "-rf"),
        (b"%s%n", "%s%n"),
        (b"\xc3\x28\xff.pem", r"\xc3(\xff.pem"),
        ("\u{202e}mep.x".as_bytes(), r"\u{202e}mep.x"),
        (long.as_bytes(), &long),
        (b"REASON.txt\r", r"REASON.txt\r"),
        (b"accepted ", "accepted "),
    ] {
        let folder = Folder::new();
        std::fs::write(folder.at(OsStr::from_bytes(name)), "STRANGE").unwrap();
        let dropped = folder.look();
        let mut wanted = vec!["good.pem", shown];
        wanted.retain(|name| !name.is_empty());
        wanted.sort_unstable();
        let mut seen = names(&dropped);
        seen.sort_unstable();
        assert_eq!(seen, wanted);
        let strange = dropped.files.iter().filter(|file| &**file.file.bytes == b"STRANGE");
        let keys: Vec<FileKey> = strange.map(|file| file.key.clone()).collect();
        folder.drop.rejected(&keys, "no", quiet()).unwrap();
        let refused = folder.drop.rejected_lately(quiet()).unwrap();
        assert_eq!(refused.len(), keys.len());
        assert!(refused.iter().all(|file| file.file.name == shown));
        assert!(refused.iter().all(|file| **file.file.bytes == *b"STRANGE"));
        let mut all = folder.look().keys();
        all.extend(refused.into_iter().map(|file| file.key));
        folder.drop.accepted(&all, &[], "yes", quiet()).unwrap();
        assert!(folder.drop.rejected_lately(quiet()).unwrap().is_empty());
        assert!(folder.look().files.is_empty());
        folder.nothing_outside_is_touched();
    }
}

#[test]
fn ten_thousand_files_cost_little_and_the_newest_are_read() {
    let folder = Folder::new();
    std::fs::remove_file(folder.at("good.pem")).unwrap();
    for n in 0..5_000 {
        std::fs::write(folder.at(format!("{n}.pem")), "BAD").unwrap();
        symlink("nowhere", folder.at(format!("link-{n}"))).unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(folder.at("good.pem"), "GOOD").unwrap();
    let dropped = folder.look();
    assert_eq!(dropped.files.len(), 16);
    assert!(names(&dropped).contains(&"good.pem"));
    assert!(dropped.refused.len() <= 18, "{}", dropped.refused.len());
    let said: Vec<&str> = dropped.refused.iter().map(|(name, _)| name.as_str()).collect();
    assert!(said.contains(&"4985 more files") && said.contains(&"4984 more"), "{said:?}");
    assert_eq!(folder.look().refused, dropped.refused, "the same is said at each look");
    // Refused ones make room for those that came before them.
    folder.drop.rejected(&dropped.keys(), "no", quiet()).unwrap();
    let next = folder.look();
    assert_eq!(next.files.len(), 16);
    assert!(!names(&next).contains(&"good.pem"));
    folder.decide();
}

#[test]
fn what_is_too_large_is_never_read() {
    let folder = Folder::new();
    let sparse = std::fs::File::create(folder.at("sparse.pem")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::fs::write(folder.at("one-more.pem"), vec![b'x'; (256 << 10) + 1]).unwrap();
    std::fs::write(folder.at("password.txt"), vec![b'x'; 1025]).unwrap();
    folder.refuses("sparse.pem", "larger than 256 KiB, which no certificate or key is");
    folder.refuses("one-more.pem", "larger than 256 KiB");
    folder.refuses("password.txt", "larger than 1 KiB, which no password is");
    std::fs::write(folder.at("one-more.pem"), vec![b'x'; 256 << 10]).unwrap();
    std::fs::write(folder.at("password.txt"), b"\xc3\x28").unwrap();
    let dropped = folder.look();
    assert_eq!(names(&dropped), ["good.pem", "one-more.pem"]);
    assert!(dropped.password.is_none());
    assert!(
        dropped.refused.iter().any(|(name, why)| name == "password.txt" && why.contains("UTF-8"))
    );
    folder.decide();
}

#[test]
fn a_file_that_is_swapped_all_the_time_never_leads_outside() {
    let folder = Folder::new();
    let stop = AtomicBool::new(false);
    let (victim, link) = (folder.at("x.pem"), folder.at(".link"));
    std::thread::scope(|scope| {
        let _ends = Stop(&stop);
        scope.spawn(|| {
            for round in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let _ = std::fs::write(folder.at(".file"), "SWAPPED");
                let _ = std::fs::rename(folder.at(".file"), &victim);
                if round.is_multiple_of(50) {
                    // Long enough to be found at rest, so that there is something to swap then.
                    std::thread::sleep(REST + Duration::from_millis(20));
                }
                let _ = symlink("../../secret.pem", &link);
                let _ = std::fs::rename(&link, &victim);
                let _ = std::fs::hard_link(&folder.secret, folder.at(".hard"));
                let _ = std::fs::rename(folder.at(".hard"), &victim);
                let _ = std::fs::remove_file(&victim);
                let _ = std::fs::create_dir(&victim);
                let _ = std::fs::remove_dir(&victim);
            }
        });
        let begun = Instant::now();
        let mut read = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            let begun = Instant::now();
            // What has just changed is not quiet here: the clock is not set ahead by seconds, as in
            // the other tests, since being quiet is what guards against this.
            let soon = Timestamp::now() + SignedDuration::from_secs(1)
                - SignedDuration::try_from(REST).unwrap();
            let dropped = folder.drop.look(soon).unwrap();
            assert!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
            for file in &dropped.files {
                let bytes = String::from_utf8_lossy(&file.file.bytes).into_owned();
                assert!(["GOOD", "SWAPPED", ""].contains(&bytes.as_str()), "{bytes}");
                read += usize::from(bytes == "SWAPPED");
            }
            let keys = keys_of(&dropped, "x.pem");
            folder.drop.rejected(&keys, "no", quiet()).unwrap();
            for file in folder.drop.rejected_lately(quiet()).unwrap() {
                assert_ne!(&**file.file.bytes, SECRET.as_bytes());
            }
            folder.drop.accepted(&keys, &[], "yes", quiet()).unwrap();
        }
        assert!(read > 0, "the race was never lost by the other side");
    });
    for name in [".hard", ".link", ".file"] {
        let _ = std::fs::remove_file(folder.at(name));
    }
    assert_eq!(std::fs::read_to_string(&folder.secret).unwrap(), SECRET);
    // What is refused is never somebody else's file.
    for entry in std::fs::read_dir(folder.at("rejected")).unwrap() {
        for file in std::fs::read_dir(entry.unwrap().path()).unwrap() {
            let file = file.unwrap();
            assert!(file.file_type().unwrap().is_file(), "{:?}", file.path());
            assert_ne!(file.metadata().unwrap().ino(), folder.secret_was.0);
        }
    }
}

#[test]
fn a_file_that_grows_without_end_holds_its_neighbour_up_for_seconds_only() {
    use std::io::Write as _;

    let folder = Folder::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Stop(&stop);
        scope.spawn(|| {
            let mut file = std::fs::File::create(folder.at("growing.pem")).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"x").unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let begun = Instant::now();
        let found = loop {
            let dropped = folder.drop.look(Timestamp::now()).unwrap();
            assert!(!names(&dropped).contains(&"growing.pem"), "it is never whole");
            if begun.elapsed() > Duration::from_millis(500) {
                let quiet_at = dropped.quiet_at.expect("it is still written");
                assert!(quiet_at > Timestamp::now() - SignedDuration::from_secs(1));
            }
            if names(&dropped) == ["good.pem"] {
                break begun.elapsed();
            }
            if begun.elapsed() > LIMIT {
                break begun.elapsed();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(found < LIMIT, "the neighbour was not taken");
    });
    assert_eq!(names(&folder.look()), ["good.pem", "growing.pem"], "it came to rest");
}

#[test]
fn a_member_of_the_group_can_upload_and_read_the_answer_and_no_more() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    const GROUP: u32 = 12345;
    if !nix::unistd::Uid::effective().is_root() {
        // Only root can be somebody else.
        return;
    }
    let folder = Folder::new();
    std::fs::set_permissions(folder.dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let spec = UploadSpec {
        dir: folder.path.clone(),
        group: Some(GROUP.to_string()),
        poll: false,
        trust_anchor: None,
        fetch_intermediates: false,
    };
    DropFolder::open(&spec).unwrap();
    let can = |uid: u32, program: &str, path: &Path| {
        let mut command = Command::new(program);
        command.arg(path).uid(uid).gid(GROUP).stdin(Stdio::null());
        let output = command.stdout(Stdio::piped()).stderr(Stdio::null()).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    assert!(can(2001, "tee", &folder.at("theirs.pem")).is_some(), "it can be put there");
    assert!(can(2001, "ls", &folder.path).is_none(), "but not be listed");
    assert!(can(2001, "rm", &folder.at("good.pem")).is_none(), "nor others' be removed");
    assert!(can(2002, "rm", &folder.at("theirs.pem")).is_none(), "nor another member's");
    let dropped = folder.look();
    assert_eq!(names(&dropped), ["good.pem", "theirs.pem"]);
    assert_eq!(dropped.files.iter().map(|file| file.uid).collect::<Vec<_>>(), [0, 2001]);
    folder.drop.waiting("missing: a key").unwrap();
    folder.drop.rejected(&keys_of(&dropped, "theirs"), "it is empty", quiet()).unwrap();
    let read = |name: &str| can(2001, "cat", &folder.at(name));
    assert_eq!(read("REASON.txt").as_deref(), Some("it is empty"));
    assert_eq!(read("WAITING.txt").as_deref(), Some("missing: a key"));
    assert!(can(2001, "ls", &folder.at("rejected")).is_none(), "what is refused is ours");
    folder.drop.accepted(&folder.look().keys(), &[], "it is live", quiet()).unwrap();
    let time = can(2001, "ls", &folder.at("accepted")).unwrap();
    let told = format!("accepted/{}/ACCEPTED.txt", time.trim());
    assert_eq!(read(&told).as_deref(), Some("it is live"));
    assert!(can(2001, "rm", &folder.at(&told)).is_none());
}
