//! What is taken out of a bundle: secrets, people, and where they can be reached.
//!
//! The names of certificates and hosts stay: they are public in certificate transparency logs, and
//! nobody can help without them. Private and loopback addresses stay: they say how a network is
//! built, not whose it is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::policy::address::is_reserved;

/// Keys of JSON whose values people wrote about people.
const ABOUT_PEOPLE: [&str; 3] = ["by", "held-by", "note"];

/// Replaces the same by the same, so that one can still see what belongs together.
#[derive(Default)]
pub(super) struct Redaction {
    seen: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

impl Redaction {
    /// The same without what is nobody's business.
    pub(super) fn of(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.of(value)).collect(),
            Value::Object(entries) => entries
                .into_iter()
                .map(|(key, value)| {
                    let value = match value {
                        // A time under such a key is one.
                        Value::String(text)
                            if ABOUT_PEOPLE.contains(&key.as_str())
                                && text.parse::<jiff::Timestamp>().is_err() =>
                        {
                            Value::String(self.instead("person", &text))
                        }
                        other => self.of(other),
                    };
                    (self.text(&key), value)
                })
                .collect(),
            other => other,
        }
    }

    fn text(&mut self, text: &str) -> String {
        if text.contains("PRIVATE KEY") {
            return "<key>".to_owned();
        }
        let is_end = |c: char| c.is_whitespace() || "\"'<>()`,;|{}".contains(c);
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(is_end).unwrap_or(rest.len());
            let (token, after) = rest.split_at(word);
            out.push_str(&self.token(token));
            let mut chars = after.chars();
            out.extend(chars.next());
            rest = chars.as_str();
        }
        out
    }

    fn token(&mut self, token: &str) -> String {
        if let Some((scheme, rest)) = token.split_once("://") {
            return self.url(scheme, rest);
        }
        if let Some((before, after)) = token.split_once('@')
            && !before.is_empty()
            && !after.is_empty()
        {
            return self.instead("address", token);
        }
        let (host, port) = host_and_port(token);
        match host.parse::<IpAddr>() {
            Ok(ip) if !is_reserved(ip) => self.instead("ip", host) + port,
            _ => token.to_owned(),
        }
    }

    /// Scheme and host: whoever knows the rest of the address of a webhook can write there.
    fn url(&mut self, scheme: &str, rest: &str) -> String {
        let (host, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = self.token(host);
        let path = if matches!(path, "" | "/") { path } else { "/..." };
        format!("{scheme}://{host}{path}")
    }

    fn instead(&mut self, kind: &'static str, text: &str) -> String {
        if let Some(there) = self.seen.get(text) {
            return there.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("<{kind}-{count}>");
        self.seen.insert(text.to_owned(), name.clone());
        name
    }
}

/// `203.0.113.7:5061`, `[2001:db8::1]:5061`, or an address alone; what follows it is kept.
fn host_and_port(token: &str) -> (&str, &str) {
    if let Some(rest) = token.strip_prefix('[')
        && let Some((host, port)) = rest.split_once(']')
    {
        return (host, port);
    }
    let end = token.trim_end_matches(['.', ':', '/', '?', '!']);
    if end.parse::<IpAddr>().is_ok() {
        return (end, &token[end.len()..]);
    }
    match token.rfind([':', '/']) {
        Some(at) if token[..at].parse::<IpAddr>().is_ok() => token.split_at(at),
        _ => (token, ""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_tokens_and_public_addresses_go_and_the_same_stays_the_same() {
        let value = json!({
            "to": ["Night <night@hotel.example>", "night@hotel.example"],
            "sip": "sip:100@pbx.example",
            "hook": "https://hooks.slack.example/services/T000/B000/XXXX",
            "heartbeat": "https://user:pass@kuma.example/api/push/1a2b?status=up",
            "directory": "https://acme.example/",
            "endpoint": "sips://8.8.4.4:5061 and 8.8.4.4, [2600::1]:443. sips://127.0.0.1:5061",
            "private": "192.168.1.10 is behind 100.64.1.1",
            "by": "alice",
            "held-by": "alice",
            "until": { "by": "2026-12-01T00:00:00Z" },
            "pem": "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n",
        });
        let seen = Redaction::default().of(value).to_string();
        for gone in ["night@", "100@", "T000", "1a2b", "pass", "8.8.4.4", "2600::1", "alice", "abc"]
        {
            assert!(!seen.contains(gone), "{gone}: {seen}");
        }
        for kept in [
            "https://hooks.slack.example/...",
            "https://kuma.example/...",
            "https://acme.example/",
            "sips://<ip-1>:5061 and <ip-1>, <ip-2>:443.",
            "sips://127.0.0.1:5061",
            "192.168.1.10",
            "2026-12-01T00:00:00Z",
            "Night <<address-",
        ] {
            assert!(seen.contains(kept), "{kept}: {seen}");
        }
    }
}
