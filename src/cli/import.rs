//! `import`: files that root names go the way of an upload, and into service.

use std::cell::Cell;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

use super::{Context, Failed, act, exit, show};
use crate::cert::import::{self, File};
use crate::config::{CertSpec, Mode, Source};
use crate::policy::upload::{self, Check, Judgement, Outcome, Verdict};
use crate::reconcile;

/// What the command line asks for.
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) accept_worse: bool,
    pub(super) dry_run: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    schema: u32,
    certificate: String,
    /// `accepted`, `already-there`, `refused` or `incomplete`.
    verdict: &'static str,
    /// What a person is told.
    text: String,
    checks: Vec<Asked>,
    /// Files that have no part in it.
    unused: Vec<Unused>,
    dry_run: bool,
    revision: Option<u64>,
    services: Vec<act::Line>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Asked {
    check: &'static str,
    outcome: Outcome,
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Unused {
    file: String,
    text: String,
}

pub(super) async fn run(context: &Context, wish: &Wish, json: bool) -> Result<u8, Failed> {
    let specs = context.certificates(Some(&wish.name))?;
    let Some(spec) = specs.first().copied() else { return Ok(exit::USAGE) };
    if spec.source == Source::Acme {
        return Err(Failed::new(exit::CONFIG, upload::acme_only(&spec.name)));
    }
    if context.loaded.config.mode == Mode::Observe && !wish.dry_run {
        return Err(Failed::new(exit::CONFIG, ONLY_OBSERVES));
    }
    let files = read_all(&wish.files)?;
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let password = wish.password_file.as_deref().map(password).transpose()?;
    let (world, stop) = (context.world(), Cell::new(false));
    let reconciler = context.reconciler(&world, &stop, true);
    let asked = reconcile::Wish {
        files: &files,
        password: password.as_ref(),
        accept_worse: wish.accept_worse,
        dry_run: wish.dry_run,
        uid: asker(),
    };
    let imported = reconciler.import(spec, &asked).await?;
    let judgement = imported.judgement;
    if !json {
        show_judgement(&judgement, &names, wish.dry_run);
    }
    let mut report = report(&wish.name, &judgement, &names, wish.dry_run);
    report.revision = imported.revision;
    let mut code = match judgement.verdict {
        Verdict::Accept { .. } => exit::DONE,
        Verdict::Refuse(_) | Verdict::Wait(_) => exit::FAILED,
    };
    if let Some(revision) = report.revision {
        if !json {
            show::line(&format!("It is revision {revision}."));
        }
        (report.services, code) = bring_into_service(context, spec, json).await?;
    }
    if json {
        show::json(&report);
    }
    Ok(code)
}

/// The services that want it, step by step, until a handshake has shown it.
async fn bring_into_service(
    context: &Context,
    spec: &CertSpec,
    json: bool,
) -> Result<(Vec<act::Line>, u8), Failed> {
    context.store.touch_generation()?;
    let services = context.services_of(&spec.name);
    for service in &services {
        context.want_now(service, &[spec]).await?;
        context.approve_newest(service, std::slice::from_ref(&spec.name)).await?;
    }
    let (passes, code) = context.passes(&[], &services, true).await?;
    if !json {
        for line in &passes.services {
            show::line(&line.shown());
        }
        if services.is_empty() {
            show::line(NO_SERVICE);
        }
    }
    Ok((passes.services, code))
}

fn show_judgement(judgement: &Judgement, names: &[String], dry_run: bool) {
    for Check { name, outcome, text } in &judgement.checks {
        let mark = match outcome {
            Outcome::Fail => "FAIL",
            Outcome::NotAsked => "-",
            Outcome::Ok => "ok",
            Outcome::Warning => "note",
        };
        show::line(&format!("{mark:<5} {name}: {text}"));
    }
    // Those of a check stand there already.
    let told = |sentence: &&String| judgement.checks.iter().any(|c| c.text == **sentence);
    match &judgement.verdict {
        Verdict::Accept { text, .. } if dry_run => {
            show::line(&text.replacen("Accepted:", "It would be accepted:", 1));
            show::line("--dry-run: nothing was changed");
        }
        Verdict::Accept { text, .. } => show::line(text),
        Verdict::Refuse(sentences) => {
            sentences.iter().filter(|s| !told(s)).for_each(|sentence| show::line(sentence));
            show::line("refused: nothing was changed");
        }
        Verdict::Wait(text) => show::line(&format!("incomplete, nothing was changed: {text}")),
    }
    judgement.remarks.iter().filter(|r| !told(r)).for_each(|remark| show::line(remark));
    for (place, why) in &judgement.unused {
        if let Some(name) = names.get(*place) {
            show::line(&format!("not needed: {name}: {why}"));
        }
    }
}

fn report(name: &str, judgement: &Judgement, names: &[String], dry_run: bool) -> Report {
    let checks = judgement.checks.iter();
    let unused = judgement.unused.iter();
    Report {
        schema: 1,
        certificate: name.to_owned(),
        verdict: match &judgement.verdict {
            Verdict::Accept { already: Some(_), .. } => "already-there",
            Verdict::Accept { already: None, .. } => "accepted",
            Verdict::Refuse(_) => "refused",
            Verdict::Wait(_) => "incomplete",
        },
        text: judgement.text(),
        checks: checks
            .map(|c| Asked { check: c.name, outcome: c.outcome, text: c.text.clone() })
            .collect(),
        unused: unused
            .filter_map(|(place, text)| {
                Some(Unused { file: names.get(*place)?.clone(), text: text.clone() })
            })
            .collect(),
        dry_run,
        revision: None,
        services: Vec::new(),
    }
}

/// The files with the limits of the drop folder.
fn read_all(paths: &[PathBuf]) -> Result<Vec<File>, Failed> {
    if paths.len() > MOST_FILES {
        let text = format!(
            "{} files are too many: at most {MOST_FILES} at a time. Name the certificate, its key \
             and its intermediate certificates alone",
            paths.len()
        );
        return Err(Failed::new(exit::USAGE, text));
    }
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<File, Failed> {
    if path == Path::new("-") {
        let bytes = bytes(std::io::stdin().lock(), "standard input", LARGEST)?;
        return Ok(File { name: "standard input".to_owned(), bytes });
    }
    let name = path.display().to_string().escape_debug().to_string();
    let file = std::fs::File::open(path).map_err(|e| unreadable(&name, &e))?;
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        let text = format!("{name} is a folder: name the files in it, as {name}/*");
        return Err(Failed::new(exit::USAGE, text));
    }
    Ok(File { bytes: bytes(file, &name, LARGEST)?, name })
}

fn bytes(from: impl std::io::Read, name: &str, limit: u64) -> Result<Zeroizing<Vec<u8>>, Failed> {
    // Room for all at once: a buffer that grows leaves copies of a key behind.
    let room = usize::try_from(limit + 1).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    from.take(limit + 1).read_to_end(&mut bytes).map_err(|e| unreadable(name, &e))?;
    if bytes.len() >= room {
        let text = format!(
            "{name} is larger than {} KiB, which no certificate, key or password is: look whether \
             it is the right file",
            limit >> 10
        );
        return Err(Failed::new(exit::FAILED, text));
    }
    Ok(bytes)
}

/// What stands in the file.
fn password(path: &Path) -> Result<Zeroizing<String>, Failed> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|e| unreadable(&name, &e))?;
    let bytes = bytes(file, &name, LONGEST_PASSWORD)?;
    import::password(&bytes)
        .map_err(|reason| Failed::new(exit::FAILED, format!("{name}: {reason}")))
}

fn unreadable(name: &str, error: &std::io::Error) -> Failed {
    let (code, next) = match error.kind() {
        std::io::ErrorKind::NotFound => (exit::FAILED, "look at its name and its folder (ls)"),
        std::io::ErrorKind::PermissionDenied => (exit::PERMISSION, "run this as root (sudo)"),
        _ => (exit::FAILED, "copy it to the disk of this machine, and name the copy"),
    };
    Failed::new(code, format!("cannot read {name} ({error}): {next}"))
}

/// The user who called sudo, else ours.
fn asker() -> u32 {
    let sudo = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    sudo.unwrap_or_else(|| nix::unistd::getuid().as_raw())
}

const NO_SERVICE: &str = "It is stored, and nothing was installed: no [[service]] in the \
                          configuration uses this certificate.";

const ONLY_OBSERVES: &str = "nothing was imported: the configuration says mode = \"observe\", in \
                             which nothing is written. With --dry-run the files are only judged; \
                             to take them, write mode = \"on\", run `systemctl reload pbxcert`, and \
                             import them again.";

const MOST_FILES: usize = 16;

const LARGEST: u64 = 256 << 10;

const LONGEST_PASSWORD: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_says_what_to_do_next() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::File::create(at("large.p12")).unwrap().set_len(LARGEST + 1).unwrap();
        std::fs::write(at("latin"), b"p\xe4ss").unwrap();
        let denied = std::io::Error::from_raw_os_error(13);
        let stale = std::io::Error::from_raw_os_error(116);
        let mut told: Vec<String> = [
            read(dir.path()).err(),
            read(&at("nowhere.pem")).err(),
            read(&at("large.p12")).err(),
            password(&at("latin")).err(),
            read_all(&vec![at("a"); 17]).err(),
            Some(unreadable("a.key", &denied)),
            Some(unreadable("a.key", &stale)),
        ]
        .into_iter()
        .map(|failed| failed.unwrap().text.replace(&dir.path().display().to_string(), "DIR"))
        .collect();
        told.extend([ONLY_OBSERVES, NO_SERVICE].map(str::to_owned));
        let told = told.join("\n") + "\n";
        assert!(told == include_str!("import.txt"), "import.txt is to be:\n{told}");
    }
}
