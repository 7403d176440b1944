//! What a stranger's text sends us to: public addresses only, and not much of it.
//!
//! A certificate that somebody uploads names addresses. None of them may make this machine talk to
//! itself, to its neighbours or to the metadata service of a cloud.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::{Client, bad_url, builder, chain, place, with_credentials};
use crate::config::Proxy;

/// Why there is nothing from an address that a stranger gave.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No whole answer.
    #[error(transparent)]
    Http(#[from] super::Error),
    /// It is not one to be asked, or answers nothing of use.
    #[error("{url} is refused: {reason}")]
    Refused {
        /// Without credentials.
        url: String,
        /// Why.
        reason: String,
    },
}

/// Asks for a plain http address with GET, once, without a proxy, following nothing. Connects only
/// where `allow` says yes: asked of the very addresses that are connected to, so that a name that
/// answers differently the second time gains nothing.
///
/// # Errors
///
/// When the address is not allowed, or there is no whole answer with status 200 of at most `most`
/// bytes within `limit`.
pub async fn fetch(
    url: &str,
    most: usize,
    limit: Duration,
    allow: fn(IpAddr) -> bool,
) -> Result<Bytes, Error> {
    let url = allowed(url, allow)?;
    let inner = builder(limit)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(Allowed(allow)))
        .build()
        .map_err(|e| super::Error::Client(chain(&e)))?;
    let client = Client { inner, https_only: false, credentials: None };
    let answer = client.inner.get(url.clone()).send();
    let answer = answer.await.map_err(|e| client.trouble(&url, &e))?;
    if answer.remote_addr().is_none_or(|there| !allow(there.ip())) {
        return Err(refused(&url, NOT_PUBLIC));
    }
    body(&client, &url, answer, most).await
}

/// The same through the proxy of the configuration, which finds the address and connects: only what
/// is written as an address is judged here.
///
/// # Errors
///
/// As [`fetch`], and when the proxy cannot be used.
pub async fn fetch_through(
    proxy: &Proxy,
    url: &str,
    most: usize,
    limit: Duration,
    allow: fn(IpAddr) -> bool,
) -> Result<Bytes, Error> {
    let url = allowed(url, allow)?;
    let (proxy, credentials) = with_credentials(proxy)?;
    let inner = builder(limit)
        .no_proxy()
        .proxy(proxy)
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|e| super::Error::Client(chain(&e)))?;
    let client = Client { inner, https_only: false, credentials };
    let answer = client.inner.get(url.clone()).send();
    let answer = answer.await.map_err(|e| client.trouble(&url, &e))?;
    body(&client, &url, answer, most).await
}

fn allowed(url: &str, allow: fn(IpAddr) -> bool) -> Result<Url, Error> {
    let url = Url::parse(url).map_err(|e| bad_url(url, &e))?;
    if url.scheme() != "http" {
        return Err(refused(&url, "only plain http is used for this"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(&url, "it holds a user or password"));
    }
    // A resolver is not asked for what is an address already.
    let literal = match url.host() {
        Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(Host::Domain(_)) => None,
        None => return Err(refused(&url, "it names no host")),
    };
    if literal.is_some_and(|ip| !allow(ip)) {
        return Err(refused(&url, NOT_PUBLIC));
    }
    Ok(url)
}

async fn body(
    client: &Client,
    url: &Url,
    mut answer: reqwest::Response,
    most: usize,
) -> Result<Bytes, Error> {
    if answer.status().is_redirection() {
        return Err(refused(url, "it leads elsewhere, and redirects are not followed"));
    }
    if answer.status().as_u16() != 200 {
        return Err(refused(url, &format!("it answered {}", answer.status().as_u16())));
    }
    let mut body = BytesMut::new();
    while let Some(part) = answer.chunk().await.map_err(|e| client.trouble(url, &e))? {
        if body.len() + part.len() > most {
            return Err(refused(url, &format!("the answer is longer than {most} bytes")));
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

fn refused(url: &Url, reason: &str) -> Error {
    Error::Refused { url: place(url), reason: reason.to_owned() }
}

/// The system's resolver, with what is not allowed left out of its answers.
struct Allowed(fn(IpAddr) -> bool);

impl Resolve for Allowed {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|address| allow(address.ip())).collect();
            if allowed.is_empty() {
                return Err(NOT_PUBLIC.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet: none of this machine, of a private network, of
/// a link, of a provider's NAT, of a cloud's metadata service, multicast, reserved, or one that
/// stands for another (RFC 6890 and the IANA special-purpose registries).
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special && ip != AZURE
}

/// Metadata and health service of Azure: the one that lies outside every private range.
const AZURE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    match (a, b, c, d, e, f) {
        // NAT64 (RFC 6052): an IPv4 address behind the provider's translator.
        (0x64, 0xff9b, 0, 0, 0, 0) => {
            let ([g0, g1], [h0, h1]) = (g.to_be_bytes(), h.to_be_bytes());
            is_public_v4(Ipv4Addr::new(g0, g1, h0, h1))
        }
        // Protocol assignments with Teredo, documentation, 6to4, documentation.
        (0x2001, 0..=0x1ff | 0xdb8, ..) | (0x2002, ..) | (0x3fff, 0..=0xfff, ..) => false,
        // Global unicast; all else is mapped, local, multicast or reserved.
        (0x2000..=0x3fff, ..) => true,
        _ => false,
    }
}

const NOT_PUBLIC: &str = "it leads to an address that is not public";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.255.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }
}
