//! Alerts, looked at where they arrive: a mailbox, an HTTP server, a log, a telephone.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use pbxcert::alert::{self, Notifier, Verdict};
use pbxcert::config::alerts::{AlertSpec, Level, Way};
use pbxcert::config::file;
use pbxcert::state::alert::{Attachment, Message};
use serde_json::Value;
use tempfile::TempDir;

use super::registrar::Phone;
use super::sink::Sink;
use super::{Pair, mailbox::Mailbox, registrar::Registrar};

const REQUEST: &str =
    "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n";

fn message() -> Message {
    Message {
        id: "renewal/pbx/1".into(),
        at: "2026-12-01T03:00:00Z".parse().unwrap(),
        level: Level::Urgent,
        site: "0142 Hotel Pöst".into(),
        object: "pbx".into(),
        condition: "renewal".into(),
        recovered: false,
        ends: None,
        by: Some("2026-12-12T13:05:00Z".parse().unwrap()),
        subject: "URGENT 0142 Hotel Pöst: no renewal of pbx.hotelpost.at, ends Sat 12 Dec".into(),
        body: "Let's Encrypt cannot open it.\n\nDo: (1) open TCP 80 — everywhere.\n.\nEnd.".into(),
        attachments: vec![Attachment { name: "pbx.csr".into(), text: REQUEST.into() }],
    }
}

/// What a CA, a site's name and a file's name may hold: line ends, controls, and ten megabytes.
fn hostile() -> Message {
    let evil = "x\r\nBcc: evil@evil.example\r\n\r\n\0\u{1b}[2J\u{202e}";
    Message {
        id: evil.into(),
        site: evil.into(),
        object: evil.into(),
        condition: evil.into(),
        subject: format!("URGENT {evil}"),
        body: format!("{evil}\n.\r\nQUIT\r\n").repeat((10 << 20) / 50),
        attachments: vec![Attachment { name: evil.into(), text: evil.into() }],
        ..message()
    }
}

fn now() -> Timestamp {
    "2026-12-01T03:00:05Z".parse().unwrap()
}

/// The channels of a configuration with these lines in `[alerts]`.
fn alerts(lines: &str) -> AlertSpec {
    let text = format!("[alerts]\n{lines}\n");
    match file::parse(Path::new("test.toml"), &text) {
        Ok(loaded) => loaded.config.alerts,
        Err(problems) => panic!("{problems}"),
    }
}

fn channel(lines: &str) -> Rc<dyn Notifier> {
    alert::channels(&alerts(lines)).remove(0)
}

/// Through each of them.
async fn send(lines: &str, message: &Message) -> Result<(), String> {
    for channel in alert::channels(&alerts(lines)) {
        channel.send(message, now()).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// A folder with secrets, each a file of mode 0600.
fn secrets(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_mail_reaches_the_mailbox_over_starttls_and_over_tls_with_its_attachment() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    pair.write_self_signed("localhost");
    let Some(postfix) = Mailbox::start(&pair) else { return };
    let secrets = secrets(&[("right", "hunter2 with space\n"), ("wrong", "hunter3\n")]);
    let mail = |port: u16, tls: &str, password: &str| {
        format!(
            "email = {{ to = [\"noc@pbx.test\", \"Zwölf <two@pbx.test>\"], from = \"pbx@pbx.test\", \
             server = \"localhost\", port = {port}, tls = {tls:?}, user = \"pbx\", \
             password-file = {:?}, trust-anchor = {:?} }}",
            secrets.path().join(password),
            pair.fullchain
        )
    };
    let (submission, wrapped) = (postfix.submission.port(), postfix.wrapped.port());
    send(&mail(submission, "starttls", "right"), &message()).await.unwrap();
    // Two recipients, one box.
    for mail in postfix.mails(2) {
        assert!(mail.contains("\nX-Original-To: "), "{mail}");
        assert!(mail.contains("\nDate: Tue, 01 Dec 2026 03:00:05 +0000"), "{mail}");
        assert!(mail.contains("\nAuto-Submitted: auto-generated"), "{mail}");
        assert!(mail.contains("filename=\"pbx.csr\""), "{mail}");
        assert!(mail.contains("with ESMTPSA"), "neither TLS nor login? {mail}");
        assert!(decoded(&mail).contains("Hotel Pöst: no renewal"), "{mail}");
        assert!(mail.contains("-----BEGIN CERTIFICATE REQUEST-----"), "{mail}");
    }
    send(&mail(wrapped, "tls", "right"), &message()).await.unwrap();
    let mails = postfix.mails(4);
    let id =
        |mail: &String| mail.lines().find(|l| l.starts_with("Message-ID: ")).unwrap().to_owned();
    assert!(mails.iter().all(|mail| id(mail) == id(&mails[0])), "one message, one id");

    let told = send(&mail(submission, "starttls", "wrong"), &message()).await.unwrap_err();
    assert!(told.contains("refuses user and password") && told.contains("535"), "{told}");
    assert!(!told.contains("hunter"), "{told}");
    let plain = postfix.plain.port();
    let told = send(&mail(plain, "starttls", "right"), &message()).await.unwrap_err();
    assert!(told.contains("offers no STARTTLS, so nothing was sent"), "{told}");
    let untrusted = mail(submission, "starttls", "right").replace(", trust-anchor", " } #");
    let told = send(&untrusted, &message()).await.unwrap_err();
    assert!(told.contains("needs trust-anchor"), "{told}");
    assert_eq!(postfix.mails_now().len(), 4, "what failed was not delivered");
}

/// Encoded words and quoted-printable, as far as this test needs them.
fn decoded(mail: &str) -> String {
    use base64::Engine;
    let mut text = mail.replace("=\n", "").replace("?=\n =?utf-8?b?", "");
    while let Some(start) = text.find("=?utf-8?b?") {
        let end = start + text[start..].find("?=").unwrap();
        let bytes = base64::prelude::BASE64_STANDARD.decode(&text[start + 10..end]).unwrap();
        text.replace_range(start..end + 2, &String::from_utf8(bytes).unwrap());
    }
    text
}

#[tokio::test]
async fn nothing_in_a_message_becomes_a_header_or_another_recipient() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    pair.write_self_signed("localhost");
    let Some(postfix) = Mailbox::start(&pair) else { return };
    let mail = format!(
        "email = {{ to = \"noc@pbx.test\", from = \"pbx@pbx.test\", server = \"127.0.0.1\", \
         port = {}, tls = \"none\" }}",
        postfix.plain.port()
    );
    send(&mail, &hostile()).await.unwrap();
    let mails = postfix.mails(1);
    let (head, body) = mails[0].split_once("\n\n").unwrap();
    assert!(!head.contains("\nBcc:") && !head.contains("\nQUIT"), "{head}");
    assert_eq!(head.matches("\nTo: ").count(), 1, "{head}");
    assert!(body.contains("[shortened]") && mails[0].len() < 1 << 20, "{}", mails[0].len());
    // Whoever it went to would be in the log.
    assert!(!postfix.log().contains("evil"), "{}", postfix.log());
    send(&mail, &message()).await.unwrap();
    postfix.mails(2);
}

#[tokio::test]
async fn a_webhook_gets_json_with_the_headers_of_its_file_and_its_failure_tells_no_token() {
    let sink = Sink::start("200 OK");
    let secrets = secrets(&[("headers", "Authorization: Bearer T0PSECRET\nX-Team: noc\n")]);
    let hook = |sink: &Sink, format: &str| {
        format!(
            "webhook = {{ url = \"http://{}/in/S3CRETPATH?key=S3CRETKEY\", format = {format:?}, \
             header-file = {:?} }}",
            sink.address,
            secrets.path().join("headers")
        )
    };
    for format in ["generic", "slack", "teams"] {
        send(&hook(&sink, format), &message()).await.unwrap();
        send(&hook(&sink, format), &hostile()).await.unwrap();
    }
    let asked = sink.asked();
    assert_eq!(asked.len(), 6);
    for one in &asked {
        assert_eq!(one.line, "POST /in/S3CRETPATH?key=S3CRETKEY HTTP/1.1");
        assert_eq!(one.header("authorization"), "Bearer T0PSECRET");
        assert_eq!((one.header("x-team"), one.header("content-type")), ("noc", "application/json"));
        assert!(one.body.len() < 1 << 20, "{}", one.body.len());
    }
    let bodies: Vec<Value> =
        asked.iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect();
    assert_eq!(bodies[0]["subject"], message().subject.as_str());
    assert_eq!(bodies[0]["level"], "urgent");
    assert_eq!(bodies[0]["attachments"][0]["text"], REQUEST);
    assert!(bodies[2]["text"].as_str().unwrap().starts_with("*URGENT 0142 Hotel Pöst: "));
    assert_eq!(bodies[4]["attachments"][0]["content"]["type"], "AdaptiveCard");

    // It says back what it was asked for, as some do.
    let refusing = Sink::start("403 Forbidden");
    let told = send(&hook(&refusing, "generic"), &message()).await.unwrap_err();
    assert!(told.contains("answered 403: you asked for") && told.contains("header-file"), "{told}");
    assert!(!told.contains("SECRET") && !told.contains("S3CRET"), "{told}");
}

#[tokio::test]
async fn webhooks_and_heartbeats_go_through_the_proxy_when_there_is_one() {
    let (sink, proxy) = (Sink::start("200 OK"), Sink::proxy());
    let secrets = secrets(&[("auth", "me:hunter2\n")]);
    let spec = alerts(&format!(
        "proxy = \"http://{}\"\nproxy-auth-file = {:?}\nwebhook = {{ url = \"http://{2}/hook\" }}\n\
         heartbeat-url = \"http://{2}/beat\"",
        proxy.address,
        secrets.path().join("auth"),
        sink.address
    ));
    alert::channels(&spec)[0].send(&message(), now()).await.unwrap();
    let failed = alert::beat(&spec, Verdict::Ok, "all is well").await;
    assert!(failed.is_empty(), "{failed:?}");
    let (through, arrived) = (proxy.asked(), sink.asked());
    assert_eq!((through.len(), arrived.len()), (2, 2));
    // RFC 7617 of `me:hunter2`.
    assert!(through.iter().all(|a| a.header("proxy-authorization") == "Basic bWU6aHVudGVyMg=="));
    assert_eq!(arrived[0].body, through[0].body);
    assert_eq!(arrived[1].body, "ok: all is well");
}

#[tokio::test]
async fn a_heartbeat_tells_the_verdict_as_each_kind_understands_it() {
    let (sink, down) = (Sink::start("200 OK"), Sink::start("500 Oops"));
    let secrets = secrets(&[("url", &format!("http://{}/ping/S3CRETPATH\n", down.address))]);
    let spec = alerts(&format!(
        "heartbeat-url = [\"http://{0}/ping/1\", \"http://{0}/push/tok?status=up&msg=OK&ping=\"]\n\
         heartbeat-url-file = {1:?}",
        sink.address,
        secrets.path().join("url")
    ));
    let failed = alert::beat(&spec, Verdict::Critical, "pbx: ends\r\ntoday").await;
    let mut lines: Vec<(String, String)> =
        sink.asked().into_iter().map(|a| (a.line, a.body)).collect();
    lines.sort();
    let push = "GET /push/tok?ping=&status=down&msg=critical%3A+pbx%3A+ends+today HTTP/1.1";
    let ping = "POST /ping/1/fail HTTP/1.1";
    let wanted = [(push, ""), (ping, "critical: pbx: ends today")];
    assert_eq!(lines, wanted.map(|(line, body)| (line.to_owned(), body.to_owned())));
    // One that fails is no matter of the others.
    assert_eq!(failed.len(), 1, "{failed:?}");
    let told = failed[0].to_string();
    assert!(told.contains("answered 500") && !told.contains("S3CRET"), "{told}");
}

#[tokio::test]
async fn syslog_takes_one_line_on_its_socket_and_over_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let remote = UdpSocket::bind("127.0.0.1:0").unwrap();
    remote.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let local = format!("syslog = {{ facility = \"local3\", address = {path:?} }}");
    let far = format!("syslog = {{ address = \"udp://{}\" }}", remote.local_addr().unwrap());
    for message in [message(), hostile()] {
        send(&local, &message).await.unwrap();
        send(&far, &message).await.unwrap();
        let mut buffer = vec![0; 65536];
        let count = socket.recv(&mut buffer).unwrap();
        let line = String::from_utf8(buffer[..count].to_vec()).unwrap();
        // local3 (19), error (3); urgent.
        assert!(line.starts_with("<155>") && line.contains("pbxcert["), "{line}");
        assert!(line.contains("]: URGENT ") && !line.contains(char::is_control), "{line}");
        let count = remote.recv(&mut buffer).unwrap();
        let line = String::from_utf8(buffer[..count].to_vec()).unwrap();
        assert!(line.starts_with("<27>1 2026-12-01T03:00:05Z "), "{line}");
        assert!(count <= 2048 && !line.contains(char::is_control), "{line}");
    }
}

#[tokio::test]
async fn the_journal_takes_an_entry_whose_fields_nothing_can_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut spec = alerts("journal = true");
    let Way::Journal(journal) = &mut spec.channels[0].way else { panic!("no journal") };
    journal.socket = path;
    for message in [message(), hostile()] {
        alert::channels(&spec)[0].send(&message, now()).await.unwrap();
        let mut buffer = vec![0; 1 << 20];
        let count = socket.recv(&mut buffer).unwrap();
        let fields = entry(&buffer[..count]);
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 11, "{names:?}");
        assert_eq!(fields[0].0, "MESSAGE");
        assert!(fields[0].1.starts_with("URGENT "), "{:?}", fields[0].1);
        assert!(fields.contains(&("PRIORITY".into(), "3".into())));
        assert!(fields.contains(&("PBXCERT_SITE".into(), message.site.clone())));
    }
}

/// The fields of an entry: each with its length, as the protocol has it.
fn entry(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|b| *b == b'\n').unwrap();
        let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let (length, rest) = bytes[end + 1..].split_at(8);
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        fields.push((name, String::from_utf8_lossy(&rest[..length]).into_owned()));
        assert_eq!(rest[length], b'\n');
        bytes = &rest[length + 1..];
    }
    fields
}

#[test]
fn a_message_rings_on_a_telephone_through_kamailio_over_udp_tcp_and_tls() {
    for algorithm in ["MD5", "SHA-256"] {
        let folder = super::shared_folder();
        let pair = Pair::in_folder(folder.path());
        pair.write_self_signed("pbx.test");
        let Some(registrar) = Registrar::start(&pair, algorithm) else { return };
        let phone = Phone::register("100", registrar.sip);
        let secrets = secrets(&[("right", "hunter2\n"), ("wrong", "hunter3\n")]);
        let sip = |to: u32, transport: &str, password: &str| {
            let server = if transport == "tls" { registrar.sips } else { registrar.sip };
            format!(
                "sip = {{ to = \"sip:{to}@pbx.test\", server = \"{server}\", \
                 transport = {transport:?}, user = \"pbxcert\", password-file = {:?}, \
                 sni = \"pbx.test\", trust-anchor = {:?} }}",
                secrets.path().join(password),
                pair.fullchain
            )
        };
        for transport in ["udp", "tcp", "tls"] {
            for message in [message(), hostile()] {
                let channel = channel(&sip(100, transport, "right"));
                let heard = std::thread::scope(|scope| {
                    let heard = scope.spawn(|| phone.message());
                    if let Err(e) = wait(channel.send(&message, now())) {
                        panic!("{transport} {algorithm}: {e}\n{}", registrar.log());
                    }
                    heard.join().unwrap()
                });
                let (head, body) = heard.split_once("\r\n\r\n").unwrap();
                assert!(head.starts_with("MESSAGE sip:100@127.0.0.1:"), "{head}");
                assert!(head.contains("Content-Type: text/plain"), "{head}");
                assert!(!head.contains("Bcc:") && !head.contains("hunter2"), "{head}");
                assert!(body.starts_with("URGENT "), "{body}");
                if transport == "udp" {
                    assert!(heard.len() < 1500, "{}", heard.len());
                    assert!(!heard.contains("[shortened]"), "{heard}");
                }
            }
            let told = wait(send(&sip(100, transport, "wrong"), &message())).unwrap_err();
            assert!(told.contains("refuses user and password"), "{transport}: {told}");
            assert!(!told.contains("hunter3"), "{told}");
            let told = wait(send(&sip(101, transport, "right"), &message())).unwrap_err();
            assert!(told.contains("404 nobody; nobody has this extension"), "{told}");
        }
        let other =
            sip(100, "tls", "right").replace("\"pbx.test\", trust", "\"other.test\", trust");
        let told = wait(send(&other, &message())).unwrap_err();
        assert!(told.contains("check sni (other.test)"), "{told}");
    }
}

/// For a test that has a thread of its own for the telephone.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}
