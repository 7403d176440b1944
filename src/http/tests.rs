use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Reads a request and says `answer`; the head of the request.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    let _ = stream.shutdown().await;
    String::from_utf8(head).unwrap()
}

/// A server that gives these answers, one connection each, and ends with the requests' heads.
async fn server(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut heads = Vec::new();
        for answer in answers {
            let (stream, _) = socket.accept().await.unwrap();
            heads.push(converse(stream, &answer).await);
        }
        heads
    });
    (address, task)
}

fn says(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn client() -> Client {
    let timeout = Duration::from_secs(5);
    let options = ClientOptions { trust_anchor: None, proxy: None, timeout, https_only: false };
    Client::new(&options).unwrap()
}

#[tokio::test]
async fn we_say_who_we_are() {
    let (address, task) = server(vec![says(200, "", "hello")]).await;
    let answer = client().get(&format!("http://user:secret@{address}/a?b")).await.unwrap();
    assert_eq!(answer.body().as_ref(), b"hello");
    let heads = task.await.unwrap();
    let expected = concat!("user-agent: pbxcert/", env!("CARGO_PKG_VERSION"), "\r\n");
    assert!(heads[0].contains(expected) && heads[0].contains("accept-language: en"), "{heads:?}");
}

#[tokio::test]
async fn a_get_is_redirected_a_post_is_not() {
    let there = says(302, "Location: /there\r\n", "");
    let (address, task) = server(vec![there.clone(), says(200, "", "there")]).await;
    let answer = client().get(&format!("http://{address}/here")).await.unwrap();
    assert_eq!(answer.body().as_ref(), b"there");
    assert!(task.await.unwrap()[1].starts_with("GET /there "));

    let (address, task) = server(vec![there.clone()]).await;
    let post = Request::post(format!("http://{address}/here")).body(Bytes::from("x")).unwrap();
    assert_eq!(client().send(post).await.unwrap().status(), 302);
    task.await.unwrap();

    let (address, _task) = server(vec![there; 5]).await;
    let error = client().get(&format!("http://{address}/here")).await.unwrap_err();
    assert!(error.to_string().contains("more than 3 redirects"), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_scheme_is_not_followed() {
    let (address, _task) = server(vec![says(302, "Location: https://127.0.0.1:1/\r\n", "")]).await;
    let answer = client().get(&format!("http://{address}/")).await.unwrap();
    assert_eq!(answer.status(), 302);
}

#[tokio::test]
async fn the_body_of_an_error_is_cut_and_that_of_an_answer_refused() {
    let long = "x".repeat(2 * BODY_LIMIT);
    let (address, _task) = server(vec![says(500, "", &long), says(200, "", &long)]).await;
    let url = format!("http://{address}/");
    assert_eq!(client().get(&url).await.unwrap().body().len(), BODY_LIMIT);
    let error = client().get(&url).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn an_address_is_named_without_its_secrets() {
    let error = client().get("http://user:s3cret@127.0.0.1:1/x?token=s3cret").await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("http://127.0.0.1:1/x") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn the_self_test_follows_a_redirect_to_our_own_https_as_a_ca_does() {
    install_provider();
    let made = rcgen::generate_simple_self_signed(vec!["any.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let https = socket.local_addr().unwrap().port();
    let secure = tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        let stream = tls.accept(stream).await.unwrap();
        converse(stream, &says(200, "", "found")).await
    });
    let location = format!("Location: https://pbx.example:{https}/x\r\n");
    let (address, task) = server(vec![says(301, &location, "")]).await;
    let limit = Duration::from_secs(5);
    let answer = look(address, "pbx.example", "/x", limit).await.unwrap();
    assert_eq!(answer.body().as_ref(), b"found");
    assert!(task.await.unwrap()[0].to_lowercase().contains("\r\nhost: pbx.example\r\n"));
    assert!(secure.await.unwrap().starts_with("GET /x "));
}

#[tokio::test]
async fn the_self_test_asks_addresses_by_address() {
    for (listen, host) in [("127.0.0.1:0", "192.0.2.7"), ("[::1]:0", "[2001:db8::7]")] {
        let socket = TcpListener::bind(listen).await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (stream, _) = socket.accept().await.unwrap();
            converse(stream, &says(200, "", "found")).await
        });
        look(address, host, "/x", Duration::from_secs(5)).await.unwrap();
        assert!(task.await.unwrap().to_lowercase().contains(&format!("\r\nhost: {host}\r\n")));
    }
}
