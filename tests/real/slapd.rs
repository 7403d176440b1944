//! OpenLDAP, serving LDAP with StartTLS and LDAP over TLS, configured by `cn=config`.

use std::net::SocketAddr;
use std::path::Path;

use super::guard::{self, Guard};
use super::pair::Pair;

/// A running slapd; under root it runs as its own user, as it does in the field.
#[derive(Debug)]
pub struct Slapd {
    pub guard: Guard,
    /// StartTLS is offered here.
    pub ldap: SocketAddr,
    /// TLS from the first byte.
    pub ldaps: SocketAddr,
    pair: Pair,
}

impl Slapd {
    /// Starts it with `pair`, which must be a good one.
    pub fn start(pair: &Pair) -> Option<Self> {
        let (program, slapadd) = (super::program("slapd")?, super::program("slapadd")?);
        super::program("ldapmodify")?;
        let (guard, [ldap, ldaps]) = guard::start("slapd", |folder, [ldap, ldaps]| {
            for name in ["db", "conf.d"] {
                std::fs::create_dir(folder.join(name)).expect("a new folder can be made");
            }
            let init = folder.join("init.ldif").display().to_string();
            let config = folder.join("conf.d").display().to_string();
            guard::write(Path::new(&init), &configuration(folder, pair));
            let slapadd = slapadd.display().to_string();
            guard::run(&[&slapadd, "-n", "0", "-F", &config, "-l", &init]).expect("slapadd runs");
            let urls = format!("ldap://{ldap} ldaps://{ldaps} {}", ldapi(folder));
            let argv = [&program.display().to_string(), "-d", "0", "-F", &config, "-h", &urls];
            let mut argv = argv.map(str::to_owned).to_vec();
            if super::is_root() {
                let folder = folder.display().to_string();
                guard::run(&["chown", "-R", "openldap:openldap", &folder]).expect("we are root");
                argv.extend(["-u", "openldap", "-g", "openldap"].map(str::to_owned));
            }
            argv
        });
        Some(Self { guard, ldap, ldaps, pair: pair.clone() })
    }

    /// For `ldapmodify -H`: the local socket, where root (or whoever started it) may do anything.
    pub fn ldapi(&self) -> String {
        ldapi(self.guard.folder())
    }

    /// The change that makes it read its files again: the same values once more.
    pub fn change(&self) -> String {
        format!(
            "dn: cn=config
changetype: modify
replace: olcTLSCertificateFile
olcTLSCertificateFile: {}
-
replace: olcTLSCertificateKeyFile
olcTLSCertificateKeyFile: {}
",
            self.pair.fullchain.display(),
            self.pair.privkey.display()
        )
    }

    /// `ldapmodify` with [`Self::change`].
    ///
    /// # Errors
    ///
    /// What it said.
    pub fn reload(&self) -> Result<(), String> {
        let ldif = self.guard.folder().join("reload.ldif");
        guard::write(&ldif, &self.change());
        let (socket, ldif) = (self.ldapi(), ldif.display().to_string());
        guard::run(&["ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", &socket, "-f", &ldif]).map(drop)
    }
}

fn ldapi(folder: &Path) -> String {
    format!("ldapi://{}", folder.join("ldapi").display().to_string().replace('/', "%2F"))
}

fn configuration(folder: &Path, pair: &Pair) -> String {
    let (at, fullchain) = (folder.display(), pair.fullchain.display());
    let privkey = pair.privkey.display();
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    format!(
        "dn: cn=config
objectClass: olcGlobal
cn: config
olcPidFile: {at}/slapd.pid
olcTLSCertificateFile: {fullchain}
olcTLSCertificateKeyFile: {privkey}

dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif

dn: olcDatabase={{0}}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {{0}}config
olcRootDN: cn=admin,cn=config
olcAccess: {{0}}to * by dn.exact=gidNumber={group}+uidNumber={user},cn=peercred,cn=external,cn=auth manage by * break

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcSuffix: dc=test
olcDbDirectory: {at}/db
olcRootDN: cn=admin,dc=test
olcRootPW: test
"
    )
}
