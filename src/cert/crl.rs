//! Lists of revoked certificates (RFC 5280 section 5).

use std::borrow::Cow;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};

/// What a list says of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    /// It was taken back; `None`: it is not on the list.
    pub revoked: Option<Revoked>,
    /// When the list was made.
    pub made_at: Timestamp,
    /// When the next one is there at the latest.
    pub next_at: Timestamp,
}

/// A certificate that was taken back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// When.
    pub at: Timestamp,
    /// Why, in the words of RFC 5280 section 5.3.1; `None`: the CA does not say.
    pub reason: Option<&'static str>,
}

/// Why a list says nothing about a certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// Where the list that a certificate would stand on lies: plain http only, in the order of the
/// certificate (RFC 5280 section 4.2.1.13). Not to be trusted.
pub fn addresses(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let points = certificate.extensions().iter().filter_map(|e| match e.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => Some(points),
        _ => None,
    });
    // One that is for some reasons only, or made by somebody else, tells half of it.
    let whole = points
        .flat_map(|points| &points.points)
        .filter(|point| point.reasons.is_none() && point.crl_issuer.is_none());
    let names = whole.filter_map(|point| point.distribution_point.as_ref());
    let urls = names.flat_map(|name| urls(name).into_iter().map(str::to_owned));
    urls.filter(|url| url.starts_with("http://")).collect()
}

/// What a list (DER or PEM) says of `certificate`, which `issuer` made. The signature is checked
/// with the key of `issuer`; a list of changes only, of another CA, of another part of its
/// certificates or past its time is not used.
///
/// # Errors
///
/// Why the list says nothing about it.
pub fn ask(
    list: &[u8],
    certificate: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<Word, Unusable> {
    let unreadable = |what: &str| Unusable(format!("{what} cannot be read"));
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| unreadable("the certificate"))?;
    let (_, issuer) =
        X509Certificate::from_der(issuer).map_err(|_| unreadable("the certificate of the CA"))?;
    let list = der(list).ok_or_else(|| unreadable("the list"))?;
    let (rest, list) =
        CertificateRevocationList::from_der(&list).map_err(|_| unreadable("the list"))?;
    if !rest.is_empty() {
        return Err(Unusable("something follows the list".to_owned()));
    }
    made_by(&list, &certificate, &issuer)?;
    covers(&list, &certificate)?;
    let (made_at, next_at) = times(&list, now)?;
    let serial = certificate.raw_serial();
    let entry = list.iter_revoked_certificates().find(|entry| entry.raw_serial() == serial);
    let revoked = entry.map(|entry| Revoked {
        at: Timestamp::from_second(entry.revocation_date.timestamp()).unwrap_or(made_at),
        reason: reason(entry),
    });
    Ok(Word { revoked, made_at, next_at })
}

/// Company CAs hand it out as PEM, too.
fn der(list: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !list.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Some(Cow::Borrowed(list));
    }
    let der = CertificateRevocationListDer::from_pem_slice(list).ok()?;
    Some(Cow::Owned(der.as_ref().to_vec()))
}

fn made_by(
    list: &CertificateRevocationList<'_>,
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
) -> Result<(), Unusable> {
    let name = issuer.subject().as_raw();
    if list.issuer().as_raw() != name || certificate.issuer().as_raw() != name {
        return Err(Unusable("it is the list of another CA".to_owned()));
    }
    let usage = issuer.key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.crl_sign()) {
        return Err(Unusable("the CA may not sign lists with this key".to_owned()));
    }
    list.verify_signature(issuer.public_key())
        .map_err(|_| Unusable("the signature on it is not that of the CA".to_owned()))
}

/// Whether the certificate would stand on it (RFC 5280 sections 5.2.4 and 5.2.5).
fn covers(
    list: &CertificateRevocationList<'_>,
    certificate: &X509Certificate<'_>,
) -> Result<(), Unusable> {
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(part) => {
                let other = part.indirect_crl
                    || part.only_some_reasons.is_some()
                    || part.only_contains_attribute_certs
                    || part.only_contains_ca_certs;
                let points = part.distribution_point.as_ref().map(urls).unwrap_or_default();
                let own = addresses_of(certificate);
                let elsewhere = part.distribution_point.is_some()
                    && !points.iter().any(|url| own.iter().any(|own| own == url));
                if other || elsewhere {
                    return Err(Unusable("it is for other certificates of this CA".to_owned()));
                }
            }
            ParsedExtension::CRLNumber(_) | ParsedExtension::AuthorityKeyIdentifier(_) => {}
            _ if extension.oid.to_id_string() == DELTA => {
                return Err(Unusable("it holds the latest changes only".to_owned()));
            }
            _ if extension.critical => {
                return Err(Unusable("it says something that is not understood".to_owned()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn addresses_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let points = certificate.extensions().iter().filter_map(|e| match e.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => Some(points),
        _ => None,
    });
    let names = points.flat_map(|p| &p.points).filter_map(|p| p.distribution_point.as_ref());
    names.flat_map(|name| urls(name).into_iter().map(str::to_owned)).collect()
}

fn times(
    list: &CertificateRevocationList<'_>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Unusable> {
    let unreadable = || Unusable("its dates cannot be read".to_owned());
    let made = list.last_update().timestamp();
    // One without an end (RFC 5280 section 5.1.2.5 wants one) is good for a day.
    let next = list.next_update().map_or(made.saturating_add(DAY), |next| next.timestamp());
    let at = |seconds| Timestamp::from_second(seconds).map_err(|_| unreadable());
    let (made_at, next_at) = (at(made)?, at(next)?);
    let now = now.as_second();
    if now > next {
        let date = next_at.strftime("%Y-%m-%d %H:%M UTC");
        return Err(Unusable(format!("it is out of date: the next one was due {date}")));
    }
    if made > now.saturating_add(SLACK) {
        return Err(Unusable("it is from the future; look at the clock".to_owned()));
    }
    Ok((made_at, next_at))
}

fn urls<'a>(name: &'a DistributionPointName<'_>) -> Vec<&'a str> {
    let DistributionPointName::FullName(names) = name else { return Vec::new() };
    let urls = names.iter().filter_map(|name| match name {
        GeneralName::URI(url) => Some(*url),
        _ => None,
    });
    urls.collect()
}

fn reason(entry: &RevokedCertificate<'_>) -> Option<&'static str> {
    Some(match entry.reason_code()?.1.0 {
        1 => "its private key became known",
        2 => "the CA itself was broken into",
        3 => "its owner changed",
        4 => "another one took its place",
        5 => "it is no longer used",
        6 => "it is on hold",
        9 => "it was not issued by the rules",
        10 => "whoever vouched for it was broken into",
        _ => return None,
    })
}

/// id-ce-deltaCRLIndicator, RFC 5280 section 5.2.4.
const DELTA: &str = "2.5.29.27";

const DAY: i64 = 86_400;

/// Clocks differ a little.
const SLACK: i64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
        CrlIssuingDistributionPoint, CrlScope, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
        KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
    };

    struct Ca {
        issuer: Issuer<'static, KeyPair>,
        der: CertificateDer<'static>,
    }

    const HERE: &str = "http://crl.test/1.crl";

    fn ca(name: &str, usages: Vec<KeyUsagePurpose>) -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages;
        let der = params.self_signed(&key).unwrap().der().clone();
        Ca { issuer: Issuer::new(params, key), der }
    }

    fn leaf(ca: &Ca, serial: u64) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["pbx.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        let urls = ["ldap://ca/x", "https://crl.test/1.crl", HERE];
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: urls.map(str::to_owned).to_vec() }];
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &ca.issuer).unwrap().der().clone()
    }

    fn list(serials: &[u64]) -> CertificateRevocationListParams {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2026, 11, 20),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 11, 23),
            next_update: rcgen::date_time_ymd(2026, 11, 30),
            crl_number: SerialNumber::from(7),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_list_tells_who_was_revoked_and_why() {
        let ca = ca("CA", Vec::new());
        let leaf = leaf(&ca, 4711);
        let now = at("2026-11-24T12:00:00Z");
        let made = list(&[1, 2]).signed_by(&ca.issuer).unwrap();
        let word = ask(made.der(), &leaf, &ca.der, now).unwrap();
        assert_eq!(word.revoked, None);
        assert_eq!(word.next_at, at("2026-11-30T00:00:00Z"));
        let made = list(&[1, 4711]).signed_by(&ca.issuer).unwrap();
        let revoked = ask(made.der(), &leaf, &ca.der, now).unwrap().revoked.unwrap();
        assert_eq!(revoked.at, at("2026-11-20T00:00:00Z"));
        assert_eq!(revoked.reason, Some("its private key became known"));
        let pem = made.pem().unwrap();
        assert!(ask(pem.as_bytes(), &leaf, &ca.der, now).unwrap().revoked.is_some());
    }

    #[test]
    fn only_plain_http_addresses_are_asked() {
        assert_eq!(addresses(&leaf(&ca("CA", Vec::new()), 1)), [HERE]);
        assert!(addresses(&CertificateDer::from(vec![1, 2, 3])).is_empty());
    }

    #[test]
    fn a_list_that_says_nothing_about_a_certificate_is_not_used() {
        let (own, other) = (ca("CA", Vec::new()), ca("CA", Vec::new()));
        let leaf = leaf(&own, 1);
        let now = at("2026-11-24T12:00:00Z");
        let why = |made: &[u8], ca: &Ca, now| ask(made, &leaf, &ca.der, now).unwrap_err().0;
        let forged = list(&[]).signed_by(&other.issuer).unwrap();
        assert_eq!(why(forged.der(), &own, now), "the signature on it is not that of the CA");
        let strange = ca("another CA", Vec::new());
        let made = list(&[]).signed_by(&strange.issuer).unwrap();
        assert_eq!(why(made.der(), &strange, now), "it is the list of another CA");
        let made = list(&[]).signed_by(&own.issuer).unwrap();
        assert!(why(made.der(), &own, at("2026-12-01T00:00:00Z")).starts_with("it is out of date"));
        assert!(
            why(made.der(), &own, at("2026-11-01T00:00:00Z")).starts_with("it is from the fut")
        );
        assert_eq!(why(b"<html>", &own, now), "the list cannot be read");
        let mut part = list(&[]);
        let elsewhere = |url: &str| CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris: vec![url.to_owned()] },
            scope: None,
        };
        part.issuing_distribution_point = Some(elsewhere("http://crl.test/2.crl"));
        let made = part.signed_by(&own.issuer).unwrap();
        assert_eq!(why(made.der(), &own, now), "it is for other certificates of this CA");
        let mut part = list(&[]);
        part.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            scope: Some(CrlScope::CaCertsOnly),
            ..elsewhere(HERE)
        });
        let made = part.signed_by(&own.issuer).unwrap();
        assert_eq!(why(made.der(), &own, now), "it is for other certificates of this CA");
        let mut part = list(&[1]);
        part.issuing_distribution_point = Some(elsewhere(HERE));
        let made = part.signed_by(&own.issuer).unwrap();
        assert!(ask(made.der(), &leaf, &own.der, now).unwrap().revoked.is_some());
    }
}
