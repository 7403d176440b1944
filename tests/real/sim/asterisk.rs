//! Asterisk 22, as it was seen when it was really run: see hooks/asterisk. Its files are read when
//! and as it reads them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::super::Pair;
use super::command::Commands;
use super::port::{Port, Tls, load_pair};

/// A simulated Asterisk with SIP over TLS and HTTPS; it runs as we do.
pub struct Switchboard {
    _commands: Commands,
    inner: Arc<Mutex<Inner>>,
    sips: SocketAddr,
    https: SocketAddr,
}

struct Inner {
    pair: Pair,
    /// Of `http.conf`.
    etc: PathBuf,
    allow_reload: bool,
    calls: u32,
    /// Reloads of a transport that calls use.
    dangerous: u32,
    hung_until: Option<Instant>,
    /// `None` while it is stopped.
    running: Option<Running>,
    addresses: [SocketAddr; 2],
}

struct Running {
    sips: Port,
    https: Port,
    /// Size and time of the files that SIP was told of.
    sip_files: Vec<(u64, SystemTime)>,
    /// What HTTPS was set up with; `None` once that failed.
    http_files: Option<Vec<u8>>,
    http_conf: SystemTime,
}

impl Switchboard {
    /// Starts with a good pair; its `http.conf` comes into `etc`, and `asterisk` and `hang`, which
    /// stops it for some seconds, into `bin`.
    pub fn start(pair: &Pair, etc: &Path, bin: &Path, allow_reload: bool) -> Self {
        let ports = [super::super::free_port(), super::super::free_port()];
        let addresses = ports.map(super::super::loopback);
        std::fs::write(etc.join("http.conf"), "[general]\ntlsenable=yes\n").unwrap();
        let mut inner = Inner {
            pair: pair.clone(),
            etc: etc.to_owned(),
            allow_reload,
            calls: 0,
            dangerous: 0,
            hung_until: None,
            running: None,
            addresses,
        };
        inner.start();
        let inner = Arc::new(Mutex::new(inner));
        let asked = Arc::clone(&inner);
        let commands = Commands::listen(bin, &["asterisk", "hang"], move |words| {
            if let Some(seconds) = words.strip_prefix("hang ") {
                hang_for(&asked, Duration::from_secs(seconds.parse().unwrap()));
                return (0, String::new());
            }
            while asked.lock().unwrap().is_hung() {
                std::thread::sleep(Duration::from_millis(10));
            }
            let command = words.split_once("-rx ").map_or("", |(_, command)| command);
            asked.lock().unwrap().tell(command)
        });
        let [sips, https] = addresses;
        Self { _commands: commands, inner, sips, https }
    }

    /// Where SIP over TLS is answered.
    pub fn sips(&self) -> SocketAddr {
        self.sips
    }

    /// Where HTTPS is answered.
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// As `asterisk -rx`.
    pub fn tell(&self, command: &str) -> String {
        self.inner.lock().unwrap().tell(command).1
    }

    /// So many calls are up.
    pub fn set_calls(&self, calls: u32) {
        self.inner.lock().unwrap().calls = calls;
    }

    /// It ends.
    pub fn stop(&mut self) {
        self.inner.lock().unwrap().running = None;
    }

    /// It starts on the same ports.
    pub fn start_again(&mut self) {
        self.inner.lock().unwrap().start();
    }

    /// It does nothing until this is dropped.
    pub fn hang(&self) -> Hang {
        let far = Instant::now() + Duration::from_secs(3600);
        self.inner.lock().unwrap().hang_until(Some(far));
        Hang(Arc::clone(&self.inner))
    }
}

/// An Asterisk that does nothing until this is dropped.
pub struct Hang(Arc<Mutex<Inner>>);

impl Drop for Hang {
    fn drop(&mut self) {
        self.0.lock().unwrap().hang_until(None);
    }
}

fn hang_for(inner: &Arc<Mutex<Inner>>, time: Duration) {
    inner.lock().unwrap().hang_until(Some(Instant::now() + time));
    let inner = Arc::clone(inner);
    std::thread::spawn(move || {
        std::thread::sleep(time);
        inner.lock().unwrap().hang_until(None);
    });
}

impl Inner {
    fn start(&mut self) {
        let (sip, http) = (Tls::Reads(self.pair.clone()), self.http_tls());
        let http_files = load_pair(&self.pair).and(self.bytes());
        self.running = Some(Running {
            sips: Port::open(self.addresses[0], sip),
            https: Port::open(self.addresses[1], http),
            sip_files: self.facts().unwrap_or_default(),
            http_files,
            http_conf: changed_at(&self.etc.join("http.conf")),
        });
    }

    fn http_tls(&self) -> Tls {
        load_pair(&self.pair).map_or(Tls::Resets, Tls::Serves)
    }

    fn paths(&self) -> [&Path; 2] {
        [&self.pair.fullchain, &self.pair.privkey]
    }

    fn facts(&self) -> Option<Vec<(u64, SystemTime)>> {
        let facts = |path: &Path| Some((path.metadata().ok()?.len(), changed_at(path)));
        self.paths().into_iter().map(facts).collect()
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        let files: Option<Vec<_>> =
            self.paths().into_iter().map(|path| std::fs::read(path).ok()).collect();
        Some(files?.concat())
    }

    fn is_hung(&self) -> bool {
        self.hung_until.is_some_and(|until| Instant::now() < until)
    }

    fn hang_until(&mut self, until: Option<Instant>) {
        self.hung_until = until;
        if let Some(running) = &self.running {
            running.sips.hang(until.is_some());
            running.https.hang(until.is_some());
        }
    }

    fn tell(&mut self, command: &str) -> (i32, String) {
        if self.running.is_none() {
            let gone = "Unable to connect to remote asterisk (does \
                        /var/run/asterisk/asterisk.ctl exist?)\n";
            return (1, gone.to_owned());
        }
        let answer = match command {
            "module reload res_pjsip.so" => {
                self.reload_sip();
                "Module 'res_pjsip.so' reloaded successfully.\n".to_owned()
            }
            "module reload http" => {
                self.reload_http();
                "Module 'http' reloaded successfully.\n".to_owned()
            }
            "pjsip show transports" => format!(
                "\nTransport:  <TransportId........>  <Type>  <cos>  <tos>  <BindAddress....................>\n\
                 {}\n\nTransport:  transport-tls             tls      3     96  {}\n\nObjects found: 1\n\n",
                "=".repeat(90),
                self.addresses[0]
            ),
            "pjsip show transport transport-tls" => {
                format!(
                    " ParameterName               : ParameterValue\n allow_reload                : {}\n",
                    self.allow_reload
                )
            }
            "core show settings" => {
                format!(
                    "\nPBX Core settings\n  Configuration directory:     {}\n",
                    self.etc.display()
                )
            }
            "core show channels count" => {
                let calls = self.calls;
                let word = if calls == 1 { "call" } else { "calls" };
                format!(
                    "{} active channels\n{calls} active {word}\n{calls} calls processed\n",
                    2 * calls
                )
            }
            _ if command.starts_with("module reload ") => "No such module\n".to_owned(),
            _ => format!(
                "No such command '{command}' (type 'core show help {command}' for other possible commands)\n"
            ),
        };
        (0, answer)
    }

    /// Files that look as before are not read again, and those that are gone are no reason to
    /// change anything. What is read is read by the first connection.
    fn reload_sip(&mut self) {
        self.dangerous += u32::from(self.allow_reload && self.calls > 0);
        if self.dangerous >= 4 {
            self.running = None;
            return;
        }
        let (facts, pair) = (self.facts(), self.pair.clone());
        let (Some(running), Some(facts)) = (&mut self.running, facts) else { return };
        if running.sip_files != facts {
            running.sip_files = facts;
            running.sips.becomes(Tls::Reads(pair));
        }
    }

    /// Once its set-up has failed, it is not tried again before `http.conf` looks changed.
    fn reload_http(&mut self) {
        let (tls, bytes) = (self.http_tls(), self.bytes());
        let http_conf = changed_at(&self.etc.join("http.conf"));
        let Some(running) = &mut self.running else { return };
        let is_dead = running.http_files.is_none();
        if is_dead && running.http_conf == http_conf {
            return;
        }
        running.http_conf = http_conf;
        if is_dead || running.http_files != bytes {
            running.http_files = bytes.filter(|_| matches!(tls, Tls::Serves(_)));
            running.https.becomes(tls);
        }
    }
}

fn changed_at(path: &Path) -> SystemTime {
    path.metadata().and_then(|facts| facts.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}
