//! Readers of single values: each checks what was written and says what would be right.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use jiff::civil::Time;

use super::keys;
use super::walk::{At, Place, Read, Reported, Value, Walk, listed};

impl<'a> Walk<'a> {
    /// Text without control characters.
    pub(super) fn string(&mut self, value: Value<'a>) -> Read<At<String>> {
        let DeValue::String(text) = value.value else {
            return Err(self.wrong_type(value, "a string in quotes"));
        };
        if text.trim().is_empty() {
            return Err(self.problem(value.at, format!("{:?} is empty", value.key)));
        }
        if text.chars().any(char::is_control) {
            let text = format!("{:?} holds a control character: {text:?}", value.key);
            return Err(self.problem(value.at, text));
        }
        Ok(At { at: value.at, it: text.clone().into_owned() })
    }

    /// An argument of a program: any text but NUL, perhaps empty.
    pub(super) fn argument(&mut self, value: Value<'a>) -> Read<String> {
        let DeValue::String(text) = value.value else {
            return Err(self.wrong_type(value, "a list of strings in quotes"));
        };
        if text.contains('\0') {
            return Err(self.problem(value.at, format!("{:?} holds a NUL character", value.key)));
        }
        Ok(text.clone().into_owned())
    }

    /// Yes or no.
    pub(super) fn bool(&mut self, value: Value<'a>) -> Read<bool> {
        match value.value {
            DeValue::Boolean(it) => Ok(*it),
            _ => Err(self.wrong_type(value, "true or false")),
        }
    }

    /// The elements of an array; anything else stands for itself.
    pub(super) fn each(&mut self, value: Value<'a>) -> Vec<Value<'a>> {
        match value.value {
            DeValue::Array(_) => self.elements(value, "").unwrap_or_default(),
            _ => vec![value],
        }
    }

    /// The elements of what must be an array.
    pub(super) fn elements(&mut self, value: Value<'a>, wanted: &str) -> Read<Vec<Value<'a>>> {
        let DeValue::Array(array) = value.value else {
            return Err(self.wrong_type(value, wanted));
        };
        let element = |v: &'a toml::Spanned<DeValue<'a>>| Value {
            at: Place { file: value.at.file, offset: Some(v.span().start) },
            key: value.key,
            value: v.get_ref(),
        };
        Ok(array.iter().map(element).collect())
    }

    /// One string or a list of at least one.
    pub(super) fn strings(&mut self, value: Value<'a>) -> Read<Vec<At<String>>> {
        let strings: Vec<_> = self.each(value).into_iter().map(|v| self.string(v)).collect();
        if strings.is_empty() {
            return Err(self.problem(value.at, format!("{:?} is an empty list", value.key)));
        }
        strings.into_iter().collect()
    }

    /// One of a few words.
    pub(super) fn word<T>(
        &mut self,
        value: Value<'a>,
        meaning: impl Fn(&str) -> Option<T>,
        words: &[&str],
    ) -> Read<T> {
        let written = self.string(value)?;
        if let Some(it) = meaning(&written.it) {
            return Ok(it);
        }
        let hint = match keys::nearest(&written.it, words.iter().copied()) {
            Some(near) => format!("; did you mean {near:?}?"),
            None => format!("; known are {}", listed(words)),
        };
        Err(self.problem(value.at, format!("unknown {} {:?}{hint}", value.key, written.it)))
    }

    /// A span of time in words, `"2h"`, `"90 s"`, `"1 day"`, within bounds.
    pub(super) fn duration(
        &mut self,
        value: Value<'a>,
        (least, most): (&str, &str),
    ) -> Read<Duration> {
        let example = format!("a duration in words, such as \"{least}\" or \"{most}\"");
        let DeValue::String(text) = value.value else {
            return Err(self.wrong_type(value, &example));
        };
        let bounds = (duration(least), duration(most));
        let (Some(least_it), Some(most_it)) = bounds else {
            unreachable!("the bounds {least} and {most} are ours");
        };
        match duration(text) {
            Some(it) if (least_it..=most_it).contains(&it) => Ok(it),
            Some(_) => {
                let text =
                    format!("{:?} is {text:?}, but must lie between {least} and {most}", value.key);
                Err(self.problem(value.at, text))
            }
            None => {
                let text = format!("{:?} is {text:?}, which is not {example}", value.key);
                Err(self.problem(value.at, text))
            }
        }
    }

    /// An absolute path.
    pub(super) fn path(&mut self, value: Value<'a>) -> Read<At<PathBuf>> {
        let At { at, it } = self.string(value)?;
        let path = PathBuf::from(it);
        match unfit(&path) {
            Some(reason) => Err(self.problem(at, format!("{:?} is {path:?}: {reason}", value.key))),
            None => Ok(At { at, it: path }),
        }
    }

    /// A name of ours: it becomes the name of a folder.
    pub(super) fn name(&mut self, name: &At<String>) -> Read<()> {
        let text = &name.it;
        let reason = if text.len() > 64 {
            "it is longer than 64 characters"
        } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            "letters, digits, \"-\", \"_\" and \".\" may stand in it"
        } else if text.starts_with(['.', '-']) {
            "it may not begin with \".\" or \"-\""
        } else if text.is_empty() {
            "it is empty"
        } else {
            return Ok(());
        };
        Err(self.problem(name.at, format!("the name {text:?} cannot be used: {reason}")))
    }

    /// Notes a second one of the same name.
    pub(super) fn refuse_namesake<'n>(
        &mut self,
        name: &At<String>,
        others: impl IntoIterator<Item = &'n At<String>>,
        what: &str,
    ) -> Read<()> {
        let Some(first) = others.into_iter().find(|other| other.it == name.it) else {
            return Ok(());
        };
        let text = format!(
            "two of {what} are named {:?}: here and at {}; give one another name",
            name.it,
            self.shown(first.at)
        );
        Err(self.problem(name.at, text))
    }

    /// Notes a name that nothing bears.
    pub(super) fn refuse_unknown<'c>(
        &mut self,
        name: &At<String>,
        known: impl IntoIterator<Item = &'c str>,
        what: &str,
    ) -> Read<()> {
        let known: Vec<&str> = known.into_iter().collect();
        if known.contains(&name.it.as_str()) {
            return Ok(());
        }
        if self.has_lost_tables() {
            return Err(Reported);
        }
        let hint = match keys::nearest(&name.it, known.iter().copied()) {
            Some(near) => format!("; did you mean {near:?}?"),
            None if known.is_empty() => "; there is none at all".to_owned(),
            None => format!("; there is {}", listed(&known)),
        };
        Err(self.problem(name.at, format!("there is no {what} named {:?}{hint}", name.it)))
    }
}

/// Why a path cannot be used.
pub(super) fn unfit(path: &Path) -> Option<&'static str> {
    if !path.is_absolute() {
        return Some("write an absolute path, which begins with \"/\"");
    }
    if path.components().any(|c| c == Component::ParentDir) {
        return Some("write it without \"..\"");
    }
    None
}

/// A span of time as people write it. Days have 24 hours; months and years have no length.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let span = jiff::fmt::friendly::SpanParser::new().parse_span(text.trim()).ok()?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

/// `07:00`, with two digits each.
pub(super) fn time_of_day(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |digits: &str| -> Option<i8> {
        let fit = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        fit.then(|| digits.parse().ok()).flatten()
    };
    Time::new(two(hour)?, two(minute)?, 0, 0).ok()
}
