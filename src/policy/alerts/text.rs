//! Words from outside, made fit for a letter.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Longest title, in characters.
pub(super) const TITLE: usize = 120;
/// Longest sentence of our own.
pub(super) const SENTENCE: usize = 1200;
/// Longest quotation.
pub(super) const QUOTE: usize = 600;
/// Longest subject, in characters (behaviour.md section 5).
pub(super) const SUBJECT: usize = 80;

/// One line of at most `most` characters: without control characters (no second header, no
/// terminal codes), without what turns the direction of writing around, runs of space made one.
///
/// Reads no more than it needs of what may be ten megabytes.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut clean = String::new();
    let (mut length, mut gap) = (0, false);
    // Nothing but controls for long is as good as nothing.
    for c in text.chars().take(most.saturating_mul(20)) {
        if c.is_control() || c.is_whitespace() || is_invisible(c) {
            gap = length > 0;
            continue;
        }
        let needs = 1 + usize::from(gap);
        if length + needs > most {
            return shortened(&clean, most);
        }
        if gap {
            clean.push(' ');
        }
        clean.push(c);
        length += needs;
        gap = false;
    }
    clean
}

/// Times of our own texts (`2027-02-21 12:00 UTC`) on the clocks of the site: `Sun 21 Feb 2027 13:00
/// CET`. Nobody reckons at night.
pub fn localised(text: &str, zone: &TimeZone) -> String {
    const WRITTEN: usize = "2027-02-21 12:00".len();
    let (mut local, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(" UTC") {
        let start = before.len().checked_sub(WRITTEN).filter(|at| before.is_char_boundary(*at));
        let (kept, written) = before.split_at(start.unwrap_or(before.len()));
        let time = DateTime::strptime("%Y-%m-%d %H:%M", written).ok();
        match time.and_then(|time| TimeZone::UTC.to_timestamp(time).ok()) {
            Some(at) => {
                let there = at.to_zoned_datetime(zone.clone());
                local.push_str(&format!("{kept}{}", there.strftime("%a %-d %b %Y %H:%M %Z")));
            }
            None => local.push_str(&format!("{before} UTC")),
        }
        rest = after;
    }
    local + rest
}

/// The text with a mark that something is missing at its end.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// A sentence as it stands in a letter: capital first, full stop last.
pub(super) fn sentence(text: &str) -> String {
    let text = clean(text, SENTENCE);
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    // A word that is a name or path is left as it is written.
    let word = text.split(' ').next().unwrap_or_default();
    let plain = word.chars().all(|c| c.is_ascii_lowercase() || c == ',' || c == '\'');
    let mut sentence: String = if plain && first.is_ascii_lowercase() {
        first.to_uppercase().chain(chars).collect()
    } else {
        text.clone()
    };
    if !sentence.ends_with(['.', '!', '?', ':', '…']) {
        sentence.push('.');
    }
    sentence
}

/// Joiners, direction marks and other characters that are there and cannot be seen.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_controls_and_no_second_line() {
        assert_eq!(clean("a\r\nBcc: b@c\0\u{1b}[31md\u{202e}e  f\n", 99), "a Bcc: b@c [31md e f");
        assert_eq!(clean("\r\n\0", 10), "");
        assert_eq!(clean("ende", 4), "ende");
        assert_eq!(clean("zu lang", 5), "zu l…");
        assert_eq!(clean("zu lang", 4), "zu…");
        assert_eq!(clean("größer als", 7), "größer…");
    }

    #[test]
    fn times_are_those_of_the_clocks_on_the_wall() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(
            localised("ends 2027-02-21 12:00 UTC, ended at 2027-07-01 23:30 UTC.", &zone),
            "ends Sun 21 Feb 2027 13:00 CET, ended at Fri 2 Jul 2027 01:30 CEST."
        );
        for same in ["", " UTC", "ä2027-02-21 1200 UTC", "2027-02-31 12:00 UTC", "12:00 UTC UTC"] {
            assert_eq!(localised(same, &zone), same);
        }
    }

    #[test]
    fn ten_megabytes_are_cut_and_not_read_through() {
        let long = "x".repeat(10 << 20);
        assert_eq!(clean(&long, QUOTE).chars().count(), QUOTE);
        let nothing = "\u{7}".repeat(10 << 20);
        assert_eq!(clean(&nothing, QUOTE), "");
    }

    #[test]
    fn a_sentence_has_its_capital_and_its_stop() {
        assert_eq!(sentence("the clock is wrong"), "The clock is wrong.");
        assert_eq!(sentence("sip: nobody listens"), "sip: nobody listens.");
        assert_eq!(sentence("pbx.example ends."), "pbx.example ends.");
        assert_eq!(sentence(""), "");
    }
}
