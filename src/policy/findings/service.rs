//! What is wrong with a service.

use jiff::Timestamp;

use crate::config::ServiceSpec;
use crate::config::calm::Disruptive;
use crate::policy::plan::{Wait, Why};
use crate::state::{Condition, Finding, Next, PairState, ServiceState, Severity, Step};

/// What is wrong with a service; `wait` is what its plan waits for.
pub fn service(spec: &ServiceSpec, state: &ServiceState, wait: Option<&Wait>) -> Vec<Finding> {
    let pairs = spec.certificates.iter().filter_map(|name| Some((name, state.pairs.get(name)?)));
    let mut findings: Vec<Finding> =
        pairs.filter_map(|(certificate, pair)| of_pair(spec, certificate, pair)).collect();
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
    let title = format!("{name} restarts");
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

fn of_pair(spec: &ServiceSpec, certificate: &str, pair: &PairState) -> Option<Finding> {
    let problem = pair.problem.clone()?;
    let name = &spec.name;
    let (condition, severity, title, text) = match pair.step {
        Step::Stuck => (
            Condition::Stuck,
            Severity::Critical,
            format!("{name} is broken, a person is needed"),
            format!(
                "the new certificate of {certificate} broke {name}, and putting the old one back \
                 did not help: {problem}"
            ),
        ),
        Step::RolledBack | Step::RollingBack => (
            Condition::RolledBack,
            Severity::Warning,
            format!("{name} broke with its new certificate, old one is back"),
            format!(
                "the new certificate of {certificate} broke {name}; the old one is back and in \
                 service. What was seen: {problem}"
            ),
        ),
        Step::NotTaken => (
            Condition::NotTaken,
            Severity::Warning,
            format!("{name} keeps the old certificate"),
            format!(
                "the new files of {certificate} are in place, but {name} does not take them: {problem}"
            ),
        ),
        Step::Unproved => (
            Condition::Unproved,
            Severity::Warning,
            format!("{name} could not be asked"),
            format!(
                "the new files of {certificate} are in place, but {name} does not answer: {problem}"
            ),
        ),
        _ => (
            Condition::DeployBroken,
            Severity::Warning,
            format!("{name} cannot get its new certificate"),
            format!("the new certificate of {certificate} was not installed in {name}: {problem}"),
        ),
    };
    let mut finding = Finding::new(condition, name, severity, title, text);
    finding.since = pair.since.filter(|_| pair.step != Step::Waiting);
    finding.consequence = consequence(spec, condition);
    finding.ways = ways(spec, certificate, pair, condition);
    Some(finding)
}

fn consequence(spec: &ServiceSpec, condition: Condition) -> Option<String> {
    let users = super::users(spec);
    match condition {
        Condition::Stuck => Some(format!("{users} stay without service")),
        Condition::Unproved => None,
        _ => Some(format!("{users} keep the old certificate until it ends")),
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
    match condition {
        Condition::Stuck => {
            let command = pair.by_hand.iter().map(|run| format!("run: {run}; then: {deploy}"));
            let restart = format!("restart {name} by hand (this drops calls); then: {deploy}");
            command.chain([restart]).collect()
        }
        Condition::RolledBack => vec![
            format!("see in the log of {name} what it did not like, correct that; then: {deploy}"),
            format!("stop further tries, keep the old one for now: pbxcert rollback {certificate}"),
        ],
        Condition::NotTaken => {
            let reload = pair.by_hand.as_ref().map_or_else(
                || format!("restart {name} in a quiet hour"),
                |run| format!("reload {name} by hand: {run}"),
            );
            vec![format!("{reload}; then: pbxcert verify")]
        }
        Condition::Unproved => {
            let start = format!("start {name}, if it should run; then: pbxcert verify");
            let elsewhere = format!(
                "if {name} runs, and on another port, write it as endpoint of {name} in \
                 pbxcert.toml; then: systemctl reload pbxcert"
            );
            let usual = spec.endpoints.iter().all(|e| e.usual) && !spec.endpoints.is_empty();
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
        format!("new certificate of {name} is held back"),
        text,
    );
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
        format!("the files of {name} are not ours"),
        text,
    );
    finding.ways = vec![
        format!(
            "if that was meant, nothing; silence it: pbxcert ack {name}/drift --until DATE --note WHY"
        ),
        format!("put ours back: pbxcert deploy {name}"),
    ];
    finding
}
