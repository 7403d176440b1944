//! Many at once as one message: a list that tells the worst first.

use jiff::Timestamp;

use super::Settings;
use super::letter::{self, Draft, Matter};
use super::text::{SENTENCE, clean};
use crate::cert::Fingerprint;
use crate::state::alert::{Level, Message};

/// One message about all of these, which are sorted by level.
pub fn write(drafts: &[Draft], settings: &Settings, now: Timestamp) -> Message {
    let sorted = Sorted::of(drafts);
    let Sorted { wrong, news, over, left } = &sorted;
    let zone = &settings.zone;
    let told: Vec<&Draft> = wrong.iter().chain(news).copied().collect();
    let letters: Vec<Message> = told.iter().map(|d| letter::write(d, settings, now)).collect();
    let what = sorted.counted();
    let mut body = format!("{what}. The worst first.\n");
    for (draft, letter) in told.iter().zip(&letters).take(MOST_LINES) {
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
    if told.len() > MOST_LINES {
        body.push_str(&format!("\n... and {} more: pbxcert alert list\n", told.len() - MOST_LINES));
    }
    for (head, ended) in [("Over", over), ("Not in the configuration any more", left)] {
        if !ended.is_empty() {
            body.push_str(&format!("\n{head}:\n"));
        }
        for draft in ended.iter().take(MOST_LINES * 2) {
            let (now_true, by_when) = draft.headline(zone, now);
            let (since, title) = (letter::local(draft.since, zone), clean(&draft.title, SENTENCE));
            let now_true = clean(&now_true, SENTENCE);
            body.push_str(&format!("  {now_true}{by_when} (was: {title}, since {since})\n"));
        }
    }
    let site = clean(&settings.site, SENTENCE);
    body.push_str(&format!("\n-- \n{site}; more: pbxcert status, pbxcert alert list\n"));
    let by = letters.iter().filter_map(|letter| letter.by).min();
    let first = [wrong, over, left, news].into_iter().find_map(|part| part.first());
    let first = first.map(|draft| match &draft.matter {
        Matter::Over { now, .. } if now.is_empty() => draft.title.clone(),
        _ => draft.headline(zone, now).0,
    });
    let first = first.map(|first| format!("; first: {}", clean(&first, SENTENCE)));
    let subject = format!("{what}{}", first.unwrap_or_default());
    let ids: String = drafts.iter().map(|draft| draft.id(&settings.site)).collect();
    let id = Fingerprint::of(ids.as_bytes()).to_string();
    let recovered = wrong.is_empty() && !over.is_empty();
    let level = wrong.first().map_or(Level::Notice, |draft| draft.level);
    let word = if recovered { letter::RECOVERED } else { level.word() };
    let by_when = letter::earliest(by.filter(|_| !wrong.is_empty()), zone, now);
    Message {
        id: id.chars().take(24).collect(),
        at: now,
        level,
        site: settings.site.clone(),
        object: String::new(),
        condition: "digest".to_owned(),
        recovered,
        ends: drafts.iter().filter_map(|draft| draft.told).max(),
        by,
        subject: letter::subject(word, settings, &subject, &by_when),
        body,
        attachments: letters.into_iter().flat_map(|letter| letter.attachments).take(9).collect(),
    }
}

/// What a digest tells, each kind by itself: good news are not wrong.
struct Sorted<'d> {
    wrong: Vec<&'d Draft>,
    news: Vec<&'d Draft>,
    over: Vec<&'d Draft>,
    left: Vec<&'d Draft>,
}

impl<'d> Sorted<'d> {
    fn of(drafts: &'d [Draft]) -> Self {
        let mut sorted = Self { wrong: vec![], news: vec![], over: vec![], left: vec![] };
        for draft in drafts {
            let part = match draft.matter {
                Matter::Found(_) if draft.level == Level::Notice => &mut sorted.news,
                Matter::Found(_) => &mut sorted.wrong,
                Matter::Left => &mut sorted.left,
                Matter::Over { .. } => &mut sorted.over,
            };
            part.push(draft);
        }
        sorted
    }

    /// `2 things wrong, 1 over, 1 piece of news`.
    fn counted(&self) -> String {
        let mut parts = Vec::new();
        let mut add = |count: usize, one: &str, more: &str| match count {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            count => parts.push(format!("{count} {more}")),
        };
        add(self.wrong.len(), "thing wrong", "things wrong");
        let (one, more) =
            if self.wrong.is_empty() { ("thing over", "things over") } else { ("over", "over") };
        add(self.over.len(), one, more);
        add(self.news.len(), "piece of news", "pieces of news");
        add(self.left.len(), "no longer looked after", "no longer looked after");
        parts.join(", ")
    }
}

/// More is a list, not a message.
const MOST_LINES: usize = 12;
/// Of one letter, in characters.
const LONGEST_PART: usize = 1500;
