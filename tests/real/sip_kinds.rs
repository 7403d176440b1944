//! The products around SIP, each through the pbxcert binary as its kind presets it; only paths,
//! ports and the words before commands are others.

mod asterisk;
mod coturn;
mod faults;
mod freepbx;
mod freeswitch;
mod janus;
mod kamailio;
mod opensips;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use super::stand::Stand;
use super::{Asterisk, Kamailio, Turnserver};

/// A running service, whichever it is.
trait Product {
    /// Where it serves.
    fn addresses(&self) -> Vec<SocketAddr>;
    /// Ends it.
    fn stop(&mut self);
    /// Starts it where it was.
    fn start_again(&mut self);
    /// Its process; `None` while it is stopped, and of a simulated one.
    fn pid(&self) -> Option<u32>;
}

impl Product for Asterisk {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.sips(), self.https()]
    }

    fn stop(&mut self) {
        Self::stop(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }

    fn pid(&self) -> Option<u32> {
        Self::pid(self)
    }
}

impl Product for Kamailio {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.sips()]
    }

    fn stop(&mut self) {
        Self::stop(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }

    fn pid(&self) -> Option<u32> {
        Self::pid(self)
    }
}

impl Product for Turnserver {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.turns()]
    }

    fn stop(&mut self) {
        Self::stop(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }

    fn pid(&self) -> Option<u32> {
        Self::pid(self)
    }
}

/// A service and the machine it is configured on.
struct Bench<P> {
    /// Ended before the folder goes that it reads.
    product: P,
    stand: Stand,
}

/// The two files of [`Stand::tls`], whose key belongs to its reader, a user of this system or the
/// number of one in another.
fn folder(tls: &Path, user: &str, owner: &str) -> String {
    format!(
        "target-dir = \"{}\"\nuser = \"{user}\"\ntarget = [\n  {{ path = \"fullchain.pem\", \
         content = \"fullchain\", mode = \"0644\" }},\n  {{ path = \"privkey.pem\", content = \
         \"privkey\", {owner}mode = \"0600\" }},\n]\n",
        tls.display()
    )
}

fn asterisk() -> Option<Bench<Asterisk>> {
    let mut stand = Stand::new("asterisk", &["asterisk"])?;
    stand.pair().write_self_signed("pbx.test");
    let product = Asterisk::start(&stand.pair())?;
    stand.configure(&of_asterisk(&stand, &product));
    Some(Bench { product, stand })
}

fn of_asterisk(stand: &Stand, product: &Asterisk) -> String {
    let (user, _) = product.ids();
    let reload = [vec![stand.hook()], product.arguments()].concat();
    format!(
        "{}exec-prefix = {:?}\nreload = {reload:?}\nendpoint = [\"sips://{}\", \"https://{}\"]",
        folder(&stand.tls(), &user.to_string(), &format!("owner = \"{user}\", ")),
        product.exec_prefix(),
        product.sips(),
        product.https(),
    )
}

fn kamailio() -> Option<Bench<Kamailio>> {
    let mut stand = Stand::new("kamailio", &["kamailio"])?;
    stand.pair().write_self_signed("pbx.test");
    let product = Kamailio::start(&stand.pair())?;
    let reload = [vec![stand.hook()], product.arguments()].concat();
    stand.configure(&format!(
        "{}reload = {reload:?}\nendpoint = [\"sips://{}\"]",
        as_preset(&stand),
        product.sips(),
    ));
    Some(Bench { product, stand })
}

fn coturn() -> Option<Bench<Turnserver>> {
    let mut stand = Stand::new("coturn", &["coturn"])?;
    stand.pair().write_self_signed("pbx.test");
    let product = Turnserver::start(&stand.pair())?;
    stand.configure(&of_coturn(&stand, &product));
    Some(Bench { product, stand })
}

fn of_coturn(stand: &Stand, product: &Turnserver) -> String {
    let reload = [vec![stand.hook()], product.arguments()].concat();
    format!("{}reload = {reload:?}\nendpoint = [\"tls://{}\"]", as_preset(stand), product.turns(),)
}

/// As the kind presets it: owner, group and mode of the two files. Only root can do so.
fn as_preset(stand: &Stand) -> String {
    if super::is_root() {
        return format!("target-dir = \"{}\"\n", stand.tls().display());
    }
    let us = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    folder(&stand.tls(), &us.name, "")
}

/// The hook alone, as pbxcert runs it.
fn run_hook<A: AsRef<OsStr>>(
    stand: &Stand,
    event: &str,
    arguments: &[A],
    exec: &[String],
) -> Output {
    run_hook_with(stand, event, arguments, exec, "")
}

/// The same with the paths that it is told.
fn run_hook_with<A: AsRef<OsStr>>(
    stand: &Stand,
    event: &str,
    arguments: &[A],
    exec: &[String],
    paths: &str,
) -> Output {
    Command::new(stand.hook())
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .env("PBXCERT_EVENT", event)
        .env("PBXCERT_EXEC", exec.join(" "))
        .env("PBXCERT_PATHS", paths)
        .current_dir("/")
        .output()
        .unwrap()
}

/// No arguments for [`run_hook`].
const NONE: &[&str] = &[];
