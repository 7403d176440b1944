//! `identity`: whether this system may be a copy of another, and what a person says to that.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use super::act::{now, person};
use super::{Context, Failed, exit, in_runtime, show};
use crate::policy::identity::{self, ANSWERS, Standing};
use crate::reconcile::wait_for;
use crate::state::Event;
use crate::state::identity::{Hint, IdentityRecord, Laboratory, Mark, Marks, Surroundings};
use crate::store::Store;
use crate::world::World;

#[derive(Debug, Subcommand)]
pub(super) enum IdentityVerb {
    /// By what this system is known, what has changed since it was accepted, and what to do
    Show {
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// It was moved or restored, and the other one is no more: go on as before
    Keep,
    /// It is a copy that lives beside the other: an instance key and CA accounts of its own
    New {
        /// A copy to try things out: nothing is ordered at a CA either, and nobody is alerted
        #[arg(long)]
        lab: bool,
    },
}

/// For `identity show` and `status`; holds no identifier, and no hash of one.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Report {
    schema: u32,
    /// `same`, `changed`, or `possible-copy`.
    state: &'static str,
    /// Since when, where it is not `same`.
    since: Option<Timestamp>,
    surroundings: Option<Surroundings>,
    accepted_at: Option<Timestamp>,
    accepted_by: Option<String>,
    marks: Vec<MarkLine>,
    laboratory: Option<Laboratory>,
    /// What CAs said that also fits a copy.
    hints: Vec<Hint>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct MarkLine {
    mark: Mark,
    /// `same`, `changed`, `new` or `absent`.
    standing: &'static str,
}

impl Report {
    /// What is worth a line in `status`.
    pub(super) fn line(&self, now: Timestamp) -> Option<String> {
        let since = self.since.map(|at| show::relative(at, now)).unwrap_or_default();
        if self.state == "possible-copy" {
            let changed = self.changed();
            return Some(format!(
                "this may be a copy of another system ({changed}, {since}): {ANSWERS}"
            ));
        }
        let lab = self.laboratory.as_ref()?;
        Some(format!(
            "a laboratory since {} (by {}): nothing is ordered, nobody is alerted; to end that: \
             pbxcert identity keep, or pbxcert identity new",
            show::clock(lab.since),
            lab.by
        ))
    }

    fn changed(&self) -> String {
        let changed = self.marks.iter().filter(|line| line.standing == Standing::Changed.word());
        identity::changed(&changed.map(|line| line.mark).collect())
    }
}

pub(super) fn run(path: PathBuf, what: &IdentityVerb) -> Result<u8, Failed> {
    match what {
        IdentityVerb::Show { json } => show(&Context::reading(path)?, *json),
        IdentityVerb::Keep => keep(&Context::writing(path)?),
        IdentityVerb::New { lab } => in_runtime(new(&Context::writing(path)?, *lab)),
    }
}

/// How this system stands now.
pub(super) fn report(world: &World, store: &Store) -> Report {
    let record = world.identity(store);
    let none = Marks::default();
    let known = record.accepted.as_ref().map_or(&none, |accepted| &accepted.marks);
    // Whoever may not read the instance key sees what was found before.
    let seen = world.marks(store).unwrap_or_else(|_| none.clone());
    let open = record.question.as_ref();
    let standing = |mark: Mark| match open.filter(|question| question.marks.contains(&mark)) {
        Some(_) => Standing::Changed,
        None => identity::standing(mark, known, &seen),
    };
    let marks = Mark::ALL.map(|mark| MarkLine { mark, standing: standing(mark).word() });
    Report {
        schema: 1,
        state: match open {
            None => "same",
            Some(question) if question.quarantine => "possible-copy",
            Some(_) => "changed",
        },
        since: open.map(|question| question.since),
        surroundings: seen.surroundings.or(known.surroundings),
        accepted_at: record.accepted.as_ref().map(|accepted| accepted.at),
        accepted_by: record.accepted.as_ref().map(|accepted| accepted.by.clone()),
        marks: marks.into(),
        laboratory: record.laboratory.clone(),
        hints: record.hints.clone(),
    }
}

fn show(context: &Context, json: bool) -> Result<u8, Failed> {
    let (world, now) = (context.world(), now());
    let report = report(&world, &context.store);
    if json {
        show::json(&report);
        return Ok(exit::DONE);
    }
    let rows = report.marks.iter().map(|line| {
        vec![line.mark.word().to_owned(), line.standing.to_owned(), line.mark.shown().to_owned()]
    });
    show::table(&["MARK", "IS", "WHAT"], rows.collect());
    if let Some(surroundings) = report.surroundings {
        show::line(&format!("it runs on {}", surroundings.shown()));
    }
    if let (Some(at), Some(by)) = (report.accepted_at, &report.accepted_by) {
        show::line(&format!("accepted {} by {by}", show::time(at, now)));
    }
    for hint in &report.hints {
        let (what, certificate) = (hint.kind.shown(), &hint.certificate);
        let times = if hint.count > 1 { format!(", {} times", hint.count) } else { String::new() };
        let at = show::time(hint.at, now);
        show::line(&format!("{certificate}: {what}, {at}{times}; that alone proves nothing"));
    }
    match (report.line(now), report.state) {
        (Some(line), _) => show::warning(&line),
        (None, "changed") => show::line(&format!(
            "{}; if nobody answers, that is taken as it is now: {ANSWERS}",
            report.changed()
        )),
        (None, _) => show::line("nothing here speaks of a copy; an exact one has the same marks"),
    }
    Ok(exit::DONE)
}

/// Moved or restored: what is seen now is what is known from now on.
fn keep(context: &Context) -> Result<u8, Failed> {
    let world = context.world();
    let (seen, by) = (world.marks(&context.store)?, person());
    let keep = |record: &mut IdentityRecord| {
        *record =
            IdentityRecord { laboratory: None, ..identity::accept(record, &seen, &by, now()) };
    };
    context.store.change_identity(keep, now())?;
    let text = format!("kept by {by}: it was moved or restored");
    context.tell_identity(&text)?;
    context.store.touch_generation()?;
    show::line("this is the system that it was; certificates are ordered as before");
    Ok(exit::DONE)
}

/// A copy: nothing that it does from now on is done in the name of the other.
async fn new(context: &Context, lab: bool) -> Result<u8, Failed> {
    let (store, by) = (&context.store, person());
    // Nobody orders with an account that is about to be left: all at once, in one order.
    let mut writers = Vec::new();
    let mut certificates = Vec::new();
    for name in store.certificates()? {
        certificates.push(store.certificate(&name)?);
    }
    for certificate in &certificates {
        let lock = || certificate.try_lock(now());
        writers.push(wait_for("its certificates", lock, &show::progress).await?);
    }
    // First the wish: whoever is killed below begins again, and orders nothing meanwhile.
    let laboratory = lab.then(|| Laboratory { since: now(), by: by.clone() });
    store.change_identity(|record| record.laboratory.clone_from(&laboratory), now())?;
    for writer in &writers {
        writer.forget_order()?;
    }
    let mut left = 0;
    for issuer in store.issuers()? {
        left += store.issuer(&issuer)?.leave_accounts(now())?;
    }
    store.renew_instance_key()?;
    let seen = context.world().marks(store)?;
    store.change_identity(|record| *record = identity::accept(record, &seen, &by, now()), now())?;
    drop(writers);
    let what = if lab { "a copy for a laboratory" } else { "a copy that lives on its own" };
    context.tell_identity(&format!("new by {by}: {what}; {left} accounts at CAs left behind"))?;
    store.touch_generation()?;
    show::line(&format!("this is {what}, with an instance key of its own"));
    show::line(&match left {
        0 => "it had no account at a CA; the next order makes one".to_owned(),
        _ => "its accounts at CAs stay with the other system; the next order makes new ones"
            .to_owned(),
    });
    show::line(if lab {
        "nothing is ordered and nobody is alerted; certificates can be uploaded as ever"
    } else {
        "its certificates are those of the other system; for one of its own, with a name of its \
         own: change `names`, then pbxcert renew"
    });
    Ok(exit::DONE)
}

impl Context {
    fn tell_identity(&self, text: &str) -> Result<(), Failed> {
        Ok(self.store.record(&Event {
            at: now(),
            certificate: None,
            service: None,
            revision: None,
            what: "identity".to_owned(),
            text: text.to_owned(),
        })?)
    }
}
