//! Products that speak SIP, and those around them.

use super::{Class, FULLCHAIN, Preset, PresetFile, ROOT_KEY, group_key};
use crate::config::Content;

/// Leaf, intermediates and key in one file.
const fn all_in_one(name: &'static str, user: &'static str) -> PresetFile {
    PresetFile {
        name,
        content: Content::FullchainPrivkey,
        owner: Some(user),
        group: Some(user),
        mode: 0o640,
    }
}

/// Files are read while it runs as `asterisk`, by SIP at the first connection after the reload.
pub(super) const ASTERISK: Preset = Preset {
    target_dir: Some("/etc/asterisk/pbxcert"),
    files: &[FULLCHAIN, group_key("asterisk")],
    user: Some("asterisk"),
    hook: "/usr/lib/pbxcert/hooks/asterisk",
    tests: false,
    counts_calls: true,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["asterisk"],
    endpoints: &["sips://127.0.0.1:5061", "https://127.0.0.1:8089"],
};

/// A file in the folder of FreePBX's certificate manager.
const fn freepbx(name: &'static str, content: Content) -> PresetFile {
    PresetFile { name, content, owner: Some("asterisk"), group: Some("asterisk"), mode: 0o600 }
}

/// The names that its certificate manager gives, and no others: a further one would show up there
/// as a certificate of its own (FreePBX issue 973).
pub(super) const FREEPBX: Preset = Preset {
    target_dir: None,
    files: &[
        freepbx("/etc/asterisk/keys/{certificate}.crt", Content::Cert),
        freepbx("/etc/asterisk/keys/{certificate}.key", Content::Privkey),
        freepbx("/etc/asterisk/keys/{certificate}-ca-bundle.crt", Content::Chain),
        freepbx("/etc/asterisk/keys/{certificate}-fullchain.crt", Content::Fullchain),
        freepbx("/etc/asterisk/keys/{certificate}.pem", Content::FullchainPrivkey),
    ],
    user: Some("asterisk"),
    hook: "/usr/lib/pbxcert/hooks/freepbx",
    tests: false,
    counts_calls: true,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["asterisk", "apache2", "httpd"],
    endpoints: &["sips://127.0.0.1:5061", "https://127.0.0.1:8089", "https://127.0.0.1:443"],
};

/// `dtls-srtp.pem` in the same folder is FreeSWITCH's own. Restart class until `reloadcert` (1.11.1).
pub(super) const FREESWITCH: Preset = Preset {
    target_dir: None,
    files: &[
        all_in_one("/etc/freeswitch/tls/agent.pem", "freeswitch"),
        all_in_one("/etc/freeswitch/tls/wss.pem", "freeswitch"),
    ],
    user: Some("freeswitch"),
    hook: "/usr/lib/pbxcert/hooks/freeswitch",
    tests: false,
    counts_calls: true,
    class: Class::Restart,
    reloads_per_day: None,
    processes: &["freeswitch"],
    endpoints: &["sips://127.0.0.1:5061", "sips://127.0.0.1:5081", "wss://127.0.0.1:7443"],
};

/// The real file behind the links `agent.pem`, `tls.pem` and `wss.pem`.
pub(super) const FUSIONPBX: Preset = Preset {
    target_dir: None,
    files: &[all_in_one("/etc/freeswitch/tls/all.pem", "www-data")],
    user: Some("www-data"),
    hook: "/usr/lib/pbxcert/hooks/freeswitch",
    tests: false,
    counts_calls: true,
    class: Class::Restart,
    reloads_per_day: None,
    processes: &["freeswitch"],
    endpoints: &["sips://127.0.0.1:5061", "sips://127.0.0.1:5081", "wss://127.0.0.1:7443"],
};

/// Files are read at the reload by a worker that runs as `kamailio`, so its group must be able to
/// read the key. `kamailio -c` does not look at certificates: there is nothing to test with. Each
/// reload loses shared memory, 430 kB on 5.6.3 and 34 kB on 6.1.4 (issues 3823, 4777).
pub(super) const KAMAILIO: Preset = Preset {
    target_dir: Some("/etc/kamailio/pbxcert"),
    files: &[FULLCHAIN, group_key("kamailio")],
    user: Some("kamailio"),
    hook: "/usr/lib/pbxcert/hooks/kamailio",
    tests: false,
    counts_calls: true,
    class: Class::Hot,
    reloads_per_day: Some(2),
    processes: &["kamailio"],
    endpoints: &["sips://127.0.0.1:5061"],
};

/// Files are read at start only; certificates in its database are reloaded hot (see the hook).
pub(super) const OPENSIPS: Preset = Preset {
    target_dir: Some("/etc/opensips/pbxcert"),
    files: &[FULLCHAIN, group_key("opensips")],
    user: Some("opensips"),
    hook: "/usr/lib/pbxcert/hooks/opensips",
    tests: false,
    counts_calls: true,
    class: Class::Restart,
    reloads_per_day: None,
    processes: &["opensips"],
    endpoints: &["sips://127.0.0.1:5061"],
};

/// Read again after it became `turnserver`: a key for root alone works at start only.
pub(super) const COTURN: Preset = Preset {
    target_dir: Some("/etc/turnserver-pbxcert"),
    files: &[FULLCHAIN, group_key("turnserver")],
    user: Some("turnserver"),
    hook: "/usr/lib/pbxcert/hooks/coturn",
    tests: false,
    counts_calls: false,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["turnserver"],
    endpoints: &["turns://127.0.0.1:5349"],
};

/// Reads files at start only.
pub(super) const JANUS: Preset = Preset {
    target_dir: Some("/etc/janus/pbxcert"),
    files: &[FULLCHAIN, ROOT_KEY],
    user: None,
    hook: "/usr/lib/pbxcert/hooks/janus",
    tests: false,
    counts_calls: false,
    class: Class::Restart,
    reloads_per_day: None,
    processes: &["janus"],
    endpoints: &["wss://127.0.0.1:8989"],
};
