//! What a CA sends is checked before anybody stores it: a certificate for another key or name has
//! been issued before, and no service must meet it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::cert::bundle::{Bundle, names};
use crate::cert::{Identifier, Leaf, span};
use crate::state::OrderJournal;

use super::Error;

/// Checks a downloaded chain (PEM) against its order: our key, exactly our names, for servers,
/// dates that can be, signatures all the way up, and no more than can be right.
///
/// # Errors
///
/// [`Error::Certificate`] with what is wrong.
pub fn check_issued(
    order: &OrderJournal,
    chain_pem: &str,
    now: Timestamp,
) -> Result<Bundle, Error> {
    if chain_pem.len() > LONGEST {
        return refuse(format!("{} bytes are more than {LONGEST}", chain_pem.len()));
    }
    let count = chain_pem.matches("-----BEGIN CERTIFICATE-----").count();
    if count > CERTIFICATES {
        return refuse(format!("{count} certificates are more than {CERTIFICATES}"));
    }
    let bundle = Bundle::parse(chain_pem.as_bytes(), order.key.clone())
        .map_err(|e| Error::Certificate(e.to_string()))?;
    check_leaf(bundle.leaf(), &order.identifiers, now)?;
    check_links(bundle.chain(), now)?;
    Ok(bundle)
}

fn check_leaf(leaf: &Leaf, wanted: &[Identifier], now: Timestamp) -> Result<(), Error> {
    let wanted: BTreeSet<Identifier> = wanted.iter().cloned().collect();
    if leaf.identifiers.len() > NAMES {
        return refuse(format!("{} names are more than {NAMES}", leaf.identifiers.len()));
    }
    if leaf.identifiers != wanted {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        return refuse(format!("it is for {}, not for {}", names(leaf), wanted.join(", ")));
    }
    if leaf.is_ca {
        return refuse("it is that of a CA".to_owned());
    }
    if !leaf.server_auth {
        return refuse("it is not for servers (extended key usage)".to_owned());
    }
    let validity = leaf.validity;
    if validity.lifetime().is_zero() {
        return refuse("it ends before it begins".to_owned());
    }
    if span(now, validity.not_before) > EARLY {
        return refuse(format!(
            "it begins at {}, more than a day from now ({now}); is this machine's clock right?",
            validity.not_before
        ));
    }
    if validity.not_after <= now {
        return refuse(format!(
            "it ended at {}, and it is {now}; is this machine's clock right?",
            validity.not_after
        ));
    }
    Ok(())
}

/// `Bundle::parse` follows names and signatures; here nothing is taken on trust from it.
fn check_links(chain: &[CertificateDer<'static>], now: Timestamp) -> Result<(), Error> {
    let parsed = chain.iter().map(|der| X509Certificate::from_der(der).map(|(_, c)| c));
    let parsed: Vec<X509Certificate<'_>> = match parsed.collect::<Result<_, _>>() {
        Ok(parsed) => parsed,
        Err(error) => return refuse(error.to_string()),
    };
    for pair in parsed.windows(2) {
        let (child, parent) = (&pair[0], &pair[1]);
        if child.verify_signature(Some(parent.public_key())).is_err() {
            return refuse(format!("{} did not sign {}", parent.subject(), child.subject()));
        }
        if !parent.is_ca() {
            return refuse(format!("{} in the chain is no CA", parent.subject()));
        }
    }
    // Of an old cross-sign higher up some clients can do without; of the first link nobody can.
    if let Some(issuer) = parsed.get(1)
        && issuer.validity().not_after.timestamp() <= now.as_second()
    {
        return refuse(format!("the certificate of {} has expired", issuer.subject()));
    }
    Ok(())
}

fn refuse<T>(reason: String) -> Result<T, Error> {
    Err(Error::Certificate(super::refusal::words(&reason, 1000)))
}

const LONGEST: usize = 64 * 1024;

const CERTIFICATES: usize = 10;

const NAMES: usize = 100;

/// CAs date certificates back, never forward; a day covers the zones that people get wrong.
const EARLY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests;
