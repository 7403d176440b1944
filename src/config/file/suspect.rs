//! What may be meant, but rarely is.

use std::net::IpAddr;

use crate::cert::Identifier;

/// Names that documentation uses (RFC 2606, RFC 6761).
pub(super) fn is_example(name: &str) -> bool {
    let mut labels = name.rsplit('.');
    match labels.next() {
        Some("example" | "invalid" | "test") => true,
        Some(_) => labels.next() == Some("example"),
        None => false,
    }
}

/// Why a public CA can give no certificate for this, if so.
pub(super) fn is_private(identifier: &Identifier) -> Option<&'static str> {
    match identifier {
        Identifier::Dns(name) if !name.contains('.') => Some("it has no domain"),
        Identifier::Dns(name) => {
            let last = name.rsplit('.').next().unwrap_or_default();
            let private = ["corp", "home", "internal", "intranet", "lan", "local", "localdomain"];
            (private.contains(&last) || name.ends_with(".home.arpa"))
                .then_some("names like this exist in private networks only")
        }
        Identifier::Ip(ip) => is_private_address(ip).then_some("the address is private"),
    }
}

/// RFC 1918, RFC 6598, RFC 4193 and addresses of this host or link.
fn is_private_address(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_known_by_their_end() {
        for name in ["pbx.example.com", "example.net", "voip.example", "a.test"] {
            assert!(is_example(name), "{name}");
        }
        for name in ["example.pbx.de", "myexample.com", "pbx.de", "example"] {
            assert_eq!(is_example(name), name == "example", "{name}");
        }
    }

    #[test]
    fn private_names_and_addresses_are_known() {
        for name in ["pbx", "pbx.lan", "a.local", "10.1.2.3", "100.64.0.1", "fd00::1", "127.0.0.1"]
        {
            assert!(is_private(&name.parse().unwrap()).is_some(), "{name}");
        }
        for name in ["pbx.de", "local.de", "100.128.0.1", "2001:db8::1", "8.8.8.8"] {
            assert!(is_private(&name.parse().unwrap()).is_none(), "{name}");
        }
    }
}
