//! A small HTTP server for challenge responses: GET and HEAD of one kind of path, from one folder.

use std::convert::Infallible;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Serves as long as it lives.
#[derive(Debug)]
pub(super) struct Listener {
    task: JoinHandle<()>,
    /// Where it listens, or will once the port is free.
    pub(super) address: SocketAddr,
    /// Somebody else has the port for now.
    pub(super) waits: bool,
}

impl Listener {
    /// Opens an address. When it is in use, another pbxcert may answer from the same folder: then
    /// this one waits for the port, so that nothing is lost when the other closes it.
    pub(super) async fn open(address: SocketAddr, folder: &Path) -> io::Result<Self> {
        let folder = folder.to_owned();
        match TcpListener::bind(address).await {
            Ok(socket) => {
                let address = socket.local_addr()?;
                let task = tokio::spawn(serve(socket, folder));
                Ok(Self { task, address, waits: false })
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let task = tokio::spawn(wait_and_serve(address, folder));
                Ok(Self { task, address, waits: true })
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wait_and_serve(address: SocketAddr, folder: PathBuf) {
    loop {
        tokio::time::sleep(TAKE_OVER).await;
        if let Ok(socket) = TcpListener::bind(address).await {
            return serve(socket, folder).await;
        }
    }
}

async fn serve(socket: TcpListener, folder: PathBuf) {
    let folder: Arc<Path> = folder.into();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // The connections live and die with this task.
    let mut open = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                // Over the limit: closed at once. A CA tries again, and an attacker may.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let folder = Arc::clone(&folder);
                open.spawn(async move {
                    // Slow or gone: nothing that anybody needs to know.
                    let _ = tokio::time::timeout(REQUEST, converse(stream, folder)).await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: TcpStream, folder: Arc<Path>) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, &folder);
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .max_buf_size(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer<B>(request: &Request<B>, folder: &Path) -> Response<Full<Bytes>> {
    let known = matches!(*request.method(), Method::GET | Method::HEAD);
    let token = request.uri().path().strip_prefix(PATH).filter(|token| known && is_token(token));
    let found = token.and_then(|token| read(&folder.join(token)).ok());
    let (status, body) = match found {
        Some(body) => (StatusCode::OK, body),
        None => (StatusCode::NOT_FOUND, b"not found\n".to_vec()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags, open};

    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(open(path, flags, Mode::empty())?);
    let mut body = Vec::new();
    file.take(RESPONSE).read_to_end(&mut body)?;
    Ok(body)
}

/// Whether that may be a token, and so a file name (RFC 8555 section 8.3: base64url).
pub(super) fn is_token(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Where CAs look (RFC 8555 section 8.3).
pub(super) const PATH: &str = "/.well-known/acme-challenge/";

const CONNECTIONS: usize = 64;

const HEADERS: usize = 8 * 1024;

const REQUEST: Duration = Duration::from_secs(5);

/// A key authorization is a token, a dot and 43 characters.
const RESPONSE: u64 = 1024;

const TAKE_OVER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn opened(folder: &Path) -> Listener {
        Listener::open(([127, 0, 0, 1], 0).into(), folder).await.unwrap()
    }

    async fn said(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        // A reset after the answer is as good as its end.
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: pbx.example\r\n\r\n")
    }

    #[tokio::test]
    async fn only_a_known_token_is_served_and_only_for_reading() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tok_en-1"), "tok_en-1.key").unwrap();
        std::fs::write(folder.path().join("not.a.token"), "secret").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let address = opened(folder.path()).await.address;
        // The listener was dropped: nobody answers.
        assert!(TcpStream::connect(address).await.is_err());

        let listener = opened(folder.path()).await;
        let at = listener.address;
        let good = said(at, &get("/.well-known/acme-challenge/tok_en-1")).await;
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
        assert!(good.ends_with("\r\n\r\ntok_en-1.key"), "{good}");
        let good = get("/.well-known/acme-challenge/tok_en-1");
        let head = said(at, &good.replace("GET", "HEAD")).await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        for path in [
            "/",
            "/tok_en-1",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/unknown",
            "/.well-known/acme-challenge/not.a.token",
            "/.well-known/acme-challenge/link",
            "/.well-known/acme-challenge/../../etc/passwd",
            "/.well-known/acme-challenge/..%2f..%2fetc%2fpasswd",
            &format!("/.well-known/acme-challenge/{}", "a".repeat(257)),
        ] {
            let bad = said(at, &get(path)).await;
            assert!(bad.starts_with("HTTP/1.1 404"), "{path}: {bad}");
        }
        assert!(said(at, &good.replace("GET", "POST")).await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn endless_headers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let listener = opened(folder.path()).await;
        let request = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(3 * HEADERS));
        let answer = said(listener.address, &request).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        assert!(!answer.starts_with("HTTP/1.1 404"), "{answer}");
    }

    #[tokio::test]
    async fn silent_connections_are_bounded_and_do_not_stop_others_for_long() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t"), "t.k").unwrap();
        let listener = opened(folder.path()).await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(listener.address).await.unwrap());
        }
        // One more is closed at once, without an answer.
        let refused = said(listener.address, &get("/.well-known/acme-challenge/t")).await;
        assert_eq!(refused, "");
        drop(silent);
        let mut answer = String::new();
        while answer.is_empty() {
            answer = said(listener.address, &get("/.well-known/acme-challenge/t")).await;
        }
        assert!(answer.ends_with("t.k"), "{answer}");
    }

    #[tokio::test]
    async fn a_port_that_another_one_gives_up_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t"), "t.k").unwrap();
        let first = opened(folder.path()).await;
        let second = Listener::open(first.address, folder.path()).await.unwrap();
        assert!(second.waits);
        let at = first.address;
        drop(first);
        let taken = async {
            while TcpStream::connect(at).await.is_err() {
                tokio::task::yield_now().await;
            }
            said(at, &get("/.well-known/acme-challenge/t")).await
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), taken).await.unwrap();
        assert!(answer.ends_with("t.k"), "{answer}");
    }
}
