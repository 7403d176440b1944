//! Janus, serving its API over HTTPS and WebSocket over TLS. There is no reload: a restart only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running Janus; as us, also under root.
#[derive(Debug)]
pub struct Janus {
    pub guard: Guard,
    /// The API over HTTPS.
    pub https: SocketAddr,
    /// The API over WebSocket.
    pub wss: SocketAddr,
}

impl Janus {
    /// Starts it with `pair`, which must be a good one.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("janus")?;
        let (guard, [https, wss]) = guard::start("janus", |folder, [https, wss]| {
            std::fs::create_dir(folder.join("empty")).expect("a new folder can be made");
            let etc = folder.join("etc");
            guard::write(&etc.join("janus.jcfg"), &main(folder, pair));
            let pair = certificates(pair);
            let http = format!(
                "general: {{ json = \"indented\" base_path = \"/janus\" http = false https = true \
                 secure_port = {} secure_ip = \"127.0.0.1\" }}\nadmin: {{ admin_http = false }}\n\
                 {pair}",
                https.port()
            );
            guard::write(&etc.join("janus.transport.http.jcfg"), &http);
            let sockets = format!(
                "general: {{ json = \"indented\" ws = false wss = true wss_port = {} \
                 wss_ip = \"127.0.0.1\" }}\nadmin: {{ admin_ws = false }}\n{pair}",
                wss.port()
            );
            guard::write(&etc.join("janus.transport.websockets.jcfg"), &sockets);
            let (main, etc) = (etc.join("janus.jcfg"), etc.display().to_string());
            let (program, main) = (program.display().to_string(), main.display().to_string());
            vec![program, "-C".into(), main, "-F".into(), etc]
        });
        Some(Self { guard, https, wss })
    }

    /// A restart.
    pub fn restart(&mut self) {
        self.guard.stop();
        self.guard.start_again();
    }
}

fn certificates(pair: &Pair) -> String {
    let (fullchain, privkey) = (pair.fullchain.display(), pair.privkey.display());
    format!("certificates: {{ cert_pem = \"{fullchain}\" cert_key = \"{privkey}\" }}\n")
}

fn main(folder: &Path, pair: &Pair) -> String {
    let (at, transports) = (folder.display(), transports().display().to_string());
    format!(
        "general: {{ configs_folder = \"{at}/etc\" plugins_folder = \"{at}/empty\" \
         transports_folder = \"{transports}\" events_folder = \"{at}/empty\" \
         loggers_folder = \"{at}/empty\" debug_level = 4 interface = \"127.0.0.1\" }}
{}nat: {{ ice_enforce_list = \"lo\" ignore_mdns = true }}
transports: {{ disable = \
         \"libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so\" }}
",
        certificates(pair)
    )
}

/// Below the folder of this machine's kind, `/usr/lib/x86_64-linux-gnu`, say.
fn transports() -> PathBuf {
    let kinds = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    kinds
        .map(|kind| kind.path().join("janus/transports"))
        .find(|folder| folder.is_dir())
        .unwrap_or_default()
}
