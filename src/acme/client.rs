//! A CA reached with instant-acme, one side effect per step.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use instant_acme::{Order, OrderStatus};
use jiff::Timestamp;

use crate::cert::bundle::PrivateKey;
use crate::cert::{Identifier, KeyType, Leaf};
use crate::config::{ChallengeSpec, Http01, IssuerSpec};
use crate::state::{Account, Ari, Goal, OrderJournal, Stage};

use super::http01::{Auto, Response, Solver};
use super::order::{self, Proof};
use super::session::{Session, lost};
use super::transport::rounds;
use super::{Authority, BoxFuture, Deed, Error, Step, ari};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One request.
    pub request: Duration,
    /// Waiting for the CA to validate, or to issue.
    pub poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request: Duration::from_secs(30), poll: Duration::from_secs(300) }
    }
}

/// A CA spoken to over the network. What it remembers between steps only saves requests: a new one
/// goes on from any stage.
pub struct AcmeAuthority {
    pub(super) spec: IssuerSpec,
    challenges: BTreeMap<String, ChallengeSpec>,
    limits: Limits,
    solver: Solver,
    /// By directory.
    sessions: RefCell<BTreeMap<String, Rc<Session>>>,
    /// Directories that forgot our account since the last order that succeeded there.
    pub(super) registered_again: RefCell<BTreeSet<String>>,
    /// Accounts whose contacts the CA did not want changed.
    pub(super) contacts_refused: RefCell<BTreeSet<String>>,
}

/// The session and account that a step works with.
pub(super) struct Desk {
    pub(super) session: Rc<Session>,
    pub(super) account: instant_acme::Account,
}

impl AcmeAuthority {
    /// An authority for one issuer; `folder` holds the responses to challenges, the same for
    /// every process on this machine. Nothing is read or sent before the first step.
    pub fn new(
        spec: IssuerSpec,
        challenges: BTreeMap<String, ChallengeSpec>,
        folder: PathBuf,
        limits: Limits,
    ) -> Self {
        Self::with_auto(spec, challenges, folder, limits, Auto::default())
    }

    /// [`AcmeAuthority::new`] with another port than 80 and other folders for
    /// [`Http01::Auto`] and the self-test of [`Http01::Webroot`].
    pub fn with_auto(
        spec: IssuerSpec,
        challenges: BTreeMap<String, ChallengeSpec>,
        folder: PathBuf,
        limits: Limits,
        auto: Auto,
    ) -> Self {
        let webroots = challenges.values().filter_map(|challenge| match &challenge.method {
            Http01::Webroot(root) => Some(root.clone()),
            Http01::Auto | Http01::Listen(_) => None,
        });
        let solver = Solver::new(folder, auto, webroots.collect());
        Self {
            spec,
            challenges,
            limits,
            solver,
            sessions: RefCell::default(),
            registered_again: RefCell::default(),
            contacts_refused: RefCell::default(),
        }
    }

    /// The directory that orders with this goal are sent to, and whose account a step needs.
    pub fn directory(&self, goal: Goal) -> Option<&str> {
        match goal {
            Goal::Certificate => Some(&self.spec.directory),
            Goal::Rehearsal => self.spec.rehearsal.as_deref(),
        }
    }

    async fn drive(
        &self,
        order: &OrderJournal,
        account: Option<&Account>,
        now: Timestamp,
    ) -> Result<Step, Error> {
        let directory = self.directory(order.goal).ok_or_else(|| Error::Account {
            directory: self.spec.directory.clone(),
            reason: "no rehearsal directory is configured".to_owned(),
        })?;
        let Some(account) = account.filter(|account| account.directory == directory) else {
            return made_account(directory).map(Step::Account);
        };
        let session = self.session(directory, &order.stage, now).await?;
        let Some(url) = &account.url else {
            return session.register(&self.spec, account).await.map(Step::Account);
        };
        let desk = Desk { account: session.account(account, url).await?, session };
        match &order.stage {
            Stage::New => self.new_order(&desk, order, account).await,
            Stage::Ordered { url } => self.publish(&desk, order, url).await.map(Step::Order),
            Stage::Published { url, .. } => {
                self.answer(&desk, order, url, now).await.map(Step::Order)
            }
            Stage::Finalizing { url } => {
                self.finalize(&desk, order, url, now).await.map(Step::Order)
            }
            Stage::Issued { url, certificate } => {
                self.download(&desk, url, certificate).await.map(Step::Order)
            }
            done @ (Stage::Downloaded { .. } | Stage::Rehearsed) => Ok(Step::Order(done.clone())),
        }
    }

    /// The session with a directory; a new order begins with a fresh one.
    async fn session(
        &self,
        directory: &str,
        stage: &Stage,
        now: Timestamp,
    ) -> Result<Rc<Session>, Error> {
        let known = self.sessions.borrow().get(directory).cloned();
        let begins = *stage == Stage::New;
        if let Some(known) = known.filter(|known| !begins || known.is_fresh(now)) {
            return Ok(known);
        }
        let new = Session::begin(&self.spec, directory, self.limits.request, now).await?;
        let new = Rc::new(new);
        self.sessions.borrow_mut().insert(directory.to_owned(), Rc::clone(&new));
        Ok(new)
    }

    /// Publishes a response for every name that is not valid yet, each seen by ourselves.
    async fn publish(
        &self,
        desk: &Desk,
        journal: &OrderJournal,
        url: &str,
    ) -> Result<Stage, Error> {
        let mut order = desk.session.order(&desk.account, url).await?;
        if let Some(next) = onwards(&mut order, journal.goal).await? {
            desk.session.keep(order);
            return Ok(next);
        }
        let mut tokens = Vec::new();
        for proof in order::pending(&mut order).await? {
            let published = self.published(&proof, &journal.challenges).await;
            tokens.push(proof.token);
            if let Err(error) = published {
                self.retract(&tokens);
                return Err(error);
            }
        }
        desk.session.keep(order);
        Ok(Stage::Published { url: url.to_owned(), tokens })
    }

    /// Tells the CA to look, and waits until it has.
    async fn answer(
        &self,
        desk: &Desk,
        journal: &OrderJournal,
        url: &str,
        now: Timestamp,
    ) -> Result<Stage, Error> {
        let Stage::Published { tokens, .. } = &journal.stage else { return Ok(Stage::New) };
        let answered = self.answered(desk, journal, url, now).await;
        match &answered {
            Ok(_) => self.retract(tokens),
            Err(error) if !error.keeps_order() => self.retract(tokens),
            // The CA may still look.
            Err(_) => {}
        }
        answered
    }

    async fn answered(
        &self,
        desk: &Desk,
        journal: &OrderJournal,
        url: &str,
        now: Timestamp,
    ) -> Result<Stage, Error> {
        let mut order = desk.session.order(&desk.account, url).await?;
        if *order_status(&mut order) == OrderStatus::Pending {
            for proof in order::pending(&mut order).await? {
                // After a restart nobody serves it any more.
                if !self.solver.publishes(&proof.token) {
                    self.published(&proof, &journal.challenges).await?;
                }
                order::answer(&mut order, &proof).await?;
            }
            let notes = &desk.session.notes;
            order::poll_validated(&mut order, notes, self.limits.poll, now).await?;
        }
        let next = onwards(&mut order, journal.goal).await?;
        desk.session.keep(order);
        Ok(next.unwrap_or(Stage::Ordered { url: url.to_owned() }))
    }

    /// Publishes one response by the first way that works.
    async fn published(&self, proof: &Proof, challenges: &[String]) -> Result<(), Error> {
        let identifier = proof.identifier.clone();
        if challenges.is_empty() {
            let reason = "no challenge is configured".to_owned();
            return Err(Error::NoChallenge { identifier, reason });
        }
        let response = Response {
            identifier: &proof.identifier,
            token: &proof.token,
            key_authorization: &proof.key_authorization,
        };
        let published = self.publish_by(challenges, response).await;
        published.map_err(|reason| Error::Challenge { identifier, reason })
    }

    async fn publish_by(&self, names: &[String], response: Response<'_>) -> Result<(), String> {
        let mut reasons = Vec::new();
        for name in names {
            let Some(challenge) = self.challenges.get(name) else {
                reasons.push(format!("{name}: there is no such challenge"));
                continue;
            };
            match self.solver.publish(&challenge.method, response).await {
                Ok(()) => return Ok(()),
                Err(reason) if names.len() == 1 => reasons.push(reason),
                Err(reason) => reasons.push(format!("{name}: {reason}")),
            }
        }
        Err(reasons.join("; "))
    }

    /// Sends the signing request, and waits until the certificate is there.
    async fn finalize(
        &self,
        desk: &Desk,
        journal: &OrderJournal,
        url: &str,
        now: Timestamp,
    ) -> Result<Stage, Error> {
        let mut order = desk.session.order(&desk.account, url).await?;
        if *order_status(&mut order) == OrderStatus::Ready {
            let csr = journal.key.csr(&journal.identifiers)?;
            let sent = rounds(Deed::Finalize, async || order.finalize_csr(&csr).await).await;
            match sent {
                Err(Error::Refused { refusal, .. }) if refusal.kind() == Some("orderNotReady") => {
                    order::refresh(&mut order).await?;
                }
                sent => sent?,
            }
        }
        if *order_status(&mut order) == OrderStatus::Processing {
            let notes = &desk.session.notes;
            order::poll_issued(&mut order, notes, self.limits.poll, now).await?;
        }
        let next = onwards(&mut order, journal.goal).await?;
        desk.session.keep(order);
        // Pending again: a validation has run out in the meantime.
        Ok(next.unwrap_or(Stage::Ordered { url: url.to_owned() }))
    }

    async fn download(&self, desk: &Desk, url: &str, certificate: &str) -> Result<Stage, Error> {
        let mut order = desk.session.order(&desk.account, url).await?;
        if *order_status(&mut order) != OrderStatus::Valid {
            desk.session.keep(order);
            return Ok(Stage::Finalizing { url: url.to_owned() });
        }
        let certificate = certificate.to_owned();
        let chain = order::certificate(&mut order).await?;
        Ok(Stage::Downloaded { certificate, chain })
    }
}

impl Authority for AcmeAuthority {
    fn step<'a>(
        &'a self,
        order: &'a OrderJournal,
        account: Option<&'a Account>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Step, Error>> {
        Box::pin(async move {
            let done = self.drive(order, account, now).await.map_err(lost);
            if let (Err(error), Some(directory)) = (&done, self.directory(order.goal))
                && may_be_stale(error)
            {
                self.sessions.borrow_mut().remove(directory);
            }
            done
        })
    }

    fn show<'a>(
        &'a self,
        challenges: &'a [String],
        identifier: &'a Identifier,
        token: &'a str,
        body: &'a str,
    ) -> BoxFuture<'a, Result<(), String>> {
        let response = Response { identifier, token, key_authorization: body };
        Box::pin(self.publish_by(challenges, response))
    }

    fn retract(&self, tokens: &[String]) {
        for token in tokens {
            self.solver.retract(token);
        }
    }

    fn date(&self) -> BoxFuture<'_, Option<Timestamp>> {
        Box::pin(async move {
            let client = super::session::client(&self.spec, self.limits.request).ok()?;
            let answer = client.get(&self.spec.directory).await.ok()?;
            let date = answer.headers().get(http::header::DATE)?;
            super::refusal::http_date(date.to_str().ok()?)
        })
    }

    fn renewal_info<'a>(
        &'a self,
        leaf: &'a Leaf,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Ari>, Error>> {
        Box::pin(async move {
            // As for a new order: a directory that may have changed is not asked by its old one.
            let session = self.session(&self.spec.directory, &Stage::New, now).await?;
            match &session.directory.renewal_info {
                Some(url) => ari::ask(&session.client, url, leaf, now).await,
                None => Ok(None),
            }
        })
    }
}

fn made_account(directory: &str) -> Result<Account, Error> {
    let key = PrivateKey::generate(KeyType::EcdsaP256)?;
    Ok(Account { directory: directory.to_owned(), key, url: None, contact: Vec::new() })
}

/// Where the order goes from its state; `None` when names are still to be validated.
async fn onwards(order: &mut Order, goal: Goal) -> Result<Option<Stage>, Error> {
    let url = order.url().to_owned();
    let state = order.state();
    match (state.status, goal) {
        (OrderStatus::Pending, _) => Ok(None),
        (OrderStatus::Invalid, _) => Err(order::failure(order).await),
        (_, Goal::Rehearsal) => Ok(Some(Stage::Rehearsed)),
        (OrderStatus::Ready | OrderStatus::Processing, _) => Ok(Some(Stage::Finalizing { url })),
        (OrderStatus::Valid, _) => match state.certificate.clone() {
            Some(certificate) => Ok(Some(Stage::Issued { url, certificate })),
            None => {
                let reason = "the order is valid, but has no certificate".to_owned();
                Err(Error::Answer { deed: Deed::Order, reason })
            }
        },
    }
}

fn order_status(order: &mut Order) -> &OrderStatus {
    &order.state().status
}

/// Whether what we hold of the CA may be the cause.
fn may_be_stale(error: &Error) -> bool {
    matches!(
        error,
        Error::Answer { .. } | Error::Http { .. } | Error::OrderLost { .. } | Error::Refused { .. }
    )
}
