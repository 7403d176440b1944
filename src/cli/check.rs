//! `check`: the daily check now, in the manner of a monitoring plugin.

use super::{Context, Failed, show};
use crate::check::{self, Checker};
use crate::policy::health;
use crate::reconcile::wait_for;
use crate::state::check::{CheckReport, Item, Metric, Unit, Verdict};
use crate::world::World;

/// The schema of what `--json` prints (JSON Schema, draft 2020-12).
const SCHEMA: &str = include_str!("../../config/check.schema.json");

/// Prints the schema of the report.
pub(super) fn schema() -> u8 {
    show::line(SCHEMA.trim_end());
    super::exit::DONE
}

/// Checks everything now and prints the verdict.
pub(super) async fn run(context: &Context, json: bool) -> Result<u8, Failed> {
    let config = &context.loaded.config;
    let world = World::real(config, &context.store);
    let name = "the daily check";
    let writer = wait_for(name, || context.store.try_lock_check(), &show::progress).await?;
    let checker = Checker { world: &world, store: &context.store, config };
    let report =
        checker.run(&writer).await.map_err(|check::Error::Store(error)| Failed::from(error))?;
    drop(writer);
    // The daemon tells people of what was found.
    context.store.touch_generation()?;
    if json {
        show::json(&report);
    } else {
        print(&report);
    }
    Ok(report.verdict as u8)
}

fn print(report: &CheckReport) {
    let word = report.verdict.word().to_uppercase();
    let numbers = performance(report);
    let bar = if numbers.is_empty() { "" } else { " | " };
    show::line(&format!("{word}: {}{bar}{numbers}", one_line(&report.summary)));
    let rows = report.items.iter().map(|item| {
        vec![
            said(item).to_owned(),
            item.object.clone(),
            item.topic.word().to_owned(),
            item.place.clone().unwrap_or_else(|| "-".to_owned()),
            match &item.silenced {
                Some(why) => format!("{} [{why}]", item.text),
                None => item.text.clone(),
            },
        ]
    });
    show::table(&["VERDICT", "OBJECT", "ABOUT", "WHERE", "FOUND"], rows.collect());
    let wrong = |item: &&Item| item.verdict != Verdict::Ok && item.silenced.is_none();
    for item in report.items.iter().filter(wrong) {
        if let Some(next) = &item.next {
            show::line(&format!("  {}: {next}", health::item_name(item)));
        }
    }
}

/// What was not asked is neither in order nor not.
fn said(item: &Item) -> &'static str {
    match (item.counts, item.verdict) {
        (false, Verdict::Ok) => "-",
        (_, verdict) => verdict.word(),
    }
}

/// Performance data of a monitoring plugin (Monitoring Plugins Development Guidelines, "Performance
/// data"): `'label'=value[UOM];[warn];[crit]`.
fn performance(report: &CheckReport) -> String {
    let numbers = report.items.iter().flat_map(|item| {
        item.metrics.iter().map(move |metric| {
            let place = item.place.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
            let label = format!("{} {}{place}", item.object, metric.label);
            // Neither quotes nor `=` may stand in a label.
            let label: String =
                label.chars().filter(|c| !c.is_control() && !"'=|".contains(*c)).collect();
            let (warning, critical) = limits(metric);
            format!("'{label}'={}{};{warning};{critical}", short(metric.value), unit(metric.unit))
        })
    });
    numbers.collect::<Vec<_>>().join(" ")
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "B",
        Unit::Count | Unit::Days => "",
        Unit::Percent => "%",
        Unit::Seconds => "s",
    }
}

/// Nobody reads more of it.
fn short(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// A lower limit is written `10:`.
fn limits(metric: &Metric) -> (String, String) {
    let falls = matches!((metric.warning, metric.critical), (Some(w), Some(c)) if w > c);
    let end = if falls { ":" } else { "" };
    let limit =
        |limit: Option<f64>| limit.map(|l| format!("{}{end}", short(l))).unwrap_or_default();
    (limit(metric.warning), limit(metric.critical))
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '|'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::check::Topic;

    #[test]
    fn numbers_are_written_as_monitoring_plugins_do() {
        let metric = |label: &str, value, unit, warning, critical| Metric {
            label: label.to_owned(),
            value,
            unit,
            warning: Some(warning),
            critical: Some(critical),
        };
        let item = Item::new(Topic::Disk, "host", Verdict::Ok, "x")
            .at("/var/lib|odd\'s=")
            .with(metric("free", 12.345, Unit::Percent, 10.0, 3.0))
            .with(metric("load", 1.0, Unit::Count, 2.0, 4.0 / 3.0 * 3.001));
        let report = CheckReport {
            schema: 1,
            site: String::new(),
            at: "2026-12-01T00:00:00Z".parse().unwrap(),
            took: 1,
            verdict: Verdict::Ok,
            summary: String::new(),
            items: vec![item],
        };
        assert_eq!(
            performance(&report),
            "'host free /var/libodds'=12.35%;10:;3: 'host load /var/libodds'=1;2;4"
        );
    }
}
