//! Mail, chat, messages and directories.

use super::{Class, FULLCHAIN, Preset, PresetFile, ROOT_KEY, group_key};
use crate::config::Content;

/// `smtpd_tls_chain_files`: one file, the key first.
pub(super) const POSTFIX: Preset = Preset {
    target_dir: Some("/etc/postfix/pbxcert"),
    files: &[PresetFile { name: "combined.pem", content: Content::Combined, ..ROOT_KEY }],
    user: None,
    hook: "/usr/lib/pbxcert/hooks/postfix",
    tests: true,
    counts_calls: false,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["master"],
    endpoints: &[
        "smtp+starttls://127.0.0.1:25",
        "smtp+starttls://127.0.0.1:587",
        "smtps://127.0.0.1:465",
    ],
};

/// Read by the master, which is root.
pub(super) const DOVECOT: Preset = Preset {
    target_dir: Some("/etc/dovecot/pbxcert"),
    files: &[FULLCHAIN, ROOT_KEY],
    user: None,
    hook: "/usr/lib/pbxcert/hooks/dovecot",
    tests: true,
    counts_calls: false,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["dovecot"],
    endpoints: &[
        "imap+starttls://127.0.0.1:143",
        "imaps://127.0.0.1:993",
        "pop3+starttls://127.0.0.1:110",
        "pop3s://127.0.0.1:995",
    ],
};

/// Read as `prosody`.
pub(super) const PROSODY: Preset = Preset {
    target_dir: Some("/etc/prosody/pbxcert"),
    files: &[FULLCHAIN, group_key("prosody")],
    user: Some("prosody"),
    hook: "/usr/lib/pbxcert/hooks/prosody",
    tests: false,
    counts_calls: false,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["prosody", "lua5.4", "lua5.3", "lua5.2"],
    endpoints: &["xmpp+starttls://127.0.0.1:5222", "xmpps://127.0.0.1:5223"],
};

/// Read as `ejabberd`.
pub(super) const EJABBERD: Preset = Preset {
    target_dir: Some("/etc/ejabberd/pbxcert"),
    files: &[FULLCHAIN, group_key("ejabberd")],
    user: Some("ejabberd"),
    hook: "/usr/lib/pbxcert/hooks/ejabberd",
    tests: false,
    counts_calls: false,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["beam.smp"],
    endpoints: &["xmpp+starttls://127.0.0.1:5222", "xmpps://127.0.0.1:5223"],
};

/// Read again after it became `mosquitto`.
pub(super) const MOSQUITTO: Preset = Preset {
    target_dir: Some("/etc/mosquitto/pbxcert"),
    files: &[FULLCHAIN, group_key("mosquitto")],
    user: Some("mosquitto"),
    hook: "/usr/lib/pbxcert/hooks/mosquitto",
    tests: false,
    counts_calls: false,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["mosquitto"],
    endpoints: &["mqtts://127.0.0.1:8883"],
};

/// Read as `openldap`.
pub(super) const OPENLDAP: Preset = Preset {
    target_dir: Some("/etc/ldap/pbxcert"),
    files: &[FULLCHAIN, group_key("openldap")],
    user: Some("openldap"),
    hook: "/usr/lib/pbxcert/hooks/openldap",
    tests: false,
    counts_calls: false,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["slapd"],
    endpoints: &["ldap+starttls://127.0.0.1:389", "ldaps://127.0.0.1:636"],
};
