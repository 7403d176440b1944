//! Lists of revoked certificates that were fetched, until the next ones are due.
//!
//! ```text
//! node/crl/  <SHA-256 of its address>.crl    as it came; whoever reads it checks the signature
//! ```

use std::path::PathBuf;

use super::{Error, PRIVATE, PRIVATE_FILE, Store};
use crate::cert::bundle::digest_hex;
use crate::fs::{self, Owner};

impl Store {
    /// The list that was last fetched from an address.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn revocation_list(&self, address: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(fs::read_if_there(&self.crl_file(address), MOST)?)
    }

    /// Keeps a list for the next time.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn keep_revocation_list(&self, address: &str, list: &[u8]) -> Result<(), Error> {
        self.check_writable()?;
        fs::make_dir(&self.crl_dir(), PRIVATE, Owner::default())?;
        Ok(fs::replace(&self.crl_file(address), list, PRIVATE_FILE, Owner::default())?)
    }

    /// Forgets every list but those of these addresses, so that the folder does not grow.
    ///
    /// # Errors
    ///
    /// When a list cannot be removed.
    pub fn forget_other_revocation_lists(&self, addresses: &[String]) -> Result<(), Error> {
        self.check_writable()?;
        let wanted: Vec<PathBuf> = addresses.iter().map(|a| self.crl_file(a)).collect();
        for name in fs::list(&self.crl_dir())? {
            let path = self.crl_dir().join(name);
            if !wanted.contains(&path) {
                fs::remove(&path)?;
            }
        }
        Ok(())
    }

    fn crl_dir(&self) -> PathBuf {
        self.node().join("crl")
    }

    fn crl_file(&self, address: &str) -> PathBuf {
        self.crl_dir().join(format!("{}.crl", digest_hex(address.as_bytes())))
    }
}

/// No longer than what is fetched.
const MOST: u64 = 4 * 1024 * 1024;
