//! `openssl s_server`, which can be as old as one likes.

use std::net::SocketAddr;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running `openssl s_server`.
#[derive(Debug)]
pub struct Openssl {
    pub guard: Guard,
    pub tls: SocketAddr,
}

impl Openssl {
    /// Starts it with `pair` and further arguments, such as `-tls1_1`.
    pub fn start(pair: &Pair, arguments: &[&str]) -> Option<Self> {
        let program = super::program("openssl")?;
        let (guard, [tls]) = guard::start("openssl", |_, [tls]| {
            let address = tls.to_string();
            let (fullchain, privkey) =
                (pair.fullchain.display().to_string(), pair.privkey.display().to_string());
            let program = program.display().to_string();
            let own = ["s_server", "-quiet", "-www", "-accept", &address];
            let files = ["-cert", fullchain.as_str(), "-key", privkey.as_str()];
            [&[program.as_str()], &own[..], &files[..], arguments]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect()
        });
        Some(Self { guard, tls })
    }
}
