//! Runs the hooks of a service, and tries a pair of files as the service's user would.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cert::Fingerprint;
use crate::config::ServiceSpec;
use crate::{hook, tls};

/// A future of a seam; the runtime has one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a hook is asked to do, `PBXCERT_EVENT`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HookEvent {
    /// Print the number of calls that are up.
    Busy,
    /// Bring the service back after a rollback.
    Recover,
    /// Make the service take the new files.
    Reload,
    /// Say whether the service's configuration is sound.
    Test,
}

impl HookEvent {
    /// The value of `PBXCERT_EVENT`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Recover => "recover",
            Self::Reload => "reload",
            Self::Test => "test",
        }
    }
}

/// Makes a service do something.
pub trait Reloader {
    /// Runs the service's hook for `event` with `PBXCERT_*` variables; `None` when it has none.
    fn run<'a>(
        &'a self,
        service: &'a ServiceSpec,
        event: HookEvent,
        variables: &'a [(String, String)],
        limit: Duration,
    ) -> BoxFuture<'a, Option<Result<hook::Output, hook::Error>>>;
}

/// Runs the hooks that the configuration names.
#[derive(Clone, Copy, Debug, Default)]
pub struct HookReloader;

impl Reloader for HookReloader {
    fn run<'a>(
        &'a self,
        service: &'a ServiceSpec,
        event: HookEvent,
        variables: &'a [(String, String)],
        limit: Duration,
    ) -> BoxFuture<'a, Option<Result<hook::Output, hook::Error>>> {
        Box::pin(async move {
            let argv = match event {
                HookEvent::Busy => service.busy.as_ref(),
                HookEvent::Recover => service.recover.as_ref(),
                HookEvent::Reload => service.reload.as_ref(),
                HookEvent::Test => service.test.as_ref(),
            }?;
            let event = ("PBXCERT_EVENT".to_owned(), event.word().to_owned());
            let variables: Vec<_> = variables.iter().cloned().chain([event]).collect();
            Some(hook::run(argv, &variables, limit).await)
        })
    }
}

/// Where a pair lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScratchFiles {
    /// Leaf, then intermediates, in PEM.
    pub certificate: PathBuf,
    /// The private key in PEM; may be the same file.
    pub key: PathBuf,
}

/// Why a pair of files would not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Our own helper did not answer as it should.
    #[error("the scratch handshake could not be made: {0}")]
    Helper(String),
    /// The pair is not one that a service could use.
    #[error("{0}")]
    Refused(String),
}

/// What the helper answers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Error(String),
    Fingerprint(Fingerprint),
}

/// Reads the files as the service's user, with its supplementary groups, and makes a handshake in
/// memory with them: what a service would do, before any service is asked to.
///
/// `helper` is our own executable. coturn and ejabberd read a key at start that they cannot read
/// at a reload; that is found here.
///
/// # Errors
///
/// What is wrong with the files, in words, or that the helper failed.
pub async fn scratch(
    helper: &Path,
    user: Option<&str>,
    files: &ScratchFiles,
    limit: Duration,
) -> Result<Fingerprint, Error> {
    let (certificate, key) = (files.certificate.as_os_str(), files.key.as_os_str());
    let arguments =
        ["internal".as_ref(), "scratch".as_ref(), user.unwrap_or("-").as_ref(), certificate, key];
    let (code, output) = hook::run_own(helper, &arguments, limit)
        .await
        .map_err(|error| Error::Helper(error.to_string()))?;
    match serde_json::from_slice(&output) {
        Ok(Answer::Fingerprint(fingerprint)) => Ok(fingerprint),
        Ok(Answer::Error(reason)) => Err(Error::Refused(reason)),
        Err(_) => Err(Error::Helper(format!("the helper ended with exit code {code}"))),
    }
}

/// The hidden verb `internal`: what has to run in a process of its own. Answers with one line.
pub fn internal(arguments: &[String]) -> String {
    let answer = match arguments {
        [verb, user, certificate, key] if verb == "scratch" => {
            let user = (user != "-").then_some(user.as_str());
            match internal_scratch(user, Path::new(certificate), Path::new(key)) {
                Ok(fingerprint) => Answer::Fingerprint(fingerprint),
                Err(reason) => Answer::Error(reason),
            }
        }
        _ => Answer::Error("no such internal verb".to_owned()),
    };
    serde_json::to_string(&answer).unwrap_or_default()
}

fn internal_scratch(
    user: Option<&str>,
    certificate: &Path,
    key: &Path,
) -> Result<Fingerprint, String> {
    let us = nix::unistd::geteuid();
    if let (Some(user), true) = (user, us.is_root()) {
        become_user(user)?;
    }
    let certificate = read_as(user, certificate)?;
    let key = Zeroizing::new(read_as(user, key)?);
    tls::scratch_handshake(&certificate, &key).map_err(|error| error.to_string())
}

/// Gives up being root for good: supplementary groups first, then group, then user.
fn become_user(name: &str) -> Result<(), String> {
    use nix::unistd::{User, initgroups, setgid, setuid};

    let failed = |e: nix::errno::Errno| format!("cannot become user {name}: {}", e.desc());
    let user = match name.parse() {
        Ok(number) => User::from_uid(nix::unistd::Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    let user = user.map_err(failed)?;
    let user = user.ok_or_else(|| format!("this machine knows no user {name:?}"))?;
    let c_name = std::ffi::CString::new(user.name.as_str()).map_err(|e| e.to_string())?;
    initgroups(&c_name, user.gid).map_err(failed)?;
    setgid(user.gid).map_err(failed)?;
    setuid(user.uid).map_err(failed)
}

fn read_as(user: Option<&str>, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| {
        let who = user.map_or_else(|| "this process".to_owned(), |user| format!("user {user}"));
        let mut text = format!("{who} cannot read {}: {}", path.display(), in_words(&error));
        if let Some(folder) = closed_folder(path) {
            text.push_str(&format!("; {folder}"));
        } else if let Ok(meta) = path.metadata() {
            let (mode, uid, gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
            text.push_str(&format!("; it has mode {mode:04o}, owner {uid}, group {gid}"));
        }
        text
    })
}

/// The first folder on the way that does not let this process through.
fn closed_folder(path: &Path) -> Option<String> {
    let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
    folders.reverse();
    let closed = folders
        .into_iter()
        .find(|folder| rustix::fs::access(*folder, rustix::fs::Access::EXEC_OK).is_err())?;
    let how = match closed.metadata() {
        Ok(meta) => format!("has mode {:04o} and owner {}", meta.mode() & 0o7777, meta.uid()),
        Err(error) => in_words(&error),
    };
    Some(format!("the folder {} {how}", closed.display()))
}

fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::KeyType;
    use crate::cert::bundle::tests::Ca;
    use crate::cert::bundle::{Bundle, PrivateKey};

    fn pair(folder: &Path) -> (Bundle, PathBuf, PathBuf) {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let pem = Ca::root("root").issue(&["pbx.test"], &key);
        let (certificate, private) = (folder.join("fullchain.pem"), folder.join("privkey.pem"));
        std::fs::write(&certificate, &pem).unwrap();
        std::fs::write(&private, key.to_pem().as_bytes()).unwrap();
        (Bundle::parse(pem.as_bytes(), key).unwrap(), certificate, private)
    }

    #[test]
    fn a_good_pair_shows_its_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let (bundle, certificate, key) = pair(folder.path());
        let seen = internal_scratch(None, &certificate, &key).unwrap();
        assert_eq!(seen, bundle.leaf().fingerprint);
    }

    #[test]
    fn a_mismatched_pair_is_refused() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_, certificate, _) = pair(one.path());
        let (_, _, key) = pair(other.path());
        let reason = internal_scratch(None, &certificate, &key).unwrap_err();
        assert!(reason.contains("does not belong"), "{reason}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (_, certificate, _) = pair(folder.path());
        let reason =
            internal_scratch(None, &certificate, &folder.path().join("no.pem")).unwrap_err();
        assert!(reason.ends_with("no.pem: there is no such file"), "{reason}");
    }

    #[test]
    fn an_answer_survives_the_way_through_the_helper() {
        let folder = tempfile::tempdir().unwrap();
        let (bundle, certificate, key) = pair(folder.path());
        let words =
            ["scratch", "-", &certificate.display().to_string(), &key.display().to_string()];
        let line = internal(&words.map(str::to_owned));
        assert!(matches!(
            serde_json::from_str(&line),
            Ok(Answer::Fingerprint(seen)) if seen == bundle.leaf().fingerprint
        ));
    }
}
