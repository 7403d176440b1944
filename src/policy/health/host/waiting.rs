//! Waiting: for a processor, for memory, for the disk.

use super::days::Days;
use super::means::Means;
use super::{HOST, judged, level, percent, span};
use crate::config::check::{Limit, Limits};
use crate::state::check::{Item, Topic, Verdict};
use crate::state::host::{Load, Pressure};

/// From here on it is worth a word that other virtual machines take processor time, in percent.
const STOLEN: f64 = 5.0;

/// One resource, and how it is spoken of.
struct Resource {
    topic: Topic,
    place: Option<&'static str>,
    /// Its word in labels and streaks.
    word: &'static str,
    /// Its file below /proc/pressure.
    file: &'static str,
    /// Who waited for what.
    waited: &'static str,
    meaning: &'static str,
    improve: &'static str,
    next: &'static str,
    limit: Limit,
}

/// Whether there is processor time left: what audio suffers from first.
pub(super) fn processor(
    load: &Load,
    means: Option<&Means>,
    limits: &Limits,
    days: &mut Days,
) -> Item {
    let resource = Resource {
        topic: Topic::Processor,
        place: None,
        word: "processor",
        file: "cpu",
        waited: "programs waited for a processor",
        meaning: MEANING,
        improve: MORE_TIME,
        next: TOP,
        limit: limits.processor,
    };
    let mut item = match load.processor {
        Pressure::Known(recent) => {
            waited(&resource, recent, means.and_then(|m| m.processor), means, days)
        }
        _ => match load.load.zip(load.processors) {
            Some((load, processors)) => queue(load, processors, limits.load, days),
            None => unseen(&resource, load.processor),
        },
    };
    let stolen = means.and_then(|means| means.stolen);
    if let Some(stolen) = stolen.filter(|stolen| *stolen >= STOLEN) {
        let taken =
            format!("; other virtual machines took {stolen:.1} % of the processor time (steal)");
        item.text.push_str(&taken);
        if item.next.is_some() {
            let ask = "ask whoever runs the virtualisation for processors that are reserved; top \
                       shows as st what is taken away";
            item.next = Some(ask.to_owned());
        }
    }
    if let Some((busy, stolen)) = means.and_then(|means| means.busy.zip(means.stolen)) {
        item = item.with(percent("processor-busy-mean", busy, None));
        item = item.with(percent("processor-steal-mean", stolen, None));
    }
    item
}

/// Whether everything stood still for want of memory.
pub(super) fn memory(load: &Load, means: Option<&Means>, limits: &Limits, days: &mut Days) -> Item {
    let resource = Resource {
        topic: Topic::Memory,
        // Beside how much memory is left.
        place: Some("pressure"),
        word: "memory",
        file: "memory",
        waited: "all programs waited for memory",
        meaning: "calls break up or end",
        improve: "more memory",
        next: "top -o %MEM shows what uses it",
        limit: limits.memory_pressure,
    };
    match load.memory_pressure {
        Pressure::Known(recent) => {
            waited(&resource, recent, means.and_then(|m| m.memory), means, days)
        }
        other => unseen(&resource, other),
    }
}

/// Whether everything stood still for the disk.
pub(super) fn io(load: &Load, means: Option<&Means>, limits: &Limits, days: &mut Days) -> Item {
    let resource = Resource {
        topic: Topic::Io,
        place: None,
        word: "io",
        file: "io",
        waited: "all programs waited for the disk",
        meaning: "announcements, voicemail and recordings break up",
        improve: "a faster disk, or one that is not shared",
        next: "iotop -oa shows what uses the disk; move backups and recordings to quiet hours or \
               another disk",
        limit: limits.io,
    };
    match load.io {
        Pressure::Known(recent) => waited(&resource, recent, means.and_then(|m| m.io), means, days),
        other => unseen(&resource, other),
    }
}

/// Pressure: the worse of the last 300 seconds and the mean since the last check counts.
fn waited(
    resource: &Resource,
    recent: f64,
    mean: Option<f64>,
    means: Option<&Means>,
    days: &mut Days,
) -> Item {
    let &Resource { topic, place, word, limit, .. } = resource;
    let worst = mean.map_or(recent, |mean| mean.max(recent));
    let reached = level(worst, limit);
    let key = place.map_or(word.to_owned(), |place| format!("{word} {place}"));
    let settled = days.settle(&key, reached);
    let since = mean.zip(means).map(|(mean, means)| {
        format!("{mean:.1} % of the time since the last check ({}) and ", span(means.seconds))
    });
    let mark = if settled.verdict == Verdict::Critical { limit.critical } else { limit.warning };
    let text = format!(
        "{} {}{recent:.1} % of the last 5 minutes{}",
        resource.waited,
        since.unwrap_or_default(),
        judged(settled, &format!("above {mark} %"), resource.meaning, resource.improve),
    );
    let mut item = Item::new(topic, HOST, settled.verdict, text);
    item.place = place.map(str::to_owned);
    item.next = reached.map(|_| resource.next.to_owned());
    item = item.with(percent(&format!("{word}-waiting"), recent, Some(limit)));
    match mean {
        None => item,
        Some(mean) => item.with(percent(&format!("{word}-waiting-mean"), mean, Some(limit))),
    }
}

/// The load for each processor, where the kernel does not say how long anything waited.
fn queue(load: f64, processors: u32, limit: Limit, days: &mut Days) -> Item {
    let value = load / f64::from(processors.max(1)) * 100.0;
    let reached = level(value, limit);
    let settled = days.settle("processor", reached);
    let mark = if settled.verdict == Verdict::Critical { limit.critical } else { limit.warning };
    let are = if processors == 1 { "1 processor" } else { &format!("{processors} processors") };
    let text = format!(
        "{load:.1} programs at a time wanted one of {are} in the last 15 minutes ({value:.0} % of \
         what there is){}",
        judged(settled, &format!("above {mark} %"), MEANING, MORE_TIME),
    );
    let mut item = Item::new(Topic::Processor, HOST, settled.verdict, text);
    item.next = reached.map(|_| TOP.to_owned());
    item.with(percent("load", value, Some(limit)))
}

const MEANING: &str = "speech breaks up";
const MORE_TIME: &str = "more processor time";
const TOP: &str = "top shows what uses the processors; give the machine more of them, or move what \
                   is no telephony elsewhere";

fn unseen(resource: &Resource, why: Pressure) -> Item {
    let &Resource { topic, place, file, waited, .. } = resource;
    let mut item = if why == Pressure::NotKept {
        // Nobody can be asked on such a host: to count it for ever would only teach people not to
        // look.
        let text = format!("whether {waited} is not known: this kernel keeps no account of it");
        let next = "add psi=1 to the kernel's command line (grubby --update-kernel=ALL \
                    --args=psi=1, or /etc/default/grub and update-grub) and restart the machine; \
                    it takes Linux 4.20 or newer";
        Item::not_asked(topic, HOST, Verdict::Unknown, &text).then(next)
    } else {
        let text = format!("whether {waited} is not known: /proc/pressure/{file} cannot be read");
        let next = format!("see what cat /proc/pressure/{file} says as root");
        Item::new(topic, HOST, Verdict::Unknown, text).then(next)
    };
    item.place = place.map(str::to_owned);
    item
}
