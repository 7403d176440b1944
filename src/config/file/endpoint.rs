//! `endpoint`: where to look at what a service serves.

use std::time::Duration;

use super::keys;
use super::walk::{At, Place, Read, Table, Value, Walk};
use crate::cert::Identifier;
use crate::config::endpoint::{TIMEOUT, address};
use crate::config::kind::Kind;
use crate::config::{CertSpec, Endpoint, KeyFamily, Protocol};

/// An endpoint as written, before its certificate is known.
#[derive(Clone, Debug)]
pub(super) struct Written {
    at: Place,
    protocol: Protocol,
    host: Identifier,
    port: u16,
    sni: Sni,
    key: Option<KeyFamily>,
    certificate: Option<At<String>>,
    timeout: Duration,
    usual: bool,
}

#[derive(Clone, Debug)]
enum Sni {
    ByHost,
    Name(String),
    None,
}

/// Reads one endpoint or a list of them; an empty list says that there is nothing to look at.
pub(super) fn read<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<Written>> {
    let read: Vec<_> = walk.each(value).into_iter().map(|v| one(walk, v)).collect();
    read.into_iter().collect()
}

/// The endpoints of a preset, each once for each certificate.
pub(super) fn preset(urls: &[&str], at: Place, certificates: &[String]) -> Vec<Written> {
    let mut all = Vec::new();
    for url in urls {
        let Ok((protocol, host, port)) = address(url) else {
            unreachable!("the address {url} is ours");
        };
        all.extend(certificates.iter().map(|certificate| Written {
            at,
            protocol,
            host: host.clone(),
            port,
            sni: Sni::ByHost,
            key: None,
            certificate: Some(At { at, it: certificate.clone() }),
            timeout: TIMEOUT,
            usual: true,
        }));
    }
    all
}

/// Settles which certificate is expected, and which name is sent.
pub(super) fn settle(
    walk: &mut Walk<'_>,
    kind: Kind,
    written: &[Written],
    certificates: &[&CertSpec],
) -> Read<Vec<Endpoint>> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut sound = Ok(());
    for written in written {
        match settle_one(walk, kind, written, certificates) {
            // What it is written as names it everywhere.
            Ok(endpoint) if endpoints.iter().any(|e| e.to_string() == endpoint.to_string()) => {
                let text = format!("the endpoint {endpoint} stands twice; keep one");
                sound = Err(walk.problem(written.at, text));
            }
            Ok(endpoint) => endpoints.push(endpoint),
            Err(reported) => sound = Err(reported),
        }
    }
    sound.map(|()| endpoints)
}

fn settle_one(
    walk: &mut Walk<'_>,
    kind: Kind,
    written: &Written,
    certificates: &[&CertSpec],
) -> Read<Endpoint> {
    let asked = match (&written.sni, &written.host) {
        (Sni::Name(name), _) => Some(name.clone()),
        (Sni::ByHost, Identifier::Dns(host)) => Some(host.clone()),
        (Sni::ByHost | Sni::None, _) => None,
    };
    let expected = match &written.certificate {
        Some(name) => {
            let names = certificates.iter().map(|c| c.name.as_str());
            walk.refuse_unknown(name, names, "certificate of this service")?;
            certificates.iter().find(|c| c.name == name.it)
        }
        None => {
            let asked = asked.clone().map(Identifier::Dns);
            let covers = |c: &&&CertSpec| {
                asked.as_ref().is_some_and(|asked| c.identifiers.iter().any(|i| i.covers(asked)))
            };
            certificates.iter().find(covers).or(certificates.first())
        }
    };
    let Some(expected) = expected else {
        return Err(walk.problem(written.at, "the service has no certificate to expect here"));
    };
    let sni = match written.sni {
        Sni::None => None,
        _ => asked.or_else(|| first_name(expected)),
    };
    Ok(Endpoint {
        protocol: written.protocol,
        host: written.host.to_string(),
        port: written.port,
        key: written.key.or_else(|| key(expected, sni.as_deref(), certificates)),
        sni,
        certificate: expected.name.clone(),
        timeout: written.timeout,
        kind: Some(kind),
        usual: written.usual,
    })
}

/// Where the service has a certificate of the other family for the same name, the server must be
/// asked for the one that is expected: by itself it shows the one that it prefers.
fn key(expected: &CertSpec, sni: Option<&str>, certificates: &[&CertSpec]) -> Option<KeyFamily> {
    let name = Identifier::Dns(sni?.to_owned());
    let family = KeyFamily::of(expected.key);
    let other = |c: &&CertSpec| {
        KeyFamily::of(c.key) != family && c.identifiers.iter().any(|i| i.covers(&name))
    };
    certificates.iter().any(other).then_some(family)
}

fn first_name(certificate: &CertSpec) -> Option<String> {
    let name = |i: &Identifier| match i {
        Identifier::Dns(name) if !i.is_wildcard() => Some(name.clone()),
        _ => None,
    };
    certificate.identifiers.iter().find_map(name)
}

fn one<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Written> {
    if value.is_table() {
        let table = walk.table(value, keys::ENDPOINT)?;
        return from_table(walk, &table);
    }
    let (protocol, host, port) = url(walk, value)?;
    Ok(Written {
        at: value.at,
        protocol,
        host,
        port,
        sni: Sni::ByHost,
        key: None,
        certificate: None,
        timeout: TIMEOUT,
        usual: false,
    })
}

fn from_table<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Written> {
    walk.refuse_unknown_keys(table);
    let url = walk.required(table, "url", url, "say where to look, such as \"sips://127.0.0.1\"");
    let sni = walk.optional(table, "sni", sni);
    let key = walk.optional(table, "key", family);
    let certificate = walk.optional(table, "certificate", Walk::string);
    let timeout = walk.optional(table, "timeout", |w, v| w.duration(v, ("1 s", "60 s")));
    let (protocol, host, port) = url?;
    Ok(Written {
        at: table.at,
        protocol,
        host,
        port,
        sni: sni?.unwrap_or(Sni::ByHost),
        key: key?,
        certificate: certificate?,
        timeout: timeout?.unwrap_or(TIMEOUT),
        usual: false,
    })
}

fn family<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<KeyFamily> {
    let words = KeyFamily::ALL.map(KeyFamily::word);
    walk.word(value, |word| KeyFamily::ALL.into_iter().find(|f| f.word() == word), &words)
}

fn sni<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Sni> {
    let At { at, it } = walk.string(value)?;
    if it == "none" {
        return Ok(Sni::None);
    }
    match it.parse::<Identifier>() {
        Ok(name @ Identifier::Dns(_)) if !name.is_wildcard() => Ok(Sni::Name(name.to_string())),
        // RFC 6066 section 3: literal addresses are not permitted.
        _ => Err(walk.problem(at, format!("the sni {it:?} is neither a DNS name nor \"none\""))),
    }
}

/// An address: what is spoken, where.
pub(super) fn url<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<(Protocol, Identifier, u16)> {
    let At { at, it } = walk.string(value)?;
    address(&it)
        .map_err(|reason| walk.problem(at, format!("the endpoint {it:?} cannot be used: {reason}")))
}
