//! Every letter as a person gets it, in `letters.txt`: read them there.

use std::collections::BTreeSet;

use super::*;
use crate::config::kind::Kind;
use crate::config::{CertSpec, IssuerSpec, ServiceSpec, Source};
use crate::policy::alerts::{self, digest, post};
use crate::policy::findings::{self, About, Using, own};
use crate::policy::plan::{self, Wait, Why};
use crate::policy::samples::{
    at, closed, day, failure, issuer, leaf, name, revision, seed, served, spec,
};
use crate::policy::schedule::{DAY, HOUR, after, before};
use crate::policy::trust::{Change, Doubted};
use crate::policy::{health, reach, verdict};
use crate::state::alert::log::{AlertLog, ChannelState};
use crate::state::check::{CheckReport, Item, Topic, Verdict};
use crate::state::reach::{Here, Mode, Reach, ReachState};
use crate::state::upload::{UploadOutcome, UploadRecord};
use crate::state::{
    Announcement, FailureClass, FilesSeen, Foreign, Hold, Next, Observed, Origin, PairSeen,
    PairState, PutBack, Quote, Revision, ServiceSeen, ServiceState, Severity, Step,
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
        title: finding.title.clone(),
        matter: Matter::Found(Box::new(finding)),
        told: None,
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
    of_this(&sites()[0], ServiceState::default(), step, problem)
}

fn of_this(spec: &ServiceSpec, mut state: ServiceState, step: Step, problem: &str) -> Finding {
    let event = if step == Step::Stuck { "recover" } else { "reload" };
    let pair = PairState {
        step,
        revision: Some(2),
        since: Some(before(now(), HOUR * 2)),
        problem: Some(problem.to_owned()),
        by_hand: Some(format!("PBXCERT_EVENT={event} /usr/lib/pbxcert/hooks/kamailio")),
        ..PairState::default()
    };
    state.pairs.insert("pbx".to_owned(), pair);
    let found = findings::service(spec, &state, Some(&waits()));
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

    let old = served(&leaf("pbx.hotelpost.example", 1, day(0.0), DAY * 90), now());
    let wanted = leaf("pbx.hotelpost.example", 2, day(60.0), DAY * 90).fingerprint;
    let broken = match verdict::endpoint(wanted, Some(&old), &closed(now())) {
        verdict::EndpointVerdict::Broken(why) => format!("sips://127.0.0.1:5061: {why}"),
        other => panic!("{other:?}"),
    };
    let hours_ago = before(now(), HOUR * 2);
    for (kind, level, step, problem) in [
        ("deployed, broken, rolled back", Level::Urgent, Step::RolledBack, broken.as_str()),
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
    for (kind, level, step) in [
        ("rolled back, and the old one ends soon", Level::Critical, Step::RolledBack),
        ("not taken, and the old one ends soon", Level::Critical, Step::NotTaken),
    ] {
        let problem = "still the old certificate on https://127.0.0.1:443";
        let found = of_this(&with_endpoint(), serves_old(), step, problem);
        letters.push((kind, write(level, found, hours_ago)));
    }
    letters.extend(others(&write));
    letters.extend(own_faults(&write));
    letters.extend(of_the_check(&write));

    let dead = ChannelState {
        failures: 3,
        failing_since: Some(before(now(), HOUR)),
        retry_at: Some(after(now(), HOUR / 4)),
        // As the channel says it.
        error: Some("it ended with 7 and said: the pager is off".to_owned()),
    };
    let error = Some("hc.voip.example: no answer within 30 s".to_owned());
    let silent = post::silent(&ChannelState { error, ..dead.clone() }).unwrap();
    let dead = post::dead("command /usr/local/sbin/page-me", &dead, 2).unwrap();
    letters.push(("channel dead", write(Level::Warning, dead, before(now(), HOUR))));
    letters.push(("heartbeat dead", write(Level::Warning, silent, before(now(), HOUR))));

    let over = |finding: &Finding, since, by| Draft {
        matter: Matter::Over { now: finding.over.clone().unwrap_or_default(), by },
        told: Some(Level::Urgent),
        ..draft(Level::Notice, finding.clone(), since)
    };
    let recovered = over(&unreachable, day(60.0), Some(day(169.0)));
    letters.push(("recovered", super::write(&recovered, &settings(), now())));
    let stuck = of_service(Step::Stuck, "nobody listens");
    let briefly = over(&stuck, before(now(), HOUR / 3600), None);
    letters.push(("recovered within a second", super::write(&briefly, &settings(), now())));
    let open = Finding { over: None, ..stuck.clone() };
    let improved = over(&open, hours_ago, None);
    letters
        .push(("over, and something else is wrong", super::write(&improved, &settings(), now())));
    let left = Draft { matter: Matter::Left, ..recovered.clone() };
    letters.push(("no longer looked after", super::write(&left, &settings(), now())));
    let news = the(Condition::DropAccepted, &uploaded(UploadOutcome::Accepted));
    let many = [
        draft(Level::Critical, stuck, now()),
        draft(Level::Urgent, unreachable, day(60.0)),
        draft(Level::Notice, news.clone(), now()),
        recovered.clone(),
        left,
    ];
    letters.push(("digest", digest::write(&many, &settings(), now())));
    let good = [draft(Level::Notice, news.clone(), now()), recovered.clone()];
    letters.push(("digest of good news", digest::write(&good, &settings(), now())));
    letters.extend(of_renewal(&write));
    letters
}

/// What is found on the day of an upload.
fn uploaded(outcome: UploadOutcome) -> Vec<Finding> {
    let healthy = Observed { newest: Some(revision(1, day(0.0), DAY * 90)), ..Observed::default() };
    let text = match outcome {
        UploadOutcome::Accepted => "Accepted: it is revision 4, ends 2027-05-21 12:00 UTC.",
        _ => REFUSED,
    };
    let upload = UploadRecord {
        at: now(),
        files: vec!["pbx.crt".to_owned(), "ca-bundle.crt".to_owned()],
        uid: Some(1000),
        outcome,
        text: text.to_owned(),
    };
    all_of_certificate(&hotel(), &healthy, Some(REQUEST), Some(&upload))
}

/// The other reasons for which no certificate comes, and those by which one comes to its end.
fn of_renewal(
    write: &dyn Fn(Level, Finding, Timestamp) -> Message,
) -> Vec<(&'static str, Message)> {
    let mut letters = Vec::new();
    for (kind, problem, class, text, detail) in [
        (
            "no renewal: DNS",
            Some("dns"),
            FailureClass::Validation,
            "the CA finds no address of pbx.hotelpost.example in the DNS",
            "DNS problem: SERVFAIL looking up A for pbx.hotelpost.example",
        ),
        (
            "no renewal: TLS in the way",
            Some("tls"),
            FailureClass::Validation,
            "the CA was led on to https, and that failed",
            "remote error: tls: handshake failure",
        ),
        (
            "no renewal: somebody else answers",
            Some("unauthorized"),
            FailureClass::Validation,
            "another machine answers for pbx.hotelpost.example",
            "Invalid response from http://pbx.hotelpost.example/x: 404",
        ),
        (
            "no renewal: rate limit",
            Some("rateLimited"),
            FailureClass::RateLimited,
            "the CA has had too many orders",
            "too many certificates (5) already issued for this exact set of identifiers",
        ),
        (
            "no renewal: EAB",
            Some("externalAccountRequired"),
            FailureClass::Person,
            "the CA makes accounts only for its customers",
            "The request must include a value for externalAccountBinding",
        ),
    ] {
        let mut seen = seen(problem, class, detail);
        seen.state.backoff.last.as_mut().unwrap().text = text.to_owned();
        letters.push((kind, write(Level::Urgent, of_certificate(&hotel(), &seen), day(60.0))));
    }
    let mut first = seen(Some("connection"), FailureClass::Validation, TIMEOUT);
    first.newest = None;
    let first = of_certificate(&hotel(), &first);
    letters.push(("no certificate yet", write(Level::Urgent, first, day(60.0))));
    let held = Observed { newest: Some(revision(1, day(0.0), DAY * 90)), ..Observed::default() };
    let late = of_certificate(&hotel(), &held);
    letters.push(("not renewed yet", write(Level::Warning, late, now())));
    let acme = CertSpec { source: Source::Acme, ..hotel() };
    let stand_in = Revision { origin: Origin::Placeholder, ..revision(1, now(), DAY * 30) };
    let stand_in = Observed { newest: Some(stand_in), ..Observed::default() };
    let stand_in = of_certificate(&acme, &stand_in);
    letters.push(("placeholder until the CA gives one", write(Level::Critical, stand_in, now())));

    let (spec, state) = (with_endpoint(), serves_old());
    let using = [Using { spec: &spec, state: &state }];
    let about = About { services: &using, ..About::default() };
    let seen = Observed { newest: Some(revision(2, day(55.0), DAY * 90)), ..Observed::default() };
    let behind = findings::certificate(&hotel(), about, &seen, &waits(), now()).remove(0);
    letters.push(("an old certificate is served", write(Level::Urgent, behind, now())));
    letters
}

/// A service whose endpoint served a certificate that ends on day 85 when it was last looked at.
fn with_endpoint() -> ServiceSpec {
    let mut web = service("web", Kind::Nginx);
    web.endpoints = vec![crate::config::Endpoint {
        protocol: crate::config::Protocol::Https,
        host: "127.0.0.1".to_owned(),
        port: 443,
        sni: None,
        key: None,
        certificate: "pbx".to_owned(),
        timeout: HOUR,
        kind: Some(Kind::Nginx),
        usual: false,
    }];
    web
}

fn serves_old() -> ServiceState {
    let mut state = ServiceState::default();
    let old = leaf("pbx.hotelpost.example", 1, day(-5.0), DAY * 90);
    state.seen.insert(with_endpoint().endpoints[0].to_string(), served(&old, now()));
    state
}

/// What waits for a person, and news.
fn others(write: &dyn Fn(Level, Finding, Timestamp) -> Message) -> Vec<(&'static str, Message)> {
    let mut letters = Vec::new();
    let newest = || Some(revision(1, day(0.0), DAY * 90));
    let refused = the(Condition::DropRefused, &uploaded(UploadOutcome::Refused));
    letters.push(("drop refused", write(Level::Warning, refused, now())));
    let accepted = the(Condition::DropAccepted, &uploaded(UploadOutcome::Accepted));
    letters.push(("drop accepted", write(Level::Notice, accepted, now())));

    let manual = all_of_certificate(&hotel(), &by_hand(newest()), Some(REQUEST), None);
    let manual = the(Condition::Mode, &manual);
    letters.push(("mode: manual", write(Level::Warning, manual, now())));
    let mut seen = Observed { newest: newest(), ..Observed::default() };
    seen.state.automatic_since = Some(before(now(), HOUR));
    seen.state.reach.reason = "Let's Encrypt could validate every name".to_owned();
    let automatic = the(Condition::Mode, &all_of_certificate(&hotel(), &seen, None, None));
    letters.push(("mode: automatic", write(Level::Notice, automatic, now())));

    letters.extend(of_trust(write));

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

    letters
}

/// A new certificate that phones may not trust, holds, and files that somebody else wrote.
fn of_trust(write: &dyn Fn(Level, Finding, Timestamp) -> Message) -> Vec<(&'static str, Message)> {
    let mut letters = Vec::new();
    let (spec, kamailio) = (with_endpoint(), sites()[0].clone());
    let doubted = Doubted {
        changes: vec![Change::Root {
            before: "CN=ISRG Root X1".to_owned(),
            after: "CN=ISRG Root X2".to_owned(),
        }],
        // There are none without clients.
        remarks: Vec::new(),
        ends: leaf("pbx.hotelpost.example", 1, day(0.0), DAY * 90).validity,
        until: day(86.0),
    };
    let found = findings::trust(&kamailio, "pbx", 2, &doubted, now());
    letters.push(("trust change waiting", write(Level::Warning, found, now())));
    let lint = Wait {
        until: Some(day(86.0)),
        why: Why::Lint(
            "revision 2 of pbx is held back by strict-lint: yealink-t4x: it needs an RSA \
             certificate; it goes in at 2027-02-17 12:00 UTC all the same (`pbxcert deploy \
             kamailio` brings it in now)"
                .to_owned(),
        ),
    };
    let strict = findings::service(&kamailio, &ServiceState::default(), Some(&lint)).remove(0);
    letters.push(("held back by strict-lint", write(Level::Warning, strict, now())));

    let pair = |number| PairSeen {
        certificate: "pbx".to_owned(),
        newest: Some(Revision { number, ..revision(number, now(), DAY * 90) }),
        min_age: DAY,
        root: None,
        state: PairState::default(),
        files: FilesSeen::AsInstalled,
        in_place: None,
        outside_is_sound: false,
        trust: None,
    };
    let mut held = pair(2);
    held.state.hold = Some(Hold {
        refused: 1,
        newer_too: true,
        instead: Some(1),
        by: "eva".to_owned(),
        at: day(50.0),
    });
    held.in_place = Some(leaf("pbx.hotelpost.example", 1, day(-5.0), DAY * 90).validity);
    let mut seen = ServiceSeen {
        pairs: vec![held],
        reloads: Vec::new(),
        mended: Vec::new(),
        looked_at: Some(now()),
        seen: Default::default(),
        endpoints: Default::default(),
        by_hand: false,
        calls: None,
        announced: None,
        ahead: Vec::new(),
    };
    let hold = findings::holds(&kamailio, &seen, now()).remove(0);
    letters.push(("a hold ends", write(Level::Warning, hold, now())));
    let mut back = pair(2);
    back.state.put_back = vec![PutBack {
        at: before(now(), HOUR),
        fingerprint: leaf("pbx.hotelpost.example", 9, day(0.0), DAY * 60).fingerprint,
        revision: 2,
    }];
    seen.pairs = vec![back];
    let back = findings::outside(&spec, &seen, now()).remove(0);
    letters.push(("files were put back", write(Level::Warning, back, before(now(), HOUR))));
    let mut adopted = pair(3);
    adopted.newest = adopted.newest.map(|newest| Revision { origin: Origin::Outside, ..newest });
    seen.pairs = vec![adopted];
    let adopted = findings::outside(&spec, &seen, now()).remove(0);
    letters.push(("adopted from outside", write(Level::Notice, adopted, now())));
    let held_by = Wait {
        until: None,
        why: Why::Person(
            "somebody put another certificate of pbx there, which ends at 2027-03-04 12:00 UTC; \
             ours was put back over it before, and now it is left alone until a day before \
             (`pbxcert deploy` puts ours back)"
                .to_owned(),
        ),
    };
    let foreign = findings::service(&kamailio, &ServiceState::default(), Some(&held_by));
    letters.push(("drift", write(Level::Warning, foreign[0].clone(), now())));
    letters
}

/// What is wrong with this host and with pbxcert itself.
fn own_faults(
    write: &dyn Fn(Level, Finding, Timestamp) -> Message,
) -> Vec<(&'static str, Message)> {
    let mut letters = Vec::new();
    let late = Observed {
        time: crate::state::Time { floor: day(100.0), ..Default::default() },
        ..Observed::default()
    };
    let ca = IssuerSpec { directory: LETSENCRYPT.to_owned(), ..issuer() };
    let plan::Action::Wait(wrong) = plan::next(&hotel(), &ca, &late, &seed(), now()) else {
        panic!("a clock that is wrong stops everything");
    };
    let clock = findings::certificate(&hotel(), About::default(), &late, &wrong, now());
    letters.push(("clock", write(Level::Critical, clock[0].clone(), now())));
    let log = AlertLog { believed_at: Some(day(10.0)), ..AlertLog::default() };
    let nothing = BTreeSet::new();
    let seen = alerts::Seen {
        findings: &[],
        unseen: &nothing,
        unseen_conditions: &BTreeSet::new(),
        named: &nothing,
        trusted: false,
    };
    let jumped = alerts::due(seen, &log, &settings(), now()).messages.remove(0);
    letters.push(("clock jumped", jumped));

    let degraded = "/etc/pbxcert/pbxcert.toml:7:1: unknown key \"nmae\", known are \"name\"";
    let hour = before(now(), HOUR);
    let waiting = UploadRecord {
        at: hour,
        files: vec!["pbx.crt".to_owned()],
        uid: None,
        outcome: UploadOutcome::Waiting,
        text: "have: certificate for pbx.hotelpost.example; missing: its private key".to_owned(),
    };
    let broken: std::path::PathBuf = "/var/lib/pbxcert/certs/pbx/state.json.broken-1".into();
    for (kind, finding) in [
        ("config degraded", own::degraded(degraded, Some(hour))),
        (
            "nobody looks after it",
            own::unattended("pbx", "cannot write state.json: No space left on device", hour),
        ),
        ("records moved aside", own::moved_aside("pbx", "state.json", Some(hour), &broken)),
        ("records damaged", own::unreadable("pbx", &broken, "it is empty")),
        ("order lost", own::lost_order("pbx", "it is empty")),
        (
            "revision damaged",
            own::damaged_revision(
                "pbx",
                "revision 3 is not whole and not used: fullchain.pem is missing".to_owned(),
                "/var/lib/pbxcert/certs/pbx/rev/3".as_ref(),
            ),
        ),
        (
            "written by a newer one",
            own::newer("pbx", "state.json was written by a newer pbxcert".to_owned()),
        ),
        ("upload incomplete", own::incomplete(&hotel(), &waiting)),
        ("drop folder closed", own::closed_folder(&hotel(), "it is a symbolic link")),
        (
            "strange files",
            own::strange_files(&hotel(), "in the drop folder, x: it is a link".to_owned()),
        ),
    ] {
        letters.push((kind, write(Level::Warning, finding, hour)));
    }
    letters
}

/// What the daily check finds, in the words that its parts use.
fn of_the_check(
    write: &dyn Fn(Level, Finding, Timestamp) -> Message,
) -> Vec<(&'static str, Message)> {
    let item = |topic, object: &str, place: Option<&str>, verdict, text: &str, next: &str| {
        let mut item = Item::new(topic, object, verdict, text).then(next);
        item.place = place.map(str::to_owned);
        item.since = Some(before(now(), HOUR));
        item
    };
    let (warning, critical) = (Verdict::Warning, Verdict::Critical);
    let port = Some("sips://192.168.1.10:5061");
    let items = [
        (
            "checked: chain",
            item(
                Topic::Chain,
                "pbx",
                None,
                critical,
                "it leads to no root that this machine trusts",
                "pbxcert renew pbx --force",
            ),
        ),
        (
            "checked: revoked",
            item(
                Topic::Revocation,
                "pbx",
                None,
                critical,
                "its CA took it back on Tue 10 Feb, because its key is known to others",
                "it is ordered anew by itself; now: pbxcert renew pbx",
            ),
        ),
        (
            "checked: served",
            item(
                Topic::Served,
                "sip",
                port,
                critical,
                "serves a certificate that is none of ours",
                "pbxcert deploy sip",
            ),
        ),
        (
            "checked: lint",
            item(
                Topic::Lint,
                "sip",
                port,
                warning,
                "Yealink T2x: takes RSA keys only, and this is ECDSA",
                "key = \"rsa-2048\"",
            ),
        ),
        (
            "checked: trunk",
            item(
                Topic::Trunk,
                "carrier",
                Some("sips://sbc.carrier.example:5061"),
                critical,
                "its chain leads to no trusted root",
                "ask the carrier for its root, and name it in trust-anchor of [[trunk]] carrier",
            ),
        ),
        (
            "checked: other client",
            item(
                Topic::OtherClient,
                "pbx",
                Some("certbot"),
                warning,
                "certbot renews pbx.hotelpost.example as well",
                "switch it off: systemctl disable --now certbot.timer",
            ),
        ),
        (
            "checked: unmanaged",
            item(
                Topic::Unmanaged,
                "host",
                Some("0.0.0.0:8443"),
                warning,
                "java (pid 812) serves a certificate that ends in 9 days, and nobody here looks after it",
                "name it as a [[service]], or in [[ignore]]",
            ),
        ),
        (
            "checked: hygiene",
            item(
                Topic::Hygiene,
                "sip",
                Some("/etc/kamailio/tls/key.pem"),
                critical,
                "every user of this machine can read this private key",
                "chmod 640 /etc/kamailio/tls/key.pem; then a new one: pbxcert renew pbx --force",
            ),
        ),
        (
            "checked: advisory",
            item(
                Topic::Advisories,
                "host",
                Some("asterisk"),
                critical,
                "asterisk 20.4.0 has a known issue that is being exploited (PBX-2026-1), mended in 20.4.1",
                "apt-get install --only-upgrade asterisk",
            ),
        ),
        (
            "checked: updates",
            item(
                Topic::Updates,
                "host",
                None,
                warning,
                "3 security updates wait: libssl3, openssl, sudo",
                "apt-get upgrade",
            ),
        ),
        (
            "checked: load",
            item(
                Topic::Processor,
                "host",
                None,
                warning,
                "programs waited for a processor 31.0 % of the time since the last check (24 h)",
                "see what needs it: top; improve the hardware or the virtual machine",
            ),
        ),
        (
            "checked: disk",
            item(
                Topic::Disk,
                "host",
                Some("/var/lib/pbxcert"),
                critical,
                "90 MiB (0.9 %) of its file system are free",
                "df -h /var/lib/pbxcert",
            ),
        ),
        (
            "checked: clock",
            item(
                Topic::Clock,
                "host",
                None,
                critical,
                "nothing has set it for 3 days",
                "timedatectl set-ntp true",
            ),
        ),
        (
            "checked: source",
            item(
                Topic::Sources,
                "host",
                Some("https://updates.example"),
                warning,
                "it was not reached: no answer within 10 s; days in vain since it was reached last: 11 of \
             14",
                "let this host reach it: the firewall, the name servers, or proxy in [check]",
            ),
        ),
    ];
    let letter = |item: Item| {
        let level = if item.verdict == critical { Level::Critical } else { Level::Warning };
        let report = CheckReport {
            schema: 1,
            site: String::new(),
            at: now(),
            took: 0,
            verdict: item.verdict,
            summary: String::new(),
            items: vec![item],
        };
        write(level, health::findings(&report).remove(0), before(now(), HOUR))
    };
    items.into_iter().map(|(kind, item)| (kind, letter(item))).collect()
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
    let (web, mut state) = (with_endpoint(), serves_old());
    let old = leaf("pbx.hotelpost.example", 1, day(-5.0), DAY * 90);
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

#[test]
fn every_condition_of_this_area_has_its_letter_with_a_way_out() {
    // Told in the month of `policy::health`.
    const ELSEWHERE: [Condition; 2] = [Condition::Duplicate, Condition::Restricted];
    let letters = letters();
    for condition in Condition::ALL.into_iter().filter(|c| !ELSEWHERE.contains(c)) {
        let told = letters.iter().any(|(_, message)| message.condition == condition.word());
        assert!(told, "no letter about {condition}");
    }
    for (kind, message) in &letters {
        if message.recovered || message.level == Level::Notice || message.condition == "digest" {
            continue;
        }
        let body = &message.body;
        assert!(body.contains("What to do:") || body.contains("Do one of:"), "{kind}: {body}");
        assert!(!body.contains(" UTC"), "{kind}: {body}");
    }
}

#[test]
fn a_subject_begins_with_what_has_to_be_done_and_shortens_the_name() {
    let held = Observed { newest: Some(revision(1, day(0.0), DAY * 90)), ..Observed::default() };
    let manual = CertSpec { source: Source::Manual, issuers: Vec::new(), ..hotel() };
    let due = the(Condition::Expiry, &all_of_certificate(&manual, &held, Some(REQUEST), None));
    let due = write(&draft(Level::Urgent, due, day(67.5)), &settings(), now());
    assert_eq!(
        due.subject,
        "URGENT 0142 Hotel Post: upload needed: pbx.hotelpost…, ends Sun 21 Feb (10 days)"
    );
}
