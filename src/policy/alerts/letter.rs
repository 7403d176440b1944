//! One message about one condition, as somebody wants to read it on a phone at 3 am: first what is
//! wrong, then until when there is time, then what to do.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Settings;
use super::text::{self, QUOTE, SENTENCE, SUBJECT, clean, sentence, shortened};
use crate::cert::{Fingerprint, span};
use crate::state::alert::{Attachment, Level, Message};
use crate::state::{Condition, Finding};

/// What is to be told.
#[derive(Clone, Debug)]
pub struct Draft {
    /// How loud.
    pub level: Level,
    /// What it is about.
    pub object: String,
    /// What is, or was, wrong.
    pub condition: Condition,
    /// Since when.
    pub since: Timestamp,
    /// The how-manieth message about it.
    pub count: u32,
    /// It was told before.
    pub again: bool,
    /// What was found; `None`: it is over.
    pub finding: Option<Finding>,
    /// The title when it was last found.
    pub title: String,
}

impl Draft {
    /// The same when the same is decided again, after a crash say.
    pub(super) fn id(&self, site: &str) -> String {
        let (object, condition) = (&self.object, self.condition);
        let parts = format!("{site}\0{object}\0{condition}\0{}\0{}", self.since, self.count);
        Fingerprint::of(parts.as_bytes()).to_string().chars().take(24).collect()
    }

    /// `no renewal of pbx.example, ends Sat 12 Dec (11 days)`.
    pub(super) fn headline(&self, zone: &TimeZone, now: Timestamp) -> (String, String) {
        let Some(finding) = &self.finding else {
            return (format!("over: {}", self.title), String::new());
        };
        let by = finding.by.map(|by| by_when(finding.condition, by, zone, now));
        (self.title.clone(), by.map(|by| format!(", {by}")).unwrap_or_default())
    }
}

/// The message.
pub fn write(draft: &Draft, settings: &Settings, now: Timestamp) -> Message {
    let zone = &settings.zone;
    let word = if draft.finding.is_some() { draft.level.word() } else { "RECOVERED" };
    let (what, by_when) = draft.headline(zone, now);
    let body = match &draft.finding {
        Some(finding) => body(draft, finding, settings, now),
        None => over(draft, settings, now),
    };
    Message {
        id: draft.id(&settings.site),
        at: now,
        level: draft.level,
        site: settings.site.clone(),
        object: draft.object.clone(),
        condition: draft.condition.to_string(),
        recovered: draft.finding.is_none(),
        by: draft.finding.as_ref().and_then(|finding| finding.by),
        subject: subject(word, settings, &what, &by_when),
        body,
        attachments: draft.finding.iter().flat_map(attachments).collect(),
    }
}

/// `LEVEL site: what, by when`: what gives way when there is not enough room.
///
/// What may be a copy is no witness of the site: whoever reads has to know which of two speaks.
pub fn subject(word: &str, settings: &Settings, what: &str, by_when: &str) -> String {
    let shown = |most: usize| match settings.possible_copy {
        true => format!("[possible copy of {}]", clean(&settings.site, most / 2)),
        false => clean(&settings.site, most),
    };
    let mut site = shown(SUBJECT / 2);
    let (what, by_when) = (clean(what, SUBJECT), clean(by_when, SUBJECT));
    let room = |site: &str, by_when: &str| {
        SUBJECT.saturating_sub(
            [word, " ", site, ": ", by_when].map(|s| s.chars().count()).iter().sum(),
        )
    };
    if room(&site, &by_when) < SHORTEST_WHAT.min(what.chars().count()) {
        site = shown(SHORT_SITE);
    }
    let room = room(&site, &by_when);
    let what = if what.chars().count() > room { shortened(&what, room) } else { what };
    clean(&format!("{word} {site}: {what}{by_when}"), SUBJECT)
}

fn body(draft: &Draft, finding: &Finding, settings: &Settings, now: Timestamp) -> String {
    let zone = &settings.zone;
    let mut parts = Vec::new();
    let mut first = sentence(&finding.text);
    first.push_str(&how_long(draft, finding, zone, now));
    parts.push(first);
    parts.extend(what_happens(finding, zone, now));
    parts.extend(ways(finding));
    if let Some(next) = &finding.next {
        let what = clean(&next.what, SENTENCE);
        let at = next.at.map(|at| format!(", {} ({})", local(at, zone), relative(at, now)));
        parts.push(format!("By itself: {what}{}.", at.unwrap_or_default()));
    }
    if let Some(name) = finding.attachments.first().map(|a| file_name(&a.name)) {
        parts.push(format!("Attached: {name}."));
    }
    let quote =
        finding.quote.as_ref().map(|q| (clean(&q.who, text::TITLE), clean(&q.words, QUOTE)));
    if let Some((who, words)) = quote.filter(|(_, words)| !words.is_empty()) {
        parts.push(format!("{who} says: \"{words}\""));
    }
    parts.push(foot(draft, settings));
    parts.join("\n\n") + "\n"
}

/// ` 9 tries since Fri 22 Jan 13:00 CET.`; of what ends, only when something else began.
fn how_long(draft: &Draft, finding: &Finding, zone: &TimeZone, now: Timestamp) -> String {
    let fresh = span(draft.since, now) < std::time::Duration::from_secs(60);
    let ends = finding.condition == Condition::Expiry && finding.since.is_none();
    if fresh || finding.condition.is_news() || ends {
        return String::new();
    }
    let since = local(draft.since, zone);
    match finding.tries {
        Some(tries @ 2..) => format!(" {tries} tries since {since}."),
        _ => format!(" Since {since}."),
    }
}

fn what_happens(finding: &Finding, zone: &TimeZone, now: Timestamp) -> Option<String> {
    let when = |at: Timestamp| format!("{} ({})", local(at, zone), relative(at, now));
    let consequence = finding.consequence.as_ref().map(|c| clean(c, SENTENCE));
    Some(match (consequence, finding.by) {
        (Some(what), Some(by)) if finding.condition.is_news() => {
            format!("On {}: {what}.", when(by))
        }
        (Some(what), None) if finding.condition.is_news() => sentence(&what),
        (Some(what), Some(by)) if by <= now => format!("Since {}: {what}.", when(by)),
        (Some(what), Some(by)) => format!("If nobody does anything: on {} {what}.", when(by)),
        (Some(what), None) => format!("If nobody does anything: {what}."),
        (None, Some(by)) => format!("Time: {}.", when(by)),
        (None, None) => return None,
    })
}

fn ways(finding: &Finding) -> Option<String> {
    let ways: Vec<String> =
        finding.ways.iter().take(MOST_WAYS).map(|way| clean(way, SENTENCE)).collect();
    match &ways[..] {
        [] => None,
        [one] => Some(format!("What to do: {one}")),
        several => {
            let numbered = several.iter().enumerate().map(|(n, way)| format!("({}) {way}", n + 1));
            let numbered: Vec<String> = numbered.collect();
            Some(format!("Do one of:\n{}", numbered.join("\n")))
        }
    }
}

fn over(draft: &Draft, settings: &Settings, now: Timestamp) -> String {
    let title = sentence(&format!("over: {}", draft.title));
    let lasted = relative(draft.since, now);
    let lasted = lasted.strip_suffix(" ago").unwrap_or(&lasted).to_owned();
    let since = local(draft.since, &settings.zone);
    format!(
        "{title}\n\nIt began at {since} and lasted {lasted}. Nothing is to be done.\n\n{}\n",
        foot(draft, settings)
    )
}

fn foot(draft: &Draft, settings: &Settings) -> String {
    let (object, condition) = (clean(&draft.object, text::TITLE), draft.condition);
    let site = clean(&settings.site, text::TITLE);
    let mut foot = format!("-- \n{site}: {object}/{condition}; more: pbxcert status");
    if draft.finding.is_some() && draft.level >= Level::Warning && !condition.is_news() {
        let quote = if object.contains(' ') { "\"" } else { "" };
        foot.push_str(&format!(
            "\nSilence: pbxcert ack {quote}{object}/{condition}{quote} --until DATE --note \"who, why\""
        ));
    }
    foot
}

fn attachments(finding: &Finding) -> Vec<Attachment> {
    let fit = finding.attachments.iter().filter(|a| a.text.len() <= LARGEST_ATTACHMENT);
    fit.take(MOST_WAYS)
        .map(|a| Attachment { name: file_name(&a.name), text: a.text.clone() })
        .collect()
}

fn file_name(name: &str) -> String {
    let fit = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = name.chars().filter(fit).take(64).collect();
    name.trim_start_matches('.').to_owned()
}

/// `ends Sat 12 Dec (11 days)`.
fn by_when(condition: Condition, by: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    let (ahead, past) = match condition {
        Condition::RestartAnnounced => ("", "was due "),
        Condition::Hold | Condition::TrustChange => ("goes in ", "goes in "),
        _ => ("ends ", "ended "),
    };
    let word = if by <= now { past } else { ahead };
    let near = span(now.min(by), now.max(by)) < std::time::Duration::from_secs(2 * 86_400);
    let date = zone.to_datetime(by);
    let date = date.strftime(if near { "%a %-d %b %H:%M" } else { "%a %-d %b" }).to_string();
    let relative = relative(by, now);
    let relative = relative.strip_prefix("in ").unwrap_or(&relative);
    format!("{word}{date} ({relative})")
}

/// A time on the clocks of the site: `Sat 12 Dec 14:05 CET`.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%a %-d %b %H:%M %Z").to_string()
}

/// `in 11 days`, `in 13 hours`, `3 days ago`, `now`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = span(at.min(now), at.max(now)).as_secs();
    let (count, unit) = match seconds {
        s if s < 60 => return "now".to_owned(),
        s if s < 2 * 3600 => (s / 60, "minute"),
        s if s < 2 * 86_400 => (s / 3600, "hour"),
        s => (s / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if at > now {
        format!("in {count} {unit}{plural}")
    } else {
        format!("{count} {unit}{plural} ago")
    }
}

/// A subject with less of its matter than this says nothing.
const SHORTEST_WHAT: usize = 24;
/// What stays of a site's name then.
const SHORT_SITE: usize = 20;
/// More ways, or files, nobody reads.
const MOST_WAYS: usize = 9;
/// In bytes; a signing request of 100 names has 5 KiB.
const LARGEST_ATTACHMENT: usize = 64 << 10;

#[cfg(test)]
mod tests;
