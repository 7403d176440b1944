//! The keys of `[[service]]` that say who connects to it.

use super::keys;
use super::walk::{At, Read, Table, Value, Walk};
use crate::cert::Identifier;
use crate::config::compatibility::{Family, families};

/// What stands in the table.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) families: Vec<Family>,
    pub(super) sip_domains: Vec<Identifier>,
    pub(super) strict: bool,
}

/// Reads the keys of one service, or of `[defaults]` for their own sake.
pub(super) fn read<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Clients> {
    let families = walk.optional(table, "clients", chosen);
    let sip_domains = walk.optional(table, "sip-domain", domains);
    let strict = walk.optional(table, "strict-lint", Walk::bool);
    Ok(Clients {
        families: families?.unwrap_or_default(),
        sip_domains: sip_domains?.unwrap_or_default(),
        strict: strict?.unwrap_or_default(),
    })
}

fn chosen<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<Family>> {
    let known = families();
    let mut chosen = Vec::new();
    for At { at, it } in walk.strings(value)? {
        let Some(family) = known.iter().find(|family| family.name == it) else {
            let names = known.iter().map(|family| family.name.as_str());
            let hint = match keys::nearest(&it, names) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "config/compatibility.toml lists those that are known".to_owned(),
            };
            return Err(walk.problem(at, format!("unknown clients {it:?}; {hint}")));
        };
        chosen.push(family.clone());
    }
    Ok(chosen)
}

fn domains<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<Identifier>> {
    let mut domains = Vec::new();
    for At { at, it } in walk.strings(value)? {
        match it.parse() {
            Ok(domain) => domains.push(domain),
            Err(e) => return Err(walk.problem(at, format!("{e}"))),
        }
    }
    Ok(domains)
}
