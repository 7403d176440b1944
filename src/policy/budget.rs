//! What we allow ourselves to ask of a CA, well below what it allows.
//!
//! Limits per name and per exact set of names; the ledger is one per issuer. An issuer with its own
//! trust anchor is the operator's and has no budget.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::schedule::{DAY, HOUR, WEEK, after, date, frees_at, holds_until};
use crate::cert::Identifier;
use crate::config::IssuerSpec;
use crate::state::{Ledger, LedgerEntry, LedgerEvent};

/// An order that somebody thinks of.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The exact set of names.
    pub identifiers: &'a BTreeSet<Identifier>,
    /// How long a certificate of this kind serves until it is renewed.
    pub period: Duration,
    /// Inside an ARI window: does not count at the CA (see [`exempt`] for how often we believe it).
    pub exempt: bool,
    /// Before the certificate's own time: by hand, by a changed wish, by the CA's advice.
    pub early: bool,
    /// The CA has the order already: going on with it costs no certificate.
    pub begun: bool,
    /// A person confirmed to go over the budget.
    pub confirmed: bool,
    /// There is no certificate, or it is past its emergency point.
    pub late: bool,
}

impl Order<'_> {
    fn believes(&self, entry: &LedgerEntry, now: Timestamp) -> bool {
        !self.late || entry.at < now
    }
}

/// The budget is spent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spent {
    /// Until when.
    pub until: Timestamp,
    /// What was spent, for a person.
    pub why: String,
}

/// Whether an order may be placed, or gone on with, now.
///
/// - At most 2 failing validations of a name in an hour, and 5 in a day.
/// - At most `ceil(7 days / period) + 1` certificates for an exact set in a week, and never more
///   than the CA's published limit.
/// - Early orders leave a certificate for each regular renewal of that week, so that neither a CA
///   whose advice is always "now" nor a flood of wishes can let a short-lived certificate expire.
/// - What lies in the future was written by a clock that was ahead. When it is late that does not
///   count: week after week of it would come near, and each would hold up the next order.
///
/// # Errors
///
/// [`Spent`], with the time at which the last of these limits frees.
pub fn may_order(
    order: Order<'_>,
    issuer: &IssuerSpec,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(), Spent> {
    if issuer.trust_anchor.is_some() || order.confirmed {
        return Ok(());
    }
    let spent = [
        damaged(ledger, now),
        validations(order, ledger, now),
        certificates(order, issuer, ledger, now),
        pace(order, ledger, now),
    ];
    spent.into_iter().flatten().max_by_key(|spent| spent.until).map_or(Ok(()), Err)
}

fn damaged(ledger: &Ledger, now: Timestamp) -> Option<Spent> {
    let until = ledger.spent_until?;
    // Damage is one hour; further ahead was written with another clock.
    (now < until && until <= after(now, HOUR)).then(|| Spent {
        until,
        why: format!("what was asked of the CA lately is not known; until {}", date(until)),
    })
}

fn validations(order: Order<'_>, ledger: &Ledger, now: Timestamp) -> Option<Spent> {
    let spent = order.identifiers.iter().flat_map(|name| {
        let failed = move |entry: &&LedgerEntry| {
            order.believes(entry, now)
                && matches!(&entry.event, LedgerEvent::ValidationFailed { identifier } if identifier == name)
        };
        [(2, HOUR, "an hour"), (DAILY_FAILURES, DAY, "a day")].into_iter().filter_map(move |(limit, span, word)| {
            let times = ledger.entries.iter().filter(failed).map(|entry| entry.at);
            let until = frees_at(times, limit, span, now)?;
            let why = format!("{limit} validations of {name} failed within {word}");
            Some(Spent { until, why })
        })
    });
    spent.max_by_key(|spent| spent.until)
}

fn certificates(
    order: Order<'_>,
    issuer: &IssuerSpec,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Spent> {
    if order.begun || order.exempt {
        return None;
    }
    let limit = weekly(order.period, issuer);
    let until = frees_at(counted(order, ledger, false, now), limit, WEEK, now)?;
    Some(Spent { until, why: format!("{limit} certificates for these names within a week") })
}

/// An early order leaves the regular ones what they need: of the last `k + 1` certificates, the
/// oldest is `k` periods old.
fn pace(order: Order<'_>, ledger: &Ledger, now: Timestamp) -> Option<Spent> {
    if order.begun || order.exempt || !order.early {
        return None;
    }
    let mut newest_first: Vec<Timestamp> = counted(order, ledger, false, now).collect();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    let blocked = (0_u32..)
        .zip(newest_first)
        .filter_map(|(k, at)| holds_until(at, order.period.saturating_mul(k).min(WEEK), now));
    let until = blocked.max()?;
    let why = "early renewals of these names used up what their regular ones can spare".to_owned();
    Some(Spent { until, why })
}

/// Whether an order inside an ARI window is taken as exempt. The CA does not count it; but a CA
/// whose windows always say "now" must not make us order for ever, so only as many a week as there
/// are others.
pub fn exempt(order: Order<'_>, issuer: &IssuerSpec, ledger: &Ledger, now: Timestamp) -> bool {
    let limit = weekly(order.period, issuer);
    order.exempt && frees_at(counted(order, ledger, true, now), limit, WEEK, now).is_none()
}

/// What is left of a budget, each with the whole of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Left {
    /// Certificates for these names in a week.
    pub certificates: (usize, usize),
    /// Failing validations in a day, of the name that has the fewest left.
    pub failures: (usize, usize),
}

/// What is left; `None` where there is no budget.
pub fn left(
    order: Order<'_>,
    issuer: &IssuerSpec,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Left> {
    if issuer.trust_anchor.is_some() {
        return None;
    }
    let within = |times: &mut dyn Iterator<Item = Timestamp>, span| {
        times.filter(|at| holds_until(*at, span, now).is_some()).count()
    };
    let limit = weekly(order.period, issuer);
    let used = within(&mut counted(order, ledger, false, now), WEEK);
    let failed = order.identifiers.iter().map(|name| {
        let of_name = |entry: &&LedgerEntry| {
            matches!(&entry.event, LedgerEvent::ValidationFailed { identifier } if identifier == name)
        };
        within(&mut ledger.entries.iter().filter(of_name).map(|entry| entry.at), DAY)
    });
    let failed = failed.max().unwrap_or_default();
    Some(Left {
        certificates: (limit.saturating_sub(used), limit),
        failures: (DAILY_FAILURES.saturating_sub(failed), DAILY_FAILURES),
    })
}

/// Failing validations of a name in a day.
const DAILY_FAILURES: usize = 5;

/// How many certificates a week for one exact set of names.
pub fn weekly(period: Duration, issuer: &IssuerSpec) -> usize {
    let asked_for = WEEK.as_secs().div_ceil(period.as_secs().max(1)) + 1;
    let allowed = issuer.weekly_limit.map_or(u64::MAX, u64::from).max(1);
    usize::try_from(asked_for.min(allowed)).unwrap_or(usize::MAX)
}

fn counted<'a>(
    order: Order<'a>,
    ledger: &'a Ledger,
    wanted: bool,
    now: Timestamp,
) -> impl Iterator<Item = Timestamp> + 'a {
    let these = move |entry: &&LedgerEntry| {
        order.believes(entry, now)
            && matches!(&entry.event, LedgerEvent::Issued { identifiers, exempt }
            if identifiers == order.identifiers && *exempt == wanted)
    };
    ledger.entries.iter().filter(these).map(|entry| entry.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{at, day, issuer, name};

    const PERIOD: Duration = Duration::from_secs(60 * 86_400);

    fn order(identifiers: &BTreeSet<Identifier>) -> Order<'_> {
        Order {
            identifiers,
            period: PERIOD,
            exempt: false,
            early: false,
            begun: false,
            confirmed: false,
            late: false,
        }
    }

    fn names(text: &str) -> BTreeSet<Identifier> {
        text.split(' ').map(name).collect()
    }

    fn failed(times: &[i64]) -> Ledger {
        let event = || LedgerEvent::ValidationFailed { identifier: name("a.example") };
        let entries = times.iter().map(|t| LedgerEntry { at: at(*t), event: event() }).collect();
        Ledger { entries, ..Ledger::default() }
    }

    fn issued(set: &str, days: &[f64], exempt: bool) -> Ledger {
        let event = || LedgerEvent::Issued { identifiers: names(set), exempt };
        let entries = days.iter().map(|d| LedgerEntry { at: day(*d), event: event() }).collect();
        Ledger { entries, ..Ledger::default() }
    }

    #[test]
    fn two_failed_validations_an_hour_and_five_a_day_are_enough() {
        let set = names("a.example b.example");
        let may = |times: &[i64], now| may_order(order(&set), &issuer(), &failed(times), at(now));
        assert_eq!(may(&[0], 60), Ok(()));
        let spent = may(&[0, 60], 120).unwrap_err();
        assert_eq!(spent.until, at(3600));
        assert_eq!(spent.why, "2 validations of a.example failed within an hour");
        assert_eq!(may(&[0, 60], 3600), Ok(()));
        let five = [0, 60, 4000, 8000, 12_000];
        let spent = may(&five, 20_000).unwrap_err();
        assert_eq!(spent.until, at(86_400));
        assert_eq!(spent.why, "5 validations of a.example failed within a day");
        assert_eq!(may(&five, 86_400), Ok(()));
    }

    #[test]
    fn failures_of_another_name_do_not_count() {
        let set = names("b.example");
        assert_eq!(may_order(order(&set), &issuer(), &failed(&[0, 60]), at(120)), Ok(()));
    }

    #[test]
    fn certificates_a_week_are_one_more_than_the_lifetime_asks_for_and_below_the_cas_limit() {
        let mut issuer = issuer();
        for (period_days, limit) in [(60, 2), (30, 2), (3, 4), (1, 5)] {
            assert_eq!(weekly(DAY * period_days, &issuer), limit, "{period_days} days");
        }
        issuer.weekly_limit = None;
        assert_eq!(weekly(DAY / 2, &issuer), 15);
        issuer.weekly_limit = Some(0);
        assert_eq!(weekly(DAY, &issuer), 1, "never no certificate at all");
    }

    #[test]
    fn the_week_is_over_when_its_first_certificate_is_a_week_old() {
        let set = names("a.example");
        let ledger = issued("a.example", &[0.0, 1.0], false);
        let spent = may_order(order(&set), &issuer(), &ledger, day(2.0)).unwrap_err();
        assert_eq!(spent.until, day(7.0));
        assert_eq!(spent.why, "2 certificates for these names within a week");
        assert_eq!(may_order(order(&set), &issuer(), &ledger, day(7.0)), Ok(()));
        let other = names("a.example b.example");
        assert_eq!(may_order(order(&other), &issuer(), &ledger, day(2.0)), Ok(()));
    }

    #[test]
    fn an_order_that_the_ca_has_already_costs_no_certificate_but_can_fail_validation() {
        let set = names("a.example");
        let begun = Order { begun: true, ..order(&set) };
        let ledger = issued("a.example", &[0.0, 1.0], false);
        assert_eq!(may_order(begun, &issuer(), &ledger, day(2.0)), Ok(()));
        assert!(may_order(begun, &issuer(), &failed(&[0, 60]), at(120)).is_err());
    }

    #[test]
    fn orders_inside_an_ari_window_do_not_count_but_are_not_believed_without_end() {
        let set = names("a.example");
        let exempted = Order { exempt: true, ..order(&set) };
        let full = issued("a.example", &[0.0, 1.0], false);
        assert!(exempt(exempted, &issuer(), &full, day(2.0)));
        assert_eq!(may_order(exempted, &issuer(), &full, day(2.0)), Ok(()));
        let free = issued("a.example", &[0.0, 1.0], true);
        assert_eq!(may_order(order(&set), &issuer(), &free, day(2.0)), Ok(()));
        assert!(!exempt(exempted, &issuer(), &free, day(2.0)));
        assert!(exempt(exempted, &issuer(), &free, day(7.0)));
    }

    #[test]
    fn early_orders_leave_the_regular_ones_of_a_short_lived_certificate_their_share() {
        let set = names("a.example");
        let regular = Order { period: DAY * 3, ..order(&set) };
        let early = Order { early: true, ..regular };
        let one = issued("a.example", &[0.0], false);
        assert_eq!(may_order(early, &issuer(), &one, day(0.1)), Ok(()));
        let two = issued("a.example", &[0.0, 0.1], false);
        let spent = may_order(early, &issuer(), &two, day(0.2)).unwrap_err();
        assert_eq!(spent.until, day(3.0));
        assert_eq!(may_order(regular, &issuer(), &two, day(0.2)), Ok(()));
        assert_eq!(may_order(early, &issuer(), &two, day(3.0)), Ok(()));
    }

    #[test]
    fn what_is_left_is_counted() {
        let set = names("a.example");
        let left = |ledger: &Ledger, now| left(order(&set), &issuer(), ledger, now).unwrap();
        let fresh = left(&Ledger::default(), at(0));
        assert_eq!((fresh.certificates, fresh.failures), ((2, 2), (5, 5)));
        assert_eq!(left(&issued("a.example", &[0.0], false), day(1.0)).certificates, (1, 2));
        assert_eq!(left(&issued("a.example", &[0.0], false), day(8.0)).certificates, (2, 2));
        assert_eq!(left(&failed(&[0, 60, 120]), at(180)).failures, (2, 5));
        let own = IssuerSpec { trust_anchor: Some("/ca.pem".into()), ..issuer() };
        assert_eq!(super::left(order(&set), &own, &Ledger::default(), at(0)), None);
    }

    #[test]
    fn only_a_confirmation_or_an_issuer_of_ones_own_goes_over() {
        let set = names("a.example");
        let ledger = failed(&[0, 60]);
        assert!(may_order(order(&set), &issuer(), &ledger, at(120)).is_err());
        let confirmed = Order { confirmed: true, ..order(&set) };
        assert_eq!(may_order(confirmed, &issuer(), &ledger, at(120)), Ok(()));
        let mut own = issuer();
        own.trust_anchor = Some("/etc/pbxcert/ca.pem".into());
        assert_eq!(may_order(order(&set), &own, &ledger, at(120)), Ok(()));
    }

    #[test]
    fn after_damage_the_budget_is_spent_for_an_hour() {
        let set = names("a.example");
        let ledger = Ledger { spent_until: Some(at(3600)), ..Ledger::default() };
        let spent = may_order(order(&set), &issuer(), &ledger, at(0)).unwrap_err();
        assert_eq!(spent.until, at(3600));
        assert_eq!(may_order(order(&set), &issuer(), &ledger, at(3600)), Ok(()));
        assert_eq!(
            may_order(order(&set), &issuer(), &ledger, at(-3600)),
            Ok(()),
            "clock went back"
        );
    }

    #[test]
    fn entries_from_a_future_that_is_no_more_spend_nothing() {
        let set = names("a.example");
        let future = 12 * 365 * 86_400;
        let ledger = failed(&[future, future + 1, future + 2, future + 3, future + 4]);
        assert_eq!(may_order(order(&set), &issuer(), &ledger, at(0)), Ok(()));
        let ledger = issued("a.example", &[4000.0, 4001.0], false);
        assert_eq!(may_order(order(&set), &issuer(), &ledger, at(0)), Ok(()));
    }

    #[test]
    fn weeks_of_a_clock_that_was_ahead_hold_up_nobody_who_is_late() {
        let set = names("a.example");
        let ledger = issued("a.example", &[0.0, 0.1, 7.0, 7.1, 14.0, 14.1], false);
        let late = Order { late: true, ..order(&set) };
        assert_eq!(may_order(late, &issuer(), &ledger, day(1.0)).unwrap_err().until, day(7.0));
        assert_eq!(may_order(late, &issuer(), &ledger, day(7.0)), Ok(()), "not the next week's");
        assert!(may_order(order(&set), &issuer(), &ledger, day(7.0)).is_err(), "there is time");
        let ahead = failed(&[60, 120]);
        assert_eq!(may_order(late, &issuer(), &ahead, at(0)), Ok(()));
    }
}
