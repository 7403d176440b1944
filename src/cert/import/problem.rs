//! What can be wrong with an upload, each in one sentence that says what to do next, for somebody
//! who has never heard of PKI. A sentence goes on after the name of the file and a colon.

use super::ROUNDS;

/// Why a file, or a part of it, cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Problem {
    /// An archive: its kind and the command that unpacks it.
    Archive(&'static str, &'static str),
    /// The key's curve is written out in numbers.
    CurveSpelledOut,
    /// A signing request.
    Csr,
    /// A list of revoked certificates.
    Crl,
    /// Cut off or changed on its way.
    Damaged(&'static str),
    /// Nothing in it.
    Empty,
    /// A web page.
    Html,
    /// A Java keystore that is no PKCS#12: its kind.
    JavaKeystore(&'static str),
    /// A kind of key that pbxcert does not use.
    KeyKind,
    /// A key encrypted by OpenSSL's own way, in PEM.
    LegacyPem,
    /// Encrypted, and no password is there.
    Locked,
    /// Certificates, keys: nothing of it in there.
    Nothing(&'static str),
    /// Encrypted with a cipher that is not read.
    OldCipher(Form),
    /// A public key.
    PublicKey,
    /// The size of an RSA key in bits is out of bounds.
    RsaSize(u64),
    /// More rounds of key derivation than may be spent.
    Rounds(Form, u64),
    /// More memory for key derivation than may be spent, in MiB.
    Scrypt(Form, u64),
    /// A key for SSH.
    SshKey,
    /// More certificates than may be.
    TooManyCertificates(usize),
    /// More keys than may be.
    TooManyKeys(usize),
    /// A certificate with more names than may be.
    TooManyNames(usize),
    /// Nothing that is known.
    Unknown,
    /// The password does not open it.
    WrongPassword,
}

/// What is encrypted, and so which command converts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// A private key alone.
    Key,
    /// A PKCS#12 file.
    Pkcs12,
}

impl Form {
    fn conversion(self, legacy: bool, file: &str) -> String {
        match (self, legacy) {
            (Self::Key, false) => {
                format!("openssl pkcs8 -topk8 -in {file} -out new.key")
            }
            (Self::Key, true) => format!(
                "openssl pkcs8 -topk8 -provider legacy -provider default -in {file} -out new.key"
            ),
            (Self::Pkcs12, false) => format!("openssl pkcs12 -in {file} -out new.pem"),
            (Self::Pkcs12, true) => format!("openssl pkcs12 -legacy -in {file} -out new.pem"),
        }
    }

    fn result(self) -> &'static str {
        match self {
            Self::Key => "new.key",
            Self::Pkcs12 => "new.pem",
        }
    }

    /// "convert it with ... and upload ...".
    fn next(self, legacy: bool, file: &str) -> String {
        format!(
            "convert it with `{}`, which asks for the password and for a new one, and upload {} \
             with the new password in password.txt",
            self.conversion(legacy, file),
            self.result()
        )
    }
}

impl Problem {
    /// The sentence. `name` is what the file is called.
    pub(super) fn sentence(&self, name: &str) -> String {
        let file = word(name);
        match self {
            Self::Archive(kind, command) => format!(
                "this is an archive ({kind}), and archives are not opened here: unpack it here \
                 with `{command} {file}` and upload the files that were in it"
            ),
            Self::CurveSpelledOut => format!(
                "the private key does not name its curve but writes it out in numbers, which hardly \
                 any server reads: convert it with `openssl ec -in {file} -param_enc named_curve \
                 -out new.key` and upload new.key"
            ),
            Self::Csr => "this is a certificate signing request: the question to a CA, not its \
                          answer. Send it to the CA, or paste it into the CA's web form, and \
                          upload the certificate that comes back"
                .to_owned(),
            Self::Crl => {
                "this is a list of revoked certificates, which is not needed here: upload \
                          the certificate itself, as the CA sent it"
                    .to_owned()
            }
            Self::Damaged(part) => format!(
                "{part} is damaged, or was cut off when it was copied: copy or download it again, \
                 all of it, in a text from the line -----BEGIN to the line -----END"
            ),
            Self::Empty => "the file is empty: upload it again, and see to it that the copy is as \
                            long as the original"
                .to_owned(),
            Self::Html => "this is a web page, not a certificate: a shop often sends its login \
                           page in place of the file when the session has ended. Sign in there \
                           again, download the certificate and upload that"
                .to_owned(),
            Self::JavaKeystore(kind) => format!(
                "this is a Java keystore of the old kind ({kind}): convert it with `keytool \
                 -importkeystore -srckeystore {file} -destkeystore new.p12 -deststoretype PKCS12` \
                 and upload new.p12 with its password in password.txt"
            ),
            Self::KeyKind => "the private key is of a kind that is not used here: usable are RSA \
                              of 2048 to 8192 bits and ECDSA on P-256, P-384 or P-521. Order the \
                              certificate anew with such a key, or with the one that pbxcert \
                              makes (`pbxcert csr`)"
                .to_owned(),
            Self::LegacyPem => format!(
                "the private key is locked with a password in the old way of OpenSSL \
                 (\"Proc-Type: 4,ENCRYPTED\"), which is not read here: {}",
                Form::Key.next(false, &file)
            ),
            Self::Locked => "it is locked with a password, and none was given: put the password, \
                             and nothing else, into a file password.txt beside it (or name a file \
                             with --password-file), and upload it again"
                .to_owned(),
            Self::Nothing(kind) => format!(
                "there is neither a certificate nor a private key in this {kind}: export it again \
                 together with its private key, or upload the certificate and the key as they \
                 came from the CA"
            ),
            Self::OldCipher(form) => format!(
                "it is locked with an outdated or rare cipher, which is not read here: {}",
                form.next(true, &file)
            ),
            Self::PublicKey => "this is a public key, which is in the certificate already: upload \
                                the private key that was made together with it (its first line \
                                ends in \"PRIVATE KEY-----\")"
                .to_owned(),
            Self::RsaSize(bits) => format!(
                "an RSA key of {bits} bits is not used here, only of 2048 to 8192: order the \
                 certificate anew with an RSA key of 2048 bits, or with the key that pbxcert \
                 makes (`pbxcert csr`)"
            ),
            Self::Rounds(form, rounds) => format!(
                "it takes {rounds} rounds to turn its password into a key, and {ROUNDS} are the \
                 most for all files together: {}{}",
                if *rounds <= ROUNDS { "upload it alone, or " } else { "" },
                form.next(false, &file)
            ),
            Self::Scrypt(form, mebibytes) => format!(
                "it takes {mebibytes} MiB of memory to turn its password into a key (scrypt), and \
                 32 MiB are the most: {}",
                form.next(false, &file)
            ),
            Self::SshKey => "this is a key for SSH, not for a certificate: upload the private key \
                             that was made together with the signing request of the certificate \
                             (its first line ends in \"PRIVATE KEY-----\")"
                .to_owned(),
            Self::TooManyCertificates(count) => format!(
                "there are {count} certificates in it, and 10 are the most: it may be a list of \
                 all CAs. Upload the certificate of this telephone system, and the intermediate \
                 certificates that the CA sent with it"
            ),
            Self::TooManyKeys(count) => format!(
                "there are {count} private keys in it, and 10 are the most: upload only the key \
                 of this certificate"
            ),
            Self::TooManyNames(count) => format!(
                "there is a certificate for {count} names in it, and 100 are the most: order one \
                 for the names of this telephone system alone"
            ),
            Self::Unknown => "this is none of the kinds of file that are read here (PEM, .crt, \
                              .cer, .key, PKCS#12 as .p12 or .pfx, PKCS#7 as .p7b): upload the \
                              certificate and the private key as they came from the CA"
                .to_owned(),
            Self::WrongPassword => {
                "the password does not open it (it may have a letter or a space \
                                    too many): write the right one into password.txt, and upload \
                                    the file and password.txt again, together; if the password \
                                    is right, the file is damaged, so export or download it again"
                    .to_owned()
            }
        }
    }
}

/// A name that may be typed after a command as it is; else a word to be replaced. A person copies
/// the command into a shell, perhaps as root.
fn word(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('-') {
        name.to_owned()
    } else {
        "FILE".to_owned()
    }
}
