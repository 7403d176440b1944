//! The journal of an order under way: `order.json`, and the key of the certificate-to-be beside it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::record::{self, Read, Record};
use super::{Error, PRIVATE_FILE};
use crate::cert::Identifier;
use crate::cert::bundle::{PrivateKey, digest_hex};
use crate::fs::{self, Owner};
use crate::state::{Asked, Goal, OrderJournal, OrderSeen, Stage};

/// More than an RSA key of 8192 bits takes.
const KEY_LIMIT: u64 = 64 << 10;

/// `order.json`: the journal without its key.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct OrderRecord {
    schema: u32,
    asked: Asked,
    identifiers: Vec<Identifier>,
    challenges: Vec<String>,
    replaces: Option<String>,
    goal: Goal,
    started_at: Timestamp,
    stage: Stage,
    /// SHA-256 of the public half of the key in `order.key`: the two are of one order.
    public_key: String,
}

impl Record for OrderRecord {
    fn schema(&mut self) -> &mut u32 {
        &mut self.schema
    }
}

/// Where both lie.
pub(super) fn paths(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("order.json"), dir.join("order.key"))
}

/// The order under way, with its key.
///
/// # Errors
///
/// When a newer pbxcert wrote it, or the system refuses.
pub(super) fn read(dir: &Path) -> Result<Read<OrderJournal>, Error> {
    let (json, key) = paths(dir);
    let order = match record::read::<OrderRecord>(&json)? {
        Read::Broken(reason) => return Ok(Read::Broken(reason)),
        Read::Missing => return Ok(Read::Missing),
        Read::Whole(order) => order,
    };
    let pem = match fs::read_if_there(&key, KEY_LIMIT) {
        Ok(Some(pem)) => Zeroizing::new(pem),
        Ok(None) => return Ok(Read::Broken("its key is missing".to_owned())),
        Err(e @ (fs::Error::Kind { .. } | fs::Error::TooLarge { .. })) => {
            return Ok(Read::Broken(e.to_string()));
        }
        Err(e) => return Err(e.into()),
    };
    let key = match PrivateKey::from_pem(&pem) {
        Ok(key) if digest_hex(key.public()) == order.public_key => key,
        Ok(_) => return Ok(Read::Broken("its key belongs to another order".to_owned())),
        Err(_) => return Ok(Read::Broken("its key cannot be read".to_owned())),
    };
    Ok(Read::Whole(OrderJournal {
        asked: order.asked,
        identifiers: order.identifiers,
        challenges: order.challenges,
        replaces: order.replaces,
        goal: order.goal,
        key,
        started_at: order.started_at,
        stage: order.stage,
    }))
}

/// The order under way as the planner sees it: the key is not touched.
///
/// # Errors
///
/// When a newer pbxcert wrote it, or the system refuses.
pub(super) fn seen(dir: &Path) -> Result<Option<OrderSeen>, Error> {
    let (json, key) = paths(dir);
    let Some(order) = record::read::<OrderRecord>(&json)?.whole() else { return Ok(None) };
    if !key.exists() {
        return Ok(None);
    }
    Ok(Some(OrderSeen {
        asked: order.asked,
        goal: order.goal,
        stage: order.stage.word(),
        sent: order.stage.order_url().is_some() || matches!(order.stage, Stage::Downloaded { .. }),
        started_at: order.started_at,
    }))
}

/// Writes the key once per order, then where the order stands.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn write(dir: &Path, order: &OrderJournal) -> Result<(), Error> {
    let (json, key) = paths(dir);
    let public_key = digest_hex(order.key.public());
    let before = record::read::<OrderRecord>(&json)?.whole();
    if before.is_none_or(|before| before.public_key != public_key) || !key.exists() {
        // The order before goes first: at no moment may it stand beside another's key.
        fs::remove(&json)?;
        fs::replace(&key, order.key.to_pem().as_bytes(), PRIVATE_FILE, Owner::default())?;
    }
    let record = OrderRecord {
        schema: 0,
        asked: order.asked.clone(),
        identifiers: order.identifiers.clone(),
        challenges: order.challenges.clone(),
        replaces: order.replaces.clone(),
        goal: order.goal,
        started_at: order.started_at,
        stage: order.stage.clone(),
        public_key,
    };
    record::write(&json, record)
}

/// Removes both; the key last, for alone it is nothing.
///
/// # Errors
///
/// When one cannot be removed.
pub(super) fn remove(dir: &Path) -> Result<(), Error> {
    let (json, key) = paths(dir);
    fs::remove(&json)?;
    Ok(fs::remove(&key)?)
}
