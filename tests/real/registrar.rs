//! Kamailio as a registrar that hands MESSAGE on to the telephones, over UDP, TCP and TLS; whoever
//! sends one must know the password. And a telephone.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::Kamailio;
use super::pair::Pair;
use super::process::Server;

/// A running registrar; user `pbxcert`, password `hunter2`, realm `pbx.test`.
#[derive(Debug)]
pub struct Registrar {
    _server: Server,
    folder: TempDir,
    /// UDP and TCP.
    pub sip: SocketAddr,
    /// TLS.
    pub sips: SocketAddr,
}

impl Registrar {
    /// Starts it with `pair` for TLS; it asks for answers with this algorithm (RFC 8760).
    pub fn start(pair: &Pair, algorithm: &str) -> Option<Self> {
        let program = super::program("kamailio")?;
        Some(super::start_with_free_ports(|| {
            let folder = super::shared_folder();
            let [sip, sips] = [(); 2].map(|()| super::loopback(super::free_port()));
            let at = folder.path();
            std::fs::create_dir(at.join("run")).unwrap();
            if let Some(user) = Kamailio::user() {
                let user =
                    nix::unistd::User::from_name(user).unwrap().expect("the package made it");
                let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
                std::os::unix::fs::chown(at.join("run"), Some(uid), Some(gid)).unwrap();
            }
            std::fs::write(at.join("tls.cfg"), super::kamailio::profiles(pair)).unwrap();
            std::fs::write(at.join("kamailio.cfg"), configuration(at, sip, sips, algorithm))
                .unwrap();
            let mut command = Command::new(&program);
            command.arg("-f").arg(at.join("kamailio.cfg")).arg("-DD");
            command.arg("-P").arg(at.join("run/pid")).arg("-Y").arg(at.join("run"));
            command.args(["-m", "32", "-M", "8"]);
            if let Some(user) = Kamailio::user() {
                command.args(["-u", user, "-g", user]);
            }
            let ready = || {
                let limit = Duration::from_millis(200);
                TcpStream::connect(sip).is_ok()
                    && TcpStream::connect(sips).is_ok()
                    && Phone::ask(sip, limit).is_some()
            };
            let server = Server::start("kamailio", &mut command, &at.join("log"), ready)?;
            Ok(Self { _server: server, folder, sip, sips })
        }))
    }

    /// What it said.
    pub fn log(&self) -> String {
        super::text(self.folder.path().join("log"))
    }
}

fn configuration(folder: &Path, sip: SocketAddr, sips: SocketAddr, algorithm: &str) -> String {
    let folder = folder.display();
    // Over TCP as a proxy asks (407, with qop), else as a server does (401, and as before qop).
    format!(
        "#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=2
enable_tls=yes
listen=udp:{sip}
listen=tcp:{sip}
listen=tls:{sips}
loadmodule \"tls.so\"
loadmodule \"sl.so\"
loadmodule \"tm.so\"
loadmodule \"pv.so\"
loadmodule \"textops.so\"
loadmodule \"siputils.so\"
loadmodule \"usrloc.so\"
loadmodule \"registrar.so\"
loadmodule \"auth.so\"
modparam(\"tls\", \"config\", \"{folder}/tls.cfg\")
modparam(\"auth\", \"algorithm\", \"{algorithm}\")
request_route {{
  if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"here\"); exit; }}
  if (is_method(\"REGISTER\")) {{ save(\"location\"); exit; }}
  if (!is_method(\"MESSAGE\")) {{ sl_send_reply(\"405\", \"no\"); exit; }}
  if ($proto == \"tcp\") {{
    if (!pv_proxy_authenticate(\"pbx.test\", \"hunter2\", \"0\")) {{ proxy_challenge(\"pbx.test\", \"1\"); exit; }}
  }} else {{
    if (!pv_www_authenticate(\"pbx.test\", \"hunter2\", \"0\")) {{ www_challenge(\"pbx.test\", \"0\"); exit; }}
  }}
  if ($au != \"pbxcert\") {{ sl_send_reply(\"403\", \"not you\"); exit; }}
  if ($aa != \"{algorithm}\") {{ sl_send_reply(\"403\", \"not so\"); exit; }}
  consume_credentials();
  if (!lookup(\"location\")) {{ sl_send_reply(\"404\", \"nobody\"); exit; }}
  if (!t_relay()) {{ sl_reply_error(); }}
}}
"
    )
}

/// A telephone on UDP.
#[derive(Debug)]
pub struct Phone {
    socket: UdpSocket,
}

impl Phone {
    /// Registers the extension.
    ///
    /// # Panics
    ///
    /// When the registrar does not take it.
    pub fn register(extension: &str, registrar: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let phone = Self { socket };
        let contact = phone.socket.local_addr().unwrap();
        let contact = format!("Contact: <sip:{extension}@{contact}>\r\nExpires: 600\r\n");
        phone.send(registrar, "REGISTER", "sip:pbx.test", extension, &contact);
        let answer = phone.hear().expect("the registrar answers").0;
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        phone
    }

    /// Waits for a MESSAGE, takes it, and tells the whole of it.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn message(&self) -> String {
        let (text, from) = self.hear().expect("a MESSAGE comes");
        assert!(text.starts_with("MESSAGE "), "{text}");
        let copied = |line: &&str| {
            ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|h| line.starts_with(h))
        };
        let head = text.split("\r\n\r\n").next().unwrap();
        let copied: Vec<&str> = head.split("\r\n").filter(copied).collect();
        let answer =
            format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", copied.join("\r\n"));
        self.socket.send_to(answer.as_bytes(), from).unwrap();
        text
    }

    /// Whether anybody answers OPTIONS there, and what.
    fn ask(server: SocketAddr, limit: Duration) -> Option<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(limit)).unwrap();
        let phone = Self { socket };
        phone.send(server, "OPTIONS", "sip:pbx.test", "0", "");
        phone.hear().map(|(text, _)| text)
    }

    fn send(&self, to: SocketAddr, method: &str, uri: &str, user: &str, more: &str) {
        let local = self.socket.local_addr().unwrap();
        let request = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{0}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@pbx.test>;tag=a\r\nTo: <sip:{user}@pbx.test>\r\n\
             Call-ID: {0}\r\nCSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n",
            local.port()
        );
        self.socket.send_to(request.as_bytes(), to).unwrap();
    }

    fn hear(&self) -> Option<(String, SocketAddr)> {
        let mut buffer = vec![0; 65536];
        let (count, from) = self.socket.recv_from(&mut buffer).ok()?;
        Some((String::from_utf8_lossy(&buffer[..count]).into_owned(), from))
    }
}
