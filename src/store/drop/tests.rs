#[cfg(debug_assertions)]
mod crash;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;

use super::*;

/// A drop folder in a state folder of its own.
struct Lab {
    _dir: tempfile::TempDir,
    folder: DropFolder,
    path: PathBuf,
}

fn spec(path: &Path) -> UploadSpec {
    UploadSpec {
        dir: path.to_owned(),
        group: None,
        poll: false,
        trust_anchor: None,
        fetch_intermediates: false,
    }
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("drop/pbx");
        let folder = DropFolder::open(&spec(&path)).unwrap();
        Self { _dir: dir, folder, path }
    }

    fn put(&self, name: &str, content: &str) {
        std::fs::write(self.path.join(name), content).unwrap();
    }

    fn look(&self) -> Dropped {
        self.folder.look(later()).unwrap()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path.join(name)).unwrap()
    }

    /// Every path below the folder, in order.
    fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.path, "", &mut found);
        found.sort();
        found
    }
}

fn walk(path: &Path, at: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{at}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{name}/"), found);
        }
        found.push(name);
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// When everything that lies there now is quiet.
fn later() -> Timestamp {
    now() + SignedDuration::from_secs(10)
}

fn names(dropped: &Dropped) -> Vec<&str> {
    dropped.files.iter().map(|file| file.file.name.as_str()).collect()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

const AT: &str = "20260301T120000Z";

fn at() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

#[test]
fn the_folder_is_made_with_its_final_modes_and_left_as_it_is() {
    let lab = Lab::new();
    assert_eq!(mode(lab.path.parent().unwrap()), 0o711);
    assert_eq!(mode(&lab.path), 0o700);
    assert_eq!(mode(&lab.path.join("accepted")), 0o755);
    assert_eq!(mode(&lab.path.join("rejected")), 0o700);
    // Rights that we never give are somebody's wish.
    std::fs::set_permissions(&lab.path, PermissionsExt::from_mode(0o2770)).unwrap();
    DropFolder::open(&spec(&lab.path)).unwrap();
    assert_eq!(mode(&lab.path), 0o2770);
    assert_eq!(lab.tree(), ["accepted", "rejected"]);
}

#[test]
fn a_group_may_write_and_pass_but_not_list() {
    if !is_root() {
        // Only root can give a folder to any group.
        return;
    }
    let lab = Lab::new();
    let grouped = |group: &str| UploadSpec { group: Some(group.to_owned()), ..spec(&lab.path) };
    DropFolder::open(&grouped("12345")).unwrap();
    let gid = |path: &Path| path.metadata().unwrap().gid();
    assert_eq!((mode(&lab.path), gid(&lab.path)), (0o1730, 12345));
    DropFolder::open(&grouped("daemon")).unwrap();
    let daemon = nix::unistd::Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
    assert_eq!((mode(&lab.path), gid(&lab.path)), (0o1730, daemon));
    DropFolder::open(&spec(&lab.path)).unwrap();
    assert_eq!(mode(&lab.path), 0o700);
    let error = DropFolder::open(&grouped("no-such-group")).unwrap_err().to_string();
    assert!(error.contains("there is no group no-such-group; run `groupadd"), "{error}");
    std::fs::remove_dir_all(&lab.path).unwrap();
    DropFolder::open(&grouped("12345")).unwrap();
    assert_eq!((mode(&lab.path), gid(&lab.path)), (0o1730, 12345));
}

#[test]
fn a_group_that_cannot_be_given_is_told_with_the_next_step() {
    use std::os::unix::process::CommandExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "store::drop::tests::the_work_of_somebody_else", "--ignored"]);
    child.env("PBXCERT_TEST_DROP", path.join("drop/pbx"));
    if is_root() {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
        child.uid(65534).gid(65534);
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    assert_eq!(std::fs::read_dir(path.join("drop")).unwrap().count(), 0, "nothing half is left");
}

#[test]
#[ignore = "run by the test above, in a process of its own that is not root's"]
fn the_work_of_somebody_else() {
    let Some(path) = std::env::var_os("PBXCERT_TEST_DROP") else { return };
    let spec = UploadSpec { group: Some("0".to_owned()), ..spec(Path::new(&path)) };
    let error = DropFolder::open(&spec).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "pbx: the system does not let us give it to the group 0; make it yourself where its \
             files are kept, writable for the uploaders, and leave out `drop-group`"
        ),
        "{error}"
    );
}

#[test]
fn a_way_that_others_can_change_is_not_gone() {
    let dir = tempfile::tempdir().unwrap();
    let way = dir.path().canonicalize().unwrap().join("way");
    std::fs::create_dir(&way).unwrap();
    std::fs::set_permissions(&way, PermissionsExt::from_mode(0o777)).unwrap();
    for path in [way.join("pbx"), way.join("drop/pbx")] {
        let error = DropFolder::open(&spec(&path)).unwrap_err().to_string();
        assert!(error.contains("everybody can write") && error.contains("chmod go-w"), "{error}");
    }
    assert_eq!(std::fs::read_dir(&way).unwrap().count(), 0);
    std::fs::set_permissions(&way, PermissionsExt::from_mode(0o755)).unwrap();
    symlink("/etc", way.join("pbx")).unwrap();
    let error = DropFolder::open(&spec(&way.join("pbx"))).unwrap_err().to_string();
    assert!(error.contains("a symbolic link is in its place; remove that"), "{error}");
    assert!(DropFolder::open(&spec(Path::new("/no/such/way/pbx"))).is_err());
}

#[test]
fn what_was_uploaded_is_read_once_it_is_quiet() {
    let lab = Lab::new();
    lab.put("b.pem", "B");
    lab.put("a.pem", "A");
    lab.put("password.txt", "pass word \r\n");
    lab.put("notes.txt~", "unfinished");
    lab.put(".a.pem.swp", "unfinished");
    let soon = lab.folder.look(now()).unwrap();
    assert!(soon.files.is_empty() && soon.password.is_none());
    let wait = soon.quiet_at.unwrap().duration_since(now());
    assert!(wait < SignedDuration::from_millis(1001), "{wait}");
    let dropped = lab.look();
    assert_eq!(names(&dropped), ["a.pem", "b.pem"]);
    assert_eq!(*dropped.files[0].file.bytes, b"A");
    assert_eq!(dropped.password.as_ref().unwrap().as_str(), "pass word ");
    assert_eq!(dropped.keys().len(), 3);
    assert_eq!((dropped.quiet_at, dropped.refused.len()), (None, 0));
    assert_eq!(dropped.files[0].uid, nix::unistd::Uid::effective().as_raw());
}

#[test]
fn a_file_from_the_future_or_the_past_holds_nobody_up() {
    let lab = Lab::new();
    for (name, seconds) in [("future", 4_000_000_000), ("past", 1)] {
        lab.put(name, name);
        let file = std::fs::File::options().write(true).open(lab.path.join(name)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    }
    assert!(lab.folder.look(now()).unwrap().quiet_at.is_some(), "both came just now");
    let dropped = lab.look();
    assert_eq!(names(&dropped), ["future", "past"]);
    let age = now().duration_since(dropped.files[1].written_at);
    assert!(age < SignedDuration::from_mins(1), "it came now, whatever its writer says: {age}");
    // Not written since the clock was set back by an hour.
    let back = now() - SignedDuration::from_hours(1);
    let dropped = lab.folder.look(back).unwrap();
    assert_eq!((names(&dropped), dropped.quiet_at), (vec!["future", "past"], None));
    assert_eq!(dropped.files[0].written_at, back);
}

#[test]
fn a_file_that_never_comes_to_rest_holds_no_other_up() {
    let lab = Lab::new();
    lab.put("cert.pem", "A");
    std::thread::sleep(std::time::Duration::from_millis(50));
    lab.put("log", "growing");
    let changed = |name: &str| {
        let seen = crate::fs::Folder::open(&lab.path).unwrap().look(name.as_ref());
        Timestamp::from_nanosecond(seen.unwrap().unwrap().changed.into()).unwrap()
    };
    // They may belong together ...
    let dropped = lab.folder.look(changed("log") + SignedDuration::from_millis(999)).unwrap();
    assert_eq!(names(&dropped), [""; 0]);
    assert_eq!(dropped.quiet_at, Some(changed("log") + SignedDuration::from_secs(1)));
    // ... but what has been whole for four seconds is taken.
    for wait in 0..40 {
        lab.put("log", &"growing".repeat(wait));
        let at = changed("cert.pem") + SignedDuration::from_secs(4);
        if changed("log") + SignedDuration::from_secs(1) > at {
            let dropped = lab.folder.look(at).unwrap();
            assert_eq!(names(&dropped), ["cert.pem"]);
            assert!(dropped.quiet_at.is_some_and(|quiet| quiet > at));
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("the log did not come near");
}

#[test]
fn accepted_files_go_and_their_public_parts_stay() {
    let lab = Lab::new();
    lab.put("cert.pem", "CERT");
    lab.put("key.pem", "KEY");
    lab.put("password.txt", "secret");
    lab.folder.waiting("missing: its private key").unwrap();
    lab.folder.rejected(&[], "no", at()).unwrap();
    assert_eq!(lab.text("WAITING.txt"), "missing: its private key");
    assert_eq!(mode(&lab.path.join("WAITING.txt")), 0o644);
    let dropped = lab.look();
    lab.put("late.pem", "LATE");
    let public = [("cert.pem".to_owned(), "PUBLIC".to_owned())];
    for _ in 0..2 {
        lab.folder.accepted(&dropped.keys(), &public, "it is live", at()).unwrap();
    }
    let accepted = format!("accepted/{AT}");
    assert_eq!(
        lab.tree(),
        [
            "accepted".to_owned(),
            accepted.clone(),
            format!("{accepted}-2"),
            format!("{accepted}-2/ACCEPTED.txt"),
            format!("{accepted}-2/cert.pem"),
            format!("{accepted}/ACCEPTED.txt"),
            format!("{accepted}/cert.pem"),
            "late.pem".to_owned(),
            "rejected".to_owned(),
        ]
    );
    assert_eq!(lab.text(&format!("{accepted}/cert.pem")), "PUBLIC");
    assert_eq!(lab.text(&format!("{accepted}/ACCEPTED.txt")), "it is live");
    assert_eq!(mode(&lab.path.join(&accepted)), 0o755);
    let wrong = [("../cert.pem".to_owned(), String::new())];
    assert!(lab.folder.accepted(&[], &wrong, "", at()).is_err());
}

#[test]
fn refused_files_are_kept_for_us_and_found_again_for_a_week() {
    let lab = Lab::new();
    lab.put("cert.pem", "CERT");
    lab.put("password.txt", "secret");
    let dropped = lab.look();
    lab.folder.rejected(&dropped.keys(), "the key does not match", at()).unwrap();
    assert_eq!(lab.text("REASON.txt"), "the key does not match");
    let refused = format!("rejected/{AT}");
    let tree = lab.tree();
    assert_eq!(
        tree,
        ["REASON.txt", "accepted", "rejected", &refused, &format!("{refused}/cert.pem")]
    );
    assert!(lab.look().files.is_empty());

    let week = at() + SignedDuration::from_hours(7 * 24);
    let again = lab.folder.rejected_lately(week).unwrap();
    assert_eq!((again[0].file.name.as_str(), &**again[0].file.bytes), ("cert.pem", &b"CERT"[..]));
    assert_eq!(again.len(), 1);
    let over = week + SignedDuration::from_secs(1);
    assert!(lab.folder.rejected_lately(over).unwrap().is_empty());

    // Refused once more it stays; accepted it goes, its name in the folder meaning another file.
    lab.put("cert.pem", "NEW");
    let keys = [again[0].key.clone()];
    lab.folder.rejected(&keys, "still not", at()).unwrap();
    assert_eq!(lab.text(&format!("{refused}/cert.pem")), "CERT");
    lab.folder.accepted(&keys, &[], "", at()).unwrap();
    assert!(!lab.path.join(&refused).join("cert.pem").exists());
    assert_eq!(lab.text("cert.pem"), "NEW");
}

#[test]
fn refused_files_go_after_thirty_days_and_with_many_newer_ones() {
    let lab = Lab::new();
    let reject = |at| {
        lab.put("cert.pem", "CERT");
        lab.folder.rejected(&lab.look().keys(), "no", at).unwrap();
    };
    reject(at());
    reject(at() + SignedDuration::from_hours(24));
    let count = || std::fs::read_dir(lab.path.join("rejected")).unwrap().count();
    lab.folder.sweep(at() + SignedDuration::from_hours(30 * 24)).unwrap();
    assert_eq!(count(), 2);
    lab.folder.sweep(at() + SignedDuration::from_hours(30 * 24 + 1)).unwrap();
    assert_eq!(count(), 1);
    // Refused under a clock that was wrong: its time begins when that is known.
    reject(at() + SignedDuration::from_hours(9999 * 24));
    lab.folder.sweep(at()).unwrap();
    lab.folder.sweep(at() + SignedDuration::from_hours(32 * 24)).unwrap();
    assert_eq!(count(), 0);
    for n in 0..202 {
        let name = name::of_time(at() + SignedDuration::from_secs(n));
        std::fs::create_dir(lab.path.join("rejected").join(name)).unwrap();
    }
    std::fs::write(lab.path.join("rejected/20260301T120200Z/password.txt"), "secret").unwrap();
    lab.folder.sweep(at()).unwrap();
    assert_eq!(count(), 200);
    assert!(!lab.path.join("rejected").join(AT).exists(), "the oldest went");
    assert!(!lab.path.join("rejected/20260301T120200Z/password.txt").exists());
}

#[test]
fn what_came_since_the_look_is_never_removed() {
    for swap in ["write", "rename", "symlink", "remove", "folder", "link"] {
        let lab = Lab::new();
        let secret = lab.path.join("../secret");
        std::fs::write(&secret, "SECRET").unwrap();
        lab.put("cert.pem", "OLD");
        let keys = lab.look().keys();
        let file = lab.path.join("cert.pem");
        match swap {
            "write" => lab.put("cert.pem", "NEW UPLOAD"),
            "rename" => {
                lab.put("new", "NEW UPLOAD");
                std::fs::rename(lab.path.join("new"), &file).unwrap();
            }
            other => {
                std::fs::remove_file(&file).unwrap();
                match other {
                    "symlink" => symlink("../secret", &file).unwrap(),
                    "folder" => std::fs::create_dir(&file).unwrap(),
                    "link" => std::fs::hard_link(&secret, &file).unwrap(),
                    _ => {}
                }
            }
        }
        let before = lab.tree();
        lab.folder.rejected(&keys, "no", at()).unwrap();
        std::fs::remove_file(lab.path.join("REASON.txt")).unwrap();
        assert_eq!(lab.tree(), before, "{swap}");
        lab.folder.accepted(&keys, &[], "yes", at()).unwrap();
        std::fs::remove_dir_all(lab.path.join("accepted").join(AT)).unwrap();
        assert_eq!(lab.tree(), before, "{swap}");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "SECRET", "{swap}");
    }
}

#[test]
fn a_note_that_says_the_same_is_not_written_again_and_nothing_is_in_its_way() {
    let lab = Lab::new();
    lab.folder.waiting("the same").unwrap();
    let inode = |name: &str| lab.path.join(name).symlink_metadata().unwrap().ino();
    let first = inode("WAITING.txt");
    lab.folder.waiting("the same").unwrap();
    assert_eq!(inode("WAITING.txt"), first);
    lab.folder.waiting("another").unwrap();
    assert_ne!(inode("WAITING.txt"), first);
    lab.folder.waiting("").unwrap();
    assert_eq!(lab.tree(), ["accepted", "rejected"]);

    let outside = lab.path.join("../outside");
    std::fs::write(&outside, "untouched").unwrap();
    symlink("../outside", lab.path.join("WAITING.txt")).unwrap();
    std::fs::create_dir_all(lab.path.join("REASON.txt/full")).unwrap();
    lab.folder.waiting("note").unwrap();
    lab.folder.rejected(&[], "reason", at()).unwrap();
    assert_eq!((lab.text("WAITING.txt"), lab.text("REASON.txt")), ("note".into(), "reason".into()));
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
    assert!(lab.path.join("2-REASON.txt/full").exists());
}

#[test]
fn what_somebody_puts_in_the_place_of_our_folders_is_moved_aside() {
    let lab = Lab::new();
    let outside = lab.path.join("../outside");
    std::fs::create_dir(&outside).unwrap();
    for name in ["accepted", "rejected"] {
        std::fs::remove_dir(lab.path.join(name)).unwrap();
    }
    symlink("../outside", lab.path.join("rejected")).unwrap();
    lab.put("accepted", "a file");
    lab.put("cert.pem", "CERT");
    lab.folder.rejected(&lab.look().keys(), "no", at()).unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(lab.path.join("2-rejected").is_symlink());
    assert_eq!(mode(&lab.path.join("rejected")), 0o700);
    if is_root() {
        // A member of the group made it while it was missing.
        std::fs::remove_dir_all(lab.path.join("rejected")).unwrap();
        std::fs::create_dir(lab.path.join("rejected")).unwrap();
        std::os::unix::fs::chown(lab.path.join("rejected"), Some(12345), None).unwrap();
        lab.look();
        assert_eq!(lab.path.join("rejected").metadata().unwrap().uid(), 0);
        assert!(lab.path.join("3-rejected").is_dir());
    }
}

#[test]
fn a_folder_that_is_removed_is_empty_and_made_anew_is_used_again() {
    let lab = Lab::new();
    lab.put("cert.pem", "OLD");
    let keys = lab.look().keys();
    std::fs::remove_dir_all(&lab.path).unwrap();
    assert!(lab.look().files.is_empty());
    lab.folder.accepted(&keys, &[], "", at()).unwrap();
    lab.folder.rejected(&keys, "", at()).unwrap();
    lab.folder.waiting("x").unwrap();
    lab.folder.sweep(at()).unwrap();
    assert!(!lab.path.exists());
    std::fs::create_dir(&lab.path).unwrap();
    lab.put("cert.pem", "NEW");
    assert_eq!(names(&lab.look()), ["cert.pem"]);
    assert_eq!(lab.tree(), ["accepted", "cert.pem", "rejected"]);
}

#[test]
fn the_time_of_a_share_is_the_one_of_its_server() {
    let lab = Lab::new();
    let folder = crate::fs::Folder::open(&lab.path).unwrap();
    for _ in 0..2 {
        let asked = folder.clock(".clock".as_ref()).unwrap();
        let ours = i64::try_from(now().as_nanosecond()).unwrap();
        assert!((ours - asked).abs() < 1_000_000_000, "{asked} against {ours}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!folder.is_remote().unwrap());
}

#[test]
fn what_is_not_taken_is_told_with_what_to_do() {
    let lab = Lab::new();
    let outside = lab.path.join("../outside");
    std::fs::write(&outside, "x").unwrap();
    symlink(&outside, lab.path.join("a link")).unwrap();
    std::fs::hard_link(&outside, lab.path.join("a second name")).unwrap();
    std::fs::create_dir(lab.path.join("a folder")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(lab.path.join("a socket"));
    let large = |name: &str, size| {
        let file = std::fs::File::create(lab.path.join(name)).unwrap();
        file.set_len(size).unwrap();
    };
    large("large.p12", (256 << 10) + 1);
    large("password.txt", (1 << 10) + 1);
    let told = |refused: Vec<(String, String)>| -> String {
        refused.iter().map(|(name, why)| format!("{name}: {why}\n")).collect()
    };
    let mut text = told(lab.look().refused);
    drop(socket);

    let lab = Lab::new();
    std::fs::write(lab.path.join("password.txt"), b"p\xe4ss").unwrap();
    for n in 0..17 {
        lab.put(&format!("{n}.pem"), "x");
        std::fs::create_dir(lab.path.join(format!("folder {n:02}"))).unwrap();
    }
    text.push_str(&told(lab.look().refused.into_iter().rev().take(3).rev().collect()));

    let (tried, path) = ("read", PathBuf::from("a.pem"));
    let source = || std::io::Error::from_raw_os_error(13);
    for error in [
        crate::fs::Error::Io { tried, path: path.clone(), source: source() },
        crate::fs::Error::Kind { tried, path: path.clone(), what: "a folder" },
        crate::fs::Error::Link { tried, path },
    ] {
        text.push_str(&format!("a.pem: {}\n", look::why(&error, list::FILE_LIMIT)));
    }
    let expected = include_str!("tests/sentences.txt");
    assert!(text == expected, "sentences.txt is to be:\n{text}");
}
