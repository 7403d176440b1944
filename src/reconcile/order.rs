//! An order from its first request to a committed revision, each step remembered before the next.

use super::{Error, Reconciler, in_words};
use crate::acme::{self, Authority, Step as AcmeStep};
use crate::cert::KeyType;
use crate::cert::bundle::{Bundle, PrivateKey};
use crate::config::{CertSpec, IssuerSpec};
use crate::policy::plan::{self, Reason};
use crate::policy::remember;
use crate::state::identity::HintKind;
use crate::state::{
    CertState, Failure, FailureClass, Goal, LedgerEntry, LedgerEvent, OrderJournal, Stage,
};
use crate::store::CertificateWriter;

impl Reconciler<'_> {
    /// The order that is under way, if it is for what is wanted now; else a new one, and `true`.
    pub(super) async fn order(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        goal: Goal,
        replaces: Option<String>,
    ) -> Result<(OrderJournal, bool), Error> {
        let Some(issuer) = self.issuer(spec) else {
            return Err(Error::NoIssuer(spec.name.clone()));
        };
        let asked = plan::wish(spec, issuer);
        let now = self.world.now();
        let store = self.store.certificate(&spec.name)?;
        if let (Some(order), Some(seen)) = (store.order()?, store.order_seen()?) {
            if plan::resumes(&seen, &asked, goal, now) {
                return Ok((order, false));
            }
            self.drop_order(writer, spec, &order)?;
        }
        let key = self.new_key(spec.key).await?;
        let order = OrderJournal {
            asked,
            identifiers: spec.identifiers.clone(),
            challenges: spec.challenges.clone(),
            replaces,
            goal,
            key,
            started_at: self.world.now(),
            stage: Stage::New,
        };
        writer.remember_order(&order)?;
        Ok((order, true))
    }

    /// RSA takes up to seconds.
    pub(super) async fn new_key(&self, kind: KeyType) -> Result<PrivateKey, Error> {
        let key = tokio::task::spawn_blocking(move || PrivateKey::generate(kind)).await;
        Ok(key.map_err(|e| Error::Cut(e.to_string()))??)
    }

    /// Has the rehearsal CA validate the names now, and remembers nothing of it but the account
    /// there; `None` when the issuer has no rehearsal directory.
    ///
    /// # Errors
    ///
    /// When records cannot be read or written; what the CA says is no error here.
    pub async fn try_out(&self, spec: &CertSpec) -> Result<Option<Result<(), Failure>>, Error> {
        let Some(issuer) = self.issuer(spec).filter(|issuer| issuer.rehearsal.is_some()) else {
            return Ok(None);
        };
        let tried = self.validate(spec, issuer, Goal::Rehearsal).await?;
        Ok(Some(tried.map_err(|error| error.failure(self.world.now(), true))))
    }

    /// Has a CA validate the names, up to the point where a certificate would be asked for, with
    /// an order that is remembered nowhere: nothing goes on with it.
    pub(super) async fn validate(
        &self,
        spec: &CertSpec,
        issuer: &IssuerSpec,
        goal: Goal,
    ) -> Result<Result<(), acme::Error>, Error> {
        let Some(authority) = self.authority(spec) else {
            return Err(Error::NoIssuer(spec.name.clone()));
        };
        let mut order = OrderJournal {
            asked: plan::wish(spec, issuer),
            identifiers: spec.identifiers.clone(),
            challenges: spec.challenges.clone(),
            replaces: None,
            goal,
            // Never used: it ends before a key is asked for.
            key: PrivateKey::generate(KeyType::EcdsaP256)?,
            started_at: self.world.now(),
            stage: Stage::New,
        };
        let shared = self.store.issuer(&issuer.name)?;
        let mut account = shared.account(goal)?;
        loop {
            if matches!(
                order.stage,
                Stage::Rehearsed
                    | Stage::Finalizing { .. }
                    | Stage::Issued { .. }
                    | Stage::Downloaded { .. }
            ) {
                return Ok(Ok(()));
            }
            let now = self.world.now();
            match authority.step(&order, account.as_ref(), now).await {
                Ok(AcmeStep::Account(made)) => {
                    account = Some(shared.remember_account(goal, account.as_ref(), &made, now)?);
                }
                Ok(AcmeStep::Order(stage)) => {
                    self.say(&format!("{}: rehearsal: {}", spec.name, stage.word()));
                    self.retract(&*authority, &std::mem::replace(&mut order.stage, stage));
                }
                Err(error) => {
                    self.retract(&*authority, &order.stage);
                    return Ok(Err(error));
                }
            }
        }
    }

    /// Removes what was published at this stage.
    fn retract(&self, authority: &dyn Authority, stage: &Stage) {
        if let Stage::Published { tokens, .. } = stage {
            authority.retract(tokens);
        }
    }

    /// Steps the order to its end, each step remembered before the next; returns what failed. One
    /// that is not new may have been sent before, by a process that did not live to hear of it.
    pub(super) async fn drive(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        (mut order, is_new): (OrderJournal, bool),
        reason: &Reason,
        exempt: bool,
    ) -> Result<Option<String>, Error> {
        let Some(authority) = self.authority(spec) else { return Ok(None) };
        let issuer = order.asked.issuer.clone();
        let goal = order.goal;
        let what = match goal {
            Goal::Certificate => "ordering",
            Goal::Rehearsal => "rehearsing",
        };
        self.say(&format!("{}: {what}: {reason}", spec.name));
        if order.stage == Stage::New {
            self.tell(spec, "ordered", &format!("{what} at {issuer}: {reason}"), None)?;
        } else {
            let text = format!("going on with the order ({})", order.stage.word());
            self.tell(spec, "resumed", &text, None)?;
        }
        let mut account = self.store.issuer(&issuer)?.account(goal)?;
        loop {
            if self.stop.get() {
                return Ok(None);
            }
            match &order.stage {
                Stage::Downloaded { certificate, chain } => {
                    let (certificate, chain) = (certificate.clone(), chain.clone());
                    return self.accept(writer, spec, &order, &certificate, &chain, exempt).await;
                }
                Stage::Rehearsed => {
                    let state = self.store.certificate(&spec.name)?.state()?;
                    writer.remember(&remember::rehearsed(&state, self.world.now()))?;
                    writer.forget_order()?;
                    self.tell(spec, "rehearsed", "the rehearsal CA could validate it", None)?;
                    self.came_through(writer, spec, goal)?;
                    return Ok(None);
                }
                _ => {}
            }
            let now = self.world.now();
            match authority.step(&order, account.as_ref(), now).await {
                Ok(AcmeStep::Account(made)) => {
                    self.hear_account(spec, account.as_ref(), &made);
                    // Another certificate may have made one meanwhile: one is enough.
                    let shared = self.store.issuer(&issuer)?;
                    account = Some(shared.remember_account(goal, account.as_ref(), &made, now)?);
                }
                Ok(AcmeStep::Order(stage)) => {
                    self.say(&format!("{}: {}", spec.name, stage.word()));
                    let left = std::mem::replace(&mut order.stage, stage);
                    writer.remember_order(&order)?;
                    self.retract(&*authority, &left);
                    if is_new {
                        self.hear_ready(spec, &order, &left)?;
                    }
                }
                Err(acme::Error::ReplacesRefused { detail, already })
                    if order.replaces.is_some() =>
                {
                    if already && is_new {
                        self.hear(spec, HintKind::AlreadyReplaced);
                    }
                    self.tell(spec, "without-replaces", &detail, None)?;
                    let mut state = self.store.certificate(&spec.name)?.state()?;
                    state.without_replaces = order.replaces.take();
                    writer.remember(&state)?;
                    writer.remember_order(&order)?;
                }
                Err(error) => {
                    return self.fail(writer, spec, &order, &*authority, &error).await.map(Some);
                }
            }
        }
    }

    /// Checks what the CA sent and commits it.
    async fn accept(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        order: &OrderJournal,
        url: &str,
        chain: &str,
        exempt: bool,
    ) -> Result<Option<String>, Error> {
        let now = self.world.now();
        let bundle = match acme::check_issued(order, chain, now) {
            Ok(bundle) => bundle,
            Err(error) => {
                let Some(authority) = self.authority(spec) else { return Ok(None) };
                return self.fail(writer, spec, order, &*authority, &error).await.map(Some);
            }
        };
        // First what matters: counted before, a full disk would spend the budget try by try.
        let revision = self.commit(writer, spec, &bundle, order, url)?;
        self.count(order, exempt)?;
        let state = self.store.certificate(&spec.name)?.state()?;
        // What was wished for since is still to be done.
        let forced_at = state.forced_at.filter(|at| *at > order.started_at);
        writer.remember(&CertState { forced_at, ..remember::issued(&state) })?;
        writer.forget_order()?;
        self.came_through(writer, spec, order.goal)?;
        writer.prune(&self.in_use(&spec.name)?)?;
        self.say(&format!("{}: issued, revision {revision}", spec.name));
        Ok(None)
    }

    /// A crash came between the commit and forgetting the order: the wish is met.
    pub(super) async fn finish(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
    ) -> Result<(), Error> {
        let store = self.store.certificate(&spec.name)?;
        let (Some(order), Some(newest)) = (store.order()?, store.newest()?) else { return Ok(()) };
        let Stage::Downloaded { certificate, chain } = &order.stage else { return Ok(()) };
        if store.bundle(newest.number)?.key().public() == order.key.public() {
            self.accept(writer, spec, &order, certificate, chain, false).await?;
        }
        Ok(())
    }

    /// Commits unless a crash came between the commit and forgetting the order.
    fn commit(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        bundle: &Bundle,
        order: &OrderJournal,
        url: &str,
    ) -> Result<u64, Error> {
        let fingerprint = bundle.leaf().fingerprint;
        let newest = self.store.certificate(&spec.name)?.newest()?;
        let revision = match newest.filter(|newest| newest.leaf.fingerprint == fingerprint) {
            Some(newest) if self.is_told(spec, "issued", newest.number)? => {
                return Ok(newest.number);
            }
            Some(newest) => newest,
            None => writer.commit(bundle, Some(order.asked.clone()), url, self.world.now())?,
        };
        let text = format!(
            "{} until {}, key {}, fingerprint {}",
            crate::cert::bundle::names(bundle.leaf()),
            bundle.leaf().validity.not_after,
            order.asked.key,
            fingerprint.short()
        );
        self.tell(spec, "issued", &text, Some(revision.number))?;
        Ok(revision.number)
    }

    /// Whether history has this line of this revision.
    pub(super) fn is_told(&self, spec: &CertSpec, what: &str, number: u64) -> Result<bool, Error> {
        Ok(self.store.history()?.iter().any(|event| {
            event.what == what
                && event.revision == Some(number)
                && event.certificate.as_ref() == Some(&spec.name)
        }))
    }

    /// Revisions that a service has, goes back to, or was seen with.
    pub(super) fn in_use(&self, certificate: &str) -> Result<Vec<u64>, Error> {
        let mut used = Vec::new();
        for service in self.store.services()? {
            let state = self.store.service(&service)?.state()?;
            let Some(pair) = state.pairs.get(certificate) else { continue };
            used.extend(pair.revision);
            used.extend(pair.promoted.as_ref().map(|p| p.revision));
            used.extend(pair.saved.as_ref().and_then(|s| s.revision));
            used.extend(pair.hold.as_ref().and_then(|h| h.instead));
        }
        Ok(used)
    }

    /// Revisions that were seen in service.
    pub(super) fn live(&self, certificate: &str) -> Result<Vec<u64>, Error> {
        let mut live = Vec::new();
        for service in self.store.services()? {
            let state = self.store.service(&service)?.state()?;
            let pair = state.pairs.get(certificate);
            live.extend(pair.and_then(|pair| pair.promoted.as_ref()).map(|p| p.revision));
        }
        Ok(live)
    }

    fn count(&self, order: &OrderJournal, exempt: bool) -> Result<(), Error> {
        let event = LedgerEvent::Issued { identifiers: order.asked.identifiers.clone(), exempt };
        self.enter(&order.asked.issuer, event)
    }

    fn enter(&self, issuer: &str, event: LedgerEvent) -> Result<(), Error> {
        let now = self.world.now();
        Ok(self.store.issuer(issuer)?.record(LedgerEntry { at: now, event }, now)?)
    }

    /// Remembers a failed try; returns it in words.
    async fn fail(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        order: &OrderJournal,
        authority: &dyn Authority,
        error: &acme::Error,
    ) -> Result<String, Error> {
        let now = self.world.now();
        let rehearsal = order.goal == Goal::Rehearsal;
        let failure = error.failure(now, rehearsal);
        self.retract(authority, &order.stage);
        self.count_failed(&order.asked.issuer, error, &failure)?;
        if !error.keeps_order() {
            writer.forget_order()?;
        }
        let store = self.store.certificate(&spec.name)?;
        let held = store.newest()?.filter(|newest| !newest.is_placeholder());
        let held = held.map(|newest| newest.leaf);
        let (state, seed) = (store.state()?, self.seed());
        let state =
            remember::failed(&state, failure.clone(), &order.asked, held.as_ref(), &seed, now);
        writer.remember(&state)?;
        self.refused(writer, spec, error, order.goal).await?;
        let text = in_words(&failure);
        self.say(&format!("{}: failed: {text}", spec.name));
        self.tell(spec, "failed", &text, None)?;
        Ok(text)
    }

    /// Failed validations count at the CA, those at the rehearsal CA nowhere.
    pub(super) fn count_failed(
        &self,
        issuer: &str,
        error: &acme::Error,
        failure: &Failure,
    ) -> Result<(), Error> {
        if failure.class == FailureClass::Validation && !failure.rehearsal {
            for identifier in error.failed_identifiers() {
                self.enter(issuer, LedgerEvent::ValidationFailed { identifier })?;
            }
        }
        Ok(())
    }

    fn drop_order(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        order: &OrderJournal,
    ) -> Result<(), Error> {
        if let Some(authority) = self.authority(spec) {
            self.retract(&*authority, &order.stage);
        }
        Ok(writer.forget_order()?)
    }
}
