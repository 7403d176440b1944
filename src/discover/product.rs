//! What is known of each product: its packages, and how it says its version. No I/O.

use crate::config::kind::Kind;
use crate::policy::version::is_sound;

/// A program.
#[derive(Debug)]
pub(super) struct Product {
    /// As in `kind`, and in advisories.
    pub(super) name: &'static str,
    /// Packages that hold it, in Debian and RPM distributions.
    pub(super) packages: &'static [&'static str],
    /// Prints its version; empty where none does so without doing more.
    pub(super) command: &'static [&'static str],
}

const fn product(
    name: &'static str,
    packages: &'static [&'static str],
    command: &'static [&'static str],
) -> Product {
    Product { name, packages, command }
}

/// The library that nearly everything here does its TLS with.
pub(super) const OPENSSL: Product = product(
    "openssl",
    &["libssl3t64", "libssl3", "libssl1.1", "openssl-libs", "openssl3-libs", "openssl3"],
    &["openssl", "version"],
);

const APACHE: Product =
    product("apache", &["apache2-bin", "apache2", "httpd", "httpd-core"], &["apache2", "-v"]);
const ASTERISK: Product = product("asterisk", &["asterisk", "asterisk-core"], &["asterisk", "-V"]);
const COTURN: Product = product("coturn", &["coturn"], &["turnserver", "--version"]);
const DOVECOT: Product =
    product("dovecot", &["dovecot-core", "dovecot"], &["dovecot", "--version"]);
const EJABBERD: Product = product("ejabberd", &["ejabberd"], &[]);
const FREEPBX: Product = product("freepbx", &["freepbx", "freepbx17", "freepbx16"], &[]);
const FREESWITCH: Product =
    product("freeswitch", &["freeswitch", "libfreeswitch1"], &["freeswitch", "-version"]);
const FUSIONPBX: Product = product("fusionpbx", &["fusionpbx"], &[]);
const HAPROXY: Product = product("haproxy", &["haproxy"], &["haproxy", "-v"]);
const JANUS: Product = product("janus", &["janus"], &["janus", "--version"]);
const KAMAILIO: Product = product("kamailio", &["kamailio"], &["kamailio", "-v"]);
const MOSQUITTO: Product = product("mosquitto", &["mosquitto"], &["mosquitto", "-h"]);
const NGINX: Product = product("nginx", &["nginx", "nginx-core"], &["nginx", "-v"]);
const OPENLDAP: Product = product("openldap", &["slapd", "openldap-servers"], &["slapd", "-VV"]);
const OPENSIPS: Product = product("opensips", &["opensips"], &["opensips", "-V"]);
const POSTFIX: Product = product("postfix", &["postfix"], &["postconf", "-d", "mail_version"]);
const PROSODY: Product = product("prosody", &["prosody"], &[]);

/// What a service of this kind is made of.
pub(super) fn of(kind: Kind) -> &'static [&'static Product] {
    match kind {
        Kind::Apache => &[&APACHE],
        Kind::Asterisk => &[&ASTERISK],
        Kind::Coturn => &[&COTURN],
        Kind::Custom => &[],
        Kind::Dovecot => &[&DOVECOT],
        Kind::Ejabberd => &[&EJABBERD],
        Kind::Freepbx => &[&FREEPBX, &ASTERISK, &APACHE],
        Kind::Freeswitch => &[&FREESWITCH],
        Kind::Fusionpbx => &[&FUSIONPBX, &FREESWITCH, &NGINX],
        Kind::Haproxy => &[&HAPROXY],
        Kind::Janus => &[&JANUS],
        Kind::Kamailio => &[&KAMAILIO],
        Kind::Mosquitto => &[&MOSQUITTO],
        Kind::Nginx => &[&NGINX],
        Kind::Openldap => &[&OPENLDAP],
        Kind::Opensips => &[&OPENSIPS],
        Kind::Postfix => &[&POSTFIX],
        Kind::Prosody => &[&PROSODY],
    }
}

/// The product of that name.
pub(super) fn named(name: &str) -> Option<&'static Product> {
    Kind::ALL.into_iter().flat_map(of).copied().find(|product| product.name == name)
}

/// The first word with a digit at its beginning and a dot in it: every program puts its own version
/// before others'.
pub(super) fn version_in(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || "/(),".contains(c));
    // `Asterisk certified-20.7-cert2`
    let words = words.map(|word| word.strip_prefix("certified-").unwrap_or(word));
    let mut versions = words.filter(|word| word.contains('.') && is_sound(word));
    versions.next().map(|word| word.trim_end_matches(['.', ':']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_programs_say() {
        for (text, version) in [
            ("Asterisk 20.5.0~dfsg", Some("20.5.0~dfsg")),
            ("Asterisk certified-20.7-cert2", Some("20.7-cert2")),
            ("Asterisk certified/18.9-cert4", Some("18.9-cert4")),
            ("version: kamailio 5.6.3 (x86_64/linux) \nflags: USE_TCP", Some("5.6.3")),
            ("version: opensips 3.4.5 (x86_64/linux)", Some("3.4.5")),
            ("nginx version: nginx/1.22.1", Some("1.22.1")),
            ("Server version: Apache/2.4.62 (Debian)\nServer built: 2024", Some("2.4.62")),
            ("HAProxy version 2.6.12-1+deb12u1 2023/12/16", Some("2.6.12-1+deb12u1")),
            ("mail_version = 3.7.11", Some("3.7.11")),
            ("2.3.19.1 (9b53102964)", Some("2.3.19.1")),
            ("@(#) $OpenLDAP: slapd 2.5.13+dfsg-5 (Feb 8 2023)", Some("2.5.13+dfsg-5")),
            ("mosquitto version 2.0.11\n\nmosquitto is an MQTT", Some("2.0.11")),
            ("OpenSSL 3.0.15 3 Sep 2024 (Library: OpenSSL 3.0.15 3 Sep 2024)", Some("3.0.15")),
            ("4.6.1", Some("4.6.1")),
            ("no such option\n", None),
            ("", None),
        ] {
            assert_eq!(version_in(text).as_deref(), version, "{text:?}");
        }
    }

    #[test]
    fn every_kind_but_custom_is_a_product_of_its_name() {
        for kind in Kind::ALL {
            let names: Vec<&str> = of(kind).iter().map(|product| product.name).collect();
            assert_eq!(names.first().copied().unwrap_or("custom"), kind.word());
        }
    }
}
