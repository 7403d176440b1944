//! Every key that is built. The check for unknown keys, "did you mean" and the test of the
//! commented reference share this one list.

/// A table of the configuration and the keys that may stand in it.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// How it is written: `[acme]`, `[[service]]`.
    pub title: &'static str,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [&'static str],
}

/// Outside of any table.
pub const TOP: Section = Section {
    title: "the top of the file",
    keys: &[
        "site",
        "mode",
        "state-dir",
        "time",
        "ephemeral",
        "acme",
        "issuer",
        "challenge",
        "defaults",
        "certificate",
        "service",
        "trunk",
        "alerts",
        "check",
        "ignore",
    ],
};

const ISSUER_KEYS: &[&str] = &[
    "directory",
    "contact",
    "agree-to-terms",
    "trust-anchor",
    "profile",
    "proxy",
    "proxy-auth-file",
    "eab",
    "rehearsal",
];

/// The issuer named `acme`.
pub const ACME: Section = Section { title: "[acme]", keys: ISSUER_KEYS };

/// A further issuer.
pub const ISSUER: Section = Section { title: "[issuer.NAME]", keys: ISSUER_KEYS };

/// External account binding.
pub const EAB: Section = Section { title: "eab", keys: &["key-id", "hmac-file"] };

/// A way to prove control.
pub const CHALLENGE: Section = Section { title: "[challenge.NAME]", keys: &["http-01"] };

/// How http-01 is answered.
pub const HTTP_01: Section = Section { title: "http-01", keys: &["listen", "webroot"] };

/// Defaults: any key of [`CERTIFICATE`] and [`SERVICE`].
pub const DEFAULTS: Section = Section {
    title: "[defaults]",
    keys: &[
        "name",
        "names",
        "key",
        "challenge",
        "issuer",
        "min-age",
        "on-trust-change",
        "source",
        "drop-dir",
        "drop-group",
        "watch",
        "trust-anchor",
        "fetch-intermediates",
        "kind",
        "certificate",
        "after",
        "target",
        "target-dir",
        "user",
        "reload",
        "test",
        "recover",
        "busy",
        "class",
        "exec-prefix",
        "deploy-window",
        "freeze",
        "disruptive",
        "deploy-deadline",
        "clients",
        "sip-domain",
        "strict-lint",
        "endpoint",
        "proof-timeout",
        "hook-timeout",
    ],
};

/// A certificate that is wanted.
pub const CERTIFICATE: Section = Section {
    title: "[[certificate]]",
    keys: &[
        "name",
        "names",
        "key",
        "challenge",
        "issuer",
        "min-age",
        "on-trust-change",
        "source",
        "drop-dir",
        "drop-group",
        "watch",
        "trust-anchor",
        "fetch-intermediates",
    ],
};

/// A service that uses certificates.
pub const SERVICE: Section = Section {
    title: "[[service]]",
    keys: &[
        "kind",
        "name",
        "certificate",
        "after",
        "target",
        "target-dir",
        "user",
        "reload",
        "test",
        "recover",
        "busy",
        "class",
        "exec-prefix",
        "deploy-window",
        "freeze",
        "disruptive",
        "deploy-deadline",
        "clients",
        "sip-domain",
        "strict-lint",
        "endpoint",
        "proof-timeout",
        "hook-timeout",
    ],
};

/// A file to write.
pub const TARGET: Section = Section {
    title: "target",
    keys: &["path", "content", "owner", "group", "mode", "certificate"],
};

/// Where to look.
pub const ENDPOINT: Section =
    Section { title: "endpoint", keys: &["url", "sni", "key", "certificate", "timeout"] };

/// A peer that we call.
pub const TRUNK: Section =
    Section { title: "[[trunk]]", keys: &["name", "url", "certificate", "trust-anchor"] };

/// Who is told.
pub const ALERTS: Section = Section {
    title: "[alerts]",
    keys: &[
        "email",
        "webhook",
        "command",
        "syslog",
        "journal",
        "sip",
        "heartbeat-url",
        "heartbeat-url-file",
        "quiet",
        "proxy",
        "proxy-auth-file",
    ],
};

/// A mail server, and who reads what it takes.
pub const EMAIL: Section = Section {
    title: "email",
    keys: &[
        "to",
        "from",
        "server",
        "port",
        "tls",
        "user",
        "password-file",
        "trust-anchor",
        "level",
    ],
};

/// An HTTP address.
pub const WEBHOOK: Section = Section {
    title: "webhook",
    keys: &["url", "url-file", "format", "header-file", "trust-anchor", "level"],
};

/// A program of the operator.
pub const COMMAND: Section = Section { title: "command", keys: &["run", "level"] };

/// A log.
pub const SYSLOG: Section = Section { title: "syslog", keys: &["facility", "address", "level"] };

/// journald.
pub const JOURNAL: Section = Section { title: "journal", keys: &["level"] };

/// An extension of the telephone system.
pub const SIP: Section = Section {
    title: "sip",
    keys: &[
        "to",
        "from",
        "server",
        "transport",
        "user",
        "password-file",
        "sni",
        "trust-anchor",
        "level",
    ],
};

/// The daily check.
pub const CHECK: Section = Section {
    title: "[check]",
    keys: &[
        "at",
        "proxy",
        "proxy-auth-file",
        "offline",
        "advisory-url",
        "advisory-file",
        "advisory-keys",
        "trust-anchor",
        "metrics-file",
        "limits",
        "on-check",
        "on-vulnerable",
        "on-restricted",
        "on-restored",
    ],
};

/// From where on it warns.
pub const LIMITS: Section = Section {
    title: "limits",
    keys: &["processor", "load", "memory", "memory-pressure", "io", "swap", "disk", "clock"],
};

/// What nobody wants to hear of.
pub const IGNORE: Section =
    Section { title: "[[ignore]]", keys: &["object", "condition", "reason", "until"] };

/// Every table, in the order of the documentation.
pub const SECTIONS: [Section; 22] = [
    TOP,
    ACME,
    ISSUER,
    EAB,
    CHALLENGE,
    HTTP_01,
    DEFAULTS,
    CERTIFICATE,
    SERVICE,
    TARGET,
    ENDPOINT,
    TRUNK,
    ALERTS,
    EMAIL,
    WEBHOOK,
    COMMAND,
    SYSLOG,
    JOURNAL,
    SIP,
    CHECK,
    LIMITS,
    IGNORE,
];

/// The candidate that was probably meant, if one is near enough.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::normalized_damerau_levenshtein(&word, c), c))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_and_a_far_one_is_not() {
        let keys = || CERTIFICATE.keys.iter().copied();
        assert_eq!(nearest("nmae", keys()), Some("name"));
        assert_eq!(nearest("min_age", keys()), Some("min-age"));
        assert_eq!(nearest("Issuer", keys()), Some("issuer"));
        assert_eq!(nearest("heartbeat-url", keys()), None);
    }

    #[test]
    fn defaults_take_every_key_of_certificates_and_services() {
        for key in CERTIFICATE.keys.iter().chain(SERVICE.keys) {
            assert!(DEFAULTS.keys.contains(key), "{key}");
        }
        for key in DEFAULTS.keys {
            assert!(CERTIFICATE.keys.contains(key) || SERVICE.keys.contains(key), "{key}");
        }
    }
}
