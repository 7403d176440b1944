//! Postfix on loopback ports of its own, with a mailbox that can be read back. Whoever logs in is
//! judged by a server of the tests' own, which speaks the protocol of Dovecot's.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use tempfile::TempDir;

use super::pair::Pair;
use super::process::Server;

/// Who may send, as `user\0password`.
const LOGIN: &str = "pbx\0hunter2 with space";

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix {
    /// Ended before its folder goes.
    _server: Server,
    program: PathBuf,
    folder: TempDir,
    /// STARTTLS, then a login.
    pub submission: SocketAddr,
    /// TLS, then a login.
    pub wrapped: SocketAddr,
    /// Neither is offered.
    pub plain: SocketAddr,
}

impl Postfix {
    /// Starts it with `pair` for TLS. Its master process wants to be root.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("postfix")?;
        if !super::is_root() {
            super::say_skipped("Postfix runs as root only");
            return None;
        }
        Some(super::start_with_free_ports(|| {
            let folder = super::shared_folder();
            let [submission, wrapped, plain] =
                [(); 3].map(|()| super::loopback(super::free_port()));
            write_configuration(folder.path(), pair, [submission, wrapped, plain]);
            listen_for_logins(&folder.path().join("auth"));
            let log = folder.path().join("log");
            let mut command = postfix(&program, folder.path(), "start-fg");
            let ready = || greets(plain) && greets(submission);
            let server = Server::start("postfix", &mut command, &log, ready)?;
            let program = program.clone();
            Ok(Self { _server: server, program, folder, submission, wrapped, plain })
        }))
    }

    /// The mails that were delivered, once there are `count`.
    ///
    /// # Panics
    ///
    /// When they do not come.
    pub fn mails(&self, count: usize) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let mails = self.mails_now();
            if mails.len() >= count {
                return mails;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{mails:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The mails that lie there.
    pub fn mails_now(&self) -> Vec<String> {
        let Ok(entries) = self.folder.path().join("mail/box/new").read_dir() else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(super::text).collect()
    }

    /// What it said.
    pub fn log(&self) -> String {
        super::text(self.folder.path().join("mail.log"))
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Its processes leave the group that we would end.
        let _ = postfix(&self.program, self.folder.path(), "stop").output();
    }
}

fn postfix(program: &Path, folder: &Path, verb: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("etc")).arg(verb);
    command
}

fn greets(address: SocketAddr) -> bool {
    let Ok(stream) = std::net::TcpStream::connect(address) else { return false };
    let mut line = String::new();
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("220 ")
}

fn write_configuration(folder: &Path, pair: &Pair, ports: [SocketAddr; 3]) {
    let owned = |name: &str, user: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).unwrap();
        let user = nix::unistd::User::from_name(user).unwrap().expect("the package made it");
        std::os::unix::fs::chown(&path, Some(user.uid.as_raw()), None).unwrap();
        user.uid.as_raw()
    };
    for name in ["etc", "spool"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    owned("data", "postfix");
    let uid = owned("mail", "nobody");
    let both = [super::text(&pair.privkey), super::text(&pair.fullchain)].concat();
    let chain = folder.join("etc/chain.pem");
    std::fs::write(&chain, both).unwrap();
    std::fs::set_permissions(&chain, std::fs::Permissions::from_mode(0o600)).unwrap();
    let [submission, wrapped, plain] = ports;
    let main = format!(
        "compatibility_level=3.6
queue_directory={0}/spool
data_directory={0}/data
command_directory=/usr/sbin
daemon_directory=/usr/lib/postfix/sbin
mail_owner=postfix
setgid_group=postdrop
myhostname=mail.pbx.test
mydestination=
inet_interfaces=127.0.0.1
inet_protocols=ipv4
mynetworks=127.0.0.0/8
maillog_file={0}/mail.log
maillog_file_prefixes=/
alias_maps=
virtual_mailbox_domains=pbx.test
virtual_mailbox_base={0}/mail
virtual_mailbox_maps=static:box/
virtual_uid_maps=static:{uid}
virtual_gid_maps=static:{uid}
smtpd_tls_chain_files={0}/etc/chain.pem
smtpd_tls_security_level=may
smtpd_tls_auth_only=yes
smtpd_sasl_type=dovecot
smtpd_sasl_path={0}/auth
",
        folder.display()
    );
    let login = "-o smtpd_sasl_auth_enable=yes -o \
                 smtpd_recipient_restrictions=permit_sasl_authenticated,reject";
    let master = format!(
        "{submission} inet n - n - - smtpd {login}
{wrapped} inet n - n - - smtpd {login} -o smtpd_tls_wrappermode=yes
{plain} inet n - n - - smtpd -o smtpd_tls_security_level=none
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
"
    );
    std::fs::write(folder.join("etc/main.cf"), main).unwrap();
    std::fs::write(folder.join("etc/master.cf"), master).unwrap();
}

/// As Dovecot's auth socket for clients (version 1.1 of its protocol).
fn listen_for_logins(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || judge(&stream));
        }
    });
}

fn judge(stream: &UnixStream) {
    let mut writer = stream;
    let greeting = "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0\nDONE\n";
    let _ = writer.write_all(greeting.as_bytes());
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let fields: Vec<&str> = line.split('\t').collect();
        let ["AUTH", id, "PLAIN", rest @ ..] = &*fields else { continue };
        let response = rest.iter().find_map(|field| field.strip_prefix("resp="));
        let bytes = response.and_then(|r| base64::prelude::BASE64_STANDARD.decode(r).ok());
        let right = bytes.is_some_and(|bytes| bytes == format!("\0{LOGIN}").as_bytes());
        let verdict = if right { format!("OK\t{id}\tuser=pbx\n") } else { format!("FAIL\t{id}\n") };
        let _ = writer.write_all(verdict.as_bytes());
    }
}
