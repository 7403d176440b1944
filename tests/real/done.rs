//! A daemon that is killed, on a disk that is full: when one comes back, everything is well.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::site::{Daemon, Layout, Site};

#[test]
fn a_deleted_key_a_kill_and_a_full_disk_end_with_two_services_that_serve_a_matching_pair() {
    let Some(site) = Site::start_on_small_disk(Layout::Folder, 2048) else { return };
    let daemon = site.daemon();
    wait_live(&site, 1);

    let key = site.folder_of("kamailio").join("privkey.pem");
    std::fs::remove_file(&key).unwrap();
    site.wait_until("the repair begins", || told(&site, "mending"));
    daemon.kill();
    let filling = Filling::of(&site);
    served_all_the_time(&site, 1);

    // What starts it again and again does so while the disk is full, too.
    let begun = Instant::now();
    let mut tries = 0;
    while begun.elapsed() < Duration::from_secs(2) || tries < 3 {
        let mut daemon = site.daemon();
        let begun = Instant::now();
        site.wait_until("a try on the full disk", || {
            !daemon.runs() || begun.elapsed() > Duration::from_millis(700)
        });
        assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
        daemon.kill();
        tries += 1;
        served_all_the_time(&site, 1);
    }

    drop(filling);
    let daemon = site.daemon();
    wait_live(&site, 1);
    site.tells(&[
        "ordered",
        "issued",
        "installed@kamailio",
        "proved@kamailio",
        "mending@kamailio",
        "proved@kamailio",
    ]);
    let story = site.story();
    for once in ["ordered", "issued"] {
        assert_eq!(story.iter().filter(|told| *told == once).count(), 1, "{story:#?}");
    }
    for bad in ["broken", "stuck"] {
        assert!(!story.iter().any(|told| told.starts_with(bad)), "{story:#?}");
    }
    assert_eq!(site.orders(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn single_paths_are_mended_after_a_kill_at_any_moment_of_the_repair() {
    let Some(site) = Site::start(Layout::Paths) else { return };
    let mut daemon = site.daemon();
    wait_live(&site, 1);
    for pause in [0, 30, 80] {
        let seen = site.count("mending");
        // At a start there is no waiting for quiet.
        daemon.kill();
        std::fs::remove_file(site.folder_of("nginx").join("privkey.pem")).unwrap();
        daemon = site.daemon();
        site.wait_until("the repair begins", || site.count("mending") > seen);
        daemon = killed_after(&site, daemon, pause);
        wait_live(&site, 1);
    }
    assert_eq!(site.orders(), 1);
    site.tells(&["proved@nginx", "mending@nginx", "mending@nginx", "mending@nginx"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn kills_during_the_first_issuance_and_deployment_end_live_with_one_order() {
    let Some(site) = Site::start(Layout::Folder) else { return };
    let mut may_be_lost = 0;
    for pause in [20, 60, 110, 170, 240, 330, 450, 600] {
        let daemon = site.daemon();
        drop(killed_after(&site, daemon, pause));
        // Killed after newOrder was sent and before its answer was remembered: nobody knows then.
        may_be_lost += usize::from(super::text(order_file(&site)).contains("\"new\""));
    }
    let daemon = site.daemon();
    // A kill between giving the number and the revision leaves a gap: no number is given twice.
    let revisions = || -> Vec<u64> {
        let folder = std::fs::read_dir(site.state().join("shared/certificates/pbx/rev"));
        let names = folder.into_iter().flatten().map(|e| e.unwrap().file_name());
        names.filter_map(|name| name.to_str()?.parse().ok()).collect()
    };
    site.wait_until("it is issued", || !revisions().is_empty());
    wait_live(&site, revisions()[0]);
    let orders = site.orders();
    assert!((1..=1 + may_be_lost).contains(&orders), "{orders} orders, {may_be_lost} may be lost");
    let story = site.story();
    assert_eq!(story.iter().filter(|told| *told == "issued").count(), 1, "{story:#?}");
    assert_eq!(revisions().len(), 1);
    site.tells(&["ordered", "issued", "proved@nginx"]);
    site.tells(&["ordered", "issued", "proved@kamailio"]);
    assert_eq!(daemon.stop(), Some(0));
}

/// Both services have a matching pair of the revision on disk, pbxcert says that it is live, and both
/// serve it. In this order: what is installed is told before files change, and Kamailio 5.6 may end
/// when it is reloaded in the middle of many handshakes.
fn wait_live(site: &Site, revision: u64) {
    let path = site.state().join("shared/certificates/pbx/rev").join(revision.to_string());
    site.wait_until("both services are live", || {
        path.join("cert.pem").exists()
            && ["kamailio", "nginx"]
                .iter()
                .all(|service| site.matching_pair(service) == Ok(site.leaf_of(revision)))
            && site.word() == "live"
            && ["kamailio", "nginx"].iter().all(|s| site.service_line(s)["step"] == "proved")
    });
    served_all_the_time(site, revision);
}

/// A service that is not touched goes on: it has its pair in memory.
fn served_all_the_time(site: &Site, revision: u64) {
    for service in ["kamailio", "nginx"] {
        assert_eq!(site.served(service), Ok(site.leaf_of(revision)), "{service}");
    }
}

fn killed_after(site: &Site, daemon: Daemon, milliseconds: u64) -> Daemon {
    let begun = Instant::now();
    // Not waiting for something, but choosing a moment.
    site.wait_until("a moment", || begun.elapsed() >= Duration::from_millis(milliseconds));
    daemon.kill();
    site.daemon()
}

fn told(site: &Site, what: &str) -> bool {
    site.count(what) > 0
}

fn order_file(site: &Site) -> PathBuf {
    site.state().join("shared/certificates/pbx/order.json")
}

/// Takes every byte that the disk has left, until it is dropped.
struct Filling(PathBuf);

impl Filling {
    fn of(site: &Site) -> Self {
        let path = site.disk.join("filling");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        assert!(std::fs::write(site.disk.join("more"), [0; 4096]).is_err(), "it is not full");
        Self(path)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_repair_that_fails_is_not_tried_without_end() {
    // Side by side: most of the time goes by in waiting for quiet.
    std::thread::scope(|scope| {
        for layout in [Layout::Paths, Layout::Folder] {
            scope.spawn(move || repair_fails(layout));
        }
    });
}

fn repair_fails(layout: Layout) {
    let Some(site) = Site::start(layout) else { return };
    let daemon = site.daemon();
    wait_live(&site, 1);
    daemon.kill();
    site.trip("nginx", "test", "exit 1\n");
    std::fs::remove_file(site.folder_of("nginx").join("privkey.pem")).unwrap();
    let begun = Instant::now();
    let daemon = site.daemon();
    site.wait_until("the repair fails", || told(&site, "failed"));
    // A whole repair of another service, with its wait for quiet, gives it time to go wrong.
    std::fs::remove_file(site.folder_of("kamailio").join("privkey.pem")).unwrap();
    site.wait_until("the other one is mended", || {
        site.matching_pair("kamailio") == Ok(site.leaf_of(1))
    });
    let tries = site.count("failed");
    assert!(tries <= 2, "{tries} tries in {:?}: {:#?}", begun.elapsed(), site.story());
    served_all_the_time(&site, 1);

    site.untrip();
    site.succeeds(&["deploy", "nginx"]);
    wait_live(&site, 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_full_disk_ends_no_daemon_and_no_service() {
    let Some(site) = Site::start_on_small_disk(Layout::Paths, 2048) else { return };
    let mut daemon = site.daemon();
    wait_live(&site, 1);
    let filling = Filling::of(&site);
    std::fs::remove_file(site.folder_of("nginx").join("privkey.pem")).unwrap();
    site.wait_until("the repair fails", || daemon.log().contains("No space left on device"));
    assert!(daemon.runs(), "{}", daemon.log());
    served_all_the_time(&site, 1);

    drop(filling);
    // The daemon tries again after a minute; a person need not wait for it.
    site.succeeds(&["deploy", "nginx"]);
    wait_live(&site, 1);
    assert!(daemon.runs(), "{}", daemon.log());
    assert_eq!(site.orders(), 1);
    assert_eq!(daemon.stop(), Some(0));
}
