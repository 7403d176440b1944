//! What lies at the targets of a service.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::Error;
use super::install::{READ_LIMIT, owner};
use crate::cert::Leaf;
use crate::cert::bundle::{Bundle, PrivateKey, digest_hex};
use crate::config::{Content, Install, Target};
use crate::fs;
use crate::state::{FilesSeen, PairState};

/// What the targets look like now, against what was installed.
pub(crate) fn observe(install: &Install, state: &PairState) -> FilesSeen {
    if state.files.is_empty() {
        return FilesSeen::Untouched;
    }
    let (mut changed, mut unlike) = (None, None);
    for (path, target) in install.targets() {
        let Some(wanted) = state.files.get(&path) else {
            return FilesSeen::Broken(format!("{} is new in the configuration", path.display()));
        };
        match found(&path) {
            Err(error) => return FilesSeen::Broken(super::chain_of(&error)),
            Ok(None) => return FilesSeen::Broken(format!("{} is missing", path.display())),
            Ok(Some(file)) => {
                if let Err(reason) = as_configured(&path, target, &file) {
                    unlike = unlike.or(Some(reason));
                }
                if digest_hex(&file.bytes) != *wanted {
                    changed = Some(path);
                }
            }
        }
    }
    let Some(changed) = changed else {
        return unlike.map_or(FilesSeen::AsInstalled, FilesSeen::Broken);
    };
    // Whoever copies a good pair by hand need not know its mode: it is still a good pair.
    match pair_on_disk(install) {
        Ok(bundle) => FilesSeen::Foreign(Box::new(bundle.leaf().clone())),
        Err(error) => FilesSeen::Broken(format!("{} was changed: {error}", changed.display())),
    }
}

fn as_configured(path: &Path, target: &Target, file: &Found) -> Result<(), String> {
    let owner = owner(target).map_err(|e| e.to_string())?;
    let wrong_owner = owner.uid.is_some_and(|uid| uid != file.uid)
        || owner.gid.is_some_and(|gid| gid != file.gid);
    if wrong_owner || file.mode != target.mode {
        return Err(format!(
            "{} has owner {}:{} and mode {:04o}, not those of the configuration",
            path.display(),
            file.uid,
            file.gid,
            file.mode
        ));
    }
    Ok(())
}

/// The leaf that lies at the targets, whoever put it there; `None` when no pair can be read.
pub(crate) fn leaf_on_disk(install: &Install) -> Option<Leaf> {
    pair_on_disk(install).ok().map(|bundle| bundle.leaf().clone())
}

/// The leaf that lies at the targets, also where its key is none that we can read (RSA 1024, an
/// encrypted one): the service may well use it.
pub(crate) fn any_leaf_on_disk(install: &Install) -> Option<Leaf> {
    leaf_on_disk(install).or_else(|| {
        let files = install.targets().into_iter().filter(|(_, t)| t.content != Content::Privkey);
        let mut files = files.filter_map(|(path, _)| found(&path).ok().flatten());
        files.find_map(|file| {
            let der = CertificateDer::from_pem_slice(&file.bytes).ok()?;
            Leaf::parse(&der).ok()
        })
    })
}

/// The pair that lies at the targets, whoever put it there.
pub(crate) fn pair_on_disk(install: &Install) -> Result<Bundle, Error> {
    let mut certificates = Vec::new();
    let mut key = None;
    for (path, target) in install.targets() {
        let Some(Found { bytes, .. }) = found(&path)? else { continue };
        if target.content != Content::Privkey {
            certificates.extend_from_slice(&bytes);
        }
        if target.content.holds_key() && key.is_none() {
            key = Some(PrivateKey::from_pem(&bytes)?);
        }
    }
    let key = key.ok_or_else(|| {
        Error::Cert(crate::cert::Error::Key("there is no private key".to_owned()))
    })?;
    Ok(Bundle::parse(&certificates, key)?)
}

/// The bytes of each target that is there.
pub(crate) fn files(install: &Install) -> Vec<(PathBuf, Zeroizing<Vec<u8>>)> {
    let targets = install.targets().into_iter();
    targets.filter_map(|(path, _)| Some((path.clone(), found(&path).ok()??.bytes))).collect()
}

/// A file as it lies there.
pub(super) struct Found {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

pub(super) fn found(path: &Path) -> Result<Option<Found>, fs::Error> {
    let file = match fs::open_file(path) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(bytes) = fs::read_if_there(path, READ_LIMIT)? else { return Ok(None) };
    let Ok(meta) = file.metadata() else { return Ok(None) };
    Ok(Some(Found {
        bytes: Zeroizing::new(bytes),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
    }))
}
