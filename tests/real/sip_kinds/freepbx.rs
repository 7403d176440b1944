//! FreePBX: its certificate manager, as its source answers, in front of a real Asterisk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{NONE, run_hook};
use crate::real::asterisk::Pairs;
use crate::real::sim::Commands;
use crate::real::sim::command::{prefix, write_command};
use crate::real::stand::{Stand, served};
use crate::real::{Asterisk, Pair};

/// What the certificate manager knows.
#[derive(Default)]
struct Known {
    names: Vec<String>,
    default: Option<String>,
    asked: Vec<String>,
}

struct Bench {
    _fwconsole: Commands,
    known: Arc<Mutex<Known>>,
    product: Asterisk,
    stand: Stand,
}

/// A certificate `pbx` that was imported earlier and is the default.
fn freepbx() -> Option<Bench> {
    let mut stand = Stand::new("freepbx", &["freepbx", "asterisk", "apache"])?;
    let keys = stand.tls();
    std::fs::create_dir(keys.join("integration")).unwrap();
    let sip = Pair { fullchain: keys.join("pbx.crt"), privkey: keys.join("pbx.key") };
    sip.write_self_signed("pbx.test");
    copy_for_the_web(&keys, "pbx");
    let integration = keys.join("integration");
    let http = Pair {
        fullchain: integration.join("webserver.crt"),
        privkey: integration.join("webserver.key"),
    };
    let product = Asterisk::start_with(&Pairs { sip, http, allow_reload: false })?;

    let known = Known { names: vec!["pbx".into()], default: Some("pbx".into()), asked: Vec::new() };
    let known = Arc::new(Mutex::new(known));
    let (asked, folder) = (Arc::clone(&known), keys.clone());
    let fwconsole = Commands::listen(&stand.bin(), &["fwconsole"], move |words| {
        fwconsole(&mut asked.lock().unwrap(), &folder, words)
    });
    // Beside it in the PATH: the real Asterisk, and no web server.
    let inside = format!(
        "#!/bin/sh\nexec {} /usr/sbin/asterisk {} \"$@\"\n",
        product.exec_prefix().join(" "),
        product.arguments().join(" ")
    );
    write_command(&stand.bin().join("asterisk"), &inside);
    write_command(&stand.bin().join("apache2ctl"), "#!/bin/sh\nexit 0\n");
    let (user, _) = product.ids();
    let target = |name: &str, content: &str| {
        format!(
            "  {{ path = \"{}/{{certificate}}{name}\", content = \"{content}\", owner = \
             \"{user}\", mode = \"0600\" }},\n",
            keys.display()
        )
    };
    stand.configure(&format!(
        "user = \"{user}\"\ntarget = [\n{}{}{}{}{}]\nexec-prefix = {:?}\nreload = [{:?}]\nendpoint \
         = [\"sips://{}\", \"https://{}\"]",
        target(".crt", "cert"),
        target(".key", "privkey"),
        target("-ca-bundle.crt", "chain"),
        target("-fullchain.crt", "fullchain"),
        target(".pem", "fullchain-privkey"),
        prefix(&stand.bin()),
        stand.hook(),
        product.sips(),
        product.https(),
    ));
    Some(Bench { _fwconsole: fwconsole, known, product, stand })
}

/// As `Console/Certman.class.php` of certman answers.
fn fwconsole(known: &mut Known, keys: &Path, words: &str) -> (i32, String) {
    known.asked.push(words.to_owned());
    let Some(words) = words.strip_prefix("fwconsole certificates ") else {
        return (1, "command not found\n".to_owned());
    };
    match words {
        "--list --json" => {
            let rows = known.names.iter().enumerate().map(|(number, name)| {
                let default = if known.default.as_ref() == Some(name) { "X" } else { "" };
                serde_json::json!([number + 1, name, "", "up", "Uploaded", default, ""])
            });
            (0, format!("{}\n", serde_json::Value::from(rows.collect::<Vec<_>>())))
        }
        "--import" => {
            let new: Vec<String> = std::fs::read_dir(keys)
                .unwrap()
                .filter_map(|entry| {
                    let path: PathBuf = entry.unwrap().path();
                    let name = path.file_name()?.to_str()?.strip_suffix(".crt")?.to_owned();
                    let paired = keys.join(format!("{name}.key")).exists();
                    (paired && !known.names.contains(&name)).then_some(name)
                })
                .collect();
            if new.is_empty() {
                return (4, "There were no files to import\n".to_owned());
            }
            known.names.extend(new);
            (0, "Successfully imported\n".to_owned())
        }
        _ => match words.strip_prefix("--default=") {
            Some(name) if known.names.iter().any(|n| n == name) => {
                copy_for_the_web(keys, name);
                known.default = Some(name.to_owned());
                (0, format!("Successfully set '{name}' as the default certificate\n"))
            }
            _ => (4, "not known\n".to_owned()),
        },
    }
}

fn copy_for_the_web(keys: &Path, name: &str) {
    for (from, to) in [("crt", "webserver.crt"), ("key", "webserver.key")] {
        let to = keys.join("integration").join(to);
        std::fs::copy(keys.join(format!("{name}.{from}")), &to).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&to, mode).unwrap();
    }
}

#[test]
fn the_default_certificate_is_made_so_again_and_reaches_both_ports() {
    let Some(Bench { _fwconsole, known, product, stand }) = freepbx() else { return };
    stand.succeeds(&["renew"]);
    stand.serve(&[product.sips(), product.https()], 1);
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&[product.sips(), product.https()], 2);
    let asked = known.lock().unwrap().asked.clone();
    let set = "fwconsole certificates --default=pbx";
    assert_eq!(asked.iter().filter(|words| *words == set).count(), 2, "{asked:?}");
    assert!(!asked.iter().any(|words| words.contains("--import")), "{asked:?}");
    stand.row("good swap", &stand.step(), stand.reloads() - 1);
}

#[test]
fn one_that_it_does_not_know_is_imported_once_and_not_made_the_default() {
    let Some(Bench { _fwconsole, known, product, stand }) = freepbx() else { return };
    *known.lock().unwrap() =
        Known { names: vec!["old".into()], default: Some("old".into()), asked: Vec::new() };
    let web = served(product.https());
    stand.write_config(|text| text.replace(&format!(", \"https://{}\"", product.https()), ""));
    stand.succeeds(&["renew"]);
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&[product.sips()], 2);
    let known = known.lock().unwrap();
    assert_eq!(known.names, ["old", "pbx"]);
    assert_eq!(known.default.as_deref(), Some("old"));
    let imports = known.asked.iter().filter(|words| words.ends_with("--import")).count();
    assert_eq!(imports, 1, "{:?}", known.asked);
    drop(known);
    assert_eq!(served(product.https()), web, "the web server was given another");
    stand.row("not known to certman yet", &stand.step(), stand.reloads() - 1);
}

#[test]
fn a_pair_that_went_bad_comes_back_on_both_ports() {
    let Some(Bench { _fwconsole, product, stand, known }) = freepbx() else { return };
    stand.succeeds(&["renew"]);
    stand.write_config(|text| text.replace("reload =", "proof-timeout = \"3 s\"\nreload ="));
    stand.trip_with_bad_pair("reload");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "rolled-back", "{}", stand.clues());
    stand.serve(&[product.sips(), product.https()], 1);
    drop(known);
    let outcome = "rolled back, the old one is served";
    stand.row("pair bad at the reload", outcome, stand.reloads() - 1);
}

#[test]
fn a_stopped_asterisk_is_not_started() {
    let Some(Bench { _fwconsole, known, mut product, stand }) = freepbx() else { return };
    let exec = prefix(&stand.bin());
    assert_eq!(run_hook(&stand, "busy", NONE, &exec).stdout, b"0\n");
    product.call();
    assert_eq!(run_hook(&stand, "busy", NONE, &exec).stdout, b"1\n");
    product.stop();
    for event in ["reload", "recover", "busy"] {
        let output = run_hook(&stand, event, NONE, &exec);
        assert_eq!(output.status.code(), Some(75), "{event}: {output:?}");
    }
    drop(known);
    assert!(served(product.sips()).is_err(), "it was started");
    stand.row("stopped", "exit code 75, not started", 0);
}
