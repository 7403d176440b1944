//! `[challenge.NAME]`: ways to prove control of a name.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::walk::{At, Declared, Read, Table, Value, Walk};
use super::{disk, keys};
use crate::config::{ChallengeSpec, Http01};

/// Reads every challenge; without any there is one named `http` that looks for itself.
pub(super) fn read_all<'a>(walk: &mut Walk<'a>, roots: &[Table<'a>]) -> Declared<ChallengeSpec> {
    let tables = walk.named_tables(roots, "challenge", keys::CHALLENGE);
    if tables.is_empty() {
        let name = "http".to_owned();
        let spec = ChallengeSpec { name: name.clone(), method: Http01::Auto };
        return Declared { names: vec![At { at: Walk::start(), it: name }], read: vec![Ok(spec)] };
    }
    let read = tables.iter().map(|(name, table)| read(walk, &name.it, table)).collect();
    Declared { names: tables.into_iter().map(|(name, _)| name).collect(), read }
}

fn read<'a>(walk: &mut Walk<'a>, name: &str, table: &Table<'a>) -> Read<ChallengeSpec> {
    walk.refuse_unknown_keys(table);
    let method = walk.required(table, "http-01", http_01, "write http-01 = \"auto\"")?;
    Ok(ChallengeSpec { name: name.to_owned(), method })
}

fn http_01<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Http01> {
    if !value.is_table() {
        return walk.word(value, |word| (word == "auto").then_some(Http01::Auto), &["auto"]);
    }
    let table = walk.table(value, keys::HTTP_01)?;
    walk.refuse_unknown_keys(&table);
    let listen = walk.optional(&table, "listen", listen);
    let webroot = walk.optional(&table, "webroot", webroot);
    match (listen?, webroot?) {
        (Some(listen), None) => Ok(Http01::Listen(listen)),
        (None, Some(webroot)) => Ok(Http01::Webroot(webroot)),
        (None, None) => Err(walk.missing(&table, "listen", "or webroot, or write \"auto\"")),
        (Some(_), Some(_)) => {
            Err(walk.problem(value.at, "http-01 has either listen or webroot, not both"))
        }
    }
}

fn listen<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for At { at, it } in walk.strings(value)? {
        match it.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => {
                return Err(walk.problem(at, format!("{it:?} needs a port that the CA can reach")));
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let text = format!(
                    "{it:?} is no address with a port, such as \"0.0.0.0:80\" or \"[::]:80\""
                );
                return Err(walk.problem(at, text));
            }
        }
    }
    Ok(addresses)
}

fn webroot<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<PathBuf> {
    let At { at, it } = walk.path(value)?;
    if walk.options.machine
        && let Err(reason) = disk::folder(&it)
    {
        return Err(walk.problem(at, format!("the webroot {}: {reason}", it.display())));
    }
    Ok(it)
}
