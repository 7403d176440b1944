//! From nothing to a checked certificate, and what happens when it does not go straight.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pbxcert::acme::{AcmeAuthority, Authority as _, Auto, Deed, Error, Limits, Step, check_issued};
use pbxcert::cert::bundle::{Bundle, PrivateKey};
use pbxcert::cert::{Identifier, KeyType};
use pbxcert::config::{ChallengeSpec, Eab, Http01, IssuerSpec, Proxy};
use pbxcert::http::Trouble;
use pbxcert::state::{Account, Asked, FailureClass, Goal, OrderJournal, Stage};

use crate::ca::{Ca, Endpoint, Fault, Issue};

/// A host with one issuer: what a store would remember, and the authority.
struct Host {
    ca: Ca,
    folder: tempfile::TempDir,
    spec: IssuerSpec,
    method: Http01,
    auto: Auto,
    limits: Limits,
    authority: AcmeAuthority,
    accounts: BTreeMap<String, Account>,
}

impl Host {
    async fn new() -> Self {
        let listen = free_address();
        let host = Self::with(Ca::start().await, Http01::Listen(vec![listen]));
        host.ca.change(|b| b.validate_at = Some(listen));
        host
    }

    fn with(ca: Ca, method: Http01) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = IssuerSpec {
            name: "acme".into(),
            directory: ca.directory.clone(),
            contact: vec!["mailto:noc@voip.example".into()],
            agree_to_terms: true,
            trust_anchor: Some(ca.trust_anchor.clone()),
            profile: None,
            proxy: None,
            eab: None,
            rehearsal: None,
            weekly_limit: None,
        };
        let limits = Limits { request: Duration::from_secs(5), poll: Duration::from_secs(20) };
        let auto = Auto { port: 0, webroots: Vec::new() };
        let authority = authority(&spec, &method, folder.path().join("c"), limits, &auto);
        Self { ca, folder, spec, method, auto, limits, authority, accounts: BTreeMap::new() }
    }

    /// As after a crash: nothing is left but what was remembered.
    fn restart(&mut self) {
        let folder = self.folder.path().join("c");
        self.authority = authority(&self.spec, &self.method, folder, self.limits, &self.auto);
    }

    fn order(&self, names: &[&str]) -> OrderJournal {
        let identifiers: Vec<Identifier> = names.iter().map(|n| n.parse().unwrap()).collect();
        OrderJournal {
            asked: Asked {
                identifiers: identifiers.iter().cloned().collect(),
                key: KeyType::EcdsaP256,
                issuer: "acme".into(),
                profile: None,
            },
            identifiers,
            challenges: vec!["http".into()],
            replaces: None,
            goal: Goal::Certificate,
            key: PrivateKey::generate(KeyType::EcdsaP256).unwrap(),
            started_at: Timestamp::now(),
            stage: Stage::New,
        }
    }

    /// One step, remembered.
    async fn step(&mut self, order: &mut OrderJournal) -> Result<(), Error> {
        let directory = self.authority.directory(order.goal).unwrap_or_default().to_owned();
        let account = self.accounts.get(&directory);
        match self.authority.step(order, account, Timestamp::now()).await? {
            Step::Account(account) => {
                self.accounts.insert(account.directory.clone(), account);
            }
            Step::Order(stage) => order.stage = stage,
        }
        Ok(())
    }

    /// Steps until the stage is the last one.
    async fn drive(&mut self, order: &mut OrderJournal) -> Result<(), Error> {
        for _ in 0..20 {
            if matches!(order.stage, Stage::Downloaded { .. } | Stage::Rehearsed) {
                return Ok(());
            }
            self.step(order).await?;
        }
        panic!("twenty steps, and still {:?}", order.stage);
    }

    /// Steps until the stage has that word.
    async fn drive_to(&mut self, order: &mut OrderJournal, word: &str) {
        while order.stage.word() != word {
            self.step(order).await.unwrap();
        }
    }

    async fn issue(&mut self, names: &[&str]) -> Result<Bundle, Error> {
        let mut order = self.order(names);
        self.drive(&mut order).await?;
        checked(&order)
    }

    async fn fails(&mut self) -> Error {
        self.issue(&["pbx.example"]).await.unwrap_err()
    }

    /// The account is made; nothing is counted yet.
    async fn registered(&mut self) {
        let mut order = self.order(&["pbx.example"]);
        while self.accounts.get(&self.ca.directory).is_none_or(|a| a.url.is_none()) {
            self.step(&mut order).await.unwrap();
        }
        self.restart();
        self.ca.forget_requests();
    }

    fn responses(&self) -> usize {
        self.folder.path().join("c").read_dir().map(Iterator::count).unwrap_or_default()
    }
}

fn authority(
    spec: &IssuerSpec,
    method: &Http01,
    folder: PathBuf,
    limits: Limits,
    auto: &Auto,
) -> AcmeAuthority {
    let challenge = ChallengeSpec { name: "http".into(), method: method.clone() };
    let challenges = BTreeMap::from([("http".to_owned(), challenge)]);
    AcmeAuthority::with_auto(spec.clone(), challenges, folder, limits, auto.clone())
}

fn checked(order: &OrderJournal) -> Result<Bundle, Error> {
    let Stage::Downloaded { chain, .. } = &order.stage else { panic!("{:?}", order.stage) };
    check_issued(order, chain, Timestamp::now())
}

/// A loopback address of this test alone, so that nobody takes the port in between.
fn free_address() -> SocketAddr {
    use std::sync::atomic::{AtomicU8, Ordering};

    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id().to_be_bytes();
    let ip = [127, pid[2] | 1, pid[3], NEXT.fetch_add(1, Ordering::Relaxed)];
    let socket = std::net::TcpListener::bind((std::net::IpAddr::from(ip), 0)).unwrap();
    socket.local_addr().unwrap()
}

// ---------------------------------------------------------------- the straight way

#[tokio::test]
async fn from_nothing_to_a_certificate() {
    let mut host = Host::new().await;
    let bundle = host.issue(&["pbx.example", "192.0.2.7", "2001:db8::7"]).await.unwrap();
    assert_eq!(bundle.chain().len(), 2);
    let account = &host.accounts[&host.ca.directory];
    assert_eq!(account.contact, ["mailto:noc@voip.example"]);
    assert_eq!(host.ca.state().accounts[0].contact[0], "mailto:noc@voip.example");
    assert_eq!(host.responses(), 0);
    let Http01::Listen(listen) = &host.method else { unreachable!() };
    assert!(tokio::net::TcpStream::connect(listen[0]).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn one_issuance_with_the_account_there_needs_nine_requests() {
    let mut host = Host::new().await;
    host.registered().await;
    let begun = Instant::now();
    host.issue(&["pbx.example"]).await.unwrap();
    use Endpoint::{
        Authorization, Certificate, Challenge, Directory, Finalize, NewNonce, NewOrder, Order,
    };
    assert_eq!(
        host.ca.state().requests,
        [
            Directory,
            NewNonce,
            NewOrder,
            Authorization,
            Challenge,
            Order,
            Finalize,
            Order,
            Certificate
        ]
    );
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn renewal_information_costs_one_request_more() {
    let mut host = Host::new().await;
    let window = ("2026-12-01T00:00:00Z".to_owned(), "2026-12-02T00:00:00Z".to_owned());
    host.ca.change(|b| b.window = Some(window));
    host.registered().await;
    let bundle = host.issue(&["pbx.example"]).await.unwrap();
    let ari = host.authority.renewal_info(bundle.leaf(), Timestamp::now()).await.unwrap().unwrap();
    assert_eq!(ari.window.unwrap().start, "2026-12-01T00:00:00Z".parse().unwrap());
    assert_eq!(Some(ari.cert_id), bundle.leaf().cert_id());
    assert_eq!(host.ca.state().requests.len(), 10);
}

#[tokio::test]
async fn a_ca_without_renewal_information_is_not_asked() {
    let mut host = Host::new().await;
    let bundle = host.issue(&["pbx.example"]).await.unwrap();
    let ari = host.authority.renewal_info(bundle.leaf(), Timestamp::now()).await.unwrap();
    assert_eq!(ari, None);
    assert_eq!(host.ca.count(Endpoint::RenewalInfo), 0);
}

#[tokio::test]
async fn with_half_of_the_nonces_refused_twenty_of_twenty_succeed() {
    let mut host = Host::new().await;
    host.ca.change(|b| b.refuse_nonces = 50);
    for _ in 0..20 {
        host.accounts.clear();
        host.restart();
        host.issue(&["pbx.example", "sip.example", "www.example"]).await.unwrap();
    }
    let state = host.ca.state();
    assert_eq!((state.orders.len(), state.failed, state.accounts.len()), (20, 0, 20));
}

#[tokio::test]
async fn both_families_are_answered() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let socket = std::net::TcpListener::bind(listen).unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let mut host = Host::with(Ca::start().await, Http01::Listen(vec![address]));
        host.ca.change(|b| b.validate_at = Some(address));
        host.issue(&["pbx.example", "2001:db8::7"]).await.unwrap();
    }
}

#[tokio::test]
async fn the_usual_port_is_found_by_itself() {
    let socket = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let mut host = Host::with(Ca::start().await, Http01::Auto);
    host.auto.port = port;
    host.restart();
    host.ca.change(|b| b.validate_at = Some(([127, 0, 0, 1], port).into()));
    host.issue(&["pbx.example"]).await.unwrap();
}

#[tokio::test]
async fn a_valid_authorization_is_not_proved_again() {
    let mut host = Host::new().await;
    host.ca.change(|b| b.authorized = true);
    host.issue(&["pbx.example"]).await.unwrap();
    assert_eq!(host.ca.count(Endpoint::Challenge), 0);
}

#[tokio::test]
async fn an_order_that_is_valid_at_once_or_takes_its_time_is_the_same() {
    for processing in [0, 1, 4] {
        let mut host = Host::new().await;
        host.ca.change(|b| b.processing = processing);
        host.issue(&["pbx.example"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_profile_is_asked_for_only_where_it_is_offered() {
    let mut host = Host::new().await;
    host.spec.profile = Some("shortlived".into());
    host.restart();
    host.issue(&["pbx.example"]).await.unwrap();
    host.ca.change(|b| b.profiles = vec!["shortlived".into()]);
    host.restart();
    host.issue(&["pbx.example"]).await.unwrap();
    let profiles: Vec<Option<String>> =
        host.ca.state().orders.iter().map(|o| o.profile.clone()).collect();
    assert_eq!(profiles, [None, Some("shortlived".to_owned())]);
}

#[tokio::test]
async fn a_rehearsal_ends_before_the_certificate_and_has_its_own_account() {
    let mut host = Host::new().await;
    let staging = Ca::start().await;
    let at = match &host.method {
        Http01::Listen(all) => all[0],
        _ => unreachable!(),
    };
    staging.change(|b| b.validate_at = Some(at));
    host.spec.rehearsal = Some(staging.directory.clone());
    // Both test CAs, each with its own root.
    let roots = [&host.ca.trust_anchor, &staging.trust_anchor].map(|p| std::fs::read(p).unwrap());
    let anchor = host.folder.path().join("roots.pem");
    std::fs::write(&anchor, roots.concat()).unwrap();
    host.spec.trust_anchor = Some(anchor);
    host.restart();
    let mut order = host.order(&["pbx.example"]);
    order.goal = Goal::Rehearsal;
    host.drive(&mut order).await.unwrap();
    assert_eq!(order.stage, Stage::Rehearsed);
    assert_eq!(staging.count(Endpoint::Finalize), 0);
    assert_eq!(host.responses(), 0);
    assert!(host.ca.state().requests.is_empty());
    host.issue(&["pbx.example"]).await.unwrap();
    let keys: Vec<&[u8]> = host.accounts.values().map(|a| a.key.public()).collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn two_orders_go_side_by_side() {
    let mut host = Host::new().await;
    host.registered().await;
    let (mut one, mut two) = (host.order(&["a.example"]), host.order(&["b.example"]));
    let account = host.accounts[&host.ca.directory].clone();
    let drive = async |order: &mut OrderJournal| {
        while !matches!(order.stage, Stage::Downloaded { .. }) {
            let step = host.authority.step(order, Some(&account), Timestamp::now()).await.unwrap();
            let Step::Order(stage) = step else { panic!("{step:?}") };
            order.stage = stage;
        }
    };
    tokio::join!(drive(&mut one), drive(&mut two));
    checked(&one).unwrap();
    checked(&two).unwrap();
    assert_eq!(host.responses(), 0);
}

// ---------------------------------------------------------------- the account

#[tokio::test]
async fn the_key_is_remembered_before_the_ca_hears_of_it() {
    let mut host = Host::new().await;
    let mut order = host.order(&["pbx.example"]);
    host.step(&mut order).await.unwrap();
    let made = host.accounts[&host.ca.directory].clone();
    assert_eq!(made.url, None);
    assert!(host.ca.state().requests.is_empty());
    // The answer to newAccount is lost: the same key finds the same account.
    host.ca.fail(Endpoint::NewAccount, Fault::Lost);
    let error = host.step(&mut order).await.unwrap_err();
    assert!(matches!(error, Error::Http { deed: Deed::Account, .. }), "{error}");
    host.restart();
    host.drive(&mut order).await.unwrap();
    assert_eq!(host.ca.state().accounts.len(), 1);
    assert_eq!(host.accounts[&host.ca.directory].key.public(), made.key.public());
}

#[tokio::test]
async fn an_account_that_the_ca_forgot_is_registered_again_once_with_its_key() {
    let mut host = Host::new().await;
    host.registered().await;
    let key = host.accounts[&host.ca.directory].key.public().to_owned();
    host.ca.state().accounts[0].gone = true;
    host.issue(&["pbx.example"]).await.unwrap();
    assert_eq!(host.ca.state().accounts.len(), 2);
    assert_eq!(host.accounts[&host.ca.directory].key.public(), key);
    // A CA that always forgets is not asked for ever.
    for _ in 0..2 {
        let fault = Fault::problem(400, "accountDoesNotExist", "who?");
        host.ca.fail(Endpoint::NewOrder, fault);
    }
    let error = host.fails().await;
    assert_eq!(error.failure(Timestamp::now(), false).class, FailureClass::Person);
    assert_eq!(host.ca.count(Endpoint::NewAccount), 2);
}

#[tokio::test]
async fn an_account_of_another_directory_is_none() {
    let mut host = Host::new().await;
    host.registered().await;
    let mut account = host.accounts[&host.ca.directory].clone();
    account.directory = "https://elsewhere.example/".into();
    let order = host.order(&["pbx.example"]);
    let step = host.authority.step(&order, Some(&account), Timestamp::now()).await.unwrap();
    let Step::Account(new) = step else { panic!("{step:?}") };
    assert_eq!((new.directory, new.url), (host.ca.directory.clone(), None));
    assert_ne!(new.key.public(), account.key.public());
}

#[tokio::test]
async fn contacts_that_changed_are_told() {
    let mut host = Host::new().await;
    host.registered().await;
    host.spec.contact = vec!["mailto:new@voip.example".into()];
    host.restart();
    host.ca.fail(Endpoint::Account, Fault::problem(400, "invalidContact", "no"));
    // A CA that does not like them holds up nothing.
    host.issue(&["pbx.example"]).await.unwrap();
    assert_eq!(host.ca.state().accounts[0].contact[0], "mailto:noc@voip.example");
    host.restart();
    host.issue(&["pbx.example"]).await.unwrap();
    assert_eq!(host.ca.state().accounts[0].contact[0], "mailto:new@voip.example");
    assert_eq!(host.accounts[&host.ca.directory].contact, host.spec.contact);
}

#[tokio::test]
async fn an_external_account_is_bound_and_its_absence_explained() {
    let mut host = Host::new().await;
    host.ca.change(|b| b.bindings = vec![("kid-1".into(), vec![0xfb, 0xff, 1, 2, 3])]);
    let error = host.fails().await;
    assert!(error.to_string().contains("set eab = "), "{error}");
    assert_eq!(host.ca.count(Endpoint::NewAccount), 0);

    let hmac_file = host.folder.path().join("mac");
    host.spec.eab = Some(Eab { key_id: "kid-1".into(), hmac_file: hmac_file.clone() });
    host.restart();
    let error = host.fails().await;
    assert!(error.to_string().contains("cannot read the MAC key"), "{error}");

    std::fs::write(&hmac_file, "AAAA").unwrap();
    let error = host.fails().await;
    assert!(error.to_string().contains("the MAC is wrong"), "{error}");
    assert_eq!(error.failure(Timestamp::now(), false).class, FailureClass::Person);

    std::fs::write(&hmac_file, "+/8BAgM=\n").unwrap();
    host.issue(&["pbx.example"]).await.unwrap();
    assert_eq!(host.ca.state().accounts[0].binding.as_deref(), Some("kid-1"));
}

#[tokio::test]
async fn terms_are_agreed_to_by_a_person_only() {
    let mut host = Host::new().await;
    host.ca.change(|b| b.terms = Some("https://ca.example/terms".into()));
    host.spec.agree_to_terms = false;
    host.restart();
    let error = host.fails().await;
    assert!(error.to_string().contains("read https://ca.example/terms and set"), "{error}");
    assert_eq!(host.ca.count(Endpoint::NewAccount), 0);
    assert_eq!(error.failure(Timestamp::now(), false).class, FailureClass::Person);
}

// ---------------------------------------------------------------- crashes

#[tokio::test]
async fn a_crash_between_any_two_steps_costs_no_second_order() {
    let words = ["ordered", "challenge published", "validated", "issued", "downloaded"];
    for word in words {
        let mut host = Host::new().await;
        let mut order = host.order(&["pbx.example", "sip.example"]);
        host.drive_to(&mut order, word).await;
        host.restart();
        host.drive(&mut order).await.unwrap();
        checked(&order).unwrap();
        assert_eq!(host.ca.state().orders.len(), 1, "{word}");
        assert_eq!(host.ca.state().failed, 0, "{word}");
        assert_eq!(host.responses(), 0, "{word}");
    }
}

#[tokio::test]
async fn a_crash_after_every_step_costs_no_second_order() {
    let mut host = Host::new().await;
    let mut order = host.order(&["pbx.example", "sip.example"]);
    while !matches!(order.stage, Stage::Downloaded { .. }) {
        host.step(&mut order).await.unwrap();
        host.restart();
    }
    checked(&order).unwrap();
    let state = host.ca.state();
    assert_eq!((state.orders.len(), state.accounts.len()), (1, 1));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_again() {
    for (endpoint, word) in [
        (Endpoint::Authorization, "ordered"),
        (Endpoint::Challenge, "challenge published"),
        (Endpoint::Order, "challenge published"),
        (Endpoint::Finalize, "validated"),
        (Endpoint::Certificate, "issued"),
    ] {
        let mut host = Host::new().await;
        let mut order = host.order(&["pbx.example"]);
        host.drive_to(&mut order, word).await;
        host.ca.fail(endpoint, Fault::Lost);
        let error = host.drive(&mut order).await.unwrap_err();
        assert!(error.keeps_order(), "{endpoint:?}: {error}");
        for restarted in [false, true] {
            if restarted {
                host.restart();
            }
            host.drive(&mut order).await.unwrap();
        }
        checked(&order).unwrap();
        assert_eq!(host.ca.state().orders.len(), 1, "{endpoint:?}");
    }
}

#[tokio::test]
async fn responses_of_a_crash_are_taken_back_by_the_next_process() {
    let mut host = Host::new().await;
    let mut order = host.order(&["pbx.example", "sip.example"]);
    host.drive_to(&mut order, "challenge published").await;
    let Stage::Published { tokens, .. } = &order.stage else { unreachable!() };
    assert_eq!(host.responses(), 2);
    host.restart();
    host.authority.retract(tokens);
    assert_eq!(host.responses(), 0);
}

#[tokio::test]
async fn an_order_that_the_ca_has_lost_is_given_up() {
    for word in ["ordered", "challenge published", "validated", "issued"] {
        let mut host = Host::new().await;
        let mut order = host.order(&["pbx.example"]);
        host.drive_to(&mut order, word).await;
        host.ca.state().orders[0].gone = true;
        host.restart();
        let error = host.drive(&mut order).await.unwrap_err();
        assert!(matches!(error, Error::OrderLost { .. }), "{word}: {error}");
        assert!(!error.keeps_order());
        // What a caller does then.
        host.issue(&["pbx.example"]).await.unwrap();
    }
}

// ---------------------------------------------------------------- replacing

#[tokio::test]
async fn a_replacement_is_named_where_renewal_information_is_offered() {
    let mut host = Host::new().await;
    let mut order = host.order(&["pbx.example"]);
    order.replaces = Some("aki.serial".into());
    host.drive(&mut order).await.unwrap();
    assert_eq!(host.ca.state().orders[0].replaces, None);

    let window = ("2026-12-01T00:00:00Z".to_owned(), "2026-12-02T00:00:00Z".to_owned());
    host.ca.change(|b| b.window = Some(window));
    host.restart();
    order.stage = Stage::New;
    host.drive(&mut order).await.unwrap();
    assert_eq!(host.ca.state().orders[1].replaces.as_deref(), Some("aki.serial"));

    // A second time the CA refuses it, and it is ordered on its own.
    order.stage = Stage::New;
    let error = host.drive(&mut order).await.unwrap_err();
    let Error::ReplacesRefused { detail, .. } = &error else { panic!("{error}") };
    assert_eq!(detail, "replaced before");
    assert!(error.keeps_order());
    order.replaces = None;
    host.drive(&mut order).await.unwrap();

    // Refused for another reason: it would not help.
    order = host.order(&["pbx.example"]);
    order.replaces = Some("aki.other".into());
    for (status, kind, without) in [
        (400, "malformed", true),
        (404, "malformed", true),
        (409, "conflict", true),
        (403, "unauthorized", true),
        (429, "rateLimited", false),
        (403, "rejectedIdentifier", false),
        (500, "serverInternal", false),
    ] {
        host.ca.fail(Endpoint::NewOrder, Fault::problem(status, kind, "no"));
        let error = host.drive(&mut order).await.unwrap_err();
        let refused = matches!(error, Error::ReplacesRefused { .. });
        assert_eq!(refused, without, "{kind}: {error}");
    }
    let lost = "could not find an order for the given certificate: no such serial number";
    host.ca.fail(Endpoint::NewOrder, Fault::problem(500, "serverInternal", lost));
    let error = host.drive(&mut order).await.unwrap_err();
    assert!(matches!(error, Error::ReplacesRefused { .. }), "{error}");
}

#[tokio::test]
async fn a_ca_that_ignores_the_replacement_makes_one_order_only() {
    let mut host = Host::new().await;
    let window = ("2026-12-01T00:00:00Z".to_owned(), "2026-12-02T00:00:00Z".to_owned());
    host.ca.change(|b| (b.window, b.ignore_replaces) = (Some(window), true));
    let mut order = host.order(&["pbx.example"]);
    order.replaces = Some("aki.serial".into());
    host.drive(&mut order).await.unwrap();
    checked(&order).unwrap();
    assert_eq!(host.ca.state().orders.len(), 1);
}

// ---------------------------------------------------------------- the CA says no, or nonsense

#[tokio::test]
async fn a_validation_that_fails_says_which_name_and_why() {
    for stay_pending in [false, true] {
        let mut host = Host::new().await;
        // The CA looks where nobody is.
        let nobody = free_address();
        host.ca.change(|b| (b.validate_at, b.stay_pending) = (Some(nobody), stay_pending));
        let error = host.fails().await;
        let Error::Validation(all) = &error else { panic!("{error}") };
        assert_eq!(all[0].identifier.to_string(), "pbx.example");
        assert_eq!(all[0].problem.kind.as_deref(), Some("connection"));
        let failure = error.failure(Timestamp::now(), false);
        assert_eq!(failure.class, FailureClass::Validation);
        assert!(failure.text.contains("port 80"), "{}", failure.text);
        assert!(!error.keeps_order());
        assert_eq!((host.ca.state().failed, host.responses()), (1, 0));
    }
}

#[tokio::test]
async fn what_we_cannot_see_ourselves_the_ca_is_not_told() {
    let mut host = Host::new().await;
    let Http01::Listen(listen) = &host.method else { unreachable!() };
    let stranger = tokio::net::TcpListener::bind(listen[0]).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = stranger.accept().await {
            drop(stream);
        }
    });
    let error = host.fails().await;
    assert!(matches!(error, Error::Challenge { .. }), "{error}");
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    assert_eq!((host.ca.count(Endpoint::Challenge), host.responses()), (0, 0));
    assert!(error.keeps_order());
}

#[tokio::test]
async fn a_second_way_of_proof_is_tried_when_the_first_fails() {
    let mut host = Host::new().await;
    let missing = Http01::Webroot(host.folder.path().join("missing"));
    let challenges = [("web", missing), ("http", host.method.clone())]
        .map(|(name, method)| (name.to_owned(), ChallengeSpec { name: name.to_owned(), method }));
    let folder = host.folder.path().join("c");
    host.authority = AcmeAuthority::new(host.spec.clone(), challenges.into(), folder, host.limits);
    let mut order = host.order(&["pbx.example"]);
    order.challenges = vec!["web".into()];
    let error = host.drive(&mut order).await.unwrap_err();
    assert!(error.to_string().contains("cannot write a response below"), "{error}");
    order.challenges = vec!["web".into(), "http".into()];
    host.drive(&mut order).await.unwrap();
}

#[tokio::test]
async fn a_ca_without_http_01_is_for_a_person() {
    let mut host = Host::new().await;
    host.ca.change(|b| b.offer = vec!["dns-01"]);
    let error = host.fails().await;
    assert_eq!(
        error.to_string(),
        "no way to prove control of pbx.example: the CA offers dns-01, not http-01"
    );
    assert_eq!(error.failure(Timestamp::now(), false).class, FailureClass::Person);
}

#[tokio::test]
async fn every_refusal_is_told_as_what_it_is() {
    use FailureClass::{Person, RateLimited, Transient};

    for (fault, class, words) in [
        (Fault::problem(429, "rateLimited", "too many"), RateLimited, "too many"),
        (Fault::text(429, "slow down"), RateLimited, "\"slow down\""),
        (Fault::problem(503, "rateLimited", "busy"), RateLimited, "busy"),
        (Fault::problem(500, "serverInternal", "oops"), Transient, "oops"),
        (Fault::text(502, "<html>Bad Gateway"), Transient, "HTTP status 502, \"<html>Bad"),
        (Fault::text(400, "<html>Go away"), Person, "HTTP status 400, \"<html>Go"),
        (Fault::text(200, "<html>Hello"), Transient, "is not understood"),
        (Fault::text(200, "{\"status\":\"pending\""), Transient, "is not understood"),
        (Fault::problem(403, "caa", "CAA record"), Person, "CAA record in the DNS"),
        (Fault::problem(400, "rejectedIdentifier", "policy"), Person, "policy"),
        (Fault::problem(403, "userActionRequired", "new terms"), Person, "new terms"),
        (Fault::text(500, &"x".repeat(10 << 20)), Transient, "HTTP status 500"),
        (Fault::text(200, &"x".repeat(10 << 20)), Transient, "longer than"),
        (Fault::Reset, Transient, "ended before the answer was whole"),
        (Fault::Truncated, Transient, "ended before the answer was whole"),
        (Fault::Slow(Duration::from_secs(60)), Transient, "did not answer in time"),
    ] {
        for endpoint in [
            Endpoint::Directory,
            Endpoint::NewNonce,
            Endpoint::NewOrder,
            Endpoint::Authorization,
            Endpoint::Challenge,
            Endpoint::Finalize,
            Endpoint::Certificate,
        ] {
            // A chain may be any text: what is wrong with it is found by the check.
            let ok = matches!(fault, Fault::Answer { status: 200, .. });
            if ok && endpoint == Endpoint::Certificate {
                continue;
            }
            // A HEAD has no body: only the status tells.
            let bare = matches!(fault, Fault::Answer { status: 429 | 500 | 502, .. });
            if endpoint == Endpoint::NewNonce && !bare && !matches!(fault, Fault::Reset) {
                continue;
            }
            // One slow one is enough.
            if matches!(fault, Fault::Slow(_)) && endpoint != Endpoint::NewOrder {
                continue;
            }
            let mut host = Host::new().await;
            host.registered().await;
            if matches!(fault, Fault::Slow(_)) {
                host.limits.request = Duration::from_millis(700);
                host.restart();
            }
            let fault = fault.clone().with("retry-after", "7");
            host.ca.fail(endpoint, fault.clone());
            let error = host.fails().await;
            let failure = error.failure(Timestamp::now(), false);
            let what = format!("{endpoint:?}, {fault:.80?}: {}", failure.text);
            assert_eq!(failure.class, class, "{what}");
            if endpoint != Endpoint::NewNonce {
                assert!(failure.text.contains(words), "{what}");
            }
            assert!(failure.text.len() < 1000, "{what}");
            if matches!(error, Error::Refused { .. }) {
                assert!(failure.retry_after.is_some(), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_certificate_is_refused() {
    for (issue, words) in [
        (Issue::OtherKey, "the private key does not belong"),
        (Issue::OtherNames, "it is for other.example, not for pbx.example"),
        (Issue::Expired, "it ended at"),
        (Issue::NotYetValid, "more than a day from now"),
    ] {
        let mut host = Host::new().await;
        host.ca.change(|b| b.issue = issue);
        let error = host.fails().await;
        assert!(matches!(error, Error::Certificate(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.keeps_order());
    }
}

#[tokio::test]
async fn a_certificate_that_is_there_a_moment_later_is_fetched() {
    let mut host = Host::new().await;
    host.ca.fail(Endpoint::Certificate, Fault::problem(404, "malformed", "not yet"));
    host.issue(&["pbx.example"]).await.unwrap();
    assert_eq!(host.ca.count(Endpoint::Certificate), 2);
}

#[tokio::test]
async fn an_order_that_is_not_ready_is_looked_at_again() {
    let mut host = Host::new().await;
    host.ca.fail(Endpoint::Finalize, Fault::problem(403, "orderNotReady", "wait"));
    host.issue(&["pbx.example"]).await.unwrap();
    assert_eq!(host.ca.state().orders.len(), 1);
}

#[tokio::test]
async fn a_ca_that_takes_longer_than_our_patience_is_asked_again_later() {
    let mut host = Host::new().await;
    host.ca.change(|b| b.processing = 100_000);
    host.limits.poll = Duration::from_millis(400);
    host.restart();
    let mut order = host.order(&["pbx.example"]);
    let error = host.drive(&mut order).await.unwrap_err();
    assert!(matches!(error, Error::Pending { what: Deed::Finalize, .. }), "{error}");
    assert!(error.keeps_order());
    let polls = host.ca.count(Endpoint::Order);
    assert!((2..8).contains(&polls), "{polls} polls: seldom enough, and not never");

    // It says when to come back: nobody waits for that in here.
    host.ca.change(|b| b.retry_after = Some("3600".into()));
    let begun = Instant::now();
    let error = host.drive(&mut order).await.unwrap_err();
    let failure = error.failure(Timestamp::now(), false);
    let wait = failure.retry_after.unwrap().duration_since(failure.at);
    assert_eq!((failure.class, wait.as_secs()), (FailureClass::Transient, 3600));
    assert!(begun.elapsed() < Duration::from_secs(3));

    host.ca.change(|b| b.retry_after = None);
    host.ca.state().orders_ready();
    host.restart();
    host.drive(&mut order).await.unwrap();
    checked(&order).unwrap();
    assert_eq!(host.ca.state().orders.len(), 1);
}

#[tokio::test]
async fn the_ca_is_asked_when_it_said() {
    let mut host = Host::new().await;
    host.ca.change(|b| (b.processing, b.retry_after) = (2, Some("1".into())));
    let begun = Instant::now();
    host.issue(&["pbx.example"]).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // Validation, processing, and a second later valid.
    assert_eq!(host.ca.count(Endpoint::Order), 3);
}

// ---------------------------------------------------------------- the way to the CA

#[tokio::test]
async fn nothing_is_sent_without_tls() {
    let mut host = Host::new().await;
    host.ca.change(|b| b.scheme = "http");
    let error = host.fails().await;
    assert!(error.to_string().contains("/new-nonce is refused: only https is safe"), "{error}");
    assert_eq!(host.ca.state().requests, [Endpoint::Directory]);

    host.spec.directory = host.spec.directory.replacen("https", "http", 1);
    host.restart();
    let error = host.fails().await;
    assert!(error.to_string().contains("/directory is refused: only https is safe"), "{error}");
}

fn trouble(error: &Error) -> Option<Trouble> {
    match error {
        Error::Http { source: pbxcert::http::Error::Transport { trouble, .. }, .. } => {
            Some(*trouble)
        }
        _ => None,
    }
}

#[tokio::test]
async fn each_trouble_on_the_way_has_its_own_words() {
    let listen = Http01::Listen(Vec::new());
    let old = rcgen::date_time_ymd(2020, 1, 1);
    let far = rcgen::date_time_ymd(2090, 1, 1);

    let ca = Ca::start_with(|p| (p.not_before, p.not_after) = (old - Duration::from_secs(1), old));
    let error = Host::with(ca.await, listen.clone()).fails().await;
    assert_eq!(trouble(&error), Some(Trouble::CertificateExpired), "{error}");

    let ca = Ca::start_with(|p| (p.not_before, p.not_after) = (far, far + Duration::from_secs(9)));
    let error = Host::with(ca.await, listen.clone()).fails().await;
    assert_eq!(trouble(&error), Some(Trouble::CertificateNotYetValid), "{error}");
    assert!(error.to_string().contains("clock"), "{error}");

    // With an anchor of another CA, this one is not trusted: the anchor stands alone.
    let other = Ca::start().await;
    let mut host = Host::with(Ca::start().await, listen.clone());
    host.spec.trust_anchor = Some(other.trust_anchor.clone());
    host.restart();
    let error = host.fails().await;
    assert_eq!(trouble(&error), Some(Trouble::CertificateUntrusted), "{error}");

    host.spec.trust_anchor = Some(host.folder.path().join("missing.pem"));
    host.restart();
    let error = host.fails().await;
    assert!(error.to_string().contains("cannot use the trust anchor"), "{error}");
    assert_eq!(error.failure(Timestamp::now(), false).class, FailureClass::Person);

    for (directory, expected) in [
        (format!("https://{}/", free_address()), Trouble::Connect),
        ("https://no-such-host.invalid/".to_owned(), Trouble::Dns),
    ] {
        host.spec.trust_anchor = Some(host.ca.trust_anchor.clone());
        host.spec.directory = directory;
        host.restart();
        let error = host.fails().await;
        assert_eq!(trouble(&error), Some(expected), "{error}");
    }

    // Plain HTTP where TLS is spoken.
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    host.spec.directory = format!("https://{}/", plain.local_addr().unwrap());
    host.restart();
    let server = async {
        use tokio::io::AsyncWriteExt as _;
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        error = host.fails() => error,
        () = server => unreachable!(),
    };
    assert_eq!(trouble(&error), Some(Trouble::Tls), "{error}");
}

#[tokio::test]
async fn a_proxy_is_used_and_its_password_is_never_shown() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};

    let mut host = Host::new().await;
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = socket.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let mut tunnels = 0;
        loop {
            let (mut client, _) = socket.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            // user:s3cret
            if !head.to_lowercase().contains("proxy-authorization: basic dxnlcjpzm2nyzxq=") {
                let no = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                client.write_all(no).await.unwrap();
                continue;
            }
            tunnels += 1;
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let mut ca = tokio::net::TcpStream::connect(target).await.unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut ca).await });
            assert!(tunnels < 100);
        }
    });
    let auth_file = host.folder.path().join("proxy");
    host.spec.proxy =
        Some(Proxy { url: format!("http://{proxy}"), auth_file: Some(auth_file.clone()) });
    host.restart();
    std::fs::write(&auth_file, "user:wr0ng\n").unwrap();
    let error = host.fails().await;
    assert_eq!(trouble(&error), Some(Trouble::ProxyCredentials), "{error}");
    assert!(!format!("{error:?} {error}").contains("wr0ng"));
    std::fs::write(&auth_file, "user:s3cret\n").unwrap();
    host.issue(&["pbx.example"]).await.unwrap();
    std::fs::write(&auth_file, "nothing\n").unwrap();
    host.restart();
    let error = host.fails().await;
    assert!(error.to_string().contains("holds no user:password"), "{error}");
    assert!(!format!("{error:?} {error}").contains("nothing"));
    served.abort();
}
