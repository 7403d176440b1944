//! The integration tests: one binary, one file per flow.

#[path = "../real/mod.rs"]
mod real;
