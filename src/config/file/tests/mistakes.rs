//! What is wrong is said once, in its place, with the next step.

use super::*;

#[test]
fn ten_different_mistakes_are_ten_messages_in_their_places() {
    let text = r#"site = "0142 Hotel Post
mode = "obsrve"
stat-dir = "/var/lib/pbxcert"

[acme]
directory = "letsencrypt"
contact = "noc@pbx.de"
agree-to-terms = "yes"

[[certificate]]
name = "pbx"
names = ["pbx.de", "sip..pbx.de"]

[[certificate]]
name = "web"
key = "rsa-2048"

[[certificate]]
name = "pbx"
names = ["other.pbx.de"]
issuer = "privat"

[[service]]
kind = "nginx"
certificate = "wbe"
proof-timeout = "30 sausages"
"#;
    assert_eq!(
        problems(text),
        [
            "pbxcert.toml:1:24: not TOML: invalid basic string, expected `\"`",
            "pbxcert.toml:2:8: unknown mode \"obsrve\"; did you mean \"observe\"?",
            "pbxcert.toml:3:1: unknown key \"stat-dir\" in the top of the file; did you mean \
             \"state-dir\"?",
            "pbxcert.toml:8:18: \"agree-to-terms\" must be true or false, not a string",
            "pbxcert.toml:12:20: \"sip..pbx.de\" is no DNS name or IP address: labels hold \
             letters, digits and inner hyphens, 1 to 63 of them",
            "pbxcert.toml:14:1: [[certificate]] lacks the key \"names\": write what it is for, \
             such as names = [\"pbx.example.com\"]",
            "pbxcert.toml:19:8: two of the certificates are named \"pbx\": here and at \
             pbxcert.toml:11:8; give one another name",
            "pbxcert.toml:21:10: there is no issuer named \"privat\"; there is \"acme\"",
            "pbxcert.toml:25:15: there is no certificate named \"wbe\"; did you mean \"web\"?",
            "pbxcert.toml:26:17: \"proof-timeout\" is \"30 sausages\", which is not a duration in \
             words, such as \"1 s\" or \"1 h\"",
        ]
    );
}

/// Each text follows [`SOUND`]; its one problem must hold each of the words.
fn told(after: &str, words: &[&str]) {
    let text = format!("{SOUND}{after}");
    let problem = problem(&text);
    for word in words {
        assert!(problem.contains(word), "{after}\n{problem}\nlacks {word:?}");
    }
}

#[test]
fn a_key_that_belongs_elsewhere_is_sent_home() {
    told(
        "mode = \"on\"",
        &[":9:1: ", "unknown key \"mode\" in [[certificate]]", "the top of the file"],
    );
    told("reload = [\"/bin/true\"]", &["unknown key \"reload\"", "it belongs to [[service]]"]);
    told("deploy-window = \"sun\"", &["unknown key \"deploy-window\"", "to [[service]]"]);
}

#[test]
fn a_misspelt_key_is_not_also_missing() {
    let told = problem(&SOUND.replace("names = ", "nmaes = "));
    assert!(told.contains("did you mean \"names\"?"), "{told}");
}

#[test]
fn what_later_versions_know_is_refused_until_it_is_built() {
    let dns = problems(&format!("{SOUND}[challenge.dns]\ndns-01 = {{ hook = \"/x\" }}"));
    assert!(dns[0].contains("lacks the key \"http-01\""), "{dns:?}");
    assert!(dns[1].contains("unknown key \"dns-01\" in [challenge.NAME]"), "{dns:?}");
}

#[test]
fn names_that_are_no_names_are_refused_each_in_its_place() {
    let text =
        SOUND.replace("\"sip.pbx.de\"", "\"a_b.de\", \"*.pbx.de\", \"PBX.de.\", \"10.0.0.300\"");
    let problems = problems(&text);
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(problems[0].contains(":8:20: ") && problems[0].contains("a_b.de"));
    assert!(problems[1].contains(":8:30: ") && problems[1].contains("dns-01"));
    assert!(problems[2].contains("\"PBX.de.\" stands twice"));
    assert!(problems[3].contains("looks like an IP address"));
}

#[test]
fn more_than_a_hundred_names_are_too_many() {
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|i| format!("\"n{i}.pbx.de\"")).collect();
        SOUND.replace("\"pbx.de\", \"sip.pbx.de\"", &names.join(", "))
    };
    assert_eq!(config(&names(100)).certificates[0].identifiers.len(), 100);
    assert!(problem(&names(101)).contains("101 names are too many"));
}

#[test]
fn names_of_ours_are_fit_for_a_folder() {
    for bad in [".hidden", "-rf", "a/b", "a b", "ü", &"x".repeat(65)] {
        let problem = problem(&SOUND.replace("name = \"pbx\"", &format!("name = {bad:?}")));
        assert!(problem.contains(":7:8: ") && problem.contains("cannot be used"), "{problem}");
    }
    config(&SOUND.replace("name = \"pbx\"", &format!("name = {:?}", "x".repeat(64))));
    told("[challenge.\"a/b\"]\nhttp-01 = \"auto\"", &["the name \"a/b\" cannot be used"]);
}

#[test]
fn certificates_with_wrong_values_are_told() {
    told("key = \"rsa-1024\"", &[":9:7: ", "unknown key \"rsa-1024\"; did you mean \"rsa-"]);
    told("key = 2048", &["\"key\" must be a string in quotes, not a whole number"]);
    told("challenge = \"htp\"", &["no challenge named \"htp\"", "did you mean \"http\""]);
    told("challenge = [\"http\", \"http\"]", &["stands twice"]);
    told("challenge = []", &["empty list"]);
    told("issuer = [\"acme\", \"second\"]", &["\"second\" is not built yet"]);
    told("source = \"manul\"", &["unknown source \"manul\"; did you mean \"manual\"?"]);
    told("watch = \"pol\"", &["unknown watch \"pol\"", "poll"]);
    told("drop-dir = \"drop\"", &["\"drop-dir\""]);
    told("fetch-intermediates = \"yes\"", &["true or false"]);
    told("min-age = \"31 days\"", &["between 0 s and 30 days"]);
    told("min-age = 3600", &["\"min-age\" must be a duration in words", "whole number"]);
    told("min-age = \"1 month\"", &["which is not a duration"]);
    told("names = [\"x.de\"]", &[":9:1: ", "\"names\" stands twice"]);
}

#[test]
fn an_issuer_says_which_ca_and_agrees() {
    let with = |line: &str| SOUND.replace("agree-to-terms = true", line);
    assert!(problem(&with("")).contains(":2:1: [acme] lacks the key \"agree-to-terms\""));
    assert!(problem(&with("agree-to-terms = false")).contains("no CA makes an account"));
    let directory = |value: &str| problem(&SOUND.replace("\"letsencrypt\"", value));
    assert!(directory("\"letsencript\"").contains("did you mean \"letsencrypt\"?"));
    assert!(directory("\"http://ca.lan/dir\"").contains("must begin with https://"));
    assert!(directory("\"https://me:secret@ca.lan/\"").contains("no user and no password"));
    assert!(!directory("\"https://me:secret@ca.lan/\"").contains("secret"));
    assert!(directory("\"https://\"").contains("is no address"));
    let contact = |value: &str| problem(&SOUND.replace("noc@pbx.de", value));
    for bad in ["noc", "a@b@c.de", "tel:+49", "a b@pbx.de", "noc@localhost", "a@pbx.de?cc=b@pbx.de"]
    {
        assert!(contact(bad).contains("no e-mail address"), "{bad}");
    }
}

#[test]
fn a_secret_in_the_proxy_is_refused_and_not_repeated() {
    let with = |line: &str| {
        problem(&SOUND.replace("agree-to-terms = true", &format!("agree-to-terms = true\n{line}")))
    };
    let told = with("proxy = \"http://me:hunter2@proxy.lan:3128\"");
    assert!(told.contains("proxy-auth-file") && !told.contains("hunter2"), "{told}");
    assert!(!with("proxy = \"me:hunter2@proxy.lan\"").contains("hunter2"));
    assert!(with("proxy = \"ftp://proxy.lan\"").contains("http://proxy.lan:3128"));
    assert!(with("proxy-auth-file = \"/etc/auth\"").contains("without proxy"));
    assert!(with("proxy = \"http://proxy.lan/path\"").contains("only scheme, host and port"));
    assert!(with("eab = { key-id = \"k\" }").contains("eab lacks the key \"hmac-file\""));
    assert!(with("trust-anchor = \"ca.pem\"").contains("absolute path"));
    assert!(with("rehearsal = \"letsencrypt\"").contains("the CA itself"));
}

#[test]
fn a_certificate_without_any_ca_is_told() {
    let without = &SOUND[SOUND.find("[[").unwrap()..];
    assert!(problem(without).contains("no CA is named for this certificate: write a table [acme]"));
    let other = SOUND.replace("[acme]", "[issuer.mine]");
    assert!(problem(&other).contains("write issuer = \"mine\""));
}

#[test]
fn challenges_with_wrong_values_are_told() {
    let with = |value: &str| problem(&format!("{SOUND}[challenge.http]\nhttp-01 = {value}\n"));
    assert!(with("\"automatic\"").contains("unknown http-01 \"automatic\""));
    assert!(with("{ listen = [\"80\"] }").contains("no address with a port"));
    assert!(with("{ listen = [\"0.0.0.0:0\"] }").contains("needs a port"));
    assert!(with("{ listen = [] }").contains("empty list"));
    assert!(with("{ webroot = \"www\" }").contains("absolute path"));
    assert!(with("{ webroot = \"/a/../b\" }").contains("without \"..\""));
    assert!(
        with("{ webrot = \"/var/www\", listen = [\"[::]:80\"] }")
            .contains("did you mean \"webroot\"")
    );
    assert!(with("{ webroot = \"/var/www\", listen = [\"[::]:80\"] }").contains("not both"));
    assert!(with("{}").contains("lacks the key \"listen\": or webroot"));
    told("[challenge.http]", &["lacks the key \"http-01\""]);
}

#[test]
fn services_with_wrong_values_are_told() {
    let with = |lines: &str, word: &str| {
        let problem = problem(&format!("{SOUND}[[service]]\nkind = \"nginx\"\n{lines}\n"));
        assert!(problem.contains(word), "{lines}\n{problem}");
    };
    with("certificate = \"pbxx\"", "did you mean \"pbx\"");
    with("reload = \"/bin/true\"", "a list of the program and its arguments: no shell reads it");
    with("reload = []", "empty list");
    with("reload = [\"nginx\", \"-s\", \"reload\"]", "must be an absolute path");
    with("test = [1]", "a list of strings in quotes, not a whole number");
    with("proof-timeout = \"0 s\"", "between 1 s and 1 h");
    with("hook-timeout = \"2 h\"", "between 1 s and 1 h");
    with("endpoint = \"http://127.0.0.1\"", "known are sips://, tls://, https://, wss://");
    let url = "url = \"https://127.0.0.1\"";
    with(&format!("endpoint = {{ {url}, key = \"x25519\" }}"), "known are ");
    with(&format!("endpoint = {{ {url}, timeout = \"2 min\" }}"), "between 1 s and 60 s");
    with("endpoint = { url = \"https://127.0.0.1\", sni = \"10.0.0.1\" }", "neither a DNS name");
    with(
        "endpoint = { url = \"https://127.0.0.1\", certificate = \"x\" }",
        "no certificate of this",
    );
    with("endpoint = { sni = \"none\" }", "endpoint lacks the key \"url\"");
    with("endpoint = [\"https://127.0.0.1\", \"https://127.0.0.1:443\"]", "stands twice");
    with("endpoint = 443", "must be a string in quotes, not a whole number");
    with("target-dir = \"pbxcert\"", "absolute path");
    with("target-dir = \"/\"", "cannot be \"/\"");
    with("target-dir = \"/etc/{name}\"", "only {certificate} may stand in braces");
    with("target-dir = \"/srv/our certs\"", "hooks cannot tell paths apart that hold a space");
    with("target = []", "empty list");
    with("target = [\"/etc/x.pem\"]", "must be a table");
    told("[[service]]\nkind = \"avaya-aura\"", &["unknown kind \"avaya-aura\"", "\"custom\""]);
    told("[[service]]\ncertificate = \"pbx\"", &["lacks the key \"kind\""]);
    told("[[service]]\nkind = \"custom\"", &["lacks the key \"target\""]);
    told("[service]\nkind = \"nginx\"", &["write [[service]] with two brackets"]);
}

#[test]
fn targets_with_wrong_values_are_told() {
    let with = |target: &str, word: &str| {
        let text = format!("{SOUND}[[service]]\nkind = \"custom\"\ntarget = [{target}]\n");
        let problem = problem(&text);
        assert!(problem.contains(word), "{target}\n{problem}");
    };
    with("{ path = \"/a/b.pem\", content = \"fulchain\" }", "did you mean \"fullchain\"");
    with("{ path = \"/a/b.pem\", content = \"pkcs12\" }", "unknown content \"pkcs12\"");
    with("{ path = \"/a/b.pem\" }", "target lacks the key \"content\"");
    with("{ content = \"cert\" }", "target lacks the key \"path\"");
    with("{ path = \"b.pem\", content = \"cert\" }", "absolute path");
    with("{ path = \"/a/b/\", content = \"cert\" }", "is a folder");
    with("{ path = \"/a/../b\", content = \"cert\" }", "without \"..\"");
    with("{ path = \"/a/b\", content = \"cert\", mode = 0o640 }", "a string in quotes");
    with("{ path = \"/a/b\", content = \"cert\", mode = \"rw\" }", "in octal");
    with("{ path = \"/a/b\", content = \"cert\", mode = \"4755\" }", "only permissions");
    with("{ path = \"/a/b\", content = \"cert\", mode = \"0666\" }", "everybody could change");
    with("{ path = \"/a/b\", content = \"cert\", mode = \"0040\" }", "could not read it");
    for content in ["privkey", "combined", "fullchain-privkey"] {
        let target = format!("{{ path = \"/a/b\", content = \"{content}\", mode = \"0644\" }}");
        with(&target, "lets everybody at the private key");
    }
    let twice =
        "{ path = \"/a/b\", content = \"cert\" }, { path = \"/a/b\", content = \"privkey\" }";
    with(twice, "stands twice");
}

#[test]
fn several_certificates_need_places_of_their_own() {
    let two =
        format!("{SOUND}[[certificate]]\nname = \"web\"\nnames = [\"web.de\"]\n[[service]]\n");
    let both = "certificate = [\"pbx\", \"web\"]\n";
    let told = problem(&format!("{two}kind = \"nginx\"\n"));
    assert!(told.contains("say which it uses of \"pbx\" and \"web\""), "{told}");
    let told = problem(&format!("{two}kind = \"nginx\"\n{both}target-dir = \"/a/b\"\n"));
    assert!(told.contains("target-dir = \"/a/b/{certificate}\""), "{told}");
    let told = problem(&format!("{two}kind = \"nginx\"\ncertificate = \"tenant-*\"\n"));
    assert!(told.contains("no certificate fits \"tenant-*\"; there is \"pbx\" and"), "{told}");
    let target =
        "target = [{ path = \"/a/b.pem\", content = \"combined\", certificate = \"pxb\" }]";
    let told = problem(&format!("{two}kind = \"custom\"\n{both}{target}\n"));
    assert!(told.contains("no certificate of this service named \"pxb\"; did you mean"), "{told}");
    let target = target.replace("pxb", "pbx");
    let told = problem(&format!("{two}kind = \"custom\"\n{both}{target}\n"));
    assert!(told.contains("no target for the certificate \"web\""), "{told}");
    let twice = "target = [{ path = \"/a/pbx.pem\", content = \"combined\", certificate = \"pbx\" }, \
                 { path = \"/a/{certificate}.pem\", content = \"combined\" }]";
    let told = problem(&format!("{two}kind = \"custom\"\n{both}{twice}\n"));
    assert!(told.contains("\"/a/pbx.pem\" stands twice"), "{told}");
    let target = "target = [{ path = \"/a/b.pem\", content = \"combined\" }]";
    let told = problem(&format!("{two}kind = \"custom\"\n{both}{target}\n"));
    assert!(told.contains("put {certificate} into the path \"/a/b.pem\""), "{told}");
}

#[test]
fn a_misspelt_key_of_what_is_ignored_or_called_is_told() {
    told("[[ignore]]\nobjct = \"pbx\"\nreason = \"x\"\n", &["did you mean \"object\""]);
    told("[[trunk]]\nname = \"a\"\nulr = \"sips://a.de\"\n", &["did you mean \"url\""]);
}

#[test]
fn nobody_comes_after_itself_or_after_somebody_who_is_not_there() {
    let service = |name: &str, after: &str| {
        format!(
            "[[service]]\nkind = \"nginx\"\nname = \"{name}\"\ntarget-dir = \"/a/{name}\"\n\
             endpoint = []\nafter = {after}\n"
        )
    };
    let told = |services: &[String]| problems(&format!("{SOUND}{}", services.concat()));
    let one = told(&[service("a", "\"a\"")]);
    assert!(one[0].contains("\"a\" cannot come after itself"), "{one:?}");
    let one = told(&[service("sip", "[]").replace("after = []\n", ""), service("b", "\"spi\"")]);
    assert!(one[0].contains("no service named \"spi\"; did you mean \"sip\""), "{one:?}");
    let circle = [service("a", "\"c\""), service("b", "\"a\""), service("c", "[\"b\"]")];
    let one = told(&circle);
    assert_eq!(one.len(), 1, "{one:?}");
    assert!(one[0].contains("\"a\" waits for itself by way of \"b\""), "{one:?}");
}

#[test]
fn two_services_never_write_the_same_place() {
    let service = |name: &str, lines: &str| {
        format!("[[service]]\nkind = \"custom\"\nname = \"{name}\"\n{lines}\n")
    };
    let file = |path: &str| format!("target = [{{ path = \"{path}\", content = \"combined\" }}]");
    let folder = |dir: &str| format!("target-dir = \"{dir}\"\n{}", file("x.pem"));
    let both =
        |a: &str, b: &str| problems(&format!("{SOUND}{}{}", service("a", a), service("b", b)));
    for (a, b) in [
        (file("/a/b"), file("/a//b")),
        (file("/a/b/c"), folder("/a/b")),
        (folder("/a"), folder("/a/b")),
    ] {
        let told = both(&a, &b);
        assert_eq!(told.len(), 1, "{a} {b} {told:?}");
        assert!(told[0].contains("is also written by the service \"a\""), "{told:?}");
    }
    assert!(both(&file("/a/b"), &file("/a/c")).is_empty());
    assert!(both(&folder("/a/b"), &folder("/a/bc")).is_empty());
}

#[test]
fn a_service_never_replaces_what_is_ours() {
    for dir in ["/var/lib/pbxcert", "/var/lib/pbxcert/x", "/var/lib"] {
        told(
            &format!("[[service]]\nkind = \"nginx\"\ntarget-dir = \"{dir}\"\n"),
            &["would replace what belongs to pbxcert itself"],
        );
    }
}

#[test]
fn two_of_one_name_are_told_with_both_places() {
    let service = "[[service]]\nkind = \"nginx\"\ntarget-dir = \"/a/b\"\n";
    let again = "[[service]]\nkind = \"nginx\"\ntarget-dir = \"/a/c\"\n";
    told(&format!("{service}{again}"), &[":12:1: ", "\"nginx\"", "pbxcert.toml:9:1"]);
    let issuer = "[issuer.acme]\ndirectory = \"zerossl\"\nagree-to-terms = true\n";
    told(issuer, &["two of the issuers are named \"acme\"", "pbxcert.toml:2:1"]);
    told("[acme]\ndirectory = \"zerossl\"\n", &[":9:", "[acme] stands twice, first in line 2"]);
}

#[test]
fn a_mistake_in_the_defaults_is_told_once_and_there() {
    let text = "[defaults]\nkey = \"rsa-2\"\nreload = \"x\"\n";
    let more = "[[certificate]]\nname = \"web\"\nnames = [\"web.de\"]\n";
    let told = problems(&format!("{SOUND}{more}{text}"));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains(":13:7: ") && told[1].contains(":14:10: "), "{told:#?}");
    let unused = problem("[defaults]\nproof-timeout = 3\n");
    assert!(unused.contains(":2:17: "), "{unused}");
}

#[test]
fn what_a_syntax_mistake_hides_is_not_called_missing() {
    let lost = problem(&SOUND.replace("directory = \"letsencrypt\"", "directory = letsencrypt"));
    assert!(lost.contains(":3:13: not TOML"), "{lost}");
    let lost = problem(&SOUND.replace("[acme]", "[acme"));
    assert!(lost.contains(":2:6: not TOML"), "{lost}");
    let service = "[[service]]\nkind = \"nginx\"\ncertificate = \"pbx\"\n";
    let text = format!("{SOUND}{service}").replace("[[certificate]]", "[[certificate]");
    assert!(problem(&text).contains(":6:15: not TOML"));
}

#[test]
fn values_that_are_no_text_are_told() {
    told("[defaults]\nkey = \"\"", &["\"key\" is empty"]);
    told("[defaults]\nuser = \"a\\nb\"", &["control character"]);
    told("[issuer]\nx = 3", &["must be a table: [issuer.NAME]"]);
    assert!(problem("certificate = 3").contains("a list of tables: [[certificate]]"));
    assert!(problem("challenge = []").contains("tables by name: [challenge.NAME]"));
}
