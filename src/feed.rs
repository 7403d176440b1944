//! What is fetched from elsewhere, bounded: intermediates by AIA, lists of revoked certificates,
//! advisories.

pub mod advisory;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::time::timeout;
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Oid};
use x509_parser::prelude::X509Certificate;

use crate::config::Proxy;
use crate::http::public;

/// Why nothing could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In words.
    #[error("{0}")]
    Refused(String),
}

/// Fetches the certificate that a chain lacks from one of the addresses it names (RFC 5280
/// section 4.2.2.1): DER, PEM or PKCS#7; CA certificates only, 10 at most. The first 3 addresses are
/// tried, for `limit` (5 s at most) in all. Plain http only, no redirect, at most 64 KiB; never from
/// loopback, private, link-local or metadata addresses, judged on the address connected to.
///
/// What comes is not to be trusted: whoever uses it follows the signatures.
///
/// # Errors
///
/// Why none of the addresses gave one.
pub async fn intermediates(
    addresses: &[String],
    limit: Duration,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    fetch(addresses, limit, public::is_public).await
}

/// Fetches the list of revoked certificates that a certificate names (RFC 5280 section 4.2.1.13),
/// within 5 s: plain http, no redirect, at most 4 MiB, only from addresses that `allow` takes. Through
/// a proxy that one connects, and only what is written as an address is judged.
///
/// What comes is not to be trusted: [`crate::cert::crl::ask`] checks the signature.
///
/// # Errors
///
/// Why there is none.
pub async fn revocation_list(
    address: &str,
    proxy: Option<&Proxy>,
    allow: fn(IpAddr) -> bool,
) -> Result<Bytes, Error> {
    if address.len() > LONGEST_ADDRESS {
        return Err(Error::Refused("its address is too long".to_owned()));
    }
    let list = match proxy {
        Some(proxy) => public::fetch_through(proxy, address, MOST_OF_A_LIST, LONGEST, allow).await,
        None => public::fetch(address, MOST_OF_A_LIST, LONGEST, allow).await,
    };
    list.map_err(|error| Error::Refused(error.to_string()))
}

async fn fetch(
    addresses: &[String],
    limit: Duration,
    allow: fn(IpAddr) -> bool,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    if addresses.is_empty() {
        return Err(Error::Refused("the certificate names no address of its issuer".to_owned()));
    }
    let limit = limit.min(LONGEST);
    let mut reasons = Vec::new();
    let tries = async {
        for address in addresses.iter().take(MOST_ADDRESSES) {
            match one(address, limit, allow).await {
                Ok(certificates) => return Some(certificates),
                Err(reason) => reasons.push(reason),
            }
        }
        None
    };
    match timeout(limit, tries).await {
        Ok(Some(certificates)) => return Ok(certificates),
        Ok(None) => {}
        Err(_) => reasons.push(format!("no answer within {} s", limit.as_secs_f64())),
    }
    let reasons = reasons.join("; ");
    Err(Error::Refused(format!("no intermediate certificate could be fetched: {reasons}")))
}

async fn one(
    address: &str,
    limit: Duration,
    allow: fn(IpAddr) -> bool,
) -> Result<Vec<CertificateDer<'static>>, String> {
    if address.len() > LONGEST_ADDRESS {
        return Err("an address is too long".to_owned());
    }
    let body = public::fetch(address, MOST_BYTES, limit, allow).await;
    let body = body.map_err(|error| error.to_string())?;
    let mut found = certificates(&body);
    found.retain(is_ca);
    if found.is_empty() {
        return Err(format!("what {:?} answers is no certificate of a CA", address));
    }
    if found.len() > MOST_CERTIFICATES {
        return Err(format!("{address:?} answers more than {MOST_CERTIFICATES} certificates"));
    }
    Ok(found)
}

/// DER, PEM or PKCS#7, told apart by what it is: servers get the type wrong.
fn certificates(body: &[u8]) -> Vec<CertificateDer<'static>> {
    if X509Certificate::from_der(body).is_ok_and(|(rest, _)| rest.is_empty()) {
        return vec![CertificateDer::from(body.to_vec())];
    }
    if let Some(certificates) = p7c(body) {
        return certificates;
    }
    CertificateDer::pem_slice_iter(body).map_while(Result::ok).collect()
}

/// The certificates of a "certs-only" message in DER (RFC 5652 sections 3 and 5.1):
///
/// ```text
/// ContentInfo ::= SEQUENCE { contentType OID, content [0] EXPLICIT SignedData }
/// SignedData ::= SEQUENCE { version, digestAlgorithms, encapContentInfo,
///                           certificates [0] IMPLICIT SET OF Certificate OPTIONAL, ... }
/// ```
fn p7c(body: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let (_, info) = Any::from_der(body).ok()?;
    let (rest, kind) = Oid::from_der(info.data).ok()?;
    if kind.to_id_string() != SIGNED_DATA {
        return None;
    }
    let (_, content) = Any::from_der(rest).ok()?;
    let (_, signed) = Any::from_der(content.data).ok()?;
    let mut rest = signed.data;
    while !rest.is_empty() {
        let (next, part) = Any::from_der(rest).ok()?;
        if part.class() == Class::ContextSpecific && part.tag().0 == 0 {
            return Some(each(part.data));
        }
        rest = next;
    }
    None
}

fn each(mut rest: &[u8]) -> Vec<CertificateDer<'static>> {
    let mut found = Vec::new();
    while let Ok((next, _)) = Any::from_der(rest) {
        found.push(CertificateDer::from(rest[..rest.len() - next.len()].to_vec()));
        rest = next;
    }
    found
}

fn is_ca(der: &CertificateDer<'static>) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(rest, c)| rest.is_empty() && c.is_ca())
}

/// id-signedData, RFC 5652 section 5.1.
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";

const LONGEST: Duration = Duration::from_secs(5);

const LONGEST_ADDRESS: usize = 2048;

const MOST_ADDRESSES: usize = 3;

const MOST_BYTES: usize = 64 * 1024;

/// The lists of public CAs have a hundredth to a half of it.
const MOST_OF_A_LIST: usize = 4 * 1024 * 1024;

const MOST_CERTIFICATES: usize = 10;

#[cfg(test)]
mod tests;
