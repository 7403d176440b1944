mod alerts;
#[cfg(debug_assertions)]
mod crash;
#[cfg(debug_assertions)]
mod csr;
mod damage;

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::cert::bundle::tests::Ca;
use crate::cert::bundle::{Bundle, PrivateKey};
use crate::cert::{Identifier, KeyType};
use crate::policy::verdict::{EndpointLook, Verdict, Verified, verdict};
use crate::state::{
    Account, Answer, Asked, CertState, Goal, LedgerEntry, LedgerEvent, OrderJournal, Served,
    ServiceState, Stage, Step,
};

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn hours(n: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(n)
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("state");
    (dir, path)
}

fn store() -> (tempfile::TempDir, Store) {
    let (dir, path) = folder();
    (dir, Store::open(&path).unwrap())
}

fn names(all: &[&str]) -> Vec<Identifier> {
    all.iter().map(|name| name.parse().unwrap()).collect()
}

fn asked() -> Asked {
    Asked {
        identifiers: names(&["pbx.example"]).into_iter().collect(),
        key: KeyType::EcdsaP256,
        issuer: "acme".to_owned(),
        profile: None,
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::EcdsaP256).unwrap()
}

fn bundle() -> Bundle {
    let key = key();
    let middle = Ca::root("root").intermediate("R1");
    let pem = middle.issue(&["pbx.example"], &key) + middle.pem();
    Bundle::parse(pem.as_bytes(), key).unwrap()
}

fn journal(stage: Stage) -> OrderJournal {
    OrderJournal {
        asked: asked(),
        identifiers: names(&["pbx.example"]),
        challenges: vec!["http".to_owned()],
        replaces: Some("aki.serial".to_owned()),
        goal: Goal::Certificate,
        key: key(),
        started_at: now(),
        stage,
    }
}

fn account(directory: &str) -> Account {
    Account {
        directory: directory.to_owned(),
        key: key(),
        url: None,
        contact: vec!["mailto:noc@voiptel.example".to_owned()],
    }
}

fn issued(at: Timestamp) -> LedgerEntry {
    let identifiers = names(&["pbx.example"]).into_iter().collect::<BTreeSet<_>>();
    LedgerEntry { at, event: LedgerEvent::Issued { identifiers, exempt: false } }
}

fn event(what: &str) -> Event {
    Event {
        at: now(),
        certificate: Some("pbx".to_owned()),
        service: None,
        revision: Some(1),
        what: what.to_owned(),
        text: "in words\nwith \u{1b} in it".to_owned(),
    }
}

fn writer(store: &Store) -> CertificateWriter {
    store.certificate("pbx").unwrap().try_lock(now()).unwrap().unwrap()
}

fn numbers(certificate: &CertificateStore) -> Vec<u64> {
    certificate.revisions().unwrap().iter().map(|r| r.number).collect()
}

/// Every file and folder below, with its mode.
fn tree(root: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                left.push(path.clone());
            }
            found.push((path, metadata.mode() & 0o7777));
        }
    }
    found
}

/// Does a bit of everything once.
fn fill(store: &Store) {
    let writer = writer(store);
    for _ in 0..2 {
        writer.commit(&bundle(), Some(asked()), "https://ca.example/cert/1", now()).unwrap();
    }
    let state = CertState { forced_at: Some(now()), ..CertState::default() };
    writer.remember(&state).unwrap();
    let stage = Stage::Ordered { url: "https://ca.example/order/1".to_owned() };
    writer.remember_order(&journal(stage)).unwrap();
    let issuer = store.issuer("acme").unwrap();
    issuer
        .remember_account(Goal::Certificate, None, &account("https://ca.example"), now())
        .unwrap();
    issuer
        .remember_account(Goal::Rehearsal, None, &account("https://staging.example"), now())
        .unwrap();
    issuer.record(issued(now()), now()).unwrap();
    let service = store.service("sip").unwrap().try_lock(now()).unwrap().unwrap();
    let mut table = ServiceState::default();
    table.pairs.entry("pbx".to_owned()).or_default().step = Step::Installed;
    service.remember(&table).unwrap();
    let daemon = DaemonRecord {
        schema: SCHEMA,
        pid: 7,
        started_at: now(),
        config_hash: "abc".to_owned(),
        degraded: None,
    };
    store.remember_daemon(&daemon).unwrap();
    store.touch_generation().unwrap();
    store.instance_key().unwrap();
    store.record(&event("issued")).unwrap();
}

#[test]
fn everything_remembered_is_there_after_opening_again() {
    let (_dir, store) = store();
    fill(&store);
    let store = Store::open(store.root()).unwrap();
    let pbx = store.certificate("pbx").unwrap();
    assert_eq!(numbers(&pbx), [1, 2]);
    let newest = pbx.newest().unwrap().unwrap();
    assert_eq!((newest.number, newest.chain_length), (2, 1));
    assert_eq!(newest.asked, Some(asked()));
    assert_eq!(pbx.bundle(2).unwrap().leaf(), &newest.leaf);
    assert_eq!(pbx.state().unwrap().forced_at, Some(now()));
    let order = pbx.order().unwrap().unwrap();
    assert_eq!(order.stage.order_url(), Some("https://ca.example/order/1"));
    assert_eq!(order.replaces.as_deref(), Some("aki.serial"));
    let seen = pbx.order_seen().unwrap().unwrap();
    assert!(seen.sent);
    assert_eq!(seen.stage, "ordered");
    let issuer = store.issuer("acme").unwrap();
    assert_eq!(issuer.ledger(now()).unwrap().entries, [issued(now())]);
    let known = issuer.account(Goal::Rehearsal).unwrap().unwrap();
    assert_eq!(known.directory, "https://staging.example");
    let table = store.service("sip").unwrap().state().unwrap();
    assert_eq!(table.pairs["pbx"].step, Step::Installed);
    assert_eq!(store.daemon_record().unwrap().unwrap().pid, 7);
    assert_eq!(store.generation().unwrap(), 1);
    assert_eq!(store.history().unwrap(), [event("issued")]);
    assert_eq!(*store.instance_key().unwrap(), *store.instance_key().unwrap());
    assert_eq!(store.certificates().unwrap(), ["pbx"]);
    assert_eq!(store.services().unwrap(), ["sip"]);
    assert_eq!(store.issuers().unwrap(), ["acme"]);
    assert_eq!(store.findings().unwrap(), []);
    store.forget_daemon().unwrap();
    assert_eq!(store.daemon_record().unwrap(), None);
}

#[test]
fn nobody_else_reads_what_is_remembered() {
    let (_dir, store) = store();
    fill(&store);
    for (path, mode) in tree(store.root()) {
        let expected = match path.strip_prefix(store.root()).unwrap().to_str().unwrap() {
            "node" | "node/challenge" => 0o711,
            _ if path.is_dir() => 0o700,
            _ => 0o600,
        };
        assert_eq!(mode, expected, "{}", path.display());
    }
}

#[test]
fn a_state_folder_that_others_can_write_is_refused() {
    let (_dir, path) = folder();
    drop(Store::open(&path).unwrap());
    for unsafe_folder in [path.clone(), path.join("shared")] {
        std::fs::set_permissions(&unsafe_folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.ends_with(&format!("chmod go-w {}", unsafe_folder.display())), "{error}");
        std::fs::set_permissions(&unsafe_folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    Store::open(&path).unwrap();
}

#[test]
fn a_state_folder_behind_a_link_is_the_folder_that_it_leads_to() {
    let (dir, path) = folder();
    let link = dir.path().join("link");
    drop(Store::open(&path).unwrap());
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let store = Store::open(&link).unwrap();
    assert_eq!(store.root(), path);
    store.record(&event("issued")).unwrap();
}

#[test]
fn looking_only_makes_and_changes_nothing() {
    let (_dir, path) = folder();
    let store = Store::open_read_only(&path).unwrap();
    assert_eq!(store.certificates().unwrap(), Vec::<String>::new());
    let pbx = store.certificate("pbx").unwrap();
    assert_eq!((numbers(&pbx), pbx.state().unwrap()), (vec![], CertState::default()));
    assert!(matches!(pbx.try_lock(now()), Err(Error::ReadOnly { .. })));
    assert!(matches!(store.record(&event("x")), Err(Error::ReadOnly { .. })));
    let issuer = store.issuer("acme").unwrap();
    assert!(matches!(issuer.record(issued(now()), now()), Err(Error::ReadOnly { .. })));
    assert!(!path.exists());

    fill(&Store::open(&path).unwrap());
    std::fs::write(path.join("shared/issuers/acme/ledger.json"), "{").unwrap();
    let before = tree(&path);
    let store = Store::open_read_only(&path).unwrap();
    let ledger = store.issuer("acme").unwrap().ledger(now()).unwrap();
    assert_eq!(ledger.spent_until, Some(now() + hours(1)));
    assert_eq!(store.findings().unwrap().len(), 1);
    assert_eq!(store.history().unwrap().len(), 1);
    assert_eq!(tree(&path), before);
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    let (_dir, store) = store();
    for name in ["", ".", "..", ".hidden", "a/b", "../x", "a\0b", "ü", "a b", &"a".repeat(65)] {
        assert!(matches!(store.certificate(name), Err(Error::Name { .. })), "{name:?}");
        assert!(matches!(store.issuer(name), Err(Error::Name { .. })), "{name:?}");
        assert!(matches!(store.service(name), Err(Error::Name { .. })), "{name:?}");
        let service = store.service("sip").unwrap();
        assert!(matches!(service.saved_dir(name), Err(Error::Name { .. })), "{name:?}");
    }
    assert!(store.certificate(&"a".repeat(64)).is_ok());
    assert!(store.certificate("PBX_1.example-2").is_ok());
}

#[test]
fn one_writes_and_the_other_is_told_so() {
    let (_dir, store) = store();
    let pbx = store.certificate("pbx").unwrap();
    let writer = pbx.try_lock(now()).unwrap().unwrap();
    assert!(pbx.try_lock(now()).unwrap().is_none());
    assert!(store.certificate("other").unwrap().try_lock(now()).unwrap().is_some());
    let sip = store.service("sip").unwrap();
    let service = sip.try_lock(now()).unwrap().unwrap();
    assert!(sip.try_lock(now()).unwrap().is_none());
    drop((writer, service));
    assert!(pbx.try_lock(now()).unwrap().is_some());
    assert!(sip.try_lock(now()).unwrap().is_some());
}

#[test]
fn a_bundle_is_stored_once_but_for_another_wish() {
    let (_dir, store) = store();
    let (writer, bundle) = (writer(&store), bundle());
    let first = writer.commit(&bundle, Some(asked()), "ca", now()).unwrap();
    let again = writer.commit(&bundle, Some(asked()), "ca", now() + hours(1)).unwrap();
    assert_eq!(first, again);
    let imported = writer.commit(&bundle, None, "import", now()).unwrap();
    assert_eq!((imported.number, numbers(&writer)), (2, vec![1, 2]));
}

#[test]
fn a_number_is_never_given_twice() {
    let (_dir, store) = store();
    let writer = writer(&store);
    let commit = || writer.commit(&bundle(), None, "import", now()).unwrap().number;
    assert_eq!((commit(), commit(), commit()), (1, 2, 3));
    let rev = store.root().join("shared/certificates/pbx/rev");
    std::fs::remove_dir_all(rev.join("3")).unwrap();
    assert_eq!(commit(), 4);
    // Without its memory, what is there (also what is broken) says which were used.
    std::fs::rename(rev.join("4"), rev.join("4.broken-1")).unwrap();
    std::fs::remove_file(rev.join("../last.json")).unwrap();
    assert_eq!((commit(), numbers(&writer)), (5, vec![1, 2, 5]));
}

#[test]
fn kept_are_live_the_one_before_the_newest_and_three_more() {
    let (_dir, store) = store();
    let writer = writer(&store);
    for _ in 0..12 {
        writer.commit(&bundle(), None, "import", now()).unwrap();
    }
    writer.prune(&[7, 3]).unwrap();
    assert_eq!(numbers(&writer), [2, 3, 6, 7, 9, 10, 11, 12]);
    writer.prune(&[12]).unwrap();
    assert_eq!(numbers(&writer), [7, 9, 10, 11, 12]);
    writer.prune(&[]).unwrap();
    assert_eq!(numbers(&writer), [9, 10, 11, 12]);
    let rev = store.root().join("shared/certificates/pbx/rev");
    assert_eq!(fs::list(&rev).unwrap(), ["10", "11", "12", "9"]);
}

#[test]
fn the_key_of_an_order_is_written_once_and_goes_with_it() {
    let (_dir, store) = store();
    let writer = writer(&store);
    let key_file = store.root().join("shared/certificates/pbx/order.key");
    let mut order = journal(Stage::New);
    writer.remember_order(&order).unwrap();
    assert!(!writer.order_seen().unwrap().unwrap().sent);
    let inode = std::fs::metadata(&key_file).unwrap().ino();
    order.stage = Stage::Published {
        url: "https://ca.example/order/1".to_owned(),
        tokens: vec!["token".to_owned()],
    };
    writer.remember_order(&order).unwrap();
    assert_eq!(std::fs::metadata(&key_file).unwrap().ino(), inode);
    let recalled = writer.order().unwrap().unwrap();
    assert_eq!(recalled.key.public(), order.key.public());
    assert_eq!(recalled.stage, order.stage);
    let next = journal(Stage::New);
    writer.remember_order(&next).unwrap();
    let recalled = writer.order().unwrap().unwrap();
    assert_eq!(recalled.key.public(), next.key.public());
    writer.forget_order().unwrap();
    writer.forget_order().unwrap();
    assert!(!key_file.exists());
    assert!(writer.order().unwrap().is_none());
}

#[test]
fn an_order_with_the_key_of_another_is_no_order() {
    let (_dir, store) = store();
    writer(&store).remember_order(&journal(Stage::New)).unwrap();
    let dir = store.root().join("shared/certificates/pbx");
    std::fs::write(dir.join("order.key"), key().to_pem().as_bytes()).unwrap();
    assert!(store.certificate("pbx").unwrap().order().unwrap().is_none());
    drop(writer(&store));
    let left = fs::list(&dir).unwrap();
    let second = now().as_second();
    assert!(left.contains(&format!("order.json.broken-{second}")), "{left:?}");
    assert!(left.contains(&format!("order.key.broken-{second}")), "{left:?}");
}

#[test]
fn two_that_make_an_account_at_once_share_the_first() {
    let (_dir, store) = store();
    let issuer = store.issuer("acme").unwrap();
    let remember = |before: Option<&Account>, account: &Account| {
        issuer.remember_account(Goal::Certificate, before, account, now()).unwrap()
    };
    let (ours, theirs) = (account("https://ca.example"), account("https://ca.example"));
    assert_eq!(remember(None, &theirs).key.public(), theirs.key.public());
    assert_eq!(remember(None, &ours).key.public(), theirs.key.public());
    let registered = Account { url: Some("https://ca.example/1".to_owned()), ..theirs.clone() };
    assert_eq!(remember(Some(&theirs), &registered).url, registered.url);
    // The CA has forgotten it: made anew from what is known.
    assert_eq!(remember(Some(&registered), &ours).key.public(), ours.key.public());
    // Another directory is another account.
    let moved = account("https://other.example");
    assert_eq!(remember(None, &moved).directory, "https://other.example");
    let stored = issuer.account(Goal::Certificate).unwrap().unwrap();
    assert_eq!(stored.key.public(), moved.key.public());
}

#[test]
fn the_ledger_forgets_after_eight_days() {
    let (_dir, store) = store();
    let issuer = store.issuer("acme").unwrap();
    for age in [8 * 24 + 1, 8 * 24, 1] {
        issuer.record(issued(now() - hours(age)), now() - hours(age)).unwrap();
    }
    issuer.record(issued(now()), now()).unwrap();
    let entries = issuer.ledger(now()).unwrap().entries;
    let ages: Vec<_> = entries.iter().map(|entry| now().duration_since(entry.at)).collect();
    assert_eq!(ages, [hours(8 * 24), hours(1), hours(0)]);
}

#[test]
fn a_spent_ledger_is_spent_for_an_hour_whatever_the_clock_did() {
    let (_dir, store) = store();
    let issuer = store.issuer("acme").unwrap();
    issuer.record(issued(now()), now()).unwrap();
    let file = store.root().join("shared/issuers/acme/ledger.json");
    std::fs::write(&file, "").unwrap();
    let later = now() + hours(100_000);
    assert_eq!(issuer.ledger(later).unwrap().spent_until, Some(later + hours(1)));
    // Repaired on disk: the hour does not begin again with each look.
    let half = later + hours(1) / 2;
    assert_eq!(issuer.ledger(half).unwrap().spent_until, Some(later + hours(1)));
    // That clock was wrong.
    assert_eq!(issuer.ledger(now()).unwrap().spent_until, Some(now() + hours(1)));
    issuer.record(issued(later + hours(2)), later + hours(2)).unwrap();
    assert_eq!(issuer.ledger(later + hours(2)).unwrap().spent_until, None);
}

/// A handshake that showed revision 7.
fn proof() -> Verified {
    let leaf = crate::cert::bundle::tests::leaf(&["pbx.example"]);
    let wanted = leaf.fingerprint;
    let answer = Answer::Certificate {
        leaf: Box::new(leaf),
        chain: vec![wanted],
        top: None,
        unfinished: None,
    };
    let after = Served { at: now(), answer, protocol: None, options: None };
    let look = EndpointLook { name: "sips://127.0.0.1:5061", before: None, after: &after };
    match verdict(7, wanted, &[look]) {
        Verdict::Proved(verified) => verified,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_promotion_names_the_observation_behind_it() {
    let (_dir, store) = store();
    let writer = store.service("sip").unwrap().try_lock(now()).unwrap().unwrap();
    let mut state = ServiceState::default();
    let pair = state.pairs.entry("pbx".to_owned()).or_default();
    pair.step = Step::Reloaded;
    pair.problem = Some("not taken".to_owned());
    pair.retry_at = Some(now());
    let proof = proof();
    writer.promote(&mut state, "pbx", &proof, now()).unwrap();
    assert_eq!(ServiceState { schema: SCHEMA, ..state }, writer.state().unwrap());
    let pair = writer.state().unwrap().pairs.remove("pbx").unwrap();
    assert_eq!((pair.step, pair.revision, pair.since), (Step::Proved, Some(7), Some(now())));
    assert_eq!((pair.problem, pair.retry_at), (None, None));
    let promotion = pair.promoted.unwrap();
    assert_eq!((promotion.revision, promotion.at), (7, now()));
    assert_eq!(promotion.fingerprint, proof.fingerprint());
    assert_eq!(promotion.endpoints, ["sips://127.0.0.1:5061"]);
    assert!(writer.saved_dir("pbx").unwrap().parent().unwrap().is_dir());
}

#[test]
fn history_goes_on_in_a_new_file_and_keeps_one_old() {
    let (_dir, store) = store();
    let long = |n: usize| Event { text: format!("{n} {}", "x".repeat(300_000)), ..event("hook") };
    for n in 0..9 {
        store.record(&long(n)).unwrap();
    }
    let first = |e: &Event| e.text.chars().next().unwrap();
    let kept: String = store.history().unwrap().iter().map(first).collect();
    assert_eq!(kept, "45678");
    let node = store.root().join("node");
    for file in ["history.jsonl", "history.1.jsonl"] {
        assert!(std::fs::metadata(node.join(file)).unwrap().len() < 2 << 20);
    }
}

#[test]
fn a_torn_line_of_history_costs_that_line_only() {
    let (_dir, store) = store();
    store.record(&event("one")).unwrap();
    store.record(&event("two")).unwrap();
    let file = store.root().join("node/history.jsonl");
    let whole = std::fs::read(&file).unwrap();
    let first = whole.iter().position(|b| *b == b'\n').unwrap();
    for length in 0..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        store.record(&event("three")).unwrap();
        let told: Vec<String> = store.history().unwrap().into_iter().map(|e| e.what).collect();
        let expected: &[&str] = match length {
            _ if length < first => &["three"],
            _ if length < whole.len() - 1 => &["one", "three"],
            _ => &["one", "two", "three"],
        };
        assert_eq!(told, expected, "{length}");
    }
}
