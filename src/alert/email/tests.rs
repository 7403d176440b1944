use super::*;
use crate::alert::tests::{NOW, hostile, message};

fn written(message: &Message) -> String {
    let spec = EmailSpec {
        to: vec!["Night shift <noc@pbx.de>".into(), "two@pbx.de".into()],
        from: "PBX <pbx@hotelpost.at>".into(),
        server: "127.0.0.1".into(),
        port: 25,
        tls: MailTls::None,
        login: None,
        trust_anchor: None,
    };
    let mail = mail(&spec, message, NOW.parse().unwrap()).unwrap();
    String::from_utf8(mail.formatted()).unwrap()
}

/// The headers of the mail itself, folded lines joined.
fn headers(mail: &str) -> Vec<(String, String)> {
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
        (name.to_owned(), value.to_owned())
    };
    head.split("\r\n").map(field).collect()
}

#[test]
fn a_mail_says_what_it_is_and_carries_the_request() {
    let mail = written(&message());
    let headers = headers(&mail);
    let header = |name: &str| {
        let mut all = headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let first = all.next();
        assert!(all.next().is_none(), "{name} stands twice");
        first
    };
    assert_eq!(header("Subject"), Some(message().subject.as_str()));
    assert_eq!(header("From"), Some("PBX <pbx@hotelpost.at>"));
    assert_eq!(header("To"), Some("\"Night shift\" <noc@pbx.de>, two@pbx.de"));
    assert_eq!(header("Date"), Some("Tue, 01 Dec 2026 03:00:05 +0000"));
    assert_eq!(header("Auto-Submitted"), Some("auto-generated"));
    assert_eq!(header("Importance"), Some("high"));
    let id = header("Message-ID").unwrap();
    assert!(id.starts_with('<') && id.ends_with("@hotelpost.at>") && id.len() == 2 + 32 + 13);
    assert!(written(&message()).contains(id), "the same message has the same id");
    assert!(mail.contains("Content-Disposition: attachment; filename=\"pbx.csr\""), "{mail}");
    assert!(mail.contains("-----BEGIN CERTIFICATE REQUEST-----"), "{mail}");
}

#[test]
fn nothing_that_others_wrote_becomes_a_header() {
    let mail = written(&hostile());
    let names: Vec<String> = headers(&mail).into_iter().map(|(name, _)| name).collect();
    let clean = written(&message());
    let expected: Vec<String> = headers(&clean).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, expected);
    assert!(mail.len() < 512 << 10, "{}", mail.len());
    assert!(!mail.contains('\0') && !mail.contains('\u{1b}'));
}
