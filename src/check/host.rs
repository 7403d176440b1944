//! Processor, memory, disk and clock of this host.

use jiff::Timestamp;

use super::Checker;
use crate::state::check::Item;
use crate::state::host::HostMemory;

/// What there is to say of it.
pub(super) async fn items(
    _checker: &Checker<'_>,
    _memory: &mut HostMemory,
    _now: Timestamp,
) -> Vec<Item> {
    Vec::new()
}
