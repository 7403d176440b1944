//! `advisories`: makes a pair of keys, signs a document, and says whether one would be believed.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Failed, exit, load_or_accepted, show};
use crate::feed::advisory::{read, signature_path};
use crate::fs::{self, Owner};
use crate::minisign::{self, PrivateKey, PublicKey};
use crate::policy::advisory::{Document, LIMIT};

#[derive(Debug, Subcommand)]
pub(super) enum AdvisoryVerb {
    /// Make a pair of keys: the private one into a file, the public one as a line for advisory-keys
    Keygen {
        /// Where the private key goes; nothing is ever written over
        file: PathBuf,
    },
    /// Sign a document: writes FILE.minisig
    Sign {
        /// The document
        file: PathBuf,
        /// The private key: of `keygen`, or of `minisign -G -W`
        #[arg(long, value_name = "KEY")]
        key: PathBuf,
    },
    /// Say whether a document would be believed here, and what is in it
    Verify {
        /// The document; its signature lies beside it as FILE.minisig
        file: PathBuf,
        /// Believe this public key instead of advisory-keys
        #[arg(long, value_name = "LINE")]
        key: Vec<String>,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
}

/// What `verify` found, for programs.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Found {
    schema: u32,
    good: bool,
    /// Why it is refused.
    problem: Option<String>,
    key: Option<String>,
    comment: Option<String>,
    sequence: Option<u64>,
    issued: Option<Timestamp>,
    expires: Option<Timestamp>,
    items: Option<usize>,
    grace_until: Option<Timestamp>,
}

pub(super) fn run(config: &Path, verb: &AdvisoryVerb) -> Result<u8, Failed> {
    match verb {
        AdvisoryVerb::Keygen { file } => keygen(file),
        AdvisoryVerb::Sign { file, key } => sign(file, key),
        AdvisoryVerb::Verify { file, key, json } => verify(config, file, key, *json),
    }
}

fn keygen(file: &Path) -> Result<u8, Failed> {
    let path = absolute(file)?;
    let key = PrivateKey::generate().map_err(|error| Failed::of(&error))?;
    if std::fs::symlink_metadata(&path).is_ok() {
        let text = format!("{} is there already: keys are never written over", path.display());
        return Err(Failed::new(exit::FAILED, text));
    }
    fs::replace(&path, key.to_text().as_bytes(), 0o600, Owner::default())
        .map_err(|error| Failed::of(&error))?;
    show::line(&format!("advisory-keys = [\"{}\"]", key.public()));
    show::progress(&format!(
        "the private key {} is in {}: keep it off the machines that believe it; the line above \
         goes into their [check]",
        key.public().id(),
        path.display()
    ));
    Ok(exit::DONE)
}

fn sign(file: &Path, key: &Path) -> Result<u8, Failed> {
    let (path, now) = (absolute(file)?, super::act::now());
    let key = absolute(key)?;
    fs::secret(&key).map_err(|reason| {
        Failed::new(exit::PERMISSION, format!("the key {} is refused: {reason}", key.display()))
    })?;
    let text = Zeroizing::new(fs::read(&key, 4096).map_err(|error| Failed::of(&error))?);
    let text = std::str::from_utf8(&text).unwrap_or_default();
    let key = PrivateKey::parse(text).map_err(|error| Failed::of(&error))?;
    let bytes = fs::read(&path, LIMIT as u64).map_err(|error| Failed::of(&error))?;
    // What nobody would believe is not worth a signature.
    let document = Document::parse(&bytes);
    let document = document.and_then(|found| found.stands(0, now).map(|()| found));
    let document = document.map_err(|problem| {
        Failed::new(exit::FAILED, format!("{} is not signed: {problem}", path.display()))
    })?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let comment = format!("timestamp:{}\tfile:{name}\thashed", now.as_second());
    let beside = signature_path(&path);
    fs::replace(&beside, key.sign(&bytes, &comment).as_bytes(), 0o644, Owner::default())
        .map_err(|error| Failed::of(&error))?;
    show::progress(&format!(
        "number {}, good until {}, is signed with {}: publish {} together with it",
        document.sequence,
        show::time(document.expires, now),
        key.public().id(),
        beside.display()
    ));
    Ok(exit::DONE)
}

fn verify(config: &Path, file: &Path, keys: &[String], json: bool) -> Result<u8, Failed> {
    let (path, now) = (absolute(file)?, super::act::now());
    let lines = if keys.is_empty() {
        load_or_accepted(config)?.config.check.advisories.keys
    } else {
        keys.to_vec()
    };
    if lines.is_empty() {
        let text = "nobody's signature is believed: name a key with --key, or advisory-keys in \
                    [check]";
        return Err(Failed::new(exit::USAGE, text));
    }
    let keys: Result<Vec<_>, _> = lines.iter().map(|line| PublicKey::parse(line)).collect();
    let keys = keys.map_err(|error| Failed::new(exit::USAGE, error.to_string()))?;
    let fetched = read(&path).map_err(|error| Failed::of(&error))?;
    let missing = || Failed::new(exit::FAILED, format!("there is no file {}", path.display()));
    let fetched = fetched.ok_or_else(missing)?;
    let signed = minisign::verify(&fetched.document, &fetched.signature, &keys);
    let document = signed.as_ref().ok().map(|_| Document::parse(&fetched.document));
    let problem = match (&signed, &document) {
        (Err(error), _) => Some(error.to_string()),
        (_, Some(Err(problem))) => Some(problem.to_string()),
        (_, Some(Ok(document))) => document.stands(0, now).err().map(|p| p.to_string()),
        (_, None) => None,
    };
    let document = document.and_then(Result::ok);
    let said = document.as_ref();
    let found = Found {
        schema: 1,
        good: problem.is_none(),
        problem,
        key: signed.as_ref().ok().map(|signed| signed.by.to_string()),
        comment: signed.ok().map(|signed| signed.comment),
        sequence: said.map(|d| d.sequence),
        issued: said.map(|d| d.issued),
        expires: said.map(|d| d.expires),
        items: said.map(|d| d.items.len()),
        grace_until: said.and_then(|d| d.grace.as_ref()).map(|grace| grace.until),
    };
    let code = if found.good { exit::DONE } else { exit::FAILED };
    if json {
        show::json(&found);
    } else if let Some(problem) = &found.problem {
        return Err(Failed::new(code, format!("{} is refused: {problem}", path.display())));
    } else if let Some(document) = &document {
        print(&found, document, now);
    }
    Ok(code)
}

fn print(found: &Found, document: &Document, now: Timestamp) {
    let key = found.key.as_deref().unwrap_or_default();
    show::line(&format!("good: number {}, signed with {key}", document.sequence));
    show::line(&format!("issued {}", show::time(document.issued, now)));
    show::line(&format!("good until {}", show::time(document.expires, now)));
    if let Some(grace) = &document.grace {
        let until = show::time(grace.until, now);
        show::line(&format!("days without a source do not count until {until}: {}", grace.reason));
    }
    for item in &document.items {
        let exploited = if item.exploited { " (exploited)" } else { "" };
        let text = format!("{} {}{exploited} {}", item.product, item.id, item.text);
        show::line(text.trim_end());
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failed> {
    let path = std::path::absolute(path).map_err(|error| Failed::of(&error))?;
    // Folders above may be links: only the last name is to be none.
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
    Ok(above.canonicalize().map_or_else(|_| path.clone(), |above| above.join(name)))
}
