//! Who is told, and through what.

use std::fmt;
use std::path::PathBuf;

use jiff::civil::Time;
use serde::{Deserialize, Serialize};

use super::Proxy;

/// How loud a message is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good or neutral news: recovered, accepted, a change of mode.
    Notice,
    /// Something will go wrong if nobody does anything.
    Warning,
    /// Soon.
    Urgent,
    /// Calls, phones or browsers fail, or will within hours.
    Critical,
}

impl Level {
    /// Every level, the quietest first.
    pub const ALL: [Self; 4] = [Self::Notice, Self::Warning, Self::Urgent, Self::Critical];

    /// As it stands in subjects.
    pub fn word(self) -> &'static str {
        match self {
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Urgent => "URGENT",
            Self::Critical => "CRITICAL",
        }
    }
}

/// The channels of `[alerts]`, and when they rest.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AlertSpec {
    /// The channels, in the order in which they are tried.
    pub channels: Vec<ChannelSpec>,
    /// Who is told that the daemon lives, and what the daily check says.
    pub heartbeats: Vec<Address>,
    /// When warnings and recoveries wait, in the local time of this host.
    pub quiet: Option<Quiet>,
    /// Proxy for webhooks and the heartbeat.
    pub proxy: Option<Proxy>,
}

/// A channel, and the least level that it takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChannelSpec {
    /// What is quieter does not go through it.
    pub least: Level,
    /// How people are reached.
    pub way: Way,
}

/// How people are reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Way {
    /// A program of the operator.
    Command(CommandSpec),
    /// E-mail through one server.
    Email(EmailSpec),
    /// journald, with fields.
    Journal(JournalSpec),
    /// SIP MESSAGE to an extension.
    Sip(SipSpec),
    /// A log of this host or another.
    Syslog(SyslogSpec),
    /// An HTTP address.
    Webhook(WebhookSpec),
}

/// A program of the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandSpec {
    /// Absolute path and arguments.
    pub run: Vec<String>,
}

/// E-mail through one server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmailSpec {
    /// Addresses, at least one.
    pub to: Vec<String>,
    /// The sender's address.
    pub from: String,
    /// Host name or address.
    pub server: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is secured.
    pub tls: MailTls,
    /// Who logs in, if anybody.
    pub login: Option<Login>,
    /// PEM file with the only roots that are trusted; the system's when `None`.
    pub trust_anchor: Option<PathBuf>,
}

/// How a connection to a mail server is secured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MailTls {
    /// Not at all.
    None,
    /// STARTTLS (RFC 3207), required.
    #[default]
    StartTls,
    /// TLS from the first byte (RFC 8314 section 3.3).
    Tls,
}

/// A name, and the file with its password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// One line.
    pub password_file: PathBuf,
}

/// journald.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalSpec {
    /// Its socket for the native protocol.
    pub socket: PathBuf,
}

/// SIP MESSAGE (RFC 3428) to an extension.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SipSpec {
    /// Whom: `sip:100@pbx.example.com`.
    pub to: String,
    /// Who says so.
    pub from: String,
    /// Host name or address of the SIP server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is reached.
    pub transport: Transport,
    /// Who answers its challenge, if anybody.
    pub login: Option<Login>,
    /// The name in its certificate.
    pub sni: String,
    /// PEM file with the only roots that are trusted; the system's when `None`.
    pub trust_anchor: Option<PathBuf>,
}

/// How a SIP server is reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS, the certificate checked.
    Tls,
    /// UDP.
    #[default]
    Udp,
}

/// A log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyslogSpec {
    /// Where it is.
    pub address: LogAddress,
    /// Facility number (RFC 5424 section 6.2.1).
    pub facility: u8,
}

/// Where a log is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogAddress {
    /// A datagram socket of this host: RFC 3164.
    Local(PathBuf),
    /// `host:port`, RFC 5424 over TCP (RFC 6587 section 3.4.1).
    Tcp(String),
    /// `host:port`, RFC 5424 over UDP (RFC 5426).
    Udp(String),
}

/// An HTTP address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookSpec {
    /// Where to post to.
    pub url: Address,
    /// What is understood there.
    pub format: Format,
    /// File with further header lines, `Name: value`; a secret.
    pub header_file: Option<PathBuf>,
    /// PEM file with the only roots that are trusted; the system's when `None`.
    pub trust_anchor: Option<PathBuf>,
}

/// What a webhook understands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// Our own JSON, see README.
    #[default]
    Generic,
    /// `{"text": ...}`: Slack, Mattermost, Rocket.Chat, Zulip.
    Slack,
    /// An adaptive card for a workflow of Microsoft Teams.
    Teams,
}

/// An http or https address that may itself be a secret: never shown whole.
#[derive(Clone, Eq, PartialEq)]
pub enum Address {
    /// One line in a file that nobody else can read.
    File(PathBuf),
    /// In the configuration.
    Written(String),
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Written(_) => f.write_str("Written(***)"),
        }
    }
}

/// Hours of every day, from the first up to the second; over midnight when that is earlier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quiet {
    /// The first minute in it.
    pub from: Time,
    /// The first minute after it.
    pub to: Time,
}

impl Quiet {
    /// Whether that time of the day lies in it.
    pub fn holds(&self, time: Time) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&time)
        } else {
            time >= self.from || time < self.to
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    #[test]
    fn quiet_hours_may_lie_over_midnight() {
        let at = |hour, minute| time(hour, minute, 0, 0);
        let night = Quiet { from: at(20, 0), to: at(7, 0) };
        assert!(night.holds(at(20, 0)) && night.holds(at(23, 59)) && night.holds(at(0, 0)));
        assert!(night.holds(at(6, 59)) && !night.holds(at(7, 0)) && !night.holds(at(19, 59)));
        let noon = Quiet { from: at(12, 0), to: at(13, 0) };
        assert!(noon.holds(at(12, 0)) && !noon.holds(at(13, 0)) && !noon.holds(at(11, 59)));
        let evening = Quiet { from: at(20, 0), to: at(0, 0) };
        assert!(evening.holds(at(23, 59)) && !evening.holds(at(0, 0)));
    }

    #[test]
    fn an_address_with_a_token_is_never_shown() {
        let address = Address::Written("https://hooks.example/T0/secret".to_owned());
        assert!(!format!("{address:?}").contains("secret"));
    }
}
