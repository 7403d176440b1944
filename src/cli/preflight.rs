//! `preflight`: why the CA can or cannot reach this host.

use std::cell::Cell;

use serde::Serialize;

use super::{Context, Failed, exit, show};
use crate::config::CertSpec;
use crate::policy::preflight::{Case, Check, Verdict, checklist};
use crate::state::Goal;
use crate::state::facts::Facts;
use crate::world::World;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    schema: u32,
    certificates: Vec<Certificate>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Certificate {
    name: String,
    /// `ok`, `warn`, `fail` or `unknown`: the worst of the checks.
    verdict: Verdict,
    checks: Vec<Check>,
    /// What the checks were made of; missing where there is no CA to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
}

/// Looks at everything once. 0: nothing is known to be in the way; 1: something is; 69: this host
/// does not reach the CA.
pub(super) async fn run(context: &Context, name: Option<&str>, json: bool) -> Result<u8, Failed> {
    let world = context.world();
    let mut certificates = Vec::new();
    for spec in context.certificates(name)? {
        certificates.push(certificate(context, &world, spec).await?);
    }
    let code = code(&certificates);
    if json {
        show::json(&Report { schema: 1, certificates });
        return Ok(code);
    }
    for certificate in &certificates {
        print(certificate);
    }
    Ok(code)
}

async fn certificate(
    context: &Context,
    world: &World,
    spec: &CertSpec,
) -> Result<Certificate, Failed> {
    let stop = Cell::new(false);
    let reconciler = context.reconciler(world, &stop, true);
    let issuer = spec.issuers.first().and_then(|name| context.loaded.config.issuers.get(name));
    let Some(issuer) = issuer else {
        let text = "source = \"manual\": no CA has to reach this host".to_owned();
        let (item, verdict) = ("mode", Verdict::Ok);
        let check = Check { item, name: None, verdict, text, advice: None, against: false };
        let (name, checks) = (spec.name.clone(), vec![check]);
        return Ok(Certificate { name, verdict: Verdict::Ok, checks, facts: None });
    };
    show::progress(&format!("{}: looking at the way from the CA to this host", spec.name));
    let ground = world.ground.clone().unwrap_or_default();
    let facts = reconciler.facts(spec, issuer, &ground).await.ok_or_else(|| {
        Failed::new(exit::LATER, format!("{}: looking took too long; try again", spec.name))
    })?;
    let seen = reconciler.observe(spec)?;
    let account = context.store.issuer(&issuer.name)?.account(Goal::Certificate)?;
    let account = account.as_ref().and_then(|account| account.url.as_deref());
    let checks = checklist(Case {
        spec,
        issuer,
        seen: &seen,
        account,
        unsynchronised: context.loaded.config.unsynchronised,
        facts: &facts,
    });
    let verdict = worst(&checks);
    Ok(Certificate { name: spec.name.clone(), verdict, checks, facts: Some(facts) })
}

fn print(certificate: &Certificate) {
    show::line(&format!("{}: {}", certificate.name, summary(certificate)));
    for check in &certificate.checks {
        let what = match &check.name {
            Some(name) => format!("{} {name}", check.item),
            None => check.item.to_owned(),
        };
        let word = show::verdict(check.verdict.word());
        show::line(&format!("  {word}  {what}: {}", check.text));
        if let (Some(advice), true) = (&check.advice, check.verdict != Verdict::Ok) {
            show::line(&format!("             -> {advice}"));
        }
    }
}

fn summary(certificate: &Certificate) -> String {
    let count = certificate.checks.iter().filter(|c| c.verdict == Verdict::Fail).count();
    match certificate.verdict {
        Verdict::Ok => "nothing is in the way".to_owned(),
        Verdict::Warn => "something may be in the way".to_owned(),
        Verdict::Unknown => "nothing is in the way as far as can be seen from here".to_owned(),
        Verdict::Fail if count == 1 => "one thing is in the way".to_owned(),
        Verdict::Fail => format!("{count} things are in the way"),
    }
}

fn worst(checks: &[Check]) -> Verdict {
    let order = [Verdict::Fail, Verdict::Warn, Verdict::Unknown];
    let found = order.into_iter().find(|v| checks.iter().any(|check| check.verdict == *v));
    found.unwrap_or(Verdict::Ok)
}

fn code(certificates: &[Certificate]) -> u8 {
    let failed: Vec<&Check> = certificates
        .iter()
        .flat_map(|certificate| &certificate.checks)
        .filter(|check| check.verdict == Verdict::Fail)
        .collect();
    match failed.as_slice() {
        [] => exit::DONE,
        failed if failed.iter().all(|check| check.item == "directory") => exit::UNAVAILABLE,
        _ => exit::FAILED,
    }
}
