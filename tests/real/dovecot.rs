//! Dovecot, serving IMAP and POP3 with STARTTLS and over TLS. Needs root.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    pub guard: Guard,
    /// STARTTLS is offered here.
    pub imap: SocketAddr,
    /// TLS from the first byte.
    pub imaps: SocketAddr,
    /// STLS is offered here.
    pub pop3: SocketAddr,
}

impl Dovecot {
    /// Starts it with `pair`, which must be a good one; files are read again at a reload only.
    pub fn start(pair: &Pair) -> Option<Self> {
        Self::start_with(pair, "")
    }

    /// The same with further lines of `dovecot.conf`.
    pub fn start_with(pair: &Pair, lines: &str) -> Option<Self> {
        let program = super::program("dovecot")?;
        if !super::is_root() {
            super::say_skipped("Dovecot starts only as root");
            return None;
        }
        let (guard, [imap, imaps, pop3]) = guard::start("dovecot", |folder, ports| {
            let config = folder.join("dovecot.conf");
            std::fs::create_dir(folder.join("mail")).expect("a new folder can be made");
            let text = format!("{}{lines}\n", configuration(folder, pair, ports));
            guard::write(&config, &text);
            // Without -F it keeps our output open for ever.
            let program = program.display().to_string();
            vec![program, "-F".into(), "-c".into(), config.display().to_string()]
        });
        Some(Self { guard, imap, imaps, pop3 })
    }

    /// For `doveadm -c`.
    pub fn config(&self) -> PathBuf {
        self.guard.folder().join("dovecot.conf")
    }

    /// Where it logs.
    pub fn mail_log(&self) -> String {
        super::text(self.guard.folder().join("dovecot.log"))
    }

    /// `doveadm reload`.
    ///
    /// # Errors
    ///
    /// What it said.
    pub fn reload(&self) -> Result<(), String> {
        let config = self.config();
        guard::run(&["doveadm", "-c", &config.display().to_string(), "reload"]).map(drop)
    }
}

fn configuration(folder: &Path, pair: &Pair, [imap, imaps, pop3]: [SocketAddr; 3]) -> String {
    let (at, fullchain) = (folder.display(), pair.fullchain.display());
    let privkey = pair.privkey.display();
    let (imap, imaps, pop3) = (imap.port(), imaps.port(), pop3.port());
    format!(
        "base_dir = {at}/base
state_dir = {at}/lib
log_path = {at}/dovecot.log
instance_name = pbxcert
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{fullchain}
ssl_key = <{privkey}
mail_location = maildir:{at}/mail/%u
passdb {{
  driver = static
  args = password=test
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={at}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"
    )
}
