//! What is known of each product, as data. No I/O.

mod mail;
mod sip;
mod web;

use std::fmt;

use super::Content;

/// The products whose ways are known.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Apache httpd.
    Apache,
    /// Asterisk, its SIP and its HTTPS server.
    Asterisk,
    /// The TURN server coturn.
    Coturn,
    /// Anything else: everything is said in the configuration.
    Custom,
    /// Dovecot.
    Dovecot,
    /// ejabberd.
    Ejabberd,
    /// FreePBX: Asterisk and Apache, with files that its own module writes.
    Freepbx,
    /// FreeSWITCH.
    Freeswitch,
    /// FusionPBX: FreeSWITCH and nginx behind links.
    Fusionpbx,
    /// HAProxy.
    Haproxy,
    /// The WebRTC gateway Janus.
    Janus,
    /// Kamailio with its `tls` module.
    Kamailio,
    /// Mosquitto.
    Mosquitto,
    /// nginx.
    Nginx,
    /// OpenLDAP's slapd.
    Openldap,
    /// OpenSIPS with `tls_mgm`.
    Opensips,
    /// Postfix.
    Postfix,
    /// Prosody.
    Prosody,
}

/// What a reload does to those who are connected.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Nothing drops.
    Hot,
    /// What is open stays on an old process until it ends.
    Drain,
    /// Calls drop.
    Restart,
}

impl Class {
    /// Every class, the gentlest first.
    pub const ALL: [Self; 3] = [Self::Hot, Self::Drain, Self::Restart];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Drain => "drain",
            Self::Restart => "restart",
        }
    }
}

/// What a service of a kind does unless the configuration says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Folder of ours that is swapped whole; `None`: single files in folders of the product.
    pub target_dir: Option<&'static str>,
    /// Files in it, or their absolute paths.
    pub files: &'static [PresetFile],
    /// Who reads the key; `None`: root.
    pub user: Option<&'static str>,
    /// The hook that ships with pbxcert; it is told what to do by `PBXCERT_EVENT`.
    pub hook: &'static str,
    /// The product can say whether its configuration is sound.
    pub tests: bool,
    /// The hook can count calls (`PBXCERT_EVENT=busy`).
    pub counts_calls: bool,
    /// What a reload does to those who are connected.
    pub class: Class,
    /// Most automatic reloads within a day, whatever they bring; `None`: any number.
    pub reloads_per_day: Option<u32>,
    /// The names of its processes (proc_pid_comm(5)).
    pub processes: &'static [&'static str],
    /// Where services of the kind are often to be found. What nobody ever answered at is left out.
    pub endpoints: &'static [&'static str],
}

/// A file of a preset.
#[derive(Clone, Copy, Debug)]
pub struct PresetFile {
    /// Bare name in the folder, or an absolute path, where `{certificate}` may stand.
    pub name: &'static str,
    /// What is in it.
    pub content: Content,
    /// Owner; `None`: ours.
    pub owner: Option<&'static str>,
    /// Group; `None`: ours.
    pub group: Option<&'static str>,
    /// Permission bits.
    pub mode: u32,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 18] = [
        Self::Asterisk,
        Self::Freepbx,
        Self::Freeswitch,
        Self::Fusionpbx,
        Self::Kamailio,
        Self::Opensips,
        Self::Coturn,
        Self::Janus,
        Self::Nginx,
        Self::Apache,
        Self::Haproxy,
        Self::Postfix,
        Self::Dovecot,
        Self::Prosody,
        Self::Ejabberd,
        Self::Mosquitto,
        Self::Openldap,
        Self::Custom,
    ];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::Asterisk => "asterisk",
            Self::Coturn => "coturn",
            Self::Custom => "custom",
            Self::Dovecot => "dovecot",
            Self::Ejabberd => "ejabberd",
            Self::Freepbx => "freepbx",
            Self::Freeswitch => "freeswitch",
            Self::Fusionpbx => "fusionpbx",
            Self::Haproxy => "haproxy",
            Self::Janus => "janus",
            Self::Kamailio => "kamailio",
            Self::Mosquitto => "mosquitto",
            Self::Nginx => "nginx",
            Self::Openldap => "openldap",
            Self::Opensips => "opensips",
            Self::Postfix => "postfix",
            Self::Prosody => "prosody",
        }
    }

    /// The kind of a word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What is preset; `None`: nothing.
    pub fn preset(self) -> Option<&'static Preset> {
        match self {
            Self::Apache => Some(&web::APACHE),
            Self::Asterisk => Some(&sip::ASTERISK),
            Self::Coturn => Some(&sip::COTURN),
            Self::Custom => None,
            Self::Dovecot => Some(&mail::DOVECOT),
            Self::Ejabberd => Some(&mail::EJABBERD),
            Self::Freepbx => Some(&sip::FREEPBX),
            Self::Freeswitch => Some(&sip::FREESWITCH),
            Self::Fusionpbx => Some(&sip::FUSIONPBX),
            Self::Haproxy => Some(&web::HAPROXY),
            Self::Janus => Some(&sip::JANUS),
            Self::Kamailio => Some(&sip::KAMAILIO),
            Self::Mosquitto => Some(&mail::MOSQUITTO),
            Self::Nginx => Some(&web::NGINX),
            Self::Openldap => Some(&mail::OPENLDAP),
            Self::Opensips => Some(&sip::OPENSIPS),
            Self::Postfix => Some(&mail::POSTFIX),
            Self::Prosody => Some(&mail::PROSODY),
        }
    }
}

impl Kind {
    /// Its unit of systemd on Debian, where its log is and by which it is restarted; `None` where
    /// nobody can know.
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Self::Apache => Some("apache2"),
            Self::Custom => None,
            Self::Freepbx => Some("freepbx"),
            Self::Freeswitch | Self::Fusionpbx => Some("freeswitch"),
            Self::Openldap => Some("slapd"),
            Self::Asterisk
            | Self::Coturn
            | Self::Dovecot
            | Self::Ejabberd
            | Self::Haproxy
            | Self::Janus
            | Self::Kamailio
            | Self::Mosquitto
            | Self::Nginx
            | Self::Opensips
            | Self::Postfix
            | Self::Prosody => Some(self.word()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The public part, for everybody.
const FULLCHAIN: PresetFile = PresetFile {
    name: "fullchain.pem",
    content: Content::Fullchain,
    owner: None,
    group: None,
    mode: 0o644,
};

/// The private key for root alone.
const ROOT_KEY: PresetFile = PresetFile {
    name: "privkey.pem",
    content: Content::Privkey,
    owner: Some("root"),
    group: None,
    mode: 0o600,
};

/// The private key for root and one group.
const fn group_key(group: &'static str) -> PresetFile {
    PresetFile { group: Some(group), mode: 0o640, ..ROOT_KEY }
}
