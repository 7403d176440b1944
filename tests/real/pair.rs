//! Certificates that say which one they are.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair};

/// A certificate with its key, in the two files that a server reads.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Leaf first.
    pub fullchain: PathBuf,
    /// PKCS#8.
    pub privkey: PathBuf,
}

impl Pair {
    /// The files `fullchain.pem` and `privkey.pem` in `folder`, which need not exist yet.
    pub fn in_folder(folder: &Path) -> Self {
        Self { fullchain: folder.join("fullchain.pem"), privkey: folder.join("privkey.pem") }
    }

    /// Writes a new self-signed certificate for `name` and its key, and returns the leaf's DER.
    ///
    /// The key is readable by everybody: it is worth nothing, and a server's own user reads it.
    pub fn write_self_signed(&self, name: &str) -> Vec<u8> {
        let (leaf, key) = self_signed(name);
        self.write(&leaf.pem(), &key.serialize_pem());
        leaf.der().to_vec()
    }

    /// The same with an RSA key of 2048 bits, for servers that know nothing newer.
    pub fn write_self_signed_rsa(&self, name: &str) -> Vec<u8> {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("RSA keys can be made");
        let (leaf, key) = self_signed_with(name, key);
        self.write(&leaf.pem(), &key.serialize_pem());
        leaf.der().to_vec()
    }

    /// Writes a certificate and a key that do not belong together.
    pub fn write_mismatched(&self, name: &str) {
        let (leaf, _) = self_signed(name);
        let (_, key) = self_signed(name);
        self.write(&leaf.pem(), &key.serialize_pem());
    }

    /// Replaces both files whole.
    pub fn write(&self, fullchain: &str, privkey: &str) {
        for (path, content) in [(&self.fullchain, fullchain), (&self.privkey, privkey)] {
            let beside = path.with_extension("new");
            std::fs::write(&beside, content).expect("a new file can be written");
            std::fs::rename(&beside, path).expect("it can be renamed");
        }
    }
}

fn self_signed(name: &str) -> (rcgen::Certificate, KeyPair) {
    self_signed_with(name, KeyPair::generate().expect("P-256 keys can be made"))
}

fn self_signed_with(name: &str, key: KeyPair) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("the name is one");
    params.distinguished_name.push(DnType::CommonName, name);
    let leaf = params.self_signed(&key).expect("it can be signed");
    (leaf, key)
}
