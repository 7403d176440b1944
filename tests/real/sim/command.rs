//! Commands such as `systemctl` that ask the test what to say and do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Answers commands; while it is gone they end with 255, as `fs_cli` does.
pub struct Commands {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Commands {
    /// Commands of these names in `bin`, whose words go to `answer`, which gives exit code and text.
    pub fn listen(
        bin: &Path,
        names: &[&str],
        mut answer: impl FnMut(&str) -> (i32, String) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        for name in names {
            let text = format!(
                "#!/bin/bash\nif ! exec 3<>/dev/tcp/127.0.0.1/{}; then\n  echo '[ERROR] Error \
                 Connecting []'\n  exit 255\nfi\nprintf '%s\\n' \"{name} $*\" >&3\nread -r code \
                 <&3\ncat <&3\nexit \"$code\"\n",
                address.port()
            );
            write_command(&bin.join(name), &text);
        }
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut connection) = connection else { continue };
                let mut words = String::new();
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                if reader.read_line(&mut words).is_ok() {
                    let (code, text) = answer(words.trim());
                    let _ = write!(connection, "{code}\n{text}");
                }
            }
        });
        Self { address, ended, thread: Some(thread) }
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A program of that text.
pub fn write_command(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What stands before commands so that those in `bin` come first.
pub fn prefix(bin: &Path) -> Vec<String> {
    let path = bin.join("in-here");
    write_command(&path, &format!("#!/bin/sh\nPATH={}:$PATH exec \"$@\"\n", bin.display()));
    vec![path.display().to_string()]
}
