//! When a certificate is due, when the CA is asked for its advice, and how long to wait after a
//! failure.

use std::time::Duration;

use aws_lc_rs::hmac;
use jiff::Timestamp;

use super::plan::Reason;
use crate::cert::{Leaf, Validity, span};
use crate::state::{Ari, FailureClass, Window};

/// The source of everything that looks random: an HMAC with the host's instance key. Spread over a
/// fleet, the same at each call, and nothing to store.
#[derive(Clone)]
pub struct Seed(hmac::Key);

impl Seed {
    /// From the host's instance key.
    pub fn new(instance_key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, instance_key))
    }

    /// A number in [0, 1) that depends on nothing but the key and `parts`.
    pub fn fraction(&self, parts: &[&str]) -> f64 {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            // With its length, so that ["a", "b"] is not ["ab"].
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let bits =
            tag.as_ref().iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        // 53 bits are what an f64 holds exactly.
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

/// When a certificate is due, and by which rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Due {
    /// The moment.
    pub at: Timestamp,
    /// The rule.
    pub reason: Reason,
}

/// When a certificate is renewed in the ordinary course: the earlier of the CA's suggestion and
/// the local rule.
///
/// Without advice: two thirds of the lifetime (half below 10 days), ± 1/100 of it. With a valid
/// window the local rule is only the backstop, at 30 % of life left (45 % below 10 days), so that
/// the CA can spread the load; it can never delay beyond that (RFC 9773 section 4.2 leaves the
/// backstop to the client).
pub fn renew_at(leaf: &Leaf, ari: Option<&Ari>, seed: &Seed) -> Due {
    let Some((cert_id, window)) = ari.and_then(|ari| valid_window(ari, leaf)) else {
        return Due { at: local_at(leaf, seed), reason: Reason::Lifetime };
    };
    let backstop = backstop_at(leaf.validity);
    let pick = pick(cert_id, window, seed);
    if pick <= backstop {
        Due { at: pick, reason: Reason::RenewalInfo }
    } else {
        Due { at: backstop, reason: Reason::Lifetime }
    }
}

/// How much life passes between two renewals: two thirds of the lifetime, half below 10 days.
pub fn renewal_period(lifetime: Duration) -> Duration {
    if lifetime < SHORT_LIVED { lifetime / 2 } else { lifetime * 2 / 3 }
}

fn local_at(leaf: &Leaf, seed: &Seed) -> Timestamp {
    let lifetime = leaf.validity.lifetime();
    let fraction = seed.fraction(&["renew", &leaf.fingerprint.to_string()]);
    let jitter = (lifetime / 50).mul_f64(fraction);
    after(leaf.validity.not_before, renewal_period(lifetime) + jitter - lifetime / 100)
}

fn backstop_at(validity: Validity) -> Timestamp {
    let lifetime = validity.lifetime();
    let left = if lifetime < SHORT_LIVED { lifetime * 45 / 100 } else { lifetime * 30 / 100 };
    before(validity.not_after, left)
}

/// One uniform time in the window, the same at each call until the window changes (RFC 9773
/// section 4.2).
fn pick(cert_id: &str, window: Window, seed: &Seed) -> Timestamp {
    let parts = ["ari", cert_id, &window.start.to_string(), &window.end.to_string()];
    after(window.start, span(window.start, window.end).mul_f64(seed.fraction(&parts)))
}

/// The window that counts for this certificate, with its certID. One that is empty, ends after
/// the certificate, or speaks of another certificate is no answer.
pub fn valid_window<'a>(ari: &'a Ari, leaf: &Leaf) -> Option<(&'a str, Window)> {
    let window = ari.window?;
    let sound = window.start < window.end && window.end <= leaf.validity.not_after;
    (sound && speaks_of(ari, leaf)).then_some((ari.cert_id.as_str(), window))
}

/// Whether renewal information is about this certificate.
pub fn speaks_of(ari: &Ari, leaf: &Leaf) -> bool {
    leaf.cert_id().is_some_and(|id| id == ari.cert_id)
}

/// When renewal information is to be asked again: at the CA's time, clamped to 1 min to 24 h;
/// at once when what we have was asked for in a future that the clock has left again.
pub fn ask_at(ari: &Ari, now: Timestamp) -> Timestamp {
    let wait = span(ari.asked_at, ari.ask_again_at).clamp(MINUTE, DAY);
    holds_until(ari.asked_at, wait, now).unwrap_or(now)
}

/// The emergency point: 1/20 of life left. From then on windows and jitter are ignored, and the
/// back-off is one hour at most.
pub fn emergency_at(validity: Validity) -> Timestamp {
    before(validity.not_after, validity.lifetime() / 20)
}

/// Whether the emergency point has passed (so it has for an expired certificate).
pub fn in_emergency(validity: Validity, now: Timestamp) -> bool {
    now >= emergency_at(validity)
}

/// How long to wait after `failures` tries in a row that failed: 1 min, 10 min, 100 min, then
/// daily (the guide of Let's Encrypt), ± 10 % by `fraction` in [0, 1).
///
/// What needs a person is tried daily from the start. Never more than 1/8 of the life that is
/// left, so that several tries remain however short it is; in an emergency one hour at most.
/// `left` is `None` without a certificate.
pub fn back_off(
    class: FailureClass,
    failures: u32,
    left: Option<Duration>,
    emergency: bool,
    fraction: f64,
) -> Duration {
    const TABLE: [Duration; 4] = [MINUTE, Duration::from_secs(600), Duration::from_secs(6000), DAY];

    let step = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(3);
    let base = if class == FailureClass::Person { DAY } else { TABLE[step] };
    let mut wait = base.mul_f64(0.9 + fraction.clamp(0.0, 1.0) / 5.0);
    if emergency {
        wait = wait.min(HOUR);
    }
    match left {
        Some(left) if left > Duration::ZERO => wait.min((left / 8).max(MINUTE)),
        _ => wait,
    }
}

/// The longest that [`back_off`] can ask to wait: what is further ahead was not written by us, or
/// with another clock.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(86_400 * 11 / 10);

/// The longest `Retry-After` that is honoured: no limit of a CA is longer, and a mistyped one must
/// not stop renewals for years.
pub const LONGEST_RETRY_AFTER: Duration = WEEK;

/// Until when something holds that began at `from` and lasts for `span`; `None` when it is over.
///
/// A beginning in the future means that the clock went back. It counts as long as it is no further
/// ahead than `span`, so that a small step changes nothing; beyond that it is ignored, so that a
/// clock that was in 2038 and came back stops nothing.
pub fn holds_until(from: Timestamp, lasts: Duration, now: Timestamp) -> Option<Timestamp> {
    let until = after(from, lasts);
    (now < until && span(now, from) <= lasts).then_some(until)
}

/// When fewer than `limit` of these lie within the last `span`; `None` when that is so now.
pub fn frees_at(
    times: impl Iterator<Item = Timestamp>,
    limit: usize,
    span: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut frees: Vec<Timestamp> = times.filter_map(|time| holds_until(time, span, now)).collect();
    frees.sort_unstable();
    frees.len().checked_sub(limit).map(|over| frees[over])
}

/// `time` plus `by`, or the end of all times.
pub fn after(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `time` minus `by`, or the beginning of all times.
pub fn before(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// A time as it stands in a sentence: `2027-01-22 03:00 UTC`.
pub fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// One minute.
pub const MINUTE: Duration = Duration::from_secs(60);
/// One hour.
pub const HOUR: Duration = Duration::from_secs(3600);
/// 24 hours.
pub const DAY: Duration = Duration::from_secs(86_400);
/// 7 days.
pub const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Below this lifetime a certificate is renewed at half of it (the guide of Let's Encrypt).
pub const SHORT_LIVED: Duration = Duration::from_secs(10 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{at, leaf, seed};

    fn days(n: f64) -> Duration {
        DAY.mul_f64(n)
    }

    #[test]
    fn a_certificate_is_due_at_two_thirds_of_its_life_or_half_when_short_lived() {
        // lifetime, due on day, give or take (all in days)
        for (life, due, jitter) in [
            (90.0, 60.0, 0.9),
            (64.0, 128.0 / 3.0, 0.64),
            (45.0, 30.0, 0.45),
            (10.0, 20.0 / 3.0, 0.1),
            (6.0, 3.0, 0.06),
            (1.0, 0.5, 0.01),
        ] {
            let mut earliest = f64::MAX;
            let mut latest = f64::MIN;
            for n in 0..200 {
                let leaf = leaf("pbx.example", n, at(0), days(life));
                let renew = renew_at(&leaf, None, &seed());
                assert_eq!(renew.reason, Reason::Lifetime);
                let day = span(at(0), renew.at).as_secs_f64() / DAY.as_secs_f64();
                assert!((day - due).abs() <= jitter + 1e-9, "{life} days: due on day {day}");
                earliest = earliest.min(day);
                latest = latest.max(day);
            }
            assert!(latest - earliest > jitter, "{life} days: {earliest} to {latest} is no jitter");
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer_on_one_host_and_another_on_another() {
        let leaf = leaf("pbx.example", 1, at(0), days(90.0));
        let one = renew_at(&leaf, None, &seed());
        assert_eq!(one, renew_at(&leaf, None, &seed()));
        assert_ne!(one, renew_at(&leaf, None, &Seed::new(b"another host")));
        assert_ne!(seed().fraction(&["a", "b"]), seed().fraction(&["ab"]));
        assert_eq!(format!("{:?}", seed()), "Seed");
    }

    fn ari(leaf: &Leaf, start: f64, end: f64) -> Ari {
        Ari {
            cert_id: leaf.cert_id().unwrap(),
            window: Some(Window { start: after(at(0), days(start)), end: after(at(0), days(end)) }),
            explanation: None,
            asked_at: at(0),
            ask_again_at: after(at(0), HOUR * 6),
        }
    }

    #[test]
    fn a_window_is_picked_from_uniformly_and_counts_when_it_is_earlier() {
        let mut days_picked = Vec::new();
        for n in 0..300 {
            let leaf = leaf("pbx.example", n, at(0), days(90.0));
            let renew = renew_at(&leaf, Some(&ari(&leaf, 20.0, 22.0)), &seed());
            assert_eq!(renew.reason, Reason::RenewalInfo);
            days_picked.push(span(at(0), renew.at).as_secs_f64() / DAY.as_secs_f64());
        }
        assert!(days_picked.iter().all(|day| (20.0..22.0).contains(day)));
        let mean = days_picked.iter().sum::<f64>() / 300.0;
        assert!((mean - 21.0).abs() < 0.15, "mean {mean}");
    }

    #[test]
    fn a_window_can_delay_to_the_backstop_and_no_further() {
        for (life, backstop) in [(90.0, 63.0), (45.0, 31.5), (6.0, 3.3)] {
            let leaf = leaf("pbx.example", 1, at(0), days(life));
            let renew = renew_at(&leaf, Some(&ari(&leaf, life * 0.9, life)), &seed());
            let expected = after(at(0), days(backstop));
            assert_eq!((renew.at, renew.reason), (expected, Reason::Lifetime));
        }
    }

    #[test]
    fn a_window_in_the_past_is_now() {
        let leaf = leaf("pbx.example", 1, at(0), days(90.0));
        let renew = renew_at(&leaf, Some(&ari(&leaf, 2.0, 2.01)), &seed());
        assert!(renew.at < after(at(0), days(2.01)));
        assert_eq!(renew.reason, Reason::RenewalInfo);
    }

    #[test]
    fn a_window_that_is_empty_late_or_of_another_certificate_is_no_answer() {
        let leaf = leaf("pbx.example", 1, at(0), days(90.0));
        let local = renew_at(&leaf, None, &seed());
        let mut none = ari(&leaf, 20.0, 22.0);
        none.window = None;
        let mut other = ari(&leaf, 20.0, 22.0);
        other.cert_id = "AAAA.AAAA".to_owned();
        let late = ari(&leaf, 20.0, 90.001);
        for bad in [none, other, late, ari(&leaf, 20.0, 20.0), ari(&leaf, 22.0, 20.0)] {
            assert_eq!(renew_at(&leaf, Some(&bad), &seed()), local, "{bad:?}");
        }
    }

    #[test]
    fn advice_is_asked_for_again_at_the_cas_time_within_a_minute_and_a_day() {
        let leaf = leaf("pbx.example", 1, at(0), days(90.0));
        let mut ari = ari(&leaf, 20.0, 22.0);
        assert_eq!(ask_at(&ari, at(10)), after(at(0), HOUR * 6));
        ari.ask_again_at = at(0);
        assert_eq!(ask_at(&ari, at(10)), after(at(0), MINUTE));
        ari.ask_again_at = after(at(0), WEEK);
        assert_eq!(ask_at(&ari, at(10)), after(at(0), DAY));
        ari.asked_at = after(at(0), days(4000.0));
        ari.ask_again_at = after(ari.asked_at, HOUR);
        assert_eq!(ask_at(&ari, at(10)), at(10), "asked in a future that is no more");
    }

    #[test]
    fn the_emergency_begins_at_a_twentieth_of_life_left() {
        let validity = leaf("pbx.example", 1, at(0), days(90.0)).validity;
        assert_eq!(emergency_at(validity), after(at(0), days(85.5)));
        assert!(!in_emergency(validity, after(at(0), days(85.4))));
        assert!(in_emergency(validity, after(at(0), days(85.5))));
        assert!(in_emergency(validity, after(at(0), days(200.0))));
    }

    #[test]
    fn the_back_off_is_1_10_100_minutes_then_daily_give_or_take_a_tenth() {
        use FailureClass::{Person, RateLimited, Transient, Validation};

        let wait = |class, failures, fraction| {
            back_off(class, failures, Some(DAY * 60), false, fraction).as_secs()
        };
        for class in [Transient, Validation, RateLimited] {
            for (failures, seconds) in [(1, 60), (2, 600), (3, 6000), (4, 86_400), (99, 86_400)] {
                assert_eq!(wait(class, failures, 0.5), seconds);
                assert_eq!(wait(class, failures, 0.0), seconds * 9 / 10);
                assert_eq!(wait(class, failures, 1.0), seconds * 11 / 10);
            }
        }
        assert_eq!(wait(Person, 1, 0.5), 86_400);
        assert!(back_off(Person, u32::MAX, None, false, 1.0) <= LONGEST_BACK_OFF);
    }

    #[test]
    fn the_back_off_is_never_more_than_an_eighth_of_the_life_left_and_an_hour_in_emergency() {
        use FailureClass::Transient;

        assert_eq!(back_off(Transient, 4, Some(HOUR * 8), false, 1.0), HOUR);
        assert_eq!(back_off(Transient, 4, Some(MINUTE), false, 1.0), MINUTE, "no hot loop");
        assert_eq!(back_off(Transient, 4, Some(DAY * 4), true, 0.5), HOUR);
        assert_eq!(back_off(Transient, 4, Some(Duration::ZERO), true, 0.5), HOUR, "expired");
        assert_eq!(back_off(Transient, 4, None, false, 0.5), DAY, "no certificate at all");
    }

    #[test]
    fn what_was_written_in_the_future_holds_no_longer_than_it_could_have() {
        assert_eq!(holds_until(at(100), HOUR, at(200)), Some(at(3700)));
        assert_eq!(holds_until(at(100), HOUR, at(3700)), None);
        assert_eq!(holds_until(at(3600), HOUR, at(0)), Some(at(7200)), "a small step back");
        assert_eq!(holds_until(at(3601), HOUR, at(0)), None);
        assert_eq!(holds_until(Timestamp::MAX, WEEK, at(0)), None);
    }
}
