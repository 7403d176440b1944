//! The one HTTP client: roots, proxy and limits are set here and nowhere else.

pub mod public;
mod trouble;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use ::http::{HeaderMap, Method, Request, Response, header};
use bytes::{Bytes, BytesMut};
use url::Url;
use zeroize::Zeroizing;

use crate::config::Proxy;

pub use trouble::Trouble;
use trouble::{chain, kind};

/// How a client reaches others.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// PEM file with the only roots that are trusted; the system's when `None`.
    pub trust_anchor: Option<PathBuf>,
    /// Proxy for everything; none from the environment is ever taken.
    pub proxy: Option<Proxy>,
    /// Time for one request from its first byte to the last of the answer.
    pub timeout: Duration,
    /// Refuse every address that is not https.
    pub https_only: bool,
}

/// An HTTP client with roots, proxy and limits; cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: reqwest::Client,
    https_only: bool,
    /// Never shown: cut out of every text that comes from below.
    credentials: Option<Zeroizing<String>>,
}

/// Why there is no answer. Never holds credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The roots cannot be used.
    #[error("cannot use the trust anchor {path}: {reason}")]
    Anchor {
        /// The PEM file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The library refuses to make a client.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
    /// Not https, where only https is allowed.
    #[error("{url} is refused: only https is safe here")]
    Insecure {
        /// The address.
        url: String,
    },
    /// The proxy, or its credentials, cannot be used.
    #[error("cannot use the proxy {url}: {reason}")]
    Proxy {
        /// Without credentials.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer is longer than anybody needs.
    #[error("the answer of {url} is longer than {BODY_LIMIT} bytes")]
    TooLong {
        /// The address.
        url: String,
    },
    /// Nobody could be asked, or the answer did not arrive.
    #[error("cannot reach {url}: {trouble} ({detail})")]
    Transport {
        /// Scheme, host and path.
        url: String,
        /// What kind.
        trouble: Trouble,
        /// The library's words.
        detail: String,
    },
    /// No address at all.
    #[error("{url:?} is no address: {reason}")]
    Url {
        /// As given.
        url: String,
        /// Why.
        reason: String,
    },
}

impl Client {
    /// Makes a client; reads the trust anchor and the proxy's credentials now.
    ///
    /// # Errors
    ///
    /// When one of these files cannot be used, or there are no roots at all.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        let mut builder = builder(options.timeout).https_only(options.https_only).no_proxy();
        if let Some(path) = &options.trust_anchor {
            builder = builder.tls_certs_only(anchors(path)?);
        }
        let mut credentials = None;
        if let Some(proxy) = &options.proxy {
            let (proxy, secret) = with_credentials(proxy)?;
            builder = builder.proxy(proxy);
            credentials = secret;
        }
        let inner = builder.build().map_err(|e| Error::Client(chain(&e)))?;
        Ok(Self { inner, https_only: options.https_only, credentials })
    }

    /// Sends a request and reads the answer, whatever its status. Redirects are followed for GET
    /// alone, within the scheme, three at most. An error's body is cut at the limit.
    ///
    /// # Errors
    ///
    /// When there is no whole answer, it is too long, or an address is not allowed.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let (parts, body) = request.into_parts();
        let mut url = self.allowed(&parts.uri.to_string())?;
        for _ in 0..=REDIRECTS {
            let request = self
                .inner
                .request(parts.method.clone(), url.clone())
                .headers(parts.headers.clone())
                .body(body.clone());
            let answer = request.send().await.map_err(|e| self.trouble(&url, &e))?;
            let next = redirect(&parts.method, &url, &answer);
            let Some(next) = next else { return self.read(&url, answer).await };
            url = self.allowed(next.as_str())?;
        }
        let detail = format!("more than {REDIRECTS} redirects");
        Err(Error::Transport { url: place(&url), trouble: Trouble::Broken, detail })
    }

    /// [`Client::send`] for a plain GET.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get(&self, url: &str) -> Result<Response<Bytes>, Error> {
        let url = self.allowed(url)?;
        let request = Request::get(url.as_str()).body(Bytes::new());
        self.send(request.map_err(|e| bad_url(url.as_str(), &e))?).await
    }

    fn allowed(&self, url: &str) -> Result<Url, Error> {
        let url = Url::parse(url).map_err(|e| bad_url(url, &e))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if !self.https_only => Ok(url),
            _ => Err(Error::Insecure { url: place(&url) }),
        }
    }

    async fn read(
        &self,
        url: &Url,
        mut answer: reqwest::Response,
    ) -> Result<Response<Bytes>, Error> {
        let mut body = BytesMut::new();
        while let Some(part) = answer.chunk().await.map_err(|e| self.trouble(url, &e))? {
            if body.len() + part.len() > BODY_LIMIT {
                // What is wrong is in the first lines; nobody reads ten megabytes of an error.
                if answer.status().is_success() {
                    return Err(Error::TooLong { url: place(url) });
                }
                body.extend_from_slice(&part[..BODY_LIMIT - body.len()]);
                break;
            }
            body.extend_from_slice(&part);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }

    fn trouble(&self, url: &Url, error: &reqwest::Error) -> Error {
        let mut detail = chain(error);
        if let Some(secret) = &self.credentials {
            detail = detail.replace(secret.as_str(), "***");
        }
        Error::Transport { url: place(url), trouble: kind(error), detail }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("https_only", &self.https_only).finish_non_exhaustive()
    }
}

/// Makes aws-lc-rs the provider of rustls for this process, once.
pub fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Err: somebody else was first, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// Asks `address` for `http://host/path`, whatever DNS says, as a CA would: with that Host header,
/// redirects to the same host followed (on this machine), certificates not judged.
///
/// # Errors
///
/// When there is no whole answer, or it is too long.
pub async fn look(
    address: SocketAddr,
    host: &str,
    path: &str,
    limit: Duration,
) -> Result<Response<Bytes>, Error> {
    let named = host.parse::<IpAddr>().is_err() && !host.contains(':');
    let port = address.port();
    let text = match (named, address) {
        (true, _) => format!("http://{host}:{port}{path}"),
        (false, SocketAddr::V4(v4)) => format!("http://{v4}{path}"),
        (false, SocketAddr::V6(v6)) => format!("http://[{}]:{port}{path}", v6.ip()),
    };
    let url = Url::parse(&text).map_err(|e| bad_url(&text, &e))?;
    let mut builder = builder(limit).no_proxy().tls_danger_accept_invalid_certs(true);
    if named {
        let same = host.to_owned();
        builder = builder.resolve(host, SocketAddr::new(address.ip(), 0)).redirect(
            reqwest::redirect::Policy::custom(move |attempt| {
                let home = attempt.url().host_str() == Some(same.as_str());
                if home && attempt.previous().len() <= REDIRECTS {
                    attempt.follow()
                } else {
                    attempt.stop()
                }
            }),
        );
    }
    let inner = builder.build().map_err(|e| Error::Client(chain(&e)))?;
    let client = Client { inner, https_only: false, credentials: None };
    let request = client.inner.get(url.clone()).header(header::HOST, host);
    let answer = request.send().await.map_err(|e| client.trouble(&url, &e))?;
    client.read(&url, answer).await
}

fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    install_provider();
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_LANGUAGE, header::HeaderValue::from_static("en"));
    reqwest::Client::builder()
        .user_agent(concat!("pbxcert/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(timeout.min(CONNECT_LIMIT))
        .timeout(timeout)
        .referer(false)
}

fn anchors(path: &Path) -> Result<Vec<reqwest::Certificate>, Error> {
    let bad = |reason: String| Error::Anchor { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| bad(chain(&e)))?;
    if roots.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// The proxy with the credentials of its file, and these as a secret to be cut out of texts.
fn with_credentials(proxy: &Proxy) -> Result<(reqwest::Proxy, Option<Zeroizing<String>>), Error> {
    let bad = |reason: String| Error::Proxy { url: proxy.url.clone(), reason };
    let mut url = Url::parse(&proxy.url).map_err(|e| bad(e.to_string()))?;
    let mut secret = None;
    if let Some(file) = &proxy.auth_file {
        let text = std::fs::read_to_string(file)
            .map_err(|e| bad(format!("cannot read {}: {e}", file.display())))?;
        let text = Zeroizing::new(text);
        let Some((user, password)) = text.trim_end_matches(['\r', '\n']).split_once(':') else {
            return Err(bad(format!("{} holds no user:password", file.display())));
        };
        let set = url.set_username(user).and_then(|()| url.set_password(Some(password)));
        set.map_err(|()| bad("it can have no credentials".to_owned()))?;
        secret = Some(Zeroizing::new(password.to_owned())).filter(|s| !s.is_empty());
    }
    let proxy =
        reqwest::Proxy::all(url.as_str()).map_err(|_| bad("it is not understood".into()))?;
    Ok((proxy, secret))
}

fn redirect(method: &Method, from: &Url, answer: &reqwest::Response) -> Option<Url> {
    if *method != Method::GET || !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let target = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let next = from.join(target).ok()?;
    (next.scheme() == from.scheme()).then_some(next)
}

/// What to call an address: no credentials, no query.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

fn bad_url(url: &str, reason: &dyn fmt::Display) -> Error {
    Error::Url { url: url.to_owned(), reason: reason.to_string() }
}

/// Longest answer that is read: a chain or an order is a hundredth of it.
const BODY_LIMIT: usize = 256 * 1024;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

const REDIRECTS: usize = 3;

#[cfg(test)]
mod tests;
