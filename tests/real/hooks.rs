//! The hooks for themselves, and what they bring back: nothing of an administrator's is lost.

mod directory;
mod proxy;
mod row;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::sim::command::{prefix, write_command};
use super::site::told;

/// Every hook that is shipped.
const ALL: [&str; 16] = [
    "apache",
    "asterisk",
    "coturn",
    "dovecot",
    "ejabberd",
    "freepbx",
    "freeswitch",
    "haproxy",
    "janus",
    "kamailio",
    "mosquitto",
    "nginx",
    "openldap",
    "opensips",
    "postfix",
    "prosody",
];

/// A hook with these arguments and `PBXCERT_*` variables, and nothing else but a PATH.
fn run(hook: &str, arguments: &[&str], path: &str, variables: &[(&str, &str)]) -> Output {
    let variables = variables.iter().map(|(name, value)| (format!("PBXCERT_{name}"), *value));
    Command::new(super::hook(hook))
        .args(arguments)
        .env_clear()
        .env("PATH", path)
        .env("LANG", "C.UTF-8")
        .envs(variables)
        .current_dir("/")
        .output()
        .unwrap()
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn lines(path: &Path) -> Vec<String> {
    super::text(path).lines().map(str::to_owned).collect()
}

#[test]
fn in_a_container_no_hook_runs_a_command_of_the_product_out_here() {
    let folder = super::shared_folder();
    let (bin, log, inside) =
        (folder.path().join("bin"), folder.path().join("outside"), folder.path().join("inside"));
    std::fs::create_dir(&bin).unwrap();
    for command in [
        "apache2ctl",
        "apachectl",
        "asterisk",
        "chown",
        "doveadm",
        "doveconf",
        "ejabberdctl",
        "fs_cli",
        "fwconsole",
        "haproxy",
        "kamcmd",
        "ldapmodify",
        "ldapsearch",
        "mkfifo",
        "nginx",
        "pidof",
        "postfix",
        "prosodyctl",
        "socat",
        "stat",
        "systemctl",
        "tee",
        "touch",
    ] {
        write_command(
            &bin.join(command),
            &format!("#!/bin/sh\necho \"{command} $*\" >>{}\n", log.display()),
        );
    }
    let exec = bin.join("in-there");
    write_command(&exec, &format!("#!/bin/sh\necho \"$@\" >>{}\n", inside.display()));
    let path = format!("{}:{PATH}", bin.display());
    let file = folder.path().join("privkey.pem");
    std::fs::write(&file, "x").unwrap();
    let paths = format!("{} {}", file.display(), file.with_file_name("fullchain.pem").display());
    std::fs::write(file.with_file_name("fullchain.pem"), "x").unwrap();
    for hook in ALL {
        let _ = std::fs::remove_file(&inside);
        for event in ["test", "reload", "recover", "busy"] {
            for was_running in ["0", "1"] {
                let exec = exec.display().to_string();
                let variables = [
                    ("EVENT", event),
                    ("EXEC", exec.as_str()),
                    ("PATHS", &paths),
                    ("CERTIFICATE", "pbx"),
                    ("WAS_RUNNING", was_running),
                ];
                run(hook, &[], &path, &variables);
                assert_eq!(lines(&log), [""; 0], "{hook} {event}");
            }
        }
        assert!(!lines(&inside).is_empty(), "{hook} ran nothing in there");
    }
}

#[test]
fn a_container_is_not_told_to_start_units_of_this_machine() {
    let folder = super::shared_folder();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    write_command(&bin.join("apache2ctl"), "#!/bin/sh\nexit 0\n");
    let exec = prefix(&bin).join(" ");
    let output = run("apache", &[], PATH, &[("EVENT", "reload"), ("EXEC", &exec)]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains(&format!("start it: `{exec} apache2ctl -k start`")), "{said}");
    assert!(!said.contains("systemctl"), "{said}");
}

#[test]
fn a_janus_that_was_not_running_before_is_not_started_on_the_way_back() {
    let folder = super::shared_folder();
    let (bin, log) = (folder.path().join("bin"), folder.path().join("log"));
    std::fs::create_dir(&bin).unwrap();
    // It is not active.
    let systemctl = format!(
        "#!/bin/sh\necho \"$*\" >>{}\ncase $1 in is-active) exit 3 ;; esac\n",
        log.display()
    );
    write_command(&bin.join("systemctl"), &systemctl);
    let exec = prefix(&bin).join(" ");
    let recover = |was_running| {
        let _ = std::fs::remove_file(&log);
        let variables = [("EVENT", "recover"), ("EXEC", &exec), ("WAS_RUNNING", was_running)];
        let code = run("janus", &[], PATH, &variables).status.code();
        (code, lines(&log))
    };
    assert_eq!(recover("0"), (Some(75), vec!["is-active --quiet janus".to_owned()]));
    assert_eq!(recover("1"), (Some(0), vec!["restart janus".to_owned()]));
}

/// certman of FreePBX that knows these rows; answers what it was told.
fn certman(folder: &Path, rows: &str) -> Vec<String> {
    let (bin, log) = (folder.join("bin"), folder.join("log"));
    let hooks = folder.join("hooks");
    for made in [&bin, &hooks] {
        std::fs::create_dir_all(made).unwrap();
    }
    let _ = std::fs::remove_file(&log);
    let text = format!("#!/bin/sh\necho \"$*\" >>{}\ncat <<'EOF'\n{rows}\nEOF\n", log.display());
    write_command(&bin.join("fwconsole"), &text);
    for neighbour in ["asterisk", "apache"] {
        write_command(&hooks.join(neighbour), "#!/bin/sh\nexit 0\n");
    }
    std::fs::copy(super::hook("freepbx"), hooks.join("freepbx")).unwrap();
    let output = Command::new(hooks.join("freepbx"))
        .env_clear()
        .env("PATH", PATH)
        .env("PBXCERT_EVENT", "reload")
        .env("PBXCERT_CERTIFICATE", "pbx.old")
        .env("PBXCERT_EXEC", prefix(&bin).join(" "))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    lines(&log)
}

#[test]
fn a_default_certificate_that_only_speaks_of_ours_stays_the_default() {
    let folder = super::shared_folder();
    let ours = |default: &str| format!(r#"["2","pbx.old","","up","Uploaded","{default}",""]"#);
    let listed = "certificates --list --json".to_owned();
    let chosen = "certificates --default=pbx.old".to_owned();
    for other in [
        r#"["1","web","pbx.old","up","Uploaded","X",""]"#,
        r#"["1","pbxaold","about \"pbx.old\",","up","Uploaded","X",""]"#,
        r#"["1","web","],[2,\"pbx.old\",\"\",\"\",\"\",\"X\"","up","Uploaded","X",""]"#,
    ] {
        let asked = certman(folder.path(), &format!("[{other},{}]", ours("")));
        assert_eq!(asked, std::slice::from_ref(&listed), "{other}");
        let asked = certman(folder.path(), &format!("[{},{other}]", ours("X")));
        assert_eq!(asked, [listed.clone(), chosen.clone()], "{other}");
    }
    let numbered = r#"[[7,"pbx.old",null,"up","an \"X\", or so","X",""]]"#;
    assert_eq!(certman(folder.path(), numbered), [listed.clone(), chosen]);
    let remark = r#"[["7","pbx.old","X","up","X","",""]]"#;
    assert_eq!(certman(folder.path(), remark), [listed], "an X elsewhere says nothing");
}

/// Reads a pair through the helper as another user does, with this group for the key.
fn read_as(user: &str, group: &str, place: &str, pair: &super::Pair) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pbxcert"))
        .args(["internal", "scratch", user, group, place])
        .args([&pair.fullchain, &pair.privkey])
        .output()
        .unwrap();
    told(&output)
}

/// A pair whose key belongs to this user and group and is closed to others.
fn closed_pair(folder: &Path, user: u32, group: u32) -> super::Pair {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).unwrap();
    let pair = super::Pair::in_folder(folder);
    pair.write_self_signed("pbx.test");
    std::os::unix::fs::chown(&pair.privkey, Some(user), Some(group)).unwrap();
    std::fs::set_permissions(&pair.privkey, std::fs::Permissions::from_mode(0o640)).unwrap();
    pair
}

/// Numbers that nobody has here.
const NOBODY: u32 = 54_321;

#[test]
fn a_number_that_this_machine_does_not_know_is_a_reader_all_the_same() {
    if !super::is_root() {
        return super::say_skipped("only root becomes another user");
    }
    let folder = super::shared_folder();
    let (user, group) = (NOBODY.to_string(), (NOBODY + 1).to_string());
    let own = closed_pair(&folder.path().join("own"), NOBODY, 0);
    let shared = closed_pair(&folder.path().join("shared"), 0, NOBODY + 1);
    let roots = closed_pair(&folder.path().join("roots"), 0, 0);
    for place in ["here", "elsewhere"] {
        let said = read_as(&user, "-", place, &own);
        assert!(said.contains("fingerprint"), "{place}: {said}");
        let said = read_as(&user, &group, place, &shared);
        assert!(said.contains("fingerprint"), "{place}: {said}");
        for (group, pair) in [("-", &shared), ("-", &roots), (group.as_str(), &roots)] {
            let said = read_as(&user, group, place, pair);
            assert!(said.contains(&format!("user {user} cannot read ")), "{place}: {said}");
        }
    }
}

#[test]
fn a_number_in_a_container_is_not_that_of_who_has_it_here() {
    if !super::is_root() {
        return super::say_skipped("only root becomes another user");
    }
    // Number 1 is `daemon`, whose group is 1 as well; any user with a group of its own will do.
    let users = super::text("/etc/passwd");
    let known = users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (user, group) = (fields[2].parse().ok()?, fields[3].parse().ok()?);
        (user != 0 && user != group).then_some((user, group))
    });
    let (user, group): (u32, u32) = known.expect("somebody is in a group of another number");
    let folder = super::shared_folder();
    let pair = closed_pair(&folder.path().join("pair"), 0, group);
    let said = read_as(&user.to_string(), "-", "here", &pair);
    assert!(said.contains("fingerprint"), "its group here lets it read: {said}");
    let said = read_as(&user.to_string(), "-", "elsewhere", &pair);
    assert!(said.contains("cannot read"), "it has other groups there: {said}");
}

#[test]
fn folders_above_a_container_s_own_are_not_in_its_way() {
    use std::os::unix::fs::PermissionsExt as _;
    if !super::is_root() {
        return super::say_skipped("only root becomes another user");
    }
    let folder = super::shared_folder();
    let volumes: PathBuf = folder.path().join("volumes");
    let pair = closed_pair(&volumes.join("data"), NOBODY, 0);
    std::fs::set_permissions(&volumes, std::fs::Permissions::from_mode(0o700)).unwrap();
    let said = read_as(&NOBODY.to_string(), "-", "elsewhere", &pair);
    assert!(said.contains("fingerprint"), "{said}");
    let said = read_as(&NOBODY.to_string(), "-", "here", &pair);
    assert!(said.contains("the folder") && said.contains("has mode 0700"), "{said}");
}
