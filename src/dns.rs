//! Names looked up as a CA does: in the DNS alone (no hosts file, no search domains), and with the
//! reason when there is nothing.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, system_conf};

use crate::state::facts::{CaaFacts, CaaRecord, Looked};

/// Asks name servers. Made when there is a question; nothing is kept between two of them.
pub struct Resolver {
    /// `Err`: why there is none.
    inner: Result<TokioResolver, String>,
    limit: Duration,
}

impl Resolver {
    /// Asks the name servers of this host (resolv.conf(5)); `limit` is for one question.
    pub fn system(limit: Duration) -> Self {
        let inner = system_conf::read_system_conf()
            .map_err(|error| format!("the name servers of this host are not known: {error}"))
            .and_then(|(config, _)| build(config, limit));
        Self { inner, limit }
    }

    /// Asks these servers instead.
    pub fn at(servers: &[SocketAddr], limit: Duration) -> Self {
        let servers = servers.iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        Self { inner: build(config, limit), limit }
    }

    /// The A records of a name.
    pub async fn a(&self, name: &str) -> Looked<Ipv4Addr> {
        let address = |data: &RData| match data {
            RData::A(a) => Some(a.0),
            _ => None,
        };
        self.look(name, RecordType::A, address).await
    }

    /// The AAAA records of a name.
    pub async fn aaaa(&self, name: &str) -> Looked<Ipv6Addr> {
        let address = |data: &RData| match data {
            RData::AAAA(aaaa) => Some(aaaa.0),
            _ => None,
        };
        self.look(name, RecordType::AAAA, address).await
    }

    /// The closest set of CAA records at a name or above it, without the root (RFC 8659 section
    /// 3). A question that failed on the way ends the climb: a CA must not issue then.
    pub async fn caa(&self, name: &str) -> CaaFacts {
        let mut domain = name.trim_start_matches("*.").trim_end_matches('.');
        loop {
            let records = self.look(domain, RecordType::CAA, caa).await;
            let parent = domain.split_once('.').map(|(_, parent)| parent);
            match parent.filter(|parent| !parent.is_empty() && records.is_none()) {
                Some(parent) => domain = parent,
                None => return CaaFacts { domain: domain.to_owned(), records },
            }
        }
    }

    async fn look<T>(
        &self,
        name: &str,
        kind: RecordType,
        take: impl Fn(&RData) -> Option<T>,
    ) -> Looked<T> {
        let resolver = match &self.inner {
            Ok(resolver) => resolver,
            Err(reason) => return Looked::NotAsked(reason.clone()),
        };
        // With its dot at the end a name is whole: no search domain is appended.
        let name = match Name::from_ascii(format!("{}.", name.trim_end_matches('.'))) {
            Ok(name) => name,
            Err(error) => return Looked::NotAsked(format!("{name:?} is no name: {error}")),
        };
        match tokio::time::timeout(self.limit, resolver.lookup(name, kind)).await {
            Err(_) => Looked::Timeout,
            Ok(Err(error)) => nothing(&error),
            Ok(Ok(answer)) => {
                let records = answer.answers().iter().filter_map(|record| take(&record.data));
                match records.take(RECORDS).collect::<Vec<T>>() {
                    // A CNAME that leads to nothing of that kind.
                    none if none.is_empty() => Looked::NoData,
                    found => Looked::Found(found),
                }
            }
        }
    }
}

fn build(config: ResolverConfig, limit: Duration) -> Result<TokioResolver, String> {
    let mut options = ResolverOpts::default();
    options.use_hosts_file = ResolveHosts::Never;
    // Each question has room for a second try within its limit.
    options.timeout = limit / 2;
    options.attempts = 1;
    options.cache_size = 0;
    options.edns0 = true;
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options).build().map_err(|error| error.to_string())
}

/// Why there is nothing.
fn nothing<T>(error: &NetError) -> Looked<T> {
    match error {
        NetError::Timeout => Looked::Timeout,
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Looked::NoSuchName,
            ResponseCode::NoError => Looked::NoData,
            code => Looked::Failed(code.to_string()),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => Looked::Failed(code.to_string()),
        NetError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Looked::Timeout,
        error => Looked::Failed(error.to_string().chars().take(200).collect()),
    }
}

fn caa(data: &RData) -> Option<CaaRecord> {
    let RData::CAA(caa) = data else { return None };
    Some(CaaRecord {
        critical: caa.issuer_critical,
        tag: caa.tag.chars().take(32).collect(),
        value: caa.value.iter().copied().take(1024).collect(),
    })
}

/// More records than anybody has for one name.
const RECORDS: usize = 64;
