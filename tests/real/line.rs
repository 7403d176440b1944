//! The whole line with the real binary, from the CA to what two real servers serve.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::site::{Layout, Site};

#[test]
fn a_certificate_goes_from_the_ca_into_two_services_and_back_and_forth() {
    whole_line(Layout::Folder);
}

#[test]
fn single_paths_take_the_same_way() {
    whole_line(Layout::Paths);
}

fn whole_line(layout: Layout) {
    let Some(site) = Site::start(layout) else { return };
    obtains_and_proves(&site);
    modes_and_owners_are_right(&site);
    does_nothing_when_nothing_is_due(&site);
    takes_another(&site);
    goes_back_and_is_held(&site);
    is_released(&site);
    site.tells(&[
        "ordered",
        "issued",
        "installed@kamailio",
        "reloaded@kamailio",
        "proved@kamailio",
        "installed@nginx",
        "reloaded@nginx",
        "proved@nginx",
        "ordered",
        "issued",
        "proved@kamailio",
        "proved@nginx",
        "held",
        "installed@kamailio",
        "proved@kamailio",
        "installed@nginx",
        "proved@nginx",
        "released",
        "proved@kamailio",
        "proved@nginx",
    ]);
    for bad in ["failed", "broken", "not-taken", "unproved", "rolled-back", "stuck"] {
        let story = site.story();
        assert!(!story.iter().any(|told| told.starts_with(bad)), "{bad}: {story:#?}");
    }
}

fn obtains_and_proves(site: &Site) {
    site.succeeds(&["validate"]);
    site.succeeds(&["renew"]);
    site.both_serve(1);
    assert_eq!(site.orders(), 1);
    let report = site.json(&["verify"]);
    assert_eq!((&report["schema"], &report["verdict"]), (&1.into(), &"ok".into()), "{report}");
    let endpoints = report["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), 2, "{report}");
    for endpoint in endpoints {
        assert_eq!(endpoint["revision"], 1, "{report}");
    }
    site.succeeds(&["verify"]);
    let status = site.json(&["status"]);
    let certificate = &status["certificates"][0];
    assert_eq!(certificate["state"], "live", "{status}");
    let leaf = site.leaf_of(1).to_string();
    assert_eq!(certificate["fingerprint"], leaf.as_str(), "{status}");
    // The word names who was seen.
    let because = certificate["because"].as_str().unwrap();
    for service in ["kamailio", "nginx"] {
        assert!(because.contains(&site.address_of(service).to_string()), "{because}");
    }
}

fn modes_and_owners_are_right(site: &Site) {
    let revision = site.state().join("shared/certificates/pbx/rev/1");
    assert_eq!(mode(&revision.join("key.pem")), 0o600);
    assert_eq!(mode(&site.folder_of("nginx").join("privkey.pem")), 0o600);
    let key = site.folder_of("kamailio").join("privkey.pem");
    for service in ["kamailio", "nginx"] {
        assert_eq!(mode(&site.folder_of(service).join("fullchain.pem")), 0o644);
    }
    if super::is_root() {
        let group = nix::unistd::Group::from_name("kamailio").unwrap().unwrap();
        let meta = key.metadata().unwrap();
        assert_eq!((mode(&key), meta.uid(), meta.gid()), (0o640, 0, group.gid.as_raw()));
    } else {
        assert_eq!(mode(&key), 0o600);
    }
    assert_private(&site.state());
}

/// Nobody else can read a key, whichever way it got into the state folder.
fn assert_private(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_private(&path);
        } else if std::fs::read(&path).unwrap().windows(11).any(|w| w == b"PRIVATE KEY") {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

fn does_nothing_when_nothing_is_due(site: &Site) {
    let events = [site.events("kamailio"), site.events("nginx")];
    let inode = |service| site.folder_of(service).join("privkey.pem").metadata().unwrap().ino();
    let inodes = [inode("kamailio"), inode("nginx")];
    site.succeeds(&["renew"]);
    assert_eq!(site.orders(), 1, "a second order");
    assert_eq!([site.events("kamailio"), site.events("nginx")], events);
    assert_eq!([inode("kamailio"), inode("nginx")], inodes, "files were written again");
    site.both_serve(1);
}

fn takes_another(site: &Site) {
    site.succeeds(&["renew", "--force"]);
    assert_eq!(site.orders(), 2);
    assert_ne!(site.leaf_of(1), site.leaf_of(2));
    site.both_serve(2);
    assert_eq!([site.reloads("kamailio"), site.reloads("nginx")], [2, 2]);
    assert_eq!(site.word(), "live");
}

fn goes_back_and_is_held(site: &Site) {
    site.succeeds(&["rollback", "pbx"]);
    site.both_serve(1);
    for service in ["kamailio", "nginx"] {
        let line = site.service_line(service);
        assert!(line["held-by"].as_str().unwrap().starts_with("ada since "), "{line}");
    }
    let events = [site.events("kamailio"), site.events("nginx")];
    site.pbxcert(&["deploy"]);
    site.both_serve(1);
    let after = [site.events("kamailio"), site.events("nginx")];
    let reloads = |events: &[Vec<String>; 2]| {
        events.clone().map(|e| e.iter().filter(|e| *e != "test").count())
    };
    assert_eq!(reloads(&after), reloads(&events), "something was reloaded while held");
    site.pbxcert(&["renew"]);
    site.both_serve(1);
    site.succeeds(&["verify"]);
    assert_eq!(site.orders(), 2);
}

fn is_released(site: &Site) {
    site.succeeds(&["release", "pbx"]);
    site.both_serve(2);
    for service in ["kamailio", "nginx"] {
        assert!(site.service_line(service)["held-by"].is_null());
    }
    assert_eq!(site.word(), "live");
    assert_eq!(site.orders(), 2, "going back and forth needs no order");
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}
