//! What administrators have: PEM, DER, PKCS#12, PKCS#7 and keys of every kind, taken apart.
//!
//! Everything here reads bytes from outside, and runs in a confined child ([`crate::confine`]).
//! Limits are kept by looking before computing: sizes, counts, nesting, rounds and memory of key
//! derivation.

mod asn1;
mod key;
mod locked;
mod pem;
mod pkcs12;
mod problem;
mod strange;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use self::asn1::{BIT_STRING, CONTEXT_0, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};
use self::locked::Budget;
use self::pem::{Block, Body};
use self::problem::{Form, Problem};
use super::bundle::PrivateKey;

/// Rounds of key derivation for all files of an upload together. pk12util of NSS takes 600000 for
/// the certificates and as many for the key, unasked.
pub const ROUNDS: u64 = 2_000_000;

/// Most certificates, and most keys, in one file.
const MOST_OF_A_KIND: usize = 10;

/// Most names in one certificate.
const MOST_NAMES: usize = 100;

const LOCKED_KEY: Problem = Problem::Damaged("the locked private key");

/// A file as it was uploaded.
#[derive(Clone)]
pub struct File {
    /// Its name, with everything that a terminal or a log could stumble over escaped.
    pub name: String,
    /// What is in it; may hold a key.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What was found in one file.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Certificates, in the order found.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Private keys, in the order found.
    pub keys: Vec<PrivateKey>,
    /// What could not be read of it, as sentences that say what to do; each goes on after the
    /// file's name and a colon.
    pub problems: Vec<String>,
    /// Something in it is locked, and no password was given: one that follows may open it.
    pub locked: bool,
    /// Rounds of key derivation that were spent.
    pub rounds: u64,
    /// Rounds that the file would have needed at least, when there were too few; else 0.
    pub wanted: u64,
}

/// Takes a file apart. `password` opens what is encrypted, `rounds` is what may be spent on that.
pub fn parts(file: &File, password: Option<&str>, rounds: u64) -> Parts {
    let mut found = Found::new(password, rounds);
    if let Err(problem) = found.file(&file.name, &file.bytes) {
        found.problems.push(problem);
    }
    found.parts(&file.name)
}

/// What was found so far.
struct Found<'a> {
    password: Option<&'a str>,
    budget: Budget,
    certificates: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKey>,
    problems: Vec<Problem>,
    /// What was recognised and is not needed: told when nothing else was found.
    needless: Vec<Problem>,
    /// How many certificates there are, also of those that are not kept.
    count: usize,
}

impl<'a> Found<'a> {
    fn new(password: Option<&'a str>, rounds: u64) -> Self {
        Self {
            password,
            budget: Budget::new(rounds),
            certificates: Vec::new(),
            keys: Vec::new(),
            problems: Vec::new(),
            needless: Vec::new(),
            count: 0,
        }
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Problem> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Problem::Empty);
        }
        if let Some(strange) = strange::bytes(bytes, name) {
            return Err(strange);
        }
        let text = Zeroizing::new(text(bytes));
        let blocks = pem::blocks(&text);
        if !blocks.is_empty() {
            blocks.into_iter().for_each(|block| self.block(block));
            return Ok(());
        }
        if is_der(bytes) {
            return self.der(bytes);
        }
        match pem::bare(&text) {
            Some(bytes) if bytes.first() == Some(&SEQUENCE) => self.der(&bytes),
            _ => Err(strange::text(&text).unwrap_or(Problem::Unknown)),
        }
    }

    fn block(&mut self, block: Block<'_>) {
        let strange = strange::block(block.label);
        let result = match block.body {
            _ if strange.is_some() => {
                self.needless.extend(strange);
                Ok(())
            }
            // They say again what stands in the key.
            _ if block.label.ends_with(" PARAMETERS") => Ok(()),
            Body::Encrypted => Err(Problem::LegacyPem),
            Body::Damaged if block.label.ends_with("PRIVATE KEY") => {
                Err(Problem::Damaged("the private key in it"))
            }
            Body::Damaged => Err(Problem::Damaged("a certificate in it")),
            Body::Bytes(bytes) => self.der(&bytes),
        };
        self.problems.extend(result.err());
    }

    /// Tells by its first elements what it is, whatever its name or label says.
    fn der(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let damaged = || Problem::Damaged("the file");
        let (der, _) = asn1::definite(bytes).ok_or_else(damaged)?;
        let mut outer = Reader(&der).enter(SEQUENCE).ok_or(Problem::Unknown)?;
        let first = outer.any().ok_or(Problem::Unknown)?;
        let second = outer.any();
        let third = outer.any().map(|e| e.tag);
        match (first.tag, second.map(|e| e.tag), third) {
            (INTEGER, Some(SEQUENCE), Some(OCTET_STRING)) => self.pkcs8(&der),
            (INTEGER, Some(SEQUENCE), _) if first.value == [3] => self.pfx(&der),
            (INTEGER, Some(INTEGER), Some(INTEGER)) => self.add_key(key::pkcs1(&der)?),
            (INTEGER, Some(OCTET_STRING), _) => self.add_key(key::sec1(&der)?),
            (OID, Some(CONTEXT_0), _) if first.value == pkcs12::SIGNED => self.p7b(&der),
            (SEQUENCE, Some(OCTET_STRING), _) => self.locked_key(Form::Key, &der),
            (SEQUENCE, Some(BIT_STRING), None) => {
                self.needless.push(Problem::PublicKey);
                Ok(())
            }
            (SEQUENCE, Some(SEQUENCE), Some(BIT_STRING)) => self.certificate(&der),
            _ => Err(Problem::Unknown),
        }
    }

    fn pfx(&mut self, der: &[u8]) -> Result<(), Problem> {
        pkcs12::pfx(self, der)?;
        self.not_nothing("PKCS#12 file")
    }

    fn p7b(&mut self, der: &[u8]) -> Result<(), Problem> {
        pkcs12::p7b(self, der)?;
        self.not_nothing("PKCS#7 file")
    }

    fn not_nothing(&self, kind: &'static str) -> Result<(), Problem> {
        let nothing = self.count == 0 && self.keys.is_empty();
        if nothing { Err(Problem::Nothing(kind)) } else { Ok(()) }
    }

    fn pkcs8(&mut self, der: &[u8]) -> Result<(), Problem> {
        self.add_key(key::pkcs8(der)?)
    }

    fn locked_key(&mut self, form: Form, der: &[u8]) -> Result<(), Problem> {
        let (algorithm, data) = pkcs12::locked_key_parts(der)?;
        if self.password.is_none() && form == Form::Key {
            return Err(Problem::Locked);
        }
        let opened = locked::open(form, algorithm, data, self.password, &mut self.budget)?;
        let (key, _) = asn1::definite(&opened).ok_or_else(|| self.not_opened())?;
        self.pkcs8(&key)
    }

    /// Opened with the wrong password, which about one of 256 does without a sign of it.
    fn not_opened(&self) -> Problem {
        if self.password.is_some() { Problem::WrongPassword } else { Problem::Locked }
    }

    fn add_key(&mut self, key: PrivateKey) -> Result<(), Problem> {
        if self.keys.iter().any(|known| known.public() == key.public()) {
            return Ok(());
        }
        if self.keys.len() == MOST_OF_A_KIND {
            return Err(Problem::TooManyKeys(self.keys.len() + 1));
        }
        self.keys.push(key);
        Ok(())
    }

    fn certificate(&mut self, der: &[u8]) -> Result<(), Problem> {
        let Ok((rest, certificate)) = X509Certificate::from_der(der) else {
            return self.no_certificate(der);
        };
        if let Some(bits) = key::public_rsa_bits(certificate.public_key().raw)
            && bits > *key::RSA_BITS.end()
        {
            return Err(Problem::RsaSize(bits));
        }
        let names = names(&certificate);
        if names > MOST_NAMES {
            return Err(Problem::TooManyNames(names));
        }
        let der = CertificateDer::from(der[..der.len() - rest.len()].to_vec());
        if self.certificates.contains(&der) {
            return Ok(());
        }
        self.count += 1;
        if self.count <= MOST_OF_A_KIND {
            self.certificates.push(der);
        }
        Ok(())
    }

    /// What has the outer form of a certificate and is none.
    fn no_certificate(&mut self, der: &[u8]) -> Result<(), Problem> {
        use x509_parser::certification_request::X509CertificationRequest;
        use x509_parser::revocation_list::CertificateRevocationList;

        if X509CertificationRequest::from_der(der).is_ok() {
            self.needless.push(Problem::Csr);
        } else if CertificateRevocationList::from_der(der).is_ok() {
            self.needless.push(Problem::Crl);
        } else {
            return Err(Problem::Damaged("a certificate in it"));
        }
        Ok(())
    }

    fn parts(mut self, name: &str) -> Parts {
        if self.count > MOST_OF_A_KIND {
            self.certificates.clear();
            self.problems.push(Problem::TooManyCertificates(self.count));
        }
        if self.certificates.is_empty() && self.keys.is_empty() && self.problems.is_empty() {
            self.problems.append(&mut self.needless);
            if self.problems.is_empty() {
                self.problems.push(Problem::Unknown);
            }
        }
        let mut problems: Vec<String> = Vec::new();
        for problem in &self.problems {
            let sentence = problem.sentence(name);
            if !problems.contains(&sentence) && problems.len() < MOST_OF_A_KIND {
                problems.push(sentence);
            }
        }
        Parts {
            certificates: self.certificates,
            keys: self.keys,
            problems,
            locked: self.problems.contains(&Problem::Locked),
            rounds: self.budget.spent,
            wanted: self.budget.wanted,
        }
    }
}

/// A text may begin with the digit 0 as well: a short sequence has to end where the file ends, but
/// for a line break.
fn is_der(bytes: &[u8]) -> bool {
    let long = |length: &u8| *length >= 0x80;
    bytes.first() == Some(&SEQUENCE)
        && (bytes.get(1).is_some_and(long)
            || asn1::definite(bytes).is_some_and(|(_, used)| bytes.len() - used <= 2))
}

/// How many names a certificate is for, in all extensions that say so.
fn names(certificate: &X509Certificate<'_>) -> usize {
    use x509_parser::extensions::ParsedExtension;

    let of = |extension: &ParsedExtension<'_>| match extension {
        ParsedExtension::SubjectAlternativeName(san) => san.general_names.len(),
        _ => 0,
    };
    certificate.extensions().iter().map(|e| of(e.parsed_extension())).sum()
}

/// The password in a file: what stands in it, but for a mark of its encoding at the beginning and
/// the end of its first line at the end.
///
/// # Errors
///
/// When it is no text; what to do.
pub fn password(bytes: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    let utf_16 = |bytes: &[u8], join: fn([u8; 2]) -> u16| {
        let pairs = bytes.chunks_exact(2);
        let whole = pairs.remainder().is_empty();
        let units: Zeroizing<Vec<u16>> =
            Zeroizing::new(pairs.map(|p| join([p[0], p[1]])).collect());
        String::from_utf16(&units).ok().filter(|_| whole)
    };
    // As Windows writes it: PowerShell, and what the Editor calls Unicode.
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(str::to_owned),
        _ => std::str::from_utf8(bytes).ok().map(str::to_owned),
    };
    let text = Zeroizing::new(text.ok_or(NO_TEXT)?);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

/// Goes on after the name of the file and a colon.
const NO_TEXT: &str = "it is no text that can be read: write the password into it anew, with \
                       nothing else, and save it as UTF-8 (in an editor, \"Save as\" and \
                       \"Encoding\")";

/// The file as a text: UTF-8, or UTF-16 as Windows writes it; what is neither becomes signs that
/// mean nothing.
fn text(bytes: &[u8]) -> String {
    let pairs = |bytes: &[u8], join: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|p| join([p[0], p[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => pairs(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => pairs(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests;
