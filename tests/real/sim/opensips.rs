//! OpenSIPS 3.6 with certificates in files or in SQLite, as it was seen when it was really run: see
//! hooks/opensips.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::sign::CertifiedKey;

use super::super::Pair;
use super::command::Commands;
use super::port::{Port, Tls, load};

/// Where its certificates are.
#[derive(Clone, Debug)]
pub enum From {
    /// Read at a start only.
    Files(Pair),
    /// The row `dom` of `tls_mgm` in this SQLite file.
    Database(PathBuf),
}

/// A running OpenSIPS.
pub struct Opensips {
    inner: Arc<Mutex<Inner>>,
    /// `systemctl`, which knows it as the unit opensips.
    _commands: Commands,
    folder: PathBuf,
    sips: SocketAddr,
}

struct Inner {
    from: From,
    sips: SocketAddr,
    fifo: PathBuf,
    replies: PathBuf,
    dialogs: u32,
    running: Option<Running>,
    restarts: usize,
}

struct Running {
    port: Port,
    ended: Arc<AtomicBool>,
}

impl Opensips {
    /// Starts with its FIFO in `folder` and `systemctl` in `bin`.
    pub fn start(folder: &Path, bin: &Path, from: From, dialogs: u32) -> Self {
        let sips = super::super::loopback(super::super::free_port());
        let (fifo, replies) = (folder.join("fifo"), folder.to_owned());
        let inner = Inner { from, sips, fifo, replies, dialogs, running: None, restarts: 0 };
        let inner = Arc::new(Mutex::new(inner));
        assert!(start(&inner), "it does not start");
        let asked = Arc::clone(&inner);
        let commands = Commands::listen(bin, &["systemctl"], move |words| match words {
            "systemctl try-restart opensips" => {
                let mut now = asked.lock().unwrap();
                if now.running.is_none() {
                    return (0, String::new());
                }
                now.restarts += 1;
                now.dialogs = 0;
                now.stop();
                drop(now);
                if start(&asked) { (0, String::new()) } else { (1, "Job failed.\n".to_owned()) }
            }
            "systemctl restart opensips" => {
                let mut now = asked.lock().unwrap();
                now.restarts += 1;
                now.dialogs = 0;
                now.stop();
                drop(now);
                if start(&asked) { (0, String::new()) } else { (1, "Job failed.\n".to_owned()) }
            }
            _ => (1, format!("{words}: not known here\n")),
        });
        Self { inner, _commands: commands, folder: folder.to_owned(), sips }
    }

    /// Where SIP over TLS is answered.
    pub fn sips(&self) -> SocketAddr {
        self.sips
    }

    /// Where its FIFO and those for its answers are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How often it was restarted.
    pub fn restarts(&self) -> usize {
        self.inner.lock().unwrap().restarts
    }

    /// Calls that are up.
    pub fn dialogs(&self) -> u32 {
        self.inner.lock().unwrap().dialogs
    }

    /// The calls come to an end.
    pub fn hang_up(&self) {
        self.inner.lock().unwrap().dialogs = 0;
    }

    /// Ends it.
    pub fn stop(&self) {
        self.inner.lock().unwrap().stop();
    }

    /// Starts it.
    pub fn start_again(&self) {
        assert!(start(&self.inner), "it does not start");
    }
}

impl Drop for Opensips {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn pair(&self) -> Option<Arc<CertifiedKey>> {
        match &self.from {
            From::Files(pair) => {
                load(&std::fs::read(&pair.fullchain).ok()?, &std::fs::read(&pair.privkey).ok()?)
            }
            From::Database(database) => {
                let column = |name: &str| {
                    let sql = format!("SELECT {name} FROM tls_mgm WHERE domain='dom';");
                    let output = Command::new("sqlite3").arg(database).arg(sql).output().ok()?;
                    Some(output.stdout)
                };
                load(&column("certificate")?, &column("private_key")?)
            }
        }
    }

    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.ended.store(true, Ordering::SeqCst);
            let _ = std::fs::remove_file(&self.fifo);
        }
    }

    /// Answers one command of its management interface.
    fn tell(&self, request: &serde_json::Value) -> serde_json::Value {
        use serde_json::json;
        let error = |code: i32, message: &str| json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": 1});
        let result = |result| json!({"jsonrpc": "2.0", "result": result, "id": 1});
        match (request["method"].as_str().unwrap_or_default(), &self.from) {
            ("version", _) => result(json!({"Server": "OpenSIPS (3.6.8 (x86_64/linux))"})),
            ("get_statistics", _) => result(json!({"dialog:active_dialogs": self.dialogs})),
            ("tls_reload", From::Files(_)) => error(500, "DB url not set"),
            ("tls_reload", From::Database(_)) => {
                // Says so whatever comes of it.
                if let Some(running) = &self.running {
                    running.port.becomes(self.pair().map_or(Tls::Hangs, Tls::Serves));
                }
                result(json!("OK"))
            }
            _ => error(-32601, "Method not found"),
        }
    }
}

/// Whether it could be started.
fn start(inner: &Arc<Mutex<Inner>>) -> bool {
    let mut now = inner.lock().unwrap();
    let Some(pair) = now.pair() else { return false };
    let made = Command::new("mkfifo").args(["-m", "0660"]).arg(&now.fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "no FIFO");
    // For both, so that it never comes to its end while nobody writes.
    let reader = std::fs::File::options().read(true).write(true).open(&now.fifo).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let port = Port::open(now.sips, Tls::Serves(pair));
    now.running = Some(Running { port, ended: Arc::clone(&ended) });
    drop(now);
    let inner = Arc::clone(inner);
    std::thread::spawn(move || listen(&inner, reader, &ended));
    true
}

/// Reads requests `:NAME:JSON` and writes each answer to the FIFO of that name.
fn listen(inner: &Mutex<Inner>, mut fifo: std::fs::File, ended: &AtomicBool) {
    use std::io::Read as _;
    let flags = rustix::fs::fcntl_getfl(&fifo).unwrap() | rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&fifo, flags).unwrap();
    let mut heard = String::new();
    let mut some = [0; 4096];
    while !ended.load(Ordering::SeqCst) {
        match fifo.read(&mut some) {
            Ok(count) => heard.push_str(&String::from_utf8_lossy(&some[..count])),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        while let Some((line, rest)) = heard.split_once('\n') {
            let (line, rest) = (line.to_owned(), rest.to_owned());
            heard = rest;
            let Some((name, json)) = line.strip_prefix(':').and_then(|l| l.split_once(':')) else {
                continue;
            };
            // As get_reply_filename() of its module mi_fifo: "forbidden filename".
            if name.contains(['.', '/', '\\']) {
                continue;
            }
            let request = serde_json::from_str(json).unwrap_or_default();
            let now = inner.lock().unwrap();
            let answer = format!("{}\n", now.tell(&request));
            let reply = now.replies.join(name);
            drop(now);
            let _ = std::fs::write(reply, answer);
        }
    }
}
