//! What a CA says when it says no: everything of it is kept, nothing of it is trusted.

use std::fmt;
use std::time::Duration;

use ::http::{HeaderMap, Response, header};
use jiff::Timestamp;
use serde_json::Value;

use crate::cert::{Identifier, span};

/// An answer with a status of 400 or more.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.words())]
pub struct Refusal {
    /// HTTP status; 0 when the problem came inside of an answer.
    pub status: u16,
    /// When the CA said to come back.
    pub retry_after: Option<RetryAfter>,
    /// What it said, when it spoke ACME.
    pub problem: Option<Problem>,
    /// The beginning of what it said when it did not.
    pub excerpt: String,
}

/// A problem document (RFC 7807, RFC 8555 section 6.7). Control characters are stripped, lengths
/// are capped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problem {
    /// The type without the prefix of ACME (`rateLimited`); as written when it is none of ACME's.
    pub kind: Option<String>,
    /// What happened, in the CA's words.
    pub detail: Option<String>,
    /// An URL for a person: terms to agree to, an account to unpause.
    pub instance: Option<String>,
    /// Per identifier (RFC 8555 section 6.7.1).
    pub subproblems: Vec<Subproblem>,
}

/// What is wrong with one identifier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subproblem {
    /// Which, when it says so in a way that we can read.
    pub identifier: Option<Identifier>,
    /// As in [`Problem`].
    pub kind: Option<String>,
    /// As in [`Problem`].
    pub detail: Option<String>,
}

/// When to come back (RFC 9110 section 10.2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryAfter {
    /// At a time of the server's clock, when it did not tell what that clock says now.
    At(Timestamp),
    /// After a while.
    In(Duration),
}

impl Refusal {
    /// Reads an answer that is an error.
    pub fn read(response: &Response<bytes::Bytes>) -> Self {
        let problem = Problem::read(response.body());
        let excerpt = match problem {
            Some(_) => String::new(),
            None => words(&String::from_utf8_lossy(response.body()), EXCERPT),
        };
        Self {
            status: response.status().as_u16(),
            retry_after: RetryAfter::read(response.headers()),
            problem,
            excerpt,
        }
    }

    /// The ACME error type without its prefix.
    pub fn kind(&self) -> Option<&str> {
        self.problem.as_ref()?.kind.as_deref()
    }

    /// What the CA said, in its own words.
    pub fn words(&self) -> String {
        match &self.problem {
            Some(problem) => problem.detail(),
            None if self.excerpt.is_empty() => format!("HTTP status {}", self.status),
            None => format!("HTTP status {}, {:?}", self.status, self.excerpt),
        }
    }
}

impl Problem {
    /// Reads a problem document leniently: servers leave out `detail`, or write prose as `type`.
    /// `None` when it is no JSON object with one of the members of a problem.
    pub fn read(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let text = |value: &Value, member: &str| {
            value.get(member).and_then(Value::as_str).map(|text| words(text, DETAIL))
        };
        let kind = |value: &Value| {
            let text = value.get("type").and_then(Value::as_str)?;
            Some(words(text.strip_prefix(PREFIX).unwrap_or(text), KIND))
        };
        if !["type", "detail", "status"].iter().any(|member| value.get(member).is_some()) {
            return None;
        }
        let subproblems = value.get("subproblems").and_then(Value::as_array);
        let subproblems = subproblems.into_iter().flatten().take(SUBPROBLEMS).map(|sub| {
            let name = sub.get("identifier").and_then(|i| i.get("value")).and_then(Value::as_str);
            Subproblem {
                identifier: name.and_then(|name| name.parse().ok()),
                kind: kind(sub),
                detail: text(sub, "detail"),
            }
        });
        Some(Self {
            kind: kind(&value),
            detail: text(&value, "detail"),
            instance: text(&value, "instance"),
            subproblems: subproblems.collect(),
        })
    }

    /// The words for a person: the detail with those per name, or at least the type.
    pub fn detail(&self) -> String {
        let mut text = self
            .detail
            .clone()
            .filter(|detail| !detail.is_empty())
            .or_else(|| self.kind.clone())
            .unwrap_or_else(|| "it gave no reason".to_owned());
        for sub in &self.subproblems {
            let detail = sub.detail.as_deref().or(sub.kind.as_deref()).unwrap_or("no reason");
            match &sub.identifier {
                Some(name) => text.push_str(&format!("; {name}: {detail}")),
                None => text.push_str(&format!("; {detail}")),
            }
        }
        words(&text, DETAIL)
    }

    /// The address where a person can lift a pause: Let's Encrypt says "rateLimited" for an account
    /// that it paused after weeks of failures, and no waiting helps.
    pub fn unpause(&self) -> Option<&str> {
        let texts = [self.instance.as_deref(), self.detail.as_deref()];
        texts
            .into_iter()
            .flatten()
            .flat_map(str::split_whitespace)
            .map(|word| word.trim_matches(['<', '>', '(', ')', ',', '"', '\'']))
            .map(|word| word.trim_end_matches('.'))
            .find(|word| word.starts_with("https://") && word.contains("unpause"))
    }
}

impl From<&instant_acme::Problem> for Problem {
    fn from(problem: &instant_acme::Problem) -> Self {
        let kind = |kind: &Option<String>| {
            kind.as_ref().map(|k| words(k.strip_prefix(PREFIX).unwrap_or(k), KIND))
        };
        let detail = |text: &Option<String>| text.as_ref().map(|text| words(text, DETAIL));
        let subproblems = problem.subproblems.iter().take(SUBPROBLEMS).map(|sub| Subproblem {
            identifier: sub
                .identifier
                .as_ref()
                .and_then(|i| i.authorized(false).to_string().parse().ok()),
            kind: kind(&sub.r#type),
            detail: detail(&sub.detail),
        });
        Self {
            kind: kind(&problem.r#type),
            detail: detail(&problem.detail),
            instance: None,
            subproblems: subproblems.collect(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail())
    }
}

impl RetryAfter {
    /// Reads the header: seconds, or a date, which is compared with the server's own `Date` so
    /// that our clock does not matter.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Self::In(Duration::from_secs(seconds.min(FARTHEST))));
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Some(Self::In(Duration::from_secs(FARTHEST)));
        }
        let at = http_date(text)?;
        let date = headers.get(header::DATE).and_then(|date| http_date(date.to_str().ok()?));
        Some(match date {
            Some(date) => Self::In(span(date, at)),
            None => Self::At(at),
        })
    }

    /// How long that is from `now`; at most a year.
    pub fn delay(self, now: Timestamp) -> Duration {
        let delay = match self {
            Self::At(at) => span(now, at),
            Self::In(delay) => delay,
        };
        delay.min(Duration::from_secs(FARTHEST))
    }

    /// The time that is meant.
    pub fn at(self, now: Timestamp) -> Timestamp {
        now.checked_add(self.delay(now)).unwrap_or(now)
    }
}

/// A CA's text for our logs: no control characters (terminals obey them), no more than `cap`
/// characters, blanks joined.
pub fn words(text: &str, cap: usize) -> String {
    let joined = text.chars().take(cap * 4 + 64).map(|c| if is_control(c) { ' ' } else { c });
    let joined: String = joined.collect();
    let joined = joined.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(cap) {
        Some((end, _)) => format!("{} ...", &joined[..end]),
        None => joined,
    }
}

/// Control characters, and those that turn the direction of writing.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An HTTP date (RFC 9110 section 5.6.7); `None` when it is none.
pub fn http_date(text: &str) -> Option<Timestamp> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser.parse_timestamp(text).ok()
}

const PREFIX: &str = "urn:ietf:params:acme:error:";

const KIND: usize = 100;

/// Long enough for the address of Let's Encrypt's unpause page, which holds a token.
const DETAIL: usize = 2000;

const EXCERPT: usize = 200;

const SUBPROBLEMS: usize = 100;

/// A year: what lies beyond is a mistake, and must not overflow.
const FARTHEST: u64 = 366 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Refusal {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Refusal::read(&response.body(bytes::Bytes::from(body.to_owned())).unwrap())
    }

    #[test]
    fn everything_a_problem_says_is_kept() {
        let refusal = answer(
            403,
            &[("retry-after", "60")],
            r#"{"type":"urn:ietf:params:acme:error:caa","detail":"no","instance":"https://ca/terms",
               "subproblems":[{"type":"urn:ietf:params:acme:error:dns","detail":"gone",
               "identifier":{"type":"dns","value":"a.example"}}]}"#,
        );
        assert_eq!(refusal.kind(), Some("caa"));
        assert_eq!(refusal.words(), "no; a.example: gone");
        assert_eq!(refusal.retry_after, Some(RetryAfter::In(Duration::from_secs(60))));
        let problem = refusal.problem.unwrap();
        assert_eq!(problem.instance.as_deref(), Some("https://ca/terms"));
        assert_eq!(problem.subproblems[0].kind.as_deref(), Some("dns"));
    }

    #[test]
    fn prose_as_type_and_a_missing_detail_do_no_harm() {
        let refusal = answer(500, &[], r#"{"type":"something broke","status":"x"}"#);
        assert_eq!(refusal.kind(), Some("something broke"));
        assert_eq!(refusal.words(), "something broke");
    }

    #[test]
    fn html_shows_its_beginning_without_control_characters() {
        let refusal =
            answer(502, &[], &format!("<h1>Bad\u{1b}[31m\n gateway</h1>{}", "x".repeat(9999)));
        assert!(refusal.problem.is_none());
        assert!(refusal.words().starts_with("HTTP status 502, \"<h1>Bad [31m gateway</h1>xxx"));
        assert!(refusal.words().len() < 300);
    }

    #[test]
    fn a_json_answer_that_is_no_problem_is_shown_as_it_is() {
        assert!(answer(404, &[], "[]").problem.is_none());
        assert!(answer(404, &[], "{\"a\":1}").problem.is_none());
    }

    #[test]
    fn the_address_of_the_unpause_page_is_found() {
        let problem =
            |detail: &str| Problem { detail: Some(detail.to_owned()), ..Problem::default() };
        let paused =
            problem("Your account is paused. Visit https://ca.example/sfe/v1/unpause?jwt=a.b.");
        assert_eq!(paused.unpause(), Some("https://ca.example/sfe/v1/unpause?jwt=a.b"));
        assert_eq!(problem("too many, see https://ca.example/limits").unpause(), None);
        let instance =
            Problem { instance: Some("https://ca.example/unpause".into()), ..Problem::default() };
        assert!(instance.unpause().is_some());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        let read = |headers: &[(&str, &str)]| answer(429, headers, "").retry_after;
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        assert_eq!(
            read(&[("retry-after", "3600")]).unwrap().at(now),
            "2026-11-23T01:00:00Z".parse().unwrap()
        );
        assert_eq!(
            read(&[("retry-after", date), ("date", "Fri, 31 Dec 1999 23:58:59 GMT")]),
            Some(RetryAfter::In(Duration::from_secs(60)))
        );
        assert_eq!(read(&[("retry-after", date)]).unwrap().delay(now), Duration::ZERO);
        for odd in ["", "soon", "-5", "1.5"] {
            assert_eq!(read(&[("retry-after", odd)]), None, "{odd}");
        }
        let far = read(&[("retry-after", "99999999999999999999999")]).unwrap();
        assert_eq!(far.delay(now).as_secs(), FARTHEST);
    }
}
