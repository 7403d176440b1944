//! Licences and sources of what we depend on, and nothing that was banned. `deny.toml` says the
//! same to those who have cargo-deny; its list of licences is the one that is read here.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::source::project;

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let allowed = listed("licenses", "allow");
    let wrong: Vec<String> = packages()
        .iter()
        .filter(|p| !is_allowed(p["license"].as_str().unwrap_or("none"), &allowed))
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    assert!(wrong.is_empty(), "not allowed by deny.toml:\n{}", wrong.join("\n"));
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let elsewhere: Vec<String> = packages()
        .iter()
        .filter(|p| p["name"] != "pbxcert")
        .filter(|p| {
            let source = p["source"].as_str().unwrap_or_default();
            !(source.starts_with("registry+") && source.ends_with("/crates.io-index"))
        })
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["source"]))
        .collect();
    assert!(elsewhere.is_empty(), "{}", elsewhere.join("\n"));
}

/// One provider of cryptography, and none in C that the system would have to bring.
#[test]
fn nothing_banned_is_built() {
    let banned = listed("bans", "deny");
    assert!(banned.contains("ring"), "deny.toml is not read: {banned:?}");
    let built = cargo(&["tree", "--prefix", "none", "--edges", "all", "--format", "{p}"]);
    let built: BTreeSet<&str> = built.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(built.contains("rustls"), "the tree is not read");
    for name in banned {
        assert!(!built.contains(&*name), "{name} is built: cargo tree -i {name}");
    }
}

/// A list of `deny.toml`: its words, or the `crate` of its tables.
fn listed(section: &str, key: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(project().join("deny.toml")).unwrap();
    let document = DeValue::Table(DeTable::parse(&text).unwrap().into_inner());
    let section = document.get(section).expect("deny.toml has the section").get_ref();
    let list = section.get(key).expect("the section has the list").get_ref();
    let list = list.as_array().expect("it is a list");
    list.iter()
        .map(|entry| entry.get_ref())
        .map(|entry| entry.get("crate").map_or(entry, |name| name.get_ref()))
        .map(|name| name.as_str().expect("it is a word").to_owned())
        .collect()
}

fn packages() -> Vec<Value> {
    // Of other systems' crates not even the sources need be here.
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|l| l.strip_prefix("host: ")).expect("rustc has a host");
    let metadata = cargo(&["metadata", "--format-version", "1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().expect("there are packages").clone();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).arg("--locked").current_dir(project());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether an SPDX expression can be met with allowed licences; `/` is the old way to write `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any(&words, &mut at, allowed);
    met && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at, allowed);
    }
    met
}

fn all(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return met && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        // An exception only permits more.
        *at += 2;
    }
    allowed.contains(*word)
}

#[test]
fn an_expression_is_met_by_what_it_asks_for() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "ISC".to_owned()]);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("ISC AND (MIT OR GPL-3.0)", true),
        ("ISC AND (GPL-2.0 OR GPL-3.0)", false),
        ("MIT WITH LLVM-exception", true),
        ("(MIT", false),
        ("none", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), met, "{expression}");
    }
}
