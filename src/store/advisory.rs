//! The last good advisory document, for days on which none can be fetched.
//!
//! ```text
//! node/  advisory.json    the document and its signature, checked again at each use
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{self, Read, Record};
use super::{Error, Store, Subject};

/// A document as it was signed, with its signature.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KeptAdvisory {
    /// Schema of this record.
    #[serde(default)]
    pub schema: u32,
    /// The document, to the letter.
    pub document: String,
    /// The text of its signature.
    pub signature: String,
}

impl Record for KeptAdvisory {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

impl Store {
    /// The document that was kept last; `None` when there is none, or it is damaged.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn advisory(&self) -> Result<Option<KeptAdvisory>, Error> {
        Ok(record::read(&self.advisory_file())?.whole())
    }

    fn advisory_file(&self) -> std::path::PathBuf {
        self.node().join("advisory.json")
    }

    /// Keeps a document; something damaged is moved aside first. Only for whoever checks now.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote what is there, or it cannot be written.
    pub fn keep_advisory(&self, kept: &KeptAdvisory, now: Timestamp) -> Result<(), Error> {
        let path = self.advisory_file();
        if let Read::Broken(reason) = record::read::<KeptAdvisory>(&path)? {
            record::move_aside(self, &Subject::Host, &path, &reason, now)?;
        }
        record::write(&path, kept.clone())
    }
}
