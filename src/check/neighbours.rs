//! What else there is on this host that has to do with certificates: other clients, and listeners
//! that nobody looks after.

use jiff::Timestamp;

use super::Checker;
use crate::state::check::Item;

/// What there is to say of them.
pub(super) async fn items(_checker: &Checker<'_>, _now: Timestamp) -> Vec<Item> {
    Vec::new()
}
