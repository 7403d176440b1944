//! HAProxy with two certificates.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use pbxcert::cert::Fingerprint;

use super::run;
use crate::real::{Haproxy, Pair, free_port, loopback, site, tls};

/// Chain and key in one file.
fn combined(folder: &Path, name: &str) -> PathBuf {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let pair = Pair::in_folder(&folder);
    pair.write_self_signed(name);
    Haproxy::combine(&pair)
}

fn leaf(file: &Path) -> Fingerprint {
    site::leaf_in(file)
}

fn served(address: SocketAddr, name: &str) -> Result<Fingerprint, String> {
    tls::served_leaf(address, name).map(|der| Fingerprint::of(&der))
}

fn reload(server: &Haproxy, files: &[&Path]) -> std::process::Output {
    let of_hook = [server.admin_socket(), server.config(), server.pid_file()];
    let of_hook = of_hook.map(|path| path.display().to_string());
    let arguments: Vec<&str> = of_hook.iter().map(String::as_str).collect();
    let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let variables = [("EVENT", "reload"), ("PATHS", &*paths.join(" "))];
    run("haproxy", &arguments, super::PATH, &variables)
}

/// Waits: a signal is taken some moments later.
fn serves(address: SocketAddr, name: &str, wanted: Fingerprint) -> bool {
    let begun = std::time::Instant::now();
    while begun.elapsed() < site::LIMIT {
        if served(address, name) == Ok(wanted) {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    false
}

#[test]
fn a_second_certificate_that_it_has_not_loaded_yet_is_loaded() {
    let folder = crate::real::shared_folder();
    let (first, second) =
        (combined(folder.path(), "one.test"), combined(folder.path(), "two.test"));
    let Some(server) = Haproxy::start_with(&first, "") else { return };
    // Its administrator has named it in the configuration meanwhile, at a port of its own.
    let at = loopback(free_port());
    let text = format!(
        "{}frontend second\n    bind {at} ssl crt {}\n    default_backend be\n",
        crate::real::text(server.config()),
        second.display()
    );
    std::fs::write(server.config(), text).unwrap();
    let newer = combined(folder.path(), "one.test");
    let output = reload(&server, &[&newer, &second]);
    let said = site::told(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("HAProxy has not loaded {} yet", second.display())), "{said}");
    assert!(serves(at, "two.test", leaf(&second)), "{said}");
    assert!(serves(server.https, "one.test", leaf(&newer)), "{said}");
}

#[test]
fn one_file_that_it_refuses_keeps_nothing_from_the_others() {
    let folder = crate::real::shared_folder();
    let (first, second) =
        (combined(folder.path(), "one.test"), combined(folder.path(), "two.test"));
    let also = format!("crt {}", second.display());
    let Some(server) = Haproxy::start_with(&first, &also) else { return };
    let old = leaf(&first);
    let key_of_another = crate::real::text(folder.path().join("two.test/privkey.pem"));
    let fullchain = crate::real::text(folder.path().join("one.test/fullchain.pem"));
    std::fs::write(&first, fullchain + &key_of_another).unwrap();
    let newer = combined(folder.path(), "two.test");
    let output = reload(&server, &[&first, &newer]);
    let said = site::told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("HAProxy refused {} and", first.display())), "{said}");
    assert_eq!(served(server.https, "one.test"), Ok(old));
    assert_eq!(served(server.https, "two.test"), Ok(leaf(&newer)), "{said}");
}
