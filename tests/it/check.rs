//! The daily check as people, monitoring and other programs meet it: the verb, its JSON and schema,
//! the metrics file, the hooks, `status`, and the daemon that runs it by itself.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::host::{Host, LIMIT, Manner, Run, until};

/// Asserts that this is what the published schema says.
fn fits_the_schema(report: &Value) {
    let schema: Value =
        serde_json::from_str(include_str!("../../config/check.schema.json")).unwrap();
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource("check.schema.json", schema).unwrap();
    let mut schemas = boon::Schemas::new();
    let schema = compiler.compile("check.schema.json", &mut schemas).unwrap();
    if let Err(error) = schemas.validate(report, schema) {
        panic!("{error:#}\n{report:#}");
    }
}

fn code_of(verdict: &Value) -> i32 {
    match verdict.as_str().unwrap() {
        "ok" => 0,
        "warning" => 1,
        "critical" => 2,
        "unknown" => 3,
        other => panic!("{other}"),
    }
}

impl Host {
    /// The verb, on a machine of which nothing can be seen: what others do on the real one (it runs
    /// other tests beside this one) is not to change the verdict.
    async fn check(&self, arguments: &[&str]) -> Run {
        let root = self.dir.path().join("nothing").display().to_string();
        self.pbxcert_with(&[&["check"], arguments].concat(), &[("PBXCERT_ROOT", root)]).await
    }

    /// The configuration with these lines in `[check]`.
    fn check_with(&self, lines: &str) {
        self.configure(&format!("{}\n[check]\n{lines}\n", self.config()));
    }
}

#[tokio::test]
async fn the_verb_prints_one_verdict_that_its_schema_knows() {
    let host = Host::live().await;
    let run = host.check(&["--json"]).await;
    let report = run.json();
    fits_the_schema(&report);
    assert_eq!(run.code, Some(code_of(&report["verdict"])), "{report:#}");
    let items = report["items"].as_array().unwrap();
    assert!(items.len() > 10, "{report:#}");
    let topics: Vec<&str> = items.iter().map(|item| item["topic"].as_str().unwrap()).collect();
    for topic in ["dates", "key", "chain", "served", "files", "disk", "memory", "clock", "licence"]
    {
        assert!(topics.contains(&topic), "{topic}: {topics:?}");
    }

    // For a monitoring system: the first line, with numbers behind a bar.
    let run = host.check(&[]).await;
    let word = report["verdict"].as_str().unwrap().to_uppercase();
    let first = run.out.lines().next().unwrap();
    assert!(first.starts_with(&format!("{word}: ")), "{}", run.out);
    let (said, numbers) = first.split_once(" | ").unwrap();
    assert!(!said.is_empty() && numbers.starts_with('\''), "{first}");
    for number in numbers.split("' '") {
        assert!(number.contains("'=") || number.contains('='), "{number}");
    }
    assert_eq!(host.pbxcert(&["check", "--schema"]).await.expect(0).json()["type"], "object");
}

#[tokio::test]
async fn what_is_broken_comes_first_and_says_what_to_do() {
    let host = Host::live().await;
    host.service.behave(Manner::Foreign);
    let report = host.check(&["--json"]).await.expect(2).json();
    fits_the_schema(&report);
    let worst = &report["items"][0];
    assert_eq!((&worst["topic"], &worst["verdict"]), (&"served".into(), &"critical".into()));
    assert!(report["summary"].as_str().unwrap().contains("served"), "{report:#}");
    let since = worst["since"].clone();

    // The same the next time, since the same time; over when it is over.
    let report = host.check(&["--json"]).await.expect(2).json();
    assert_eq!(report["items"][0]["since"], since);
    host.service.behave(Manner::Serves);
    let report = host.check(&["--json"]).await.json();
    let served = report["items"].as_array().unwrap().iter().find(|i| i["topic"] == "served");
    assert_eq!(served.unwrap()["verdict"], "ok", "{report:#}");
}

#[tokio::test]
async fn what_is_ignored_is_shown_and_does_not_count() {
    let host = Host::live().await;
    host.service.behave(Manner::Foreign);
    let ignore = "[[ignore]]\nobject = \"sip\"\ncondition = \"served\"\nreason = \"a lab\"\n";
    host.configure(&format!("{}\n{ignore}", host.config()));
    let report = host.check(&["--json"]).await.json();
    fits_the_schema(&report);
    let items = report["items"].as_array().unwrap();
    let served = items.iter().find(|item| item["topic"] == "served").unwrap();
    assert_eq!(served["verdict"], "critical");
    assert_eq!(served["silenced"], "ignored: a lab");
    assert!(!report["summary"].as_str().unwrap().contains("served"), "{report:#}");
}

#[tokio::test]
async fn a_metrics_file_and_a_hook_get_the_same_as_the_verb() {
    let host = Host::live().await;
    let (metrics, told) = (host.dir.path().join("pbxcert.prom"), host.dir.path().join("told"));
    let hook = format!("[\"/bin/sh\", \"-c\", \"env > {}\"]", told.display());
    host.check_with(&format!("metrics-file = {metrics:?}\non-check = {hook}"));
    let report = host.check(&["--json"]).await.json();
    let text = std::fs::read_to_string(&metrics).unwrap();
    let verdict =
        format!("pbxcert_check_verdict{{site=\"test\"}} {}\n", code_of(&report["verdict"]));
    assert!(text.contains(&verdict), "{text}");
    assert!(text.contains("pbxcert_item_verdict{topic=\"dates\",object=\"pbx\""), "{text}");
    let told = std::fs::read_to_string(told).unwrap();
    let value = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(&format!("PBXCERT_{name}=")));
        line.unwrap_or_else(|| panic!("{name}: {told}")).to_owned()
    };
    assert_eq!(value("EVENT"), "check");
    assert_eq!(value("VERDICT"), report["verdict"]);
    assert_eq!(value("SUMMARY"), report["summary"]);
    let json: Value = serde_json::from_str(&value("JSON")).unwrap();
    assert_eq!(json, report);
    fits_the_schema(&json);
}

#[tokio::test]
async fn status_tells_the_last_verdict_and_history_when_it_changes() {
    let host = Host::live().await;
    let before = host.status().await;
    assert_eq!(before["check"]["at"], Value::Null);
    assert_eq!(before["check"]["verdict"], "unknown", "what was not looked at is not in order");
    let report = host.check(&["--json"]).await.json();
    let status = host.status().await;
    assert_eq!(status["check"]["verdict"], report["verdict"]);
    assert_eq!(status["check"]["at"], report["at"]);
    assert!(status["check"]["next-at"].as_str() > report["at"].as_str());
    host.pbxcert(&["status"]).await.expect(0).says("daily check").says("the next one in");
    assert_eq!(host.happened("checked"), 1);
    host.check(&[]).await;
    assert_eq!(host.happened("checked"), 1, "the same again is no news");
}

#[tokio::test]
async fn the_daemon_tells_people_of_what_the_verb_found_also_after_a_restart() {
    let host = Host::live().await;
    let told = host.dir.path().join("told");
    let hook = format!(
        "[[alerts.command]]\nrun = [\"/bin/sh\", \"-c\", {:?}]\n",
        format!("echo $PBXCERT_RECOVERED $PBXCERT_OBJECT/$PBXCERT_CONDITION >> {}", told.display())
    );
    host.configure(&format!("{}\n{hook}", host.config()));
    let heard = || std::fs::read_to_string(&told).unwrap_or_default();
    let daemon = host.start_daemon();
    host.service.behave(Manner::Foreign);
    host.check(&[]).await.expect(2);
    until("it is told", LIMIT, async || heard().contains("no sip/served").then_some(())).await;
    drop(daemon);

    let _daemon = host.start_daemon();
    host.service.behave(Manner::Serves);
    host.check(&[]).await;
    until("it is over", LIMIT, async || heard().contains("yes sip/served").then_some(())).await;
    assert_eq!(heard().matches("sip/served").count(), 2, "{}", heard());
}

#[tokio::test]
async fn a_bundle_for_support_holds_what_helps_and_nothing_that_is_secret() {
    let host = Host::live().await;
    let config = format!(
        "{}\n# call Alice, 0171 555\n[[alerts.webhook]]\nurl = \"http://127.0.0.1:9/T000/secret\"\n",
        host.config()
    );
    host.configure(&config);
    host.check(&[]).await;
    let out = host.dir.path().join("bundle.json");
    host.pbxcert(&["report", "--out", out.to_str().unwrap()])
        .await
        .expect(0)
        .says("read it before");
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&out).unwrap();
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bundle["status"]["certificates"][0]["name"], "pbx");
    assert!(!bundle["history"].as_array().unwrap().is_empty());
    fits_the_schema(&bundle["check"]);
    for gone in ["noc@voip.test", "T000", "0171", "Alice", "PRIVATE KEY", "BEGIN"] {
        assert!(!text.contains(gone), "{gone}");
    }
}

#[tokio::test]
async fn a_whole_run_tells_nobody_a_key_a_password_or_who_somebody_is() {
    let host = Host::new().await;
    let root = host.dir.path().join("root");
    let marks = [
        ("etc/machine-id", "4c0ffee0c0ffee0c0ffee0c0ffee0c01\n"),
        ("sys/class/dmi/id/product_uuid", "deadbeef-1234-5678-9abc-def012345678\n"),
        ("sys/class/net/eth0/address", "02:42:ac:11:00:07\n"),
        ("proc/net/tcp", "  sl  local_address rem_address   st\n"),
    ];
    for (file, text) in marks {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::create_dir_all(root.join("sys/class/net/eth0/device")).unwrap();
    let root = [("PBXCERT_ROOT", root.display().to_string())];
    let (told, secret) = (host.dir.path().join("told"), host.dir.path().join("mail-password"));
    std::fs::write(&secret, "hunter2-of-the-mail-server\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let hook = format!("[\"/bin/sh\", \"-c\", \"env >> {}\"]", told.display());
    host.configure(&format!(
        "{}\n[check]\non-check = {hook}\n\
         [alerts]\ncommand = {{ run = {hook} }}\n\
         email = {{ to = [\"night@hotel.test\"], from = \"pbx@hotel.test\", server = \"127.0.0.1\", \
         port = 9, tls = \"none\", user = \"pbx\", password-file = {secret:?} }}\n",
        host.config()
    ));
    let mut said = String::new();
    for verb in [
        &["renew"][..],
        &["check"],
        &["check", "--json"],
        &["status", "--json"],
        &["identity", "show"],
        &["history", "--json"],
        &["alert", "list", "--json"],
        &["report"],
    ] {
        let run = host.pbxcert_with(verb, &root).await;
        said.push_str(&run.out);
        said.push_str(&run.err);
    }
    let daemon = host.start_daemon();
    host.until_live(1).await;
    drop(daemon);
    said.push_str(&host.log());
    said.push_str(&std::fs::read_to_string(&told).unwrap());
    assert!(said.contains("PBXCERT_VERDICT="), "the hook ran");

    let key = std::fs::read_to_string(host.target_dir().join("privkey.pem")).unwrap();
    let line = key.lines().nth(1).unwrap();
    let people = ["night@hotel.test", "noc@voip.test"];
    // What of this host is remembered on its disk is hashed, too.
    let identity = host.state_dir().join("node/identity.json");
    let remembered = std::fs::read_to_string(identity).unwrap();
    for secret in ["PRIVATE KEY", line, "hunter2"] {
        assert!(!said.contains(secret), "{secret}");
    }
    for (_, mark) in &marks[..3] {
        let mark = mark.trim();
        assert!(!said.contains(mark) && !remembered.contains(mark), "{mark}");
    }
    let report = host.pbxcert_with(&["report"], &root).await.expect(0).out;
    for address in people {
        assert!(!report.contains(address), "{address}");
    }
}
