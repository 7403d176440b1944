//! Why a chain is not trusted, for a person who knows no PKI.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use webpki::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::is_self_issued;

/// The reason in one sentence, with what to do next where there is something.
pub(super) fn why(error: &Error, chain: &[CertificateDer<'_>], at: Timestamp) -> String {
    let parsed: Vec<X509Certificate<'_>> = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, c)| c))
        .collect();
    let (Some(leaf), Some(last)) = (parsed.first(), parsed.last()) else {
        return "the certificate cannot be read".to_owned();
    };
    match error {
        Error::CertExpired { .. } => dated(&parsed, at, "has expired").unwrap_or_else(|| {
            "a certificate of the chain has expired; ask for a new one".to_owned()
        }),
        Error::CertNotValidYet { .. } => dated(&parsed, at, "is not valid yet")
            .unwrap_or_else(|| "a certificate of the chain is not valid yet".to_owned()),
        Error::CaUsedAsEndEntity if is_self_issued(leaf) => format!(
            "it is signed by itself ({}), so nobody but its owner trusts it; get one from a shop \
             or company CA",
            subject(leaf)
        ),
        Error::CaUsedAsEndEntity => format!(
            "it is the certificate of a CA ({}), not one for a server; upload the one that was \
             made for this system",
            subject(leaf)
        ),
        Error::UnknownIssuer if is_self_issued(leaf) => format!(
            "it is signed by itself ({}), and no trust-anchor of the configuration says to trust it",
            subject(leaf)
        ),
        Error::UnknownIssuer => format!(
            "nobody that this system trusts stands behind it: {} was made by {}, which is unknown; \
             upload the intermediate certificates (\"CA bundle\") as well, or name the root of a \
             company CA in trust-anchor",
            subject(last),
            issuer(last)
        ),
        Error::RequiredEkuNotFoundContext(_) => {
            "it is not for servers (extended key usage serverAuth is missing); order one for a web \
             server"
                .to_owned()
        }
        Error::NameConstraintViolation => format!(
            "a CA in the chain of {} may not make certificates for its names",
            subject(leaf)
        ),
        Error::PathLenConstraintViolated | Error::EndEntityUsedAsCa => format!(
            "a certificate in the chain of {} was used as a CA and may not be one",
            subject(leaf)
        ),
        Error::InvalidSignatureForPublicKey => format!(
            "a signature in the chain of {} is wrong; upload the files exactly as they were sent",
            subject(leaf)
        ),
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "it is signed in a way that is out of use (SHA-1, say); have it made anew with SHA-256"
                .to_owned()
        }
        Error::UnsupportedCertVersion => {
            "it is X.509 version 1, which no client takes; have it made anew".to_owned()
        }
        other => format!("the chain of {} cannot be used: {other}", subject(leaf)),
    }
}

/// Names the first certificate that is the culprit, and its date.
fn dated(chain: &[X509Certificate<'_>], at: Timestamp, what: &str) -> Option<String> {
    let now = at.as_second();
    let (place, culprit, when) = chain.iter().enumerate().find_map(|(place, certificate)| {
        let validity = certificate.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let when = if now > to { to } else { from };
        (now > to || now < from).then_some((place, certificate, when))
    })?;
    let when = Timestamp::from_second(when).map_or_else(
        |_| "at a time beyond every calendar".to_owned(),
        |when| when.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    );
    let verb = if what == "has expired" { "it ended at" } else { "it begins at" };
    Some(match place {
        0 => format!("it {what}: {verb} {when}"),
        _ => format!(
            "the certificate of {} in its chain {what}: {verb} {when}; upload the current \
             intermediate certificates (\"CA bundle\")",
            subject(culprit)
        ),
    })
}

/// The common name, else the whole name, else what there is; never longer than a line.
fn subject(certificate: &X509Certificate<'_>) -> String {
    short(certificate.subject())
}

fn issuer(certificate: &X509Certificate<'_>) -> String {
    short(certificate.issuer())
}

fn short(name: &x509_parser::x509::X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|cn| cn.as_str().ok());
    let text = common.map_or_else(|| name.to_string(), str::to_owned);
    let clean: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
    if clean.is_empty() { "a certificate without a name".to_owned() } else { format!("{clean:?}") }
}
