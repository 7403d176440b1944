//! `history`: what happened, in order.

use serde::Serialize;

use super::{Context, Failed, exit, show};
use crate::state::Event;

/// Prints the latest events, of one object if it is named.
pub(super) fn print(
    context: &Context,
    name: Option<&str>,
    lines: usize,
    json: bool,
) -> Result<u8, Failed> {
    #[derive(Serialize)]
    struct Report {
        schema: u32,
        events: Vec<Event>,
    }

    let wanted = |e: &Event| {
        name.is_none_or(|n| e.certificate.as_deref() == Some(n) || e.service.as_deref() == Some(n))
    };
    let mut events: Vec<_> = context.store.history()?.into_iter().filter(wanted).collect();
    events.drain(..events.len().saturating_sub(lines));
    if json {
        show::json(&Report { schema: 1, events });
        return Ok(exit::DONE);
    }
    let rows = events.into_iter().map(|e| {
        let object = match (e.certificate, e.service) {
            (Some(c), Some(s)) => format!("{c} in {s}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "-".to_owned(),
        };
        let revision = e.revision.map_or_else(|| "-".to_owned(), |r| r.to_string());
        vec![show::clock(e.at), object, revision, e.what, e.text]
    });
    show::table(&["WHEN", "OBJECT", "REVISION", "WHAT", "TEXT"], rows.collect());
    Ok(exit::DONE)
}
