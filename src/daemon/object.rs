//! What is looked after, and where something can happen to it.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;

use crate::config::{CertSpec, Config, Install, ServiceSpec, Source};
use crate::fs;
use crate::policy::schedule;
use crate::store::{DropFolder, Store};
use crate::watch::Folders;

/// What is looked after.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Object {
    Certificate(String),
    /// The daily check of the whole.
    Check,
    Service(String),
}

impl Object {
    /// Its name in the configuration.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Certificate(name) | Self::Service(name) => name,
            Self::Check => "the daily check",
        }
    }
}

/// Everything that the configuration names.
pub(super) fn objects(config: &Config) -> BTreeSet<Object> {
    let certificates = config.certificates.iter().map(|c| Object::Certificate(c.name.clone()));
    let services = config.services.iter().map(|s| Object::Service(s.name.clone()));
    certificates.chain(services).chain([Object::Check]).collect()
}

/// Whom a pass over this one may have brought on: services that use the certificate, or come after
/// the service.
pub(super) fn waiting_for(object: &Object, config: &Config) -> Vec<Object> {
    let waits = |service: &&ServiceSpec| match object {
        Object::Certificate(name) => service.certificates.contains(name),
        Object::Service(name) => service.after.contains(name),
        Object::Check => false,
    };
    let waiting = config.services.iter().filter(waits);
    waiting.map(|service| Object::Service(service.name.clone())).collect()
}

/// Folders in which something can happen that is worth a look.
pub(super) fn watched(config: &Config, store: &Store) -> Folders {
    let mut folders = Folders::default();
    folders.told.insert(store.wake_dir());
    for install in config.services.iter().flat_map(|s| s.install.values()) {
        for (path, _) in install.targets() {
            folders.told.extend(path.parent().map(Path::to_path_buf));
        }
        if let Install::Folder { dir, .. } = install {
            // A folder that is swapped or removed tells so in the one above it.
            folders.told.extend(dir.parent().map(Path::to_path_buf));
        }
    }
    for certificate in config.certificates.iter().filter(|c| is_uploaded(c)) {
        let dir = &certificate.upload.dir;
        if certificate.upload.poll || fs::is_remote(dir) {
            folders.polled.insert(dir.clone());
        } else {
            folders.told.insert(dir.clone());
            folders.told.extend(dir.parent().map(Path::to_path_buf));
        }
    }
    folders
}

/// Whether it may come from a drop folder. Where it comes from its CA alone, a folder that is still
/// there says so to whoever uploads.
fn is_uploaded(certificate: &CertSpec) -> bool {
    certificate.source != Source::Acme || certificate.upload.dir.is_dir()
}

/// When to look at it again although nothing was told: a lost event costs a day at most, an hour
/// where somebody may be waiting for his upload.
pub(super) fn at_the_latest(object: &Object, config: &Config, now: Timestamp) -> Timestamp {
    let uploaded = match object {
        Object::Certificate(name) => config.certificate(name).is_some_and(is_uploaded),
        Object::Check | Object::Service(_) => false,
    };
    schedule::after(now, if uploaded { schedule::HOUR } else { schedule::DAY })
}

/// Whether something lies in its drop folder: then it waits for no other certificate.
pub(super) fn has_upload(config: &Config, name: &str) -> bool {
    let spec = config.certificate(name).filter(|spec| is_uploaded(spec));
    spec.is_some_and(|spec| DropFolder::has_upload(&spec.upload))
}

/// Tokens of orders under way: their responses stay.
pub(super) fn pending_tokens(store: &Store, config: &Config) -> BTreeSet<String> {
    let order = |name: &str| store.certificate(name).ok()?.order().ok()?;
    let orders = config.certificates.iter().filter_map(|c| order(&c.name));
    orders
        .flat_map(|order| match order.stage {
            crate::state::Stage::Published { tokens, .. } => tokens,
            _ => Vec::new(),
        })
        .collect()
}
