use super::*;
use crate::policy::samples::{at, name};
use crate::state::facts::{CaaFacts, DirectoryFacts, Looked, NameFacts};

fn facts(facing: &[&str], responders: &[Result<(), String>]) -> Facts {
    let of = |responder: &Result<(), String>| NameFacts {
        name: name("pbx.example"),
        a: Looked::NoData,
        aaaa: Looked::NoData,
        caa: CaaFacts { domain: "example".to_owned(), records: Looked::NoData },
        responder: responder.clone(),
        hairpin: None,
        tls: None,
    };
    Facts {
        at: at(0),
        names: responders.iter().map(of).collect(),
        addresses: vec!["10.9.9.9".parse().unwrap()],
        facing: facing.iter().map(|ip| ip.parse().unwrap()).collect(),
        ports: Vec::new(),
        directory: DirectoryFacts {
            url: String::new(),
            proxy: None,
            answer: Err("not asked".to_owned()),
        },
    }
}

#[test]
fn a_person_is_told_the_address_that_packets_leave_from_and_whether_port_80_answers() {
    let shown = |facts: Facts| {
        let here = here(&facts);
        (here.address.unwrap().to_string(), here.answers)
    };
    let both = facts(&["2001:db8::1", "192.168.1.10"], &[Ok(())]);
    assert_eq!(shown(both), ("192.168.1.10".to_owned(), true), "routers translate IPv4");
    let silent = facts(&[], &[Ok(()), Err("taken".to_owned())]);
    assert_eq!(shown(silent), ("10.9.9.9".to_owned(), false));
}
