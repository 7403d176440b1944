//! What became of the last upload of each certificate.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::{self, Record};
use super::{Error, PRIVATE, Store, checked};
use crate::fs::{Owner, make_dir};
use crate::state::SCHEMA;
use crate::state::upload::UploadRecord;

/// The record with its schema number.
#[derive(Debug, Deserialize, Serialize)]
struct Numbered {
    #[serde(default)]
    schema: u32,
    #[serde(flatten)]
    upload: UploadRecord,
}

impl Record for Numbered {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

impl Store {
    /// What became of the last upload of a certificate; `None` when nothing readable is there.
    ///
    /// # Errors
    ///
    /// When `name` can be no name, a newer pbxcert wrote it, or the system refuses.
    pub fn upload_record(&self, name: &str) -> Result<Option<UploadRecord>, Error> {
        let numbered = record::read::<Numbered>(&self.upload_file(name)?)?;
        Ok(numbered.whole().map(|numbered| numbered.upload))
    }

    /// Replaces what became of the last upload, also what is damaged: history has it all.
    ///
    /// # Errors
    ///
    /// When `name` can be no name, a newer pbxcert wrote what is there, or it cannot be written.
    pub fn remember_upload(&self, name: &str, upload: &UploadRecord) -> Result<(), Error> {
        let path = self.upload_file(name)?;
        let _lock = self.lock_node()?;
        make_dir(&self.uploads(), PRIVATE, Owner::default())?;
        record::write(&path, Numbered { schema: SCHEMA, upload: upload.clone() })
    }

    fn upload_file(&self, name: &str) -> Result<PathBuf, Error> {
        Ok(self.uploads().join(format!("{}.json", checked(name)?)))
    }

    fn uploads(&self) -> PathBuf {
        self.node().join("uploads")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::upload::UploadOutcome;

    #[test]
    fn what_became_of_an_upload_is_remembered_for_each_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().canonicalize().unwrap().join("state")).unwrap();
        assert_eq!(store.upload_record("pbx").unwrap(), None);
        let mut upload = UploadRecord {
            at: "2026-03-01T12:00:00Z".parse().unwrap(),
            files: vec!["cert.pem".to_owned(), r"a\nb".to_owned()],
            uid: Some(1000),
            outcome: UploadOutcome::Waiting,
            text: "missing: its private key".to_owned(),
        };
        store.remember_upload("pbx", &upload).unwrap();
        assert_eq!(store.upload_record("pbx").unwrap().as_ref(), Some(&upload));
        upload.outcome = UploadOutcome::Accepted;
        store.remember_upload("pbx", &upload).unwrap();
        assert_eq!(store.upload_record("pbx").unwrap().as_ref(), Some(&upload));
        assert_eq!(store.upload_record("door").unwrap(), None);
        let path = store.upload_file("pbx").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"schema\": 1") && text.contains("\"outcome\": \"accepted\""));

        std::fs::write(&path, "{").unwrap();
        assert_eq!(store.upload_record("pbx").unwrap(), None);
        store.remember_upload("pbx", &upload).unwrap();
        assert_eq!(store.upload_record("pbx").unwrap(), Some(upload.clone()));

        std::fs::write(&path, r#"{"schema": 99}"#).unwrap();
        assert!(matches!(store.upload_record("pbx"), Err(Error::Newer { schema: 99, .. })));
        assert!(store.remember_upload("pbx", &upload).is_err());
        for wrong in ["", "../pbx", ".hidden", "a/b"] {
            assert!(matches!(store.upload_record(wrong), Err(Error::Name { .. })), "{wrong}");
        }
    }
}
