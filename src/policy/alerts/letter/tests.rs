//! Every letter as a person gets it, in `letters.txt`: read them there.

use super::*;
use crate::config::kind::Kind;
use crate::config::{CertSpec, ServiceSpec, Source};
use crate::policy::alerts::digest;
use crate::policy::alerts::post;
use crate::policy::findings::{self, Using};
use crate::policy::plan::{Wait, Why};
use crate::policy::samples::{at, day, failure, issuer, leaf, name, revision, served, spec};
use crate::policy::schedule::{DAY, HOUR, after, before};
use crate::state::alert::log::ChannelState;
use crate::state::{FailureClass, Next, Observed, PairState, Quote, ServiceState, Severity, Step};

const SNAPSHOT: &str = include_str!("letters.txt");

fn settings() -> Settings {
    Settings {
        site: "0142 Hotel Post".to_owned(),
        zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
        quiet: None,
        ignored: Vec::new(),
    }
}

fn draft(level: Level, finding: Finding, since: Timestamp) -> Draft {
    Draft {
        level,
        object: finding.object.clone(),
        condition: finding.condition,
        since,
        count: 1,
        again: false,
        title: finding.title.clone(),
        finding: Some(finding),
    }
}

fn hotel() -> CertSpec {
    let mut spec = spec();
    spec.identifiers = vec![name("pbx.hotelpost.example"), name("sip.hotelpost.example")];
    spec.upload.dir = "/var/lib/pbxcert/drop/pbx".into();
    spec
}

fn service(name: &str, kind: Kind) -> ServiceSpec {
    let hook = |event: &str| Some(vec![format!("/usr/lib/pbxcert/hooks/{event}")]);
    ServiceSpec {
        name: name.to_owned(),
        kind,
        certificates: vec!["pbx".to_owned()],
        install: Default::default(),
        user: None,
        test: None,
        reload: hook("kamailio"),
        recover: hook("kamailio"),
        busy: None,
        class: crate::config::kind::Class::Hot,
        exec_prefix: Vec::new(),
        calm: Default::default(),
        clients: Vec::new(),
        sip_domains: Vec::new(),
        strict_lint: false,
        endpoints: Vec::new(),
        proof_timeout: HOUR,
        hook_timeout: HOUR,
    }
}

fn waits() -> Wait {
    Wait { until: Some(after(now(), HOUR * 13)), why: Why::NotDue("later".to_owned()) }
}

fn now() -> Timestamp {
    day(80.0)
}

fn sites() -> [ServiceSpec; 2] {
    [service("kamailio", Kind::Kamailio), service("web", Kind::Nginx)]
}

/// What is found of a certificate of 90 days on day 80.
fn of_certificate(spec: &CertSpec, seen: &Observed) -> Finding {
    let specs = sites();
    let state = ServiceState::default();
    let using: Vec<Using<'_>> = specs.iter().map(|spec| Using { spec, state: &state }).collect();
    let found = findings::certificate(spec, Some(&issuer()), seen, &waits(), &using, now());
    assert_eq!(found.len(), 1);
    found[0].clone()
}

fn seen(problem: Option<&str>, class: FailureClass, detail: &str) -> Observed {
    let mut seen =
        Observed { newest: Some(revision(1, day(0.0), DAY * 90)), ..Observed::default() };
    seen.state.backoff.failures = 9;
    seen.state.backoff.since = Some(day(60.0));
    seen.state.backoff.retry_at = Some(after(now(), HOUR * 13));
    let mut last = failure(class, before(now(), HOUR * 11));
    last.text = "the CA cannot open http://pbx.hotelpost.example/ from outside".to_owned();
    last.problem = problem.map(str::to_owned);
    last.detail = Some(detail.to_owned());
    seen.state.backoff.last = Some(last);
    seen
}

fn of_service(step: Step, problem: &str) -> Finding {
    let pair = PairState {
        step,
        revision: Some(2),
        since: Some(before(now(), HOUR * 2)),
        problem: Some(problem.to_owned()),
        ..PairState::default()
    };
    let state = ServiceState { pairs: [("pbx".to_owned(), pair)].into(), ..Default::default() };
    let found = findings::service(&sites()[0], &state, Some(&waits()));
    assert_eq!(found.len(), 1);
    found[0].clone()
}

/// One letter of each kind: what it is, and the message.
fn letters() -> Vec<(&'static str, Message)> {
    let write = |level, finding, since| write(&draft(level, finding, since), &settings(), now());
    let mut letters = Vec::new();

    let timeout = "192.0.2.10: Fetching http://pbx.hotelpost.example/.well-known/acme-challenge/x: \
                   Timeout during connect (likely firewall problem)";
    let unreachable =
        of_certificate(&hotel(), &seen(Some("connection"), FailureClass::Validation, timeout));
    letters.push(("no renewal: unreachable", write(Level::Urgent, unreachable.clone(), day(60.0))));
    let caa = of_certificate(&hotel(), &seen(Some("caa"), FailureClass::Person, "CAA forbids"));
    letters.push(("no renewal: needs a person", write(Level::Warning, caa, day(60.0))));
    let down = of_certificate(&hotel(), &seen(None, FailureClass::Transient, "try later"));
    letters.push(("no renewal: the CA is down", write(Level::Urgent, down, day(60.0))));

    let manual = CertSpec { source: Source::Manual, issuers: Vec::new(), ..hotel() };
    let held = Observed { newest: Some(revision(1, day(0.0), DAY * 90)), ..Observed::default() };
    let mut due = of_certificate(&manual, &held);
    due.attachments = vec![Attachment {
        name: "pbx.csr".to_owned(),
        text: "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned(),
    }];
    letters.push(("manual certificate due", write(Level::Urgent, due, day(67.5))));
    let never = of_certificate(&manual, &Observed::default());
    letters.push(("first upload awaited", write(Level::Warning, never, now())));
    let ended = Observed { newest: Some(revision(1, day(-12.0), DAY * 90)), ..held.clone() };
    let ended = of_certificate(&hotel(), &ended);
    letters.push(("ended", write(Level::Critical, ended, day(78.0))));

    let broken = "sips://127.0.0.1:5061: before: serves 0a0b0c0d0e0f, until 2027-02-21 12:00 UTC; \
                  now: nobody listens";
    let hours_ago = before(now(), HOUR * 2);
    for (kind, level, step, problem) in [
        ("deployed, broken, rolled back", Level::Urgent, Step::RolledBack, broken),
        (
            "stuck",
            Level::Critical,
            Step::Stuck,
            "the old files are back, but sips://127.0.0.1:5061: nobody listens",
        ),
        (
            "not taken",
            Level::Warning,
            Step::NotTaken,
            "still the old certificate on sips://127.0.0.1:5061",
        ),
        ("could not be asked", Level::Warning, Step::Unproved, "nobody listens"),
        ("could not be installed", Level::Warning, Step::Waiting, "No space left on device"),
    ] {
        letters.push((kind, write(level, of_service(step, problem), hours_ago)));
    }
    let held_by = Wait {
        until: None,
        why: Why::Person("the files of pbx hold a certificate from outside".to_owned()),
    };
    let foreign = findings::service(&sites()[0], &ServiceState::default(), Some(&held_by));
    letters.push(("drift", write(Level::Warning, foreign[0].clone(), now())));
    letters.extend(others(&write));

    let dead = ChannelState {
        failures: 3,
        failing_since: Some(before(now(), HOUR)),
        retry_at: Some(after(now(), HOUR / 4)),
        error: Some("550 no such user".to_owned()),
    };
    let dead = post::dead("e-mail to noc@voip.example", &dead, 2).unwrap();
    letters.push(("channel dead", write(Level::Warning, dead, before(now(), HOUR))));

    let over =
        |finding: Finding, since| Draft { finding: None, ..draft(Level::Notice, finding, since) };
    let recovered = over(unreachable.clone(), day(60.0));
    letters.push(("recovered", super::write(&recovered, &settings(), now())));
    let many = [
        draft(Level::Critical, of_service(Step::Stuck, "nobody listens"), now()),
        draft(Level::Urgent, unreachable.clone(), day(60.0)),
        over(unreachable, day(60.0)),
    ];
    letters.push(("digest", digest::write(&many, &settings(), now())));
    letters
}

/// Conditions that are found elsewhere, in the words of those who find them.
fn others(write: &dyn Fn(Level, Finding, Timestamp) -> Message) -> Vec<(&'static str, Message)> {
    let new = |condition, object: &str, title: &str, text: &str| {
        Finding::new(condition, object, Severity::Warning, title, text)
    };
    let mut letters = Vec::new();
    let mut refused = new(
        Condition::DropRefused,
        "pbx",
        "upload for pbx refused",
        "the upload was refused: the key does not match the certificate; nothing live was touched",
    );
    refused.ways =
        vec!["put the key that belongs to it into /var/lib/pbxcert/drop/pbx/".to_owned()];
    letters.push(("drop refused", write(Level::Warning, refused, now())));
    let accepted = new(
        Condition::DropAccepted,
        "pbx",
        "upload for pbx accepted, valid until 21 May",
        "revision 4 of pbx came from the drop folder; it is brought into service now",
    );
    letters.push(("drop accepted", write(Level::Notice, accepted, now())));

    let mut manual = new(
        Condition::Mode,
        "pbx",
        "pbx has to be renewed by hand",
        "the CA could not reach pbx.hotelpost.example twice in 6 hours: pbx is in manual mode",
    );
    manual.ways = vec!["upload a certificate into /var/lib/pbxcert/drop/pbx/".to_owned()];
    manual.next =
        Some(Next { what: "ACME is tried daily".to_owned(), at: Some(after(now(), DAY)) });
    letters.push(("mode: manual", write(Level::Warning, manual, now())));
    let automatic = new(
        Condition::Mode,
        "pbx",
        "pbx is renewed automatically again",
        "the CA reaches pbx.hotelpost.example again",
    );
    letters.push(("mode: automatic", write(Level::Notice, automatic, now())));

    let mut trust = new(
        Condition::TrustChange,
        "pbx",
        "new root for pbx waits for approval",
        "the new certificate leads to ISRG Root X2 instead of ISRG Root X1; old Yealink phones may \
         not trust it",
    );
    trust.by = Some(day(86.0));
    trust.consequence = Some("it goes into service all the same, for expired is worse".to_owned());
    trust.ways = vec!["if the phones know that root: pbxcert approve pbx".to_owned()];
    letters.push(("trust change waiting", write(Level::Warning, trust, now())));

    let mut restart = new(
        Condition::RestartAnnounced,
        "asterisk",
        "asterisk restarts for its certificate",
        "the new certificate of pbx needs a restart of asterisk",
    );
    restart.by = Some(after(now(), HOUR * 39));
    restart.consequence = Some("calls that are up drop".to_owned());
    restart.ways = vec!["earlier, in a quiet minute: pbxcert deploy asterisk".to_owned()];
    letters.push(("restart announced", write(Level::Warning, restart, now())));

    let mut stand_in = new(
        Condition::Placeholder,
        "pbx",
        "pbx serves a self-signed stand-in",
        "no CA gave a certificate yet; services run with one that no phone trusts",
    );
    stand_in.by = Some(after(now(), DAY * 30));
    letters.push(("placeholder", write(Level::Critical, stand_in, now())));

    let late = Observed {
        time: crate::state::Time { floor: day(100.0), ..Default::default() },
        ..Observed::default()
    };
    let wrong = Wait { until: None, why: Why::Clock("the clock says 2027-02-11".to_owned()) };
    let clock = findings::certificate(&hotel(), None, &late, &wrong, &[], now());
    letters.push(("clock", write(Level::Critical, clock[0].clone(), now())));

    let mut degraded = new(
        Condition::ConfigDegraded,
        "config",
        "the configuration is broken, an older one is in use",
        "the configuration on disk was refused: line 7: unknown key \"nmae\"",
    );
    degraded.ways = vec!["see all problems: pbxcert validate".to_owned()];
    letters.push(("config degraded", write(Level::Warning, degraded, now())));
    letters
}

fn shown(kind: &str, message: &Message) -> String {
    let attached: Vec<&str> = message.attachments.iter().map(|a| a.name.as_str()).collect();
    let attached = if attached.is_empty() {
        String::new()
    } else {
        format!("Attachments: {}\n", attached.join(", "))
    };
    format!("######## {kind}\nSubject: {}\n{attached}\n{}\n", message.subject, message.body)
}

#[test]
fn every_letter_is_as_it_was_read_and_found_good() {
    let all: String = letters().iter().map(|(kind, message)| shown(kind, message)).collect();
    if std::env::var_os("PBXCERT_WRITE_LETTERS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/alerts/letter/letters.txt");
        std::fs::write(path, format!("{}\n", all.trim_end())).unwrap();
        return;
    }
    for (kind, message) in letters() {
        let shown = shown(kind, &message);
        let start =
            SNAPSHOT.find(&format!("######## {kind}\n")).unwrap_or_else(|| panic!("{kind}"));
        let rest = &SNAPSHOT[start..];
        let end = rest[8..].find("########").map_or(rest.len(), |end| end + 8);
        assert_eq!(shown.trim_end(), rest[..end].trim_end(), "{kind}");
    }
    assert_eq!(SNAPSHOT.matches("######## ").count(), letters().len());
}

#[test]
fn a_subject_has_80_characters_and_says_what_and_by_when() {
    for (kind, message) in letters() {
        let subject = &message.subject;
        assert!(subject.chars().count() <= 80, "{kind}: {subject}");
        let site = subject.contains(" 0142 Hotel Post: ");
        assert!(site, "{kind}: {subject}");
    }
    let subject = subject(
        "CRITICAL",
        "A house with a name that is longer than any subject has room for",
        "no renewal of a-very-long-name.with-many-labels.hotelpost.example",
        ", ends Sat 12 Dec (11 days)",
    );
    assert_eq!(subject.chars().count(), 80);
    assert!(subject.starts_with("CRITICAL A house with a name…: no renewal of"), "{subject}");
    assert!(subject.ends_with(", ends Sat 12 Dec (11 days)"), "{subject}");
}

#[test]
fn hostile_words_make_no_header_and_no_megabytes() {
    let mut settings = settings();
    settings.site = "Post\r\nBcc: all@example.com\u{202e}".to_owned();
    let nasty = format!("x\r\n\r\n-- \r\n\u{1b}[2J{}", "y".repeat(1 << 16));
    let huge = format!("{nasty}{}", "z".repeat(10 << 20));
    let mut finding = Finding::new(Condition::Renewal, "pbx\n", Severity::Warning, &nasty, &nasty);
    finding.ways = vec![nasty.clone(); 20];
    finding.consequence = Some(nasty.clone());
    finding.next = Some(Next { what: nasty.clone(), at: None });
    finding.quote = Some(Quote { who: nasty.clone(), words: huge });
    finding.attachments = vec![
        Attachment { name: "../../etc/passwd\r\n".to_owned(), text: "x".to_owned() },
        Attachment { name: "big".to_owned(), text: nasty.clone() },
    ];
    let drafts = vec![draft(Level::Warning, finding, at(0)); 5];
    for message in [write(&drafts[0], &settings, now()), digest::write(&drafts, &settings, now())] {
        assert!(message.subject.chars().count() <= 80);
        assert!(!message.subject.chars().any(char::is_control), "{:?}", message.subject);
        assert!(message.body.len() < 64 << 10, "{} bytes", message.body.len());
        assert!(!message.body.chars().any(|c| c.is_control() && c != '\n'));
        assert!(!message.body.contains('\u{202e}'));
        let names: Vec<&str> = message.attachments.iter().map(|a| a.name.as_str()).collect();
        assert!(names.iter().all(|name| *name == "etcpasswd" || name.ends_with("etcpasswd")));
        assert!(names.iter().all(|name| !name.contains('/') && !name.starts_with('.')));
    }
}

#[test]
fn a_service_that_serves_an_older_one_is_what_is_told() {
    let mut web = service("web", Kind::Nginx);
    let endpoint = crate::config::Endpoint {
        protocol: crate::config::Protocol::Https,
        host: "127.0.0.1".to_owned(),
        port: 443,
        sni: None,
        key: None,
        certificate: "pbx".to_owned(),
        timeout: HOUR,
    };
    web.endpoints = vec![endpoint.clone()];
    let old = leaf("pbx.hotelpost.example", 1, day(-5.0), DAY * 90);
    let mut state = ServiceState::default();
    state.seen.insert(endpoint.to_string(), served(&old, now()));
    let seen = Observed { newest: Some(revision(2, day(55.0), DAY * 90)), ..Observed::default() };
    let find = |state: &ServiceState| {
        let using = [Using { spec: &web, state }];
        findings::certificate(&hotel(), None, &seen, &waits(), &using, now()).remove(0)
    };
    let waiting = find(&state).life.unwrap();
    assert!(waiting.scheduled, "nothing is wrong with it, it only waits");
    assert_eq!(waiting.validity, old.validity);
    let pair = PairState {
        step: Step::NotTaken,
        problem: Some("kept the old one".to_owned()),
        ..PairState::default()
    };
    state.pairs.insert("pbx".to_owned(), pair);
    let finding = find(&state);
    assert!(!finding.life.unwrap().scheduled);
    assert!(finding.text.contains("web still serves it"), "{}", finding.text);
}
