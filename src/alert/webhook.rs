//! An HTTP address: our own JSON, Slack's, or a card for a workflow of Teams.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use serde_json::{Value, json};

use super::{json, secret, text, web};
use crate::config::Proxy;
use crate::config::alerts::{Format, Level, WebhookSpec};
use crate::state::alert::Message;

/// Posts it; it is taken with any status of 2xx.
pub(super) async fn send(
    spec: &WebhookSpec,
    proxy: Option<&Proxy>,
    message: &Message,
) -> Result<(), String> {
    let url = web::url(&spec.url)?;
    let body = match spec.format {
        Format::Generic => json::of(message, text::MOST),
        Format::Slack => slack(message).to_string(),
        Format::Teams => teams(message).to_string(),
    };
    let mut request = Request::post(url.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(body))
        .map_err(|_| "its address is none".to_owned())?;
    let mut masked = Vec::new();
    if let Some(path) = &spec.header_file {
        for line in secret(path)?.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = header_of(line)
                .ok_or_else(|| format!("{} holds a line that is no header", path.display()))?;
            masked.extend(line.split_once(':').map(|(_, value)| value.trim().to_owned()));
            masked.extend(line.split_whitespace().last().map(str::to_owned));
            request.headers_mut().insert(name, value);
        }
    }
    web::send(request, &url, &masked, proxy, spec.trust_anchor.as_deref()).await
}

/// `Name: value`.
fn header_of(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

/// Slack cuts at 40 000 characters and folds long before.
const MOST_SLACK: usize = 6 * 1024;

/// Longest file that is shown in the text of a chat: a signing request has a third of it.
const MOST_FILE: usize = 4 * 1024;

/// `{"text": ...}`; `&`, `<` and `>` are the only characters with a meaning that text must not
/// have (<https://docs.slack.dev/messaging/formatting-message-text>).
fn slack(message: &Message) -> Value {
    let mut text = format!("*{}*\n", slack_escaped(&text::subject(message)));
    text.push_str(&slack_escaped(&text::plain(&message.body, MOST_SLACK)));
    for (name, content) in shown_files(message) {
        text.push_str(&format!("\n{name}:\n```\n{}\n```", slack_escaped(&content)));
    }
    json!({ "text": text })
}

fn slack_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Teams refuses messages over 28 KB, and every line is a block of its own.
const MOST_TEAMS: usize = 6 * 1024;
const MOST_LINES: usize = 80;

/// An adaptive card as the workflow "post to a channel when a webhook request is received" takes
/// it. Runs of rich text: they know no Markdown that a text could misuse.
fn teams(message: &Message) -> Value {
    let color = match message.level {
        _ if message.recovered => "good",
        Level::Notice => "default",
        Level::Warning => "warning",
        Level::Urgent | Level::Critical => "attention",
    };
    let block = |text: &str, spacing: &str, run: Value| {
        let mut run = run;
        run["type"] = json!("TextRun");
        run["text"] = json!(text);
        json!({ "type": "RichTextBlock", "spacing": spacing, "inlines": [run] })
    };
    let title = json!({ "weight": "bolder", "size": "medium", "color": color });
    let mut blocks = vec![block(&text::subject(message), "none", title)];
    let mut lines = paragraphs(&text::plain(&message.body, MOST_TEAMS), json!({}));
    for (name, content) in shown_files(message) {
        lines.push((format!("{name}:"), "medium", json!({})));
        lines.extend(paragraphs(&content, json!({ "fontType": "monospace" })));
    }
    let rest = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    blocks.extend(lines.into_iter().map(|(text, spacing, run)| block(&text, spacing, run)));
    if rest > 0 {
        blocks.push(block(&format!("[{rest} more lines]"), "medium", json!({})));
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": blocks,
            },
        }],
    })
}

/// Lines, with more space above those that follow an empty one.
fn paragraphs(text: &str, run: Value) -> Vec<(String, &'static str, Value)> {
    let mut spacing = "medium";
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim().is_empty() {
            spacing = "medium";
        } else {
            lines.push((line.to_owned(), spacing, run.clone()));
            spacing = "none";
        }
    }
    lines
}

fn shown_files(message: &Message) -> Vec<(String, String)> {
    let small = message.attachments.iter().filter(|a| a.text.len() <= MOST_FILE).take(2);
    small.map(|a| (text::file_name(&a.name), text::plain(&a.text, MOST_FILE))).collect()
}

#[cfg(test)]
mod tests;
