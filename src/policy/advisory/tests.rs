use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policy::samples::{at, cases, day};
use crate::state::check::Verdict;
use crate::state::software::{Installed, Order};

fn document(items: Value) -> Value {
    json!({
        "schema": 1,
        "sequence": 17,
        "issued": day(-1.0).to_string(),
        "expires": day(13.0).to_string(),
        "items": items,
        "not-affected": ["CVE-2026-9"],
    })
}

fn read(value: &Value) -> Result<Document, Problem> {
    Document::parse(value.to_string().as_bytes())
}

fn asterisk(order: Order, version: &str) -> Installed {
    Installed {
        product: "asterisk".to_owned(),
        package: (order != Order::Upstream).then(|| "asterisk".to_owned()),
        version: Ok(version.to_owned()),
        order,
        source: "dpkg".to_owned(),
    }
}

fn verdict(item: Value, program: &Installed) -> Verdict {
    let document = read(&document(json!([item]))).unwrap();
    let release = match program.order {
        Order::Rpm => ["rocky-9", "rocky"],
        _ => ["debian-12", "debian"],
    };
    let release = release.map(str::to_owned);
    judge(&document, std::slice::from_ref(program), &release)[0].verdict
}

#[test]
fn a_document_is_read_and_one_that_is_none_refused() {
    let good = document(json!([
        {"id": "CVE-2026-1", "product": "asterisk", "fixed": "20.5.2", "severity": "critical",
         "exploited": true, "text": "calls without a password", "url": "https://vendor.example/1",
         "unknown": "is for later"},
    ]));
    let read_back = read(&good).unwrap();
    assert_eq!((read_back.sequence, read_back.items.len()), (17, 1));
    assert_eq!(read_back.stands(17, at(0)), Ok(()));
    let mut bad = good.clone();
    bad["schema"] = 2.into();
    bad["sequence"] = "of another kind".into();
    assert_eq!(read(&bad), Err(Problem::Schema(2)));
    for (path, value) in [
        ("/sequence", json!(-1)),
        ("/issued", json!("yesterday")),
        ("/expires", json!(day(-2.0).to_string())),
        ("/items/0/id", json!("a b")),
        ("/items/0/id", json!("")),
        ("/items/0/product", json!("x".repeat(65))),
        ("/items/0/fixed", json!("later")),
        ("/items/0/fixed", json!("1.0\u{1b}[2J")),
        ("/items/0/fixed", json!({"debian-12": "ä"})),
        ("/items/0/fixed", json!(20)),
        ("/items/0/severity", json!("terrible")),
        ("/items/0/text", json!("red \u{1b}[31m")),
        ("/items/0/text", json!("turned \u{202e}")),
        ("/items/0/text", json!("x".repeat(501))),
        ("/items/0/url", json!("http://vendor.example")),
        ("/not-affected/0", json!("\n")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value.clone();
        let answer = read(&bad);
        assert!(matches!(answer, Err(Problem::NoDocument(_))), "{path} {value}: {answer:?}");
    }
    // A misspelled key is not taken for "there is no fix".
    let mut bad = good.clone();
    bad["items"][0].as_object_mut().unwrap().remove("fixed");
    assert!(read(&bad).is_err());
    let text = good.to_string();
    assert!(Document::parse(&text.as_bytes()[..text.len() / 2]).is_err());
    let long = format!("{}{text}", " ".repeat(LIMIT));
    assert_eq!(Document::parse(long.as_bytes()), Err(Problem::TooLong));
    assert!(Document::parse("[".repeat(10_000).as_bytes()).is_err());
}

#[test]
fn a_rolled_back_expired_or_future_document_is_refused() {
    let document = read(&document(json!([]))).unwrap();
    let rolled_back = Problem::RolledBack { sequence: 17, seen: 18 };
    assert_eq!(document.stands(18, at(0)), Err(rolled_back));
    assert_eq!(document.stands(0, day(13.0)), Err(Problem::Expired(day(13.0))));
    assert_eq!(document.stands(0, day(-2.5)), Err(Problem::Future(day(-1.0))));
    assert_eq!(document.stands(0, day(-1.5)), Ok(()), "clocks differ a little");
}

#[test]
fn a_package_is_compared_in_the_order_of_its_distribution() {
    let fixed = json!({"upstream": "20.5.2", "debian-12": "1:16.28.0~dfsg-0+deb12u4",
                       "deb": "1:20.5.2-1", "rpm": "20.5.2-1"});
    let item = json!({"id": "CVE-2026-1", "product": "asterisk", "fixed": fixed});
    for (order, version, expected) in [
        (Order::Deb, "1:16.28.0~dfsg-0+deb12u3", Verdict::Warning),
        (Order::Deb, "1:16.28.0~dfsg-0+deb12u4", Verdict::Ok),
        (Order::Deb, "1:16.28.0~dfsg-0+deb12u10", Verdict::Ok),
        (Order::Rpm, "20.5.1-9", Verdict::Warning),
        (Order::Rpm, "20.5.2-1.el9", Verdict::Ok),
        (Order::Upstream, "20.5.1", Verdict::Warning),
        (Order::Upstream, "20.5.10", Verdict::Ok),
        (Order::Upstream, "20.5.2-rc1", Verdict::Warning),
    ] {
        assert_eq!(verdict(item.clone(), &asterisk(order, version)), expected, "{version}");
    }
}

#[test]
fn the_fix_of_the_authors_alone_makes_an_older_package_unknown_never_vulnerable() {
    let item = json!({"id": "CVE-2026-1", "product": "asterisk", "fixed": "20.5.2"});
    let old = asterisk(Order::Deb, "1:20.5.1~dfsg-1");
    assert_eq!(verdict(item.clone(), &old), Verdict::Unknown);
    let new = asterisk(Order::Deb, "1:20.5.2~dfsg+~cs6-1");
    assert_eq!(verdict(item.clone(), &new), Verdict::Ok);
    assert_eq!(verdict(item, &asterisk(Order::Upstream, "20.5.1")), Verdict::Warning);
}

#[test]
fn what_is_critical_or_exploited_is_critical() {
    let program = asterisk(Order::Upstream, "20.5.1");
    let item = |more: Value| {
        let mut item = json!({"id": "CVE-2026-1", "product": "asterisk", "fixed": "20.5.2"});
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    for (more, expected) in [
        (json!({"severity": "low"}), Verdict::Warning),
        (json!({"severity": "high"}), Verdict::Warning),
        (json!({}), Verdict::Warning),
        (json!({"severity": "critical"}), Verdict::Critical),
        (json!({"severity": "low", "exploited": true}), Verdict::Critical),
        (json!({"id": "CVE-2026-9", "exploited": true}), Verdict::Ok),
        (json!({"product": "nginx", "exploited": true}), Verdict::Ok),
        (json!({"introduced": "20.5.1"}), Verdict::Warning),
        (json!({"introduced": "20.6"}), Verdict::Ok),
        (json!({"fixed": null}), Verdict::Warning),
        (json!({"fixed": {"upstream": null}}), Verdict::Warning),
    ] {
        assert_eq!(verdict(item(more.clone()), &program), expected, "{more}");
    }
}

#[test]
fn a_version_that_nobody_knows_is_unknown_where_it_matters() {
    let mut program = asterisk(Order::Upstream, "1");
    program.version = Err("/usr/sbin/asterisk does not say".to_owned());
    let item = json!({"id": "CVE-2026-1", "product": "asterisk", "fixed": "20.5.2"});
    assert_eq!(verdict(item, &program), Verdict::Unknown);
    let other = json!({"id": "CVE-2026-1", "product": "nginx", "fixed": "1.2"});
    assert_eq!(verdict(other, &program), Verdict::Ok);
}

#[test]
fn the_words_name_the_issue_the_source_and_the_command() {
    let items = json!([
        {"id": "CVE-2026-1", "product": "asterisk", "fixed": {"deb": "1:20.5.2-1"},
         "exploited": true, "text": "calls without a password", "url": "https://vendor.example/1"},
        {"id": "CVE-2026-2", "product": "asterisk", "fixed": null, "severity": "critical"},
    ]);
    let document = read(&document(items)).unwrap();
    let item = &judge(&document, &[asterisk(Order::Deb, "1:20.5.1-1")], &[])[0];
    assert_eq!(
        item.text,
        "asterisk 1:20.5.1-1 (dpkg) has CVE-2026-1, already exploited: calls without a password; \
         CVE-2026-2"
    );
    assert_eq!(
        item.next.as_deref().unwrap(),
        "install 1:20.5.2-1 or later: apt-get update && apt-get install --only-upgrade asterisk; \
         see https://vendor.example/1"
    );
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn no_bytes_end_it(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Document::parse(&bytes);
    }

    #[test]
    fn no_change_of_a_good_one_ends_it(at in 0_usize..400, byte in any::<u8>()) {
        let good = document(json!([
            {"id": "CVE-2026-1", "product": "asterisk", "introduced": "18",
             "fixed": {"deb": "1:20.5.2-1", "upstream": null}},
        ]));
        let mut bytes = good.to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(document) = Document::parse(&bytes) {
            let _ = judge(&document, &[asterisk(Order::Deb, "1:20.5.1-1")], &[]);
        }
    }
}
