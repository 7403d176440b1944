//! The documents that are offered: from the address, from the file, and the one that was kept.

use jiff::Timestamp;

use crate::check::Checker;
use crate::feed::advisory::{Error, Fetched, fetch, read};
use crate::host::network;
use crate::minisign::{self, PublicKey};
use crate::policy::advisory::{Document, Problem};
use crate::policy::offline::Heard;
use crate::state::software::SoftwareMemory;
use crate::store::KeptAdvisory;

/// What came of asking for documents.
pub(super) struct Documents {
    /// The one to go by: the highest number that is good.
    pub(super) best: Option<Best>,
    /// How the address answered.
    pub(super) heard: Heard,
    /// What is wrong with the file, when something is.
    pub(super) file_trouble: Option<String>,
    /// Why there is none, when there is none.
    pub(super) troubles: Vec<String>,
}

/// A document that is signed, in date, and no older one.
pub(super) struct Best {
    pub(super) document: Document,
    /// Where it came from, for a person.
    pub(super) from: String,
    fetched: Fetched,
    key: String,
}

/// Why a document is not believed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Document(#[from] Problem),
    #[error(transparent)]
    Signature(#[from] minisign::Error),
}

/// Whose signatures count, and the highest number that was seen of theirs.
struct Judge {
    keys: Vec<PublicKey>,
    seen: u64,
    now: Timestamp,
}

/// Asks everybody, and keeps the best for days on which nobody answers.
pub(super) async fn gather(
    checker: &Checker<'_>,
    memory: &mut SoftwareMemory,
    now: Timestamp,
) -> Documents {
    let spec = &checker.config.check.advisories;
    let judge = Judge::new(&spec.keys, memory, now);
    let (mut good, mut troubles) = (Vec::new(), Vec::new());
    let (heard, from_address) = ask(checker, &judge).await;
    good.extend(from_address);
    troubles.extend(in_words(&heard).filter(|_| spec.url.is_some()));
    let mut file_trouble = None;
    if let Some(path) = &spec.file {
        let shown = path.display();
        match read(path).map_err(|error| error.to_string()) {
            Ok(Some(fetched)) => match judge.judge(fetched, path.display().to_string()) {
                Ok(best) => good.push(best),
                // Put there long ago, and newer ones came another way: nothing is wrong.
                Err(Refused::Document(Problem::RolledBack { .. })) if spec.url.is_some() => {}
                Err(reason) => file_trouble = Some(format!("{shown} is refused: {reason}")),
            },
            Ok(None) => troubles.push(format!("there is no file {shown}")),
            Err(reason) => file_trouble = Some(reason),
        }
    }
    troubles.extend(file_trouble.clone());
    if spec.url.is_some() || spec.file.is_some() {
        match kept(checker, &judge) {
            Ok(kept) => good.extend(kept),
            Err(reason) => troubles.push(format!("the one that was kept is refused: {reason}")),
        }
    }
    // Of two with the same number the one that was just seen.
    let best = good.into_iter().rev().max_by_key(|best| best.document.sequence);
    if let Some(best) = &best {
        memory.sequences.insert(best.key.clone(), best.document.sequence.max(judge.seen));
        keep(checker, best, now);
    }
    Documents { best, heard, file_trouble, troubles }
}

/// Fetches from the address, if there is one.
async fn ask(checker: &Checker<'_>, judge: &Judge) -> (Heard, Option<Best>) {
    let spec = &checker.config.check;
    let Some(url) = spec.advisories.url.as_ref().filter(|_| !spec.offline) else {
        return (Heard::NoNetwork, None);
    };
    if !network::is_up(&checker.world.root) {
        return (Heard::NoNetwork, None);
    }
    let mut tries = 0;
    loop {
        tries += 1;
        let fetched = match fetch(spec).await {
            Ok(Some(fetched)) => fetched,
            Ok(None) => return (Heard::NoNetwork, None),
            Err(Error::Server { text, lasts }) => return (Heard::Fault(text, lasts), None),
            Err(error) => return (Heard::Nothing(error.to_string()), None),
        };
        match judge.judge(fetched, shown(url)) {
            Ok(best) => return (Heard::Well, Some(best)),
            // Replaced between our two questions: once more.
            Err(Refused::Signature(minisign::Error::Forged)) if tries == 1 => {}
            Err(reason) => {
                let text = format!("what it answers is refused: {reason}");
                return (Heard::Fault(text, true), None);
            }
        }
    }
}

/// An address without what may be a secret in it.
pub(super) fn shown(address: &str) -> String {
    let Ok(url) = url::Url::parse(address) else { return "the address".to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn in_words(heard: &Heard) -> Option<String> {
    match heard {
        Heard::Well => None,
        Heard::NoNetwork => Some("nobody was asked".to_owned()),
        Heard::Fault(why, _) | Heard::Nothing(why) => Some(why.clone()),
    }
}

/// The document of an earlier check, judged like any other: keys may have changed since.
fn kept(checker: &Checker<'_>, judge: &Judge) -> Result<Option<Best>, String> {
    let kept = checker.store.advisory().map_err(|error| crate::deploy::chain_of(&error))?;
    let Some(KeptAdvisory { document, signature, .. }) = kept else { return Ok(None) };
    let fetched = Fetched { document: document.into_bytes(), signature: signature.into_bytes() };
    judge.judge(fetched, "an earlier check".to_owned()).map(Some).map_err(|e| e.to_string())
}

/// What fails here is logged: the document itself is good.
fn keep(checker: &Checker<'_>, best: &Best, now: Timestamp) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap_or_default();
    let kept = KeptAdvisory {
        document: text(&best.fetched.document),
        signature: text(&best.fetched.signature),
        ..KeptAdvisory::default()
    };
    if let Err(error) = checker.store.keep_advisory(&kept, now) {
        let text = crate::deploy::chain_of(&error);
        tracing::error!("the advisory document cannot be kept: {text}");
    }
}

impl Judge {
    fn new(keys: &[String], memory: &SoftwareMemory, now: Timestamp) -> Self {
        // The configuration took them as keys already.
        let keys: Vec<PublicKey> = keys.iter().filter_map(|k| PublicKey::parse(k).ok()).collect();
        let seen = keys.iter().filter_map(|key| memory.sequences.get(&key.id().to_string()));
        Self { seen: seen.copied().max().unwrap_or_default(), keys, now }
    }

    fn judge(&self, fetched: Fetched, from: String) -> Result<Best, Refused> {
        let signed = minisign::verify(&fetched.document, &fetched.signature, &self.keys)?;
        let document = Document::parse(&fetched.document)?;
        document.stands(self.seen, self.now)?;
        Ok(Best { document, from, fetched, key: signed.by.to_string() })
    }
}
