//! What is special about Asterisk; each of these was seen to fail without what the hook does. The
//! same for the real one and for the simulated one.

use super::super::asterisk::Pairs;
use super::super::stand::served;
use super::super::{Asterisk, tls};
use super::simulated::Simulated;
use super::{Bench, Product, of_asterisk, run_hook};
use crate::real::sim::command::prefix;
use crate::real::stand::Stand;

/// An Asterisk, real or simulated.
trait Pbx: Product {
    /// As [`Product::on`], with `allow_reload` in its transport.
    fn with(stand: Stand, allow_reload: bool) -> Option<Bench<Self>>;
    /// Tells it a command; what it answers.
    fn tell(&self, command: &str) -> String;
    /// A call that stays up.
    fn call(&self);
    /// Ends every call.
    fn hang_up(&self);
    /// Arguments of its hook, and the words before its commands.
    fn way_to(&self, stand: &Stand) -> (Vec<String>, Vec<String>);
}

impl Pbx for Asterisk {
    fn with(mut stand: Stand, allow_reload: bool) -> Option<Bench<Self>> {
        let pair = stand.pair();
        pair.write_self_signed("pbx.test");
        let product = Self::start_with(&Pairs { sip: pair.clone(), http: pair, allow_reload })?;
        stand.configure(&of_asterisk(&stand, &product));
        Some(Bench { product, stand })
    }

    fn tell(&self, command: &str) -> String {
        self.answer(command)
    }

    fn call(&self) {
        Self::call(self);
    }

    fn hang_up(&self) {
        Self::hang_up(self);
    }

    fn way_to(&self, _: &Stand) -> (Vec<String>, Vec<String>) {
        (self.arguments(), self.exec_prefix())
    }
}

impl Pbx for Simulated {
    fn with(stand: Stand, allow_reload: bool) -> Option<Bench<Self>> {
        Some(Self::start(stand, allow_reload))
    }

    fn tell(&self, command: &str) -> String {
        Self::tell(self, command)
    }

    fn call(&self) {
        self.set_calls(1);
    }

    fn hang_up(&self) {
        self.set_calls(0);
    }

    fn way_to(&self, stand: &Stand) -> (Vec<String>, Vec<String>) {
        (Vec::new(), prefix(&stand.bin()))
    }
}

macro_rules! for_both {
    ($($test:ident)*) => {
        mod real_one {
            $(#[test]
            fn $test() {
                super::$test::<super::Asterisk>();
            })*
        }

        mod simulated {
            $(#[test]
            fn $test() {
                super::$test::<super::Simulated>();
            })*
        }
    };
}

for_both! {
    both_ports_are_looked_at_and_neither_is_reloaded_by_core_reload
    the_first_connection_after_the_reload_is_made_before_files_can_change_again
    an_https_server_that_died_of_a_bad_pair_before_our_time_is_alive_again
    new_files_of_the_same_size_and_time_are_taken_all_the_same
    a_transport_that_may_be_replaced_is_not_reloaded_while_a_call_is_up
    calls_are_counted
    what_a_person_is_told_to_run_brings_it_back
    a_changed_pair_reaches_a_port_of_its_own_only_through_its_own_module
}

fn live<P: Product>() -> Option<Bench<P>> {
    let bench = P::new()?;
    bench.stand.succeeds(&["renew"]);
    bench.stand.serve(&bench.product.addresses(), 1);
    Some(bench)
}

fn both_ports_are_looked_at_and_neither_is_reloaded_by_core_reload<P: Pbx>() {
    let Some(Bench { product, stand }) = live::<P>() else { return };
    stand.succeeds(&["renew", "--force"]);
    stand.serve(&product.addresses(), 2);
    let told = stand.json(&["history", "--lines", "1000"]).to_string();
    assert!(!told.contains("core reload"), "{told}");
    let endpoints = stand.json(&["verify"])["endpoints"].to_string();
    assert!(endpoints.contains("sips://") && endpoints.contains("https://"), "{endpoints}");
}

fn the_first_connection_after_the_reload_is_made_before_files_can_change_again<P: Pbx>() {
    let Some(Bench { product, stand }) = live::<P>() else { return };
    stand.succeeds(&["renew", "--force"]);
    // What was read at the first connection stays, whatever lies there later.
    stand.pair().write_self_signed("other.test");
    stand.serve(&product.addresses()[..1], 2);
}

fn an_https_server_that_died_of_a_bad_pair_before_our_time_is_alive_again<P: Pbx>() {
    let Some(Bench { product, stand }) = P::new() else { return };
    stand.pair().write_mismatched("pbx.test");
    for module in ["res_pjsip.so", "http"] {
        product.tell(&format!("module reload {module}"));
    }
    assert!(product.addresses().into_iter().all(|a| served(a).is_err()), "it is not dead");
    stand.succeeds(&["renew"]);
    stand.serve(&product.addresses(), 1);
    stand.row("dead before", &stand.step(), stand.reloads());
}

fn new_files_of_the_same_size_and_time_are_taken_all_the_same<P: Pbx>() {
    let Some(Bench { product, stand }) = live::<P>() else { return };
    let before = ["fullchain.pem", "privkey.pem"].map(|f| times(&stand.tls().join(f)));
    stand.succeeds(&["renew", "--force"]);
    let after = ["fullchain.pem", "privkey.pem"].map(|f| times(&stand.tls().join(f)));
    for (before, after) in before.iter().zip(after) {
        assert_ne!((before.0, before.1), (after.0, after.1), "neither size nor time changed");
    }
    stand.serve(&product.addresses(), 2);
}

/// Size and time of the last change.
fn times(path: &std::path::Path) -> (u64, std::time::SystemTime) {
    let facts = path.metadata().unwrap();
    (facts.len(), facts.modified().unwrap())
}

fn a_transport_that_may_be_replaced_is_not_reloaded_while_a_call_is_up<P: Pbx>() {
    let Some(stand) = Stand::new(P::KIND, &[P::KIND]) else { return };
    let Some(Bench { product, stand }) = P::with(stand, true) else { return };
    let sips = product.addresses()[0];
    let old = served(sips);
    stand.write_config(|text| text.replace("reload =", "proof-timeout = \"2 s\"\nreload ="));
    product.call();
    stand.pbxcert(&["renew"]);
    let problem = stand.problem();
    assert_eq!(stand.step(), "not-taken", "{problem}\n{}", stand.clues());
    assert!(
        problem.contains("transport-tls has allow_reload=yes and 1 call(s) are up"),
        "{problem}"
    );
    assert!(problem.contains("Set allow_reload=no in pjsip.conf"), "{problem}");
    assert_eq!(served(sips), old);
    stand.row("allow_reload=yes, a call up", "not reloaded, reported", 0);

    product.hang_up();
    stand.succeeds(&["deploy"]);
    stand.serve(&product.addresses(), 1);
}

fn calls_are_counted<P: Pbx>() {
    let Some(Bench { product, stand }) = P::new() else { return };
    let (arguments, exec) = product.way_to(&stand);
    let count = || {
        let output = run_hook(&stand, "busy", &arguments, &exec);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(count(), "0");
    product.call();
    assert_eq!(count(), "1");
}

fn what_a_person_is_told_to_run_brings_it_back<P: Pbx>() {
    let Some(Bench { product, stand }) = live::<P>() else { return };
    stand.write_config(|text| text.replace("reload =", "proof-timeout = \"2 s\"\nreload ="));
    stand.trip_with_bad_pair("reload");
    stand.trip("recover", "echo 'not now' >&2; exit 1\n");
    stand.fails(1, &["renew", "--force"]);
    assert_eq!(stand.step(), "stuck", "{}", stand.clues());
    assert!(product.addresses().into_iter().all(|a| served(a).is_err()), "it is not broken");
    let problem = stand.problem();
    stand.untrip("recover");
    let output = stand.run_as_told(&problem);
    assert!(output.status.success(), "{problem}: {output:?}");
    stand.serve(&product.addresses(), 1);
    let outcome = "stuck; the command in the message repairs it";
    stand.row("pair bad, way back fails", outcome, stand.reloads() - 1);
    stand.succeeds(&["deploy"]);
    stand.serve(&product.addresses(), 2);
}

/// Why the hook reloads both.
fn a_changed_pair_reaches_a_port_of_its_own_only_through_its_own_module<P: Pbx>() {
    let Some(Bench { product, stand }) = P::new() else { return };
    let leaves = || {
        let addresses = product.addresses();
        addresses.into_iter().map(|a| tls::served_leaf(a, "pbx.test").unwrap()).collect::<Vec<_>>()
    };
    let old = leaves()[1].clone();
    let new = stand.pair().write_self_signed("new.test");
    product.tell("module reload res_pjsip.so");
    assert_eq!(leaves(), [new.clone(), old]);
    product.tell("module reload http");
    assert_eq!(leaves(), [new.clone(), new]);
}
