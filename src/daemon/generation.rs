//! The configuration in use, and how another one takes its place.

use std::rc::Rc;

use super::object::objects;
use super::tell::notify;
use super::{Daemon, Start};
use crate::config::Config;
use crate::config::file;
use crate::store::Store;
use crate::world::World;

/// What a pass works with; a pass that is under way keeps the one it began with.
pub(super) struct Generation {
    pub(super) config: Config,
    pub(super) world: World,
    pub(super) degraded: Option<String>,
    /// This is a copy for trying things out.
    pub(super) laboratory: bool,
}

impl Daemon<'_> {
    /// A person may have said that this is a laboratory from now on, or none any more.
    pub(super) fn follow_identity(&mut self) {
        match (self.now.laboratory, is_laboratory(self.store)) {
            // Also while the configuration on disk is broken: it must not go on ordering.
            (false, true) => {
                let (config, degraded) = (self.now.config.clone(), self.now.degraded.clone());
                let start = Start { config, warnings: Vec::new(), degraded };
                self.now = generation(start, self.store, self.build);
                tracing::warn!("this is a laboratory from now on: nothing is ordered or alerted");
            }
            (true, false) => self.reload(),
            _ => {}
        }
    }

    /// SIGHUP: a sound configuration is taken, a broken one refused with its problems in the log.
    pub(super) fn reload(&mut self) {
        notify(&[sd_notify::NotifyState::Reloading]);
        match file::load(&self.path, file::Options::HERE) {
            Ok(loaded) if loaded.config.state_dir == self.now.config.state_dir => {
                let (config, warnings) = (loaded.config, loaded.warnings);
                let start = Start { config, warnings, degraded: None };
                self.now = generation(start, self.store, self.build);
                self.faults.refused = None;
                let objects = objects(&self.now.config);
                self.due.retain(|object, _| objects.contains(object));
                self.findings.retain(|object, _| objects.contains(object));
                self.faults.passes.retain(|object, _| objects.contains(object));
                self.watch_again();
                tracing::info!("the configuration was read again");
                self.remember_daemon();
            }
            Ok(_) => tracing::error!(
                "the new configuration names another state-dir: restart pbxcert for that; the \
                 old configuration goes on"
            ),
            Err(problems) => {
                for problem in &problems.list {
                    tracing::error!("{problem}");
                }
                tracing::error!("the configuration was refused; the old one goes on");
                self.faults.refuse(&problems, self.now.world.now());
            }
        }
        self.look_at_everything();
        notify(&[sd_notify::NotifyState::Ready]);
    }
}

pub(super) fn generation(
    start: Start,
    store: &Store,
    build: &dyn Fn(&Config, &Store) -> World,
) -> Rc<Generation> {
    let Start { mut config, warnings, degraded } = start;
    let laboratory = is_laboratory(store);
    if laboratory {
        config.make_laboratory();
    }
    let world = build(&config, store);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if let Some(degraded) = &degraded {
        tracing::error!("degraded: {degraded}");
    } else if let Err(error) = file::remember_accepted(&config, world.now()) {
        tracing::warn!("{}", crate::deploy::chain_of(&error));
    }
    Rc::new(Generation { config, world, degraded, laboratory })
}

/// Whether a person said that this is a copy for trying things out.
fn is_laboratory(store: &Store) -> bool {
    store.identity().is_ok_and(|identity| identity.laboratory.is_some())
}
