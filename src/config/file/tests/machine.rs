//! What the machine says, with real files; and the last accepted configuration.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::config::file::{Error, load_accepted, remember_accepted};

/// A folder as `/etc/pbxcert`, with a state folder beside it.
struct Etc {
    root: TempDir,
}

impl Etc {
    fn new() -> Self {
        let etc = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(etc.path("conf.d")).unwrap();
        fs::create_dir_all(etc.path("srv")).unwrap();
        etc
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A sound main file with `lines` behind it.
    fn main(&self, lines: &str) -> PathBuf {
        let state = self.path("state");
        let top = format!("state-dir = {state:?}\nephemeral = true\n");
        self.write("pbxcert.toml", &format!("{top}{SOUND}{lines}"), 0o644)
    }

    /// A `custom` service with one target and more lines.
    fn custom(&self, target: &str, lines: &str) -> PathBuf {
        let target = self.path(target);
        self.main(&format!(
            "[[service]]\nkind = \"custom\"\ntarget = [{{ path = {target:?}, content = \"combined\" }}]\n{lines}\n"
        ))
    }

    fn load(&self) -> Result<Loaded, Problems> {
        load(&self.path("pbxcert.toml"), Options::HERE)
    }

    /// The one problem, which must hold the words.
    fn told(&self, words: &str) {
        let problems = self.load().unwrap_err();
        assert_eq!(problems.list.len(), 1, "{problems}");
        assert!(problems.to_string().contains(words), "{problems}\nlacks {words}");
    }

    fn sound(&self) -> Config {
        self.load().unwrap_or_else(|problems| panic!("{problems}")).config
    }
}

#[test]
fn conf_d_is_read_in_name_order_and_what_may_stand_once_stands_once() {
    let etc = Etc::new();
    etc.main("");
    let more =
        |name: &str| format!("[[certificate]]\nname = \"{name}\"\nnames = [\"{name}.de\"]\n");
    etc.write("conf.d/20.toml", &more("later"), 0o644);
    etc.write("conf.d/10.toml", &more("sooner"), 0o644);
    etc.write("conf.d/.hidden.toml", "rubbish", 0o644);
    etc.write("conf.d/10.toml.bak", "rubbish", 0o644);
    let config = etc.sound();
    let names: Vec<&str> = config.certificates.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["pbx", "sooner", "later"]);
    assert_eq!(config.files.len(), 3);

    etc.write("conf.d/30.toml", &format!("ephemeral = true\n[acme]\n{}", more("pbx")), 0o644);
    let problems = etc.load().unwrap_err().to_string();
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines.len(), 3, "{problems}");
    let [main, later] = [etc.path("pbxcert.toml"), etc.path("conf.d/30.toml")];
    let [main, later] = [main.display(), later.display()];
    assert!(
        lines[0]
            .starts_with(&format!("{later}:1:13: \"ephemeral\" stands here and at {main}:2:13"))
    );
    assert!(lines[1].starts_with(&format!("{later}:2:1: \"acme\" stands here and at {main}:4:1")));
    assert!(
        lines[2].starts_with(&format!("{later}:4:8: two of the certificates are named \"pbx\""))
    );
}

#[test]
fn files_that_are_none_are_told_and_nothing_else() {
    let etc = Etc::new();
    etc.told("there is no such file; write it, or name another with --config");
    fs::create_dir(etc.path("pbxcert.toml")).unwrap();
    etc.told("is no regular file");
    fs::remove_dir(etc.path("pbxcert.toml")).unwrap();
    fs::write(etc.path("pbxcert.toml"), b"a = 1\nb = \"\xff\"").unwrap();
    etc.told("is not UTF-8 text, see line 2");
    fs::write(etc.path("pbxcert.toml"), vec![b'#'; 2 << 20]).unwrap();
    etc.told("larger than 1 MiB");
}

#[test]
fn a_configuration_that_others_can_write_is_refused() {
    let etc = Etc::new();
    let main = etc.main("");
    let extra = etc.write("conf.d/10.toml", "", 0o644);
    etc.sound();
    for path in [main, extra] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        etc.told("the configuration is code for root");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(etc.path("conf.d"), fs::Permissions::from_mode(0o777)).unwrap();
    etc.told("conf.d");
    // Also an empty one: anybody could put a file there.
    fs::remove_file(etc.path("conf.d/10.toml")).unwrap();
    etc.told("conf.d");
}

#[test]
fn a_state_folder_that_others_can_write_is_refused() {
    let etc = Etc::new();
    etc.main("");
    fs::create_dir(etc.path("state")).unwrap();
    fs::set_permissions(etc.path("state"), fs::Permissions::from_mode(0o777)).unwrap();
    etc.told("the state-dir");
}

#[test]
fn a_state_folder_on_volatile_storage_is_refused_for_a_public_ca() {
    let here = rustix::fs::statfs("/dev/shm").map(|s| s.f_type as u32);
    if here != Ok(0x0102_1994) {
        eprintln!("skipped: /dev/shm is no tmpfs here");
        return;
    }
    let etc = Etc::new();
    let top = "state-dir = \"/dev/shm/pbxcert-state\"\n";
    let with = |top: &str, sound: &str| etc.write("pbxcert.toml", &format!("{top}{sound}"), 0o644);
    with(top, SOUND);
    etc.told(":1:13: the state-dir /dev/shm/pbxcert-state is lost at the next boot");
    with(&format!("{top}ephemeral = true\n"), SOUND);
    etc.sound();
    with(top, &SOUND.replace("letsencrypt", "letsencrypt-staging"));
    etc.sound();
}

#[test]
fn a_hook_must_be_there_and_safe() {
    let etc = Etc::new();
    let hook = etc.path("hook");
    etc.custom("srv/a.pem", &format!("reload = [{hook:?}]"));
    etc.told("it does not exist");
    etc.write("hook", "#!/bin/sh\n", 0o644);
    etc.told("it is not executable: chmod 755");
    etc.write("hook", "#!/bin/sh\n", 0o777);
    etc.told("chmod go-w");
    etc.write("hook", "#!/bin/sh\n", 0o755);
    assert_eq!(etc.sound().services[0].recover, Some(vec![hook.display().to_string()]));
    fs::remove_file(&hook).unwrap();
    fs::create_dir(&hook).unwrap();
    etc.told("it is no regular file");
}

#[test]
fn users_and_groups_must_exist() {
    let etc = Etc::new();
    etc.custom("srv/a.pem", "user = \"nobody-of-that-name\"");
    etc.told("the user \"nobody-of-that-name\": there is none on this machine");
    etc.custom("srv/a.pem", "user = \"root\"");
    etc.sound();
    etc.main(&format!(
        "[[service]]\nkind = \"custom\"\ntarget = [{{ path = {:?}, content = \"combined\", \
         owner = \"root\", group = \"no-such-group\" }}]\n",
        etc.path("srv/a.pem")
    ));
    etc.told("the group \"no-such-group\"");
}

#[test]
fn what_lies_at_a_target_must_be_replaceable() {
    let etc = Etc::new();
    etc.custom("srv/a.pem", "");
    etc.sound();
    etc.write("srv/a.pem", "old", 0o600);
    etc.sound();

    etc.custom("missing/a.pem", "");
    etc.told(&format!("install -d -m 0755 {}", etc.path("missing").display()));

    fs::create_dir(etc.path("srv/dir")).unwrap();
    etc.custom("srv/dir", "");
    etc.told("it is a folder; name a file in it");

    symlink(etc.path("srv/a.pem"), etc.path("srv/link")).unwrap();
    etc.custom("srv/link", "");
    etc.told(&format!("it is a link to {}", etc.path("srv/a.pem").display()));

    symlink("loop", etc.path("srv/loop")).unwrap();
    etc.custom("srv/loop", "");
    etc.told("it is a link that leads nowhere");
    etc.custom("srv/loop/a.pem", "");
    etc.told("out of reach");

    symlink("srv", etc.path("way")).unwrap();
    etc.custom("way/a.pem", "");
    etc.told(&format!("write the real path {}", etc.path("srv/a.pem").display()));

    etc.custom("srv/a.pem/b", "");
    etc.told("is no folder");

    let folder = etc.write("srv/file", "", 0o600);
    etc.main(&format!(
        "[[service]]\nkind = \"custom\"\ntarget-dir = {folder:?}\n\
         target = [{{ path = \"a.pem\", content = \"combined\" }}]\n"
    ));
    etc.told("it is no folder; target-dir must be one");
}

#[test]
fn secrets_and_roots_are_ours_and_what_they_should_be() {
    let etc = Etc::new();
    let hmac = etc.path("hmac");
    let sound = |line: &str| {
        let text =
            SOUND.replace("agree-to-terms = true", &format!("agree-to-terms = true\n{line}"));
        etc.write(
            "pbxcert.toml",
            &format!("state-dir = {:?}\nephemeral = true\n{text}", etc.path("s")),
            0o644,
        );
    };
    sound(&format!("eab = {{ key-id = \"kid\", hmac-file = {hmac:?} }}"));
    etc.told("it does not exist");
    etc.write("hmac", "dGVzdA\n", 0o644);
    etc.told("everybody can read");
    etc.write("hmac", "not base64!\n", 0o600);
    etc.told("it must hold the MAC key");
    assert!(!etc.load().unwrap_err().to_string().contains("not base64!"));
    etc.write("hmac", "dGVzdA\n", 0o600);
    etc.sound();

    let auth = etc.write("auth", "me:hunter2\nmore\n", 0o600);
    sound(&format!("proxy = \"http://p.lan:1\"\nproxy-auth-file = {auth:?}"));
    etc.told("one line user:password");
    etc.write("auth", "me:hunter2\n", 0o600);
    etc.sound();

    let anchor = etc.path("ca.pem");
    sound(&format!("trust-anchor = {anchor:?}"));
    etc.told("it does not exist");
    etc.write("ca.pem", "hello\n", 0o644);
    etc.told("holds no certificate");
    etc.write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o644);
    etc.told("cannot be a root");
    let key = rcgen::KeyPair::generate().unwrap();
    let root = rcgen::CertificateParams::new(vec!["ca.lan".to_owned()]).unwrap();
    etc.write("ca.pem", &root.self_signed(&key).unwrap().pem(), 0o644);
    etc.sound();
    etc.write("ca.pem", &root.self_signed(&key).unwrap().pem(), 0o666);
    etc.told("chmod go-w");
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn the_accepted_configuration_stands_in_for_a_broken_one() {
    let etc = Etc::new();
    let main = etc.main("");
    etc.write("conf.d/10.toml", "[[certificate]]\nname = \"web\"\nnames = [\"web.de\"]\n", 0o644);
    let config = etc.sound();
    remember_accepted(&config, at("2026-03-01T12:00:00Z")).unwrap();
    // The same texts again: the time is that of the first acceptance.
    remember_accepted(&config, at("2026-04-01T12:00:00Z")).unwrap();
    let kept = etc.path(".pbxcert.toml.accepted");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    etc.write("conf.d/10.toml", "rubbish", 0o644);
    let broken = etc.load().unwrap_err();
    let accepted = load_accepted(&main, &broken).unwrap();
    assert_eq!(accepted.accepted_at, at("2026-03-01T12:00:00Z"));
    assert_eq!(accepted.config.hash, config.hash);
    assert_eq!(accepted.config.certificates, config.certificates);
    assert_eq!(accepted.withheld, []);
    // Also when there is nothing left to be broken.
    fs::remove_file(&main).unwrap();
    assert!(load_accepted(&main, &etc.load().unwrap_err()).is_ok());
}

#[test]
fn a_hook_that_the_broken_configuration_does_not_name_is_not_run() {
    let etc = Etc::new();
    let (old, new) = (etc.write("old", "", 0o755), etc.write("new", "", 0o755));
    let main = etc.custom("srv/a.pem", &format!("reload = [{old:?}]\ntest = [{new:?}]"));
    remember_accepted(&etc.sound(), at("2026-03-01T12:00:00Z")).unwrap();

    etc.custom("srv/a.pem", &format!("#reload = [{old:?}]\ntest = [{new:?}]\nnonsense = 1"));
    let broken = etc.load().unwrap_err();
    let accepted = load_accepted(&main, &broken).unwrap();
    let service = &accepted.config.services[0];
    assert_eq!(service.test, Some(vec![new.display().to_string()]));
    assert_eq!((&service.reload, &service.recover), (&None, &None));
    let events: Vec<&str> = accepted.withheld.iter().map(|w| w.event).collect();
    assert_eq!(events, ["reload", "recover"]);

    etc.custom("srv/a.pem", &format!("reload = [{old:?}]\nnonsense = 1"));
    let accepted = load_accepted(&main, &etc.load().unwrap_err()).unwrap();
    assert!(accepted.config.services[0].recover.is_some());
    assert_eq!(accepted.withheld.len(), 1);
}

#[test]
fn a_preset_hook_is_named_by_its_kind() {
    let broken =
        parse(Path::new("x"), &format!("{SOUND}nonsense = 1\n[[service]]\nkind = \"nginx\"\n"));
    let hook = vec!["/usr/lib/pbxcert/hooks/nginx".to_owned()];
    assert!(broken.unwrap_err().hooks.contains(&hook));
}

#[test]
fn an_accepted_configuration_is_not_kept_or_used_blindly() {
    let etc = Etc::new();
    let main = etc.main("");
    let none = Problems::default();
    assert!(matches!(load_accepted(&main, &none), Err(Error::None { .. })));
    let config = etc.sound();
    etc.main("mode = 1");
    let now = at("2026-03-01T12:00:00Z");
    assert!(matches!(remember_accepted(&config, now), Err(Error::Changed)));
    etc.main("");
    remember_accepted(&config, now).unwrap();
    let kept = etc.path(".pbxcert.toml.accepted");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o660)).unwrap();
    assert!(matches!(load_accepted(&main, &none), Err(Error::Untrusted { .. })));
    etc.write(".pbxcert.toml.accepted", "{", 0o600);
    assert!(matches!(load_accepted(&main, &none), Err(Error::Read { .. })));
    // A broken copy is no obstacle to a new one.
    remember_accepted(&config, now).unwrap();
    assert!(load_accepted(&main, &none).is_ok());
}

#[test]
fn secrets_of_channels_are_ours_and_one_line() {
    let etc = Etc::new();
    let file = etc.write("secret", "hunter2\n", 0o644);
    let mail = "to = \"a@pbx.de\", from = \"b@pbx.de\", server = \"m.pbx.de\", user = \"u\"";
    let keys = [
        (format!("email = {{ {mail}, password-file = {file:?} }}"), "hunter2\n", "hunter2\n3\n"),
        (format!("webhook = {{ url-file = {file:?} }}"), "https://m.de/x\n", "m.de/x\n"),
        (
            format!("webhook = {{ url = \"https://m.de\", header-file = {file:?} }}"),
            "A: b\nC: d\n",
            "hunter2\n",
        ),
        (format!("heartbeat-url-file = {file:?}"), "https://m.de/x\n", "hunter2\n"),
    ];
    for (line, good, bad) in keys {
        etc.main(&format!("[alerts]\n{line}\n"));
        etc.write("secret", good, 0o640);
        etc.told("can read");
        etc.write("secret", bad, 0o600);
        etc.told("it must hold");
        assert!(!etc.load().unwrap_err().to_string().contains("hunter2"));
        etc.write("secret", good, 0o600);
        etc.sound();
    }
}

#[test]
fn a_command_of_the_accepted_configuration_that_the_broken_one_does_not_name_is_withheld() {
    let etc = Etc::new();
    let run = etc.write("page", "#!/bin/sh\n", 0o755);
    let alerts = format!("[alerts]\njournal = true\ncommand = {{ run = [{run:?}] }}\n");
    let main = etc.main(&alerts);
    let now: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    remember_accepted(&etc.sound(), now).unwrap();

    etc.main(&format!("{alerts}broken = 1\n"));
    let accepted = load_accepted(&main, &etc.load().unwrap_err()).unwrap();
    assert_eq!(accepted.config.alerts.channels.len(), 2);
    etc.main("broken = 1\n");
    let accepted = load_accepted(&main, &etc.load().unwrap_err()).unwrap();
    assert_eq!(accepted.config.alerts.channels.len(), 1);
    let withheld = &accepted.withheld[0];
    assert_eq!((withheld.service.as_str(), withheld.event), ("alerts", "command"));
}
