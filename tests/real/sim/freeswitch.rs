//! FreeSWITCH 1.10 or 1.11.2, as it was seen when it was really run: see hooks/freeswitch.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::command::Commands;
use super::port::{Port, Tls, load_file};

/// How it is to be, with seconds that may be shorter than real ones.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// As `version` tells it: from 1.11.1 on it knows reloadcert.
    pub version: &'static str,
    /// A profile that restarts serves the old certificate for so long (33 s).
    pub restart: Duration,
    /// A profile that is younger than this does not restart (10 s).
    pub youth: Duration,
    /// Calls that are up.
    pub calls: u32,
}

/// A FreeSWITCH with one profile, `internal`, whose SIP reads `agent.pem` and whose WebSockets read
/// `wss.pem`.
pub struct Freeswitch {
    commands: Option<Commands>,
    inner: Arc<Mutex<Inner>>,
    sips: SocketAddr,
    wss: SocketAddr,
    bin: PathBuf,
}

struct Inner {
    options: Options,
    folder: PathBuf,
    addresses: [SocketAddr; 2],
    profile: Option<Profile>,
    calls: u32,
}

struct Profile {
    sips: Port,
    wss: Port,
    since: Instant,
}

impl Freeswitch {
    /// Starts with the files in `folder`; `fs_cli` comes into `bin`.
    pub fn start(folder: &Path, bin: &Path, options: Options) -> Self {
        let ports = [super::super::free_port(), super::super::free_port()];
        let addresses = ports.map(super::super::loopback);
        let inner = Inner {
            options,
            folder: folder.to_owned(),
            addresses,
            profile: None,
            calls: options.calls,
        };
        let [sips, wss] = addresses;
        let inner = Arc::new(Mutex::new(inner));
        let mut freeswitch = Self { commands: None, inner, sips, wss, bin: bin.to_owned() };
        freeswitch.start_again();
        freeswitch
    }

    /// Where SIP over TLS is answered.
    pub fn sips(&self) -> SocketAddr {
        self.sips
    }

    /// Where WebSockets over TLS are answered.
    pub fn wss(&self) -> SocketAddr {
        self.wss
    }

    /// Calls that are up.
    pub fn calls(&self) -> u32 {
        self.inner.lock().unwrap().calls
    }

    /// The calls come to an end.
    pub fn hang_up(&self) {
        self.inner.lock().unwrap().calls = 0;
    }

    /// Its profile has been up for long enough to be restarted.
    pub fn grows_old(&self) {
        let mut inner = self.inner.lock().unwrap();
        let youth = inner.options.youth;
        if let Some(profile) = &mut inner.profile {
            profile.since = Instant::now().checked_sub(youth).unwrap_or(profile.since);
        }
    }

    /// The whole process ends.
    pub fn stop(&mut self) {
        self.commands = None;
        self.inner.lock().unwrap().profile = None;
    }

    /// The whole process starts.
    pub fn start_again(&mut self) {
        let _ = self.inner.lock().unwrap().start_profile();
        let inner = Arc::clone(&self.inner);
        let answer = move |words: &str| {
            let command = words.rsplit_once("-x ").map_or(words, |(_, command)| command);
            (0, tell(&inner, command))
        };
        self.commands = Some(Commands::listen(&self.bin, &["fs_cli"], answer));
    }
}

impl Inner {
    /// A bad file keeps the whole profile from starting, its UDP too.
    fn start_profile(&mut self) -> Result<(), ()> {
        let sips = load_file(&self.folder.join("agent.pem")).ok_or(())?;
        let wss = load_file(&self.folder.join("wss.pem")).ok_or(())?;
        let [sips, wss] = [(sips, 0), (wss, 1)]
            .map(|(pair, number)| Port::open(self.addresses[number], Tls::Serves(pair)));
        self.profile = Some(Profile { sips, wss, since: Instant::now() });
        Ok(())
    }

    fn hot(&self) -> bool {
        !self.options.version.starts_with("1.10.")
    }

    /// SIP takes the context that was made although the file could not be read.
    fn reload_certificates(&self) {
        let Some(profile) = &self.profile else { return };
        let sips = load_file(&self.folder.join("agent.pem"));
        profile.sips.becomes(sips.map_or(Tls::Refuses, Tls::Serves));
        if let Some(pair) = load_file(&self.folder.join("wss.pem")) {
            profile.wss.becomes(Tls::Serves(pair));
        }
    }
}

fn tell(inner: &Arc<Mutex<Inner>>, command: &str) -> String {
    let mut now = inner.lock().unwrap();
    match command {
        "version" => format!(
            "FreeSWITCH Version {}-release+git~20260501T101010Z~abcdef0123~64bit (git abcdef0 \
             64bit)\n",
            now.options.version
        ),
        "reloadcert" if now.hot() => {
            let inner = Arc::clone(inner);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(150));
                inner.lock().unwrap().reload_certificates();
            });
            "+OK cert reload event sent\n".to_owned()
        }
        "sofia status" => status(&now),
        "sofia profile internal restart" => restart(inner, &mut now),
        "sofia profile internal start" => match now.start_profile() {
            Ok(()) => "internal started successfully\n".to_owned(),
            Err(()) => "Failure starting internal\n".to_owned(),
        },
        "xml_locate configuration configuration name sofia.conf" => {
            "<configuration name=\"sofia.conf\" description=\"sofia Endpoint\">\n  <profiles>\n    \
             <profile name=\"internal\">\n    </profile>\n  </profiles>\n</configuration>\n"
                .to_owned()
        }
        "show calls count" => format!("\n{} total.\n", now.calls),
        _ => format!("-ERR {command} Command not found!\n"),
    }
}

fn status(now: &Inner) -> String {
    let line = "=".repeat(97);
    let mut rows = String::new();
    if now.profile.is_some() {
        for (port, tls) in [(5060, ""), (now.addresses[0].port(), " (TLS)")] {
            rows += &format!(
                "{:>25}\tprofile\t{:>41}\tRUNNING ({}){tls}\n",
                "internal",
                format!("sip:mod_sofia@127.0.0.1:{port}"),
                now.calls
            );
        }
    }
    let count = usize::from(now.profile.is_some());
    format!(
        "{:>25}\t{:>7}\t{:>41}\tState\n{line}\n{rows}{line}\n{count} profile 0 aliases\n",
        "Name", "Type", "Data"
    )
}

fn restart(inner: &Arc<Mutex<Inner>>, now: &mut Inner) -> String {
    let Inner { options, profile, .. } = now;
    let Some(profile) = profile else { return "Invalid Profile [internal]\n".to_owned() };
    if profile.since.elapsed() < options.youth {
        return format!(
            "Profile internal must be up for at least {} seconds to stop/restart.\nPlease wait a \
             moment\n",
            options.youth.as_secs()
        );
    }
    now.calls = 0;
    profile.sips.cut();
    let (inner, restart) = (Arc::clone(inner), options.restart);
    std::thread::spawn(move || {
        std::thread::sleep(restart);
        let mut now = inner.lock().unwrap();
        now.profile = None;
        let _ = now.start_profile();
    });
    "Reload XML [Success]\nrestarting: internal\n".to_owned()
}
