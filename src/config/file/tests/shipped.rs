//! Every configuration that is shipped, and texts that are not.

use proptest::prelude::*;
use toml::de::{DeTable, DeValue};

use super::super::keys::SECTIONS;
use super::*;

const REFERENCE: &str = include_str!("../../../../config/pbxcert.toml");

/// The text with every commented setting switched on.
fn switched_on(text: &str) -> String {
    let switch = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || "[]".contains(c)) => {
            rest.to_owned()
        }
        Some(rest) if rest.starts_with("  {") || rest.starts_with("  \"") => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(switch).collect::<Vec<_>>().join("\n")
}

/// The tables of the reference by the title of their section, with the keys that stand in them.
fn keys_in(text: &str) -> Vec<(&'static str, String)> {
    fn tables<'t>(value: &'t DeValue<'t>) -> Vec<&'t DeTable<'t>> {
        match value {
            DeValue::Table(table) => vec![table],
            DeValue::Array(array) => array.iter().flat_map(|v| tables(v.get_ref())).collect(),
            _ => Vec::new(),
        }
    }
    let under =
        |table: &DeTable<'_>, key: &str, titled: &'static str| -> Vec<(&'static str, String)> {
            let found = table.get(key).map(|v| tables(v.get_ref())).unwrap_or_default();
            found.iter().flat_map(|t| t.keys()).map(|k| (titled, k.get_ref().to_string())).collect()
        };
    let root = DeTable::parse(text).unwrap();
    let root = root.get_ref();
    let mut keys: Vec<(&'static str, String)> =
        root.keys().map(|k| (SECTIONS[0].title, k.get_ref().to_string())).collect();
    for (key, title) in [
        ("acme", "[acme]"),
        ("defaults", "[defaults]"),
        ("certificate", "[[certificate]]"),
        ("service", "[[service]]"),
        ("trunk", "[[trunk]]"),
        ("ignore", "[[ignore]]"),
    ] {
        keys.extend(under(root, key, title));
    }
    for (key, title) in [("issuer", "[issuer.NAME]"), ("challenge", "[challenge.NAME]")] {
        for (_, table) in root.get(key).unwrap().get_ref().as_table().unwrap() {
            for table in tables(table.get_ref()) {
                keys.extend(table.keys().map(|k| (title, k.get_ref().to_string())));
                keys.extend(under(table, "eab", "eab"));
                keys.extend(under(table, "http-01", "http-01"));
            }
        }
    }
    for alerts in root.get("alerts").map(|v| tables(v.get_ref())).unwrap_or_default() {
        keys.extend(alerts.keys().map(|k| ("[alerts]", k.get_ref().to_string())));
        for channel in ["email", "webhook", "command", "syslog", "journal", "sip"] {
            keys.extend(under(alerts, channel, channel));
        }
    }
    for check in root.get("check").map(|v| tables(v.get_ref())).unwrap_or_default() {
        keys.extend(check.keys().map(|k| ("[check]", k.get_ref().to_string())));
        keys.extend(under(check, "limits", "limits"));
    }
    for table in tables(root.get("service").unwrap().get_ref()) {
        keys.extend(under(table, "target", "target"));
        keys.extend(under(table, "endpoint", "endpoint"));
    }
    keys
}

#[test]
fn every_shipped_example_is_sound_as_it_is_and_switched_on() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut seen = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        // The table of phones is no configuration; its own test reads it.
        let is_table = path.ends_with("compatibility.toml");
        if !is_table && path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            for text in [switched_on(&text), text] {
                // `kamailio.toml` shows two ways to write one key.
                let text = text.replacen(
                    "endpoint = [\"sips://127.0.0.1:5061\"]\nendpoint",
                    "endpoint",
                    1,
                );
                let loaded = parse(&path, &text);
                assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn the_reference_shows_every_key_that_is_built_and_no_other() {
    let shown = keys_in(&switched_on(REFERENCE));
    for section in SECTIONS.iter().filter(|s| s.title != "[defaults]") {
        for key in section.keys {
            // [acme] and [issuer.NAME] take the same keys: each is shown in one of them.
            let at_home = |title: &str| match section.title {
                "[acme]" | "[issuer.NAME]" => title == "[acme]" || title == "[issuer.NAME]",
                own => title == own,
            };
            assert!(
                shown.iter().any(|(t, k)| at_home(t) && k == key),
                "{key} of {}",
                section.title
            );
        }
    }
    assert!(shown.iter().any(|(title, _)| *title == "[defaults]"));
}

#[test]
fn the_reference_names_the_defaults_as_they_are() {
    let reference = config(&switched_on(REFERENCE));
    let plain = config(REFERENCE);
    assert_eq!(reference.state_dir, plain.state_dir);
    assert_eq!(reference.mode, plain.mode);
    assert_eq!(reference.unsynchronised, plain.unsynchronised);
    assert_eq!(reference.issuers["acme"].rehearsal, plain.issuers["acme"].rehearsal);
    assert_eq!(reference.certificates[0].key, plain.certificates[0].key);
    assert_eq!(reference.certificates[0].min_age, plain.certificates[0].min_age);
    let mut written = reference.services[0].clone();
    // Otherwise the same: who writes it says that it is used.
    written.endpoints.iter_mut().for_each(|endpoint| endpoint.usual = true);
    assert_eq!(written, plain.services[0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_text_is_a_panic(text in "\\PC{0,200}", lines in prop::collection::vec("[\\[\\]a-z=\"{}, #.0-9\\n-]{0,40}", 0..12)) {
        let _ = read(&text);
        let _ = read(&lines.join("\n"));
    }

    #[test]
    fn a_changed_reference_is_no_panic_and_never_an_empty_list_of_problems(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, any::<u8>()), 1..5)
    ) {
        let mut bytes = switched_on(REFERENCE).into_bytes();
        for (at, take, put) in changes {
            let at = at.index(bytes.len());
            let end = (at + take).min(bytes.len());
            bytes.splice(at..end, [put % 128]);
        }
        if let Err(problems) = read(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(!problems.list.is_empty());
            for problem in &problems.list {
                prop_assert!(!problem.text.contains("cannot be understood"), "{problem}");
            }
        }
    }
}
