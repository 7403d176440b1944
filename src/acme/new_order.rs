//! newOrder, and what comes before it or instead of it: contacts that changed, an account that the
//! CA forgot, a replacement that it does not like.

use instant_acme::{CertificateIdentifier, NewOrder};

use crate::cert::Identifier;
use crate::state::{Account, Goal, OrderJournal, Stage};

use super::client::{AcmeAuthority, Desk};
use super::transport::rounds;
use super::{Deed, Error, Refusal, Step};

impl AcmeAuthority {
    /// Sends newOrder, or first what has to come before it.
    pub(super) async fn new_order(
        &self,
        desk: &Desk,
        order: &OrderJournal,
        account: &Account,
    ) -> Result<Step, Error> {
        if let Some(account) = self.told_contacts(desk, order.goal, account).await {
            return Ok(Step::Account(account));
        }
        let directory = &desk.session.directory;
        let identifiers: Vec<_> = order.identifiers.iter().map(theirs).collect();
        let mut request = NewOrder::new(&identifiers);
        // A rehearsal replaces nothing: its CA never saw the certificate.
        let may_replace = directory.renewal_info.is_some() && order.goal == Goal::Certificate;
        let replaces = order.replaces.as_deref().filter(|_| may_replace);
        let replaces = replaces.and_then(|id| id.split_once('.'));
        if let Some((key, serial)) = replaces {
            request = request.replaces(CertificateIdentifier {
                authority_key_identifier: key.into(),
                serial: serial.into(),
            });
        }
        match self.spec.profile.as_deref() {
            Some(profile) if directory.meta.profiles.contains_key(profile) => {
                request = request.profile(profile);
            }
            Some(profile) => {
                tracing::warn!(issuer = self.spec.name, profile, "the CA offers no such profile");
            }
            None => {}
        }
        let sent = rounds(Deed::NewOrder, async || desk.account.new_order(&request).await).await;
        let error = match sent {
            Ok(sent) => {
                self.registered_again.borrow_mut().remove(&desk.session.url);
                let url = sent.url().to_owned();
                desk.session.keep(sent);
                return Ok(Step::Order(Stage::Ordered { url }));
            }
            Err(error) => error,
        };
        match error {
            // The order exists, and the server ignored the field: the crate only hides its URL.
            Error::Answer { reason, .. } if reason.starts_with(MISMATCH) => {
                match desk.session.notes.take_location(&directory.new_order) {
                    Some(url) => Ok(Step::Order(Stage::Ordered { url })),
                    None => Err(Error::ReplacesRefused { detail: reason, already: false }),
                }
            }
            Error::Refused { refusal, .. } if refusal.kind() == Some("accountDoesNotExist") => {
                self.register_again(desk, account, refusal)
            }
            Error::Refused { refusal, .. } if replaces.is_some() && may_be_replaces(&refusal) => {
                let already = refusal.kind() == Some("alreadyReplaced");
                Err(Error::ReplacesRefused { detail: refusal.words(), already })
            }
            error => Err(error),
        }
    }

    /// The CA has lost our account: once, the same key is registered again.
    fn register_again(
        &self,
        desk: &Desk,
        account: &Account,
        refusal: Box<Refusal>,
    ) -> Result<Step, Error> {
        let first = self.registered_again.borrow_mut().insert(desk.session.url.clone());
        match first {
            true => Ok(Step::Account(Account { url: None, ..account.clone() })),
            false => Err(Error::Refused { deed: Deed::NewOrder, refusal }),
        }
    }

    /// Tells the CA contacts that changed. A CA that does not want them holds up nothing.
    async fn told_contacts(&self, desk: &Desk, goal: Goal, account: &Account) -> Option<Account> {
        let contact = &self.spec.contact;
        let refused = self.contacts_refused.borrow().contains(desk.account.id());
        if goal == Goal::Rehearsal || account.contact == *contact || refused {
            return None;
        }
        let texts: Vec<&str> = contact.iter().map(String::as_str).collect();
        let told = rounds(Deed::Account, async || desk.account.update_contacts(&texts).await).await;
        match told {
            Ok(()) => Some(Account { contact: contact.clone(), ..account.clone() }),
            Err(error) => {
                tracing::warn!(issuer = self.spec.name, %error, "cannot tell the CA new contacts");
                self.contacts_refused.borrow_mut().insert(desk.account.id().to_owned());
                None
            }
        }
    }
}

fn theirs(identifier: &Identifier) -> instant_acme::Identifier {
    match identifier {
        Identifier::Dns(name) => instant_acme::Identifier::Dns(name.clone()),
        Identifier::Ip(ip) => instant_acme::Identifier::Ip(*ip),
    }
}

/// Whether leaving out `replaces` may help. Servers refuse it in many ways, and clients have been
/// stuck for ever on each of them; what certainly has another cause is not tried again.
fn may_be_replaces(refusal: &Refusal) -> bool {
    let other = [
        "caa",
        "dns",
        "externalAccountRequired",
        "invalidProfile",
        "rateLimited",
        "rejectedIdentifier",
        "unsupportedIdentifier",
        "userActionRequired",
    ];
    let limited = refusal.status == 429;
    // Pebble's answer where it does not find the order of the certificate that is to be replaced.
    let lost = refusal.status == 500 && refusal.words().contains("order for the given certificate");
    ((400..500).contains(&refusal.status) || lost)
        && !limited
        && !refusal.kind().is_some_and(|kind| other.contains(&kind))
}

const MISMATCH: &str = "replaces field mismatch";
