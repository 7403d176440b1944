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
mod simulated;

use std::any::Any;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use super::stand::Stand;
use super::{Asterisk, Kamailio, Turnserver, tls};

/// A running service, whichever it is.
trait Product: Sized {
    /// Its kind, and the name of its hook.
    const KIND: &'static str;
    /// What becomes of a deployment while it hangs.
    const HUNG: &'static str = "unproved";
    /// With a pair that is not ours, on this machine, and pbxcert configured for it.
    fn on(stand: Stand) -> Option<Bench<Self>>;
    /// Where it serves.
    fn addresses(&self) -> Vec<SocketAddr>;
    /// Whether clients that were connected before a reload are answered after it; one for each
    /// address, and it is asked before, too.
    fn answers(&self, held: &mut [tls::Held]) -> Result<(), String>;
    /// Ends it.
    fn stop(&mut self);
    /// Starts it where it was.
    fn start_again(&mut self);
    /// Its process; `None` while it is stopped, and of a simulated one.
    fn pid(&self) -> Option<u32>;

    /// On a machine of its own.
    fn new() -> Option<Bench<Self>> {
        Self::on(Stand::new(Self::KIND, &[Self::KIND])?)
    }

    /// It does nothing until this is dropped.
    fn hang(&self) -> Box<dyn Any> {
        Box::new(faults::Hung::new(self.pid().expect("it runs")))
    }

    /// Lines of shell by which it does nothing for so many seconds. What ends that has to be out of
    /// the hook's process group before the hook ends, or it may end with it.
    fn halt(&self, seconds: u32) -> String {
        let group = self.pid().expect("it runs");
        format!(
            "setsid sh -c ': >\"$0\"; sleep {seconds}; kill -s CONT -- -{group}' \"$trip.on\" \
             >/dev/null 2>&1 </dev/null &\nuntil [ -e \"$trip.on\" ]; do sleep 0.02; done\nkill -s \
             STOP -- -{group}\n"
        )
    }
}

impl Product for Asterisk {
    const KIND: &'static str = "asterisk";

    fn on(mut stand: Stand) -> Option<Bench<Self>> {
        stand.pair().write_self_signed("pbx.test");
        let product = Self::start(&stand.pair())?;
        stand.configure(&of_asterisk(&stand, &product));
        Some(Bench { product, stand })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.sips(), self.https()]
    }

    fn answers(&self, held: &mut [tls::Held]) -> Result<(), String> {
        as_asterisk_answers(held)
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

fn as_asterisk_answers(held: &mut [tls::Held]) -> Result<(), String> {
    let [sip, http] = held else { return Err("two connections".to_owned()) };
    let answer = sip.options()?;
    if !answer.starts_with("SIP/2.0 ") {
        return Err(answer);
    }
    let request = b"GET /nothing HTTP/1.1\r\nHost: pbx.test\r\nContent-Length: 0\r\n\r\n";
    let answer = http.ask(request)?;
    if answer.starts_with("HTTP/1.1 404") { Ok(()) } else { Err(answer) }
}

impl Product for Kamailio {
    const KIND: &'static str = "kamailio";

    fn on(mut stand: Stand) -> Option<Bench<Self>> {
        stand.pair().write_self_signed("pbx.test");
        let product = Self::start(&stand.pair())?;
        let reload = [vec![stand.hook()], product.arguments()].concat();
        stand.configure(&format!(
            "{}reload = {reload:?}\nendpoint = [\"sips://{}\"]",
            as_preset(&stand),
            product.sips(),
        ));
        Some(Bench { product, stand })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.sips()]
    }

    fn answers(&self, held: &mut [tls::Held]) -> Result<(), String> {
        let answer = held[0].options()?;
        if answer.starts_with("SIP/2.0 ") { Ok(()) } else { Err(answer) }
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
    const KIND: &'static str = "coturn";

    fn on(mut stand: Stand) -> Option<Bench<Self>> {
        stand.pair().write_self_signed("pbx.test");
        let product = Self::start(&stand.pair())?;
        stand.configure(&of_coturn(&stand, &product));
        Some(Bench { product, stand })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.turns()]
    }

    /// A Binding request (RFC 8489 section 5), which coturn answers to everybody.
    fn answers(&self, held: &mut [tls::Held]) -> Result<(), String> {
        let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        let head: [u8; 20] = held[0].exchange(&request)?;
        let rest = usize::from(u16::from_be_bytes([head[2], head[3]]));
        for _ in 0..rest {
            let _: [u8; 1] = held[0].exchange(&[])?;
        }
        let is_success = head[..2] == [1, 1] && head[8..] == [7; 12];
        if is_success { Ok(()) } else { Err(format!("{head:?}")) }
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
pub fn folder(tls: &Path, user: &str, owner: &str) -> String {
    format!(
        "target-dir = \"{}\"\nuser = \"{user}\"\ntarget = [\n  {{ path = \"fullchain.pem\", \
         content = \"fullchain\", mode = \"0644\" }},\n  {{ path = \"privkey.pem\", content = \
         \"privkey\", {owner}mode = \"0600\" }},\n]\n",
        tls.display()
    )
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
