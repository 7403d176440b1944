//! The simulated Asterisk that stands beside the real one, also where we are not root.

use std::any::Any;
use std::net::SocketAddr;

use super::{Bench, Product, as_asterisk_answers, folder};
use crate::real::sim::Switchboard;
use crate::real::sim::command::prefix;
use crate::real::stand::Stand;
use crate::real::tls;

/// A simulated Asterisk.
pub struct Simulated {
    switchboard: Switchboard,
    /// The command that halts it for some seconds.
    hang: String,
}

impl Simulated {
    /// With pbxcert configured for it.
    pub fn start(mut stand: Stand, allow_reload: bool) -> Bench<Self> {
        let pair = stand.pair();
        pair.write_self_signed("pbx.test");
        let etc = stand.folder().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let switchboard = Switchboard::start(&pair, &etc, &stand.bin(), allow_reload);
        // Under root its files belong to another user, as those of the real one do.
        let us = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
        let (user, owner) = if crate::real::is_root() {
            ("nobody".to_owned(), "owner = \"nobody\", ")
        } else {
            (us.name, "")
        };
        stand.configure(&format!(
            "{}exec-prefix = {:?}\nreload = [{:?}]\nendpoint = [\"sips://{}\", \"https://{}\"]",
            folder(&stand.tls(), &user, owner),
            prefix(&stand.bin()),
            stand.hook(),
            switchboard.sips(),
            switchboard.https(),
        ));
        let hang = stand.bin().join("hang").display().to_string();
        Bench { product: Self { switchboard, hang }, stand }
    }

    /// As `asterisk -rx`.
    pub fn tell(&self, command: &str) -> String {
        self.switchboard.tell(command)
    }

    /// So many calls are up.
    pub fn set_calls(&self, calls: u32) {
        self.switchboard.set_calls(calls);
    }
}

impl Product for Simulated {
    const KIND: &'static str = "asterisk";

    fn on(stand: Stand) -> Option<Bench<Self>> {
        Some(Self::start(stand, false))
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.switchboard.sips(), self.switchboard.https()]
    }

    fn answers(&self, held: &mut [tls::Held]) -> Result<(), String> {
        as_asterisk_answers(held)
    }

    fn stop(&mut self) {
        self.switchboard.stop();
    }

    fn start_again(&mut self) {
        self.switchboard.start_again();
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    fn hang(&self) -> Box<dyn Any> {
        Box::new(self.switchboard.hang())
    }

    fn halt(&self, seconds: u32) -> String {
        format!("{} {seconds}\n", self.hang)
    }
}
