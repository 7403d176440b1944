//! What an error means: one table from what the CA said to what happens next and what a person can
//! do (RFC 8555 section 6.7, RFC 9773 section 5).

use jiff::Timestamp;

use crate::http::{self, Trouble};
use crate::state::{Failure, FailureClass};

use super::{Deed, Error, Problem};

/// When the same thing may be tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// Once a day: nothing changes by itself.
    Daily,
    /// As the back-off says, or the CA's `Retry-After`.
    Later,
    /// At once.
    Now,
}

/// What an error means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// For the next try.
    pub class: FailureClass,
    /// When that may be.
    pub retry: Retry,
    /// What a person can do, or why nobody needs to.
    pub advice: &'static str,
}

/// The one table: what `kind` of problem, with that HTTP status, means when it comes in answer to
/// `deed`. Rows are read from above; a row without kind or deed takes any.
pub fn judge(kind: Option<&str>, status: u16, deed: Deed) -> Verdict {
    // A server in trouble is no judge of our request, whatever it calls the trouble.
    let in_trouble = matches!(status, 500..) && kind != Some("rateLimited");
    let row = TABLE.iter().find(|row| {
        !in_trouble
            && kind.is_some_and(|kind| row.0.eq_ignore_ascii_case(kind))
            && row.1.is_none_or(|wanted| wanted == deed)
    });
    if let Some(row) = row {
        return Verdict { class: row.2, retry: row.3, advice: row.4 };
    }
    let (class, retry, advice) = match (status, deed) {
        (429, _) => (RateLimited, Later, LIMITED),
        (408 | 425, _) | (500.., _) => (Transient, Later, INNER),
        (404, Deed::Certificate) => (Transient, Later, "the CA may be slow to copy it"),
        // A problem without a status was found by the CA when it looked.
        (0, Deed::Authorization) => (Validation, Later, "see what it says"),
        (400..500, _) => {
            (Person, Daily, "nothing is known of this kind of refusal: see what it says")
        }
        _ => (Transient, Later, INNER),
    };
    Verdict { class, retry, advice }
}

impl Error {
    /// What it means for the next try, in words for a person.
    pub fn failure(&self, now: Timestamp, rehearsal: bool) -> Failure {
        let verdict = self.verdict();
        let (problem, retry_after) = match self {
            Self::Refused { refusal, .. } => (refusal.problem.as_ref(), refusal.retry_after),
            Self::Validation(all) => (all.first().map(|r| &r.problem), None),
            Self::OrderInvalid(problem) => (Some(&**problem), None),
            Self::Pending { retry_after, .. } => (None, *retry_after),
            _ => (None, None),
        };
        let mut text = self.to_string();
        if let Some(address) = problem.and_then(Problem::unpause) {
            text = format!("the CA has paused this account or name; lift it at {address}");
        } else if !verdict.advice.is_empty() {
            text = format!("{text}; {}", verdict.advice);
        }
        if let Some(terms) = problem
            .filter(|p| p.kind.as_deref() == Some("userActionRequired"))
            .and_then(|p| p.instance.as_deref())
        {
            text = format!("{text}: {terms}");
        }
        Failure {
            at: now,
            class: verdict.class,
            text,
            detail: problem.map(Problem::detail),
            problem: problem.and_then(|p| p.kind.clone()),
            retry_after: retry_after.map(|r| r.at(now)),
            rehearsal,
        }
    }

    /// When the same thing may be tried again.
    pub fn retry(&self) -> Retry {
        self.verdict().retry
    }

    /// Whether it heals without anybody doing anything.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.verdict().class, Transient | RateLimited)
    }

    fn verdict(&self) -> Verdict {
        let verdict = |class, retry, advice| Verdict { class, retry, advice };
        match self {
            Self::Account { .. } => verdict(Person, Daily, ""),
            Self::Answer { .. } => verdict(Transient, Later, "it is tried again by itself"),
            Self::Certificate(_) => {
                verdict(Transient, Later, "it is thrown away, and ordered anew by itself")
            }
            Self::Challenge { .. } => verdict(Transient, Later, ""),
            Self::Http { source, .. } => of_http(source),
            Self::Key(_) => verdict(Person, Daily, ""),
            Self::NoChallenge { .. } => verdict(Person, Daily, ""),
            Self::OrderInvalid(problem) => of_problem(problem, 0, Deed::Finalize),
            Self::OrderLost { .. } => verdict(Transient, Now, "a new one is made"),
            Self::Pending { .. } => {
                verdict(Transient, Later, "the same order is gone on with later")
            }
            Self::Refused { deed, refusal } => match &refusal.problem {
                Some(problem) => of_problem(problem, refusal.status, *deed),
                None => judge(None, refusal.status, *deed),
            },
            Self::ReplacesRefused { .. } => {
                verdict(Transient, Now, "it is ordered as a certificate of its own")
            }
            Self::Validation(all) => {
                worst(all.iter().map(|r| of_problem(&r.problem, 0, Deed::Authorization)))
            }
        }
    }
}

/// The verdict on a problem, and on those inside of it.
fn of_problem(problem: &Problem, status: u16, deed: Deed) -> Verdict {
    if problem.unpause().is_some() {
        return Verdict { class: Person, retry: Daily, advice: "" };
    }
    let own = judge(problem.kind.as_deref(), status, deed);
    if problem.subproblems.is_empty() || own.class == RateLimited {
        return own;
    }
    let subs = problem.subproblems.iter();
    worst(subs.map(|sub| judge(sub.kind.as_deref(), status, deed)))
}

/// One that needs a person outweighs all others: waiting for the rest would be in vain.
fn worst(all: impl Iterator<Item = Verdict>) -> Verdict {
    let order = [Person, RateLimited, Validation, Transient];
    let place = |v: &Verdict| order.iter().position(|class| *class == v.class);
    all.min_by_key(place).unwrap_or(Verdict { class: Transient, retry: Later, advice: INNER })
}

fn of_http(error: &http::Error) -> Verdict {
    let (class, retry) = match error {
        http::Error::Transport { trouble: Trouble::ProxyCredentials, .. }
        | http::Error::Anchor { .. }
        | http::Error::Client(_)
        | http::Error::Insecure { .. }
        | http::Error::Proxy { .. }
        | http::Error::Url { .. } => (Person, Daily),
        http::Error::TooLong { .. } | http::Error::Transport { .. } => (Transient, Later),
    };
    Verdict { class, retry, advice: "" }
}

use FailureClass::{Person, RateLimited, Transient, Validation};
use Retry::{Daily, Later, Now};

type Row = (&'static str, Option<Deed>, FailureClass, Retry, &'static str);

const INNER: &str = "the CA is in trouble; it is tried again by itself";

const LIMITED: &str = "the CA's limit is reached; it is tried again when the CA allows";

const KEYS: &str = "a new key is made; if that does not help, choose another kind of key";

/// Kind, deed, class, retry, advice.
const TABLE: &[Row] = &[
    (
        "accountDoesNotExist",
        None,
        Person,
        Daily,
        "the CA has removed the account, and a new registration did not help",
    ),
    ("alreadyReplaced", None, Transient, Now, "it is ordered as a certificate of its own"),
    ("alreadyRevoked", None, Person, Daily, "the certificate is revoked already"),
    ("badCSR", None, Person, Daily, KEYS),
    (
        "badNonce",
        None,
        Transient,
        Now,
        "the CA kept refusing its own nonces; it is tried again by itself",
    ),
    ("badPublicKey", None, Person, Daily, KEYS),
    ("badRevocationReason", None, Person, Daily, "the CA does not know that reason"),
    (
        "badSignatureAlgorithm",
        None,
        Person,
        Daily,
        "the CA does not take ES256 signatures: it cannot be used",
    ),
    (
        "caa",
        None,
        Person,
        Daily,
        "a CAA record in the DNS forbids this CA: allow it there, or use another CA",
    ),
    ("conflict", Some(Deed::NewOrder), Transient, Now, "it is ordered as a certificate of its own"),
    (
        "connection",
        None,
        Validation,
        Later,
        "the CA could not connect: check that port 80 of this name is open from the internet and forwarded to this machine",
    ),
    (
        "dns",
        None,
        Validation,
        Later,
        "the CA could not look the name up: check its A, AAAA and DNSSEC records",
    ),
    (
        "externalAccountRequired",
        None,
        Person,
        Daily,
        "this CA needs an account with it: set eab = { key-id, hmac-file }",
    ),
    (
        "incorrectResponse",
        None,
        Validation,
        Later,
        "somebody else answers on port 80 of this name: check where its A and AAAA records lead",
    ),
    ("invalidContact", None, Person, Daily, "correct contact"),
    (
        "invalidProfile",
        None,
        Person,
        Daily,
        "this CA has no such profile: correct or remove profile",
    ),
    ("malformed", None, Person, Daily, "most likely a bug of pbxcert: please report it"),
    ("orderNotReady", None, Transient, Now, "the order is looked at again"),
    ("rateLimited", None, RateLimited, Later, LIMITED),
    (
        "rejectedIdentifier",
        None,
        Person,
        Daily,
        "this CA does not issue for that name: correct names, or use another CA",
    ),
    ("serverInternal", None, Transient, Later, INNER),
    (
        "tls",
        None,
        Validation,
        Later,
        "the CA was led to https and found no TLS there: check the redirect on port 80",
    ),
    (
        "unauthorized",
        Some(Deed::Authorization),
        Validation,
        Later,
        "somebody else answers on port 80 of this name: check where its A and AAAA records lead",
    ),
    ("unauthorized", Some(Deed::Challenge), Validation, Later, "the CA does not let us answer it"),
    ("unauthorized", Some(Deed::Finalize), Validation, Later, "a name has to be validated again"),
    ("unauthorized", None, Person, Daily, "the account may have been deactivated: ask the CA"),
    ("unsupportedContact", None, Person, Daily, "correct contact"),
    (
        "unsupportedIdentifier",
        None,
        Person,
        Daily,
        "this CA does not issue for that kind of name: correct names, or use another CA",
    ),
    ("userActionRequired", None, Person, Daily, "the CA wants a person to agree to something"),
];

#[cfg(test)]
mod tests;
