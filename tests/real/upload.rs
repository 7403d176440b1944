//! What administrators have, through the real daemon's drop folder into two real services.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use pbxcert::cert::Fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::site::{Daemon, Layout, Site};

/// Each upload as its files; the password goes with each that needs one. Certificates of the same
/// key never follow each other: what is live already is nothing to deploy.
const UPLOADS: [&[&str]; 38] = [
    &["openssl3.p12"],
    &["rsa.p12"],
    &["legacy.p12"],
    &["rsa.crt", "rsa-pkcs1.key"],
    &["3des.p12"],
    &["gnutls.crt", "gnutls.key"],
    &["rc2-128.p12"],
    &["rsa.crt", "rsa-pkcs1.der"],
    &["windows.pfx"],
    &["rsa.crt", "rsa-pkcs8.der", "intermediate.cer"],
    &["bmp-name.p12"],
    &["rsa-streamed.p7b", "rsa-pkcs1.key"],
    &["umlaut-password.p12"],
    &["gnutls.crt", "gnutls.key"],
    &["no-mac.p12"],
    &["rsa.p12"],
    &["empty-password.p12"],
    &["gnutls.crt", "gnutls.key"],
    &["empty-password-legacy.p12"],
    &["rsa.p12"],
    &["no-encryption.p12"],
    &["gnutls.crt", "gnutls.key"],
    &["keytool.p12"],
    &["rsa.p12"],
    &["keytool-8.p12"],
    &["gnutls.crt", "gnutls.key"],
    &["pk12util.p12"],
    &["rsa.p12"],
    &["pk12util-old.p12"],
    &["gnutls.crt", "gnutls.key"],
    &["shop.crt", "shop.key", "shop.ca-bundle"],
    &["rsa.p12"],
    &["everything.docx"],
    &["gnutls.crt", "gnutls.key"],
    &["powershell.pem"],
    &["rsa.p12"],
    &["ec-parameters.pem"],
    &["gnutls.crt", "gnutls.key"],
];

/// The same for keys and certificates in forms that go together in any way.
const PARTS: [&[&str]; 19] = [
    &["certificate.cer", "intermediate.cer", "ec-sec1.der"],
    &["rsa.p12"],
    &["bare.txt", "shop.ca-bundle", "ec-pkcs8.der"],
    &["gnutls.crt", "gnutls.key"],
    &["trusted.pem", "pbes2.key"],
    &["rsa.p12"],
    &["chain.p7b", "pbes2-3des.key"],
    &["gnutls.crt", "gnutls.key"],
    &["chain-der.p7b", "scrypt.key"],
    &["rsa.p12"],
    &["certificates-only.p12", "key-only.p12"],
    &["gnutls.crt", "gnutls.key"],
    &["shop.crt", "pbes2-600000-rounds.key"],
    &["rsa.p12"],
    &["shop.crt", "pbes1-pkcs12.key"],
    &["gnutls.crt", "gnutls.key"],
    &["shop.crt", "pbes2.der"],
    &["rsa.p12"],
    &["shop.crt", "shop.key", "root.pem"],
];

/// Sites at work at the same time.
const SITES: usize = 4;

#[test]
fn every_bundle_that_people_have_ends_in_a_handshake_on_both_services() {
    all_served(&UPLOADS);
}

#[test]
fn every_certificate_and_every_key_that_people_have_ends_in_a_handshake_on_both_services() {
    all_served(&PARTS);
}

/// At several sites side by side: most of the time goes by in waiting for files to be quiet.
fn all_served(uploads: &[&[&str]]) {
    let share = uploads.len().div_ceil(SITES);
    std::thread::scope(|scope| {
        for uploads in uploads.chunks(share) {
            scope.spawn(|| served_one_after_the_other(uploads));
        }
    });
}

fn served_one_after_the_other(uploads: &[&[&str]]) {
    let Some(site) = Site::start(Layout::Folder) else { return };
    let daemon = manual(&site);
    for files in uploads {
        let leaf = leaf_of(files);
        upload(&site, files);
        all_serve(&site, leaf, &format!("{files:?}"));
        site.wait_until(&format!("{files:?} is tidied away"), || lies(&site).is_empty());
        assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    }
    for service in ["nginx", "kamailio"] {
        let switches = site.reloads(service);
        assert!(switches >= uploads.len(), "{service} was reloaded {switches} times only");
    }
    assert_eq!(daemon.stop(), Some(0));
}

/// First the note, then handshakes: never one while a service reloads.
fn all_serve(site: &Site, leaf: Fingerprint, what: &str) {
    site.wait_until(&format!("{what} is noted as live"), || site.is_noted_live(leaf));
    site.wait_until(&format!("{what} is served"), || {
        ["nginx", "kamailio"].iter().all(|service| site.served(service) == Ok(leaf))
    });
}

#[test]
fn nothing_in_a_hostile_folder_holds_up_a_good_upload_or_is_followed() {
    let Some(site) = Site::start(Layout::Folder) else { return };
    let mut daemon = manual(&site);
    let drop = drop_dir(&site);
    let secret = site.disk.join("secret.pem");
    std::fs::write(&secret, fixture("shop.key")).unwrap();
    hostile_entries(&drop, &secret);
    hostile_files(&drop);
    let idle = |daemon: &Daemon| {
        let mut last = (daemon.processor_time(), Instant::now());
        site.wait_until("it has dealt with it", || {
            let now = daemon.processor_time();
            if now != last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() > Duration::from_secs(7)
        });
    };
    idle(&daemon);
    assert_eq!(std::fs::read(&secret).unwrap(), fixture("shop.key"), "it followed a link");
    assert!(daemon.runs() && !daemon.log().contains("panicked"), "{}", daemon.log());

    // What is left lies there for good; 10,000 files are added, and a good upload.
    for n in 0..10_000 {
        std::fs::write(drop.join(format!("{n}.txt")), "Dear Sir").unwrap();
    }
    let restless = Restless::in_folder(&drop, &secret);
    let leaf = leaf_of(&["openssl3.p12"]);
    upload(&site, &["openssl3.p12"]);
    let begun = Instant::now();
    all_serve(&site, leaf, "the good one");
    let taken = begun.elapsed();
    std::mem::drop(restless);
    assert_eq!(std::fs::read(&secret).unwrap(), fixture("shop.key"), "it followed a link");
    println!("served {taken:?} after it was written among 10,000 others");
    let most = daemon.most_memory();
    println!("memory at most: {most} KiB");
    assert!(most < 64 << 10, "{most} KiB");
    assert!(daemon.runs());
    assert_eq!(daemon.stop(), Some(0));
}

fn hostile_entries(drop: &Path, secret: &Path) {
    symlink(secret, drop.join("link.pem")).unwrap();
    symlink("itself.pem", drop.join("itself.pem")).unwrap();
    symlink("nowhere", drop.join("dangling.pem")).unwrap();
    symlink("..", drop.join("above")).unwrap();
    std::fs::hard_link(secret, drop.join("hard.pem")).unwrap();
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, drop.join("fifo.pem"), fifo).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(drop.join("socket.pem")).unwrap();
    if super::is_root() {
        let (kind, device) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 5));
        rustix::fs::mknodat(rustix::fs::CWD, drop.join("zero.pem"), kind, fifo, device).unwrap();
    }
    std::fs::create_dir_all(drop.join("a/b/c")).unwrap();
    symlink("../../..", drop.join("a/b/c/loop")).unwrap();
    for name in
        [&b"new\nline.pem"[..], b"\x1b[2J.pem", b"$(reboot).pem", b"\xff\xfe.pem", &[b'x'; 255]]
    {
        std::fs::write(drop.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let large = std::fs::File::create(drop.join("large.p12")).unwrap();
    large.set_len(1 << 30).unwrap();
}

/// Files that are small and want much.
fn hostile_files(drop: &Path) {
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        nested = der(0x30, &nested);
    }
    std::fs::write(drop.join("nested.der"), nested).unwrap();
    // EncryptedPrivateKeyInfo with PBES2, PBKDF2 of 2^31 - 1 rounds, and with 1 GiB of scrypt.
    let pbkdf2 = [&[0x06, 0x09][..], b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c"].concat();
    let rounds = der(0x30, &[der(4, b"saltsalt"), der(2, &[0x7f, 0xff, 0xff, 0xff])].concat());
    let scrypt = [&[0x06, 0x09][..], b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b"].concat();
    let memory = [der(4, b"saltsalt"), der(2, &[0x10, 0, 0]), der(2, &[8]), der(2, &[1])].concat();
    for (name, kdf) in [
        ("rounds.key", [pbkdf2, rounds].concat()),
        ("scrypt.key", [scrypt, der(0x30, &memory)].concat()),
    ] {
        let aes = [&[0x06, 0x09][..], b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a"].concat();
        let cipher = der(0x30, &[aes, der(4, &[7; 16])].concat());
        let pbes2 = [&[0x06, 0x09][..], b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"].concat();
        let how = der(0x30, &[pbes2, der(0x30, &[der(0x30, &kdf), cipher].concat())].concat());
        std::fs::write(drop.join(name), der(0x30, &[how, der(4, &[9; 64])].concat())).unwrap();
    }
    // As many names as go into a file, and an RSA key of 65,536 bits.
    let rsa = |bits: usize| {
        let key = der(
            0x30,
            &[der(2, &[&[0], &vec![0xff; bits / 8][..]].concat()), der(2, &[3])].concat(),
        );
        let rsa =
            der(0x30, &[der(6, b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), der(5, &[])].concat());
        der(0x30, &[rsa, der(3, &[&[0], &key[..]].concat())].concat())
    };
    let names = der(0x82, b"a.b").repeat(50_000);
    std::fs::write(drop.join("names.crt"), certificate(&names, &rsa(2048))).unwrap();
    std::fs::write(drop.join("large.crt"), certificate(&der(0x82, b"a.b"), &rsa(65_536))).unwrap();
    // PKCS#12 whose only part takes 2^31 rounds.
    let data = |last: u8| der(6, &[&b"\x2a\x86\x48\x86\xf7\x0d\x01\x07"[..], &[last]].concat());
    let salted = [der(4, b"saltsalt"), der(2, &[0, 0x80, 0, 0, 0])].concat();
    let pbe = der(6, b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03");
    let pbe = der(0x30, &[pbe, der(0x30, &salted)].concat());
    let locked = der(0x30, &[data(1), pbe, der(0x80, &[1; 160])].concat());
    let part = [data(6), der(0xa0, &der(0x30, &[der(2, &[0]), locked].concat()))].concat();
    let safe = der(0xa0, &der(4, &der(0x30, &der(0x30, &part))));
    let pfx = [der(2, &[3]), der(0x30, &[data(1), safe].concat())].concat();
    std::fs::write(drop.join("rounds.p12"), der(0x30, &pfx)).unwrap();
    std::fs::write(drop.join("password.txt"), "changeit").unwrap();
    std::fs::write(drop.join("zeros.pem"), vec![0; 200 << 10]).unwrap();
    std::fs::write(drop.join("dashes.pem"), "-----BEGIN CERTIFICATE-----\n".repeat(8000)).unwrap();
}

/// With these names and this public key, signed by nobody.
fn certificate(names: &[u8], public: &[u8]) -> Vec<u8> {
    let sha256 = der(6, b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b");
    let algorithm = der(0x30, &[sha256, der(5, &[])].concat());
    let dates = der(0x30, &[der(0x17, b"260101000000Z"), der(0x17, b"300101000000Z")].concat());
    let san = [der(6, b"\x55\x1d\x11"), der(4, &der(0x30, names))].concat();
    let tbs = [
        der(0xa0, &der(2, &[2])),
        der(2, &[1]),
        algorithm.clone(),
        der(0x30, &[]),
        dates,
        der(0x30, &[]),
        public.to_vec(),
        der(0xa3, &der(0x30, &der(0x30, &san))),
    ];
    der(0x30, &[der(0x30, &tbs.concat()), algorithm, der(3, &[0; 65])].concat())
}

/// Somebody who never rests: one file grows, another is a link to a secret every other time.
struct Restless(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Restless {
    fn in_folder(drop: &Path, secret: &Path) -> Self {
        let (drop, secret) = (drop.to_owned(), secret.to_owned());
        let ends = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ends);
        let work = move || {
            let mut growing = std::fs::File::create(drop.join("growing.pem")).unwrap();
            let (swapped, beside) = (drop.join("swapped.pem"), drop.join(".swapped.tmp"));
            for turn in 0_u32.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                growing.write_all(b"-----BEGIN CERTIFICATE-----\n").unwrap();
                if turn % 2 == 0 {
                    symlink(&secret, &beside).unwrap();
                } else {
                    std::fs::write(&beside, "Dear Sir").unwrap();
                }
                std::fs::rename(&beside, &swapped).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        Self(ends, Some(std::thread::spawn(work)))
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let worker = self.1.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || worker.is_some_and(|ended| ended.is_ok()));
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let head = if content.len() < 128 {
        vec![tag, length[3]]
    } else {
        [&[tag, 0x84], &length[..]].concat()
    };
    [head, content.to_vec()].concat()
}

/// The daemon with a certificate that is uploaded, once its folder is there.
fn manual(site: &Site) -> Daemon {
    let anchor = site.disk.join("root.pem");
    std::fs::write(&anchor, fixture("root.pem")).unwrap();
    let manual =
        format!("names = [\"pbx.example.test\"]\nsource = \"manual\"\ntrust-anchor = {anchor:?}\n");
    site.write_config(|text| text.replace("names = [\"pbx.test\", \"sip.test\"]\n", &manual));
    let daemon = site.daemon();
    site.wait_until("the folder is made", || drop_dir(site).is_dir());
    daemon
}

fn drop_dir(site: &Site) -> PathBuf {
    site.state().join("drop/pbx")
}

/// What lies there, but for notes and what we keep.
fn lies(site: &Site) -> Vec<String> {
    let entries = std::fs::read_dir(drop_dir(site)).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|n| !["accepted", "rejected", "STATUS.txt"].contains(&n.as_str())).collect()
}

fn upload(site: &Site, files: &[&str]) {
    let password = match files {
        ["umlaut-password.p12"] => "pässwörd\n",
        _ if files.iter().any(|f| f.starts_with("empty-password")) => "",
        _ => "changeit\n",
    };
    // Hidden until all are there: were the machine busy for a second in between, the certificate
    // would be taken alone, with the key of a revision before it, and its own key be left over.
    let mut all: Vec<(&str, Vec<u8>)> = files.iter().map(|name| (*name, fixture(name))).collect();
    if !password.is_empty() {
        all.push(("password.txt", password.into()));
    }
    let hidden = |name: &str| drop_dir(site).join(format!(".{name}.tmp"));
    for (name, bytes) in &all {
        std::fs::write(hidden(name), bytes).unwrap();
    }
    for (name, _) in &all {
        std::fs::rename(hidden(name), drop_dir(site).join(name)).unwrap();
    }
}

fn leaf_of(files: &[&str]) -> Fingerprint {
    let leaf = match files[0] {
        name if name.starts_with("rsa") => "rsa.crt",
        name if name.starts_with("gnutls") => "gnutls.crt",
        _ => "shop.crt",
    };
    Fingerprint::of(&CertificateDer::from_pem_slice(&fixture(leaf)).unwrap())
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
    let text = std::fs::read_to_string(folder.join(format!("{name}.b64"))).unwrap();
    BASE64_STANDARD.decode(text.replace('\n', "")).unwrap()
}
