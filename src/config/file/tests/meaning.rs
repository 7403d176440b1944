//! What is written means what the documentation says.

use std::time::Duration;

use super::super::super::*;
use super::*;
use crate::cert::KeyType;
use crate::config::kind::Kind;

#[test]
fn the_smallest_configuration_has_every_default() {
    let config = config(SOUND);
    assert!(!config.site.is_empty());
    assert_eq!(config.mode, Mode::On);
    assert_eq!(config.state_dir, Path::new("/var/lib/pbxcert"));
    assert!(!config.unsynchronised);
    assert_eq!(config.files, [Path::new("pbxcert.toml")]);
    assert_eq!(config.hash.len(), 64);
    let issuer = &config.issuers["acme"];
    assert_eq!(issuer.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(issuer.contact, ["mailto:noc@pbx.de"]);
    assert_eq!(
        issuer.rehearsal.as_deref(),
        Some("https://acme-staging-v02.api.letsencrypt.org/directory")
    );
    assert_eq!(issuer.weekly_limit, Some(5));
    assert_eq!(config.challenges["http"].method, Http01::Auto);
    let certificate = config.certificate("pbx").unwrap();
    assert_eq!(certificate.key, KeyType::Rsa2048);
    assert_eq!(certificate.issuers, ["acme"]);
    assert_eq!(certificate.challenges, ["http"]);
    assert_eq!(certificate.min_age, Duration::ZERO);
    assert_eq!(certificate.on_trust_change, OnTrustChange::Ask);
    assert!(config.services.is_empty());
}

#[test]
fn the_top_is_read() {
    let top =
        "site = \"Post\"\nmode = \"observe\"\nstate-dir = \"/srv/s\"\ntime = \"unsynchronised\"\n";
    let config = config(&format!("{top}{SOUND}"));
    assert_eq!(config.site, "Post");
    assert_eq!(config.mode, Mode::Observe);
    assert_eq!(config.state_dir, Path::new("/srv/s"));
    assert!(config.unsynchronised);
}

#[test]
fn an_issuer_with_its_own_trust_anchor_has_no_limit() {
    let issuer = |lines: &str| {
        let text = SOUND.replace("directory = \"letsencrypt\"", lines);
        config(&text).issuers["acme"].clone()
    };
    let own = issuer("directory = \"https://ca.lan:9000/dir\"\ntrust-anchor = \"/etc/ca.pem\"");
    assert_eq!((own.weekly_limit, own.rehearsal), (None, None));
    assert_eq!(own.trust_anchor.as_deref(), Some(Path::new("/etc/ca.pem")));
    let anchored = issuer("directory = \"letsencrypt\"\ntrust-anchor = \"/etc/ca.pem\"");
    assert_eq!(anchored.weekly_limit, None);
    let unknown = issuer("directory = \"https://ca.lan/dir\"");
    assert_eq!((unknown.weekly_limit, unknown.rehearsal), (None, None));
    let quiet = issuer("directory = \"letsencrypt\"\nrehearsal = \"none\"");
    assert_eq!((quiet.weekly_limit, quiet.rehearsal), (Some(5), None));
    let other = issuer("directory = \"zerossl\"\nrehearsal = \"https://test.ca/dir\"");
    assert_eq!(other.rehearsal.as_deref(), Some("https://test.ca/dir"));
    let full = issuer("directory = \"https://acme-v02.api.letsencrypt.org/directory\"");
    assert_eq!(full.weekly_limit, Some(5));
}

#[test]
fn a_change_of_trust_is_asked_about_but_not_with_a_ca_of_ones_own() {
    let stance = |acme: &str, lines: &str| {
        let acme =
            format!("[acme]\ndirectory = \"https://ca.lan/dir\"\nagree-to-terms = true\n{acme}\n");
        let names = "[[certificate]]\nname = \"pbx\"\nnames = [\"pbx.de\"]\n";
        config(&format!("{acme}{names}{lines}\n")).certificates[0].on_trust_change
    };
    let own = "trust-anchor = \"/etc/ca.pem\"";
    assert_eq!(stance("", ""), OnTrustChange::Ask);
    assert_eq!(stance(own, ""), OnTrustChange::Go);
    assert_eq!(stance(own, "on-trust-change = \"ask\""), OnTrustChange::Ask);
    assert_eq!(stance("", "on-trust-change = \"window\""), OnTrustChange::Window);
}

#[test]
fn the_way_to_the_ca_is_read() {
    let lines = "agree-to-terms = true\nprofile = \"shortlived\"\nproxy = \"socks5://10.0.0.1:1080/\"\n\
                 proxy-auth-file = \"/etc/p\"\neab = { key-id = \"kid\", hmac-file = \"/etc/h\" }";
    let config = config(&SOUND.replace("agree-to-terms = true", lines));
    let issuer = &config.issuers["acme"];
    assert_eq!(issuer.profile.as_deref(), Some("shortlived"));
    let proxy = issuer.proxy.clone().unwrap();
    assert_eq!(proxy.url, "socks5://10.0.0.1:1080");
    assert_eq!(proxy.auth_file.as_deref(), Some(Path::new("/etc/p")));
    let eab = issuer.eab.clone().unwrap();
    assert_eq!((eab.key_id.as_str(), eab.hmac_file.as_path()), ("kid", Path::new("/etc/h")));
}

#[test]
fn challenges_are_tried_in_the_order_of_their_names_unless_said() {
    let text = "[challenge.web]\nhttp-01 = { webroot = \"/var/www\" }\n\
                [challenge.port]\nhttp-01 = { listen = [\"[::]:80\", \"0.0.0.0:80\"] }\n";
    let all = config(&format!("{SOUND}{text}"));
    assert_eq!(all.certificates[0].challenges, ["port", "web"]);
    assert_eq!(all.challenges["web"].method, Http01::Webroot("/var/www".into()));
    assert!(matches!(&all.challenges["port"].method, Http01::Listen(two) if two.len() == 2));
    let said = config(&format!("{SOUND}challenge = [\"web\", \"port\"]\n{text}"));
    assert_eq!(said.certificates[0].challenges, ["web", "port"]);
}

#[test]
fn durations_are_words() {
    for (words, seconds) in [("90 s", 90), ("2h", 7200), ("1 day", 86400), ("1d 30min", 88200)] {
        let config = config(&format!("{SOUND}min-age = \"{words}\"\n"));
        assert_eq!(config.certificates[0].min_age, Duration::from_secs(seconds), "{words}");
    }
}

#[test]
fn defaults_stand_in_for_missing_keys_only() {
    let text = "[defaults]\nkey = \"ecdsa-p256\"\nproof-timeout = \"10 s\"\n\
                [[certificate]]\nname = \"web\"\nnames = [\"web.de\"]\nkey = \"rsa-4096\"\n\
                [[service]]\nkind = \"nginx\"\ncertificate = \"web\"\n";
    let config = config(&format!("{SOUND}{text}"));
    assert_eq!(config.certificates[0].key, KeyType::EcdsaP256);
    assert_eq!(config.certificates[1].key, KeyType::Rsa4096);
    assert_eq!(config.services[0].proof_timeout, Duration::from_secs(10));
    assert_eq!(config.services[0].hook_timeout, Duration::from_secs(60));
}

fn service(lines: &str) -> ServiceSpec {
    config(&format!("{SOUND}[[service]]\n{lines}\n")).services.remove(0)
}

#[test]
fn every_kind_needs_nothing_but_its_name() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Custom) {
        let service = service(&format!("kind = \"{kind}\""));
        assert_eq!((service.name.as_str(), service.kind), (kind.word(), kind));
        assert!(!service.endpoints.is_empty() && service.reload.is_some(), "{kind}");
        let contents: Vec<_> =
            service.install["pbx"].targets().iter().map(|(_, t)| t.content).collect();
        assert!(contents.iter().any(|content| content.holds_key()), "{kind}");
    }
}

#[test]
fn every_kind_has_a_hook_that_is_shipped() {
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks");
    for preset in Kind::ALL.into_iter().filter_map(Kind::preset) {
        let name = Path::new(preset.hook).file_name().unwrap();
        assert!(hooks.join(name).is_file(), "{}", preset.hook);
    }
}

#[test]
fn kamailio_is_preset() {
    let service = service("kind = \"kamailio\"");
    assert_eq!((service.name.as_str(), service.kind), ("kamailio", Kind::Kamailio));
    assert_eq!(service.certificates, ["pbx"]);
    assert_eq!(service.user.as_deref(), Some("kamailio"));
    let hook = Some(vec!["/usr/lib/pbxcert/hooks/kamailio".to_owned()]);
    assert_eq!((&service.test, &service.reload, &service.recover), (&None, &hook, &hook));
    let Install::Folder { dir, files } = &service.install["pbx"] else { panic!() };
    assert_eq!(dir, Path::new("/etc/kamailio/pbxcert"));
    let key = files.iter().find(|t| t.content == Content::Privkey).unwrap();
    assert_eq!((key.path.as_path(), key.mode), (Path::new("privkey.pem"), 0o640));
    assert_eq!((key.owner.as_deref(), key.group.as_deref()), (Some("root"), Some("kamailio")));
    let endpoint = Endpoint {
        protocol: Protocol::Sips,
        host: "127.0.0.1".to_owned(),
        port: 5061,
        sni: Some("pbx.de".to_owned()),
        key: None,
        certificate: "pbx".to_owned(),
        timeout: Duration::from_secs(5),
        kind: Some(Kind::Kamailio),
        usual: true,
    };
    assert_eq!(service.endpoints, [endpoint]);
}

#[test]
fn a_reload_of_ones_own_takes_all_the_events_that_the_kind_has() {
    let own = Some(vec!["/opt/hook".to_owned(), "x".to_owned()]);
    let nginx = service("kind = \"nginx\"\nreload = [\"/opt/hook\", \"x\"]");
    assert_eq!((&nginx.test, &nginx.reload, &nginx.recover), (&own, &own, &own));
    assert_eq!(nginx.user, None);
    let kamailio = service("kind = \"kamailio\"\nreload = [\"/opt/hook\", \"x\"]\nuser = \"kam\"");
    assert_eq!((&kamailio.test, &kamailio.reload, &kamailio.recover), (&None, &own, &own));
    assert_eq!(kamailio.user.as_deref(), Some("kam"));
    let target = "target = [{ path = \"/a/b\", content = \"combined\" }]";
    let custom = service(&format!("kind = \"custom\"\n{target}\nreload = [\"/opt/hook\", \"x\"]"));
    assert_eq!((&custom.test, &custom.reload, &custom.recover), (&None, &own, &own));
    let silent = service(&format!("kind = \"custom\"\n{target}"));
    assert_eq!((&silent.test, &silent.reload, &silent.recover), (&None, &None, &None));
    assert!(silent.endpoints.is_empty());
}

#[test]
fn targets_are_files_or_a_folder() {
    let files =
        "target = [{ path = \"a.pem\", content = \"combined\", group = 33, owner = \"7\" }]";
    let folder =
        service(&format!("kind = \"custom\"\ntarget-dir = \"/a/{{certificate}}\"\n{files}"));
    let Install::Folder { dir, files: written } = &folder.install["pbx"] else { panic!() };
    assert_eq!(dir, Path::new("/a/pbx"));
    assert_eq!(written[0].mode, 0o640);
    assert_eq!((written[0].owner.as_deref(), written[0].group.as_deref()), (Some("7"), Some("33")));
    let preset = service(&format!("kind = \"nginx\"\n{files}"));
    assert_eq!(preset.install["pbx"].targets()[0].0, Path::new("/etc/nginx/pbxcert/a.pem"));
    let single = "target = [{ path = \"/x/{certificate}.pem\", content = \"fullchain\" }, \
                  { path = \"/x/{certificate}.key\", content = \"privkey\" }]";
    let Install::Files(written) = &service(&format!("kind = \"nginx\"\n{single}")).install["pbx"]
    else {
        panic!()
    };
    assert_eq!(written[0].path, Path::new("/x/pbx.pem"));
    assert_eq!((written[0].mode, written[1].mode), (0o644, 0o600));
}

#[test]
fn an_endpoint_expects_the_certificate_that_covers_the_name_it_sends() {
    let text = "[[certificate]]\nname = \"web\"\nnames = [\"192.0.2.1\", \"web.de\"]\n\
                [[service]]\nkind = \"nginx\"\ncertificate = [\"pbx\", \"web\"]\n\
                target-dir = \"/a/{certificate}\"\nendpoint = [\n\
                \"https://127.0.0.1\", \"https://web.de\", \"https://other.de\",\n\
                { url = \"tls://[::1]:1\", sni = \"web.de\" },\n\
                { url = \"tls://[::1]:2\", sni = \"none\" },\n\
                { url = \"tls://[::1]:3\", certificate = \"web\" },\n\
                { url = \"tls://[::1]:4\", certificate = \"web\", sni = \"pbx.de\" },\n]\n";
    let config = config(&format!("{SOUND}{text}"));
    let found: Vec<(&str, Option<&str>, &str)> = config.services[0]
        .endpoints
        .iter()
        .map(|e| (e.host.as_str(), e.sni.as_deref(), e.certificate.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("127.0.0.1", Some("pbx.de"), "pbx"),
            ("web.de", Some("web.de"), "web"),
            ("other.de", Some("other.de"), "pbx"),
            ("::1", Some("web.de"), "web"),
            ("::1", None, "pbx"),
            ("::1", Some("web.de"), "web"),
            ("::1", Some("pbx.de"), "web"),
        ]
    );
}

#[test]
fn a_preset_looks_at_each_of_its_certificates() {
    let text = "[[certificate]]\nname = \"web\"\nnames = [\"web.de\"]\n[[service]]\nkind = \"nginx\"\n\
                certificate = [\"pbx\", \"web\"]\ntarget-dir = \"/a/{certificate}\"\n";
    let config = config(&format!("{SOUND}{text}"));
    let names: Vec<_> = config.services[0].endpoints.iter().map(|e| e.sni.clone()).collect();
    assert_eq!(names, [Some("pbx.de".to_owned()), Some("web.de".to_owned())]);
}

#[test]
fn several_certificates_have_a_folder_each_and_a_pattern_is_several() {
    let two = "[[certificate]]\nname = \"tenant-b\"\nnames = [\"b.de\"]\n\
               [[certificate]]\nname = \"tenant-a\"\nnames = [\"a.de\"]\n[[service]]\n";
    let service = |lines: &str| config(&format!("{SOUND}{two}{lines}")).services.remove(0);
    let all = service("kind = \"kamailio\"\ncertificate = [\"tenant-*\", \"pbx\"]\n");
    assert_eq!(all.certificates, ["pbx", "tenant-b", "tenant-a"]);
    let paths: Vec<PathBuf> = all.install.values().map(|i| i.targets()[0].0.clone()).collect();
    let folders = ["pbx", "tenant-a", "tenant-b"];
    assert_eq!(
        paths,
        folders.map(|name| Path::new("/etc/kamailio/pbxcert").join(name).join("fullchain.pem"))
    );
    let names: Vec<_> = all.endpoints.iter().map(|e| e.sni.clone().unwrap()).collect();
    assert_eq!(names, ["pbx.de", "b.de", "a.de"]);
    // Another may come tomorrow, and nothing may move then.
    let one = service("kind = \"nginx\"\ncertificate = \"*-a\"\n");
    assert_eq!(one.certificates, ["tenant-a"]);
    let path = one.install["tenant-a"].targets()[0].0.clone();
    assert_eq!(path, Path::new("/etc/nginx/pbxcert/tenant-a/fullchain.pem"));
    let own = service(
        "kind = \"custom\"\ncertificate = [\"pbx\", \"tenant-a\"]\ntarget = [\n\
         { path = \"/a/first.pem\", content = \"combined\", certificate = \"pbx\" },\n\
         { path = \"/a/second.pem\", content = \"combined\", certificate = \"tenant-a\" },\n\
         { path = \"/a/{certificate}.crt\", content = \"cert\" },\n]\n",
    );
    let paths =
        |name: &str| own.install[name].targets().into_iter().map(|t| t.0).collect::<Vec<_>>();
    assert_eq!(paths("pbx"), ["/a/first.pem", "/a/pbx.crt"].map(PathBuf::from));
    assert_eq!(paths("tenant-a"), ["/a/second.pem", "/a/tenant-a.crt"].map(PathBuf::from));
}

#[test]
fn what_may_be_meant_is_a_warning() {
    assert_eq!(warnings(SOUND), Vec::<String>::new());
    let told = |from: &str, to: &str, word: &str| {
        let warnings = warnings(&SOUND.replace(from, to));
        assert_eq!(warnings.len(), 1, "{to}: {warnings:?}");
        assert!(warnings[0].contains(word), "{warnings:?}");
    };
    told("noc@pbx.de", "noc@example.com", ":4:12: the contact \"noc@example.com\" is an example");
    told("\"pbx.de\"", "\"pbx.example.org\"", "\"pbx.example.org\" is an example");
    told("\"pbx.de\"", "\"pbx.lan\"", "a public CA gives no certificate for \"pbx.lan\"");
    told("\"pbx.de\"", "\"10.1.2.3\"", "the address is private");
    told("\"letsencrypt\"", "\"zerossl\"", "zerossl makes new accounts only with eab");
    let private = SOUND.replace("\"pbx.de\"", "\"pbx.lan\"").replace(
        "directory = \"letsencrypt\"",
        "directory = \"https://ca.lan/dir\"\ntrust-anchor = \"/etc/ca.pem\"",
    );
    assert_eq!(warnings(&private), Vec::<String>::new());
    let nothing = warnings("");
    assert!(nothing[0].contains("there is nothing to do"), "{nothing:?}");
    let blind = warnings(&format!("{SOUND}[[service]]\nkind = \"nginx\"\nendpoint = []\n"));
    assert!(blind[0].contains("stay unproved"), "{blind:?}");
}

#[test]
fn the_hash_is_that_of_the_text() {
    assert_eq!(config(SOUND).hash, config(SOUND).hash);
    assert_ne!(config(SOUND).hash, config(&format!("{SOUND} ")).hash);
}

#[test]
fn an_endpoint_has_its_own_limit_and_asks_for_the_kind_of_key_that_is_expected() {
    let two = format!(
        "{SOUND}[[certificate]]\nname = \"ec\"\nnames = [\"pbx.de\"]\nkey = \"ecdsa-p256\"\n\
         [[service]]\nkind = \"nginx\"\ncertificate = [\"pbx\", \"ec\"]\n\
         target-dir = \"/a/{{certificate}}\"\n"
    );
    let asked = |endpoint: &str| -> Vec<(String, Option<KeyFamily>, Duration)> {
        let endpoints = config(&format!("{two}{endpoint}\n")).services.remove(0).endpoints;
        endpoints.into_iter().map(|e| (e.certificate, e.key, e.timeout)).collect()
    };
    let five = Duration::from_secs(5);
    // By itself, so that the server's taste does not decide which of the two is seen.
    assert_eq!(
        asked(""),
        [
            ("pbx".to_owned(), Some(KeyFamily::Rsa), five),
            ("ec".to_owned(), Some(KeyFamily::Ecdsa), five)
        ]
    );
    let written = "endpoint = { url = \"wss://127.0.0.1:8089\", key = \"ecdsa\", \
                   certificate = \"ec\", timeout = \"20 s\" }";
    assert_eq!(
        asked(written),
        [("ec".to_owned(), Some(KeyFamily::Ecdsa), Duration::from_secs(20))]
    );
    assert_eq!(service("kind = \"nginx\"").endpoints[0].key, None);
}
