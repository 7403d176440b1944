//! What is wrong with a certificate or service, and what can be done about it: facts and words for
//! `status` and for alerts.

mod manual;
pub mod own;
mod renewal;
mod service;
mod trust;

use jiff::Timestamp;

use crate::cert::{Identifier, Leaf};
use crate::config::ca::Authority;
use crate::config::calm::Disruptive;
use crate::config::kind::{Class, Kind};
use crate::config::{CertSpec, IssuerSpec, ServiceSpec, Source};
use crate::policy::plan::{Wait, Why};
use crate::state::upload::UploadRecord;
use crate::state::{Condition, Finding, Life, Next, Observed, ServiceState, Severity, Step};

pub use service::service;
pub use trust::{holds, outside, trust};

/// A service that wants the certificate.
#[derive(Clone, Copy, Debug)]
pub struct Using<'a> {
    /// What is wanted.
    pub spec: &'a ServiceSpec,
    /// What is remembered.
    pub state: &'a ServiceState,
}

/// What else there is to know of a certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// Who gives it, if a CA does.
    pub issuer: Option<&'a IssuerSpec>,
    /// The services that want it.
    pub services: &'a [Using<'a>],
    /// The signing request that waits for its answer, as PEM.
    pub request: Option<&'a str>,
    /// What became of the last upload.
    pub upload: Option<&'a UploadRecord>,
}

/// What is wrong with a certificate; `wait` is what the plan waits for.
///
/// Nothing about dates when the clock is in doubt: only that it is.
pub fn certificate(
    spec: &CertSpec,
    about: About<'_>,
    seen: &Observed,
    wait: &Wait,
    now: Timestamp,
) -> Vec<Finding> {
    if let Why::Clock(text) = &wait.why {
        return wrong_clock(text, seen, now).into_iter().collect();
    }
    let met = met(spec, seen, about.services);
    let case = Case { spec, about, seen, wait_until: wait.until, met, now };
    case.manual().into_iter().chain(case.life()).collect()
}

/// A clock that waits for its synchronisation just after boot is no news; a wrong one is.
fn wrong_clock(text: &str, seen: &Observed, now: Timestamp) -> Option<Finding> {
    (now < seen.time.floor).then(|| {
        let mut finding = Finding::new(
            Condition::Clock,
            "clock",
            Severity::Critical,
            "the clock is wrong",
            text,
        );
        finding.consequence = Some("no certificate is renewed or judged".to_owned());
        finding.ways = vec![
            "look at the time: timedatectl; set it: timedatectl set-time \"2026-12-12 14:05\"; keep \
             it: timedatectl set-ntp true"
                .to_owned(),
        ];
        finding
    })
}

/// What the judgement of a certificate goes by.
struct Case<'a> {
    spec: &'a CertSpec,
    about: About<'a>,
    seen: &'a Observed,
    wait_until: Option<Timestamp>,
    met: Option<Met>,
    now: Timestamp,
}

/// The certificate that phones and browsers meet.
struct Met {
    life: Life,
    /// The service that serves it, when it is older than the newest revision.
    behind: Option<String>,
}

impl Case<'_> {
    /// That no new one comes, or that the old one ends: one worry, found in one way at a time.
    fn life(&self) -> Option<Finding> {
        let by_hand = self.is_by_hand();
        match &self.seen.state.backoff.last {
            // While a person brings it, tries that failed are no news.
            Some(failure) if !by_hand => Some(self.renewal(failure)),
            // That is critical, and said of the placeholder.
            _ if self.seen.placeholder().is_some() && self.met.is_none() => None,
            _ if self.met.is_none() && self.seen.foreign_in_service.is_some() => None,
            _ => self.expiry(by_hand),
        }
    }

    /// The certificate comes to its end: told by the ladder, found at every time.
    fn expiry(&self, by_hand: bool) -> Option<Finding> {
        let manual = self.spec.source == Source::Manual;
        let name = &self.spec.name;
        let behind = self.met.as_ref().and_then(|met| met.behind.as_ref());
        if by_hand && !manual && behind.is_none() {
            return Some(self.without_ca());
        }
        let Some(met) = &self.met else {
            // An order that was not tried yet is no news.
            return manual.then(|| self.never_uploaded());
        };
        let (first, names) = (self.first_name(), self.names());
        let ended = self.now > met.life.validity.not_after;
        let title = match (ended, behind, manual) {
            (true, ..) => format!("ended: {first}"),
            (false, Some(service), _) => format!("old certificate in service: {service}"),
            (false, None, true) => format!("upload needed: {first}"),
            (false, None, false) => format!("not renewed yet: {first}"),
        };
        let mut text = format!(
            "the certificate of {names} {}",
            if ended { "has run out" } else { "runs out" }
        );
        let mut finding = Finding::new(Condition::Expiry, name, self.severity(), title, "");
        finding.over = Some(format!("renewed: {first}"));
        if let Some(service) = behind {
            finding.over = Some(format!("new certificate in service: {service}"));
            text.push_str(&format!(
                ", and {service} still serves it although a newer one is there"
            ));
            finding.ways.push(format!(
                "bring the newer one in: pbxcert deploy {service}; why it waits: pbxcert status"
            ));
        } else if manual {
            text.push_str("; nobody but a person can bring the next one");
            finding = self.for_upload(finding);
        } else {
            let at = self.wait_until;
            finding.next = at.map(|at| Next { what: "the next look".to_owned(), at: Some(at) });
            finding
                .ways
                .push(format!("order one now, and see what is in the way: pbxcert renew {name}"));
            finding = self.for_upload(finding);
        }
        finding.text = text;
        Some(self.with_life(finding))
    }

    fn never_uploaded(&self) -> Finding {
        let names = self.names();
        let mut finding = Finding::new(
            Condition::Expiry,
            &self.spec.name,
            Severity::Warning,
            format!("first upload needed: {}", self.first_name()),
            format!("there is no certificate for {names}, and only a person can bring one"),
        );
        finding.over = Some(format!("uploaded: {}", self.first_name()));
        finding.consequence = Some(self.who_stops("stay without it"));
        self.for_upload(finding)
    }

    fn with_life(&self, mut finding: Finding) -> Finding {
        let Some(met) = &self.met else { return finding };
        finding.life = Some(met.life);
        finding.by = Some(met.life.validity.not_after);
        let ended = self.now > met.life.validity.not_after;
        let stop = if ended { "cannot connect" } else { "stop" };
        finding.consequence = Some(self.who_stops(stop));
        finding
    }

    fn severity(&self) -> Severity {
        let Some(met) = &self.met else { return Severity::Critical };
        let validity = met.life.validity;
        if self.now > validity.not_after {
            Severity::Critical
        } else if validity.left(self.now) > validity.lifetime() / 4
            && self.seen.state.backoff.last.is_none()
        {
            Severity::Notice
        } else {
            Severity::Warning
        }
    }

    fn first_name(&self) -> String {
        self.spec.identifiers.first().map(Identifier::to_string).unwrap_or_default()
    }

    /// The first name, and how many more there are.
    fn names(&self) -> String {
        match self.spec.identifiers.len() {
            0 | 1 => self.first_name(),
            more => format!("{} and {} more", self.first_name(), more - 1),
        }
    }

    fn all_names(&self) -> String {
        let names: Vec<String> = self.spec.identifiers.iter().map(ToString::to_string).collect();
        names.join(", ")
    }

    /// `phones and trunks on TLS (kamailio) and browsers (web) stop`.
    fn who_stops(&self, stop: &str) -> String {
        let users: Vec<String> =
            self.about.services.iter().map(|using| users(using.spec)).collect();
        match &users[..] {
            [] => format!("those who use {} {stop}", self.names()),
            [one] => format!("{one} {stop}"),
            [all @ .., last] => format!("{} and {last} {stop}", all.join(", ")),
        }
    }

    /// The CA's name, for a person.
    fn ca(&self) -> String {
        let Some(issuer) = self.about.issuer else { return "The CA".to_owned() };
        match Authority::at(&issuer.directory).map(|authority| authority.word) {
            Some("letsencrypt" | "letsencrypt-staging") => "Let's Encrypt".to_owned(),
            Some("zerossl") => "ZeroSSL".to_owned(),
            Some("google") => "Google Trust Services".to_owned(),
            _ => format!("The CA {}", issuer.name),
        }
    }
}

/// Who meets the certificate of a service, for a person who does not know its name.
fn users(service: &ServiceSpec) -> String {
    let name = &service.name;
    match service.kind {
        Kind::Asterisk | Kind::Freepbx | Kind::Freeswitch | Kind::Fusionpbx => {
            format!("phones on TLS and web phones ({name})")
        }
        Kind::Kamailio | Kind::Opensips => format!("phones and trunks on TLS ({name})"),
        Kind::Apache | Kind::Haproxy | Kind::Nginx => format!("browsers and web phones ({name})"),
        Kind::Janus => format!("web phones ({name})"),
        Kind::Coturn => format!("web phones behind firewalls ({name})"),
        Kind::Dovecot | Kind::Postfix => format!("mail ({name})"),
        Kind::Ejabberd | Kind::Prosody => format!("chat ({name})"),
        Kind::Mosquitto => format!("devices that send messages ({name})"),
        Kind::Openldap => format!("telephone books ({name})"),
        Kind::Custom => format!("whoever uses {name} over TLS"),
    }
}

/// The life that counts: of what is served, when that is known and ends earlier; else of the newest
/// revision.
fn met(spec: &CertSpec, seen: &Observed, services: &[Using<'_>]) -> Option<Met> {
    let manual = is_by_hand(spec, seen);
    let served = services.iter().filter_map(|using| Some((*using, served(spec, using)?)));
    let oldest = served.min_by_key(|(_, leaf)| leaf.validity.not_after);
    let life = |leaf: &Leaf, scheduled| Life { validity: leaf.validity, manual, scheduled };
    let Some(newest) = seen.certificate() else {
        // Of somebody else, and in use.
        return oldest.map(|(_, leaf)| Met { life: life(leaf, false), behind: None });
    };
    match oldest {
        Some((using, leaf)) if leaf.validity.not_after < newest.leaf.validity.not_after => {
            let scheduled = is_scheduled(&spec.name, using);
            Some(Met { life: life(leaf, scheduled), behind: Some(using.spec.name.clone()) })
        }
        _ => Some(Met { life: life(&newest.leaf, false), behind: None }),
    }
}

/// The earliest-ending certificate for one of these names that an endpoint of a service showed.
fn served<'a>(spec: &CertSpec, using: &Using<'a>) -> Option<&'a Leaf> {
    let ours = using.spec.endpoints.iter().filter(|endpoint| endpoint.certificate == spec.name);
    let looks = ours.filter_map(|endpoint| using.state.seen.get(&endpoint.to_string())?.leaf());
    let fits = |leaf: &&Leaf| {
        leaf.identifiers.iter().any(|held| spec.identifiers.iter().any(|name| held.covers(name)))
    };
    // A placeholder is told by itself.
    let looks = looks.filter(|leaf| !leaf.is_placeholder());
    looks.filter(fits).min_by_key(|leaf| leaf.validity.not_after)
}

/// Whether a person has to bring the next certificate.
fn is_by_hand(spec: &CertSpec, seen: &Observed) -> bool {
    match spec.source {
        Source::Acme => false,
        Source::Auto => seen.state.mode.is_manual(),
        Source::Manual => true,
    }
}

/// The newer revision waits for its window, and nothing is wrong with it. What only a person may
/// bring in waits for no schedule.
fn is_scheduled(certificate: &str, using: Using<'_>) -> bool {
    if using.spec.class == Class::Restart && using.spec.calm.disruptive == Disruptive::Never {
        return false;
    }
    let Some(pair) = using.state.pairs.get(certificate) else { return true };
    let failed =
        matches!(pair.step, Step::NotTaken | Step::RolledBack | Step::RollingBack | Step::Stuck);
    !failed && pair.problem.is_none() && pair.hold.is_none()
}

#[cfg(test)]
mod tests;
