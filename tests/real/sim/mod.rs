//! Products that no Debian packages, or only a newer one, as they were seen to behave when they were
//! really run, bad behaviour included; and commands whose answers a test gives.

pub mod asterisk;
pub mod command;
pub mod freeswitch;
pub mod opensips;
pub mod port;

pub use asterisk::Switchboard;
pub use command::Commands;
pub use freeswitch::Freeswitch;
pub use opensips::Opensips;
