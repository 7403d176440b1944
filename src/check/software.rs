//! Known security issues of what is installed, updates that wait, and where word of that comes
//! from.

mod documents;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::documents::{Documents, gather, shown};
use super::Checker;
use crate::discover::System;
use crate::host::network;
use crate::policy::offline::{self, Heard, Outcome};
use crate::policy::{advisory, updates};
use crate::state::check::{Item, Topic, Verdict};
use crate::state::software::{Moment, SoftwareMemory, Updates};

/// What there is to say of them.
pub(super) async fn items(
    checker: &Checker<'_>,
    memory: &mut SoftwareMemory,
    now: Timestamp,
) -> Vec<Item> {
    let root = checker.world.root.clone();
    let read = tokio::task::spawn_blocking(move || System::read(&root));
    let (documents, system) = tokio::join!(gather(checker, memory, now), read);
    count(checker, memory, &documents, now);
    let mut items = sources(checker, memory, &documents, now);
    let Ok(system) = system else {
        let waiting = Updates::Unknown("the packages could not be read".to_owned());
        items.push(updates::item(&waiting, checker.config.check.offline, now));
        return items;
    };
    let (found, waiting) =
        tokio::join!(issues(checker, &system, &documents), system.updates(&checker.world.root));
    items.extend(found);
    items.push(updates::item(&waiting, checker.config.check.offline, now));
    items.push(Item::not_asked(
        Topic::Licence,
        "host",
        Verdict::Unknown,
        "nobody is asked for the licence of this site by this version",
    ));
    items
}

/// Brings the count of days without a source up to date.
fn count(
    checker: &Checker<'_>,
    memory: &mut SoftwareMemory,
    documents: &Documents,
    now: Timestamp,
) {
    if !is_asked(checker) {
        memory.offline = Default::default();
        return;
    }
    let outcome = match documents.heard {
        Heard::Well => Outcome::Reached,
        Heard::Nothing(_) => Outcome::Failed,
        Heard::Fault(..) | Heard::NoNetwork => Outcome::NotOurs,
    };
    // What the configuration says of the clock is no proof.
    let trusted = (checker.world.time)(None).trusted && !checker.config.unsynchronised;
    let moment = Moment { at: now, trusted, boot: network::boot(&checker.world.root) };
    // Grace first: a day on which it is there does not count any more.
    let grace = documents.best.as_ref().and_then(|best| best.document.grace.as_ref());
    if let Some(grace) = grace {
        memory.offline = offline::forgiven(&memory.offline, grace.until, now);
    }
    memory.offline = offline::after(&memory.offline, outcome, &TimeZone::system(), &moment);
}

/// Whether the configuration names a source elsewhere. The CA is none.
fn is_asked(checker: &Checker<'_>) -> bool {
    checker.config.check.advisories.url.is_some() && !checker.config.check.offline
}

fn sources(
    checker: &Checker<'_>,
    memory: &SoftwareMemory,
    documents: &Documents,
    now: Timestamp,
) -> Vec<Item> {
    let spec = &checker.config.check;
    let no = |text| vec![Item::not_asked(Topic::Sources, "host", Verdict::Ok, text)];
    match &spec.advisories.url {
        None => no("not applicable: the configuration names no source elsewhere (advisory-url)"),
        Some(_) if spec.offline => no("not applicable: offline = true, nothing is fetched"),
        Some(url) => {
            vec![offline::item(&memory.offline, &shown(url), &documents.heard, now)]
        }
    }
}

/// The document, and each program by it.
async fn issues(checker: &Checker<'_>, system: &System, documents: &Documents) -> Vec<Item> {
    let spec = &checker.config.check.advisories;
    if spec.url.is_none() && spec.file.is_none() {
        let text = "known security issues are not looked up: [check] names no advisory-url and no \
                    advisory-file";
        return vec![Item::not_asked(Topic::Advisories, "host", Verdict::Unknown, text)];
    }
    let say = |verdict, text| Item::new(Topic::Advisories, "host", verdict, text).at("document");
    let next = "put a signed one there: advisory-file, or what advisory-url names; pbxcert \
                advisories verify FILE says what is wrong with one";
    let Some(best) = &documents.best else {
        let text = format!("there is no document to go by: {}", documents.troubles.join("; "));
        return vec![say(Verdict::Unknown, text).then(next)];
    };
    let number = best.document.sequence;
    let text = format!("number {number} from {}, good until {}", best.from, best.document.expires);
    let head = match &documents.file_trouble {
        None => say(Verdict::Ok, text),
        Some(trouble) => say(Verdict::Warning, format!("{trouble}; in use: {text}")).then(next),
    };
    let more: BTreeSet<String> =
        best.document.items.iter().map(|item| item.product.clone()).collect();
    let installed = system.installed(&checker.world.root, &checker.config.services, &more).await;
    let mut items = vec![head];
    items.extend(advisory::judge(&best.document, &installed, &system.release));
    items
}
