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
}

impl Daemon<'_> {
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
    let Start { config, warnings, degraded } = start;
    let world = build(&config, store);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if let Some(degraded) = &degraded {
        tracing::error!("degraded: {degraded}");
    } else if let Err(error) = file::remember_accepted(&config, world.now()) {
        tracing::warn!("{}", crate::deploy::chain_of(&error));
    }
    Rc::new(Generation { config, world, degraded })
}
