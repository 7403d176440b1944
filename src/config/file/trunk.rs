//! `[[trunk]]`: peers that we call over TLS.

use super::walk::{At, Declared, Read, Reported, Table, Walk, listed};
use super::{endpoint, issuer, keys};
use crate::config::{CertSpec, Endpoint, TrunkSpec};

/// Reads every trunk.
pub(super) fn read_all<'a>(
    walk: &mut Walk<'a>,
    roots: &[Table<'a>],
    certificates: &Declared<CertSpec>,
) -> Declared<TrunkSpec> {
    let mut trunks = Declared { names: Vec::new(), read: Vec::new() };
    for table in walk.array_tables(roots, "trunk", keys::TRUNK, None) {
        walk.refuse_unknown_keys(&table);
        let name = walk.required(
            &table,
            "name",
            |walk, value| {
                let name = walk.string(value)?;
                walk.name(&name).map(|()| name)
            },
            "say what it is called, such as \"carrier\"",
        );
        trunks.read.push(read(walk, &table, &name, certificates));
        if let Ok(name) = name
            && walk.refuse_namesake(&name, &trunks.names, "the trunks").is_ok()
        {
            trunks.names.push(name);
        }
    }
    trunks
}

fn read<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    name: &Read<At<String>>,
    certificates: &Declared<CertSpec>,
) -> Read<TrunkSpec> {
    let why = "say where it is called, such as \"sips://sbc.carrier.net:5061\"";
    let url = walk.required(table, "url", endpoint::url, why);
    let certificate = certificate(walk, table, certificates);
    let trust_anchor = walk.optional(table, "trust-anchor", issuer::trust_anchor);
    let (protocol, host, port) = url?;
    Ok(TrunkSpec {
        name: name.clone()?.it,
        endpoint: Endpoint { certificate: certificate?, ..Endpoint::at(protocol, &host, port) },
        trust_anchor: trust_anchor?,
    })
}

fn certificate<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    certificates: &Declared<CertSpec>,
) -> Read<String> {
    if let Some(name) = walk.optional(table, "certificate", Walk::string)? {
        walk.refuse_unknown(&name, certificates.words(), "certificate")?;
        return Ok(name.it);
    }
    let words: Vec<&str> = certificates.words().collect();
    match words.as_slice() {
        [only] => Ok((*only).to_owned()),
        _ if walk.has_lost_tables() => Err(Reported),
        [] => Err(walk.missing(table, "certificate", "and there is no [[certificate]] at all")),
        words => {
            let why = format!("say which of {} is shown to it", listed(words));
            Err(walk.missing(table, "certificate", &why))
        }
    }
}
