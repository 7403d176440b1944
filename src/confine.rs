//! Uploads are taken apart in a child of our own binary that can do nothing but answer.

use std::path::Path;

use zeroize::Zeroizing;

use crate::cert::import::{File, Parts};

/// Takes files apart, each in a confined child of its own: what one does to its child harms no
/// other. Answers in the order of `files`; a child that dies, hangs or is too greedy is a problem
/// of its file ("could not be read, because …"). Takes 5 seconds at most for all together.
///
/// `helper` is our own executable.
pub async fn parts(
    _helper: &Path,
    _files: &[File],
    _password: Option<&Zeroizing<String>>,
) -> Vec<Parts> {
    todo!()
}

/// The hidden verb `internal parse`: limits itself, reads one file on standard input, answers on
/// standard output.
pub fn internal() {
    todo!()
}
