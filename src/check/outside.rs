//! Where a report goes besides the records: history, a metrics file, and hooks of the operator.

use std::time::Duration;

use super::{Checker, metrics};
use crate::fs::{self, Owner};
use crate::hook;
use crate::policy::health;
use crate::state::Event;
use crate::state::check::{CheckRecord, CheckReport, Item, Topic, Verdict};

/// A hook that takes longer is killed: nobody waits for it but the next check.
const HOOK_LIMIT: Duration = Duration::from_secs(60);

/// The kernel takes no variable that is longer than 128 KiB.
const MOST: usize = 64 * 1024;

/// For a collector that runs under another user.
const READABLE: u32 = 0o644;

/// Publishes a report. What fails here is logged: the check itself was made.
pub(super) async fn publish(
    checker: &Checker<'_>,
    report: &CheckReport,
    before: &CheckRecord,
    after: &CheckRecord,
) {
    record(checker, report, before);
    if let Some(path) = &checker.config.check.metrics_file {
        let text = metrics::of(report);
        if let Err(error) = fs::replace(path, text.as_bytes(), READABLE, Owner::default()) {
            let text = crate::deploy::chain_of(&error);
            tracing::error!("the metrics file cannot be written: {text}");
        }
    }
    let hooks = &checker.config.check.hooks;
    run(checker, hooks.check.as_deref(), "check", report, report.items.iter()).await;
    if is_news(report, before) {
        let vulnerable = report.items.iter().filter(is_vulnerable);
        run(checker, hooks.vulnerable.as_deref(), "vulnerable", report, vulnerable).await;
    }
    let was = before.software.offline.restricted_since.is_some();
    let is = after.software.offline.restricted_since.is_some();
    let sources = report.items.iter().filter(|item| item.topic == Topic::Sources);
    match (was, is) {
        (false, true) => {
            run(checker, hooks.restricted.as_deref(), "restricted", report, sources).await;
        }
        (true, false) => {
            run(checker, hooks.restored.as_deref(), "restored", report, sources).await;
        }
        _ => {}
    }
}

fn is_bad(item: &Item) -> bool {
    matches!(item.verdict, Verdict::Warning | Verdict::Critical)
}

fn is_vulnerable(item: &&Item) -> bool {
    item.topic == Topic::Advisories && is_bad(item)
}

/// Whether something with a known issue was found that was not found the last time.
fn is_news(report: &CheckReport, before: &CheckRecord) -> bool {
    let known = |item: &Item| {
        let old = before.report.iter().flat_map(|old| &old.items);
        old.filter(is_vulnerable).any(|old| old.is_about_the_same(item) && old.text == item.text)
    };
    report.items.iter().filter(is_vulnerable).any(|item| !known(item))
}

/// Tells history when the verdict is another one, or there for another reason: numbers that change
/// from check to check are none.
fn record(checker: &Checker<'_>, report: &CheckReport, before: &CheckRecord) {
    let reasons = |report: &CheckReport| -> Vec<String> {
        let wrong = report.items.iter().filter(|item| item.counts && item.silenced.is_none());
        let wrong = wrong.filter(|item| item.verdict == report.verdict);
        let mut names: Vec<String> = wrong.map(health::item_name).collect();
        names.sort_unstable();
        names
    };
    let same = before.report.as_ref().is_some_and(|old| {
        old.verdict == report.verdict
            && (report.verdict == Verdict::Ok || reasons(old) == reasons(report))
    });
    tracing::info!(verdict = report.verdict.word(), "checked: {}", report.summary);
    if same {
        return;
    }
    let event = Event {
        at: report.at,
        certificate: None,
        service: None,
        revision: None,
        what: "checked".to_owned(),
        text: format!("{}: {}", report.verdict.word(), report.summary),
    };
    if let Err(error) = checker.store.record(&event) {
        tracing::error!("history cannot be written: {}", crate::deploy::chain_of(&error));
    }
}

/// Runs a hook of the operator with what was found in its environment.
async fn run<'i>(
    checker: &Checker<'_>,
    argv: Option<&[String]>,
    event: &str,
    report: &CheckReport,
    items: impl Iterator<Item = &'i Item>,
) {
    let Some(argv) = argv else { return };
    let json = serde_json::to_string(report).unwrap_or_default();
    // A part of JSON is none: who gets too much gets nothing, and asks `pbxcert check --json`.
    let json = if json.len() <= MOST { json } else { String::new() };
    let wrong: Vec<String> = items
        .filter(|item| item.counts && is_bad(item))
        .map(|item| format!("{}: {}", health::item_name(item), item.text))
        .collect();
    let wrong = wrong.join("\n").chars().take(MOST / 8).collect();
    let variables = [
        ("EVENT", event.to_owned()),
        ("SITE", checker.config.site.clone()),
        ("VERDICT", report.verdict.word().to_owned()),
        ("SUMMARY", report.summary.clone()),
        ("WRONG", wrong),
        ("JSON", json),
    ];
    let variables =
        variables.map(|(name, value)| (format!("PBXCERT_{name}"), value.replace('\0', "")));
    match hook::run(argv, &variables, HOOK_LIMIT).await {
        Ok(output) if output.done() => {}
        Ok(output) => {
            let said = output.text.trim();
            tracing::warn!("the on-{event} hook ended with {}: {said}", output.code);
        }
        Err(error) => tracing::warn!("on-{event}: {}", crate::deploy::chain_of(&error)),
    }
}
