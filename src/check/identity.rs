//! Whether this system runs twice.

use jiff::Timestamp;

use super::Checker;
use crate::policy::identity;
use crate::state::check::Item;

/// What there is to say of that.
pub(super) async fn items(checker: &Checker<'_>, _now: Timestamp) -> Vec<Item> {
    vec![identity::item(&checker.world.identity(checker.store))]
}
