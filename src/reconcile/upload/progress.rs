//! How far what was accepted got, told beside the drop.

use crate::config::{CertSpec, Mode, Source};
use crate::deploy::chain_of;
use crate::policy::plan::{ServiceAction, next_service};
use crate::policy::words::{Wanting, Wants, progress};
use crate::reconcile::{Error, Reconciler};
use crate::state::{Revision, ServiceState};
use crate::store::DropFolder;

impl Reconciler<'_> {
    /// Tells an uploader whether it is live, or why not, when the newest revision was uploaded. It
    /// is only a note: what is in its way is told in the log, and holds up nothing.
    ///
    /// # Errors
    ///
    /// When records cannot be read.
    pub(in crate::reconcile) fn note_progress(&self, spec: &CertSpec) -> Result<(), Error> {
        let nobody = spec.source == Source::Acme || !spec.upload.dir.is_dir();
        if self.config.mode == Mode::Observe || nobody {
            return Ok(());
        }
        let newest = self.store.certificate(&spec.name)?.newest()?;
        let text = match newest.filter(Revision::is_upload) {
            Some(newest) => self.progress_of(spec, &newest)?,
            None => String::new(),
        };
        let written = DropFolder::open(&spec.upload).and_then(|folder| folder.progress(&text));
        if let Err(error) = written {
            let certificate = spec.name.as_str();
            tracing::debug!(certificate, "no note of the progress: {}", chain_of(&error));
        }
        Ok(())
    }

    fn progress_of(&self, spec: &CertSpec, newest: &Revision) -> Result<String, Error> {
        let mut services: Vec<(&str, ServiceState, Vec<String>, Option<String>)> = Vec::new();
        for service in self.config.services.iter().filter(|s| s.certificates.contains(&spec.name)) {
            let state = self.store.service(&service.name)?.state()?;
            let seen = self.observe_service(service, &state)?;
            let action = next_service(service, &seen, &self.seed(), self.world.now());
            let waits_for = match action {
                ServiceAction::Wait(wait) => Some(wait.why.to_string()),
                _ => None,
            };
            let endpoints = service.endpoints.iter().filter(|e| e.certificate == spec.name);
            let endpoints = endpoints.map(ToString::to_string).collect();
            services.push((&service.name, state, endpoints, waits_for));
        }
        let wants: Vec<Wants<'_>> = services
            .iter()
            .map(|(service, state, endpoints, waits_for)| Wants {
                wanting: Wanting { service, state, endpoints },
                waits_for: waits_for.clone(),
            })
            .collect();
        Ok(progress(&spec.name, newest, &wants))
    }
}
