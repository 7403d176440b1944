//! `[[certificate]]`: what is wanted.

use std::path::Path;
use std::time::Duration;

use super::walk::{At, Declared, Read, Reported, Table, Value, Walk};
use super::{issuer, keys, suspect, upload};
use crate::cert::{Identifier, KeyType};
use crate::config::{CertSpec, ChallengeSpec, IssuerSpec, OnTrustChange, Source};

/// Names a certificate can hold: no public CA takes more.
const MOST_NAMES: usize = 100;

/// Reads the certificate keys of `[defaults]` for their own sake.
pub(super) fn check_defaults<'a>(walk: &mut Walk<'a>, defaults: Table<'a>) {
    // Each notes its own problem.
    let upload = upload::read(walk, &defaults);
    let manual = matches!(&upload, Ok(upload) if upload.source == Source::Manual);
    let _ = walk.optional(&defaults, "names", |walk, value| names(walk, value, manual));
    let _ = walk.optional(&defaults, "key", key);
    let _ = walk.optional(&defaults, "min-age", min_age);
    let _ = walk.optional(&defaults, "on-trust-change", on_trust_change);
    let _ = walk.optional(&defaults, "issuer", one_issuer);
    let _ = walk.optional(&defaults, "challenge", Walk::strings);
}

/// Reads every certificate.
pub(super) fn read_all<'a>(
    walk: &mut Walk<'a>,
    roots: &[Table<'a>],
    defaults: Option<Table<'a>>,
    issuers: &Declared<IssuerSpec>,
    challenges: &Declared<ChallengeSpec>,
    drop_dir: &Path,
) -> Declared<CertSpec> {
    let mut certificates = Declared { names: Vec::new(), read: Vec::new() };
    for table in walk.array_tables(roots, "certificate", keys::CERTIFICATE, defaults) {
        walk.refuse_unknown_keys(&table);
        let name = walk.required(&table, "name", Walk::string, "name it, such as name = \"pbx\"");
        let spec = read(walk, &table, &name, issuers, challenges, drop_dir);
        if let Ok(name) = name
            && walk.refuse_namesake(&name, &certificates.names, "the certificates").is_ok()
        {
            certificates.names.push(name);
        }
        certificates.read.push(spec);
    }
    if certificates.read.is_empty() && !walk.has_lost_tables() {
        walk.warning(Walk::start(), "there is no [[certificate]], so there is nothing to do");
    }
    certificates
}

fn read<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    name: &Read<At<String>>,
    issuers: &Declared<IssuerSpec>,
    challenges: &Declared<ChallengeSpec>,
    drop_dir: &Path,
) -> Read<CertSpec> {
    let name = match name {
        Ok(name) => walk.name(name).map(|()| name.it.clone()),
        Err(reported) => Err(*reported),
    };
    let why = "write what it is for, such as names = [\"pbx.example.com\"]";
    let upload = upload::read(walk, table);
    let manual = matches!(&upload, Ok(upload) if upload.source == Source::Manual);
    let read = |walk: &mut Walk<'a>, value| names(walk, value, manual);
    let identifiers = walk.required(table, "names", read, why);
    let key = walk.optional(table, "key", key);
    let min_age = walk.optional(table, "min-age", min_age);
    let trust = walk.optional(table, "on-trust-change", on_trust_change);
    let issuer = if manual { Ok(None) } else { issuer_of(walk, table, issuers).map(Some) };
    let challenges = challenges_of(walk, table, challenges);
    if let (Ok(identifiers), Ok(issuer)) = (&identifiers, &issuer) {
        let issuer = issuer.as_ref().and_then(|name| issuers.sound().find(|i| i.name == *name));
        warn_of_names(walk, identifiers, issuer);
    }
    let (name, upload) = (name?, upload?);
    // Whoever runs his own CA has taught it to his phones, and changes it on purpose.
    let own_ca = matches!(&issuer, Ok(Some(name))
        if issuers.sound().any(|i| i.name == *name && i.trust_anchor.is_some()));
    let usual = if own_ca { OnTrustChange::Go } else { OnTrustChange::Ask };
    Ok(CertSpec {
        source: upload.source,
        upload: upload.spec(drop_dir, &name),
        name,
        identifiers: identifiers?.into_iter().map(|name| name.it).collect(),
        key: key?.unwrap_or(KeyType::Rsa2048),
        issuers: issuer?.into_iter().collect(),
        challenges: challenges?,
        min_age: min_age?.unwrap_or_default(),
        on_trust_change: trust?.unwrap_or(usual),
    })
}

fn names<'a>(walk: &mut Walk<'a>, value: Value<'a>, manual: bool) -> Read<Vec<At<Identifier>>> {
    let written = walk.strings(value)?;
    if written.len() > MOST_NAMES {
        let text = format!("{} names are too many: at most {MOST_NAMES}", written.len());
        return Err(walk.problem(value.at, text));
    }
    let mut names: Vec<At<Identifier>> = Vec::new();
    let mut sound = Ok(());
    for At { at, it } in written {
        match name(walk, at, &it, &names, manual) {
            Ok(name) => names.push(At { at, it: name }),
            Err(reported) => sound = Err(reported),
        }
    }
    sound.map(|()| names)
}

fn name(
    walk: &mut Walk<'_>,
    at: super::walk::Place,
    written: &str,
    before: &[At<Identifier>],
    manual: bool,
) -> Read<Identifier> {
    let name: Identifier = match written.parse::<Identifier>() {
        Ok(name) => name,
        Err(e) => return Err(walk.problem(at, e.to_string())),
    };
    if name.is_wildcard() && !manual {
        let text = format!(
            "{written:?} is a wildcard: CAs give it by the challenge dns-01 only, which is not \
             built yet; write each name, or source = \"manual\" to upload it"
        );
        return Err(walk.problem(at, text));
    }
    match before.iter().find(|other| other.it == name) {
        Some(_) => Err(walk.problem(at, format!("{written:?} stands twice in names; keep one"))),
        None => Ok(name),
    }
}

fn key<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<KeyType> {
    let words = KeyType::ALL.map(KeyType::word);
    walk.word(value, |word| KeyType::ALL.into_iter().find(|key| key.word() == word), &words)
}

fn min_age<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Duration> {
    walk.duration(value, ("0 s", "30 days"))
}

fn on_trust_change<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<OnTrustChange> {
    let words = OnTrustChange::ALL.map(OnTrustChange::word);
    let meaning = |word: &str| OnTrustChange::ALL.into_iter().find(|stance| stance.word() == word);
    walk.word(value, meaning, &words)
}

fn one_issuer<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<At<String>> {
    let mut names = walk.strings(value)?.into_iter();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only),
        (_, Some(second)) => {
            let text = format!("the second issuer {:?} is not built yet; name one", second.it);
            Err(walk.problem(second.at, text))
        }
        (None, None) => Err(Reported),
    }
}

fn issuer_of<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    issuers: &Declared<IssuerSpec>,
) -> Read<String> {
    match walk.optional(table, "issuer", one_issuer)? {
        Some(name) => {
            walk.refuse_unknown(&name, issuers.words(), "issuer")?;
            Ok(name.it)
        }
        None if issuers.words().any(|name| name == issuer::DEFAULT) => {
            Ok(issuer::DEFAULT.to_owned())
        }
        None if walk.has_lost_tables() => Err(Reported),
        None => {
            let hint = match issuers.words().next() {
                Some(name) => format!("write issuer = {name:?}, or a table [acme]"),
                None => "write a table [acme] with directory = \"letsencrypt\"".to_owned(),
            };
            Err(walk.problem(table.at, format!("no CA is named for this certificate: {hint}")))
        }
    }
}

fn challenges_of<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    challenges: &Declared<ChallengeSpec>,
) -> Read<Vec<String>> {
    let Some(names) = walk.optional(table, "challenge", Walk::strings)? else {
        let mut all: Vec<String> = challenges.words().map(str::to_owned).collect();
        all.sort();
        return Ok(all);
    };
    let mut chosen: Vec<String> = Vec::new();
    let mut sound = Ok(());
    for name in names {
        if let Err(reported) = walk.refuse_unknown(&name, challenges.words(), "challenge") {
            sound = Err(reported);
        } else if chosen.contains(&name.it) {
            sound = Err(walk.problem(name.at, format!("{:?} stands twice; keep one", name.it)));
        } else {
            chosen.push(name.it);
        }
    }
    sound.map(|()| chosen)
}

fn warn_of_names(walk: &mut Walk<'_>, names: &[At<Identifier>], issuer: Option<&IssuerSpec>) {
    let public = issuer.is_some_and(|issuer| issuer.trust_anchor.is_none());
    for At { at, it } in names {
        let text = it.to_string();
        if suspect::is_example(&text) {
            walk.warning(*at, format!("{text:?} is an example: write your own name"));
        } else if let (true, Some(reason)) = (public, suspect::is_private(it)) {
            walk.warning(*at, format!("a public CA gives no certificate for {text:?}: {reason}"));
        }
    }
}
