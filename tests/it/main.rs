//! The integration tests: one binary, one file per flow.
#![allow(unreachable_pub, reason = "one crate that nobody else uses: pub means to its modules")]
#![allow(clippy::unwrap_used, reason = "what serves tests ends as tests do")]

mod habits;
mod licences;
mod ranks;
mod source;

#[path = "../real/mod.rs"]
mod real;
