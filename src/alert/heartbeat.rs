//! A sign of life for somebody who notices when it stays away.
//!
//! An address with `status=` in its query (a push monitor of Uptime Kuma) is asked with `status=up`
//! or `status=down` and `msg=`; every other one gets a POST with the verdict as text, to `/fail`
//! behind the address when it is critical (healthchecks.io, Better Stack and others).

use bytes::Bytes;
use http::{Request, header};
use url::Url;

use super::{Error, LIMIT, text, web};
use crate::config::alerts::{Address, AlertSpec};
pub use crate::state::check::Verdict;

/// Sends a sign of life to every heartbeat of the configuration; `words` is one line that says
/// more.
///
/// # Errors
///
/// One for each that did not take it.
pub async fn beat(spec: &AlertSpec, verdict: Verdict, words: &str) -> Vec<Error> {
    let beats = spec.heartbeats.iter().map(|address| async move {
        let sent = tokio::time::timeout(LIMIT, one(spec, address, verdict, words)).await;
        let late = || Err(format!("no answer within {} s", LIMIT.as_secs()));
        let reason = sent.unwrap_or_else(|_| late()).err()?;
        Some(Error::Failed(format!("{}: {reason}", web::place(address))))
    });
    futures_util::future::join_all(beats).await.into_iter().flatten().collect()
}

async fn one(
    spec: &AlertSpec,
    address: &Address,
    verdict: Verdict,
    words: &str,
) -> Result<(), String> {
    let url = web::url(address)?;
    let words = text::line(&format!("{}: {words}", verdict.word()), 500);
    let request = request(&url, verdict, words).map_err(|_| "its address is none".to_owned())?;
    web::send(request, &url, &[], spec.proxy.as_ref(), None).await
}

fn request(url: &Url, verdict: Verdict, words: String) -> Result<Request<Bytes>, http::Error> {
    let mut url = url.clone();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if pairs.iter().any(|(name, _)| name == "status") {
        let rest = pairs.iter().filter(|(name, _)| name != "status" && name != "msg");
        let status = if verdict == Verdict::Critical { "down" } else { "up" };
        url.query_pairs_mut()
            .clear()
            .extend_pairs(rest)
            .append_pair("status", status)
            .append_pair("msg", &words);
        return Request::get(url.as_str()).body(Bytes::new());
    }
    if verdict == Verdict::Critical {
        let path = format!("{}/fail", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Request::post(url.as_str())
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Bytes::from(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str, verdict: Verdict) -> (String, String, String) {
        let request = request(&url.parse().unwrap(), verdict, "ok: all & well".into()).unwrap();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        (request.method().to_string(), request.uri().to_string(), body)
    }

    #[test]
    fn healthchecks_are_posted_to_and_fail_behind_the_address() {
        let url = "https://hc.example/ping/1-2-3";
        let (method, uri, body) = asked(url, Verdict::Warning);
        assert_eq!((method.as_str(), uri.as_str(), body.as_str()), ("POST", url, "ok: all & well"));
        assert_eq!(asked(url, Verdict::Critical).1, "https://hc.example/ping/1-2-3/fail");
        assert_eq!(
            asked("https://hc.example/p/?a=b", Verdict::Critical).1,
            "https://hc.example/p/fail?a=b"
        );
    }

    #[test]
    fn a_push_monitor_is_told_up_or_down_in_its_query() {
        let url = "https://kuma.example/api/push/tok?status=up&msg=OK&ping=";
        let (method, uri, body) = asked(url, Verdict::Ok);
        assert_eq!((method.as_str(), body.as_str()), ("GET", ""));
        assert_eq!(uri, "https://kuma.example/api/push/tok?ping=&status=up&msg=ok%3A+all+%26+well");
        assert!(asked(url, Verdict::Critical).1.contains("status=down"));
    }
}
