//! The limits that a child puts on itself before it reads a byte.

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Seconds of processor time; the kernel's kill comes one later.
const SECONDS: u64 = 5;

/// Memory of its own. Not the address space: the program itself is mapped there, and that of a
/// debug build is larger than this.
const MEMORY: u64 = 64 * 1024 * 1024;

/// Nobody: on every Linux, and owner of nothing.
const NOBODY: u32 = 65534;

/// Shuts this process in: whatever it does from here on, it can use the processor and its memory
/// for a while, and its open standard streams.
///
/// # Errors
///
/// What could not be limited, in words.
pub(super) fn shut() -> Result<(), String> {
    // What a panic says may hold a part of the file.
    std::panic::set_hook(Box::new(|_| {}));
    let failed = |what: &str, error: Errno| format!("cannot {what}: {}", error.desc());
    for (resource, soft, hard) in [
        (Resource::RLIMIT_CORE, 0, 0),
        (Resource::RLIMIT_CPU, SECONDS, SECONDS + 1),
        (Resource::RLIMIT_DATA, MEMORY, MEMORY),
        (Resource::RLIMIT_FSIZE, 0, 0),
        (Resource::RLIMIT_MEMLOCK, 0, 0),
        (Resource::RLIMIT_NOFILE, 0, 0),
        (Resource::RLIMIT_NPROC, 0, 0),
    ] {
        setrlimit(resource, soft, hard).map_err(|e| failed("limit itself", e))?;
    }
    if geteuid().is_root() {
        let become_nobody = || {
            setgroups(&[])?;
            setgid(Gid::from_raw(NOBODY))?;
            setuid(Uid::from_raw(NOBODY))
        };
        become_nobody().map_err(|e| failed("become nobody", e))?;
    }
    nix::sys::prctl::set_no_new_privs().map_err(|e| failed("give up privileges", e))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| format!("cannot keep others from looking into it: {e}"))
}

/// The kernel ended it for its processor time.
pub(super) fn took_too_long(signal: i32) -> bool {
    [Signal::SIGXCPU, Signal::SIGKILL].iter().any(|s| *s as i32 == signal)
}

/// Rust aborts when there is no memory; a stack that grew too large is a broken reader, though.
pub(super) fn was_too_greedy(signal: i32) -> bool {
    signal == Signal::SIGABRT as i32
}
