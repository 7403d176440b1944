//! Lines below the tables, where there is something to say.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::{Context, Failed, show};
use super::{Certificate, Endpoint, Report, Service};
use crate::config::Source;
use crate::policy::daily;
use crate::policy::schedule::Seed;
use crate::policy::verdict;
use crate::state::ServiceState;
use crate::state::check::Verdict;
use crate::state::reach::{Mode, Reach};

/// The last daily check.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Checked {
    /// When; null before the first one.
    at: Option<Timestamp>,
    verdict: Verdict,
    summary: String,
    next_at: Timestamp,
}

impl Checked {
    pub(super) fn of(context: &Context, seed: &Seed, now: Timestamp) -> Result<Self, Failed> {
        let last = context.store.check_record()?.report;
        let started_at = context.store.daemon_record()?.map_or(now, |daemon| daemon.started_at);
        let (at, zone) = (context.loaded.config.check.at, TimeZone::system());
        let next_at =
            daily::next_at(at, last.as_ref().map(|last| last.at), started_at, seed, &zone, now);
        Ok(Self {
            at: last.as_ref().map(|last| last.at),
            verdict: last.as_ref().map(|last| last.verdict).unwrap_or_default(),
            summary: last.map_or_else(|| "it has not run yet".to_owned(), |last| last.summary),
            next_at,
        })
    }

    pub(super) fn line(&self, now: Timestamp) -> String {
        let when = self.at.map(|at| format!(" {}", show::relative(at, now))).unwrap_or_default();
        format!(
            "daily check{when}: {}: {}; the next one {}",
            self.verdict.word(),
            self.summary,
            show::relative(self.next_at, now)
        )
    }
}

/// Old workers, and what limits how long they stay.
pub(super) fn lingering(service: &Service) -> String {
    let limit = match service.kind.as_str() {
        "nginx" => "; worker_shutdown_timeout in nginx.conf limits that",
        "haproxy" => "; hard-stop-after in haproxy.cfg limits that",
        _ => "",
    };
    let which = match service.old_workers {
        1 => {
            "1 old worker process stays for what was open before a reload, until it ends".to_owned()
        }
        count => {
            format!(
                "{count} old worker processes stay for what was open before a reload, until it \
                     ends"
            )
        }
    };
    which + limit
}

/// The mode, when a person should know of it.
pub(super) fn mode_line(certificate: &Certificate, now: Timestamp) -> Option<String> {
    let believed = &certificate.reach;
    match (&certificate.mode, believed.verdict) {
        (Some(Mode::Manual { since, reason }), _) => {
            Some(format!("manual mode since {}: {reason}", show::time(*since, now)))
        }
        (_, Reach::Unreachable) => {
            let since = believed.since.map(|at| show::time(at, now)).unwrap_or_default();
            Some(format!("the CA cannot reach this host since {since}: {}", believed.reason))
        }
        (_, Reach::Reachable | Reach::Unknown) => None,
    }
}

/// Where uploads go, and what became of the last ones.
pub(super) fn show_uploads(certificate: &Certificate, now: Timestamp) {
    let Some(folder) = &certificate.drop_folder else { return };
    let name = &certificate.name;
    if certificate.source == Source::Manual.word()
        || certificate.upload.is_some()
        || certificate.waiting.is_some()
        || certificate.unread.is_some_and(|count| count > 0)
    {
        let source = certificate.source;
        show::line(&format!("  {name}: source {source}, drop folder {}", folder.display()));
    }
    if let Some(count @ 1..) = certificate.unread {
        let files = if count == 1 { "1 file waits" } else { "files wait" };
        let count = if count == 1 { String::new() } else { format!("{count} ") };
        show::line(&format!("  {name}: {count}{files} there until mode = \"on\""));
    }
    for (what, upload) in
        [("incomplete upload", &certificate.waiting), ("last upload", &certificate.upload)]
    {
        let Some(upload) = upload else { continue };
        let outcome = upload.outcome.word();
        let when = show::relative(upload.at, now);
        for (at, line) in upload.text.lines().enumerate() {
            let head = if at == 0 { format!("{what} {outcome} {when}: ") } else { String::new() };
            show::line(&format!("  {name}: {head}{line}"));
        }
    }
}

/// Whether the daemon runs, and by what.
pub(super) fn daemon_line(context: &Context, report: &Report, now: Timestamp) -> String {
    let Some(daemon) = &report.daemon else {
        return "the daemon is not running (systemctl start pbxcert)".to_owned();
    };
    if !context.store.daemon_runs() {
        return "the daemon died; its last record is kept (systemctl start pbxcert)".to_owned();
    }
    let other = if daemon.config_hash == context.loaded.config.hash {
        ""
    } else {
        ", with another configuration than this (systemctl reload pbxcert)"
    };
    format!("daemon pid {} started {}{other}", daemon.pid, show::relative(daemon.started_at, now))
}

/// Where nothing is done.
pub(super) const OBSERVING: &str = "mode is \"observe\": everything is looked at, nothing is ordered, taken or \
                         installed (mode = \"on\" in the configuration changes that)";
/// Nobody hears of what is wrong.
pub(super) fn warn_of_silence(channels: &[String]) {
    if channels.is_empty() {
        show::warning("nobody is told when something is wrong: [alerts] names no channel");
    }
}

/// What an endpoint showed last.
pub(super) fn looked_at(endpoint: &str, state: &ServiceState) -> Endpoint {
    let served = state.seen.get(endpoint);
    Endpoint {
        endpoint: endpoint.to_owned(),
        looked_at: served.map(|s| s.at),
        seen: served.map_or_else(|| "not looked at yet".to_owned(), verdict::shown),
    }
}
