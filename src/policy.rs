//! Decisions as pure values: nothing here touches disk, network, clock or randomness.
//!
//! - [`plan`]: the one next step of a certificate or service, and why.
//! - [`schedule`]: when a certificate is due, ARI, back-off; random times without randomness.
//! - [`alerts`]: findings, and what was told before, become the messages that are due.
//! - [`budget`]: what we allow ourselves to ask of a CA.
//! - [`advisory`]: known security issues of what is installed, by a signed document.
//! - [`version`]: which of two versions is the newer one.
//! - [`offline`]: days on which no source could be reached.
//! - [`updates`]: security updates that wait.
//! - [`address`]: which addresses can be reached from the internet.
//! - [`caa`]: what CAA records say about a CA.
//! - [`reach`]: whether the CA can reach us, and the mode that follows.
//! - [`preflight`]: facts of the way from the CA to us as a checklist.
//! - [`trust`]: whether phones will trust a new certificate as they trust the one that is served.
//! - [`verdict`]: what the endpoints say about a switch.
//! - [`calm`], [`window`]: when a service may be disturbed.
//! - [`daily`]: when the daily check runs.
//! - [`health`]: what its facts mean, and one verdict on the whole.
//! - [`identity`]: whether this may be a copy of another system.
//! - [`lint`]: will phones and trunks accept this certificate?
//! - [`words`]: what may be said of a certificate, and the observation behind it.
//! - [`findings`]: what is wrong with a certificate or service, and what can be done about it.
//! - [`remember`]: what a try leaves behind in the state.
//! - [`simulate`]: the same plan, run ahead.
//! - [`upload`]: whether an upload is taken.
//!
//! Times of our own that lie in the future (the clock went back) count for no longer than they
//! could have when they were written: [`schedule::holds_until`].

pub mod address;
pub mod advisory;
pub mod alerts;
pub mod budget;
pub mod caa;
pub mod calm;
pub mod daily;
pub mod findings;
pub mod health;
pub mod identity;
pub mod lint;
pub mod offline;
pub mod plan;
pub mod preflight;
pub mod reach;
pub mod remember;
pub mod schedule;
pub mod simulate;
pub mod trust;
pub mod updates;
pub mod upload;
pub mod verdict;
pub mod version;
pub mod window;
pub mod words;

#[cfg(test)]
mod samples;
