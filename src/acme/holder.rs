//! Who holds a port, from /proc: an error that names the program saves a person the search.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::{fs, io};

/// A socket that listens.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Socket {
    address: SocketAddr,
    inode: u64,
}

/// Where something listens on `port` on this machine, as an address that can be connected to: a
/// wildcard is replaced by its loopback address. Empty where /proc cannot be read.
pub fn addresses(port: u16) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for socket in sockets(port) {
        let ips: &[IpAddr] = match socket.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
            // It may be for both families, or for one: the caller tries.
            IpAddr::V6(ip) if ip.is_unspecified() => {
                &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            ip => &[ip],
        };
        for ip in ips {
            let address = SocketAddr::new(*ip, port);
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

/// The program that listens on `port`, with its pid: `nginx (pid 812)`.
pub fn name(port: u16) -> String {
    let inodes: Vec<u64> = sockets(port).iter().map(|socket| socket.inode).collect();
    let found = names(Path::new("/"), &inodes).into_values().next();
    found.unwrap_or_else(|| "another program (`ss -ltnp` as root shows which)".to_owned())
}

/// Everything that listens on this machine, with the inode of its socket, from the tables below
/// `root`.
///
/// # Errors
///
/// When the table of the kernel cannot be read.
pub fn listening(root: &Path) -> io::Result<Vec<(SocketAddr, u64)>> {
    let v4 = fs::read_to_string(root.join(TABLES[0]))?;
    // A kernel without IPv6 has none.
    let v6 = fs::read_to_string(root.join(TABLES[1])).unwrap_or_default();
    let lines = v4.lines().skip(1).chain(v6.lines().skip(1));
    Ok(lines.filter_map(socket).map(|socket| (socket.address, socket.inode)).collect())
}

/// The programs that hold these sockets, by inode, as far as they can be seen.
pub fn names(root: &Path, inodes: &[u64]) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    if inodes.is_empty() {
        return found;
    }
    for process in fs::read_dir(root.join("proc")).into_iter().flatten().flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid.bytes().any(|b| !b.is_ascii_digit()) {
            continue;
        }
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        for target in files.filter_map(|file| fs::read_link(file.path()).ok()) {
            let inode = target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']'));
            let Some(inode) = inode.and_then(|inode| inode.parse().ok()) else { continue };
            if inodes.contains(&inode) && !found.contains_key(&inode) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                let name = super::refusal::words(&name, 32);
                found.insert(inode, format!("{name} (pid {pid})"));
            }
        }
    }
    found
}

fn sockets(port: u16) -> Vec<Socket> {
    let mut found = Vec::new();
    for table in TABLES {
        let table = fs::read_to_string(Path::new("/").join(table)).unwrap_or_default();
        let sockets = table.lines().skip(1).filter_map(socket);
        found.extend(sockets.filter(|socket| socket.address.port() == port));
    }
    found
}

const TABLES: [&str; 2] = ["proc/net/tcp", "proc/net/tcp6"];

/// Reads a line of the kernel's table (proc(5)), if it listens.
fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let listens = fields.nth(1)? == "0A";
    let inode = fields.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = address(ip)?;
    listens.then(|| Socket { address: SocketAddr::new(ip, port), inode })
}

/// Words of 32 bits, each in the machine's byte order.
fn address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for start in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(start..start + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_very_program_is_named() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(addresses(address.port()), [address]);
        let name = name(address.port());
        assert!(name.ends_with(&format!(" (pid {})", std::process::id())), "{name}");
        let all = listening(Path::new("/")).unwrap();
        let (_, inode) = all.iter().find(|(there, _)| *there == address).unwrap();
        assert_eq!(names(Path::new("/"), &[*inode]).into_values().collect::<Vec<_>>(), [name]);
    }

    #[test]
    fn a_wildcard_is_reached_on_loopback() {
        let socket = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(addresses(port), [SocketAddr::from(([127, 0, 0, 1], port))]);
    }

    #[test]
    fn garbage_in_the_table_is_skipped() {
        for line in ["", "a b c", "0: 0100007F:0050 0:0 0A", "0: 01:0050 0 0A 0 0 0 0 0 7"] {
            assert_eq!(socket(line), None, "{line}");
        }
    }
}
