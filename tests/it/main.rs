//! The integration tests: one binary, one file per flow.
#![allow(unreachable_pub, reason = "one crate that nobody else uses: pub means to its modules")]
#![allow(clippy::unwrap_used, reason = "what serves tests ends as tests do")]

mod acme_flow;
mod acme_pebble;
mod alert_road;
mod alerts;
mod ca;
mod calm;
mod check;
mod check_certificates;
mod check_host;
mod check_software;
mod confine;
mod crash;
mod daemon;
mod drift;
mod drop_folder;
mod habits;
mod holds;
mod host;
mod hostile;
mod identity;
mod lab;
mod licences;
mod line;
mod manual_plan;
mod mishaps;
mod preflight;
mod property;
mod ranks;
mod reach;
mod reach_pebble;
mod several;
mod source;
mod trunks;
mod trust;
mod upload;
mod usual;
mod verbs;

#[path = "../real/mod.rs"]
mod real;
