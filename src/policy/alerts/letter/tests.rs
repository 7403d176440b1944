//! Every letter as a person gets it, in `letters.txt`: read them there.

use super::*;
use crate::config::kind::Kind;
use crate::config::{CertSpec, IssuerSpec, ServiceSpec, Source};
use crate::policy::alerts::digest;
use crate::policy::alerts::post;
use crate::policy::findings::{self, About, Using};
use crate::policy::plan::{Wait, Why};
use crate::policy::reach;
use crate::policy::samples::{at, day, failure, issuer, leaf, name, revision, served, spec};
use crate::policy::schedule::{DAY, HOUR, after, before};
use crate::state::alert::log::ChannelState;
use crate::state::reach::{Here, Mode, Reach, ReachState};
use crate::state::upload::{UploadOutcome, UploadRecord};
use crate::state::{
    Announcement, FailureClass, Foreign, Next, Observed, Origin, PairState, Quote, Revision,
    ServiceState, Severity, Step,
};

const SNAPSHOT: &str = include_str!("letters.txt");

fn settings() -> Settings {
    Settings {
        possible_copy: false,
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
        reloads_per_day: None,
        exec_prefix: Vec::new(),
        calm: Default::default(),
        clients: Vec::new(),
        sip_domains: Vec::new(),
        strict_lint: false,
        after: Vec::new(),
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
    let found = all_of_certificate(spec, seen, None, None);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn all_of_certificate(
    spec: &CertSpec,
    seen: &Observed,
    request: Option<&str>,
    upload: Option<&UploadRecord>,
) -> Vec<Finding> {
    let specs = sites();
    let state = ServiceState::default();
    let services: Vec<Using<'_>> = specs.iter().map(|spec| Using { spec, state: &state }).collect();
    let issuer = IssuerSpec { directory: LETSENCRYPT.to_owned(), ..issuer() };
    let about = About { issuer: Some(&issuer), services: &services, request, upload };
    findings::certificate(spec, about, seen, &waits(), now())
}

/// The one about this.
fn the(condition: Condition, found: &[Finding]) -> Finding {
    found.iter().find(|f| f.condition == condition).unwrap_or_else(|| panic!("{found:?}")).clone()
}

const LETSENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const REFUSED: &str = "The private key in pbx.key does not belong to the certificate for \
                       pbx.hotelpost.example in pbx.crt. Upload the key that was made together \
                       with the order of this certificate.";
const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\n";
const TIMEOUT: &str = "192.0.2.10: Fetching http://pbx.hotelpost.example/.well-known/acme-challenge/\
                       x: Timeout during connect (likely firewall problem)";

/// Let's Encrypt has not come through for twenty days, and this host saw what it could.
fn unreachable() -> ReachState {
    let looked = |at| {
        let (ca, name) = (IssuerSpec { directory: LETSENCRYPT.to_owned(), ..issuer() }, &hotel());
        reach::seen_by_ca(&ca, false, &name.identifiers[0], ("connection", TIMEOUT), at).unwrap()
    };
    ReachState {
        about: reach::about(&hotel()),
        verdict: Reach::Unreachable,
        reason: looked(now()).reason,
        since: Some(day(60.0)),
        evidence: vec![looked(day(60.0)), looked(before(now(), HOUR * 11))],
        here: Some(Here { address: Some("192.168.1.10".parse().unwrap()), answers: true }),
        ..ReachState::default()
    }
}

/// The same in manual mode.
fn by_hand(newest: Option<Revision>) -> Observed {
    let mut seen = Observed { newest, unreachable: true, ..Observed::default() };
    seen.state.reach = unreachable();
    seen.state.mode = Mode::Manual { since: day(61.0), reason: unreachable().reason };
    seen
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
    let event = if step == Step::Stuck { "recover" } else { "reload" };
    let pair = PairState {
        step,
        revision: Some(2),
        since: Some(before(now(), HOUR * 2)),
        problem: Some(problem.to_owned()),
        by_hand: Some(format!("PBXCERT_EVENT={event} /usr/lib/pbxcert/hooks/kamailio")),
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

    let mut seen_by_ca = seen(Some("connection"), FailureClass::Validation, TIMEOUT);
    seen_by_ca.state.reach = unreachable();
    let unreachable = of_certificate(&hotel(), &seen_by_ca);
    letters.push(("no renewal: unreachable", write(Level::Urgent, unreachable.clone(), day(60.0))));
    let held = revision(1, day(0.0), DAY * 90);
    let found = all_of_certificate(&hotel(), &by_hand(Some(held)), Some(REQUEST), None);
    let ends = the(Condition::Expiry, &found);
    letters.push(("no renewal: manual mode", write(Level::Urgent, ends, day(60.0))));
    let detail = "CAA record for hotelpost.example prevents issuance";
    let mut forbidden = seen(Some("caa"), FailureClass::Person, detail);
    let ca = IssuerSpec { directory: LETSENCRYPT.to_owned(), ..issuer() };
    let name = &hotel().identifiers[0];
    let found = reach::seen_by_ca(&ca, false, name, ("caa", detail), before(now(), HOUR * 11));
    forbidden.state.reach.evidence.extend(found);
    let caa = of_certificate(&hotel(), &forbidden);
    letters.push(("no renewal: needs a person", write(Level::Warning, caa, day(60.0))));
    let mut down = seen(None, FailureClass::Transient, "the service is down for maintenance");
    if let Some(last) = &mut down.state.backoff.last {
        last.text = "the CA does not answer at its directory (HTTP status 503)".to_owned();
    }
    let down = of_certificate(&hotel(), &down);
    letters.push(("no renewal: the CA is down", write(Level::Urgent, down, day(60.0))));

    let manual = CertSpec { source: Source::Manual, issuers: Vec::new(), ..hotel() };
    let held = Observed { newest: Some(revision(1, day(0.0), DAY * 90)), ..Observed::default() };
    let due = the(Condition::Expiry, &all_of_certificate(&manual, &held, Some(REQUEST), None));
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
    let newest = || Some(revision(1, day(0.0), DAY * 90));
    let mut upload = UploadRecord {
        at: now(),
        files: vec!["pbx.crt".to_owned(), "ca-bundle.crt".to_owned()],
        uid: Some(1000),
        outcome: UploadOutcome::Refused,
        text: REFUSED.to_owned(),
    };
    let healthy = Observed { newest: newest(), ..Observed::default() };
    let refused = all_of_certificate(&hotel(), &healthy, Some(REQUEST), Some(&upload));
    let refused = the(Condition::DropRefused, &refused);
    letters.push(("drop refused", write(Level::Warning, refused, now())));
    upload.outcome = UploadOutcome::Accepted;
    upload.text = "Accepted: it is revision 4, ends 2027-05-21 12:00 UTC.".to_owned();
    let accepted = all_of_certificate(&hotel(), &healthy, None, Some(&upload));
    let accepted = the(Condition::DropAccepted, &accepted);
    letters.push(("drop accepted", write(Level::Notice, accepted, now())));

    let manual = all_of_certificate(&hotel(), &by_hand(newest()), Some(REQUEST), None);
    let manual = the(Condition::Mode, &manual);
    letters.push(("mode: manual", write(Level::Warning, manual, now())));
    let mut seen = Observed { newest: newest(), ..Observed::default() };
    seen.state.automatic_since = Some(before(now(), HOUR));
    seen.state.reach.reason = "Let's Encrypt could validate every name".to_owned();
    let automatic = the(Condition::Mode, &all_of_certificate(&hotel(), &seen, None, None));
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

    let mut asterisk = service("asterisk", Kind::Asterisk);
    asterisk.busy = Some(vec!["/usr/lib/pbxcert/hooks/asterisk-calls".to_owned()]);
    let announced = Announcement {
        at: now(),
        takes_place: after(now(), HOUR * 39),
        revisions: [("pbx".to_owned(), 2)].into(),
    };
    let state = ServiceState { announced: Some(announced), ..ServiceState::default() };
    let restart = the(Condition::RestartAnnounced, &findings::service(&asterisk, &state, None));
    letters.push(("restart announced", write(Level::Warning, restart, now())));

    let stand_in = Revision {
        origin: Origin::Placeholder,
        committed_at: before(now(), HOUR),
        ..revision(1, now(), DAY * 30)
    };
    let found = all_of_certificate(&hotel(), &by_hand(Some(stand_in)), Some(REQUEST), None);
    let stand_in = the(Condition::Placeholder, &found);
    letters.push(("placeholder", write(Level::Critical, stand_in, before(now(), HOUR))));
    let first = the(Condition::Mode, &found);
    letters.push(("mode: manual, no certificate yet", write(Level::Critical, first, now())));
    let manual = CertSpec { source: Source::Manual, issuers: Vec::new(), ..hotel() };
    let foreign = Foreign { service: "kamailio".to_owned(), not_after: day(101.0) };
    let seen = Observed { foreign_in_service: Some(foreign), ..Observed::default() };
    let foreign = the(Condition::Drift, &all_of_certificate(&manual, &seen, Some(REQUEST), None));
    letters.push(("from outside", write(Level::Warning, foreign, now())));

    let late = Observed {
        time: crate::state::Time { floor: day(100.0), ..Default::default() },
        ..Observed::default()
    };
    let wrong = Wait { until: None, why: Why::Clock("the clock says 2027-02-11".to_owned()) };
    let clock = findings::certificate(&hotel(), About::default(), &late, &wrong, now());
    letters.push(("clock", write(Level::Critical, clock[0].clone(), now())));

    let mut degraded = new(
        Condition::ConfigDegraded,
        "config",
        "the configuration is broken, an older one is in use",
        "the configuration on disk was refused: line 7: unknown key \"nmae\"",
    );
    degraded.consequence = Some("what was changed in it has no effect".to_owned());
    degraded.ways =
        vec!["see all problems: pbxcert validate; then: systemctl reload pbxcert".to_owned()];
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
    let site = "A house with a name that is longer than any subject has room for";
    let settings = Settings { site: site.to_owned(), ..settings() };
    let subject = subject(
        "CRITICAL",
        &settings,
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
        kind: Some(Kind::Nginx),
        usual: false,
    };
    web.endpoints = vec![endpoint.clone()];
    let old = leaf("pbx.hotelpost.example", 1, day(-5.0), DAY * 90);
    let mut state = ServiceState::default();
    state.seen.insert(endpoint.to_string(), served(&old, now()));
    let seen = Observed { newest: Some(revision(2, day(55.0), DAY * 90)), ..Observed::default() };
    let find = |state: &ServiceState| {
        let using = [Using { spec: &web, state }];
        let about = About { services: &using, ..About::default() };
        findings::certificate(&hotel(), about, &seen, &waits(), now()).remove(0)
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
