//! Runs one executable: environment in, time limit, exit code and output out. Never a shell.

use std::path::PathBuf;

/// What a hook said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    /// Exit code; 128 + signal when it was killed.
    pub code: i32,
    /// Standard output and error, interleaved, at most 64 KiB, control characters escaped.
    pub text: String,
}

/// Why a hook could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not one that may be run.
    #[error("hook {path}: {reason}")]
    Refused {
        /// The executable.
        path: PathBuf,
        /// Who else could write it, or what it is instead of a file.
        reason: String,
    },
    /// It did not start.
    #[error("cannot start hook {path}")]
    Start {
        /// The executable.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It was still running at the limit, and was killed with all its children.
    #[error("hook {path} was still running after {seconds} s and was killed; it printed: {text}")]
    TimedOut {
        /// The executable.
        path: PathBuf,
        /// The limit.
        seconds: u64,
        /// What it printed until then.
        text: String,
    },
}
