//! The keys of `[[service]]` that say when it may be disturbed.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::value;
use super::walk::{At, Read, Table, Value, Walk};
use crate::config::calm::{Calm, Disruptive, Freeze, Share, Window};

/// Monday first.
pub(super) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Reads the keys of one service, or of `[defaults]` for their own sake.
pub(super) fn read<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Calm> {
    let windows = walk.optional(table, "deploy-window", |walk, value| each(walk, value, window));
    let freezes = walk.optional(table, "freeze", |walk, value| each(walk, value, freeze));
    let disruptive = walk.optional(table, "disruptive", disruptive);
    let deadline = walk.optional(table, "deploy-deadline", share);
    let usual = Calm::default();
    let zone = if walk.options.machine { TimeZone::system() } else { usual.zone };
    Ok(Calm {
        zone,
        windows: windows?.unwrap_or_default(),
        freezes: freezes?.unwrap_or_default(),
        disruptive: disruptive?.unwrap_or_default(),
        deadline: deadline?.unwrap_or(usual.deadline),
    })
}

fn each<'a, T>(
    walk: &mut Walk<'a>,
    value: Value<'a>,
    meaning: impl Fn(&str) -> Result<T, String>,
) -> Read<Vec<T>> {
    let mut read = Vec::new();
    for At { at, it } in walk.strings(value)? {
        match meaning(&it) {
            Ok(it) => read.push(it),
            Err(reason) => return Err(walk.problem(at, format!("{it:?}: {reason}"))),
        }
    }
    Ok(read)
}

/// `mon-fri 22:00-05:00`, `sun 03:00-04:00`, `22:00-05:00` for every day.
fn window(text: &str) -> Result<Window, String> {
    let wrong = "write it like \"mon-fri 22:00-05:00\", \"sun 03:00-05:00\" or \"22:00-05:00\"";
    let (days, hours) = match text.trim().split_once(' ') {
        Some((days, hours)) => (days_of(days).ok_or(wrong)?, hours.trim()),
        None => ([true; 7], text.trim()),
    };
    let (from, to) = hours.split_once('-').ok_or(wrong)?;
    let (from, to) = (minute(from).ok_or(wrong)?, minute(to).ok_or(wrong)?);
    if from == 1440 || from == to {
        return Err("it begins where it ends; a whole day is \"00:00-24:00\"".to_owned());
    }
    Ok(Window { days, from, to })
}

/// `mon`, `mon-fri`, `sat-mon`, `mon,wed,fri`.
fn days_of(text: &str) -> Option<[bool; 7]> {
    let day = |word: &str| DAYS.iter().position(|d| *d == word.trim().to_ascii_lowercase());
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days[at] = true;
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Some(days)
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hour, minute) = (two(hour)?, two(minute)?);
    (minute < 60 && hour * 60 + minute <= 1440).then_some(hour * 60 + minute)
}

/// `2026-12-18..2027-01-06`, or one day.
fn freeze(text: &str) -> Result<Freeze, String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let date = |text: &str| {
        let wrong = "write it like \"2026-12-18..2027-01-06\"";
        text.trim().parse::<Date>().map_err(|_| wrong.to_owned())
    };
    let (from, to) = (date(from)?, date(to)?);
    if to < from {
        return Err("it ends before it begins".to_owned());
    }
    Ok(Freeze { from, to })
}

fn disruptive<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Disruptive> {
    let words = Disruptive::ALL.map(Disruptive::word);
    let meaning = |word: &str| Disruptive::ALL.into_iter().find(|d| d.word() == word);
    walk.word(value, meaning, &words)
}

fn share<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Share> {
    let At { at, it } = walk.string(value)?;
    let part = it.strip_prefix("1/").and_then(|n| n.trim().parse::<u32>().ok());
    match (part.filter(|n| (2..=100).contains(n)), value::duration(&it)) {
        (Some(n), _) => Ok(Share::Part(n)),
        (None, Some(span)) => Ok(Share::Span(span)),
        (None, None) => {
            let text = format!("{it:?} is no share of a life such as \"1/6\" or \"10 days\"");
            Err(walk.problem(at, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_as_people_write_them() {
        let week = |text| window(text).unwrap();
        assert_eq!(week("22:00-05:00"), Window { days: [true; 7], from: 1320, to: 300 });
        let workdays = [true, true, true, true, true, false, false];
        assert_eq!(week("mon-fri 22:00-05:00").days, workdays);
        let weekend = [true, false, false, false, false, true, true];
        assert_eq!(week("Sat-mon 00:00-24:00"), Window { days: weekend, from: 0, to: 1440 });
        assert_eq!(week("mon,wed 01:00-02:00").days[..3], [true, false, true]);
        for wrong in ["", "mon", "24:00-25:00", "fro 01:00-02:00", "1:00-2:00", "03:00-03:00"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn freezes_have_two_days_in_order() {
        let one = freeze("2026-12-24").unwrap();
        assert_eq!(one.from, one.to);
        assert!(freeze("2026-12-18..2027-01-06").is_ok());
        assert!(freeze("2027-01-06..2026-12-18").unwrap_err().contains("ends before"));
        assert!(freeze("18.12.2026").is_err());
    }
}
