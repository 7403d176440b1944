//! Whatever is uploaded: no panic, nothing over the limits, and never silence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pbxcert::cert::import::{File, parts};
use zeroize::Zeroizing;

fuzz_target!(|bytes: &[u8]| {
    let file = File { name: "fuzz".to_owned(), bytes: Zeroizing::new(bytes.to_vec()) };
    for password in [None, Some("changeit")] {
        let found = parts(&file, password, 5000);
        assert!(found.certificates.len() <= 10 && found.keys.len() <= 10);
        assert!(found.rounds <= 5000 && found.problems.len() <= 10);
        let nothing = found.certificates.is_empty() && found.keys.is_empty();
        assert!(!nothing || !found.problems.is_empty(), "nothing said of nothing");
    }
});
