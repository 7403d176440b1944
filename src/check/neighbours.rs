//! What else there is on this host that has to do with certificates: other clients, and listeners
//! that nobody looks after.

mod clients;
mod cron;
mod listeners;

use jiff::Timestamp;

use super::Checker;
use crate::state::check::Item;

/// What there is to say of them.
pub(super) async fn items(checker: &Checker<'_>, now: Timestamp) -> Vec<Item> {
    let mut items = clients::items(checker);
    items.extend(listeners::items(checker, now).await);
    items
}
