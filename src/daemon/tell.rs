//! What the daemon tells of itself: to systemd, and to `pbxcert status`.

use super::Daemon;
use crate::state::Severity;
use crate::store::DaemonRecord;

impl Daemon<'_> {
    pub(super) fn show_status(&self) {
        let next = self.due.values().filter_map(|at| *at).min();
        let next = next.map_or_else(String::new, |at| format!(", next look at {at}"));
        let wrong = self.findings.values().flatten().filter(|f| f.severity > Severity::Notice);
        let worst = wrong.max_by_key(|finding| finding.severity);
        let problem = worst.map_or_else(String::new, |f| format!("; {}: {}", f.object, f.text));
        let text = format!("watching {}{next}{problem}", self.due.len());
        notify(&[sd_notify::NotifyState::Status(&text)]);
    }

    /// What `status` tells of the daemon; a full disk must not end the watch for want of it.
    pub(super) fn remember_daemon(&self) {
        let remembered = self.store.remember_daemon(&DaemonRecord {
            schema: crate::state::SCHEMA,
            pid: std::process::id(),
            started_at: self.started_at,
            config_hash: self.now.config.hash.clone(),
            degraded: self.now.degraded.clone(),
        });
        if let Err(error) = remembered {
            let text = crate::deploy::chain_of(&error);
            tracing::warn!("`pbxcert status` will not know of this daemon: {text}");
        }
    }
}

/// systemd's absence is no error.
pub(super) fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("systemd was not told: {error}");
    }
}
