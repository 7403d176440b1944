//! Other programs that get certificates for names of ours: two that do so write over each other,
//! and spend what the CA allows.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::super::Checker;
use super::cron::{Planned, list, read};
use crate::cert::{Identifier, Leaf};
use crate::config::CertSpec;
use crate::state::check::{Item, Topic, Verdict};

/// A certificate that somebody else looks after.
struct Theirs {
    /// The program.
    program: &'static str,
    /// Where that stands.
    place: PathBuf,
    names: Vec<Identifier>,
    /// What makes it renew by itself; `None`: nothing was found that does.
    by: Option<String>,
    /// How it is switched off for these names alone.
    off: String,
}

/// An item for each, or one that says that there is none.
pub(super) fn items(checker: &Checker<'_>) -> Vec<Item> {
    let root = &checker.world.root;
    let theirs = found(root);
    let mut items = Vec::new();
    for spec in &checker.config.certificates {
        items.extend(theirs.iter().filter(|theirs| theirs.shares(spec)).map(|t| t.item(spec)));
    }
    if items.is_empty() {
        let text = "no other program gets certificates for these names (looked for: certbot, acme.sh, \
                    dehydrated, FreePBX certman, Caddy, lego, mod_md)";
        let nothing_can_be_seen = std::fs::read_dir(root).is_err();
        items.push(match nothing_can_be_seen {
            false => Item::new(Topic::OtherClient, "host", Verdict::Ok, text),
            true => {
                let text = "the files of this host cannot be looked at";
                Item::new(Topic::OtherClient, "host", Verdict::Unknown, text)
                    .then("run the check as root")
            }
        });
    }
    items
}

impl Theirs {
    fn shares(&self, spec: &CertSpec) -> bool {
        let ours = &spec.identifiers;
        self.names.iter().any(|name| ours.iter().any(|o| name.covers(o) || o.covers(name)))
    }

    fn item(&self, spec: &CertSpec) -> Item {
        let ours = spec.identifiers.iter().filter(|o| self.names.iter().any(|n| n.covers(o)));
        let shared: Vec<String> = ours.map(ToString::to_string).collect();
        let shared = if shared.is_empty() { spec.name.clone() } else { shared.join(", ") };
        let (program, place) = (self.program, self.place.display());
        let (verdict, text) = match &self.by {
            Some(by) => {
                (Verdict::Warning, format!("{program} renews {shared}, too ({by}; {place})"))
            }
            None => (
                Verdict::Ok,
                format!(
                    "{program} once got {shared} ({place}), and nothing was found that runs it"
                ),
            ),
        };
        let item = Item::new(Topic::OtherClient, &spec.name, verdict, text).at(place.to_string());
        if verdict == Verdict::Ok { item } else { item.then(self.off.clone()) }
    }
}

fn found(root: &Path) -> Vec<Theirs> {
    let planned = Planned::read(root);
    let mut theirs = Vec::new();
    theirs.extend(certbot(root, &planned));
    theirs.extend(acme_sh(root, &planned));
    theirs.extend(dehydrated(root, &planned));
    theirs.extend(certman(root, &planned));
    theirs.extend(caddy(root, &planned));
    theirs.extend(lego(root, &planned));
    theirs.extend(mod_md(root));
    theirs.truncate(MOST);
    theirs
}

/// `/etc/letsencrypt/renewal/NAME.conf` says how NAME is renewed; certbot reads what ends on `.conf`.
fn certbot(root: &Path, planned: &Planned) -> Vec<Theirs> {
    let timer = ["certbot.timer", "certbot-renew.timer", "snap.certbot.renew.timer"];
    let timer = timer.into_iter().find(|unit| planned.starts(unit));
    let by = timer.map(str::to_owned).or_else(|| in_cron(root, planned, "certbot"));
    let confs = list(&root.join("etc/letsencrypt/renewal"));
    let confs = confs.into_iter().filter(|path| path.extension().is_some_and(|e| e == "conf"));
    let one = |path: PathBuf| {
        let text = read(&path)?;
        let name = path.file_stem()?.to_str()?.to_owned();
        let value = |key: &str| {
            text.lines().find_map(|line| {
                let (there, value) = line.split_once('=')?;
                (there.trim() == key).then(|| value.trim().to_owned())
            })
        };
        let file = value("cert").map(|file| root.join(file.trim_start_matches('/')));
        let names = file.and_then(|file| names_in(&file)).unwrap_or_else(|| named(&[&name]));
        let off = value("autorenew").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let shown = shown(root, &path);
        Some(Theirs {
            program: "certbot",
            off: format!("mv {shown} {shown}.off", shown = shown.display()),
            place: shown,
            names,
            by: by.clone().filter(|_| !off),
        })
    };
    confs.filter_map(one).collect()
}

/// `~/.acme.sh/NAME/NAME.conf` with `Le_Domain` and `Le_Alt`; `NAME_ecc` for another kind of key.
fn acme_sh(root: &Path, planned: &Planned) -> Vec<Theirs> {
    let timer = planned.starts("acme.sh.timer").then(|| "acme.sh.timer".to_owned());
    let by = timer.or_else(|| in_cron(root, planned, "acme.sh"));
    let folders = ["root/.acme.sh", "etc/acme.sh", "opt/acme.sh"];
    let folders = folders.iter().flat_map(|folder| list(&root.join(folder)));
    let one = |folder: PathBuf| {
        let name = folder.file_name()?.to_str()?;
        let domain = name.strip_suffix("_ecc").unwrap_or(name);
        let path = folder.join(format!("{domain}.conf"));
        let text = read(&path)?;
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| value.trim_matches(['\'', '"', ' ']).to_owned())
        };
        let all = [value("Le_Domain"), value("Le_Alt")].into_iter().flatten();
        let all = all.collect::<Vec<_>>().join(",");
        let ecc = if name == domain { "" } else { " --ecc" };
        Some(Theirs {
            program: "acme.sh",
            place: shown(root, &path),
            names: named(&all.split(',').collect::<Vec<_>>()),
            by: by.clone(),
            off: format!("acme.sh --remove -d {domain}{ecc}"),
        })
    };
    folders.filter_map(one).collect()
}

/// `domains.txt`: a line for each certificate.
fn dehydrated(root: &Path, planned: &Planned) -> Vec<Theirs> {
    let timer = planned.starts("dehydrated.timer").then(|| "dehydrated.timer".to_owned());
    let by = timer.or_else(|| in_cron(root, planned, "dehydrated"));
    let files = ["etc/dehydrated/domains.txt", "opt/dehydrated/domains.txt"];
    let one = |file: &str| {
        let path = root.join(file);
        let text = read(&path)?;
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let place = shown(root, &path);
        let each = lines.map(|line| {
            let line = line.split('>').next().unwrap_or_default();
            Theirs {
                program: "dehydrated",
                off: format!("take its line out of {}", place.display()),
                place: place.clone(),
                names: named(&line.split_whitespace().collect::<Vec<_>>()),
                by: by.clone(),
            }
        });
        Some(each.collect::<Vec<_>>())
    };
    files.into_iter().filter_map(one).flatten().collect()
}

/// The certificate manager of FreePBX keeps what it got from a CA in a folder of that name; what was
/// imported, by us for one, lies beside it as a file.
fn certman(root: &Path, planned: &Planned) -> Vec<Theirs> {
    let by = in_cron(root, planned, "fwconsole");
    let folders = list(&root.join("etc/asterisk/keys"));
    let one = |folder: PathBuf| {
        let chain = folder.join("fullchain.pem");
        let names = names_in(&chain)?;
        Some(Theirs {
            program: "FreePBX certman",
            place: shown(root, &chain),
            names,
            by: by.clone(),
            off: "fwconsole certificates --list; then with its number: fwconsole certificates \
                  --delete=NUMBER"
                .to_owned(),
        })
    };
    folders.into_iter().filter_map(one).collect()
}

/// Caddy renews by itself as long as it runs.
fn caddy(root: &Path, planned: &Planned) -> Vec<Theirs> {
    let unit = ["caddy.service", "caddy-api.service"].into_iter().find(|u| planned.starts(u));
    let stores = ["var/lib/caddy/.local/share/caddy", "root/.local/share/caddy"];
    let cas = stores.iter().flat_map(|store| list(&root.join(store).join("certificates")));
    let one = |folder: PathBuf| {
        let name = folder.file_name()?.to_str()?;
        let path = folder.join(format!("{name}.crt"));
        Some(Theirs {
            program: "Caddy",
            names: names_in(&path)?,
            place: shown(root, &path),
            by: unit.map(str::to_owned),
            off: format!(
                "give that site in the Caddyfile a certificate of ours (tls CERT KEY), or: systemctl \
                 disable --now {}",
                unit.unwrap_or("caddy")
            ),
        })
    };
    cas.flat_map(|ca| list(&ca)).filter_map(one).collect()
}

fn lego(root: &Path, planned: &Planned) -> Vec<Theirs> {
    let timer = planned.starts("lego.timer").then(|| "lego.timer".to_owned());
    let by = timer.or_else(|| in_cron(root, planned, "lego"));
    let folders = ["root/.lego/certificates", "etc/lego/certificates", "var/lib/lego/certificates"];
    let files = folders.iter().flat_map(|folder| list(&root.join(folder)));
    let files = files.filter(|path| {
        let name = path.to_string_lossy();
        name.ends_with(".crt") && !name.ends_with(".issuer.crt")
    });
    let one = |path: PathBuf| {
        Some(Theirs {
            program: "lego",
            names: names_in(&path)?,
            place: shown(root, &path),
            off: match &by {
                Some(by) => format!("take `lego renew` for it out of {by}"),
                None => String::new(),
            },
            by: by.clone(),
        })
    };
    files.filter_map(one).collect()
}

/// `mod_md` of Apache renews while it is loaded.
fn mod_md(root: &Path) -> Vec<Theirs> {
    let loaded = ["etc/apache2/mods-enabled/md.load", "etc/httpd/conf.modules.d/01-md.conf"];
    let by = loaded.into_iter().find(|file| root.join(file).exists());
    let stores =
        ["etc/apache2/md/domains", "var/lib/apache2/md/domains", "etc/httpd/state/md/domains"];
    let folders = stores.iter().flat_map(|store| list(&root.join(store)));
    let one = |folder: PathBuf| {
        let path = folder.join("pubcert.pem");
        let domain = folder.file_name()?.to_str()?;
        Some(Theirs {
            program: "mod_md of Apache",
            names: names_in(&path)?,
            place: shown(root, &path),
            by: by.map(|file| format!("/{file}")),
            off: format!(
                "take MDomain {domain} out of the configuration of Apache; then: apachectl graceful"
            ),
        })
    };
    folders.filter_map(one).collect()
}

fn in_cron(root: &Path, planned: &Planned, word: &str) -> Option<String> {
    planned.cron(word).map(|path| shown(root, path).display().to_string())
}

/// A path as the host has it.
fn shown(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).map_or_else(|_| path.to_owned(), |path| Path::new("/").join(path))
}

fn names_in(file: &Path) -> Option<Vec<Identifier>> {
    let der = CertificateDer::from_pem_slice(read(file)?.as_bytes()).ok()?;
    Some(Leaf::parse(&der).ok()?.identifiers.into_iter().collect())
}

fn named(names: &[&str]) -> Vec<Identifier> {
    names.iter().filter_map(|name| name.trim().parse().ok()).collect()
}

/// Certificates of others that are told of.
const MOST: usize = 100;
