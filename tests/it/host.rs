//! A host for the real binary: a configuration in a temporary folder, a CA and a TLS service on
//! loopback that live in this process. Everything ends when it is dropped.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pbxcert::cert::bundle::{Bundle, PrivateKey};
use pbxcert::state::Event;
use pbxcert::store::Store;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use crate::ca::Ca;
use crate::real::free_port;
use crate::real::process::Server;

/// Longer than any condition takes; whoever waits so long has failed.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A machine with pbxcert, a CA that can reach it, and one service.
pub struct Host {
    pub dir: TempDir,
    pub ca: Ca,
    pub service: Service,
    listen: SocketAddr,
}

impl Host {
    /// A certificate `pbx` and a custom service `sip` with a folder of ours. Nothing ran yet.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tls")).unwrap();
        let ca = Ca::start().await;
        // An address of its own: on 127.0.0.1 somebody else might take the port while none listens.
        let listen = SocketAddr::from(([127, 0, 0, 2], free_port()));
        ca.change(|b| b.validate_at = Some(listen));
        let service = Service::start(dir.path()).await;
        let host = Self { dir, ca, service, listen };
        host.configure(&host.config());
        host
    }

    /// The same after its first `renew`: revision 1 is live.
    pub async fn live() -> Self {
        let host = Self::new().await;
        host.pbxcert(&["renew"]).await.expect(0);
        host
    }

    /// The configuration as [`Self::new`] writes it.
    pub fn config(&self) -> String {
        format!("{}\n{}", self.head(), self.service_table(&self.reload(), ""))
    }

    /// Everything but services.
    pub fn head(&self) -> String {
        format!(
            "site = \"test\"\nstate-dir = {state:?}\ntime = \"unsynchronised\"\n\
             [acme]\ndirectory = {directory:?}\ntrust-anchor = {anchor:?}\n\
             contact = [\"noc@voip.test\"]\nagree-to-terms = true\n\
             [challenge.http]\nhttp-01 = {{ listen = [\"{listen}\"] }}\n\
             [[certificate]]\nname = \"pbx\"\nnames = [\"pbx.test\"]\nkey = \"ecdsa-p256\"\n",
            state = self.state_dir(),
            directory = self.ca.directory,
            anchor = self.ca.trust_anchor,
            listen = self.listen,
        )
    }

    /// The service `sip` with this reload hook, written as TOML, and further lines.
    pub fn service_table(&self, reload: &str, more: &str) -> String {
        format!(
            "[[service]]\nkind = \"custom\"\nname = \"sip\"\nreload = {reload}\n\
             target-dir = {target:?}\n\
             target = [{{ path = \"fullchain.pem\", content = \"fullchain\", mode = \"0644\" }}, \
             {{ path = \"privkey.pem\", content = \"privkey\", mode = \"0600\" }}]\n\
             endpoint = [\"tls://127.0.0.1:{port}\"]\nproof-timeout = \"2s\"\n{more}\n",
            target = self.target_dir(),
            port = self.service.port,
        )
    }

    /// A hook that makes the service take its files.
    pub fn reload(&self) -> String {
        self.hook("")
    }

    /// The same, after these shell commands.
    pub fn hook(&self, before: &str) -> String {
        // No script of our own: a file just written may still be open in a child of another test.
        let reload = self.service.order.display();
        format!("[\"/bin/sh\", \"-c\", {:?}]", format!("{before} : > {reload}"))
    }

    pub fn configure(&self, text: &str) {
        std::fs::write(self.config_file(), text).unwrap();
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("pbxcert.toml")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn target_dir(&self) -> PathBuf {
        self.dir.path().join("tls/pbx")
    }

    /// Runs a verb to its end.
    pub async fn pbxcert(&self, arguments: &[&str]) -> Run {
        self.pbxcert_with(arguments, &[]).await
    }

    /// Runs a verb to its end, with variables in its environment.
    pub async fn pbxcert_with(&self, arguments: &[&str], variables: &[(&str, String)]) -> Run {
        let output = self.command(arguments, variables).output();
        let output = tokio::time::timeout(LIMIT, output).await;
        let output = output.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
        Run {
            verb: arguments.join(" "),
            code: output.status.code(),
            signal: output.status.signal(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The verb, to be started by the caller; ended when the child is dropped.
    pub fn command(&self, arguments: &[&str], variables: &[(&str, String)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pbxcert"));
        command
            .args(arguments)
            .env_clear()
            .env("PBXCERT_CONFIG", self.config_file())
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Starts `run`; its log is in [`Self::log`].
    pub fn start_daemon(&self) -> Server {
        self.start_daemon_with(&[])
    }

    /// The same with variables in its environment.
    pub fn start_daemon_with(&self, variables: &[(&str, String)]) -> Server {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pbxcert"));
        command.arg("run").env_clear().env("PBXCERT_CONFIG", self.config_file());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Server::start("pbxcert", &mut command, &self.log_file(), || true).unwrap()
    }

    /// What every daemon on this host has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("daemon.log")
    }

    /// `status --json`.
    pub async fn status(&self) -> Value {
        self.pbxcert(&["status", "--json"]).await.expect(0).json()
    }

    /// Waits until `status` calls the certificate `live` with this revision.
    pub async fn until_live(&self, revision: u64) {
        until(&format!("revision {revision} is live"), LIMIT, async || {
            let status = self.status().await;
            let pbx = &status["certificates"][0];
            (pbx["state"] == "live" && pbx["revision"] == revision).then_some(())
        })
        .await;
    }

    /// What happened, oldest first.
    pub fn history(&self) -> Vec<Event> {
        Store::open_read_only(&self.state_dir()).unwrap().history().unwrap()
    }

    /// Whether something of this kind happened.
    pub fn happened(&self, what: &str) -> usize {
        self.history().iter().filter(|e| e.what == what).count()
    }

    /// Orders that the CA took.
    pub fn orders(&self) -> usize {
        self.ca.state().orders.len()
    }

    /// The pair at the targets: `None` when nothing is there.
    ///
    /// # Panics
    ///
    /// When what is there is no matching pair.
    pub fn pair(&self) -> Option<Bundle> {
        pair_in(&self.target_dir())
    }
}

/// The pair in a folder; `None` when the folder is not there.
pub fn pair_in(folder: &Path) -> Option<Bundle> {
    if !folder.exists() {
        return None;
    }
    let certificates = std::fs::read(folder.join("fullchain.pem")).unwrap();
    let key = std::fs::read(folder.join("privkey.pem")).unwrap();
    let key = PrivateKey::from_pem(&key).unwrap();
    Some(Bundle::parse(&certificates, key).expect("certificate and key belong together"))
}

/// How a verb ended.
#[derive(Debug)]
pub struct Run {
    verb: String,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    /// The same when it ended with this exit code.
    ///
    /// # Panics
    ///
    /// When it ended otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "pbxcert {}: {}{}", self.verb, self.out, self.err);
        self
    }

    /// The same when it said this, no matter where.
    ///
    /// # Panics
    ///
    /// When it did not.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        let said = format!("{}{}", self.out, self.err);
        assert!(said.contains(words), "pbxcert {} does not say {words:?}: {said}", self.verb);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("pbxcert {}: {e}: {}{}", self.verb, self.out, self.err))
    }
}

/// Looks again and again until there is an answer.
///
/// # Panics
///
/// When there is none within the limit.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the service does with a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Manner {
    /// Serves the certificate that it took last.
    #[default]
    Serves,
    /// Accepts, and says nothing.
    Silent,
    /// Accepts, and resets.
    Resets,
    /// Speaks plain text.
    Plain,
    /// Serves one of somebody else.
    Foreign,
}

/// A TLS service that takes its files when a hook orders it to.
pub struct Service {
    pub port: u16,
    /// The file that a hook makes to order a reload.
    order: PathBuf,
    shared: Arc<Mutex<Shared>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    manner: Manner,
    /// What it becomes with the next reload.
    next_manner: Option<Manner>,
    served: Option<Arc<rustls::ServerConfig>>,
    reloads: u32,
}

impl Service {
    async fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let order = dir.join("reload-ordered");
        let shared = Arc::<Mutex<Shared>>::default();
        let (at, folder, all) = (order.clone(), dir.join("tls/pbx"), Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut shared = all.lock().unwrap();
                if std::fs::remove_file(&at).is_ok() {
                    shared.reloads += 1;
                    shared.served = load(&folder).or(shared.served.take());
                    shared.manner = shared.next_manner.unwrap_or(shared.manner);
                }
                match shared.manner {
                    Manner::Silent => silent.push(stream),
                    manner => {
                        tokio::spawn(answer(stream, manner, shared.served.clone()));
                    }
                }
            }
        });
        Self { port, order, shared, task }
    }

    pub fn behave(&self, manner: Manner) {
        self.shared.lock().unwrap().manner = manner;
    }

    /// How it behaves from its next reload on.
    pub fn behave_after_reload(&self, manner: Option<Manner>) {
        self.shared.lock().unwrap().next_manner = manner;
    }

    /// Reloads that it saw, by the first connection after each.
    pub fn reloads(&self) -> u32 {
        self.shared.lock().unwrap().reloads
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, manner: Manner, served: Option<Arc<rustls::ServerConfig>>) {
    match manner {
        Manner::Silent => {}
        Manner::Resets => {
            let _ = stream.set_zero_linger();
        }
        Manner::Plain => {
            let _ = stream.write_all(b"SIP/2.0 400 Bad Request\r\n\r\n").await;
        }
        Manner::Foreign => {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["other.test".to_owned()]).unwrap();
            let leaf = params.self_signed(&key).unwrap();
            let config = server(vec![leaf.der().clone()], key.into());
            let _ = TlsAcceptor::from(config.unwrap()).accept(stream).await;
        }
        // Without a certificate: accepts, then closes, as Asterisk does.
        Manner::Serves => {
            if let Some(config) = served {
                let _ = TlsAcceptor::from(config).accept(stream).await;
            }
        }
    }
}

/// What lies there, if it is a pair: a service keeps what it has otherwise.
fn load(folder: &Path) -> Option<Arc<rustls::ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(folder.join("fullchain.pem")).ok()?;
    let chain = chain.collect::<Result<Vec<_>, _>>().ok()?;
    server(chain, PrivateKeyDer::from_pem_file(folder.join("privkey.pem")).ok()?)
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Option<Arc<rustls::ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).ok()?.keys_match().ok()?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    config.ok().map(Arc::new)
}
