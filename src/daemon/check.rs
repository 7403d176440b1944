//! When the daily check is due, and what it found.

use std::rc::Rc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::generation::Generation;
use crate::check::{self, Checker};
use crate::policy::plan::{Wait, Why};
use crate::policy::schedule::{MINUTE, after};
use crate::policy::{daily, health};
use crate::reconcile::{self, Pass};
use crate::state::check::CheckReport;
use crate::store::Store;

/// The last report; nothing where there is none that can be read, which others tell.
pub(super) fn last(store: &Store) -> Option<CheckReport> {
    store.check_record().ok()?.report
}

/// Checks when it is time, and says what the last check found and when the next one is due.
pub(super) async fn pass(
    now: &Rc<Generation>,
    store: &Store,
    started_at: Timestamp,
) -> Result<Pass, reconcile::Error> {
    let world = &now.world;
    let next_at = |last: Option<&CheckReport>| {
        let (at, last) = (now.config.check.at, last.map(|report| report.at));
        let seed = reconcile::seed(store);
        daily::next_at(at, last, started_at, &seed, &TimeZone::system(), world.now())
    };
    let mut report = store.check_record()?.report;
    if next_at(report.as_ref()) <= world.now() {
        let Some(writer) = store.try_lock_check()? else {
            return Ok(waits(report.as_ref(), after(world.now(), MINUTE)));
        };
        let checker = Checker { world, store, config: &now.config };
        report = Some(checker.run(&writer).await.map_err(|check::Error::Store(error)| error)?);
    }
    Ok(waits(report.as_ref(), next_at(report.as_ref())))
}

fn waits(report: Option<&CheckReport>, until: Timestamp) -> Pass {
    let why = Why::NotDue("the next daily check".to_owned());
    let wait = Wait { until: Some(until), why };
    Pass { wait, findings: report.map(health::findings).unwrap_or_default(), failed: None }
}
