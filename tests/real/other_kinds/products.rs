//! The servers, each with its ports, the arguments of its hook, and what a client says that stays
//! connected.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::super::guard::Guard;
use super::super::{
    Apache, Dovecot, Ejabberd, Haproxy, Mosquitto, Pair, Postfix, Prosody, Slapd, guard, nginx,
};
use super::held::Talk;

/// A running server of a kind.
pub struct Product {
    pub guard: Guard,
    pub ports: Vec<Port>,
    /// Arguments of its hook, and of its own command in most cases.
    pub arguments: Vec<String>,
    /// Who reads the key, when it is not root.
    pub user: Option<&'static str>,
    /// What is said on the last of the ports.
    pub talk: Talk,
    /// Where the process id stands of a process group of its own, besides that of the guard.
    pub pid_file: Option<PathBuf>,
}

impl Product {
    /// Its process groups.
    pub fn groups(&self) -> Vec<u32> {
        let of_file = self.pid_file.as_ref().map(super::super::text);
        let of_file = of_file.map(|text| text.trim().parse().unwrap());
        self.guard.pid().into_iter().chain(of_file).collect()
    }
}

/// A port: how the configuration names it, and how openssl looks at it.
pub struct Port {
    pub scheme: &'static str,
    pub at: SocketAddr,
    pub sni: &'static str,
}

impl Port {
    /// The word of `openssl s_client -starttls`.
    pub fn starttls(&self) -> Option<&'static str> {
        self.scheme.strip_suffix("+starttls")
    }
}

fn ports<const N: usize>(sni: &'static str, ports: [(&'static str, SocketAddr); N]) -> Vec<Port> {
    ports.map(|(scheme, at)| Port { scheme, at, sni }).into()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Starts the server of that kind with what lies in `folder`: both files of a pair, and those that
/// hold both.
pub fn start(kind: &str, folder: &Path) -> Option<Product> {
    let pair = Pair::in_folder(folder);
    let product = match kind {
        "nginx" => {
            let program = super::super::program("nginx")?;
            let (guard, [https]) = guard::start("nginx", |folder, [https]| {
                std::fs::create_dir(folder.join("webroot")).expect("a new folder can be made");
                let http = super::super::loopback(super::super::free_port());
                let text = nginx::configuration(folder, &pair, https, http);
                guard::write(&folder.join("nginx.conf"), &text);
                [vec![shown(&program)], of_nginx(folder)].concat()
            });
            Product {
                arguments: of_nginx(guard.folder()),
                ports: ports("pbx.test", [("https", https)]),
                user: None,
                talk: Talk::HTTP,
                pid_file: None,
                guard,
            }
        }
        "apache" => {
            let server = Apache::start(&pair)?;
            Product {
                arguments: vec!["-f".into(), shown(&server.config())],
                ports: ports("pbx.test", [("https", server.https)]),
                user: None,
                talk: Talk::HTTP,
                pid_file: None,
                guard: server.guard,
            }
        }
        "haproxy" => {
            let server = Haproxy::start_with(&folder.join("site.pem"), "")?;
            let paths = [server.admin_socket(), server.config(), server.pid_file()];
            Product {
                arguments: paths.iter().map(|path| shown(path)).collect(),
                ports: ports("pbx.test", [("tls", server.sips), ("https", server.https)]),
                user: None,
                talk: Talk::HTTP,
                pid_file: None,
                guard: server.guard,
            }
        }
        "postfix" => {
            let file = folder.join("combined.pem");
            let line = format!("smtpd_tls_chain_files={}", file.display());
            let server = Postfix::start_with(&line)?;
            let at = [("smtp+starttls", server.smtp), ("smtps", server.smtps)];
            Product {
                arguments: vec!["-c".into(), shown(&server.config_directory())],
                ports: ports("pbx.test", at),
                user: None,
                talk: Talk::SMTP,
                pid_file: Some(server.guard.folder().join("spool/pid/master.pid")),
                guard: server.guard,
            }
        }
        "dovecot" => {
            let server = Dovecot::start(&pair)?;
            let at = [
                ("imap+starttls", server.imap),
                ("pop3+starttls", server.pop3),
                ("imaps", server.imaps),
            ];
            Product {
                arguments: vec!["-c".into(), shown(&server.config())],
                ports: ports("pbx.test", at),
                user: None,
                talk: Talk::IMAP,
                pid_file: None,
                guard: server.guard,
            }
        }
        "prosody" => {
            let server = Prosody::start(&pair)?;
            let at =
                [("xmpp+starttls", server.c2s), ("https", server.https), ("xmpps", server.direct)];
            Product {
                arguments: vec!["--config".into(), shown(&server.config())],
                ports: ports(Prosody::HOST, at),
                user: Some("prosody"),
                talk: Talk::XMPP,
                pid_file: None,
                guard: server.guard,
            }
        }
        "ejabberd" => {
            let server = Ejabberd::start(&pair)?;
            let at =
                [("xmpp+starttls", server.c2s), ("https", server.https), ("xmpps", server.direct)];
            Product {
                arguments: server.arguments(),
                ports: ports(Ejabberd::HOST, at),
                user: Some("ejabberd"),
                talk: Talk::XMPP_OF_PBX,
                pid_file: None,
                guard: server.guard,
            }
        }
        "mosquitto" => {
            let server = Mosquitto::start(&pair)?;
            Product {
                arguments: vec![shown(&server.pid_file())],
                ports: ports("pbx.test", [("mqtts", server.mqtts)]),
                user: Some("mosquitto"),
                talk: Talk::MQTT,
                pid_file: None,
                guard: server.guard,
            }
        }
        "openldap" => {
            let server = Slapd::start(&pair)?;
            Product {
                arguments: vec![server.ldapi()],
                ports: ports("pbx.test", [("ldap+starttls", server.ldap), ("ldaps", server.ldaps)]),
                user: Some("openldap"),
                talk: Talk::LDAP,
                pid_file: None,
                guard: server.guard,
            }
        }
        other => panic!("no server is known for the kind {other}"),
    };
    Some(product)
}

fn of_nginx(folder: &Path) -> Vec<String> {
    let at = |name| shown(&folder.join(name));
    vec!["-c".into(), at("nginx.conf"), "-e".into(), at("error.log")]
}
