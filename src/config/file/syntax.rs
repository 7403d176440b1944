//! TOML that goes on after a mistake, so that one missing quote does not hide everything else.
//!
//! The parser recovers from many mistakes itself, but gives up on the rest of the file after
//! some, and invents values after others. Here the line of each mistake is blanked (every byte
//! after it keeps its place) and the text is parsed again, until what is left is sound.

use toml::de::DeTable;

/// More mistakes than this in one file are not looked for.
const MOST: usize = 20;

/// How far above the place where the parser stumbled the real mistake is looked for.
const LINES_ABOVE: usize = 12;

/// Larger texts are not searched for the real mistake: each candidate costs one more parse.
const MOST_SEARCHED: usize = 64 << 10;

/// A text and what is sound of it.
#[derive(Debug)]
pub(super) struct Syntax {
    /// The text with the mistaken lines blanked, of the same length.
    pub(super) sound: String,
    /// The mistakes: where, and what.
    pub(super) mistakes: Vec<(usize, String)>,
    /// Keys that stood on blanked lines: nobody may call them missing.
    pub(super) lost_keys: Vec<(usize, String)>,
    /// Whole tables were lost: nobody may call what they defined unknown.
    pub(super) lost_tables: bool,
}

impl Syntax {
    /// Reads a text as far as it is sound.
    pub(super) fn of(text: &str) -> Self {
        let mut syntax = Self {
            sound: text.to_owned(),
            mistakes: Vec::new(),
            lost_keys: Vec::new(),
            lost_tables: false,
        };
        for _ in 0..MOST {
            let errors = errors(&syntax.sound);
            let Some(error) = errors.iter().find(|e| !is_duplicate_key(&syntax.sound, e)) else {
                syntax.note_duplicate_keys(errors);
                return syntax;
            };
            syntax.mend(error.0, &error.1);
        }
        // Too broken: what is left says nothing.
        if let Some((_, text)) = syntax.mistakes.last_mut() {
            text.push_str(" (and there is more further down: mend these first)");
        }
        syntax.sound = String::new();
        syntax.lost_tables = true;
        syntax
    }

    fn mend(&mut self, at: usize, message: &str) {
        let at = at.min(self.sound.len());
        let line = line_start(&self.sound, at);
        let culprit = culprit(&self.sound, line);
        if culprit == line && header(line_of(&self.sound, line)).is_some() {
            self.mend_header(line, at, message);
            return;
        }
        let (at, text) = if culprit == line {
            (at, format!("not TOML: {message}"))
        } else {
            (culprit, format!("not TOML: what begins here does not end: {message}"))
        };
        if let Some(key) = leading_key(line_of(&self.sound, culprit)) {
            self.lost_keys.push((culprit, key));
        }
        self.mistakes.push((at, text));
        let end = culprit + line_of(&self.sound, culprit).len();
        // A line that was blanked already means the parser stumbles over its own end.
        if line_of(&self.sound, culprit).trim().is_empty() {
            self.sound = String::new();
            self.lost_tables = true;
        } else {
            blank(&mut self.sound, culprit, end);
        }
    }

    /// A header that is wrong takes its table along, else its keys would fall to the one above.
    fn mend_header(&mut self, line: usize, at: usize, message: &str) {
        let written = header(line_of(&self.sound, line)).unwrap_or_default().to_owned();
        let first = headers(&self.sound)
            .find(|start| *start < line && header(line_of(&self.sound, *start)) == Some(&written));
        let text = match first {
            Some(first) if message == "duplicate key" => format!(
                "{written} stands twice, first in line {}; put its keys into one",
                1 + self.sound[..first].matches('\n').count()
            ),
            _ => format!("not TOML: {message}"),
        };
        self.mistakes.push((at, text));
        self.lost_tables = true;
        let end = section_end(&self.sound, line);
        blank(&mut self.sound, line, end);
    }

    fn note_duplicate_keys(&mut self, errors: Vec<(usize, String)>) {
        for (at, _) in errors {
            let key = leading_key(&self.sound[at..]).unwrap_or_default();
            let text = format!("{key:?} stands twice in one table; keep one");
            self.mistakes.push((at, text));
        }
    }
}

/// Offsets and messages of what the parser says, in the order of the text.
fn errors(text: &str) -> Vec<(usize, String)> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let place = |e: &toml::de::Error| {
        let at = e.span().map_or(0, |s| s.start).min(text.len());
        (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
    };
    let mut errors: Vec<_> = errors.iter().map(|e| (place(e), e.message().to_owned())).collect();
    errors.sort();
    errors
}

/// Whether a mistake is one from which the parser recovers by keeping the first value.
fn is_duplicate_key(text: &str, (at, message): &(usize, String)) -> bool {
    message == "duplicate key" && header(line_of(text, line_start(text, *at))).is_none()
}

/// The line to blame: the one, here or a little above, without which the parser gets furthest.
fn culprit(text: &str, line: usize) -> usize {
    let mut best = (0, line);
    let mut start = line;
    if text.len() > MOST_SEARCHED {
        return line;
    }
    for _ in 0..LINES_ABOVE {
        let candidate = line_of(text, start);
        if start == line || (candidate.contains('=') && leading_key(candidate).is_some()) {
            let mut without = text.to_owned();
            let end = match header(candidate) {
                Some(_) => section_end(text, start),
                None => start + candidate.len(),
            };
            blank(&mut without, start, end);
            let reached = errors(&without)
                .iter()
                .find(|e| !is_duplicate_key(&without, e))
                .map_or(usize::MAX, |(at, _)| *at);
            if reached > best.0 {
                best = (reached, start);
            }
        }
        if best.0 == usize::MAX || start == 0 {
            break;
        }
        start = line_start(text, start - 1);
    }
    best.1
}

/// Offsets of the lines that are headers of tables.
pub(super) fn headers(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.split_inclusive('\n')
        .scan(0, |offset, line| {
            let start = *offset;
            *offset += line.len();
            Some((start, line))
        })
        .filter(|(_, line)| header(line).is_some())
        .map(|(start, _)| start)
}

/// Where the table that begins at `start` ends.
fn section_end(text: &str, start: usize) -> usize {
    headers(text).find(|next| *next > start).unwrap_or(text.len())
}

/// `[table]` or `[[table]]` as written, when a line begins like one.
fn header(line: &str) -> Option<&str> {
    let line = line.trim();
    let name = line.strip_prefix("[[").or_else(|| line.strip_prefix('['))?;
    name.trim_start().starts_with(|c: char| c.is_ascii_alphanumeric()).then_some(())?;
    let end = line.rfind(']').map_or(line.len(), |i| i + 1);
    Some(&line[..end])
}

/// The bare key that a line begins with.
fn leading_key(line: &str) -> Option<String> {
    let key: String = line
        .trim_start_matches(['\u{feff}', ' ', '\t'])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    (!key.is_empty()).then_some(key)
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |i| i + 1)
}

/// The line that starts at `start`, without its end.
fn line_of(text: &str, start: usize) -> &str {
    text[start..].split('\n').next().unwrap_or_default()
}

/// Overwrites a range with spaces; lines stay where they are.
fn blank(text: &mut String, from: usize, to: usize) {
    let blanked: String = text[from..to]
        .bytes()
        .map(|b| if matches!(b, b'\n' | b'\r') { char::from(b) } else { ' ' })
        .collect();
    text.replace_range(from..to, &blanked);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<usize> {
        let syntax = Syntax::of(text);
        assert_eq!(syntax.sound.len(), text.len());
        syntax.mistakes.iter().map(|(at, _)| 1 + text[..*at].matches('\n').count()).collect()
    }

    #[test]
    fn each_mistake_is_told_once_in_its_line() {
        for (text, lines) in [
            ("a = 1\nb = 2\n", vec![]),
            ("a = \n[b]\nc = 1\n", vec![1]),
            ("foo bar\n[b]\nc == 1\n", vec![1, 3]),
            ("name = \"abc\nx = 1\n", vec![1]),
            ("x = [1,\n[b]\nc = 2\n", vec![1]),
            ("x = { a = 1\ny = 1\n[b]\nc = 1\n", vec![1]),
            ("x = [\n  1,\n  b,\n  3,\n]\n", vec![3]),
            ("a = 1\na = 2\n", vec![2]),
            ("a = 1\na = [\n2]\n", vec![2]),
            ("[a]\nx = 1\n[a]\nx = 2\n[b]\n", vec![3]),
            ("[a\nx = 1\n[b]\nx = 2\n", vec![1]),
            ("ü = 1\nü ö\nx = tru\n", vec![2, 1, 3]),
        ] {
            let mut found = mistakes(text);
            let mut lines = lines;
            found.sort_unstable();
            lines.sort_unstable();
            assert_eq!(found, lines, "{text:?}");
        }
    }

    #[test]
    fn many_mistakes_side_by_side_are_told_apart() {
        let text = "[acme]\ndirectory = letsencrypt\ncontact = [\n  \"a@b.de\"\n  \"c@b.de\",\n]\n\n\
                    [[certificate]]\nname = \"pbx\nnames = [\"b.de\", 'a.b.de]\nkey \"rsa-2048\"\n\
                    [[service]]\nkind: \"nginx\"\nendpoint = { url = none }\n";
        assert_eq!(mistakes(text), [2, 5, 9, 10, 11, 13, 14]);
        let hopeless = Syntax::of(&"x y\n".repeat(50));
        assert_eq!(hopeless.mistakes.len(), MOST);
        assert!(hopeless.mistakes[MOST - 1].1.contains("more further down"));
        assert!(hopeless.lost_tables);
    }

    #[test]
    fn what_follows_a_mistake_is_still_read() {
        let syntax = Syntax::of("foo bar\n[b]\nc = 1\n");
        let table = DeTable::parse(&syntax.sound).unwrap();
        assert!(table.get_ref().contains_key("b"));
        assert_eq!(syntax.lost_keys, [(0, "foo".to_owned())]);
        assert!(!syntax.lost_tables);
    }
}
