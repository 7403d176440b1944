//! Calls a peer as a client of it does: with a certificate of ours, when it asks for one.

use std::path::Path;

use jiff::Timestamp;
use tokio::time::timeout;

use super::Look;
use crate::cert::bundle::Bundle;
use crate::config::Endpoint;
use crate::state::Served;
use crate::tls;

/// What a peer did when we called it.
#[derive(Debug)]
pub struct Called {
    /// What it showed; `unfinished` says why it refused us, if it did.
    pub served: Served,
    /// It asked for a certificate of ours.
    pub asked: bool,
    /// Whether what it showed can be trusted, and why not.
    pub trust: Result<(), String>,
}

/// Calls a peer, within the limit of its endpoint, and shows `ours` when it asks.
///
/// In TLS 1.3 a refusal comes after the handshake: SIP is asked OPTIONS, and everybody is listened to
/// for a moment more.
///
/// # Errors
///
/// When our own key cannot be used.
pub async fn call(
    endpoint: &Endpoint,
    ours: Option<&Bundle>,
    anchor: Option<&Path>,
    now: Timestamp,
) -> Result<Called, tls::Error> {
    let mut look = Look::at(endpoint, endpoint.timeout, now);
    look.ours = ours.map(tls::certified).transpose()?;
    if timeout(endpoint.timeout, look.follow()).await.is_err() {
        look.run_out();
    }
    let shown = look.capture.as_ref().map(|capture| capture.shown()).unwrap_or_default();
    let host = endpoint.host.trim_start_matches('[').trim_end_matches(']');
    let name = endpoint.sni.as_deref().unwrap_or(host);
    let trust = tls::trusted(&shown.chain, name, anchor, now);
    Ok(Called { served: look.served, asked: shown.asked_for_ours, trust })
}
