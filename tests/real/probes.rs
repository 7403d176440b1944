//! `pbxcert verify --endpoint` against every real server that can be had here: what it says is
//! compared with what was installed.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use pbxcert::cert::Fingerprint;
use serde_json::Value;

use super::{
    Apache, Coturn, Dovecot, Haproxy, Janus, Kamailio, Mosquitto, Nginx, Openssl, Pair, Postfix,
    Prosody, Slapd,
};

fn verify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pbxcert"))
        .args(["verify", "--config", "/nowhere/at/all.toml"])
        .args(arguments)
        .output()
        .unwrap()
}

/// The first endpoint of the report.
fn look(url: &str, arguments: &[&str]) -> Value {
    let output = verify(&[&["--json", "--endpoint", url], arguments].concat());
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    report["endpoints"][0].clone()
}

fn url(protocol: &str, address: SocketAddr) -> String {
    format!("{protocol}://{address}")
}

/// Each of these shows `leaf`, whole; old servers may be seen in part.
fn shows(leaf: &[u8], endpoints: &[String], arguments: &[&str]) {
    for endpoint in endpoints {
        let seen = look(endpoint, &[&["--sni", "localhost"], arguments].concat());
        assert_eq!(seen["fingerprint"], Fingerprint::of(leaf).to_string(), "{endpoint}: {seen:#}");
        assert_eq!(seen["verdict"], "ok", "{seen:#}");
        assert_eq!(seen["served"]["answer"]["unfinished"], Value::Null, "{seen:#}");
        assert_eq!((&seen["key"], &seen["chain"]["served"]), (&"ecdsa-p256".into(), &1.into()));
        let protocol = seen["protocol"].as_str().unwrap();
        assert!(["TLS 1.2", "TLS 1.3"].contains(&protocol), "{seen:#}");
        assert!(seen["days-left"].as_u64().unwrap() > 30, "{seen:#}");
    }
}

/// Looks until the answer is no certificate, and says why there is none.
fn no_certificate(endpoint: &str) -> String {
    let begun = Instant::now();
    loop {
        let seen = look(endpoint, &["--sni", "localhost"]);
        if seen["fingerprint"].is_null() {
            assert_eq!(seen["verdict"], "critical", "{seen:#}");
            return seen["text"].as_str().unwrap().to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "still a certificate: {seen:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Fresh {
    pair: Pair,
    leaf: Vec<u8>,
    folder: tempfile::TempDir,
}

fn fresh() -> Fresh {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let leaf = pair.write_self_signed("localhost");
    Fresh { pair, leaf, folder }
}

#[test]
fn postfix_is_seen_and_its_broken_pair_is_no_starttls() {
    let Fresh { pair, leaf, folder: _folder } = fresh();
    let Some(postfix) = Postfix::start(&pair) else { return };
    let smtp = url("smtp+starttls", postfix.smtp);
    shows(&leaf, &[smtp.clone(), url("smtps", postfix.smtps)], &[]);
    pair.write_mismatched("localhost");
    postfix.reload().unwrap();
    // Mail goes on in plain text: for a probe that is a failure.
    let text = no_certificate(&smtp);
    assert!(text.contains("STARTTLS"), "{text}");
}

#[test]
fn dovecot_is_seen_and_so_is_its_broken_pair() {
    let Fresh { pair, leaf, folder: _folder } = fresh();
    let Some(dovecot) = Dovecot::start(&pair) else { return };
    let imap = url("imap+starttls", dovecot.imap);
    let pop3 = url("pop3+starttls", dovecot.pop3);
    shows(&leaf, &[imap.clone(), pop3.clone(), url("imaps", dovecot.imaps)], &[]);
    pair.write_mismatched("localhost");
    dovecot.reload().unwrap();
    for endpoint in [imap, pop3, url("imaps", dovecot.imaps)] {
        no_certificate(&endpoint);
    }
}

#[test]
fn prosody_is_seen_for_its_host_and_asked_for_another_it_refuses() {
    let Fresh { pair, leaf, folder: _folder } = fresh();
    let Some(prosody) = Prosody::start(&pair) else { return };
    let c2s = url("xmpp+starttls", prosody.c2s);
    let direct = [url("xmpps", prosody.direct), url("https", prosody.https)];
    shows(&leaf, std::slice::from_ref(&c2s), &[]);
    shows(&leaf, &direct, &[]);
    let other = look(&c2s, &["--sni", "elsewhere.example"]);
    assert!(other["text"].as_str().unwrap().contains("refuses STARTTLS"), "{other:#}");
}

#[test]
fn slapd_is_seen_and_dead_after_a_bad_change() {
    let Fresh { pair, leaf, folder: _folder } = fresh();
    let Some(slapd) = Slapd::start(&pair) else { return };
    let ldap = url("ldap+starttls", slapd.ldap);
    shows(&leaf, &[ldap.clone(), url("ldaps", slapd.ldaps)], &[]);
    pair.write_mismatched("localhost");
    assert!(slapd.reload().is_err());
    no_certificate(&ldap);
}

#[test]
fn mosquitto_is_seen_and_without_a_certificate_it_is_said_so() {
    let Fresh { pair, leaf, folder: _folder } = fresh();
    let Some(mosquitto) = Mosquitto::start(&pair) else { return };
    let mqtts = url("mqtts", mosquitto.mqtts);
    shows(&leaf, std::slice::from_ref(&mqtts), &[]);
    pair.write_mismatched("localhost");
    mosquitto.reload();
    let text = no_certificate(&mqtts);
    assert!(text.contains("no certificate loaded"), "{text}");
}

#[test]
fn coturn_haproxy_apache_nginx_kamailio_and_janus_are_seen() {
    let Fresh { pair, leaf, folder: _folder } = fresh();
    if let Some(coturn) = Coturn::start(&pair) {
        shows(&leaf, &[url("turns", coturn.turns)], &[]);
    }
    if let Some(haproxy) = Haproxy::start(&pair) {
        shows(&leaf, &[url("https", haproxy.https), url("sips", haproxy.sips)], &[]);
    }
    if let Some(apache) = Apache::start(&pair) {
        shows(&leaf, &[url("https", apache.https)], &[]);
    }
    if let Some(nginx) = Nginx::start(&pair) {
        shows(&leaf, &[url("https", nginx.https())], &[]);
        // Another name than the certificate's: whoever asks for it is told.
        let other = look(&url("https", nginx.https()), &["--sni", "elsewhere.example"]);
        assert_eq!(other["verdict"], "critical", "{other:#}");
    }
    if let Some(kamailio) = Kamailio::start(&pair) {
        shows(&leaf, &[url("sips", kamailio.sips())], &[]);
        let seen = look(&url("sips", kamailio.sips()), &[]);
        assert_eq!(seen["served"]["options"], "200 kam ok", "{seen:#}");
    }
    if let Some(janus) = Janus::start(&pair) {
        shows(&leaf, &[url("wss", janus.wss), url("https", janus.https)], &[]);
    }
}

/// Its certificate is read, and that there was no more is said.
fn seen_in_passing(leaf: &[u8], endpoint: &str, protocol: &str, cipher: &str) {
    let seen = look(endpoint, &["--sni", "localhost"]);
    assert_eq!(seen["fingerprint"], Fingerprint::of(leaf).to_string(), "{endpoint}: {seen:#}");
    assert_eq!(seen["protocol"], protocol, "{seen:#}");
    let why = seen["served"]["answer"]["unfinished"].as_str().unwrap();
    assert!(why.starts_with("cannot probe (TLS 1.1 or CBC only)"), "{why}");
    assert!(why.ends_with(&format!("with {cipher}")), "{why}");
}

#[test]
fn old_servers_are_told_from_dead_ones_and_their_certificate_is_read() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let leaf = pair.write_self_signed_rsa("localhost");
    for (arguments, protocol, cipher) in [
        (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..], "TLS 1.0", "ECDHE-RSA-AES128-SHA"),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "TLS 1.1", "ECDHE-RSA-AES128-SHA"),
        (&["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"], "TLS 1.2", "AES128-SHA"),
        (&["-tls1_2", "-cipher", "AES256-GCM-SHA384"], "TLS 1.2", "AES256-GCM-SHA384"),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"], "TLS 1.2", "ECDHE-RSA-AES256-SHA384"),
        (&["-tls1_2", "-cipher", "DHE-RSA-AES128-SHA"], "TLS 1.2", "DHE-RSA-AES128-SHA"),
    ] {
        let Some(server) = Openssl::start(&pair, arguments) else { return };
        seen_in_passing(&leaf, &url("tls", server.tls), protocol, cipher);
    }
    // One that lives, but has no certificate to show to anybody.
    let anonymous = ["-nocert", "-tls1_2", "-cipher", "ADH-AES128-SHA:@SECLEVEL=0"];
    let Some(server) = Openssl::start(&pair, &anonymous) else { return };
    let seen = look(&url("tls", server.tls), &[]);
    assert!(seen["text"].as_str().unwrap().contains("no certificate loaded"), "{seen:#}");
}

#[test]
fn real_servers_that_are_configured_as_of_old_are_seen_in_passing() {
    let folder = super::shared_folder();
    let pair = Pair::in_folder(folder.path());
    let leaf = pair.write_self_signed_rsa("localhost");
    let old = "ssl-max-ver TLSv1.1 ciphers AES128-SHA:@SECLEVEL=0";
    if let Some(haproxy) = Haproxy::start_with(&Haproxy::combine(&pair), old) {
        seen_in_passing(&leaf, &url("sips", haproxy.sips), "TLS 1.1", "AES128-SHA");
    }
    let tls = "smtpd_tls_protocols=<=TLSv1.1\nsmtpd_tls_mandatory_protocols=<=TLSv1.1\n\
               tls_medium_cipherlist=AES256-SHA:@SECLEVEL=0\nsmtpd_tls_ciphers=medium\n";
    let (key, cert) = (pair.privkey.display(), pair.fullchain.display());
    let lines = format!("smtpd_tls_chain_files={key},{cert}\n{tls}");
    if let Some(postfix) = Postfix::start_with(&lines) {
        let smtp = url("smtp+starttls", postfix.smtp);
        seen_in_passing(&leaf, &smtp, "TLS 1.1", "AES256-SHA");
    }
}

#[test]
fn rsa_and_ecdsa_of_one_server_are_both_seen() {
    let folder = super::shared_folder();
    let ecdsa = Pair::in_folder(folder.path());
    let ecdsa_leaf = ecdsa.write_self_signed("localhost");
    let rsa =
        Pair { fullchain: folder.path().join("rsa.pem"), privkey: folder.path().join("rsa.key") };
    let rsa_leaf = rsa.write_self_signed_rsa("localhost");
    let (cert, key) = (rsa.fullchain.display().to_string(), rsa.privkey.display().to_string());
    for version in ["-tls1_2", "-tls1_3"] {
        let both = ["-dcert", &cert, "-dkey", &key, version];
        let Some(server) = Openssl::start(&ecdsa, &both) else { return };
        for (family, leaf) in [("rsa", &rsa_leaf), ("ecdsa", &ecdsa_leaf)] {
            let seen = look(&url("tls", server.tls), &["--key", family]);
            assert_eq!(
                seen["fingerprint"],
                Fingerprint::of(leaf).to_string(),
                "{family}: {seen:#}"
            );
            assert!(seen["key"].as_str().unwrap().starts_with(family), "{seen:#}");
            assert_eq!(seen["endpoint"], format!("tls://{} ({family})", server.tls));
        }
    }
    let Some(server) = Openssl::start(&ecdsa, &[]) else { return };
    let seen = look(&url("tls", server.tls), &["--key", "rsa"]);
    assert!(seen["text"].as_str().unwrap().contains("no rsa certificate loaded"), "{seen:#}");
}

#[test]
fn mutual_tls_is_seen_although_it_goes_no_further() {
    let Fresh { pair, leaf, folder: _folder } = fresh();
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(server) = Openssl::start(&pair, &["-Verify", "1", version]) else { return };
        let seen = look(&url("tls", server.tls), &[]);
        assert_eq!(seen["fingerprint"], Fingerprint::of(&leaf).to_string(), "{seen:#}");
        let why = seen["served"]["answer"]["unfinished"].as_str().unwrap();
        assert!(why.contains("client certificate"), "{why}");
    }
}

#[test]
fn verify_of_urls_speaks_as_a_monitoring_plugin() {
    let Fresh { pair, leaf, folder: _folder } = fresh();
    let Some(nginx) = Nginx::start(&pair) else { return };
    let good = url("https", nginx.https());
    let closed = url("tls", super::loopback(super::free_port()));
    for (urls, code, word) in [
        (&[&good][..], 0, "OK: all 1 endpoints"),
        (&[&good, &closed], 2, "CRITICAL: 1 of 2 endpoints fine"),
        (&[&"smtp://127.0.0.1".to_owned()], 3, ""),
    ] {
        let arguments: Vec<&str> = urls.iter().flat_map(|u| ["--endpoint", u.as_str()]).collect();
        let output = verify(&arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with(word), "{said}");
        if code == 0 {
            let short = Fingerprint::of(&leaf).short();
            assert!(said.contains(&short) && said.contains("ecdsa-p256"), "{said}");
        }
    }
    let output = verify(&["--endpoint", "smtp://127.0.0.1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("smtp+starttls://"), "{said}");
}
