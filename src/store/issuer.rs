//! What is remembered of one issuer: the accounts, and what it gave and refused lately.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::record::{self, Read, Record};
use super::{Error, PRIVATE, Store, Subject};
use crate::cert;
use crate::cert::bundle::PrivateKey;
use crate::fs::{self, Lock, Owner};
use crate::state::{Account, Finding, Goal, Ledger, LedgerEntry};

/// A day more than the longest period over which a CA counts.
const LEDGER_SPAN: Duration = Duration::from_secs(8 * 86_400);
/// For how long a damaged ledger is taken as spent.
const SPENT_AFTER_DAMAGE: SignedDuration = SignedDuration::from_hours(1);

impl Record for Ledger {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

/// `account.json`: holds a key, so nothing shows it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct AccountRecord {
    schema: u32,
    directory: String,
    url: Option<String>,
    contact: Vec<String>,
    /// PKCS#8 in PEM.
    key: String,
}

impl Drop for AccountRecord {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Record for AccountRecord {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

/// What is remembered of an issuer. Each call that writes holds the issuer's lock while it lasts,
/// and no longer.
#[derive(Clone, Debug)]
pub struct IssuerStore {
    store: Store,
    name: String,
    dir: PathBuf,
}

impl IssuerStore {
    pub(super) fn new(store: Store, name: &str, dir: PathBuf) -> Self {
        Self { store, name: name.to_owned(), dir }
    }

    /// The account for this goal (the rehearsal directory has its own); `None` when there is none,
    /// or it is damaged.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn account(&self, goal: Goal) -> Result<Option<Account>, Error> {
        Ok(self.read_account(goal)?.whole())
    }

    /// Remembers an account that was made or changed, `before` being the one it was made from.
    ///
    /// Returns the account to go on with: another than `account` when somebody else remembered one
    /// for the same directory since `before` was read. Theirs stays, so that two certificates
    /// begun at once share one account.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was remembered before stays.
    pub fn remember_account(
        &self,
        goal: Goal,
        before: Option<&Account>,
        account: &Account,
        now: Timestamp,
    ) -> Result<Account, Error> {
        let _lock = self.lock()?;
        match self.read_account(goal)? {
            Read::Broken(reason) => {
                let path = self.account_file(goal);
                record::move_aside(&self.store, &Subject::Host, &path, &reason, now)?;
            }
            Read::Missing => {}
            Read::Whole(there) => {
                let unchanged = before.is_some_and(|before| is_same(before, &there));
                if !unchanged && there.directory == account.directory {
                    return Ok(there);
                }
            }
        }
        let record = AccountRecord {
            schema: 0,
            directory: account.directory.clone(),
            url: account.url.clone(),
            contact: account.contact.clone(),
            key: account.key.to_pem().to_string(),
        };
        record::write(&self.account_file(goal), record)?;
        Ok(account.clone())
    }

    /// Moves the accounts aside: they stay valid at the CA, since another system has them, and the
    /// next order makes one of its own. What the issuer gave stays remembered: its limits count
    /// names, not accounts. Returns how many there were.
    ///
    /// # Errors
    ///
    /// When one cannot be moved.
    pub fn leave_accounts(&self, now: Timestamp) -> Result<usize, Error> {
        let _lock = self.lock()?;
        let mut left = 0;
        for goal in [Goal::Certificate, Goal::Rehearsal] {
            let path = self.account_file(goal);
            let mut aside = path.clone().into_os_string();
            aside.push(format!(".left-{}", now.as_second()));
            match fs::move_new(&path, aside.as_ref()) {
                Ok(()) => left += 1,
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(left)
    }

    /// What the issuer gave and refused lately. A damaged ledger is moved aside and rebuilt with
    /// the budget taken as spent for an hour; in a read-only store it only reads so.
    ///
    /// # Errors
    ///
    /// When a newer pbxcert wrote it, or the system refuses.
    pub fn ledger(&self, now: Timestamp) -> Result<Ledger, Error> {
        match record::read::<Ledger>(&self.ledger_file())? {
            Read::Broken(_) if self.store.writable => {
                let _lock = self.lock()?;
                self.sound_ledger(now)
            }
            Read::Broken(_) => Ok(spent(now)),
            Read::Missing => Ok(Ledger::default()),
            Read::Whole(ledger) => Ok(clamped(ledger, now)),
        }
    }

    /// Adds an event, and drops those older than 8 days.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was remembered before stays.
    pub fn record(&self, entry: LedgerEntry, now: Timestamp) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut ledger = self.sound_ledger(now)?;
        ledger.entries.retain(|entry| cert::span(entry.at, now) <= LEDGER_SPAN);
        ledger.spent_until = ledger.spent_until.filter(|until| *until > now);
        ledger.entries.push(entry);
        record::write(&self.ledger_file(), ledger)
    }

    /// What is damaged, was moved aside, or is newer than this program.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = record::set_aside(&self.dir, &self.name)?;
        findings.extend(record::damage::<Ledger>(&self.ledger_file(), &self.name)?);
        for goal in [Goal::Certificate, Goal::Rehearsal] {
            let path = self.account_file(goal);
            findings.extend(record::damage::<AccountRecord>(&path, &self.name)?);
        }
        Ok(findings)
    }

    /// The ledger, repaired on disk; only under the lock.
    fn sound_ledger(&self, now: Timestamp) -> Result<Ledger, Error> {
        match record::read::<Ledger>(&self.ledger_file())? {
            Read::Broken(reason) => {
                let path = self.ledger_file();
                // A second name, then replaced: a crash in between must not give a fresh budget.
                record::link_aside(&self.store, &Subject::Host, &path, &reason, now)?;
                record::write(&path, spent(now))?;
                Ok(spent(now))
            }
            Read::Missing => Ok(Ledger::default()),
            Read::Whole(ledger) => Ok(clamped(ledger, now)),
        }
    }

    fn read_account(&self, goal: Goal) -> Result<Read<Account>, Error> {
        let account = match record::read::<AccountRecord>(&self.account_file(goal))? {
            Read::Broken(reason) => return Ok(Read::Broken(reason)),
            Read::Missing => return Ok(Read::Missing),
            Read::Whole(account) => account,
        };
        let Ok(key) = PrivateKey::from_pem(account.key.as_bytes()) else {
            return Ok(Read::Broken("its key cannot be read".to_owned()));
        };
        Ok(Read::Whole(Account {
            directory: account.directory.clone(),
            key,
            url: account.url.clone(),
            contact: account.contact.clone(),
        }))
    }

    fn lock(&self) -> Result<Lock, Error> {
        self.store.check_writable()?;
        fs::make_dir(&self.dir, PRIVATE, Owner::default())?;
        let lock = Lock::acquire_blocking(&self.dir.join("lock"))?;
        fs::sweep(&self.dir)?;
        Ok(lock)
    }

    fn account_file(&self, goal: Goal) -> PathBuf {
        self.dir.join(match goal {
            Goal::Certificate => "account.json",
            Goal::Rehearsal => "rehearsal-account.json",
        })
    }

    fn ledger_file(&self) -> PathBuf {
        self.dir.join("ledger.json")
    }
}

fn is_same(a: &Account, b: &Account) -> bool {
    a.directory == b.directory && a.url == b.url && a.key.public() == b.key.public()
}

fn spent(now: Timestamp) -> Ledger {
    Ledger { spent_until: an_hour_after(now), ..Ledger::default() }
}

/// A clock that was ahead when the ledger was rebuilt must not shut the issuer for years.
fn clamped(mut ledger: Ledger, now: Timestamp) -> Ledger {
    ledger.spent_until = ledger.spent_until.min(an_hour_after(now));
    ledger
}

fn an_hour_after(now: Timestamp) -> Option<Timestamp> {
    Some(now.checked_add(SPENT_AFTER_DAMAGE).unwrap_or(Timestamp::MAX))
}
