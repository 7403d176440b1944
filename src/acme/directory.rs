//! The directory of a CA (RFC 8555 section 7.1.1), and what is remembered of it while it is fresh.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use url::Url;

use crate::http;

use super::refusal::{Refusal, words};
use super::{Deed, Error};

/// Where a CA takes what, and what it says about itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    /// RFC 9773.
    pub(super) renewal_info: Option<String>,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// What a CA says about itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) terms_of_service: Option<String>,
    #[serde(default)]
    pub(super) external_account_required: bool,
    /// Certificate profiles by name.
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, serde_json::Value>,
}

impl Directory {
    /// Fetches it; returns its bytes too, because instant-acme wants to read it itself.
    pub(super) async fn fetch(client: &http::Client, url: &str) -> Result<(Self, Bytes), Error> {
        let deed = Deed::Directory;
        let answer = client.get(url).await.map_err(|source| Error::Http { deed, source })?;
        if !answer.status().is_success() {
            return Err(Error::Refused { deed, refusal: Box::new(Refusal::read(&answer)) });
        }
        let body = answer.into_body();
        Ok((Self::read(&body)?, body))
    }

    fn read(body: &[u8]) -> Result<Self, Error> {
        let deed = Deed::Directory;
        let directory: Self = serde_json::from_slice(body).map_err(|e| Error::Answer {
            deed,
            reason: format!(
                "it is no ACME directory ({}): {:?}",
                words(&e.to_string(), 200),
                words(&String::from_utf8_lossy(body), 100)
            ),
        })?;
        // CVE-2025-54799: a directory fetched over https may still send us elsewhere.
        let all = [&directory.new_nonce, &directory.new_account, &directory.new_order];
        for url in all.into_iter().chain(&directory.renewal_info) {
            let https = Url::parse(url).is_ok_and(|url| url.scheme() == "https");
            if !https {
                let source = http::Error::Insecure { url: words(url, 200) };
                return Err(Error::Http { deed, source });
            }
        }
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_tls_is_refused() {
        let text =
            r#"{"newNonce":"https://ca/n","newAccount":"http://ca/a","newOrder":"https://ca/o"}"#;
        let error = Directory::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the request for its directory did not reach the CA: http://ca/a is refused: only \
             https is safe here"
        );
    }

    #[test]
    fn html_is_no_directory() {
        let error = Directory::read(b"<html>\x1b[2Jhello").unwrap_err().to_string();
        assert!(error.contains("it is no ACME directory"), "{error}");
        assert!(error.ends_with("\"<html> [2Jhello\""), "{error}");
    }
}
