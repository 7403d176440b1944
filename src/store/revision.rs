//! A revision on disk: a numbered folder that never changes.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::record::{self, Read, Record};
use super::{Error, PRIVATE_FILE};
use crate::cert;
use crate::cert::bundle::{Bundle, PrivateKey, digest_hex};
use crate::fs::{self, Owner, StagedDir};
use crate::state::{Origin, Revision, SCHEMA};

const CERT: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
const KEY: &str = "key.pem";
const META: &str = "meta.json";

/// More than the largest chain that is taken from a CA.
const LIMIT: u64 = 1 << 20;

/// `meta.json`: the revision's facts, and the digests of its files as they were when key and chain
/// were last proved to fit. While they are the same, nothing need be parsed again.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Meta {
    #[serde(flatten)]
    pub(super) revision: Revision,
    /// File -> SHA-256 in hex.
    #[serde(default)]
    files: BTreeMap<String, String>,
}

impl Record for Meta {
    fn schema(&mut self) -> &mut u32 {
        &mut self.revision.schema
    }
}

/// What a revision's folder turned out to be.
pub(super) enum Seen {
    /// Removed while we looked.
    Gone,
    /// No revision, and why.
    NotWhole(String),
    /// A revision whose `meta.json` had to be made up from its PEM files, and why.
    Rebuilt(Box<Meta>, String),
    /// A revision.
    Whole(Box<Revision>),
}

/// The files of a revision as they are.
struct Files {
    cert: Vec<u8>,
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Files {
    /// Reads all three; the inner error says which is missing or no file.
    fn read(dir: &Path) -> Result<Result<Self, String>, Error> {
        let one = |name: &str| match fs::read_if_there(&dir.join(name), LIMIT) {
            Ok(Some(bytes)) => Ok(Ok(bytes)),
            Ok(None) => Ok(Err(format!("{name} is missing"))),
            Err(e @ (fs::Error::Kind { .. } | fs::Error::TooLarge { .. })) => {
                Ok(Err(e.to_string()))
            }
            Err(e) => Err(Error::from(e)),
        };
        let (cert, chain, key) = (one(CERT)?, one(CHAIN)?, one(KEY)?.map(Zeroizing::new));
        Ok(cert.and_then(|cert| Ok(Self { cert, chain: chain?, key: key? })))
    }

    fn digests(&self) -> BTreeMap<String, String> {
        let all = [(CERT, &self.cert), (CHAIN, &self.chain), (KEY, &*self.key)];
        all.map(|(name, bytes)| (name.to_owned(), digest_hex(bytes))).into()
    }

    fn bundle(&self) -> Result<Bundle, cert::Error> {
        let key = PrivateKey::from_pem(&self.key)?;
        Bundle::parse(&[&self.cert[..], b"\n", &self.chain].concat(), key)
    }
}

/// Looks whether a folder is a whole revision: all files there, and as they were proved.
///
/// # Errors
///
/// When a newer pbxcert wrote it, or the system refuses.
pub(super) fn look(dir: &Path, number: u64) -> Result<Seen, Error> {
    let meta = record::read::<Meta>(&dir.join(META))?;
    let files = match Files::read(dir)? {
        Ok(files) => files,
        Err(_) if !dir.is_dir() => return Ok(Seen::Gone),
        Err(reason) => return Ok(Seen::NotWhole(reason)),
    };
    let meta = match meta {
        Read::Whole(meta) if meta.revision.number == number => {
            if meta.files == files.digests() {
                return Ok(Seen::Whole(Box::new(meta.revision)));
            }
            Ok(meta)
        }
        Read::Whole(meta) => Err(format!("{META} speaks of revision {}", meta.revision.number)),
        Read::Broken(reason) => Err(format!("{META} is damaged: {reason}")),
        Read::Missing => Err(format!("{META} is missing")),
    };
    let bundle = match files.bundle() {
        Ok(bundle) => bundle,
        Err(e) => return Ok(Seen::NotWhole(e.to_string())),
    };
    Ok(match meta {
        Ok(meta) => match differs(&meta.revision, &bundle) {
            Some(reason) => Seen::NotWhole(reason.to_owned()),
            None => {
                let meta = Meta { files: files.digests(), ..meta };
                Seen::Rebuilt(Box::new(meta), "its files were written anew".to_owned())
            }
        },
        Err(why) => {
            let committed_at = fs::changed_at(&dir.join(CERT))?;
            let revision = Revision {
                schema: SCHEMA,
                number,
                asked: None,
                leaf: bundle.leaf().clone(),
                chain_length: bundle.chain().len() - 1,
                committed_at: Timestamp::try_from(committed_at).unwrap_or(Timestamp::UNIX_EPOCH),
                origin: if bundle.leaf().is_placeholder() {
                    Origin::Placeholder
                } else {
                    Origin::Other("rebuilt from its files".to_owned())
                },
            };
            Seen::Rebuilt(Box::new(Meta { revision, files: files.digests() }), why)
        }
    })
}

fn differs(revision: &Revision, bundle: &Bundle) -> Option<&'static str> {
    if revision.leaf.fingerprint != bundle.leaf().fingerprint {
        return Some("it holds another certificate than was committed");
    }
    (revision.chain_length != bundle.chain().len() - 1)
        .then_some("its chain is not the one that was committed")
}

/// Writes the record that was rebuilt.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn mend(dir: &Path, meta: Meta) -> Result<(), Error> {
    record::write(&dir.join(META), meta)
}

/// Where `meta.json` of a revision is.
pub(super) fn meta_of(dir: &Path) -> std::path::PathBuf {
    dir.join(META)
}

/// Reads chain and key of a whole revision.
///
/// # Errors
///
/// When they are no bundle.
pub(super) fn bundle(dir: &Path, certificate: &str, number: u64) -> Result<Bundle, Error> {
    let no_revision =
        |reason: String| Error::NoRevision { certificate: certificate.to_owned(), number, reason };
    let revision = match look(dir, number)? {
        Seen::Gone => return Err(no_revision("it was removed".to_owned())),
        Seen::NotWhole(reason) => return Err(no_revision(reason)),
        Seen::Rebuilt(meta, _) => meta.revision,
        Seen::Whole(revision) => *revision,
    };
    let files = Files::read(dir)?.map_err(no_revision)?;
    let bundle = files.bundle().map_err(|source| Error::Bundle { path: dir.to_owned(), source })?;
    match differs(&revision, &bundle) {
        Some(reason) => Err(no_revision(reason.to_owned())),
        None => Ok(bundle),
    }
}

/// Writes a bundle into a folder that has no number yet, and reads it back: what the disk gives
/// back must be the same.
///
/// # Errors
///
/// When it cannot be written, or comes back as something else.
pub(super) fn fill(staged: &StagedDir, bundle: &Bundle, revision: Revision) -> Result<(), Error> {
    let write = |name: &str, bytes: &[u8]| {
        staged.write(name, bytes, PRIVATE_FILE, Owner::default()).map_err(Error::from)
    };
    write(KEY, bundle.key().to_pem().as_bytes())?;
    write(CHAIN, bundle.chain_pem().as_bytes())?;
    write(CERT, bundle.cert_pem().as_bytes())?;
    let not_the_same = |reason: String| Error::NoRevision {
        certificate: cert::bundle::names(bundle.leaf()),
        number: revision.number,
        reason,
    };
    let files = Files::read(staged.path())?.map_err(not_the_same)?;
    let again = files
        .bundle()
        .map_err(|source| Error::Bundle { path: staged.path().to_owned(), source })?;
    if let Some(reason) = differs(&revision, &again) {
        return Err(not_the_same(reason.to_owned()));
    }
    record::write(&staged.path().join(META), Meta { revision, files: files.digests() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(origin: Option<&str>) -> (String, Revision) {
        let mut text = include_str!("fixtures/meta-1.json").to_owned();
        if let Some(origin) = origin {
            let old = "https://acme-v02.api.letsencrypt.org/acme/cert/04aabb";
            text = text.replace(old, origin);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join(META);
        std::fs::write(&path, &text).unwrap();
        let meta = record::read::<Meta>(&path).unwrap().whole().expect("an older record is read");
        record::write(&path, meta.clone()).unwrap();
        (std::fs::read_to_string(&path).unwrap(), meta.revision)
    }

    #[test]
    fn the_origin_of_an_older_record_is_read_and_written_as_it_was() {
        let url = "https://acme-v02.api.letsencrypt.org/acme/cert/04aabb";
        let rebuilt = "rebuilt from its files";
        for (text, origin) in [
            (url, Origin::Authority { url: url.to_owned() }),
            (rebuilt, Origin::Other(rebuilt.to_owned())),
            ("placeholder", Origin::Placeholder),
            ("upload", Origin::Upload),
            ("", Origin::Other(String::new())),
        ] {
            let (written, revision) = meta(Some(text));
            assert_eq!(revision.origin, origin);
            assert!(written.contains(&format!("\"origin\": \"{text}\"")), "{written}");
        }
        let (_, revision) = meta(None);
        assert_eq!((revision.number, revision.is_placeholder()), (7, false));
    }
}
