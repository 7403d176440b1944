//! Judges an upload: is this certificate to be taken, refused, or is something missing?
//!
//! [`to_follow`] says whose chains matter, the best first; the caller finds out where they lead,
//! until [`is_best`] says that no other can be better, and [`judge()`] decides from all of it.

mod alone;
mod facts;
mod judge;
mod pick;
mod words;

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use crate::cert::bundle::PrivateKey;
use crate::cert::chain::Missing;
use crate::cert::import::Parts;
use crate::cert::{Fingerprint, Leaf};
use crate::config::CertSpec;

pub use alone::password_alone;
pub use facts::Facts;
pub use judge::judge;
pub use pick::{candidates, is_best, to_follow};
pub use words::{
    PASSWORD_IN_VAIN, acme_only, not_put_together, request_of_acme, waited_in_vain, waiting_note,
};

/// Everything that was uploaded, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    /// Names of the files, escaped.
    pub files: Vec<String>,
    /// Certificates, each once.
    pub certificates: Vec<UploadedCertificate>,
    /// Private keys, each once.
    pub keys: Vec<UploadedKey>,
    /// What could not be read: place in `files`, and why.
    pub problems: Vec<(usize, String)>,
    /// One of them is locked, and there is no password yet.
    pub locked: bool,
}

/// A certificate, and the files that it is in.
#[derive(Clone, Debug)]
pub struct UploadedCertificate {
    /// Places in [`Upload::files`], at least one.
    pub files: Vec<usize>,
    /// As it was found.
    pub der: CertificateDer<'static>,
    /// What it is.
    pub facts: Facts,
}

/// A private key, and the files that it is in.
#[derive(Clone, Debug)]
pub struct UploadedKey {
    /// Places in [`Upload::files`], at least one.
    pub files: Vec<usize>,
    /// The key.
    pub key: PrivateKey,
}

/// A key that never left this host, or came with an earlier revision.
#[derive(Clone, Debug)]
pub struct OurKey {
    /// The key.
    pub key: PrivateKey,
    /// Where it is from, as it stands in "with the key of ...".
    pub from: String,
}

/// A public key whose certificate we know: tells a person what a stray key belongs to.
#[derive(Clone, Debug)]
pub struct Known {
    /// Subject public key info, DER.
    pub public: Vec<u8>,
    /// As it stands in "It belongs to ...".
    pub what: String,
}

/// A certificate with its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Place in [`Upload::certificates`].
    pub certificate: usize,
    /// Its key.
    pub key: KeyPlace,
}

/// Where a key is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyPlace {
    /// Place in [`Case::ours`].
    Ours(usize),
    /// Place in [`Upload::keys`].
    Uploaded(usize),
}

/// Where the chain of a candidate leads.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Leaf first, without a root.
    pub chain: Vec<CertificateDer<'static>>,
    /// What is missing upwards.
    pub missing: Option<Missing>,
    /// Why that could not be fetched, when it was tried.
    pub not_fetched: Option<String>,
    /// Whether it leads to a root now; why not.
    pub now: Result<(), String>,
    /// The same at the last moment of the leaf.
    pub at_end: Result<(), String>,
}

/// The certificate that would be replaced.
#[derive(Clone, Debug)]
pub struct Live {
    /// What it is.
    pub leaf: Leaf,
    /// As it stands in "the one that is in use now (...)".
    pub what: String,
    /// One that we made ourselves until there is a real one.
    pub placeholder: bool,
    /// Its CA has revoked it, as the daily check found.
    pub revoked: bool,
    /// Its chain leads (or led, until it expired) to a trusted root.
    pub trusted: bool,
}

/// The newest revision, to know it again.
#[derive(Clone, Debug)]
pub struct Newest {
    /// Its number.
    pub number: u64,
    /// Its leaf.
    pub fingerprint: Fingerprint,
    /// Leaf first, without a root.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Everything that a judgement is made on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What is wanted.
    pub spec: &'a CertSpec,
    /// What was uploaded.
    pub upload: &'a Upload,
    /// Keys of ours.
    pub ours: &'a [OurKey],
    /// Public keys that we know.
    pub known: &'a [Known],
    /// What would be replaced.
    pub live: Option<&'a Live>,
    /// What was committed last.
    pub newest: Option<&'a Newest>,
    /// Where the chains of the candidates lead, by [`Candidate::certificate`]. One that is not
    /// there is never taken.
    pub trust: &'a BTreeMap<usize, Trust>,
    /// Root says that worse is right.
    pub accept_worse: bool,
    /// Now.
    pub now: Timestamp,
}

/// What is to become of an upload, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judgement {
    /// Each question that was asked, in the order asked.
    pub checks: Vec<Check>,
    /// What is to be done.
    pub verdict: Verdict,
    /// For a person, beside the verdict.
    pub remarks: Vec<String>,
    /// Files that have no part in what was accepted (places in [`Upload::files`]), and why.
    pub unused: Vec<(usize, String)>,
}

/// One question, and its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// Stable, two or three words.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// In words; of a failure also what to do.
    pub text: String,
}

/// How a question came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should not be.
    Fail,
    /// It makes no difference here, and why.
    NotAsked,
    /// As it should be.
    Ok,
    /// Worth knowing, no reason to refuse.
    Warning,
}

/// What is to be done with an upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Commit this one.
    Accept {
        /// Which.
        candidate: Candidate,
        /// It is the newest revision already, of this number: nothing is to be committed.
        already: Option<u64>,
        /// What is told.
        text: String,
    },
    /// Never, and why: whole sentences.
    Refuse(Vec<String>),
    /// Not yet: `have: ...; missing: ...`.
    Wait(String),
}

impl Upload {
    /// Sorts what was found in the files.
    pub fn of(files: Vec<(String, Parts)>) -> Self {
        let mut upload = Self::default();
        for (place, (name, parts)) in files.into_iter().enumerate() {
            upload.files.push(name);
            upload.locked |= parts.locked;
            for problem in parts.problems {
                upload.problems.push((place, problem));
            }
            for der in parts.certificates {
                upload.certificate(place, der);
            }
            for key in parts.keys {
                match upload.keys.iter_mut().find(|k| k.key.public() == key.public()) {
                    Some(same) => same.files.push(place),
                    None => upload.keys.push(UploadedKey { files: vec![place], key }),
                }
            }
        }
        upload
    }

    fn certificate(&mut self, place: usize, der: CertificateDer<'static>) {
        if let Some(same) = self.certificates.iter_mut().find(|c| c.der == der) {
            same.files.push(place);
            return;
        }
        match Facts::read(&der).map_err(|reason| words::unusable(&reason)) {
            Ok(facts) => {
                self.certificates.push(UploadedCertificate { files: vec![place], der, facts });
            }
            Err(reason) => self.problems.push((place, reason)),
        }
    }

    /// The files of these places, for a sentence.
    fn named(&self, places: &[usize]) -> String {
        let names = places.iter().filter_map(|place| self.files.get(*place));
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Judgement {
    /// What a person is told, as one text.
    pub fn text(&self) -> String {
        let mut lines = match &self.verdict {
            Verdict::Accept { text, .. } => vec![text.clone()],
            Verdict::Refuse(sentences) => sentences.clone(),
            Verdict::Wait(text) => vec![text.clone()],
        };
        lines.extend(self.remarks.iter().cloned());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
