//! Whether this may be a copy of another system: what its marks were, what they are now, and what
//! follows.
//!
//! A copy that is exact has the same marks, and honest changes change them: so nothing here is a
//! proof, and the worst that follows is a question. Marks that change together in one honest event
//! are one vote; two votes that nobody answers are a quarantine, in which nothing is ordered while
//! there is time, and everything else goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::schedule::{DAY, date, holds_until};
use crate::state::check::{Item, Topic, Verdict};
use crate::state::identity::{Accepted, IdentityRecord, Mark, Marks, Question, Surroundings};
use crate::state::{Condition, Finding, Severity};

/// How one mark stands against what was accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It cannot be read, now or ever.
    Absent,
    /// Another one.
    Changed,
    /// It could not be read when the others were accepted.
    New,
    /// The same.
    Same,
}

impl Standing {
    /// The word in tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Changed => "changed",
            Self::New => "new",
            Self::Same => "same",
        }
    }
}

/// What all marks together say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Judgement {
    /// One vote, and what it is about.
    Changed {
        /// The marks.
        marks: BTreeSet<Mark>,
        /// It happens in ordinary maintenance, and is not worth a question.
        weak: bool,
    },
    /// Two or more independent ones: this may be a copy.
    Quarantine {
        /// The marks.
        marks: BTreeSet<Mark>,
    },
    /// Nothing has changed.
    Same,
}

/// A record after a look, and what there is to tell of it.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What is to be remembered.
    pub record: IdentityRecord,
    /// For history.
    pub news: Option<String>,
}

/// Compares one mark.
pub fn standing(mark: Mark, accepted: &Marks, seen: &Marks) -> Standing {
    if mark == Mark::Surroundings {
        return match (accepted.surroundings, seen.surroundings) {
            (_, None) => Standing::Absent,
            (None, Some(_)) => Standing::New,
            (Some(a), Some(b)) if a == b => Standing::Same,
            (Some(_), Some(_)) => Standing::Changed,
        };
    }
    match (accepted.hashes.get(&mark), seen.hashes.get(&mark)) {
        (_, None) => Standing::Absent,
        (None, Some(_)) => Standing::New,
        // One card that is still there is enough: others come and go.
        (Some(a), Some(b)) if a.is_disjoint(b) => Standing::Changed,
        (Some(_), Some(_)) => Standing::Same,
    }
}

/// What these marks say, where `open` are those that were changed when they could last be read.
pub fn judge(accepted: &Marks, seen: &Marks, open: &BTreeSet<Mark>) -> Judgement {
    let changed = |mark: &Mark| match standing(*mark, accepted, seen) {
        Standing::Changed => true,
        // Whoever may not read it must not take the question back.
        Standing::Absent => open.contains(mark),
        Standing::New | Standing::Same => false,
    };
    let marks: BTreeSet<Mark> = Mark::ALL.into_iter().filter(changed).collect();
    let surroundings = seen.surroundings.or(accepted.surroundings);
    match votes(&marks, surroundings) {
        0 => Judgement::Same,
        1 => Judgement::Changed { weak: is_weak(&marks, surroundings), marks },
        _ => Judgement::Quarantine { marks },
    }
}

/// How many of them are independent.
fn votes(marks: &BTreeSet<Mark>, surroundings: Option<Surroundings>) -> usize {
    let one_event = match surroundings {
        // Network cards are soldered to the board.
        Some(Surroundings::Metal) => [Mark::Board, Mark::Network],
        // Each is given out anew with the container.
        Some(Surroundings::Application) => [Mark::Machine, Mark::Network],
        _ => return marks.len(),
    };
    let together = one_event.iter().all(|mark| marks.contains(mark));
    marks.len() - usize::from(together)
}

fn is_weak(marks: &BTreeSet<Mark>, surroundings: Option<Surroundings>) -> bool {
    let application = surroundings == Some(Surroundings::Application);
    marks.iter().all(|mark| match mark {
        Mark::Disk | Mark::Network => true,
        Mark::Machine => application,
        Mark::Board | Mark::Instance | Mark::Surroundings => false,
    })
}

/// What is to be remembered after a look at the marks.
///
/// The first start accepts what it sees. Asked again with its own answer and the same marks, it
/// answers the same.
pub fn look(record: &IdentityRecord, seen: &Marks, now: Timestamp) -> Looked {
    let Some(accepted) = &record.accepted else {
        return Looked { record: accept(record, seen, "the first start", now), news: None };
    };
    if accepted.marks.key != seen.key {
        let news = "the instance key was made anew: the marks of this host are accepted again";
        let record = accept(record, seen, "a new instance key", now);
        return Looked { record, news: Some(news.to_owned()) };
    }
    let before = record.question.as_ref();
    let none = BTreeSet::new();
    let open = before.map_or(&none, |question| &question.marks);
    let (marks, weak, quarantine) = match judge(&accepted.marks, seen, open) {
        Judgement::Same => {
            let learned = Accepted { marks: learned(&accepted.marks, seen), ..accepted.clone() };
            let record =
                IdentityRecord { accepted: Some(learned), question: None, ..record.clone() };
            let news = before.filter(|question| question.quarantine);
            let news = news.map(|_| "the marks of this host are again what they were".to_owned());
            return Looked { record, news };
        }
        Judgement::Changed { marks, weak } => (marks, weak, false),
        Judgement::Quarantine { marks } => (marks, false, true),
    };
    let since = before.map_or(now, |question| question.since.min(now));
    let patience = if weak { WEAK_PATIENCE } else { PATIENCE };
    if !quarantine && holds_until(since, patience, now).is_none() {
        let text = format!("{}: no longer asked, taken as they are now", changed(&marks));
        let accepted = Accepted { marks: taken(&accepted.marks, seen, &marks), ..accepted.clone() };
        let record = IdentityRecord { accepted: Some(accepted), question: None, ..record.clone() };
        return Looked { record, news: Some(text) };
    }
    let is_news = before.is_none_or(|b| b.quarantine != quarantine || b.marks != marks);
    let news = match (is_news, quarantine) {
        (true, true) => Some(format!("this may be a copy of another system: {}", changed(&marks))),
        (true, false) if !weak => Some(changed(&marks)),
        _ => None,
    };
    let question = Some(Question { since, marks, quarantine });
    Looked { record: IdentityRecord { question, ..record.clone() }, news }
}

/// The record after a person, or the first start, has accepted what is seen.
pub fn accept(record: &IdentityRecord, seen: &Marks, by: &str, now: Timestamp) -> IdentityRecord {
    IdentityRecord {
        schema: record.schema,
        accepted: Some(Accepted { marks: seen.clone(), at: now, by: by.to_owned() }),
        question: None,
        laboratory: record.laboratory.clone(),
        hints: Vec::new(),
    }
}

/// With what could not be read before, and cards that came beside those that are known.
fn learned(accepted: &Marks, seen: &Marks) -> Marks {
    let mut marks = accepted.clone();
    marks.surroundings = marks.surroundings.or(seen.surroundings);
    for (mark, hashes) in &seen.hashes {
        let known = marks.hashes.entry(*mark).or_default();
        known.extend(hashes.iter().cloned());
        if known.len() > MOST_CARDS {
            known.clone_from(hashes);
        }
    }
    marks
}

/// With these marks as they are now; one that cannot be read any more is forgotten.
fn taken(accepted: &Marks, seen: &Marks, changed: &BTreeSet<Mark>) -> Marks {
    let mut marks = accepted.clone();
    for mark in changed {
        if *mark == Mark::Surroundings {
            marks.surroundings = seen.surroundings;
        } else if let Some(hashes) = seen.hashes.get(mark) {
            marks.hashes.insert(*mark, hashes.clone());
        } else {
            marks.hashes.remove(mark);
        }
    }
    learned(&marks, seen)
}

/// `the machine-id and the root file system changed`.
pub fn changed(marks: &BTreeSet<Mark>) -> String {
    let shown: Vec<&str> = marks.iter().map(|mark| mark.shown()).collect();
    match &shown[..] {
        [] => "nothing changed".to_owned(),
        [one] => format!("{one} changed"),
        [all @ .., last] => format!("{} and {last} changed", all.join(", ")),
    }
}

/// The question whether this system runs twice, for the daily check.
///
/// It never says `ok`: no mark on this host can.
pub fn item(record: &IdentityRecord) -> Item {
    let (topic, host) = (Topic::Duplicate, "host");
    match worth_telling(record) {
        Some((question, text)) => {
            let verdict = if question.quarantine { Verdict::Critical } else { Verdict::Warning };
            let mut item = Item::new(topic, host, verdict, text).then(ANSWERS);
            item.since = Some(question.since);
            item
        }
        None => {
            let text = match &record.laboratory {
                Some(lab) => format!("a copy for a laboratory since {}", date(lab.since)),
                None => "nothing on this host speaks of a copy; only a server that hears of both \
                         could prove that there is none"
                    .to_owned(),
            };
            Item::not_asked(topic, host, Verdict::Unknown, &format!("{text}{}", heard(record)))
        }
    }
}

/// The same for the alerts, as soon as it is seen.
pub fn finding(record: &IdentityRecord) -> Option<Finding> {
    let (question, text) = worth_telling(record)?;
    let severity = if question.quarantine { Severity::Critical } else { Severity::Warning };
    let title =
        if question.quarantine { TITLE } else { "this system may have moved or been copied" };
    let mut finding = Finding::new(Condition::Duplicate, "host", severity, title, text);
    finding.since = Some(question.since);
    finding.consequence = question.quarantine.then(|| {
        "no certificate is ordered before 1/6 of its life is left, and no heartbeat is sent; what \
         is there goes on being installed, watched and checked"
            .to_owned()
    });
    finding.ways = WAYS.map(str::to_owned).to_vec();
    Some(finding)
}

fn worth_telling(record: &IdentityRecord) -> Option<(&Question, String)> {
    let question = record.question.as_ref()?;
    let surroundings = record.accepted.as_ref().and_then(|accepted| accepted.marks.surroundings);
    if !question.quarantine && is_weak(&question.marks, surroundings) {
        return None;
    }
    let known = record.accepted.as_ref().map(|accepted| accepted.at);
    let known = known.map(|at| format!(" since {}", date(at))).unwrap_or_default();
    let changed = changed(&question.marks);
    let text = if question.quarantine {
        format!("this may be a copy of another system: {changed}{known}")
    } else {
        format!("{changed}{known}: was this system moved, or copied?")
    };
    Some((question, format!("{text}{}", heard(record))))
}

/// `; and what CAs said: ...`.
fn heard(record: &IdentityRecord) -> String {
    let hints: BTreeSet<&str> = record.hints.iter().map(|hint| hint.kind.shown()).collect();
    if hints.is_empty() {
        return String::new();
    }
    let hints: Vec<&str> = hints.into_iter().collect();
    format!("; what CAs said also fits a copy: {}", hints.join("; "))
}

/// What an alert about it is called.
pub const TITLE: &str = "this may be a copy of another system";

/// What to do, in one line.
pub const ANSWERS: &str = "moved or restored: pbxcert identity keep; a copy that is to live beside \
                           the other: pbxcert identity new; one to try things out: pbxcert identity \
                           new --lab";

const WAYS: [&str; 3] = [
    "it was moved or restored, and the other is no more: pbxcert identity keep",
    "it is a copy that is to live beside the other: pbxcert identity new",
    "it is a copy to try things out: pbxcert identity new --lab",
];

/// A card or a disk that was swapped counts for so long together with what else changes.
const WEAK_PATIENCE: Duration = DAY;
/// What nobody answers for so long, and what came alone, is no copy.
const PATIENCE: Duration = Duration::from_secs(30 * 86_400);
/// No host has more; adapters that are plugged in for a moment are forgotten then.
const MOST_CARDS: usize = 64;

#[cfg(test)]
mod tests;
