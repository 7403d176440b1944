//! Every guard comes up, takes another certificate with its own reload, and leaves nothing behind.
//! Looked at with `openssl s_client`, so that nothing here rests on pbxcert.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{
    Apache, Coturn, Dovecot, Haproxy, Janus, Mosquitto, Openssl, Pair, Postfix, Prosody, Slapd,
    guard,
};

/// DER of the leaf that is served, by `openssl s_client`.
fn served(address: SocketAddr, starttls: Option<&str>) -> Result<Vec<u8>, String> {
    let address = address.to_string();
    let mut argv = vec!["timeout", "5", "openssl", "s_client", "-connect", &address];
    argv.extend(["-servername", "localhost"]);
    if let Some(protocol) = starttls {
        argv.extend(["-starttls", protocol]);
    }
    if starttls == Some("xmpp") {
        argv.extend(["-xmpphost", "localhost"]);
    }
    let said = match guard::run(&argv) {
        Ok(said) | Err(said) => said,
    };
    let leaf = CertificateDer::from_pem_slice(said.as_bytes()).map_err(|_| said)?;
    Ok(leaf.to_vec())
}

fn serves(leaf: &[u8], address: SocketAddr, starttls: Option<&str>) {
    let begun = Instant::now();
    loop {
        let seen = served(address, starttls);
        if seen.as_deref() == Ok(leaf) {
            return;
        }
        let why = seen.map(|_| "another leaf");
        assert!(begun.elapsed() < Duration::from_secs(20), "{address} {starttls:?}: {why:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Old pair, start, look; new pair, reload, look again.
fn swaps<G>(
    start: impl FnOnce(&Pair) -> Option<G>,
    ports: impl FnOnce(&G) -> Vec<(SocketAddr, Option<&'static str>)>,
    reload: impl FnOnce(&mut G, &Pair),
) {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let old = pair.write_self_signed("localhost");
    let Some(mut guard) = start(&pair) else { return };
    let ports = ports(&guard);
    for (address, starttls) in &ports {
        serves(&old, *address, *starttls);
    }
    let new = pair.write_self_signed("localhost");
    reload(&mut guard, &pair);
    for (address, starttls) in &ports {
        serves(&new, *address, *starttls);
    }
    drop(guard);
    for (address, _) in ports {
        assert!(std::net::TcpStream::connect(address).is_err(), "{address} is still served");
    }
}

#[test]
fn postfix_swaps() {
    swaps(
        Postfix::start,
        |g| vec![(g.smtp, Some("smtp")), (g.smtps, None)],
        |g, _| {
            g.reload().unwrap_or_else(|e| panic!("{e}: {}", g.mail_log()));
        },
    );
}

#[test]
fn dovecot_swaps() {
    swaps(
        Dovecot::start,
        |g| vec![(g.imap, Some("imap")), (g.imaps, None), (g.pop3, Some("pop3"))],
        |g, _| g.reload().unwrap(),
    );
}

#[test]
fn prosody_swaps() {
    swaps(
        Prosody::start,
        |g| vec![(g.c2s, Some("xmpp")), (g.direct, None), (g.https, None)],
        |g, _| g.reload(),
    );
}

#[test]
fn slapd_swaps() {
    swaps(
        Slapd::start,
        |g| vec![(g.ldap, Some("ldap")), (g.ldaps, None)],
        |g, _| g.reload().unwrap(),
    );
}

#[test]
fn mosquitto_swaps() {
    swaps(Mosquitto::start, |g| vec![(g.mqtts, None)], |g, _| g.reload());
}

#[test]
fn coturn_swaps() {
    swaps(Coturn::start, |g| vec![(g.turns, None)], |g, _| g.reload());
}

#[test]
fn haproxy_swaps() {
    swaps(
        Haproxy::start,
        |g| vec![(g.https, None), (g.sips, None)],
        |g, pair| {
            Haproxy::combine(pair);
            g.reload();
        },
    );
}

#[test]
fn apache_swaps() {
    swaps(Apache::start, |g| vec![(g.https, None)], |g, _| g.reload());
}

#[test]
fn janus_swaps() {
    swaps(Janus::start, |g| vec![(g.https, None), (g.wss, None)], |g, _| g.restart());
}

#[test]
fn openssl_swaps() {
    swaps(
        |p| Openssl::start(p, &[]),
        |g| vec![(g.tls, None)],
        |g, _| {
            g.guard.stop();
            g.guard.start_again();
        },
    );
}
