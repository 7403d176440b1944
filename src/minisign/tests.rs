use super::*;

/// Of minisign's author: <https://github.com/jedisct1/rust-minisign-verify>.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

const ED: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";

const ED_HASHED: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
";

fn key() -> PublicKey {
    PublicKey::parse(KEY).unwrap()
}

#[test]
fn signatures_of_minisign_are_taken_in_both_forms() {
    assert_eq!(key().id().to_string(), "E7620F1842B4E81F");
    assert_eq!(key().to_string(), KEY);
    for text in [ED, ED_HASHED] {
        let Signed { by, comment } = verify(b"test", text.as_bytes(), &[key()]).unwrap();
        assert_eq!(by, key().id());
        assert!(comment.starts_with("timestamp:155"), "{comment}");
        // Line ends of another system.
        verify(b"test", text.replace('\n', "\r\n").as_bytes(), &[key()]).unwrap();
    }
}

#[test]
fn another_document_comment_or_key_is_refused() {
    let other = PrivateKey::generate().unwrap().public();
    for text in [ED, ED_HASHED] {
        assert_eq!(verify(b"Test", text.as_bytes(), &[key()]), Err(Error::Forged));
        let comment = text.replace("file:test", "file:text");
        assert_eq!(verify(b"test", comment.as_bytes(), &[key()]), Err(Error::Forged));
        let none = verify(b"test", text.as_bytes(), &[]);
        assert_eq!(none, Err(Error::OtherKey(key().id())));
        assert!(verify(b"test", text.as_bytes(), std::slice::from_ref(&other)).is_err());
        verify(b"test", text.as_bytes(), &[other.clone(), key()]).unwrap();
        // The id is only a name: another key under it makes nothing good.
        let liar = PublicKey { id: key().id(), bytes: other.bytes };
        assert_eq!(verify(b"test", text.as_bytes(), &[liar]), Err(Error::Forged));
    }
    // A signature over the document is none over its hash.
    let swapped = ED.replacen("RWQf", "RUQf", 1);
    assert_eq!(verify(b"test", swapped.as_bytes(), &[key()]), Err(Error::Forged));
}

#[test]
fn what_is_no_signature_is_said_to_be_none() {
    let lines: Vec<&str> = ED.lines().collect();
    let mut texts: Vec<String> = (0..4).map(|n| lines[..n].join("\n")).collect();
    texts.extend([
        ED.replacen("RWQf", "RWRf\u{1}", 1),
        ED.replacen("untrusted comment:", "comment:", 1),
        ED.replacen("RWQf", "AAQf", 1),
        ED.replacen("xwA=", "", 1),
        format!("{ED}\n{ED}"),
        "x".repeat(SIGNATURE_LIMIT + 1),
    ]);
    for text in texts {
        let answer = verify(b"test", text.as_bytes(), &[key()]);
        assert!(matches!(answer, Err(Error::NoSignature(_))), "{text:?}: {answer:?}");
    }
    assert!(verify(b"test", &[0xff; 100], &[key()]).is_err());
}

#[test]
fn what_is_signed_here_can_be_read_back() {
    let private = PrivateKey::generate().unwrap();
    let again = PrivateKey::parse(&private.to_text()).unwrap();
    assert_eq!(again.public(), private.public());
    let text = again.sign(b"a document", "timestamp:1\tline\nend");
    let signed = verify(b"a document", text.as_bytes(), &[private.public()]).unwrap();
    assert_eq!(signed.comment, "timestamp:1\tlineend");
    assert!(!format!("{private:?}").contains(&STANDARD.encode(&private.bytes[..32])));
}

#[test]
fn a_private_key_that_is_damaged_or_locked_is_refused() {
    let text = PrivateKey::generate().unwrap().to_text();
    let line = text.lines().nth(1).unwrap();
    let bytes = STANDARD.decode(line).unwrap();
    for at in [0, 2, 60, 100, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let bad = format!("x\n{}\n", STANDARD.encode(bad));
        let error = PrivateKey::parse(&bad).unwrap_err();
        assert!(matches!(error, Error::NoPrivateKey(_)), "{at}: {error}");
    }
    for bad in ["", "x", "x\n!", "x\nRWQ="] {
        assert!(PrivateKey::parse(bad).is_err(), "{bad}");
    }
}
