//! Known security issues of what is installed, updates that wait, and where word of that comes
//! from.

use jiff::Timestamp;

use super::Checker;
use crate::state::check::Item;
use crate::state::software::SoftwareMemory;

/// What there is to say of them.
pub(super) async fn items(
    _checker: &Checker<'_>,
    _memory: &mut SoftwareMemory,
    _now: Timestamp,
) -> Vec<Item> {
    Vec::new()
}
