//! A report as Prometheus text, for the textfile collector of node_exporter.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::Write as _;

use crate::state::check::{CheckReport, Unit, Verdict};

/// The text, ending with a line break.
pub(super) fn of(report: &CheckReport) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, lines: &[(String, f64)]| {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let whole = [(labels(&[("site", &report.site)]), f64::from(report.verdict as u8))];
    family("pbxcert_check_verdict", "0 ok, 1 warning, 2 critical, 3 unknown", &whole);
    let at = [(String::new(), report.at.as_second() as f64)];
    family("pbxcert_check_timestamp_seconds", "When it ran", &at);
    let took = [(String::new(), report.took as f64 / 1000.0)];
    family("pbxcert_check_duration_seconds", "How long it took", &took);
    let items: Vec<(String, f64)> = report
        .items
        .iter()
        .filter(|item| item.counts)
        .map(|item| {
            let place = item.place.as_deref().unwrap_or_default();
            let silenced = if item.silenced.is_some() { "1" } else { "0" };
            let labels = labels(&[
                ("topic", item.topic.word()),
                ("object", &item.object),
                ("place", place),
                ("silenced", silenced),
            ]);
            (labels, f64::from(item.verdict as u8))
        })
        .collect();
    family("pbxcert_item_verdict", "0 ok, 1 warning, 2 critical, 3 unknown", &items);
    let ends: Vec<(String, f64)> = report
        .items
        .iter()
        .filter(|item| item.verdict != Verdict::Unknown)
        .filter_map(|item| {
            let place = item.place.as_deref().unwrap_or_default();
            let words = [("topic", item.topic.word()), ("object", &*item.object), ("place", place)];
            Some((labels(&words), item.by?.as_second() as f64))
        })
        .collect();
    family("pbxcert_item_end_timestamp_seconds", "When it takes effect", &ends);
    let values: Vec<(String, f64)> = report
        .items
        .iter()
        .flat_map(|item| item.metrics.iter().map(move |metric| (item, metric)))
        .map(|(item, metric)| {
            let place = item.place.as_deref().unwrap_or_default();
            let words = [
                ("object", &*item.object),
                ("place", place),
                ("label", &*metric.label),
                ("unit", unit(metric.unit)),
            ];
            (labels(&words), metric.value)
        })
        .collect();
    family("pbxcert_value", "Numbers behind the items, in their unit", &values);
    text
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "bytes",
        Unit::Count => "count",
        Unit::Days => "days",
        Unit::Percent => "percent",
        Unit::Seconds => "seconds",
    }
}

/// `{a="b"}`: backslash, quote and line break are escaped, other control characters left out.
fn labels(words: &[(&str, &str)]) -> String {
    let mut text = String::from("{");
    for (n, (name, value)) in words.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c if c.is_control() => {}
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::check::{Item, Metric, Topic};

    #[test]
    fn a_report_becomes_text_that_nothing_in_a_name_can_break() {
        let metric = Metric {
            label: "days-left".to_owned(),
            value: 3.5,
            unit: Unit::Days,
            warning: None,
            critical: None,
        };
        let odd = "a\"b\\c\nd\u{7}";
        let item = Item::new(Topic::Dates, odd, Verdict::Critical, "x").with(metric);
        let report = CheckReport {
            schema: 1,
            site: "Hotel".to_owned(),
            at: "2026-12-01T00:00:00Z".parse().unwrap(),
            took: 1500,
            verdict: Verdict::Critical,
            summary: String::new(),
            items: vec![item],
        };
        let text = of(&report);
        assert!(text.contains("pbxcert_check_verdict{site=\"Hotel\"} 2\n"), "{text}");
        assert!(text.contains("pbxcert_check_duration_seconds 1.5\n"), "{text}");
        let line = "pbxcert_item_verdict{topic=\"dates\",object=\"a\\\"b\\\\c\\nd\",place=\"\",\
                    silenced=\"0\"} 2\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("label=\"days-left\",unit=\"days\"} 3.5\n"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("pbxcert_")));
    }
}
