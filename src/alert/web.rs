//! What webhooks and heartbeats share: addresses that may be secrets.

use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use url::Url;
use zeroize::Zeroizing;

use super::{LIMIT, secret, text};
use crate::config::Proxy;
use crate::config::alerts::Address;
use crate::http::{self as web, Client, ClientOptions};

/// What an address is called in reports: its host, or the file that it stands in.
pub(super) fn place(address: &Address) -> String {
    match address {
        Address::File(path) => format!("of {}", path.display()),
        Address::Written(text) => Url::parse(text).ok().as_ref().map(host).unwrap_or_default(),
    }
}

/// Host and port.
pub(super) fn host(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// The address itself.
pub(super) fn url(address: &Address) -> Result<Url, String> {
    let text = match address {
        Address::File(path) => secret(path)?,
        Address::Written(text) => Zeroizing::new(text.clone()),
    };
    // The reason is that of a part: it does not repeat the address.
    Url::parse(text.trim()).map_err(|e| format!("its address is none: {e}"))
}

/// Sends a request and wants a status of 2xx; what fails is told without the address, which
/// `masked` hides, too.
pub(super) async fn send(
    request: Request<Bytes>,
    url: &Url,
    masked: &[String],
    proxy: Option<&Proxy>,
    trust_anchor: Option<&Path>,
) -> Result<(), String> {
    let options = ClientOptions {
        trust_anchor: trust_anchor.map(Path::to_owned),
        proxy: proxy.cloned(),
        timeout: LIMIT,
        https_only: false,
    };
    let client = Client::new(&options).map_err(|e| e.to_string())?;
    let answer = client.send(request).await.map_err(|e| mask(reason(&e, url), url, masked))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(mask(refusal(&answer, url), url, masked))
}

fn reason(error: &web::Error, url: &Url) -> String {
    match error {
        web::Error::Transport { trouble, detail, .. } => {
            format!("cannot reach {}: {trouble} ({})", host(url), text::line(detail, 300))
        }
        web::Error::TooLong { .. } => format!("the answer of {} has no end", host(url)),
        web::Error::Url { .. } => "its address is none".to_owned(),
        other => other.to_string(),
    }
}

fn refusal(answer: &Response<Bytes>, url: &Url) -> String {
    let status = answer.status().as_u16();
    let said = text::line(&String::from_utf8_lossy(answer.body()), 200);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let next = match status {
        300..=399 => "; it sends elsewhere: write the address that it sends to",
        401 | 403 | 407 => "; check the token in the address or in header-file",
        404 | 410 => "; the address is no longer known there: make a new one",
        429 => "; it is asked too often",
        _ => "",
    };
    format!("{} answered {status}{said}{next}", host(url))
}

/// Cuts what must not be shown out of a text that others wrote.
fn mask(mut words: String, url: &Url, masked: &[String]) -> String {
    let own = url.path_segments().into_iter().flatten().map(str::to_owned);
    let asked = url.query_pairs().map(|(_, value)| value.into_owned());
    let whole = [url.path().to_owned(), url.query().unwrap_or_default().to_owned()];
    let all = whole.into_iter().chain(masked.iter().cloned()).chain(own).chain(asked);
    for secret in all.filter(|secret| secret.len() >= LEAST_SECRET) {
        words = words.replace(&secret, "***");
    }
    words
}

/// What is shorter is a word that anybody could have written.
const LEAST_SECRET: usize = 6;
