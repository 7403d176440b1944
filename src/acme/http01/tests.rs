use std::net::TcpListener as StdListener;

use super::*;

const KEY: &str = "tok.thumbprint";

struct Lab {
    folder: tempfile::TempDir,
    name: Identifier,
}

impl Lab {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), name: "pbx.example".parse().unwrap() }
    }

    fn solver(&self, auto: Auto, webroots: Vec<PathBuf>) -> Solver {
        Solver::new(self.challenges(), auto, webroots)
    }

    fn challenges(&self) -> PathBuf {
        self.folder.path().join("challenge")
    }

    fn response(&self) -> Response<'_> {
        Response { identifier: &self.name, token: "tok", key_authorization: KEY }
    }

    /// A web server that shows this folder, until it is dropped.
    async fn web_server(&self, name: &str) -> (Listener, PathBuf, u16) {
        let root = self.folder.path().join(name);
        let shown = root.join(".well-known/acme-challenge");
        std::fs::create_dir_all(&shown).unwrap();
        let server = Listener::open(([127, 0, 0, 1], 0).into(), &shown).await.unwrap();
        let port = server.address.port();
        (server, root, port)
    }
}

fn auto(port: u16, webroots: &[&Path]) -> Auto {
    Auto { port, webroots: webroots.iter().map(|root| root.to_path_buf()).collect() }
}

fn free_port() -> u16 {
    StdListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

async fn answers(address: SocketAddr) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok()
}

#[tokio::test]
async fn our_own_listener_is_open_only_while_a_response_is_needed() {
    let lab = Lab::new();
    let solver = lab.solver(Auto::default(), Vec::new());
    let method = Http01::Listen(vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    solver.publish(&method, lab.response()).await.unwrap();
    let second = Response { token: "tok2", ..lab.response() };
    solver.publish(&method, second).await.unwrap();
    let addresses: Vec<SocketAddr> =
        solver.open.borrow().iter().flat_map(|o| &o.listeners).map(|l| l.address).collect();
    assert_eq!(addresses.len(), 2);
    assert!(solver.publishes("tok") && solver.publishes("tok2"));
    for address in &addresses {
        test(*address, lab.response()).await.unwrap();
    }
    solver.retract("tok");
    assert!(answers(addresses[0]).await);
    assert!(test(addresses[0], lab.response()).await.is_err());
    test(addresses[0], second).await.unwrap();
    solver.retract("tok2");
    tokio::task::yield_now().await;
    assert!(!answers(addresses[0]).await && !answers(addresses[1]).await);
    assert_eq!(lab.challenges().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_port_held_by_another_pbxcert_is_as_good() {
    let lab = Lab::new();
    let other = Listener::open(([127, 0, 0, 1], 0).into(), &lab.challenges()).await.unwrap();
    let solver = lab.solver(Auto::default(), Vec::new());
    solver.publish(&Http01::Listen(vec![other.address]), lab.response()).await.unwrap();
}

#[tokio::test]
async fn a_port_held_by_a_stranger_is_an_error_that_names_it() {
    let lab = Lab::new();
    let (server, ..) = lab.web_server("www").await;
    let solver = lab.solver(Auto::default(), Vec::new());
    let method = Http01::Listen(vec![server.address]);
    let error = solver.publish(&method, lab.response()).await.unwrap_err();
    assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    assert!(error.contains("answers 404 \"not found\""), "{error}");
    assert!(!solver.publishes("tok"));
    assert!(!lab.challenges().join("tok").exists());
}

#[tokio::test]
async fn a_webroot_is_proved_and_cleaned() {
    let lab = Lab::new();
    let (_server, root, port) = lab.web_server("www").await;
    let solver = lab.solver(auto(port, &[]), vec![root.clone()]);
    solver.publish(&Http01::Webroot(root.clone()), lab.response()).await.unwrap();
    let file = root.join(".well-known/acme-challenge/tok");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), KEY);
    // As after a crash: another process knows nothing but the token.
    lab.solver(auto(port, &[]), vec![root]).retract("tok");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_webroot_that_nobody_shows_is_an_error() {
    let lab = Lab::new();
    let (_server, _, port) = lab.web_server("www").await;
    let other = lab.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let solver = lab.solver(auto(port, &[]), vec![other.clone()]);
    let method = Http01::Webroot(other.clone());
    let error = solver.publish(&method, lab.response()).await.unwrap_err();
    assert!(error.contains("other is not served on port"), "{error}");
    assert!(!other.join(".well-known/acme-challenge/tok").exists());
    let missing = Http01::Webroot(lab.folder.path().join("missing"));
    let error = solver.publish(&missing, lab.response()).await.unwrap_err();
    assert!(error.contains("cannot write a response below"), "{error}");
}

#[tokio::test]
async fn auto_takes_a_free_port_for_both_families() {
    let lab = Lab::new();
    let port = free_port();
    let solver = lab.solver(auto(port, &[]), Vec::new());
    solver.publish(&Http01::Auto, lab.response()).await.unwrap();
    test((Ipv4Addr::LOCALHOST, port).into(), lab.response()).await.unwrap();
    test((Ipv6Addr::LOCALHOST, port).into(), lab.response()).await.unwrap();
}

#[tokio::test]
async fn auto_finds_the_folder_of_the_web_server_that_holds_the_port() {
    let lab = Lab::new();
    let (_server, root, port) = lab.web_server("www").await;
    let missing = lab.folder.path().join("missing");
    let solver = lab.solver(auto(port, &[&missing, lab.folder.path(), &root]), Vec::new());
    solver.publish(&Http01::Auto, lab.response()).await.unwrap();
    assert!(root.join(".well-known/acme-challenge/tok").exists());
    assert!(!missing.exists());
    let wrong = lab.folder.path().join(".well-known/acme-challenge");
    assert_eq!(wrong.read_dir().unwrap().count(), 0);
    solver.retract("tok");
    assert!(!root.join(".well-known/acme-challenge/tok").exists());
    assert!(solver.open.borrow().is_empty());
}

#[tokio::test]
async fn auto_says_who_holds_the_port_and_what_can_be_done() {
    let lab = Lab::new();
    let (_server, _, port) = lab.web_server("www").await;
    let solver = lab.solver(auto(port, &[lab.folder.path()]), Vec::new());
    let error = solver.publish(&Http01::Auto, lab.response()).await.unwrap_err();
    let held = format!("port {port} is held by ");
    assert!(error.starts_with(&held), "{error}");
    assert!(error.contains("webroot = ") && error.contains("listen = "), "{error}");
    assert!(solver.open.borrow().is_empty());
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let lab = Lab::new();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let answer =
            "HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let error = test(address, lab.response()).await.unwrap_err();
    assert!(error.contains("answers 302"), "{error}");
    let request = served.await.unwrap().to_lowercase();
    assert!(request.contains("\r\nhost: pbx.example\r\n"), "{request}");
    assert!(request.contains("user-agent: pbxcert/"), "{request}");
}

#[tokio::test]
async fn a_token_that_is_a_path_never_becomes_a_file() {
    let lab = Lab::new();
    let solver = lab.solver(Auto::default(), Vec::new());
    let evil = Response { token: "../../etc/cron.d/x", ..lab.response() };
    let method = Http01::Listen(vec!["127.0.0.1:0".parse().unwrap()]);
    let error = solver.publish(&method, evil).await.unwrap_err();
    assert_eq!(error, "the CA's token \"../../etc/cron.d/x\" is none");
    let precious = lab.folder.path().join("precious");
    std::fs::write(&precious, "").unwrap();
    solver.retract("../precious");
    assert!(precious.exists());
}
