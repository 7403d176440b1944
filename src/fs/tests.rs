use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::*;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

fn names(path: &Path) -> Vec<String> {
    list(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

#[test]
fn a_replaced_file_has_its_content_mode_and_owner_and_nothing_lies_beside_it() {
    let (_dir, path) = folder();
    let file = path.join("cert.pem");
    std::fs::write(&file, "old and longer").unwrap();
    let owner = if is_root() { Owner { uid: Some(1), gid: Some(2) } } else { Owner::default() };
    replace(&file, b"new", 0o640, owner).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"new");
    assert_eq!(mode(&file), 0o640);
    if is_root() {
        let metadata = std::fs::metadata(&file).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1, 2));
    }
    assert_eq!(names(&path), ["cert.pem"]);
}

#[test]
fn a_file_that_cannot_be_placed_leaves_nothing_and_says_what_was_tried() {
    let (_dir, path) = folder();
    let place = path.join("cert.pem");
    std::fs::create_dir_all(place.join("inside")).unwrap();
    let error = replace(&place, b"new", 0o600, Owner::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot replace {}", place.display()));
    // The folder appears only after the bytes were written: the rename is what fails.
    let late = path.join("late");
    let staged = stage(&late, b"new", 0o600, Owner::default()).unwrap();
    assert!(staged.beside().exists());
    std::fs::create_dir(&late).unwrap();
    assert!(staged.commit().is_err());
    assert_eq!(names(&path), ["cert.pem", "late"]);
}

#[test]
fn a_staged_file_is_seen_only_after_its_commit_and_goes_when_dropped() {
    let (_dir, path) = folder();
    let (a, b) = (path.join("a"), path.join("b"));
    std::fs::write(&a, "old").unwrap();
    let files = [&a, &b].map(|file| stage(file, b"new", 0o600, Owner::default()).unwrap());
    assert_eq!(std::fs::read(&a).unwrap(), b"old");
    drop(files);
    assert_eq!(names(&path), ["a"]);
    let files = [&a, &b].map(|file| stage(file, b"new", 0o600, Owner::default()).unwrap());
    commit_all(files.into()).unwrap();
    assert_eq!(std::fs::read(&a).unwrap(), b"new");
    assert_eq!(names(&path), ["a", "b"]);
}

#[test]
fn no_link_on_the_way_is_followed() {
    let (_dir, path) = folder();
    std::fs::create_dir(path.join("real")).unwrap();
    std::fs::write(path.join("real/file"), "x").unwrap();
    symlink("real", path.join("linked")).unwrap();
    symlink("file", path.join("real/alias")).unwrap();
    for through in ["linked/file", "real/alias", "linked"] {
        let through = path.join(through);
        assert!(matches!(read(&through, 9), Err(Error::Link { .. })), "{through:?}");
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW;
        let slowly = open::open_by_component(&through, flags).unwrap_err();
        assert_eq!(slowly, rustix::io::Errno::LOOP, "{through:?}");
    }
    let error = replace(&path.join("linked/new"), b"y", 0o600, Owner::default()).unwrap_err();
    assert!(matches!(error, Error::Link { .. }), "{error}");
    assert_eq!(names(&path.join("real")), ["alias", "file"]);
    assert_eq!(read(&path.join("real/file"), 9).unwrap(), b"x");
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW;
    assert!(open::open_by_component(&path.join("real/../real/file"), flags).is_ok());
}

#[test]
fn only_regular_files_of_a_sane_size_are_read() {
    let (_dir, path) = folder();
    std::fs::write(path.join("large"), vec![0; 11]).unwrap();
    std::fs::write(path.join("right"), vec![0; 10]).unwrap();
    let _socket = UnixListener::bind(path.join("socket")).unwrap();
    let pipe = path.join("pipe");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    assert!(matches!(read(&path.join("large"), 10), Err(Error::TooLarge { .. })));
    assert_eq!(read(&path.join("right"), 10).unwrap().len(), 10);
    assert!(matches!(read(&pipe, 10), Err(Error::Kind { what: "a pipe", .. })));
    assert!(matches!(read(&path, 10), Err(Error::Kind { what: "a folder", .. })));
    assert!(read(&path.join("socket"), 10).is_err());
    assert!(read_if_there(&path.join("none"), 10).unwrap().is_none());
    assert!(read_if_there(&path.join("none/none"), 10).unwrap().is_none());
}

#[test]
fn folders_are_swapped_moved_and_removed_whole() {
    let (_dir, path) = folder();
    let (live, outside) = (path.join("live"), path.join("outside"));
    std::fs::create_dir(&live).unwrap();
    std::fs::write(live.join("old"), "x").unwrap();
    std::fs::write(&outside, "stays").unwrap();
    let staged = stage_dir(&live).unwrap();
    staged.write("new", b"y", 0o640, Owner::default()).unwrap();
    std::fs::create_dir(staged.path().join("sub")).unwrap();
    symlink(&outside, staged.path().join("sub/link")).unwrap();
    staged.exchange(&live, 0o750, Owner::default()).unwrap();
    assert_eq!((names(&live), mode(&live)), (vec!["new".to_owned(), "sub".to_owned()], 0o750));
    assert_eq!(names(staged.path()), ["old"]);
    drop(staged);
    assert_eq!(names(&path), ["live", "outside"]);

    assert!(move_new(&live, &outside).unwrap_err().is_taken());
    move_new(&live, &path.join("moved")).unwrap();
    assert!(exchange(&live, &outside).unwrap_err().is_missing());
    remove_tree(&path.join("moved")).unwrap();
    remove_tree(&path.join("moved")).unwrap();
    assert_eq!(names(&path), ["outside"]);
    assert_eq!(std::fs::read(&outside).unwrap(), b"stays");
}

#[test]
fn a_folder_is_made_with_its_mode_and_one_that_is_there_is_left_alone() {
    let (_dir, path) = folder();
    let made = path.join("made");
    assert!(make_dir(&made, 0o711, Owner::default()).unwrap());
    assert_eq!(mode(&made), 0o711);
    assert!(!make_dir(&made, 0o700, Owner::default()).unwrap());
    assert_eq!(mode(&made), 0o711);
    std::fs::write(path.join("file"), "").unwrap();
    let error = make_dir(&path.join("file"), 0o700, Owner::default()).unwrap_err();
    assert!(matches!(error, Error::Kind { what: "a regular file", .. }), "{error}");
    assert_eq!(names(&path), ["file", "made"]);
}

#[test]
fn a_sweep_takes_what_a_crash_left_and_nothing_that_is_being_written() {
    let (_dir, path) = folder();
    std::fs::write(path.join(".pbxcert-1-1"), "left").unwrap();
    std::fs::create_dir_all(path.join(".pbxcert-1-2/deep")).unwrap();
    std::fs::write(path.join("other"), "").unwrap();
    let staged = stage(&path.join("file"), b"new", 0o600, Owner::default()).unwrap();
    let dir = stage_dir(&path.join("folder")).unwrap();
    sweep(&path).unwrap();
    assert!(dir.path().is_dir());
    dir.publish(&path.join("folder"), 0o700, Owner::default()).unwrap();
    staged.commit().unwrap();
    assert_eq!(names(&path), ["file", "folder", "other"]);
}

#[test]
fn a_lock_is_held_by_one_and_released_by_its_end() {
    let (_dir, path) = folder();
    let file = path.join("lock");
    let lock = Lock::try_acquire(&file).unwrap().unwrap();
    assert!(Lock::try_acquire(&file).unwrap().is_none());
    drop(lock);
    let waited = Lock::acquire_blocking(&file).unwrap();
    assert!(Lock::try_acquire(&file).unwrap().is_none());
    assert_eq!(waited.path(), file);
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_child_does_not_inherit_a_lock() {
    let (_dir, path) = folder();
    let file = path.join("lock");
    let lock = Lock::try_acquire(&file).unwrap().unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let handles = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let open: Vec<PathBuf> =
        handles.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!open.is_empty());
    assert!(!open.contains(&file), "{open:?}");
    drop(lock);
}

#[test]
fn an_appended_line_ends_a_torn_one() {
    let (_dir, path) = folder();
    let file = path.join("history");
    assert_eq!(append_line(&file, "one", 0o600).unwrap(), 4);
    std::fs::write(&file, "one\ntw").unwrap();
    assert_eq!(append_line(&file, "three", 0o600).unwrap(), 13);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntw\nthree\n");
    symlink("history", path.join("link")).unwrap();
    assert!(append_line(&path.join("link"), "x", 0o600).is_err());
}

#[test]
fn what_others_can_write_is_told_with_the_command_that_ends_it() {
    let (_dir, path) = folder();
    let (open, file) = (path.join("open"), path.join("open/file"));
    std::fs::create_dir(&open).unwrap();
    std::fs::write(&file, "").unwrap();
    set_mode(&file, 0o644);
    set_mode(&open, 0o755);
    assert_eq!(guarded(&file), Ok(()));
    set_mode(&file, 0o646);
    let told = guarded(&file).unwrap_err();
    let expected =
        format!("everybody can write {f} (mode 0646); run: chmod go-w {f}", f = file.display());
    assert_eq!(told, expected);
    set_mode(&file, 0o644);
    set_mode(&open, 0o775);
    let told = guarded(&file).unwrap_err();
    assert!(told.starts_with("the group "), "{told}");
    assert!(told.ends_with(&format!("run: chmod go-w {}", open.display())), "{told}");
    // Sticky: safe on the way, not as the place itself.
    set_mode(&open, 0o1777);
    assert_eq!(guarded(&file), Ok(()));
    assert!(guarded(&open).is_err());
    let told = guarded(&path.join("none")).unwrap_err();
    assert!(told.ends_with("none does not exist"), "{told}");
}

#[test]
fn a_link_is_as_safe_as_its_folder_and_its_target() {
    let (_dir, path) = folder();
    for name in ["safe", "unsafe"] {
        std::fs::create_dir(path.join(name)).unwrap();
        std::fs::write(path.join(name).join("file"), "").unwrap();
    }
    set_mode(&path.join("safe"), 0o755);
    symlink("../unsafe/./file", path.join("safe/link")).unwrap();
    symlink(path.join("safe"), path.join("unsafe/back")).unwrap();
    symlink("circle", path.join("circle")).unwrap();
    assert_eq!(guarded(&path.join("safe/link")), Ok(()));
    set_mode(&path.join("unsafe"), 0o777);
    let told = guarded(&path.join("safe/link")).unwrap_err();
    assert!(told.contains("/unsafe (mode 0777)"), "{told}");
    // The folder that holds the link is what is unsafe here.
    assert!(guarded(&path.join("unsafe/back/file")).unwrap_err().contains("/unsafe (mode 0777)"));
    assert!(guarded(&path.join("circle")).unwrap_err().contains("circle of symbolic links"));
}

#[test]
fn files_and_links_of_other_users_are_not_guarded() {
    if !is_root() {
        eprintln!("skipped: only root can give files to other users");
        return;
    }
    let (_dir, path) = folder();
    let (file, shared) = (path.join("file"), path.join("shared"));
    std::fs::write(&file, "").unwrap();
    set_mode(&file, 0o600);
    std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
    let told = guarded(&file).unwrap_err();
    let place = file.display();
    assert_eq!(
        told,
        format!("the user 12345 owns {place} and can write it; run: chown root {place}")
    );
    assert_eq!(guarded_for(&file, 12345), Ok(()));
    std::fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o1777);
    symlink("/etc/passwd", shared.join("link")).unwrap();
    assert_eq!(guarded(&shared.join("link")), Ok(()));
    std::os::unix::fs::lchown(shared.join("link"), Some(12345), None).unwrap();
    assert!(guarded(&shared.join("link")).unwrap_err().contains("where the link"));
}

#[test]
fn a_secret_is_read_by_its_owner_only() {
    let (_dir, path) = folder();
    let file = path.join("it's a key");
    std::fs::write(&file, "").unwrap();
    set_mode(&file, 0o600);
    assert_eq!(secret(&file), Ok(()));
    for mode in [0o640, 0o604] {
        set_mode(&file, mode);
        let told = secret(&file).unwrap_err();
        assert!(told.contains(" can read "), "{told}");
        let quoted = file.to_string_lossy().replace('\'', r"'\''");
        assert!(told.ends_with(&format!("run: chmod go-rwx '{quoted}'")), "{told}");
    }
}

/// Fills a tiny disk in steps, so that each write fails once: at making the file, at its bytes.
#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_beside_it() {
    let (_dir, path) = folder();
    let disk = path.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k,nr_inodes=16", "none"])
        .arg(&disk)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: only root can mount a small disk");
        return;
    }
    let file = disk.join("file");
    let filled = || -> Result<(), Error> {
        replace(&file, b"old", 0o600, Owner::default())?;
        let too_much = vec![b'x'; 128 << 10];
        let full = replace(&file, &too_much, 0o600, Owner::default()).unwrap_err();
        assert!(full.is_disk_full(), "{full:?}");
        let full = append_line(&disk.join("log"), &"x".repeat(128 << 10), 0o600).unwrap_err();
        assert!(full.is_disk_full(), "{full:?}");
        assert_eq!(std::fs::metadata(disk.join("log")).unwrap().len(), 0);
        let staged = stage_dir(&file)?;
        let full = staged.write("big", &too_much, 0o600, Owner::default()).unwrap_err();
        assert!(full.is_disk_full(), "{full:?}");
        drop(staged);
        assert_eq!(names(&disk), ["file", "log"]);
        for n in 0..20 {
            let _ = std::fs::write(disk.join(format!("inode{n}")), "");
        }
        let full = replace(&file, b"new", 0o600, Owner::default()).unwrap_err();
        assert!(full.is_disk_full(), "{full:?}");
        let full = make_dir(&disk.join("dir"), 0o700, Owner::default()).unwrap_err();
        assert!(full.is_disk_full(), "{full:?}");
        Ok(())
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(filled));
    let (content, left) = (std::fs::read(&file), names(&disk));
    let unmounted = Command::new("umount").arg(&disk).status().unwrap();
    assert!(unmounted.success());
    outcome.unwrap().unwrap();
    assert_eq!(content.unwrap(), b"old");
    assert!(!left.iter().any(|name| name.starts_with(PREFIX)), "{left:?}");
}
