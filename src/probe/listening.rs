//! On which addresses of this machine a port is bound, as the kernel tells (proc(5), `net/tcp`).
//!
//! SIP servers are bound to the address of the LAN as often as to all of them: nobody listens on
//! 127.0.0.1 then, and the service runs all the same.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::config::kind::Kind;

/// Where services of that kind are bound to `port`, IPv4 first; where no process of theirs is seen,
/// anybody's sockets. Empty also where /proc cannot be read.
pub(super) fn addresses(kind: Kind, port: u16) -> Vec<IpAddr> {
    let proc = Path::new("/proc");
    let tables = ["net/tcp", "net/tcp6"].map(|name| fs::read_to_string(proc.join(name)));
    let sockets: Vec<Socket> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines().filter_map(listening))
        .filter(|socket| socket.port == port)
        .collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    places(&sockets, owned(proc, kind.preset().map_or(&[], |preset| preset.processes)))
}

/// A socket that takes connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Socket {
    ip: IpAddr,
    port: u16,
    inode: u64,
}

/// Where to connect, each address once: nobody connects to "any address".
fn places(sockets: &[Socket], owned: Option<BTreeSet<u64>>) -> Vec<IpAddr> {
    let theirs = |socket: &&Socket| owned.as_ref().is_none_or(|own| own.contains(&socket.inode));
    let places =
        sockets.iter().filter(theirs).filter_map(|socket| match socket.ip.to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => Some(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => Some(Ipv6Addr::LOCALHOST.into()),
            // Nobody can connect without saying through which interface.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => None,
            ip => Some(ip),
        });
    places.collect::<BTreeSet<IpAddr>>().into_iter().collect()
}

/// A line of the table, if somebody listens there: number, local address, remote address, state
/// (0A), two pairs of counters, retransmissions, user, timeout, inode.
fn listening(line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if *words.get(3)? != "0A" {
        return None;
    }
    let (ip, port) = words.get(1)?.split_once(':')?;
    Some(Socket {
        ip: address(ip)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: words.get(9)?.parse().ok()?,
    })
}

/// One word of 32 bits for IPv4, four for IPv6, each as the processor holds it.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(words.iter().flatten()).for_each(|(byte, from)| *byte = *from);
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

/// The sockets of every process of one of these names that sees the network as we do; `None`: there
/// is none whose sockets could be read.
fn owned(proc: &Path, names: &[&str]) -> Option<BTreeSet<u64>> {
    let network = |of: &Path| fs::read_link(of.join("ns/net")).ok();
    let ours = network(&proc.join("self"));
    let processes = fs::read_dir(proc).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let named = |folder: &Path| {
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        names.contains(&name.trim_end())
    };
    let mut sockets = None;
    for folder in processes.filter(|folder| named(folder)) {
        if network(&folder) != ours {
            continue;
        }
        let Ok(files) = fs::read_dir(folder.join("fd")) else { continue };
        let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        let inodes = links.filter_map(|link| inode(link.to_str()?));
        sockets.get_or_insert_with(BTreeSet::new).extend(inodes);
    }
    sockets
}

/// `socket:[12345]`
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read_and_garbage_is_none() {
        let line = |address: &str, state: &str| {
            format!(
                "0: {address}:13C5 00000000:0000 {state} 0:0 00:0 0000 0 0 4711 1 0 100 0 0 10 0"
            )
        };
        // As a processor writes it that has the lowest byte first, or last.
        let hex = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let lan = line(&hex([192, 0, 2, 10]), "0A");
        let expected = Socket { ip: "192.0.2.10".parse().unwrap(), port: 5061, inode: 4711 };
        assert_eq!(listening(&lan), Some(expected));
        let words = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 1]].map(hex).concat();
        let ip: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(listening(&line(&words, "0A")).map(|socket| socket.ip), Some(ip));
        assert_eq!(listening(&line(&hex([192, 0, 2, 10]), "01")), None, "a connection");
        for garbage in ["", "sl local_address rem_address st", &line("XY", "0A"), &lan[..20]] {
            assert_eq!(listening(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn of_all_who_have_the_port_those_of_the_kind_are_looked_at() {
        let socket = |ip: &str, inode| Socket { ip: ip.parse().unwrap(), port: 5061, inode };
        let all = [
            socket("192.0.2.10", 1),
            socket("::ffff:192.0.2.11", 2),
            socket("fe80::1", 3),
            socket("::", 4),
            socket("0.0.0.0", 5),
            socket("192.0.2.10", 6),
        ];
        let shown = |owned: Option<&[u64]>| {
            let found = places(&all, owned.map(|o| o.iter().copied().collect()));
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown(None), ["127.0.0.1", "192.0.2.10", "192.0.2.11", "::1"]);
        assert_eq!(shown(Some(&[2, 3])), ["192.0.2.11"]);
        assert!(shown(Some(&[7])).is_empty(), "that port is somebody else's");
    }

    #[test]
    fn the_sockets_of_a_process_are_found_by_its_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let sockets = table.lines().filter_map(listening).filter(|socket| socket.port == port);
        let inode = sockets.map(|socket| socket.inode).next().unwrap();
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let found = owned(Path::new("/proc"), &[own.trim_end()]).unwrap();
        assert!(found.contains(&inode), "{inode} in {found:?}");
        assert_eq!(owned(Path::new("/proc"), &["no such process"]), None);
    }
}
