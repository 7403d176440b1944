//! What is known of a CA while it is fresh: its directory, the live account, the orders as last
//! seen. Everything in it can be had again; it only saves requests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::Order;
use jiff::Timestamp;
use rustls::pki_types::PrivateKeyDer;

use crate::cert::span;
use crate::config::{Eab, IssuerSpec};
use crate::http::{self, Client, ClientOptions};
use crate::state::Account;

use super::directory::Directory;
use super::jws::{self, Binding};
use super::transport::{Notes, Transport, rounds, told};
use super::{Deed, Error};

/// The client for everything that is sent to this CA.
pub(super) fn client(spec: &IssuerSpec, timeout: Duration) -> Result<Client, Error> {
    let options = ClientOptions {
        trust_anchor: spec.trust_anchor.clone(),
        proxy: spec.proxy.clone(),
        timeout,
        https_only: true,
    };
    let unfit = |source: http::Error| Error::Http { deed: Deed::Directory, source };
    Client::new(&options).map_err(unfit)
}

/// A conversation with one directory.
pub(super) struct Session {
    /// The directory's URL.
    pub(super) url: String,
    pub(super) directory: Directory,
    pub(super) client: Client,
    pub(super) notes: Arc<Notes>,
    transport: Transport,
    begun_at: Timestamp,
    account: RefCell<Option<(Account, instant_acme::Account)>>,
    orders: RefCell<HashMap<String, Order>>,
}

impl Session {
    /// Fetches the directory.
    pub(super) async fn begin(
        spec: &IssuerSpec,
        url: &str,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let client = client(spec, timeout)?;
        let (directory, body) = Directory::fetch(&client, url).await?;
        let (transport, notes) = Transport::new(client.clone(), (url.to_owned(), body));
        Ok(Self {
            url: url.to_owned(),
            directory,
            client,
            notes,
            transport,
            begun_at: now,
            account: RefCell::default(),
            orders: RefCell::default(),
        })
    }

    /// A directory changes seldom, but it does: a new order does not use one older than an hour,
    /// nor one from the future.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now >= self.begun_at && span(self.begun_at, now) < FRESH
    }

    /// Registers a key, or finds the account that it has.
    pub(super) async fn register(
        &self,
        spec: &IssuerSpec,
        account: &Account,
    ) -> Result<Account, Error> {
        let fail = |reason| Error::Account { directory: self.url.clone(), reason };
        if let Some(terms) = &self.directory.meta.terms_of_service
            && !spec.agree_to_terms
        {
            let terms = super::refusal::words(terms, 300);
            return Err(fail(format!(
                "it wants agreement to its terms; read {terms} and set agree-to-terms = true"
            )));
        }
        if self.directory.meta.external_account_required && spec.eab.is_none() {
            return Err(fail(
                "it needs an account there; get a key from the CA and set eab = { key-id, \
                 hmac-file }"
                    .to_owned(),
            ));
        }
        let binding = spec.eab.as_ref().map(binding).transpose().map_err(fail)?;
        let url = jws::register(
            &self.client,
            &self.directory,
            &account.key,
            &spec.contact,
            binding.as_ref(),
        )
        .await?;
        Ok(Account { url: Some(url), contact: spec.contact.clone(), ..account.clone() })
    }

    /// The account as instant-acme's; asks nobody.
    pub(super) async fn account(
        &self,
        account: &Account,
        url: &str,
    ) -> Result<instant_acme::Account, Error> {
        if let Some((known, live)) = &*self.account.borrow()
            && known.url == account.url
            && known.key.public() == account.key.public()
        {
            return Ok(live.clone());
        }
        let PrivateKeyDer::Pkcs8(key) = account.key.to_rustls() else {
            let reason = "the account's key is not PKCS#8".to_owned();
            return Err(Error::Account { directory: self.url.clone(), reason });
        };
        let builder = instant_acme::Account::builder_with_http(Box::new(self.transport.clone()));
        let live = builder.from_parts(url.to_owned(), key, self.url.clone()).await;
        let live = live.map_err(|error| told(Deed::Directory, error))?;
        *self.account.borrow_mut() = Some((account.clone(), live.clone()));
        Ok(live)
    }

    /// The order as last seen by us, else as the CA shows it.
    pub(super) async fn order(
        &self,
        account: &instant_acme::Account,
        url: &str,
    ) -> Result<Order, Error> {
        let known = self.orders.borrow_mut().remove(url);
        if let Some(order) = known {
            return Ok(order);
        }
        let found = rounds(Deed::Order, async || account.order(url.to_owned()).await).await;
        found.map_err(lost)
    }

    /// Remembers how an order was last seen.
    pub(super) fn keep(&self, order: Order) {
        self.orders.borrow_mut().insert(order.url().to_owned(), order);
    }
}

/// A refusal to show an order, when it is for good: the order is gone, or not ours.
pub(super) fn lost(error: Error) -> Error {
    match error {
        Error::Refused { deed: Deed::Order, refusal } => {
            let reason = refusal.words();
            let status = refusal.status;
            let error = Error::Refused { deed: Deed::Order, refusal };
            match (400..500).contains(&status) && !error.is_passing() {
                true => Error::OrderLost { reason },
                false => error,
            }
        }
        error => error,
    }
}

fn binding(eab: &Eab) -> Result<Binding, String> {
    let path = eab.hmac_file.display();
    let text = std::fs::read_to_string(&eab.hmac_file)
        .map_err(|e| format!("cannot read the MAC key {path}: {e}"))?;
    let text = zeroize::Zeroizing::new(text);
    let mac = jws::mac_key(&text).ok_or(format!("{path} holds no base64 MAC key"))?;
    Ok(Binding { key_id: eab.key_id.clone(), mac })
}

const FRESH: Duration = Duration::from_secs(3600);
