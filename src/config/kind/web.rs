//! Web servers and proxies.

use super::{Class, FULLCHAIN, Preset, PresetFile, ROOT_KEY};
use crate::config::Content;

/// Files are read by the master, which is root. `nginx -t` reads certificate and key.
pub(super) const NGINX: Preset = Preset {
    target_dir: Some("/etc/nginx/pbxcert"),
    files: &[FULLCHAIN, ROOT_KEY],
    user: None,
    hook: "/usr/lib/pbxcert/hooks/nginx",
    tests: true,
    counts_calls: false,
    class: Class::Drain,
    reloads_per_day: None,
    processes: &["nginx"],
    endpoints: &["https://127.0.0.1:443"],
};

/// Files are read by the parent, which is root; its test does not read them.
pub(super) const APACHE: Preset = Preset {
    target_dir: Some("/etc/apache2/pbxcert"),
    files: &[FULLCHAIN, ROOT_KEY],
    user: None,
    hook: "/usr/lib/pbxcert/hooks/apache",
    tests: true,
    counts_calls: false,
    class: Class::Drain,
    reloads_per_day: None,
    processes: &["apache2", "httpd"],
    endpoints: &["https://127.0.0.1:443"],
};

/// One file; hot through the runtime API, which keeps every connection.
pub(super) const HAPROXY: Preset = Preset {
    target_dir: Some("/etc/haproxy/pbxcert"),
    files: &[PresetFile { name: "site.pem", content: Content::FullchainPrivkey, ..ROOT_KEY }],
    user: None,
    hook: "/usr/lib/pbxcert/hooks/haproxy",
    tests: true,
    counts_calls: false,
    class: Class::Hot,
    reloads_per_day: None,
    processes: &["haproxy"],
    endpoints: &["https://127.0.0.1:443"],
};
