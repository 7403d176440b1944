//! A look at what this host is known by.

use std::time::Duration;

use super::World;
use crate::host;
use crate::policy::identity::{self, Looked};
use crate::policy::schedule::holds_until;
use crate::state::Event;
use crate::state::identity::{IdentityRecord, Marks};
use crate::store::{Error, Store};

impl World {
    /// What this host is known by now, compared with what was accepted, and remembered where the
    /// store may be written. Whoever may order at a CA looks first.
    ///
    /// What cannot be read or remembered is logged, and holds up nothing.
    pub fn identity(&self, store: &Store) -> IdentityRecord {
        self.look(store).unwrap_or_else(|error| {
            tracing::warn!(%error, "what this host is known by cannot be remembered");
            store.identity().unwrap_or_default()
        })
    }

    fn look(&self, store: &Store) -> Result<IdentityRecord, Error> {
        let before = store.identity()?;
        // To look only, as somebody who may not read the key: then by what was found before.
        let Ok(seen) = self.marks(store) else { return Ok(before) };
        let now = self.now();
        let Looked { record, .. } = identity::look(&before, &seen, now);
        if record == before || !store.is_writable() {
            return Ok(record);
        }
        let mut told = None;
        let change = |there: &mut IdentityRecord| {
            let Looked { record, news } = identity::look(there, &seen, now);
            (*there, told) = (record, news);
        };
        let record = store.change_identity(change, now)?;
        if let Some(text) = told {
            tracing::warn!("{text}");
            store.record(&Event {
                at: now,
                certificate: None,
                service: None,
                revision: None,
                what: "identity".to_owned(),
                text,
            })?;
        }
        Ok(record)
    }

    /// The marks of this host as they are now, or were seconds ago.
    ///
    /// # Errors
    ///
    /// When the instance key can be neither read nor made.
    pub fn marks(&self, store: &Store) -> Result<Marks, Error> {
        let now = self.now();
        let lately = self.marks.borrow().clone();
        if let Some((at, marks)) = lately
            && holds_until(at, LATELY, now).is_some()
        {
            return Ok(marks);
        }
        let key = store.instance_key()?;
        let marks = host::marks(&self.root, key.as_slice());
        self.marks.replace(Some((now, marks.clone())));
        Ok(marks)
    }
}

/// Nobody moves a machine while it runs; what a test or an administrator changes is seen soon.
const LATELY: Duration = Duration::from_secs(5);
