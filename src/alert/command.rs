//! A program of the operator: the message in its environment.

use std::time::Duration;

use super::{LIMIT, json, text};
use crate::config::alerts::CommandSpec;
use crate::hook;
use crate::state::alert::Message;

/// The kernel takes no variable that is longer than 128 KiB, and JSON may write a character in
/// six.
const MOST: usize = 16 * 1024;

/// So much earlier than the channel's own limit, so that what it printed is told.
const LEAD: Duration = Duration::from_secs(3);

/// Runs it; it has taken the message when it ends with 0.
pub(super) async fn send(spec: &CommandSpec, message: &Message) -> Result<(), String> {
    let time = |at: jiff::Timestamp| at.to_string();
    let variables = [
        ("EVENT", "alert".to_owned()),
        ("ID", text::line(&message.id, 200)),
        ("AT", time(message.at)),
        ("LEVEL", message.level.word().to_lowercase()),
        ("SITE", text::line(&message.site, 200)),
        ("OBJECT", text::line(&message.object, 200)),
        ("CONDITION", text::line(&message.condition, 200)),
        ("RECOVERED", if message.recovered { "yes" } else { "no" }.to_owned()),
        ("BY", message.by.map(time).unwrap_or_default()),
        ("SUBJECT", text::subject(message)),
        ("BODY", text::plain(&message.body, MOST)),
        ("JSON", json::of(message, MOST)),
    ];
    let variables = variables.map(|(name, value)| (format!("PBXCERT_{name}"), value));
    let output = hook::run(&spec.run, &variables, LIMIT - LEAD).await.map_err(|e| chain(&e))?;
    if output.done() {
        return Ok(());
    }
    let said = match text::line(&output.text, 300) {
        said if said.is_empty() => "and said nothing".to_owned(),
        said => format!("and said: {said}"),
    };
    Err(format!("it ended with {} {said}", output.code))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}
