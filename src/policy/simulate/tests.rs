mod placeholder;
mod trust;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cert::span;
use crate::config::kind::{Class, Kind};
use crate::policy::budget;
use crate::policy::plan::{Wait, Why};
use crate::policy::samples::{at, cases, closed, day, issuer, revision, seed, served, spec};
use crate::policy::schedule::{HOUR, MINUTE, WEEK, before, emergency_at, renewal_period};
use crate::state::{FilesSeen, PairSeen, PairState};

const ENDPOINT: &str = "https://127.0.0.1:443";

/// A certificate of this lifetime, issued now and served by one service.
fn scene(lifetime: Duration, issuer: IssuerSpec) -> Scene {
    let newest = revision(1, day(0.0), lifetime);
    let seen = Observed { newest: Some(newest.clone()), ..Observed::default() };
    let leaf = newest.leaf.clone();
    let pair = PairSeen {
        certificate: "pbx".to_owned(),
        newest: Some(newest),
        min_age: Duration::ZERO,
        root: None,
        state: PairState { step: Step::Proved, revision: Some(1), ..PairState::default() },
        files: FilesSeen::AsInstalled,
        in_place: None,
        outside_is_sound: false,
        trust: None,
    };
    Scene {
        certificates: vec![CertScene { spec: spec(), issuer, seen }],
        services: vec![web(pair, Some(&leaf))],
    }
}

/// Nothing is there yet.
fn empty(issuer: IssuerSpec) -> Scene {
    let pair = PairSeen {
        certificate: "pbx".to_owned(),
        newest: None,
        min_age: Duration::ZERO,
        root: None,
        state: PairState::default(),
        files: FilesSeen::Untouched,
        in_place: None,
        outside_is_sound: false,
        trust: None,
    };
    let certificate = CertScene { spec: spec(), issuer, seen: Observed::default() };
    Scene { certificates: vec![certificate], services: vec![web(pair, None)] }
}

fn web(pair: PairSeen, serves: Option<&Leaf>) -> ServiceScene {
    let spec = ServiceSpec {
        name: "web".to_owned(),
        kind: Kind::Nginx,
        certificates: vec!["pbx".to_owned()],
        install: BTreeMap::new(),
        user: None,
        test: None,
        reload: None,
        recover: None,
        busy: None,
        class: Class::Hot,
        reloads_per_day: None,
        exec_prefix: Vec::new(),
        clients: Vec::new(),
        sip_domains: Vec::new(),
        strict_lint: false,
        after: Vec::new(),
        calm: crate::config::calm::Calm::default(),
        endpoints: Vec::new(),
        proof_timeout: MINUTE,
        hook_timeout: MINUTE,
    };
    let now = day(0.0);
    let look = serves.map_or_else(|| closed(now), |leaf| served(leaf, now));
    let seen = ServiceSeen {
        pairs: vec![pair],
        reloads: Vec::new(),
        mended: Vec::new(),
        looked_at: Some(now),
        seen: [(ENDPOINT.to_owned(), look)].into(),
        endpoints: [(ENDPOINT.to_owned(), "pbx".to_owned())].into(),
        by_hand: false,
        calls: None,
        announced: None,
        ahead: Vec::new(),
    };
    ServiceScene { spec, seen }
}

fn rehearsing() -> IssuerSpec {
    IssuerSpec { rehearsal: Some("https://staging.example".to_owned()), ..issuer() }
}

fn held(scene: &Scene) -> &Leaf {
    &scene.certificates[0].seen.newest.as_ref().unwrap().leaf
}

// ---------------------------------------------------------------- the timeline for a person

#[test]
fn the_timeline_of_400_days_shows_each_renewal_and_its_deployment() {
    let mut scene = scene(DAY * 90, rehearsing());
    let mut outcomes = AsExpected { until: day(400.0) };
    let timeline = simulate(&mut scene, &seed(), &mut outcomes, day(0.0)).unwrap();
    let told: Vec<&Entry> = timeline.iter().filter(|entry| !entry.routine).collect();
    assert_eq!(told.len(), 12, "{told:#?}");
    for (n, pair) in told.chunks(2).enumerate() {
        let [issued, deployed] = pair else { panic!("{pair:?}") };
        assert_eq!((issued.object.as_str(), deployed.object.as_str()), ("pbx", "web"));
        assert_eq!(issued.at, deployed.at);
        let days = span(day(0.0), issued.at).as_secs_f64() / 86_400.0;
        let expected = 60.0 * (n as f64 + 1.0);
        assert!((days - expected).abs() < 0.9 * (n as f64 + 1.0), "renewal {n} on day {days}");
        assert_eq!(issued.why, "two thirds of its life have passed (half below 10 days)");
        assert_eq!(deployed.what, format!("revision {} of pbx proved", n + 2));
        assert_eq!(deployed.why, "a newer certificate than the service has");
    }
}

#[test]
fn the_first_certificate_is_rehearsed_ordered_and_deployed_at_once() {
    let mut scene = empty(rehearsing());
    let mut outcomes = AsExpected { until: day(1.0) };
    let timeline = simulate(&mut scene, &seed(), &mut outcomes, day(0.0)).unwrap();
    let told = timeline.iter().filter(|entry| !entry.routine && entry.at == day(0.0));
    let what: Vec<&str> = told.map(|entry| entry.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "rehearsal succeeds",
            "revision 1, until 2027-02-21 12:00 UTC",
            "revision 1 of pbx proved"
        ]
    );
}

/// A plan that went round in circles: each certificate of this CA is over when it comes.
struct Useless;

impl Outcomes for Useless {
    fn order(&mut self, _: Option<&Leaf>, _: bool, now: Timestamp) -> Result<Validity, Failed> {
        Ok(Validity { not_before: before(now, DAY * 90), not_after: after(now, MINUTE) })
    }

    fn sleep(&mut self, wake: Option<Timestamp>, _now: Timestamp) -> Option<Timestamp> {
        wake.filter(|wake| *wake < day(30.0))
    }
}

#[test]
fn a_ca_whose_certificates_are_old_when_they_come_is_asked_no_more_than_the_budget_allows() {
    let mut scene = empty(issuer());
    let timeline = simulate(&mut scene, &seed(), &mut Useless, day(0.0)).unwrap();
    let orders = timeline.iter().filter(|entry| entry.what.starts_with("revision")).count();
    assert!(orders <= 2 * 5 + 20, "{orders} orders in 30 days");
    assert!(orders >= 8, "{orders} orders: it gave up");
}

#[test]
fn a_wait_that_is_over_is_a_mistake_that_is_told() {
    let wait = Wait { until: Some(at(0)), why: Why::Quiet };
    let error = run::ahead(&wait, "pbx".to_owned(), at(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pbx at 2026-11-23 12:00 UTC: waiting for what is over (files changed a moment ago; \
         waiting until they are quiet) again and again without progress"
    );
}

// ---------------------------------------------------------------- the adversary

/// A CA, and a service, that fail as somebody who wants an outage picks: at most three tries in a
/// row at the CA, at most two at the service.
#[derive(Debug)]
struct Adversary {
    lifetime: Duration,
    until: Timestamp,
    /// What happens at each try, used round and round.
    picks: Vec<Pick>,
    next: usize,
    /// Failures in a row, at the CA and at the service.
    in_a_row: u32,
    refused: u32,
    /// The limit that is to be kept.
    weekly: usize,
    rehearses: bool,
    validations: Vec<Timestamp>,
    issued: Vec<Timestamp>,
    orders: usize,
    certificates: usize,
}

#[derive(Clone, Debug)]
struct Pick {
    fails: bool,
    class: FailureClass,
    /// In hundredths of the lifetime: one at most, since three in a row have to fit into the
    /// emergency's five.
    retry_after: Option<u32>,
    /// Start and end of the window, in hundredths of the lifetime from notBefore.
    window: Option<(i32, i32)>,
    step: Step,
}

fn pick() -> impl Strategy<Value = Pick> {
    use FailureClass::{Person, RateLimited, Transient, Validation};
    let class = prop_oneof![
        3 => Just(Validation), 1 => Just(Transient), 1 => Just(RateLimited), 1 => Just(Person),
    ];
    let window = prop_oneof![
        Just(None),
        // As Let's Encrypt does it.
        Just(Some((64, 68))),
        // In the past, at once and always, far ahead, empty, backwards, over the end.
        (-50..0_i32, -10..120_i32).prop_map(Some),
        (0..120_i32, 0..200_i32).prop_map(Some),
        Just(Some((0, 100))),
        Just(Some((50, 50))),
        Just(Some((98, 100))),
    ];
    let step = prop_oneof![
        3 => Just(Step::Proved), 1 => Just(Step::NotTaken), 1 => Just(Step::RolledBack),
    ];
    let fails = prop_oneof![3 => Just(true), 1 => Just(false)];
    (fails, class, proptest::option::of(0..2_u32), window, step).prop_map(
        |(fails, class, retry_after, window, step)| Pick {
            fails,
            class,
            retry_after,
            window,
            step,
        },
    )
}

impl Adversary {
    fn new(lifetime: Duration, until: Timestamp, picks: Vec<Pick>, issuer: &IssuerSpec) -> Self {
        Self {
            lifetime,
            until,
            picks,
            next: 0,
            in_a_row: 0,
            refused: 0,
            weekly: budget::weekly(renewal_period(lifetime), issuer),
            rehearses: issuer.rehearsal.is_some(),
            validations: Vec::new(),
            issued: Vec::new(),
            orders: 0,
            certificates: 0,
        }
    }

    fn pick(&mut self) -> Pick {
        self.next += 1;
        self.picks[self.next % self.picks.len()].clone()
    }

    fn try_it(&mut self) -> Result<(), Failed> {
        let pick = self.pick();
        if !pick.fails || self.in_a_row == 3 {
            self.in_a_row = 0;
            return Ok(());
        }
        self.in_a_row += 1;
        Err(self.failed(&pick))
    }

    fn failed(&self, pick: &Pick) -> Failed {
        let retry_after = pick.retry_after.map(|n| self.lifetime * n / 100);
        Failed { class: pick.class, retry_after }
    }

    /// No more than `limit` of these within `within`.
    fn keeps(times: &[Timestamp], limit: usize, within: Duration) -> bool {
        times.windows(limit + 1).all(|some| span(some[0], some[limit]) >= within)
    }

    fn assert_budget(&self) {
        assert!(Self::keeps(&self.validations, 2, HOUR), "{:?}", self.validations);
        assert!(Self::keeps(&self.validations, 5, DAY), "{:?}", self.validations);
        assert!(Self::keeps(&self.issued, self.weekly, WEEK), "{:?}", self.issued);
    }
}

impl Outcomes for Adversary {
    fn order(
        &mut self,
        held: Option<&Leaf>,
        exempt: bool,
        now: Timestamp,
    ) -> Result<Validity, Failed> {
        self.orders += 1;
        if let Some(leaf) = held {
            assert!(now <= leaf.validity.not_after, "it expired at {}", leaf.validity.not_after);
        }
        if let Err(failed) = self.try_it() {
            if failed.class == FailureClass::Validation {
                self.validations.push(now);
            }
            return Err(failed);
        }
        self.certificates += 1;
        if !exempt {
            self.issued.push(now);
        }
        Ok(Validity { not_before: now, not_after: after(now, self.lifetime) })
    }

    /// Another CA: how often it fails must not matter at all.
    fn rehearse(&mut self, _now: Timestamp) -> Result<(), Failed> {
        let pick = self.pick();
        if pick.fails { Err(self.failed(&pick)) } else { Ok(()) }
    }

    /// Where there is no rehearsal, a probe is a try like others, but its success ends no row.
    fn probe(&mut self, now: Timestamp) -> Result<(), Failed> {
        if self.rehearses {
            return self.rehearse(now);
        }
        let row = self.in_a_row;
        let tried = self.try_it();
        match &tried {
            Ok(()) => self.in_a_row = row,
            Err(failed) if failed.class == FailureClass::Validation => self.validations.push(now),
            Err(_) => {}
        }
        tried
    }

    fn advise(&mut self, leaf: &Leaf, _now: Timestamp) -> Option<(Window, Duration)> {
        let (start, end) = self.pick().window?;
        let moment = |hundredths: i32| {
            let span = self.lifetime * hundredths.unsigned_abs() / 100;
            let from = leaf.validity.not_before;
            if hundredths < 0 { before(from, span) } else { after(from, span) }
        };
        Some((Window { start: moment(start), end: moment(end) }, DAY))
    }

    fn deploy(&mut self, _service: &str, old: Option<&Leaf>, now: Timestamp) -> Step {
        if let Some(old) = old {
            let end = old.validity.not_after;
            assert!(now <= end, "an expired certificate was served since {end}");
        }
        let step = self.pick().step;
        // A day has no time for three tries at the CA and two at the service, an hour apart.
        if step == Step::Proved || self.refused == 2 || self.lifetime == DAY {
            self.refused = 0;
            return Step::Proved;
        }
        self.refused += 1;
        step
    }

    fn sleep(&mut self, wake: Option<Timestamp>, _now: Timestamp) -> Option<Timestamp> {
        wake.filter(|wake| *wake < self.until)
    }
}

/// Lifetime in days, and years to simulate.
fn lifetimes() -> impl Strategy<Value = (u32, f64)> {
    prop_oneof![
        Just((1, 0.15)),
        Just((6, 0.7)),
        Just((45, 2.0)),
        Just((64, 2.0)),
        Just((90, 3.0)),
        Just((200, 4.0)),
    ]
}

/// Let's Encrypt's published limit; a CA of 1-day certificates needs a higher one.
fn issuer_for(days: u32) -> IssuerSpec {
    let weekly_limit = if days == 1 { Some(50) } else { Some(5) };
    IssuerSpec { weekly_limit, ..rehearsing() }
}

proptest! {
    #![proptest_config(cases(50))]

    #[test]
    fn whatever_three_tries_in_a_row_fail_it_never_expires_nor_goes_over_the_budget(
        (days, years) in lifetimes(),
        picks in proptest::collection::vec(pick(), 1..40),
    ) {
        let (lifetime, until) = (DAY * days, day(365.0 * years));
        let issuer = issuer_for(days);
        let mut adversary = Adversary::new(lifetime, until, picks, &issuer);
        let mut scene = scene(lifetime, issuer);
        let timeline = simulate(&mut scene, &seed(), &mut adversary, day(0.0))?;
        adversary.assert_budget();
        // It goes on to the end, and what is served then is good.
        prop_assert!(held(&scene).validity.not_after > until);
        let served = scene.services[0].seen.seen[ENDPOINT].leaf().unwrap();
        prop_assert!(served.validity.not_after > until, "{:?}", timeline.last());
        // At most three tries fail for each that succeeds.
        let (orders, certificates) = (adversary.orders, adversary.certificates);
        prop_assert!(orders <= certificates * 4 + 3, "{orders} orders, {certificates} certificates");
    }

    #[test]
    fn a_ca_that_was_down_until_the_emergency_is_back_in_use_within_the_hour(
        (days, _) in lifetimes(),
        left in 0.005..0.045_f64,
        class in prop_oneof![Just(FailureClass::Transient), Just(FailureClass::Person)],
    ) {
        let lifetime = DAY * days;
        let back_at = after(day(0.0), lifetime.mul_f64(1.0 - left));
        let mut outage = Outage { lifetime, back_at, class, issued_at: None };
        let mut scene = scene(lifetime, issuer_for(days));
        let emergency_at = emergency_at(held(&scene).validity);
        simulate(&mut scene, &seed(), &mut outage, day(0.0))?;
        let late = span(back_at, outage.issued_at.unwrap());
        prop_assert!(back_at > emergency_at && late <= HOUR, "{late:?} late");
    }
}

#[test]
fn a_ca_that_always_says_now_lets_no_short_lived_certificate_run_out_of_budget() {
    for (days, window) in
        [1, 6, 45].into_iter().flat_map(|days| [(days, (-20, -10)), (days, (-50, 10))])
    {
        let quiet = Pick {
            fails: false,
            class: FailureClass::Transient,
            retry_after: None,
            window: Some(window),
            step: Step::Proved,
        };
        let (lifetime, until, issuer) = (DAY * days, day(120.0), issuer_for(days));
        let mut adversary = Adversary::new(lifetime, until, vec![quiet], &issuer);
        let mut scene = scene(lifetime, issuer);
        simulate(&mut scene, &seed(), &mut adversary, day(0.0)).unwrap();
        adversary.assert_budget();
        assert!(held(&scene).validity.not_after > until, "{days} days, {window:?}");
        // Exempt ones have a budget of the same size.
        let most = adversary.weekly * 2 * (120 / 7 + 1);
        assert!(adversary.certificates <= most, "{} certificates", adversary.certificates);
    }
}

/// Every order fails until the CA is back.
struct Outage {
    lifetime: Duration,
    back_at: Timestamp,
    class: FailureClass,
    issued_at: Option<Timestamp>,
}

impl Outcomes for Outage {
    fn order(&mut self, _: Option<&Leaf>, _: bool, now: Timestamp) -> Result<Validity, Failed> {
        if now < self.back_at {
            return Err(Failed { class: self.class, retry_after: None });
        }
        self.issued_at = Some(now);
        Ok(Validity { not_before: now, not_after: after(now, self.lifetime) })
    }

    fn sleep(&mut self, wake: Option<Timestamp>, _now: Timestamp) -> Option<Timestamp> {
        wake.filter(|_| self.issued_at.is_none())
    }
}

// ---------------------------------------------------------------- the clock

/// A CA that knows the time, and a host whose clock does not: it is set to and fro.
#[derive(Debug)]
struct Clocks {
    lifetime: Duration,
    /// The true time.
    truth: Timestamp,
    until: Timestamp,
    /// When the host's clock is set, how far beside the truth (seconds), and whether it is trusted.
    jumps: Vec<(Timestamp, i64, bool)>,
    done: usize,
    orders: usize,
    failing: bool,
}

const IN_2038: i64 = 12 * 365 * 86_400;

impl Clocks {
    fn host(&self) -> Timestamp {
        let ahead = self.done.checked_sub(1).map_or(0, |last| self.jumps[last].1);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { before(self.truth, by) } else { after(self.truth, by) }
    }
}

impl Outcomes for Clocks {
    fn order(&mut self, _: Option<&Leaf>, _: bool, _: Timestamp) -> Result<Validity, Failed> {
        self.orders += 1;
        self.failing = !self.failing;
        if self.failing && self.done < self.jumps.len() {
            return Err(Failed { class: FailureClass::Validation, retry_after: Some(HOUR) });
        }
        Ok(Validity { not_before: self.truth, not_after: after(self.truth, self.lifetime) })
    }

    fn sleep(&mut self, wake: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let woken = wake.map(|wake| after(self.truth, span(now, wake)));
        let jump = self.jumps.get(self.done).map(|jump| jump.0);
        if let Some(at) = jump.filter(|at| woken.is_none_or(|woken| *at <= woken)) {
            self.truth = at;
            self.done += 1;
        } else {
            self.truth = woken?;
        }
        (self.truth < self.until).then(|| self.host())
    }

    fn time(&mut self, _now: Timestamp) -> Option<Time> {
        let trusted = self.done.checked_sub(1).is_none_or(|last| self.jumps[last].2);
        Some(Time { trusted, floor: day(-30.0), boot_at: None })
    }
}

fn jump() -> impl Strategy<Value = (f64, i64, bool)> {
    let ahead = prop_oneof![
        Just(IN_2038),
        Just(-IN_2038),
        -86_400 * 20..86_400 * 400_i64,
        -7200..7200_i64,
    ];
    (0.0..60.0_f64, ahead, any::<bool>())
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn a_clock_that_jumps_to_2038_and_back_wedges_nothing(
        (days, _) in lifetimes(),
        mut jumps in proptest::collection::vec(jump(), 1..6),
    ) {
        jumps.sort_by(|a, b| a.0.total_cmp(&b.0));
        wedged_by(days, &jumps)?;
    }
}

#[test]
fn a_clock_that_was_ahead_and_then_in_the_past_wedges_nothing() {
    let jumps = [(17.41327208387389, 3_060_293, false), (41.138413768796326, -IN_2038, false)];
    wedged_by(6, &jumps).unwrap();
}

/// Lives through these jumps: on which day, how far the clock is ahead then, whether it is trusted.
fn wedged_by(days: u32, jumps: &[(f64, i64, bool)]) -> Result<(), TestCaseError> {
    let lifetime = DAY * days;
    let mut jumps: Vec<_> = jumps.iter().map(|(d, by, t)| (day(*d), *by, *t)).collect();
    // In the end it is right again; then everything has to be as it should be again within
    // what the limits can ask: twice their longest span, 14 days.
    jumps.push((day(61.0), 0, true));
    let until = after(day(61.0), WEEK * 2 + lifetime);
    let mut clocks =
        Clocks { lifetime, truth: day(0.0), until, jumps, done: 0, orders: 0, failing: false };
    let mut scene = scene(lifetime, issuer_for(days));
    let timeline = simulate(&mut scene, &seed(), &mut clocks, day(0.0))?;
    let leaf = held(&scene);
    prop_assert!(leaf.validity.not_after > until, "{:?}", &timeline[timeline.len() - 8..]);
    let served = scene.services[0].seen.seen[ENDPOINT].leaf().unwrap();
    prop_assert_eq!(served.fingerprint, leaf.fingerprint);
    // Neither did it order in circles.
    prop_assert!(clocks.orders <= 400, "{} orders", clocks.orders);
    Ok(())
}

// ---------------------------------------------------------------- calls

/// 20 calls are up round the clock; notes what each deployment found.
struct AlwaysBusy {
    until: Timestamp,
    /// What a reload does to them.
    class: Class,
    deployed: Vec<(Timestamp, Option<Duration>)>,
    dropped: u32,
}

impl AlwaysBusy {
    /// For a year with the service as its configuration has it.
    fn with(service: &ServiceSpec) -> Self {
        Self { until: day(365.0), class: service.class, deployed: Vec::new(), dropped: 0 }
    }
}

/// FreeSWITCH as its kind presets it, in the place of the service.
fn freeswitch(scene: &mut Scene) -> &mut ServiceSpec {
    let preset = Kind::Freeswitch.preset().unwrap();
    let service = &mut scene.services[0].spec;
    service.kind = Kind::Freeswitch;
    service.class = preset.class;
    service.reloads_per_day = preset.reloads_per_day;
    service.reload = Some(vec![preset.hook.to_owned()]);
    service.busy = service.reload.clone().filter(|_| preset.counts_calls);
    service
}

impl Outcomes for AlwaysBusy {
    fn order(&mut self, _: Option<&Leaf>, _: bool, now: Timestamp) -> Result<Validity, Failed> {
        Ok(Validity { not_before: now, not_after: after(now, DAY * 64) })
    }

    fn deploy(&mut self, _: &str, old: Option<&Leaf>, now: Timestamp) -> Step {
        self.deployed.push((now, old.map(|leaf| leaf.validity.left(now))));
        if self.class == Class::Restart {
            self.dropped += 20;
        }
        Step::Proved
    }

    fn calls(&mut self, _: &str, _: Timestamp) -> Option<u32> {
        Some(20)
    }

    fn sleep(&mut self, wake: Option<Timestamp>, _: Timestamp) -> Option<Timestamp> {
        wake.filter(|wake| *wake <= self.until)
    }
}

#[test]
fn a_year_of_a_busy_freeswitch_as_preset_ends_calls_in_announced_windows_only() {
    let mut scene = scene(DAY * 64, rehearsing());
    let mut outcomes = AlwaysBusy::with(freeswitch(&mut scene));
    let timeline = simulate(&mut scene, &seed(), &mut outcomes, day(0.0)).unwrap();
    assert!(outcomes.deployed.len() >= 5, "{:?}", outcomes.deployed);
    for (at, left) in &outcomes.deployed {
        let hour = at.to_zoned_datetime(jiff::tz::TimeZone::UTC).hour();
        assert!((3..5).contains(&hour), "restarted at {at}");
        assert!(left.is_some_and(|left| left > DAY), "{left:?} left at {at}");
        let announced = timeline.iter().rfind(|e| e.at < *at && e.what.starts_with("announced"));
        assert!(announced.is_some_and(|e| span(e.at, *at) >= DAY * 2), "{announced:?} {at}");
    }
}

#[test]
fn a_year_of_a_busy_freeswitch_that_reloads_hot_never_waits_and_drops_no_call() {
    let mut scene = scene(DAY * 64, rehearsing());
    let service = freeswitch(&mut scene);
    service.class = Class::Hot;
    let mut outcomes = AlwaysBusy::with(service);
    simulate(&mut scene, &seed(), &mut outcomes, day(0.0)).unwrap();
    assert!(outcomes.deployed.len() >= 5, "{:?}", outcomes.deployed);
    assert_eq!(outcomes.dropped, 0);
    assert!(outcomes.deployed.iter().all(|(_, left)| left.is_some_and(|left| left > DAY * 20)));
}

/// The service `sip` never takes anything.
struct OneRefuses {
    until: Timestamp,
    deployed: Vec<(String, Timestamp)>,
}

impl Outcomes for OneRefuses {
    fn order(
        &mut self,
        held: Option<&Leaf>,
        exempt: bool,
        now: Timestamp,
    ) -> Result<Validity, Failed> {
        AsExpected { until: self.until }.order(held, exempt, now)
    }

    fn deploy(&mut self, service: &str, _: Option<&Leaf>, now: Timestamp) -> Step {
        self.deployed.push((service.to_owned(), now));
        if service == "sip" { Step::NotTaken } else { Step::Proved }
    }

    fn sleep(&mut self, wake: Option<Timestamp>, _: Timestamp) -> Option<Timestamp> {
        wake.filter(|wake| *wake <= self.until)
    }
}

#[test]
fn a_year_behind_a_service_that_refuses_everything_ends_in_no_expired_certificate() {
    let mut scene = scene(DAY * 64, rehearsing());
    let mut sip = scene.services[0].clone();
    sip.spec.name = "sip".to_owned();
    scene.services[0].spec.after = vec!["sip".to_owned()];
    scene.services.push(sip);
    let mut outcomes = OneRefuses { until: day(365.0), deployed: Vec::new() };
    simulate(&mut scene, &seed(), &mut outcomes, day(0.0)).unwrap();
    let web: Vec<_> = outcomes.deployed.iter().filter(|(name, _)| name == "web").collect();
    assert!(web.len() >= 5, "{web:?}");
    for pair in web.windows(2) {
        assert!(span(pair[0].1, pair[1].1) < DAY * 62, "{pair:?}");
    }
}
