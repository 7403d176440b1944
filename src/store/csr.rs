//! The signing request that waits for its answer, and the keys of those that may still be answered.
//!
//! ```text
//! csr.json        which request stands; csr.pem and csr.txt are the same for people
//! csr.key         its private key, which never leaves this machine
//! csr-<n>.key     keys of requests before it, until one of them, or a later one, is live
//! ```

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::record::{self, Read, Record};
use super::{Error, PRIVATE_FILE};
use crate::cert::bundle::{PrivateKey, digest_hex, pem};
use crate::cert::{Identifier, KeyType};
use crate::config::{CertSpec, Source};
use crate::fs::{self, Owner};

/// More than an RSA key of 8192 bits takes.
const KEY_LIMIT: u64 = 64 << 10;

/// A signing request whose answer can be uploaded without a key (RFC 2986).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Csr {
    /// The request, as shops want it.
    pub pem: String,
    /// The same with a summary and what to do with it.
    pub text: String,
    /// Where the request lies.
    pub path: PathBuf,
    /// Where it lies for an uploader, when there is a drop folder.
    pub beside: Option<PathBuf>,
    /// When it was made.
    pub made_at: Timestamp,
    /// The kind of its key.
    pub key: KeyType,
    /// The names in it, the common name first.
    pub identifiers: Vec<Identifier>,
    /// Whether it was made just now.
    pub is_new: bool,
}

/// `csr.json`: the request without its key.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CsrRecord {
    schema: u32,
    made_at: Timestamp,
    identifiers: Vec<Identifier>,
    key: KeyType,
    /// SHA-256 of the public half of the key in `csr.key`: the two are of one request.
    public_key: String,
    pem: String,
}

impl Record for CsrRecord {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

/// Where the record lies.
pub(super) fn json(dir: &Path) -> PathBuf {
    dir.join("csr.json")
}

fn key_file(dir: &Path) -> PathBuf {
    dir.join("csr.key")
}

/// Where an uploader finds the request: beside the folder of this certificate, for in there it
/// would be taken for an upload.
fn beside(spec: &CertSpec) -> Option<PathBuf> {
    let root = spec.upload.dir.parent().filter(|root| root.is_dir())?;
    Some(root.join(format!("{}.csr", spec.name)))
}

/// The private keys of every request that may still be answered, the newest first. One that cannot
/// be read is passed over: an upload without a key is told that there is none.
///
/// # Errors
///
/// When the folder cannot be read.
pub(super) fn keys(dir: &Path) -> Result<Vec<PrivateKey>, Error> {
    let files = std::iter::once(key_file(dir)).chain(old(dir)?.into_iter().map(|(_, path)| path));
    Ok(files.filter_map(|path| key(&path)).collect())
}

fn key(path: &Path) -> Option<PrivateKey> {
    let pem = Zeroizing::new(fs::read_if_there(path, KEY_LIMIT).ok()??);
    PrivateKey::from_pem(&pem).ok()
}

/// Keys of earlier requests by their number, the newest first.
fn old(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let names = fs::list(dir)?;
    let number = |name: &str| name.strip_prefix("csr-")?.strip_suffix(".key")?.parse().ok();
    let mut old: Vec<(u64, PathBuf)> =
        names.iter().filter_map(|name| Some((number(name)?, dir.join(name)))).collect();
    old.sort_unstable_by(|a, b| b.cmp(a));
    Ok(old)
}

/// The request that stands, when it asks for what the configuration wants and its key is there.
///
/// # Errors
///
/// When a newer pbxcert wrote it, or the system refuses.
pub(super) fn standing(
    dir: &Path,
    spec: &CertSpec,
) -> Result<Option<(CsrRecord, PrivateKey)>, Error> {
    let Read::Whole(record) = record::read::<CsrRecord>(&json(dir))? else { return Ok(None) };
    let Some(key) = key(&key_file(dir)) else { return Ok(None) };
    let fits = digest_hex(key.public()) == record.public_key
        && record.identifiers == spec.identifiers
        && record.key == spec.key;
    Ok(fits.then_some((record, key)))
}

/// Makes a request with this key the one that stands; the key before is kept.
///
/// Nothing of the request is to be seen before its key is on disk.
///
/// # Errors
///
/// When it cannot be made or written.
pub(super) fn write(
    dir: &Path,
    spec: &CertSpec,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<CsrRecord, Error> {
    let der = key.csr_with_name(&spec.identifiers);
    let der = der.map_err(|source| Error::Bundle { path: json(dir), source })?;
    keep_old(dir)?;
    fs::replace(&key_file(dir), key.to_pem().as_bytes(), PRIVATE_FILE, Owner::default())?;
    let record = CsrRecord {
        schema: 0,
        made_at: now,
        identifiers: spec.identifiers.clone(),
        key: spec.key,
        public_key: digest_hex(key.public()),
        pem: pem("CERTIFICATE REQUEST", &der),
    };
    record::write(&json(dir), record)?;
    match record::read::<CsrRecord>(&json(dir))? {
        Read::Whole(record) => Ok(record),
        Read::Broken(_) | Read::Missing => Err(Error::Bundle {
            path: json(dir),
            source: crate::cert::Error::Csr("it did not come back from the disk".to_owned()),
        }),
    }
}

fn keep_old(dir: &Path) -> Result<(), Error> {
    if !key_file(dir).exists() {
        return Ok(());
    }
    let mut number = old(dir)?.first().map_or(1, |(number, _)| number.saturating_add(1));
    loop {
        match fs::move_new(&key_file(dir), &dir.join(format!("csr-{number}.key"))) {
            Err(e) if e.is_taken() => number = number.saturating_add(1),
            other => return Ok(other?),
        }
    }
}

/// Writes what people read of a request, where it is not there yet.
///
/// # Errors
///
/// When the folder of the certificate cannot be written; a drop folder that cannot is only told.
pub(super) fn show(
    dir: &Path,
    spec: &CertSpec,
    record: CsrRecord,
    is_new: bool,
) -> Result<Csr, Error> {
    let path = dir.join("csr.pem");
    let text = text(spec, &record);
    put(&path, &record.pem, PRIVATE_FILE)?;
    put(&dir.join("csr.txt"), &text, PRIVATE_FILE)?;
    let beside = beside(spec).filter(|path| match put(path, &record.pem, 0o644) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("the signing request is not beside the drop folder: {error}");
            false
        }
    });
    let CsrRecord { made_at, key, identifiers, pem, .. } = record;
    Ok(Csr { pem, text, path, beside, made_at, key, identifiers, is_new })
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let there = fs::read_if_there(path, KEY_LIMIT);
    if there.is_ok_and(|there| there.as_deref() == Some(text.as_bytes())) {
        return Ok(());
    }
    Ok(fs::replace(path, text.as_bytes(), mode, Owner::default())?)
}

/// Forgets the request with one of these public keys, and every one before it: its answer is live.
///
/// # Errors
///
/// When something cannot be removed.
pub(super) fn retire(dir: &Path, spec: &CertSpec, live: &[Vec<u8>]) -> Result<(), Error> {
    let answered = |path: &Path| key(path).is_some_and(|k| live.iter().any(|l| l == k.public()));
    let (standing, old) = (answered(&key_file(dir)), old(dir)?);
    let last = old.iter().find(|(_, path)| answered(path)).map(|(number, _)| *number);
    for (number, path) in &old {
        if standing || last.is_some_and(|last| *number <= last) {
            fs::remove(path)?;
        }
    }
    if !standing {
        return Ok(());
    }
    if let Some(path) = beside(spec)
        && let Err(error) = fs::remove(&path)
    {
        tracing::warn!("the used signing request stays beside the drop folder: {error}");
    }
    for name in ["csr.txt", "csr.pem", "csr.json", "csr.key"] {
        fs::remove(&dir.join(name))?;
    }
    Ok(())
}

fn text(spec: &CertSpec, record: &CsrRecord) -> String {
    let names = record.identifiers.iter().map(|name| match name {
        Identifier::Dns(name) => format!("DNS:{name}"),
        Identifier::Ip(ip) => format!("IP Address:{ip}"),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let key = match record.key {
        KeyType::EcdsaP256 => "ECDSA, curve P-256 (prime256v1)",
        KeyType::EcdsaP384 => "ECDSA, curve P-384 (secp384r1)",
        KeyType::Rsa2048 => "RSA, 2048 bits",
        KeyType::Rsa3072 => "RSA, 3072 bits",
        KeyType::Rsa4096 => "RSA, 4096 bits",
    };
    format!(
        "Certificate signing request (CSR) for {name}\n\
         \n\
         Subject alternative names: {names}\n\
         Key: {key}\n\
         Public key: SHA-256 {public}\n\
         Made at: {made_at}\n\
         \n\
         What to do with it\n\
         \n\
         1. Order a TLS server certificate at your web shop or company CA, and give it the text\n   \
            below, from BEGIN to END. Where it asks for the kind of server, say \"other\". It must\n   \
            make no key of its own: the private key is on this machine and never leaves it.\n\
         2. {upload}\n\
         \n\
         This request is for one certificate. For another one: pbxcert csr {name} --new\n\
         \n\
         {pem}",
        name = spec.name,
        public = record.public_key,
        made_at = record.made_at.strftime("%Y-%m-%d %H:%M UTC"),
        upload = what_to_upload(spec),
        pem = record.pem,
    )
}

fn what_to_upload(spec: &CertSpec) -> String {
    if spec.source == Source::Acme {
        return "First write source = \"auto\" or \"manual\" for this certificate into the\n   \
                configuration: as it is, it comes from its CA alone and takes no uploads."
            .to_owned();
    }
    format!(
        "Upload what you get, all of it (certificate and \"CA bundle\"), into\n   {}/\n   No key \
         and no password belong to it. Within seconds it is gone from there, and\n   \
         accepted/<time>/ACCEPTED.txt or REASON.txt in that folder says what became of it.",
        spec.upload.dir.display()
    )
}
