use super::*;
use crate::config::alerts::{
    Address, CommandSpec, Format, JournalSpec, LogAddress, MailTls, SyslogSpec, WebhookSpec,
};
use crate::state::alert::Attachment;

pub(super) const NOW: &str = "2026-12-01T03:00:05Z";

/// As the one of the issue: what a person wants to read at 3 am.
pub(super) fn message() -> Message {
    Message {
        id: "pbx/renewal/2026-12-01".into(),
        at: "2026-12-01T03:00:00Z".parse().unwrap(),
        level: Level::Urgent,
        site: "0142 Hotel Post".into(),
        object: "pbx".into(),
        condition: "renewal".into(),
        recovered: false,
        ends: None,
        by: Some("2026-12-12T13:05:00Z".parse().unwrap()),
        subject: "URGENT 0142 Hotel Post: no renewal of pbx.hotelpost.at, ends Sat 12 Dec".into(),
        body: "Let's Encrypt cannot open http://pbx.hotelpost.at/ <from outside> & asks.\n\nDo: \
               (1) open TCP 80."
            .into(),
        attachments: vec![Attachment {
            name: "pbx.csr".into(),
            text: "-----BEGIN CERTIFICATE REQUEST-----\nMII=\n-----END CERTIFICATE REQUEST-----\n"
                .into(),
        }],
    }
}

/// What others may have written into every text, ten megabytes of it in the body.
pub(super) fn hostile() -> Message {
    let evil = "x\r\nBcc: evil@evil.example\r\n\r\n\0\u{1b}[2J\u{202e}";
    Message {
        id: evil.into(),
        site: evil.into(),
        object: evil.into(),
        condition: evil.into(),
        subject: format!("URGENT {evil}"),
        body: format!("{evil}\n.\r\nQUIT\r\n").repeat((10 << 20) / 60),
        attachments: vec![Attachment { name: evil.into(), text: evil.into() }],
        ..message()
    }
}

fn spec(ways: Vec<Way>) -> AlertSpec {
    let channels = ways.into_iter().map(|way| ChannelSpec { least: Level::Warning, way }).collect();
    AlertSpec { channels, ..AlertSpec::default() }
}

fn webhook(url: Address) -> Way {
    Way::Webhook(WebhookSpec {
        url,
        format: Format::Generic,
        header_file: None,
        trust_anchor: None,
    })
}

async fn failure(way: Way) -> String {
    let channels = channels(&spec(vec![way]));
    let sent = channels[0].send(&message(), NOW.parse().unwrap()).await;
    sent.unwrap_err().to_string()
}

#[test]
fn names_tell_no_secret_and_are_all_different() {
    let slack = || webhook(Address::Written("https://hooks.slack.com/services/T0/B0/tok".into()));
    let mail = EmailSpec {
        to: vec!["NOC <noc@pbx.de>".into(), "b@pbx.de".into()],
        from: "pbx@pbx.de".into(),
        server: "mail.pbx.de".into(),
        port: 587,
        tls: MailTls::StartTls,
        login: None,
        trust_anchor: None,
    };
    let ways = vec![
        slack(),
        slack(),
        Way::Email(mail),
        webhook(Address::File("/etc/pbxcert/url".into())),
        Way::Command(CommandSpec { run: vec!["/bin/page".into(), "secret".into()] }),
        Way::Syslog(SyslogSpec { address: LogAddress::Udp("log:514".into()), facility: 3 }),
    ];
    let channels = channels(&spec(ways));
    let names: Vec<&str> = channels.iter().map(|c| c.name()).collect();
    assert_eq!(
        names,
        [
            "webhook hooks.slack.com",
            "webhook hooks.slack.com #2",
            "e-mail to NOC <noc@pbx.de>",
            "e-mail to b@pbx.de",
            "webhook of /etc/pbxcert/url",
            "command /bin/page",
            "syslog udp://log:514",
        ]
    );
    assert!(channels.iter().all(|c| c.least() == Level::Warning));
}

#[test]
fn a_channel_takes_what_is_loud_enough_and_what_is_over() {
    let way = webhook(Address::Written("https://m.pbx.de/".into()));
    let least = |least| {
        let spec = AlertSpec {
            channels: vec![ChannelSpec { least, way: way.clone() }],
            ..AlertSpec::default()
        };
        channels(&spec).remove(0)
    };
    assert!(least(Level::Urgent).takes(&message()) && least(Level::Notice).takes(&message()));
    assert!(!least(Level::Critical).takes(&message()));
    let over = |ends| Message { recovered: true, level: Level::Notice, ends, ..message() };
    let critical = Some(Level::Critical);
    assert!(least(Level::Critical).takes(&over(critical)));
    assert!(!least(Level::Critical).takes(&over(Some(Level::Warning))), "it never heard of it");
    // A digest tells of something else, too.
    let digest = Message { recovered: false, ..over(critical) };
    assert!(least(Level::Critical).takes(&digest));
}

#[tokio::test]
async fn a_heartbeat_that_fails_is_told_and_none_is_none() {
    assert!(heartbeat(&AlertSpec::default()).is_none());
    let address = Address::Written("http://127.0.0.1:1/S3CRETPATH".into());
    let spec = AlertSpec { heartbeats: vec![address], ..AlertSpec::default() };
    let beat = heartbeat(&spec).unwrap();
    let told = beat(Verdict::Critical, "x".to_owned()).await.unwrap_err().to_string();
    assert!(told.starts_with("127.0.0.1:1: cannot reach"), "{told}");
    assert!(!told.contains("S3CRET"), "{told}");
}

#[tokio::test]
async fn a_failure_names_the_reason_and_the_next_step_without_the_token_or_the_channel_twice() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/services/T0SECRET?key=K0SECRET");
    let told = failure(webhook(Address::Written(url))).await;
    assert!(told.starts_with(&format!("cannot reach 127.0.0.1:{port}")), "{told}");
    assert!(told.contains("check the address") && !told.contains("SECRET"), "{told}");

    let told = failure(webhook(Address::File("/nonexistent/url".into()))).await;
    assert!(told.contains("/nonexistent/url"), "{told}");

    let mail = EmailSpec {
        to: vec!["noc@pbx.de".into()],
        from: "pbx@pbx.de".into(),
        server: "127.0.0.1".into(),
        port,
        tls: MailTls::None,
        login: None,
        trust_anchor: None,
    };
    let told = failure(Way::Email(mail)).await;
    assert!(told.starts_with("cannot reach 127.0.0.1:"), "{told}");
    assert!(told.contains("Connection refused") && told.contains("check server"), "{told}");

    let log = SyslogSpec { address: LogAddress::Local("/nonexistent/log".into()), facility: 3 };
    let told = failure(Way::Syslog(log)).await;
    assert!(told.contains("is a syslog server running there?"), "{told}");
    let told = failure(Way::Journal(JournalSpec { socket: "/nonexistent/j".into() })).await;
    assert!(told.contains("is systemd-journald running?"), "{told}");
    let told = failure(Way::Command(CommandSpec { run: vec!["/bin/false".into()] })).await;
    assert!(told.contains("it ended with 1 and said nothing"), "{told}");
    let told = failure(Way::Command(CommandSpec { run: vec!["/nonexistent/x".into()] })).await;
    assert!(told.contains("/nonexistent/x"), "{told}");
}

#[tokio::test]
async fn a_channel_that_hangs_is_given_up() {
    // Takes the connection into its queue, and never a word out of it.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let way = webhook(Address::Written(format!("http://{}/", dead.local_addr().unwrap())));
    let limit = Duration::from_millis(50);
    let (name, least) = (name(&way), Level::Notice);
    let channel = Channel { name, least, way, proxy: None, limit };
    let told = channel.send(&message(), NOW.parse().unwrap()).await.unwrap_err().to_string();
    assert!(told.contains("no answer within 50ms; check the address"), "{told}");
}

#[tokio::test]
async fn a_command_finds_the_message_in_its_environment() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let script = "/usr/bin/env".to_owned();
    let print = "printf '%s|%s|%s|%s|%s\\n%s\\n%s' \"$PBXCERT_LEVEL\" \"$PBXCERT_SITE\" \
                 \"$PBXCERT_OBJECT\" \"$PBXCERT_BY\" \"$PBXCERT_RECOVERED\" \"$PBXCERT_SUBJECT\" \
                 \"$PBXCERT_JSON\" >\"$0\"";
    let run = vec![script, "sh".into(), "-c".into(), print.into(), out.clone()];
    let channels = channels(&spec(vec![Way::Command(CommandSpec { run })]));
    let now = NOW.parse().unwrap();
    channels[0].send(&message(), now).await.unwrap();
    let seen = std::fs::read_to_string(&out).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], "urgent|0142 Hotel Post|pbx|2026-12-12T13:05:00Z|no");
    assert_eq!(lines[1], message().subject);
    let json: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!(json["body"], message().body.as_str());

    channels[0].send(&hostile(), now).await.unwrap();
    let seen = std::fs::read_to_string(&out).unwrap();
    let subject = seen.lines().nth(1).unwrap();
    assert!(subject.starts_with("URGENT x Bcc: evil@evil.example [2J"), "{subject}");
    assert!(seen.len() < 128 << 10, "{}", seen.len());
}

#[test]
fn the_readme_documents_every_field_of_the_json_and_no_other() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("`format = \"generic\"` posts").unwrap();
    let (_, rest) = rest.split_once("```json\n").expect("README shows the JSON of an alert");
    let (shown, _) = rest.split_once("```").unwrap();
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    let sent: serde_json::Value = serde_json::from_str(&json::of(&message(), text::MOST)).unwrap();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&shown), keys(&sent));
    assert_eq!(keys(&shown["attachments"][0]), keys(&sent["attachments"][0]));
    assert_eq!(shown["schema"], sent["schema"]);
}
