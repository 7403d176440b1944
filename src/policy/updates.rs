//! Security updates of the distribution that wait.

use jiff::Timestamp;

use super::schedule::DAY;
use crate::cert::span;
use crate::state::check::{Item, Metric, Topic, Unit, Verdict};
use crate::state::software::Updates;

/// What is to be said of them. With `offline` nobody expects a fresh index.
pub fn item(updates: &Updates, offline: bool, now: Timestamp) -> Item {
    let say = |verdict, text: String| Item::new(Topic::Updates, "host", verdict, text);
    let (packages, indexed_at, command, refresh) = match updates {
        Updates::Unknown(reason) => return say(Verdict::Unknown, reason.clone()),
        Updates::Known { packages, indexed_at, command, refresh } => {
            (packages, indexed_at, command, refresh)
        }
    };
    // An index from the future (the clock went back) is a new one.
    let age = indexed_at.map(|at| if at < now { span(at, now) } else { std::time::Duration::ZERO });
    let days = age.map(|age| age.as_secs_f64() / DAY.as_secs_f64());
    let old = days.is_none_or(|days| days > OLD);
    let index = match days {
        None => "nobody knows how old the package index is".to_owned(),
        Some(days) if days < 2.0 => "by a package index of the last two days".to_owned(),
        Some(days) => format!("by a package index that is {} days old", days.floor()),
    };
    let metric = |label: &str, value, unit| Metric {
        label: label.to_owned(),
        value,
        unit,
        warning: None,
        critical: None,
    };
    let waiting =
        Metric { warning: Some(1.0), ..metric("waiting", packages.len() as f64, Unit::Count) };
    let item = if packages.is_empty() && old {
        let text = format!("no security update is known to wait, but {index}");
        let item = say(Verdict::Unknown, text).then(format!("fetch a new one: {refresh}"));
        Item { counts: !offline, ..item }
    } else if packages.is_empty() {
        say(Verdict::Ok, format!("no security update waits, {index}"))
    } else {
        let named = packages.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = packages.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (waits, count) = (if packages.len() == 1 { "waits" } else { "wait" }, packages.len());
        let text = format!("{count} security updates {waits}, {index}: {named}{more}");
        let text = if count == 1 { text.replacen("updates", "update", 1) } else { text };
        say(Verdict::Warning, text).then(format!("install them: {command}"))
    };
    let item = item.with(waiting);
    match days {
        Some(days) => item.with(metric("index-age", (days * 10.0).round() / 10.0, Unit::Days)),
        None => item,
    }
}

/// Older than so many days, an index that knows of nothing says nothing.
const OLD: f64 = 7.0;

const MOST_NAMED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::day;

    fn known(packages: &[&str], age: f64) -> Updates {
        Updates::Known {
            packages: packages.iter().map(|p| (*p).to_owned()).collect(),
            indexed_at: Some(day(-age)),
            command: "apt-get upgrade",
            refresh: "apt-get update",
        }
    }

    #[test]
    fn updates_that_wait_warn_and_an_old_index_knows_nothing() {
        let of = |updates: &Updates| item(updates, false, day(0.0));
        let fine = of(&known(&[], 0.5));
        assert_eq!(fine.verdict, Verdict::Ok);
        assert_eq!(fine.text, "no security update waits, by a package index of the last two days");
        let one = of(&known(&["openssl"], 3.0));
        assert_eq!(one.verdict, Verdict::Warning);
        assert_eq!(
            one.text,
            "1 security update waits, by a package index that is 3 days old: openssl"
        );
        assert_eq!(one.next.as_deref(), Some("install them: apt-get upgrade"));
        assert_eq!(one.metrics[0].value, 1.0);
        let many = of(&known(&["a", "b", "c", "d", "e", "f", "g"], 0.0));
        assert!(many.text.ends_with("a, b, c, d, e and 2 more"), "{}", many.text);
        let old = of(&known(&[], 9.0));
        assert_eq!((old.verdict, old.counts), (Verdict::Unknown, true));
        assert!(!item(&known(&[], 9.0), true, day(0.0)).counts, "offline: nobody is warned");
        assert_eq!(of(&known(&["openssl"], 9.0)).verdict, Verdict::Warning);
        assert_eq!(of(&known(&[], -3.0)).verdict, Verdict::Ok, "the clock went back");
        assert_eq!(of(&Updates::Unknown("no package manager".into())).verdict, Verdict::Unknown);
    }
}
