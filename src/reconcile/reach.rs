//! What a try teaches of the way from the CA to us, and manual mode: tried daily, and kept ready
//! for an upload.

use std::time::Duration;

use jiff::Timestamp;

use super::{Error, Reconciler, in_words};
use crate::acme;
use crate::config::{CertSpec, IssuerSpec};
use crate::evidence;
use crate::policy::preflight;
use crate::policy::reach::{self, Heard};
use crate::state::Goal;
use crate::state::facts::{Facts, Ground};
use crate::state::reach::{Evidence, Witness};
use crate::store::CertificateWriter;

impl Reconciler<'_> {
    /// Manual mode: sees whether the CA can reach us again, at the rehearsal directory where there
    /// is one; returns what failed.
    pub(super) async fn probe(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
    ) -> Result<Option<String>, Error> {
        let Some(issuer) = self.issuer(spec) else {
            return Err(Error::NoIssuer(spec.name.clone()));
        };
        let goal = match issuer.rehearsal {
            Some(_) => Goal::Rehearsal,
            None => Goal::Certificate,
        };
        self.say(&format!("{}: manual mode: trying whether the CA can reach us", spec.name));
        let Err(error) = self.validate(spec, issuer, goal).await? else {
            let (found, text) = (self.success(issuer, goal), "the CA can reach us");
            self.tell(spec, "probed", text, None)?;
            self.learn(writer, spec, Heard::Found(found))?;
            return Ok(None);
        };
        let failure = error.failure(self.world.now(), goal == Goal::Rehearsal);
        self.count_failed(&issuer.name, &error, &failure)?;
        let text = in_words(&failure);
        self.tell(spec, "probed", &text, None)?;
        match found(spec, issuer, goal, &error, self.world.now()) {
            Some(_) => self.refused(writer, spec, &error, goal).await?,
            None => self.learn(writer, spec, Heard::Nothing(&failure))?,
        }
        Ok(Some(text))
    }

    /// A CA validated the names, or gave a certificate.
    pub(super) fn came_through(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        goal: Goal,
    ) -> Result<(), Error> {
        let Some(issuer) = self.issuer(spec) else { return Ok(()) };
        let found = self.success(issuer, goal);
        let heard = match goal {
            Goal::Certificate => Heard::Issued(found),
            Goal::Rehearsal => Heard::Found(found),
        };
        self.learn(writer, spec, heard)
    }

    /// An order failed: some failures tell that the CA cannot reach us.
    pub(super) async fn refused(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        error: &acme::Error,
        goal: Goal,
    ) -> Result<(), Error> {
        let Some(issuer) = self.issuer(spec) else { return Ok(()) };
        let Some(found) = found(spec, issuer, goal, error, self.world.now()) else {
            return Ok(());
        };
        let outside = found.witness > Witness::Local;
        self.learn(writer, spec, Heard::Found(found))?;
        if outside {
            self.look_around(writer, spec, issuer).await?;
        }
        Ok(())
    }

    /// A CA did not get here: what this host itself knows to be in the way is kept beside its
    /// word.
    async fn look_around(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        issuer: &IssuerSpec,
    ) -> Result<(), Error> {
        let Some(ground) = &self.world.ground else { return Ok(()) };
        let Some(facts) = self.facts(spec, issuer, ground).await else { return Ok(()) };
        let mut state = self.store.certificate(&spec.name)?.state()?;
        state.reach.here = Some(preflight::here(&facts));
        writer.remember(&state)?;
        let seen = self.observe(spec)?;
        let account = self.store.issuer(&issuer.name)?.account(Goal::Certificate)?;
        let account = account.as_ref().and_then(|account| account.url.as_deref());
        let unsynchronised = self.config.unsynchronised;
        let facts = &facts;
        let case = preflight::Case { spec, issuer, seen: &seen, account, unsynchronised, facts };
        for hint in preflight::hints(&preflight::checklist(case), self.world.now()) {
            self.learn(writer, spec, Heard::Hint(hint))?;
        }
        Ok(())
    }

    /// The way from the CA to this host as it is now; `None` when nobody knows this CA, or looking
    /// took too long.
    pub async fn facts(
        &self,
        spec: &CertSpec,
        issuer: &IssuerSpec,
        ground: &Ground,
    ) -> Option<Facts> {
        let authority = self.authority(spec)?;
        let gathered = evidence::gather(spec, issuer, &*authority, ground, self.world.now());
        tokio::time::timeout(PATIENCE, gathered).await.ok()
    }

    fn success(&self, issuer: &IssuerSpec, goal: Goal) -> Evidence {
        reach::came_through(issuer, goal == Goal::Rehearsal, self.world.now())
    }

    fn learn(
        &self,
        writer: &CertificateWriter,
        spec: &CertSpec,
        heard: Heard<'_>,
    ) -> Result<(), Error> {
        let store = self.store.certificate(&spec.name)?;
        let state = store.state()?;
        let newest = store.newest()?.filter(|newest| !newest.is_placeholder());
        let (slowly, now) = (self.world.hysteresis, self.world.now());
        let (state, switch) = reach::heard(spec, &state, newest.as_ref(), heard, slowly, now);
        writer.remember(&state)?;
        if let Some(switch) = switch {
            self.say(&format!("{}: {}", spec.name, switch.text));
            self.tell(spec, "mode", &switch.text, None)?;
        }
        Ok(())
    }
}

/// For looking around: each part has its own limit, and there may be many names.
const PATIENCE: Duration = Duration::from_secs(120);

/// What an error tells of the way from the CA to us; `None`: nothing.
fn found(
    spec: &CertSpec,
    issuer: &IssuerSpec,
    goal: Goal,
    error: &acme::Error,
    now: Timestamp,
) -> Option<Evidence> {
    let rehearsal = goal == Goal::Rehearsal;
    match error {
        acme::Error::Validation(all) => all.iter().find_map(|rejection| {
            let (kind, detail) = (rejection.problem.kind.as_deref()?, rejection.problem.detail());
            reach::seen_by_ca(issuer, rehearsal, &rejection.identifier, (kind, &detail), now)
        }),
        acme::Error::Challenge { identifier, reason } => {
            Some(reach::seen_here(identifier, reason, now))
        }
        // Let's Encrypt looks at CAA once more when it is asked to sign.
        acme::Error::Refused { refusal, .. } if refusal.kind() == Some("caa") => {
            let problem = refusal.problem.as_ref()?;
            let named = problem.subproblems.iter().find_map(|sub| sub.identifier.as_ref());
            let name = named.or(spec.identifiers.first())?;
            reach::seen_by_ca(issuer, rehearsal, name, ("caa", &problem.detail()), now)
        }
        _ => None,
    }
}
