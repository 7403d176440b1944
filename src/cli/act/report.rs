//! What a verb did, for a program and for a person.

use serde::Serialize;

use super::super::{exit, show};
use crate::policy::plan::Why;
use crate::reconcile::Pass;

/// What a verb did, for programs.
#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) struct Report {
    pub(super) schema: u32,
    pub(super) certificates: Vec<Line>,
    pub(in crate::cli) services: Vec<Line>,
}

/// What a verb did to one certificate or service.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) struct Line {
    pub(in crate::cli) name: String,
    /// `done`, `failed` or `waits`.
    pub(in crate::cli) result: &'static str,
    /// In words.
    pub(in crate::cli) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<jiff::Timestamp>,
}

impl Line {
    pub(in crate::cli) fn shown(&self) -> String {
        format!("{}: {}: {}", self.name, self.result, self.text)
    }
}

/// The exit code that says more.
pub(super) fn worse(one: u8, other: u8) -> u8 {
    let order = [exit::FAILED, exit::UNAVAILABLE, exit::LATER];
    order.into_iter().find(|code| [one, other].contains(code)).unwrap_or(exit::DONE)
}

/// What a pass came to, and its exit code.
pub(super) fn judged(name: &str, pass: Pass, up_to_date: bool) -> (Line, u8) {
    let (result, code, text) = match (&pass.failed, &pass.wait.why) {
        (Some(failed), Why::Budget(_)) => ("failed", exit::LATER, failed.clone()),
        (Some(failed), _) => ("failed", exit::FAILED, failed.clone()),
        (None, why @ (Why::BackOff(_) | Why::Budget(_) | Why::Clock(_) | Why::Copy(_))) => {
            ("waits", exit::LATER, why.to_string())
        }
        (None, why) if !up_to_date => ("waits", exit::LATER, why.to_string()),
        (None, why) => ("done", exit::DONE, why.to_string()),
    };
    (Line { name: name.to_owned(), result, text, until: pass.wait.until }, code)
}

/// Prints the lines of a report; the exit code goes through.
pub(super) fn told(report: &Report, worst: u8, json: bool) -> u8 {
    if json {
        show::json(report);
    } else {
        for line in report.certificates.iter().chain(&report.services) {
            show::line(&line.shown());
        }
    }
    worst
}
