//! What a person took note of, or the configuration ignores, is shown and counts for nothing.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::show;
use crate::config::Config;
use crate::policy::alerts::{Settings, ignored};
use crate::policy::health::endpoint::{Chain, Wanted};
use crate::state::alert::Level;
use crate::state::alert::log::AlertLog;
use crate::state::check::Verdict;
use crate::state::{Answer, Condition, Served};

/// `ack` and `[[ignore]]`, as they hold now.
pub(super) struct Silence {
    log: AlertLog,
    settings: Settings,
    now: Timestamp,
}

/// A look at an endpoint, and what was made of it.
pub(super) struct Look<'a> {
    pub(super) service: &'a str,
    pub(super) certificate: &'a str,
    pub(super) served: &'a Served,
    pub(super) wanted: &'a Wanted,
    pub(super) chain: Option<&'a Chain>,
    pub(super) verdict: Verdict,
}

impl Silence {
    pub(super) fn new(log: AlertLog, config: &Config, now: Timestamp) -> Self {
        Self { log, settings: Settings::of(config, TimeZone::system()), now }
    }

    /// Why a look counts for nothing; `None`: it counts.
    pub(super) fn of(&self, look: &Look<'_>) -> Option<String> {
        if look.verdict == Verdict::Ok {
            return None;
        }
        let reasons: Option<Vec<String>> =
            look.worries(self.now).iter().map(|worry| self.of_worry(worry, look.verdict)).collect();
        let mut reasons = reasons?;
        reasons.dedup();
        Some(reasons.join("; "))
    }

    /// What is told of it has to be silent; while nothing is told, a word about any of it will do.
    fn of_worry(&self, items: &[(&str, Condition)], verdict: Verdict) -> Option<String> {
        let told = |(object, condition): (&str, Condition)| {
            let item = self.log.item(object, condition).filter(|item| item.gone_at.is_none());
            item.and_then(|item| item.level)
        };
        let open: Vec<_> = items.iter().filter_map(|item| Some((*item, told(*item)?))).collect();
        if open.is_empty() {
            let quietest = |condition: Condition| match (condition.is_about_life(), verdict) {
                (true, Verdict::Critical) => Level::Critical,
                _ => Level::Warning,
            };
            return items.iter().find_map(|item| self.word_on(*item, quietest(item.1)));
        }
        let words: Option<Vec<String>> =
            open.iter().map(|(item, level)| self.word_on(*item, *level)).collect();
        words.map(|mut words| {
            words.dedup();
            words.join("; ")
        })
    }

    fn word_on(&self, (object, condition): (&str, Condition), level: Level) -> Option<String> {
        if let Some(ack) = self.log.ack(object, condition, level, self.now) {
            return Some(format!(
                "acked until {}: {} ({})",
                show::clock(ack.until),
                ack.note,
                ack.by
            ));
        }
        let ignore = ignored(&self.settings, object, condition, self.now)?;
        Some(format!("ignored: {}", ignore.reason))
    }
}

impl<'a> Look<'a> {
    /// What a person is told of when it is like this: each worry under its possible names.
    fn worries(&self, now: Timestamp) -> Vec<Vec<(&'a str, Condition)>> {
        use Condition::{
            DeployBroken, Drift, Expiry, NotTaken, Placeholder, Renewal, RolledBack, Stuck,
            Unproved,
        };
        let (service, certificate) = (self.service, self.certificate);
        let life = || [Expiry, Renewal].map(|condition| (certificate, condition)).to_vec();
        let Answer::Certificate { leaf, .. } = &self.served.answer else {
            return vec![[Unproved, Stuck].map(|condition| (service, condition)).to_vec()];
        };
        if leaf.is_placeholder() {
            return vec![vec![(certificate, Placeholder)]];
        }
        if !leaf.validity.contains(now) {
            return vec![life()];
        }
        let other =
            ![self.wanted.fingerprint, self.wanted.in_place].contains(&Some(leaf.fingerprint));
        let changed = self.chain.is_some_and(Chain::is_changed);
        let mut worries = Vec::new();
        if other || changed {
            let of_service = [NotTaken, RolledBack, DeployBroken, Drift, Stuck];
            let mut items = of_service.map(|condition| (service, condition)).to_vec();
            // One from outside, and none of ours yet.
            items.push((certificate, Drift));
            worries.push(items);
        }
        let quarter = leaf.validity.lifetime() / 4;
        if !other && leaf.validity.left(now) < quarter {
            worries.push(life());
        }
        worries
    }
}
