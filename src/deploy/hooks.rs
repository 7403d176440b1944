//! What a service's hooks are told, and what they say.

use super::{Deployment, Error, Wanted, chain_of};
use crate::cert::bundle::names;
use crate::service::HookEvent;
use crate::state::{ReloadRecord, Served, ServiceState, Step};
use crate::store::ServiceWriter;

impl Deployment<'_> {
    /// Runs the reload hook once for all; returns what it complained of. Its exit code is only a
    /// hint: 12 of 14 services answer 0 when they refused the certificate.
    pub(super) async fn reload(
        &self,
        writer: &ServiceWriter,
        state: &mut ServiceState,
        wanted: &[Wanted],
    ) -> Result<Option<String>, Error> {
        if self.spec.reload.is_none() {
            return Ok(None);
        }
        let now = self.world.now();
        let revisions = wanted.iter().map(|w| (w.certificate.clone(), w.revision)).collect();
        state.reloads.retain(|r| now.duration_since(r.at).as_hours() < 7 * 24);
        state.reloads.push(ReloadRecord { at: now, revisions, by_hand: self.by_hand });
        // Counted before it runs: a reload that kills the machine must count too.
        writer.remember(state)?;
        self.say(&format!("{}: reloading", self.spec.name));
        let complaint = self.refused(HookEvent::Reload, wanted, state).await;
        for want in wanted {
            if let Err(error) = self.reach(writer, state, &want.certificate, Step::Reloaded) {
                // Whether it broke the service has to be looked at all the same.
                let service = self.spec.name.as_str();
                tracing::warn!(service, "the reload could not be noted: {}", chain_of(&error));
            }
            let text = match &complaint {
                None => "the reload hook ran".to_owned(),
                Some(complaint) => format!("the reload hook complained: {complaint}"),
            };
            self.tell(&want.certificate, Some(want.revision), "reloaded", &text, self.world.now());
        }
        Ok(complaint)
    }

    /// How many calls a reload would end, as the busy hook prints it; `None`: nobody can say (no
    /// hook, exit code 75, or anything but a number).
    pub async fn count_calls(&self) -> Option<u32> {
        let exec = ("PBXCERT_EXEC".to_owned(), self.spec.exec_prefix.join(" "));
        let service = ("PBXCERT_SERVICE".to_owned(), self.spec.name.clone());
        let (event, limit) = (HookEvent::Busy, self.spec.hook_timeout);
        match self.world.reloader.run(self.spec, event, &[service, exec], limit).await? {
            Ok(output) if output.done() => output.text.trim().parse().ok(),
            Ok(output) => {
                let service = self.spec.name.as_str();
                let code = output.code;
                tracing::warn!(service, code, "calls cannot be counted: {}", output.text.trim());
                None
            }
            Err(error) => {
                let service = self.spec.name.as_str();
                tracing::warn!(service, "calls cannot be counted: {}", chain_of(&error));
                None
            }
        }
    }

    /// Runs a hook; `Some` is its complaint.
    pub(super) async fn refused(
        &self,
        event: HookEvent,
        wanted: &[Wanted],
        state: &ServiceState,
    ) -> Option<String> {
        let variables = self.variables(wanted, state);
        let limit = self.spec.hook_timeout;
        match self.world.reloader.run(self.spec, event, &variables, limit).await? {
            Ok(output) if output.code == 0 => None,
            Ok(output) => Some(format!("exit code {}: {}", output.code, output.text.trim())),
            Err(error) => Some(chain_of(&error)),
        }
    }

    pub(super) fn variables(
        &self,
        wanted: &[Wanted],
        state: &ServiceState,
    ) -> Vec<(String, String)> {
        let joined =
            |of: &dyn Fn(&Wanted) -> String| wanted.iter().map(of).collect::<Vec<_>>().join(" ");
        let paths = |w: &Wanted| match self.spec.install.get(&w.certificate) {
            None => String::new(),
            Some(install) => {
                let paths: Vec<String> =
                    install.targets().iter().map(|(p, _)| p.display().to_string()).collect();
                paths.join(" ")
            }
        };
        let previous = |w: &Wanted| {
            let promoted = state.pairs.get(&w.certificate).and_then(|p| p.promoted.as_ref());
            promoted.map_or_else(|| "-".to_owned(), |p| p.fingerprint.to_string())
        };
        let pairs = wanted.iter().filter_map(|w| state.pairs.get(&w.certificate));
        let was_running = pairs.flat_map(|pair| pair.baseline.values()).any(Served::is_alive);
        let kept = self.store.service(&self.spec.name).map(|s| s.hook_dir().display().to_string());
        [
            ("PBXCERT_SERVICE", self.spec.name.clone()),
            ("PBXCERT_EXEC", self.spec.exec_prefix.join(" ")),
            ("PBXCERT_CERTIFICATE", joined(&|w| w.certificate.clone())),
            ("PBXCERT_REVISION", joined(&|w| w.revision.to_string())),
            ("PBXCERT_NAMES", joined(&|w| names(w.bundle.leaf()).replace(", ", ","))),
            ("PBXCERT_FINGERPRINT", joined(&|w| w.bundle.leaf().fingerprint.to_string())),
            ("PBXCERT_NOT_AFTER", joined(&|w| w.bundle.leaf().validity.not_after.to_string())),
            ("PBXCERT_PATHS", joined(&paths)),
            ("PBXCERT_PREVIOUS_FINGERPRINT", joined(&previous)),
            ("PBXCERT_STATE", kept.unwrap_or_default()),
            ("PBXCERT_WAS_RUNNING", u8::from(was_running).to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}
