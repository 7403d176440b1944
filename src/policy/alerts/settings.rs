//! What the configuration and a person want of alerts.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::alerts::Quiet;
use crate::config::{Config, Ignore};
use crate::state::Condition;
use crate::state::alert::Level;
use crate::state::alert::log::AlertLog;
use crate::state::check::Verdict;

/// What the configuration says of alerts, as far as it decides when and what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose PBX.
    pub site: String,
    /// It may be a copy of that, and every subject says so.
    pub possible_copy: bool,
    /// The zone of its clocks.
    pub zone: TimeZone,
    /// Hours in which warnings wait.
    pub quiet: Option<Quiet>,
    /// What nobody wants to hear of.
    pub ignored: Vec<Ignore>,
}

impl Settings {
    /// Those of a configuration, on the clocks of `zone`.
    pub fn of(config: &Config, zone: TimeZone) -> Self {
        Self {
            site: config.site.clone(),
            possible_copy: false,
            zone,
            quiet: config.alerts.quiet,
            ignored: config.ignored.clone(),
        }
    }
}

/// The words of the configuration that take something out of alerts and exit codes.
pub fn ignored<'s>(
    settings: &'s Settings,
    object: &str,
    condition: Condition,
    now: Timestamp,
) -> Option<&'s Ignore> {
    let today = settings.zone.to_datetime(now).date();
    settings.ignored.iter().find(|ignore| {
        ignore.object == object
            && ignore.condition.as_deref().is_none_or(|word| word == condition.word())
            && ignore.until.is_none_or(|until| today <= until)
    })
}

/// The loudest condition that is open, and that nobody took note of or ignores.
pub fn loudest(log: &AlertLog, settings: &Settings, now: Timestamp) -> Option<Level> {
    let open = log.open().filter_map(|(object, condition, item)| {
        let level = item.level?;
        let quiet = log.ack(object, condition, level, now).is_some()
            || ignored(settings, object, condition, now).is_some();
        (!quiet).then_some(level)
    });
    open.max()
}

/// What a heartbeat says, and one line more: how loud what is open is; that nothing is, only when
/// `complete`: everything was looked at.
pub fn verdict(
    log: &AlertLog,
    settings: &Settings,
    complete: bool,
    now: Timestamp,
) -> (Verdict, String) {
    let open = |level: Level| format!("open up to {}", level.word().to_lowercase());
    match loudest(log, settings, now) {
        Some(Level::Critical) => (Verdict::Critical, open(Level::Critical)),
        Some(level @ (Level::Warning | Level::Urgent)) => (Verdict::Warning, open(level)),
        None | Some(Level::Notice) if complete => (Verdict::Ok, "nothing is open".to_owned()),
        None | Some(Level::Notice) => {
            (Verdict::Unknown, "not everything was looked at yet".to_owned())
        }
    }
}
