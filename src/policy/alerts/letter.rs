//! One message about one condition, as somebody wants to read it on a phone at 3 am: first what is
//! wrong, then until when there is time, then what to do.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Settings;
use super::text::{self, QUOTE, SENTENCE, SUBJECT, clean, sentence, shortened};
use crate::cert::{Fingerprint, span};
use crate::policy::schedule::{DAY, MINUTE, WEEK, after};
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
    /// What there is to say.
    pub matter: Matter,
    /// The title when it was last found.
    pub title: String,
    /// When it ends: how loud its beginning was told.
    pub told: Option<Level>,
}

/// What there is to say of a condition.
#[derive(Clone, Debug)]
pub enum Matter {
    /// It is found.
    Found(Box<Finding>),
    /// Its object is not in the configuration any more: nobody saw it repaired, and nobody looks.
    Left,
    /// It is over.
    Over {
        /// What is true now, in a few words; empty when that cannot be said.
        now: String,
        /// When the certificate that is good now ends.
        by: Option<Timestamp>,
    },
}

impl Draft {
    /// The same when the same is decided again, after a crash say.
    pub(super) fn id(&self, site: &str) -> String {
        let (object, condition) = (&self.object, self.condition);
        let parts = format!("{site}\0{object}\0{condition}\0{}\0{}", self.since, self.count);
        Fingerprint::of(parts.as_bytes()).to_string().chars().take(24).collect()
    }

    /// `no renewal of pbx.example` and `, ends Sat 12 Dec (11 days)`.
    pub(super) fn headline(&self, zone: &TimeZone, now: Timestamp) -> (String, String) {
        let by_when = |by: Option<Timestamp>, word| {
            by.map(|by| format!(", {}", by_when(word, by, zone, now))).unwrap_or_default()
        };
        match &self.matter {
            Matter::Found(finding) => {
                (self.title.clone(), by_when(finding.by, words(finding.condition, &self.title)))
            }
            Matter::Left => (format!("no longer looked after: {}", self.object), String::new()),
            Matter::Over { now: good, .. } if good.is_empty() => {
                (format!("over: {}", self.title), String::new())
            }
            Matter::Over { now: good, by } => (good.clone(), by_when(*by, ENDS)),
        }
    }

    pub(super) fn finding(&self) -> Option<&Finding> {
        match &self.matter {
            Matter::Found(finding) => Some(finding),
            Matter::Left | Matter::Over { .. } => None,
        }
    }
}

/// The message.
pub fn write(draft: &Draft, settings: &Settings, now: Timestamp) -> Message {
    let zone = &settings.zone;
    let (what, by_when) = draft.headline(zone, now);
    let (word, body) = match &draft.matter {
        Matter::Found(finding) => (draft.level.word(), body(draft, finding, settings, now)),
        Matter::Left => (Level::Notice.word(), left(draft, settings, now)),
        Matter::Over { .. } => (RECOVERED, over(draft, settings, now)),
    };
    Message {
        id: draft.id(&settings.site),
        at: now,
        level: draft.level,
        site: settings.site.clone(),
        object: draft.object.clone(),
        condition: draft.condition.to_string(),
        recovered: matches!(draft.matter, Matter::Over { .. }),
        ends: draft.told,
        by: draft.finding().and_then(|finding| finding.by),
        subject: subject(word, settings, &what, &by_when),
        body,
        attachments: draft.finding().map(attachments).unwrap_or_default(),
    }
}

/// The first word of what is over.
pub(super) const RECOVERED: &str = "RECOVERED";

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
    for part in &mut parts {
        *part = text::localised(part, zone);
    }
    let quote =
        finding.quote.as_ref().map(|q| (clean(&q.who, text::TITLE), clean(&q.words, QUOTE)));
    if let Some((who, words)) = quote.filter(|(_, words)| !words.is_empty()) {
        parts.push(format!("{who} says: \"{words}\""));
    }
    parts.push(foot(draft, settings, now));
    parts.join("\n\n") + "\n"
}

/// ` 9 tries since Fri 22 Jan 13:00 CET.`; of what ends, only when something else began.
fn how_long(draft: &Draft, finding: &Finding, zone: &TimeZone, now: Timestamp) -> String {
    let fresh = span(draft.since, now) < MINUTE;
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
    let zone = &settings.zone;
    let (what, by_when) = draft.headline(zone, now);
    let (title, since) = (clean(&draft.title, SENTENCE), local(draft.since, zone));
    let lasted = lasted(draft.since, now);
    let past = match &draft.matter {
        Matter::Over { now: good, .. } if !good.is_empty() => {
            format!("It was: {title}, since {since}, for {lasted}. Nothing is to be done.")
        }
        _ => format!("It began at {since} and lasted {lasted}."),
    };
    let head = sentence(&format!("{what}{by_when}"));
    format!("{head}\n\n{past}\n\n{}\n", foot(draft, settings, now))
}

/// `20 days`.
fn lasted(since: Timestamp, now: Timestamp) -> String {
    match relative(since, now).strip_suffix(" ago") {
        Some(span) => span.to_owned(),
        None => "less than a minute".to_owned(),
    }
}

/// Whoever heard of it must not go on waiting for its end; that it is repaired nobody has seen.
fn left(draft: &Draft, settings: &Settings, now: Timestamp) -> String {
    let object = clean(&draft.object, text::TITLE);
    let (title, since) = (clean(&draft.title, SENTENCE), local(draft.since, &settings.zone));
    format!(
        "{object} is not in the configuration any more: pbxcert does not look after it, and tells \
         no more of it.\n\nWhat was wrong last, since {since}: {title}. Nobody has seen that \
         repaired.\n\nWhat to do: nothing, if that was meant; else write it into pbxcert.toml \
         again, then: systemctl reload pbxcert\n\n{}\n",
        foot(draft, settings, now)
    )
}

fn foot(draft: &Draft, settings: &Settings, now: Timestamp) -> String {
    let (object, condition) = (clean(&draft.object, text::TITLE), draft.condition);
    let site = clean(&settings.site, text::TITLE);
    let mut foot = format!("-- \n{site}: {object}/{condition}; more: pbxcert status");
    if draft.finding().is_some() && draft.level >= Level::Warning && !condition.is_news() {
        let quote = if object.contains(' ') { "\"" } else { "" };
        let until = settings.zone.to_datetime(after(now, WEEK)).strftime("%Y-%m-%d");
        foot.push_str(&format!(
            "\nSilence for a week: pbxcert ack {quote}{object}/{condition}{quote} --until {until} \
             --note \"who, why\""
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

/// What a point in time means: before it, and after it.
type Words = (&'static str, &'static str);
const ENDS: Words = ("ends ", "ended ");

fn words(condition: Condition, title: &str) -> Words {
    match condition {
        // The title says it.
        Condition::Expiry if title.starts_with("ended") => ("", ""),
        Condition::RestartAnnounced => ("", "was due "),
        Condition::Hold | Condition::TrustChange => ("goes in ", "goes in "),
        Condition::DeployBroken | Condition::NotTaken | Condition::RolledBack => {
            ("old one ends ", "old one ended ")
        }
        _ => ENDS,
    }
}

/// `ends Sat 12 Dec (11 days)`.
fn by_when((ahead, past): Words, by: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    let word = if by <= now { past } else { ahead };
    let near = span(now.min(by), now.max(by)) < DAY * 2;
    let date = zone.to_datetime(by);
    let date = date.strftime(if near { "%a %-d %b %H:%M" } else { "%a %-d %b" }).to_string();
    let relative = relative(by, now);
    let relative = relative.strip_prefix("in ").unwrap_or(&relative);
    format!("{word}{date} ({relative})")
}

/// The earliest of several, for the subject of a digest: `, first by Sat 12 Dec (11 days)`.
pub(super) fn earliest(by: Option<Timestamp>, zone: &TimeZone, now: Timestamp) -> String {
    by.map(|by| format!(", {}", by_when(("by ", "since "), by, zone, now))).unwrap_or_default()
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
