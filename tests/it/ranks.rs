//! A module imports only lower ranks. The ranks are those of the map in `src/lib.rs`, so that the
//! map and this test cannot say different things.

use std::collections::BTreeMap;
use std::path::Path;

use crate::source::{Source, project, sources};

#[test]
fn a_module_imports_only_lower_ranks() {
    let ranks = ranks();
    let wrong: Vec<String> =
        sources().iter().flat_map(|source| wrong_imports(source, &ranks)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_map_and_the_folder_name_the_same_modules() {
    let mapped: Vec<String> = ranks().into_keys().collect();
    let mut there: Vec<String> = sources().into_iter().map(|s| s.module).collect();
    there.retain(|module| module != "lib" && module != "main");
    there.sort();
    there.dedup();
    assert_eq!(mapped, there);
}

/// Rank of each module in the first table of `src/lib.rs`'s documentation.
pub fn ranks() -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(project().join("src/lib.rs")).unwrap();
    let table = text.split("//! ```text\n").nth(1).expect("the map is a text block");
    let table = table.split("//! ```").next().expect("a split has a first part");
    let mut ranks = BTreeMap::new();
    let mut rank = None;
    for line in table.lines().skip(1) {
        // Rank in four columns, where it changes; then the module; an indented line goes on.
        let line = line.strip_prefix("//! ").unwrap_or_default();
        let (number, row) = line.split_at_checked(5).unwrap_or_default();
        rank = number.trim().parse().ok().or(rank);
        let module: String = row.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !module.is_empty() {
            ranks.insert(module, rank.expect("the first row has a rank"));
        }
    }
    assert!(ranks.len() > 15, "the map is not read: {ranks:?}");
    ranks
}

fn wrong_imports(source: &Source, ranks: &BTreeMap<String, u32>) -> Vec<String> {
    // The program's start and the map itself stand above all.
    if source.module == "main" || source.module == "lib" {
        return Vec::new();
    }
    let Some(own) = ranks.get(&source.module) else {
        return vec![format!("src/{} has no rank in src/lib.rs", source.path.display())];
    };
    imports(&source.code, depth(&source.path))
        .into_iter()
        .filter(|module| *module != source.module)
        .filter_map(|module| match ranks.get(&module) {
            Some(rank) if rank < own => None,
            Some(rank) => Some(format!(
                "src/{} (rank {own}) imports crate::{module} (rank {rank})",
                source.path.display()
            )),
            None => Some(format!(
                "src/{} imports crate::{module}, which has no rank",
                source.path.display()
            )),
        })
        .collect()
}

/// How many `super::` lead from a file to the crate's root: 1 from `acme.rs`, 2 from `acme/jws.rs`.
fn depth(path: &Path) -> usize {
    path.components().count()
}

/// Top-level modules that the code names through `crate::`, or through enough `super::`.
fn imports(code: &str, depth: usize) -> Vec<String> {
    let root = "super::".repeat(depth);
    let mut found = Vec::new();
    for way in ["crate::", root.as_str()] {
        for (at, _) in code.match_indices(way) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':' && c != '$') {
                found.extend(first_names(&code[at + way.len()..]));
            }
        }
    }
    found
}

/// `a` of `a::b`; `a` and `b` of `{a::c, b}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        let first = name(path);
        // `crate::*` would be every module.
        return vec![if first.is_empty() { "*".into() } else { first }];
    };
    let mut names = vec![name(group)];
    let mut depth = 1;
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(name(&group[i + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn an_upward_and_a_sideways_import_are_found() {
    let ranks =
        BTreeMap::from([("a".into(), 5), ("b".into(), 5), ("c".into(), 4), ("d".into(), 7)]);
    for (code, wrong) in [
        ("use crate::c; fn f() { crate::c::g() }", 0),
        ("use crate::a::x; pub(crate) fn f() {}", 0),
        ("use crate::d::x;", 1),
        ("use crate::b;", 1),
        ("use crate::{c::{b, d}, b::x};", 1),
        ("use crate::{\n    c,\n    d::{self, y},\n};", 1),
        ("use crate::*;", 1),
        ("use super::super::d;", 1),
        ("use super::d;", 0),
        ("fn f() -> crate::unknown::X { crate::d::g() }", 2),
    ] {
        let source =
            Source { path: "a/part.rs".into(), module: "a".into(), code: code.into(), lines: 1 };
        assert_eq!(wrong_imports(&source, &ranks).len(), wrong, "{code}");
    }
}
