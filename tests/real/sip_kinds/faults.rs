//! The same faults for each of these products, and for the simulated Asterisk beside the real one.

use std::io::Write as _;

use rustix::process::{Pid, Signal, kill_process_group};

use super::super::{Asterisk, Kamailio, Turnserver, tls};
use super::janus::Janus;
use super::simulated::Simulated;
use super::{Bench, Product};
use crate::real::filtered::Filtered;
use crate::real::stand::{Stand, served};

/// One test for each fault.
macro_rules! faults {
    ($kind:ident, $product:ty, $bad:expr) => {
        mod $kind {
            use super::*;

            fn begin() -> Option<Bench<$product>> {
                begin_on(Stand::new(<$product>::KIND, &[<$product>::KIND])?)
            }

            fn begin_on(stand: Stand) -> Option<Bench<$product>> {
                let bench = <$product>::on(stand)?;
                bench.stand.succeeds(&["renew"]);
                bench.stand.serve(&bench.product.addresses(), 1);
                Some(bench)
            }

            #[test]
            fn a_good_pair_is_served_on_every_port_and_open_connections_stay() {
                begin().into_iter().for_each(good_swap);
            }

            #[test]
            fn a_pair_that_went_bad_under_the_reload_harms_nobody() {
                begin().into_iter().for_each(|bench| bad_reload(bench, $bad));
            }

            #[test]
            fn stopped_it_gets_its_files_and_is_not_started() {
                begin().into_iter().for_each(stopped);
            }

            #[test]
            fn hung_it_is_not_judged_and_takes_the_files_when_it_is_back() {
                begin().into_iter().for_each(hung);
            }

            #[test]
            fn slow_it_is_waited_for() {
                begin().into_iter().for_each(slow);
            }

            #[test]
            fn a_key_that_it_cannot_read_is_found_before_anything_is_touched() {
                begin().into_iter().for_each(unreadable);
            }

            #[test]
            fn a_port_that_says_nothing_holds_up_no_other() {
                begin().into_iter().for_each(filtered);
            }

            #[test]
            fn a_full_disk_changes_nothing() {
                let (kind, disk) = (<$product>::KIND, Some(256));
                Stand::new_on(kind, &[kind], disk).and_then(begin_on).into_iter().for_each(full);
            }

            #[test]
            fn a_crash_between_files_and_reload_is_settled() {
                begin().into_iter().for_each(crash);
            }

            #[test]
            fn a_stranger_s_certificate_is_replaced_by_the_first_of_ours() {
                let Some(bench) = <$product>::new() else { return };
                let before: Vec<_> = bench.product.addresses().into_iter().map(served).collect();
                assert!(before.iter().all(Result::is_ok), "{before:?}");
                bench.stand.succeeds(&["renew"]);
                bench.stand.serve(&bench.product.addresses(), 1);
                bench.stand.row("first certificate", &bench.stand.step(), bench.stand.reloads());
            }
        }
    };
}

faults!(asterisk, Asterisk, "rolled-back");
faults!(simulated_asterisk, Simulated, "rolled-back");
faults!(kamailio, Kamailio, "proved");
faults!(coturn, Turnserver, "proved");
faults!(janus, Janus, "rolled-back");

fn good_swap<P: Product>(Bench { product, stand }: Bench<P>) {
    let (before, addresses) = (stand.reloads(), product.addresses());
    let mut held: Vec<_> =
        addresses.iter().map(|a| tls::Held::open(*a, "pbx.test").unwrap()).collect();
    product.answers(&mut held).unwrap();
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&addresses, 2);
    product.answers(&mut held).expect("a connection that was open was lost");
    assert_eq!(stand.step(), "proved");
    assert_eq!(stand.reloads() - before, 1, "{}", stand.clues());
    stand.row("good swap", "proved", stand.reloads() - before);
}

/// Where that breaks a port, the old pair comes back; where the old one goes on being served, the
/// files are mended.
fn bad_reload<P: Product>(Bench { mut product, stand }: Bench<P>, expected: &str) {
    let before = stand.reloads();
    stand.write_config(|text| text.replace("reload =", "proof-timeout = \"3 s\"\nreload ="));
    stand.trip_with_bad_pair("reload");
    stand.pbxcert(&["renew", "--force"]);
    if stand.step() == "not-taken" && stand.problem().contains("systemctl restart kamailio") {
        // Kamailio 5.6 sometimes takes nothing more after bad files (issue 3305), and it is told so.
        stand.serve(&product.addresses(), 1);
        product.stop();
        product.start_again();
        stand.serve(&product.addresses(), 2);
        return;
    }
    assert_eq!(stand.step(), expected, "{}", stand.clues());
    // Nobody is without a certificate.
    stand.serve(&product.addresses(), if expected == "proved" { 2 } else { 1 });
    let outcome = match expected {
        "proved" => "not taken, mended, proved",
        _ => "rolled back, the old one is served",
    };
    stand.row("pair bad at the reload", outcome, stand.reloads() - before);
    stand.succeeds(&["deploy"]);
    stand.serve(&product.addresses(), 2);
}

fn stopped<P: Product>(Bench { mut product, stand }: Bench<P>) {
    let before = stand.reloads();
    product.stop();
    stand.pbxcert(&["renew", "--force"]);
    assert_eq!(stand.step(), "unproved", "{}", stand.clues());
    assert!(product.addresses().into_iter().all(|a| served(a).is_err()), "it was started");
    assert_eq!(stand.reloads(), before, "a stopped service was reloaded");
    product.start_again();
    stand.serve(&product.addresses(), 2);
    stand.succeeds(&["deploy"]);
    assert_eq!(stand.step(), "proved", "{}", stand.clues());
    assert_eq!(stand.reloads(), before, "it serves it already");
    stand.row("stopped", "unproved; proved at its start", 0);
}

fn hung<P: Product>(Bench { product, stand }: Bench<P>) {
    let before = stand.reloads();
    stand.write_config(|text| {
        let limits = "proof-timeout = \"2 s\"\nhook-timeout = \"2 s\"\nreload =";
        with_short_looks(&text).replace("reload =", limits)
    });
    let hung = product.hang();
    stand.pbxcert(&["renew", "--force"]);
    assert_eq!(stand.step(), P::HUNG, "{}", stand.clues());
    drop(hung);
    stand.write_config(|text| text);
    stand.succeeds(&["deploy"]);
    stand.serve(&product.addresses(), 2);
    let outcome = match P::HUNG {
        "unproved" => "unproved; proved when it is back",
        _ => "ended and started by its restart; proved",
    };
    stand.row("hung", outcome, stand.reloads() - before);
}

/// Each endpoint is looked at for a second at most.
fn with_short_looks(text: &str) -> String {
    let short = |line: &str| match line.strip_prefix("endpoint = [") {
        None => format!("{line}\n"),
        Some(rest) => {
            let urls = rest.split('"').filter(|part| part.contains("://"));
            let short: Vec<String> =
                urls.map(|url| format!("{{ url = \"{url}\", timeout = \"1 s\" }}")).collect();
            format!("endpoint = [{}]\n", short.join(", "))
        }
    };
    text.lines().map(short).collect()
}

fn slow<P: Product>(Bench { product, stand }: Bench<P>) {
    let before = stand.reloads();
    stand.trip("reload", &product.halt(2));
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&product.addresses(), 2);
    let reloads = stand.reloads() - before;
    stand.row("slow", &stand.step(), reloads);
    assert_eq!(reloads, 1);
}

fn unreadable<P: Product>(Bench { product, stand }: Bench<P>) {
    if !crate::real::is_root() {
        crate::real::say_skipped("only root can write a key that another user cannot read");
        return;
    }
    let before = stand.events();
    let user = stand.user_of_key();
    stand.write_config(|text| {
        let target = "target = [{ path = \"fullchain.pem\", content = \"fullchain\", mode = \
                      \"0644\" }, { path = \"privkey.pem\", content = \"privkey\", mode = \
                      \"0600\" }]\n";
        let begin = text.find("target = [");
        let rest = match begin {
            None => text.clone(),
            Some(begin) => {
                let end = text[begin..].find("\n]\n").unwrap() + begin + 3;
                format!("{}{}", &text[..begin], &text[end..])
            }
        };
        let rest = rest.replace("user = \"root\"", "user = \"nobody\"");
        rest.replace("reload =", &format!("{target}reload ="))
    });
    let said = stand.fails(1, &["renew", "--force"]);
    assert!(said.contains(&format!("user {user} cannot read")), "{said}");
    assert_eq!(stand.events(), before, "a hook was run");
    stand.serve(&product.addresses(), 1);
    stand.row("key unreadable", "refused before the switch", 0);
    stand.write_config(|text| text);
    stand.succeeds(&["deploy"]);
    stand.serve(&product.addresses(), 2);
}

fn filtered<P: Product>(Bench { product, stand }: Bench<P>) {
    let before = stand.reloads();
    let filtered = Filtered::new();
    let endpoint =
        format!("endpoint = [{{ url = \"tls://{}\", timeout = \"1 s\" }}, ", filtered.at);
    stand.write_config(|text| text.replace("endpoint = [", &endpoint));
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&product.addresses(), 2);
    assert_eq!(stand.step(), "proved", "{}", stand.clues());
    stand.row("one endpoint filtered", "proved on the others", stand.reloads() - before);
}

/// No byte can be written where its files lie.
fn full<P: Product>(Bench { product, stand }: Bench<P>) {
    let before = stand.reloads();
    let filler = stand.tls().with_file_name("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    let said = stand.fails(1, &["renew", "--force"]);
    assert!(said.contains("No space left"), "{said}");
    stand.serve(&product.addresses(), 1);
    assert_eq!(stand.reloads(), before, "{}", stand.clues());
    drop(file);
    std::fs::remove_file(filler).unwrap();
    stand.succeeds(&["deploy"]);
    stand.serve(&product.addresses(), 2);
    let outcome = "nothing changed; proved with room again";
    stand.row("disk full", outcome, stand.reloads() - before);
}

fn crash<P: Product>(Bench { product, stand }: Bench<P>) {
    let before = stand.reloads();
    stand.trip("reload", "kill -s KILL $PPID; exit 0\n");
    let output = stand.pbxcert(&["renew", "--force"]);
    assert_eq!(output.status.code(), None, "it was not killed");
    stand.serve(&product.addresses(), 1);
    stand.untrip("reload");
    stand.succeeds(&["renew"]);
    stand.serve(&product.addresses(), 2);
    assert_eq!(stand.step(), "proved", "{}", stand.clues());
    stand.row("crash before the reload", "settled, proved", stand.reloads() - before);
}

/// A process group that does nothing until this is dropped.
pub struct Hung(Pid);

impl Hung {
    /// That of a leader.
    pub fn new(leader: u32) -> Self {
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
