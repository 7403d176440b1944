//! Reads the configuration as it was written, and hands on what it means.
//!
//! Nothing stops at the first mistake: one walk over the tables with their places collects every
//! problem of every file. [`load`] is for a machine that is to be served, [`parse`] for a text.

mod accepted;
mod alerts;
mod calm;
mod certificate;
mod challenge;
mod check;
mod chosen;
mod clients;
mod disk;
mod endpoint;
mod ignore;
mod issuer;
pub mod keys;
mod overlap;
mod problem;
mod service;
mod source;
mod suspect;
mod syntax;
mod target;
mod top;
mod trunk;
mod upload;
mod value;
mod walk;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use accepted::{Accepted, Error, Withheld, load_accepted, remember_accepted};
pub use problem::{Problem, Problems};

use super::Config;
use source::Source;
use walk::{Read, Table, Walk};

/// The main file unless another is named.
pub const DEFAULT_PATH: &str = "/etc/pbxcert/pbxcert.toml";

/// The environment variable that names another.
pub const PATH_VARIABLE: &str = "PBXCERT_CONFIG";

/// What is looked at beside the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// Ask this machine too: who can write the files, users and groups, hooks, secrets, what lies
    /// at the targets. Off for a text that speaks of another machine.
    pub machine: bool,
}

impl Options {
    /// For the machine that the configuration is for.
    pub const HERE: Self = Self { machine: true };
    /// The text alone.
    pub const TEXT: Self = Self { machine: false };
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What looks wrong, but may be meant.
    pub warnings: Vec<Problem>,
}

/// Reads the main file and `conf.d/*.toml` beside it.
///
/// # Errors
///
/// Every problem of every file at once.
pub fn load(path: &Path, options: Options) -> Result<Loaded, Problems> {
    interpret(&source::read_all(path, options), options)
}

/// Reads a text as if it stood in the file `name`, without asking this machine anything.
///
/// # Errors
///
/// Every problem at once.
pub fn parse(name: &Path, text: &str) -> Result<Loaded, Problems> {
    interpret(&[Source::of(name.to_owned(), text.to_owned())], Options::TEXT)
}

fn interpret(sources: &[Source], options: Options) -> Result<Loaded, Problems> {
    let tables: Vec<DeTable<'_>> = sources
        .iter()
        .map(|s| DeTable::parse_recoverable(&s.syntax.sound).0.into_inner())
        .collect();
    let roots: Vec<Table<'_>> =
        tables.iter().enumerate().map(|(file, entries)| Table::root(file, entries)).collect();
    let nothing = DeTable::new();
    let mut walk = Walk::new(sources, options);
    let config = meaning(&mut walk, &roots, &nothing, sources);
    let (mut problems, warnings) = walk.finish();
    match config {
        Ok(config) if problems.list.is_empty() => Ok(Loaded { config, warnings }),
        _ => {
            if problems.list.is_empty() {
                // Never to happen: whoever gives up has noted why.
                let text = "cannot be understood".to_owned();
                problems.list.extend(sources.first().map(|s| s.problem(None, text)));
            }
            Err(problems)
        }
    }
}

fn meaning<'a>(
    walk: &mut Walk<'a>,
    roots: &[Table<'a>],
    nothing: &'a DeTable<'a>,
    sources: &[Source],
) -> Read<Config> {
    for root in roots {
        walk.refuse_unknown_keys(root);
    }
    let defaults = top::defaults(walk, roots);
    if let Some(defaults) = defaults {
        certificate::check_defaults(walk, defaults.only_defaults(nothing));
        service::check_defaults(walk, defaults.only_defaults(nothing));
    }
    let issuers = issuer::read_all(walk, roots);
    let challenges = challenge::read_all(walk, roots);
    let top = top::read(walk, roots, &issuers);
    let drop_dir = top.as_ref().map(|top| top.state_dir.join("drop")).unwrap_or_default();
    let certificates =
        certificate::read_all(walk, roots, defaults, &issuers, &challenges, &drop_dir);
    let services = service::read_all(walk, roots, defaults, &certificates);
    let trunks = trunk::read_all(walk, roots, &certificates);
    let alerts = alerts::read(walk, roots, &certificates);
    let check = check::read(walk, roots);
    let known: BTreeSet<&str> =
        certificates.words().chain(services.words()).chain(trunks.words()).collect();
    let ignored = ignore::read_all(walk, roots, &known);
    chosen::refuse_circles(walk, &services);
    overlap::refuse_overlaps(walk, &services, top.as_ref().ok(), sources);

    let top = top?;
    Ok(Config {
        site: top.site,
        mode: top.mode,
        state_dir: top.state_dir,
        unsynchronised: top.unsynchronised,
        issuers: issuers.specs()?.into_iter().map(|i| (i.name.clone(), i)).collect(),
        challenges: challenges.specs()?.into_iter().map(|c| (c.name.clone(), c)).collect(),
        certificates: certificates.specs()?,
        services: services.specs()?.into_iter().map(|s| s.spec).collect(),
        trunks: trunks.specs()?,
        alerts: alerts?,
        check: check?,
        ignored: ignored?,
        files: sources.iter().map(|s| s.path.clone()).collect(),
        hash: hash(sources.iter().map(|s| s.text.as_str())),
    })
}

/// SHA-256 over the texts and their lengths, in hex.
fn hash<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    crate::cert::hex(context.finish().as_ref())
}

/// The folder of the main file.
fn folder(main: &Path) -> PathBuf {
    let absolute = std::path::absolute(main).unwrap_or_else(|_| main.to_owned());
    absolute.parent().map(Path::to_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests;
