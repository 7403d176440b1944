//! Whatever is uploaded: no panic, nothing over the limits, and never silence.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/holds.rs"]
mod holds;

fuzz_target!(|bytes: &[u8]| holds::holds(bytes));
