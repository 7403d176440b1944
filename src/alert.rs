//! Sends messages to people: one file per channel below. Decides nothing.
//!
//! Every channel has 30 seconds, reads its secrets when it sends, and says in its errors what is
//! wrong and what to do; never a password, nor an address with a token.

mod command;
mod email;
pub mod heartbeat;
mod journal;
mod json;
mod sip;
mod syslog;
mod text;
mod web;
mod webhook;

use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Proxy;
use crate::config::alerts::{AlertSpec, ChannelSpec, EmailSpec, Level, Login, Way};
use crate::state::alert::Message;

pub use heartbeat::{Verdict, beat};

/// A future of a seam; the runtime has one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Why a message did not go out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In words; never with a secret in it.
    #[error("{0}")]
    Failed(String),
}

/// A way to reach people.
pub trait Notifier {
    /// What it is called in reports: `e-mail to noc@voip.example`, `webhook hooks.slack.com`. No
    /// two channels of one configuration have the same name.
    fn name(&self) -> &str;

    /// The quietest that it is for.
    fn least(&self) -> Level {
        Level::Notice
    }

    /// Whether the message is for it: what is loud enough, and the end of what was, however quiet
    /// that is told, because nobody may go on looking for what is over; nor hears anybody of the end
    /// of what he never heard of. Whoever sends asks first; a message that is sent all the same (a
    /// test) goes out.
    fn takes(&self, message: &Message) -> bool {
        let least = self.least();
        message.level >= least || message.ends.is_some_and(|told| told >= least)
    }

    /// Sends one message; returns when the other side has taken it.
    fn send<'a>(&'a self, message: &'a Message, now: Timestamp)
    -> BoxFuture<'a, Result<(), Error>>;
}

/// The channels of the configuration, in its order; every recipient of e-mail is one, so that an
/// address that is refused keeps nothing from the others, and nothing reaches them twice. Nothing
/// is opened or read yet.
pub fn channels(spec: &AlertSpec) -> Vec<Rc<dyn Notifier>> {
    let mut names: Vec<String> = Vec::new();
    let mut channels: Vec<Rc<dyn Notifier>> = Vec::new();
    for ChannelSpec { least, way } in &spec.channels {
        for way in single(way) {
            let name = unused(name(&way), &names);
            names.push(name.clone());
            let proxy = spec.proxy.clone();
            channels.push(Rc::new(Channel { name, least: *least, way, proxy, limit: LIMIT }));
        }
    }
    channels
}

/// Tells every heartbeat of the configuration a verdict and a line that says more; `None` where
/// there is no heartbeat. The error names each that did not take it.
pub fn heartbeat(spec: &AlertSpec) -> Option<Heartbeat> {
    let spec = (!spec.heartbeats.is_empty()).then(|| Rc::new(spec.clone()))?;
    Some(Rc::new(move |verdict: Verdict, words: String| {
        let spec = spec.clone();
        Box::pin(async move {
            let failed = beat(&spec, verdict, &words).await;
            if failed.is_empty() {
                return Ok(());
            }
            let told: Vec<String> = failed.iter().map(Error::to_string).collect();
            Err(Error::Failed(told.join("; ")))
        })
    }))
}

/// A sign of life for somebody elsewhere: with a verdict on the whole, and one line more.
pub type Heartbeat = Rc<dyn Fn(Verdict, String) -> BoxFuture<'static, Result<(), Error>>>;

/// One way for each recipient.
fn single(way: &Way) -> Vec<Way> {
    match way {
        Way::Email(mail) => {
            let one = |to: &String| EmailSpec { to: vec![to.clone()], ..mail.clone() };
            mail.to.iter().map(one).map(Way::Email).collect()
        }
        other => vec![other.clone()],
    }
}

/// The name, with a number behind it where it is taken.
fn unused(name: String, taken: &[String]) -> String {
    let numbered = (2..).map(|number| format!("{name} #{number}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
    free.expect("there are more numbers than channels")
}

/// A channel of the configuration.
struct Channel {
    name: String,
    least: Level,
    way: Way,
    proxy: Option<Proxy>,
    limit: Duration,
}

impl Notifier for Channel {
    fn name(&self) -> &str {
        &self.name
    }

    fn least(&self) -> Level {
        self.least
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sent = tokio::time::timeout(self.limit, self.dispatch(message, now)).await;
            let reason = match sent {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(reason)) => reason,
                Err(_) => format!(
                    "no answer within {:?}; check the address, and whether a firewall is in \
                     between",
                    self.limit
                ),
            };
            // Whoever tells of it names the channel.
            Err(Error::Failed(reason))
        })
    }
}

impl Channel {
    async fn dispatch(&self, message: &Message, now: Timestamp) -> Result<(), String> {
        match &self.way {
            Way::Command(spec) => command::send(spec, message).await,
            Way::Email(spec) => email::send(spec, message, now).await,
            Way::Journal(spec) => journal::send(spec, message).await,
            Way::Sip(spec) => sip::send(spec, message, now).await,
            Way::Syslog(spec) => syslog::send(spec, message, now).await,
            Way::Webhook(spec) => webhook::send(spec, self.proxy.as_ref(), message).await,
        }
    }
}

/// What one message, or one beat, may take.
const LIMIT: Duration = Duration::from_secs(30);

fn name(way: &Way) -> String {
    match way {
        Way::Command(spec) => format!("command {}", spec.run.first().map_or("", String::as_str)),
        Way::Email(spec) => format!("e-mail to {}", spec.to.join(", ")),
        Way::Journal(_) => "journal".to_owned(),
        Way::Sip(spec) => format!("SIP message to {}", spec.to),
        Way::Syslog(spec) => format!("syslog {}", syslog::place(spec)),
        Way::Webhook(spec) => format!("webhook {}", web::place(&spec.url)),
    }
}

/// The password of a login, from its file, which is checked again: the rights may have changed.
fn password(login: &Login) -> Result<zeroize::Zeroizing<String>, String> {
    let text = secret(&login.password_file)?;
    Ok(zeroize::Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The text of a file that nobody else can read.
fn secret(path: &std::path::Path) -> Result<zeroize::Zeroizing<String>, String> {
    let bad = |reason: String| format!("the secret file {}: {reason}", path.display());
    crate::fs::secret(path).map_err(bad)?;
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    Ok(zeroize::Zeroizing::new(text))
}

#[cfg(test)]
mod tests;
