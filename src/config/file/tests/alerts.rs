//! `[alerts]`: channels, and what is said about those that are wrong.

use jiff::civil::time;

use super::*;
use crate::config::alerts::{
    Address, AlertSpec, Format, Level, LogAddress, MailTls, Quiet, Transport, Way,
};

fn with(lines: &str) -> String {
    format!("{SOUND}[alerts]\n{lines}\n")
}

fn alerts(lines: &str) -> AlertSpec {
    config(&with(lines)).alerts
}

fn ways(lines: &str) -> Vec<Way> {
    alerts(lines).channels.into_iter().map(|c| c.way).collect()
}

#[test]
fn without_alerts_nobody_is_told() {
    assert_eq!(config(SOUND).alerts, AlertSpec::default());
}

#[test]
fn every_channel_is_read_with_its_defaults() {
    let spec = alerts(
        "email = { to = [\"NOC <noc@pbx.de>\", \"b@pbx.de\"], from = \"pbx@pbx.de\", server = \"mail.pbx.de\" }\n\
         webhook = { url = \"https://m.pbx.de/x\", level = \"urgent\" }\n\
         command = [{ run = [\"/bin/page\", \"-l\"] }, { run = [\"/bin/other\"] }]\n\
         sip = { to = \"sip:100@pbx.de\" }\nsyslog = true\njournal = { level = \"critical\" }\n\
         heartbeat-url = [\"https://hc.pbx.de/1\", \"https://hc.pbx.de/2\"]\n\
         quiet = \"20:00-07:00\"\nproxy = \"http://p.lan:3128\"",
    );
    let levels: Vec<Level> = spec.channels.iter().map(|c| c.least).collect();
    use Level::{Critical, Notice, Urgent};
    assert_eq!(levels, [Notice, Urgent, Notice, Notice, Notice, Notice, Critical]);
    assert_eq!(spec.heartbeats.len(), 2);
    assert_eq!(spec.quiet, Some(Quiet { from: time(20, 0, 0, 0), to: time(7, 0, 0, 0) }));
    assert_eq!(spec.proxy.unwrap().url, "http://p.lan:3128");
    let [
        Way::Email(mail),
        Way::Webhook(hook),
        Way::Command(page),
        _,
        Way::Sip(sip),
        Way::Syslog(log),
        Way::Journal(_),
    ] = &*spec.channels.into_iter().map(|c| c.way).collect::<Vec<_>>()
    else {
        panic!("other channels, or another order");
    };
    assert_eq!((mail.port, mail.tls, mail.to.len()), (587, MailTls::StartTls, 2));
    assert_eq!((hook.format, &hook.header_file), (Format::Generic, &None));
    assert_eq!(page.run, ["/bin/page", "-l"]);
    assert_eq!((sip.host.as_str(), sip.port, sip.transport), ("pbx.de", 5060, Transport::Udp));
    assert_eq!((sip.from.as_str(), sip.sni.as_str()), ("sip:pbxcert@pbx.de", "pbx.de"));
    assert_eq!((&log.address, log.facility), (&LogAddress::Local("/dev/log".into()), 3));
}

#[test]
fn what_is_written_counts() {
    let ways = ways(
        "email = [{ to = \"a@pbx.de\", from = \"b@pbx.de\", server = \"192.0.2.1:2525\", tls = \"none\" },\n\
         { to = \"a@pbx.de\", from = \"b@pbx.de\", server = \"mail.pbx.de\", tls = \"tls\", user = \"u\", password-file = \"/etc/m\" }]\n\
         webhook = [{ url-file = \"/etc/slack\", format = \"slack\", header-file = \"/etc/h\" }]\n\
         sip = [{ to = \"sip:100@pbx.de\", server = \"[::1]:5070\", transport = \"tcp\", user = \"u\", password-file = \"/etc/s\" },\n\
         { to = \"sip:1@pbx.de\", from = \"sip:2@pbx.de\", server = \"edge.pbx.de\", transport = \"tls\", sni = \"x.pbx.de\" }]\n\
         syslog = [{ address = \"udp://log.pbx.de\", facility = \"local3\" }, { address = \"tcp://[::1]:601\" }]\n\
         journal = false",
    );
    assert_eq!(ways.len(), 7);
    let Way::Email(plain) = &ways[0] else { panic!() };
    assert_eq!((plain.server.as_str(), plain.port, plain.tls), ("192.0.2.1", 2525, MailTls::None));
    let Way::Email(mail) = &ways[1] else { panic!() };
    assert_eq!((mail.port, mail.login.clone().unwrap().user.as_str()), (465, "u"));
    let Way::Webhook(hook) = &ways[2] else { panic!() };
    assert_eq!((&hook.url, hook.format), (&Address::File("/etc/slack".into()), Format::Slack));
    let Way::Sip(sip) = &ways[3] else { panic!() };
    assert_eq!((sip.host.as_str(), sip.port, sip.from.as_str()), ("::1", 5070, "sip:u@pbx.de"));
    let Way::Sip(sip) = &ways[4] else { panic!() };
    assert_eq!((sip.port, sip.from.as_str(), sip.sni.as_str()), (5061, "sip:2@pbx.de", "x.pbx.de"));
    let Way::Syslog(log) = &ways[5] else { panic!() };
    assert_eq!((&log.address, log.facility), (&LogAddress::Udp("log.pbx.de:514".into()), 19));
    let Way::Syslog(log) = &ways[6] else { panic!() };
    assert_eq!(log.address, LogAddress::Tcp("[::1]:601".into()));
}

#[test]
fn mistakes_are_told_with_the_next_step_and_never_with_a_token() {
    let mail = "to = \"a@pbx.de\", from = \"b@pbx.de\", server = \"m.pbx.de\"";
    for (lines, words) in [
        ("emial = {}".to_owned(), "did you mean \"email\"?"),
        ("email = \"a@pbx.de\"".to_owned(), "\"email\" must be a table"),
        (
            "email = { to = [\"nobody\"], from = \"b@pbx.de\", server = \"m\" }".to_owned(),
            "\"nobody\" is no e-mail address",
        ),
        (format!("email = {{ {mail}, tls = \"ssl\" }}"), "unknown tls \"ssl\""),
        (format!("email = {{ {mail}, port = 70000 }}"), "a port, 1 to 65535"),
        (format!("email = {{ {mail}, user = \"u\" }}"), "lacks the key \"password-file\""),
        (
            format!("email = {{ {mail}, user = \"u\", password-file = \"/p\", tls = \"none\" }}"),
            "in the clear: write tls = \"starttls\"",
        ),
        (format!("email = {{ {mail}, level = \"loud\" }}"), "known are \"notice\", \"warning\""),
        ("webhook = {}".to_owned(), "lacks the key \"url\": or url-file"),
        ("webhook = { url = \"ftp://SECRET\" }".to_owned(), "begins with https://"),
        ("webhook = { url = \"https://a:SECRET@m.de\" }".to_owned(), "begins with https://"),
        ("webhook = { url = \"https://m.de\", url-file = \"/u\" }".to_owned(), "not both"),
        ("command = { run = [\"page\"] }".to_owned(), "must be an absolute path"),
        ("sip = { to = \"100\" }".to_owned(), "such as \\\"sip:100@pbx.example.com\\\""),
        ("sip = { to = \"sip:1@a>b\" }".to_owned(), "is no SIP address"),
        (
            "sip = { to = \"sip:1@a.de\", user = \"a b\", password-file = \"/p\" }".to_owned(),
            "write from = \"sip:...\"",
        ),
        ("syslog = { address = \"log:514\" }".to_owned(), "is no address of a log"),
        ("syslog = { facility = \"kern\" }".to_owned(), "unknown facility \"kern\""),
        ("heartbeat-url = \"hc.de/SECRET\"".to_owned(), "\"heartbeat-url\" must be an address"),
        ("quiet = \"20:00\"".to_owned(), "hours such as \"20:00-07:00\""),
        ("quiet = \"07:00-07:00\"".to_owned(), "would never end"),
        ("quiet = \"25:00-07:00\"".to_owned(), "hours such as"),
        ("proxy-auth-file = \"/p\"".to_owned(), "without proxy"),
    ] {
        let told = problem(&with(&lines));
        assert!(told.contains(&words.replace("\\\"", "\"")), "{lines}\n{told}\nlacks {words}");
        assert!(!told.contains("SECRET"), "{told}");
    }
}

#[test]
fn a_pbx_that_alone_tells_of_its_own_end_is_warned_of() {
    let mail = |server: &str| {
        format!(
            "email = {{ to = \"a@pbx.de\", from = \"b@pbx.de\", server = {server:?}, tls = \"none\" }}\n"
        )
    };
    let sip = "sip = { to = \"sip:100@pbx.de\" }\n";
    let words = "every channel ends on this PBX";
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for inside in [
        sip.to_owned(),
        mail("localhost"),
        mail("127.0.0.1:25") + sip + "journal = true",
        // Names of the certificate, and of this host.
        mail("PBX.de:25"),
        mail(&here),
        "webhook = { url = \"https://sip.pbx.de/hook\" }".to_owned(),
        "syslog = { address = \"udp://pbx.de:514\" }".to_owned(),
    ] {
        let told = warnings(&with(&inside));
        assert!(told.len() == 1 && told[0].contains(words), "{inside}: {told:?}");
    }
    for outside in [
        mail("mail.pbx.de") + sip,
        format!("{sip}heartbeat-url = \"https://hc.pbx.de/x\""),
        format!("{sip}webhook = {{ url-file = \"/u\" }}"),
    ] {
        assert_eq!(warnings(&with(&outside)), Vec::<String>::new(), "{outside}");
    }
}

#[test]
fn a_configuration_without_any_channel_is_warned_of() {
    let told = |text: &str| -> Vec<String> {
        let loaded = read(text).unwrap();
        let told = loaded.warnings.iter().map(Problem::to_string);
        told.filter(|text| text.contains("nobody is told when something is wrong")).collect()
    };
    assert_eq!(told(SOUND).len(), 1);
    assert_eq!(told(&with("heartbeat-url = \"https://hc.pbx.de/x\"")).len(), 1);
    assert_eq!(told(&with("webhook = { url-file = \"/u\" }")).len(), 0);
    assert_eq!(told("").len(), 0, "there is nothing to tell of");
}

#[test]
fn an_ignore_that_takes_out_nothing_is_warned_of() {
    let ignore = |object: &str| format!("{SOUND}[[ignore]]\nobject = {object:?}\nreason = \"x\"\n");
    for known in ["pbx", "clock", "host", "e-mail to noc@pbx.de"] {
        assert_eq!(warnings(&ignore(known)), Vec::<String>::new(), "{known}");
    }
    let told = warnings(&ignore("pxb"));
    assert!(told.len() == 1 && told[0].contains("no certificate, service or trunk"), "{told:?}");
    let until = format!("{}until = \"2026-12-01\"\n", ignore("pbx"));
    let ignore = &config(&until).ignored[0];
    assert_eq!(ignore.outdated("2026-12-01".parse().unwrap()), None);
    let told = ignore.outdated("2026-12-02".parse().unwrap()).unwrap();
    assert!(told.contains("ended on 2026-12-01"), "{told}");
}

#[test]
fn what_rarely_is_meant_is_warned_of() {
    for (lines, words) in [
        (
            "webhook = { url = \"https://hooks.slack.com/services/T/B/x\" }",
            "name that with url-file",
        ),
        (
            "sip = { to = \"sip:1@127.0.0.1\", transport = \"tls\" }\nheartbeat-url = \"https://h.de\"",
            "transport = \"tcp\" can",
        ),
        (
            "email = { to = \"noc@example.com\", from = \"a@pbx.de\", server = \"m.pbx.de\" }",
            "is an example",
        ),
    ] {
        let told = warnings(&with(lines));
        assert!(told.len() == 1 && told[0].contains(words), "{lines}: {told:?}");
    }
}
