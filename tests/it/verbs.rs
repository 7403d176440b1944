//! Exit codes and JSON of every verb, as scripts rely on them.

use crate::ca::{Endpoint, Fault};
use crate::host::{Host, Manner};

/// Verbs that report, with a certificate that is there.
const REPORTING: [&[&str]; 12] = [
    &["status"],
    &["plan"],
    &["plan", "pbx", "--days", "90"],
    &["renew", "--dry-run"],
    &["renew"],
    &["deploy"],
    &["approve", "pbx"],
    &["verify"],
    &["rollback", "pbx"],
    &["release", "pbx"],
    &["hold", "pbx"],
    &["history"],
];

#[tokio::test]
async fn every_verb_that_reports_has_json_with_a_schema() {
    let host = Host::live().await;
    // So that there is something to go back to.
    host.pbxcert(&["renew", "--force"]).await.expect(0);
    for verb in REPORTING {
        let run = host.pbxcert(&[verb, &["--json"]].concat()).await.expect(0);
        assert_eq!(run.json()["schema"], 1, "{run:?}");
        if verb[0] == "rollback" {
            // There is nothing more to go back to.
            continue;
        }
        // The same for people.
        let run = host.pbxcert(verb).await;
        assert!(!run.out.is_empty() && !run.out.starts_with('{'), "{run:?}");
    }
}

#[tokio::test]
async fn json_tells_what_is_live() {
    let host = Host::live().await;
    let leaf = host.pair().unwrap().leaf().clone();
    let status = host.status().await;
    assert_eq!(status["certificates"][0]["fingerprint"], leaf.fingerprint.to_string());
    assert_eq!(status["services"][0]["step"], "proved");
    let verified = host.pbxcert(&["verify", "--json"]).await.expect(0).json();
    assert_eq!(verified["verdict"], "ok");
    let endpoint = &verified["endpoints"][0];
    assert_eq!(endpoint["revision"], 1);
    assert_eq!(endpoint["fingerprint"], leaf.fingerprint.to_string());
    assert_eq!(endpoint["chain"]["as-installed"], true, "{endpoint:#}");
    assert_eq!(endpoint["key"], leaf.key.unwrap().word());
    assert!(endpoint["days-left"].is_u64() && endpoint["protocol"].is_string(), "{endpoint:#}");
    let history = host.pbxcert(&["history", "--json"]).await.expect(0).json();
    let what: Vec<&str> =
        history["events"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["ordered", "issued", "installed", "reloaded", "proved"]);
    let one = host.pbxcert(&["history", "--lines", "1", "--json"]).await.expect(0).json();
    assert_eq!(one["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_command_line_that_cannot_be_understood_is_64() {
    let host = Host::new().await;
    host.pbxcert(&["no-such-verb"]).await.expect(64);
    host.pbxcert(&[]).await.expect(64);
    host.pbxcert(&["status", "--no-such-option"]).await.expect(64);
    host.pbxcert(&["renew", "door"]).await.expect(64).says("no certificate \"door\"");
    host.pbxcert(&["plan", "door"]).await.expect(64).says("there is [\"pbx\"]");
    host.pbxcert(&["deploy", "mail"]).await.expect(64).says("no service \"mail\"");
    host.pbxcert(&["rollback", "door"]).await.expect(64);
    host.pbxcert(&["release", "door"]).await.expect(64);
    host.pbxcert(&["hold", "door"]).await.expect(64);
    host.pbxcert(&["approve", "door"]).await.expect(64);
    let run = host.pbxcert(&["renew", "--over-budget", "door"]).await.expect(64);
    run.says("does not repeat the certificate's name");
    host.pbxcert(&["--help"]).await.expect(0).says("Usage:");
    host.pbxcert(&["--version"]).await.expect(0).says("pbxcert ");
}

#[tokio::test]
async fn a_configuration_that_is_at_fault_is_78_and_unknown_for_verify() {
    let host = Host::live().await;
    host.pbxcert(&["validate"]).await.expect(0).says("is sound: 1 certificates, 1 services");
    host.configure(&format!("no-such-key = 1\n{}", host.config()));
    for verb in REPORTING.into_iter().chain([&["validate"][..]]) {
        // A monitoring system knows 0 to 3 only.
        let code = if verb[0] == "verify" { 3 } else { 78 };
        host.pbxcert(verb).await.expect(code).says("no-such-key");
    }
    std::fs::remove_file(host.config_file()).unwrap();
    host.pbxcert(&["validate"]).await.expect(78).says("pbxcert.toml");
}

#[tokio::test]
async fn a_ca_that_fails_is_1_and_nothing_to_go_back_to_too() {
    let host = Host::live().await;
    host.pbxcert(&["rollback", "pbx"]).await.expect(1).says("no revision of pbx before 1");
    for _ in 0..5 {
        host.ca.fail(Endpoint::NewOrder, Fault::problem(403, "unauthorized", "not for you"));
    }
    let run = host.pbxcert(&["renew", "--force"]).await.expect(1);
    run.says("pbx: failed: ").says("not for you");
    host.pbxcert(&["verify"]).await.expect(0);
}

#[tokio::test]
async fn rollback_goes_back_and_holds_and_release_frees() {
    let host = Host::live().await;
    let first = host.pair().unwrap().leaf().fingerprint;
    host.pbxcert(&["renew", "--force"]).await.expect(0);
    let second = host.pair().unwrap().leaf().fingerprint;
    host.pbxcert(&["rollback", "pbx"]).await.expect(0);
    assert_eq!(host.pair().unwrap().leaf().fingerprint, first);
    host.pbxcert(&["status"]).await.expect(0).says("held by ");
    // Held: not even by hand does the refused one come back.
    host.pbxcert(&["renew"]).await;
    assert_eq!(host.pair().unwrap().leaf().fingerprint, first);
    host.pbxcert(&["release", "pbx"]).await.expect(0);
    host.pbxcert(&["deploy"]).await.expect(0);
    assert_eq!(host.pair().unwrap().leaf().fingerprint, second);
}

#[tokio::test]
async fn verify_speaks_as_a_monitoring_plugin() {
    let host = Host::live().await;
    let run = host.pbxcert(&["verify"]).await.expect(0);
    assert!(run.out.starts_with("OK: "), "the first line is the summary: {}", run.out);
    host.service.behave(Manner::Foreign);
    let run = host.pbxcert(&["verify"]).await.expect(2);
    assert!(run.out.starts_with("CRITICAL: "), "{}", run.out);
    let config = host.config();
    let without: Vec<&str> = config.lines().filter(|l| !l.starts_with("endpoint")).collect();
    host.configure(&without.join("\n"));
    let run = host.pbxcert(&["verify"]).await.expect(3);
    assert!(run.out.starts_with("UNKNOWN: no endpoint is configured"), "{}", run.out);
}

#[tokio::test]
async fn what_phones_stumble_over_is_shown_wherever_somebody_looks() {
    let host = Host::new().await;
    let clients = "clients = [\"freeswitch-1.10\", \"sip-proxy\"]\nsip-domain = \"voip.test\"";
    host.configure(&format!("{}\n{}", host.head(), host.service_table(&host.reload(), clients)));
    let words = "FreeSWITCH 1.10.7 and older as a peer: takes RSA keys only, and this is ECDSA";
    let domain = "looks for the SIP domain voip.test";
    let run = host.pbxcert(&["renew", "--dry-run"]).await.expect(0);
    run.says(&format!("pbx in sip: {words}")).says(domain);
    let run = host.pbxcert(&["renew", "--dry-run", "--json"]).await.expect(0).json();
    assert_eq!(run["remarks"][0]["service"], "sip", "{run:#}");
    host.pbxcert(&["renew"]).await.expect(0).says(&format!("sip: pbx: {words}"));
    assert_eq!(host.happened("remark"), 2);
    let run = host.pbxcert(&["verify"]).await.expect(1).says(words).says(domain);
    assert!(run.out.starts_with("WARNING: 0 of 1 endpoints fine"), "{}", run.out);
    let json = host.pbxcert(&["verify", "--json"]).await.expect(1).json();
    assert_eq!(json["endpoints"][0]["lint"].as_array().unwrap().len(), 2, "{json:#}");
    assert!(json["endpoints"][0]["lint"][0]["text"].as_str().unwrap().contains("RSA keys only"));
    host.pbxcert(&["deploy"]).await.expect(0);
    assert_eq!(host.happened("remark"), 2, "once for each revision");
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    let host = Host::new().await;
    for shell in ["bash", "zsh", "fish"] {
        let run = host.pbxcert(&["completions", shell]).await.expect(0);
        assert!(run.out.contains("rollback") && run.out.contains("pbxcert"), "{shell}");
        assert!(run.err.is_empty(), "{shell}");
    }
    host.pbxcert(&["completions", "no-such-shell"]).await.expect(64);
}
