//! A new certificate that phones might not trust, and a hold that comes to its end.

use jiff::Timestamp;

use crate::config::ServiceSpec;
use crate::policy::plan;
use crate::policy::schedule::{WEEK, before, date};
use crate::policy::trust::Doubted;
use crate::state::{Condition, Finding, Life, Next, ServiceSeen, Severity};

/// A new certificate waits, because phones might not trust it.
pub fn trust(
    spec: &ServiceSpec,
    certificate: &str,
    revision: u64,
    doubted: &Doubted,
    since: Timestamp,
) -> Finding {
    let titles: Vec<&str> = doubted.changes.iter().map(|change| change.title()).take(1).collect();
    let changes: Vec<String> = doubted.changes.iter().map(ToString::to_string).collect();
    let users = super::users(spec);
    let mut text = format!(
        "revision {revision} of {certificate} is not what {users} know: {}",
        changes.join(", ")
    );
    if spec.clients.is_empty() {
        text.push_str("; which phones will stumble cannot be said: name them in clients");
    } else if doubted.remarks.is_empty() {
        text.push_str("; none of clients is known to stumble over it");
    }
    for remark in &doubted.remarks {
        text.push_str(&format!("; {}: {}", remark.who, remark.text));
    }
    let title = format!("approval needed: {} for {certificate}", titles.join(", "));
    let mut finding =
        Finding::new(Condition::TrustChange, certificate, Severity::Warning, title, text);
    finding.since = Some(since);
    finding.by = Some(doubted.until);
    finding.over = Some(format!("approval settled: {certificate}"));
    finding.consequence =
        Some("it goes into service all the same, for expired is worse".to_owned());
    finding.ways = vec![
        format!("if the phones are ready for it: pbxcert approve {certificate}"),
        format!("if they are not, keep what is served for now: pbxcert hold {certificate}"),
    ];
    finding.next = Some(Next {
        what: format!("revision {revision} goes into {}", spec.name),
        at: Some(doubted.until),
    });
    finding.life = Some(Life { validity: doubted.ends, manual: false, scheduled: false });
    finding
}

/// Holds of a service that end within a week.
pub fn holds(spec: &ServiceSpec, seen: &ServiceSeen, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pair in &seen.pairs {
        let (Some(hold), Some(until)) = (&pair.state.hold, plan::held_until(pair, seen)) else {
            continue;
        };
        if now < before(until, WEEK) || until <= now {
            continue;
        }
        let name = &pair.certificate;
        let newest = pair.newest.as_ref().map(|newest| newest.number).unwrap_or_default();
        let text = format!(
            "the certificate {name} is held by {} since {}; two days before it ends, revision {newest} goes into {} \
             all the same",
            hold.by,
            date(hold.at),
            super::users(spec)
        );
        let title = format!("hold ends: {name}");
        let mut finding = Finding::new(Condition::Hold, name, Severity::Warning, title, text);
        finding.since = Some(before(until, WEEK));
        finding.by = Some(until);
        finding.over = Some(format!("hold settled: {name}"));
        finding.consequence =
            Some(format!("revision {newest} goes into service, for expired is worse"));
        finding.ways = vec![
            format!("let it go in at a time of your choice: pbxcert release {name}"),
            format!("bring one that you want in its place: pbxcert renew {name} --force"),
        ];
        findings.push(finding);
    }
    findings
}

/// Files that somebody else wrote, and what was done about it, as long as that is news.
pub fn outside(spec: &ServiceSpec, seen: &ServiceSeen, now: Timestamp) -> Vec<Finding> {
    use crate::policy::schedule::{DAY, holds_until};
    use crate::state::Origin;

    let mut findings = Vec::new();
    for pair in &seen.pairs {
        let (name, service) = (&pair.certificate, &spec.name);
        let new = |title: String, text: String, since| {
            let mut finding =
                Finding::new(Condition::Drift, service, Severity::Warning, title, text);
            finding.since = Some(since);
            finding
        };
        let last = pair.state.put_back.last();
        if let Some(last) = last.filter(|l| holds_until(l.at, DAY, now).is_some()) {
            let text = format!(
                "somebody put another certificate at the targets of {name} that is older or poorer \
                 than ours; revision {} was put back at {}, once",
                last.revision,
                date(last.at)
            );
            let mut finding = new(format!("files changed: {service}"), text, last.at);
            finding.over = Some(format!("a day without further changes: {service}"));
            finding.consequence = Some(
                "whoever writes there may do so again, and is not put right a second time"
                    .to_owned(),
            );
            finding.ways = vec![format!(
                "find out who writes there: a restored backup, another ACME client, a cron job; if \
                 it was meant: pbxcert hold {name}"
            )];
            findings.push(finding);
        }
        let newest = pair.newest.as_ref().filter(|n| n.origin == Origin::Outside);
        if let Some(newest) = newest.filter(|n| holds_until(n.committed_at, WEEK, now).is_some()) {
            let text = format!(
                "somebody put a certificate at the targets of {name} that lasts longer than ours; \
                 it was adopted as revision {} at {}",
                newest.number,
                date(newest.committed_at)
            );
            let title = format!("from somebody else: certificate of {service}");
            let mut finding = new(title, text, newest.committed_at);
            finding.severity = Severity::Notice;
            finding.over = Some(format!("looked after as ours: {service}"));
            finding.consequence = Some("two programs may renew it in turn".to_owned());
            finding.ways = vec![format!(
                "if another ACME client renews {name}, keep one of the two: switch its timer off, \
                 or take {name} out of the configuration"
            )];
            findings.push(finding);
        }
    }
    findings
}
