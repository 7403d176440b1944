//! One server process with all its children, in a process group of its own.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

/// How long a server may take to come up; a busy machine makes RSA keys slowly.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to end when asked to. Kamailio that has just started may not hear
/// it: its TCP children do not listen to signals from the first moment on.
const TERM_LIMIT: Duration = Duration::from_secs(1);
/// How long the kernel may take to end one.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// A running server; ended, with all its children, when dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Ends the server when this process dies without dropping anything (Ctrl-C, kill -9).
    watcher: Child,
}

impl Server {
    /// Starts it with its output in `log` and waits until `ready`.
    ///
    /// # Errors
    ///
    /// A sentence with the log's end when it ends before that, or takes too long.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
        mut ready: impl FnMut() -> bool,
    ) -> Result<Self, String> {
        let output = File::options().create(true).append(true).open(log).expect("log opens");
        let errors = output.try_clone().expect("a file handle can be duplicated");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot start {name}: {e}"))?;
        let watcher = watch(child.id());
        let mut server = Self { name, child, log: log.to_owned(), watcher };
        let begun = Instant::now();
        while !ready() {
            if let Some(status) = server.exited() {
                return Err(format!("{name} ended at its start ({status}): {}", server.log()));
            }
            if begun.elapsed() > START_LIMIT {
                return Err(format!("{name} was not ready in {START_LIMIT:?}: {}", server.log()));
            }
            std::thread::sleep(POLL);
        }
        match server.exited() {
            // What answered was then somebody else on the same port.
            Some(status) => Err(format!("{name} ended at its start ({status}): {}", server.log())),
            None => Ok(server),
        }
    }

    /// Process id of the server, which is its process group, too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// The last 4 KiB or so of what it said.
    pub fn log(&self) -> String {
        let text = super::text(&self.log);
        let mut from = text.len().saturating_sub(4096);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text[from..].to_owned()
    }

    /// Ends it and waits until no process of its group is left.
    pub fn stop(self) {
        drop(self);
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn ends_within(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            // Reap ours first: a zombie keeps its group alive.
            if self.exited().is_some() && test_kill_process_group(self.group()).is_err() {
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(self.group(), Signal::TERM);
        if !self.ends_within(TERM_LIMIT) {
            let _ = kill_process_group(self.group(), Signal::KILL);
            let _ = self.child.wait();
            self.ends_within(KILL_LIMIT);
        }
        // Only now, so that a kill -9 of ours meanwhile leaves nothing.
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}

/// A process that waits on a pipe that only we hold: when it closes, we are gone.
fn watch(group: u32) -> Child {
    // dash takes no `kill -TERM -- -GROUP`.
    Command::new("/bin/sh")
        .args(["-c", "read -r _; kill -s TERM -- -$0; sleep 2; kill -s KILL -- -$0"])
        .arg(group.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("/bin/sh starts")
}

mod tests {
    use super::*;

    #[test]
    fn a_server_ends_when_we_are_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 1000 & wait"]);
        let mut server =
            Server::start("sh", &mut command, &folder.path().join("log"), || true).unwrap();
        assert!(server.exited().is_none());
        // What the kernel does for us at a kill -9.
        drop(server.watcher.stdin.take());
        assert!(server.ends_within(KILL_LIMIT), "its group is still there");
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such port; exit 3"]);
        let server = Server::start("sh", &mut command, &folder.path().join("log"), || false);
        let reason = server.unwrap_err();
        assert!(reason.contains("exit status: 3") && reason.contains("no such port"), "{reason}");
    }
}
