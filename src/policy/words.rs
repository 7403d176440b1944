//! What may be said of a certificate, each word from a record that names the observation behind it.

mod progress;

use super::schedule::date;
use super::verdict::shown;
use crate::state::{PairState, Revision, Served, ServiceState, Step};

pub use progress::{Wants, progress};

/// A status word and the observation behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    /// `issued`, `installed`, `installed in 1 of 2`, `live`, `live in 2 of 3`, `not live`; after
    /// `placeholder, ` when it is no more than that.
    pub word: String,
    /// What was seen, where and when, or what is missing for the next word.
    pub because: String,
}

/// A service that wants the certificate, as it is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Wanting<'a> {
    /// Its name.
    pub service: &'a str,
    /// What is remembered.
    pub state: &'a ServiceState,
    /// Its endpoints that expect this certificate, as they are written in [`ServiceState::seen`].
    pub endpoints: &'a [String],
}

/// How far the newest revision of a certificate got, over all services that want it.
///
/// `live` is said only when each service promoted this revision *and* the latest look at each of
/// its endpoints shows it; a later look that shows something else takes the word back.
pub fn certificate_word(certificate: &str, newest: &Revision, services: &[Wanting<'_>]) -> Word {
    let words: Vec<ServiceWord> =
        services.iter().map(|wanting| service_word(certificate, newest, wanting)).collect();
    let because = |reached: Reached| {
        let these = words.iter().filter(|word| word.reached == reached);
        these.map(|word| word.because.as_str()).collect::<Vec<_>>().join("; ")
    };
    let count = |reached: &[Reached]| words.iter().filter(|w| reached.contains(&w.reached)).count();
    let total = words.len();
    let live = count(&[Reached::Live]);
    let installed = count(&[Reached::Live, Reached::Lost, Reached::Installed]);
    let first_short_of = |order: [Reached; 3]| {
        order.into_iter().map(because).find(|text| !text.is_empty()).unwrap_or_default()
    };
    let short_of_live = || first_short_of([Reached::Lost, Reached::Issued, Reached::Installed]);

    let (word, because) = if total > 0 && live == total {
        ("live".to_owned(), because(Reached::Live))
    } else if live > 0 {
        (format!("live in {live} of {total}"), short_of_live())
    } else if count(&[Reached::Lost]) > 0 {
        ("not live".to_owned(), because(Reached::Lost))
    } else if total > 0 && installed == total {
        ("installed".to_owned(), because(Reached::Installed))
    } else if installed > 0 {
        (format!("installed in {installed} of {total}"), because(Reached::Issued))
    } else {
        ("issued".to_owned(), issued(newest, &because(Reached::Issued)))
    };
    // Whatever was seen of it: a client does not trust it.
    let word = if newest.is_placeholder() { format!("placeholder, {word}") } else { word };
    Word { word, because }
}

fn issued(newest: &Revision, missing: &str) -> String {
    let mut text = format!(
        "{} from {}, stored at {}",
        newest.leaf.fingerprint.short(),
        newest.origin,
        date(newest.committed_at)
    );
    if !missing.is_empty() {
        text.push_str(&format!("; {missing}"));
    }
    text
}

/// How far a revision got in one service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reached {
    /// It is in the store.
    Issued,
    /// Its files are in place.
    Installed,
    /// It was promoted, and everybody looked at last still serves it.
    Live,
    /// It was promoted, and the latest look shows something else.
    Lost,
}

struct ServiceWord {
    reached: Reached,
    because: String,
}

fn service_word(certificate: &str, newest: &Revision, wanting: &Wanting<'_>) -> ServiceWord {
    let service = wanting.service;
    let say =
        |reached, what: String| ServiceWord { reached, because: format!("{service}: {what}") };
    let untouched = PairState::default();
    let pair = wanting.state.pairs.get(certificate).unwrap_or(&untouched);
    let fingerprint = newest.leaf.fingerprint;
    let promotion = pair
        .promoted
        .as_ref()
        .filter(|p| p.revision == newest.number && p.fingerprint == fingerprint);
    let looks: Vec<(&String, Option<&Served>)> =
        wanting.endpoints.iter().map(|name| (name, wanting.state.seen.get(name))).collect();
    let others: Vec<String> = looks
        .iter()
        .filter(|(_, served)| served.and_then(Served::fingerprint) != Some(fingerprint))
        .map(|(name, served)| match served {
            Some(served) => format!("{name} {}, seen at {}", shown(served), date(served.at)),
            None => format!("{name} was not looked at"),
        })
        .collect();

    if promotion.is_some() && !others.is_empty() {
        return say(Reached::Lost, others.join(", "));
    }
    if promotion.is_some() && !looks.is_empty() {
        let at = looks.iter().filter_map(|(_, served)| served.map(|s| s.at)).min();
        let names: Vec<&str> = looks.iter().map(|(name, _)| name.as_str()).collect();
        let at = at.map(date).unwrap_or_default();
        let seen = format!("{} served {} at {at}", names.join(", "), fingerprint.short());
        return say(Reached::Live, seen);
    }
    if !in_place(pair, newest) {
        let problem = pair.problem.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let there = match pair.revision {
            Some(number) if number != newest.number => format!("revision {number} there"),
            _ => "not installed".to_owned(),
        };
        return say(Reached::Issued, format!("{there}, {}{problem}", pair.step));
    }
    let files = pair.files.iter().map(|(path, hash)| {
        let hash = hash.get(..12).unwrap_or(hash);
        format!("{} ({hash})", path.display())
    });
    let files = files.collect::<Vec<_>>().join(", ");
    let since = pair.since.map(|at| format!(" since {}", date(at))).unwrap_or_default();
    let proof = if looks.is_empty() {
        "there is no endpoint to look at".to_owned()
    } else if others.is_empty() {
        "seen at every endpoint, not judged yet".to_owned()
    } else {
        others.join(", ")
    };
    say(Reached::Installed, format!("{files} in place{since}; {proof}"))
}

fn in_place(pair: &PairState, newest: &Revision) -> bool {
    let placed = matches!(
        pair.step,
        Step::Installed | Step::Reloaded | Step::Proved | Step::Unproved | Step::NotTaken
    );
    placed && pair.revision == Some(newest.number) && !pair.files.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{closed, day, revision, served};
    use crate::policy::schedule::DAY;
    use crate::state::Promotion;

    const ENDPOINT: &str = "https://127.0.0.1:443";

    fn newest() -> Revision {
        revision(2, day(60.0), DAY * 90)
    }

    fn other() -> Revision {
        revision(1, day(0.0), DAY * 90)
    }

    fn state(step: Step, promoted: bool, seen: Option<Served>) -> ServiceState {
        let promoted = promoted.then(|| Promotion {
            revision: 2,
            fingerprint: newest().leaf.fingerprint,
            at: day(60.0),
            endpoints: vec![ENDPOINT.to_owned()],
        });
        let files = [("/etc/nginx/tls/cert.pem".into(), "0123456789abcdef".to_owned())].into();
        let since = Some(day(60.0));
        let pair =
            PairState { step, revision: Some(2), since, files, promoted, ..PairState::default() };
        ServiceState {
            pairs: [("pbx".to_owned(), pair)].into(),
            seen: seen.into_iter().map(|seen| (ENDPOINT.to_owned(), seen)).collect(),
            ..ServiceState::default()
        }
    }

    fn word_of(states: &[&ServiceState]) -> Word {
        let endpoints = [ENDPOINT.to_owned()];
        let names = ["web", "sip", "turn"];
        let services: Vec<Wanting<'_>> = names
            .iter()
            .zip(states)
            .map(|(service, state)| Wanting { service, state, endpoints: &endpoints })
            .collect();
        certificate_word("pbx", &newest(), &services)
    }

    fn live() -> ServiceState {
        state(Step::Proved, true, Some(served(&newest().leaf, day(60.0))))
    }

    #[test]
    fn live_names_the_handshake_it_was_seen_in() {
        let word = word_of(&[&live()]);
        assert_eq!(word.word, "live");
        let short = newest().leaf.fingerprint.short();
        let expected = format!("web: {ENDPOINT} served {short} at 2027-01-22 12:00 UTC");
        assert_eq!(word.because, expected);
    }

    #[test]
    fn a_placeholder_is_never_only_live() {
        let newest = Revision { origin: crate::state::Origin::Placeholder, ..newest() };
        let (state, endpoints) = (live(), [ENDPOINT.to_owned()]);
        let services = [Wanting { service: "web", state: &state, endpoints: &endpoints }];
        assert_eq!(certificate_word("pbx", &newest, &services).word, "placeholder, live");
        assert_eq!(certificate_word("pbx", &newest, &[]).word, "placeholder, issued");
    }

    #[test]
    fn a_service_that_serves_something_else_later_loses_the_word() {
        let lies = state(Step::Proved, true, Some(served(&other().leaf, day(61.0))));
        let word = word_of(&[&lies]);
        assert_eq!(word.word, "not live");
        let short = other().leaf.fingerprint.short();
        assert!(word.because.starts_with(&format!("web: {ENDPOINT} serves {short}")), "{word:?}");
        assert!(word.because.ends_with("seen at 2027-01-23 12:00 UTC"), "{word:?}");
        let word = word_of(&[&live(), &lies, &live()]);
        assert_eq!(word.word, "live in 2 of 3");
        assert!(word.because.starts_with(&format!("sip: {ENDPOINT} serves {short}")), "{word:?}");
        let gone = state(Step::Proved, true, Some(closed(day(61.0))));
        assert_eq!(word_of(&[&gone]).word, "not live");
        assert_eq!(word_of(&[&state(Step::Proved, true, None)]).word, "not live");
    }

    #[test]
    fn a_step_alone_is_no_proof() {
        let unpromoted = state(Step::Proved, false, Some(served(&newest().leaf, day(61.0))));
        assert_eq!(word_of(&[&unpromoted]).word, "installed");
        let mut of_another = live();
        of_another.pairs.get_mut("pbx").unwrap().promoted.as_mut().unwrap().revision = 1;
        assert_eq!(word_of(&[&of_another]).word, "installed");
        let mut forged = live();
        let promoted = forged.pairs.get_mut("pbx").unwrap().promoted.as_mut().unwrap();
        promoted.fingerprint = other().leaf.fingerprint;
        assert_eq!(word_of(&[&forged]).word, "installed");
    }

    #[test]
    fn without_an_endpoint_it_stays_installed_with_the_hash_of_its_files() {
        let state = state(Step::Unproved, false, None);
        let services = [Wanting { service: "db", state: &state, endpoints: &[] }];
        let word = certificate_word("pbx", &newest(), &services);
        assert_eq!(word.word, "installed");
        assert_eq!(
            word.because,
            "db: /etc/nginx/tls/cert.pem (0123456789ab) in place since 2027-01-22 12:00 UTC; there \
             is no endpoint to look at"
        );
    }

    #[test]
    fn what_is_nowhere_in_place_is_issued() {
        let back = state(Step::RolledBack, false, Some(served(&other().leaf, day(61.0))));
        let word = word_of(&[&back]);
        assert_eq!(word.word, "issued");
        assert!(word.because.contains("from https://ca.example/cert/2, stored at"), "{word:?}");
        assert!(word.because.ends_with("web: not installed, rolled back"), "{word:?}");
        let unproved = state(Step::Unproved, false, Some(closed(day(60.0))));
        assert_eq!(word_of(&[&back, &unproved]).word, "installed in 1 of 2");
        assert_eq!(certificate_word("pbx", &newest(), &[]).word, "issued");
    }
}
