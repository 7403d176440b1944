use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::cert::KeyType;
use crate::cert::bundle::PrivateKey;
use crate::cert::bundle::tests::Ca;

const SHORT: Duration = Duration::from_secs(3);

fn loopback_too(ip: IpAddr) -> bool {
    ip.is_loopback() || public::is_public(ip)
}

/// Answers every connection with these bytes, and tells what was asked.
async fn server(answer: Vec<u8>) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let n = stream.read(&mut head).await.unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&head[..n]).into_owned());
            let _ = stream.write_all(&answer).await;
        }
    });
    (address, asked)
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn intermediate() -> (String, CertificateDer<'static>) {
    let ca = Ca::root("root").intermediate("Shop CA");
    let der = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    (ca.pem().to_owned(), der)
}

async fn from_loopback(addresses: &[String]) -> Result<Vec<CertificateDer<'static>>, String> {
    fetch(addresses, SHORT, loopback_too).await.map_err(|e| e.to_string())
}

/// Made by OpenSSL from a certificate, as CAs publish it.
fn by_openssl(pem: &str, form: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    let made = std::process::Command::new("openssl")
        .args(["crl2pkcs7", "-nocrl", "-outform", form, "-certfile"])
        .arg(&file)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

#[tokio::test]
async fn der_pem_and_pkcs_7_are_taken() {
    let (pem, der) = intermediate();
    let (other, second) = intermediate();
    let both = by_openssl(&format!("{pem}{other}"), "DER");
    for (body, expected) in [
        (der.to_vec(), vec![der.clone()]),
        (pem.clone().into_bytes(), vec![der.clone()]),
        (both, vec![der.clone(), second]),
    ] {
        let (address, mut asked) = server(ok(&body)).await;
        let mut found = from_loopback(&[format!("http://{address}/ca.crt")]).await.unwrap();
        found.sort_by_key(|found| expected.iter().position(|e| e == found));
        assert_eq!(found, expected);
        assert!(asked.recv().await.unwrap().starts_with("GET /ca.crt HTTP/1.1\r\n"));
    }
}

#[tokio::test]
async fn a_name_is_judged_by_the_address_that_it_leads_to() {
    let (pem, _) = intermediate();
    let (address, mut asked) = server(ok(pem.as_bytes())).await;
    let port = address.port();
    for host in ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "[::1]", "0.0.0.0"]
    {
        let url = format!("http://{host}:{port}/ca.crt");
        let error = intermediates(std::slice::from_ref(&url), SHORT).await.unwrap_err().to_string();
        assert!(error.contains("it leads to an address that is not public"), "{url}: {error}");
    }
    assert!(asked.try_recv().is_err(), "nobody connected");
    // The very same is fetched where the address is allowed.
    for host in ["127.0.0.1", "localhost"] {
        from_loopback(&[format!("http://{host}:{port}/ca.crt")]).await.unwrap();
    }
}

#[tokio::test]
async fn neighbours_and_metadata_services_are_never_asked() {
    for host in ["10.0.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "[fd00::1]"] {
        let url = format!("http://{host}/latest/meta-data");
        let error = intermediates(&[url], SHORT).await.unwrap_err().to_string();
        assert!(error.contains("not public"), "{host}: {error}");
    }
}

#[tokio::test]
async fn what_is_no_plain_http_address_is_refused() {
    for (url, said) in [
        ("https://ca.example/ca.crt", "only plain http"),
        ("ldap://ca.example/cn=ca", "only plain http"),
        ("file:///etc/shadow", "only plain http"),
        ("http://user:secret@ca.example/", "holds a user or password"),
        ("nonsense", "is no address"),
        (&format!("http://ca.example/{}", "a".repeat(3000)), "too long"),
    ] {
        let error = intermediates(&[url.to_owned()], SHORT).await.unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("secret"), "{error}");
    }
    let error = intermediates(&[], SHORT).await.unwrap_err();
    assert_eq!(error.to_string(), "the certificate names no address of its issuer");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (pem, _) = intermediate();
    let (elsewhere, mut asked) = server(ok(pem.as_bytes())).await;
    let moved = format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\n\r\n");
    let (address, _first) = server(moved.into_bytes()).await;
    let error = from_loopback(&[format!("http://{address}/")]).await.unwrap_err();
    assert!(error.contains("redirects are not followed"), "{error}");
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn what_is_no_ca_certificate_or_too_much_is_refused() {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let leaf = Ca::root("root").issue(&["pbx.example"], &key);
    let many: String = (0..11).map(|_| intermediate().0).collect();
    for (body, said) in [
        (leaf.into_bytes(), "no certificate of a CA"),
        (b"<html>no</html>".to_vec(), "no certificate of a CA"),
        (vec![0x30, 0x82, 0xff, 0xff], "no certificate of a CA"),
        (vec![0x30; 60_000], "no certificate of a CA"),
        (Vec::new(), "no certificate of a CA"),
        (many.into_bytes(), "more than 10 certificates"),
        (vec![b'a'; MOST_BYTES + 1], "longer than 65536 bytes"),
    ] {
        let (address, _asked) = server(ok(&body)).await;
        let error = from_loopback(&[format!("http://{address}/")]).await.unwrap_err();
        assert!(error.contains(said), "{said}: {error}");
    }
    let (address, _asked) = server(b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec()).await;
    let error = from_loopback(&[format!("http://{address}/")]).await.unwrap_err();
    assert!(error.contains("it answered 404"), "{error}");
}

#[tokio::test]
async fn the_second_address_helps_and_a_fourth_is_not_asked() {
    let (pem, der) = intermediate();
    let (good, mut asked) = server(ok(pem.as_bytes())).await;
    let bad = "http://10.0.0.1/".to_owned();
    let good = format!("http://{good}/");
    let fetched = from_loopback(&[bad.clone(), good.clone()]).await.unwrap();
    assert_eq!(fetched, std::slice::from_ref(&der));
    asked.recv().await.unwrap();
    let late = [bad.clone(), bad.clone(), bad, good];
    assert!(from_loopback(&late).await.is_err());
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_no_more_than_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let limit = Duration::from_millis(200);
    let began = std::time::Instant::now();
    let addresses = [address.clone(), address.clone(), address];
    let error = fetch(&addresses, limit, loopback_too).await.unwrap_err().to_string();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(error.starts_with("no intermediate certificate could be fetched: "), "{error}");
}
