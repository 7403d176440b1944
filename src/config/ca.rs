//! What is known of each public CA, as data. No I/O.

/// A CA that can be named by a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Authority {
    /// The word in the configuration.
    pub word: &'static str,
    /// Its ACME directory.
    pub directory: &'static str,
    /// The word of the CA at which mistakes cost nothing.
    pub rehearsal: Option<&'static str>,
    /// Certificates a week per exact set of names, as published.
    pub weekly_limit: Option<u32>,
    /// New accounts need an external account binding (RFC 8555 section 7.3.4).
    pub needs_eab: bool,
    /// The domain by which CAA records call it (RFC 8659 section 4.2).
    pub caa: &'static str,
    /// Phones and browsers trust its certificates.
    pub trusted: bool,
}

/// Every CA that has a word, in the order of the documentation.
pub const AUTHORITIES: [Authority; 4] = [
    Authority {
        word: "letsencrypt",
        directory: "https://acme-v02.api.letsencrypt.org/directory",
        rehearsal: Some("letsencrypt-staging"),
        // https://letsencrypt.org/docs/rate-limits/: new certificates per exact set of identifiers
        weekly_limit: Some(5),
        needs_eab: false,
        caa: "letsencrypt.org",
        trusted: true,
    },
    Authority {
        word: "letsencrypt-staging",
        directory: "https://acme-staging-v02.api.letsencrypt.org/directory",
        rehearsal: None,
        weekly_limit: None,
        needs_eab: false,
        caa: "letsencrypt.org",
        trusted: false,
    },
    Authority {
        word: "zerossl",
        directory: "https://acme.zerossl.com/v2/DV90",
        rehearsal: None,
        weekly_limit: None,
        needs_eab: true,
        caa: "sectigo.com",
        trusted: true,
    },
    Authority {
        word: "google",
        directory: "https://dv.acme-v02.api.pki.goog/directory",
        rehearsal: None,
        weekly_limit: None,
        needs_eab: true,
        caa: "pki.goog",
        trusted: true,
    },
];

impl Authority {
    /// The CA of a word.
    pub fn named(word: &str) -> Option<&'static Self> {
        AUTHORITIES.iter().find(|a| a.word == word)
    }

    /// The CA of a directory address.
    pub fn at(directory: &str) -> Option<&'static Self> {
        AUTHORITIES.iter().find(|a| a.directory == directory)
    }
}
