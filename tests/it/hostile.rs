//! Endpoints, hooks and targets that misbehave: a sentence each, and what was live stays.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::host::{Host, Manner, until};

/// `verify` says this of the endpoint, with this exit code.
async fn sees(host: &Host, code: i32, words: &str) {
    host.pbxcert(&["verify"]).await.expect(code).says(words);
}

/// A host with revision 1 live and with this service table from now on.
async fn with_service(change: impl FnOnce(&Host) -> String) -> Host {
    let host = Host::live().await;
    let service = change(&host);
    host.configure(&format!("{}{service}", host.head()));
    host
}

/// What `validate` and every other verb say of a configuration that cannot work.
async fn refused(host: &Host, words: &str) {
    host.pbxcert(&["validate"]).await.expect(78).says(words);
    host.pbxcert(&["renew", "--force"]).await.expect(78).says(words);
}

#[tokio::test]
async fn verify_says_what_a_strange_endpoint_does() {
    let host = Host::live().await;
    sees(&host, 0, "OK: all 1 endpoints serve what they should").await;
    host.service.behave(Manner::Silent);
    sees(&host, 2, "no TLS handshake").await;
    host.service.behave(Manner::Resets);
    sees(&host, 2, "no TLS handshake").await;
    host.service.behave(Manner::Plain);
    sees(&host, 2, "no TLS handshake").await;
    host.service.behave(Manner::Foreign);
    sees(&host, 2, "not ours, wanted is").await;
    let closed = crate::real::free_port();
    let endpoint = format!("127.0.0.1:{}", host.service.port);
    host.configure(&host.config().replace(&endpoint, &format!("127.0.0.1:{closed}")));
    sees(&host, 2, "nobody listens").await;
}

#[tokio::test]
async fn an_endpoint_that_breaks_with_the_reload_gets_its_old_certificate_back() {
    for manner in [Manner::Silent, Manner::Resets, Manner::Plain, Manner::Foreign] {
        let host = Host::live().await;
        let live = host.pair().unwrap().leaf().fingerprint;
        host.service.behave_after_reload(Some(manner));
        let renewal = host.command(&["renew", "--force"], &[]).output();
        let recover = async {
            // Broken by the first reload; honest again from the second, which is the recovery.
            until("it is broken", crate::host::LIMIT, async || {
                (host.service.reloads() == 2).then_some(())
            })
            .await;
            host.service.behave_after_reload(Some(Manner::Serves));
        };
        let (renewal, ()) = tokio::join!(renewal, recover);
        let renewal = renewal.unwrap();
        let words = String::from_utf8(renewal.stderr).unwrap();
        assert_eq!(renewal.status.code(), Some(1), "{manner:?}: {words}");
        assert!(words.contains("rolling back"), "{manner:?}: {words}");
        assert_eq!(host.pair().unwrap().leaf().fingerprint, live, "{manner:?}");
        sees(&host, 0, "OK").await;
        assert_eq!(host.happened("rolled-back"), 1, "{manner:?}: {:?}", host.history());
    }
}

#[tokio::test]
async fn an_endpoint_that_was_dead_before_is_not_judged() {
    for manner in [Manner::Silent, Manner::Resets, Manner::Plain] {
        let host = Host::live().await;
        host.service.behave(manner);
        let run = host.pbxcert(&["renew", "--force"]).await;
        run.says("before: ");
        assert_eq!(host.happened("rolled-back"), 0, "{manner:?}: {:?}", host.history());
        let state = host.status().await["certificates"][0]["state"].clone();
        assert_eq!(state, "installed", "{manner:?}");
    }
}

#[tokio::test]
async fn a_missing_hook_is_refused() {
    let host = with_service(|h| h.service_table("[\"/no/such/hook\"]", "")).await;
    refused(&host, "the hook /no/such/hook: it does not exist").await;
    assert_eq!(host.orders(), 1);
}

#[tokio::test]
async fn a_hook_that_anybody_can_write_is_refused() {
    let host = Host::live().await;
    let hook = host.dir.path().join("hook");
    std::fs::write(&hook, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o777)).unwrap();
    let argv = format!("[{hook:?}]");
    host.configure(&format!("{}{}", host.head(), host.service_table(&argv, "")));
    refused(&host, "can write").await;
    assert_eq!(host.orders(), 1);
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed_and_told() {
    let host =
        with_service(|h| h.service_table(&h.hook("sleep 100;"), "hook-timeout = \"1s\"")).await;
    let run = host.pbxcert(&["renew", "--force"]).await.expect(1);
    run.says("was still running after 1 s and was killed");
    // It serves what it had, so nothing was broken, and nothing is put back.
    sees(&host, 0, "OK").await;
    let status = host.status().await;
    assert_eq!(status["services"][0]["step"], "not-taken", "{status}");
    assert_ne!(status["certificates"][0]["state"], "live", "{status}");
    assert_eq!(host.happened("rolled-back"), 0);
    assert_eq!(host.happened("not-taken"), 1);
}

#[tokio::test]
async fn a_hook_that_talks_without_end_is_heard_and_cut() {
    let flood = "head -c 10485760 /dev/zero | tr '\\\\0' x;";
    let host = with_service(|h| h.service_table(&h.hook(flood), "")).await;
    host.pbxcert(&["renew", "--force"]).await.expect(0);
    sees(&host, 0, "OK").await;
    let history = host.state_dir().join("node/history.jsonl");
    assert!(history.metadata().unwrap().len() < 128 * 1024, "not 10 MiB of it are kept");
}

#[tokio::test]
async fn what_a_hook_leaves_running_holds_nobody_up() {
    let host = with_service(|h| h.service_table(&h.hook("sleep 100 & echo forked;"), "")).await;
    let begun = std::time::Instant::now();
    host.pbxcert(&["renew", "--force"]).await.expect(0);
    assert!(begun.elapsed().as_secs() < 30);
    sees(&host, 0, "OK").await;
}

#[tokio::test]
async fn a_file_in_the_place_of_the_folder_is_refused() {
    let host = with_service(|h| h.service_table(&h.reload(), "")).await;
    let folder = host.target_dir();
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    refused(&host, "the target").await;
    assert_eq!(std::fs::read_to_string(&folder).unwrap(), "in the way");
    assert_eq!(host.orders(), 1);
}

#[tokio::test]
async fn a_folder_in_the_place_of_a_file_is_refused() {
    let host = Host::live().await;
    let folder = host.dir.path().join("tls/cert.pem");
    std::fs::create_dir(&folder).unwrap();
    let single = host.service_table(&host.reload(), "");
    let single = single
        .replace(&format!("target-dir = {:?}\n", host.target_dir()), "")
        .replace("\"fullchain.pem\"", &format!("{folder:?}"))
        .replace("\"privkey.pem\"", &format!("{:?}", folder.with_file_name("key.pem")));
    host.configure(&format!("{}{single}", host.head()));
    refused(&host, "the target").await;
    assert!(folder.is_dir());
}

#[tokio::test]
async fn a_circle_of_links_on_the_way_is_refused() {
    let host = Host::live().await;
    let (a, b) = (host.dir.path().join("a"), host.dir.path().join("b"));
    symlink(&a, &b).unwrap();
    symlink(&b, &a).unwrap();
    let service = host.service_table(&host.reload(), "");
    let service =
        service.replace(&format!("{:?}", host.target_dir()), &format!("{:?}", a.join("pbx")));
    host.configure(&format!("{}{service}", host.head()));
    refused(&host, "is out of reach").await;
}

#[tokio::test]
async fn an_owner_that_does_not_exist_is_refused() {
    let host = with_service(|h| {
        h.service_table(&h.reload(), "")
            .replace("mode = \"0600\"", "mode = \"0600\", owner = \"nobody-here\"")
    })
    .await;
    refused(&host, "the user \"nobody-here\": there is none on this machine").await;
    let host = with_service(|h| h.service_table(&h.reload(), "user = \"nobody-here\"")).await;
    refused(&host, "the user \"nobody-here\": there is none on this machine").await;
    sees(&host, 3, "nobody-here").await;
}
