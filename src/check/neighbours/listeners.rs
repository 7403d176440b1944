//! Listeners of this host that speak TLS with a certificate that is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::super::Checker;
use crate::acme::holder;
use crate::cert::Identifier;
use crate::cert::{Fingerprint, Leaf, bundle};
use crate::config::{Endpoint, Protocol};
use crate::policy::health::time::time;
use crate::probe::{Prober as _, TlsProber};
use crate::state::Served;
use crate::state::check::{Item, Topic, Verdict};

/// An item for each, or one that says that there is none.
pub(super) async fn items(checker: &Checker<'_>, now: Timestamp) -> Vec<Item> {
    let root = &checker.world.root;
    let listening = match holder::listening(root) {
        Ok(listening) => listening,
        Err(error) => {
            let text = format!("what listens on this host cannot be seen: {error}");
            let item = Item::new(Topic::Unmanaged, HOST, Verdict::Unknown, text);
            return vec![item.then("run the check as root, with /proc there")];
        }
    };
    let ours = known(checker);
    let managed: BTreeSet<u16> =
        checker.config.services.iter().flat_map(|s| &s.endpoints).map(|e| e.port).collect();
    let strangers = strangers(listening, &managed);
    let (looked_at, left_out) = strangers.split_at(strangers.len().min(MOST));
    let looks = looked_at.iter().map(|(address, inode)| async move {
        let endpoint = endpoint(*address);
        let served = TlsProber.probe(&endpoint, LIMIT, now).await;
        (*address, *inode, served)
    });
    let speak: Vec<(SocketAddr, u64, Served)> = join_all(looks).await;
    let speak = speak.into_iter().filter(|(_, _, served)| {
        served.fingerprint().is_some_and(|fingerprint| !ours.contains(&fingerprint))
    });
    let speak: Vec<_> = speak.collect();
    let inodes: Vec<u64> = speak.iter().map(|(_, inode, _)| *inode).collect();
    let programs = holder::names(root, &inodes);
    let here = now.to_zoned_datetime(TimeZone::system());
    let mut items: Vec<Item> = speak
        .iter()
        .map(|(address, inode, served)| {
            let program = programs.get(inode).map_or("a program", String::as_str);
            of(*address, program, served.leaf(), &here)
        })
        .collect();
    if !left_out.is_empty() {
        let text = format!(
            "{} listeners were not looked at: more than {MOST} are no telephone system",
            left_out.len()
        );
        items.push(Item::new(Topic::Unmanaged, HOST, Verdict::Unknown, text).then("ss -ltnp"));
    }
    if items.is_empty() {
        let text = "nothing else on this host speaks TLS";
        items.push(Item::new(Topic::Unmanaged, HOST, Verdict::Ok, text));
    }
    items
}

fn of(address: SocketAddr, program: &str, leaf: Option<&Leaf>, now: &ZonedDateTime) -> Item {
    let item = |verdict, text: String| {
        Item::new(Topic::Unmanaged, HOST, verdict, text).at(address.to_string())
    };
    let next = "let pbxcert look after it ([[service]] with this endpoint), or renew it where it \
                comes from";
    let Some(leaf) = leaf else {
        return item(
            Verdict::Warning,
            format!("{program} shows a certificate that cannot be read, and is not managed"),
        )
        .then(next);
    };
    let (ends, whose) = (leaf.validity.not_after, bundle::names(leaf));
    let when = time(ends, now);
    let (verdict, text) = if ends < now.timestamp() {
        (Verdict::Warning, format!("{program} is not managed; {whose} ended {when}"))
    } else if leaf.validity.left(now.timestamp()) < SOON {
        (Verdict::Warning, format!("{program} is not managed; {whose} ends {when}"))
    } else {
        (Verdict::Ok, format!("{program} is not managed; {whose} ends {when}"))
    };
    let mut item = item(verdict, text);
    item.by = Some(ends);
    if verdict == Verdict::Ok { item } else { item.then(next) }
}

/// Every leaf that is, or was, ours.
fn known(checker: &Checker<'_>) -> BTreeSet<Fingerprint> {
    let specs = checker.config.certificates.iter();
    let stores = specs.filter_map(|spec| checker.store.certificate(&spec.name).ok());
    let revisions = stores.filter_map(|store| store.revisions().ok()).flatten();
    revisions.map(|revision| revision.leaf.fingerprint).collect()
}

/// One address for each port that is neither an endpoint of ours nor known to speak in plain text.
fn strangers(listening: Vec<(SocketAddr, u64)>, managed: &BTreeSet<u16>) -> Vec<(SocketAddr, u64)> {
    let mut by_port: BTreeMap<u16, (SocketAddr, u64)> = BTreeMap::new();
    for (address, inode) in listening {
        let port = address.port();
        if PLAIN.contains(&port) || managed.contains(&port) {
            continue;
        }
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        by_port.entry(port).or_insert((SocketAddr::new(ip, port), inode));
    }
    by_port.into_values().collect()
}

fn endpoint(address: SocketAddr) -> Endpoint {
    let host = Identifier::Ip(address.ip());
    Endpoint { timeout: LIMIT, ..Endpoint::at(Protocol::Tls, &host, address.port()) }
}

/// Whom the items are about.
const HOST: &str = "host";

/// Who speaks TLS on this very host answers at once.
const LIMIT: Duration = Duration::from_secs(1);

/// Listeners that are looked at, all at once.
const MOST: usize = 64;

/// From here on somebody should know.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Ports whose protocols begin in plain text: FTP, SSH, SMTP, DNS, HTTP, POP3, portmapper, IMAP, LDAP,
/// submission, printing, MySQL, the manager of Asterisk, SIP, PostgreSQL, Redis, FreeSWITCH, Asterisk's
/// HTTP, memcached, MongoDB.
const PLAIN: [u16; 20] = [
    21, 22, 25, 53, 80, 110, 111, 143, 389, 587, 631, 3306, 5038, 5060, 5432, 6379, 8021, 8088,
    11211, 27017,
];
