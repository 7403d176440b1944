//! Syslog: RFC 3164 to a socket of this host, RFC 5424 to another.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};

use super::text;
use crate::config::alerts::{Level, LogAddress, SyslogSpec};
use crate::state::alert::Message;

/// What every receiver should take (RFC 5424 section 6.1).
const MOST: usize = 2048;

/// Where the log is, for reports.
pub(super) fn place(spec: &SyslogSpec) -> String {
    match &spec.address {
        LogAddress::Local(path) => path.display().to_string(),
        LogAddress::Tcp(place) => format!("tcp://{place}"),
        LogAddress::Udp(place) => format!("udp://{place}"),
    }
}

/// Sends one line. Over UDP nobody says whether it arrived.
pub(super) async fn send(
    spec: &SyslogSpec,
    message: &Message,
    now: Timestamp,
) -> Result<(), String> {
    let priority = u32::from(spec.facility) * 8 + u32::from(severity(message.level));
    let sent = match &spec.address {
        LogAddress::Local(path) => {
            let line = traditional(priority, message, now);
            async {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.send(line.as_bytes()).await.map(drop)
            }
            .await
        }
        LogAddress::Tcp(place) => {
            let line = modern(priority, message, now);
            async {
                let mut stream = TcpStream::connect(place).await?;
                // Octet counting (RFC 6587 section 3.4.1).
                stream.write_all(format!("{} {line}", line.len()).as_bytes()).await?;
                stream.shutdown().await
            }
            .await
        }
        LogAddress::Udp(place) => {
            let line = modern(priority, message, now);
            async {
                let address = tokio::net::lookup_host(place).await?.next();
                let address = address.ok_or_else(|| std::io::Error::other("it has no address"))?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                socket.send(line.as_bytes()).await.map(drop)
            }
            .await
        }
    };
    sent.map_err(|e| format!("it takes nothing: {e}; is a syslog server running there?"))
}

/// RFC 5424 section 6.2.1.
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::Notice => 5,
        Level::Warning => 4,
        Level::Urgent => 3,
        Level::Critical => 2,
    }
}

/// RFC 3164 section 4.1, without the host, as the C library writes it (syslog(3)).
fn traditional(priority: u32, message: &Message, now: Timestamp) -> String {
    let local = now.to_zoned_datetime(TimeZone::system());
    let time = local.strftime("%b %e %H:%M:%S");
    format!("<{priority}>{time} pbxcert[{}]: {}", std::process::id(), words(message))
}

/// RFC 5424 section 6.
fn modern(priority: u32, message: &Message, now: Timestamp) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let visible = |c: char| c.is_ascii_graphic();
    let host = if host.is_empty() || !host.chars().all(visible) { "-".to_owned() } else { host };
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    let pid = std::process::id();
    format!("<{priority}>1 {time} {host} pbxcert {pid} alert - {}", words(message))
}

/// Subject and body in one line: what follows a line end would be another entry.
fn words(message: &Message) -> String {
    let body = text::plain(&message.body, MOST).replace('\n', " | ");
    text::line(&format!("{} | {body}", text::subject(message)), MOST - 200)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::{NOW, message};

    #[test]
    fn both_formats_are_those_of_their_rfcs() {
        let message = message();
        let now: Timestamp = NOW.parse().unwrap();
        let line = modern(27, &message, now);
        assert!(line.starts_with("<27>1 2026-12-01T03:00:05Z "), "{line}");
        assert!(line.contains(&format!(" pbxcert {} alert - URGENT", std::process::id())));
        let line = traditional(27, &message, now);
        assert!(
            line.starts_with("<27>")
                && line.contains(&format!(" pbxcert[{}]: URGENT", std::process::id())),
            "{line}"
        );
        let day: Vec<&str> = line[4..].splitn(3, ':').collect();
        assert_eq!(day[0].len(), "Dec  1 03".len(), "{line}");
    }

    #[test]
    fn an_entry_is_one_line_and_fits() {
        let mut message = message();
        message.body = "a\nb\0c\r\n<27>Dec  1 faked\n".repeat(500_000);
        for line in [
            modern(27, &message, Timestamp::UNIX_EPOCH),
            traditional(27, &message, Timestamp::UNIX_EPOCH),
        ] {
            assert!(line.len() <= MOST, "{}", line.len());
            assert!(!line.contains(char::is_control), "{line}");
        }
    }
}
