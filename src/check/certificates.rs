//! Certificates, the endpoints that serve them, and the peers that we call with them.

use jiff::Timestamp;

use super::Checker;
use crate::state::check::Item;

/// What there is to say of them.
pub(super) async fn items(_checker: &Checker<'_>, _now: Timestamp) -> Vec<Item> {
    Vec::new()
}
