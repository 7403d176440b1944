//! What is looked after, and where something can happen to it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{CertSpec, Config, Install, Source};
use crate::store::Store;

/// What is looked after.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Object {
    Certificate(String),
    Service(String),
}

impl Object {
    /// Its name in the configuration.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Certificate(name) | Self::Service(name) => name,
        }
    }
}

/// Everything that the configuration names.
pub(super) fn objects(config: &Config) -> BTreeSet<Object> {
    let certificates = config.certificates.iter().map(|c| Object::Certificate(c.name.clone()));
    let services = config.services.iter().map(|s| Object::Service(s.name.clone()));
    certificates.chain(services).collect()
}

/// Folders in which something can happen that is worth a look.
pub(super) fn watched(config: &Config, store: &Store) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::from([store.wake_dir()]);
    let takes = config.certificates.iter().filter(|c| takes_uploads(c));
    paths.extend(takes.map(|c| c.upload.dir.clone()));
    for install in config.services.iter().flat_map(|s| s.install.values()) {
        for (path, _) in install.targets() {
            paths.extend(path.parent().map(Path::to_path_buf));
        }
        if let Install::Folder { dir, .. } = install {
            // A folder that is swapped or removed tells so in the one above it.
            paths.extend(dir.parent().map(Path::to_path_buf));
        }
    }
    paths
}

/// Whether somebody may upload it. To one that comes from its CA alone a folder that is still
/// there says so.
fn takes_uploads(spec: &CertSpec) -> bool {
    spec.source != Source::Acme || spec.upload.dir.is_dir()
}

/// Whether something lies in its drop folder: then it waits for no other certificate.
pub(super) fn has_upload(config: &Config, name: &str) -> bool {
    let Some(spec) = config.certificate(name).filter(|spec| takes_uploads(spec)) else {
        return false;
    };
    let entries = std::fs::read_dir(&spec.upload.dir).into_iter().flatten().flatten();
    entries.take(GLANCE).any(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
}

/// So many names are looked at for that.
const GLANCE: usize = 64;

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
