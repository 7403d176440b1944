//! What phones and trunks accept: `config/compatibility.toml`, which is built in.

use serde::Deserialize;

const TABLE: &str = include_str!("../../config/compatibility.toml");

/// What one family of phones or peers accepts. What is not known is not in the way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Family {
    /// As in `clients`.
    pub name: String,
    /// For people.
    pub title: String,
    /// Kinds of key (`rsa`, `ecdsa`) that it takes; empty: all.
    #[serde(default)]
    pub key: Vec<String>,
    /// It looks at the common name.
    #[serde(default)]
    pub common_name: bool,
    /// Whether it accepts wildcards, if known.
    pub wildcard: Option<bool>,
    /// The SIP domain must be a name of the certificate (RFC 5922).
    #[serde(default)]
    pub sip_domain: bool,
    /// Words in the names of the roots that it trusts; empty: not known.
    #[serde(default)]
    pub roots: Vec<String>,
    /// It has no clock just after power-up.
    #[serde(default)]
    pub no_clock: bool,
    /// It asks for a certificate of ours that is good for clients.
    #[serde(default)]
    pub client_auth: bool,
    /// TLS versions it speaks; empty: not known.
    #[serde(default)]
    pub tls: Vec<String>,
    /// Where that was read.
    pub source: String,
}

#[derive(Deserialize)]
struct Table {
    family: Vec<Family>,
}

/// Every family, in the order of the table.
pub fn families() -> Vec<Family> {
    // A test reads it: what is built in is sound.
    toml::from_str::<Table>(TABLE).map(|table| table.family).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_is_built_in_is_sound() {
        let table: Table = toml::from_str(TABLE).unwrap();
        assert!(table.family.len() > 10);
        let names: Vec<&str> = table.family.iter().map(|f| f.name.as_str()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "in order, each once: {names:?}");
        for family in &table.family {
            assert!(family.key.iter().all(|k| ["rsa", "ecdsa"].contains(&k.as_str())));
            assert!(family.source.len() > 10, "{} has no source", family.name);
        }
    }
}
