//! A TLS client of the tests' own, so that what pbxcert says is not proved by pbxcert.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore};
use rustls::{SignatureScheme, StreamOwned};

const LIMIT: Duration = Duration::from_secs(10);

/// DER of the leaf that `address` serves for `name`, whoever signed it.
///
/// # Errors
///
/// What went wrong, as a sentence.
pub fn served_leaf(address: SocketAddr, name: &str) -> Result<Vec<u8>, String> {
    let stream = open(address, name)?;
    let chain = stream.conn.peer_certificates().ok_or("no certificate")?;
    Ok(chain[0].to_vec())
}

/// A connection that stays open, as a phone's.
#[derive(Debug)]
pub struct Held {
    stream: Stream,
    asked: u32,
}

impl Held {
    /// Connects to whoever is there.
    ///
    /// # Errors
    ///
    /// What went wrong, as a sentence.
    pub fn open(address: SocketAddr, name: &str) -> Result<Self, String> {
        let config =
            builder().dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate));
        let mut stream = connect(address, name, config.with_no_client_auth())?;
        stream.conn.complete_io(&mut stream.sock).map_err(|e| format!("handshake: {e}"))?;
        Ok(Self { stream, asked: 0 })
    }

    /// Asks OPTIONS over it; the status line.
    ///
    /// # Errors
    ///
    /// What went wrong, as a sentence.
    pub fn options(&mut self) -> Result<String, String> {
        self.asked += 1;
        let local = self.stream.sock.local_addr().map_err(|e| e.to_string())?;
        let peer = self.stream.sock.peer_addr().map_err(|e| e.to_string())?;
        let tag = format!("{}x{}", local.port(), self.asked);
        let request = format!(
            "OPTIONS sip:{peer};transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS {local};branch=z9hG4bK\
             {tag};rport\r\nMax-Forwards: 70\r\nFrom: <sip:held@pbx.test>;tag={tag}\r\nTo: \
             <sip:{peer}>\r\nCall-ID: {tag}@pbx.test\r\nCSeq: 1 OPTIONS\r\nContact: \
             <sip:held@{local};transport=tls>\r\nContent-Length: 0\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
        self.answer()
    }

    /// Sends these bytes; the first line that comes back.
    ///
    /// # Errors
    ///
    /// What went wrong, as a sentence.
    pub fn ask(&mut self, bytes: &[u8]) -> Result<String, String> {
        self.stream.write_all(bytes).map_err(|e| e.to_string())?;
        self.answer()
    }

    /// Sends these bytes; as many as are wanted of what comes back.
    ///
    /// # Errors
    ///
    /// What went wrong, as a sentence.
    pub fn exchange<const WANTED: usize>(&mut self, bytes: &[u8]) -> Result<[u8; WANTED], String> {
        self.stream.write_all(bytes).map_err(|e| e.to_string())?;
        let mut answer = [0; WANTED];
        self.stream.read_exact(&mut answer).map_err(|e| e.to_string())?;
        Ok(answer)
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut answer = Vec::new();
        let mut some = [0; 4096];
        while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
            match self.stream.read(&mut some) {
                Ok(0) => return Err("closed".to_owned()),
                Ok(count) => answer.extend_from_slice(&some[..count]),
                Err(e) => return Err(e.to_string()),
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }
}

/// `GET https://localhost:port/path`, where only `trust_anchor` (PEM) may have signed the server.
///
/// # Errors
///
/// What went wrong, or the whole answer when it is not 200.
pub fn get(address: SocketAddr, path: &str, trust_anchor: &[u8]) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(trust_anchor) {
        roots.add(root.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    let config = builder().with_root_certificates(roots).with_no_client_auth();
    let mut stream = connect(address, "localhost", config)?;
    let port = address.port();
    // Pebble answers nobody without a User-Agent.
    let head = format!("GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\nUser-Agent: test\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no end of the answer's head")?;
    if head.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(answer) }
}

/// A connection to whoever is there.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Shakes hands with whoever is there, and stays connected.
///
/// # Errors
///
/// What went wrong, as a sentence.
pub fn open(address: SocketAddr, name: &str) -> Result<Stream, String> {
    let config = builder().dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let mut stream = connect(address, name, config.with_no_client_auth())?;
    stream.conn.complete_io(&mut stream.sock).map_err(|e| format!("handshake: {e}"))?;
    Ok(stream)
}

fn connect(address: SocketAddr, name: &str, config: ClientConfig) -> Result<Stream, String> {
    let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    let socket = TcpStream::connect_timeout(&address, LIMIT).map_err(|e| e.to_string())?;
    socket.set_read_timeout(Some(LIMIT)).map_err(|e| e.to_string())?;
    socket.set_write_timeout(Some(LIMIT)).map_err(|e| e.to_string())?;
    Ok(StreamOwned::new(connection, socket))
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Takes every chain, but not a peer that lacks the leaf's key.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, leaf, signature, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
