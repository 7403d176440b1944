//! A CA on loopback that follows the text of RFC 8555, RFC 8738 and RFC 9773, checks everything it
//! is sent, counts, and misbehaves on request. Ends when it is dropped.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::{digest, hmac, signature};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as B64, Engine as _};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::CertificateSigningRequestDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a request was for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    Account,
    Authorization,
    Certificate,
    Challenge,
    Directory,
    Finalize,
    NewAccount,
    NewNonce,
    NewOrder,
    Order,
    RenewalInfo,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Any answer at all.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// Done as asked, but the connection breaks before the answer.
    Lost,
    /// The connection breaks at once.
    Reset,
    /// An answer after a while.
    Slow(Duration),
    /// Half of the right answer.
    Truncated,
}

impl Fault {
    pub fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let body = json!({ "type": kind, "detail": detail, "status": status }).to_string();
        Self::Answer { status, headers: Vec::new(), body }
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.to_owned() }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// What kind of certificate is made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Issue {
    Expired,
    NotYetValid,
    OtherKey,
    OtherNames,
    #[default]
    Right,
}

/// How it behaves; changed by [`Ca::change`].
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Where names are looked for, whatever they are.
    pub validate_at: Option<SocketAddr>,
    /// Authorizations begin as valid.
    pub authorized: bool,
    /// Per cent of nonces that are refused though they are good.
    pub refuse_nonces: u64,
    /// How often an order is shown as processing after finalize.
    pub processing: u32,
    /// `Retry-After` on orders that are pending or processing.
    pub retry_after: Option<String>,
    /// MAC keys by key identifier; with any, newAccount needs one.
    pub bindings: Vec<(String, Vec<u8>)>,
    pub terms: Option<String>,
    pub profiles: Vec<String>,
    /// The window that is told; `None`: no renewal information at all.
    pub window: Option<(String, String)>,
    /// `replaces` is taken, but not shown.
    pub ignore_replaces: bool,
    /// Failed authorizations leave the order pending.
    pub stay_pending: bool,
    /// Challenges that are offered.
    pub offer: Vec<&'static str>,
    pub issue: Issue,
    /// Base of the directory's URLs, if another.
    pub scheme: &'static str,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            validate_at: None,
            authorized: false,
            refuse_nonces: 0,
            processing: 1,
            retry_after: None,
            bindings: Vec::new(),
            terms: None,
            profiles: Vec::new(),
            window: None,
            ignore_replaces: false,
            stay_pending: false,
            offer: vec!["dns-01", "http-01", "tls-alpn-01"],
            issue: Issue::default(),
            scheme: "https",
        }
    }
}

/// The server.
pub struct Ca {
    /// URL of its directory.
    pub directory: String,
    /// PEM file of the root that its own TLS certificate leads to.
    pub trust_anchor: PathBuf,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// What it knows. Public for assertions.
#[derive(Default)]
pub struct State {
    base: String,
    behaviour: Behaviour,
    faults: VecDeque<(Endpoint, Fault)>,
    /// Every request that arrived, in order.
    pub requests: Vec<Endpoint>,
    pub accounts: Vec<Account>,
    pub orders: Vec<Order>,
    pub authorizations: Vec<Authorization>,
    /// Validations that failed.
    pub failed: u32,
    nonces: HashSet<String>,
    random: u64,
    issuer: Option<(Issuer<'static, KeyPair>, String)>,
}

#[derive(Clone, Debug)]
pub struct Account {
    pub jwk: Value,
    pub contact: Value,
    pub binding: Option<String>,
    /// It has been removed.
    pub gone: bool,
}

#[derive(Clone, Debug)]
pub struct Order {
    account: usize,
    pub identifiers: Value,
    pub authorizations: Vec<usize>,
    pub replaces: Option<String>,
    pub profile: Option<String>,
    /// Times it is still shown as processing.
    processing: Option<u32>,
    pub chain: Option<String>,
    error: Option<Value>,
    /// It has been removed.
    pub gone: bool,
}

#[derive(Clone, Debug)]
pub struct Authorization {
    pub name: String,
    identifier: Value,
    pub token: String,
    status: &'static str,
    error: Option<Value>,
}

/// A refusal: status, type, detail.
struct No(u16, &'static str, String);

type Answer = Result<Response<String>, No>;

impl Ca {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With a TLS certificate that is not the usual one.
    pub async fn start_with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trust_anchor = folder.path().join("root.pem");
        let (tls, root) = tls(change);
        std::fs::write(&trust_anchor, root).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let state = State {
            base: format!("https://{address}"),
            random: u64::from(address.port()),
            issuer: Some(issuer()),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let task = tokio::spawn(serve(socket, tls, Arc::clone(&state)));
        let directory = format!("https://{address}/directory");
        Self { directory, trust_anchor, state, task, _folder: folder }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state().behaviour);
    }

    /// The next request there goes wrong; several faults are used in order.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.state().faults.push_back((endpoint, fault));
    }

    pub fn forget_requests(&self) {
        self.state().requests.clear();
    }

    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.state().requests.iter().filter(|e| **e == endpoint).count()
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn tls(change: impl FnOnce(&mut CertificateParams)) -> (tokio_rustls::TlsAcceptor, String) {
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "root of the transport");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = root.self_signed(&key).unwrap().pem();
    let root = Issuer::new(root, key);
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.into())
        .unwrap();
    (tokio_rustls::TlsAcceptor::from(Arc::new(config)), pem)
}

fn issuer() -> (Issuer<'static, KeyPair>, String) {
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root = Issuer::new(params("Test Root"), KeyPair::generate().unwrap());
    let key = KeyPair::generate().unwrap();
    let pem = params("Test R1").signed_by(&key, &root).unwrap().pem();
    (Issuer::new(params("Test R1"), key), pem)
}

async fn serve(socket: TcpListener, tls: tokio_rustls::TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = socket.accept().await else { continue };
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        open.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| respond(Arc::clone(&state), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A body that may break in the middle.
struct Part {
    data: Option<Bytes>,
    whole: bool,
}

impl Body for Part {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match (self.data.take(), self.whole) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Ready(Some(Err(io::Error::other("broken on purpose")))),
        }
    }
}

async fn respond(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Part>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = parts.uri.path().to_owned();
    let endpoint = endpoint(&path);
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests.extend(endpoint);
        let place = state.faults.iter().position(|(at, _)| Some(*at) == endpoint);
        place.and_then(|place| state.faults.remove(place)).map(|(_, fault)| fault)
    };
    let mut whole = true;
    match fault {
        Some(Fault::Answer { status, headers, body }) => {
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            let nonce = state.lock().unwrap().nonce();
            answer = answer.header("replay-nonce", nonce);
            let body = Part { data: Some(body.into()), whole };
            return Ok(answer.body(body).unwrap());
        }
        Some(Fault::Reset) => return Err(io::Error::other("reset on purpose")),
        Some(Fault::Lost) => {
            let _ = answer(&state, &parts.method, &path, &body).await;
            return Err(io::Error::other("lost on purpose"));
        }
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::Truncated) => whole = false,
        None => {}
    }
    let answer = answer(&state, &parts.method, &path, &body).await;
    let mut answer = answer.unwrap_or_else(|No(status, kind, detail)| {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let body = json!({ "type": kind, "detail": detail, "status": status }).to_string();
        let response = Response::builder().status(status);
        response.header("content-type", "application/problem+json").body(body).unwrap()
    });
    if parts.method != Method::GET {
        let nonce = state.lock().unwrap().nonce();
        answer.headers_mut().insert("replay-nonce", nonce.parse().unwrap());
    }
    Ok(answer.map(|text| {
        let end = if whole { text.len() } else { text.len() / 2 };
        Part { data: Some(Bytes::from(text).slice(..end)), whole }
    }))
}

fn endpoint(path: &str) -> Option<Endpoint> {
    let first = path.split('/').nth(1)?;
    Some(match first {
        "account" => Endpoint::Account,
        "authz" => Endpoint::Authorization,
        "cert" => Endpoint::Certificate,
        "challenge" => Endpoint::Challenge,
        "directory" => Endpoint::Directory,
        "finalize" => Endpoint::Finalize,
        "new-account" => Endpoint::NewAccount,
        "new-nonce" => Endpoint::NewNonce,
        "new-order" => Endpoint::NewOrder,
        "order" => Endpoint::Order,
        "renewal" => Endpoint::RenewalInfo,
        _ => return None,
    })
}

async fn answer(state: &Arc<Mutex<State>>, method: &Method, path: &str, body: &[u8]) -> Answer {
    if *method != Method::POST {
        return state.lock().unwrap().plain(path);
    }
    let (signed, place) = {
        let mut state = state.lock().unwrap();
        let signed = state.verify(path, body)?;
        let place = path.rsplit('/').next().and_then(|n| n.parse::<usize>().ok());
        (signed, place.unwrap_or_default())
    };
    if endpoint(path) == Some(Endpoint::Challenge) {
        validate(state, place).await;
    }
    let mut state = state.lock().unwrap();
    match endpoint(path) {
        Some(Endpoint::NewAccount) => state.new_account(&signed),
        Some(Endpoint::Account) => state.update_account(&signed),
        Some(Endpoint::NewOrder) => state.new_order(&signed),
        Some(Endpoint::Order) => state.show_order(&signed, place),
        Some(Endpoint::Authorization) => state.show_authorization(place),
        Some(Endpoint::Challenge) => state.show_challenge(place),
        Some(Endpoint::Finalize) => state.finalize(&signed, place),
        Some(Endpoint::Certificate) => state.show_certificate(place),
        _ => Err(No(404, "malformed", format!("no such resource {path}"))),
    }
}

/// A request whose signature was good.
struct Signed {
    account: Option<usize>,
    jwk: Value,
    payload: Value,
}

impl State {
    fn nonce(&mut self) -> String {
        let nonce = B64.encode(self.dice().to_be_bytes());
        self.nonces.insert(nonce.clone());
        nonce
    }

    /// Repeatable, and good enough (splitmix64).
    fn dice(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn plain(&mut self, path: &str) -> Answer {
        match endpoint(path) {
            Some(Endpoint::Directory) => Ok(Response::new(self.directory().to_string())),
            Some(Endpoint::NewNonce) => Ok(Response::new(String::new())),
            Some(Endpoint::RenewalInfo) => {
                let Some((start, end)) = &self.behaviour.window else {
                    return Err(No(404, "malformed", "no such certificate".into()));
                };
                let body = json!({ "suggestedWindow": { "start": start, "end": end } });
                let response = Response::builder().header("retry-after", "21600");
                Ok(response.body(body.to_string()).unwrap())
            }
            _ => Err(No(405, "malformed", "POST-as-GET, please".into())),
        }
    }

    fn directory(&self) -> Value {
        let base = self.base.replacen("https", self.behaviour.scheme, 1);
        let mut directory = json!({
            "newNonce": format!("{base}/new-nonce"),
            "newAccount": format!("{base}/new-account"),
            "newOrder": format!("{base}/new-order"),
            "revokeCert": format!("{base}/revoke"),
            "keyChange": format!("{base}/key-change"),
            "meta": {
                "externalAccountRequired": !self.behaviour.bindings.is_empty(),
                "caaIdentities": ["ca.example"],
            },
        });
        if self.behaviour.window.is_some() {
            directory["renewalInfo"] = json!(format!("{base}/renewal"));
        }
        if let Some(terms) = &self.behaviour.terms {
            directory["meta"]["termsOfService"] = json!(terms);
        }
        for profile in &self.behaviour.profiles {
            directory["meta"]["profiles"][profile] = json!("a profile");
        }
        directory
    }

    /// RFC 8555 section 6.2: one signature, everything protected, `url` and `nonce` right.
    fn verify(&mut self, path: &str, body: &[u8]) -> Result<Signed, No> {
        let bad = |why: &str| No(400, "malformed", why.to_owned());
        let jws: Value = serde_json::from_slice(body).map_err(|_| bad("no JSON"))?;
        let text = |name: &str| jws[name].as_str().ok_or(bad("a member is missing"));
        let members = jws.as_object().map(|o| o.len());
        if members != Some(3) {
            return Err(bad("a flattened JWS has three members"));
        }
        let (protected, payload, sign) = (text("protected")?, text("payload")?, text("signature")?);
        let header = B64.decode(protected).map_err(|_| bad("protected"))?;
        let header: Value = serde_json::from_slice(&header).map_err(|_| bad("protected"))?;
        if header["alg"] != "ES256" {
            return Err(No(400, "badSignatureAlgorithm", "only ES256".into()));
        }
        if header["url"] != format!("{}{path}", self.base) {
            return Err(No(401, "unauthorized", format!("url is {}", header["url"])));
        }
        let fresh = header["nonce"].as_str().is_some_and(|nonce| self.nonces.remove(nonce));
        if !fresh || self.dice() % 100 < self.behaviour.refuse_nonces {
            return Err(No(400, "badNonce", "another one".into()));
        }
        let new = endpoint(path) == Some(Endpoint::NewAccount);
        if new == header["jwk"].is_null() || new != header["kid"].is_null() {
            return Err(bad("jwk is for newAccount, kid for all else"));
        }
        let account = match header["kid"].as_str() {
            Some(kid) => Some(self.account_of(kid)?),
            None => None,
        };
        let jwk = account.map_or_else(|| header["jwk"].clone(), |n| self.accounts[n].jwk.clone());
        let signature = B64.decode(sign).map_err(|_| bad("signature"))?;
        let point = point(&jwk).ok_or(bad("jwk"))?;
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
            .verify(format!("{protected}.{payload}").as_bytes(), &signature)
            .map_err(|_| bad("the signature is wrong"))?;
        let payload = B64.decode(payload).map_err(|_| bad("payload"))?;
        let payload = match payload.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&payload).map_err(|_| bad("payload"))?,
        };
        Ok(Signed { account, jwk, payload })
    }

    fn account_of(&self, kid: &str) -> Result<usize, No> {
        let place = kid.strip_prefix(&format!("{}/account/", self.base));
        let place = place.and_then(|n| n.parse::<usize>().ok());
        place.filter(|n| self.accounts.get(*n).is_some_and(|account| !account.gone)).ok_or(No(
            400,
            "accountDoesNotExist",
            format!("no account {kid}"),
        ))
    }

    fn new_account(&mut self, signed: &Signed) -> Answer {
        let known = self.accounts.iter().position(|a| !a.gone && a.jwk == signed.jwk);
        let (status, place) = match known {
            Some(place) => (200, place),
            None => {
                if self.behaviour.terms.is_some() && signed.payload["termsOfServiceAgreed"] != true
                {
                    return Err(No(403, "userActionRequired", "agree to the terms".into()));
                }
                let binding = self.binding(signed)?;
                let contact = signed.payload["contact"].clone();
                let jwk = signed.jwk.clone();
                self.accounts.push(Account { jwk, contact, binding, gone: false });
                (201, self.accounts.len() - 1)
            }
        };
        let url = format!("{}/account/{place}", self.base);
        let body = json!({ "status": "valid" }).to_string();
        Ok(Response::builder().status(status).header("location", url).body(body).unwrap())
    }

    /// RFC 8555 section 7.3.4.
    fn binding(&self, signed: &Signed) -> Result<Option<String>, No> {
        if self.behaviour.bindings.is_empty() {
            return Ok(None);
        }
        let jws = &signed.payload["externalAccountBinding"];
        let text = |name: &str| jws[name].as_str().unwrap_or_default();
        let no = |why: &str| No(403, "unauthorized", format!("external account: {why}"));
        if jws.is_null() {
            return Err(No(403, "externalAccountRequired", "bind it".into()));
        }
        let json = |name: &str| -> Result<Value, No> {
            let bytes = B64.decode(text(name)).map_err(|_| no(name))?;
            serde_json::from_slice(&bytes).map_err(|_| no(name))
        };
        let header = json("protected")?;
        let url = format!("{}/new-account", self.base);
        if header["alg"] != "HS256" || header["url"] != url || !header["nonce"].is_null() {
            return Err(no("protected"));
        }
        if json("payload")? != signed.jwk {
            return Err(no("another key"));
        }
        let key = self.behaviour.bindings.iter().find(|(id, _)| header["kid"] == *id);
        let (id, key) = key.ok_or(no("no such key"))?;
        let tag = B64.decode(text("signature")).map_err(|_| no("signature"))?;
        let data = format!("{}.{}", text("protected"), text("payload"));
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes(), &tag)
            .map_err(|_| no("the MAC is wrong"))?;
        Ok(Some(id.clone()))
    }

    fn update_account(&mut self, signed: &Signed) -> Answer {
        let Some(account) = signed.account else { return Err(No(401, "unauthorized", "".into())) };
        self.accounts[account].contact = signed.payload["contact"].clone();
        Ok(Response::new(json!({ "status": "valid" }).to_string()))
    }

    /// Whatever is still processing is done.
    pub fn orders_ready(&mut self) {
        for order in &mut self.orders {
            order.processing = order.processing.map(|_| 0);
        }
    }

    fn new_order(&mut self, signed: &Signed) -> Answer {
        let Some(account) = signed.account else { return Err(No(401, "unauthorized", "".into())) };
        let identifiers = signed.payload["identifiers"].clone();
        let profile = signed.payload["profile"].as_str().map(str::to_owned);
        if profile.as_ref().is_some_and(|p| !self.behaviour.profiles.contains(p)) {
            return Err(No(400, "invalidProfile", "no such profile".into()));
        }
        let replaces = signed.payload["replaces"].as_str().map(str::to_owned);
        let taken = self.orders.iter().any(|o| o.replaces.is_some() && o.replaces == replaces);
        if taken {
            return Err(No(409, "alreadyReplaced", "replaced before".into()));
        }
        let mut authorizations = Vec::new();
        for identifier in identifiers.as_array().into_iter().flatten() {
            let token = B64.encode([self.dice().to_be_bytes(), self.dice().to_be_bytes()].concat());
            self.authorizations.push(Authorization {
                name: identifier["value"].as_str().unwrap_or_default().to_owned(),
                identifier: identifier.clone(),
                token,
                status: if self.behaviour.authorized { "valid" } else { "pending" },
                error: None,
            });
            authorizations.push(self.authorizations.len() - 1);
        }
        // Some servers show authorizations in another order than the names.
        authorizations.reverse();
        self.orders.push(Order {
            account,
            identifiers,
            authorizations,
            replaces,
            profile,
            processing: None,
            chain: None,
            error: None,
            gone: false,
        });
        let place = self.orders.len() - 1;
        let url = format!("{}/order/{place}", self.base);
        let body = self.order(place).to_string();
        Ok(Response::builder().status(201).header("location", url).body(body).unwrap())
    }

    fn status(&self, order: &Order) -> &'static str {
        let all: BTreeSet<&str> =
            order.authorizations.iter().map(|n| self.authorizations[*n].status).collect();
        match order.processing {
            _ if order.error.is_some() => "invalid",
            Some(0) => "valid",
            Some(_) => "processing",
            None if all.contains("invalid") && !self.behaviour.stay_pending => "invalid",
            None if all.contains("invalid") || all.contains("pending") => "pending",
            None => "ready",
        }
    }

    fn order(&self, place: usize) -> Value {
        let (base, order) = (&self.base, &self.orders[place]);
        let status = self.status(order);
        let authorizations = order.authorizations.iter().map(|n| format!("{base}/authz/{n}"));
        let mut shown = json!({
            "status": status,
            "identifiers": order.identifiers,
            "authorizations": authorizations.collect::<Vec<_>>(),
            "finalize": format!("{base}/finalize/{place}"),
        });
        if status == "valid" {
            shown["certificate"] = json!(format!("{base}/cert/{place}"));
        }
        if let Some(error) = &order.error {
            shown["error"] = error.clone();
        }
        if let Some(replaces) = order.replaces.as_ref().filter(|_| !self.behaviour.ignore_replaces)
        {
            shown["replaces"] = json!(replaces);
        }
        if let Some(profile) = &order.profile {
            shown["profile"] = json!(profile);
        }
        shown
    }

    fn show_order(&mut self, signed: &Signed, place: usize) -> Answer {
        let known = self.orders.get(place).filter(|o| !o.gone && Some(o.account) == signed.account);
        if known.is_none() {
            return Err(No(404, "malformed", "no such order".into()));
        }
        if let Some(left) = &mut self.orders[place].processing {
            *left = left.saturating_sub(1);
        }
        let shown = self.order(place);
        let mut response = Response::builder();
        if let Some(wait) = &self.behaviour.retry_after
            && (shown["status"] == "pending" || shown["status"] == "processing")
        {
            response = response.header("retry-after", wait);
        }
        Ok(response.body(shown.to_string()).unwrap())
    }

    fn show_authorization(&self, place: usize) -> Answer {
        let Some(authorization) = self.authorizations.get(place) else {
            return Err(No(404, "malformed", "no such authorization".into()));
        };
        let challenges = self.behaviour.offer.iter().map(|kind| self.challenge(place, kind));
        let body = json!({
            "status": authorization.status,
            "identifier": authorization.identifier,
            "challenges": challenges.collect::<Vec<_>>(),
        });
        Ok(Response::new(body.to_string()))
    }

    fn challenge(&self, place: usize, kind: &str) -> Value {
        let authorization = &self.authorizations[place];
        let mut shown = json!({
            "type": kind,
            "status": authorization.status,
            "url": format!("{}/challenge/{place}", self.base),
            "token": authorization.token,
        });
        if let Some(error) = authorization.error.as_ref().filter(|_| kind == "http-01") {
            shown["error"] = error.clone();
        }
        shown
    }

    fn show_challenge(&self, place: usize) -> Answer {
        // As real CAs: the answer is the challenge before anybody looked.
        let mut shown = self.challenge(place, "http-01");
        shown["status"] = json!("pending");
        shown.as_object_mut().unwrap().remove("error");
        Ok(Response::new(shown.to_string()))
    }

    fn finalize(&mut self, signed: &Signed, place: usize) -> Answer {
        let status = self.orders.get(place).map(|order| self.status(order));
        if status != Some("ready") {
            return Err(No(403, "orderNotReady", format!("it is {status:?}")));
        }
        let csr = signed.payload["csr"].as_str().unwrap_or_default();
        let csr = B64.decode(csr).map_err(|_| No(400, "badCSR", "base64".into()))?;
        let chain = self.issue(&csr, place)?;
        self.orders[place].chain = Some(chain);
        self.orders[place].processing = Some(self.behaviour.processing);
        Ok(Response::new(self.order(place).to_string()))
    }

    fn issue(&self, csr: &[u8], place: usize) -> Result<String, No> {
        let der = CertificateSigningRequestDer::from(csr);
        let mut request = CertificateSigningRequestParams::from_der(&der)
            .map_err(|e| No(400, "badCSR", e.to_string()))?;
        let names: BTreeSet<String> =
            request.params.subject_alt_names.iter().map(name_of).collect();
        let wanted = self.orders[place].identifiers.as_array().cloned().unwrap_or_default();
        let wanted: BTreeSet<String> =
            wanted.iter().filter_map(|i| i["value"].as_str()).map(str::to_owned).collect();
        if names != wanted {
            return Err(No(400, "badCSR", format!("{names:?} are not {wanted:?}")));
        }
        let now = jiff::Timestamp::now().as_second();
        let (from, to) = match self.behaviour.issue {
            Issue::Expired => (-90, -1),
            Issue::NotYetValid => (30, 90),
            _ => (0, 90),
        };
        let day = |days: i64| {
            let seconds = u64::try_from(now + days * 86400).unwrap();
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        let params = &mut request.params;
        (params.not_before, params.not_after) = (day(from), day(to));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        if self.behaviour.issue == Issue::OtherNames {
            let names = vec!["other.example".to_owned()];
            params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
        }
        let (issuer, intermediate) = self.issuer.as_ref().unwrap();
        let leaf = match self.behaviour.issue {
            Issue::OtherKey => {
                request.params.clone().signed_by(&KeyPair::generate().unwrap(), issuer)
            }
            _ => request.signed_by(issuer),
        };
        Ok(leaf.unwrap().pem() + intermediate)
    }

    fn show_certificate(&self, place: usize) -> Answer {
        let chain = self.orders.get(place).and_then(|order| order.chain.clone());
        chain.map(Response::new).ok_or(No(404, "malformed", "no such certificate".into()))
    }
}

/// Looks as RFC 8555 section 8.3 says.
async fn validate(state: &Arc<Mutex<State>>, place: usize) {
    let (authorization, at, key_authorization) = {
        let state = state.lock().unwrap();
        let Some(authorization) = state.authorizations.get(place).cloned() else { return };
        let order = state.orders.iter().find(|order| order.authorizations.contains(&place));
        let jwk = &state.accounts[order.unwrap().account].jwk;
        let key = format!("{}.{}", authorization.token, thumbprint(jwk));
        (authorization, state.behaviour.validate_at, key)
    };
    if authorization.status != "pending" {
        return;
    }
    let host = match authorization.name.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => authorization.name.clone(),
    };
    let path = format!("/.well-known/acme-challenge/{}", authorization.token);
    let error = match fetch(at, &host, &path).await {
        Ok(body) if body == key_authorization => None,
        Ok(body) => Some(("unauthorized", format!("{host} shows {body:?}"))),
        Err(error) => Some(("connection", format!("{host}: {error}"))),
    };
    let mut state = state.lock().unwrap();
    state.authorizations[place].status = if error.is_none() { "valid" } else { "invalid" };
    if let Some((kind, detail)) = error {
        state.failed += 1;
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        state.authorizations[place].error = Some(json!({ "type": kind, "detail": detail }));
    }
}

async fn fetch(at: Option<SocketAddr>, host: &str, path: &str) -> io::Result<String> {
    let at = at.ok_or(io::Error::other("nobody said where"))?;
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(text.lines().next().unwrap_or_default().to_owned())),
    }
}

/// RFC 7638.
fn thumbprint(jwk: &Value) -> String {
    let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
    B64.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn point(jwk: &Value) -> Option<Vec<u8>> {
    let part = |name: &str| B64.decode(jwk[name].as_str()?).ok().filter(|b| b.len() == 32);
    (jwk["kty"] == "EC" && jwk["crv"] == "P-256").then_some(())?;
    Some([vec![4], part("x")?, part("y")?].concat())
}

fn name_of(san: &rcgen::SanType) -> String {
    match san {
        rcgen::SanType::DnsName(name) => name.to_string(),
        rcgen::SanType::IpAddress(ip) => ip.to_string(),
        other => format!("{other:?}"),
    }
}
