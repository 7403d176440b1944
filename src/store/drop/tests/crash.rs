//! Nothing that was uploaded is lost, whatever happens in between, and whenever we end.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::fs::cut;

/// What the uploader does, and our own work, which may end before any of its operations.
#[derive(Clone, Debug)]
enum Deed {
    Arrive(usize),
    Overwrite(usize),
    Rename(usize, usize),
    Remove(usize),
    Look,
    Accept(Option<u64>),
    Reject(Option<u64>),
    Wait(Option<u64>),
    Sweep(Option<u64>),
}

const NAMES: [&str; 4] = ["cert.pem", "key.pem", "2-cert.pem", "chain.pem"];

fn deed() -> impl Strategy<Value = Deed> {
    let name = 0..NAMES.len();
    let end = || prop::option::of(1_u64..30);
    prop_oneof![
        4 => name.clone().prop_map(Deed::Arrive),
        2 => name.clone().prop_map(Deed::Overwrite),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Deed::Rename(a, b)),
        1 => name.prop_map(Deed::Remove),
        3 => Just(Deed::Look),
        3 => end().prop_map(Deed::Accept),
        3 => end().prop_map(Deed::Reject),
        1 => end().prop_map(Deed::Wait),
        1 => end().prop_map(Deed::Sweep),
    ]
}

/// What the uploader knows, and what we were told last.
struct Model {
    lab: Lab,
    /// What must be somewhere.
    there: BTreeSet<String>,
    dropped: Dropped,
    count: usize,
}

impl Model {
    fn new() -> Self {
        Self { lab: Lab::new(), there: BTreeSet::new(), dropped: Dropped::default(), count: 0 }
    }

    /// Another one each time, of another length: two files within a tick differ all the same.
    fn content(&mut self) -> String {
        self.count += 1;
        let content = format!("{:0>width$}", self.count, width = 4 + self.count);
        self.there.insert(content.clone());
        content
    }

    /// The uploader himself gave up what lies under this name.
    fn forget(&mut self, name: &str) {
        if let Ok(content) = std::fs::read_to_string(self.lab.path.join(name)) {
            self.there.remove(&content);
        }
    }

    fn act(&mut self, deed: &Deed) {
        match *deed {
            Deed::Arrive(name) => {
                self.forget(NAMES[name]);
                let content = self.content();
                self.lab.put(".new", &content);
                let path = &self.lab.path;
                std::fs::rename(path.join(".new"), path.join(NAMES[name])).unwrap();
            }
            Deed::Overwrite(name) => {
                self.forget(NAMES[name]);
                let content = self.content();
                self.lab.put(NAMES[name], &content);
            }
            Deed::Rename(from, to) if from != to => {
                if self.lab.path.join(NAMES[from]).exists() {
                    self.forget(NAMES[to]);
                    let path = &self.lab.path;
                    std::fs::rename(path.join(NAMES[from]), path.join(NAMES[to])).unwrap();
                }
            }
            Deed::Rename(..) => {}
            Deed::Remove(name) => {
                self.forget(NAMES[name]);
                let _ = std::fs::remove_file(self.lab.path.join(NAMES[name]));
            }
            Deed::Look => self.dropped = self.lab.look(),
            Deed::Accept(end) => self.accept(end),
            Deed::Reject(end) => {
                let keys = self.dropped.keys();
                self.ours(end, |folder| folder.rejected(&keys, "no", at()));
            }
            Deed::Wait(end) => self.ours(end, |folder| folder.waiting("missing: a key")),
            Deed::Sweep(end) => self.ours(end, |folder| folder.sweep(at())),
        }
    }

    /// What was read goes: all of it or none, and only as it was read.
    fn accept(&mut self, end: Option<u64>) {
        let keys = self.dropped.keys();
        let there = self.lab.look().files;
        let same = there.iter().filter(|file| keys.contains(&file.key));
        let all: BTreeSet<String> = same.map(content_of).collect();
        let before: BTreeSet<String> = there.iter().map(content_of).collect();
        self.ours(end, |folder| folder.accepted(&keys, &[], "yes", at()));
        let after: BTreeSet<String> = self.lab.look().files.iter().map(content_of).collect();
        let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
        let whole = gone == all || (end.is_some() && gone.is_empty());
        assert!(whole, "gone is {gone:?} of {all:?}");
        self.there.retain(|content| !gone.contains(content));
    }

    fn ours(&self, end: Option<u64>, deed: impl Fn(&DropFolder) -> Result<(), Error>) {
        cut::at(end);
        let done = deed(&self.lab.folder);
        let over = cut::is_over();
        cut::at(None);
        assert!(over || done.is_ok(), "{done:?}");
    }

    fn check(&self) {
        let everywhere: BTreeSet<String> = self
            .lab
            .tree()
            .iter()
            .filter_map(|name| std::fs::read_to_string(self.lab.path.join(name)).ok())
            .collect();
        let lost: Vec<&String> = self.there.difference(&everywhere).collect();
        assert!(lost.is_empty(), "lost: {lost:?} of {:?}", self.lab.tree());
    }
}

fn content_of(file: &DroppedFile) -> String {
    String::from_utf8(file.file.bytes.to_vec()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_upload_is_lost_by_any_sequence_of_deeds_and_ends(
        deeds in prop::collection::vec(deed(), 1..24)
    ) {
        let mut model = Model::new();
        for deed in &deeds {
            model.act(deed);
            model.check();
        }
        model.lab.look();
        model.check();
        model.lab.folder.sweep(at()).unwrap();
        let left: Vec<String> =
            model.lab.tree().into_iter().filter(|name| name.contains("/.") ).collect();
        prop_assert_eq!(left, ["rejected/.taking"; 0]);
    }
}

/// An upload of three files, and its end before each single operation.
fn ends(decide: impl Fn(&DropFolder, &[FileKey]) -> Result<(), Error>) -> u64 {
    for n in 1.. {
        let lab = Lab::new();
        for name in ["cert.pem", "key.pem", "password.txt"] {
            lab.put(name, name);
        }
        let keys = lab.look().keys();
        cut::at(Some(n));
        let done = decide(&lab.folder, &keys);
        let over = cut::is_over();
        cut::at(None);
        let dropped = lab.look();
        let left = dropped.keys().len();
        assert!(left == 3 || left == 0, "operation {n} left {left} files: {:?}", lab.tree());
        let rejected = lab.folder.rejected_lately(at()).unwrap().len();
        let accepted = lab.tree().iter().any(|name| name.ends_with("ACCEPTED.txt"));
        assert!(left == 3 || rejected == 2 || accepted, "operation {n}: {:?}", lab.tree());
        // Once more, and nothing stops it.
        decide(&lab.folder, &dropped.keys()).unwrap();
        lab.folder.sweep(at()).unwrap();
        let files = |part: &str| lab.tree().iter().filter(|name| name.contains(part)).count();
        assert_eq!((lab.look().keys().len(), files("password.txt"), files("/.")), (0, 0, 0));
        if !over {
            done.unwrap();
            return n;
        }
    }
    unreachable!("a number is large enough")
}

#[test]
fn an_end_before_any_operation_leaves_all_files_of_an_upload_or_none() {
    let accepted = ends(|folder, keys| {
        let public = [("cert.pem".to_owned(), "PUBLIC".to_owned())];
        folder.accepted(keys, &public, "it is live", at())
    });
    let rejected = ends(|folder, keys| folder.rejected(keys, "no", at()));
    assert!(accepted > 20 && rejected > 15, "only {accepted} and {rejected} operations");
}

#[test]
fn an_uploader_who_is_quicker_at_any_moment_loses_nothing() {
    type Decide = fn(&DropFolder, &[FileKey]) -> Result<(), Error>;
    let accept: Decide = |folder, keys| folder.accepted(keys, &[], "yes", at());
    let reject: Decide = |folder, keys| folder.rejected(keys, "no", at());
    let mut in_time = 0;
    for (decide, kind) in [(accept, "file"), (reject, "file"), (accept, "link"), (reject, "link")] {
        for n in 1..40 {
            let lab = Lab::new();
            lab.put("cert.pem", "OLD");
            lab.put(".new", "A NEW UPLOAD");
            let keys = lab.look().keys();
            let (path, new) = (lab.path.clone(), kind == "file");
            cut::in_before(n, move || {
                if !new {
                    std::fs::rename(path.join(".new"), path.join("new.pem")).unwrap();
                    symlink("new.pem", path.join(".new")).unwrap();
                }
                std::fs::rename(path.join(".new"), path.join("cert.pem")).unwrap();
            });
            decide(&lab.folder, &keys).unwrap();
            cut::at(None);
            if lab.path.join(".new").symlink_metadata().is_ok() {
                break;
            }
            let there = lab.look();
            let read: Vec<String> = there.files.iter().map(content_of).collect();
            assert_eq!(read, ["A NEW UPLOAD"], "operation {n}: {:?}", lab.tree());
            let is_link = |entry: &String| lab.path.join(entry).is_symlink();
            let links: Vec<String> = lab.tree().into_iter().filter(is_link).collect();
            assert!(links.is_empty() == new, "{links:?}");
            assert!(links.iter().all(|link| !link.contains('/')), "{links:?}");
            in_time += 1;
        }
    }
    assert!(in_time > 20, "only {in_time} moments");
}
