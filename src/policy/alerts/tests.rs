mod quarter;

use std::collections::BTreeSet;

use jiff::civil::time;
use jiff::tz::TimeZone;

use super::*;
use crate::cert::Validity;
use crate::cert::span;
use crate::config::Ignore;
use crate::config::alerts::Quiet;
use crate::policy::samples::{at, day, leaf};
use crate::policy::schedule::MINUTE;
use crate::state::alert::log::Ack;
use crate::state::check::Verdict;
use crate::state::{FailureClass, Life, Severity};

/// Central Europe.
pub(super) fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

pub(super) fn settings() -> Settings {
    Settings {
        possible_copy: false,
        site: "0142 Hotel Post".to_owned(),
        zone: berlin(),
        quiet: None,
        ignored: Vec::new(),
    }
}

fn validity() -> Validity {
    leaf("pbx.example", 1, day(0.0), DAY * 90).validity
}

/// A certificate of 90 days that ends on day 90.
fn ending() -> Finding {
    let life = Life { validity: validity(), manual: false, scheduled: false };
    let mut finding =
        Finding::new(Condition::Expiry, "pbx", Severity::Warning, "pbx ends", "pbx ends");
    (finding.life, finding.by) = (Some(life), Some(validity().not_after));
    finding
}

fn failing(class: FailureClass, since: Timestamp) -> Finding {
    Finding {
        condition: Condition::Renewal,
        class: Some(class),
        since: Some(since),
        title: "no renewal".to_owned(),
        ..ending()
    }
}

fn stuck(object: &str) -> Finding {
    Finding::new(Condition::Stuck, object, Severity::Critical, format!("{object} is broken"), "x")
}

fn drift(object: &str) -> Finding {
    Finding::new(Condition::Drift, object, Severity::Warning, format!("{object} drifted"), "x")
}

fn news(condition: Condition, happened: Timestamp) -> Finding {
    let mut finding = Finding::new(condition, "pbx", Severity::Warning, "refused", "x");
    finding.since = Some(happened);
    finding
}

/// One host over time.
struct Host {
    log: AlertLog,
    settings: Settings,
    trusted: bool,
    unseen: BTreeSet<String>,
    unseen_conditions: BTreeSet<(String, Condition)>,
    named: BTreeSet<String>,
}

impl Host {
    fn new() -> Self {
        let (log, unseen) = (AlertLog::default(), BTreeSet::new());
        let named = ["pbx", "sip", "web"].map(str::to_owned).into();
        let unseen_conditions = BTreeSet::new();
        Self { log, settings: settings(), trusted: true, unseen, unseen_conditions, named }
    }

    fn seen<'a>(&'a self, findings: &'a [Finding]) -> Seen<'a> {
        let Self { unseen, unseen_conditions, named, trusted, .. } = self;
        Seen { findings, unseen, unseen_conditions, named, trusted: *trusted }
    }

    fn ask_once(&mut self, findings: &[Finding], now: Timestamp) -> Due {
        let due = due(self.seen(findings), &self.log, &self.settings, now);
        self.log = due.log.clone();
        due
    }

    fn ask(&mut self, findings: &[Finding], now: Timestamp) -> Due {
        let due = self.ask_once(findings, now);
        let again = super::due(self.seen(findings), &due.log, &self.settings, now);
        assert!(again.messages.is_empty(), "the same is told twice: {:?}", again.messages);
        assert_eq!((&again.log, again.wake), (&due.log, due.wake));
        assert!(due.wake.is_none_or(|at| at > now), "{:?} is over at {now}", due.wake);
        due
    }

    /// Level and condition of each message; `over` for what is over.
    fn told(&mut self, findings: &[Finding], now: Timestamp) -> Vec<(&'static str, String)> {
        let word = |m: &Message| if m.recovered { "over" } else { m.level.word() };
        let messages = self.ask(findings, now).messages;
        messages.iter().map(|m| (word(m), m.condition.clone())).collect()
    }

    /// Follows the wakes until then; days and levels of what was told.
    fn follow(
        &mut self,
        findings: &[Finding],
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<(f64, &'static str)> {
        let (mut now, mut told) = (from, Vec::new());
        loop {
            let due = self.ask(findings, now);
            let days = span(day(0.0), now).as_secs_f64() / 86_400.0;
            let days = (days * 10.0).round() / 10.0;
            told.extend(due.messages.iter().map(|m| (days, m.level.word())));
            match due.wake {
                Some(wake) if wake <= to => now = wake,
                _ => return told,
            }
        }
    }

    fn ack(&mut self, condition: Option<Condition>, level: Level, until: Timestamp) {
        let (object, note, by) = ("pbx".to_owned(), "known".to_owned(), "me".to_owned());
        self.log.acks.push(Ack { object, condition, level, until, note, by, at: day(0.0) });
    }
}

fn one(level: &'static str, condition: &str) -> Vec<(&'static str, String)> {
    vec![(level, condition.to_owned())]
}

const NOTHING: [(&str, String); 0] = [];

#[test]
fn a_life_that_runs_out_is_told_at_each_point_and_again_by_its_level() {
    let told = Host::new().follow(&[ending()], day(0.0), day(92.0));
    let warnings: Vec<f64> =
        told.iter().filter(|(_, level)| *level == "WARNING").map(|(d, _)| *d).collect();
    assert_eq!(warnings, [67.5, 74.5], "then weekly");
    let urgent: Vec<f64> =
        told.iter().filter(|(_, level)| *level == "URGENT").map(|(d, _)| *d).collect();
    assert_eq!(urgent, [78.8, 79.8, 80.8, 81.8, 82.8, 83.8], "daily");
    let critical: Vec<f64> =
        told.iter().filter(|(_, level)| *level == "CRITICAL").map(|(d, _)| *d).collect();
    assert_eq!(critical[..4], [84.4, 84.9, 85.4, 85.9], "twice a day");
    assert!(critical.contains(&87.0) && critical.contains(&89.0) && critical.contains(&90.0));
    assert_eq!(told.len(), warnings.len() + urgent.len() + critical.len());
}

#[test]
fn a_failure_that_heals_within_a_day_is_told_to_nobody() {
    let mut host = Host::new();
    let failing = failing(FailureClass::Transient, day(60.0));
    for hours in 0..20 {
        let now = after(day(60.0), HOUR * hours);
        assert_eq!(host.told(std::slice::from_ref(&failing), now), NOTHING);
    }
    assert_eq!(host.told(&[], day(61.5)), NOTHING, "nobody has to hear that it is over");
    assert!(host.log.items.is_empty());
}

#[test]
fn what_was_told_is_told_to_be_over() {
    let mut host = Host::new();
    let failing = failing(FailureClass::Validation, day(60.0));
    assert_eq!(host.told(std::slice::from_ref(&failing), day(61.0)), one("WARNING", "renewal"));
    assert_eq!(host.told(std::slice::from_ref(&failing), day(62.0)), NOTHING);
    let due = host.ask(&[], day(63.0));
    assert_eq!(due.messages.len(), 1);
    let over = &due.messages[0];
    assert!(over.recovered && over.subject.starts_with("RECOVERED 0142 Hotel Post: over: no ren"));
    assert!(over.body.contains("lasted 3 days"), "{}", over.body);
    assert_eq!(host.told(&[], day(64.5)), NOTHING);
    assert!(host.log.items.is_empty(), "{:?}", host.log.items);
}

#[test]
fn that_none_comes_and_that_the_old_one_ends_is_one_worry() {
    let mut host = Host::new();
    let failing = failing(FailureClass::Validation, day(60.0));
    assert_eq!(host.told(std::slice::from_ref(&failing), day(79.0)), one("URGENT", "renewal"));
    assert_eq!(host.told(&[ending()], day(79.1)), NOTHING, "the same under another name");
    assert_eq!(host.told(&[ending()], day(80.0)), one("URGENT", "expiry"));
    assert_eq!(host.told(&[failing], day(80.5)), NOTHING);
    assert_eq!(host.told(&[], day(81.0)), one("over", "renewal"));
}

#[test]
fn an_object_that_nobody_looked_at_is_not_over() {
    let mut host = Host::new();
    assert_eq!(host.told(&[stuck("sip")], day(0.0)), one("CRITICAL", "stuck"));
    host.unseen.insert("sip".to_owned());
    assert_eq!(host.told(&[], day(0.1)), NOTHING, "just after a restart");
    host.unseen.clear();
    assert_eq!(host.told(&[stuck("sip")], day(0.2)), NOTHING);
    assert_eq!(host.told(&[], day(0.3)), one("over", "stuck"));
}

#[test]
fn many_at_once_are_one_digest_and_so_is_their_end() {
    let mut host = Host::new();
    let mut findings: Vec<Finding> = ["a", "b", "c", "d", "e"].map(drift).to_vec();
    findings.push(stuck("sip"));
    let due = host.ask(&findings, day(0.0));
    let [digest] = &due.messages[..] else { panic!("{:?}", due.messages) };
    assert_eq!((digest.level, digest.condition.as_str()), (Level::Critical, "digest"));
    assert_eq!(digest.subject, "CRITICAL 0142 Hotel Post: 6 things wrong; first: sip is broken");
    let place = |word: &str| digest.body.find(word).unwrap_or_else(|| panic!("{}", digest.body));
    assert!(place("CRITICAL: sip is broken") < place("WARNING: a drifted"));
    assert_eq!(digest.body.matches("ack").count(), 0, "no foot for each");
    let due = host.ask(&[], day(1.0));
    let [over] = &due.messages[..] else { panic!("{:?}", due.messages) };
    assert!(over.recovered);
    assert_eq!(over.subject, "RECOVERED 0142 Hotel Post: 6 things over; first: a drifted");
}

#[test]
fn whoever_heard_of_the_beginning_hears_of_the_end_and_nobody_else() {
    let mut host = Host::new();
    let told = |due: &Due| -> Vec<(bool, Option<Level>)> {
        due.messages.iter().map(|message| (message.recovered, message.ends)).collect()
    };
    let due = host.ask(&[stuck("sip"), drift("web")], day(0.0));
    assert_eq!(told(&due), [(false, None), (false, None)]);
    let due = host.ask(&[drift("web")], day(0.1));
    assert_eq!(told(&due), [(true, Some(Level::Critical))]);
    let due = host.ask(&[], day(0.2));
    assert_eq!(told(&due), [(true, Some(Level::Warning))]);
    // It was louder once, and is quieter when it ends.
    let louder = Finding { severity: Severity::Critical, ..drift("web") };
    host.ask(&[louder], day(1.0));
    host.ask(&[drift("web")], day(9.0));
    assert_eq!(told(&host.ask(&[], day(9.1))), [(true, Some(Level::Critical))]);
}

#[test]
fn a_digest_of_ends_and_good_news_is_a_recovery_that_reaches_whoever_heard_of_the_beginning() {
    let mut host = Host::new();
    host.ask(&[stuck("sip"), stuck("web")], day(0.0));
    let accepted = |object: &str| {
        let news = news(Condition::DropAccepted, day(0.5));
        let (object, title) = (object.to_owned(), format!("upload accepted: {object}"));
        Finding { object, title, severity: Severity::Notice, ..news }
    };
    let due = host.ask(&[accepted("sip"), accepted("web")], day(0.5));
    let [digest] = &due.messages[..] else { panic!("{:?}", due.messages) };
    assert_eq!(
        digest.subject,
        "RECOVERED 0142 Hotel Post: 2 things over, 2 pieces of news; first: sip is broken"
    );
    assert!(digest.recovered && digest.ends == Some(Level::Critical), "{digest:?}");
    assert_eq!(digest.level, Level::Notice);
}

#[test]
fn what_leaves_the_configuration_is_not_told_to_be_repaired() {
    let mut host = Host::new();
    let findings = [stuck("sip"), drift("web"), drift("host")];
    host.ask(&findings, day(0.0));
    host.named.remove("sip");
    // Also when nothing was ever told of it.
    host.settings.ignored = vec![Ignore {
        object: "web".to_owned(),
        condition: None,
        reason: "x".to_owned(),
        until: None,
    }];
    let due = host.ask(&findings[1..], day(0.1));
    let [left] = &due.messages[..] else { panic!("{:?}", due.messages) };
    assert!(!left.recovered && left.ends == Some(Level::Critical), "{left:?}");
    assert_eq!(left.subject, "NOTICE 0142 Hotel Post: no longer looked after: sip");
    assert!(left.body.contains("Nobody has seen that repaired"), "{}", left.body);
    assert!(!host.log.items.contains_key("sip"), "forgotten");
    // What was never named is over when it is not found.
    let over = host.told(&findings[1..2], day(0.2));
    assert_eq!(over, one("over", "drift"));
}

#[test]
fn what_is_true_now_is_said_when_nothing_else_is_wrong_with_it() {
    let mut host = Host::new();
    let good = Some("renewed: pbx.example".to_owned());
    let failing = Finding { over: good, ..failing(FailureClass::Person, day(60.0)) };
    host.ask(std::slice::from_ref(&failing), day(70.0));
    let renewed = Validity { not_before: day(71.0), not_after: day(161.0) };
    let life = Life { validity: renewed, manual: false, scheduled: false };
    let healthy = Finding { life: Some(life), by: Some(renewed.not_after), ..ending() };
    let due = host.ask(std::slice::from_ref(&healthy), day(71.0));
    let subject = "RECOVERED 0142 Hotel Post: renewed: pbx.example, ends Mon 3 May (90 days)";
    assert_eq!(due.messages[0].subject, subject);
    let broken = Finding { over: Some("works again: pbx".to_owned()), ..stuck("pbx") };
    host.ask(&[broken], day(72.0));
    let due = host.ask(&[drift("pbx")], day(73.0));
    let over = due.messages.iter().find(|message| message.recovered).unwrap();
    assert_eq!(over.subject, "RECOVERED 0142 Hotel Post: over: pbx is broken");
}

#[test]
fn a_verdict_on_the_whole_is_never_ok_before_everything_was_looked_at() {
    let mut host = Host::new();
    let verdict = |host: &Host, complete| verdict(&host.log, &host.settings, complete, day(0.0)).0;
    assert_eq!(verdict(&host, false), Verdict::Unknown);
    assert_eq!(verdict(&host, true), Verdict::Ok);
    host.ask(&[drift("web")], day(0.0));
    assert_eq!(verdict(&host, true), Verdict::Warning);
    host.ask(&[drift("web"), stuck("sip")], day(0.0));
    assert_eq!(verdict(&host, false), Verdict::Critical, "what is known to be wrong is wrong");
}

#[test]
fn quiet_hours_hold_back_warnings_and_ends_but_nothing_urgent() {
    let mut host = Host::new();
    host.settings.quiet = Some(Quiet { from: time(20, 0, 0, 0), to: time(7, 0, 0, 0) });
    // 22:00 and 07:00 in winter.
    let night: Timestamp = "2026-11-24T21:00:00Z".parse().unwrap();
    let morning: Timestamp = "2026-11-25T06:00:00Z".parse().unwrap();
    let due = host.ask(&[drift("web"), stuck("sip")], night);
    assert_eq!(due.messages.len(), 1);
    assert_eq!(due.messages[0].level, Level::Critical);
    assert_eq!(due.wake, Some(morning));
    assert_eq!(host.told(&[drift("web")], after(night, HOUR)), NOTHING, "over, but it is night");
    let told = host.told(&[drift("web")], morning);
    let words: Vec<&str> = told.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["WARNING", "over"]);
    // A warning that is gone by the morning was never told, and is not told to be over.
    host.told(&[drift("web"), drift("tel")], after(night, DAY));
    assert_eq!(host.told(&[drift("web")], after(morning, DAY)), NOTHING);
}

#[test]
fn an_ack_silences_until_its_day_but_not_what_becomes_worse() {
    let mut host = Host::new();
    host.ack(Some(Condition::Expiry), Level::Warning, day(85.0));
    assert_eq!(host.told(&[ending()], day(70.0)), NOTHING);
    assert_eq!(host.told(&[ending()], day(78.8)), one("URGENT", "expiry"));
    host.ack(None, Level::Urgent, day(82.0));
    assert_eq!(host.told(&[ending()], day(80.0)), NOTHING);
    let due = host.ask(&[ending()], day(81.0));
    assert_eq!((due.messages.len(), due.wake), (0, Some(day(82.0))));
    assert_eq!(host.told(&[ending()], day(82.0)), one("URGENT", "expiry"));
    assert_eq!(host.log.acks.len(), 1, "what is over is dropped");
    assert_eq!(loudest(&host.log, &host.settings, day(82.0)), Some(Level::Urgent));
    host.ack(None, Level::Urgent, day(84.0));
    assert_eq!(loudest(&host.log, &host.settings, day(82.0)), None);
    assert_eq!(host.told(&[], day(83.0)), one("over", "expiry"));
}

#[test]
fn the_configuration_takes_something_out_until_the_end_of_a_day() {
    let mut host = Host::new();
    host.settings.ignored = vec![Ignore {
        object: "web".to_owned(),
        condition: Some("drift".to_owned()),
        reason: "it is being rebuilt".to_owned(),
        until: Some("2026-11-25".parse().unwrap()),
    }];
    let last: Timestamp = "2026-11-25T22:59:00Z".parse().unwrap();
    assert_eq!(host.told(&[drift("web"), drift("sip")], last), one("WARNING", "drift"));
    assert_eq!(host.told(&[drift("web"), stuck("web"), drift("sip")], last).len(), 1);
    let midnight = after(last, MINUTE);
    assert_eq!(host.told(&[drift("web"), stuck("web"), drift("sip")], midnight).len(), 1);
}

#[test]
fn news_is_told_once_each_time_it_happens_and_never_over() {
    let mut host = Host::new();
    let refused = |at| [news(Condition::DropRefused, at)];
    assert_eq!(host.told(&refused(day(1.0)), day(1.0)), one("WARNING", "drop-refused"));
    assert_eq!(host.told(&refused(day(1.0)), day(9.0)), NOTHING, "no repeats");
    assert_eq!(host.told(&refused(day(9.5)), day(9.5)), one("WARNING", "drop-refused"));
    assert_eq!(host.told(&[], day(10.0)), NOTHING);
    assert_eq!(host.told(&refused(day(9.5)), day(10.1)), NOTHING, "a look that came in between");
    // After the log was lost.
    assert_eq!(Host::new().told(&refused(day(1.0)), day(9.0)), NOTHING, "too old to be news");
    assert_eq!(host.log.open().count(), 0);
}

#[test]
fn what_comes_and_goes_is_not_told_each_time() {
    let mut host = Host::new();
    let mut told = 0;
    for minute in 0..24 * 60 {
        let now = after(day(0.0), MINUTE * minute);
        let findings = if minute % 10 < 5 { vec![stuck("sip")] } else { Vec::new() };
        told += host.ask(&findings, now).messages.len();
    }
    assert!(told <= 8, "{told} messages in a day");
    let mut last = Vec::new();
    for minute in [0, 30, 61] {
        last.extend(host.told(&[], after(day(1.0), MINUTE * minute)));
    }
    assert_eq!(last, one("over", "stuck"));
}

#[test]
fn a_clock_that_jumps_is_one_alert_and_no_certificate_ends() {
    let mut host = Host::new();
    host.trusted = false;
    assert_eq!(host.told(&[ending()], day(10.0)), NOTHING);
    // Far ahead: the certificate would have ended long ago.
    assert_eq!(host.told(&[ending()], day(400.0)), one("WARNING", "clock"));
    for hours in [1, 12, 23] {
        assert_eq!(host.told(&[ending()], after(day(400.0), HOUR * hours)), NOTHING);
    }
    assert_eq!(host.told(&[ending()], after(day(10.0), HOUR * 2)), one("over", "clock"));
    // One that nobody ever vouches for must not silence for ever.
    assert_eq!(host.told(&[ending()], day(400.0)), one("WARNING", "clock"));
    let told = host.told(&[ending()], day(401.1));
    assert!(told.contains(&("CRITICAL", "expiry".to_owned())), "{told:?}");
    // A trusted one may jump.
    let mut host = Host::new();
    host.told(&[ending()], day(10.0));
    assert_eq!(host.told(&[ending()], day(80.0)), one("URGENT", "expiry"));
}

#[test]
fn a_clock_that_is_wrong_ends_no_worry_about_a_certificate() {
    let mut host = Host::new();
    assert_eq!(host.told(&[ending()], day(80.0)), one("URGENT", "expiry"));
    let clock = Finding::new(Condition::Clock, "clock", Severity::Critical, "wrong", "wrong");
    assert_eq!(host.told(&[clock], day(81.0)), one("CRITICAL", "clock"));
    assert_eq!(host.log.open().count(), 2);
}

#[test]
fn a_crash_before_the_log_is_written_repeats_the_same_message() {
    let host = Host::new();
    let findings = [stuck("sip")];
    let seen = host.seen(&findings);
    let first = due(seen, &host.log, &host.settings, day(0.0));
    let again = due(seen, &host.log, &host.settings, day(0.0));
    assert_eq!(first.messages[0].id, again.messages[0].id);
    let repeated = due(seen, &first.log, &host.settings, day(0.5));
    assert_eq!(repeated.messages.len(), 1);
    assert_ne!(repeated.messages[0].id, first.messages[0].id);
}

#[test]
fn two_certificates_of_a_service_are_one_finding() {
    let mut one = drift("sip");
    one.text = "pbx drifted".to_owned();
    let mut other = drift("sip");
    other.text = "door drifted".to_owned();
    let due = Host::new().ask(&[one, other], at(0));
    assert_eq!(due.messages.len(), 1);
    assert!(due.messages[0].body.starts_with("Pbx drifted; door drifted."), "{:?}", due.messages);
}

#[test]
fn two_things_that_are_wrong_with_one_certificate_are_both_told() {
    let fault = |title: &str, severity| {
        let mut fault = Finding::new(Condition::Fault, "pbx", severity, title, format!("{title}!"));
        fault.since = Some(day(-1.0));
        fault.ways = vec![format!("mend {title}")];
        fault
    };
    let findings = [
        fault("strange files", Severity::Warning),
        fault("incomplete upload", Severity::Warning),
        fault("a full disk", Severity::Critical),
    ];
    let due = Host::new().ask(&findings, day(0.0));
    let [one] = &due.messages[..] else { panic!("{:?}", due.messages) };
    assert_eq!(one.subject, "CRITICAL 0142 Hotel Post: a full disk and 2 more");
    for title in ["incomplete upload: incomplete upload!", "strange files: strange files!"] {
        assert!(one.body.contains(title), "{}", one.body);
    }
    assert_eq!(one.body.matches("mend ").count(), 3, "{}", one.body);
}

#[test]
fn every_word_of_ignore_is_a_condition() {
    let words: Vec<&str> = Condition::ALL.iter().map(|c| c.word()).collect();
    assert_eq!(words, Ignore::CONDITIONS);
    for condition in Condition::ALL {
        assert_eq!(Condition::named(condition.word()), Some(condition));
        let json = serde_json::to_value(condition).unwrap();
        assert_eq!(json, condition.word());
    }
}
