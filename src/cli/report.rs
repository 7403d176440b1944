//! `report`: one bundle for whoever helps, without what is nobody's business.

mod redact;

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use self::redact::Redaction;
use super::act::now;
use super::{Context, Failed, exit, show, status};
use crate::fs::{self, Owner};

/// So many of the latest events: some weeks of a quiet host.
const EVENTS: usize = 300;

/// No configuration that a person wrote is longer.
const LONGEST: u64 = 1 << 20;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Bundle {
    schema: u32,
    pbxcert: &'static str,
    at: Timestamp,
    system: System,
    config: Vec<File>,
    /// As `validate` says it.
    warnings: Vec<String>,
    status: Value,
    check: Value,
    alerts: Value,
    history: Value,
}

#[derive(Serialize)]
struct System {
    kernel: String,
    distribution: String,
    architecture: &'static str,
}

/// A file of the configuration, without comments.
#[derive(Serialize)]
struct File {
    path: String,
    text: String,
}

/// Prints the bundle, or writes it into a file that only its owner can read.
pub(super) fn print(context: &Context, out: Option<&Path>) -> Result<u8, Failed> {
    let bundle = bundle(context)?;
    let value = serde_json::to_value(&bundle).map_err(|error| Failed::of(&error))?;
    let value = Redaction::default().of(value);
    let Some(out) = out else {
        show::json(&value);
        return Ok(exit::DONE);
    };
    let mut text = serde_json::to_vec_pretty(&value).map_err(|error| Failed::of(&error))?;
    text.push(b'\n');
    let out = std::path::absolute(out).map_err(|error| Failed::of(&error))?;
    fs::replace(&out, &text, 0o600, Owner::default()).map_err(|error| Failed::of(&error))?;
    show::progress(&format!(
        "{} holds configuration, status, the last check and history without keys, passwords, \
         people's addresses and public IP addresses; read it before you send it",
        out.display()
    ));
    Ok(exit::DONE)
}

fn bundle(context: &Context) -> Result<Bundle, Failed> {
    let store = &context.store;
    let mut history = store.history()?;
    history.drain(..history.len().saturating_sub(EVENTS));
    let json = |value: Result<Value, serde_json::Error>| value.map_err(|error| Failed::of(&error));
    Ok(Bundle {
        schema: 1,
        pbxcert: env!("CARGO_PKG_VERSION"),
        at: now(),
        system: system(),
        config: context.loaded.config.files.iter().map(|path| file(path)).collect(),
        warnings: context.loaded.warnings.iter().map(ToString::to_string).collect(),
        status: json(serde_json::to_value(status::report_now(context)?))?,
        check: json(serde_json::to_value(store.check_record()?.report))?,
        alerts: json(serde_json::to_value(store.alert_log()?))?,
        history: json(serde_json::to_value(history))?,
    })
}

fn system() -> System {
    let uname = rustix::system::uname();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    System {
        kernel: uname.release().to_string_lossy().into_owned(),
        distribution: pretty.unwrap_or("unknown").trim_matches('"').to_owned(),
        architecture: std::env::consts::ARCH,
    }
}

fn file(path: &Path) -> File {
    let text = match fs::read(path, LONGEST) {
        Ok(bytes) => without_comments(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("cannot be read: {error}"),
    };
    File { path: path.display().to_string(), text }
}

/// People write names and numbers into comments.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut quote = None;
        let end = line.char_indices().find(|(_, c)| match (quote, c) {
            (None, '#') => true,
            (None, '"' | '\'') => {
                quote = Some(*c);
                false
            }
            (Some(open), c) if open == *c => {
                quote = None;
                false
            }
            _ => false,
        });
        line.get(..end.map_or(line.len(), |(at, _)| at)).unwrap_or_default().trim_end()
    });
    lines.filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_left_out_and_what_looks_like_one_is_not() {
        let text = "# call Bob, 0171 123\nsite = \"a # b\" # Bob\n\n  # x\nname = 'it#s'\n";
        assert_eq!(without_comments(text), "site = \"a # b\"\nname = 'it#s'\n");
    }
}
