//! The integration tests: one binary, one file per flow.

mod acme_flow;
mod ca;
