//! Whatever stands in the configuration: no panic, and each problem has its words.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pbxcert::config::file;

fuzz_target!(|text: &str| {
    if let Err(problems) = file::parse(Path::new("pbxcert.toml"), text) {
        assert!(!problems.list.is_empty());
        assert!(!problems.to_string().is_empty());
    }
});
