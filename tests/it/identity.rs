//! A system that is copied, moved, repaired or made anew, by the real verbs over the files of a
//! machine in a folder. The first part is the table of README.md, "When a machine is copied".

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use jiff::SignedDuration;
use pbxcert::clock::{Clock as _, SystemClock};
use pbxcert::store::Store;
use serde_json::Value;
use tempfile::TempDir;

use crate::ca::{Endpoint, Fault};
use crate::host::{Host, LIMIT, Run, until};
use crate::real::sink::Sink;

/// Identifiers that must appear nowhere.
const RAW: [&str; 9] = [
    "0123456789abcdef0123456789abcdef",
    "fedcba9876543210fedcba9876543210",
    "4c4c4544",
    "b04f4d4b32",
    "9e107d9d",
    "52:54:00",
    "bc:24:11",
    "5c3b2a10",
    "i-0abc",
];

/// A host whose machine is a folder.
struct Site {
    host: Host,
    root: TempDir,
}

impl Site {
    /// A virtual machine that pbxcert knows.
    async fn vm() -> Self {
        let site = Self::unknown().await;
        site.put("proc/cpuinfo", "flags\t: fpu hypervisor\n");
        site.known().await
    }

    async fn metal() -> Self {
        Self::unknown().await.known().await
    }

    /// A container that is kept like a machine.
    async fn lxc() -> Self {
        let site = Self::unknown().await;
        site.put("run/systemd/container", "lxc\n");
        site.put("proc/self/mounts", "rpool/data/subvol-101-disk-0 / zfs rw 0 0\n");
        fs::remove_dir_all(site.path("sys/class/net/eth0")).unwrap();
        site.end_of_a_pair("bc:24:11:00:00:01");
        site.known().await
    }

    async fn docker() -> Self {
        let site = Self::unknown().await;
        site.put(".dockerenv", "");
        site.put("proc/self/mounts", "overlay / overlay rw 0 0\n");
        site.known().await
    }

    /// Bare metal where pbxcert was never started.
    async fn unknown() -> Self {
        let site = Self { host: Host::new().await, root: tempfile::tempdir().unwrap() };
        site.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        site.put("sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510-8054-b8b04f4d4b32\n");
        site.put("proc/cpuinfo", "flags\t: fpu vme\n");
        site.put("proc/self/mounts", "/dev/sda2 / ext4 rw 0 0\n");
        site.disk("5c3b2a10-1111-2222-3333-444455556666");
        site.card("eth0", "52:54:00:00:00:01");
        site
    }

    /// After its first start.
    async fn known(self) -> Self {
        self.pbxcert(&["renew"]).await.expect(0);
        assert_eq!(self.state().await, "same");
        self
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn card(&self, name: &str, address: &str) {
        self.put(&format!("sys/class/net/{name}/address"), address);
        self.put(&format!("sys/class/net/{name}/type"), "1\n");
        self.put(&format!("sys/class/net/{name}/device/vendor"), "0x1af4\n");
    }

    fn end_of_a_pair(&self, address: &str) {
        for (file, text) in [
            ("address", address),
            ("type", "1"),
            ("addr_assign_type", "3"),
            ("ifindex", "2"),
            ("iflink", "37"),
        ] {
            self.put(&format!("sys/class/net/eth0/{file}"), text);
        }
    }

    fn disk(&self, uuid: &str) {
        let folder = self.path("dev/disk/by-uuid");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        symlink("../../sda2", folder.join(uuid)).unwrap();
    }

    fn machine_id(&self) {
        self.put("etc/machine-id", "fedcba9876543210fedcba9876543210\n");
    }

    fn board(&self) {
        self.put("sys/class/dmi/id/product_uuid", "9e107d9d-372b-4b68-8ad4-1c1d2f3a4b5c\n");
    }

    /// What a hypervisor gives to a copy that it is told to be one.
    fn cloned(&self) {
        self.board();
        self.card("eth0", "52:54:00:00:00:02");
    }

    fn root_variable(&self) -> [(&'static str, String); 1] {
        [("PBXCERT_ROOT", self.root.path().display().to_string())]
    }

    async fn pbxcert(&self, arguments: &[&str]) -> Run {
        self.host.pbxcert_with(arguments, &self.root_variable()).await
    }

    async fn show(&self) -> Value {
        self.pbxcert(&["identity", "show", "--json"]).await.expect(0).json()
    }

    /// `same`, `changed` or `possible-copy`.
    async fn state(&self) -> String {
        self.show().await["state"].as_str().unwrap().to_owned()
    }

    /// Marks that are not `same` or `absent`.
    async fn changed(&self) -> Vec<String> {
        let shown = self.show().await;
        let lines = shown["marks"].as_array().unwrap().iter();
        let lines = lines.filter(|line| line["standing"] == "changed");
        lines.map(|line| line["mark"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether an order is made that a person wants; those at the CA are counted.
    async fn orders(&self) -> bool {
        let before = self.host.orders();
        let run = self.pbxcert(&["renew", "--force"]).await;
        let ordered = self.host.orders() > before;
        assert_eq!(run.code, Some(if ordered { 0 } else { 75 }), "{run:?}");
        ordered
    }

    /// Nobody is asked, and nothing is held up.
    async fn is_left_alone(&self) {
        let status = self.pbxcert(&["status"]).await.expect(0);
        assert!(!status.err.contains("identity keep"), "{status:?}");
        assert!(self.orders().await);
    }

    /// It asks, and orders nothing until it is answered.
    async fn asks(&self) {
        assert_eq!(self.state().await, "possible-copy");
        assert!(!self.orders().await);
        self.pbxcert(&["identity", "keep"]).await.expect(0);
        assert_eq!(self.state().await, "same");
        assert!(self.orders().await);
    }

    /// What the daily check says of it.
    async fn checked(&self) -> Value {
        let report = self.pbxcert(&["check", "--json"]).await.json();
        let mut items = report["items"].as_array().unwrap().iter();
        items.rfind(|item| item["topic"] == "duplicate").unwrap().clone()
    }

    fn accounts_left(&self) -> usize {
        let folder = self.host.state_dir().join("shared/issuers/acme");
        let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().contains(".left-")).count()
    }

    fn instance_key(&self) -> Vec<u8> {
        fs::read(self.host.state_dir().join("node/instance.key")).unwrap()
    }
}

// ---------------------------------------------------------------- the table

#[tokio::test]
async fn a_system_that_was_installed_again_asks() {
    let site = Site::vm().await;
    site.machine_id();
    site.disk("ffffaaaa-1111-2222-3333-444455556666");
    assert_eq!(site.changed().await, ["machine-id", "disk"]);
    site.asks().await;
}

#[tokio::test]
async fn a_clone_of_a_virtual_machine_asks() {
    let site = Site::vm().await;
    site.cloned();
    assert_eq!(site.changed().await, ["board", "network"]);
    site.asks().await;
}

#[tokio::test]
async fn a_backup_that_is_restored_to_another_virtual_machine_asks_and_to_the_same_does_not() {
    let site = Site::vm().await;
    site.is_left_alone().await;
    site.cloned();
    site.asks().await;
}

#[tokio::test]
async fn an_instance_that_a_cloud_makes_from_an_image_of_a_running_system_asks() {
    let site = Site::unknown().await;
    site.put("proc/cpuinfo", "flags\t: fpu hypervisor\n");
    site.put("var/lib/cloud/data/instance-id", "i-0abcdef0123456789\n");
    let site = site.known().await;
    site.put("var/lib/cloud/data/instance-id", "i-0abcdef9999999999\n");
    site.cloned();
    assert_eq!(site.changed().await, ["board", "network", "instance"]);
    site.asks().await;
}

#[tokio::test]
async fn hosts_from_one_cloud_image_with_the_same_machine_id_are_not_asked() {
    // The image had no state yet: each accepts itself at its first start, under a key of its own.
    let (one, other) = (Site::vm().await, Site::unknown().await);
    other.cloned();
    let other = other.known().await;
    other.is_left_alone().await;
    let identity =
        |site: &Site| fs::read_to_string(site.host.state_dir().join("node/identity.json")).unwrap();
    let hashes = |text: &str| -> Vec<String> {
        let words = text.split('"').filter(|word| word.len() == 32);
        words.map(str::to_owned).collect()
    };
    let (one, other) = (hashes(&identity(&one)), hashes(&identity(&other)));
    assert!(one.len() >= 5 && one.iter().all(|hash| !other.contains(hash)));
}

#[tokio::test]
async fn bare_metal_that_became_a_virtual_machine_asks() {
    let site = Site::metal().await;
    site.put("proc/cpuinfo", "flags\t: fpu hypervisor\n");
    site.cloned();
    site.asks().await;
}

#[tokio::test]
async fn a_board_that_was_swapped_takes_its_network_cards_along_and_is_only_told() {
    let site = Site::metal().await;
    site.cloned();
    assert_eq!(site.changed().await, ["board", "network"]);
    assert_eq!(site.state().await, "changed");
    site.pbxcert(&["identity", "show"]).await.expect(0).says("if nobody answers, that is taken");
    site.is_left_alone().await;
}

#[tokio::test]
async fn a_network_card_that_was_swapped_is_no_question() {
    for site in [Site::metal().await, Site::vm().await] {
        site.card("eth0", "52:54:00:00:00:07");
        assert_eq!(site.state().await, "changed");
        site.is_left_alone().await;
    }
}

#[tokio::test]
async fn adapters_bridges_and_ends_of_containers_are_no_change() {
    let site = Site::vm().await;
    site.card("enx0", "52:54:00:00:00:08");
    site.put("sys/class/net/docker0/address", "02:42:00:00:00:01");
    site.put("sys/class/net/veth7/address", "6a:00:00:00:00:01");
    assert_eq!(site.state().await, "same");
    site.is_left_alone().await;
    fs::remove_dir_all(site.path("sys/class/net/enx0")).unwrap();
    assert_eq!(site.state().await, "same");
}

#[tokio::test]
async fn a_disk_that_was_replaced_is_no_question() {
    let site = Site::metal().await;
    site.disk("ffffaaaa-1111-2222-3333-444455556666");
    assert_eq!(site.changed().await, ["disk"]);
    site.is_left_alone().await;
}

#[tokio::test]
async fn a_container_that_is_made_anew_at_each_update_is_no_question() {
    let site = Site::docker().await;
    site.machine_id();
    site.cloned();
    assert_eq!(site.changed().await, ["machine-id", "network"]);
    site.is_left_alone().await;
}

#[tokio::test]
async fn a_container_that_moves_to_another_host_is_no_change() {
    let site = Site::lxc().await;
    site.board();
    site.disk("ffffaaaa-1111-2222-3333-444455556666");
    assert_eq!(site.state().await, "same");
    site.is_left_alone().await;
}

#[tokio::test]
async fn a_copy_of_a_container_asks_when_its_machine_id_was_reset_as_it_should() {
    let site = Site::lxc().await;
    site.end_of_a_pair("bc:24:11:00:00:02");
    // One mark alone is no question: the address may have been given anew.
    assert_eq!(site.state().await, "changed");
    site.machine_id();
    site.asks().await;
}

#[tokio::test]
async fn a_live_migration_a_reboot_and_a_snapshot_change_nothing() {
    let site = Site::vm().await;
    // Another processor below, and the state as it was before.
    let state = site.host.state_dir().join("node/identity.json");
    let snapshot = fs::read(&state).unwrap();
    site.put("proc/cpuinfo", "model name\t: another\nflags\t: fpu hypervisor avx2\n");
    site.put("proc/sys/kernel/random/boot_id", "9b1d\n");
    assert_eq!(site.state().await, "same");
    site.is_left_alone().await;
    fs::write(&state, snapshot).unwrap();
    assert_eq!(site.state().await, "same");
}

#[tokio::test]
async fn firmware_that_shows_junk_or_the_other_order_of_bytes_changes_nothing() {
    let site = Site::vm().await;
    for uuid in [
        "44454c4c-4200-1035-8054-b8b04f4d4b32",
        "03000200-0400-0500-0006-000700080009",
        "00000000-0000-0000-0000-000000000000",
    ] {
        site.put("sys/class/dmi/id/product_uuid", uuid);
        site.machine_id();
        assert_eq!(site.changed().await, ["machine-id"], "{uuid}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_absent_and_takes_no_question_back() {
    let site = Site::vm().await;
    fs::remove_file(site.path("sys/class/dmi/id/product_uuid")).unwrap();
    fs::remove_file(site.path("etc/machine-id")).unwrap();
    assert_eq!(site.state().await, "same");
    site.machine_id();
    site.board();
    assert!(!site.orders().await);
    fs::remove_file(site.path("sys/class/dmi/id/product_uuid")).unwrap();
    assert_eq!(site.state().await, "possible-copy");
    // Put back as it was, it is its old self.
    site.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    site.put("sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510-8054-b8b04f4d4b32\n");
    assert!(site.orders().await);
}

// ---------------------------------------------------------------- what follows

#[tokio::test]
async fn a_possible_copy_deploys_and_is_looked_after_and_says_why_it_orders_nothing() {
    let site = Site::vm().await;
    let orders = site.host.orders();
    site.cloned();
    let run = site.pbxcert(&["renew", "--force"]).await.expect(75);
    let run = run.says("pbx: waits: this may be a copy of another system");
    run.says("moved or restored: pbxcert identity keep").says("pbxcert identity new --lab");
    site.pbxcert(&["renew", "--dry-run"]).await.expect(75).says("this may be a copy");
    site.pbxcert(&["plan"]).await.expect(0).says("nothing is ordered until");
    site.pbxcert(&["status"])
        .await
        .expect(0)
        .says("this may be a copy of another system (the UUID");
    let status = site.pbxcert(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["identity"]["state"], "possible-copy");
    assert_eq!(site.host.orders(), orders, "not one order");
    let item = site.checked().await;
    assert_eq!((&item["verdict"], &item["counts"]), (&"critical".into(), &true.into()));
    assert!(item["next"].as_str().unwrap().contains("pbxcert identity keep"), "{item}");
    // What is stored goes into service all the same.
    fs::remove_file(site.host.target_dir().join("fullchain.pem")).unwrap();
    site.pbxcert(&["deploy"]).await.expect(0);
    assert!(site.host.pair().is_some());
    site.pbxcert(&["verify"]).await.expect(0);
    let told = |event: &pbxcert::state::Event| event.what == "identity";
    assert_eq!(site.host.history().iter().filter(|event| told(event)).count(), 1, "told once");
    site.pbxcert(&["identity", "keep"]).await.expect(0);
    let item = site.checked().await;
    assert_eq!((&item["verdict"], &item["counts"]), (&"unknown".into(), &false.into()));
}

#[tokio::test]
async fn a_copy_becomes_a_system_of_its_own_and_touches_nothing_of_the_other() {
    let site = Site::vm().await;
    site.cloned();
    let key = site.instance_key();
    assert!(!site.orders().await);
    let ledger = site.host.state_dir().join("shared/issuers/acme/ledger.json");
    let before = fs::read(&ledger).unwrap();
    site.pbxcert(&["identity", "new"]).await.expect(0).says("the next order makes new ones");
    assert_ne!(site.instance_key(), key);
    assert_eq!(site.accounts_left(), 1);
    assert_eq!(fs::read(&ledger).unwrap(), before, "limits count names, not accounts");
    assert_eq!(site.state().await, "same");
    assert!(site.orders().await);
    let state = site.host.ca.state();
    assert_eq!(state.accounts.len(), 2);
    assert!(!state.requests.contains(&Endpoint::Account), "the old one is left in peace");
}

#[tokio::test]
async fn a_laboratory_orders_nothing_and_alerts_nobody_until_it_is_one_no_more() {
    let site = Site::vm().await;
    let sink = Sink::start("200 OK");
    let config = site.host.config();
    let alerts = format!("[[alerts.webhook]]\nurl = \"http://{}/hook\"\n", sink.address);
    site.host.configure(&format!("{config}\n{alerts}"));
    site.cloned();
    site.pbxcert(&["identity", "new", "--lab"]).await.expect(0).says("nobody is alerted");
    let orders = site.host.orders();
    site.pbxcert(&["renew", "--force"]).await;
    assert_eq!(site.host.orders(), orders);
    let status = site.pbxcert(&["status"]).await.expect(0);
    status.says("test [laboratory]").says("nothing is ordered, nobody is alerted");
    let status = site.pbxcert(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["certificates"][0]["source"], "manual");
    assert!(status["identity"]["laboratory"]["by"].is_string(), "{status:#}");
    site.pbxcert(&["alert", "test"]).await;
    assert!(sink.asked().is_empty());
    site.pbxcert(&["identity", "keep"]).await.expect(0);
    assert!(site.orders().await);
    site.pbxcert(&["alert", "test"]).await.expect(0);
    assert_eq!(sink.asked().len(), 1);
}

#[tokio::test]
async fn the_daemon_tells_it_at_once_and_no_heart_beats_for_a_copy() {
    let site = Site::vm().await;
    let sink = Sink::start("200 OK");
    let alerts = format!(
        "[alerts]\nheartbeat-url = \"http://{}/beat\"\n[[alerts.webhook]]\nurl = \
         \"http://{}/hook\"\n",
        sink.address, sink.address
    );
    site.host.configure(&format!("{}\n{alerts}", site.host.config()));
    // What an earlier check could not see is no reason to keep the alert.
    assert_eq!(site.checked().await["verdict"], "unknown");
    site.cloned();
    let daemon = site.host.start_daemon_with(&site.root_variable());
    let told = || {
        let asked = sink.asked().into_iter().find(|asked| asked.line.starts_with("POST /hook"))?;
        serde_json::from_str::<Value>(&asked.body).ok()
    };
    let told = until("it is told", LIMIT, async || told()).await;
    let subject = told["subject"].as_str().unwrap();
    assert!(subject.starts_with("CRITICAL [possible copy of test]: this may be a"), "{subject}");
    let body = told["body"].as_str().unwrap();
    assert!(body.contains("pbxcert identity keep") && body.contains("1/6 of its life"), "{body}");
    let beats = || sink.asked().iter().any(|asked| asked.line.starts_with("POST /beat"));
    assert!(!beats(), "somebody who waits for the original's heart must not hear this one");
    // The answer reaches the daemon by itself.
    site.pbxcert(&["identity", "keep"]).await.expect(0);
    let over = || sink.asked().iter().any(|asked| asked.body.contains("\"recovered\":true"));
    until("it is over", LIMIT, async || over().then_some(())).await;
    daemon.stop();
    let daemon = site.host.start_daemon_with(&site.root_variable());
    until("its heart beats", LIMIT, async || beats().then_some(())).await;
    // A laboratory is one for a daemon that runs, too.
    site.pbxcert(&["identity", "new", "--lab"]).await.expect(0);
    let heard = || site.host.log().contains("this is a laboratory from now on").then_some(());
    until("it is a laboratory", LIMIT, async || heard()).await;
    daemon.stop();
}

#[tokio::test]
async fn words_of_the_ca_are_evidence_and_decide_nothing() {
    let site = Site::unknown().await;
    let now = SystemClock.now();
    let at =
        |days: i64| now.checked_add(SignedDuration::from_hours(24 * days)).unwrap().to_string();
    site.host.ca.change(|b| b.window = Some((at(30), at(31))));
    // With its advice comes the right to name what is replaced.
    let site = site.known().await;
    let replaced = Fault::problem(409, "alreadyReplaced", "there is an order that replaces it");
    site.host.ca.fail(Endpoint::NewOrder, replaced);
    assert!(site.orders().await);
    site.host.ca.fail(Endpoint::NewOrder, Fault::problem(400, "accountDoesNotExist", "who?"));
    assert!(site.orders().await);
    let shown = site.show().await;
    let kinds: Vec<&str> =
        shown["hints"].as_array().unwrap().iter().map(|h| h["kind"].as_str().unwrap()).collect();
    assert_eq!(
        (shown["state"].as_str(), kinds),
        (Some("same"), vec!["already-replaced", "account-gone"])
    );
    let run = site.pbxcert(&["identity", "show"]).await.expect(0);
    run.says("had been replaced already, and not by this system").says("proves nothing");
}

#[tokio::test]
async fn no_identifier_is_written_or_shown() {
    let site = Site::vm().await;
    site.put("var/lib/cloud/data/instance-id", "i-0abcdef0123456789\n");
    let daemon = site.host.start_daemon_with(&site.root_variable());
    site.host.until_live(1).await;
    site.cloned();
    let mut said = String::new();
    for verb in [
        &["identity", "show"][..],
        &["identity", "show", "--json"],
        &["renew", "--force"],
        &["status"],
        &["status", "--json"],
        &["plan", "--json"],
        &["check", "--json"],
        &["report"],
        &["identity", "keep"],
        &["identity", "new"],
        &["history", "--json"],
    ] {
        let run = site.pbxcert(verb).await;
        said.push_str(&run.out);
        said.push_str(&run.err);
    }
    daemon.stop();
    said.push_str(&site.host.log());
    texts(&site.host.state_dir(), &mut said);
    assert!(said.contains("\"hashes\""), "the record was read");
    let said = said.to_lowercase();
    for raw in RAW {
        assert!(!said.contains(raw), "{raw} is told");
    }
}

/// Every file below a folder.
fn texts(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            texts(&path, all);
        } else if let Ok(bytes) = fs::read(&path) {
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

#[tokio::test]
async fn a_damaged_record_is_moved_aside_and_the_machine_is_accepted_again() {
    let site = Site::vm().await;
    let path = site.host.state_dir().join("node/identity.json");
    fs::write(&path, "rubbish").unwrap();
    site.is_left_alone().await;
    let store = Store::open_read_only(&site.host.state_dir()).unwrap();
    assert!(store.identity().unwrap().accepted.is_some());
    assert!(store.findings().unwrap().iter().any(|f| f.text.contains("identity.json")));
}
