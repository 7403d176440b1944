//! What an endpoint or a key file allows that it should not.

use std::os::unix::fs::PermissionsExt as _;

use futures_util::future::join_all;

use super::Checker;
use super::endpoints::Look;
use crate::config::{Endpoint, Protocol, ServiceSpec};
use crate::probe::{self, Lowest};
use crate::state::check::{CheckReport, Item, Topic, Verdict};
use crate::state::{Answer, ServiceState};

/// What every endpoint says to a client of an older time, in the order of [`Checker::looks`].
pub(super) async fn lowest_of_all(checker: &Checker<'_>) -> Vec<Lowest> {
    let endpoints = checker.config.services.iter().flat_map(|service| &service.endpoints);
    join_all(endpoints.map(|endpoint| probe::lowest(endpoint, checker.world.now()))).await
}

/// Whether an endpoint lost STARTTLS, or takes clients that are too old. `state`: from before the
/// look; `before`: the last check, since a second look at what is gone finds nothing that it had.
pub(super) fn of_endpoint(
    look: &Look<'_>,
    lowest: &Lowest,
    state: Option<&ServiceState>,
    before: Option<&CheckReport>,
) -> Item {
    let (service, endpoint) = (&look.service.name, look.endpoint);
    let item = |verdict, text: String| {
        Item::new(Topic::Hygiene, service, verdict, text).at(endpoint.to_string())
    };
    if let Answer::NoHandshake { reason } = &look.served.answer
        && has_starttls(endpoint.protocol)
    {
        let text = format!(
            "it spoke TLS before and does so no longer ({reason}): whoever connects now sends \
             everything in plain text"
        );
        let gone = item(Verdict::Critical, text)
            .then(format!("put its TLS settings in order; then: pbxcert deploy {service}"));
        let known = |old: &Item| old.verdict == Verdict::Critical && old.is_about_the_same(&gone);
        let is_known = before.is_some_and(|before| before.items.iter().any(known));
        if is_known || state.is_some_and(|state| spoke_tls(state, endpoint)) {
            return gone;
        }
    }
    match (lowest, look.served.is_alive()) {
        (Lowest::Taken(version), _) => item(
            Verdict::Warning,
            format!("it takes clients with {version}, which has been broken for years (RFC 8996)"),
        )
        .then("allow TLS 1.2 and newer only in its settings, once no phone needs the older ones"),
        (Lowest::Refused, true) => item(Verdict::Ok, "TLS 1.1 and older are refused".to_owned()),
        (Lowest::Refused, false) => {
            item(Verdict::Unknown, "it speaks no TLS now, so nothing can be said".to_owned())
        }
        (Lowest::Unclear(why), _) => {
            item(Verdict::Unknown, format!("whether it takes TLS 1.1 is not known: {why}"))
        }
    }
}

fn has_starttls(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::ImapStarttls
            | Protocol::LdapStarttls
            | Protocol::Pop3Starttls
            | Protocol::SmtpStarttls
            | Protocol::XmppStarttls
    )
}

/// By the last look, or by the proof of what is live.
fn spoke_tls(state: &ServiceState, endpoint: &Endpoint) -> bool {
    let name = endpoint.to_string();
    let lately = state.seen.get(&name).is_some_and(|seen| seen.is_alive());
    let mut promotions = state.pairs.values().filter_map(|pair| pair.promoted.as_ref());
    lately || promotions.any(|promoted| promoted.endpoints.contains(&name))
}

/// Whether others can read the private keys that lie at the targets of a service.
pub(super) fn key_files(service: &ServiceSpec) -> Vec<Item> {
    let targets = service.install.values().flat_map(|install| install.targets());
    let keys = targets.filter(|(_, target)| target.content.holds_key());
    let of = |(path, target): (std::path::PathBuf, &crate::config::Target)| {
        let place = path.display().to_string();
        let item = |verdict, text: String| {
            Item::new(Topic::Hygiene, &service.name, verdict, text).at(&*place)
        };
        let mode = match std::fs::symlink_metadata(&path) {
            Ok(meta) => meta.permissions().mode() & 0o7777,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = "there is no private key there yet";
                let none = Item::not_asked(Topic::Hygiene, &service.name, Verdict::Unknown, text);
                return none.at(&*place);
            }
            Err(error) => {
                return item(Verdict::Unknown, format!("it cannot be looked at: {error}"));
            }
        };
        if mode & 0o007 == 0 {
            return item(
                Verdict::Ok,
                format!("nobody else can read the private key (mode {mode:04o})"),
            );
        }
        let text = format!(
            "everybody on this host can read the private key (mode {mode:04o}): whoever has it can \
             pass for this telephone system"
        );
        let wanted = target.mode & 0o770;
        let next = match target.mode & 0o007 {
            0 => format!("chmod {wanted:04o} {place}"),
            _ => format!(
                "say mode = \"{wanted:04o}\" for it in pbxcert.toml; then: pbxcert deploy {}",
                service.name
            ),
        };
        item(Verdict::Warning, text).then(next)
    };
    keys.map(of).collect()
}
