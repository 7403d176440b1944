//! JSON files with a schema number: read, migrated, written whole, moved aside when damaged.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Error, PRIVATE_FILE, Store};
use crate::fs::{self, Owner};
use crate::policy::findings::own;
use crate::state::{Finding, SCHEMA};

/// Far above anything that we write.
const LIMIT: u64 = 16 << 20;

/// From each schema to the next: step n takes a record of schema n. Raising [`SCHEMA`] does not
/// compile without a new step.
const STEPS: [fn(Value) -> Value; SCHEMA as usize] = [number_the_record];

/// A record with a schema number of its own.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// Where its schema number is.
    fn schema(&mut self) -> &mut u32;
}

/// Whose file it is.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    Certificate(String),
    /// No certificate and no service: of the host as a whole.
    Host,
    Service(String),
}

/// What lies where a record should.
pub(super) enum Read<T> {
    /// Something that is no such record, and why.
    Broken(String),
    /// Nothing.
    Missing,
    /// The record, migrated to our schema.
    Whole(T),
}

impl<T> Read<T> {
    /// The record, when there is a whole one.
    pub(super) fn whole(self) -> Option<T> {
        match self {
            Self::Whole(record) => Some(record),
            Self::Broken(_) | Self::Missing => None,
        }
    }
}

/// Reads a record. The reasons in [`Read::Broken`] never quote the file: it may hold a key.
///
/// # Errors
///
/// When a newer pbxcert wrote it, or the system refuses.
pub(super) fn read<T: Record>(path: &Path) -> Result<Read<T>, Error> {
    let bytes = match fs::read_if_there(path, LIMIT) {
        Ok(Some(bytes)) => Zeroizing::new(bytes),
        Ok(None) => return Ok(Read::Missing),
        Err(e @ (fs::Error::Kind { .. } | fs::Error::TooLarge { .. })) => {
            return Ok(Read::Broken(e.to_string()));
        }
        Err(e) => return Err(e.into()),
    };
    let value = match parse(&bytes) {
        Ok(value) => value,
        Err(reason) => return Ok(Read::Broken(reason)),
    };
    let schema = match value.get("schema") {
        None => Some(0),
        Some(number) => number.as_u64(),
    };
    let Some(schema) = schema else {
        return Ok(Read::Broken("its schema number is none".to_owned()));
    };
    if schema > u64::from(SCHEMA) {
        return Err(Error::Newer { path: path.to_owned(), schema });
    }
    let value = migrate(value, u32::try_from(schema).unwrap_or(SCHEMA));
    Ok(match serde_json::from_value(value) {
        Ok(record) => Read::Whole(record),
        Err(_) => Read::Broken("it is JSON, but not the record that belongs here".to_owned()),
    })
}

fn parse(bytes: &[u8]) -> Result<Value, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("it is JSON, but no record".to_owned()),
        Err(e) => Err(format!("it is no JSON from line {} column {} on", e.line(), e.column())),
    }
}

/// Brings a record of an older schema to ours.
fn migrate(record: Value, from: u32) -> Value {
    STEPS.iter().skip(from as usize).fold(record, |record, step| step(record))
}

/// 0 to 1: records got a schema number.
fn number_the_record(mut record: Value) -> Value {
    record["schema"] = 1.into();
    record
}

/// Replaces a record whole, unless the very same is there.
///
/// # Errors
///
/// When a newer pbxcert wrote what is there, or it cannot be written.
pub(super) fn write<T: Record>(path: &Path, mut record: T) -> Result<(), Error> {
    *record.schema() = SCHEMA;
    let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new(serde_json::to_vec_pretty(&record).map_err(unwritable)?);
    bytes.push(b'\n');
    if let Ok(Some(there)) = fs::read_if_there(path, LIMIT).map(|b| b.map(Zeroizing::new)) {
        if *there == *bytes {
            return Ok(());
        }
        check_not_newer(path, &there)?;
    }
    Ok(fs::replace(path, &bytes, PRIVATE_FILE, Owner::default())?)
}

fn check_not_newer(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let value = parse(bytes).unwrap_or_default();
    match value.get("schema").and_then(Value::as_u64) {
        Some(schema) if schema > u64::from(SCHEMA) => {
            Err(Error::Newer { path: path.to_owned(), schema })
        }
        _ => Ok(()),
    }
}

/// Moves something damaged aside, under a name that says so, and tells history.
///
/// # Errors
///
/// When it cannot be moved.
pub(super) fn move_aside(
    store: &Store,
    subject: &Subject,
    path: &Path,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let aside = aside(path, now, fs::move_new)?;
    store.tell_repair(subject, repair(path, &aside, reason), now);
    Ok(())
}

/// Gives something damaged a second name that says so, and tells history: what replaces it then
/// does so in one step, so that at no moment there is nothing.
///
/// # Errors
///
/// When it cannot be linked.
pub(super) fn link_aside(
    store: &Store,
    subject: &Subject,
    path: &Path,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let aside = aside(path, now, fs::link_new)?;
    store.tell_repair(subject, repair(path, &aside, reason), now);
    Ok(())
}

fn repair(path: &Path, aside: &Path, reason: &str) -> String {
    format!("{} was damaged ({reason}) and now lies in {}", path.display(), aside.display())
}

fn aside(
    path: &Path,
    now: Timestamp,
    to: fn(&Path, &Path) -> Result<(), fs::Error>,
) -> Result<PathBuf, Error> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut second = now.as_second();
    loop {
        let aside = path.with_file_name(format!("{file}{BROKEN}{second}"));
        match to(path, &aside) {
            // Twice in a second.
            Err(e) if e.is_taken() => second = second.saturating_add(1),
            other => return other.map(|()| aside).map_err(Error::from),
        }
    }
}

const BROKEN: &str = ".broken-";

/// A finding for each damaged thing that lies aside in a folder.
///
/// # Errors
///
/// When the folder cannot be read.
pub(super) fn set_aside(folder: &Path, object: &str) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for name in fs::list(folder)? {
        let Some((file, second)) = name.split_once(BROKEN) else { continue };
        let when = second.parse().ok().and_then(|s| Timestamp::from_second(s).ok());
        findings.push(own::moved_aside(object, file, when, &folder.join(&name)));
    }
    Ok(findings)
}

/// A finding when a record is damaged, or newer than we are, right now.
///
/// # Errors
///
/// When the system refuses to read it.
pub(super) fn damage<T: Record>(path: &Path, object: &str) -> Result<Option<Finding>, Error> {
    match read::<T>(path) {
        Ok(Read::Whole(_) | Read::Missing) => Ok(None),
        Ok(Read::Broken(reason)) => Ok(Some(own::unreadable(object, path, &reason))),
        Err(e @ Error::Newer { .. }) => Ok(Some(own::newer(object, e.to_string()))),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::state::Ledger;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Number {
        schema: u32,
        number: u32,
    }

    impl Record for Number {
        fn schema(&mut self) -> &mut u32 {
            &mut self.schema
        }
    }

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("record.json");
        std::fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn a_record_without_a_schema_number_is_migrated() {
        let (_dir, path) = file(r#"{"number": 7}"#);
        let number = read::<Number>(&path).unwrap().whole().unwrap();
        assert_eq!(number, Number { schema: SCHEMA, number: 7 });
        let old = include_str!("fixtures/ledger-0.json");
        let (_dir, path) = file(old);
        let ledger = read::<Ledger>(&path).unwrap().whole().unwrap();
        assert_eq!((ledger.schema, ledger.entries.len()), (SCHEMA, 2));
    }

    #[test]
    fn a_record_of_this_schema_is_not_migrated() {
        let record = json!({"schema": SCHEMA, "number": 7});
        assert_eq!(migrate(record.clone(), SCHEMA), record);
    }

    #[test]
    fn a_newer_record_is_neither_read_nor_written_over() {
        let (_dir, path) = file(r#"{"schema": 2, "number": "seven"}"#);
        let error = read::<Number>(&path).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "{} was written by a newer pbxcert (schema 2, this one knows 1) and is left \
                 alone; install the newer pbxcert again",
                path.display()
            )
        );
        let error = write(&path, Number { schema: 0, number: 8 }).unwrap_err();
        assert!(matches!(error, Error::Newer { schema: 2, .. }));
        assert!(std::fs::read_to_string(&path).unwrap().contains("seven"));
    }

    #[test]
    fn what_is_broken_is_told_without_quoting_it() {
        for content in [
            "",
            "\0\0\0\0",
            "null",
            "[]",
            "{",
            "\u{feff}{}",
            r#"{"schema": -1}"#,
            r#"{"schema": "1"}"#,
            r#"{"schema": 1}"#,
            r#"{"schema": 1, "number": "SECRET"}"#,
            r#"{"schema": 1, "number": 7} SECRET"#,
            &"[".repeat(100_000),
        ] {
            let (_dir, path) = file(content);
            match read::<Number>(&path).unwrap() {
                Read::Broken(reason) => assert!(!reason.contains("SECRET"), "{reason}"),
                _ => panic!("{content:.40} was taken"),
            }
        }
    }

    #[test]
    fn a_record_that_did_not_change_is_not_written() {
        let (_dir, path) = file("");
        write(&path, Number { schema: 0, number: 7 }).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        write(&path, Number { schema: 0, number: 7 }).unwrap();
        let after = std::fs::metadata(&path).unwrap();
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(before.ino(), after.ino());
        write(&path, Number { schema: 0, number: 8 }).unwrap();
        assert_ne!(std::fs::metadata(&path).unwrap().ino(), before.ino());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\n  \"schema\": 1,"), "{text}");
    }
}
