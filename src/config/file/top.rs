//! The keys outside of any table.

use std::path::PathBuf;

use super::walk::{Declared, Read, Table, Value, Walk};
use super::{disk, keys};
use crate::config::ca::Authority;
use crate::config::{IssuerSpec, Mode};

/// What stands at the top.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) site: String,
    pub(super) mode: Mode,
    pub(super) state_dir: PathBuf,
    pub(super) unsynchronised: bool,
}

/// Where everything is remembered unless the configuration says otherwise.
const STATE_DIR: &str = "/var/lib/pbxcert";

/// The table that stands in for missing keys.
pub(super) fn defaults<'a>(walk: &mut Walk<'a>, roots: &[Table<'a>]) -> Option<Table<'a>> {
    let value = walk.once(roots, "defaults")?;
    let table = walk.table(value, keys::DEFAULTS).ok()?;
    walk.refuse_unknown_keys(&table);
    Some(table)
}

/// Reads the keys of the top, from whichever file.
pub(super) fn read<'a>(
    walk: &mut Walk<'a>,
    roots: &[Table<'a>],
    issuers: &Declared<IssuerSpec>,
) -> Read<Top> {
    let site = walk.once(roots, "site").map(|v| walk.string(v).map(|s| s.it)).transpose();
    let mode = walk.once(roots, "mode").map(|v| walk.word(v, mode, &["on", "observe"])).transpose();
    let unsynchronised = walk
        .once(roots, "time")
        .map(|v| walk.word(v, unsynchronised, &["synchronised", "unsynchronised"]))
        .transpose();
    let ephemeral = walk.once(roots, "ephemeral").map(|v| walk.bool(v)).transpose();
    let written = walk.once(roots, "state-dir");
    let state_dir = written.map(|v| walk.path(v).map(|p| p.it)).transpose();

    let state_dir = state_dir?.unwrap_or_else(|| STATE_DIR.into());
    let may_vanish = ephemeral?.unwrap_or_default() || !issuers.sound().any(is_production);
    if walk.options.machine {
        let at = written.map_or(Walk::start(), |v: Value<'_>| v.at);
        disk::check_state_dir(walk, at, &state_dir, may_vanish);
    }
    Ok(Top {
        site: site?.unwrap_or_else(host_name),
        mode: mode?.unwrap_or_default(),
        state_dir,
        unsynchronised: unsynchronised?.unwrap_or_default(),
    })
}

fn mode(word: &str) -> Option<Mode> {
    match word {
        "on" => Some(Mode::On),
        "observe" => Some(Mode::Observe),
        _ => None,
    }
}

fn unsynchronised(word: &str) -> Option<bool> {
    match word {
        "synchronised" => Some(false),
        "unsynchronised" => Some(true),
        _ => None,
    }
}

/// Whether an account or a budget lost there would hurt.
fn is_production(issuer: &IssuerSpec) -> bool {
    issuer.trust_anchor.is_none() && Authority::at(&issuer.directory).is_none_or(|a| a.trusted)
}

pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
