//! Runs the hooks of a service, and tries a pair of files as the service's user would.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
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

/// On the way to the helper: [`Reader::elsewhere`].
const ELSEWHERE: &str = "elsewhere";

/// Where a pair lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScratchFiles {
    /// Leaf, then intermediates, in PEM.
    pub certificate: PathBuf,
    /// The private key in PEM; may be the same file.
    pub key: PathBuf,
}

/// Who reads them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reader<'a> {
    /// The service's user, by name or number.
    pub user: &'a str,
    /// The group that the key belongs to, by name or number, if it was given to one.
    pub group: Option<&'a str>,
    /// The service runs in a container: a number is that of a user there, whoever has it here, and
    /// the folders above the files' own are others there.
    pub elsewhere: bool,
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
    reader: Option<Reader<'_>>,
    files: &ScratchFiles,
    limit: Duration,
) -> Result<Fingerprint, Error> {
    let (certificate, key) = (files.certificate.as_os_str(), files.key.as_os_str());
    let user = reader.map_or("-", |reader| reader.user);
    let group = reader.and_then(|reader| reader.group).unwrap_or("-");
    let place = if reader.is_some_and(|reader| reader.elsewhere) { ELSEWHERE } else { "here" };
    let words = ["internal", "scratch", user, group, place].map(OsStr::new);
    let arguments = [words.as_slice(), &[certificate, key]].concat();
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
        [verb, user, group, place, certificate, key] if verb == "scratch" => {
            let reader = (user != "-").then_some(Reader {
                user,
                group: (group != "-").then_some(group.as_str()),
                elsewhere: place == ELSEWHERE,
            });
            match internal_scratch(reader, Path::new(certificate), Path::new(key)) {
                Ok(fingerprint) => Answer::Fingerprint(fingerprint),
                Err(reason) => Answer::Error(reason),
            }
        }
        _ => Answer::Error("no such internal verb".to_owned()),
    };
    serde_json::to_string(&answer).unwrap_or_default()
}

fn internal_scratch(
    reader: Option<Reader<'_>>,
    certificate: &Path,
    key: &Path,
) -> Result<Fingerprint, String> {
    let elsewhere = reader.is_some_and(|reader| reader.elsewhere);
    // As whoever we still are: on the way to it may be folders that are closed to the reader here.
    let folder = |path: &Path| path.parent().filter(|_| elsewhere).and_then(|p| File::open(p).ok());
    let folders = (folder(certificate), folder(key));
    if let (Some(reader), true) = (reader, nix::unistd::geteuid().is_root()) {
        become_reader(reader)?;
    }
    let user = reader.map(|reader| reader.user);
    let certificate = read_as(user, folders.0.as_ref(), certificate)?;
    let key = Zeroizing::new(read_as(user, folders.1.as_ref(), key)?);
    tls::scratch_handshake(&certificate, &key).map_err(|error| error.to_string())
}

/// Gives up being root for good: supplementary groups first, then group, then user.
fn become_reader(reader: Reader<'_>) -> Result<(), String> {
    use nix::unistd::{Gid, Uid, User, initgroups, setgid, setgroups, setuid};

    let name = reader.user;
    let failed = |e: nix::errno::Errno| format!("cannot become user {name}: {}", e.desc());
    let number = name.parse().ok().map(Uid::from_raw);
    let known = match number {
        Some(_) if reader.elsewhere => Ok(None),
        Some(number) => User::from_uid(number),
        None => User::from_name(name),
    };
    match (known.map_err(failed)?, number) {
        (Some(user), _) => {
            let c_name = std::ffi::CString::new(user.name.as_str()).map_err(|e| e.to_string())?;
            initgroups(&c_name, user.gid).map_err(failed)?;
            setgid(user.gid).map_err(failed)?;
            setuid(user.uid).map_err(failed)
        }
        (None, Some(user)) => {
            // Of its groups this is known: the one that the key was given to.
            let group = reader.group.and_then(group_id);
            setgroups(&[]).map_err(failed)?;
            setgid(group.unwrap_or(Gid::from_raw(user.as_raw()))).map_err(failed)?;
            setuid(user).map_err(failed)
        }
        (None, None) => Err(format!("this machine knows no user {name:?}")),
    }
}

fn group_id(name: &str) -> Option<nix::unistd::Gid> {
    match name.parse() {
        Ok(number) => Some(nix::unistd::Gid::from_raw(number)),
        Err(_) => nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid),
    }
}

/// `folder` is the one that the file lies in, where that was opened before.
fn read_as(user: Option<&str>, folder: Option<&File>, path: &Path) -> Result<Vec<u8>, String> {
    let read = match (folder, path.file_name()) {
        (Some(folder), Some(name)) => {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            let file = rustix::fs::openat(folder, name, flags, rustix::fs::Mode::empty());
            file.map_err(io::Error::from).and_then(|file| {
                let mut bytes = Vec::new();
                File::from(file).read_to_end(&mut bytes).map(|_| bytes)
            })
        }
        _ => std::fs::read(path),
    };
    read.map_err(|error| {
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

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
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
        let words = [
            "scratch",
            "-",
            "-",
            "here",
            &certificate.display().to_string(),
            &key.display().to_string(),
        ];
        let line = internal(&words.map(str::to_owned));
        assert!(matches!(
            serde_json::from_str(&line),
            Ok(Answer::Fingerprint(seen)) if seen == bundle.leaf().fingerprint
        ));
    }
}
