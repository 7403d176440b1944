//! By what this host is known. What is read here leaves this file as keyed hashes only: raw
//! identifiers are confidential (machine-id(5)), and nobody needs them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{File, read_dir, read_link};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aws_lc_rs::hmac;

use crate::state::identity::{Mark, Marks, Surroundings};

/// The marks of the machine whose files lie below `root`, hashed under the host's instance key.
///
/// What cannot be read, or is known to be junk, is absent. In a container nothing is told that is
/// the host's below it, and that changes when the container moves.
pub fn marks(root: &Path, key: &[u8]) -> Marks {
    let machine = Machine { root, key: hmac::Key::new(hmac::HMAC_SHA256, key) };
    let surroundings = machine.surroundings();
    let mut marks = Marks { key: machine.hash("key", ""), surroundings, ..Marks::default() };
    let is_application = surroundings == Some(Surroundings::Application);
    let in_container = is_application || surroundings == Some(Surroundings::System);
    let mut add = |mark: Mark, values: &BTreeSet<String>| {
        let hashes: BTreeSet<String> =
            values.iter().map(|value| machine.hash(mark.word(), value)).collect();
        if !hashes.is_empty() {
            marks.hashes.insert(mark, hashes);
        }
    };
    add(Mark::Machine, &machine.machine_id().into_iter().collect());
    add(Mark::Network, &machine.cards(surroundings == Some(Surroundings::System)));
    if !is_application {
        add(Mark::Instance, &machine.instance().into_iter().collect());
    }
    if !in_container {
        add(Mark::Board, &machine.board().into_iter().collect());
        add(Mark::Disk, &machine.disk().into_iter().collect());
    }
    marks
}

struct Machine<'a> {
    root: &'a Path,
    key: hmac::Key,
}

impl Machine<'_> {
    /// 128 bits in hex: enough to tell two apart.
    fn hash(&self, what: &str, value: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in ["pbxcert identity", what, value] {
            // With its length, so that ["a", "b"] is not ["ab"].
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().iter().take(16).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The text of a file without the space around it; `None` when there is none.
    fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.root.join(path)).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn is_there(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    /// machine-id(5). The empty file and `uninitialized` of images are none.
    fn machine_id(&self) -> Option<String> {
        let id = self.text("etc/machine-id")?.to_ascii_lowercase();
        let sound = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        (sound && digits(&id) >= FEWEST_DIGITS).then_some(id)
    }

    /// The UUID of the board or virtual machine, which root alone may read; on small boards the
    /// serial number in the device tree.
    fn board(&self) -> Option<String> {
        let uuid = self.text("sys/class/dmi/id/product_uuid").and_then(|text| board_uuid(&text));
        uuid.or_else(|| {
            let serial = self.text("sys/firmware/devicetree/base/serial-number")?;
            (digits(&serial) >= FEWEST_DIGITS).then_some(serial)
        })
    }

    /// What cloud-init was told; `nocloud` and its like are the same everywhere.
    fn instance(&self) -> Option<String> {
        let id = self.text("var/lib/cloud/data/instance-id")?;
        let same_everywhere = ["nocloud", "iid-datasource-none", "iid-dsovf", "no-instance-id"];
        let junk = same_everywhere.contains(&id.to_ascii_lowercase().as_str());
        (!junk && id.len() >= 8 && id.len() <= 256).then_some(id)
    }

    /// Addresses of network cards: what has hardware behind it (no bridge, bond, VLAN, tunnel or
    /// end of a container), with an address that is its own. In a container that is kept like a
    /// machine the card is an end of a pair, and its address is in the container's configuration.
    fn cards(&self, in_container: bool) -> BTreeSet<String> {
        let entries = read_dir(self.root.join("sys/class/net")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.take(MOST_CARDS).filter_map(|name| self.card(&name, in_container)).collect()
    }

    fn card(&self, name: &str, in_container: bool) -> Option<String> {
        let file = |file: &str| self.text(&format!("sys/class/net/{name}/{file}"));
        let has_hardware = self.is_there(&format!("sys/class/net/{name}/device"));
        let is_end = in_container
            && !name.starts_with("veth")
            && file("iflink") != file("ifindex")
            && !file("uevent").is_some_and(|text| text.contains("DEVTYPE="));
        if !(has_hardware || is_end) || file("type").is_some_and(|kind| kind != "1") {
            return None;
        }
        // 1 is random, 2 another card's, 3 set by somebody (if_link.h): of the last only that of a
        // container is its own.
        let assigned = file("addr_assign_type").unwrap_or_else(|| "0".to_owned());
        let own = file("bonding_slave/perm_hwaddr").or_else(|| {
            let own = assigned == "0" || is_end && assigned == "3";
            file("address").filter(|_| own)
        })?;
        let own = own.to_ascii_lowercase();
        let sound = own.len() == 17 && own != "00:00:00:00:00:00" && own != "ff:ff:ff:ff:ff:ff";
        sound.then_some(own)
    }

    /// The UUID of the file system at `/`, by the device that is mounted there.
    fn disk(&self) -> Option<String> {
        let source = self.root_mount()?.0;
        let path = source.strip_prefix("/dev/")?;
        let device = match path {
            // What the kernel mounted without a name.
            "root" => {
                let number = self.root.metadata().ok()?.dev();
                let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
                let link = read_link(self.root.join(format!("sys/dev/block/{major}:{minor}")));
                link.ok()?.file_name()?.to_owned()
            }
            // /dev/mapper/... leads to dm-0.
            path => match read_link(self.root.join("dev").join(path)) {
                Ok(link) => link.file_name()?.to_owned(),
                Err(_) => Path::new(path).file_name()?.to_owned(),
            },
        };
        let entries = read_dir(self.root.join("dev/disk/by-uuid")).ok()?.flatten();
        let mut found = entries.take(MOST_DISKS).filter(|entry| {
            read_link(entry.path()).is_ok_and(|link| link.file_name() == Some(&device))
        });
        found.next()?.file_name().into_string().ok()
    }

    /// What is mounted at `/`, and its type (proc_pid_mounts(5)); the last one counts.
    fn root_mount(&self) -> Option<(String, String)> {
        let mounts = self.text("proc/self/mounts")?;
        let mut roots = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ');
            let (source, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (point == "/").then(|| (source.to_owned(), kind.to_owned()))
        });
        roots.next_back()
    }

    fn surroundings(&self) -> Option<Surroundings> {
        if let Some(container) = self.container() {
            return Some(container);
        }
        if self.is_there("sys/hypervisor/type") || self.says_virtual() {
            return Some(Surroundings::Virtual);
        }
        let processors = self.text("proc/cpuinfo")?;
        let flags = processors.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        Some(if flags.split_whitespace().any(|flag| flag == "hypervisor") {
            Surroundings::Virtual
        } else {
            Surroundings::Metal
        })
    }

    /// What systemd-detect-virt(1) goes by, without asking the kernel about process 1, which not
    /// everybody may.
    fn container(&self) -> Option<Surroundings> {
        // A virtual machine made from an image has the file, too, but a disk of its own.
        let marked = [".dockerenv", "run/.containerenv", "run/secrets/kubernetes.io"];
        let layered = self.root_mount().is_some_and(|(_, kind)| LAYERED.contains(&kind.as_str()));
        if layered && marked.into_iter().any(|file| self.is_there(file)) {
            return Some(Surroundings::Application);
        }
        let environment = || {
            let text = self.text("proc/1/environ")?;
            let word = text.split('\0').find_map(|v| v.strip_prefix("container="))?;
            Some(word.to_owned())
        };
        let word = self.text("run/systemd/container").or_else(environment)?;
        let application = ["docker", "podman", "oci", "containerd", "kube"];
        Some(if application.contains(&word.as_str()) {
            Surroundings::Application
        } else {
            Surroundings::System
        })
    }

    fn says_virtual(&self) -> bool {
        let field = |name: &str| self.text(&format!("sys/class/dmi/id/{name}")).unwrap_or_default();
        let (vendor, product) = (field("sys_vendor"), field("product_name"));
        let hypervisors = [
            "QEMU",
            "VMware",
            "Xen",
            "innotek",
            "Oracle Corporation VirtualBox",
            "Bochs",
            "Parallels",
            "OpenStack",
            "DigitalOcean",
            "Google Compute Engine",
            "BHYVE",
            "Nutanix",
            "KVM",
        ];
        let said = format!("{vendor} {product}");
        hypervisors.iter().any(|word| said.contains(word))
            || vendor == "Microsoft Corporation" && product == "Virtual Machine"
    }
}

/// The UUID of a board in one of its two orders of bytes: which one is shown changed with versions
/// of SMBIOS and of the kernel. `None` of what manufacturers leave in place of one.
fn board_uuid(text: &str) -> Option<String> {
    let uuid: String = text.to_ascii_lowercase().chars().filter(|c| *c != '-').collect();
    if uuid.len() != 32 || !uuid.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let swapped = swapped(&uuid);
    let junk = [uuid.as_str(), swapped.as_str()].into_iter().any(|uuid| JUNK.contains(&uuid));
    (!junk && digits(&uuid) >= FEWEST_DIGITS).then(|| uuid.clone().min(swapped))
}

/// With the bytes of the first three fields the other way round.
fn swapped(uuid: &str) -> String {
    let field = |from: usize, to: usize| {
        let bytes: Vec<&str> = (from..to).step_by(2).rev().map(|at| &uuid[at..at + 2]).collect();
        bytes.concat()
    };
    [field(0, 8), field(8, 12), field(12, 16), uuid[16..].to_owned()].concat()
}

/// How many different digits there are.
fn digits(text: &str) -> usize {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<BTreeSet<char>>().len()
}

/// Fewer different digits than this are no number but a filling.
const FEWEST_DIGITS: usize = 4;

/// UUIDs that whole series of boards share.
const JUNK: [&str; 4] = [
    "03000200040005000006000700080009",
    "00020003000400050006000700080009",
    "12345678123456789012345678901234",
    "123456781234567890abcddeefaabbcc",
];

/// Types of the root of a container that is made from layers.
const LAYERED: [&str; 5] = ["aufs", "btrfs", "fuse.fuse-overlayfs", "overlay", "zfs"];

/// Of any file, in bytes.
const LONGEST: u64 = 1 << 20;
const MOST_CARDS: usize = 4096;
const MOST_DISKS: usize = 4096;

#[cfg(test)]
mod tests;
