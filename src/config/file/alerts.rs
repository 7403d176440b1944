//! `[alerts]`: who is told, and through what.

mod channel;
mod words;

use std::collections::BTreeSet;

use jiff::civil::Time;

use super::walk::{At, Declared, Read, Table, Value, Walk};
use super::{issuer, keys, top, value};
use crate::config::CertSpec;
use crate::config::alerts::{Address, AlertSpec, ChannelSpec, LogAddress, Quiet, Way};

/// A reader of one table of a channel.
type Reader<'a> = fn(&mut Walk<'a>, Value<'a>) -> Read<Option<ChannelSpec>>;

/// Reads the table; without it nobody is told.
pub(super) fn read<'a>(
    walk: &mut Walk<'a>,
    roots: &[Table<'a>],
    certificates: &Declared<CertSpec>,
) -> Read<AlertSpec> {
    let Some(value) = walk.once(roots, "alerts") else {
        if certificates.sound().next().is_some() {
            walk.warning(Walk::start(), NOBODY);
        }
        return Ok(AlertSpec::default());
    };
    let table = walk.table(value, keys::ALERTS)?;
    walk.refuse_unknown_keys(&table);
    let readers: [(&str, Reader<'a>); 6] = [
        ("email", channel::email),
        ("webhook", channel::webhook),
        ("command", channel::command),
        ("sip", channel::sip),
        ("syslog", channel::syslog),
        ("journal", channel::journal),
    ];
    let mut channels: Vec<Read<Option<ChannelSpec>>> = Vec::new();
    for (key, reader) in readers {
        let values = table.find(key).map(|value| walk.each(value)).unwrap_or_default();
        channels.extend(values.into_iter().map(|value| reader(walk, value)));
    }
    let heartbeats = heartbeats(walk, &table);
    let quiet = walk.optional(&table, "quiet", quiet);
    let proxy = issuer::proxy(walk, &table);
    let channels: Read<Vec<Option<ChannelSpec>>> = channels.into_iter().collect();
    let spec = AlertSpec {
        channels: channels?.into_iter().flatten().collect(),
        heartbeats: heartbeats?,
        quiet: quiet?,
        proxy: proxy?,
    };
    if spec.channels.is_empty() {
        walk.warning(table.at, NOBODY);
    } else {
        warn_of_only_the_pbx(walk, &table, &spec, &own_hosts(certificates));
    }
    Ok(spec)
}

const NOBODY: &str = "nobody is told when something is wrong: [alerts] names no channel; add an \
                      e-mail or another one, then try it: pbxcert alert test";

/// Names by which this machine may be called.
fn own_hosts(certificates: &Declared<CertSpec>) -> BTreeSet<String> {
    let names = certificates.sound().flat_map(|spec| &spec.identifiers).map(ToString::to_string);
    names.chain([top::host_name()]).map(|name| name.to_ascii_lowercase()).collect()
}

/// `heartbeat-url` and `heartbeat-url-file`: any of them, each one or a list.
fn heartbeats<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Vec<Address>> {
    let mut all = Vec::new();
    for (key, read) in [
        ("heartbeat-url", written as fn(&mut Walk<'a>, Value<'a>) -> Read<Address>),
        ("heartbeat-url-file", in_file),
    ] {
        let values = table.find(key).map(|value| walk.each(value)).unwrap_or_default();
        all.extend(values.into_iter().map(|value| read(walk, value)));
    }
    all.into_iter().collect()
}

/// An address that stands in the configuration.
fn written<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Address> {
    let At { at, it } = walk.string(value)?;
    let key = value.key;
    if !words::is_web_address(&it) {
        // It may hold a token: it is not repeated.
        let text = format!("{key:?} must be an address that begins with https:// or http://");
        return Err(walk.problem(at, text));
    }
    if words::is_known_secret(&it) {
        let text = format!(
            "whoever knows this {key} can write there: put it into a file of mode 0600 and name \
             that with {key}-file"
        );
        walk.warning(at, text);
    }
    Ok(Address::Written(it))
}

/// An address in a file of its own.
fn in_file<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Address> {
    let wanted = "one line with an address that begins with https:// or http://";
    let path = issuer::secret(walk, value, wanted, |text| words::is_web_address(text.trim()))?;
    Ok(Address::File(path))
}

/// `"20:00-07:00"`.
fn quiet<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Quiet> {
    let At { at, it } = walk.string(value)?;
    let parts = it.split_once('-').map(|(from, to)| (clock(from), clock(to)));
    match parts {
        Some((Some(from), Some(to))) if from != to => Ok(Quiet { from, to }),
        Some((Some(_), Some(_))) => {
            Err(walk.problem(at, "\"quiet\" would never end; write hours such as \"20:00-07:00\""))
        }
        _ => {
            let text = format!("\"quiet\" is {it:?}, but must be hours such as \"20:00-07:00\"");
            Err(walk.problem(at, text))
        }
    }
}

/// `07:00`; `24:00` is midnight.
fn clock(text: &str) -> Option<Time> {
    if text.trim() == "24:00" { Some(Time::midnight()) } else { value::time_of_day(text) }
}

/// When the PBX is down, it cannot say so.
fn warn_of_only_the_pbx(
    walk: &mut Walk<'_>,
    table: &Table<'_>,
    spec: &AlertSpec,
    own: &BTreeSet<String>,
) {
    let is_here = |host: &str| words::is_loopback(host) || own.contains(&host.to_ascii_lowercase());
    let inside = spec.channels.iter().all(|channel| ends_here(&channel.way, &is_here));
    if inside && spec.heartbeats.is_empty() {
        let text = "every channel ends on this PBX or its machine: when that is down, nobody hears \
                    of it; add a webhook, a mail server elsewhere, or heartbeat-url";
        walk.warning(table.at, text);
    }
}

/// Whether a message that takes this way need not leave the machine or the PBX.
fn ends_here(way: &Way, is_here: &dyn Fn(&str) -> bool) -> bool {
    match way {
        Way::Command(_) => false,
        Way::Email(mail) => is_here(&mail.server),
        Way::Journal(_) | Way::Sip(_) => true,
        Way::Syslog(log) => match &log.address {
            LogAddress::Local(_) => true,
            LogAddress::Tcp(place) | LogAddress::Udp(place) => {
                words::host_and_port(place).is_some_and(|(host, _)| is_here(&host))
            }
        },
        Way::Webhook(hook) => match &hook.url {
            Address::File(_) => false,
            Address::Written(url) => {
                url::Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_here))
            }
        },
    }
}
