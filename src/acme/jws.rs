//! What instant-acme lacks, once: newAccount with a key of ours, contacts and external account
//! binding together (RFC 8555 section 7.3). Signatures are ES256 and HS256 (RFC 7515).

use ::http::{Method, Request, Response, header};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cert::bundle::PrivateKey;
use crate::http::{self, Client};

use super::directory::Directory;
use super::refusal::{Refusal, words};
use super::{Deed, Error};

/// A MAC key that binds the new account to one that the CA knows (RFC 8555 section 7.3.4).
pub(super) struct Binding {
    pub(super) key_id: String,
    pub(super) mac: Zeroizing<Vec<u8>>,
}

/// Sends newAccount and returns the account's URL, also when it existed before.
pub(super) async fn register(
    client: &Client,
    directory: &Directory,
    key: &PrivateKey,
    contact: &[String],
    binding: Option<&Binding>,
) -> Result<String, Error> {
    let deed = Deed::Account;
    let signer = Signer::new(key)?;
    let mut payload = json!({ "termsOfServiceAgreed": true });
    if !contact.is_empty() {
        payload["contact"] = json!(contact);
    }
    if let Some(binding) = binding {
        payload["externalAccountBinding"] = bound(binding, &signer, &directory.new_account);
    }
    let payload = payload.to_string();
    let mut nonce = None;
    for _ in 0..NONCES {
        let current = match nonce.take() {
            Some(nonce) => nonce,
            None => fresh_nonce(client, &directory.new_nonce).await?,
        };
        let body = signer.sign(&current, &directory.new_account, &payload)?;
        let answer = post(client, &directory.new_account, body).await?;
        if answer.status().is_success() {
            return account_url(&answer);
        }
        let refusal = Refusal::read(&answer);
        if refusal.kind() != Some("badNonce") {
            return Err(Error::Refused { deed, refusal: Box::new(refusal) });
        }
        nonce = nonce_of(&answer);
    }
    let reason = format!("it refused its own nonces {NONCES} times");
    Err(Error::Answer { deed, reason })
}

fn account_url(answer: &Response<Bytes>) -> Result<String, Error> {
    let url = answer.headers().get(header::LOCATION).and_then(|url| url.to_str().ok());
    let reason = match url {
        Some(url) if url.starts_with("https://") => return Ok(url.to_owned()),
        Some(url) => format!("the account's address {:?} is not https", words(url, 200)),
        None => "it has no Location".to_owned(),
    };
    Err(Error::Answer { deed: Deed::Account, reason })
}

async fn fresh_nonce(client: &Client, url: &str) -> Result<String, Error> {
    let deed = Deed::Account;
    let request = Request::builder().method(Method::HEAD).uri(url).body(Bytes::new());
    let answer = send(client, request).await?;
    if !answer.status().is_success() {
        return Err(Error::Refused { deed, refusal: Box::new(Refusal::read(&answer)) });
    }
    let reason = "newNonce sent no nonce".to_owned();
    nonce_of(&answer).ok_or(Error::Answer { deed, reason })
}

/// A nonce, when it is one: malformed ones must be thrown away (RFC 8555 section 6.5.1).
fn nonce_of(answer: &Response<Bytes>) -> Option<String> {
    let nonce = answer.headers().get("replay-nonce")?.to_str().ok()?;
    BASE64_URL_SAFE_NO_PAD.decode(nonce).is_ok().then(|| nonce.to_owned())
}

async fn post(client: &Client, url: &str, body: String) -> Result<Response<Bytes>, Error> {
    let request = Request::post(url).header(header::CONTENT_TYPE, "application/jose+json");
    send(client, request.body(Bytes::from(body))).await
}

async fn send(
    client: &Client,
    request: Result<Request<Bytes>, ::http::Error>,
) -> Result<Response<Bytes>, Error> {
    let deed = Deed::Account;
    let request = request.map_err(|e| Error::Answer { deed, reason: e.to_string() })?;
    client.send(request).await.map_err(|source: http::Error| Error::Http { deed, source })
}

/// The account's public key, signed with the MAC key.
fn bound(binding: &Binding, signer: &Signer, url: &str) -> Value {
    let protected = json!({ "alg": "HS256", "kid": binding.key_id, "url": url });
    let protected = BASE64_URL_SAFE_NO_PAD.encode(protected.to_string());
    let payload = BASE64_URL_SAFE_NO_PAD.encode(signer.jwk().to_string());
    let mac = hmac::Key::new(hmac::HMAC_SHA256, &binding.mac);
    let tag = hmac::sign(&mac, format!("{protected}.{payload}").as_bytes());
    json!({
        "protected": protected,
        "payload": payload,
        "signature": BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref()),
    })
}

/// Reads a MAC key as CAs print it: base64url or base64, with padding or without.
pub(super) fn mac_key(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text: String = text
        .trim()
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '+' => '-',
            '/' => '_',
            c => c,
        })
        .collect();
    let text = Zeroizing::new(text);
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.as_str()).ok().filter(|b| !b.is_empty())?;
    Some(Zeroizing::new(bytes))
}

struct Signer {
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(key: &PrivateKey) -> Result<Self, Error> {
        let unfit =
            || crate::cert::Error::Key("the account's key is no ECDSA P-256 key".to_owned());
        let PrivateKeyDer::Pkcs8(der) = key.to_rustls() else { return Err(unfit().into()) };
        let der = der.secret_pkcs8_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        Ok(Self { pair: pair.map_err(|_| unfit())? })
    }

    /// The public key (RFC 7517), members in the order of RFC 7638.
    fn jwk(&self) -> Value {
        // An uncompressed point: 4, then both coordinates.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({
            "crv": "P-256",
            "kty": "EC",
            "x": BASE64_URL_SAFE_NO_PAD.encode(x),
            "y": BASE64_URL_SAFE_NO_PAD.encode(y),
        })
    }

    fn sign(&self, nonce: &str, url: &str, payload: &str) -> Result<String, Error> {
        let protected = json!({ "alg": "ES256", "jwk": self.jwk(), "nonce": nonce, "url": url });
        let protected = BASE64_URL_SAFE_NO_PAD.encode(protected.to_string());
        let payload = BASE64_URL_SAFE_NO_PAD.encode(payload);
        let text = format!("{protected}.{payload}");
        let signature = self
            .pair
            .sign(&SystemRandom::new(), text.as_bytes())
            .map_err(|_| crate::cert::Error::Key("the account's key does not sign".to_owned()))?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref());
        Ok(json!({ "protected": protected, "payload": payload, "signature": signature })
            .to_string())
    }
}

/// Ten rounds of the three tries that instant-acme makes elsewhere.
const NONCES: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_key_is_read_as_every_ca_prints_it() {
        for text in ["-_-_AAE", "+/+/AAE=", "-_-_AAE=\n", " +/+/AAE "] {
            assert_eq!(mac_key(text).unwrap().as_slice(), [0xfb, 0xff, 0xbf, 0, 1], "{text:?}");
        }
        for text in ["", "=", "a b", "!!!!"] {
            assert!(mac_key(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_key_that_cannot_sign_is_an_error() {
        let key = PrivateKey::generate(crate::cert::KeyType::EcdsaP384).unwrap();
        assert!(Signer::new(&key).is_err());
    }
}
