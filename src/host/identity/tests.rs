use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const KEY: &[u8] = &[7; 32];

/// A machine in a folder.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, files: &[(&str, &str)]) -> Self {
        for (path, text) in files {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self
    }

    fn link(self, path: &str, to: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
        self
    }

    /// A network card with hardware behind it.
    fn card(self, name: &str, address: &str) -> Self {
        let at = |file: &str| format!("sys/class/net/{name}/{file}");
        self.with(&[
            (&at("address"), address),
            (&at("type"), "1\n"),
            (&at("addr_assign_type"), "0\n"),
            (&at("device/vendor"), "0x1af4"),
        ])
    }

    fn marks(&self) -> Marks {
        marks(self.0.path(), KEY)
    }

    fn has(&self, mark: Mark) -> bool {
        self.marks().hashes.contains_key(&mark)
    }
}

const METAL: [(&str, &str); 5] = [
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("sys/class/dmi/id/product_uuid", "4C4C4544-0042-3510-8054-B8C04F4D4B32\n"),
    ("sys/class/dmi/id/sys_vendor", "Dell Inc.\n"),
    ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme\n"),
    ("proc/self/mounts", "sysfs /sys sysfs rw 0 0\n/dev/mapper/vg-root / ext4 rw 0 0\n"),
];

fn metal() -> Fake {
    Fake::new()
        .with(&METAL)
        .link("dev/mapper/vg-root", "../dm-0")
        .link("dev/disk/by-uuid/1234-ABCD", "../../sda1")
        .link("dev/disk/by-uuid/5c3b2a10-1111-2222-3333-444455556666", "../../dm-0")
        .card("eno1", "b8:2a:72:00:00:01\n")
}

#[test]
fn every_mark_is_read_and_only_hashes_leave() {
    let machine = metal().with(&[("var/lib/cloud/data/instance-id", "i-0abcdef0123456789\n")]);
    let marks = machine.marks();
    assert_eq!(marks.surroundings, Some(Surroundings::Metal));
    assert_eq!(marks.hashes.len(), 5, "{marks:?}");
    let text = serde_json::to_string(&marks).unwrap().to_lowercase();
    for raw in
        ["0123456789abcdef0123456789abcdef", "4c4c4544", "b8:2a", "b82a72", "5c3b2a10", "0abc"]
    {
        assert!(!text.contains(raw), "{raw} in {text}");
    }
    let other = super::marks(machine.0.path(), &[8; 32]);
    let all = |marks: &Marks| marks.hashes.values().flatten().cloned().collect::<BTreeSet<_>>();
    assert!(all(&marks).is_disjoint(&all(&other)), "under another key nothing is the same");
}

#[test]
fn a_machine_without_anything_has_no_marks() {
    let nothing = Fake::new().marks();
    assert!(nothing.hashes.is_empty() && nothing.surroundings.is_none());
    assert_eq!(nothing.key.len(), 32);
}

#[test]
fn numbers_that_are_none_are_absent() {
    for junk in [
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
        "Not Settable",
        "To be filled by O.E.M.",
        "",
    ] {
        let machine = metal().with(&[("sys/class/dmi/id/product_uuid", junk)]);
        assert!(!machine.has(Mark::Board), "{junk}");
    }
    for junk in ["", "uninitialized\n", "00000000000000000000000000000000", "abc"] {
        assert!(!metal().with(&[("etc/machine-id", junk)]).has(Mark::Machine), "{junk}");
    }
    for junk in ["nocloud", "iid-datasource-none\n"] {
        let machine = metal().with(&[("var/lib/cloud/data/instance-id", junk)]);
        assert!(!machine.has(Mark::Instance), "{junk}");
    }
}

#[test]
fn a_board_is_the_same_in_both_orders_of_bytes() {
    let one = metal().marks();
    let text = "44454c4c-4200-1035-8054-b8c04f4d4b32";
    let other = metal().with(&[("sys/class/dmi/id/product_uuid", text)]).marks();
    assert_eq!(one.hashes[&Mark::Board], other.hashes[&Mark::Board]);
}

#[test]
fn a_small_board_is_known_by_its_serial_number() {
    let machine =
        Fake::new().with(&[("sys/firmware/devicetree/base/serial-number", "10000000abcd1234\0")]);
    assert!(machine.has(Mark::Board));
}

#[test]
fn only_cards_with_an_address_of_their_own_count() {
    let before = metal().marks();
    let more = metal()
        .with(&[
            ("sys/class/net/docker0/address", "02:42:ac:11:00:01"),
            ("sys/class/net/veth12/address", "6a:00:00:00:00:01"),
            ("sys/class/net/lo/address", "00:00:00:00:00:00"),
        ])
        // Random at each boot, and set by a person.
        .card("usb0", "de:ad:be:ef:00:01")
        .with(&[("sys/class/net/usb0/addr_assign_type", "1\n")])
        .card("wlan0", "de:ad:be:ef:00:02")
        .with(&[("sys/class/net/wlan0/addr_assign_type", "3\n")])
        .card("ib0", "80:00:02:08:fe:80")
        .with(&[("sys/class/net/ib0/type", "32\n")]);
    assert_eq!(more.marks().hashes[&Mark::Network], before.hashes[&Mark::Network]);
    // A bond gives both cards one address; each keeps its own beside it.
    let bond = Fake::new().with(&METAL).card("eno1", "b8:2a:72:00:00:99").with(&[
        ("sys/class/net/eno1/addr_assign_type", "3\n"),
        ("sys/class/net/eno1/bonding_slave/perm_hwaddr", "b8:2a:72:00:00:01\n"),
    ]);
    assert_eq!(bond.marks().hashes[&Mark::Network], before.hashes[&Mark::Network]);
}

#[test]
fn virtual_machines_and_containers_are_told_apart() {
    let processor = ("proc/cpuinfo", "flags\t: fpu hypervisor sse\n");
    let kind = |machine: Fake| machine.marks().surroundings;
    assert_eq!(kind(metal().with(&[processor])), Some(Surroundings::Virtual));
    let hyper_v = [
        ("sys/class/dmi/id/sys_vendor", "Microsoft Corporation"),
        ("sys/class/dmi/id/product_name", "Virtual Machine"),
    ];
    assert_eq!(kind(metal().with(&hyper_v)), Some(Surroundings::Virtual));
    assert_eq!(kind(metal().with(&[hyper_v[0]])), Some(Surroundings::Metal), "a tablet");
    let docker = metal().with(&[(".dockerenv", "")]);
    assert_eq!(kind(docker), Some(Surroundings::Metal), "an image on a disk of its own");
    let layers = ("proc/self/mounts", "overlay / overlay rw 0 0\n");
    let docker = metal().with(&[(".dockerenv", ""), layers]);
    assert_eq!(docker.marks().surroundings, Some(Surroundings::Application));
    assert!(!docker.has(Mark::Board), "it is the host's");
    let lxc = metal().with(&[("run/systemd/container", "lxc\n")]);
    assert_eq!(kind(lxc), Some(Surroundings::System));
    let lxc = metal().with(&[("proc/1/environ", "HOME=/\0container=lxc\0TERM=linux\0")]);
    assert_eq!(kind(lxc), Some(Surroundings::System));
}

#[test]
fn a_container_like_a_machine_is_known_by_its_end_of_a_pair() {
    let end = |name: &str| {
        let at = |file: &str| format!("sys/class/net/{name}/{file}");
        [
            (at("address"), "bc:24:11:00:00:01"),
            (at("type"), "1"),
            (at("addr_assign_type"), "3"),
            (at("ifindex"), "2"),
            (at("iflink"), "37"),
            (at("uevent"), "INTERFACE=eth0\nIFINDEX=2\n"),
        ]
    };
    let files = end("eth0");
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let lxc = Fake::new().with(&[("run/systemd/container", "lxc")]).with(&files);
    assert!(lxc.has(Mark::Network));
    assert!(!Fake::new().with(&files).has(Mark::Network), "on a machine it is a container's");
}
