//! `[check]`: the daily check.

use jiff::civil::Weekday;

use super::walk::{At, Read, Table, Value, Walk};
use super::{calm, issuer, keys, service, value};
use crate::config::check::{AdvisorySpec, CheckHooks, CheckSpec, CheckTime, Limit, Limits};

/// Reads the table; without it the check runs as usual.
pub(super) fn read<'a>(walk: &mut Walk<'a>, roots: &[Table<'a>]) -> Read<CheckSpec> {
    let Some(value) = walk.once(roots, "check") else { return Ok(CheckSpec::default()) };
    let table = walk.table(value, keys::CHECK)?;
    walk.refuse_unknown_keys(&table);
    let at = walk.optional(&table, "at", at);
    let proxy = issuer::proxy(walk, &table);
    let offline = walk.optional(&table, "offline", Walk::bool);
    let advisories = advisories(walk, &table);
    let metrics_file = walk.optional(&table, "metrics-file", |w, v| w.path(v).map(|p| p.it));
    let limits = walk.optional(&table, "limits", limits);
    let hooks = hooks(walk, &table);
    Ok(CheckSpec {
        at: at?.unwrap_or_default(),
        proxy: proxy?,
        offline: offline?.unwrap_or_default(),
        advisories: advisories?,
        metrics_file: metrics_file?,
        limits: limits?.unwrap_or_default(),
        hooks: hooks?,
    })
}

/// `random`, `03:30`, `sun 03:30`.
fn at<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<CheckTime> {
    let At { at, it } = walk.string(value)?;
    moment(&it).ok_or_else(|| {
        let text = format!(
            "\"at\" is {it:?}, but must be \"random\", a time such as \"03:30\", or a day and a \
             time such as \"sun 03:30\""
        );
        walk.problem(at, text)
    })
}

fn moment(text: &str) -> Option<CheckTime> {
    if text == "random" {
        return Some(CheckTime::Random);
    }
    match text.split_once(' ') {
        None => value::time_of_day(text).map(CheckTime::Daily),
        Some((day, at)) => Some(CheckTime::Weekly(weekday(day)?, value::time_of_day(at)?)),
    }
}

fn weekday(word: &str) -> Option<Weekday> {
    let day = calm::DAYS.iter().position(|w| *w == word.to_ascii_lowercase())?;
    Weekday::from_monday_zero_offset(i8::try_from(day).ok()?).ok()
}

fn advisories<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<AdvisorySpec> {
    let url = walk.optional(table, "advisory-url", |walk, value| {
        let At { at, it } = walk.string(value)?;
        if it.starts_with("https://") && url::Url::parse(&it).is_ok_and(|url| url.has_host()) {
            return Ok(it);
        }
        let text = "\"advisory-url\" must be an address that begins with https://";
        Err(walk.problem(at, text))
    });
    let trust_anchor = walk.optional(table, "trust-anchor", issuer::trust_anchor);
    let file = walk.optional(table, "advisory-file", |w, v| w.path(v).map(|p| p.it));
    let keys = walk.optional(table, "advisory-keys", |walk, value| {
        walk.strings(value)?.into_iter().map(|key| public_key(walk, key)).collect::<Read<Vec<_>>>()
    });
    let spec = AdvisorySpec {
        url: url?,
        trust_anchor: trust_anchor?,
        file: file?,
        keys: keys?.unwrap_or_default(),
    };
    let source = ["advisory-url", "advisory-file"].into_iter().find_map(|key| table.find(key));
    if let Some(source) = source.filter(|_| spec.keys.is_empty()) {
        let text = "advisories are only believed when they are signed: name the public keys with \
                    advisory-keys = [\"RW...\"] (pbxcert advisories keygen makes a pair)";
        return Err(walk.problem(source.at, text));
    }
    Ok(spec)
}

/// Two letters for the algorithm, 8 bytes that name the key, 32 bytes of Ed25519, in base64.
fn public_key(walk: &mut Walk<'_>, At { at, it }: At<String>) -> Read<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(it.trim()).unwrap_or_default();
    if bytes.len() == 42 && bytes.starts_with(b"Ed") {
        return Ok(it.trim().to_owned());
    }
    let text = format!("{it:?} is no public key of minisign: the second line of its .pub file");
    Err(walk.problem(at, text))
}

fn hooks<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<CheckHooks> {
    let check = walk.optional(table, "on-check", service::argv);
    let restricted = walk.optional(table, "on-restricted", service::argv);
    let restored = walk.optional(table, "on-restored", service::argv);
    let vulnerable = walk.optional(table, "on-vulnerable", service::argv);
    Ok(CheckHooks {
        check: check?,
        restricted: restricted?,
        restored: restored?,
        vulnerable: vulnerable?,
    })
}

fn limits<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Limits> {
    let table = walk.table(value, keys::LIMITS)?;
    walk.refuse_unknown_keys(&table);
    let usual = Limits::default();
    // The lower number is the worse one where what is left is measured.
    let processor = limit(walk, &table, "processor", usual.processor);
    let load = limit(walk, &table, "load", usual.load);
    let memory = limit(walk, &table, "memory", usual.memory);
    let memory_pressure = limit(walk, &table, "memory-pressure", usual.memory_pressure);
    let io = limit(walk, &table, "io", usual.io);
    let swap = limit(walk, &table, "swap", usual.swap);
    let disk = limit(walk, &table, "disk", usual.disk);
    let clock = walk.optional(&table, "clock", |walk, value| {
        let pair = pair(walk, value, value::duration)?;
        if pair[0] < pair[1] {
            return Ok(pair);
        }
        Err(walk.problem(value.at, "\"clock\": the second, critical one must be the longer one"))
    });
    Ok(Limits {
        processor: processor?,
        load: load?,
        memory: memory?,
        memory_pressure: memory_pressure?,
        io: io?,
        swap: swap?,
        disk: disk?,
        clock: clock?.unwrap_or(usual.clock),
    })
}

fn limit<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    key: &'static str,
    usual: Limit,
) -> Read<Limit> {
    let read = walk.optional(table, key, |walk, value| {
        let [warning, critical] = pair(walk, value, percent)?;
        let rises = usual.warning < usual.critical;
        if (warning < critical) == rises && warning != critical {
            return Ok(Limit { warning, critical });
        }
        let which = if rises { "higher" } else { "lower" };
        let text = format!("{key:?}: the second, critical one must be the {which} one");
        Err(walk.problem(value.at, text))
    })?;
    Ok(read.unwrap_or(usual))
}

/// `["20 %", "40 %"]`.
fn pair<'a, T>(
    walk: &mut Walk<'a>,
    value: Value<'a>,
    meaning: impl Fn(&str) -> Option<T>,
) -> Read<[T; 2]> {
    let written = walk.strings(value)?;
    let read: Option<Vec<T>> = written.iter().map(|one| meaning(&one.it)).collect();
    read.and_then(|pair| pair.try_into().ok()).ok_or_else(|| {
        let text = format!(
            "{:?} must be two limits, for a warning and for critical, such as [\"20 %\", \"40 %\"] \
             or, for the clock, [\"60s\", \"5m\"]",
            value.key
        );
        walk.problem(value.at, text)
    })
}

fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.trim().strip_suffix('%')?.trim_end().parse().ok()?;
    (number > 0.0 && number <= 1000.0).then_some(number)
}
