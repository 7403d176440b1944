//! Products that no Debian packages, as they were seen to behave when they were really run, bad
//! behaviour included; and commands whose answers a test gives.

pub mod command;
pub mod freeswitch;
pub mod opensips;
pub mod port;

pub use command::Commands;
pub use freeswitch::Freeswitch;
pub use opensips::Opensips;
