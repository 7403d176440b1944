use std::os::unix::fs::symlink;

use super::*;

fn held() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(&dir.path().canonicalize().unwrap()).unwrap();
    (dir, folder)
}

fn put(folder: &Folder, name: &str, content: &str) {
    std::fs::write(folder.path().join(name), content).unwrap();
}

fn text(folder: &Folder, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap()
}

fn name(name: &str) -> &OsStr {
    OsStr::new(name)
}

#[test]
fn only_a_sole_regular_file_of_a_sane_size_is_read() {
    let (_dir, folder) = held();
    put(&folder, "file", "content");
    let (bytes, seen) = folder.read(name("file"), 7).unwrap().unwrap();
    assert_eq!(
        (bytes.as_slice(), Some(seen)),
        (&b"content"[..], folder.look(name("file")).unwrap())
    );
    assert!(matches!(folder.read(name("file"), 6), Err(Error::TooLarge { limit: 6, .. })));
    std::fs::hard_link(folder.path().join("file"), folder.path().join("second")).unwrap();
    let error = folder.read(name("file"), 7).unwrap_err().to_string();
    assert!(error.ends_with("it is a file with several names"), "{error}");
    symlink("file", folder.path().join("link")).unwrap();
    assert!(matches!(folder.read(name("link"), 7), Err(Error::Link { .. })));
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    assert!(matches!(folder.read(name("inner"), 7), Err(Error::Kind { what: "a folder", .. })));
    assert!(folder.read(name("none"), 7).unwrap_err().is_missing());
    assert!(folder.look(name("none")).unwrap().is_none());
    assert_eq!(folder.look(name("link")).unwrap().unwrap().what(), "a symbolic link");
}

#[test]
fn what_is_done_is_done_in_the_very_folder_that_was_opened() {
    let (_dir, above) = held();
    for made in ["first", "second"] {
        above.make_dir(name(made), 0o700, Owner::default()).unwrap();
    }
    let first = above.inner(name("first")).unwrap();
    let path = above.path();
    std::fs::rename(path.join("first"), path.join("moved")).unwrap();
    symlink("second", path.join("first")).unwrap();
    first.replace(name("a"), b"A", 0o640).unwrap();
    first.make_dir(name("b"), 0o755, Owner::default()).unwrap();
    assert_eq!(text(&above, "moved/a"), "A");
    assert_eq!(first.look(name("a")).unwrap().unwrap().mode, 0o640);
    assert_eq!(first.look(name("b")).unwrap().unwrap().mode, 0o755);
    assert_eq!(std::fs::read_dir(path.join("second")).unwrap().count(), 0);
    assert!(matches!(above.inner(name("first")), Err(Error::Io { .. } | Error::Link { .. })));
}

#[test]
fn a_name_is_one_in_the_folder() {
    let (_dir, folder) = held();
    folder.make_dir(name("inner"), 0o700, Owner::default()).unwrap();
    let inner = folder.inner(name("inner")).unwrap();
    put(&folder, "file", "outside");
    for wrong in ["", ".", "..", "../file", "/etc/passwd", "a/b"] {
        let wrong = name(wrong);
        assert!(inner.replace(wrong, b"x", 0o600).is_err(), "{wrong:?}");
        assert!(inner.remove(wrong).is_err(), "{wrong:?}");
        assert!(inner.remove_tree(wrong).is_err(), "{wrong:?}");
        assert!(inner.inner(wrong).is_err(), "{wrong:?}");
        assert!(inner.move_new(wrong, &inner, name("new")).is_err(), "{wrong:?}");
        assert!(inner.move_new(name("x"), &inner, wrong).is_err(), "{wrong:?}");
        assert!(inner.clock(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(text(&folder, "file"), "outside");
}

#[test]
fn nothing_is_replaced_by_a_move_and_links_move_themselves() {
    let (_dir, folder) = held();
    put(&folder, "a", "A");
    put(&folder, "b", "B");
    assert!(folder.move_new(name("a"), &folder, name("b")).unwrap_err().is_taken());
    assert!(folder.move_new(name("none"), &folder, name("c")).unwrap_err().is_missing());
    symlink("a", folder.path().join("link")).unwrap();
    folder.move_new(name("link"), &folder, name("moved")).unwrap();
    assert_eq!(folder.look(name("moved")).unwrap().unwrap().what(), "a symbolic link");
    folder.remove(name("moved")).unwrap();
    folder.remove(name("moved")).unwrap();
    assert_eq!((text(&folder, "a"), text(&folder, "b")), ("A".into(), "B".into()));
}

#[test]
fn a_long_folder_is_listed_within_bounds() {
    let (_dir, folder) = held();
    for n in 0..5 {
        put(&folder, &n.to_string(), "");
    }
    let count = |most| {
        let mut count = 0;
        let more = folder.each(most, |_| {
            count += 1;
            Ok::<_, Error>(())
        });
        (count, more.unwrap())
    };
    assert_eq!((count(4), count(5), count(6)), ((4, true), (5, false), (5, false)));
}

#[test]
fn what_a_crash_left_is_swept_and_an_empty_folder_only_when_it_is() {
    let (_dir, folder) = held();
    put(&folder, ".pbxcert-1-1", "left");
    std::fs::create_dir_all(folder.path().join(".pbxcert-1-2/inner")).unwrap();
    put(&folder, "kept", "");
    std::fs::create_dir(folder.path().join("full")).unwrap();
    put(&folder, "full/file", "");
    let staged = folder.stage_dir().unwrap();
    folder.sweep().unwrap();
    assert!(staged.path().exists(), "it is in use");
    drop(staged);
    assert_eq!(super::super::list(folder.path()).unwrap(), ["full", "kept"]);
    assert!(folder.remove_empty(name("full")).unwrap_err().is_taken());
    folder.remove(name("full")).unwrap_err();
    folder.remove_tree(name("full")).unwrap();
    folder.remove_empty(name("full")).unwrap();
}

#[test]
fn shares_are_known_by_their_number() {
    let of = |number: u32| REMOTE.contains(&number);
    assert!(of(0x6969) && of(0xff53_4d42) && of(0x6573_5546) && of(0xfe53_4d42));
    // ext4, tmpfs, xfs, overlayfs, btrfs.
    assert!(![0xef53, 0x0102_1994, 0x5846_5342, 0x794c_7630, 0x9123_683e].into_iter().any(of));
    assert!(!is_remote(Path::new("/proc/self/no/such/thing")));
}
