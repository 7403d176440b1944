//! `endpoint`: where to look at what a service serves.

use url::Url;

use super::keys;
use super::walk::{At, Place, Read, Table, Value, Walk};
use crate::cert::Identifier;
use crate::config::{CertSpec, Endpoint, Protocol};

/// An endpoint as written, before its certificate is known.
#[derive(Clone, Debug)]
pub(super) struct Written {
    at: Place,
    protocol: Protocol,
    host: Identifier,
    port: u16,
    sni: Sni,
    certificate: Option<At<String>>,
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
            certificate: Some(At { at, it: certificate.clone() }),
        }));
    }
    all
}

/// Settles which certificate is expected, and which name is sent.
pub(super) fn settle(
    walk: &mut Walk<'_>,
    written: &[Written],
    certificates: &[&CertSpec],
) -> Read<Vec<Endpoint>> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut sound = Ok(());
    for written in written {
        match settle_one(walk, written, certificates) {
            Ok(endpoint) if endpoints.contains(&endpoint) => {
                sound = Err(walk.problem(written.at, "this endpoint stands twice; keep one"));
            }
            Ok(endpoint) => endpoints.push(endpoint),
            Err(reported) => sound = Err(reported),
        }
    }
    sound.map(|()| endpoints)
}

fn settle_one(
    walk: &mut Walk<'_>,
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
        sni,
        certificate: expected.name.clone(),
    })
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
    Ok(Written { at: value.at, protocol, host, port, sni: Sni::ByHost, certificate: None })
}

fn from_table<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Written> {
    walk.refuse_unknown_keys(table);
    let url = walk.required(table, "url", url, "say where to look, such as \"sips://127.0.0.1\"");
    let sni = walk.optional(table, "sni", sni);
    let certificate = walk.optional(table, "certificate", Walk::string);
    let (protocol, host, port) = url?;
    Ok(Written {
        at: table.at,
        protocol,
        host,
        port,
        sni: sni?.unwrap_or(Sni::ByHost),
        certificate: certificate?,
    })
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

fn url<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<(Protocol, Identifier, u16)> {
    let At { at, it } = walk.string(value)?;
    address(&it)
        .map_err(|reason| walk.problem(at, format!("the endpoint {it:?} cannot be used: {reason}")))
}

fn address(text: &str) -> Result<(Protocol, Identifier, u16), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("write it like \"sips://127.0.0.1:5061\"".to_owned());
    };
    let (protocol, port) = match scheme {
        "https" => (Protocol::Https, Some(443)),
        // RFC 3261 section 19.1.2
        "sips" => (Protocol::Sips, Some(5061)),
        "tls" => (Protocol::Tls, None),
        _ => return Err("known are sips://, tls:// and https://".to_owned()),
    };
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    // Only for schemes that it knows does the crate read the host as one.
    let host = Url::parse(&format!("https://{rest}")).map_err(|e| e.to_string())?;
    if !matches!(host.path(), "" | "/")
        || host.query().is_some()
        || host.fragment().is_some()
        || !host.username().is_empty()
        || host.password().is_some()
    {
        return Err("write only scheme, host and port".to_owned());
    }
    let host = match host.host() {
        Some(url::Host::Ipv4(ip)) => Identifier::Ip(ip.into()),
        Some(url::Host::Ipv6(ip)) => Identifier::Ip(ip.into()),
        Some(url::Host::Domain(name)) => name.parse::<Identifier>().map_err(|e| e.to_string())?,
        None => return Err("it names no host".to_owned()),
    };
    match &host {
        Identifier::Ip(ip) if ip.is_unspecified() => {
            return Err(format!("nobody can connect to {ip}: write 127.0.0.1 or [::1]"));
        }
        name if name.is_wildcard() => return Err("a host is no wildcard".to_owned()),
        _ => {}
    }
    match url.port().or(port) {
        Some(port @ 1..) => Ok((protocol, host, port)),
        Some(0) => Err("port 0 is none".to_owned()),
        None => Err(format!("{scheme}:// needs a port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_ports_of_their_schemes() {
        for (text, protocol, host, port) in [
            ("sips://127.0.0.1", Protocol::Sips, "127.0.0.1", 5061),
            ("sips://[2001:DB8::1]:443/", Protocol::Sips, "2001:db8::1", 443),
            ("https://Büro.example", Protocol::Https, "xn--bro-hoa.example", 443),
            ("https://pbx.example:443", Protocol::Https, "pbx.example", 443),
            ("tls://pbx:993", Protocol::Tls, "pbx", 993),
        ] {
            let found = address(text).unwrap();
            assert_eq!((found.0, found.1.to_string().as_str(), found.2), (protocol, host, port));
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "127.0.0.1:5061",
            "sip://127.0.0.1",
            "wss://pbx.example",
            "tls://pbx.example",
            "https://pbx.example/path",
            "https://user@pbx.example",
            "sips://pbx.example:0",
            "sips://pbx.example:99999",
            "sips://0.0.0.0",
            "sips://::1:5061",
            "sips://*.pbx.example",
            "sips://",
        ] {
            assert!(address(text).is_err(), "{text}: {:?}", address(text));
        }
    }
}
