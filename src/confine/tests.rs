use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use super::*;
use crate::cert::KeyType;
use crate::cert::bundle::PrivateKey;

fn file(name: &str, bytes: &[u8]) -> File {
    File { name: name.to_owned(), bytes: Zeroizing::new(bytes.to_vec()) }
}

/// A helper that is a script.
struct Fake {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn fake(script: &str) -> Fake {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("helper");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    Fake { _folder: folder, path }
}

async fn failure(script: &str) -> String {
    let helper = fake(script);
    let found = parts(&helper.path, &[file("x", b"x")], None).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].problems.len(), 1);
    found[0].problems[0].clone()
}

#[tokio::test]
async fn a_child_that_breaks_down_or_babbles_is_a_problem_of_its_file() {
    let crashed = Failure::Crashed.sentence();
    assert_eq!(failure("exit 101").await, crashed);
    assert_eq!(failure("kill -SEGV $$").await, crashed);
    assert_eq!(failure("cat; echo and more").await, crashed);
    assert_eq!(failure("exec cat /dev/zero").await, crashed);
    assert_eq!(failure("exec >&-; exit 0").await, crashed);
    assert_eq!(failure("kill -ABRT $$").await, Failure::Greedy.sentence());
    assert_eq!(failure("kill -XCPU $$").await, Failure::Slow.sentence());
}

#[tokio::test]
async fn a_helper_that_is_not_there_is_named_and_not_the_file() {
    let found = parts(Path::new("/nonexistent"), &[file("x", b"x")], None).await;
    let problem = &found[0].problems[0];
    assert!(problem.contains("No such file"), "{problem}");
    assert!(problem.contains("not at fault"), "{problem}");
}

#[tokio::test]
async fn children_that_hang_cost_five_seconds_together_and_nothing_to_the_others() {
    // Which file it is, is said by its name; an empty answer is a good one.
    let helper =
        fake("if head -c 100 | grep -q hang; then exec sleep 60; fi; printf 'e\\0\\0\\0\\0'");
    let mut files: Vec<File> = (0..6).map(|n| file(&format!("hang{n}"), b"x")).collect();
    files.insert(3, file("good", b"x"));
    files.push(file("last", b"x"));
    let since = Instant::now();
    let found = parts(&helper.path, &files, None).await;
    let took = since.elapsed();
    assert!(took < LIMIT + Duration::from_secs(1), "{took:?}");
    let problems: Vec<usize> = found.iter().map(|parts| parts.problems.len()).collect();
    assert_eq!(problems, [1, 1, 1, 0, 1, 1, 1, 0]);
    assert_eq!(found[0].problems[0], Failure::Slow.sentence());
}

#[test]
fn what_a_child_may_answer_is_in_no_relation_to_what_it_can_say() {
    let mut parts = Parts { rounds: 7, wanted: 9, locked: true, ..Parts::default() };
    parts.problems.push("ü".to_owned());
    parts.keys.push(PrivateKey::generate(KeyType::EcdsaP256).unwrap());
    parts.certificates.push(vec![1, 2, 3].into());
    let bytes = wire::answer(&parts);
    let again = wire::read_answer(&bytes).unwrap().unwrap();
    assert_eq!((again.rounds, again.wanted), (7, 9));
    assert_eq!((&again.problems, &again.certificates), (&parts.problems, &parts.certificates));
    assert_eq!(again.keys[0].public(), parts.keys[0].public());
    for cut in 0..bytes.len() {
        assert!(wire::read_answer(&bytes[..cut]).is_none(), "{cut}");
    }
    assert!(wire::read_answer(&[&bytes[..], b"x"].concat()).is_none());
    let refused = wire::read_answer(&wire::refusal("no limits")).unwrap();
    assert_eq!(refused.unwrap_err(), "no limits");
}

#[test]
fn a_question_arrives_as_it_was_asked() {
    for password in [None, Some(""), Some("pässwörd")] {
        let bytes = wire::question(&file("a.p12", b"\0bytes"), password, 42);
        let (file, secret, rounds) = wire::read_question(&bytes).unwrap();
        assert_eq!(
            (file.name.as_str(), file.bytes.as_slice(), rounds),
            ("a.p12", &b"\0bytes"[..], 42)
        );
        assert_eq!(secret.as_deref().map(String::as_str), password);
        assert!(wire::read_question(&bytes[1..]).is_none());
    }
}

#[test]
fn every_sentence_of_a_failure_says_what_to_do_next() {
    let sentences: Vec<String> = [
        Failure::Crashed,
        Failure::Greedy,
        Failure::NotStarted("cannot become nobody: Operation not permitted".to_owned()),
        Failure::Slow,
    ]
    .iter()
    .map(Failure::sentence)
    .collect();
    let all = sentences.join("\n") + "\n";
    assert!(all == include_str!("tests/sentences.txt"), "{all}");
}

/// Says to a copy of these tests what to try behind the limits.
const TRY: &str = "PBXCERT_TEST_CAGE";

/// Shuts a copy of this test binary in and has it try something; gives its signal and exit code.
fn caged(what: &str) -> (Option<i32>, Option<i32>) {
    use std::os::unix::process::ExitStatusExt as _;

    let output = Command::new(std::env::current_exe().unwrap())
        // In the main thread, so that none has to be made behind the limits.
        .args(["--exact", "confine::tests::behind_the_limits", "--test-threads=1"])
        .env(TRY, what)
        .output()
        .unwrap();
    (output.status.signal(), output.status.code())
}

/// What a child tries that was shut in; nothing when it is run as a test.
#[test]
fn behind_the_limits() {
    let Ok(what) = std::env::var(TRY) else { return };
    let held = tempfile::tempdir().unwrap();
    std::fs::set_permissions(held.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = held.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let mut open = std::fs::File::options().append(true).open(&path).unwrap();
    cage::shut().unwrap();
    let kept = match what.as_str() {
        "memory" => std::hint::black_box(vec![1_u8; 96 << 20]).len() > 1,
        "time" => loop {
            std::hint::black_box(0);
        },
        "stack" => deeper(0) > 1,
        "read" => std::fs::File::open(&path).is_ok(),
        "write" => {
            // SIGXFSZ would end it as well.
            open.write_all(b"more").is_ok()
        }
        "process" => Command::new("/bin/true").spawn().is_ok(),
        "network" => std::net::TcpListener::bind("127.0.0.1:0").is_ok(),
        "root" => nix::unistd::geteuid().is_root() || nix::unistd::setuid(0.into()).is_ok(),
        "enough" => std::hint::black_box(vec![1_u8; 48 << 20]).len() > 1,
        other => panic!("what is {other}?"),
    };
    // Without unwinding into the harness, which would want to print and to open.
    std::process::exit(if kept { 0 } else { 3 });
}

#[allow(unconditional_recursion, reason = "that is what is tried")]
fn deeper(n: u64) -> u64 {
    let here = std::hint::black_box([n; 512]);
    deeper(n + 1) + here[0]
}

#[test]
fn a_child_can_do_nothing_but_compute() {
    assert_eq!(caged("enough"), (None, Some(0)), "48 MiB are allowed");
    let (signal, _) = caged("memory");
    assert!(signal.is_some_and(cage::was_too_greedy), "{signal:?}");
    let (signal, _) = caged("time");
    assert!(signal.is_some_and(cage::took_too_long), "{signal:?}");
    let (signal, _) = caged("stack");
    assert!(signal.is_some(), "a stack has an end");
    for what in ["read", "process", "network", "root"] {
        assert_eq!(caged(what), (None, Some(3)), "{what}");
    }
    let write = caged("write");
    assert!(write.0.is_some() || write.1 == Some(3), "{write:?}");
}
