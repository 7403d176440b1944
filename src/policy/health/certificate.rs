//! What the facts of one certificate mean.

use std::time::Duration;

use jiff::{Timestamp, ZonedDateTime};

use super::time::time;
use crate::cert::chain::End;
use crate::cert::{Identifier, Leaf};
use crate::config::{CertSpec, Source};
use crate::state::Window;
use crate::state::check::{Item, Metric, Topic, Unit, Verdict};

/// The certificate that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// What is wanted.
    pub spec: &'a CertSpec,
    /// What is in service, else the newest.
    pub leaf: &'a Leaf,
    /// Its revision.
    pub number: u64,
    /// A newer revision lasts until then, and waits.
    pub newer: Option<Timestamp>,
    /// Why the clock cannot be trusted.
    pub clock: Option<&'a str>,
}

impl About<'_> {
    fn item(&self, topic: Topic, verdict: Verdict, text: impl Into<String>) -> Item {
        Item::new(topic, &self.spec.name, verdict, text)
    }

    fn unknown(&self, topic: Topic, why: &str) -> Item {
        self.item(topic, Verdict::Unknown, why).then("set the clock: timedatectl set-ntp true")
    }

    /// How another one is come by.
    fn another(&self) -> String {
        let name = &self.spec.name;
        if self.newer.is_some() {
            return format!(
                "a newer one waits: pbxcert deploy, or see why with pbxcert plan {name}"
            );
        }
        match self.spec.source {
            Source::Auto | Source::Acme => {
                format!("pbxcert renew {name} --force; if that fails: pbxcert preflight {name}")
            }
            Source::Manual => format!(
                "order a new one with the request of `pbxcert csr {name}`, and put what comes into {}",
                self.spec.upload.dir.display()
            ),
        }
    }
}

/// There is none, or only one that stands in for it.
pub fn missing(spec: &CertSpec, placeholder: bool) -> Item {
    let text = match placeholder {
        true => "there is only a self-signed placeholder, which no client trusts",
        false => "there is no certificate yet",
    };
    let name = &spec.name;
    let next = match spec.source {
        Source::Auto | Source::Acme => {
            format!("see why: pbxcert plan {name}; pbxcert preflight {name}")
        }
        Source::Manual => {
            format!(
                "put one into {}; a request for it: pbxcert csr {name}",
                spec.upload.dir.display()
            )
        }
    };
    Item::new(Topic::Dates, name, Verdict::Critical, text).then(next)
}

/// Its dates, on which two independent readers agree, or it could not have been read.
pub fn dates(about: About<'_>, now: &ZonedDateTime) -> Item {
    if let Some(why) = about.clock {
        return about.unknown(Topic::Dates, why);
    }
    let validity = about.leaf.validity;
    let (left, lifetime) = (validity.left(now.timestamp()), validity.lifetime());
    let ends = time(validity.not_after, now);
    let what = format!("revision {} ends {ends}", about.number);
    let (verdict, text) = if now.timestamp() > validity.not_after {
        (Verdict::Critical, format!("revision {} ended {ends}: no client takes it", about.number))
    } else if now.timestamp() < validity.not_before {
        let begins = time(validity.not_before, now);
        (Verdict::Critical, format!("revision {} is valid only from {begins}", about.number))
    } else if left < lifetime / 16 {
        (Verdict::Critical, format!("{what}: less than 1/16 of its life is left"))
    } else if left < lifetime / 4 && about.newer.is_some() {
        (Verdict::Ok, format!("{what}; a newer one waits to be deployed"))
    } else if left < lifetime / 4 {
        (Verdict::Warning, format!("{what}: less than 1/4 of its life is left"))
    } else {
        (Verdict::Ok, format!("{what}; two independent readers of its dates agree"))
    };
    let mut item = about.item(Topic::Dates, verdict, text).with(Metric {
        label: "days-left".to_owned(),
        value: (days(left) * 100.0).round() / 100.0,
        unit: Unit::Days,
        warning: Some(days(lifetime / 4)),
        critical: Some(days(lifetime / 16)),
    });
    item.by = Some(validity.not_after);
    bad(item, || about.another())
}

/// Whether it is for every name that is wanted.
pub fn names(about: About<'_>) -> Item {
    let held = &about.leaf.identifiers;
    let lacks = |name: &&Identifier| !held.iter().any(|held| held.covers(name));
    let missing: Vec<String> =
        about.spec.identifiers.iter().filter(lacks).map(ToString::to_string).collect();
    if missing.is_empty() {
        let count = about.spec.identifiers.len();
        let text = if count == 1 {
            "the name is in it".to_owned()
        } else {
            format!("all {count} names are in it")
        };
        return about.item(Topic::Names, Verdict::Ok, text);
    }
    let text = format!("it is not for {}: whoever calls that name is warned", missing.join(", "));
    about.item(Topic::Names, Verdict::Critical, text).then(about.another())
}

/// Whether its private key fits; `handshake`: what a handshake in memory with exactly these said.
pub fn key(about: About<'_>, handshake: Result<(), String>) -> Item {
    match handshake {
        Ok(()) => {
            let text = "its private key fits: a handshake in memory was signed with it";
            about.item(Topic::Key, Verdict::Ok, text)
        }
        Err(why) => {
            let text = format!("its private key cannot be used: {why}");
            about.item(Topic::Key, Verdict::Critical, text).then(about.another())
        }
    }
}

/// Where the chain leads.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Now, whatever the dates of the certificate itself.
    pub now: Result<(), String>,
    /// The planned renewal.
    pub later_at: Timestamp,
    /// Then.
    pub later: Result<(), String>,
    /// What is wrong with the roots of this machine.
    pub roots: Option<String>,
    /// Its CA is reached by a trust anchor of its own: nobody expects it among the public ones.
    pub is_private: bool,
}

/// Whether the chain leads to a trusted root, now and until it is renewed.
pub fn chain(about: About<'_>, trust: &Trust, now: &ZonedDateTime) -> Item {
    if let Some(why) = about.clock {
        return about.unknown(Topic::Chain, why);
    }
    let later = time(trust.later_at, now);
    match (&trust.now, &trust.later, &trust.roots) {
        (Err(_), _, Some(why)) => {
            about.item(Topic::Chain, Verdict::Unknown, why.clone()).then("install ca-certificates")
        }
        (Err(why), ..) if trust.is_private => {
            let text = format!("{why}; whether clients have the root of its CA is not known here");
            let next = format!(
                "name the root of its CA in trust-anchor of [[certificate]] {}, and see that phones \
                 and browsers have it",
                about.spec.name
            );
            about.item(Topic::Chain, Verdict::Warning, text).then(next)
        }
        (Err(why), ..) => {
            let next = format!(
                "{}; a company CA is named in trust-anchor of {}",
                about.another(),
                about.spec.name
            );
            about.item(Topic::Chain, Verdict::Critical, why.clone()).then(next)
        }
        (Ok(()), Err(why), _) => {
            let text = format!("it is trusted now, and no longer at its renewal, {later}: {why}");
            let mut item = about.item(Topic::Chain, Verdict::Warning, text).then(about.another());
            item.by = Some(trust.later_at);
            item
        }
        (Ok(()), Ok(()), _) => {
            let text = format!("it leads to a trusted root, now and at its renewal, {later}");
            about.item(Topic::Chain, Verdict::Ok, text)
        }
    }
}

/// The next end of any certificate in the chain; `ends`: leaf first, the root among them.
pub fn chain_end(about: About<'_>, ends: &[End], now: &ZonedDateTime) -> Item {
    if let Some(why) = about.clock {
        return about.unknown(Topic::ChainEnd, why);
    }
    let own = about.leaf.validity.not_after;
    let first = ends.iter().skip(1).min_by_key(|end| end.not_after);
    let Some(End { subject, not_after }) = first else {
        let text = "nothing is known above it: no intermediate comes with it, and its root is not \
                    one of this machine";
        return Item::not_asked(Topic::ChainEnd, &about.spec.name, Verdict::Unknown, text);
    };
    let when = time(*not_after, now);
    let (verdict, text) = if *not_after < now.timestamp() {
        (Verdict::Critical, format!("{subject} above it ended {when}: clients refuse all of it"))
    } else if *not_after < own {
        (Verdict::Warning, format!("{subject} above it ends {when}, before it does itself"))
    } else {
        (
            Verdict::Ok,
            format!(
                "all {} above it last longer than it does; the first to end is {subject}, {when}",
                ends.len() - 1
            ),
        )
    };
    let mut item = about.item(Topic::ChainEnd, verdict, text);
    item.by = Some(*not_after);
    bad(item, || about.another())
}

/// What is known of a revocation.
#[derive(Clone, Debug)]
pub enum Revocation {
    /// The CA's list does not name it; the next list is due then.
    Good(Timestamp),
    /// There is nobody to be asked, or nobody is to be asked, and why.
    NotAsked(String),
    /// The CA's list names it.
    Revoked {
        /// Since then.
        at: Timestamp,
        /// Why.
        reason: Option<&'static str>,
    },
    /// Nobody could be asked, and why.
    Unknown(String),
}

/// Whether the CA took it back. `window`: when the CA wants it renewed (RFC 9773).
pub fn revocation(
    about: About<'_>,
    known: &Revocation,
    window: Option<Window>,
    now: &ZonedDateTime,
) -> Item {
    let revoked = |at: Timestamp, reason: Option<&str>| {
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let text =
            format!("the CA revoked it {}{reason}: clients that ask refuse it", time(at, now));
        let mut item = about.item(Topic::Revocation, Verdict::Critical, text).then(about.another());
        item.by = Some(at);
        item
    };
    let passed = window.filter(|window| window.end <= now.timestamp() && about.newer.is_none());
    let replaced = |window: Window| {
        let text = format!(
            "the CA wants it replaced at once: the time it gave for that ended {}; it may be about to \
             revoke it",
            time(window.end, now)
        );
        about.item(Topic::Revocation, Verdict::Warning, text).then(about.another())
    };
    match (known, about.clock, passed) {
        (Revocation::Revoked { at, reason }, ..) => revoked(*at, *reason),
        (_, Some(why), _) => about.unknown(Topic::Revocation, why),
        (_, None, Some(window)) => replaced(window),
        (Revocation::NotAsked(why), ..) => {
            Item::not_asked(Topic::Revocation, &about.spec.name, Verdict::Unknown, why)
        }
        (Revocation::Unknown(why), ..) => {
            let next = format!(
                "let this host reach that address (or name a proxy in [check]); where that cannot be: \
                 [[ignore]] object = {:?}, condition = \"revoked\", reason = \"...\"",
                about.spec.name
            );
            about.item(Topic::Revocation, Verdict::Unknown, why.clone()).then(next)
        }
        (Revocation::Good(next), ..) => {
            let text =
                format!("it is not on the CA's list, which is good until {}", time(*next, now));
            about.item(Topic::Revocation, Verdict::Ok, text)
        }
    }
}

/// The same with what to do, where there is something to do.
fn bad(item: Item, next: impl FnOnce() -> String) -> Item {
    match item.verdict {
        Verdict::Warning | Verdict::Critical => item.then(next()),
        Verdict::Ok | Verdict::Unknown => item,
    }
}

fn days(span: Duration) -> f64 {
    span.as_secs_f64() / 86_400.0
}
