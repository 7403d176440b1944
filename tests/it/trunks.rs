//! `[[trunk]]`: peers that are called with a certificate of ours, as `pbxcert verify` tells it.

use std::path::Path;

use serde_json::Value;

use crate::host::Host;
use crate::real::{Kamailio, Openssl, Pair, shared_folder};

/// Calls `url`, whose certificate must lead to `anchor`; the exit code and what is said of it.
async fn call(host: &Host, url: &str, anchor: Option<&Path>) -> (i32, Value) {
    let anchor = anchor.map(|path| format!("trust-anchor = {path:?}\n")).unwrap_or_default();
    let trunk = format!("[[trunk]]\nname = \"carrier\"\nurl = {url:?}\n{anchor}");
    host.configure(&format!("{}\n{trunk}", host.config()));
    let run = host.pbxcert(&["verify", "--json"]).await;
    let report = run.json();
    let line = report["endpoints"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(line["trunk"], "carrier", "{line:#}");
    (run.code.unwrap(), line)
}

#[tokio::test]
async fn a_peer_that_asks_for_a_certificate_takes_ours_or_says_why_not() {
    let host = Host::live().await;
    let pair = Pair::in_folder(host.dir.path());
    pair.write_self_signed("localhost");
    let root = host.dir.path().join("root.pem");
    let chain = std::fs::read_to_string(host.target_dir().join("fullchain.pem")).unwrap();
    let last = chain.rfind("-----BEGIN").unwrap();
    std::fs::write(&root, &chain[last..]).unwrap();
    let root = root.display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let ask = [version, "-Verify", "3", "-verify_return_error", "-partial_chain", "-CAfile"];
        // A server takes ours for what it is: for servers only, or good for clients, too.
        let any = [&ask[..], &[&root, "-purpose", "any"]].concat();
        let Some(openssl) = Openssl::start(&pair, &any) else { return };
        let url = format!("tls://localhost:{}", openssl.tls.port());
        let (code, line) = call(&host, &url, Some(&pair.fullchain)).await;
        assert_eq!((code, &line["verdict"]), (1, &"warning".into()), "{version} {line:#}");
        assert_eq!(line["asks-for-certificate"], true, "{version}");
        let text = line["text"].as_str().unwrap();
        assert!(text.contains("it asks for a certificate and takes ours"), "{text}");
        // What the next one like it will say.
        assert!(text.contains("A trunk that asks for a client certificate: "), "{text}");
        drop(openssl);

        let strict = [&ask[..], &[&root]].concat();
        let Some(openssl) = Openssl::start(&pair, &strict) else { return };
        let url = format!("tls://localhost:{}", openssl.tls.port());
        let (code, line) = call(&host, &url, Some(&pair.fullchain)).await;
        assert_eq!((code, &line["verdict"]), (2, &"critical".into()), "{version} {line:#}");
        let text = line["text"].as_str().unwrap();
        assert!(text.contains("(alert UnsupportedCertificate)"), "{text}");
        assert!(text.contains("it refuses our certificate: it is of the wrong kind"), "{text}");
        drop(openssl);

        // It knows nobody but itself.
        let own = pair.fullchain.display().to_string();
        let unknown = [&ask[..], &[&own]].concat();
        let Some(openssl) = Openssl::start(&pair, &unknown) else { return };
        let url = format!("tls://localhost:{}", openssl.tls.port());
        let (_, line) = call(&host, &url, Some(&pair.fullchain)).await;
        let text = line["text"].as_str().unwrap();
        assert!(text.contains("it does not know the CA that made it (alert UnknownCA)"), "{text}");
    }
}

#[tokio::test]
async fn a_peer_that_asks_for_nothing_is_judged_by_its_own_certificate() {
    let host = Host::live().await;
    let pair = Pair::in_folder(host.dir.path());
    pair.write_self_signed("localhost");
    let Some(openssl) = Openssl::start(&pair, &[]) else { return };
    let url = format!("tls://localhost:{}", openssl.tls.port());
    let (code, line) = call(&host, &url, Some(&pair.fullchain)).await;
    assert_eq!((code, &line["asks-for-certificate"]), (0, &false.into()), "{line:#}");
    assert!(line["text"].as_str().unwrap().contains("it asks for no certificate"), "{line:#}");
    assert!(line["days-left"].as_u64().unwrap() > 30, "{line:#}");
    // Nobody named roots: only the telephone system knows whether it looks.
    let (code, line) = call(&host, &url, None).await;
    assert_eq!(code, 1, "{line:#}");
    assert!(line["untrusted"].as_str().unwrap().contains("leads to no root"), "{line:#}");
    // A name that it is not for.
    let url = format!("tls://127.0.0.1:{}", openssl.tls.port());
    let (code, line) = call(&host, &url, Some(&pair.fullchain)).await;
    assert_eq!(code, 2, "{line:#}");
    assert_eq!(line["untrusted"], "it is for another name", "{line:#}");
    drop(openssl);
    let (code, line) = call(&host, &url, None).await;
    assert_eq!((code, &line["text"]), (2, &"nobody listens".into()));
    let run = host.pbxcert(&["verify"]).await;
    run.says("trunk carrier");
}

#[tokio::test]
async fn kamailio_that_wants_client_certificates_is_called_as_well() {
    let host = Host::live().await;
    let folder = shared_folder();
    let pair = Pair::in_folder(folder.path());
    pair.write_self_signed("localhost");
    let Some(mut kamailio) = Kamailio::start(&pair) else { return };
    let cfg = kamailio.folder().join("tls.cfg");
    let text = std::fs::read_to_string(&cfg).unwrap();
    let strict = format!(
        "verify_certificate = yes\nrequire_certificate = yes\nca_list = {}\n",
        pair.fullchain.display()
    );
    let text = text.replacen("verify_certificate = no\nrequire_certificate = no\n", &strict, 1);
    kamailio.stop();
    std::fs::write(&cfg, text).unwrap();
    kamailio.start_again();
    let url = format!("sips://localhost:{}", kamailio.sips().port());
    let (code, line) = call(&host, &url, Some(&pair.fullchain)).await;
    assert_eq!((code, &line["asks-for-certificate"]), (2, &true.into()), "{line:#}");
    let text = line["text"].as_str().unwrap();
    assert!(text.contains("it refuses our certificate: "), "{text}");
}
