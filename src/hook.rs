//! Runs one executable: environment in, time limit, exit code and output out. Never a shell.
//!
//! A hook gets a process group of its own, which is killed whole at the limit and after the hook
//! has ended: nothing that it started and did not detach stays behind.

mod own;

pub(crate) use own::ask_own;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::timeout;

/// Most bytes of output that are kept.
const MOST: usize = 64 * 1024;

/// How long output is read after the process has ended: a child of its may hold the pipe open.
const LINGER: Duration = Duration::from_secs(1);

/// What every hook finds in its environment besides the `PBXCERT_*` variables.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];

/// Exit code of a hook that wants to be asked later (EX_TEMPFAIL of sysexits.h).
const TRY_LATER: i32 = 75;

/// What a hook said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    /// Exit code; 128 + signal when it was killed.
    pub code: i32,
    /// Standard output and error, interleaved, at most 64 KiB, control characters escaped.
    pub text: String,
}

impl Output {
    /// It did what it was asked to.
    pub fn done(&self) -> bool {
        self.code == 0
    }

    /// It asks to be called again later; nothing has failed.
    pub fn try_later(&self) -> bool {
        self.code == TRY_LATER
    }
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
    #[error("cannot start hook {path}: {source}")]
    Start {
        /// The executable.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
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

/// Runs the hook `argv` with exactly `variables`, PATH and LANG as its environment, in `/`, with
/// nothing on standard input. Never give it a secret: its environment and arguments can be read by
/// others.
///
/// # Errors
///
/// When the executable is not safe to run (behaviour: somebody else could have written it), does
/// not start, or runs longer than `limit`. An exit code is no error.
pub async fn run(
    argv: &[String],
    variables: &[(String, String)],
    limit: Duration,
) -> Result<Output, Error> {
    let (program, arguments) = match argv {
        [] => ("", &[][..]),
        [program, arguments @ ..] => (program.as_str(), arguments),
    };
    let program = Path::new(program);
    may_run(program).map_err(|reason| Error::Refused { path: program.to_owned(), reason })?;
    let base = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let environment: Vec<_> = variables.iter().cloned().chain(base).collect();
    let ended = execute(program, arguments, &environment, limit).await?;
    Ok(Output { code: code(ended.status), text: ended.heard.text() })
}

/// Runs our own binary with an empty environment; the same limits, no questions about who could
/// write it. Answers with exit code and raw output.
///
/// # Errors
///
/// When it does not start, or runs longer than `limit`.
pub(crate) async fn run_own<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    limit: Duration,
) -> Result<(i32, Vec<u8>), Error> {
    let ended = execute(program, arguments, &[], limit).await?;
    Ok((code(ended.status), ended.heard.bytes))
}

/// Says why `program` may not be run as our user, perhaps root.
fn may_run(program: &Path) -> Result<(), String> {
    if !program.is_absolute() {
        return Err("write the absolute path of an executable".to_owned());
    }
    let facts = std::fs::metadata(program).map_err(|e| e.to_string())?;
    if !facts.is_file() {
        return Err("it is no regular file".to_owned());
    }
    crate::fs::guarded(program)?;
    rustix::fs::access(program, rustix::fs::Access::EXEC_OK)
        .map_err(|_| format!("it is not executable; chmod 0755 {}", program.display()))
}

/// A process that has ended, and whose group is gone.
struct Ended {
    status: ExitStatus,
    heard: Heard,
}

async fn execute<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    environment: &[(String, String)],
    limit: Duration,
) -> Result<Ended, Error> {
    let failed = |source| Error::Start { path: program.to_owned(), source };
    let (mut group, mut output) = start(program, arguments, environment).map_err(failed)?;
    let mut heard = Heard::default();
    let in_time = timeout(limit, group.listen(&mut output, &mut heard)).await;
    if in_time.is_err() {
        group.kill();
    }
    // Nobody waits for a grandchild that holds the pipe, or goes on printing.
    let _ = timeout(LINGER, heard.drain(&mut output)).await;
    group.kill();
    match in_time {
        Ok(Ok(())) => Ok(Ended { status: group.child.wait().await.map_err(failed)?, heard }),
        Ok(Err(e)) => Err(failed(e)),
        Err(_) => {
            // A process in the kernel's hands (a dead network disk) may outlive even SIGKILL.
            let _ = timeout(LINGER, group.child.wait()).await;
            let seconds = limit.as_millis().div_ceil(1000) as u64;
            Err(Error::TimedOut { path: program.to_owned(), seconds, text: heard.text() })
        }
    }
}

fn start<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    environment: &[(String, String)],
) -> io::Result<(Group, pipe::Receiver)> {
    // One pipe for both streams keeps their order.
    let (reader, writer) = io::pipe()?;
    let deaths = signal(SignalKind::child())?;
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let leader = leader.ok_or_else(|| io::Error::other("it has no process number"))?;
    let group = Group { child, leader, deaths };
    Ok((group, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// A child that leads its own process group; the group dies with this value.
struct Group {
    child: tokio::process::Child,
    leader: Pid,
    /// SIGCHLD, listened to since before the child began.
    deaths: Signals,
}

impl Group {
    /// Reads output until the leader has ended.
    async fn listen(&mut self, output: &mut pipe::Receiver, heard: &mut Heard) -> io::Result<()> {
        let ended = self.ended();
        tokio::pin!(ended);
        tokio::select! {
            biased;
            end = &mut ended => end,
            () = heard.drain(output) => ended.await,
        }
    }

    /// Waits for the leader's end without reaping it, so that its number, and with it the group's,
    /// cannot be given to somebody else before [`Group::kill`].
    async fn ended(&mut self) -> io::Result<()> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(self.leader), look)?.is_none() {
            self.deaths.recv().await;
        }
        Ok(())
    }

    fn kill(&self) {
        // Once the leader is reaped, the number is no longer ours.
        if self.child.id().is_some() {
            // Fails only when nobody is left.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What was printed, up to the cap.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    cut: bool,
}

impl Heard {
    /// Reads to the end of the stream; drops what is over the cap, so that the writer never blocks.
    async fn drain(&mut self, output: &mut pipe::Receiver) {
        let mut buffer = [0; 16 * 1024];
        // An error on our own pipe ends it like its end does.
        while let Ok(count @ 1..) = output.read(&mut buffer).await {
            let kept = count.min(MOST - self.bytes.len());
            self.bytes.extend_from_slice(&buffer[..kept]);
            self.cut |= kept < count;
        }
    }

    /// For a person and a terminal: only line feeds stay as they are.
    fn text(&self) -> String {
        const NOTE: &str = "\n[cut at 64 KiB]";

        let mut text = String::new();
        let mut cut = self.cut;
        for character in String::from_utf8_lossy(&self.bytes).trim_end().chars() {
            let before = text.len();
            if character != '\n' && (character.is_control() || is_direction(character)) {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
            if text.len() > MOST - NOTE.len() {
                text.truncate(before);
                cut = true;
                break;
            }
        }
        if cut {
            text.push_str(NOTE);
        }
        text
    }
}

/// Characters that turn around the order of the text after them on a screen.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// As a shell says it.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests;
