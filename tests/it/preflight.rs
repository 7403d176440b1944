//! What `preflight` finds, with name servers, ports and a CA of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pbxcert::acme::{AcmeAuthority, Auto, Limits};
use pbxcert::config::{CertSpec, ChallengeSpec, Config, Http01, file};
use pbxcert::dns::Resolver;
use pbxcert::evidence;
use pbxcert::policy::preflight::{Case, Check, Verdict, checklist, hints};
use pbxcert::state::Observed;
use pbxcert::state::facts::{Facts, Ground, Looked};

use crate::ca::Ca;

const A: u16 = 1;
const AAAA: u16 = 28;
const CAA: u16 = 257;

/// What the name server says.
#[derive(Clone)]
enum Say {
    Records(Vec<Vec<u8>>),
    Code(u8),
    Nothing,
    Garbage,
    /// These, with the number of the question.
    Bytes(Vec<u8>),
}

/// A name server that lives as long as the test: names that it does not know have no data.
fn name_server(zone: &[(&str, u16, Say)]) -> SocketAddr {
    let zone: BTreeMap<(String, u16), Say> =
        zone.iter().map(|(name, kind, say)| ((name.to_string(), *kind), say.clone())).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            let (name, kind, end) = question(query);
            let say = zone.get(&(name.clone(), kind)).or_else(|| zone.get(&(name, 0)));
            let answer = match say.cloned().unwrap_or(Say::Records(Vec::new())) {
                Say::Nothing => continue,
                Say::Garbage => vec![query[0], query[1], 0x81, 0x80, 0xff, 0xff, 0xff, 0xff, 1],
                Say::Bytes(mut bytes) => {
                    bytes[..2].copy_from_slice(&query[..2]);
                    bytes
                }
                Say::Code(code) => response(query, end, code, kind, &[]),
                Say::Records(records) => response(query, end, 0, kind, &records),
            };
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

/// Name, type and end of the question (RFC 1035 section 4.1.2).
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
}

fn response(query: &[u8], end: usize, code: u8, kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(records.len()).unwrap();
    let mut out = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    out.extend(&query[12..end]);
    for data in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    out
}

fn a(ip: &str) -> Say {
    Say::Records(vec![ip.parse::<Ipv4Addr>().unwrap().octets().to_vec()])
}

fn aaaa(ip: &str) -> Say {
    Say::Records(vec![ip.parse::<Ipv6Addr>().unwrap().octets().to_vec()])
}

fn caa(values: &[&str]) -> Say {
    let record = |value: &&str| [&[0, 5][..], b"issue", value.as_bytes()].concat();
    Say::Records(values.iter().map(record).collect())
}

const NXDOMAIN: Say = Say::Code(3);
const SERVFAIL: Say = Say::Code(2);

fn asking(server: SocketAddr) -> Resolver {
    Resolver::at(&[server], Duration::from_millis(600))
}

#[tokio::test]
async fn each_way_in_which_there_is_nothing_is_told_apart() {
    let server = name_server(&[
        ("pbx.test", A, a("203.0.113.10")),
        ("pbx.test", AAAA, aaaa("2001:db8::10")),
        ("gone.test", 0, NXDOMAIN),
        ("broken.test", 0, SERVFAIL),
        ("silent.test", 0, Say::Nothing),
        ("refused.test", 0, Say::Code(5)),
        ("garbage.test", 0, Say::Garbage),
    ]);
    let dns = asking(server);
    assert_eq!(dns.a("pbx.test").await, Looked::Found(vec!["203.0.113.10".parse().unwrap()]));
    assert_eq!(dns.aaaa("pbx.test").await, Looked::Found(vec!["2001:db8::10".parse().unwrap()]));
    assert_eq!(dns.a("empty.test").await, Looked::NoData);
    assert_eq!(dns.a("gone.test").await, Looked::NoSuchName);
    for name in ["broken.test", "refused.test"] {
        assert!(matches!(dns.a(name).await, Looked::Failed(_)), "{name}");
    }
    for name in ["silent.test", "garbage.test"] {
        let begun = Instant::now();
        let answer = dns.a(name).await;
        assert!(matches!(answer, Looked::Timeout | Looked::Failed(_)), "{name}: {answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{name}: {:?}", begun.elapsed());
    }
    assert_eq!(dns.a("silent.test").await, Looked::Timeout);
    for odd in ["", "..", "a..b", &"x".repeat(300), "white space\n", "ü.test"] {
        let answer = dns.a(odd).await;
        assert!(!matches!(answer, Looked::Found(_)), "{odd:?}: {answer:?}");
    }
    let nobody = Resolver::at(&[], Duration::from_millis(300));
    assert!(!matches!(nobody.a("pbx.test").await, Looked::Found(_) | Looked::NoSuchName));
}

#[tokio::test]
async fn answers_that_are_cut_off_or_lie_about_their_length_harm_nobody() {
    let whole = |name: &str| {
        let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.extend([0, 1, 1, 0, 1]);
        let end = query.len();
        response(&query, end, 0, CAA, &[[&[0, 255][..], b"issue"].concat()])
    };
    let names: Vec<String> = (0..24).map(|n| format!("n{n}.test")).collect();
    let zone: Vec<(&str, u16, Say)> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let mut answer = whole(name);
            match n {
                0..12 => answer.truncate(answer.len() - 2 * n),
                // One byte after the other says something else.
                _ => answer[n] = 0xff,
            }
            (name.as_str(), 0, Say::Bytes(answer))
        })
        .collect();
    let dns = asking(name_server(&zone));
    let asked = names.iter().map(|name| dns.caa(name));
    for facts in futures_util::future::join_all(asked).await {
        assert!(!matches!(facts.records, Looked::NotAsked(_)), "{facts:?}");
    }
}

#[tokio::test]
async fn caa_is_climbed_to_the_closest_set_and_a_failure_ends_the_climb() {
    let server = name_server(&[
        ("hotel.test", CAA, caa(&["ca.example", "other.example"])),
        ("deep.hotel.test", CAA, caa(&[";"])),
        ("broken.hotel.test", CAA, SERVFAIL),
        ("gone.hotel.test", 0, NXDOMAIN),
    ]);
    let dns = asking(server);
    let found = async |name: &str| {
        let facts = dns.caa(name).await;
        let count = facts.records.records().len();
        (facts.domain, count)
    };
    assert_eq!(found("hotel.test").await, ("hotel.test".to_owned(), 2));
    assert_eq!(found("a.b.hotel.test").await, ("hotel.test".to_owned(), 2));
    assert_eq!(found("*.hotel.test").await, ("hotel.test".to_owned(), 2));
    assert_eq!(found("pbx.gone.hotel.test").await, ("hotel.test".to_owned(), 2));
    assert_eq!(found("pbx.deep.hotel.test").await, ("deep.hotel.test".to_owned(), 1));
    assert_eq!(found("free.test").await, ("test".to_owned(), 0));
    let facts = dns.caa("pbx.broken.hotel.test").await;
    assert_eq!(facts.domain, "broken.hotel.test");
    assert!(matches!(facts.records, Looked::Failed(_)), "{facts:?}");
}

// ---------------------------------------------------------------- the whole checklist

/// A configuration with one certificate at a CA of the test.
struct Site {
    ca: Ca,
    folder: tempfile::TempDir,
    config: Config,
    dns: SocketAddr,
    /// For http-01.
    port: u16,
}

impl Site {
    async fn new(names: &[&str], zone: &[(&str, u16, Say)]) -> Self {
        let (ca, folder) = (Ca::start().await, tempfile::tempdir().unwrap());
        let text = format!(
            "state-dir = {:?}\n[acme]\ndirectory = {:?}\ncontact = [\"noc@voip.test\"]\n\
             agree-to-terms = true\ntrust-anchor = {:?}\nrehearsal = \"none\"\n\
             [[certificate]]\nname = \"pbx\"\nnames = {names:?}\nkey = \"ecdsa-p256\"\n",
            folder.path().join("state"),
            ca.directory,
            ca.trust_anchor,
        );
        let path = folder.path().join("pbxcert.toml");
        std::fs::write(&path, text).unwrap();
        let config = file::load(&path, file::Options::HERE).unwrap_or_else(|e| panic!("{e}"));
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        Self { ca, folder, config: config.config, dns: name_server(zone), port }
    }

    fn spec(&self) -> &CertSpec {
        &self.config.certificates[0]
    }

    async fn facts(&self) -> Facts {
        let issuer = &self.config.issuers["acme"];
        let challenge = ChallengeSpec { name: "http".into(), method: Http01::Auto };
        let challenges = BTreeMap::from([("http".to_owned(), challenge)]);
        let auto = Auto { port: self.port, webroots: Vec::new() };
        let folder = self.folder.path().join("challenge");
        let authority =
            AcmeAuthority::with_auto(issuer.clone(), challenges, folder, Limits::default(), auto);
        let ground = Ground {
            dns: vec![self.dns],
            http: self.port,
            https: self.port,
            question: Duration::from_millis(600),
            request: Duration::from_secs(3),
        };
        evidence::gather(self.spec(), issuer, &authority, &ground, Timestamp::now()).await
    }

    fn checks(&self, facts: &Facts) -> Vec<Check> {
        let issuer = &self.config.issuers["acme"];
        let seen = Observed::default();
        checklist(Case {
            spec: self.spec(),
            issuer,
            seen: &seen,
            account: None,
            unsynchronised: false,
            facts,
        })
    }
}

fn one<'a>(checks: &'a [Check], item: &str) -> &'a Check {
    checks.iter().find(|check| check.item == item).unwrap_or_else(|| panic!("{checks:#?}"))
}

#[tokio::test]
async fn a_site_behind_a_router_has_nothing_in_the_way_that_can_be_seen_from_here() {
    let zone = [("pbx.test", A, a("8.8.8.8")), ("test", CAA, caa(&["ca.example"]))];
    let site = Site::new(&["pbx.test"], &zone).await;
    let mut facts = site.facts().await;
    assert_eq!(facts.names[0].responder, Ok(()));
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", site.port)).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the responder stays open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(site.folder.path().join("challenge").read_dir().unwrap().count(), 0);
    // Wherever this test runs, and whatever its way out is.
    facts.facing = vec!["192.168.1.10".parse().unwrap()];
    facts.addresses.clone_from(&facts.facing);
    facts.names[0].hairpin = Some(Err("no answer".to_owned()));
    let checks = site.checks(&facts);
    for check in &checks {
        assert!(!matches!(check.verdict, Verdict::Fail | Verdict::Warn), "{check:#?}");
    }
    let dns = one(&checks, "dns");
    assert_eq!(dns.verdict, Verdict::Unknown, "behind a router is no failure");
    assert!(dns.advice.as_ref().unwrap().contains("TCP 80 on to 192.168.1.10"), "{dns:?}");
    assert!(one(&checks, "caa").text.contains("CAA at test allows"));
    assert!(one(&checks, "directory").text.contains(&site.ca.directory));
    assert_eq!(one(&checks, "port-80").verdict, Verdict::Ok);
    let hairpin = one(&checks, "from-outside");
    assert_eq!(hairpin.verdict, Verdict::Unknown);
    assert!(hairpin.advice.as_ref().unwrap().contains("proves nothing"));
    assert_eq!(one(&checks, "last-verdict").verdict, Verdict::Unknown);
    assert!(hints(&checks, Timestamp::now()).is_empty());
}

#[tokio::test]
async fn what_is_in_the_way_is_named_with_what_to_do() {
    let zone = [
        ("gone.test", 0, NXDOMAIN),
        ("other.test", A, a("8.8.8.8")),
        ("other.test", CAA, caa(&["other.example"])),
        ("inside.test", A, a("192.168.1.10")),
        ("broken.test", 0, SERVFAIL),
        ("silent.test", 0, Say::Nothing),
    ];
    let names = ["gone.test", "other.test", "inside.test", "broken.test", "silent.test"];
    let site = Site::new(&names, &zone).await;
    // Somebody has the port, and shows something else.
    let web = TcpListener::bind(("0.0.0.0", site.port)).unwrap();
    std::thread::spawn(move || {
        for stream in web.incoming().flatten() {
            use std::io::{Read as _, Write as _};
            let mut stream = stream;
            let _ = stream.read(&mut [0; 2000]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let begun = Instant::now();
    let facts = site.facts().await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let checks = site.checks(&facts);
    let of = |name: &str, item: &str| {
        let these = checks.iter().find(|c| c.item == item && c.name.as_deref() == Some(name));
        these.unwrap_or_else(|| panic!("{checks:#?}"))
    };
    for (name, item, verdict, text) in [
        ("gone.test", "dns", Verdict::Fail, "NXDOMAIN"),
        ("inside.test", "dns", Verdict::Unknown, "192.168.1.10, where no CA can connect"),
        ("broken.test", "dns", Verdict::Fail, "fail on it"),
        ("broken.test", "caa", Verdict::Fail, "cannot be looked up"),
        ("silent.test", "dns", Verdict::Unknown, "do not answer in time"),
        ("other.test", "caa", Verdict::Fail, "does not allow the CA at 127.0.0.1"),
        ("gone.test", "responder", Verdict::Fail, "is held by"),
    ] {
        let check = of(name, item);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.text.contains(text), "{check:?}");
    }
    let caa = of("other.test", "caa").advice.as_ref().unwrap();
    assert!(caa.contains("other.test CAA 0 issue \"ca.example\""), "{caa}");
    let port = one(&checks, "port-80");
    assert_eq!(port.verdict, Verdict::Fail);
    let pid = format!("(pid {})", std::process::id());
    assert!(port.text.contains(&pid), "{port:?}");
    let ways = port.advice.as_ref().unwrap();
    assert!(ways.contains("webroot") && ways.contains("port 443 alone is not enough"), "{ways}");
    let hints = hints(&checks, Timestamp::now());
    assert!(hints.iter().any(|hint| hint.reason.contains("NXDOMAIN")), "{hints:?}");
}

#[tokio::test]
async fn a_ca_out_of_reach_and_a_wrong_clock_are_told() {
    let site = Site::new(&["pbx.test"], &[("pbx.test", A, a("8.8.8.8"))]).await;
    let mut facts = site.facts().await;
    let answer = facts.directory.answer.as_mut().unwrap();
    assert_eq!(answer.caa_identities, ["ca.example"]);
    answer.date = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let checks = site.checks(&facts);
    assert_eq!(one(&checks, "clock").verdict, Verdict::Fail);
    assert!(one(&checks, "clock").text.contains("2026-01-01 00:00 UTC"));

    let mut config = site.config.clone();
    let issuer = config.issuers.get_mut("acme").unwrap();
    issuer.directory = "https://localhost:1/dir".to_owned();
    let site = Site { config, ..site };
    let facts = site.facts().await;
    let directory = one(&site.checks(&facts), "directory").clone();
    assert_eq!(directory.verdict, Verdict::Fail);
    assert!(directory.text.contains("https://localhost:1/dir"), "{directory:?}");
    assert!(directory.advice.unwrap().contains("HTTPS"));
}

#[tokio::test]
async fn the_verb_tells_a_program_and_a_person() {
    let site = Site::new(&["pbx.invalid"], &[]).await;
    let path = site.folder.path().join("pbxcert.toml");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pbxcert"));
        command.arg("--config").arg(&path).arg("preflight").args(arguments);
        command
    };
    let run = |arguments: &[&str]| {
        let command = run(arguments);
        tokio::task::spawn_blocking(move || {
            let mut command = command;
            command.output().unwrap()
        })
    };
    let output = run(&["--json"]).await.unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["certificates"][0]["name"], "pbx");
    let checks = report["certificates"][0]["checks"].as_array().unwrap();
    let items: Vec<&str> = checks.iter().map(|c| c["item"].as_str().unwrap()).collect();
    for item in ["clock", "directory", "dns", "caa", "responder", "port-80", "port-443", "mode"] {
        assert!(items.contains(&item), "{items:?}");
    }
    let failed = checks.iter().any(|check| check["verdict"] == "fail");
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{report:#}");

    let output = run(&["pbx"]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("pbx: "), "{text}");
    assert!(text.contains("directory: https://"), "{text}");
    assert_eq!(run(&["nobody"]).await.unwrap().status.code(), Some(64));
}
