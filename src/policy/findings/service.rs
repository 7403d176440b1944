//! What is wrong with a service.

use crate::config::ServiceSpec;
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
    if let Some(Wait { why: Why::Person(text), .. }) = wait
        && findings.is_empty()
    {
        findings.push(drift(spec, text));
    }
    findings
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
            format!("new certificate of {name} taken back"),
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
    finding.ways = ways(spec, certificate, condition);
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

fn ways(spec: &ServiceSpec, certificate: &str, condition: Condition) -> Vec<String> {
    let name = &spec.name;
    let reload = spec.reload.as_ref().map(|argv| argv.join(" "));
    let deploy = format!("pbxcert deploy {name}");
    match condition {
        Condition::Stuck => {
            let command = spec.recover.as_ref().or(spec.reload.as_ref());
            let mut ways = Vec::new();
            if let Some(argv) = command {
                ways.push(format!("run: PBXCERT_EVENT=recover {}; then: {deploy}", argv.join(" ")));
            }
            ways.push(format!("restart {name} by hand (this drops calls); then: {deploy}"));
            ways
        }
        Condition::RolledBack => vec![
            format!("see what {name} says in its log at that time, correct it; then: {deploy}"),
            format!("keep the old one for now: pbxcert rollback {certificate}"),
        ],
        Condition::NotTaken => {
            let reload = reload.map_or_else(
                || format!("restart {name} in a quiet hour"),
                |argv| format!("reload {name} by hand: PBXCERT_EVENT=reload {argv}"),
            );
            vec![format!("{reload}; then: pbxcert verify")]
        }
        Condition::Unproved => {
            vec![format!("start {name}, if it should run; then: pbxcert verify")]
        }
        _ => vec![format!("remove the cause; then: {deploy}")],
    }
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
