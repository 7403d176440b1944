//! Whether the clock is right, and whether anybody keeps it so.

use std::time::Duration;

use jiff::Timestamp;

use super::days::Days;
use super::{HOST, Host, rounded, span};
use crate::state::alert::Level;
use crate::state::check::{Item, Metric, Topic, Unit, Verdict};
use crate::state::host::{Load, Offset, Timekeeper};

/// Time services set the clock, or write down that it runs well, once an hour or more often.
const LATE: f64 = 6.0 * 3600.0;

/// Nobody has set the clock for so long: then it is as good as unsynchronised.
const LOST: f64 = 24.0 * 3600.0;

/// By what others say, and by when somebody set it last.
pub(super) fn item(host: Host<'_>, limits: [Duration; 2], days: &mut Days, now: Timestamp) -> Item {
    let kept = kept(host, now);
    let limits = limits.map(|limit| limit.as_secs_f64());
    let set_back = host.load.timekeepers.iter().filter_map(|keeper| ahead(keeper, now));
    let offsets = host.offsets.iter().cloned().chain(set_back.filter(|o| -o.seconds >= limits[0]));
    let offset = offsets.max_by(|a, b| a.seconds.abs().total_cmp(&b.seconds.abs()));
    let far = offset.as_ref().and_then(|offset| match offset.seconds.abs() {
        off if off >= limits[1] => Some(Level::Critical),
        off if off >= limits[0] => Some(Level::Warning),
        _ => None,
    });
    let reached = far.max(kept.level);
    let settled = days.settle("clock", reached);
    let mut text = match &offset {
        Some(offset) => format!("the clock is {}; {}", told(offset), kept.text),
        None => kept.text.clone(),
    };
    match (settled.verdict, settled.days) {
        (Verdict::Critical | Verdict::Warning, _) => text.push_str(
            "; with a wrong clock certificates seem expired or not yet valid, and calls are billed \
             at the wrong time",
        ),
        (_, 0) => {}
        (..) => text.push_str("; a warning if the next day's check finds it, too"),
    }
    let observed = offset.is_some() || kept.known;
    let mut item = match (reached, observed) {
        (None, false) if !kept.asked => {
            Item::not_asked(Topic::Clock, HOST, Verdict::Unknown, &text)
        }
        (None, false) => Item::new(Topic::Clock, HOST, Verdict::Unknown, text),
        _ => Item::new(Topic::Clock, HOST, settled.verdict, text),
    };
    if reached.is_some() || (!observed && kept.asked) {
        item.next = Some(if host.load.contained { ON_HOST } else { SWITCH_ON }.to_owned());
    }
    let seconds = |label: &str, value: f64, [warning, critical]: [f64; 2]| Metric {
        label: label.to_owned(),
        value: rounded(value),
        unit: Unit::Seconds,
        warning: Some(warning),
        critical: Some(critical),
    };
    if let Some(offset) = &offset {
        // Monitoring compares with limits that know no sign.
        item = item.with(seconds("clock-offset", offset.seconds.abs(), limits));
    }
    match kept.age {
        None => item,
        Some(age) => item.with(seconds("clock-set-age", age, [LATE, LOST])),
    }
}

const SWITCH_ON: &str = "timedatectl shows it; timedatectl set-ntp true switches the time service \
                         of this host on, and chronyc makestep sets the clock at once where chrony \
                         runs";
const ON_HOST: &str = "set the clock of the machine that this container runs on";

/// Whether anybody keeps the clock right.
struct Kept {
    text: String,
    level: Option<Level>,
    /// It was observed.
    known: bool,
    /// It should be.
    asked: bool,
    /// Seconds since it was set last.
    age: Option<f64>,
}

fn kept(host: Host<'_>, now: Timestamp) -> Kept {
    let unseen = |text: &str, asked| Kept {
        text: text.to_owned(),
        level: None,
        known: false,
        asked,
        age: None,
    };
    if host.unsynchronised {
        return unseen("nobody sets it, as the configuration says", false);
    }
    if host.load.contained {
        return unseen("a container has the clock of its host", false);
    }
    let age =
        |keeper: &Timekeeper| keeper.set_at.map(|at| now.duration_since(at).as_secs_f64().max(0.0));
    let keepers = &host.load.timekeepers;
    let fresh = keepers.iter().filter_map(|keeper| Some((keeper, age(keeper)?)));
    let fresh = fresh.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, age)| *age <= LATE);
    if let Some((keeper, age)) = fresh {
        let text = format!("{} set it {} ago", keeper.name, span(age));
        return Kept { text, level: None, known: true, asked: true, age: Some(age) };
    }
    let Some(keeper) = keepers.iter().find(|keeper| keeper.runs) else {
        let text = "no time service is seen that sets the clock of this host";
        return unseen(text, true);
    };
    neglected(keeper, age(keeper), host.load)
}

/// A time service runs, and has not set the clock for long.
fn neglected(keeper: &Timekeeper, age: Option<f64>, load: &Load) -> Kept {
    let name = &keeper.name;
    let up = load.sample.as_ref().map(|sample| sample.uptime.as_secs_f64());
    // What was before the start of this machine is nobody's fault.
    let neglect = match (age, up) {
        (Some(age), Some(up)) => Some(age.min(up)),
        (None, up) => up,
        (age, None) => age,
    };
    let Some(neglect) = neglect.filter(|neglect| *neglect > LATE) else {
        let text = format!("{name} runs, and has not set it since this machine started");
        return Kept { text, level: None, known: false, asked: true, age };
    };
    let level = if neglect > LOST { Level::Critical } else { Level::Warning };
    let text = format!("{name} runs, but has not set it for {}", span(neglect));
    Kept { text, level: Some(level), known: true, asked: true, age: Some(neglect) }
}

/// The clock was set at a time that is yet to come: it was put back since.
fn ahead(keeper: &Timekeeper, now: Timestamp) -> Option<Offset> {
    let seconds = now.duration_since(keeper.set_at?).as_secs_f64();
    let by = format!("when {} set it last, at least", keeper.name);
    (seconds < 0.0).then_some(Offset { seconds, by })
}

fn told(offset: &Offset) -> String {
    let off = offset.seconds.abs();
    // A date over HTTP has whole seconds.
    if off < 2.0 {
        return format!("right, going by {}", offset.by);
    }
    let way = if offset.seconds > 0.0 { "ahead" } else { "behind" };
    let much = if off < 120.0 { format!("{off:.0} s") } else { span(off) };
    format!("{much} {way}, going by {}", offset.by)
}
