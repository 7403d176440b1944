//! Uploads are taken apart in a child of our own binary that can do nothing but answer.
//!
//! What a file does to its child (panic, overflow, endless work, greed) is a problem of that file:
//! the daemon sees a short answer, or none.

mod cage;
mod wire;

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use zeroize::Zeroizing;

use crate::cert::import::{self, File, Parts};
use crate::hook;

/// All files together.
const LIMIT: Duration = Duration::from_secs(5);

/// Most children at a time.
const LANES: usize = 2;

/// Longest answer of a child; what was uploaded is at most 256 KiB, and comes back a bit longer.
const LONGEST_ANSWER: usize = 512 * 1024;

/// Longest question: an upload, and whatever a caller adds.
const LONGEST_QUESTION: u64 = 8 * 1024 * 1024;

/// Takes files apart, each in a confined child of its own: what one does to its child harms no
/// other. Answers in the order of `files`; a child that dies, hangs or is too greedy is a problem
/// of its file ("could not be read, because …"). Takes 5 seconds at most for all together.
///
/// `helper` is our own executable.
pub async fn parts(
    helper: &Path,
    files: &[File],
    password: Option<&Zeroizing<String>>,
) -> Vec<Parts> {
    let work = Work {
        helper,
        password,
        done: files.iter().map(|_| RefCell::new(Err(Failure::Slow))).collect(),
        left: Cell::new(import::ROUNDS),
    };
    // What was not looked at within the limit keeps its failure.
    let _ = tokio::time::timeout(LIMIT, work.all(files)).await;
    work.done
        .into_iter()
        .map(|result| match result.into_inner() {
            Ok(parts) => parts,
            Err(failure) => Parts { problems: vec![failure.sentence()], ..Parts::default() },
        })
        .collect()
}

/// Files on their way through children.
struct Work<'a> {
    helper: &'a Path,
    password: Option<&'a Zeroizing<String>>,
    done: Vec<RefCell<Result<Parts, Failure>>>,
    left: Cell<u64>,
}

impl Work<'_> {
    /// First what costs nothing to open, each file with its fair share of the time; then what is
    /// locked, the cheapest first and with a fair share of the rounds, so that a greedy file takes
    /// nothing from a modest one; then whatever may do with what is left.
    async fn all(&self, files: &[File]) {
        let rows = files.len().div_ceil(LANES).max(1);
        let share = LIMIT / u32::try_from(rows).unwrap_or(u32::MAX);
        let first = files.iter().enumerate().map(|(place, file)| async move {
            let result = self.one(file, 0, share).await;
            *self.done[place].borrow_mut() = result;
        });
        stream::iter(first).buffer_unordered(LANES).collect::<()>().await;
        let locked = self.starved();
        for (asked, place) in locked.iter().enumerate() {
            let sharers = (locked.len() - asked) as u64;
            self.again(files, *place, self.left.get() / sharers).await;
        }
        for place in self.starved().into_iter().chain(self.slow()) {
            self.again(files, place, self.left.get()).await;
        }
    }

    async fn again(&self, files: &[File], place: usize, rounds: u64) {
        // What is true should time run out before there is an answer.
        *self.done[place].borrow_mut() = Err(Failure::Slow);
        let result = self.one(&files[place], rounds, LIMIT).await;
        if let Ok(parts) = &result {
            self.left.set(self.left.get().saturating_sub(parts.rounds));
        }
        *self.done[place].borrow_mut() = result;
    }

    /// Files that more rounds would help, the modest first.
    fn starved(&self) -> Vec<usize> {
        let mut starved: Vec<(u64, usize)> = Vec::new();
        for (place, result) in self.done.iter().enumerate() {
            if let Ok(Parts { wanted: wanted @ 1.., .. }) = &*result.borrow()
                && *wanted <= self.left.get()
            {
                starved.push((*wanted, place));
            }
        }
        starved.sort_unstable();
        starved.into_iter().map(|(_, place)| place).collect()
    }

    /// Files whose share of the time was too short.
    fn slow(&self) -> Vec<usize> {
        let slow = |place: &usize| matches!(*self.done[*place].borrow(), Err(Failure::Slow));
        (0..self.done.len()).filter(slow).collect()
    }

    async fn one(&self, file: &File, rounds: u64, limit: Duration) -> Result<Parts, Failure> {
        let password = self.password.map(|p| p.as_str());
        let question = wire::question(file, password, rounds);
        let asked =
            hook::ask_own(self.helper, &["internal", "parse"], &question, LONGEST_ANSWER, limit)
                .await
                .map_err(|error| match error.kind() {
                    io::ErrorKind::TimedOut => Failure::Slow,
                    io::ErrorKind::FileTooLarge => Failure::Crashed,
                    _ => Failure::NotStarted(error.to_string()),
                })?;
        match (asked.signal, wire::read_answer(&asked.answer)) {
            (None, Some(Ok(parts))) => Ok(parts),
            (None, Some(Err(reason))) => Err(Failure::NotStarted(reason)),
            (Some(signal), _) if cage::took_too_long(signal) => Err(Failure::Slow),
            (Some(signal), _) if cage::was_too_greedy(signal) => Err(Failure::Greedy),
            _ => Err(Failure::Crashed),
        }
    }
}

/// Why a child gave no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Failure {
    /// It broke down over the file.
    Crashed,
    /// It wanted more memory than it may have.
    Greedy,
    /// It could not begin, or could not limit itself.
    NotStarted(String),
    /// It took too long.
    Slow,
}

impl Failure {
    /// Goes on after the file's name and a colon.
    fn sentence(&self) -> String {
        const NEXT: &str = "upload the certificate and its key as PEM instead; with \
                            `openssl pkcs12 -in FILE -out new.pem` a .p12 or .pfx becomes one";
        match self {
            Self::Crashed => format!(
                "could not be read, because the reader broke down over it; it may be damaged. \
                 Download or export it again, or {NEXT}"
            ),
            Self::Greedy => format!(
                "could not be read, because more than 64 MiB of memory were needed for it: {NEXT}"
            ),
            Self::NotStarted(reason) => format!(
                "could not be read, because the reader could not begin ({reason}); the file is \
                 not at fault: see to that, and upload it again"
            ),
            Self::Slow => format!(
                "could not be read, because it took too long (5 s is the most for all files \
                 together): upload it alone, or {NEXT}"
            ),
        }
    }
}

/// The hidden verb `internal parse`: limits itself, reads one file on standard input, answers on
/// standard output.
pub fn internal() {
    let answer = match cage::shut() {
        Ok(()) => answer(),
        Err(reason) => wire::refusal(&reason),
    };
    // The asker has gone: nobody to be told.
    let _ = io::stdout().lock().write_all(&answer);
}

fn answer() -> Zeroizing<Vec<u8>> {
    let mut question = Zeroizing::new(Vec::new());
    if let Err(error) = io::stdin().lock().take(LONGEST_QUESTION).read_to_end(&mut question) {
        return wire::refusal(&error.to_string());
    }
    let Some((file, password, rounds)) = wire::read_question(&question) else {
        return wire::refusal("the question was cut off");
    };
    wire::answer(&import::parts(&file, password.as_deref().map(String::as_str), rounds))
}

#[cfg(test)]
mod tests;
