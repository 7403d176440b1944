//! What nobody wants to hear of.

/// What is taken out of alerts and exit codes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ignore {
    /// A certificate, a service or a part of the host.
    pub object: String,
    /// Only this condition of it; `None`: all.
    pub condition: Option<String>,
    /// Why.
    pub reason: String,
    /// The last day of it, on the clocks of this host; `None`: for ever.
    pub until: Option<jiff::civil::Date>,
}

impl Ignore {
    /// That it takes out nothing any more, for a person; `today` on the clocks of this host.
    pub fn outdated(&self, today: jiff::civil::Date) -> Option<String> {
        let until = self.until.filter(|until| *until < today)?;
        Some(format!(
            "[[ignore]] of {:?} ended on {until}: alerts go on; remove it, or write a later day",
            self.object
        ))
    }

    /// Words for conditions (those of `state::Condition`).
    pub const CONDITIONS: [&'static str; 36] = [
        "chain",
        "channel-dead",
        "clock",
        "config-degraded",
        "deploy-broken",
        "disk",
        "drift",
        "drop-accepted",
        "drop-refused",
        "duplicate",
        "expiry",
        "fault",
        "hold",
        "hygiene",
        "lint",
        "load",
        "mode",
        "not-taken",
        "other-client",
        "placeholder",
        "renewal",
        "restart-announced",
        "restricted",
        "revoked",
        "rolled-back",
        "served",
        "sources",
        "store-damage",
        "stuck",
        "trunk",
        "trust-change",
        "unmanaged",
        "unproved",
        "unsynchronised",
        "updates",
        "vulnerable",
    ];
}
