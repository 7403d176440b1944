//! A quarter of 400 sites: the CA is down for 20 hours, three sites cannot be reached, and one
//! certificate has to be brought by a person.

use proptest::prelude::*;

use super::*;
use crate::config::{CertSpec, Source};
use crate::policy::findings;
use crate::policy::plan::{self, Action, Wait, Why};
use crate::policy::reach::{self, Heard, Hysteresis};
use crate::policy::remember;
use crate::policy::samples::{cases, failure, issuer, revision, spec};
use crate::policy::schedule::Seed;
use crate::state::reach::Evidence;
use crate::state::{Observed, Revision};

const SITES: u64 = 400;
const DAYS: f64 = 92.0;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Healthy,
    /// The CA cannot reach it until then.
    Broken(Timestamp),
    /// A person brings the next certificate then.
    Manual(Timestamp),
}

struct Site {
    kind: Kind,
    seed: Seed,
    spec: CertSpec,
    seen: Observed,
    host: Host,
    told: Vec<Message>,
    was_manual: bool,
}

impl Site {
    /// `age`: how old its certificate is on day 0, between 0 and 1 of what it lives before its
    /// renewal.
    fn new(n: u64, kind: Kind, age: f64) -> Self {
        let (lifetime, period) = match kind {
            Kind::Healthy => (90.0, 60.0),
            // Due early in the quarter, so that all of it is seen.
            Kind::Broken(_) => (90.0, 1.0),
            Kind::Manual(_) => (365.0, 1.0),
        };
        let mut born = day(-period * age);
        if let Kind::Broken(_) = kind {
            born = day(-59.0 - age);
        }
        if let Kind::Manual(_) = kind {
            born = day(-310.0 - age);
        }
        let mut spec = spec();
        if let Kind::Manual(_) = kind {
            (spec.source, spec.issuers) = (Source::Manual, Vec::new());
        }
        let newest = revision(n * 100 + 1, born, DAY.mul_f64(lifetime));
        let seen = Observed { newest: Some(newest), ..Observed::default() };
        let mut host = Host::new();
        host.settings.site = format!("site {n}");
        let (seed, told) = (Seed::new(&n.to_be_bytes()), Vec::new());
        Self { kind, seed, spec, seen, host, told, was_manual: false }
    }

    /// One look: until the plan waits; then what is to be told. Returns when to look again.
    fn look(&mut self, down: (Timestamp, Timestamp), now: Timestamp) -> Option<Timestamp> {
        let wait = match self.kind {
            Kind::Manual(at) => self.manual(at, now),
            Kind::Healthy | Kind::Broken(_) => self.automatic(down, now),
        };
        let issuer = issuer();
        let about = findings::About { issuer: Some(&issuer), ..Default::default() };
        let found = findings::certificate(&self.spec, about, &self.seen, &wait, now);
        let due = self.host.ask_once(&found, now);
        self.told.extend(due.messages);
        [wait.until, due.wake].into_iter().flatten().filter(|at| *at > now).min()
    }

    fn manual(&mut self, uploaded_at: Timestamp, now: Timestamp) -> Wait {
        if now >= uploaded_at && self.number() % 100 == 1 {
            self.commit(now, 365.0);
        }
        let until = (now < uploaded_at).then_some(uploaded_at);
        Wait { until, why: Why::Person("brought by a person".to_owned()) }
    }

    fn automatic(&mut self, down: (Timestamp, Timestamp), now: Timestamp) -> Wait {
        for _ in 0..10 {
            match plan::next(&self.spec, &issuer(), &self.seen, &self.seed, now) {
                Action::Wait(wait) => return wait,
                Action::AskRenewalInfo => {
                    let id = self.newest().leaf.cert_id().unwrap();
                    self.seen.state = remember::unadvised(&self.seen.state, &id, DAY, now);
                }
                Action::Issue { .. } | Action::Rehearse(_) => self.order(down, now),
                // Manual mode: whether the CA gets here again.
                Action::Probe => {
                    let found = match self.kind {
                        _ if down.0 <= now && now < down.1 => {
                            let failure = failure(FailureClass::Transient, now);
                            self.hear(Heard::Nothing(&failure), now);
                            continue;
                        }
                        Kind::Broken(until) if now < until => refused(&self.spec, now),
                        _ => reach::came_through(&issuer(), false, now),
                    };
                    self.hear(Heard::Found(found), now);
                }
                Action::Placeholder(_) => panic!("there is a certificate"),
            }
        }
        panic!("no rest at {now}");
    }

    fn order(&mut self, down: (Timestamp, Timestamp), now: Timestamp) {
        let class = match self.kind {
            _ if down.0 <= now && now < down.1 => FailureClass::Transient,
            Kind::Broken(until) if now < until => FailureClass::Validation,
            _ => return self.commit(now, 90.0),
        };
        let mut failure = failure(class, now);
        if class == FailureClass::Validation {
            failure.problem = Some("connection".to_owned());
            failure.detail = Some("192.0.2.1: Timeout during connect".to_owned());
        }
        let refused = (class == FailureClass::Validation).then(|| refused(&self.spec, now));
        let wish = plan::wish(&self.spec, &issuer());
        let held = self.newest().leaf.clone();
        let state = &self.seen.state;
        self.seen.state = remember::failed(state, failure, &wish, Some(&held), &self.seed, now);
        if let Some(refused) = refused {
            self.hear(Heard::Found(refused), now);
        }
    }

    /// What a try taught of the way to this host, as `reconcile` learns it.
    fn hear(&mut self, heard: Heard<'_>, now: Timestamp) {
        let Observed { state, newest, .. } = &self.seen;
        let (state, _) =
            reach::heard(&self.spec, state, newest.as_ref(), heard, Hysteresis::default(), now);
        self.was_manual |= state.mode.is_manual();
        self.seen.unreachable = state.mode.is_manual();
        self.seen.state = state;
    }

    fn commit(&mut self, now: Timestamp, lifetime: f64) {
        let newest = revision(self.number() + 1, now, DAY.mul_f64(lifetime));
        self.seen.newest = Some(newest);
        self.seen.state = remember::issued(&self.seen.state);
        if self.spec.source == Source::Auto {
            self.hear(Heard::Issued(reach::came_through(&issuer(), false, now)), now);
        }
    }

    fn newest(&self) -> &Revision {
        self.seen.newest.as_ref().unwrap()
    }

    fn number(&self) -> u64 {
        self.newest().number
    }

    fn run(&mut self, down: (Timestamp, Timestamp)) {
        let mut now = day(0.0);
        while let Some(next) = self.look(down, now).filter(|at| *at <= day(DAYS)) {
            now = next;
        }
    }

    fn first_urgent(&self) -> Option<Timestamp> {
        self.told.iter().find(|m| m.level >= Level::Urgent).map(|m| m.at)
    }
}

/// The CA could not connect.
fn refused(spec: &CertSpec, now: Timestamp) -> Evidence {
    let problem = ("connection", "192.0.2.1: Timeout during connect");
    reach::seen_by_ca(&issuer(), false, &spec.identifiers[0], problem, now).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases(3) })]

    #[test]
    fn healthy_sites_are_silent_and_each_real_case_is_heard_in_time(
        fleet in any::<u64>(),
        down_from in 5.0..70.0_f64,
        broken in proptest::collection::btree_set(0..SITES - 1, 3),
        repaired in 25.0..29.0_f64,
        uploaded in 12.0..50.0_f64,
    ) {
        let down = (day(down_from), after(day(down_from), HOUR * 20));
        let ages = Seed::new(&fleet.to_be_bytes());
        let mut healthy = 0;
        let mut asked_while_down = 0;
        for n in 0..SITES {
            let kind = match n {
                n if n == SITES - 1 => Kind::Manual(day(uploaded)),
                n if broken.contains(&n) => Kind::Broken(day(repaired)),
                _ => Kind::Healthy,
            };
            let mut site = Site::new(n, kind, ages.fraction(&[&n.to_string()]));
            let first = site.newest().leaf.validity;
            site.run(down);
            match kind {
                Kind::Healthy => {
                    healthy += site.told.len();
                    asked_while_down += usize::from(site.number() > n * 100 + 1);
                }
                Kind::Broken(_) | Kind::Manual(_) => {
                    let urgent = site.first_urgent();
                    prop_assert!(urgent.is_some(), "{kind:?} was never urgent: {:?}", site.told);
                    let left = span(urgent.unwrap(), first.not_after);
                    let enough = (first.lifetime() / 8).min(DAY * 45) - HOUR;
                    prop_assert!(left >= enough, "{kind:?}: told {} h before", left.as_secs() / 3600);
                }
            }
            if let Kind::Broken(_) = kind {
                prop_assert!(site.was_manual, "the CA never got there, and nobody noticed");
                let word = |m: &&Message| m.condition == "mode";
                let modes: Vec<Level> = site.told.iter().filter(word).map(|m| m.level).collect();
                prop_assert_eq!(modes, [Level::Warning, Level::Notice], "there, and back");
            }
            // No condition without its recovery: the last word about each is that it is over.
            if let Some(last) = site.told.iter().rfind(|message| message.condition != "mode") {
                prop_assert!(last.recovered, "{kind:?}: {:?}", last.subject);
            }
            prop_assert_eq!(site.host.log.open().count(), 0);
        }
        prop_assert!(asked_while_down > 350, "nearly everyone renewed in that quarter");
        prop_assert!(healthy < SITES as usize - 4, "{healthy} messages of healthy sites");
        prop_assert_eq!(healthy, 0, "20 hours without the CA are nobody's business");
    }
}
