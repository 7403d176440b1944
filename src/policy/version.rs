//! Which of two versions is the newer one: by the algorithm of whoever numbered them, never as
//! text.

use std::cmp::Ordering;

use crate::state::software::Order;

/// Compares two versions. What is no version ([`is_sound`]) is compared as text.
pub fn compare(order: Order, a: &str, b: &str) -> Ordering {
    if !is_sound(a) || !is_sound(b) {
        return a.cmp(b);
    }
    match order {
        Order::Deb => deb_version::compare_versions(a, b),
        Order::Rpm => rpm_version::Evr::parse(a).cmp(&rpm_version::Evr::parse(b)),
        Order::Upstream => deb_version::compare_versions(&plain(a), &plain(b)),
    }
}

/// Whether something can be a version: ASCII alone, beginning with a digit, and not long. The
/// library for Debian's order may only see such.
pub fn is_sound(version: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".+-~:^_".contains(c);
    version.len() <= LONGEST
        && version.starts_with(|c: char| c.is_ascii_digit())
        && version.chars().all(fits)
}

/// The part of a package's version that its authors chose: without epoch, revision, and what was
/// put behind it because the package leaves something out.
pub fn upstream_of(order: Order, version: &str) -> &str {
    if order == Order::Upstream {
        return version;
    }
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = match order {
        Order::Rpm => version.split_once('-').map_or(version, |(version, _)| version),
        _ => version.rsplit_once('-').map_or(version, |(version, _)| version),
    };
    let version = version.split_once("+really").map_or(version, |(_, really)| really);
    let ends = ["+", "^", "~dfsg", "~ds", "~deb", "~bpo", "~ubuntu"];
    let end = ends.iter().filter_map(|end| version.find(end)).min();
    &version[..end.unwrap_or(version.len())]
}

/// So that Debian's order fits versions of authors: `1.0-rc2` and `1.0rc2` come before `1.0`.
fn plain(version: &str) -> String {
    let mut text = version.to_ascii_lowercase().replace('_', "-");
    for word in ["alpha", "beta", "pre", "rc", "dev"] {
        for joint in ["-", ".", "~", ""] {
            let Some(at) = text.find(&format!("{joint}{word}")) else { continue };
            let follows_number = text[..at].ends_with(|c: char| c.is_ascii_digit());
            if follows_number {
                text.replace_range(at..at + joint.len(), "~");
                break;
            }
        }
    }
    // A colon is no epoch there.
    text.replace(':', ".")
}

const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::samples::cases;

    /// Each line in order.
    const DEB: [&str; 16] = [
        "0.9~rc1-1",
        "0.9-1",
        "0.9a-1",
        "0.9+dfsg-1",
        "1.0~~-1",
        "1.0~-1",
        "1.0",
        "1.0-0.1",
        "1.0-1~deb12u1",
        "1.0-1",
        "1.0-1+b1",
        "1.0-1+deb12u1",
        "1.0.1-1",
        "1.0.10-1",
        "1:0.1-1",
        "10:0",
    ];

    const RPM: [&str; 10] = [
        "0.9-1",
        "1.0~rc1-1",
        "1.0-1",
        "1.0^git1-1",
        "1.0.1-1.el8",
        "1.0.1-1.el9",
        "1.0.1-1.el9_4",
        "1.0.2-1",
        "1.0.10-1",
        "1:0.1-1",
    ];

    const UPSTREAM: [&str; 11] = [
        "1.1.1",
        "1.1.1t",
        "1.1.1w",
        "3.0-alpha2",
        "3.0-rc1",
        "3.0.rc2",
        "3.0",
        "3.0.2",
        "3.0.15",
        "20.7-cert2",
        "20.7.1",
    ];

    #[test]
    fn each_order_is_that_of_its_house() {
        let orders: [(Order, &[&str]); 3] =
            [(Order::Deb, &DEB), (Order::Rpm, &RPM), (Order::Upstream, &UPSTREAM)];
        for (order, list) in orders {
            for (i, a) in list.iter().enumerate() {
                for (j, b) in list.iter().enumerate() {
                    assert_eq!(compare(order, a, b), i.cmp(&j), "{order:?} {a} {b}");
                }
            }
        }
        assert_eq!(compare(Order::Deb, "1.0", "0:1.0-0"), Ordering::Equal);
        assert_eq!(compare(Order::Rpm, "0:1.0-1", "1.0-1"), Ordering::Equal);
    }

    #[test]
    fn the_part_of_the_authors_is_found() {
        for (order, version, expected) in [
            (Order::Deb, "1:20.5.0~dfsg+~cs6.13.40431414-2", "20.5.0"),
            (Order::Deb, "3.0.15-1~deb12u1", "3.0.15"),
            (Order::Deb, "5.6.3-2", "5.6.3"),
            (Order::Deb, "1.0~rc1-1", "1.0~rc1"),
            (Order::Deb, "2:1.2+really1.1-3", "1.1"),
            (Order::Deb, "1.22.1", "1.22.1"),
            (Order::Rpm, "1:3.0.7-27.el9", "3.0.7"),
            (Order::Rpm, "20.5.0-1.sng7", "20.5.0"),
            (Order::Upstream, "20.7-cert2", "20.7-cert2"),
        ] {
            assert_eq!(upstream_of(order, version), expected, "{version}");
        }
    }

    #[test]
    fn what_is_no_version_ends_nothing() {
        for bad in ["", "ä", "1.0ä", "1.0 2", "a1", "\0", &"1".repeat(200)] {
            assert!(!is_sound(bad), "{bad:?}");
            for order in [Order::Deb, Order::Rpm, Order::Upstream] {
                let _ = compare(order, bad, "1.0-ä");
                let _ = upstream_of(order, bad);
            }
        }
    }

    #[test]
    fn dpkg_says_the_same() {
        if Command::new("dpkg").arg("--version").output().is_err() {
            return;
        }
        for pair in DEB.windows(2) {
            let arguments = ["--compare-versions", pair[0], "lt", pair[1]];
            assert!(Command::new("dpkg").args(arguments).status().unwrap().success(), "{pair:?}");
        }
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn every_order_is_one(
            a in "[0-9][0-9a-c.+~^:-]{0,12}",
            b in "[0-9][0-9a-c.+~^:-]{0,12}",
            c in "[0-9][0-9a-c.+~^:-]{0,12}",
        ) {
            for order in [Order::Deb, Order::Rpm, Order::Upstream] {
                let ab = compare(order, &a, &b);
                prop_assert_eq!(ab, compare(order, &b, &a).reverse());
                if ab == Ordering::Less && compare(order, &b, &c) == Ordering::Less {
                    prop_assert_eq!(compare(order, &a, &c), Ordering::Less, "{:?}", order);
                }
            }
        }
    }
}
