//! argv -> `cli::run` -> exit code.
fn main() {}
