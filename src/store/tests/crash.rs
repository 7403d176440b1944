//! A child process does a bit of everything and is ended, or meets a full disk, before each single
//! operation on the disk: whatever is left must be whole.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use super::damage::copy;
use super::*;

const FULL: i32 = 75;

#[test]
fn an_end_before_any_operation_leaves_everything_whole() {
    let (dir, pristine) = prepared();
    let mut n = 0;
    loop {
        n += 1;
        let state = dir.path().canonicalize().unwrap().join(n.to_string());
        copy(&pristine, &state);
        let status = child(&state, "PBXCERT_CRASH_AT", n);
        let done = status.success();
        assert!(done || status.signal() == Some(6), "{n}: {status}");
        check(&state, done);
        std::fs::remove_dir_all(&state).unwrap();
        if done {
            break;
        }
    }
    assert!(n > 50, "only {n} operations were counted");
}

#[test]
fn a_disk_that_is_full_at_any_operation_leaves_everything_whole_and_nothing_half() {
    let (dir, pristine) = prepared();
    let mut n = 0;
    loop {
        n += 1;
        let state = dir.path().canonicalize().unwrap().join(n.to_string());
        copy(&pristine, &state);
        let status = child(&state, "PBXCERT_FULL_AT", n);
        let done = status.success();
        assert!(done || status.code() == Some(FULL), "{n}: {status}");
        assert_eq!(leftovers(&state), Vec::<PathBuf>::new(), "{n}");
        check(&state, done);
        std::fs::remove_dir_all(&state).unwrap();
        if done {
            break;
        }
    }
    assert!(n > 50, "only {n} operations were counted");
}

/// A state folder with six revisions, and some damage to be repaired.
fn prepared() -> (tempfile::TempDir, PathBuf) {
    let (dir, store) = store();
    fill(&store);
    let writer = writer(&store);
    for _ in 0..4 {
        writer.commit(&bundle(), None, "import", now()).unwrap();
    }
    let hurt = store.certificate("hurt").unwrap().try_lock(now()).unwrap().unwrap();
    hurt.commit(&bundle(), None, "import", now()).unwrap();
    for damaged in ["certificates/hurt/rev/1/meta.json", "issuers/hurt/ledger.json"] {
        let path = store.root().join("shared").join(damaged);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{").unwrap();
    }
    (dir, store.root().to_owned())
}

fn child(state: &Path, variable: &str, n: u64) -> ExitStatus {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::crash::the_work_of_the_child", "--ignored"])
        .env(variable, n.to_string())
        .env("PBXCERT_TEST_STATE", state)
        .output()
        .unwrap();
    if output.status.code() == Some(101) {
        panic!("{}", String::from_utf8_lossy(&output.stdout));
    }
    output.status
}

#[test]
#[ignore = "run by the tests above, in a process of its own"]
fn the_work_of_the_child() {
    let Some(state) = std::env::var_os("PBXCERT_TEST_STATE") else { return };
    match work(Path::new(&state)) {
        Ok(()) => {}
        Err(e) if e.is_disk_full() => std::process::exit(FULL),
        Err(e) => panic!("{e:?}"),
    }
}

fn work(state: &Path) -> Result<(), Error> {
    let store = Store::open(state)?;
    {
        let writer = store.certificate("pbx")?.try_lock(now())?.unwrap();
        writer.forget_order()?;
        let issuer = store.issuer("acme")?;
        let known = issuer.account(Goal::Certificate)?;
        let registered =
            Account { url: Some("https://ca.example/1".to_owned()), ..known.clone().unwrap() };
        issuer.remember_account(Goal::Certificate, known.as_ref(), &registered, now())?;
        let mut order = journal(Stage::New);
        writer.remember_order(&order)?;
        order.stage = Stage::Ordered { url: "https://ca.example/order/2".to_owned() };
        writer.remember_order(&order)?;
        let next = journal(Stage::New);
        writer.remember_order(&next)?;
        writer.commit(&bundle(), Some(asked()), "ca", now())?;
        issuer.record(issued(now()), now())?;
        writer.forget_order()?;
        writer.remember(&CertState::default())?;
        writer.prune(&[2])?;
    }
    drop(store.certificate("hurt")?.try_lock(now())?.unwrap());
    store.issuer("hurt")?.ledger(now())?;
    let service = store.service("sip")?.try_lock(now())?.unwrap();
    let mut table = service.state()?;
    table.pairs.entry("pbx".to_owned()).or_default().step = Step::Proved;
    service.remember(&table)?;
    store.touch_generation()?;
    store.record(&event("done"))
}

fn check(state: &Path, done: bool) {
    let store = Store::open(state).unwrap();
    let pbx = store.certificate("pbx").unwrap();
    assert_eq!(unexpected(&store), []);
    assert_eq!(numbers(&store.certificate("hurt").unwrap()), [1]);
    let ledger = store.issuer("hurt").unwrap().ledger(now()).unwrap();
    assert_eq!(ledger.spent_until, Some(now() + hours(1)));
    let there = numbers(&pbx);
    assert!(there.contains(&2), "the live revision is gone: {there:?}");
    for number in &there {
        pbx.bundle(*number).unwrap();
    }
    if done {
        assert_eq!(there, [1, 2, 4, 5, 6, 7]);
    }
    if let Some(order) = pbx.order().unwrap() {
        assert!(!order.key.public().is_empty());
    }
    pbx.state().unwrap();
    let issuer = store.issuer("acme").unwrap();
    let ledger = issuer.ledger(now()).unwrap();
    assert!((1..=2).contains(&ledger.entries.len()));
    assert_eq!(ledger.spent_until, None);
    assert_eq!(issuer.account(Goal::Certificate).unwrap().unwrap().directory, "https://ca.example");
    let step = store.service("sip").unwrap().state().unwrap().pairs["pbx"].step;
    assert!(matches!(step, Step::Installed | Step::Proved));

    // The next writer sweeps, and the work goes on.
    let writer = writer(&store);
    let number = writer.commit(&bundle(), None, "import", now()).unwrap().number;
    assert!(there.iter().all(|n| *n < number));
    drop(writer);
    drop(store.service("sip").unwrap().try_lock(now()).unwrap());
    issuer.record(issued(now()), now()).unwrap();
    store.record(&event("after")).unwrap();
    let told = store.history().unwrap().into_iter().map(|e| e.what);
    let told: Vec<String> = told.filter(|what| what != "repaired").collect();
    let expected: &[&str] = if done { &["issued", "done", "after"] } else { &["issued", "after"] };
    // The line may be on disk although the end came before it was flushed.
    assert!(told == expected || told == ["issued", "done", "after"], "{told:?}");
    drop(store.certificate("hurt").unwrap().try_lock(now()).unwrap());
    assert_eq!(leftovers(state), Vec::<PathBuf>::new());
    assert_eq!(unexpected(&store), []);
}

/// What is damaged, but for what was from the beginning.
fn unexpected(store: &Store) -> Vec<Finding> {
    let findings = store.findings().unwrap();
    findings.into_iter().filter(|finding| finding.object != "hurt").collect()
}

fn leftovers(state: &Path) -> Vec<PathBuf> {
    let all = tree(state).into_iter().map(|(path, _)| path);
    all.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with(fs::PREFIX)).collect()
}
