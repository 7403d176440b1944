//! Postfix, serving SMTP with STARTTLS and SMTP over TLS. Needs root.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix {
    pub guard: Guard,
    /// STARTTLS is offered here.
    pub smtp: SocketAddr,
    /// TLS from the first byte.
    pub smtps: SocketAddr,
}

impl Postfix {
    /// Starts it with `pair`, which must be a good one.
    pub fn start(pair: &Pair) -> Option<Self> {
        // The key comes first.
        let files = format!("{},{}", pair.privkey.display(), pair.fullchain.display());
        Self::start_with(&format!("smtpd_tls_chain_files={files}"))
    }

    /// Starts it with these lines of `main.cf` instead, which name the certificate.
    pub fn start_with(lines: &str) -> Option<Self> {
        let program = super::program("postfix")?;
        if !super::is_root() {
            super::say_skipped("Postfix starts only as root");
            return None;
        }
        let (guard, [smtp, smtps]) = guard::start("postfix", |folder, [smtp, smtps]| {
            guard::give(&folder.join("data"), "postfix");
            let main = main_cf(folder, lines);
            guard::write(&folder.join("etc/main.cf"), &main);
            guard::write(&folder.join("etc/master.cf"), &master_cf(smtp, smtps));
            guard::write(&folder.join("spool/.made"), "");
            let etc = folder.join("etc").display().to_string();
            let program = program.display().to_string();
            // Its answer is in the log of the start that follows.
            let _ = guard::run(&[&program, "-c", &etc, "set-permissions", "create-missing"]);
            vec!["/bin/sh".into(), "-c".into(), RUN.into(), etc, program, master_pid(folder)]
        });
        Some(Self { guard, smtp, smtps })
    }

    /// For `postfix -c`.
    pub fn config_directory(&self) -> PathBuf {
        self.guard.folder().join("etc")
    }

    /// Process id of its master, which is its process group, too.
    pub fn master(&self) -> Option<u32> {
        super::text(master_pid(self.guard.folder())).trim().parse().ok()
    }

    /// Where it logs.
    pub fn mail_log(&self) -> String {
        super::text(self.guard.folder().join("mail.log"))
    }

    /// `postfix reload`.
    ///
    /// # Errors
    ///
    /// What it said.
    pub fn reload(&self) -> Result<(), String> {
        let etc = self.config_directory();
        guard::run(&["postfix", "-c", &etc.display().to_string(), "reload"]).map(drop)
    }
}

/// Its master makes itself a process group of its own, also in the foreground: ended here with us.
const RUN: &str = "trap 'read -r pid <\"$2\" && kill -s TERM -- \"-$pid\"; wait' TERM
\"$1\" -c \"$0\" start-fg &
wait";

fn master_pid(folder: &Path) -> String {
    folder.join("spool/pid/master.pid").display().to_string()
}

fn main_cf(folder: &Path, lines: &str) -> String {
    let at = folder.display();
    let temporary = std::env::temp_dir();
    let temporary = temporary.display();
    format!(
        "compatibility_level=3.6
queue_directory={at}/spool
data_directory={at}/data
config_directory={at}/etc
command_directory=/usr/sbin
daemon_directory=/usr/lib/postfix/sbin
mail_owner=postfix
setgid_group=postdrop
myhostname=localhost
mydestination=localhost
inet_interfaces=127.0.0.1
inet_protocols=ipv4
mynetworks=127.0.0.0/8
maillog_file={at}/mail.log
maillog_file_prefixes={temporary}
smtpd_tls_security_level=may
{lines}
"
    )
}

fn master_cf(smtp: SocketAddr, smtps: SocketAddr) -> String {
    format!(
        "{smtp}    inet  n       -       n       -       -       smtpd
{smtps}    inet  n       -       n       -       -       smtpd
  -o smtpd_tls_wrappermode=yes
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
proxymap  unix  -       -       n       -       -       proxymap
anvil     unix  -       -       n       -       1       anvil
smtp      unix  -       -       n       -       -       smtp
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
local     unix  -       n       n       -       -       local
postlog   unix-dgram n  -       n       -       1       postlogd
"
    )
}
