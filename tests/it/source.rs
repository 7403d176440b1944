//! The project's own files, read as text.

use std::path::{Path, PathBuf};

/// A Rust file of `src`.
#[derive(Debug)]
pub struct Source {
    /// Relative to `src`: `acme/jws.rs`.
    pub path: PathBuf,
    /// The module it belongs to at the top level: `acme`, `lib`, `main`.
    pub module: String,
    /// What is compiled into the program: no comments, no strings' contents, no tests. Lines stay
    /// where they are, as far as they stay.
    pub code: String,
    /// How many lines are not tests.
    pub lines: usize,
}

/// Every Rust file of `src` that is not a file of tests.
pub fn sources() -> Vec<Source> {
    let root = project().join("src");
    let mut found: Vec<Source> = files_below(&root)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| path.strip_prefix(&root).expect("it is below").to_owned())
        .filter(|path| !path.components().any(|c| c.as_os_str() == "tests"))
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| Source::read(&root, path))
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "src has more files than {}", found.len());
    found
}

impl Source {
    fn read(root: &Path, path: PathBuf) -> Self {
        let text = std::fs::read_to_string(root.join(&path)).expect("source is readable UTF-8");
        let code = without_tests(&without_comments_and_strings(&text));
        let first = path.components().next().expect("a file has a name");
        let module = Path::new(first.as_os_str()).with_extension("").display().to_string();
        let lines = code.lines().count();
        Self { path, module, code, lines }
    }
}

/// Every file of the project that is not made by a build.
pub fn files() -> Vec<PathBuf> {
    files_below(&project())
}

/// The folder with `Cargo.toml`.
pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
        let entry = entry.expect("its entry can be read");
        let kind = entry.file_type().expect("an entry has a type");
        let name = entry.file_name();
        if kind.is_dir() && name != "target" && name != ".git" {
            found.extend(files_below(&entry.path()));
        } else if kind.is_file() && name != ".git" {
            found.push(entry.path());
        }
    }
    found
}

/// The same text with comments and the contents of literals left out, line breaks kept.
pub fn without_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped_from(&chars, at);
        if end > at {
            kept.extend(chars[at..end].iter().filter(|c| **c == '\n'));
            at = end;
        } else {
            kept.push(chars[at]);
            at += 1;
        }
    }
    kept
}

/// Where the comment or literal that begins at `at` ends; `at` when none does.
fn skipped_from(chars: &[char], at: usize) -> usize {
    let next = |n: usize| chars.get(at + n).copied();
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next(1) == Some('/') => find(chars, at, |c, i| c[i] == '\n'),
        '/' if next(1) == Some('*') => end_of_block_comment(chars, at),
        '"' => end_of_string(chars, at + 1),
        'r' if !after_word || (at > 0 && chars[at - 1] == 'b') => end_of_raw_string(chars, at),
        // A character; a lifetime has no quote after its first letter.
        '\'' if next(1) == Some('\\') => find(chars, at + 3, |c, i| c[i] == '\'') + 1,
        '\'' if next(2) == Some('\'') => at + 3,
        _ => at,
    }
}

fn end_of_block_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn end_of_string(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn end_of_raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let closes = |c: &[char], i: usize| {
        c[i] == '"' && c[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    find(chars, at + 2 + hashes, closes) + 1 + hashes
}

fn find(chars: &[char], from: usize, is_it: impl Fn(&[char], usize) -> bool) -> usize {
    (from..chars.len()).find(|i| is_it(chars, *i)).unwrap_or(chars.len())
}

/// The same code without items marked `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        let begin = rest.find(['{', ';']).map_or(rest.len(), |i| i + 1);
        rest =
            if rest[..begin].ends_with('{') { after_block(&rest[begin..]) } else { &rest[begin..] };
    }
    kept.push_str(rest);
    kept
}

/// What follows the block whose `{` was just passed.
fn after_block(code: &str) -> &str {
    let mut depth = 1;
    for (i, c) in code.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 {
            return &code[i + 1..];
        }
    }
    ""
}

#[test]
fn comments_strings_and_tests_are_no_code() {
    let text = r##"
// crate::a
/* crate::b /* nested */ crate::b */
let x = "crate::c \" crate::c"; let y = r#"crate::d " "#; let z = b'"'; let q = '\'';
fn f<'a>(x: &'a str) { crate::kept::it(x) }
#[cfg(test)]
mod tests { fn g() { crate::e::f() } }
use crate::kept_too;
"##;
    let code = without_tests(&without_comments_and_strings(text));
    assert_eq!(code.matches("crate::").count(), 2, "{code}");
    assert!(code.contains("crate::kept::it") && code.contains("crate::kept_too"), "{code}");
}
