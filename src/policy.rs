//! Decisions as pure values: nothing here touches disk, network, clock or randomness.
//!
//! - [`plan`]: the one next step of a certificate or service, and why.
//! - [`schedule`]: when a certificate is due, ARI, back-off; random times without randomness.
//! - [`budget`]: what we allow ourselves to ask of a CA.
//! - [`verdict`]: what the endpoints say about a switch.
//! - [`calm`], [`window`]: when a service may be disturbed.
//! - [`lint`]: will phones and trunks accept this certificate?
//! - [`words`]: what may be said of a certificate, and the observation behind it.
//! - [`remember`]: what a try leaves behind in the state.
//! - [`simulate`]: the same plan, run ahead.
//! - [`upload`]: whether an upload is taken.
//!
//! Times of our own that lie in the future (the clock went back) count for no longer than they
//! could have when they were written: [`schedule::holds_until`].

pub mod budget;
pub mod calm;
pub mod lint;
pub mod plan;
pub mod remember;
pub mod schedule;
pub mod simulate;
pub mod upload;
pub mod verdict;
pub mod window;
pub mod words;

#[cfg(test)]
mod samples;
