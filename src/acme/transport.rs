//! The wire below instant-acme: our client, and nothing lost of what the crate would throw away
//! (the status and headers of a refusal, `Retry-After`, where an order was made).

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};

use crate::http::Client;

use super::refusal::{Refusal, RetryAfter};
use super::{Deed, Error, Problem};

/// The transport of one session.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client,
    notes: Arc<Notes>,
}

/// What passed by, by URL.
pub(super) struct Notes {
    /// The directory as it was just fetched: the crate shall not fetch it again.
    directory: (String, Bytes),
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    retry_after: HashMap<String, RetryAfter>,
    location: HashMap<String, String>,
}

impl Transport {
    pub(super) fn new(client: Client, directory: (String, Bytes)) -> (Self, Arc<Notes>) {
        let notes = Arc::new(Notes { directory, seen: Mutex::default() });
        (Self { client, notes: Arc::clone(&notes) }, notes)
    }

    async fn exchange(
        self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, instant_acme::Error> {
        let (mut parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        if parts.method == Method::GET && url == self.notes.directory.0 {
            return Ok(packed(Response::new(self.notes.directory.1.clone())));
        }
        parts.headers.remove(header::USER_AGENT);
        // The crate's bodies are in memory: collecting them cannot fail.
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let head = parts.method == Method::HEAD;
        let request = Request::from_parts(parts, body);
        let mut answer = self.client.send(request).await.map_err(other)?;
        if answer.status().as_u16() >= 400 {
            let refusal = Refusal::read(&answer);
            if refusal.kind() != Some("badNonce") {
                return Err(other(refusal));
            }
            // The crate repeats a request with the new nonce only at this status.
            *answer.status_mut() = StatusCode::BAD_REQUEST;
        } else if head {
            // It takes a nonce from nothing but a 200, and there are CAs that say 204.
            *answer.status_mut() = StatusCode::OK;
        }
        self.notes.note(url, &answer);
        Ok(packed(answer))
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

impl Notes {
    fn note(&self, url: String, answer: &Response<Bytes>) {
        let mut seen = self.seen();
        match RetryAfter::read(answer.headers()) {
            Some(wait) => seen.retry_after.insert(url.clone(), wait),
            None => seen.retry_after.remove(&url),
        };
        let location = answer.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
        if let Some(location) = location {
            seen.location.insert(url, location.to_owned());
        }
    }

    /// The `Retry-After` of the last answer from there; each is told once.
    pub(super) fn take_retry_after(&self, url: &str) -> Option<RetryAfter> {
        self.seen().retry_after.remove(url)
    }

    /// The `Location` of the last answer from there.
    pub(super) fn take_location(&self, url: &str) -> Option<String> {
        self.seen().location.remove(url)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls the crate, ten rounds as long as the CA refuses its own nonces; the crate itself makes
/// three tries in each.
pub(super) async fn rounds<T>(
    deed: Deed,
    mut call: impl AsyncFnMut() -> Result<T, instant_acme::Error>,
) -> Result<T, Error> {
    let mut last = None;
    for _ in 0..ROUNDS {
        match call().await {
            Ok(value) => return Ok(value),
            Err(error) if is_bad_nonce(&error) => last = Some(error),
            Err(error) => return Err(told(deed, error)),
        }
    }
    let reason = format!("it refused its own nonces in {ROUNDS} rounds");
    Err(last.map_or(Error::Answer { deed, reason }, |error| told(deed, error)))
}

fn is_bad_nonce(error: &instant_acme::Error) -> bool {
    matches!(error, instant_acme::Error::Api(p) if Problem::from(p).kind.as_deref() == Some("badNonce"))
}

/// The crate's error as ours, with what the transport kept.
pub(super) fn told(deed: Deed, error: instant_acme::Error) -> Error {
    use instant_acme::Error as Theirs;

    match error {
        Theirs::Api(problem) => {
            let refusal = Refusal {
                status: problem.status.unwrap_or_default(),
                retry_after: None,
                problem: Some(Problem::from(&problem)),
                excerpt: String::new(),
            };
            Error::Refused { deed, refusal: Box::new(refusal) }
        }
        Theirs::Other(inner) => match inner.downcast::<Refusal>() {
            Ok(refusal) => Error::Refused { deed, refusal },
            Err(inner) => match inner.downcast::<crate::http::Error>() {
                Ok(source) => Error::Http { deed, source: *source },
                Err(inner) => odd(deed, &inner.to_string()),
            },
        },
        error => odd(deed, &error.to_string()),
    }
}

fn odd(deed: Deed, reason: &str) -> Error {
    Error::Answer { deed, reason: super::refusal::words(reason, 300) }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> instant_acme::Error {
    instant_acme::Error::Other(Box::new(error))
}

fn packed(response: Response<Bytes>) -> BytesResponse {
    let (parts, body) = response.into_parts();
    BytesResponse { parts, body: Box::new(body) }
}

const ROUNDS: usize = 10;
