//! What a password opens: PBES2 (RFC 8018 section 6.2) by the pkcs8 crate, and the two older
//! schemes of PKCS#12 (RFC 7292 appendix C). What it costs is looked at before it is spent.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY as SHA1};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _};
use pkcs8::der::Decode as _;
use pkcs8::pkcs5::pbes2::{self, Kdf};
use zeroize::Zeroizing;

use super::asn1::{OCTET_STRING, OID, Reader, SEQUENCE};
use super::problem::{Form, Problem};

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
/// pkcs-12PbeIds, but for the last number.
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];

/// Most memory for scrypt.
const MOST_MEMORY: u64 = 32 * 1024 * 1024;

/// A block of scrypt is a few rounds of Salsa20/8; this many cost what one round of PBKDF2 costs.
const SCRYPT_BLOCKS_PER_ROUND: u64 = 4;

/// Rounds of key derivation that may still be spent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    /// May still be spent.
    pub(super) left: u64,
    /// Were spent.
    pub(super) spent: u64,
    /// Would have been needed at least, when they were too few.
    pub(super) wanted: u64,
}

impl Budget {
    pub(super) fn new(rounds: u64) -> Self {
        Self { left: rounds, ..Self::default() }
    }

    fn spend(&mut self, form: Form, rounds: u64) -> Result<(), Problem> {
        let Some(left) = self.left.checked_sub(rounds) else {
            self.wanted = self.wanted.max(self.spent.saturating_add(rounds));
            return Err(Problem::Rounds(form, rounds));
        };
        self.left = left;
        self.spent += rounds;
        Ok(())
    }
}

/// Opens `data` as `algorithm`, the content of an AlgorithmIdentifier, says.
pub(super) fn open(
    form: Form,
    algorithm: Reader<'_>,
    data: &[u8],
    password: Option<&str>,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut reader = algorithm;
    let damaged = Problem::Damaged("the way in which it is locked");
    let (Some(scheme), Some(parameters)) = (reader.value(OID), reader.any()) else {
        return Err(damaged);
    };
    if scheme == PBES2 {
        let parameters =
            pbes2::Parameters::from_der(parameters.whole).map_err(|_| Problem::OldCipher(form))?;
        return open_pbes2(form, &parameters, data, password, budget);
    }
    let Some((_, [number])) = scheme
        .split_at_checked(PKCS12_PBE.len())
        .filter(|(front, number)| *front == PKCS12_PBE && number.len() == 1)
    else {
        return Err(Problem::OldCipher(form));
    };
    let mut reader = parameters.inside(SEQUENCE).ok_or(damaged.clone())?;
    let (Some(salt), Some(rounds)) = (reader.value(OCTET_STRING), reader.number()) else {
        return Err(damaged);
    };
    let old = Old { form, salt, rounds, data, password: password.unwrap_or_default() };
    match number {
        3 => old.open::<des::TdesEde3>(24, budget),
        4 => old.open::<des::TdesEde2>(16, budget),
        5 => old.open::<rc2::Rc2>(16, budget),
        6 => old.open::<rc2::Rc2>(5, budget),
        _ => Err(Problem::OldCipher(form)),
    }
    .map_err(|problem| without(password, problem))
}

/// An empty password was tried where none was given.
fn without(password: Option<&str>, problem: Problem) -> Problem {
    if password.is_none() && problem == Problem::WrongPassword { Problem::Locked } else { problem }
}

fn open_pbes2(
    form: Form,
    parameters: &pbes2::Parameters,
    data: &[u8],
    password: Option<&str>,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => budget.spend(form, u64::from(kdf.iteration_count))?,
        Kdf::Scrypt(kdf) => {
            let blocks = kdf.cost_parameter.saturating_mul(u64::from(kdf.block_size));
            let memory = blocks.saturating_mul(128);
            if memory > MOST_MEMORY {
                return Err(Problem::Scrypt(form, memory.div_ceil(1 << 20)));
            }
            // N x r blocks are written and read, for each of p.
            let work = blocks.saturating_mul(u64::from(kdf.parallelization)).saturating_mul(2);
            budget.spend(form, work / SCRYPT_BLOCKS_PER_ROUND)?;
        }
        _ => return Err(Problem::OldCipher(form)),
    }
    let opened = parameters.decrypt(password.unwrap_or_default(), data);
    opened.map(Zeroizing::new).map_err(|error| match error {
        pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. } => Problem::OldCipher(form),
        _ => without(password, Problem::WrongPassword),
    })
}

/// Something encrypted as PKCS#12 did before PBES2.
struct Old<'a> {
    form: Form,
    salt: &'a [u8],
    rounds: u64,
    data: &'a [u8],
    password: &'a str,
}

impl Old<'_> {
    fn open<C>(&self, size: usize, budget: &mut Budget) -> Result<Zeroizing<Vec<u8>>, Problem>
    where
        C: KeyInit + BlockCipherDecrypt,
    {
        let mut bmp = Zeroizing::new(Vec::with_capacity(self.password.len() * 2 + 2));
        bmp.extend(self.password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes));
        let opened = self.open_with::<C>(&bmp, size, budget);
        // No password is written as an empty one by some, and as none at all by others.
        if self.password.is_empty() && opened == Err(Problem::WrongPassword) {
            return self.open_with::<C>(&[], size, budget);
        }
        opened
    }

    fn open_with<C>(
        &self,
        bmp: &[u8],
        size: usize,
        budget: &mut Budget,
    ) -> Result<Zeroizing<Vec<u8>>, Problem>
    where
        C: KeyInit + BlockCipherDecrypt,
    {
        // Two or three times, but each is less than half of one of PBKDF2.
        budget.spend(self.form, self.rounds)?;
        let key = derive(bmp, self.salt, 1, self.rounds, size);
        let iv = derive(bmp, self.salt, 2, self.rounds, 8);
        cbc::Decryptor::<C>::new_from_slices(&key, &iv)
            .map_err(|_| Problem::OldCipher(self.form))?
            .decrypt_padded_vec::<Pkcs7>(self.data)
            .map(Zeroizing::new)
            .map_err(|_| Problem::WrongPassword)
    }
}

/// RFC 7292 appendix B.2 with SHA-1: u = 20, v = 64.
fn derive(password: &[u8], salt: &[u8], id: u8, rounds: u64, size: usize) -> Zeroizing<Vec<u8>> {
    const V: usize = 64;

    let mut input = Zeroizing::new(filled(salt, V));
    input.extend_from_slice(&Zeroizing::new(filled(password, V)));
    let mut out = Zeroizing::new(Vec::with_capacity(size + 20));
    loop {
        let mut hash = digest::Context::new(&SHA1);
        hash.update(&[id; V]);
        hash.update(&input);
        let mut a = hash.finish();
        for _ in 1..rounds {
            a = digest::digest(&SHA1, a.as_ref());
        }
        out.extend_from_slice(a.as_ref());
        if out.len() >= size {
            out.truncate(size);
            return out;
        }
        let b = filled(a.as_ref(), V);
        for block in input.chunks_exact_mut(V) {
            // block + b + 1, modulo 2^512.
            let mut carry = 1;
            for (to, from) in block.iter_mut().zip(&b).rev() {
                let sum = u16::from(*to) + u16::from(*from) + carry;
                *to = sum as u8;
                carry = sum >> 8;
            }
        }
    }
}

/// Repeated to the next whole number of blocks; nothing stays nothing.
fn filled(bytes: &[u8], block: usize) -> Vec<u8> {
    let size = bytes.len().div_ceil(block) * block;
    bytes.iter().copied().cycle().take(size).collect()
}
