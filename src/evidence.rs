//! Facts of the way from the CA to this host, gathered when somebody asks: everything side by side
//! and with a limit, nothing judged (`policy::preflight` does), nothing trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::timeout;

use crate::acme::{Authority, holder, refusal};
use crate::cert::Identifier;
use crate::config::{CertSpec, IssuerSpec};
use crate::dns::Resolver;
use crate::http::{self, Client, ClientOptions};
use crate::policy::address::is_reserved;
use crate::state::facts::{
    CaaFacts, DirectoryAnswer, DirectoryFacts, Facts, Ground, Looked, NameFacts, PortFacts,
};

/// Gathers the facts for one certificate at one issuer. Opens the challenge responder for a
/// moment; orders nothing.
pub async fn gather(
    spec: &CertSpec,
    issuer: &IssuerSpec,
    authority: &dyn Authority,
    ground: &Ground,
    now: Timestamp,
) -> Facts {
    // Before we listen ourselves.
    let ports = [ground.http, ground.https].map(held).to_vec();
    let resolver = match ground.dns.as_slice() {
        [] => Resolver::system(ground.question),
        servers => Resolver::at(servers, ground.question),
    };
    let records = join_all(spec.identifiers.iter().map(|name| looked_up(&resolver, name)));
    let (records, directory) = tokio::join!(records, directory(issuer, ground.request));
    let mut names = Vec::new();
    for (name, records) in spec.identifiers.iter().zip(records) {
        names.push(responds(spec, name, records, authority, ground).await);
    }
    Facts { at: now, names, addresses: own_addresses(), facing: facing(), ports, directory }
}

fn held(port: u16) -> PortFacts {
    let listens = !holder::addresses(port).is_empty();
    PortFacts { port, holder: listens.then(|| holder::name(port)) }
}

struct Records {
    a: Looked<Ipv4Addr>,
    aaaa: Looked<Ipv6Addr>,
    caa: CaaFacts,
}

async fn looked_up(resolver: &Resolver, name: &Identifier) -> Records {
    let text = name.to_string();
    if matches!(name, Identifier::Ip(_)) {
        let why = || "it is an address".to_owned();
        return Records {
            a: Looked::NotAsked(why()),
            aaaa: Looked::NotAsked(why()),
            caa: CaaFacts { domain: text, records: Looked::NotAsked(why()) },
        };
    }
    let host = text.trim_start_matches("*.");
    let (a, aaaa, caa) = tokio::join!(resolver.a(host), resolver.aaaa(host), resolver.caa(host));
    Records { a, aaaa, caa }
}

/// Publishes a response that no CA asked for, sees it on this host, and asks for it by the public
/// addresses of the name: coming back in through the router is more than many can.
async fn responds(
    spec: &CertSpec,
    name: &Identifier,
    records: Records,
    authority: &dyn Authority,
    ground: &Ground,
) -> NameFacts {
    // Not a secret: it shows who answers, and is gone a moment later.
    let token = format!("pbxcert-preflight-{}", std::process::id());
    let body = format!("{token}.{}", name.to_string().replace(|c: char| !c.is_ascii(), "-"));
    let shown = timeout(RESPONDER, authority.show(&spec.challenges, name, &token, &body)).await;
    let limit = RESPONDER.as_secs();
    let responder = shown.unwrap_or_else(|_| Err(format!("it took longer than {limit} s")));
    let (mut hairpin, mut tls) = (None, None);
    if responder.is_ok() {
        hairpin = by_public_address(name, &records, (&token, &body), ground).await;
        if matches!(hairpin, Some(Err(_))) {
            tls = Some(is_open(&public(&records), ground.https, ground.request / 2).await);
        }
    }
    authority.retract(&[token]);
    let Records { a, aaaa, caa } = records;
    NameFacts { name: name.clone(), a, aaaa, caa, responder, hairpin, tls }
}

/// Where a CA could connect to: by IPv6 first.
fn public(records: &Records) -> Vec<IpAddr> {
    let six = records.aaaa.records().iter().map(|ip| IpAddr::from(*ip));
    let four = records.a.records().iter().map(|ip| IpAddr::from(*ip));
    six.chain(four).filter(|ip| !is_reserved(*ip)).take(2).collect()
}

/// Whether anybody takes connections at that port of any of them.
async fn is_open(addresses: &[IpAddr], port: u16, limit: Duration) -> bool {
    let tries = addresses.iter().map(|ip| async move {
        let connecting = tokio::net::TcpStream::connect(SocketAddr::new(*ip, port));
        matches!(timeout(limit, connecting).await, Ok(Ok(_)))
    });
    join_all(tries).await.into_iter().any(|open| open)
}

/// `None` when there is no public address.
async fn by_public_address(
    name: &Identifier,
    records: &Records,
    (token, body): (&str, &str),
    ground: &Ground,
) -> Option<Result<(), String>> {
    let public = public(records);
    let asked = public.iter().map(|ip| async move {
        let address = SocketAddr::new(*ip, ground.http);
        let path = format!("/.well-known/acme-challenge/{token}");
        let host = name.to_string();
        let host = host.trim_start_matches("*.");
        match http::look(address, host, &path, ground.request / 2).await {
            Ok(answer) if answer.body().trim_ascii_end() == body.as_bytes() => Ok(()),
            Ok(answer) => {
                let shown = refusal::words(&String::from_utf8_lossy(answer.body()), 60);
                let server = answer.headers().get(::http::header::SERVER);
                let server = server.and_then(|s| s.to_str().ok()).map(|s| refusal::words(s, 40));
                let server = server.map(|s| format!(", server {s:?}")).unwrap_or_default();
                let status = answer.status().as_u16();
                Err(format!("{address} answers {status} {shown:?}{server}"))
            }
            Err(error) => Err(error.to_string()),
        }
    });
    let asked = join_all(asked).await;
    asked.into_iter().reduce(|one, other| one.and(other))
}

/// Addresses of our interfaces that anybody else could know us by.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut found: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && v6.segments()[0] & 0xffc0 != 0xfe80,
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The addresses that packets to the internet leave from: the kernel's choice for a connected
/// socket, without a packet being sent.
fn facing() -> Vec<IpAddr> {
    let ask = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
    };
    // Addresses for documentation (RFC 5737, RFC 3849): they are routed like all others.
    [ask("0.0.0.0:0", "192.0.2.1:9"), ask("[::]:0", "[2001:db8::1]:9")]
        .into_iter()
        .flatten()
        .collect()
}

async fn directory(issuer: &IssuerSpec, limit: Duration) -> DirectoryFacts {
    DirectoryFacts {
        url: issuer.directory.clone(),
        proxy: issuer.proxy.as_ref().map(|proxy| proxy.url.clone()),
        answer: ask_directory(issuer, limit).await,
    }
}

async fn ask_directory(issuer: &IssuerSpec, limit: Duration) -> Result<DirectoryAnswer, String> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Directory {
        new_order: Option<String>,
        meta: Meta,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Meta {
        caa_identities: Vec<String>,
    }

    let client = Client::new(&ClientOptions {
        trust_anchor: issuer.trust_anchor.clone(),
        proxy: issuer.proxy.clone(),
        timeout: limit,
        https_only: true,
    });
    let client = client.map_err(|error| error.to_string())?;
    let answer = client.get(&issuer.directory).await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(refusal::Refusal::read(&answer).words());
    }
    let directory: Directory = serde_json::from_slice(answer.body()).unwrap_or_default();
    if directory.new_order.is_none() {
        let shown = refusal::words(&String::from_utf8_lossy(answer.body()), 80);
        return Err(format!("what answers there is no ACME directory: {shown:?}"));
    }
    let date = answer.headers().get(::http::header::DATE);
    let identities = directory.meta.caa_identities.iter().take(10);
    Ok(DirectoryAnswer {
        caa_identities: identities.map(|domain| refusal::words(domain, 253)).collect(),
        date: date.and_then(|date| refusal::http_date(date.to_str().ok()?)),
    })
}

/// The responder is on this host; a web server that looks for its files may be slow.
const RESPONDER: Duration = Duration::from_secs(20);
