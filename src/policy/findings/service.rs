//! What is wrong with a service.

use jiff::Timestamp;

use crate::cert::Leaf;
use crate::config::ServiceSpec;
use crate::config::calm::Disruptive;
use crate::policy::plan::{Wait, Why};
use crate::state::{Condition, Finding, Life, Next, PairState, ServiceState, Severity, Step};

/// What is wrong with a service; `wait` is what its plan waits for.
pub fn service(spec: &ServiceSpec, state: &ServiceState, wait: Option<&Wait>) -> Vec<Finding> {
    let pairs = spec.certificates.iter().filter_map(|name| Some((name, state.pairs.get(name)?)));
    let mut findings: Vec<Finding> =
        pairs.filter_map(|(certificate, pair)| of_pair(spec, state, certificate, pair)).collect();
    let next = wait.and_then(|wait| wait.until);
    for finding in &mut findings {
        let what = match finding.condition {
            Condition::Unproved => "the next look",
            _ => "the next try",
        };
        finding.next = next.map(|at| Next { what: what.to_owned(), at: Some(at) });
    }
    match wait {
        Some(Wait { why: Why::Person(text), .. }) if findings.is_empty() => {
            findings.push(drift(spec, text));
        }
        Some(Wait { why: Why::Lint(text), until }) => findings.push(strict(spec, text, *until)),
        _ => {}
    }
    findings.extend(announced(spec, state));
    findings
}

/// A reload that will end calls, until it has brought in what it was announced for: news.
fn announced(spec: &ServiceSpec, state: &ServiceState) -> Option<Finding> {
    let announced = state.announced.as_ref()?;
    let waits = |certificate: &String, revision: u64| {
        let there = state.pairs.get(certificate).and_then(|pair| pair.revision);
        there.is_none_or(|there| there < revision)
    };
    let waiting = announced.revisions.iter().filter(|(name, revision)| waits(name, **revision));
    let certificates: Vec<&str> = waiting.map(|(name, _)| name.as_str()).collect();
    if certificates.is_empty() {
        return None;
    }
    let (name, users) = (&spec.name, super::users(spec));
    let text = format!(
        "{name} takes its new certificate ({}) only with a restart, which ends calls",
        certificates.join(", ")
    );
    let title = format!("restart: {name}");
    let mut finding =
        Finding::new(Condition::RestartAnnounced, name, Severity::Warning, title, text);
    finding.since = Some(announced.at);
    finding.by = Some(announced.takes_place);
    finding.consequence = Some(format!("calls that are up then drop: {users}"));
    finding.ways = vec![
        format!("choose a quiet minute before that: pbxcert deploy {name}"),
        format!(
            "choose other hours: deploy-window of {name} in pbxcert.toml, or disruptive = \"never\" \
             to do it by hand; then: systemctl reload pbxcert"
        ),
    ];
    if spec.busy.is_some() && spec.calm.disruptive != Disruptive::Never {
        let what = "it restarts earlier when no call is up".to_owned();
        finding.next = Some(Next { what, at: None });
    }
    Some(finding)
}

fn of_pair(
    spec: &ServiceSpec,
    state: &ServiceState,
    certificate: &str,
    pair: &PairState,
) -> Option<Finding> {
    let problem = pair.problem.clone()?;
    let name = &spec.name;
    let (condition, severity, title, text) = match pair.step {
        Step::Stuck => (
            Condition::Stuck,
            Severity::Critical,
            format!("broken, a person is needed: {name}"),
            format!(
                "the new certificate of {certificate} broke {name}, and putting the old one back \
                 did not help: {problem}"
            ),
        ),
        Step::RolledBack | Step::RollingBack => (
            Condition::RolledBack,
            Severity::Warning,
            format!("rolled back: {name}"),
            format!(
                "the new certificate of {certificate} broke {name}; the old one is back and in \
                 service. What was seen: {problem}"
            ),
        ),
        Step::NotTaken => (
            Condition::NotTaken,
            Severity::Warning,
            format!("not taken: {name}"),
            format!(
                "the new files of {certificate} are in place, but {name} does not take them: {problem}"
            ),
        ),
        Step::Unproved => (
            Condition::Unproved,
            Severity::Warning,
            format!("does not answer: {name}"),
            format!(
                "{name} does not answer; nobody knows whether it has the new certificate of \
                 {certificate}, whose files are in place: {problem}"
            ),
        ),
        _ => (
            Condition::DeployBroken,
            Severity::Warning,
            format!("not installed: {name}"),
            format!("the new certificate of {certificate} was not installed in {name}: {problem}"),
        ),
    };
    let mut finding = Finding::new(condition, name, severity, title, text);
    finding.since = pair.since.filter(|_| pair.step != Step::Waiting);
    finding.over = Some(match condition {
        Condition::Stuck => format!("works again: {name}"),
        _ => format!("in order: {name}"),
    });
    // What is broken is so now; all else ends with the old certificate.
    let old = served(spec, state, certificate)
        .filter(|_| !matches!(condition, Condition::Stuck | Condition::Unproved));
    finding.by = old.map(|leaf| leaf.validity.not_after);
    finding.life =
        old.map(|leaf| Life { validity: leaf.validity, manual: false, scheduled: false });
    finding.consequence = Some(consequence(spec, condition, old.is_some()));
    finding.ways = ways(spec, certificate, pair, condition);
    Some(finding)
}

/// The earliest-ending certificate that an endpoint of this pair showed last.
fn served<'a>(spec: &ServiceSpec, state: &'a ServiceState, certificate: &str) -> Option<&'a Leaf> {
    let ours = spec.endpoints.iter().filter(|endpoint| endpoint.certificate == certificate);
    let leaves = ours.filter_map(|endpoint| state.seen.get(&endpoint.to_string())?.leaf());
    leaves.filter(|leaf| !leaf.is_placeholder()).min_by_key(|leaf| leaf.validity.not_after)
}

fn consequence(spec: &ServiceSpec, condition: Condition, dated: bool) -> String {
    let users = super::users(spec);
    match condition {
        Condition::Stuck => format!("{users} stay without service"),
        Condition::Unproved => format!("{users} may find nobody there, or an old certificate"),
        _ if dated => format!("the old certificate ends, and {users} stop"),
        _ => format!("{users} keep the old certificate until it ends, and stop then"),
    }
}

fn ways(
    spec: &ServiceSpec,
    certificate: &str,
    pair: &PairState,
    condition: Condition,
) -> Vec<String> {
    let name = &spec.name;
    let deploy = format!("pbxcert deploy {name}");
    // In a container there is another way in.
    let unit = spec.kind.unit().filter(|_| spec.exec_prefix.is_empty());
    let restart = unit.map_or_else(
        || format!("restart {name} by hand (this drops calls)"),
        |unit| format!("restart it, which drops calls: systemctl restart {unit}"),
    );
    match condition {
        Condition::Stuck => {
            let command = pair.by_hand.iter().map(|run| format!("run: {run}; then: {deploy}"));
            command.chain([format!("{restart}; then: {deploy}")]).collect()
        }
        Condition::RolledBack => {
            let log = unit.map_or_else(
                || format!("in the log of {name}"),
                |unit| format!("in its log (journalctl -u {unit})"),
            );
            vec![
                format!("see {log} what it did not like, correct that; then: {deploy}"),
                format!(
                    "stop further tries, keep the old one for now: pbxcert rollback {certificate}"
                ),
            ]
        }
        Condition::NotTaken => {
            let reload = pair
                .by_hand
                .as_ref()
                .map_or(restart, |run| format!("reload {name} by hand: {run}"));
            vec![format!("{reload}; then: pbxcert verify")]
        }
        Condition::Unproved => {
            let start = unit.map_or_else(
                || format!("start {name}, if it should run"),
                |unit| format!("start {name}, if it should run: systemctl start {unit}"),
            );
            let elsewhere = format!(
                "if {name} runs, and on another port, write it as endpoint of {name} in \
                 pbxcert.toml; then: systemctl reload pbxcert"
            );
            let usual = spec.endpoints.iter().all(|e| e.usual) && !spec.endpoints.is_empty();
            let start = format!("{start}; then: pbxcert verify");
            [start].into_iter().chain(usual.then_some(elsewhere)).collect()
        }
        _ => vec![format!("remove the cause that is named above; then: {deploy}")],
    }
}

/// Phones might not trust what is new, and `strict-lint` leaves that to a person.
fn strict(spec: &ServiceSpec, text: &str, until: Option<Timestamp>) -> Finding {
    let name = &spec.name;
    let mut finding = Finding::new(
        Condition::TrustChange,
        name,
        Severity::Warning,
        format!("held back: new certificate of {name}"),
        text,
    );
    finding.over = Some(format!("settled: new certificate of {name}"));
    finding.consequence = Some(format!("{} keep the old certificate", super::users(spec)));
    finding.next = until.map(|at| Next { what: "it goes in".to_owned(), at: Some(at) });
    finding.ways = vec![
        "make the certificate one that they accept, as the remark says".to_owned(),
        format!("if they accept it after all: pbxcert deploy {name}"),
    ];
    finding
}

/// The files hold something that somebody put there on purpose.
fn drift(spec: &ServiceSpec, text: &str) -> Finding {
    let name = &spec.name;
    let mut finding = Finding::new(
        Condition::Drift,
        name,
        Severity::Warning,
        format!("files not ours: {name}"),
        text,
    );
    finding.over = Some(format!("files are ours again: {name}"));
    let users = super::users(spec);
    finding.consequence = Some(format!("{users} meet what somebody else put there, until it ends"));
    finding.ways = vec![
        "nothing, if that was meant (silence it as below)".to_owned(),
        format!("put ours back: pbxcert deploy {name}"),
    ];
    finding
}
