//! Whether a server lets in clients that nobody should use any more.

use jiff::Timestamp;
use tokio::time::timeout;

use super::{Look, old};
use crate::config::Endpoint;

/// What a server said to a client that knows nothing newer than TLS 1.1 (deprecated by RFC 8996).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lowest {
    /// It goes on with this version.
    Taken(String),
    /// It does not talk to such a client.
    Refused,
    /// Nothing was heard, and why.
    Unclear(String),
}

/// Asks with one more connection, within the limit of the endpoint; no handshake is finished.
pub async fn lowest(endpoint: &Endpoint, now: Timestamp) -> Lowest {
    let mut look = Look::at(endpoint, endpoint.timeout, now);
    let heard = async {
        let mut stream = look.open().await?;
        let sni = look.sni();
        Some(old::look_below(&mut stream, sni, endpoint.key).await)
    };
    match timeout(endpoint.timeout, heard).await {
        Ok(Some(Ok(old::Heard::Hello { version, .. }))) if version < 0x0303 => {
            Lowest::Taken(old::version(version))
        }
        Ok(Some(Ok(old::Heard::Hello { version, .. }))) => {
            Lowest::Unclear(format!("it answers with {}", old::version(version)))
        }
        Ok(Some(Ok(old::Heard::Refused(_) | old::Heard::Nothing))) => Lowest::Refused,
        // Many refuse without a word.
        Ok(Some(Err(error))) if error.kind() == std::io::ErrorKind::ConnectionReset => {
            Lowest::Refused
        }
        Ok(Some(Err(error))) => Lowest::Unclear(error.to_string()),
        Ok(None) => Lowest::Unclear("there is no connection on which TLS could begin".to_owned()),
        Err(_) => Lowest::Unclear("it says nothing".to_owned()),
    }
}
