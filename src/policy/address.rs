//! Which addresses can be reached from the internet at all.

use std::net::IpAddr;

/// Whether packets to that address stay inside of somebody's network, or lead nowhere: the CA
/// cannot connect to it.
pub fn is_reserved(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || is_shared(address)
                || a == 0
                || a >= 240
                || (a, b) == (198, 18)
                || (a, b) == (198, 19)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_reserved(v4.into()),
            // Global unicast is 2000::/3, of which 2001:db8::/32 is documentation (RFC 3849).
            None => {
                let [a, b, ..] = v6.segments();
                a & 0xe000 != 0x2000 || (a, b) == (0x2001, 0x0db8)
            }
        },
    }
}

/// 100.64.0.0/10: addresses that a provider shares among customers (RFC 6598, CGNAT).
pub fn is_shared(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_ca_can_connect_to_is_reserved() {
        for reserved in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.10",
            "100.64.0.1",
            "100.127.255.254",
            "127.0.0.1",
            "169.254.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "240.0.0.1",
            "0.1.2.3",
            "224.0.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "ff02::1",
            "64:ff9b::1",
        ] {
            assert!(is_reserved(reserved.parse().unwrap()), "{reserved}");
        }
        for public in ["8.8.8.8", "100.128.0.1", "100.63.0.1", "172.32.0.1", "2a00:1450::1"] {
            assert!(!is_reserved(public.parse().unwrap()), "{public}");
        }
        assert!(is_shared("100.100.0.1".parse().unwrap()));
        assert!(!is_shared("10.0.0.1".parse().unwrap()));
    }
}
