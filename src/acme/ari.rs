//! Renewal information (RFC 9773). Asked by a plain GET of our own: instant-acme reads the system
//! clock, and hides a 404 behind a missing header.

use std::time::Duration;

use ::http::{Response, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;

use crate::cert::Leaf;
use crate::http::Client;
use crate::state::{Ari, Window};

use super::refusal::{Refusal, RetryAfter, words};
use super::{Deed, Error};

/// Asks for the window of a certificate; `None` when it has no certID.
pub(super) async fn ask(
    client: &Client,
    renewal_info: &str,
    leaf: &Leaf,
    now: Timestamp,
) -> Result<Option<Ari>, Error> {
    let deed = Deed::RenewalInfo;
    let Some(cert_id) = leaf.cert_id() else { return Ok(None) };
    let url = format!("{}/{cert_id}", renewal_info.trim_end_matches('/'));
    let answer = client.get(&url).await.map_err(|source| Error::Http { deed, source })?;
    read(&answer, cert_id, now).map(Some)
}

/// What an answer means. What will not change soon (a 404, bad JSON, no `Retry-After`) is "no
/// window, ask again in 6 h" (RFC 9773 section 4.3.3); what passes is an error.
fn read(answer: &Response<Bytes>, cert_id: String, now: Timestamp) -> Result<Ari, Error> {
    let status = answer.status();
    let passing = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    if passing {
        let refusal = Box::new(Refusal::read(answer));
        return Err(Error::Refused { deed: Deed::RenewalInfo, refusal });
    }
    let body: Option<Body> =
        serde_json::from_slice(answer.body()).ok().filter(|_| status.is_success());
    let wait = RetryAfter::read(answer.headers());
    let (Some(body), Some(wait)) = (body, wait) else {
        return Ok(without(cert_id, LONG, now));
    };
    let Body { suggested_window: Window { start, end }, explanation } = body;
    let wait = wait.delay(now).clamp(SHORTEST, LONGEST);
    let mut ari = without(cert_id, wait, now);
    // An empty window is no answer (RFC 9773 section 4.2).
    ari.window = (start < end).then_some(Window { start, end });
    ari.explanation = explanation.map(|text| words(&text, 500));
    Ok(ari)
}

fn without(cert_id: String, wait: Duration, now: Timestamp) -> Ari {
    let ask_again_at = now.checked_add(wait).unwrap_or(now);
    Ari { cert_id, window: None, explanation: None, asked_at: now, ask_again_at }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation: Option<String>,
}

const SHORTEST: Duration = Duration::from_secs(60);

const LONGEST: Duration = Duration::from_secs(24 * 3600);

const LONG: Duration = Duration::from_secs(6 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: &str = r#"{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-03T04:00:00+02:00"},"explanationURL":"https://ca/\u001bwhy"}"#;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn seen(status: u16, retry_after: Option<&str>, body: &str) -> Result<Ari, Error> {
        let mut answer = Response::builder().status(status);
        if let Some(wait) = retry_after {
            answer = answer.header("retry-after", wait);
        }
        read(&answer.body(Bytes::from(body.to_owned())).unwrap(), "a.b".to_owned(), now())
    }

    fn asks_again_in(ari: &Ari) -> u64 {
        crate::cert::span(ari.asked_at, ari.ask_again_at).as_secs()
    }

    #[test]
    fn a_window_is_read_in_any_zone() {
        let ari = seen(200, Some("21600"), WINDOW).unwrap();
        let window = ari.window.unwrap();
        assert_eq!(window.end.to_string(), "2026-01-03T02:00:00Z");
        assert_eq!(ari.explanation.as_deref(), Some("https://ca/ why"));
        assert_eq!((ari.cert_id.as_str(), asks_again_in(&ari)), ("a.b", 21600));
    }

    #[test]
    fn the_wait_is_clamped_to_a_minute_and_a_day() {
        assert_eq!(asks_again_in(&seen(200, Some("0"), WINDOW).unwrap()), 60);
        assert_eq!(asks_again_in(&seen(200, Some("999999999"), WINDOW).unwrap()), 86400);
    }

    #[test]
    fn an_empty_window_is_no_window() {
        let text = WINDOW.replace("2026-01-02T00", "2026-01-03T02");
        let ari = seen(200, Some("100"), &text).unwrap();
        assert_eq!((ari.window, asks_again_in(&ari)), (None, 100));
    }

    #[test]
    fn what_will_not_change_soon_is_asked_again_in_six_hours() {
        for (status, wait, body) in [
            (404, Some("60"), "not found"),
            (400, None, "{}"),
            (200, Some("60"), "<html>"),
            (200, Some("60"), "{}"),
            (200, None, WINDOW),
            (200, Some("60"), r#"{"suggestedWindow":{"start":"x","end":"y"}}"#),
        ] {
            let ari = seen(status, wait, body).unwrap();
            assert_eq!((ari.window, asks_again_in(&ari)), (None, 6 * 3600), "{status} {body}");
        }
    }

    #[test]
    fn what_passes_is_an_error_with_the_servers_wait() {
        for status in [429, 500, 503] {
            let failure = seen(status, Some("120"), "").unwrap_err().failure(now(), false);
            assert_eq!(failure.retry_after.unwrap().to_string(), "2026-01-01T00:02:00Z");
        }
    }
}
