//! What a document means for what is installed here.

use std::cmp::Ordering;

use super::{Advisory, Document, Fixed, Severity};
use crate::policy::version::{compare, upstream_of};
use crate::state::check::{Item, Topic, Verdict};
use crate::state::software::{Installed, Order};

/// How an installed version stands to an issue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stand {
    Affected,
    Fine,
    /// The document knows the fix of the authors alone, and a distribution mends in its own way.
    Unclear,
}

/// One item for each program that is installed. `release` are the names of this distribution, the
/// most precise first: `debian-12`, `debian`.
pub fn judge(document: &Document, installed: &[Installed], release: &[String]) -> Vec<Item> {
    installed.iter().map(|program| one(document, program, release)).collect()
}

fn one(document: &Document, program: &Installed, release: &[String]) -> Item {
    let number = document.sequence;
    let known = document.items.iter().filter(|item| {
        item.product == program.product && !document.not_affected.contains(&item.id)
    });
    let place = program.package.as_ref().unwrap_or(&program.product);
    let say = |verdict, text: String| Item::new(Topic::Advisories, "host", verdict, text).at(place);
    let version = match &program.version {
        Ok(version) => version,
        Err(_) if known.clone().next().is_none() => {
            let text = format!("advisory {number} knows no issue of {}", program.product);
            return say(Verdict::Ok, text);
        }
        Err(reason) => {
            let text = format!("the version of {} is not known: {reason}", program.product);
            return say(Verdict::Unknown, text);
        }
    };
    let stood: Vec<(&Advisory, Stand)> =
        known.map(|item| (item, stand(item, program.order, version, release))).collect();
    let of = |wanted: Stand| -> Vec<&Advisory> {
        let mut found: Vec<&Advisory> =
            stood.iter().filter(|(_, stand)| *stand == wanted).map(|(item, _)| *item).collect();
        found.sort_by_key(|item| std::cmp::Reverse((item.exploited, item.severity)));
        found
    };
    let what = format!("{} {version} ({})", program.product, program.source);
    let affected = of(Stand::Affected);
    if let Some(worst) = affected.first() {
        let pressing = |item: &&Advisory| item.exploited || item.severity == Severity::Critical;
        let verdict =
            if affected.iter().any(pressing) { Verdict::Critical } else { Verdict::Warning };
        let text = format!("{what} has {}", named(&affected));
        return say(verdict, text).then(remedy(worst, program, release));
    }
    let unclear = of(Stand::Unclear);
    if !unclear.is_empty() {
        let text = format!(
            "{what} may have {}: the document only knows in which version of the authors that is \
             mended, and a package may have it earlier",
            named(&unclear)
        );
        let next = "look the issue up at your distribution; whoever publishes the document can \
                    name the fixed version of its packages";
        return say(Verdict::Unknown, text).then(next);
    }
    say(Verdict::Ok, format!("{what} has no issue that advisory {number} knows"))
}

fn named(items: &[&Advisory]) -> String {
    let one = |item: &&Advisory| {
        let exploited = if item.exploited { ", already exploited" } else { "" };
        let text = if item.text.is_empty() { "" } else { ": " };
        format!("{}{exploited}{text}{}", item.id, item.text)
    };
    let more = items.len().saturating_sub(MOST_NAMED);
    let mut text = items.iter().take(MOST_NAMED).map(one).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn remedy(worst: &Advisory, program: &Installed, release: &[String]) -> String {
    let (fixed, _) = fixed(worst, program.order, release);
    let more = worst.url.as_ref().map(|url| format!("; see {url}")).unwrap_or_default();
    let package = program.package.as_deref().unwrap_or(&program.product);
    match (fixed, program.order) {
        (Some(Some(version)), Order::Deb) => format!(
            "install {version} or later: apt-get update && apt-get install --only-upgrade \
             {package}{more}"
        ),
        (Some(Some(version)), Order::Rpm) => {
            format!("install {version} or later: dnf upgrade {package}{more}")
        }
        (Some(Some(version)), Order::Upstream) => {
            format!("install {} {version} or later{more}", program.product)
        }
        (Some(None), _) => format!(
            "there is no version without it yet: keep {} away from the internet as far as calls \
             allow{more}",
            program.product
        ),
        (None, _) => format!("update {package}{more}"),
    }
}

/// The version that mends it, in the order of the program (`Some(None)`: there is none yet; `None`:
/// the document does not say), and that of the authors.
fn fixed<'a>(
    item: &'a Advisory,
    order: Order,
    release: &[String],
) -> (Option<Option<&'a str>>, Option<&'a str>) {
    let map = match &item.fixed {
        Fixed::Nowhere(()) => return (Some(None), None),
        Fixed::Upstream(version) if order == Order::Upstream => {
            return (Some(Some(version)), Some(version));
        }
        Fixed::Upstream(version) => return (None, Some(version)),
        Fixed::By(map) => map,
    };
    let own = match order {
        Order::Deb => "deb",
        Order::Rpm => "rpm",
        Order::Upstream => "upstream",
    };
    let names = release.iter().map(String::as_str).filter(|_| order != Order::Upstream);
    let found = names.chain([own]).find_map(|name| map.get(name));
    let upstream = map.get("upstream").and_then(Option::as_deref);
    (found.map(Option::as_deref), upstream)
}

fn stand(item: &Advisory, order: Order, version: &str, release: &[String]) -> Stand {
    let authors = upstream_of(order, version);
    let is_before = |fixed: &str| compare(Order::Upstream, authors, fixed) == Ordering::Less;
    if item.introduced.as_deref().is_some_and(is_before) {
        return Stand::Fine;
    }
    match fixed(item, order, release) {
        (Some(None), _) => Stand::Affected,
        (Some(Some(fixed)), _) => match compare(order, version, fixed) {
            Ordering::Less => Stand::Affected,
            _ => Stand::Fine,
        },
        // A package with the authors' fixed version has the fix; an older one may have it as well.
        (None, Some(fixed)) if !is_before(fixed) => Stand::Fine,
        (None, _) => Stand::Unclear,
    }
}

/// In one line of a table.
const MOST_NAMED: usize = 3;
