//! journald, by its native protocol: an entry with fields
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use tokio::net::UnixDatagram;

use super::{syslog, text};
use crate::config::alerts::JournalSpec;
use crate::state::alert::Message;

/// Far below what a datagram holds: longer entries would need memory that is handed over.
const MOST: usize = 16 * 1024;

/// Sends one entry; journald takes what it can read without a word.
pub(super) async fn send(spec: &JournalSpec, message: &Message) -> Result<(), String> {
    let entry = entry(message);
    let sent = async {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&spec.socket)?;
        socket.send(&entry).await.map(drop)
    };
    let place = spec.socket.display();
    sent.await.map_err(|e| format!("{place} takes nothing: {e}; is systemd-journald running?"))
}

fn entry(message: &Message) -> Vec<u8> {
    let by = message.by.map(|at| at.to_string()).unwrap_or_default();
    let text = format!("{}\n{}", text::subject(message), text::plain(&message.body, MOST));
    let mut entry = Vec::new();
    for (name, value) in [
        ("MESSAGE", text.as_str()),
        ("PRIORITY", &syslog::severity(message.level).to_string()),
        ("SYSLOG_IDENTIFIER", "pbxcert"),
        ("PBXCERT_EVENT", "alert"),
        ("PBXCERT_ID", &message.id),
        ("PBXCERT_LEVEL", &message.level.word().to_lowercase()),
        ("PBXCERT_SITE", &message.site),
        ("PBXCERT_OBJECT", &message.object),
        ("PBXCERT_CONDITION", &message.condition),
        ("PBXCERT_RECOVERED", if message.recovered { "yes" } else { "no" }),
        ("PBXCERT_BY", &by),
    ] {
        // With its length, so that nothing in the value can end it.
        let value = &value.as_bytes()[..value.len().min(2 * MOST)];
        entry.extend_from_slice(name.as_bytes());
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        entry.extend_from_slice(value);
        entry.push(b'\n');
    }
    entry
}
