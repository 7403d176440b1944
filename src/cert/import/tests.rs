use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::*;

mod hostile;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import")
}

fn fixture(name: &str) -> File {
    let text = std::fs::read_to_string(folder().join(format!("{name}.b64"))).unwrap();
    let bytes = BASE64_STANDARD.decode(text.replace('\n', "")).unwrap();
    File { name: name.to_owned(), bytes: Zeroizing::new(bytes) }
}

fn file(name: &str, bytes: impl Into<Vec<u8>>) -> File {
    File { name: name.to_owned(), bytes: Zeroizing::new(bytes.into()) }
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".b64").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn password(name: &str) -> Option<&'static str> {
    match name {
        "umlaut-password.p12" => Some("pässwörd"),
        name if name.starts_with("empty-password") => None,
        _ => Some("changeit"),
    }
}

/// One file of the fixtures as one line: who is in it, and what is wrong with it.
fn line(name: &str) -> String {
    let first = |name: &str| parts(&fixture(name), None, 0).certificates[0].clone();
    let bundle = parts(&fixture("shop.ca-bundle"), None, 0).certificates;
    let known = [
        ("leaf", first("shop.crt")),
        ("leaf-rsa", first("rsa.crt")),
        ("leaf-gnutls", first("gnutls.crt")),
        ("intermediate", bundle[0].clone()),
        ("root", first("root.pem")),
    ];
    let found = parts(&fixture(name), password(name), ROUNDS);
    let mut words = Vec::new();
    for der in &found.certificates {
        let who = known.iter().find(|(_, k)| k == der);
        words.push(who.map_or("?", |(who, _)| who).to_owned());
    }
    for key in &found.keys {
        let fits = |der: &CertificateDer<'_>| {
            X509Certificate::from_der(der).unwrap().1.public_key().raw == key.public()
        };
        let whose = known.iter().find(|(_, k)| fits(k)).map_or("?", |(who, _)| who);
        words.push(format!("key of {whose}"));
    }
    words.extend(found.problems);
    format!("{name}: {}\n", words.join(", "))
}

#[test]
fn every_fixture_gives_what_it_holds_or_its_sentence() {
    let lines: String = names().iter().map(|name| line(name)).collect();
    let expected = include_str!("tests/fixtures.txt");
    assert!(lines == expected, "{lines}");
}

/// Every problem, so that a new one cannot be forgotten here.
fn problems() -> Vec<Problem> {
    vec![
        Problem::Archive("zip", "unzip"),
        Problem::CurveSpelledOut,
        Problem::Csr,
        Problem::Crl,
        Problem::Damaged("the private key"),
        Problem::Empty,
        Problem::Html,
        Problem::JavaKeystore("JKS"),
        Problem::KeyKind,
        Problem::LegacyPem,
        Problem::Locked,
        Problem::Nothing("PKCS#12 file"),
        Problem::OldCipher(Form::Key),
        Problem::OldCipher(Form::Pkcs12),
        Problem::PublicKey,
        Problem::RsaSize(65_536),
        Problem::Rounds(Form::Key, 2_147_483_647),
        Problem::Rounds(Form::Pkcs12, 600_000),
        Problem::Scrypt(Form::Key, 1024),
        Problem::Scrypt(Form::Pkcs12, 1024),
        Problem::SshKey,
        Problem::TooManyCertificates(140),
        Problem::TooManyKeys(11),
        Problem::TooManyNames(100_000),
        Problem::Unknown,
        Problem::WrongPassword,
    ]
}

#[test]
fn every_sentence_says_what_to_do_next() {
    let sentences: Vec<String> = problems().iter().map(|p| p.sentence("FILE")).collect();
    for sentence in &sentences {
        let next = ["upload", "convert it", "copy", "unpack", "order", "export", "put the"];
        assert!(next.iter().any(|v| sentence.to_lowercase().contains(v)), "{sentence}");
        assert!(!sentence.ends_with('.') && !sentence.contains('\n'), "{sentence}");
    }
    let all = sentences.join("\n") + "\n";
    assert!(all == include_str!("tests/sentences.txt"), "{all}");
}

#[test]
fn a_password_is_read_as_every_editor_writes_it() {
    let wide =
        |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
    let little: Vec<u8> = wide("\u{feff}pässwörd\r\n", u16::to_le_bytes);
    let big: Vec<u8> = wide("\u{feff}pässwörd", u16::to_be_bytes);
    for bytes in [
        "pässwörd".as_bytes(),
        "pässwörd\n".as_bytes(),
        "pässwörd\r\n".as_bytes(),
        "\u{feff}pässwörd\r\n".as_bytes(),
        &little,
        &big,
    ] {
        assert_eq!(super::password(bytes).unwrap().as_str(), "pässwörd", "{bytes:?}");
    }
    // Nothing else is taken away.
    assert_eq!(super::password(b" a b \n\n").unwrap().as_str(), " a b \n");
    for bytes in [&b"p\xe4ssw\xf6rd"[..], &little[..5], b"\xff\xfe\x00\xd8"] {
        assert!(super::password(bytes).unwrap_err().contains("save it as UTF-8"), "{bytes:?}");
    }
}

#[test]
fn a_command_to_be_copied_holds_no_name_that_a_shell_could_run() {
    for name in ["$(reboot).jks", "a b.jks", "`x`", "-rf", "a;b", "büro.jks", "a'b", ""] {
        let sentence = Problem::LegacyPem.sentence(name);
        assert!(sentence.contains(" -in FILE -out "), "{sentence}");
    }
    assert!(Problem::LegacyPem.sentence("a-b_c.1").contains(" -in a-b_c.1 -out "));
}
