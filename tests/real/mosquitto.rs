//! Mosquitto, serving MQTT over TLS.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running Mosquitto; under root it runs as its own user, as it does in the field.
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
            guard::give(folder, "mosquitto");
            let pid_file = folder.join("mosquitto.pid");
            let text = format!(
                "listener {} 127.0.0.1\nallow_anonymous true\ncertfile {}\nkeyfile {}\n\
                 log_dest stderr\npid_file {}\n",
                mqtts.port(),
                pair.fullchain.display(),
                pair.privkey.display(),
                pid_file.display()
            );
            guard::write(&config, &text);
            vec![program.display().to_string(), "-c".into(), config.display().to_string()]
        });
        Some(Self { guard, mqtts })
    }

    /// Where its process id stands.
    pub fn pid_file(&self) -> PathBuf {
        self.guard.folder().join("mosquitto.pid")
    }

    /// HUP.
    pub fn reload(&self) {
        self.guard.signal(Signal::HUP);
    }
}
