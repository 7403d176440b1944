//! Files that somebody cut, emptied, filled with rubbish or took from a newer pbxcert.

use super::*;

const JSON: [&str; 9] = [
    "shared/certificates/pbx/last.json",
    "shared/certificates/pbx/order.json",
    "shared/certificates/pbx/rev/1/meta.json",
    "shared/certificates/pbx/rev/2/meta.json",
    "shared/certificates/pbx/state.json",
    "shared/issuers/acme/account.json",
    "shared/issuers/acme/ledger.json",
    "node/services/sip/state.json",
    "node/daemon.json",
];

/// Reads everything there is: must never fail or panic.
fn read_all(store: &Store) -> Vec<Finding> {
    let pbx = store.certificate("pbx").unwrap();
    assert_eq!(numbers(&pbx), [1, 2], "a revision was lost");
    pbx.state().unwrap();
    pbx.order().unwrap();
    pbx.order_seen().unwrap();
    let issuer = store.issuer("acme").unwrap();
    issuer.account(Goal::Certificate).unwrap();
    store.service("sip").unwrap().state().unwrap();
    store.daemon_record().unwrap();
    store.findings().unwrap()
}

/// Takes every writer's role and writes something in it.
fn write_all(store: &Store) {
    let writer = writer(store);
    writer.remember(&CertState { over_budget: true, ..writer.state().unwrap() }).unwrap();
    writer.remember_order(&journal(Stage::New)).unwrap();
    let issuer = store.issuer("acme").unwrap();
    let known = issuer.account(Goal::Certificate).unwrap();
    let next = account("https://ca.example");
    issuer.remember_account(Goal::Certificate, known.as_ref(), &next, now()).unwrap();
    issuer.record(issued(now()), now()).unwrap();
    let service = store.service("sip").unwrap().try_lock(now()).unwrap().unwrap();
    let mut table = service.state().unwrap();
    table.mended.push(now());
    service.remember(&table).unwrap();
    let daemon = DaemonRecord {
        schema: SCHEMA,
        pid: 8,
        started_at: now(),
        config_hash: String::new(),
        degraded: None,
    };
    store.remember_daemon(&daemon).unwrap();
}

#[test]
fn a_file_cut_at_any_byte_is_moved_aside_and_no_revision_is_lost() {
    let (dir, store) = store();
    fill(&store);
    let pristine = dir.path().join("pristine");
    copy(store.root(), &pristine);
    for file in JSON {
        let path = store.root().join(file);
        let whole = std::fs::read(&path).unwrap();
        // Without its last newline it is whole.
        for length in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..length]).unwrap();
            let looking = Store::open_read_only(store.root()).unwrap();
            let findings = read_all(&looking);
            let expected = usize::from(file != "node/daemon.json");
            assert_eq!(findings.len(), expected, "{file} {length}: {findings:?}");
            if file.ends_with("ledger.json") {
                let ledger = looking.issuer("acme").unwrap().ledger(now()).unwrap();
                assert_eq!(ledger.spent_until, Some(now() + hours(1)));
            }
        }
        for length in [0, 1, whole.len() / 2, whole.len() - 2] {
            std::fs::remove_dir_all(store.root()).unwrap();
            copy(&pristine, store.root());
            std::fs::write(&path, &whole[..length]).unwrap();
            let store = Store::open(store.root()).unwrap();
            write_all(&store);
            let findings = read_all(&store);
            store.certificate("pbx").unwrap().bundle(1).unwrap();
            store.certificate("pbx").unwrap().bundle(2).unwrap();
            if file == "node/daemon.json" {
                assert_eq!(findings, []);
                continue;
            }
            let aside = format!("{}.broken-{}", path.display(), now().as_second());
            assert_eq!(std::fs::read(&aside).unwrap(), &whole[..length], "{file} {length}");
            assert!(findings.iter().any(|f| f.ways.concat().contains(&aside)), "{findings:?}");
            assert!(findings.iter().all(|f| f.ways.concat().contains(".broken-")), "{findings:?}");
            let told = store.history().unwrap();
            assert!(told.iter().any(|e| e.what == "repaired" && e.text.contains(&aside)));
            if file.ends_with("ledger.json") {
                let ledger = store.issuer("acme").unwrap().ledger(now()).unwrap();
                assert_eq!(ledger.spent_until, Some(now() + hours(1)));
            }
        }
        std::fs::remove_dir_all(store.root()).unwrap();
        copy(&pristine, store.root());
    }
}

#[test]
fn a_revision_with_a_cut_file_is_none_and_goes_out_of_the_way() {
    let (_dir, store) = store();
    fill(&store);
    let pbx = store.certificate("pbx").unwrap();
    let rev = store.root().join("shared/certificates/pbx/rev");
    for file in ["cert.pem", "chain.pem", "key.pem"] {
        let path = rev.join("2").join(file);
        let whole = std::fs::read(&path).unwrap();
        for length in (0..whole.len() - 1).step_by(17) {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(numbers(&pbx), [1], "{file} {length}");
            assert_eq!(pbx.newest().unwrap().unwrap().number, 1);
            assert!(matches!(pbx.bundle(2), Err(Error::NoRevision { number: 2, .. })));
            let findings = pbx.findings().unwrap();
            assert!(findings[0].text.starts_with("revision 2 is not whole"), "{findings:?}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(numbers(&pbx), [1, 2]);
    }
    std::fs::remove_file(rev.join("2/key.pem")).unwrap();
    let writer = writer(&store);
    let aside = format!("2.broken-{}", now().as_second());
    assert_eq!(fs::list(&rev).unwrap(), ["1", &aside]);
    assert_eq!(writer.commit(&bundle(), None, "import", now()).unwrap().number, 3);
}

#[test]
fn a_pair_that_was_put_in_anothers_place_is_no_revision() {
    let (_dir, store) = store();
    fill(&store);
    let rev = store.root().join("shared/certificates/pbx/rev");
    let pbx = store.certificate("pbx").unwrap();
    // A key of another certificate, then a whole other pair, then a chain without its middle.
    std::fs::copy(rev.join("1/key.pem"), rev.join("2/key.pem")).unwrap();
    assert_eq!(numbers(&pbx), [1]);
    std::fs::copy(rev.join("1/cert.pem"), rev.join("2/cert.pem")).unwrap();
    std::fs::copy(rev.join("1/chain.pem"), rev.join("2/chain.pem")).unwrap();
    assert_eq!(numbers(&pbx), [1]);
    std::fs::write(rev.join("1/chain.pem"), "").unwrap();
    assert_eq!(numbers(&pbx), Vec::<u64>::new());
}

#[test]
fn a_revision_whose_facts_are_gone_is_read_from_its_files() {
    let (_dir, store) = store();
    fill(&store);
    let pbx = store.certificate("pbx").unwrap();
    let rev = store.root().join("shared/certificates/pbx/rev");
    let before = pbx.newest().unwrap().unwrap();
    std::fs::remove_file(rev.join("2/meta.json")).unwrap();
    // Same pair, other bytes: still the same revision.
    let text = std::fs::read_to_string(rev.join("1/cert.pem")).unwrap();
    std::fs::write(rev.join("1/cert.pem"), text.replace('\n', "\r\n")).unwrap();
    assert_eq!(numbers(&pbx), [1, 2]);
    assert_eq!(pbx.findings().unwrap().len(), 2);
    drop(writer(&store));
    assert_eq!(pbx.findings().unwrap(), []);
    let after = pbx.newest().unwrap().unwrap();
    assert_eq!((after.number, &after.leaf), (2, &before.leaf));
    assert_eq!((after.asked, after.chain_length), (None, before.chain_length));
    let told = store.history().unwrap();
    assert_eq!(told.iter().filter(|e| e.what == "repaired").count(), 2);
}

#[test]
fn what_a_newer_pbxcert_wrote_is_left_alone() {
    let (_dir, store) = store();
    fill(&store);
    for file in JSON {
        let path = store.root().join(file);
        let whole = std::fs::read_to_string(&path).unwrap();
        let newer = whole.replacen("\"schema\": 1", "\"schema\": 2", 1);
        assert_ne!(newer, whole, "{file}");
        std::fs::write(&path, &newer).unwrap();
        let before = tree(store.root());
        let tried: Vec<Option<Error>> = match file.split('/').nth(1).unwrap() {
            "certificates" => vec![store.certificate("pbx").unwrap().try_lock(now()).err()],
            "issuers" => {
                let issuer = store.issuer("acme").unwrap();
                let account = account("https://ca.example");
                let goal = Goal::Certificate;
                if file.ends_with("ledger.json") {
                    vec![issuer.record(issued(now()), now()).err(), issuer.ledger(now()).err()]
                } else {
                    vec![
                        issuer.account(goal).err(),
                        issuer.remember_account(goal, None, &account, now()).err(),
                    ]
                }
            }
            "services" => {
                let service = store.service("sip").unwrap();
                vec![service.state().err(), service.try_lock(now()).err()]
            }
            _ => vec![
                store.daemon_record().err(),
                store
                    .remember_daemon(&DaemonRecord {
                        schema: SCHEMA,
                        pid: 9,
                        started_at: now(),
                        config_hash: String::new(),
                        degraded: None,
                    })
                    .err(),
            ],
        };
        for error in tried {
            let error = error.unwrap();
            assert!(matches!(&error, Error::Newer { path: told, schema: 2 } if *told == path));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer, "{file}");
        assert_eq!(tree(store.root()), before, "{file}");
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(read_all(&store), []);
}

#[test]
fn nothing_that_is_told_of_damage_holds_a_key() {
    let (_dir, store) = store();
    fill(&store);
    let path = store.root().join("shared/issuers/acme/account.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    for cut in ["\"directory\"", "\"url\""] {
        std::fs::write(&path, whole.replace(cut, "\"else\"")).unwrap();
        let findings = format!("{:?}", store.findings().unwrap());
        assert!(!findings.contains("PRIVATE KEY"), "{findings}");
    }
    std::fs::write(&path, whole.replace("\"key\": \"", "\"key\": 7, \"other\": \"")).unwrap();
    let issuer = store.issuer("acme").unwrap();
    let next = account("https://ca.example");
    issuer.remember_account(Goal::Certificate, None, &next, now()).unwrap();
    let told = format!("{:?}{:?}", store.findings().unwrap(), store.history().unwrap());
    assert!(told.contains("account.json.broken-"), "{told}");
    assert!(!told.contains("PRIVATE KEY"), "{told}");
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, from.metadata().unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[test]
fn a_placeholder_that_lost_its_record_is_still_none_but_a_placeholder() {
    let (_dir, store) = store();
    let validity = crate::cert::Validity { not_before: now(), not_after: now() + hours(720) };
    let bundle = key().self_signed(&names(&["pbx.example"]), validity).unwrap();
    writer(&store).commit(&bundle, None, crate::state::Origin::Placeholder, now()).unwrap();
    let meta = store.root().join("shared/certificates/pbx/rev/1/meta.json");
    std::fs::remove_file(meta).unwrap();
    assert!(store.certificate("pbx").unwrap().newest().unwrap().unwrap().is_placeholder());
}
