//! The seams in one struct, built once for daemon and CLI alike, and by the tests' `Lab`.

mod identity;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::acme::{AcmeAuthority, Authority, Limits};
use crate::alert::{self, Heartbeat, Notifier};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::host;
use crate::http::public;
use crate::policy::alerts::post::BEAT;
use crate::policy::reach::Hysteresis;
use crate::probe::{Prober, TlsProber};
use crate::service::{HookReloader, Reloader};
use crate::state::Time;
use crate::state::facts::Ground;
use crate::state::identity::Marks;
use crate::store::Store;

/// Everything outside that a flow talks to.
#[derive(Clone)]
pub struct World {
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Where the files of this machine lie: `/`, or where a container has its host's.
    pub root: PathBuf,
    /// The marks of this host as they were a moment ago: a pass over a thousand certificates looks
    /// once.
    pub marks: Rc<RefCell<Option<(Timestamp, Marks)>>>,
    /// What is known of the clock, given the newest notBefore that we hold.
    pub time: Rc<dyn Fn(Option<Timestamp>) -> Time>,
    /// A peer over verified TLS has confirmed the clock since this program started.
    pub confirmed: Rc<Cell<bool>>,
    /// CAs by issuer name.
    pub authorities: BTreeMap<String, Rc<dyn Authority>>,
    /// Looks at endpoints.
    pub prober: Rc<dyn Prober>,
    /// Runs the hooks of services.
    pub reloader: Rc<dyn Reloader>,
    /// How slowly the belief changes whether the CA can reach us.
    pub hysteresis: Hysteresis,
    /// Where the way from the CA to us is looked at; `None`: never by itself.
    pub ground: Option<Ground>,
    /// Our own executable, for work under another user.
    pub helper: PathBuf,
    /// Ways to reach people.
    pub notifiers: Vec<Rc<dyn Notifier>>,
    /// Tells somebody elsewhere that we live; `None`: nobody asked for that.
    pub heartbeat: Option<Heartbeat>,
    /// How often; no configuration key, only tests change it.
    pub beat: Duration,
    /// Addresses from which lists of revoked certificates may be fetched.
    pub may_fetch: fn(IpAddr) -> bool,
}

impl World {
    /// The world as it is. Builds no connection: that happens when a request is due.
    pub fn real(config: &Config, store: &Store) -> Self {
        let authorities = config
            .issuers
            .iter()
            .map(|(name, issuer)| {
                let authority = AcmeAuthority::new(
                    issuer.clone(),
                    config.challenges.clone(),
                    store.challenge_dir(),
                    Limits::default(),
                );
                (name.clone(), Rc::new(authority) as Rc<dyn Authority>)
            })
            .collect();
        let unsynchronised = config.unsynchronised;
        Self {
            clock: Arc::new(SystemClock),
            root: std::env::var_os("PBXCERT_ROOT")
                .map_or_else(|| PathBuf::from("/"), PathBuf::from),
            marks: Rc::default(),
            time: Rc::new(move |newest| host::time(newest, unsynchronised)),
            confirmed: Rc::default(),
            authorities,
            prober: Rc::new(TlsProber),
            reloader: Rc::new(HookReloader),
            hysteresis: Hysteresis::default(),
            ground: Some(Ground::default()),
            // The running executable, also when the file was replaced by an upgrade meanwhile.
            helper: PathBuf::from("/proc/self/exe"),
            notifiers: alert::channels(&config.alerts),
            heartbeat: alert::heartbeat(&config.alerts),
            beat: BEAT,
            may_fetch: public::is_public,
        }
    }

    /// The wall-clock time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
