//! One loop: a timer, file events, signals. It only decides *when* to look; what to do is decided
//! by the plan, each time anew, from what is on disk.

mod alerts;
mod check;
mod generation;
mod object;
mod only;
mod post;
mod tell;
mod timer;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use self::alerts::Faults;
use self::generation::{Generation, generation};
use self::object::{
    Object, at_the_latest, has_upload, objects, pending_tokens, waiting_for, watched,
};
use self::post::Post;
use self::tell::notify;
use self::timer::Timer;
use crate::config::Config;
use crate::config::file::Problem;
use crate::policy::{health, schedule};
use crate::reconcile::{self, Pass, Reconciler};
use crate::state::Finding;
use crate::store::{self, Store};
use crate::watch::{self, Watcher};
use crate::world::World;

/// Certificates that are worked on side by side: one slow CA holds up no other, and a hundred due
/// ones do not become a hundred connections.
const SIDE_BY_SIDE: usize = 8;

/// How long certificates may take to come to the end of their step when the process is to end.
const STEP_GRACE: Duration = Duration::from_secs(10);

/// Why the daemon could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon works on the same state folder.
    #[error("another pbxcert is running on {state_dir}; stop it first (systemctl stop pbxcert)")]
    Running {
        /// The folder.
        state_dir: PathBuf,
    },
    /// A signal, the timer or the watcher could not be set up.
    #[error("cannot set up {what}")]
    SetUp {
        /// Which.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Records.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What the daemon starts with.
pub struct Start {
    /// What is wanted.
    pub config: Config,
    /// What looks wrong in it.
    pub warnings: Vec<Problem>,
    /// Why this is not the configuration that is on disk, if it is not.
    pub degraded: Option<String>,
}

type Running<'a> = FuturesUnordered<LocalBoxFuture<'a, (Object, Result<Pass, reconcile::Error>)>>;

/// Runs until SIGTERM or SIGINT.
///
/// `path` is the configuration, read again on SIGHUP.
///
/// # Errors
///
/// Only at start; a running daemon does not end on anybody's error.
pub async fn run(start: Start, path: PathBuf) -> Result<(), Error> {
    run_in(start, path, &World::real).await
}

/// The same in a world of the caller's making.
///
/// # Errors
///
/// As [`run`].
pub async fn run_in(
    start: Start,
    path: PathBuf,
    build: &dyn Fn(&Config, &Store) -> World,
) -> Result<(), Error> {
    let store = Store::open(&start.config.state_dir)?;
    let Some(_only) = only::only_one(&store).await? else {
        return Err(Error::Running { state_dir: start.config.state_dir });
    };
    let stop = Cell::new(false);
    let running = Running::new();
    let now = generation(start, &store, build);
    let mut daemon = Daemon::new(&store, path, now, build, &stop, running)?;
    daemon.serve().await
}

struct Daemon<'a> {
    store: &'a Store,
    path: PathBuf,
    now: Rc<Generation>,
    build: &'a dyn Fn(&Config, &Store) -> World,
    /// When to look at each object again.
    due: BTreeMap<Object, Option<Timestamp>>,
    /// Objects that something happened to while they were worked on.
    again: BTreeSet<Object>,
    working: BTreeSet<Object>,
    /// What is wrong, as the last pass over each object found it.
    findings: BTreeMap<Object, Vec<Finding>>,
    /// What else is wrong: with the daemon itself.
    faults: Faults,
    /// Messages on their way.
    post: Post,
    /// Until when an object is left alone whose pass could not be made.
    resting: BTreeMap<Object, Timestamp>,
    running: Running<'a>,
    stop: &'a Cell<bool>,
    timer: Timer,
    watcher: Watcher,
    wakes: watch::Wakes,
    watchdog: Option<Duration>,
    first_pass: BTreeSet<Object>,
    started_at: Timestamp,
}

impl<'a> Daemon<'a> {
    fn new(
        store: &'a Store,
        path: PathBuf,
        now: Rc<Generation>,
        build: &'a dyn Fn(&Config, &Store) -> World,
        stop: &'a Cell<bool>,
        running: Running<'a>,
    ) -> Result<Self, Error> {
        let timer = Timer::new().map_err(|source| Error::SetUp { what: "the timer", source })?;
        let paths = watched(&now.config, store);
        let (watcher, wakes) = Watcher::new(&paths).map_err(|e: watch::Error| Error::SetUp {
            what: "the file watcher",
            source: std::io::Error::other(e),
        })?;
        let mut daemon = Self {
            store,
            path,
            build,
            due: BTreeMap::new(),
            again: BTreeSet::new(),
            working: BTreeSet::new(),
            findings: BTreeMap::new(),
            faults: Faults::default(),
            post: Post::new(store, now.world.now()),
            resting: BTreeMap::new(),
            running,
            stop,
            timer,
            watcher,
            wakes,
            watchdog: sd_notify::watchdog_enabled().map(|every| every / 2),
            first_pass: objects(&now.config),
            started_at: now.world.now(),
            now,
        };
        // What the last check found is told on, not told to be over, until the next one.
        let found = check::last(store).as_ref().map(health::findings).unwrap_or_default();
        daemon.findings.insert(Object::Check, found);
        daemon.look_at_everything();
        Ok(daemon)
    }

    async fn serve(&mut self) -> Result<(), Error> {
        let mut term = signals(SignalKind::terminate())?;
        let mut int = signals(SignalKind::interrupt())?;
        let mut hangup = signals(SignalKind::hangup())?;
        self.announce_start();
        let mut watching = true;
        while !self.stop.get() {
            self.start_due();
            self.alert();
            self.set_timer();
            tokio::select! {
                Some((object, pass)) = self.running.next() => self.finished(object, pass),
                Some(sent) = self.post.sending.next() => self.sent(sent),
                Some(beaten) = self.post.beating.next() => self.beaten(&beaten),
                woken = self.wakes.next(), if watching => match woken {
                    Some(()) => {
                        self.follow_identity();
                        self.watch_again();
                        self.look_at_everything();
                    }
                    None => watching = false,
                },
                () = self.timer.fired() => {}
                _ = hangup.recv() => self.reload(),
                _ = term.recv() => self.stop.set(true),
                _ = int.recv() => self.stop.set(true),
            }
        }
        self.end().await
    }

    fn announce_start(&self) {
        self.remember_daemon();
        let pending = pending_tokens(self.store, &self.now.config);
        if let Err(error) = self.store.sweep_challenges(&pending) {
            let text = crate::deploy::chain_of(&error);
            tracing::warn!("old answers to challenges cannot be removed: {text}");
        }
        let certificates = self.now.config.certificates.len();
        let services = self.now.config.services.len();
        tracing::info!(certificates, services, "pbxcert is watching");
        notify(&[sd_notify::NotifyState::Ready]);
    }

    /// Starts every pass that is due, certificates within their bound.
    fn start_due(&mut self) {
        let now = self.now.world.now();
        let due: Vec<Object> = self
            .due
            .iter()
            .filter(|(object, at)| {
                at.is_some_and(|at| at <= now) && !self.working.contains(*object)
            })
            .map(|(object, _)| object.clone())
            .collect();
        let mut busy = self.working.iter().filter(|o| matches!(o, Object::Certificate(_))).count();
        for object in due {
            if let Object::Certificate(name) = &object {
                if busy >= SIDE_BY_SIDE && !has_upload(&self.now.config, name) {
                    continue;
                }
                busy += 1;
            }
            self.due.insert(object.clone(), None);
            self.start(object);
        }
    }

    fn start(&mut self, object: Object) {
        let (store, stop, now) = (self.store, self.stop, Rc::clone(&self.now));
        let started_at = self.started_at;
        let mend_at_once = self.first_pass.remove(&object);
        self.working.insert(object.clone());
        self.running.push(Box::pin(async move {
            let reconciler = Reconciler {
                world: &now.world,
                store,
                config: &now.config,
                by_hand: false,
                mend_at_once,
                stop,
                progress: &|_| {},
            };
            let pass = match &object {
                Object::Certificate(name) => match now.config.certificate(name) {
                    Some(spec) => reconciler.certificate(spec).await,
                    None => Ok(Pass::nothing()),
                },
                Object::Check => check::pass(&now, store, started_at).await,
                Object::Service(name) => match now.config.service(name) {
                    Some(spec) => reconciler.service(spec).await,
                    None => Ok(Pass::nothing()),
                },
            };
            (object, pass)
        }));
    }

    fn finished(&mut self, object: Object, pass: Result<Pass, reconcile::Error>) {
        self.working.remove(&object);
        let now = self.now.world.now();
        let until = match pass {
            Ok(pass) => {
                self.findings.insert(object.clone(), pass.findings);
                self.faults.passes.remove(&object);
                pass.wait.until
            }
            Err(error) => {
                let text = crate::deploy::chain_of(&error);
                tracing::error!(object = object.name(), "{text}");
                let until = schedule::after(now, schedule::MINUTE);
                self.faults.passes.entry(object.clone()).or_insert((now, text));
                self.resting.insert(object.clone(), until);
                self.again.remove(&object);
                Some(until)
            }
        };
        self.faults.changed_at.get_or_insert(now);
        let latest = at_the_latest(&object, &self.now.config, now);
        let until = Some(until.map_or(latest, |at| at.min(latest)));
        if self.again.remove(&object) {
            self.due.insert(object.clone(), Some(now));
        } else if let Some(due) = self.due.get_mut(&object) {
            *due = until;
        }
        self.watch_again();
        for object in waiting_for(&object, &self.now.config) {
            self.look_at(object, now);
        }
        self.watch_again();
        self.show_status();
    }

    /// A folder that was swapped, by us or by somebody else, is another one and not watched yet.
    fn watch_again(&mut self) {
        if self.watcher.watch(&watched(&self.now.config, self.store)) {
            self.look_at_everything();
        }
    }

    /// Events carry no news: they only say "look again".
    fn look_at_everything(&mut self) {
        let now = self.now.world.now();
        for object in objects(&self.now.config) {
            self.look_at(object, now);
        }
    }

    fn look_at(&mut self, object: Object, now: Timestamp) {
        if self.working.contains(&object) {
            self.again.insert(object);
            return;
        }
        // What cannot be remembered (a full disk) raises events of its own: no spinning on those.
        let rests = self.resting.get(&object).filter(|until| **until > now);
        let rests = rests.filter(|until| **until <= schedule::after(now, schedule::MINUTE));
        let at = rests.copied().unwrap_or(now);
        self.due.insert(object, Some(at));
    }

    /// Ends between steps: certificates within a grace, services whenever they are done, since a
    /// half-done deployment is the one thing that must not be left.
    async fn end(&mut self) -> Result<(), Error> {
        notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("ending after the step that is under way");
        let deadline = tokio::time::Instant::now() + STEP_GRACE;
        while !self.working.is_empty() || !self.post.sending.is_empty() {
            let deploying = self.working.iter().any(|o| matches!(o, Object::Service(_)));
            tokio::select! {
                Some((object, _)) = self.running.next() => {
                    self.working.remove(&object);
                }
                // What a server has taken is marked, or it would be sent once more.
                Some(sent) = self.post.sending.next() => self.post.finished(sent, self.store),
                () = tokio::time::sleep_until(deadline), if !deploying => break,
            }
        }
        Ok(self.store.forget_daemon()?)
    }

    fn set_timer(&mut self) {
        let at_bound = self.working.len() >= SIDE_BY_SIDE;
        let now = self.now.world.now();
        let next = self
            .due
            .iter()
            .filter(|(object, _)| !self.working.contains(*object))
            .filter_map(|(_, at)| *at)
            // What is due and held up by the bound starts when another one ends.
            .filter(|at| !at_bound || *at > now)
            .min();
        let beat = self.watchdog.and_then(|every| now.checked_add(every).ok());
        if self.watchdog.is_some() {
            notify(&[sd_notify::NotifyState::Watchdog]);
        }
        // A wake that never comes would be worse than one too many.
        let far = now.checked_add(Duration::from_secs(24 * 60 * 60)).ok();
        let alerts = self.alert_at(now);
        if let Some(at) = [next, beat, far, alerts].into_iter().flatten().min() {
            self.timer.set(at);
        }
    }
}

fn signals(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Error> {
    signal(kind).map_err(|source| Error::SetUp { what: "the signals", source })
}
