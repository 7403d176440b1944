//! What is remembered (on disk, by the store) and what is seen (for one decision).
//!
//! Types only; nothing here touches the disk or decides.

pub mod alert;
pub mod check;
pub mod facts;
mod finding;
pub mod host;
pub mod identity;
pub mod reach;
pub mod software;
pub mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::bundle::PrivateKey;
use crate::cert::top::Top;
use crate::cert::{Fingerprint, Identifier, KeyType, Leaf, Validity};
use crate::config::{Endpoint, OnTrustChange, ServiceSpec};

pub use finding::{Condition, Finding, Life, Next, Quote, Severity};

/// The schema number that this program writes into its state files.
pub const SCHEMA: u32 = 1;

// ---------------------------------------------------------------- certificates: shared/

/// What was asked of a CA. A certificate is renewed early when the configuration asks for
/// something else than what was *asked*, whatever the CA answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asked {
    /// The names.
    pub identifiers: BTreeSet<Identifier>,
    /// Kind of key.
    pub key: KeyType,
    /// Name of the issuer.
    pub issuer: String,
    /// Profile, if one was asked for.
    pub profile: Option<String>,
}

/// A committed bundle: a numbered folder that never changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Revision {
    /// Schema of this record.
    pub schema: u32,
    /// Its number, from 1.
    pub number: u64,
    /// What was asked; `None` when it came from outside.
    pub asked: Option<Asked>,
    /// Facts of the leaf.
    pub leaf: Leaf,
    /// How many certificates follow the leaf.
    pub chain_length: usize,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
}

impl Revision {
    /// Whether it only stands in for a certificate that is not there yet.
    pub fn is_placeholder(&self) -> bool {
        self.origin == Origin::Placeholder
    }
}

/// Where a revision came from. One text in the record, as it has always been.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "String", into = "String")]
pub enum Origin {
    /// A CA gave it.
    Authority {
        /// The certificate's URL (RFC 8555 section 7.4.2).
        url: String,
    },
    /// From elsewhere, in words.
    Other(String),
    /// Somebody put it at the targets of a service.
    Outside,
    /// Made here and signed by its own key, so that a service can start.
    Placeholder,
    /// Somebody uploaded it.
    Upload,
}

impl From<String> for Origin {
    fn from(text: String) -> Self {
        match text.as_str() {
            OUTSIDE => Self::Outside,
            PLACEHOLDER => Self::Placeholder,
            UPLOAD => Self::Upload,
            _ if text.contains("://") => Self::Authority { url: text },
            _ => Self::Other(text),
        }
    }
}

impl From<&str> for Origin {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority { url } => url,
            Self::Other(text) => text,
            Self::Outside => OUTSIDE,
            Self::Placeholder => PLACEHOLDER,
            Self::Upload => UPLOAD,
        })
    }
}

const OUTSIDE: &str = "from outside";

const PLACEHOLDER: &str = "placeholder";

const UPLOAD: &str = "upload";

/// What the planner remembers of a certificate. Written by the network role only.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct CertState {
    /// Schema of this record.
    pub schema: u32,
    /// Failures since the last success.
    pub backoff: Backoff,
    /// The last renewal information, kept with the certificate it speaks of.
    pub ari: Option<Ari>,
    /// Somebody asked for a renewal at this time, and it has not come yet.
    pub forced_at: Option<Timestamp>,
    /// That somebody also confirmed to go over the budget.
    pub over_budget: bool,
    /// The CA refused `replaces` for this certID: order without it.
    pub without_replaces: Option<String>,
    /// The last rehearsal that succeeded.
    pub rehearsed_at: Option<Timestamp>,
    /// Whether the CA can reach this host, and how that is known.
    pub reach: reach::ReachState,
    /// How the certificate is come by, where the source is `auto`.
    pub mode: reach::Mode,
    /// The upload that lies there and is incomplete, since `at`.
    pub waiting: Option<upload::UploadRecord>,
    /// What was last told of things in the drop folder that are no files to be taken.
    pub turned_away: Option<String>,
    /// When the mode became automatic again; `None`: it has always been, or is not.
    pub automatic_since: Option<Timestamp>,
    /// The last certificate of ours that the CA was seen to have taken back.
    pub revoked: Option<RevokedLeaf>,
}

/// A certificate that the CA took back, by its signed list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RevokedLeaf {
    /// Which.
    pub fingerprint: Fingerprint,
    /// When it was revoked, by the list.
    pub at: Timestamp,
}

/// Failures in a row. RFC 8555 has no rule; the table is in `policy::schedule`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Backoff {
    /// How many failed in a row.
    pub failures: u32,
    /// When the first of them failed.
    pub since: Option<Timestamp>,
    /// The last one.
    pub last: Option<Failure>,
    /// No try before this time.
    pub retry_at: Option<Timestamp>,
    /// What was asked when it failed: another wish starts afresh.
    pub asked: Option<Asked>,
    /// Rehearsals in a row that failed for other reasons than validation: after two the real order
    /// goes without.
    pub rehearsals: u32,
}

/// A failed try, in words and as a class.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What it means for the next try.
    pub class: FailureClass,
    /// What was tried and why it failed, for a person; control characters stripped.
    pub text: String,
    /// The CA's own words, if any.
    pub detail: Option<String>,
    /// The ACME error type without its prefix (`rateLimited`), if any.
    pub problem: Option<String>,
    /// The CA said: not before this time.
    pub retry_after: Option<Timestamp>,
    /// Whether it happened at the rehearsal directory (costs no production budget).
    pub rehearsal: bool,
}

/// What a failure means for the next try.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// Nobody but a person can change it (CAA, rejected name, terms ...): alert at once, and try
    /// daily all the same.
    Person,
    /// The CA said when to come back; not a failure of this host.
    RateLimited,
    /// Will heal by itself.
    Transient,
    /// The CA looked and did not find what it wanted: counts against the budget.
    Validation,
}

/// Renewal information (RFC 9773), stored together with the certificate it speaks of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ari {
    /// The certificate (RFC 9773 section 4.1).
    pub cert_id: String,
    /// The suggested window; `None` when the last answer was none.
    pub window: Option<Window>,
    /// Why, in the CA's words (an URL).
    pub explanation: Option<String>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When to ask again.
    pub ask_again_at: Timestamp,
}

/// A suggested renewal window: start inclusive, end exclusive.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Window {
    /// First moment.
    pub start: Timestamp,
    /// First moment after it.
    pub end: Timestamp,
}

/// What the issuer has given and refused us lately. One per issuer, under the issuer's lock.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Ledger {
    /// Schema of this record.
    pub schema: u32,
    /// Events of the last 8 days, oldest first.
    pub entries: Vec<LedgerEntry>,
    /// After damage: treat the budget as spent until then.
    pub spent_until: Option<Timestamp>,
}

/// One event at an issuer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LedgerEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: LedgerEvent,
}

/// What counts at an issuer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerEvent {
    /// A certificate for exactly these names was ordered to the end.
    Issued {
        /// The exact set.
        identifiers: BTreeSet<Identifier>,
        /// Inside an ARI window: does not count.
        exempt: bool,
    },
    /// A validation of this name failed.
    ValidationFailed {
        /// The name.
        identifier: Identifier,
    },
}

/// An account at a CA (RFC 8555 section 7.1.2); remembered per issuer and
/// goal: the rehearsal directory knows another one.
#[derive(Clone, Debug)]
pub struct Account {
    /// The directory it belongs to.
    pub directory: String,
    /// Its key, ECDSA P-256; remembered before newAccount is sent.
    pub key: PrivateKey,
    /// Its URL, once the CA has answered.
    pub url: Option<String>,
    /// The contacts the CA was told.
    pub contact: Vec<String>,
}

/// An order under way: what must be remembered to go on after a crash. Stored before each side
/// effect; holds the key that the certificate will have.
///
/// RFC 8555 section 7.1.3.
#[derive(Clone, Debug)]
pub struct OrderJournal {
    /// What is asked.
    pub asked: Asked,
    /// The names in the order of the configuration (the first may become the common name).
    pub identifiers: Vec<Identifier>,
    /// Ways to prove control, by name, in the order to be tried.
    pub challenges: Vec<String>,
    /// certID of the certificate that this order replaces (RFC 9773 section 5).
    pub replaces: Option<String>,
    /// How far the order is to go.
    pub goal: Goal,
    /// The certificate's private key, made before the first request.
    pub key: PrivateKey,
    /// When it was begun.
    pub started_at: Timestamp,
    /// What was last remembered.
    pub stage: Stage,
}

/// How far an order is to go.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// To a certificate, at the issuer.
    Certificate,
    /// Until every name is validated, at the rehearsal directory.
    Rehearsal,
}

/// Where an order stands: each value is remembered *before* the side effect it names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "at")]
pub enum Stage {
    /// Nothing has been sent; next: make sure of the account and send newOrder.
    New,
    /// The order exists; next: look at it, publish challenge responses.
    Ordered {
        /// The order's URL.
        url: String,
    },
    /// Responses are published and pass the self-test; next: tell the CA to look.
    Published {
        /// The order's URL.
        url: String,
        /// Tokens to be removed afterwards, also after a crash.
        tokens: Vec<String>,
    },
    /// Every name is valid; next: finalize with the key's CSR.
    Finalizing {
        /// The order's URL.
        url: String,
    },
    /// The certificate is there; next: download it.
    Issued {
        /// The order's URL.
        url: String,
        /// The certificate's URL.
        certificate: String,
    },
    /// The chain has been downloaded.
    Downloaded {
        /// The certificate's URL.
        certificate: String,
        /// PEM as the CA sent it, not yet checked.
        chain: String,
    },
    /// The rehearsal's goal is reached.
    Rehearsed,
}

impl Stage {
    /// The order's URL, once there is one.
    pub fn order_url(&self) -> Option<&str> {
        match self {
            Self::Ordered { url }
            | Self::Published { url, .. }
            | Self::Finalizing { url }
            | Self::Issued { url, .. } => Some(url),
            Self::New | Self::Downloaded { .. } | Self::Rehearsed => None,
        }
    }

    /// One or two words for a person.
    pub fn word(&self) -> &'static str {
        match self {
            Self::New => "not sent yet",
            Self::Ordered { .. } => "ordered",
            Self::Published { .. } => "challenge published",
            Self::Finalizing { .. } => "validated",
            Self::Issued { .. } => "issued",
            Self::Downloaded { .. } => "downloaded",
            Self::Rehearsed => "rehearsed",
        }
    }
}

/// Everything the planner is shown of a certificate.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The newest revision whose files are whole.
    pub newest: Option<Revision>,
    /// What is remembered.
    pub state: CertState,
    /// Where an order under way stands, what it asked for and since when.
    pub order: Option<OrderSeen>,
    /// The issuer's ledger.
    pub ledger: Ledger,
    /// What is known of the time.
    pub time: Time,
    /// The CA cannot reach this host: without any certificate yet a placeholder is made.
    pub unreachable: bool,
    /// A valid certificate of somebody else that a service of this one has or serves: never
    /// replaced by a placeholder. Looked for only while there is no certificate of ours.
    pub foreign_in_service: Option<Foreign>,
    /// This may be a copy of another system, and nobody has answered yet: what has changed.
    pub possible_copy: Option<String>,
}

impl Observed {
    /// The newest revision that is more than a placeholder.
    pub fn certificate(&self) -> Option<&Revision> {
        self.newest.as_ref().filter(|newest| !newest.is_placeholder())
    }

    /// The newest revision when it is a placeholder.
    pub fn placeholder(&self) -> Option<&Revision> {
        self.newest.as_ref().filter(|newest| newest.is_placeholder())
    }
}

/// A certificate of somebody else in a service of ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreign {
    /// The service.
    pub service: String,
    /// Its last second.
    pub not_after: Timestamp,
}

/// An order under way, as the planner sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrderSeen {
    /// What it asked for.
    pub asked: Asked,
    /// How far it is to go.
    pub goal: Goal,
    /// Where it stands, as [`Stage::word`] says it.
    pub stage: &'static str,
    /// The order has an URL, so that going on costs no new order.
    pub sent: bool,
    /// When it was begun.
    pub started_at: Timestamp,
}

/// What is known of the clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Time {
    /// The kernel says synchronised, or the configuration says that there is no such thing.
    pub trusted: bool,
    /// A time that is certainly in the past: the newest of build time and every notBefore we hold.
    pub floor: Timestamp,
    /// When this machine was started, if known.
    pub boot_at: Option<Timestamp>,
}

impl Default for Time {
    fn default() -> Self {
        Self { trusted: true, floor: Timestamp::UNIX_EPOCH, boot_at: None }
    }
}

// ---------------------------------------------------------------- services: node/

/// What is remembered of a service. Written by the deploy role only.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ServiceState {
    /// Schema of this record.
    pub schema: u32,
    /// One entry per certificate that the service serves.
    pub pairs: BTreeMap<String, PairState>,
    /// When it was reloaded lately, oldest first (7 days).
    pub reloads: Vec<ReloadRecord>,
    /// When damaged files were mended lately, oldest first (a day).
    pub mended: Vec<Timestamp>,
    /// The latest look at each endpoint, by its address.
    pub seen: BTreeMap<String, Served>,
    /// The endpoints that spoke TLS when they were looked at, now or ever.
    pub answered: BTreeSet<String>,
    /// How many calls a reload would have ended, when that was last asked.
    pub calls: Option<Calls>,
    /// A reload that will end calls.
    pub announced: Option<Announcement>,
}

impl ServiceState {
    /// Takes note of a look.
    pub fn note(&mut self, seen: BTreeMap<String, Served>) {
        let alive = seen.iter().filter(|(_, served)| served.is_alive());
        self.answered.extend(alive.map(|(endpoint, _)| endpoint.clone()));
        self.seen.extend(seen);
    }

    /// The endpoints that count: all but those where nobody listens, nobody ever did, and of which
    /// nobody said that they are used. All of them where there is no other.
    pub fn in_use<'s>(&self, spec: &'s ServiceSpec) -> Vec<&'s Endpoint> {
        let is_used = |endpoint: &&Endpoint| {
            let name = endpoint.to_string();
            let closed = self.seen.get(&name).is_some_and(|s| s.answer == Answer::Closed);
            !endpoint.usual || !closed || self.answered.contains(&name)
        };
        let used: Vec<&Endpoint> = spec.endpoints.iter().filter(is_used).collect();
        if used.is_empty() { spec.endpoints.iter().collect() } else { used }
    }
}

/// How many calls a reload would end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Calls {
    /// When it was asked.
    pub at: Timestamp,
    /// How many; `None`: nobody can say.
    pub count: Option<u32>,
}

/// A reload that ends calls was announced.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Announcement {
    /// When it was announced.
    pub at: Timestamp,
    /// When it is to happen: the beginning of a window.
    pub takes_place: Timestamp,
    /// Revision per certificate that it brings in.
    pub revisions: BTreeMap<String, u64>,
}

/// A reload that was run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadRecord {
    /// When.
    pub at: Timestamp,
    /// Revision per certificate that it was to bring in.
    pub revisions: BTreeMap<String, u64>,
    /// A person asked for it: does not count against the budget.
    pub by_hand: bool,
}

/// What is remembered of one certificate in one service.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PairState {
    /// How far the revision below got.
    pub step: Step,
    /// The revision that is being, or was last, brought in.
    pub revision: Option<u64>,
    /// When `step` was reached.
    pub since: Option<Timestamp>,
    /// The files as they were installed: path -> SHA-256 in hex.
    pub files: BTreeMap<PathBuf, String>,
    /// What lay there before, kept until the next install.
    pub saved: Option<Saved>,
    /// What each endpoint served before the switch that is under way.
    pub baseline: BTreeMap<String, Served>,
    /// The last revision that was verified in service, and how.
    pub promoted: Option<Promotion>,
    /// Tries of this revision that could not even begin, in a row.
    pub failures: u32,
    /// No automatic try before this time.
    pub retry_at: Option<Timestamp>,
    /// A person's will.
    pub hold: Option<Hold>,
    /// Why the last try did not end in proof, for a person.
    pub problem: Option<String>,
    /// The hook as a person can run it, with what pbxcert would tell it, where that may help.
    pub by_hand: Option<String>,
    /// A person asked to deploy this revision now.
    pub forced: bool,
    /// The last revision that a person let go in although phones might not trust it.
    pub approved: Option<Approval>,
    /// The newest revision waits, because phones might not trust it.
    pub doubt: Option<Doubt>,
    /// When a drift of the files was first noticed: mending waits until they are quiet.
    pub drift_at: Option<Timestamp>,
    /// Pairs from outside that ours was put back over lately, oldest first.
    pub put_back: Vec<PutBack>,
}

/// A person's word that a revision may go in although phones might not trust it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Approval {
    /// Which.
    pub revision: u64,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A revision that waits because phones might not trust it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Doubt {
    /// Which.
    pub revision: u64,
    /// Since when.
    pub since: Timestamp,
    /// What is different from what is served, for a person.
    pub changes: String,
}

/// Ours was put back over a pair from outside.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PutBack {
    /// When.
    pub at: Timestamp,
    /// The leaf that lay there.
    pub fingerprint: Fingerprint,
    /// Which of ours was put back.
    pub revision: u64,
}

/// How far a revision got in a service.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Nothing was done yet.
    #[default]
    Waiting,
    /// The switch has been announced in the journal; the files may be old, new or in between.
    Installing,
    /// The files are in place, the service was not asked to take them yet.
    Installed,
    /// The reload ran; nothing has been judged.
    Reloaded,
    /// Every judged endpoint serves it.
    Proved,
    /// In place, and there is nothing that could be probed.
    Unproved,
    /// In place, reloaded, and the old one is still served.
    NotTaken,
    /// The switch back has been announced in the journal.
    RollingBack,
    /// It broke the service; what was there before is back.
    RolledBack,
    /// It broke the service and putting back did not help: a person is needed.
    Stuck,
}

/// What lay at the targets before a switch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Saved {
    /// The revision it was, if it was one of ours.
    pub revision: Option<u64>,
    /// Facts of the leaf, if there was a readable pair.
    pub leaf: Option<Leaf>,
    /// Whether there was anything.
    pub existed: bool,
}

/// A revision seen in service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Promotion {
    /// Which.
    pub revision: u64,
    /// Its leaf.
    pub fingerprint: Fingerprint,
    /// When.
    pub at: Timestamp,
    /// The endpoints that served it.
    pub endpoints: Vec<String>,
}

/// A revision that a person refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hold {
    /// This revision is not deployed by itself.
    pub refused: u64,
    /// Nor is any newer one: a person holds what is live.
    #[serde(default)]
    pub newer_too: bool,
    /// The revision that is to be in its place.
    pub instead: Option<u64>,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What a handshake showed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Served {
    /// When it was looked at.
    pub at: Timestamp,
    /// What was there.
    pub answer: Answer,
    /// TLS version, when a handshake got that far.
    pub protocol: Option<String>,
    /// What SIP OPTIONS answered, for information.
    pub options: Option<String>,
}

/// What an endpoint answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Answer {
    /// A certificate was shown.
    Certificate {
        /// Facts of the leaf.
        leaf: Box<Leaf>,
        /// Fingerprints of everything shown, leaf first.
        chain: Vec<Fingerprint>,
        /// Its upper end; `None` in a record that was written before this was looked at.
        #[serde(default)]
        top: Option<Top>,
        /// The handshake did not finish after that, and why (mutual TLS, say).
        unfinished: Option<String>,
    },
    /// A certificate was shown that cannot be read as X.509.
    Unreadable {
        /// Fingerprint of the bytes.
        fingerprint: Fingerprint,
        /// Why.
        reason: String,
    },
    /// Somebody listens, but there was no TLS handshake.
    NoHandshake {
        /// Why: reset, end of file, an alert, plain text, nothing within the limit.
        reason: String,
    },
    /// Nobody listens: refused.
    Closed,
    /// It speaks TLS, but none that pbxcert speaks (TLS 1.1 or CBC only), and its certificate could
    /// not be read in passing either: alive, but nothing can be said about what it serves.
    TooOld {
        /// What it speaks.
        reason: String,
    },
    /// No connection: timeout, no route, no such host.
    Unreachable {
        /// Why.
        reason: String,
    },
}

impl Served {
    /// Whether somebody speaks TLS there, however old.
    pub fn is_alive(&self) -> bool {
        matches!(
            self.answer,
            Answer::Certificate { .. } | Answer::Unreadable { .. } | Answer::TooOld { .. }
        )
    }

    /// Fingerprint of the leaf, when one was shown.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.answer {
            Answer::Certificate { leaf, .. } => Some(leaf.fingerprint),
            Answer::Unreadable { fingerprint, .. } => Some(*fingerprint),
            Answer::NoHandshake { .. }
            | Answer::Closed
            | Answer::TooOld { .. }
            | Answer::Unreachable { .. } => None,
        }
    }

    /// The upper end of the chain, when one was shown and looked at.
    pub fn top(&self) -> Option<&Top> {
        match &self.answer {
            Answer::Certificate { top, .. } => top.as_ref(),
            _ => None,
        }
    }

    /// Whether it was written before the upper end of a chain was looked at.
    pub fn is_of_old(&self) -> bool {
        matches!(self.answer, Answer::Certificate { top: None, .. })
    }

    /// The leaf, when a readable one was shown.
    pub fn leaf(&self) -> Option<&Leaf> {
        match &self.answer {
            Answer::Certificate { leaf, .. } => Some(leaf),
            _ => None,
        }
    }
}

/// What the targets of a pair look like on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FilesSeen {
    /// Byte for byte what was installed.
    AsInstalled,
    /// Something is missing or no pair can be read: what and why.
    Broken(String),
    /// A readable pair that is not ours.
    Foreign(Box<Leaf>),
    /// Nothing was ever installed by us.
    Untouched,
}

/// Everything the planner is shown of one certificate in one service.
#[derive(Clone, Debug)]
pub struct PairSeen {
    /// Name of the certificate.
    pub certificate: String,
    /// The newest revision whose files are whole.
    pub newest: Option<Revision>,
    /// The youngest leaf age at which it may be deployed.
    pub min_age: std::time::Duration,
    /// The name of who made the last certificate of the newest revision's chain.
    pub root: Option<String>,
    /// What is remembered.
    pub state: PairState,
    /// What is on disk.
    pub files: FilesSeen,
    /// The dates of the revision whose files were installed last, if it is still in the store.
    pub in_place: Option<Validity>,
    /// What lies at the targets came from outside, and serves as well as ours: whole, good for
    /// servers, and as trusted.
    pub outside_is_sound: bool,
    /// What the guard against a changed trust goes by; `None`: nothing is to be guarded.
    pub trust: Option<TrustSeen>,
}

/// What the guard against a changed trust goes by.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustSeen {
    /// What is to be done about a change.
    pub stance: OnTrustChange,
    /// The upper end of the chain of the newest revision, if that can be read.
    pub newest: Option<Top>,
    /// The endpoints whose chain leads to a root that is trusted here, or the issuer's.
    pub anchored: BTreeSet<String>,
    /// Where there is no endpoint: what was installed last, when its chain does.
    pub installed: Option<(Leaf, Option<Top>)>,
}

/// Everything the planner is shown of a service.
#[derive(Clone, Debug)]
pub struct ServiceSeen {
    /// Its certificates.
    pub pairs: Vec<PairSeen>,
    /// When it was reloaded lately.
    pub reloads: Vec<ReloadRecord>,
    /// When it was mended lately.
    pub mended: Vec<Timestamp>,
    /// When its endpoints were last looked at (the oldest of them); `None`: some never.
    pub looked_at: Option<Timestamp>,
    /// The latest look at each endpoint.
    pub seen: BTreeMap<String, Served>,
    /// Which certificate is expected at each endpoint.
    pub endpoints: BTreeMap<String, String>,
    /// A person waits: no pause between two reloads.
    pub by_hand: bool,
    /// How many calls a reload would have ended.
    pub calls: Option<Calls>,
    /// What was announced.
    pub announced: Option<Announcement>,
    /// How far those are that come before it.
    pub ahead: Vec<Ahead>,
}

/// A certificate in a service that has to have it before another one gets it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ahead {
    /// The service.
    pub service: String,
    /// The certificate, which both use.
    pub certificate: String,
    /// The revision that it was last brought to.
    pub revision: Option<u64>,
    /// How far that got.
    pub step: Step,
}

// ---------------------------------------------------------------- history

/// One line of history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The certificate, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The service, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The revision, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What happened, one word: `ordered`, `issued`, `installed`, `reloaded`, `proved` ...
    pub what: String,
    /// In words.
    pub text: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Installing => "installing",
            Self::Installed => "installed",
            Self::Reloaded => "reloaded",
            Self::Proved => "proved",
            Self::Unproved => "unproved",
            Self::NotTaken => "not taken",
            Self::RollingBack => "rolling back",
            Self::RolledBack => "rolled back",
            Self::Stuck => "stuck",
        })
    }
}
