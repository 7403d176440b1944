//! Whether there is a way out, and how long this machine has been up: what the kernel says.

use std::path::Path;

use crate::state::software::Boot;

/// Flag of a route that can be used (RTF_UP, route(8)).
const UP: u32 = 1;

/// Whether any route leads off this machine, over IPv4 or IPv6. `root` is `/`, but in tests.
pub fn is_up(root: &Path) -> bool {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    routes4(&read("proc/net/route")) || routes6(&read("proc/net/ipv6_route"))
}

/// `Iface Destination Gateway Flags ...`, the flags in hex.
fn routes4(table: &str) -> bool {
    table.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace();
        let (interface, flags) = (words.next(), words.nth(2));
        leads_off(interface) && is_usable(flags)
    })
}

/// Ten columns: destination, its length, ..., flags, interface. Link-local routes and multicast are
/// there on every interface and lead nowhere.
fn routes6(table: &str) -> bool {
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let near = words.first().is_none_or(|to| to.starts_with("fe8") || to.starts_with("ff"));
        !near && leads_off(words.get(9).copied()) && is_usable(words.get(8).copied())
    })
}

fn leads_off(interface: Option<&str>) -> bool {
    interface.is_some_and(|name| name != "lo")
}

fn is_usable(flags: Option<&str>) -> bool {
    flags.and_then(|hex| u32::from_str_radix(hex, 16).ok()).is_some_and(|flags| flags & UP != 0)
}

/// How long this machine has been up; `None` when the kernel does not say. `root` is `/`, but in
/// tests.
pub fn boot(root: &Path) -> Option<Boot> {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).ok();
    let id = read("proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let up = read("proc/uptime")?.split('.').next()?.trim().parse().ok()?;
    (!id.is_empty() && id.len() <= 64).then_some(Boot { id, up })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_off_this_machine_is_a_network() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n";
        assert!(!routes4(head));
        assert!(routes4(&format!("{head}eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n")));
        assert!(!routes4(&format!("{head}eth0\t00000000\t010200C0\t0002\t0\t0\t0\t00000000\n")));
        assert!(!routes4(&format!("{head}lo\t0000007F\t00000000\t0001\t0\t0\t0\t000000FF\n")));
        assert!(!routes4(&format!("{head}\nx\n")));
        let six = |to: &str, flags: &str, interface: &str| {
            let none = "0".repeat(32);
            format!("{to} 40 {none} 00 {none} 00000100 00000001 00000000 {flags} {interface}\n")
        };
        let global = format!("fd{}", "0".repeat(30));
        assert!(routes6(&six(&global, "00000001", "eth0")));
        assert!(!routes6(&six(&global, "00000001", "lo")));
        assert!(!routes6(&six(&global, "00200200", "eth0")));
        assert!(!routes6(&six(&format!("fe80{}", "0".repeat(28)), "00000001", "eth0")));
        assert!(!routes6("x\n\n"));
    }

    #[test]
    fn the_kernel_says_how_long_it_runs() {
        let boot = boot(Path::new("/")).unwrap();
        assert!(boot.id.len() == 36 && boot.up > 0, "{boot:?}");
        assert_eq!(super::boot(Path::new("/nowhere")), None);
        assert!(!is_up(Path::new("/nowhere")));
    }
}
