//! `[[ignore]]`: what nobody wants to hear of.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::keys;
use super::walk::{At, Read, Table, Value, Walk};
use crate::config::Ignore;

/// Reads every table.
pub(super) fn read_all<'a>(
    walk: &mut Walk<'a>,
    roots: &[Table<'a>],
    known: &BTreeSet<&str>,
) -> Read<Vec<Ignore>> {
    let tables = walk.array_tables(roots, "ignore", keys::IGNORE, None);
    tables.into_iter().map(|table| read(walk, &table, known)).collect()
}

fn read<'a>(walk: &mut Walk<'a>, table: &Table<'a>, known: &BTreeSet<&str>) -> Read<Ignore> {
    walk.refuse_unknown_keys(table);
    let text = |walk: &mut Walk<'a>, value: Value<'a>| walk.string(value).map(|text| text.it);
    let object = |walk: &mut Walk<'a>, value: Value<'a>| {
        let At { at, it } = walk.string(value)?;
        // The name of a channel has a space in it.
        if !known.contains(it.as_str()) && !PARTS.contains(&it.as_str()) && !it.contains(' ') {
            let text =
                format!("there is no certificate, service or trunk {it:?}: this takes out nothing");
            walk.warning(at, text);
        }
        Ok(it)
    };
    let object = walk.required(table, "object", object, "name what is not to be told about");
    let reason = walk.required(table, "reason", text, "say why nobody wants to hear of it");
    let condition = walk.optional(table, "condition", |walk, value| {
        let words = Ignore::CONDITIONS;
        let known = |word: &str| words.iter().find(|w| **w == word).map(|w| (*w).to_owned());
        walk.word(value, known, &words)
    });
    let until = walk.optional(table, "until", date);
    Ok(Ignore { object: object?, condition: condition?, reason: reason?, until: until? })
}

/// Parts of the host that something may be found of.
const PARTS: [&str; 4] = ["clock", "config", "heartbeat", "host"];

/// A day, `"2027-03-31"`.
fn date<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Date> {
    let written = walk.string(value)?;
    written.it.parse().map_err(|_| {
        let text =
            format!("\"until\" is {:?}, but must be a day such as \"2027-03-31\"", written.it);
        walk.problem(written.at, text)
    })
}
