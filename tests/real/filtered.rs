//! A port that a packet filter stands before.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// A port whose queue is full: the kernel drops what comes, as a packet filter does.
pub struct Filtered {
    /// Where it listens.
    pub at: SocketAddr,
    _queue: Vec<OwnedFd>,
}

impl Filtered {
    /// Listens, and has its queue filled.
    pub fn new() -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = || {
            let socket = nix::sys::socket::socket(
                nix::sys::socket::AddressFamily::Inet,
                nix::sys::socket::SockType::Stream,
                nix::sys::socket::SockFlag::SOCK_NONBLOCK,
                None,
            );
            socket.unwrap()
        };
        let listener = socket();
        let at = nix::sys::socket::SockaddrStorage::from(any);
        nix::sys::socket::bind(listener.as_raw_fd(), &at).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let at: SocketAddr =
            std::net::TcpListener::from(listener.try_clone().unwrap()).local_addr().unwrap();
        let to = nix::sys::socket::SockaddrStorage::from(at);
        let waiting = (0..4).map(|_| {
            let client = socket();
            // It is on its way, or waits for ever.
            let _ = nix::sys::socket::connect(client.as_raw_fd(), &to);
            client
        });
        let queue: Vec<OwnedFd> = waiting.collect();
        let queue = [vec![listener], queue].into_iter().flatten().collect();
        let limit = std::time::Duration::from_millis(300);
        let refused = std::net::TcpStream::connect_timeout(&at, limit).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
        Self { at, _queue: queue }
    }
}
