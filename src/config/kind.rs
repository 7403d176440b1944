//! What is known of each product, as data. No I/O.

use std::fmt;

use super::Content;

/// The products whose ways are known.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Anything else: everything is said in the configuration.
    Custom,
    /// Kamailio with its `tls` module.
    Kamailio,
    /// nginx.
    Nginx,
}

/// What a service of a kind does unless the configuration says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Folder of ours that is swapped whole.
    pub target_dir: &'static str,
    /// Files in it.
    pub files: &'static [PresetFile],
    /// Who reads the key; `None`: root.
    pub user: Option<&'static str>,
    /// The hook that ships with pbxcert; it is told what to do by `PBXCERT_EVENT`.
    pub hook: &'static str,
    /// The product can say whether its configuration, certificates included, is sound.
    pub tests: bool,
    /// Where it is looked at.
    pub endpoint: &'static str,
}

/// A file of a preset.
#[derive(Clone, Copy, Debug)]
pub struct PresetFile {
    /// Bare name.
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
    pub const ALL: [Self; 3] = [Self::Kamailio, Self::Nginx, Self::Custom];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Kamailio => "kamailio",
            Self::Nginx => "nginx",
        }
    }

    /// The kind of a word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What is preset; `None`: nothing.
    pub fn preset(self) -> Option<&'static Preset> {
        match self {
            Self::Custom => None,
            Self::Kamailio => Some(&KAMAILIO),
            Self::Nginx => Some(&NGINX),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

const FULLCHAIN: PresetFile = PresetFile {
    name: "fullchain.pem",
    content: Content::Fullchain,
    owner: None,
    group: None,
    mode: 0o644,
};

/// Files are read at the reload by a worker that runs as `kamailio`, so its group must be able to
/// read the key. `kamailio -c` does not look at certificates: there is nothing to test with.
const KAMAILIO: Preset = Preset {
    target_dir: "/etc/kamailio/pbxcert",
    files: &[
        FULLCHAIN,
        PresetFile {
            name: "privkey.pem",
            content: Content::Privkey,
            owner: Some("root"),
            group: Some("kamailio"),
            mode: 0o640,
        },
    ],
    user: Some("kamailio"),
    hook: "/usr/lib/pbxcert/hooks/kamailio",
    tests: false,
    endpoint: "sips://127.0.0.1:5061",
};

/// Files are read by the master, which is root. `nginx -t` reads certificate and key.
const NGINX: Preset = Preset {
    target_dir: "/etc/nginx/pbxcert",
    files: &[
        FULLCHAIN,
        PresetFile {
            name: "privkey.pem",
            content: Content::Privkey,
            owner: Some("root"),
            group: None,
            mode: 0o600,
        },
    ],
    user: None,
    hook: "/usr/lib/pbxcert/hooks/nginx",
    tests: true,
    endpoint: "https://127.0.0.1:443",
};
