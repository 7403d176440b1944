//! The last configuration that was accepted, kept beside the one that may be broken by now.
//!
//! It is one file that is replaced whole, so that its texts and its time always belong together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::source::{self, Source};
use super::{Options, Problems, folder, hash, interpret};
use crate::config::Config;
use crate::config::alerts::{CommandSpec, Way};
use crate::fs::Owner;

const SCHEMA: u32 = 1;

/// Why the accepted configuration cannot be kept or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files are no longer those that were accepted.
    #[error("the configuration changed while it was being read; it is not kept as accepted")]
    Changed,
    /// There is none yet.
    #[error("no accepted configuration is kept: {path} does not exist")]
    None {
        /// Where it would be.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read the accepted configuration {path}: {reason}")]
    Read {
        /// Where it is.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// Somebody else could have written it.
    #[error("the accepted configuration {path} cannot be trusted: {reason}")]
    Untrusted {
        /// Where it is.
        path: PathBuf,
        /// Who could.
        reason: String,
    },
    /// This program understands the texts no more.
    #[error("the accepted configuration {path} is no longer understood:\n{problems}")]
    NotUnderstood {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problems: Problems,
    },
    /// It cannot be written.
    #[error("cannot keep the accepted configuration as {path}")]
    Write {
        /// Where it should be.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// The last configuration that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What it means, without the hooks of `withheld`. Users, hooks and targets were not looked
    /// at again: whatever uses them does.
    pub config: Config,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Hooks that it names, but the broken configuration does not: they are not run.
    pub withheld: Vec<Withheld>,
}

/// A hook that is not run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Withheld {
    /// The service that has it; `alerts` for a channel.
    pub service: String,
    /// `test`, `reload`, `recover` or `command`.
    pub event: &'static str,
    /// Program and arguments.
    pub argv: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Record {
    schema: u32,
    accepted_at: Timestamp,
    hash: String,
    files: Vec<Text>,
}

#[derive(Deserialize, Serialize)]
struct Text {
    path: PathBuf,
    text: String,
}

/// Keeps a copy of the files of a configuration that is in use, for the day when they are broken.
///
/// The same texts are kept once: the time stays that of the first acceptance.
///
/// # Errors
///
/// When the files have changed since, or the copy cannot be written.
pub fn remember_accepted(config: &Config, now: Timestamp) -> Result<(), Error> {
    let main = config.files.first().ok_or(Error::Changed)?;
    let path = place(main);
    let files: Vec<Text> = source::read_all(main, Options::TEXT)
        .into_iter()
        .map(|s| Text { path: s.path, text: s.text })
        .collect();
    if hash(files.iter().map(|f| f.text.as_str())) != config.hash {
        return Err(Error::Changed);
    }
    if read_record(&path).is_ok_and(|kept| kept.hash == config.hash) {
        return Ok(());
    }
    let record = Record { schema: SCHEMA, accepted_at: now, hash: config.hash.clone(), files };
    replace(&path, &record).map_err(|source| Error::Write { path, source })
}

/// The last configuration that was accepted for the main file `main`, which is `broken` now. Of
/// the hooks only those are left that the broken configuration names too.
///
/// # Errors
///
/// When there is none, or none that can be trusted and understood.
pub fn load_accepted(main: &Path, broken: &Problems) -> Result<Accepted, Error> {
    let path = place(main);
    let record = read_record(&path)?;
    let sources: Vec<Source> =
        record.files.into_iter().map(|f| Source::of(f.path, f.text)).collect();
    match interpret(&sources, Options::TEXT) {
        Ok(loaded) => {
            let mut config = loaded.config;
            let withheld = withhold(&mut config, &broken.hooks);
            Ok(Accepted { config, accepted_at: record.accepted_at, withheld })
        }
        Err(problems) => Err(Error::NotUnderstood { path, problems }),
    }
}

/// `/etc/pbxcert/.pbxcert.toml.accepted`
fn place(main: &Path) -> PathBuf {
    let name = main.file_name().unwrap_or_default().to_string_lossy();
    folder(main).join(format!(".{name}.accepted"))
}

fn read_record(path: &Path) -> Result<Record, Error> {
    let unreadable = |reason: String| Error::Read { path: path.to_owned(), reason };
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(unreadable("it is no regular file".to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::None { path: path.to_owned() });
        }
        Err(e) => return Err(unreadable(e.to_string())),
    }
    crate::fs::secret(path).map_err(|reason| Error::Untrusted { path: path.to_owned(), reason })?;
    let bytes = std::fs::read(path).map_err(|e| unreadable(e.to_string()))?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
    if record.schema != SCHEMA {
        return Err(unreadable(format!("it has schema {}, not {SCHEMA}", record.schema)));
    }
    Ok(record)
}

/// Puts the whole file there in one step; the folder may be reached through links.
fn replace(path: &Path, record: &Record) -> std::io::Result<()> {
    let bytes = serde_json::to_vec_pretty(record)?;
    let folder = path.parent().unwrap_or(Path::new("/")).canonicalize()?;
    let place = folder.join(path.file_name().unwrap_or_default());
    crate::fs::replace(&place, &bytes, 0o600, Owner::default()).map_err(std::io::Error::other)
}

fn withhold(config: &mut Config, named: &BTreeSet<Vec<String>>) -> Vec<Withheld> {
    let mut withheld = Vec::new();
    for service in &mut config.services {
        let hooks = [
            ("test", &mut service.test),
            ("reload", &mut service.reload),
            ("recover", &mut service.recover),
        ];
        for (event, hook) in hooks {
            if let Some(argv) = hook.take_if(|argv| !named.contains(argv)) {
                withheld.push(Withheld { service: service.name.clone(), event, argv });
            }
        }
    }
    let alerts = std::mem::take(&mut config.alerts.channels);
    for channel in alerts {
        match channel.way {
            Way::Command(CommandSpec { run }) if !named.contains(&run) => {
                let service = "alerts".to_owned();
                withheld.push(Withheld { service, event: "command", argv: run });
            }
            _ => config.alerts.channels.push(channel),
        }
    }
    withheld
}
