//! `alert test`, `alert list` and `ack`.

use clap::Subcommand;
use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::act::{now, person};
use super::{Context, Failed, exit, in_runtime, show};
use crate::policy::alerts::{self, Settings, post};
use crate::state::Condition;
use crate::state::alert::log::{Ack, AlertLog};
use crate::state::alert::{Level, Message};
use crate::state::check::Verdict;
use crate::world::World;

#[derive(Debug, Subcommand)]
pub(super) enum AlertVerb {
    /// Send a message through every channel now, and tell what came of each
    Test {
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// What is open, silenced, and not sent yet
    List {
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
}

/// What is open, for programs and people; the same in `status` and `alert list`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Open {
    pub(super) object: String,
    pub(super) condition: Condition,
    pub(super) level: Level,
    pub(super) title: String,
    pub(super) since: Timestamp,
    pub(super) told_at: Option<Timestamp>,
    /// A person took note, until then.
    pub(super) acked_until: Option<Timestamp>,
    pub(super) note: Option<String>,
    /// The configuration ignores it, and why.
    pub(super) ignored: Option<String>,
}

pub(super) fn run(context: &Context, what: &AlertVerb) -> Result<u8, Failed> {
    match what {
        AlertVerb::Test { json } => in_runtime(test(context, *json)),
        AlertVerb::List { json } => list(context, *json),
    }
}

/// What is open.
pub(super) fn open(context: &Context, now: Timestamp) -> Result<Vec<Open>, Failed> {
    let log = context.store.alert_log()?;
    let settings = Settings::of(&context.loaded.config, TimeZone::system());
    let all = log.open().map(|(object, condition, item)| {
        let level = item.level.unwrap_or(Level::Notice);
        let ack = log.ack(object, condition, level, now);
        let ignored = alerts::ignored(&settings, object, condition, now);
        Open {
            object: object.to_owned(),
            condition,
            level,
            title: item.title.clone(),
            since: item.since,
            told_at: item.told_at,
            acked_until: ack.map(|ack| ack.until),
            note: ack.map(|ack| format!("{} ({})", ack.note, ack.by)),
            ignored: ignored.map(|ignore| ignore.reason.clone()),
        }
    });
    let mut all: Vec<Open> = all.collect();
    all.sort_by_key(|open| std::cmp::Reverse(open.level));
    Ok(all)
}

impl Open {
    pub(super) fn line(&self, now: Timestamp) -> Vec<String> {
        let silenced = match (&self.note, self.acked_until, &self.ignored) {
            (Some(note), Some(until), _) => format!("acked until {}: {note}", show::clock(until)),
            (_, _, Some(reason)) => format!("ignored: {reason}"),
            _ => String::new(),
        };
        vec![
            self.level.word().to_owned(),
            format!("{}/{}", self.object, self.condition),
            self.title.clone(),
            show::relative(self.since, now),
            silenced,
        ]
    }
}

/// The head above [`Open::line`].
pub(super) const HEAD: [&str; 5] = ["LEVEL", "ITEM", "WHAT", "SINCE", "SILENCED"];

fn list(context: &Context, json: bool) -> Result<u8, Failed> {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Report {
        schema: u32,
        now: Timestamp,
        open: Vec<Open>,
        acks: Vec<Ack>,
        unsent: Vec<Unsent>,
        /// Messages that were given up because too many waited.
        dropped: u64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Unsent {
        id: String,
        at: Timestamp,
        level: Level,
        subject: String,
        /// Channels that have not taken it.
        waits_for: Vec<String>,
    }

    let world = World::real(&context.loaded.config, &context.store);
    let now = world.now();
    let log = context.store.alert_log()?;
    let outbox = context.store.outbox()?;
    let unsent = outbox.into_iter().map(|letter| Unsent {
        waits_for: world
            .notifiers
            .iter()
            .filter(|channel| post::is_for(&letter, channel.name()))
            .filter(|channel| channel.takes(&letter.message))
            .map(|channel| channel.name().to_owned())
            .collect(),
        id: letter.message.id,
        at: letter.message.at,
        level: letter.message.level,
        subject: letter.message.subject,
    });
    let report = Report {
        schema: 1,
        now,
        open: open(context, now)?,
        // What nobody is left for is forgotten by the daemon.
        unsent: unsent.filter(|letter| !letter.waits_for.is_empty()).collect(),
        acks: log.acks.iter().filter(|ack| now < ack.until).cloned().collect(),
        dropped: log.dropped,
    };
    if json {
        show::json(&report);
        return Ok(exit::DONE);
    }
    if report.open.is_empty() {
        show::line("nothing is open");
    } else {
        show::table(&HEAD, report.open.iter().map(|open| open.line(now)).collect());
    }
    for ack in &report.acks {
        let item = item(&ack.object, ack.condition);
        let until = show::clock(ack.until);
        show::line(&format!("acked until {until}: {item}: {} ({})", ack.note, ack.by));
    }
    for letter in &report.unsent {
        let (when, to) = (show::clock(letter.at), letter.waits_for.join(", "));
        show::line(&format!("not sent yet: {when} {} (waits for: {to})", letter.subject));
    }
    let heartbeat = world.heartbeat.as_ref().map(|_| post::HEARTBEAT);
    let in_use: Vec<&str> =
        world.notifiers.iter().map(|channel| channel.name()).chain(heartbeat).collect();
    for (name, state) in log.channels.iter().filter(|(name, _)| in_use.contains(&name.as_str())) {
        let error = state.error.as_deref().unwrap_or_default();
        show::line(&format!("{name} failed {} times: {error}", state.failures));
    }
    Ok(exit::DONE)
}

/// `alert test`: one message through every channel, and what came of each.
async fn test(context: &Context, json: bool) -> Result<u8, Failed> {
    let world = World::real(&context.loaded.config, &context.store);
    let possible_copy = world.identity(&context.store).copy().is_some();
    let settings = Settings::of(&context.loaded.config, TimeZone::system());
    test_in(&world, &Settings { possible_copy, ..settings }, json).await
}

async fn test_in(world: &World, settings: &Settings, json: bool) -> Result<u8, Failed> {
    #[derive(Serialize)]
    struct Report {
        schema: u32,
        channels: Vec<Line>,
    }
    #[derive(Serialize)]
    struct Line {
        channel: String,
        /// `sent` or `failed`.
        result: &'static str,
        text: String,
    }

    if world.notifiers.is_empty() && world.heartbeat.is_none() {
        let text = "no channel is configured: nobody is told anything; add one to [alerts] in \
                    pbxcert.toml";
        return Err(Failed::new(exit::CONFIG, text));
    }
    let now = world.now();
    let message = sample(settings, now);
    let sending = world.notifiers.iter().map(|channel| async {
        let sent = tokio::time::timeout(TEST_LIMIT, channel.send(&message, now)).await;
        let (result, text) = match sent {
            Ok(Ok(())) => ("sent", "the other side has taken it".to_owned()),
            Ok(Err(error)) => ("failed", crate::deploy::chain_of(&error)),
            Err(_) => ("failed", "nothing came of it within 90 s".to_owned()),
        };
        Line { channel: channel.name().to_owned(), result, text }
    });
    let beating = world.heartbeat.iter().map(|heartbeat| async {
        // What is open is the daemon's to say.
        let beat = heartbeat(Verdict::Unknown, "a test, pbxcert alert test".to_owned());
        let (result, text) = match beat.await {
            Ok(()) => ("sent", "the other side has taken it".to_owned()),
            Err(error) => ("failed", crate::deploy::chain_of(&error)),
        };
        Line { channel: post::HEARTBEAT.to_owned(), result, text }
    });
    let (mut channels, beats) = tokio::join!(join_all(sending), join_all(beating));
    channels.extend(beats);
    let failed = channels.iter().any(|line| line.result == "failed");
    if json {
        show::json(&Report { schema: 1, channels });
    } else {
        for line in channels {
            show::line(&format!("{}: {}: {}", line.channel, line.result, line.text));
        }
    }
    if world.notifiers.is_empty() {
        show::warning(
            "only a heartbeat is configured: that something is wrong is told to nobody; add a \
             channel to [alerts] in pbxcert.toml",
        );
    }
    Ok(if failed { exit::FAILED } else { exit::DONE })
}

const TEST_LIMIT: std::time::Duration = std::time::Duration::from_secs(90);

fn sample(settings: &Settings, now: Timestamp) -> Message {
    let when = show::clock(now);
    Message {
        id: format!("test{}", now.as_millisecond()),
        at: now,
        // The loudest: every channel takes it, whatever it holds back.
        level: Level::Critical,
        site: settings.site.clone(),
        object: "alert".to_owned(),
        condition: "test".to_owned(),
        recovered: false,
        ends: None,
        by: None,
        subject: alerts::letter::subject("TEST", settings, "alerts reach you", ""),
        body: format!(
            "This is a test of {when}: whoever reads it hears of the certificates of this PBX. \
             Nothing is wrong.\n"
        ),
        attachments: Vec::new(),
    }
}

/// `ack ITEM`: takes something out of alerts and exit codes until a day.
pub(super) fn ack(context: &Context, written: &str, until: &str, note: &str) -> Result<u8, Failed> {
    let now = now();
    let until = end_of(until, now)?;
    if note.trim().is_empty() {
        return Err(Failed::new(exit::USAGE, "--note says who knows and why: it may not be empty"));
    }
    let (object, condition) = context.item(written)?;
    let note: String = note.chars().filter(|c| !c.is_control()).take(500).collect();
    let by = person();
    let change = |log: &mut AlertLog| {
        let of_it =
            log.open().filter(|(o, c, _)| *o == object && condition.is_none_or(|w| w == *c));
        let level = of_it.filter_map(|(_, _, item)| item.level).max().unwrap_or(Level::Warning);
        log.acks.retain(|ack| (ack.object.as_str(), ack.condition) != (object.as_str(), condition));
        let (object, note, by) = (object.clone(), note.clone(), by.clone());
        log.acks.push(Ack { object, condition, level, until, note, by, at: now });
    };
    context.store.change_alerts(change, now)?;
    context.store.touch_generation()?;
    let item = item(&object, condition);
    show::line(&format!(
        "{item}: silent until {}, unless it becomes worse; end it: pbxcert ack {item} --remove",
        show::clock(until)
    ));
    Ok(exit::DONE)
}

/// `ack ITEM --remove`.
pub(super) fn remove_ack(context: &Context, written: &str) -> Result<u8, Failed> {
    let (object, condition) = context.item(written)?;
    let removed = std::cell::Cell::new(0);
    let change = |log: &mut AlertLog| {
        let before = log.acks.len();
        let this =
            |ack: &Ack| ack.object == object && condition.is_none_or(|c| ack.condition == Some(c));
        log.acks.retain(|ack| !this(ack));
        removed.set(before - log.acks.len());
    };
    let log = context.store.change_alerts(change, now())?;
    context.store.touch_generation()?;
    if removed.get() == 0 {
        let of_all = log.acks.iter().any(|ack| ack.object == object && ack.condition.is_none());
        let item = item(&object, condition);
        let text = if of_all {
            format!(
                "{item} is silent because everything of {object} is; end that: pbxcert ack \
                 {object} --remove"
            )
        } else {
            format!("{item} was not acked; see: pbxcert alert list")
        };
        return Err(Failed::new(exit::FAILED, text));
    }
    show::line(&format!("{}: alerts go on", item(&object, condition)));
    Ok(exit::DONE)
}

impl Context {
    /// `pbx` or `pbx/expiry`: something that is configured or was found.
    fn item(&self, written: &str) -> Result<(String, Option<Condition>), Failed> {
        let log = self.store.alert_log()?;
        let config = &self.loaded.config;
        let known = |object: &str| {
            config.certificate(object).is_some()
                || config.service(object).is_some()
                || log.items.contains_key(object)
                || log.acks.iter().any(|ack| ack.object == object)
        };
        if known(written) {
            return Ok((written.to_owned(), None));
        }
        if let Some((object, word)) = written.rsplit_once('/')
            && let Some(condition) = Condition::named(word)
            && known(object)
        {
            return Ok((object.to_owned(), Some(condition)));
        }
        let open: Vec<String> = log.open().map(|(o, c, _)| item(o, Some(c))).collect();
        let open = if open.is_empty() { "nothing is open".to_owned() } else { open.join(", ") };
        let text = format!(
            "there is no {written:?}: name a certificate, a service or an item of `pbxcert alert \
             list` ({open})"
        );
        Err(Failed::new(exit::USAGE, text))
    }
}

fn item(object: &str, condition: Option<Condition>) -> String {
    condition.map_or_else(|| object.to_owned(), |c| format!("{object}/{c}"))
}

/// The end of a day, or a time of it, on the clocks of this host.
fn end_of(written: &str, now: Timestamp) -> Result<Timestamp, Failed> {
    let zone = TimeZone::system();
    let wrong = |why: &str| {
        let text = format!("--until {written:?} {why}; write a day, such as 2027-03-31");
        Failed::new(exit::USAGE, text)
    };
    let local = match written.parse::<Date>() {
        // A date-time reads as a date, too: the longer one first.
        Ok(_) if written.contains([':', 'T', ' ']) => written.parse::<DateTime>().ok(),
        Ok(day) => day.tomorrow().ok().map(|day| day.at(0, 0, 0, 0)),
        Err(_) => None,
    };
    let local = local.ok_or_else(|| wrong("is no day"))?;
    let until = zone.to_ambiguous_timestamp(local).compatible().map_err(|_| wrong("is no day"))?;
    if until <= now {
        return Err(wrong("is over already"));
    }
    if until > now.checked_add(jiff::SignedDuration::from_hours(24 * 366)).unwrap_or(now) {
        return Err(wrong("is more than a year ahead: [[ignore]] in pbxcert.toml is for that"));
    }
    Ok(until)
}
