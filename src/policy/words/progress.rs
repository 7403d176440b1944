//! How far an uploaded certificate got, for whoever uploaded it.

use super::{Reached, Wanting, in_place, service_word};
use crate::cert::bundle::names;
use crate::policy::schedule::date;
use crate::state::{PairState, Revision, Step};

/// A service that wants the certificate, and what it does next.
#[derive(Clone, Debug)]
pub struct Wants<'a> {
    /// What is remembered of it.
    pub wanting: Wanting<'a>,
    /// What it waits for; `None`: it is at work.
    pub waits_for: Option<String>,
}

/// What is told beside the drop: the certificate, and a line for each service. Says the same for as
/// long as nothing changes.
pub fn progress(certificate: &str, newest: &Revision, services: &[Wants<'_>]) -> String {
    let mut text = format!(
        "The certificate for {}, good until {} (revision {}, fingerprint {}):\n",
        names(&newest.leaf),
        date(newest.leaf.validity.not_after),
        newest.number,
        newest.leaf.fingerprint.short()
    );
    if services.is_empty() {
        text.push_str(
            "It is stored, and no service of this host uses it: a [[service]] in the \
                       configuration with this certificate would.\n",
        );
    }
    for wants in services {
        let service = wants.wanting.service;
        text.push_str(&format!("{service}: {}\n", of_service(certificate, newest, wants)));
    }
    text
}

fn of_service(certificate: &str, newest: &Revision, wants: &Wants<'_>) -> String {
    let untouched = PairState::default();
    let pair = wants.wanting.state.pairs.get(certificate).unwrap_or(&untouched);
    let since = pair.since.map(|at| format!(" since {}", date(at))).unwrap_or_default();
    let problem = pair.problem.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
    let word = service_word(certificate, newest, &wants.wanting);
    match word.reached {
        Reached::Live => {
            let since = pair.promoted.as_ref().map(|promoted| date(promoted.at));
            return format!("live since {}", since.unwrap_or_default());
        }
        Reached::Lost => {
            let service = format!("{}: ", wants.wanting.service);
            let seen = word.because.strip_prefix(&service).unwrap_or(&word.because);
            return format!("not live any more: {seen}");
        }
        Reached::Installed | Reached::Issued => {}
    }
    if pair.revision == Some(newest.number) {
        match pair.step {
            Step::RolledBack => {
                return format!(
                    "not live: the one before it was put back{problem}. An administrator of this host \
                     has to look: pbxcert status"
                );
            }
            Step::Stuck => {
                return format!(
                    "not live{since}, and the service is broken{problem}. An administrator of \
                     this host has to look now: pbxcert status"
                );
            }
            Step::NotTaken => {
                return format!(
                    "its files are in place{since}, but the service still serves the one before \
                     it{problem}. It is asked again by itself"
                );
            }
            Step::Unproved if in_place(pair, newest) => {
                return format!(
                    "its files are in place{since}; that it is served could not be seen{problem}"
                );
            }
            Step::Waiting
            | Step::Installing
            | Step::Installed
            | Step::Reloaded
            | Step::Proved
            | Step::Unproved
            | Step::RollingBack => {}
        }
    }
    match &wants.waits_for {
        Some(why) => format!("not live yet: {why}"),
        None => "not live yet; it is being brought in".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{closed, day, revision, served};
    use crate::policy::schedule::DAY;
    use crate::state::{Origin, Promotion, Served, ServiceState};

    const ENDPOINT: &str = "https://127.0.0.1:443";

    fn newest() -> Revision {
        Revision { origin: Origin::Upload, ..revision(2, day(60.0), DAY * 90) }
    }

    fn state(step: Step, problem: Option<&str>, seen: Option<Served>) -> ServiceState {
        let promoted = (step == Step::Proved).then(|| Promotion {
            revision: 2,
            fingerprint: newest().leaf.fingerprint,
            at: day(60.0),
            endpoints: vec![ENDPOINT.to_owned()],
        });
        let files = [("/etc/nginx/tls/cert.pem".into(), "0123456789abcdef".to_owned())].into();
        let (since, problem) = (Some(day(60.0)), problem.map(str::to_owned));
        let revision = Some(if step == Step::Waiting { 1 } else { 2 });
        let pair =
            PairState { step, revision, since, files, promoted, problem, ..PairState::default() };
        ServiceState {
            pairs: [("pbx".to_owned(), pair)].into(),
            seen: seen.into_iter().map(|seen| (ENDPOINT.to_owned(), seen)).collect(),
            ..ServiceState::default()
        }
    }

    #[test]
    fn every_line_says_whether_it_is_live_or_why_not() {
        let seen = || Some(served(&newest().leaf, day(60.0)));
        let old = || Some(served(&revision(1, day(0.0), DAY * 90).leaf, day(61.0)));
        let broken = Some("https://127.0.0.1:443: served 0a1b before, now nobody listens");
        let states = [
            ("live", state(Step::Proved, None, seen())),
            ("lost", state(Step::Proved, None, old())),
            ("back", state(Step::RolledBack, broken, old())),
            ("stuck", state(Step::Stuck, broken, Some(closed(day(60.0))))),
            ("same", state(Step::NotTaken, Some("the old one is still served"), old())),
            ("blind", state(Step::Unproved, Some("nobody listens"), Some(closed(day(60.0))))),
            ("later", state(Step::Waiting, None, old())),
            ("now", state(Step::Installing, None, old())),
        ];
        let endpoints = [ENDPOINT.to_owned()];
        let services: Vec<Wants<'_>> = states
            .iter()
            .map(|(service, state)| Wants {
                wanting: Wanting { service, state, endpoints: &endpoints },
                waits_for: (*service == "later").then(|| "2 calls are up".to_owned()),
            })
            .collect();
        let all = progress("pbx", &newest(), &services);
        let alone = progress("pbx", &newest(), &[]);
        let told = format!("{all}\n{alone}");
        assert!(told == include_str!("progress.txt"), "progress.txt is to be:\n{told}");
    }
}
