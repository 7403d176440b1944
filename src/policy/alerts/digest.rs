//! Many at once as one message: a list that tells the worst first.

use jiff::Timestamp;

use super::Settings;
use super::letter::{self, Draft};
use super::text::{SENTENCE, clean};
use crate::cert::Fingerprint;
use crate::state::alert::{Level, Message};

/// One message about all of these, which are sorted by level.
pub fn write(drafts: &[Draft], settings: &Settings, now: Timestamp) -> Message {
    let zone = &settings.zone;
    let (over, open): (Vec<&Draft>, Vec<&Draft>) =
        drafts.iter().partition(|draft| draft.finding.is_none());
    let level = open.first().map_or(Level::Notice, |draft| draft.level);
    let word = if open.is_empty() { "RECOVERED" } else { level.word() };
    let what = match (open.len(), over.len()) {
        (open, 0) => format!("{open} things wrong"),
        (0, over) => format!("{over} things over"),
        (open, over) => format!("{open} things wrong, {over} over"),
    };
    let letters: Vec<Message> = open.iter().map(|d| letter::write(d, settings, now)).collect();
    let by = letters.iter().filter_map(|letter| letter.by).min();
    let mut body = format!("{what}. The worst first.\n");
    for (draft, letter) in open.iter().zip(&letters).take(MOST_LINES) {
        let (title, by_when) = draft.headline(zone, now);
        let level = draft.level.word();
        body.push_str(&format!("\n{level}: {}{by_when}\n", clean(&title, SENTENCE)));
        // The foot is said once, at the end.
        let text = letter.body.split("\n\n-- \n").next().unwrap_or_default();
        let text: String = text.chars().take(LONGEST_PART).collect();
        for line in text.lines().filter(|line| !line.is_empty()) {
            body.push_str(&format!("  {line}\n"));
        }
    }
    if open.len() > MOST_LINES {
        body.push_str(&format!("\n... and {} more: pbxcert alert list\n", open.len() - MOST_LINES));
    }
    if !over.is_empty() {
        body.push_str("\nOver:\n");
        for draft in over.iter().take(MOST_LINES * 2) {
            let since = letter::local(draft.since, zone);
            body.push_str(&format!("  {}, since {since}\n", clean(&draft.title, SENTENCE)));
        }
    }
    let site = clean(&settings.site, SENTENCE);
    body.push_str(&format!("\n-- \n{site}; more: pbxcert status, pbxcert alert list\n"));
    let first = open.first().or(over.first()).map(|draft| clean(&draft.title, SENTENCE));
    let by_when = first.map(|first| format!("; first: {first}")).unwrap_or_default();
    let ids: String = drafts.iter().map(|draft| draft.id(&settings.site)).collect();
    let id = Fingerprint::of(ids.as_bytes()).to_string();
    Message {
        id: id.chars().take(24).collect(),
        at: now,
        level,
        site: settings.site.clone(),
        object: String::new(),
        condition: "digest".to_owned(),
        recovered: open.is_empty(),
        by,
        subject: letter::subject(word, settings, &format!("{what}{by_when}"), ""),
        body,
        attachments: letters.into_iter().flat_map(|letter| letter.attachments).take(9).collect(),
    }
}

/// More is a list, not a message.
const MOST_LINES: usize = 12;
/// Of one letter, in characters.
const LONGEST_PART: usize = 1500;
