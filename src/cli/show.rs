//! How things are printed: tables and times for people, JSON for programs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the place that prints")]

use std::io::{IsTerminal as _, Write as _};

use comfy_table::presets;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

pub(super) use crate::policy::health::time::relative;

/// One line to standard output; a reader that has gone away is no error.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

pub(super) fn error(text: &str) {
    eprintln!("{} {text}", paint("error:", "31"));
}

pub(super) fn warning(text: &str) {
    eprintln!("{} {text}", paint("warning:", "33"));
}

/// A step of long work, to standard error, so that JSON stays clean.
pub(super) fn progress(text: &str) {
    eprintln!("{} {text}", paint("·", "36"));
}

pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(&text),
        Err(problem) => error(&problem.to_string()),
    }
}

pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for text in table.to_string().lines() {
        line(text.trim_end());
    }
}

/// `2027-02-21 14:05 (in 89 days)`, in the zone of this machine.
pub(super) fn time(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", clock(at), relative(at, now))
}

/// `2027-02-21 14:05`.
pub(super) fn clock(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// `ok`, `warn`, `fail` or `unknown`, all equally wide.
pub(super) fn verdict(word: &str) -> String {
    let colour = match word {
        "ok" => "32",
        "fail" => "31",
        _ => "33",
    };
    let text = format!("{word:7}");
    if std::io::stdout().is_terminal() { paint(&text, colour) } else { text }
}

fn paint(text: &str, colour: &str) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{colour}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// Logs of the daemon: for a person on a terminal, to the journal under systemd, JSON otherwise.
pub(super) fn start_logging() {
    let filter = EnvFilter::try_from_env("PBXCERT_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,pbxcert=info"));
    let journal = std::env::var_os("JOURNAL_STREAM")
        .and_then(|_| tracing_journald::layer().ok())
        .map(|layer| layer.with_field_prefix(Some("PBXCERT".to_owned())).boxed());
    let layer = journal.unwrap_or_else(|| {
        let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
        if std::io::stderr().is_terminal() { layer.boxed() } else { layer.json().boxed() }
    });
    registry().with(filter).with(layer).init();
}
