//! Signed advisories: the document and its signature, from an address or a file, bounded. Nothing
//! that comes is believed here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::http::StatusCode;
use tokio::time::timeout;
use url::Url;

use crate::config::check::CheckSpec;
use crate::fs;
use crate::http::{self, Client, ClientOptions, Trouble};
use crate::minisign::{ENDING, SIGNATURE_LIMIT};
use crate::policy::advisory::LIMIT;

/// For document and signature together.
const DEADLINE: Duration = Duration::from_secs(10);

/// A document with its signature, neither of them checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetched {
    /// At most 16 KiB.
    pub document: Vec<u8>,
    /// At most 4 KiB.
    pub signature: Vec<u8>,
}

/// Why there is no document.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Nobody answered.
    #[error("{0}")]
    Away(String),
    /// The file cannot be read.
    #[error("{0}")]
    File(String),
    /// The server answered, and is at fault.
    #[error("{text}")]
    Server {
        /// In words.
        text: String,
        /// It will not pass by itself: somebody has to look at it.
        lasts: bool,
    },
}

/// Fetches the document that the configuration names, and its signature beside it, over https
/// through its proxy; 10 s in all. `Ok(None)`: it names no address.
///
/// # Errors
///
/// When there are not both of them.
pub async fn fetch(spec: &CheckSpec) -> Result<Option<Fetched>, Error> {
    let Some(address) = &spec.advisories.url else { return Ok(None) };
    let options = ClientOptions {
        trust_anchor: spec.advisories.trust_anchor.clone(),
        proxy: spec.proxy.clone(),
        timeout: DEADLINE,
        https_only: true,
    };
    let both = async {
        // Reads certificates of the system: here, so that a folder that hangs has the limit, too.
        let client = Client::new(&options).map_err(|error| Error::Away(error.to_string()))?;
        let (document, signature) = (address.clone(), beside(address)?);
        let (document, signature) =
            tokio::join!(one(&client, &document, LIMIT), one(&client, &signature, SIGNATURE_LIMIT));
        Ok(Some(Fetched { document: document?, signature: signature? }))
    };
    let late = || Err(Error::Away(format!("no whole answer within {} s", DEADLINE.as_secs())));
    timeout(DEADLINE, both).await.unwrap_or_else(|_| late())
}

/// Where the signature of a document lies: `.minisig` behind the path, before any query.
fn beside(address: &str) -> Result<String, Error> {
    let mut url = Url::parse(address).map_err(|error| Error::Away(error.to_string()))?;
    let path = format!("{}{ENDING}", url.path());
    url.set_path(&path);
    Ok(url.into())
}

async fn one(client: &Client, address: &str, limit: usize) -> Result<Vec<u8>, Error> {
    let answer = client.get(address).await.map_err(of)?;
    let path = Url::parse(address).map(|url| url.path().to_owned()).unwrap_or_default();
    let status = answer.status();
    if status != StatusCode::OK {
        let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        return Err(Error::Server {
            text: format!("it answers {status} to {path}"),
            lasts: !passes,
        });
    }
    if answer.body().len() > limit {
        let text = format!("what it answers to {path} is longer than {limit} bytes");
        return Err(Error::Server { text, lasts: true });
    }
    Ok(answer.body().to_vec())
}

fn of(error: http::Error) -> Error {
    let text = error.to_string();
    match error {
        http::Error::TooLong { .. } => Error::Server { text, lasts: true },
        http::Error::Transport { trouble: Trouble::CertificateExpired, .. } => {
            Error::Server { text, lasts: false }
        }
        // Broken off after an answer had begun, or before: nobody can tell, and so it is not held
        // against this host.
        http::Error::Transport { trouble: Trouble::Broken, .. } => {
            Error::Server { text, lasts: false }
        }
        _ => Error::Away(text),
    }
}

/// Reads a document that an administrator put there, and its signature beside it. `Ok(None)`: no
/// such file.
///
/// # Errors
///
/// When one of them is too long, no regular file, behind a symbolic link, or the signature is
/// missing.
pub fn read(path: &Path) -> Result<Option<Fetched>, Error> {
    let no = |error: fs::Error| Error::File(error.to_string());
    let document = fs::read_if_there(path, LIMIT as u64).map_err(no)?;
    let Some(document) = document else { return Ok(None) };
    let beside = signature_path(path);
    let signature = fs::read_if_there(&beside, SIGNATURE_LIMIT as u64).map_err(no)?;
    match signature {
        Some(signature) => Ok(Some(Fetched { document, signature })),
        None => Err(Error::File(format!("its signature {} is missing", beside.display()))),
    }
}

/// Where the signature of a file lies.
pub fn signature_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ENDING);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_lies_beside_the_document() {
        let of = |url: &str| beside(url).unwrap();
        assert_eq!(of("https://a.example/b/c.json"), "https://a.example/b/c.json.minisig");
        assert_eq!(of("https://a.example/c.json?x=1"), "https://a.example/c.json.minisig?x=1");
        assert_eq!(signature_path(Path::new("/a/b.json")), Path::new("/a/b.json.minisig"));
    }

    #[test]
    fn a_file_is_read_whole_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let path = dir.join("advisory.json");
        assert_eq!(read(&path), Ok(None));
        std::fs::write(&path, "{}").unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("advisory.json.minisig is missing"));
        std::fs::write(signature_path(&path), "x").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().document, b"{}");
        std::fs::write(&path, vec![b' '; LIMIT + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("larger than"));
        let link = dir.join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).unwrap_err().to_string().contains("symbolic link"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("a folder"));
    }
}
