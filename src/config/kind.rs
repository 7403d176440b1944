//! What is known of each product, as data. No I/O.

use std::fmt;

/// The products whose ways are known.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Anything else: everything is said in the configuration.
    Custom,
    /// Kamailio with its `tls` module.
    Kamailio,
    /// nginx.
    Nginx,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom => "custom",
            Self::Kamailio => "kamailio",
            Self::Nginx => "nginx",
        })
    }
}
