//! One channel each: what it needs, and what it has unless it is told.

use lettre::message::Mailbox;

use super::super::walk::{At, Read, Table, Value, Walk, listed};
use super::super::{issuer, keys, service, suspect};
use super::words::{host_and_port, is_loopback, sip_host};
use crate::config::alerts::{
    ChannelSpec, CommandSpec, EmailSpec, Format, JournalSpec, Level, LogAddress, Login, MailTls,
    SipSpec, SyslogSpec, Transport, Way, WebhookSpec,
};

/// The log of this host (syslog(3)).
const LOCAL_LOG: &str = "/dev/log";

/// Where journald takes entries with fields.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// `email = { to, from, server, ... }`
pub(super) fn email<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Option<ChannelSpec>> {
    let table = open(walk, value, keys::EMAIL)?;
    let to = walk.required(&table, "to", mailboxes, "say who reads the messages");
    let from = walk.required(&table, "from", mailbox, "say whom the messages come from");
    let server = walk.required(&table, "server", server, "name the mail server");
    let port = walk.optional(&table, "port", port);
    let tls = walk.optional(&table, "tls", mail_tls);
    let login = login(walk, &table);
    let trust_anchor = walk.optional(&table, "trust-anchor", issuer::trust_anchor);
    let least = level(walk, &table);
    let (At { at, it: (host, own_port) }, port) = (server?, port?);
    let (tls, login) = (tls?.unwrap_or_default(), login?);
    if own_port.is_some() && port.is_some() {
        return Err(walk.problem(at, "the port stands in server and in port; keep one"));
    }
    if login.is_some() && tls == MailTls::None && !is_loopback(&host) {
        let text = "the password would cross the network in the clear: write tls = \"starttls\" \
                    or \"tls\"";
        return Err(walk.problem(table.at, text));
    }
    let usual = match tls {
        MailTls::None => 25,
        MailTls::StartTls => 587,
        MailTls::Tls => 465,
    };
    let mail = EmailSpec {
        to: to?,
        from: from?,
        server: host,
        port: port.or(own_port).unwrap_or(usual),
        tls,
        login,
        trust_anchor: trust_anchor?,
    };
    channel(least, Way::Email(mail))
}

/// `webhook = [{ url, format, ... }]`
pub(super) fn webhook<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Option<ChannelSpec>> {
    let table = open(walk, value, keys::WEBHOOK)?;
    let url = walk.optional(&table, "url", super::written);
    let file = walk.optional(&table, "url-file", super::in_file);
    let format = walk.optional(&table, "format", |walk, value| {
        let meaning = |word: &str| match word {
            "generic" => Some(Format::Generic),
            "slack" => Some(Format::Slack),
            "teams" => Some(Format::Teams),
            _ => None,
        };
        walk.word(value, meaning, &["generic", "slack", "teams"])
    });
    let header_file = walk.optional(&table, "header-file", |walk, value| {
        let wanted = "lines such as \"Authorization: Bearer TOKEN\"";
        issuer::secret(walk, value, wanted, |text| text.lines().all(|l| l.contains(':')))
    });
    let trust_anchor = walk.optional(&table, "trust-anchor", issuer::trust_anchor);
    let least = level(walk, &table);
    let url = match (url?, file?) {
        (Some(url), None) | (None, Some(url)) => url,
        (None, None) => {
            return Err(walk.missing(&table, "url", "or url-file: say where to post to"));
        }
        (Some(_), Some(_)) => {
            return Err(walk.problem(table.at, "there is either url or url-file, not both"));
        }
    };
    let hook = WebhookSpec {
        url,
        format: format?.unwrap_or_default(),
        header_file: header_file?,
        trust_anchor: trust_anchor?,
    };
    channel(least, Way::Webhook(hook))
}

/// `command = [{ run = ["/path", ...] }]`
pub(super) fn command<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Option<ChannelSpec>> {
    let table = open(walk, value, keys::COMMAND)?;
    let run = walk.required(&table, "run", service::argv, "name a program and its arguments");
    let least = level(walk, &table);
    channel(least, Way::Command(CommandSpec { run: run? }))
}

/// `syslog = true | { facility, address }`
pub(super) fn syslog<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Option<ChannelSpec>> {
    let usual =
        SyslogSpec { address: LogAddress::Local(LOCAL_LOG.into()), facility: FACILITY_DAEMON };
    if !value.is_table() {
        return switch(walk, value, Way::Syslog(usual));
    }
    let table = open(walk, value, keys::SYSLOG)?;
    let address = walk.optional(&table, "address", log_address);
    let facility = walk.optional(&table, "facility", |walk, value| {
        let words: Vec<&str> = FACILITIES.iter().map(|(word, _)| *word).collect();
        let meaning =
            |word: &str| FACILITIES.iter().find(|(known, _)| *known == word).map(|(_, n)| *n);
        walk.word(value, meaning, &words)
    });
    let least = level(walk, &table);
    let log = SyslogSpec {
        address: address?.unwrap_or(usual.address),
        facility: facility?.unwrap_or(usual.facility),
    };
    channel(least, Way::Syslog(log))
}

/// `journal = true | { level }`
pub(super) fn journal<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Option<ChannelSpec>> {
    let way = Way::Journal(JournalSpec { socket: JOURNAL.into() });
    if !value.is_table() {
        return switch(walk, value, way);
    }
    let table = open(walk, value, keys::JOURNAL)?;
    let least = level(walk, &table);
    channel(least, way)
}

/// `sip = [{ to, server, transport, ... }]`
pub(super) fn sip<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Option<ChannelSpec>> {
    let table = open(walk, value, keys::SIP)?;
    let to = walk.required(&table, "to", sip_address, "such as to = \"sip:100@pbx.example.com\"");
    let from = walk.optional(&table, "from", sip_address);
    let server = walk.optional(&table, "server", server);
    let transport = walk.optional(&table, "transport", transport);
    let login = login(walk, &table);
    let sni = walk.optional(&table, "sni", |walk, value| Ok(walk.string(value)?.it));
    let trust_anchor = walk.optional(&table, "trust-anchor", issuer::trust_anchor);
    let least = level(walk, &table);
    let ((to, domain), transport, login) = (to?, transport?.unwrap_or_default(), login?);
    let bare = domain.trim_start_matches('[').trim_end_matches(']').to_owned();
    let (host, port) = server?.map_or((bare, None), |server| server.it);
    if transport == Transport::Tls && is_loopback(&host) {
        let text = "a SIP server on this machine that is asked over TLS cannot be told when its \
                    certificate is what is wrong; transport = \"tcp\" can";
        walk.warning(table.at, text);
    }
    let user = login.as_ref().map_or("pbxcert", |login| login.user.as_str());
    let from = match from? {
        Some((from, _)) => from,
        None => {
            let from = format!("sip:{user}@{domain}");
            if sip_host(&from).is_none() {
                let text = format!("{user:?} can be no SIP address: write from = \"sip:...\"");
                return Err(walk.problem(table.at, text));
            }
            from
        }
    };
    let spec = SipSpec {
        to,
        from,
        port: port.unwrap_or(if transport == Transport::Tls { 5061 } else { 5060 }),
        transport,
        login,
        sni: sni?.unwrap_or_else(|| host.clone()),
        trust_anchor: trust_anchor?,
        host,
    };
    channel(least, Way::Sip(spec))
}

fn open<'a>(walk: &mut Walk<'a>, value: Value<'a>, section: keys::Section) -> Read<Table<'a>> {
    let table = walk.table(value, section)?;
    walk.refuse_unknown_keys(&table);
    Ok(table)
}

/// `true` for the channel as it is usual, `false` for none.
fn switch<'a>(walk: &mut Walk<'a>, value: Value<'a>, way: Way) -> Read<Option<ChannelSpec>> {
    let on = walk.bool(value)?;
    Ok(on.then_some(ChannelSpec { least: Level::Notice, way }))
}

fn channel(least: Read<Level>, way: Way) -> Read<Option<ChannelSpec>> {
    Ok(Some(ChannelSpec { least: least?, way }))
}

/// Everything, unless less is wanted.
fn level<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Level> {
    let read = walk.optional(table, "level", |walk, value| {
        let words = Level::ALL.map(|level| level.word().to_lowercase());
        let words = words.each_ref().map(String::as_str);
        let meaning = |word: &str| Level::ALL.into_iter().find(|l| l.word().to_lowercase() == word);
        walk.word(value, meaning, &words)
    });
    Ok(read?.unwrap_or(Level::Notice))
}

/// `user` and `password-file`: both or none.
fn login<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Option<Login>> {
    let user = walk.optional(table, "user", |walk, value| Ok(walk.string(value)?.it));
    let password = walk.optional(table, "password-file", |walk, value| {
        issuer::secret(walk, value, "one line with the password", |text| {
            let line = text.trim_end_matches(['\r', '\n']);
            !line.is_empty() && !line.contains(['\r', '\n'])
        })
    });
    match (user?, password?) {
        (Some(user), Some(password_file)) => Ok(Some(Login { user, password_file })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(walk.missing(table, "password-file", "a file of mode 0600")),
        (None, Some(_)) => Err(walk.missing(table, "user", "whose password it is")),
    }
}

fn mailboxes<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<String>> {
    let mut sound = Vec::new();
    for written in walk.strings(value)? {
        sound.push(is_mailbox(walk, written)?);
    }
    Ok(sound)
}

fn mailbox<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<String> {
    let written = walk.string(value)?;
    is_mailbox(walk, written)
}

fn is_mailbox(walk: &mut Walk<'_>, At { at, it }: At<String>) -> Read<String> {
    let Ok(mailbox) = it.parse::<Mailbox>() else {
        return Err(walk.problem(at, format!("{it:?} is no e-mail address")));
    };
    if suspect::is_example(mailbox.email.domain()) {
        walk.warning(at, format!("{it:?} is an example: nobody reads it"));
    }
    Ok(it)
}

fn server<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<At<(String, Option<u16>)>> {
    let At { at, it } = walk.string(value)?;
    match host_and_port(&it) {
        Some(it) => Ok(At { at, it }),
        None => {
            let text = format!("{it:?} is no server, such as \"mail.pbx.de\" or \"[::1]:5060\"");
            Err(walk.problem(at, text))
        }
    }
}

fn port<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<u16> {
    let port = value.number().and_then(|n| u16::try_from(n).ok()).filter(|port| *port != 0);
    port.ok_or_else(|| walk.wrong_type(value, "a port, 1 to 65535"))
}

fn mail_tls<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<MailTls> {
    let meaning = |word: &str| match word {
        "none" => Some(MailTls::None),
        "starttls" => Some(MailTls::StartTls),
        "tls" => Some(MailTls::Tls),
        _ => None,
    };
    walk.word(value, meaning, &["starttls", "tls", "none"])
}

fn transport<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Transport> {
    let meaning = |word: &str| match word {
        "tcp" => Some(Transport::Tcp),
        "tls" => Some(Transport::Tls),
        "udp" => Some(Transport::Udp),
        _ => None,
    };
    walk.word(value, meaning, &["udp", "tcp", "tls"])
}

/// The address and its host.
fn sip_address<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<(String, String)> {
    let At { at, it } = walk.string(value)?;
    match sip_host(&it) {
        Some(host) => Ok((it, host)),
        None => {
            let text = format!("{it:?} is no SIP address, such as \"sip:100@pbx.example.com\"");
            Err(walk.problem(at, text))
        }
    }
}

fn log_address<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<LogAddress> {
    let At { at, it } = walk.string(value)?;
    let place = |rest: &str| {
        let (host, port) = host_and_port(rest)?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(format!("{host}:{}", port.unwrap_or(514)))
    };
    let read = if it.starts_with('/') {
        return Ok(LogAddress::Local(walk.path(value)?.it));
    } else if let Some(rest) = it.strip_prefix("udp://") {
        place(rest).map(LogAddress::Udp)
    } else if let Some(rest) = it.strip_prefix("tcp://") {
        place(rest).map(LogAddress::Tcp)
    } else {
        None
    };
    read.ok_or_else(|| {
        let known = listed(&[LOCAL_LOG, "udp://log.pbx.de:514", "tcp://log.pbx.de:514"]);
        walk.problem(at, format!("{it:?} is no address of a log; they look like {known}"))
    })
}

const FACILITY_DAEMON: u8 = 3;

/// RFC 5424 section 6.2.1; those that a program may use.
const FACILITIES: [(&str, u8); 12] = [
    ("user", 1),
    ("daemon", FACILITY_DAEMON),
    ("auth", 4),
    ("authpriv", 10),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
