//! Asks our own binary something: a question in on standard input, an answer out on standard
//! output.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How our own binary ended when it was asked something.
pub(crate) struct Asked {
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// What it answered; may hold a key.
    pub(crate) answer: Zeroizing<Vec<u8>>,
}

/// Runs our own binary with an empty environment, in `/`, with `question` on standard input; what
/// it says on standard error is read by nobody. The answer is at most `most` bytes; a process that
/// says more, or runs longer than `limit`, is killed with all its children.
///
/// # Errors
///
/// When it cannot be started, or one of the limits is reached: [`io::ErrorKind::TimedOut`],
/// [`io::ErrorKind::FileTooLarge`].
pub(crate) async fn ask_own(
    program: &Path,
    arguments: &[&str],
    question: &[u8],
    most: usize,
    limit: Duration,
) -> io::Result<Asked> {
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // It starts no others: it may not.
        .kill_on_drop(true)
        .spawn()?;
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    let ask = async {
        if let Some(input) = &mut input {
            // It may have died of what it read so far; its end tells.
            let _ = input.write_all(question).await;
        }
        drop(input.take());
    };
    // Of the final size at once: growing would leave copies behind.
    let mut answer = Zeroizing::new(Vec::with_capacity(most + 1));
    let listen = async {
        match output {
            Some(output) => output.take(most as u64 + 1).read_to_end(&mut answer).await,
            None => Ok(0),
        }
    };
    let talk = async {
        let ((), heard) = tokio::join!(ask, listen);
        if heard? > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        child.wait().await
    };
    let status = timeout(limit, talk).await.map_err(|_| io::ErrorKind::TimedOut)?;
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            // Dead already, or about to be.
            let _ = child.kill().await;
            return Err(error);
        }
    };
    if !status.success() && status.signal().is_none() {
        return Ok(Asked { signal: None, answer: Zeroizing::default() });
    }
    Ok(Asked { signal: status.signal(), answer })
}
