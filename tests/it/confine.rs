//! Uploads go through the real binary's confined child, and what a sentence tells somebody to type
//! does what the sentence says.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use pbxcert::cert::import::{File, Parts};
use pbxcert::confine;
use zeroize::Zeroizing;

use crate::source::project;

/// Our own binary.
const HELPER: &str = env!("CARGO_BIN_EXE_pbxcert");

fn fixture(name: &str) -> File {
    let path = project().join("tests/fixtures/import").join(format!("{name}.b64"));
    let text = std::fs::read_to_string(path).unwrap();
    file(name, BASE64_STANDARD.decode(text.replace('\n', "")).unwrap())
}

fn file(name: &str, bytes: Vec<u8>) -> File {
    File { name: name.to_owned(), bytes: Zeroizing::new(bytes) }
}

async fn taken_apart(files: &[File]) -> Vec<Parts> {
    let password = Zeroizing::new("changeit".to_owned());
    confine::parts(Path::new(HELPER), files, Some(&password)).await
}

#[tokio::test]
async fn a_confined_child_finds_what_is_in_a_file() {
    let files = ["openssl3.p12", "legacy.p12", "keytool.p12", "shop.crt", "shop.key", "scrypt.key"];
    let found = taken_apart(&files.map(fixture)).await;
    let counts: Vec<_> =
        found.iter().map(|p| (p.certificates.len(), p.keys.len(), p.problems.len())).collect();
    assert_eq!(counts, [(3, 1, 0), (3, 1, 0), (3, 1, 0), (1, 0, 0), (0, 1, 0), (0, 1, 0)]);
    assert_eq!(found[0].keys[0].public(), found[4].keys[0].public());
}

#[tokio::test]
async fn a_good_file_among_hostile_ones_is_read_within_the_limit() {
    let mut files: Vec<File> =
        (0..13).map(|n| file(&format!("deep{n}"), [0x30, 0x80].repeat(128 * 1024))).collect();
    files.push(file("zeros", vec![0; 256 * 1024]));
    // Together they want more rounds than there are: the modest one is served first.
    files.extend(["pk12util.p12", "pk12util.p12", "pk12util-old.p12"].map(fixture));
    files.push(fixture("openssl3.p12"));
    let since = Instant::now();
    let found = taken_apart(&files).await;
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    assert!(found[..14].iter().all(|p| p.problems.len() == 1 && p.certificates.is_empty()));
    assert_eq!((found[17].certificates.len(), found[17].keys.len()), (3, 1));
    assert!(found.iter().map(|p| p.rounds).sum::<u64>() <= pbxcert::cert::import::ROUNDS);
    // Which of them is served is a matter of rounds, and of time on a busy machine.
    let served = found[14..17].iter().filter(|p| p.problems.is_empty()).count();
    assert!(served <= 1, "{served} are served");
}

#[tokio::test]
async fn what_a_fair_share_of_the_rounds_does_not_open_is_opened_with_what_is_left() {
    let files = ["pk12util.p12", "openssl3.p12", "keytool.p12", "pbes2.key"].map(fixture);
    let found = taken_apart(&files).await;
    let keys: Vec<usize> = found.iter().map(|p| p.keys.len()).collect();
    assert_eq!(keys, [1; 4], "{:?}", found[0].problems);
}

/// The real child, looked at while it waits for its file.
#[test]
fn the_child_of_the_real_binary_is_confined() {
    let mut child = Command::new(HELPER)
        .args(["internal", "parse"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let status = || std::fs::read_to_string(proc.join("status")).unwrap();
    let since = Instant::now();
    while !status().contains("NoNewPrivs:\t1") {
        assert!(since.elapsed() < Duration::from_secs(20), "{}", status());
        std::thread::yield_now();
    }
    if status_of_us().contains("Uid:\t0\t0") {
        assert!(status().contains("Uid:\t65534\t65534\t65534\t65534"), "{}", status());
        assert!(status().contains("Gid:\t65534\t65534\t65534\t65534"), "{}", status());
        assert!(status().contains("CapEff:\t0000000000000000"), "{}", status());
    }
    let limits = std::fs::read_to_string(proc.join("limits")).unwrap();
    let words = |start: &str| -> Vec<String> {
        let line = limits.lines().find(|line| line.starts_with(start)).unwrap();
        line[start.len()..].split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert_eq!(words("Max cpu time"), ["5", "6"]);
    assert_eq!(words("Max data size"), ["67108864", "67108864"]);
    for none in ["Max file size", "Max core file size", "Max processes", "Max open files"] {
        assert_eq!(words(none), ["0", "0"], "{none}");
    }
    // What is no question is answered as such, and not with a panic.
    child.stdin.take().unwrap().write_all(b"junk").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("the question was cut off"));
}

fn status_of_us() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap()
}

/// The command between backticks is typed as it stands, but for the passwords that it asks for.
#[tokio::test]
async fn what_a_sentence_tells_to_type_makes_a_file_that_is_read() {
    const OPENSSL: &[&str] = &["-passin", "pass:changeit", "-passout", "pass:changeit"];
    const KEYTOOL: &[&str] =
        &["-noprompt", "-srcstorepass", "changeit", "-deststorepass", "changeit"];
    for (name, answers, result, expected) in [
        ("proc-type.key", OPENSSL, "new.key", (0, 1)),
        ("rsa-proc-type.key", OPENSSL, "new.key", (0, 1)),
        ("pbes1-md5-des.key", OPENSSL, "new.key", (0, 1)),
        ("rc4.p12", OPENSSL, "new.pem", (3, 1)),
        ("ec-explicit.key", &[], "new.key", (0, 1)),
        ("keystore.jks", KEYTOOL, "new.p12", (3, 1)),
        ("keystore.jceks", KEYTOOL, "new.p12", (3, 1)),
    ] {
        let upload = fixture(name);
        let sentence = taken_apart(std::slice::from_ref(&upload)).await[0].problems[0].clone();
        let mut command = sentence.split('`').nth(1).unwrap().split(' ');
        let program = command.next().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), &*upload.bytes).unwrap();
        let mut typed = Command::new(program);
        typed.args(command).args(answers).current_dir(folder.path());
        let output = match typed.output() {
            Ok(output) => output,
            // Java is large: where it is not, the other commands are tried.
            Err(_) if program == "keytool" && std::env::var_os("PBXCERT_REAL").is_none() => {
                println!("skipped: {program} is not here: {name}");
                continue;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        assert!(output.status.success(), "{sentence}: {output:?}");
        let new = file(result, std::fs::read(folder.path().join(result)).unwrap());
        let found = taken_apart(&[new]).await;
        let counts = (found[0].certificates.len(), found[0].keys.len());
        assert_eq!((counts, &found[0].problems), (expected, &Vec::new()), "{name}");
    }
}
