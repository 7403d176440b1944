use std::cell::Cell;
use std::rc::Rc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::cert::KeyType;
use crate::cert::bundle::PrivateKey;
use crate::cert::bundle::tests::Ca;
use crate::config::KeyFamily;
use crate::config::kind::Kind;

const LIMIT: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(200);

/// A certificate and its key for one test.
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
}

impl Pair {
    fn new(name: &str, kind: KeyType) -> Self {
        let key = PrivateKey::generate(kind).unwrap();
        let pem = Ca::root("root").issue(&[name], &key);
        let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        Self { chain, key }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.chain[0])
    }

    fn signed_by(&self, key: &PrivateKey) -> CertifiedKey {
        let key: PrivateKeyDer<'static> = key.to_rustls();
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        CertifiedKey::new(self.chain.clone(), signer)
    }

    fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let resolver = rustls::sign::SingleCertAndKey::from(self.signed_by(&self.key));
        server(versions).with_no_client_auth().with_cert_resolver(Arc::new(resolver))
    }

    /// Takes only clients that show a certificate of a CA that we do not have.
    fn mutual(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self_signed()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let resolver = rustls::sign::SingleCertAndKey::from(self.signed_by(&self.key));
        server(versions)
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_cert_resolver(Arc::new(resolver))
    }
}

fn self_signed() -> CertificateDer<'static> {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

fn server(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
}

const BOTH: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;

/// Something that listens on loopback; ends with this value.
struct Listening {
    address: SocketAddr,
    connections: Rc<Cell<u32>>,
    clean_ends: Rc<Cell<u32>>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listening {
    /// Gives every connection to `serve`; counts them, and those where it says they ended well.
    async fn on<F, R>(address: &str, serve: F) -> Self
    where
        F: Fn(TcpStream) -> R + 'static,
        R: Future<Output = bool> + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, clean_ends) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let counts = (connections.clone(), clean_ends.clone());
        let task = tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counts.0.set(counts.0.get() + 1);
                if serve(stream).await {
                    counts.1.set(counts.1.get() + 1);
                }
            }
        });
        Self { address, connections, clean_ends, task }
    }

    /// A TLS server that answers each read with `answer` (nothing when empty) until the client
    /// says goodbye.
    async fn tls(config: ServerConfig, answer: &'static [u8]) -> Self {
        Self::tls_on("127.0.0.1:0", config, answer).await
    }

    async fn tls_on(address: &str, config: ServerConfig, answer: &'static [u8]) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::on(address, move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return false };
                let mut buffer = [0; 4096];
                loop {
                    match stream.read(&mut buffer).await {
                        // rustls tells an end without close_notify as an error.
                        Ok(0) => return stream.shutdown().await.is_ok(),
                        Ok(_) => stream.write_all(answer).await.unwrap(),
                        Err(_) => return false,
                    }
                }
            }
        })
        .await
    }

    /// Says `words` after the client's first bytes, then closes.
    async fn raw(words: &'static [u8]) -> Self {
        Self::on("127.0.0.1:0", move |mut stream| async move {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(words).await;
            true
        })
        .await
    }

    fn endpoint(&self, protocol: Protocol) -> Endpoint {
        at(protocol, &self.address.ip().to_string(), self.address.port())
    }

    async fn probed(&self, protocol: Protocol) -> Served {
        look(&self.endpoint(protocol), LIMIT).await
    }
}

fn at(protocol: Protocol, host: &str, port: u16) -> Endpoint {
    let (host, certificate) = (host.to_owned(), "pbx".to_owned());
    Endpoint {
        protocol,
        host,
        port,
        sni: None,
        key: None,
        certificate,
        timeout: LIMIT,
        kind: None,
        usual: false,
    }
}

async fn look(endpoint: &Endpoint, limit: Duration) -> Served {
    TlsProber.probe(endpoint, limit, Timestamp::UNIX_EPOCH).await
}

#[tokio::test]
async fn a_service_that_is_bound_to_another_address_of_this_machine_is_found() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::EcdsaP256);
        let lan = Listening::tls_on("127.0.0.2:0", pair.config(BOTH), b"").await;
        let loopback = at(Protocol::Tls, "127.0.0.1", lan.address.port());
        let ours = Endpoint { kind: Some(Kind::Custom), ..loopback.clone() };
        assert_eq!(look(&ours, LIMIT).await.fingerprint(), Some(pair.fingerprint()));
        assert_eq!(look(&loopback, LIMIT).await.answer, Answer::Closed, "nobody's: as it stands");
    })
    .await;
}

fn no_handshake(served: &Served) -> &str {
    match &served.answer {
        Answer::NoHandshake { reason } => reason,
        other => panic!("not NoHandshake: {other:?}"),
    }
}

/// Why the handshake did not end, where a certificate was shown.
fn unfinished(served: &Served) -> Option<&str> {
    match &served.answer {
        Answer::Certificate { unfinished, .. } => unfinished.as_deref(),
        other => panic!("no certificate: {other:?}"),
    }
}

/// `spawn_local` needs a place to run.
async fn local(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_good_server_is_seen_with_one_connection_that_ends_well() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::Rsa2048);
        let server = Listening::tls(pair.config(BOTH), b"").await;
        let served = server.probed(Protocol::Tls).await;
        assert_eq!(served.fingerprint(), Some(pair.fingerprint()));
        assert_eq!(served.protocol.as_deref(), Some("TLS 1.3"));
        assert_eq!((unfinished(&served), served.at), (None, Timestamp::UNIX_EPOCH));
        while server.clean_ends.get() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.connections.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn tls_1_2_alone_is_enough() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::EcdsaP256);
        let server = Listening::tls(pair.config(&[&rustls::version::TLS12]), b"").await;
        let served = server.probed(Protocol::Https).await;
        assert_eq!(served.fingerprint(), Some(pair.fingerprint()));
        assert_eq!(served.protocol.as_deref(), Some("TLS 1.2"));
    })
    .await;
}

#[tokio::test]
async fn ipv6_is_reached() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::EcdsaP256);
        if let Err(e) = TcpListener::bind("[::1]:0").await {
            return eprintln!("skipped: no IPv6 on this machine's loopback: {e}");
        }
        let server = Listening::tls_on("[::1]:0", pair.config(BOTH), b"").await;
        let endpoint = server.endpoint(Protocol::Tls);
        assert_eq!(endpoint.to_string(), format!("tls://[::1]:{}", endpoint.port));
        assert_eq!(look(&endpoint, LIMIT).await.fingerprint(), Some(pair.fingerprint()));
    })
    .await;
}

#[tokio::test]
async fn a_name_is_tried_at_each_of_its_addresses() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::EcdsaP256);
        let server = Listening::tls(pair.config(BOTH), b"").await;
        let mut endpoint = server.endpoint(Protocol::Tls);
        endpoint.host = "localhost".to_owned();
        assert_eq!(look(&endpoint, LIMIT).await.fingerprint(), Some(pair.fingerprint()));
    })
    .await;
}

#[tokio::test]
async fn the_server_name_decides_and_may_be_left_out() {
    local(async {
        let (one, two) = (
            Pair::new("one.example", KeyType::EcdsaP256),
            Pair::new("two.example", KeyType::EcdsaP256),
        );
        let mut resolver = ResolvesServerCertUsingSni::new();
        for (name, pair) in [("one.example", &one), ("two.example", &two)] {
            resolver.add(name, pair.signed_by(&pair.key)).unwrap();
        }
        let config = server(BOTH).with_no_client_auth().with_cert_resolver(Arc::new(resolver));
        let server = Listening::tls(config, b"").await;
        let mut endpoint = server.endpoint(Protocol::Tls);
        for (sni, pair) in [("one.example", &one), ("two.example", &two)] {
            endpoint.sni = Some(sni.to_owned());
            let served = look(&endpoint, LIMIT).await;
            assert_eq!(served.fingerprint(), Some(pair.fingerprint()), "{sni}");
        }
        for sni in [Some("three.example".to_owned()), None] {
            endpoint.sni = sni;
            let served = look(&endpoint, LIMIT).await;
            assert!(no_handshake(&served).contains("refused the handshake"), "{served:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn mutual_tls_shows_its_certificate_and_why_it_went_no_further() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::EcdsaP256);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let server = Listening::tls(pair.mutual(&[version]), b"").await;
            for protocol in [Protocol::Tls, Protocol::Sips] {
                let served = server.probed(protocol).await;
                assert_eq!(served.fingerprint(), Some(pair.fingerprint()));
                let why = unfinished(&served).unwrap_or_default();
                assert!(why.contains("wants a client certificate"), "{version:?}: {served:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_certificate_without_its_key_serves_nobody() {
    local(async {
        let (pair, other) = (
            Pair::new("pbx.example", KeyType::EcdsaP256),
            Pair::new("other.example", KeyType::EcdsaP256),
        );
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let resolver = rustls::sign::SingleCertAndKey::from(pair.signed_by(&other.key));
            let config =
                server(&[version]).with_no_client_auth().with_cert_resolver(Arc::new(resolver));
            let server = Listening::tls(config, b"").await;
            let served = server.probed(Protocol::Tls).await;
            assert_eq!(
                no_handshake(&served),
                "it shows the certificate for pbx.example without holding its private key"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn sip_options_informs_and_its_absence_changes_nothing() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::EcdsaP256);
        let speaks = Listening::tls(pair.config(BOTH), b"SIP/2.0 404 Not here\r\n\r\n").await;
        let served = speaks.probed(Protocol::Sips).await;
        assert_eq!(served.options.as_deref(), Some("404 Not here"));
        assert_eq!(served.fingerprint(), Some(pair.fingerprint()));
        assert_eq!(speaks.probed(Protocol::Tls).await.options, None);
        let silent = Listening::tls(pair.config(BOTH), b"").await;
        let served = look(&silent.endpoint(Protocol::Sips), SHORT).await;
        assert_eq!((served.options.as_deref(), unfinished(&served)), (None, None));
        assert_eq!(served.fingerprint(), Some(pair.fingerprint()));
    })
    .await;
}

#[tokio::test]
async fn a_closed_port_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = at(Protocol::Sips, "127.0.0.1", address.port());
    assert_eq!(look(&endpoint, LIMIT).await.answer, Answer::Closed);
}

#[tokio::test]
async fn a_host_without_address_is_unreachable() {
    // Not even a question to a name server: an empty label cannot be asked.
    let endpoint = at(Protocol::Tls, "pbx..example", 5061);
    let served = look(&endpoint, LIMIT).await;
    let Answer::Unreachable { reason } = served.answer else { panic!("{served:?}") };
    assert!(reason.starts_with("cannot find the address of pbx..example: "), "{reason}");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_unreachable() {
    // A full backlog: the kernel drops what comes on top of it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    let endpoint = at(Protocol::Tls, "127.0.0.1", address.port());
    let served = look(&endpoint, SHORT).await;
    let Answer::Unreachable { reason } = served.answer else { panic!("{served:?}") };
    assert!(reason.contains("no connection within 200ms"), "{reason}");
}

#[tokio::test]
async fn silence_ends_at_the_limit() {
    local(async {
        let server = Listening::on("127.0.0.1:0", |stream| async move {
            std::future::pending::<()>().await;
            drop(stream);
            true
        })
        .await;
        let served = look(&server.endpoint(Protocol::Sips), SHORT).await;
        assert_eq!(
            no_handshake(&served),
            "it accepted the connection and said nothing within 200ms"
        );
    })
    .await;
}

#[tokio::test]
async fn a_reset_and_an_early_end_are_told_apart() {
    local(async {
        let resets = Listening::on("127.0.0.1:0", |stream| async move {
            // Closing with the client's bytes unread makes the kernel send a reset.
            stream.readable().await.unwrap();
            stream.set_zero_linger().unwrap();
            true
        })
        .await;
        let served = resets.probed(Protocol::Tls).await;
        assert_eq!(no_handshake(&served), "it reset the connection during the handshake");
        let ends = Listening::raw(b"").await;
        let served = ends.probed(Protocol::Tls).await;
        assert_eq!(no_handshake(&served), "it closed the connection during the handshake");
    })
    .await;
}

#[tokio::test]
async fn plain_text_is_shown_as_such() {
    local(async {
        for (said, shown) in [
            (&b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"[..], "HTTP/1.1 400 Bad Request"),
            (b"SIP/2.0 400 Bad Request\r\n\r\n", "SIP/2.0 400 Bad Request"),
            (b"220 mail.example ESMTP\r\n", "220 mail.example ESMTP"),
        ] {
            let server = Listening::raw(said).await;
            let served = server.probed(Protocol::Https).await;
            let reason = format!("it speaks plain text (\"{shown}\"), not TLS");
            assert_eq!(no_handshake(&served), reason);
        }
        let server = Listening::raw(b"\x00\x01\xff\n").await;
        let served = server.probed(Protocol::Tls).await;
        assert!(no_handshake(&served).contains("something else than TLS"), "{served:?}");
    })
    .await;
}

#[tokio::test]
async fn a_banner_that_waits_for_nobody_is_seen_although_the_connection_stays_open() {
    local(async {
        let server = Listening::on("127.0.0.1:0", |mut stream| async move {
            stream.write_all(b"* OK IMAP ready\r\n").await.unwrap();
            std::future::pending::<bool>().await
        })
        .await;
        let served = look(&server.endpoint(Protocol::Tls), SHORT).await;
        assert!(no_handshake(&served).contains("* OK IMAP ready"), "{served:?}");
    })
    .await;
}

#[tokio::test]
async fn what_refuses_every_hello_is_too_old_or_has_no_certificate() {
    local(async {
        // Alerts: protocol_version (70), handshake_failure (40).
        let older = Listening::raw(b"\x15\x03\x01\x00\x02\x02\x46").await;
        let served = older.probed(Protocol::Sips).await;
        let Answer::TooOld { reason } = &served.answer else { panic!("{served:?}") };
        assert_eq!(reason, "it speaks none of TLS 1.3 to 1.0 (alert ProtocolVersion)");
        assert_eq!((older.connections.get(), served.is_alive()), (2, true));
        let empty = Listening::raw(b"\x15\x03\x03\x00\x02\x02\x28").await;
        let served = empty.probed(Protocol::Sips).await;
        assert!(no_handshake(&served).contains("no certificate loaded"), "{served:?}");
        let mut endpoint = empty.endpoint(Protocol::Tls);
        endpoint.key = Some(KeyFamily::Rsa);
        let served = look(&endpoint, LIMIT).await;
        assert!(no_handshake(&served).contains("no rsa certificate loaded"), "{served:?}");
    })
    .await;
}

/// A server that shows `chain` after a ServerHello of TLS 1.0 with RSA and CBC, to an old hello.
async fn old_server(chain: &[CertificateDer<'_>]) -> Listening {
    let list: Vec<u8> = chain.iter().flat_map(|der| counted(der)).collect();
    let hello = [&[2, 0, 0, 38, 3, 1][..], &[9; 32], &[0, 0, 0x2f, 0]].concat();
    let list = counted(&list);
    let certificate = [&[11][..], &counted(&list)].concat();
    let messages = [hello, certificate].concat();
    let length = u16::try_from(messages.len()).unwrap().to_be_bytes();
    let answer: &'static [u8] = [&[22, 3, 1][..], &length, &messages].concat().leak();
    Listening::on("127.0.0.1:0", move |mut stream| async move {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        // rustls offers TLS 1.3, which takes its extension (43).
        let modern = buffer[..count].windows(4).any(|w| w[..2] == [0, 43] && w[2] == 0);
        let said = if modern { &b"\x15\x03\x01\x00\x02\x02\x28"[..] } else { answer };
        let _ = stream.write_all(said).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        true
    })
    .await
}

/// Bytes after their length in three bytes.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[1..], bytes].concat()
}

#[tokio::test]
async fn the_certificate_of_an_old_server_is_read_in_passing() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::Rsa2048);
        let server = old_server(&pair.chain).await;
        let served = server.probed(Protocol::Tls).await;
        assert_eq!(served.fingerprint(), Some(pair.fingerprint()));
        assert_eq!(served.protocol.as_deref(), Some("TLS 1.0"));
        let why = unfinished(&served).unwrap_or_default();
        assert!(why.starts_with("cannot probe (TLS 1.1 or CBC only)"), "{why}");
        assert!(why.ends_with("it speaks TLS 1.0 with AES128-SHA"), "{why}");
        assert_eq!(server.connections.get(), 2);
        let anonymous = old_server(&[]).await;
        let served = anonymous.probed(Protocol::Tls).await;
        assert!(matches!(served.answer, Answer::TooOld { .. }), "{served:?}");
    })
    .await;
}

#[tokio::test]
async fn a_server_with_two_certificates_shows_the_one_that_is_asked_for() {
    #[derive(Debug)]
    struct Both(Arc<CertifiedKey>, Arc<CertifiedKey>);
    impl rustls::server::ResolvesServerCert for Both {
        fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            let fits = |key: &Arc<CertifiedKey>| {
                key.key.choose_scheme(hello.signature_schemes()).is_some()
            };
            [&self.0, &self.1].into_iter().find(|key| fits(key)).cloned()
        }
    }
    local(async {
        let (ecdsa, rsa) = (
            Pair::new("pbx.example", KeyType::EcdsaP256),
            Pair::new("pbx.example", KeyType::Rsa2048),
        );
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let both =
                Both(Arc::new(ecdsa.signed_by(&ecdsa.key)), Arc::new(rsa.signed_by(&rsa.key)));
            let config =
                server(&[version]).with_no_client_auth().with_cert_resolver(Arc::new(both));
            let server = Listening::tls(config, b"").await;
            let mut endpoint = server.endpoint(Protocol::Tls);
            for (key, pair) in
                [(None, &ecdsa), (Some(KeyFamily::Rsa), &rsa), (Some(KeyFamily::Ecdsa), &ecdsa)]
            {
                endpoint.key = key;
                let served = look(&endpoint, LIMIT).await;
                assert_eq!(served.fingerprint(), Some(pair.fingerprint()), "{version:?} {key:?}");
            }
        }
    })
    .await;
}

/// Speaks SMTP until TLS begins, and then TLS.
async fn mail_server(config: ServerConfig, go_ahead: &'static [u8]) -> Listening {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Listening::on("127.0.0.1:0", move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut buffer = [0; 4096];
            for said in [&b"220 mail\r\n"[..], b"250-mail\r\n250 STARTTLS\r\n", go_ahead] {
                stream.write_all(said).await.unwrap();
                if said != go_ahead && stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                    return false;
                }
            }
            let Ok(mut stream) = acceptor.accept(stream).await else { return false };
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
            stream.shutdown().await.is_ok()
        }
    })
    .await
}

#[tokio::test]
async fn tls_begins_after_starttls_on_the_same_connection() {
    local(async {
        let pair = Pair::new("pbx.example", KeyType::EcdsaP256);
        let server = mail_server(pair.config(BOTH), b"220 go\r\n").await;
        let served = server.probed(Protocol::SmtpStarttls).await;
        assert_eq!(served.fingerprint(), Some(pair.fingerprint()), "{served:?}");
        assert_eq!((unfinished(&served), server.connections.get()), (None, 1));
        let injected = mail_server(pair.config(BOTH), b"220 go\r\n250 more\r\n").await;
        let served = injected.probed(Protocol::SmtpStarttls).await;
        assert!(no_handshake(&served).contains("after its go-ahead"), "{served:?}");
        let refuses = mail_server(pair.config(BOTH), b"454 not now\r\n").await;
        let served = refuses.probed(Protocol::SmtpStarttls).await;
        assert_eq!(no_handshake(&served), "it refuses STARTTLS: \"454 not now\"");
    })
    .await;
}

#[tokio::test]
async fn an_old_server_behind_starttls_is_asked_twice_in_its_own_words() {
    local(async {
        let server = Listening::on("127.0.0.1:0", |mut stream| async move {
            let mut buffer = [0; 4096];
            for said in [&b"+OK pop\r\n"[..], b"+OK go\r\n", b"\x15\x03\x01\x00\x02\x02\x46"] {
                let _ = stream.write_all(said).await;
                let _ = stream.read(&mut buffer).await;
            }
            true
        })
        .await;
        let served = server.probed(Protocol::Pop3Starttls).await;
        assert!(matches!(served.answer, Answer::TooOld { .. }), "{served:?}");
        assert_eq!(server.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn one_byte_a_moment_ends_at_the_limit() {
    local(async {
        for protocol in [Protocol::SmtpStarttls, Protocol::ImapStarttls, Protocol::XmppStarttls] {
            let server = Listening::on("127.0.0.1:0", |mut stream| async move {
                while stream.write_all(b"<").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                true
            })
            .await;
            let served = look(&server.endpoint(protocol), SHORT).await;
            let reason = "it did not agree to begin TLS (STARTTLS) within 200ms";
            assert_eq!(no_handshake(&served), reason, "{protocol}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_nobody_can_read_is_told_by_its_fingerprint() {
    local(async {
        let mut pair = Pair::new("pbx.example", KeyType::EcdsaP256);
        pair.chain = vec![CertificateDer::from(b"no certificate at all".to_vec())];
        let server = Listening::tls(pair.config(BOTH), b"").await;
        let served = server.probed(Protocol::Tls).await;
        assert!(matches!(served.answer, Answer::Unreadable { .. }), "{served:?}");
        assert_eq!(served.fingerprint(), Some(pair.fingerprint()));
    })
    .await;
}
