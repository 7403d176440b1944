//! When a message goes through which channel.

use std::time::Duration;

use jiff::Timestamp;

use super::text::{QUOTE, clean};
use crate::policy::schedule::{HOUR, MINUTE, after, holds_until};
use crate::state::alert::log::{ChannelState, Outgoing};
use crate::state::check::Verdict;
use crate::state::{Condition, Finding, Next, Severity};

/// Pauses after the first, second and third try that failed; then hourly.
const PAUSES: [Duration; 3] = [MINUTE, Duration::from_secs(300), Duration::from_secs(900)];

/// After so many tries in a row a channel counts as dead, and the others tell of it.
const DEAD: u32 = 3;

/// Whether a message has still to go through a channel. That a channel is dead cannot be told
/// through it.
pub fn is_for(letter: &Outgoing, channel: &str) -> bool {
    let message = &letter.message;
    let of_itself = message.condition == Condition::ChannelDead.word() && message.object == channel;
    !letter.sent.contains(channel) && !of_itself
}

/// The message that goes next: the oldest. When that fails again and again, each in turn, for it
/// may be the message that is at fault.
pub fn pick<'l>(waiting: &[&'l Outgoing], state: &ChannelState) -> Option<&'l Outgoing> {
    if waiting.is_empty() {
        return None;
    }
    let turn = if state.failures < DEAD { 0 } else { state.failures as usize % waiting.len() };
    waiting.get(turn).copied()
}

/// Until when a channel is left alone.
pub fn rests_until(state: &ChannelState, now: Timestamp) -> Option<Timestamp> {
    // Further ahead was written with another clock.
    state.retry_at.filter(|at| now < *at && *at <= after(now, HOUR))
}

/// What is remembered of a channel after a try that failed.
pub fn failed(before: &ChannelState, error: &str, now: Timestamp) -> ChannelState {
    let failures = before.failures.saturating_add(1);
    let pause = PAUSES.get(before.failures as usize).copied().unwrap_or(HOUR);
    ChannelState {
        failures,
        failing_since: before.failing_since.or(Some(now)),
        retry_at: Some(after(now, pause)),
        error: Some(clean(error, QUOTE)),
    }
}

/// What is to be told of a channel that does not work.
pub fn dead(name: &str, state: &ChannelState, waiting: usize) -> Option<Finding> {
    if state.failures < DEAD {
        return None;
    }
    let text = format!("messages do not get out through {name}; {waiting} wait");
    let mut finding = Finding::new(
        Condition::ChannelDead,
        name,
        Severity::Warning,
        format!("does not work: {name}"),
        text,
    );
    finding.since = state.failing_since;
    finding.consequence = Some(format!("whoever reads only {name} hears of nothing"));
    finding.over = Some(format!("works again: {name}"));
    finding.ways = vec![
        "correct [alerts] in pbxcert.toml or what stands behind it; then: \
                         systemctl reload pbxcert, and: pbxcert alert test"
            .to_owned(),
    ];
    finding.next = Some(Next { what: "the next try".to_owned(), at: state.retry_at });
    finding.quote =
        state.error.clone().map(|words| crate::state::Quote { who: name.to_owned(), words });
    Some(finding)
}

/// What is to be told of heartbeats that do not get out.
pub fn silent(state: &ChannelState) -> Option<Finding> {
    if state.failures < DEAD {
        return None;
    }
    let mut finding = dead(HEARTBEAT, state, 0)?;
    finding.text = "the heartbeat of this host does not get out".to_owned();
    finding.consequence = Some(
        "whoever waits for it elsewhere takes this host for dead, or hears of no end".to_owned(),
    );
    finding.ways = vec![
        "correct heartbeat-url in [alerts] of pbxcert.toml or what stands behind it; then: \
         systemctl reload pbxcert, and: pbxcert alert test"
            .to_owned(),
    ];
    Some(finding)
}

/// What heartbeats are called where channels are listed by name.
pub const HEARTBEAT: &str = "heartbeat";

/// Between two heartbeats.
pub const BEAT: Duration = HOUR;

/// When the next heartbeat is due, after the `last` one and what it said: `every` so often; soon
/// when there is something else to say or the last one failed; at once after a clock that went back.
pub fn beats_at(
    last: Option<(Timestamp, Verdict)>,
    verdict: Verdict,
    state: Option<&ChannelState>,
    every: Duration,
    now: Timestamp,
) -> Timestamp {
    let Some((at, told)) = last else { return now };
    let Some(usual) = holds_until(at, every, now) else { return now };
    if let Some(state) = state.filter(|state| state.failures > 0) {
        return rests_until(state, now).unwrap_or(now).min(usual);
    }
    if told == verdict {
        return usual;
    }
    // What comes and goes must not become a storm.
    usual.min(after(at, MINUTE)).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::at;
    use crate::state::alert::{Level, Message};

    fn letter(id: &str) -> Outgoing {
        let message = Message {
            id: id.to_owned(),
            at: at(0),
            level: Level::Warning,
            site: String::new(),
            object: "mail".to_owned(),
            condition: "expiry".to_owned(),
            recovered: false,
            ends: None,
            by: None,
            subject: String::new(),
            body: String::new(),
            attachments: Vec::new(),
        };
        Outgoing { schema: 0, message, sent: Default::default() }
    }

    #[test]
    fn a_channel_rests_1_5_15_minutes_then_an_hour_and_is_dead_at_the_third() {
        let mut state = ChannelState::default();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for n in 1..=5 {
            state = failed(&state, "refused\r\n", now);
            let retry_at = rests_until(&state, now).unwrap();
            pauses.push(crate::cert::span(now, retry_at).as_secs() / 60);
            assert_eq!(dead("mail", &state, 1).is_some(), n >= 3);
            now = retry_at;
            assert_eq!(rests_until(&state, now), None);
        }
        assert_eq!(pauses, [1, 5, 15, 60, 60]);
        assert_eq!(state.failing_since, Some(at(0)));
        let far = ChannelState { retry_at: Some(at(7200)), ..state };
        assert_eq!(rests_until(&far, at(0)), None, "written with another clock");
    }

    #[test]
    fn the_oldest_goes_first_and_one_that_is_at_fault_holds_up_no_other_for_ever() {
        let (a, b) = (letter("a"), letter("b"));
        let waiting = [&a, &b];
        let state = |failures| ChannelState { failures, ..ChannelState::default() };
        for failures in 0..3 {
            assert_eq!(pick(&waiting, &state(failures)).unwrap().message.id, "a");
        }
        let later: Vec<&str> =
            (3..7).map(|n| pick(&waiting, &state(n)).unwrap().message.id.as_str()).collect();
        assert_eq!(later, ["b", "a", "b", "a"]);
        assert!(pick(&[], &state(0)).is_none());
    }

    #[test]
    fn a_dead_channel_is_not_told_through_itself() {
        let mut letter = letter("a");
        assert!(is_for(&letter, "mail"));
        letter.message.condition = "channel-dead".to_owned();
        assert!(!is_for(&letter, "mail") && is_for(&letter, "hook"));
        letter.sent.insert("hook".to_owned());
        assert!(!is_for(&letter, "hook"));
    }

    #[test]
    fn a_heart_beats_hourly_soon_with_other_news_and_again_1_5_15_minutes_after_a_failure() {
        let next = |last, verdict, state: Option<&ChannelState>, now| {
            crate::cert::span(at(0), beats_at(last, verdict, state, BEAT, at(now))).as_secs()
        };
        assert_eq!(next(None, Verdict::Unknown, None, 7), 7, "at once");
        let told = Some((at(0), Verdict::Unknown));
        assert_eq!(next(told, Verdict::Unknown, None, 7), 3600);
        assert_eq!(
            next(told, Verdict::Critical, None, 7),
            60,
            "unknown does not stand for an hour"
        );
        assert_eq!(next(told, Verdict::Critical, None, 90), 90);
        assert_eq!(
            next(Some((at(9000), Verdict::Ok)), Verdict::Ok, None, 7),
            7,
            "the clock went back"
        );
        let mut state = ChannelState::default();
        for (n, pause) in [(1, 60), (2, 300), (3, 900), (4, 3600)] {
            state = failed(&state, "refused", at(0));
            assert_eq!(next(told, Verdict::Unknown, Some(&state), 7), pause);
            assert_eq!(silent(&state).is_some(), n >= 3);
        }
    }
}
