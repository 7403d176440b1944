//! What kind of trouble keeps an answer away: each has another remedy.

use std::error::Error as StdError;
use std::fmt;

/// Kinds of trouble on the way to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The connection ended before the answer was whole.
    Broken,
    /// The server's certificate has ended.
    CertificateExpired,
    /// The server's certificate begins later.
    CertificateNotYetValid,
    /// The server's certificate leads to no root that we trust, or is for another name.
    CertificateUntrusted,
    /// Refused, or no route.
    Connect,
    /// The name has no address.
    Dns,
    /// The proxy does not connect us.
    Proxy,
    /// The proxy wants other credentials (407).
    ProxyCredentials,
    /// Time was up.
    Timeout,
    /// No TLS for another reason.
    Tls,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the connection ended before the answer was whole",
            Self::CertificateExpired => {
                "its certificate has expired; if that is so everywhere, this machine's clock is \
                 ahead: check the time"
            }
            Self::CertificateNotYetValid => {
                "its certificate is not valid yet; most likely this machine's clock is behind: \
                 check the time"
            }
            Self::CertificateUntrusted => {
                "its certificate is not trusted; a private CA needs trust-anchor, a public one the \
                 package ca-certificates"
            }
            Self::Connect => {
                "nobody answers there, or a firewall is in between; check the address, the route \
                 and whether a proxy is needed"
            }
            Self::Dns => "its name cannot be resolved; check the DNS servers of this machine",
            Self::Proxy => "the proxy does not connect to it; ask who runs the proxy to allow it",
            Self::ProxyCredentials => {
                "the proxy refuses our credentials (407); check proxy-auth-file"
            }
            Self::Timeout => "it did not answer in time",
            Self::Tls => "there is no TLS with it",
        })
    }
}

/// Every cause, outermost first, each once.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source().or(Some(error));
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|t| t.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

/// What kind of trouble an error of the library is.
pub(super) fn kind(error: &reqwest::Error) -> Trouble {
    if let Some(tls) = tls_error(error) {
        return of_tls(tls);
    }
    let text = chain(error);
    // The library shows neither of these as a type.
    if text.contains("proxy authorization required") {
        Trouble::ProxyCredentials
    } else if error.is_timeout() {
        Trouble::Timeout
    } else if text.contains("dns error") {
        Trouble::Dns
    } else if text.contains("tunnel error: unsuccessful") || text.contains("socks") {
        Trouble::Proxy
    } else if error.is_connect() {
        Trouble::Connect
    } else {
        Trouble::Broken
    }
}

fn of_tls(error: &rustls::Error) -> Trouble {
    use rustls::CertificateError as Bad;

    match error {
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            Trouble::CertificateExpired
        }
        rustls::Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            Trouble::CertificateNotYetValid
        }
        rustls::Error::InvalidCertificate(_) => Trouble::CertificateUntrusted,
        _ => Trouble::Tls,
    }
}

/// The TLS error somewhere below; `io::Error::source` steps over the error that it wraps.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    if let Some(inner) = wrapped {
        return tls_error(inner);
    }
    error.source().and_then(tls_error)
}
