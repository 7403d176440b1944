//! What is different for those who verify a certificate.

use std::fmt;

use crate::cert::top::Top;
use crate::cert::{KeyType, Leaf};

/// A certificate as it is, or will be, shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The leaf.
    pub leaf: &'a Leaf,
    /// The upper end of its chain, if known.
    pub top: Option<&'a Top>,
}

/// Something that a phone may stumble over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// More certificates lead up to the root.
    Chain {
        /// How many, the leaf among them.
        before: usize,
        /// How many now.
        after: usize,
    },
    /// It is no longer good for clients.
    ClientAuth,
    /// It has no common name any more.
    CommonName(String),
    /// Another kind of key; `None`: none that we make.
    Key {
        /// The kind.
        before: Option<KeyType>,
        /// The kind now.
        after: Option<KeyType>,
    },
    /// Its key may not encipher other keys any more.
    KeyEncipherment,
    /// Another root.
    Root {
        /// Its name.
        before: String,
        /// Its name now.
        after: String,
    },
}

/// What is different, from what is served to what is to come. Another intermediate of the same root
/// is no change: Let's Encrypt takes turns with them.
pub fn changes(before: Shown<'_>, after: Shown<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    if let (Some(one), Some(other)) = (before.top, after.top) {
        if !one.same_root(other) {
            let (before, after) = (one.issuer.clone(), other.issuer.clone());
            changes.push(Change::Root { before, after });
        }
        if other.length > one.length {
            changes.push(Change::Chain { before: one.length, after: other.length });
        }
    }
    let (before, after) = (before.leaf, after.leaf);
    if before.key != after.key {
        changes.push(Change::Key { before: before.key, after: after.key });
    }
    let name = |leaf: &Leaf| leaf.common_name.clone().filter(|name| !name.is_empty());
    if let (Some(lost), None) = (name(before), name(after)) {
        changes.push(Change::CommonName(lost));
    }
    if before.client_auth && !after.client_auth {
        changes.push(Change::ClientAuth);
    }
    if before.key_encipherment == Some(true) && after.key_encipherment == Some(false) {
        changes.push(Change::KeyEncipherment);
    }
    changes
}

impl Change {
    /// A few words for a subject line: `new root`.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Chain { .. } => "longer chain",
            Self::ClientAuth | Self::KeyEncipherment => "less usage",
            Self::CommonName(_) => "no common name",
            Self::Key { .. } => "other key",
            Self::Root { .. } => "new root",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: &Option<KeyType>| key.map_or("another kind", KeyType::word);
        match self {
            Self::Chain { before, after } => {
                write!(f, "its chain has {after} certificates instead of {before}")
            }
            Self::ClientAuth => f.write_str("it is no longer good for clients (clientAuth)"),
            Self::CommonName(name) => write!(f, "it has no common name (before: {name})"),
            Self::Key { before, after } => {
                write!(f, "its key is {} instead of {}", key(after), key(before))
            }
            Self::KeyEncipherment => {
                f.write_str("its key may not encipher keys any more (keyEncipherment)")
            }
            Self::Root { before, after } if before == after => {
                write!(f, "it leads to another root of the name {after}")
            }
            Self::Root { before, after } => write!(f, "it leads to {after} instead of {before}"),
        }
    }
}
