//! Texts that no channel can be hurt by: what a CA or a hook said may hold anything.

use crate::state::alert::Message;

/// Longest body that goes out anywhere, in bytes. A screen holds a thirtieth.
pub(super) const MOST: usize = 64 * 1024;

/// Longest subject, in bytes: 80 characters, and room for those of other scripts.
const MOST_SUBJECT: usize = 320;

/// What stands at the end of a text that was cut.
const NOTE: &str = "\n[shortened]";

/// The subject as one line.
pub(super) fn subject(message: &Message) -> String {
    line(&message.subject, MOST_SUBJECT)
}

/// One line of at most `most` bytes: no control characters, no run of spaces.
pub(super) fn line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for character in text.chars() {
        let character = if breaks(character) { ' ' } else { character };
        if character == ' ' && (line.is_empty() || line.ends_with(' ')) {
            continue;
        }
        if line.len() + character.len_utf8() + '…'.len_utf8() > most {
            line.truncate(line.trim_end().len());
            line.push('…');
            return line;
        }
        line.push(character);
    }
    line.truncate(line.trim_end().len());
    line
}

/// Lines of together at most `most` bytes: of the control characters only line feeds are left, and
/// tabs as spaces; the others are shown as U+FFFD.
pub(super) fn plain(text: &str, most: usize) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        let character = match character {
            '\r' => continue,
            '\n' => '\n',
            '\t' => ' ',
            c if breaks(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if plain.len() + character.len_utf8() > most {
            while plain.len() + NOTE.len() > most && plain.pop().is_some() {}
            plain.push_str(NOTE);
            return plain;
        }
        plain.push(character);
    }
    plain
}

/// What is wrong, in its first sentence, and the first thing that can be done about it.
pub(super) fn brief(body: &str, most: usize) -> String {
    let first = body.lines().next().unwrap_or_default();
    let end = first.find(". ").map_or(first.len(), |at| at + 1);
    let way = body.lines().find_map(|text| {
        let way = text.strip_prefix("(1) ").or_else(|| text.strip_prefix("What to do: "))?;
        Some(line(&format!("Do: {way}"), most / 2))
    });
    let room = most - way.as_ref().map_or(0, |way| way.len() + 1);
    let first = line(&first[..end], room);
    [Some(first), way].into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Control characters, other line ends, and characters that turn around the order of those after
/// them.
fn breaks(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// The name of a file that goes along: nothing but letters, digits, `.`, `-` and `_`.
pub(super) fn file_name(name: &str) -> String {
    let fit = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = name.chars().take(80).map(|c| if fit(c) { c } else { '_' }).collect();
    if name.trim_matches('.').is_empty() { "attachment.txt".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        assert_eq!(line("a\r\nBcc: b@c.de\0\u{1b}[2J\tx  y ", 99), "a Bcc: b@c.de [2J x y");
        assert_eq!(line("\u{202e}abc\u{2028}d", 99), "abc d");
        assert_eq!(line("äöü", 99), "äöü");
        assert_eq!(line("äöüäöü", 9), "äöü…");
        assert!(line(&"x ".repeat(10_000_000), 80).len() <= 80);
    }

    #[test]
    fn lines_stay_lines_and_end_with_a_note() {
        assert_eq!(plain("a\r\nb\tc\u{1b}[2Jd\n", 99), "a\nb c\u{fffd}[2Jd\n");
        let cut = plain(&"é".repeat(5_000_000), 1001);
        assert!(cut.len() <= 1001 && cut.ends_with("é\n[shortened]"), "{}", cut.len());
    }

    #[test]
    fn in_brief_it_is_what_is_wrong_and_one_thing_to_do() {
        let body = "Nobody gets in. 9 tries since.\n\nIf nobody does anything: x.\n\nDo one of:\n\
                    (1) open port 80; check: pbxcert preflight\n(2) upload\n\n-- \nsite";
        assert_eq!(brief(body, 380), "Nobody gets in.\nDo: open port 80; check: pbxcert preflight");
        assert_eq!(brief("Gone.\n\nWhat to do: look", 99), "Gone.\nDo: look");
        assert_eq!(brief("over\n\n-- \nsite", 99), "over");
        let long = format!("{}\n\nWhat to do: {}", "é".repeat(9999), "ü".repeat(9999));
        assert!(brief(&long, 380).len() <= 380, "{}", brief(&long, 380).len());
        assert!(brief(&long, 380).contains("\nDo: üü"));
    }

    #[test]
    fn a_file_name_leads_nowhere() {
        assert_eq!(file_name("pbx.csr"), "pbx.csr");
        assert_eq!(file_name("../../etc/pass wd\r\n"), ".._.._etc_pass_wd__");
        assert_eq!(file_name(".."), "attachment.txt");
        assert_eq!(file_name(""), "attachment.txt");
    }
}
