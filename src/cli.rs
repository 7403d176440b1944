//! The verbs; the only place that prints.

mod act;
mod advisories;
mod alert;
mod check;
mod csr;
mod history;
mod hold;
mod identity;
mod import;
mod lint;
mod plan;
mod preflight;
mod report;
mod show;
mod status;
mod verbs;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::verbs::{Arguments, Verb};
use crate::config::file::{self, Loaded, Problem, Problems};
use crate::daemon::{self, Start};
use crate::service;
use crate::store::Store;

/// Exit codes of the verbs that are neither `check` nor `verify`; those of sysexits.h.
pub(crate) mod exit {
    /// Done.
    pub(crate) const DONE: u8 = 0;
    /// It was tried and failed.
    pub(crate) const FAILED: u8 = 1;
    /// The command line cannot be understood (EX_USAGE).
    pub(crate) const USAGE: u8 = 64;
    /// The CA or a service is out of reach (EX_UNAVAILABLE).
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// Try later (EX_TEMPFAIL).
    pub(crate) const LATER: u8 = 75;
    /// Somebody may not do that (EX_NOPERM).
    pub(crate) const PERMISSION: u8 = 77;
    /// The configuration is at fault (EX_CONFIG).
    pub(crate) const CONFIG: u8 = 78;
}

/// What a verb works with.
struct Context {
    path: PathBuf,
    loaded: Loaded,
    store: Store,
}

/// A verb that could not do its work.
struct Failed {
    code: u8,
    text: String,
}

impl Failed {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    fn of(error: &dyn std::error::Error) -> Self {
        Self::new(exit::FAILED, crate::deploy::chain_of(error))
    }
}

impl From<crate::store::Error> for Failed {
    fn from(error: crate::store::Error) -> Self {
        let code = if error.is_permission() { exit::PERMISSION } else { exit::FAILED };
        Self::new(code, crate::deploy::chain_of(&error))
    }
}

impl From<crate::reconcile::Error> for Failed {
    fn from(error: crate::reconcile::Error) -> Self {
        match error {
            crate::reconcile::Error::Store(error) => error.into(),
            other => Self::of(&other),
        }
    }
}

/// Runs what the command line asks for.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { exit::DONE };
            // Nobody reads: nothing to be told.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let code = match run_verb(arguments) {
        Ok(code) => code,
        Err(failed) => {
            show::error(&failed.text);
            failed.code
        }
    };
    ExitCode::from(code)
}

fn run_verb(arguments: Arguments) -> Result<u8, Failed> {
    let path = arguments.config;
    match arguments.verb {
        Verb::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "pbxcert", &mut std::io::stdout());
            Ok(exit::DONE)
        }
        Verb::Internal { arguments } if arguments == ["parse"] => {
            crate::confine::internal();
            Ok(exit::DONE)
        }
        Verb::Internal { arguments } => {
            show::line(&service::internal(&arguments));
            Ok(exit::DONE)
        }
        Verb::Advisories { what } => advisories::run(&path, &what),
        Verb::Validate => validate(&path),
        Verb::Run => watch(path),
        Verb::Status { json } => status::print(&Context::reading(path)?, json),
        Verb::Plan { name, days, json } => {
            let context = Context::reading(path)?;
            plan::print(&context, name.as_deref(), days, plan::Tried::default(), json)?;
            Ok(exit::DONE)
        }
        Verb::Preflight { name, json } => {
            in_runtime(preflight::run(&Context::writing(path)?, name.as_deref(), json))
        }
        Verb::Verify { endpoint: urls, sni, key, timeout, json } => {
            // A monitoring system knows 0 to 3 only.
            let unknown = |failed: Failed| Failed { code: 3, ..failed };
            if !urls.is_empty() {
                let asked = verify::Asked { urls, sni, key, timeout };
                return in_runtime(verify::asked(&asked, json)).map_err(unknown);
            }
            let context = Context::writing(path).map_err(unknown)?;
            in_runtime(verify::configured(&context, json)).map_err(unknown)
        }
        Verb::Check { schema: true, .. } => Ok(check::schema()),
        Verb::Check { json, .. } => {
            let unknown = |failed: Failed| Failed { code: 3, ..failed };
            let context = Context::writing(path).map_err(unknown)?;
            in_runtime(check::run(&context, json)).map_err(unknown)
        }
        Verb::History { name, lines, json } => {
            history::print(&Context::reading(path)?, name.as_deref(), lines, json)
        }
        Verb::Report { out } => report::print(&Context::reading(path)?, out.as_deref()),
        Verb::Ack { item, remove: true, .. } => alert::remove_ack(&Context::writing(path)?, &item),
        Verb::Ack { item, until, note, .. } => {
            let (until, note) = (until.unwrap_or_default(), note.unwrap_or_default());
            alert::ack(&Context::writing(path)?, &item, &until, &note)
        }
        Verb::Identity { what } => identity::run(path, &what),
        Verb::Alert { what } => alert::run(&Context::reading(path)?, &what),
        Verb::Renew { name, dry_run: true, json, .. } => {
            let context = Context::writing(path)?;
            let (rehearsals, code) = in_runtime(act::rehearse(&context, name.as_deref()))?;
            let tried = plan::Tried { rehearsals, remarks: context.expected(name.as_deref())? };
            plan::print(&context, name.as_deref(), None, tried, json)?;
            Ok(code)
        }
        Verb::Renew { name, force, over_budget, json, .. } => {
            let wish = act::Renewal { name, force, over_budget };
            in_runtime(act::renew(&Context::writing(path)?, wish, json))
        }
        Verb::Import { name, files, password_file, accept_worse, dry_run, json } => {
            let context = if dry_run { Context::reading(path)? } else { Context::writing(path)? };
            let wish = import::Wish { name, files, password_file, accept_worse, dry_run };
            in_runtime(import::run(&context, &wish, json))
        }
        Verb::Deploy { service, json } => {
            in_runtime(act::deploy(&Context::writing(path)?, service.as_deref(), json))
        }
        Verb::Csr { name, new, out } => {
            in_runtime(csr::print(&Context::writing(path)?, &name, new, out.as_deref()))
        }
        Verb::Rollback { name, json } => {
            in_runtime(hold::roll_back(&Context::writing(path)?, &name, json))
        }
        Verb::Hold { name, json } => in_runtime(hold::hold(&Context::writing(path)?, &name, json)),
        Verb::Approve { name, json } => {
            in_runtime(hold::approve(&Context::writing(path)?, &name, json))
        }
        Verb::Release { name, json } => {
            in_runtime(hold::release(&Context::writing(path)?, &name, json))
        }
    }
}

impl Context {
    /// To look only. Like the daemon it goes on from the last accepted configuration, so that a
    /// broken one hides nothing.
    fn reading(path: PathBuf) -> Result<Self, Failed> {
        let loaded = load_or_accepted(&path)?;
        let store = Store::open_read_only(&loaded.config.state_dir)?;
        Ok(Self { path, loaded, store }.in_its_role())
    }

    fn writing(path: PathBuf) -> Result<Self, Failed> {
        let loaded = load(&path)?;
        let store = Store::open(&loaded.config.state_dir)?;
        Ok(Self { path, loaded, store }.in_its_role())
    }

    /// A laboratory stays one whatever its configuration says, which is the original's.
    fn in_its_role(mut self) -> Self {
        if self.store.identity().is_ok_and(|identity| identity.laboratory.is_some()) {
            self.loaded.config.make_laboratory();
        }
        self
    }
}

fn load(path: &Path) -> Result<Loaded, Failed> {
    file::load(path, file::Options::HERE).map_err(|problems| unusable(path, &problems))
}

/// One that we may not read is no broken one.
fn unusable(path: &Path, problems: &Problems) -> Failed {
    let opened = std::fs::File::open(path).map_err(|error| error.kind()).err();
    let denied = opened == Some(std::io::ErrorKind::PermissionDenied);
    let code = if denied { exit::PERMISSION } else { exit::CONFIG };
    Failed::new(code, problems.to_string())
}

fn load_or_accepted(path: &Path) -> Result<Loaded, Failed> {
    let problems = match file::load(path, file::Options::HERE) {
        Ok(loaded) => return Ok(loaded),
        Err(problems) => problems,
    };
    let Ok(accepted) = file::load_accepted(path, &problems) else {
        return Err(unusable(path, &problems));
    };
    show::warning(&format!(
        "{} is broken (see `pbxcert validate`); this goes by the configuration of {}",
        path.display(),
        show::clock(accepted.accepted_at)
    ));
    Ok(Loaded { config: accepted.config, warnings: Vec::new() })
}

fn validate(path: &Path) -> Result<u8, Failed> {
    let loaded = load(path)?;
    for warning in &loaded.warnings {
        show::warning(&warning.to_string());
    }
    let today = jiff::tz::TimeZone::system().to_datetime(act::now()).date();
    for outdated in loaded.config.ignored.iter().filter_map(|ignore| ignore.outdated(today)) {
        show::warning(&outdated);
    }
    let (certificates, services) = (loaded.config.certificates.len(), loaded.config.services.len());
    show::line(&format!(
        "{} is sound: {certificates} certificates, {services} services",
        path.display()
    ));
    Ok(exit::DONE)
}

/// `run`: a broken configuration does not end the watch, the last accepted one goes on.
fn watch(path: PathBuf) -> Result<u8, Failed> {
    show::start_logging();
    let start = match file::load(&path, file::Options::HERE) {
        Ok(Loaded { config, warnings }) => Start { config, warnings, degraded: None },
        Err(problems) => accepted(&path, &problems)?,
    };
    in_runtime(async {
        daemon::run(start, path).await.map_err(|error| Failed::of(&error))?;
        Ok(exit::DONE)
    })
}

/// The last accepted configuration in the place of a broken one.
fn accepted(path: &Path, problems: &Problems) -> Result<Start, Failed> {
    for problem in &problems.list {
        tracing::error!("{problem}");
    }
    let accepted = file::load_accepted(path, problems).map_err(|error| {
        let reason = crate::deploy::chain_of(&error);
        Failed::new(exit::CONFIG, format!("{problems}\nand no earlier one can be used: {reason}"))
    })?;
    let mut warnings = Vec::new();
    for hook in &accepted.withheld {
        let (service, argv) = (&hook.service, hook.argv.join(" "));
        let text = format!("the {} hook of {service} is not run: {argv}", hook.event);
        warnings.push(Problem { file: path.to_owned(), line: 0, column: 0, text });
    }
    let degraded = format!(
        "the configuration of {} is in use, since {} is broken: see `pbxcert validate`",
        show::clock(accepted.accepted_at),
        path.display()
    );
    Ok(Start { config: accepted.config, warnings, degraded: Some(degraded) })
}

fn in_runtime<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| Failed::of(&error))?;
    runtime.block_on(work)
}
