//! pbxcert keeps the TLS certificates of a telephone system valid, live and trusted.
//!
//! One sentence: **observe → plan → act, for each certificate and each service, until the plan
//! says wait**. Whatever the source of a certificate, everything after `store.commit` is one and
//! the same line: deploy.
//!
//! # Ranks
//!
//! A module imports **only lower ranks**, never a sibling of its own rank; `tests/it/ranks.rs`
//! fails on an upward or sideways import.
//!
//! ```text
//! rank module     purpose
//! 11   cli        the verbs; the only place that prints
//! 10   daemon     one loop: timer | watch | signal
//!  8   reconcile  one certificate, or one service: observe -> plan -> act until Wait
//!      check      the daily check: gather facts, ask policy, one verdict on the whole
//!  7   deploy     one service: baseline -> install -> reload -> verify -> promote, else roll back
//!  6   world      the seams in one struct, built for daemon and CLI alike
//!      evidence   facts for preflight: DNS, CAA, own addresses, ports, responder, directory
//!  5   store      revisions, service table, state, journal, history
//!      acme       trait Authority + instant-acme, driven in steps; challenge solvers
//!      service    trait Reloader + hook implementation; scratch handshake as the service's user
//!      probe      trait Prober: TLS handshake -> Served
//!      alert      trait Notifier; one file per channel
//!      confine    uploads taken apart in a child that can do nothing but answer
//!      feed       intermediates by AIA, lists of revoked certificates, advisories: fetched, bounded
//!      discover   what is installed here, in which version; updates that wait
//!      host       facts of this machine: clock, load, disks, old workers, identity
//!      watch      file events -> debounced wake; says only "look again"
//!  4   hook       run one executable: environment in, time limit, exit code and output out
//!      dns        A, AAAA and CAA as a CA asks for them
//!      http       the one HTTP client: proxy, roots, limits
//!      tls        client set-up, capturing verifier, scratch handshake in memory
//!      sip        OPTIONS, MESSAGE, digest
//!  3   policy     decisions as pure values: no disk, network, clock or randomness
//!  2   state      what is remembered and what is seen
//!  1   config     validated and final
//!  0   cert       identifiers, leaf facts, bundles, keys
//!      clock      trait Clock
//!      minisign   signatures of documents, made and checked
//!      fs         atomic replace, exchange, kernel locks, opening without following links
//! ```
//!
//! # Flows
//!
//! - **ACME renewal.** daemon timer → [`reconcile`] → `store.observe(name)` →
//!   [`policy::plan::next`] = `Issue(reason)` → `authority.step(order)` until done, the store
//!   remembering the order between steps → `Bundle::parse` → `store.commit` → a revision → the
//!   plan of each service that wants it = `Deploy`.
//! - **Deploy**, per service: baseline probe → stage → scratch handshake → install → syntax test →
//!   reload → probe → [`policy::verdict`] → `Verified` → `store.promote`. Broken by us: saved
//!   files back → recover → probe → `RolledBack` or `Stuck`.
//! - **Daily check.** daemon timer or `pbxcert check` → [`check`] gathers facts side by side →
//!   [`policy::health`] says what they mean → a report, and findings for the alerts.
//!
//! Kernel locks are taken in the order certificate → service; those of an issuer (account, ledger)
//! and of the node (history) are held for one call only, inside the others, so that nothing can
//! wait in a circle: the ledger is written in the middle of a certificate's work.
//!
//! State on disk is the only truth. Below rank 7 no one reads a clock: `now` is the last argument.

pub mod acme;
pub mod alert;
pub mod cert;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod confine;
pub mod daemon;
pub mod deploy;
pub mod discover;
pub mod dns;
pub mod evidence;
pub mod feed;
pub mod fs;
pub mod hook;
pub mod host;
pub mod http;
pub mod minisign;
pub mod policy;
pub mod probe;
pub mod reconcile;
pub mod service;
pub mod sip;
pub mod state;
pub mod store;
pub mod tls;
pub mod watch;
pub mod world;
