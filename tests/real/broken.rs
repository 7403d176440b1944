//! What goes wrong at a real service: found before it hurts, taken back, or waited for.

use rustix::process::{Pid, Signal, kill_process_group};

use super::Pair;
use super::site::{Layout, Site};

/// A line that says no, as a service's own test may.
const REFUSE: &str = "echo 'nginx: the test says no' >&2; exit 1\n";

#[test]
fn what_the_services_own_test_refuses_is_taken_back_before_any_reload() {
    let Some(site) = Site::start(Layout::Folder) else { return };
    site.succeeds(&["renew"]);
    site.trip("nginx", "test", REFUSE);
    let said = site.fails(1, &["renew", "--force"]);
    assert!(said.contains("the service's own test refused the new files"), "{said}");
    assert!(said.contains("nginx: the test says no"), "{said}");
    site.serves("nginx", 1);
    site.serves("kamailio", 2);
    assert_eq!(site.reloads("nginx"), 1, "it was reloaded with files that it refuses");
    assert_eq!(site.word(), "live in 1 of 2");
    site.tells(&["issued", "proved@kamailio", "installed@nginx", "rolled-back@nginx"]);

    site.untrip();
    site.succeeds(&["deploy", "nginx"]);
    site.both_serve(2);
    assert_eq!(site.word(), "live");
}

#[test]
fn a_reload_that_makes_a_service_serve_something_else_is_rolled_back() {
    std::thread::scope(|scope| {
        for layout in [Layout::Folder, Layout::Paths] {
            scope.spawn(move || serves_something_else(layout));
        }
    });
}

fn serves_something_else(layout: Layout) {
    let Some(site) = Site::start(layout) else { return };
    site.succeeds(&["renew"]);
    let (nginx, kamailio) =
        (site.nginx.folder().join("nginx.conf"), site.kamailio.folder().join("tls.cfg"));
    for (service, config) in [("nginx", nginx), ("kamailio", kamailio)] {
        let other = site.disk.join("other").join(service);
        std::fs::create_dir_all(&other).unwrap();
        Pair::in_folder(&other).write_self_signed("other.test");
        let (tls, other) = (site.folder_of(service), other);
        let swap = |from: &std::path::Path, to: &std::path::Path| {
            format!("sed -i 's#{}/#{}/#' {}\n", from.display(), to.display(), config.display())
        };
        site.trip(service, "reload", &swap(&tls, &other));
        site.trip(service, "recover", &swap(&other, &tls));
    }
    site.be_impatient();
    let said = site.fails(1, &["renew", "--force"]);
    assert!(said.contains("broken by the new certificate, rolling back"), "{said}");
    site.both_serve(1);
    for service in ["kamailio", "nginx"] {
        let line = site.service_line(service);
        assert_eq!(line["step"], "rolled-back", "{line}");
        assert!(line["problem"].as_str().unwrap().contains("served "), "{line}");
        let [installed, reloaded, broken, back] =
            ["installed", "reloaded", "broken", "rolled-back"].map(|w| format!("{w}@{service}"));
        site.tells(&["issued", "issued", &installed, &reloaded, &broken, &back]);
    }
    assert_eq!(site.orders(), 2);

    site.untrip();
    site.write_config(|text| text);
    site.succeeds(&["deploy"]);
    site.both_serve(2);
    assert_eq!(site.orders(), 2, "a try again needs no order");
}

#[test]
fn the_first_certificate_that_breaks_a_service_gives_way_to_what_was_not_ours() {
    let Some(site) = Site::start(Layout::Paths) else { return };
    let before = site.matching_pair("nginx").unwrap();
    let files = ["fullchain.pem", "privkey.pem"].map(|f| site.folder_of("nginx").join(f));
    let content = files.clone().map(|f| std::fs::read(f).unwrap());
    let config = site.nginx.folder().join("nginx.conf");
    let config = config.display();
    site.trip("nginx", "reload", &format!("sed -i.good 's/ ssl;/;/' {config}\n"));
    site.trip("nginx", "recover", &format!("mv {config}.good {config}\n"));
    site.be_impatient();
    let said = site.fails(1, &["renew"]);
    assert!(said.contains("listens without TLS"), "{said}");
    assert_eq!(site.served("nginx"), Ok(before));
    assert_eq!(files.map(|f| std::fs::read(f).unwrap()), content);
    site.serves("kamailio", 1);
    site.tells(&["issued", "broken@nginx", "rolled-back@nginx"]);
}

#[test]
fn a_service_that_its_reload_ends_is_stuck_with_the_old_files_and_a_person_is_told_what_to_do() {
    let Some(mut site) = Site::start(Layout::Folder) else { return };
    site.succeeds(&["renew"]);
    site.trip("nginx", "reload", &format!("kill -TERM {}\n", site.nginx.pid().unwrap()));
    site.be_impatient();
    let said = site.fails(1, &["renew", "--force"]);
    assert!(said.contains("nobody listens"), "{said}");
    assert!(said.contains("a person is needed: run `PBXCERT_EVENT=recover "), "{said}");
    assert!(said.contains("then `pbxcert deploy nginx`"), "{said}");
    assert_eq!(site.matching_pair("nginx"), Ok(site.leaf_of(1)));
    assert_eq!(site.service_line("nginx")["step"], "stuck");
    site.serves("kamailio", 2);
    site.fails(2, &["verify"]);
    site.tells(&["proved@kamailio", "reloaded@nginx", "broken@nginx", "stuck@nginx"]);

    site.untrip();
    site.write_config(|text| text);
    site.nginx.stop();
    site.nginx.start_again();
    site.serves("nginx", 1);
    site.succeeds(&["deploy", "nginx"]);
    site.both_serve(2);
    site.succeeds(&["verify"]);
}

#[test]
fn a_key_that_the_service_cannot_read_is_found_before_anything_is_touched() {
    if !super::is_root() {
        super::say_skipped("only root can write a key that another user cannot read");
        return;
    }
    let Some(site) = Site::start(Layout::Paths) else { return };
    site.write_config(|text| {
        text.replace(r#"group = "kamailio", mode = "0640""#, r#"mode = "0600""#)
    });
    let old = site.served("kamailio").unwrap();
    let folder = site.folder_of("kamailio");
    let listed = || {
        let mut entries: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|e| {
                let path = e.unwrap().path();
                let content = std::fs::read(&path).unwrap();
                (path, content)
            })
            .collect();
        entries.sort();
        entries
    };
    let before = listed();
    let said = site.fails(1, &["renew"]);
    let folder = folder.display();
    let sentence = format!(
        "the new files were not installed: user kamailio cannot read {folder}/privkey.pem: \
         permission denied; it has mode 0600, owner 0, group 0"
    );
    assert!(said.contains(&sentence), "{said}\n\nnot as expected: {sentence}");
    assert_eq!(site.events("kamailio"), Vec::<String>::new(), "a hook was run");
    assert_eq!(site.served("kamailio"), Ok(old), "what was served before is not served");
    assert_eq!(listed(), before, "something was touched");
    site.serves("nginx", 1);
    assert!(!site.story().iter().any(|told| told == "installed@kamailio"), "{:?}", site.story());

    site.write_config(|text| text);
    site.succeeds(&["deploy"]);
    site.both_serve(1);
    assert_eq!(site.orders(), 1);
}

#[test]
fn a_stopped_service_gets_its_files_and_no_reload_and_is_proved_when_somebody_starts_it() {
    let Some(mut site) = Site::start(Layout::Folder) else { return };
    site.succeeds(&["renew"]);
    site.nginx.stop();
    site.pbxcert(&["renew", "--force"]);
    assert_eq!(site.matching_pair("nginx"), Ok(site.leaf_of(2)));
    assert_eq!(site.reloads("nginx"), 1, "a stopped service was reloaded");
    assert!(site.served("nginx").is_err(), "it was started");
    let line = site.service_line("nginx");
    assert_eq!(line["step"], "unproved", "{line}");
    assert!(line["problem"].as_str().unwrap().contains("nobody listens"), "{line}");
    assert_eq!(site.word(), "live in 1 of 2");
    site.serves("kamailio", 2);

    site.nginx.start_again();
    site.both_serve(2);
    site.succeeds(&["verify"]);
    site.succeeds(&["deploy", "nginx"]);
    assert_eq!(site.reloads("nginx"), 1, "it serves it already");
    assert_eq!(site.word(), "live");
    site.tells(&["unproved@nginx", "proved@nginx"]);
}

#[test]
fn a_service_that_hangs_is_not_judged_and_keeps_the_new_files() {
    let Some(site) = Site::start(Layout::Folder) else { return };
    site.succeeds(&["renew"]);
    // Looks of a second at most.
    let endpoint = format!("\"https://{}\"", site.nginx.https());
    let short = format!("{{ url = {endpoint}, timeout = \"1 s\" }}");
    site.write_config(|text| text.replace(&endpoint, &short));
    let hung = Hung::new(site.nginx.pid().unwrap());
    site.pbxcert(&["renew", "--force"]);
    assert_eq!(site.matching_pair("nginx"), Ok(site.leaf_of(2)));
    let line = site.service_line("nginx");
    assert_eq!(line["step"], "unproved", "{line}");
    site.fails(2, &["verify"]);
    site.serves("kamailio", 2);

    drop(hung);
    // It hears the reload that it was told meanwhile.
    site.wait_until("nginx serves revision 2", || site.served("nginx") == Ok(site.leaf_of(2)));
    site.succeeds(&["verify"]);
    site.succeeds(&["deploy", "nginx"]);
    assert_eq!(site.word(), "live");
    site.both_serve(2);
    site.tells(&["unproved@nginx", "proved@nginx"]);
}

/// A process group that does nothing until this is dropped.
struct Hung(Pid);

impl Hung {
    fn new(leader: u32) -> Self {
        let group = Pid::from_raw(leader.try_into().unwrap()).unwrap();
        kill_process_group(group, Signal::STOP).unwrap();
        Self(group)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = kill_process_group(self.0, Signal::CONT);
    }
}
