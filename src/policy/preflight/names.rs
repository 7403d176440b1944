//! What is to be said of one name: its records, whom they allow, and who answers.

use std::net::IpAddr;

use super::{Case, Check, Verdict};
use crate::policy::address::is_reserved;
use crate::policy::caa::{self, Asker};
use crate::policy::reach::ca_name;
use crate::state::facts::{Looked, NameFacts};

/// Every check of one name.
pub(super) fn checks(case: Case<'_>, name: &NameFacts) -> Vec<Check> {
    if name.name.to_string().starts_with("*.") {
        let text = "a wildcard cannot be proved over HTTP";
        let check = Check::new("dns", Verdict::Fail, text).of(&name.name);
        return vec![check.advise("name the hosts themselves, or upload a certificate")];
    }
    let mut checks = vec![records(name, case)];
    checks.extend(six(name, case));
    checks.extend([issuers(name, case), responder(name)]);
    checks.extend(hairpin(name));
    checks.into_iter().map(|check| check.of(&name.name)).collect()
}

fn addresses(name: &NameFacts) -> Vec<IpAddr> {
    let four = name.a.records().iter().map(|ip| IpAddr::from(*ip));
    four.chain(name.aaaa.records().iter().map(|ip| IpAddr::from(*ip))).collect()
}

/// Whether the name leads anywhere, and to us as far as that can be known.
fn records(name: &NameFacts, case: Case<'_>) -> Check {
    let check = |verdict, text: String| Check::new("dns", verdict, text);
    if let (Looked::NotAsked(why), Looked::NotAsked(_)) = (&name.a, &name.aaaa) {
        return check(Verdict::Unknown, why.clone());
    }
    let found = addresses(name);
    if found.is_empty() {
        return nothing(name);
    }
    let (reserved, public): (Vec<IpAddr>, Vec<IpAddr>) =
        found.iter().partition(|ip| is_reserved(**ip));
    let facts = case.facts;
    if public.is_empty() {
        let text = format!(
            "as this host sees it, it leads to {}, where no CA can connect",
            list(&reserved)
        );
        return check(Verdict::Unknown, text).against().advise(format!(
            "if your DNS answers differently inside (split horizon), check the public answer: \
             `dig @9.9.9.9 {}`; it has to be your public address",
            name.name
        ));
    }
    let to = list(&public);
    if !reserved.is_empty() {
        let text = format!("leads to {to}, and to {}, where no CA can connect", list(&reserved));
        return check(Verdict::Warn, text).advise("remove the records that are not public");
    }
    if public.iter().any(|ip| facts.addresses.contains(ip)) {
        return check(Verdict::Ok, format!("leads to {to}, this host"));
    }
    // Of the same family: IPv6 has no routers that translate.
    let of = |all: &[IpAddr], like: &IpAddr| -> Vec<IpAddr> {
        all.iter().copied().filter(|ip| ip.is_ipv4() == like.is_ipv4()).collect()
    };
    let routed = |ip: &&IpAddr| of(&facts.facing, ip).iter().all(|ip| is_reserved(*ip));
    if let Some(behind) = public.iter().find(routed) {
        let us = of(&facts.facing, behind);
        let us = if us.is_empty() { of(&facts.addresses, behind) } else { us };
        let text = format!("leads to {to}; this host is behind a router, at {}", list(&us));
        return check(Verdict::Unknown, text).advise(format!(
            "the router has to pass TCP 80 on to {}, from everywhere (country blocks count, too)",
            us.first().map_or_else(|| "this host".to_owned(), ToString::to_string)
        ));
    }
    let text = format!("leads to {to}, and this host is at {}", list(&facts.addresses));
    check(Verdict::Warn, text)
        .against()
        .advise("if nothing there passes port 80 on to this host, correct the A and AAAA records")
}

/// There is no address, and why.
fn nothing(name: &NameFacts) -> Check {
    let check = |verdict, text: String| Check::new("dns", verdict, text);
    let missing = "create an A record that leads to the public address of this site";
    match (&name.a, &name.aaaa) {
        (Looked::Failed(reason), _) | (_, Looked::Failed(reason)) => {
            let text = format!("the name servers fail on it ({reason})");
            check(Verdict::Fail, text).advise(
                "broken DNSSEC looks like this; see https://dnsviz.net, and ask who runs the zone",
            )
        }
        (Looked::Timeout, _) | (_, Looked::Timeout) => {
            let text = "the name servers of this host do not answer in time".to_owned();
            check(Verdict::Unknown, text).advise("check /etc/resolv.conf")
        }
        (Looked::NoSuchName, _) | (_, Looked::NoSuchName) => {
            let text = "there is no such name in the DNS (NXDOMAIN)".to_owned();
            check(Verdict::Fail, text).advise(missing)
        }
        _ => {
            let text = "it has neither an A nor an AAAA record".to_owned();
            check(Verdict::Fail, text).advise(missing)
        }
    }
}

/// CAs come by IPv6 first, and go on to IPv4 only when that times out.
fn six(name: &NameFacts, case: Case<'_>) -> Option<Check> {
    let six: Vec<IpAddr> = name.aaaa.records().iter().map(|ip| IpAddr::from(*ip)).collect();
    let own = &case.facts.addresses;
    let ours = |ip: &IpAddr| own.contains(ip);
    if six.is_empty() || name.a.records().is_empty() || six.iter().any(ours) {
        return None;
    }
    let text = format!("the AAAA record leads to {}, which is not this host", list(&six));
    let check = Check::new("dns", Verdict::Warn, text).against();
    Some(check.advise("the CA asks by IPv6 first: correct the AAAA record, or remove it"))
}

fn issuers(name: &NameFacts, case: Case<'_>) -> Check {
    let check = |verdict, text: String| Check::new("caa", verdict, text);
    let domain = &name.caa.domain;
    let records = match &name.caa.records {
        Looked::Found(records) => records.as_slice(),
        Looked::NoData => &[],
        // Up to the last label nobody knows any of these names.
        Looked::NoSuchName => {
            let text = format!("the DNS knows neither {} nor {domain}", name.name);
            return check(Verdict::Unknown, text);
        }
        Looked::Failed(reason) => {
            let text = format!("the CAA records of {domain} cannot be looked up ({reason})");
            return check(Verdict::Fail, text)
                .advise("a CA that cannot look must not issue: ask who runs the zone");
        }
        Looked::Timeout => {
            let text = format!("no answer in time for the CAA records of {domain}");
            return check(Verdict::Unknown, text);
        }
        Looked::NotAsked(why) => return check(Verdict::Unknown, why.clone()),
    };
    let known = case.facts.directory.answer.as_ref();
    let identities = known.map_or(&[][..], |answer| &answer.caa_identities);
    let asker = Asker { identities, account: case.account, method: "http-01" };
    let ca = ca_name(case.issuer, false);
    match caa::verdict(&name.name, records, asker) {
        caa::Verdict::Unrestricted => {
            check(Verdict::Ok, "no CAA record restricts who may issue".to_owned())
        }
        caa::Verdict::Allowed => check(Verdict::Ok, format!("CAA at {domain} allows {ca}")),
        caa::Verdict::Depends(on) => {
            check(Verdict::Unknown, format!("CAA at {domain} allows: {on}"))
        }
        caa::Verdict::Forbidden(what) => {
            let text = format!("CAA at {domain} does not allow {ca}: {what}");
            let add = match identities.first() {
                Some(identity) => format!("add the record: {domain} CAA 0 issue \"{identity}\""),
                None => format!("allow {ca} there"),
            };
            check(Verdict::Fail, text).advise(format!("{add}; or use another CA"))
        }
    }
}

fn responder(name: &NameFacts) -> Check {
    match &name.responder {
        Ok(()) => Check::new(
            "responder",
            Verdict::Ok,
            "a response to a challenge can be published and is seen on this host",
        ),
        Err(reason) => Check::new("responder", Verdict::Fail, reason.clone()),
    }
}

/// Back in through the router: a success may never have left the house, and a failure is common.
fn hairpin(name: &NameFacts) -> Option<Check> {
    let check = |verdict, text: String| Check::new("from-outside", verdict, text);
    Some(match name.hairpin.as_ref()? {
        Ok(()) => check(
            Verdict::Ok,
            "asked for by its public address, it answers (as seen from inside)".to_owned(),
        ),
        Err(reason) => {
            let (tls, more) = match name.tls {
                Some(true) => (
                    "; port 443 is open there",
                    "; if only 443 is let through, that is not enough: the CA begins at port 80",
                ),
                Some(false) | None => ("", ""),
            };
            check(Verdict::Unknown, format!("asked from inside: {reason}{tls}")).advise(format!(
                "this proves nothing, many routers cannot do that: open http://{}/ from a phone \
                 without Wi-Fi{more}",
                name.name
            ))
        }
    })
}

pub(super) fn list(ips: &[IpAddr]) -> String {
    match ips {
        [] => "no address".to_owned(),
        ips => ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
