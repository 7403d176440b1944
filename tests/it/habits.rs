//! Rules of the house that are worth having are run, not remembered.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::ranks::ranks;
use crate::source::{files, project, sources};

/// Who may look at a clock below rank 7, and why.
const CLOCK_READERS: [(&str, &str); 1] = [("clock", "it is the clock")];

#[test]
fn below_rank_7_nobody_reads_a_clock() {
    let ranks = ranks();
    let mut wrong = Vec::new();
    for source in sources() {
        let low = ranks.get(&source.module).is_some_and(|rank| *rank < 7);
        if low && !CLOCK_READERS.iter().any(|(module, _)| *module == source.module) {
            for word in ["Timestamp::now", "SystemTime::now", "Zoned::now", "Instant::now"] {
                if source.code.contains(word) {
                    wrong.push(format!("src/{} calls {word}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "`now` is an argument there:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_prints() {
    let mut wrong = Vec::new();
    for source in sources() {
        for word in ["print!", "println!", "eprint!", "eprintln!", "dbg!"] {
            if source.module != "cli" && calls(&source.code, word) {
                wrong.push(format!("src/{} calls {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn calls(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_')
    })
}

/// Files that may be longer, and why.
const LONG_FILES: [(&str, &str); 2] = [
    ("cert.rs", "plain types, a third of it documentation"),
    ("state.rs", "plain types, half of it documentation"),
];

#[test]
fn a_file_is_at_home_under_400_lines() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines >= 400)
        .filter(|source| !LONG_FILES.iter().any(|(path, _)| source.path == Path::new(path)))
        .map(|source| format!("src/{}: {} lines", source.path.display(), source.lines))
        .collect();
    assert!(long.is_empty(), "tests not counted; split foo.rs + foo/:\n{}", long.join("\n"));
}

#[test]
fn every_text_ends_with_a_line_break_and_leaves_nothing_for_later() {
    // Spelled apart, so that this file may stand here.
    let later = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X ")];
    let mut wrong = Vec::new();
    for path in files() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(project()).expect("it is below").display();
        if !text.is_empty() && !text.ends_with('\n') {
            wrong.push(format!("{name} does not end with a line break"));
        }
        for word in later {
            if text.contains(word) {
                wrong.push(format!("{name} says {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_hook_says_in_its_head_what_an_administrator_asks() {
    let mut seen = 0;
    for hook in files().iter().filter(|path| path.parent() == Some(&project().join("hooks"))) {
        let text = std::fs::read_to_string(hook).unwrap();
        let head: Vec<&str> = text.lines().take_while(|l| l.starts_with('#')).collect();
        let head = head.join("\n");
        for word in [
            "#!/bin/sh\n",
            "PBXCERT_EVENT",
            "# Usage:",
            "# Environment:",
            "# Exit codes:",
            "# Privileges:",
            "# Drops:",
            "# Never:",
            "# Sources:",
        ] {
            assert!(head.contains(word), "the head of {} lacks {word:?}", hook.display());
        }
        assert!(is_executable(hook), "{} cannot be run", hook.display());
        seen += 1;
    }
    assert!(seen >= 2, "only {seen} hooks");
}

#[test]
fn every_script_can_be_run() {
    for path in files() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if text.starts_with("#!/") {
            assert!(is_executable(&path), "{} cannot be run", path.display());
        }
    }
}

#[test]
fn what_a_visitor_looks_for_is_there() {
    for name in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "deny.toml"] {
        let text = std::fs::read_to_string(project().join(name)).unwrap_or_default();
        assert!(text.len() > 200, "{name} is missing or nearly empty");
    }
    let readme = std::fs::read_to_string(project().join("README.md")).unwrap();
    for said in ["./demo", "./test", "MIT", "Apache-2.0"] {
        assert!(readme.contains(said), "README.md does not say {said}");
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().unwrap().permissions().mode() & 0o111 == 0o111
}
