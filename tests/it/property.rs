//! Whatever is uploaded, the fixtures with something changed first of all.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;

use crate::holds::holds;

/// Every fixture of an upload, by name.
fn fixtures() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == "b64")).collect();
    paths.sort();
    let read = |path| std::fs::read_to_string(path).unwrap().replace('\n', "");
    paths.into_iter().map(|path| BASE64_STANDARD.decode(read(path)).unwrap()).collect()
}

#[test]
fn it_holds_for_every_fixture() {
    fixtures().iter().for_each(|bytes| holds(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn it_holds_for_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        holds(&bytes);
    }

    #[test]
    fn it_holds_for_changed_fixtures(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let fixtures = fixtures();
        let mut bytes = fixtures[which.index(fixtures.len())].clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        holds(&bytes);
    }
}
