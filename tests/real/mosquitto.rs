//! Mosquitto, serving MQTT over TLS.

use std::net::SocketAddr;

use rustix::process::Signal;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running Mosquitto; as us, also under root.
#[derive(Debug)]
pub struct Mosquitto {
    pub guard: Guard,
    /// MQTT over TLS.
    pub mqtts: SocketAddr,
}

impl Mosquitto {
    /// Starts it with `pair`, which must be a good one.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("mosquitto")?;
        let (guard, [mqtts]) = guard::start("mosquitto", |folder, [mqtts]| {
            let config = folder.join("mosquitto.conf");
            let user = if super::is_root() { "user root\n" } else { "" };
            let text = format!(
                "listener {} 127.0.0.1\nallow_anonymous true\ncertfile {}\nkeyfile {}\n\
                 log_dest stderr\n{user}",
                mqtts.port(),
                pair.fullchain.display(),
                pair.privkey.display()
            );
            guard::write(&config, &text);
            vec![program.display().to_string(), "-c".into(), config.display().to_string()]
        });
        Some(Self { guard, mqtts })
    }

    /// HUP.
    pub fn reload(&self) {
        self.guard.signal(Signal::HUP);
    }
}
