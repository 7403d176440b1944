//! A request that somebody may have seen has its key here, whatever happened in between.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::*;
use crate::config::{CertSpec, Source, UploadSpec};

fn spec(root: &Path, names: &[&str]) -> CertSpec {
    CertSpec {
        name: "pbx".to_owned(),
        identifiers: super::names(names),
        key: KeyType::EcdsaP256,
        source: Source::Manual,
        upload: UploadSpec {
            dir: root.join("drop/pbx"),
            group: None,
            poll: false,
            trust_anchor: None,
            fetch_intermediates: false,
        },
        issuers: Vec::new(),
        challenges: Vec::new(),
        min_age: std::time::Duration::ZERO,
        on_trust_change: crate::config::OnTrustChange::Ask,
    }
}

fn public(pem: &str) -> Vec<u8> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
    request.verify_signature().unwrap();
    request.certification_request_info.subject_pki.raw.to_vec()
}

fn waits(store: &Store, pem: &str) -> bool {
    let keys = store.certificate("pbx").unwrap().waiting_keys().unwrap();
    keys.iter().any(|key| key.public() == public(pem))
}

fn answer(store: &Store, pem: &str) -> Bundle {
    let keys = store.certificate("pbx").unwrap().waiting_keys().unwrap();
    let key = keys.into_iter().find(|key| key.public() == public(pem)).unwrap();
    let cert = Ca::root("shop").issue(&["pbx.example"], &key);
    Bundle::parse(cert.as_bytes(), key).unwrap()
}

#[test]
fn one_request_stands_until_it_is_used() {
    let (dir, store) = store();
    std::fs::create_dir(dir.path().join("drop")).unwrap();
    let spec = spec(dir.path(), &["pbx.example", "192.0.2.7"]);
    let writer = writer(&store);
    assert!(writer.standing_csr(&spec).unwrap().is_none());
    let csr = writer.csr(&spec, now()).unwrap();
    assert!(csr.is_new && waits(&store, &csr.pem));
    let again = writer.csr(&spec, now() + hours(24)).unwrap();
    assert_eq!(again, Csr { is_new: false, ..csr.clone() });
    assert_eq!(std::fs::read_to_string(&csr.path).unwrap(), csr.pem);
    let beside = dir.path().join("drop/pbx.csr");
    assert_eq!(csr.beside.as_deref(), Some(beside.as_path()));
    assert_eq!(std::fs::read_to_string(&beside).unwrap(), csr.pem);
    assert_eq!(beside.metadata().unwrap().permissions().mode() & 0o7777, 0o644);
    let key = csr.path.with_extension("key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o7777, 0o600);

    // Answered: the next one has another key, and the first is kept until it is live.
    let revision = writer.commit(&answer(&store, &csr.pem), None, "upload", now()).unwrap();
    let next = writer.csr(&spec, now() + hours(48)).unwrap();
    assert!(next.is_new);
    assert_ne!(public(&next.pem), public(&csr.pem));
    writer.retire_csrs(&spec, &[revision.number]).unwrap();
    assert!(waits(&store, &next.pem), "it is not answered yet");
    assert_eq!(writer.csr(&spec, now()).unwrap().pem, next.pem);
    let files = std::fs::read_dir(csr.path.parent().unwrap()).unwrap();
    let keys =
        files.filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().ends_with(".key"));
    assert_eq!(keys.count(), 1, "the used key lies with its revision alone");
}

#[test]
fn the_summary_says_what_to_do() {
    let (dir, store) = store();
    let spec = spec(dir.path(), &["pbx.example", "192.0.2.7"]);
    let csr = writer(&store).csr(&spec, now()).unwrap();
    assert_eq!(csr.beside, None, "there is no drop folder");
    for said in [
        "Subject alternative names: DNS:pbx.example, IP Address:192.0.2.7\n",
        "Key: ECDSA, curve P-256 (prime256v1)\n",
        "Made at: 2026-03-01 12:00 UTC\n",
        &format!("into\n   {}/\n", spec.upload.dir.display()),
        "pbxcert csr pbx --new\n",
        &csr.pem,
    ] {
        assert!(csr.text.contains(said), "{said:?} is not in\n{}", csr.text);
    }
    assert!(!csr.text.contains("PRIVATE KEY"));
    assert_eq!(std::fs::read_to_string(csr.path.with_extension("txt")).unwrap(), csr.text);
}

#[test]
fn another_wish_or_a_person_makes_a_new_one_and_every_old_answer_still_finds_its_key() {
    let (dir, store) = store();
    let writer = writer(&store);
    let one = writer.csr(&spec(dir.path(), &["pbx.example"]), now()).unwrap();
    let wish = spec(dir.path(), &["pbx.example", "sip.example"]);
    let two = writer.csr(&wish, now()).unwrap();
    assert!(two.is_new, "the names are others");
    let three = writer.new_csr(&wish, now()).unwrap();
    let keys = store.certificate("pbx").unwrap().waiting_keys().unwrap();
    let expected: Vec<Vec<u8>> = [&three, &two, &one].map(|csr| public(&csr.pem)).to_vec();
    assert_eq!(keys.iter().map(|k| k.public().to_vec()).collect::<Vec<_>>(), expected);

    // The answer to the second is live: the first is over, the third still waits.
    let revision = writer.commit(&answer(&store, &two.pem), None, "upload", now()).unwrap();
    writer.retire_csrs(&wish, &[]).unwrap();
    assert!(waits(&store, &one.pem), "nothing is live yet");
    writer.retire_csrs(&wish, &[revision.number]).unwrap();
    assert!(!waits(&store, &one.pem) && waits(&store, &three.pem));
    let last = writer.commit(&answer(&store, &three.pem), None, "upload", now()).unwrap();
    writer.retire_csrs(&wish, &[last.number]).unwrap();
    assert!(!three.path.exists() && !three.path.with_extension("key").exists());
}

#[test]
fn a_damaged_record_loses_no_key() {
    let (dir, store) = store();
    let spec = spec(dir.path(), &["pbx.example"]);
    let csr = writer(&store).csr(&spec, now()).unwrap();
    std::fs::write(csr.path.with_extension("json"), "{").unwrap();
    let findings = store.findings().unwrap();
    assert!(findings.iter().any(|f| f.text.contains("csr.json is damaged")), "{findings:?}");
    let writer = writer(&store);
    let next = writer.csr(&spec, now()).unwrap();
    assert!(next.is_new && waits(&store, &csr.pem) && waits(&store, &next.pem));
}

#[test]
fn after_a_crash_anywhere_each_request_that_can_be_seen_has_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let mut n = 0;
    loop {
        n += 1;
        let here = root.join(n.to_string());
        std::fs::create_dir_all(here.join("drop")).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::csr::the_requests_of_the_child", "--ignored"])
            .env("PBXCERT_CRASH_AT", n.to_string())
            .env("PBXCERT_TEST_STATE", &here)
            .output()
            .unwrap()
            .status;
        assert!(status.success() || status.signal() == Some(6), "{n}: {status}");
        let store = Store::open(&here.join("state")).unwrap();
        let folder = here.join("state/shared/certificates/pbx");
        let seen = |path: PathBuf| {
            let pem = std::fs::read_to_string(path).ok()?;
            Some((waits(&store, &pem), pem))
        };
        let check = || {
            for path in [folder.join("csr.pem"), here.join("drop/pbx.csr")] {
                assert!(seen(path).is_none_or(|(waits, _)| waits), "{n}: a key is lost");
            }
        };
        check();
        // The next run brings it to its end; what was seen before still has its key.
        let before = seen(folder.join("csr.pem"));
        let csr = writer(&store).csr(&spec(&here, &["pbx.example"]), now()).unwrap();
        check();
        assert!(waits(&store, &csr.pem), "{n}");
        assert!(before.is_none_or(|(_, pem)| waits(&store, &pem)), "{n}: the older key is lost");
        assert_eq!(std::fs::read_to_string(here.join("drop/pbx.csr")).unwrap(), csr.pem);
        if status.success() {
            break;
        }
    }
    assert!(n > 20, "only {n} operations were counted");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn the_requests_of_the_child() {
    let Some(here) = std::env::var_os("PBXCERT_TEST_STATE") else { return };
    let here = Path::new(&here);
    let store = Store::open(&here.join("state")).unwrap();
    let writer = writer(&store);
    let spec = spec(here, &["pbx.example"]);
    writer.csr(&spec, now()).unwrap();
    writer.new_csr(&spec, now()).unwrap();
}

/// What a web shop does with it, by OpenSSL: verify, read subject and names.
#[test]
fn openssl_verifies_the_request_and_reads_common_name_and_every_name() {
    let (dir, store) = store();
    for kind in KeyType::ALL {
        let names = [
            "pbx.example.com",
            "*.voip.example.com",
            "xn--bro-hoa.example",
            "192.0.2.7",
            "2001:db8::1",
        ];
        let spec = CertSpec { key: kind, ..spec(dir.path(), &names) };
        let csr = writer(&store).csr(&spec, now()).unwrap();
        let output = Command::new("openssl")
            .args(["req", "-verify", "-noout", "-subject", "-text", "-in"])
            .arg(&csr.path)
            .output()
            .expect("openssl is installed");
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind}: {text}");
        for said in [
            "Certificate request self-signature verify OK",
            "subject=CN = pbx.example.com",
            "DNS:pbx.example.com, DNS:*.voip.example.com, DNS:xn--bro-hoa.example, \
             IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:1",
        ] {
            assert!(text.contains(said), "{kind}: {said:?} is not in {text}");
        }
    }
}

#[test]
fn a_common_name_is_a_dns_name_that_fits() {
    let long = format!("{}.example", "a".repeat(60));
    let key = key();
    for (names, common) in [
        (vec!["192.0.2.7", "pbx.example"], Some("pbx.example")),
        (vec![long.as_str(), "pbx.example"], Some("pbx.example")),
        (vec!["192.0.2.7"], Some("192.0.2.7")),
        (vec![long.as_str()], None),
    ] {
        let der = key.csr_with_name(&super::names(&names)).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
        let subject = &request.certification_request_info.subject;
        let found = subject.iter_common_name().next().map(|cn| cn.as_str().unwrap());
        assert_eq!(found, common, "{names:?}");
    }
}
