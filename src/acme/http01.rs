//! http-01 (RFC 8555 section 8.3): responses are files, and whoever owns the port serves them. No
//! CA is told to look before this machine has seen the response itself.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cert::Identifier;
use crate::config::Http01;
use crate::http;

use super::listener::{Listener, PATH, is_token};
use super::{holder, refusal, webroot};

/// What [`Http01::Auto`] tries.
#[derive(Clone, Debug)]
pub struct Auto {
    /// The port that CAs ask: 80.
    pub port: u16,
    /// Folders that web servers usually serve.
    pub webroots: Vec<PathBuf>,
}

impl Default for Auto {
    fn default() -> Self {
        let webroots = ["/var/www/html", "/usr/share/nginx/html", "/srv/http", "/var/www"];
        Self { port: 80, webroots: webroots.map(PathBuf::from).into() }
    }
}

/// Publishes responses and takes them back.
#[derive(Debug)]
pub(super) struct Solver {
    folder: PathBuf,
    auto: Auto,
    /// Configured webroots, where a crash may have left responses.
    webroots: Vec<PathBuf>,
    open: RefCell<Vec<Open>>,
    published: RefCell<BTreeSet<String>>,
}

/// Listeners with the tokens that need them.
#[derive(Debug)]
struct Open {
    at: Vec<SocketAddr>,
    listeners: Vec<Listener>,
    tokens: BTreeSet<String>,
}

/// A response to be seen by the CA.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response<'a> {
    pub(super) identifier: &'a Identifier,
    pub(super) token: &'a str,
    pub(super) key_authorization: &'a str,
}

impl Solver {
    pub(super) fn new(folder: PathBuf, auto: Auto, webroots: Vec<PathBuf>) -> Self {
        Self { folder, auto, webroots, open: RefCell::default(), published: RefCell::default() }
    }

    /// Publishes a response and looks at it from here; why that failed, for a person.
    pub(super) async fn publish(
        &self,
        method: &Http01,
        response: Response<'_>,
    ) -> Result<(), String> {
        let token = response.token;
        if !is_token(token) {
            return Err(format!("the CA's token {:?} is none", refusal::words(token, 80)));
        }
        let done = match method {
            Http01::Auto => self.auto(response).await,
            Http01::Listen(addresses) => self.listen(addresses, response).await,
            Http01::Webroot(root) => self.webroot(root, response).await,
        };
        match done {
            Ok(()) => {
                self.published.borrow_mut().insert(token.to_owned());
                Ok(())
            }
            Err(reason) => {
                self.retract(token);
                Err(reason)
            }
        }
    }

    /// Whether this process published it and still does.
    pub(super) fn publishes(&self, token: &str) -> bool {
        self.published.borrow().contains(token)
    }

    /// Takes a response back from wherever it may be, also one of a process that crashed.
    pub(super) fn retract(&self, token: &str) {
        if !is_token(token) {
            return;
        }
        self.published.borrow_mut().remove(token);
        let _ = std::fs::remove_file(self.folder.join(token));
        for root in self.webroots.iter().chain(&self.auto.webroots) {
            let _ = webroot::remove(root, token);
        }
        self.open.borrow_mut().retain_mut(|open| {
            open.tokens.remove(token);
            !open.tokens.is_empty()
        });
    }

    async fn listen(&self, addresses: &[SocketAddr], response: Response<'_>) -> Result<(), String> {
        self.place(response)?;
        let mut listeners = self.opened(addresses);
        if listeners.is_empty() {
            for address in addresses {
                let listener = Listener::open(*address, &self.folder).await;
                listeners.push(self.keep(addresses, listener, *address, response)?);
            }
        } else {
            self.need(addresses, response.token);
        }
        for (address, waits) in listeners {
            if let Err(reason) = test_any(&reachable(address), response).await {
                return Err(match waits {
                    true => format!(
                        "{address} is held by {}, which does not show our response: {reason}",
                        holder::name(address.port())
                    ),
                    false => reason,
                });
            }
        }
        Ok(())
    }

    async fn webroot(&self, root: &Path, response: Response<'_>) -> Result<(), String> {
        webroot::place(root, response.token, response.key_authorization)
            .map_err(|e| format!("cannot write a response below {}: {e}", root.display()))?;
        let port = self.auto.port;
        let mut addresses = holder::addresses(port);
        if addresses.is_empty() {
            // The web server may be on another machine, with the folder shared.
            let named = tokio::net::lookup_host((response.identifier.to_string(), port)).await;
            addresses.extend(named.into_iter().flatten().take(4));
        }
        test_any(&addresses, response).await.map_err(|reason| {
            format!(
                "what is written below {} is not served on port {port}: {reason}; set webroot to \
                 the folder that the web server shows for this name over plain HTTP",
                root.display()
            )
        })
    }

    async fn auto(&self, response: Response<'_>) -> Result<(), String> {
        let port = self.auto.port;
        let both = [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()];
        self.place(response)?;
        let mut listeners = self.opened(&both);
        if listeners.is_empty() {
            listeners = self.open_both(&both, response).await?;
        } else {
            self.need(&both, response.token);
        }
        let held = listeners.iter().any(|(_, waits)| *waits);
        let mut addresses: Vec<SocketAddr> =
            listeners.iter().flat_map(|(address, _)| reachable(*address)).collect();
        if held {
            addresses.extend(holder::addresses(port));
        }
        addresses.dedup();
        let Err(reason) = test_any(&addresses, response).await else { return Ok(()) };
        if !held {
            return Err(reason);
        }
        // A web server has the port, and it will keep it.
        self.retract(response.token);
        self.candidates(&addresses, response).await
    }

    /// Opens the port for both families; where there is no IPv6, for IPv4 alone.
    async fn open_both(
        &self,
        both: &[SocketAddr; 2],
        response: Response<'_>,
    ) -> Result<Vec<(SocketAddr, bool)>, String> {
        let first = match Listener::open(both[0], &self.folder).await {
            Err(e) if without_ipv6(&e) => {
                let only = Listener::open(both[1], &self.folder).await;
                return Ok(vec![self.keep(both, only, both[1], response)?]);
            }
            first => self.keep(both, first, both[0], response)?,
        };
        // Usually the first takes both families, and this one finds the port in use by it; a
        // kernel with net.ipv6.bindv6only needs the second.
        let mut all = vec![first];
        if let Ok(second) = Listener::open(both[1], &self.folder).await
            && !second.waits
        {
            all.push(self.keep(both, Ok(second), both[1], response)?);
        }
        Ok(all)
    }

    /// The folders of web servers, proved by looking whether the response is shown.
    async fn candidates(
        &self,
        addresses: &[SocketAddr],
        response: Response<'_>,
    ) -> Result<(), String> {
        let port = self.auto.port;
        let mut last = String::new();
        for root in &self.auto.webroots {
            if webroot::place(root, response.token, response.key_authorization).is_err() {
                continue;
            }
            match test_any(addresses, response).await {
                Ok(()) => return Ok(()),
                Err(reason) => last = format!(" ({reason})"),
            }
            let _ = webroot::remove(root, response.token);
        }
        let tried: Vec<String> =
            self.auto.webroots.iter().map(|root| root.display().to_string()).collect();
        Err(format!(
            "port {port} is held by {}, and it shows none of {}{last}; either set http-01 = {{ \
             webroot = \"DIR\" }} to the folder that it shows, or stop it, or let it pass {PATH} \
             on to an address of ours: http-01 = {{ listen = [\"127.0.0.1:8402\"] }}",
            holder::name(port),
            tried.join(", ")
        ))
    }

    fn place(&self, response: Response<'_>) -> Result<(), String> {
        webroot::place_in(&self.folder, response.token, response.key_authorization)
            .map_err(|e| format!("cannot write a response into {}: {e}", self.folder.display()))
    }

    /// Listeners that are open for exactly these addresses: where, and whether they wait.
    fn opened(&self, at: &[SocketAddr]) -> Vec<(SocketAddr, bool)> {
        let open = self.open.borrow();
        let found = open.iter().find(|open| open.at == at);
        found.into_iter().flat_map(|o| &o.listeners).map(|l| (l.address, l.waits)).collect()
    }

    fn need(&self, at: &[SocketAddr], token: &str) {
        for open in self.open.borrow_mut().iter_mut().filter(|open| open.at == at) {
            open.tokens.insert(token.to_owned());
        }
    }

    /// Keeps a listener open for a token.
    fn keep(
        &self,
        at: &[SocketAddr],
        listener: io::Result<Listener>,
        address: SocketAddr,
        response: Response<'_>,
    ) -> Result<(SocketAddr, bool), String> {
        let listener = listener.map_err(|e| match e.kind() {
            io::ErrorKind::PermissionDenied => format!(
                "cannot listen on {address}: ports below 1024 need root or CAP_NET_BIND_SERVICE"
            ),
            _ => format!("cannot listen on {address}: {e}"),
        })?;
        let found = (listener.address, listener.waits);
        let token = response.token.to_owned();
        let mut open = self.open.borrow_mut();
        match open.iter_mut().find(|open| open.at == at) {
            Some(same) => {
                same.listeners.push(listener);
                same.tokens.insert(token);
            }
            None => open.push(Open {
                at: at.to_vec(),
                listeners: vec![listener],
                tokens: BTreeSet::from([token]),
            }),
        }
        Ok(found)
    }
}

/// Passes when the response is seen at one of the addresses; else the first reason why not.
async fn test_any(addresses: &[SocketAddr], response: Response<'_>) -> Result<(), String> {
    let mut first = None;
    for address in addresses {
        match test(*address, response).await {
            Ok(()) => return Ok(()),
            Err(reason) => first = first.or(Some(reason)),
        }
    }
    Err(first.unwrap_or_else(|| "nothing listens there".to_owned()))
}

/// The self-test: asks as the CA will.
async fn test(address: SocketAddr, response: Response<'_>) -> Result<(), String> {
    let host = match response.identifier {
        Identifier::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
        name => name.to_string(),
    };
    let path = format!("{PATH}{}", response.token);
    let answer = http::look(address, &host, &path, TEST).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    let body = String::from_utf8_lossy(answer.body());
    if status.is_success() && body.trim_end() == response.key_authorization {
        return Ok(());
    }
    let shown = refusal::words(&body, 60);
    Err(format!("{address}, asked for {host}{path}, answers {} {shown:?}", status.as_u16()))
}

/// Where to knock for an address that is listened on.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![(Ipv4Addr::LOCALHOST, port).into()],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
        }
        _ => vec![address],
    }
}

fn without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let errors = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
    errors.iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// On this machine an answer comes at once, or somebody is busy.
const TEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
