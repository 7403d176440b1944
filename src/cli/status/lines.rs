//! Lines below the tables, where there is something to say.

use jiff::Timestamp;

use super::super::show;
use super::{Certificate, Service};
use crate::config::Source;
use crate::state::reach::{Mode, Reach};

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
            Some(format!("manual mode since {}: {reason}", show::relative(*since, now)))
        }
        (_, Reach::Unreachable) => {
            let since = believed.since.map(|at| show::relative(at, now)).unwrap_or_default();
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
    {
        let source = certificate.source;
        show::line(&format!("  {name}: source {source}, drop folder {}", folder.display()));
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
