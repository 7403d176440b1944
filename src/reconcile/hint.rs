//! What a CA says that it also says when two systems share an account. Each has honest causes, so
//! it is kept as evidence for `identity show`, and decides nothing.

use super::{Error, Reconciler};
use crate::config::CertSpec;
use crate::policy::schedule::{DAY, holds_until};
use crate::state::identity::HintKind;
use crate::state::{Account, Goal, OrderJournal, Stage};

impl Reconciler<'_> {
    /// Remembers such a word. One that cannot be remembered holds up no order.
    pub(super) fn hear(&self, spec: &CertSpec, kind: HintKind) {
        let (certificate, now) = (spec.name.as_str(), self.world.now());
        tracing::warn!(certificate, "{}; see: pbxcert identity show", kind.shown());
        let heard = self.store.change_identity(|record| record.hear(kind, certificate, now), now);
        if let Err(error) = heard {
            tracing::warn!(certificate, %error, "that cannot be remembered");
        }
    }

    /// An account that had an address and has to be registered again.
    pub(super) fn hear_account(&self, spec: &CertSpec, before: Option<&Account>, made: &Account) {
        let was_known = before.is_some_and(|before| {
            before.url.is_some()
                && before.directory == made.directory
                && before.key.public() == made.key.public()
        });
        if was_known && made.url.is_none() {
            self.hear(spec, HintKind::AccountGone);
        }
    }

    /// A new order that is ready at once, although nothing here was validated in the time for which
    /// CAs remember that.
    pub(super) fn hear_ready(
        &self,
        spec: &CertSpec,
        order: &OrderJournal,
        left: &Stage,
    ) -> Result<(), Error> {
        let at_once =
            matches!((left, &order.stage), (Stage::Ordered { .. }, Stage::Finalizing { .. }));
        // A CA of one's own may validate nothing at all.
        let public = self.issuer(spec).is_some_and(|issuer| issuer.trust_anchor.is_none());
        if at_once && public && order.goal == Goal::Certificate && !self.validated_lately()? {
            self.hear(spec, HintKind::AlreadyValid);
        }
        Ok(())
    }

    fn validated_lately(&self) -> Result<bool, Error> {
        let now = self.world.now();
        for spec in &self.config.certificates {
            let store = self.store.certificate(&spec.name)?;
            let state = store.state()?;
            let issued = store.newest()?.map(|newest| newest.committed_at);
            let tried = state.backoff.last.map(|failure| failure.at);
            let times = [issued, tried, state.reach.asked_at];
            if times.into_iter().flatten().any(|at| holds_until(at, DAY * 30, now).is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
