//! A message as JSON: what webhooks post and commands find in `PBXCERT_JSON`. README documents it.

use jiff::Timestamp;
use serde::Serialize;

use super::text;
use crate::config::alerts::Level;
use crate::state::alert::Message;

/// The number grows when a field changes its meaning or goes; new fields do not change it.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Json<'a> {
    schema: u32,
    id: &'a str,
    at: Timestamp,
    level: Level,
    site: String,
    object: String,
    condition: String,
    recovered: bool,
    by: Option<Timestamp>,
    subject: String,
    body: String,
    attachments: Vec<File>,
}

#[derive(Serialize)]
struct File {
    name: String,
    text: String,
}

/// The message; its body cut to `most` bytes, attachments left out where they are longer together.
pub(super) fn of(message: &Message, most: usize) -> String {
    let files = message.attachments.iter().map(|attachment| File {
        name: text::file_name(&attachment.name),
        text: attachment.text.clone(),
    });
    let size: usize = message.attachments.iter().map(|a| a.text.len()).sum();
    let json = Json {
        schema: SCHEMA,
        id: &message.id,
        at: message.at,
        level: message.level,
        site: text::line(&message.site, 200),
        object: text::line(&message.object, 200),
        condition: text::line(&message.condition, 200),
        recovered: message.recovered,
        by: message.by,
        subject: text::subject(message),
        body: text::plain(&message.body, most),
        attachments: if size <= most { files.collect() } else { Vec::new() },
    };
    serde_json::to_string(&json).expect("text, numbers and times are JSON")
}
