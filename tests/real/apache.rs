//! Apache, serving HTTPS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running Apache; under root its children run as `www-data`.
#[derive(Debug)]
pub struct Apache {
    pub guard: Guard,
    /// Answers `apache ok`.
    pub https: SocketAddr,
}

impl Apache {
    /// Starts it with `pair`, which must be a good one.
    pub fn start(pair: &Pair) -> Option<Self> {
        let program = super::program("apache2")?;
        let (guard, [https]) = guard::start("apache2", |folder, [https]| {
            guard::write(&folder.join("www/index.html"), "apache ok\n");
            let config = folder.join("httpd.conf");
            guard::write(&config, &configuration(folder, pair, https));
            let (program, config) = (program.display().to_string(), config.display().to_string());
            vec![program, "-f".into(), config, "-D".into(), "FOREGROUND".into()]
        });
        Some(Self { guard, https })
    }

    /// For `apache2 -f`.
    pub fn config(&self) -> PathBuf {
        self.guard.folder().join("httpd.conf")
    }

    /// What it says itself.
    pub fn error_log(&self) -> String {
        super::text(self.guard.folder().join("error.log"))
    }

    /// USR1: graceful.
    pub fn reload(&self) {
        self.guard.signal(Signal::USR1);
    }
}

fn configuration(folder: &Path, pair: &Pair, https: SocketAddr) -> String {
    let (at, fullchain) = (folder.display(), pair.fullchain.display());
    let privkey = pair.privkey.display();
    let user = if super::is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let modules = "/usr/lib/apache2/modules";
    format!(
        "ServerRoot {at}
PidFile {at}/httpd.pid
Mutex file:{at}
ErrorLog {at}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
{user}ServerName localhost
Listen {https}
DocumentRoot {at}/www
DirectoryIndex index.html
<Directory {at}/www>
 Require all granted
</Directory>
<VirtualHost {https}>
 ServerName localhost
 SSLEngine on
 SSLCertificateFile {fullchain}
 SSLCertificateKeyFile {privkey}
</VirtualHost>
"
    )
}
